"""A group of commands whose modules are imported only when a command is used."""

from collections.abc import Mapping
from importlib import import_module

import click


class LazyGroup(click.Group):
    """A group that knows names and summaries; each command is `command` in its module."""

    def __init__(
        self, *, commands_by_name: Mapping[str, tuple[str, str]], **settings: object
    ) -> None:
        """Keeps names, modules and summaries.

        Args:
            commands_by_name: Module and one-line summary by command, in the order of the help.
            settings: What `click.Group` takes.
        """
        super().__init__(**settings)  # type: ignore[arg-type]
        self._lazy = commands_by_name

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order given."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command."""
        if cmd_name not in self._lazy:
            return None
        command: object = import_module(self._lazy[cmd_name][0]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, naming the nearest command when there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0] if args else "", self._lazy, n=1)
            if not near:
                raise
            raise click.UsageError(f'{error.message} Did you mean "{near[0]}"?', ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._lazy.items()])
