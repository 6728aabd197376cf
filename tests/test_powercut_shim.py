"""The power cut proves something: SQLite passes it where it must, and fails where it must."""

import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.powercut import writer
from tests.powercut.disk import Disk, restore
from tests.powercut.record import Entry, Operation, read
from tests.powercut.shim import Shim, compile_shim

CUTS = 100
ROWS = 120


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    """Watches an empty folder."""
    (tmp_path / "disk").mkdir()
    return Shim(compile_shim(tmp_path), tmp_path / "disk", tmp_path / "record")


def run(shim: Shim, *command: str) -> list[Entry]:
    """Runs a Python program under the shim to its end; what it did."""
    environment = {"PATH": os.environ["PATH"], **shim.environment}
    subprocess.run([sys.executable, *command], env=environment, check=True)
    return list(read(shim.record))


def write_rows(shim: Shim, synchronous: str) -> list[Entry]:
    """The program of `writer`."""
    return run(shim, writer.__file__, str(shim.folder), synchronous, str(ROWS))


def played(shim: Shim, entries: list[Entry], seed: int) -> Disk:
    """The disk after these, which began with an empty folder."""
    root = shim.folder.resolve()
    disk = Disk(root, {root: None}, random.Random(seed))
    disk.play(entries)
    return disk


def cut_rows(shim: Shim, entries: list[Entry], seed: int) -> tuple[int, int | None]:
    """A cut at a random moment: rows acknowledged and rows found; None if SQLite cannot say."""
    chance = random.Random(seed)
    until = chance.randrange(len(entries))
    disk = played(shim, entries[:until], seed)
    lines = disk.whole().get(shim.folder / "acknowledged") or b""
    restore(shim.folder, disk.cut())
    connection = sqlite3.connect(shim.folder / "rows.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        query = "SELECT count(*), ifnull(max(id), 0) FROM row"
        count, last = connection.execute(query).fetchone() if tables else (0, 0)
        return len(lines.splitlines()), count if count == last else None
    except (sqlite3.DatabaseError, AssertionError):
        return len(lines.splitlines()), None
    finally:
        connection.close()


def faults(shim: Shim, synchronous: str) -> tuple[list[int], list[int]]:
    """Seeds of cuts that lost acknowledged rows, and of those that left the file damaged."""
    entries = write_rows(shim, synchronous)
    found = {seed: cut_rows(shim, entries, seed) for seed in range(CUTS)}
    lost = [seed for seed, (said, kept) in found.items() if kept is not None and kept < said]
    return lost, [seed for seed, (_, kept) in found.items() if kept is None]


def test_nothing_is_lost_with_full_synchronisation(shim: Shim) -> None:
    assert faults(shim, "FULL") == ([], [])


def test_commits_are_lost_with_normal_synchronisation(shim: Shim) -> None:
    """And the file stays whole, as SQLite promises."""
    lost, damaged = faults(shim, "NORMAL")

    assert lost
    assert not damaged


def test_the_file_is_damaged_without_synchronisation(shim: Shim) -> None:
    _, damaged = faults(shim, "OFF")

    assert damaged


def test_the_record_tells_all_that_was_done(shim: Shim) -> None:
    """Played without a cut it gives the folder that is there."""
    entries = write_rows(shim, "FULL")

    whole = played(shim, entries, 0).whole()

    there = {path: path.read_bytes() for path in shim.folder.rglob("*") if path.is_file()}
    assert {path: content for path, content in whole.items() if content is not None} == there
    assert len(there) == 2


PROGRAM = """
import os, sys
os.chdir(sys.argv[1])
os.mkdir("kept"); os.mkdir("other")
first = os.open("kept/first", os.O_CREAT | os.O_RDWR)
os.write(first, b"0123456789"); os.pwrite(first, b"abc", 3); os.ftruncate(first, 8)
os.posix_fallocate(first, 0, 12)
copy = os.dup(first); os.lseek(copy, 2, os.SEEK_SET); os.writev(copy, [b"x", b"yz"])
os.close(first); os.fsync(copy); os.close(copy)
appended = os.open("kept/first", os.O_WRONLY | os.O_APPEND); os.write(appended, b"end")
os.link("kept/first", "kept/link"); os.rename("kept/first", "kept/second")
with open("other/gone", "w") as gone: gone.write("gone")
os.unlink("other/gone"); os.rename("other", "third"); os.rmdir("third")
"""


def test_every_kind_of_call_is_recorded(shim: Shim) -> None:
    entries = run(shim, "-c", PROGRAM, str(shim.folder))

    whole = played(shim, entries, 0).whole()

    kept = shim.folder / "kept"
    content = b"01xyzc67" + bytes(4) + b"end"
    there = {kept / "second": content, kept / "link": content, kept: None, shim.folder: None}
    assert whole == there
    assert (kept / "second").read_bytes() == content
    assert {each.operation for each in entries} == set(Operation) - {Operation.SYNC_FAILED}


def test_names_are_undone_until_their_folder_is_synchronised(shim: Shim) -> None:
    """A file that was synchronised is not there for that."""
    program = "import os, sys; os.chdir(sys.argv[1]); folder = os.open('.', os.O_RDONLY)\n"
    program += "one = os.open('one', os.O_CREAT | os.O_WRONLY); os.fsync(one); os.fsync(folder)\n"
    program += "two = os.open('two', os.O_CREAT | os.O_WRONLY); os.fsync(two); os.unlink('one')"

    entries = run(shim, "-c", program, str(shim.folder))

    cuts = [frozenset(played(shim, entries, seed).cut()) for seed in range(50)]
    one, two = shim.folder / "one", shim.folder / "two"
    root = shim.folder
    assert set(cuts) == {
        frozenset({root, one}),
        frozenset({root, one, two}),
        frozenset({root, two}),
    }


def test_an_unsynchronised_write_is_kept_dropped_or_torn(shim: Shim) -> None:
    """Torn at a boundary of 512 bytes of the file, wherever the write began."""
    program = "import os, sys; one = os.open(sys.argv[1] + '/one', os.O_CREAT | os.O_WRONLY)\n"
    program += "folder = os.open(sys.argv[1], os.O_RDONLY); os.write(one, bytes(1500))\n"
    program += "os.fsync(one); os.fsync(folder); os.pwrite(one, b'x' * 1000, 100)"

    entries = run(shim, "-c", program, str(shim.folder))

    cuts = {played(shim, entries, seed).cut()[shim.folder / "one"] for seed in range(200)}
    ends = {(100, 1100), (100, 100), (100, 512), (512, 1100), (100, 1024), (1024, 1100)}
    assert cuts == {
        bytes(first) + b"x" * (last - first) + bytes(1500 - last) for first, last in ends
    }


@pytest.mark.parametrize(
    ("what", "calls"),
    [("write", "os.write(one, b'x')"), ("sync", "os.fsync(one)"), ("open", "os.open(two, 65)")],
)
def test_a_disk_that_fails_does_so_on_demand(shim: Shim, what: str, calls: str) -> None:
    """Once, on files of that name, with that error; then all is well again."""
    program = (
        "import os, sys; one = os.open(sys.argv[1] + '/one', 65); two = sys.argv[1] + '/two'\n"
    )
    program += (
        f"try: {calls}\nexcept OSError as error: assert error.errno == 28\nelse: sys.exit(9)\n"
    )
    shim.break_disk(what, 28, "two" if what == "open" else "one", once=True)

    run(shim, "-c", program + calls, str(shim.folder))

    assert not shim.fault.exists()


def test_a_failed_synchronisation_is_not_made_good_by_the_next(shim: Shim) -> None:
    """As on Linux: what was not written then is taken for written."""
    program = "import os, sys; one = os.open(sys.argv[1] + '/one', os.O_CREAT | os.O_WRONLY)\n"
    program += "folder = os.open(sys.argv[1], os.O_RDONLY); os.fsync(folder); os.write(one, b'x')\n"
    program += "try: os.fsync(one)\nexcept OSError: pass\nos.fsync(one)"
    shim.break_disk("sync", 5, "one", once=True)

    entries = run(shim, "-c", program, str(shim.folder))

    cuts = {played(shim, entries, seed).cut()[shim.folder / "one"] for seed in range(50)}
    assert cuts == {b"", b"x"}
