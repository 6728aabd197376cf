"""`quantummq completion`."""

import click
from click.shell_completion import get_completion_class

_EPILOG = """\b
Examples:
  quantummq completion bash \\
      > ~/.local/share/bash-completion/completions/quantummq
  quantummq completion zsh > ~/.zfunc/_quantummq
  quantummq completion fish > ~/.config/fish/completions/quantummq.fish
"""


@click.command("completion", epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(*, shell: str) -> None:
    """Print the completion script of a shell."""
    from quantummq.cli import cli

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"{shell} is not supported")
    click.echo(completion(cli, {}, "quantummq", "_QUANTUMMQ_COMPLETE").source())
