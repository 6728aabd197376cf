"""Table `[store]`: what lasts, and how surely."""

from typing import Final, Literal

from pydantic import Field

from quantummq.config.table import Bytes, Table

_MIB: Final = 1024 * 1024

PROFILES: Final = {
    "safe": "acknowledged means stored: survives kill -9 and power cuts",
    "card": "acknowledged means stored, with commits gathered for SD cards: acknowledgements come "
    "up to a second later",
    "fast": "survives kill -9, NOT a power cut: the last seconds may be lost then",
    "memory": "nothing is kept: a restart forgets sessions, queues and retained messages",
}
"""What each profile promises, as `check` and the start say it."""


class Store(Table):
    """What lasts: sessions, queues and retained messages, in one SQLite file."""

    profile: Literal["safe", "card", "fast", "memory"] = Field(
        default="memory",
        description="What is promised of what is acknowledged. safe: it survives a power cut. "
        "card: the same, in larger and fewer writes; acknowledgements come up to a second later. "
        "fast: it survives kill -9, not a power cut. memory: nothing is kept.",
    )
    reserve_bytes: int = Field(
        default=8 * _MIB,
        ge=_MIB,
        le=2**40,
        description="Size of a file that is given up when the disk is full, so that what makes "
        "room can still be committed.",
    )
    wal_bytes_max: Bytes = Field(
        default=256 * _MIB,
        description="Size of the write-ahead log from which on new messages are refused, as on a "
        "full disk: another program holds it.",
    )
    on_damage: Literal["start", "stop"] = Field(
        default="start",
        description="When the file is damaged. start: it is set aside, what can be read is taken "
        "over, and the broker starts. stop: it does not start.",
    )
