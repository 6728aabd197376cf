"""Certificates are loaded again when they change on disk, or on SIGHUP."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from quantummq.config import Config
from quantummq.errors import QuantumMQError
from quantummq.log import tell

_LOG = logging.getLogger("quantummq.tls")

Stamp = tuple[int, int, int, int] | None


class CertificateWatch:
    """Notices changes of the certificates a configuration names, by looking at their times."""

    def __init__(self, config: Config, reload: Callable[[], Awaitable[None]]) -> None:
        """Remembers the files as they are now.

        Args:
            config: Whose listeners' files are watched.
            reload: Loads them all again; connections stay.
        """
        tables = [tls for each in config.listeners if (tls := config.tls_of(each)) is not None]
        self._files = sorted({file for tls in tables for file in tls.files})
        intervals = [tls.reload_interval_s for tls in tables if tls.reload_interval_s > 0]
        self._interval_s = min(intervals, default=0.0)
        self._reload = reload
        self._stamps = self._look()
        self._complaint = ""

    async def follow(self) -> None:
        """Looks for changes until cancelled; returns at once where nothing is to be watched."""
        while self._interval_s:
            await asyncio.sleep(self._interval_s)
            await self.look()

    async def look(self) -> bool:
        """Loads the files if one has changed; whether they were loaded.

        A pair is often replaced file by file: what cannot be used yet is tried again at the next
        look, and the old certificates stay until then. That is told once for each reason.
        """
        stamps = self._look()
        if stamps == self._stamps or not await self._load():
            return False
        self._stamps = stamps
        return True

    async def load(self) -> bool:
        """Loads the files now; whether that went well. Says either."""
        self._complaint = ""
        return await self._load()

    async def _load(self) -> bool:
        if not self._files:
            tell(_LOG, logging.INFO, "there are no certificates to load")
            return True
        try:
            await self._reload()
        except (QuantumMQError, OSError) as error:
            if str(error) != self._complaint:
                tell(_LOG, logging.ERROR, "kept the certificates of before", why=str(error))
            self._complaint = str(error)
            return False
        self._complaint = ""
        tell(_LOG, logging.INFO, "certificates loaded", files=[str(file) for file in self._files])
        return True

    def _look(self) -> dict[Path, Stamp]:
        return {file: _stamp(file) for file in self._files}


def _stamp(file: Path) -> Stamp:
    """What changes when the file does; None while there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
