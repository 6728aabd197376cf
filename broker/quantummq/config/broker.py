"""Table `[broker]`: the process as a whole."""

import os
from pathlib import Path

from pydantic import Field

from quantummq import paths
from quantummq.config.table import Seconds, Table


class Broker(Table):
    """The process as a whole: its threads, its folder, its end."""

    shards: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Event loops, one thread each. Not set: one per core this process may use.",
    )
    data_dir: Path | None = Field(
        default=None,
        description="Folder for what the broker keeps. Not set: systemd's STATE_DIRECTORY, "
        "else $XDG_DATA_HOME/quantummq.",
    )
    anonymous: bool | None = Field(
        default=None,
        description="Whether clients without credentials are accepted. Not set: only on loopback "
        "and Unix listeners, and only while no authentication is configured.",
    )
    shutdown_deadline_s: Seconds = Field(
        default=10.0,
        description="Seconds a graceful stop may take before connections are cut.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**64 - 1,
        description="Seed of the engine's random choices, to repeat a run. Not set: random.",
    )

    @property
    def shard_count(self) -> int:
        """Shards to start: as configured, else the cores of the affinity mask."""
        return self.shards or len(os.sched_getaffinity(0))

    @property
    def data_path(self) -> Path:
        """The data folder: as configured, else by systemd or XDG."""
        return self.data_dir or paths.data_dir()
