"""The shim: compiled once a folder, and the environment that loads it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("shim.c")


def compile_shim(folder: Path) -> Path:
    """The shared library, in this folder."""
    library = folder / "shim.so"
    command = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"]
    command += ["-fPIC", "-shared", "-o", str(library), str(SOURCE), "-pthread"]
    subprocess.run(command, check=True)
    return library


@dataclass(frozen=True)
class Shim:
    """What a process is started with.

    Attributes:
        library: The compiled shim.
        folder: What happens to its files is recorded.
        record: Where; outside of the folder.
        sync_us: A synchronisation takes this long at least, so that a cut often meets one.
    """

    library: Path
    folder: Path
    record: Path
    sync_us: int = 0

    @property
    def fault(self) -> Path:
        """The file that makes calls fail while it is there."""
        return self.record.with_suffix(".fault")

    @property
    def environment(self) -> dict[str, str]:
        """Variables that load the shim and tell it what to do."""
        return {
            "LD_PRELOAD": str(self.library),
            "QUANTUMMQ_POWERCUT_FOLDER": str(self.folder.resolve()),
            "QUANTUMMQ_POWERCUT_LOG": str(self.record),
            "QUANTUMMQ_POWERCUT_FAULT": str(self.fault),
            "QUANTUMMQ_POWERCUT_SYNC_US": str(self.sync_us),
        }

    def break_disk(self, what: str, number: int, suffix: str = "*", *, once: bool = False) -> None:
        """From now on `open`, `write` or `sync` fails on files whose names end so.

        Args:
            what: `open`, `write` (with truncation and allocation) or `sync`.
            number: Of the error, as in `errno`.
            suffix: Of the names; `*` for all.
            once: Only the first call fails.
        """
        new = self.fault.with_suffix(".new")
        new.write_text(f"{what} {number} {suffix}{' once' if once else ''}\n")
        new.rename(self.fault)

    def mend_disk(self) -> None:
        """Nothing fails any more."""
        self.fault.unlink(missing_ok=True)
