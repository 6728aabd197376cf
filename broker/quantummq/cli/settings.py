"""From the command line to a configuration that was checked."""

from dataclasses import dataclass

from quantummq.cli.sources import Sources
from quantummq.config import Config
from quantummq.config.check import check_config
from quantummq.config.load import Overrides, find_config, load_config
from quantummq.errors import raise_all


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration, and where it came from in words.

    Attributes:
        config: The configuration.
        source: The file's path, or `defaults`.
    """

    config: Config
    source: str


def read_settings(sources: Sources) -> Settings:
    """Reads and validates, but looks at nothing else on this machine.

    Raises:
        ConfigError: it cannot be used.
    """
    path = sources.config or find_config()
    # The host `*` is every interface, IPv6 and IPv4.
    listen = sources.listen or (("tcp://*:1883",) if sources.lan else ())
    overrides = Overrides(listen=listen, data_dir=sources.data)
    return Settings(load_config(path, overrides=overrides), str(path or "defaults"))


def check_settings(config: Config, *, authenticated: bool = False) -> None:
    """Looks at the files and listeners of `config`.

    Args:
        config: What to look at.
        authenticated: Whether credentials will be asked for though none are configured.

    Raises:
        ConfigError: a broker with it would not start.
        CredentialsError: a file of users cannot be used.
    """
    raise_all(check_config(config, authenticated=authenticated))
    if config.authentication.is_configured:
        from quantummq.auth import build

        build(config).close()
