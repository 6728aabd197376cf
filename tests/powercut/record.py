"""The shim's record: what was done to files, in order. shim.c writes it."""

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HEAD: Final = struct.Struct("=Iiiiqq")


class Operation(enum.IntEnum):
    """What was done; `first`, `second` and `rest` of an `Entry` depend on it."""

    OPEN = 1
    """`first`: truncated; `second`: the name is new; `rest`: path."""
    CLOSE = 2
    DUP = 3
    """`first`: the new descriptor."""
    WRITE = 4
    """`first`: offset; `rest`: bytes."""
    TRUNCATE = 5
    """`first`: length."""
    ALLOCATE = 6
    """`first`: the length it has at least."""
    SYNC_BEGUN = 7
    """`first`: number."""
    SYNC_DONE = 8
    """`first`: number."""
    SYNC_FAILED = 9
    """`first`: number."""
    RENAME = 10
    """`rest`: old path, NUL, new path."""
    UNLINK = 11
    """`rest`: path."""
    MKDIR = 12
    """`rest`: path."""
    LINK = 13
    """`rest`: old path, NUL, new path."""


@dataclass(frozen=True)
class Entry:
    """One thing that was done, by whom the descriptor belongs to."""

    operation: Operation
    descriptor: int
    first: int
    second: int
    rest: bytes

    @property
    def paths(self) -> list[Path]:
        """Those in `rest`."""
        return [Path(each.decode()) for each in self.rest.split(b"\0")]


def read(path: Path) -> Iterator[Entry]:
    """All that one process did."""
    whole = path.read_bytes()
    place = 0
    while place < len(whole):
        length, operation, descriptor, _, first, second = HEAD.unpack_from(whole, place)
        rest = whole[place + HEAD.size : place + length]
        assert len(rest) == length - HEAD.size, "the record is cut off"
        yield Entry(Operation(operation), descriptor, first, second, rest)
        place += length
