"""A small disk of its own, filled and freed: a tmpfs in a mount namespace that ends with it."""

import errno
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

import pytest

MOUNT = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo mounted && exec cat'


@dataclass(frozen=True)
class SmallDisk:
    """A disk that only processes started with `prefix` have at `folder`.

    Attributes:
        folder: Where it is mounted.
        prefix: What a command is started with to see it.
        path: The same folder for everyone else.
    """

    folder: Path
    prefix: tuple[str, ...]
    path: Path

    def fill(self, *, leave: int = 0) -> None:
        """Writes a file until there is no room; then gives back so many bytes."""
        with (self.path / "filler").open("ab", buffering=0) as filler:
            for size in (1 << 20, 1 << 12):
                while _writes(filler, size):
                    pass
            filler.truncate(filler.tell() - leave)

    def free(self) -> None:
        """Removes that file."""
        (self.path / "filler").unlink()

    def room(self) -> int:
        """Bytes that are free."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize


def _writes(file: RawIOBase, size: int) -> bool:
    """Appends so many bytes, or as many as there is room for; whether there was room for all."""
    try:
        return file.write(bytes(size)) == size
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Generator[SmallDisk]:
    """A disk of that size; the test is skipped where the kernel lets nobody mount one."""
    folder.mkdir()
    why = ""
    for user in ((), ("--user", "--map-root-user")):
        command = ["unshare", *user, "--mount", "sh", "-c", MOUNT, "sh", str(folder)]
        holder = subprocess.Popen(
            [*command, f"{mebibytes}m"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            assert holder.stderr is not None
            if holder.stdout.readline():
                enter = ("--user", "--preserve-credentials") if user else ()
                prefix = ("nsenter", "--target", str(holder.pid), *enter, "--mount", "--")
                path = Path(f"/proc/{holder.pid}/root") / folder.relative_to("/")
                yield SmallDisk(folder, prefix, path)
                with suppress(BrokenPipeError):
                    holder.stdin.close()
                return
            why = holder.stderr.read().decode().strip()
    pytest.skip(f"mounting is not permitted here: {why}")
