"""The broker on a disk whose power is cut."""

import random

from tests.crash.broker import KilledBroker
from tests.powercut.disk import Disk, Found, restore, snapshot
from tests.powercut.record import read
from tests.powercut.shim import Shim


class PowerCutBroker(KilledBroker):
    """`kill` cuts the power: the process dies, and the disk is as it may be left then."""

    def __init__(self, shim: Shim, port: int, chance: random.Random) -> None:
        super().__init__(shim.folder, port)
        self._shim = shim
        self._chance = chance
        self._before: Found = {}

    async def start(self, **environment: str) -> None:
        """Starts it; what it does to the disk is recorded."""
        self._before = snapshot(self._shim.folder)
        self._shim.record.unlink(missing_ok=True)
        await super().start(**self._shim.environment, **environment)

    async def kill(self) -> None:
        """Cuts the power."""
        await super().kill()
        restore(self._shim.folder, self.disk().cut())

    def disk(self) -> Disk:
        """As it was when the process ended."""
        disk = Disk(self._shim.folder, self._before, self._chance)
        disk.play(read(self._shim.record))
        return disk
