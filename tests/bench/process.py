"""What the kernel tells of a process: its CPU time and its memory."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, with all its threads."""
    # The clock of another process: its number, complemented, before the kind (2: scheduler).
    return time.clock_gettime(~pid << 3 | 2)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running_on(cpus: set[int]) -> Generator[None]:
    """This thread, and what it starts, runs on `cpus` meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
