"""The product as a user has it: built, installed, started as a process, spoken to over TCP."""

import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

READY = re.compile(r"\bready\b")
ADDRESS = re.compile(r"\b(?:tcp|tls|ws|wss)://[^\s\"',\]]+\]?[^\s\"',]*|unix:[^\s\"',]+")


@dataclass
class Started:
    """A broker's process that said it is ready; `lines` is what it wrote, and goes on growing."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list[str])
    ready: threading.Event = field(default_factory=threading.Event)
    grown: threading.Condition = field(default_factory=threading.Condition)
    ended: bool = False

    @property
    def addresses(self) -> list[str]:
        """The addresses in the line that says ready."""
        line = next(line for line in self.lines if READY.search(line))
        return ADDRESS.findall(line)

    @property
    def address(self) -> str:
        """The first of them."""
        return self.addresses[0]

    def follow(self) -> None:
        """Reads what the process writes until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.grown:
                self.lines.append(line.rstrip())
                self.grown.notify_all()
            if READY.search(line):
                self.ready.set()
        with self.grown:
            self.ended = True
            self.grown.notify_all()
        self.ready.set()

    def line_with(self, text: str) -> str:
        """The first line with `text` in it, as soon as it is written."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self.grown:
            assert self.grown.wait_for(lambda: found() or self.ended, timeout=30), self.lines
            line = found()
        assert line is not None, self.lines
        return line


@contextmanager
def started(
    command: list[str], environment: dict[str, str], folder: Path | None = None
) -> Generator[Started]:
    """Starts a broker in `folder`, waits until it is ready, and stops it with SIGTERM."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    broker = Started(process)
    reader = threading.Thread(target=broker.follow)
    reader.start()
    try:
        assert broker.ready.wait(timeout=30), broker.lines
        assert process.poll() is None, broker.lines
        yield broker
    finally:
        process.terminate()
        try:
            code = process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()
    assert code == 0, broker.lines


def free_port() -> int:
    """A TCP port that is free on the loopback address now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def build_environment() -> dict[str, str]:
    """Variables for building the wheel quickly: unoptimised, with the artefacts of the tests.

    The interpreter of the tests comes first on PATH, as `python3`.
    """
    root = Path(__file__).resolve().parent.parent
    return {
        "HOME": str(Path.home()),
        "PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}",
        "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(root / "broker" / "target")),
        "MATURIN_PEP517_ARGS": "--profile dev",
        **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        **{
            name: os.environ[name]
            for name in ("CARGO_HOME", "RUSTUP_HOME", "PYO3_PYTHON", "SSL_CERT_FILE")
            if name in os.environ
        },
    }


def round_trip(address: str, topic: str, payload: bytes) -> bytes:
    """Publishes one message at QoS 1 to a subscription of the same connection; what came back.

    MQTT 5 over a plain socket, packet by packet: nothing of the product is on this side.
    """
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=10) as stream:
        name = struct.pack(">H", len(topic)) + topic.encode()
        connect = b"\x00\x04MQTT\x05\x02\x00\x3c" + b"\x00" + b"\x00\x04wire"
        stream.sendall(_packet(0x10, connect))
        kind, body = _read(stream)
        assert (kind, body[1]) == (0x20, 0), body
        stream.sendall(_packet(0x82, b"\x00\x01\x00" + name + b"\x00"))
        kind, body = _read(stream)
        assert (kind, body[-1]) == (0x90, 0), body
        stream.sendall(_packet(0x32, name + b"\x00\x02\x00" + payload))
        received = dict([_read(stream), _read(stream)])
        assert received[0x40][:2] == b"\x00\x02"
        stream.sendall(b"\xe0\x00")
        publish = received[0x30]
        start = 2 + len(topic)
        return publish[start + 1 + publish[start] :]


def _packet(kind: int, body: bytes) -> bytes:
    """A packet of fewer than 128 bytes."""
    return bytes([kind, len(body)]) + body


def _read(stream: socket.socket) -> tuple[int, bytes]:
    """The next packet, of fewer than 128 bytes: its first byte, and what follows the length."""
    kind, length = _exactly(stream, 2)
    return kind, _exactly(stream, length)


def _exactly(stream: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        part = stream.recv(length - len(received))
        assert part, "the broker closed the connection"
        received += part
    return received
