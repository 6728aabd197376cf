"""The product as a process that is killed and started again on the same folder."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

READY_S: Final = 30


class KilledBroker:
    """`quantummq run` on one port and one data folder, over and over."""

    def __init__(self, folder: Path, port: int, prefix: Sequence[str] = ()) -> None:
        """Nothing is started yet.

        Args:
            folder: Home, with the data folder in it.
            port: Of 127.0.0.1.
            prefix: A command that starts the one it is given, with its arguments.
        """
        self.address = f"tcp://127.0.0.1:{port}"
        self.log: list[str] = []
        self._command = [
            *prefix,
            str(Path(sys.executable).with_name("quantummq")),
            "run",
            "--listen",
            self.address,
            "--data",
            str(folder / "data"),
        ]
        self._environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._grown = asyncio.Condition()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    async def start(self, **environment: str) -> None:
        """Starts it; returns when every listener accepts."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            env={**self._environment, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._process = process
        ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(process, ready))
        async with asyncio.timeout(READY_S):
            assert await ready, "\n".join(self.log[-5:])

    async def kill(self) -> None:
        """Kill -9."""
        await self.stop(signal.SIGKILL)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends it with a signal; its exit code."""
        assert self._process is not None
        assert self._reader is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        code = await self._process.wait()
        await self._reader
        return code

    async def says(self, words: str) -> str:
        """The first line of its log with these words in it, as soon as it is written."""

        def found() -> str | None:
            return next((line for line in self.log if words in line), None)

        async with asyncio.timeout(READY_S), self._grown:
            await self._grown.wait_for(lambda: found() is not None)
        return found() or ""

    async def _read(self, process: asyncio.subprocess.Process, ready: asyncio.Future[bool]) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            text = line.decode().rstrip()
            async with self._grown:
                self.log.append(text)
                self._grown.notify_all()
            if '"message": "ready"' in text and not ready.done():
                ready.set_result(True)
        if not ready.done():
            ready.set_result(False)
