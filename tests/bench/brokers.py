"""The brokers that are measured, each started anew for one run, on the CPUs it may use."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from shutil import which

from tests.bench.process import running_on
from tests.certificates import Certificates
from tests.product import free_port

# The settings under which mosquitto drops nothing and does not wait for full segments.
MOSQUITTO_SETTINGS = """\
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
"""
START_S = 20
FLOOR_NAME = "floor"


@dataclass(frozen=True)
class Machine:
    """Who runs where.

    Attributes:
        floor: The program that only forwards.
        broker_cpu: Of a broker with one thread.
        generator_cpu: Of the load.
        certificates: What both brokers show.
    """

    floor: Path
    broker_cpu: int
    generator_cpu: int
    certificates: Certificates


@dataclass(frozen=True)
class Running:
    """A broker that accepts.

    Attributes:
        pid: Its process.
        port: MQTT over TCP.
        tls_port: MQTT over TLS, where asked for.
        generator_cpus: Where its load is to be made.
    """

    pid: int
    port: int
    tls_port: int
    generator_cpus: frozenset[int]


@dataclass(frozen=True)
class Broker:
    """A broker as it is measured.

    Attributes:
        name: In the tables.
        shards: Threads of ours; 0 where it is not ours.
    """

    name: str
    shards: int

    @contextmanager
    def started(self, machine: Machine, *, tls: bool = False) -> Generator[Running]:
        """Starts it, waits until it accepts, and stops it.

        Args:
            machine: The CPUs and certificates.
            tls: Whether it also listens with TLS.
        """
        both = {machine.broker_cpu, machine.generator_cpu}
        cpus = both if self.shards == 2 else {machine.broker_cpu}
        load = both if self.shards == 2 else {machine.generator_cpu}
        port = free_port()
        tls_port = free_port() if tls else 0
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ports = (port, tls_port)
            command = self._command(folder, ports, machine)
            log = folder / "log"
            with running_on(cpus), log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    # mosquitto tells of every connection; a file system is not what is measured.
                    stdout=output if self.shards else subprocess.DEVNULL,
                    stderr=subprocess.STDOUT,
                )
            try:
                _wait(process, port, log)
                yield Running(process.pid, port, tls_port, frozenset(load))
            finally:
                process.terminate()
                process.wait()

    def _command(self, folder: Path, ports: tuple[int, int], machine: Machine) -> list[str]:
        """Writes its configuration; its command."""
        if self.shards:
            return _quantummq(folder, ports, machine.certificates)
        if self.name == FLOOR_NAME:
            return [str(machine.floor), str(ports[0])]
        return _mosquitto(folder, ports, machine.certificates)


MOSQUITTO = Broker("mosquitto", 0)
FLOOR = Broker(FLOOR_NAME, 0)
ONE_SHARD = Broker("QuantumMQ", 1)
TWO_SHARDS = Broker("two shards", 2)


def mosquitto_program() -> str | None:
    """Where mosquitto is, if it is installed."""
    return which("mosquitto") or which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def mosquitto_version() -> str:
    """Its version."""
    program = mosquitto_program()
    assert program is not None
    said = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    return said.split("\n", 1)[0].removeprefix("mosquitto version ").strip()


def _mosquitto(folder: Path, ports: tuple[int, int], certificates: Certificates) -> list[str]:
    """Writes its configuration; its command."""
    port, tls_port = ports
    # Started by root it would become a user who cannot read the certificates.
    lines = MOSQUITTO_SETTINGS + f"user {getuser()}\nlistener {port} 127.0.0.1\n"
    if tls_port:
        lines += (
            f"listener {tls_port} 127.0.0.1\n"
            f"certfile {certificates.server}\nkeyfile {certificates.server_key}\n"
        )
    configuration = folder / "mosquitto.conf"
    configuration.write_text(lines)
    program = mosquitto_program()
    assert program is not None
    return [program, "-c", str(configuration)]


def _quantummq(folder: Path, ports: tuple[int, int], certificates: Certificates) -> list[str]:
    """Writes a configuration with the listeners alone: all else is the default; its command."""
    port, tls_port = ports
    lines = f'[[listener]]\naddress = "tcp://127.0.0.1:{port}"\n'
    if tls_port:
        lines = (
            f'[tls]\ncertificate = "{certificates.server}"\nkey = "{certificates.server_key}"\n'
            f'{lines}[[listener]]\naddress = "tls://127.0.0.1:{tls_port}"\n'
        )
    configuration = folder / "quantummq.toml"
    configuration.write_text(lines)
    program = Path(sys.executable).with_name("quantummq")
    return [str(program), "run", "--config", str(configuration), "--data", str(folder / "kept")]


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Waits until a broker accepts."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
                break
        else:
            return
    raise RuntimeError(f"a broker did not start: {process.args}\n{log.read_text()}")
