"""Table `[authentication]`: where users and their secrets are."""

from pathlib import Path

from pydantic import Field

from quantummq.config.table import Table


class Authentication(Table):
    """Where users and their secrets are. Set any of the files, and credentials are asked for."""

    password_file: Path | None = Field(
        default=None,
        description="Users and argon2id hashes, one `user:hash` a line; see `quantummq passwd`.",
    )
    scram_file: Path | None = Field(
        default=None,
        description="Users and SCRAM-SHA-256 keys for enhanced authentication; see "
        "`quantummq passwd --scram`.",
    )
    verification_threads: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Password hashes computed at a time; each takes the memory of its hash, 19 MiB "
        "by default, while it runs.",
    )
    reload_interval_s: float = Field(
        default=2.0,
        ge=0,
        le=3_600,
        allow_inf_nan=False,
        description="Seconds between looks at the files; a changed one is read again.",
    )

    @property
    def is_configured(self) -> bool:
        """Whether there is anything to check credentials against."""
        return self.password_file is not None or self.scram_file is not None
