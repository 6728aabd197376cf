"""Tables `[tls]` and `[listener.tls]`: certificates of a listener."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from quantummq.config.table import Table


class Tls(Table):
    """Certificates: the listener's own, and what is asked of clients."""

    certificate: Path = Field(description="PEM file: the server's certificate, then its chain.")
    key: Path = Field(description="PEM file: the private key of the certificate, not encrypted.")
    minimum_version: Literal["1.2", "1.3"] = Field(
        default="1.2", description="The oldest TLS version accepted."
    )
    client_ca: Path | None = Field(
        default=None, description="PEM file: authorities that client certificates must come from."
    )
    client_certificate: Literal["none", "optional", "require"] = Field(
        default="none", description="Whether clients are asked for a certificate, or must show one."
    )
    reload_interval_s: float = Field(
        default=5.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds between looks at the files; changed ones are loaded without dropping "
        "connections. 0: only on SIGHUP.",
    )

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file this table names."""
        named = (self.certificate, self.key, self.client_ca)
        return tuple(path for path in named if path is not None)
