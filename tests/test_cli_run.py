"""`quantummq run`: where it listens, what it says, what it starts with, and how it ends."""

import json
import os
import pty
import re
import select
import signal
import socket
import ssl
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from tests.certificates import Certificates, write_certificates
from tests.product import READY, Started, free_port, round_trip, started

PROGRAM = str(Path(sys.executable).with_name("quantummq"))
LOCAL = "tcp://127.0.0.1:0"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose home is a folder of the test's, and nothing else."""
    return {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Files that a test may replace."""
    return write_certificates(tmp_path)


def run(*options: str) -> list[str]:
    """`quantummq run`, on a free port of this machine unless the options name another place."""
    if "--listen" in options or "--config" in options or "--lan" in options:
        return [PROGRAM, "run", *options]
    return [PROGRAM, "run", "--listen", LOCAL, *options]


def failed(environment: dict[str, str], *options: str) -> str:
    """What a broker writes that does not start."""
    result = subprocess.run(
        run(*options), env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 1, result
    assert not READY.search(result.stdout + result.stderr)
    return result.stderr


def messages(broker: Started) -> list[dict[str, object]]:
    """The log so far, which is JSON since no terminal is there."""
    return [json.loads(line) for line in list(broker.lines)]


def inside(prelude: str, command: list[str]) -> list[str]:
    """The command, after a line of Python has set up the process."""
    return [sys.executable, "-c", f"import os, resource; {prelude}; os.execv({command[0]!r}, "
            f"{command!r})"]  # fmt: skip


# --- where it listens --------------------------------------------------------------------------


def test_one_line_says_ready_with_every_address(
    home: dict[str, str], certificates: Certificates, tmp_path: Path
) -> None:
    home["QUANTUMMQ_TLS__CERTIFICATE"] = str(certificates.server)
    home["QUANTUMMQ_TLS__KEY"] = str(certificates.server_key)
    places = [LOCAL, "127.0.0.1:0", "tcp://[::1]:0", "tls://127.0.0.1:0", "ws://127.0.0.1:0"]
    places += ["wss://127.0.0.1:0", f"unix:{tmp_path}/q.sock"]
    options = [word for place in places for word in ("--listen", place)]

    with started(run(*options), home) as broker:
        schemes = [address.partition(":")[0] for address in broker.addresses]
        assert schemes == ["tcp", "tcp", "tcp", "tls", "ws", "wss", "unix"]
        for address in broker.addresses:
            if address.startswith("unix:"):
                with socket.socket(socket.AF_UNIX) as stream:
                    stream.connect(address.removeprefix("unix:"))
                continue
            host, _, port = address.partition("://")[2].rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        for address in broker.addresses[:3]:
            assert round_trip(address, "t", b"payload") == b"payload"
        lines = list(broker.lines)

    assert sum(bool(READY.search(line)) for line in lines) == 1


def test_without_options_it_listens_on_the_usual_port_of_this_machine(
    home: dict[str, str],
) -> None:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 1883))
        except OSError:
            pytest.skip("another program has port 1883")

    with started([PROGRAM, "run"], home) as broker:
        assert broker.addresses == ["tcp://127.0.0.1:1883"]
        assert round_trip(broker.address, "t", b"payload") == b"payload"


def test_listen_takes_the_place_of_the_configured_listeners(
    home: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    file = tmp_path / "q.toml"
    file.write_text(f'[[listener]]\naddress = "tcp://127.0.0.1:{port}"\n', encoding="utf-8")

    with started(run("--config", str(file)), home) as broker:
        assert broker.addresses == [f"tcp://127.0.0.1:{port}"]
    with started(run("--config", str(file), "--listen", LOCAL), home) as broker:
        assert len(broker.addresses) == 1
        assert broker.address != f"tcp://127.0.0.1:{port}"


def test_the_environment_stands_above_the_file_and_options_above_both(
    home: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "q.toml"
    file.write_text('[log]\nlevel = "error"\n[broker]\nshards = 3\n', encoding="utf-8")
    home |= {
        "QUANTUMMQ_CONFIG": str(file),
        "QUANTUMMQ_LOG__LEVEL": "info",
        "QUANTUMMQ_LISTENER__0__ADDRESS": "tcp://127.0.0.1:1",
    }

    with started(run(), home) as broker:
        assert shards(broker, 3) == ["shard-0", "shard-1", "shard-2"]
        assert "starting" in broker.lines[0]
        assert broker.address != "tcp://127.0.0.1:1"


def test_an_address_in_use_is_named_with_the_way_out(home: dict[str, str]) -> None:
    with started(run(), home) as broker:
        said = failed(home, "--listen", broker.address)

    assert broker.address.removeprefix("tcp://") in said
    assert "choose another port" in said


# --- safe first run ----------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["tcp://0.0.0.0:0", "tcp://[::]:0", "*:0", "tcp://:0"])
def test_other_machines_are_not_let_in_by_accident(home: dict[str, str], place: str) -> None:
    said = failed(home, "--listen", place)

    assert "listener[0].address" in said
    for way_out in ("127.0.0.1", "password_file", "--lan", "anonymous = true"):
        assert way_out in said


def test_one_open_listener_is_enough_to_refuse(home: dict[str, str]) -> None:
    said = failed(home, "--listen", LOCAL, "--listen", "tcp://0.0.0.0:0")

    assert "listener[1].address" in said


def test_everyone_is_let_in_when_asked_for_and_it_says_so(home: dict[str, str]) -> None:
    home["QUANTUMMQ_BROKER__ANONYMOUS"] = "true"

    with started(run("--listen", "tcp://0.0.0.0:0"), home) as broker:
        address = broker.address.replace("0.0.0.0", "127.0.0.1")
        assert round_trip(address, "t", b"payload") == b"payload"
        warnings = [line for line in messages(broker) if line["level"] == "warning"]

    assert ["ANYONE" in str(line["message"]) for line in warnings] == [True]
    assert warnings[0]["listener"] == "tcp://0.0.0.0:0"


def test_local_listeners_let_in_and_say_so(home: dict[str, str], tmp_path: Path) -> None:
    places = ["--listen", LOCAL, "--listen", f"unix:{tmp_path}/q.sock", "--listen", "[::1]:0"]

    with started(run(*places), home) as broker:
        said = [line for line in messages(broker) if "without a password" in str(line["message"])]

    assert len(said) == 3
    assert {line["level"] for line in said} == {"info"}


# --- what it starts with -----------------------------------------------------------------------


def shards(broker: Started, number: int) -> list[str]:
    """Names of the event loops' threads, once there are as many as that.

    A thread has its maker's name until it runs for the first time, which a busy machine may put
    off until after the broker is ready: its connections wait with the kernel.
    """
    tasks = Path(f"/proc/{broker.process.pid}/task")
    ends_s = monotonic() + 30
    while True:
        names = [(thread / "comm").read_text(encoding="ascii") for thread in tasks.iterdir()]
        found = sorted(name.strip() for name in names if name.startswith("shard-"))
        if len(found) >= number or monotonic() > ends_s:
            return found
        os.sched_yield()


def test_there_is_one_shard_for_each_core_of_the_affinity_mask(home: dict[str, str]) -> None:
    cores = os.sched_getaffinity(0)
    with started(run(), home) as broker:
        assert len(shards(broker, len(cores))) == len(cores)

    with started(inside(f"os.sched_setaffinity(0, {{{min(cores)}}})", run()), home) as broker:
        assert shards(broker, 1) == ["shard-0"]


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(home: dict[str, str]) -> None:
    lower = "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))"

    with started(inside(lower, run()), home) as broker:
        limits = Path(f"/proc/{broker.process.pid}/limits").read_text(encoding="ascii")
        warnings = [line for line in messages(broker) if line["level"] == "warning"]

    assert re.search(r"Max open files +4096 +4096 ", limits)
    # It is still below what 10,000 connections need.
    assert [line["open_files"] for line in warnings] == [4096]


def test_it_is_one_process_in_the_foreground(home: dict[str, str]) -> None:
    with started(run(), home) as broker:
        pid = broker.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        assert os.getpgid(pid) == os.getpgid(0)
        assert children == ""


def test_closed_standard_streams_are_not_given_to_sockets(home: dict[str, str]) -> None:
    with started(inside("os.close(0); os.close(1)", run()), home) as broker:
        pid = broker.process.pid
        places = [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(2)]

    assert places == [os.devnull, os.devnull]
    assert broker.process.returncode == 0


def test_the_data_folder_follows_the_option_then_systemd_then_xdg(
    home: dict[str, str], tmp_path: Path
) -> None:
    def made(*options: str, **variables: Path) -> list[str]:
        before = set(tmp_path.rglob("*"))
        with started(run(*options), home | {key: str(path) for key, path in variables.items()}):
            pass
        new = set(tmp_path.rglob("*")) - before
        for path in new:
            assert path.is_dir()
        deepest = max(new, key=lambda path: len(path.parts))
        assert stat.S_IMODE(deepest.stat().st_mode) == 0o700
        return sorted(str(path.relative_to(tmp_path)) for path in new if path == deepest)

    assert made() == [".local/share/quantummq"]
    assert made(XDG_DATA_HOME=tmp_path / "xdg") == ["xdg/quantummq"]
    state = {"XDG_DATA_HOME": tmp_path / "xdg", "STATE_DIRECTORY": tmp_path / "state"}
    assert made(**state) == ["state"]
    assert made("--data", str(tmp_path / "own"), **state) == ["own"]


def test_a_data_folder_that_cannot_be_made_is_named(home: dict[str, str]) -> None:
    assert "broker.data_dir" in failed(home, "--data", "/proc/nowhere")


# --- what it says ------------------------------------------------------------------------------


def test_systemd_is_told(home: dict[str, str], tmp_path: Path) -> None:
    """sd_notify(3): ready, reloading with the time it began, ready again, stopping."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(20)

        with started(run(), home | {"NOTIFY_SOCKET": str(path)}) as broker:
            ready = listener.recv(4096).decode().splitlines()
            broker.process.send_signal(signal.SIGHUP)
            reloading = listener.recv(4096).decode().splitlines()
            again = listener.recv(4096).decode().splitlines()
            address = broker.address
        stopping = listener.recv(4096).decode().splitlines()

    assert ready == ["READY=1", f"STATUS=listening on {address}"]
    assert reloading[0] == "RELOADING=1"
    assert re.fullmatch(r"MONOTONIC_USEC=\d+", reloading[1])
    assert again == ["READY=1"]
    assert stopping == ["STOPPING=1"]


def test_systemd_is_told_through_the_abstract_namespace_too(home: dict[str, str]) -> None:
    name = f"quantummq-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(20)

        with started(run(), home | {"NOTIFY_SOCKET": f"@{name}"}):
            assert listener.recv(4096).startswith(b"READY=1\n")


def test_the_log_is_json_without_a_terminal(home: dict[str, str]) -> None:
    with started(run(), home) as broker:
        round_trip(broker.address, "t", b"x")
    lines = messages(broker)

    assert (lines[0]["message"], lines[-1]["message"]) == ("starting", "stopped")
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(line)
    (ready,) = [line for line in lines if line["message"] == "ready"]
    assert ready["addresses"] == [broker.address]


def test_at_level_debug_the_log_says_who_comes_and_goes(home: dict[str, str]) -> None:
    with started(run(), home | {"QUANTUMMQ_LOG__LEVEL": "debug"}) as broker:
        round_trip(broker.address, "t", b"x")
    told = [line for line in messages(broker) if line["logger"] == "quantummq.clients"]

    assert {str(line["message"]) for line in told} >= {"connected", "disconnected"}
    assert {line["client_id"] for line in told} == {"wire"}


def on_terminal(environment: dict[str, str]) -> str:
    """What a broker writes to a terminal until it was stopped by Control-C."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        run(),
        env=environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    written = b""
    sent = False
    try:
        while select.select([leader], [], [], 30)[0]:
            try:
                part = os.read(leader, 4096)
            except OSError:  # The other end is closed.
                break
            written += part
            if b" ready " in written and not sent:
                sent = True
                process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    return written.decode()


def test_on_a_terminal_the_log_is_for_people(home: dict[str, str]) -> None:
    lines = on_terminal(home).splitlines()

    assert re.match(r"\d\d:\d\d:\d\d info +run: starting ", lines[0])
    ready = [line for line in lines if READY.search(line)]
    assert len(ready) == 1
    assert re.search(r"run: ready +addresses=tcp://127\.0\.0\.1:\d+$", ready[0])
    assert not any(line.startswith("{") for line in lines)


# --- how it ends -------------------------------------------------------------------------------


def told_at_the_end(stream: socket.socket) -> bytes:
    """All that a connection was told until it was closed."""
    received = b""
    while part := stream.recv(4096):
        received += part
    return received


def connect(address: str, client_id: bytes = b"client") -> socket.socket:
    """A client of MQTT 5 past CONNACK."""
    stream = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=20)
    packet = b"\0\4MQTT\5\2\0\0\0" + len(client_id).to_bytes(2, "big") + client_id
    stream.sendall(bytes([0x10, len(packet)]) + packet)
    head = stream.recv(2)
    assert head[0] == 0x20
    assert stream.recv(head[1])[1] == 0
    return stream


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_word_to_its_clients(
    home: dict[str, str], number: signal.Signals
) -> None:
    with started(run(), home) as broker, connect(broker.address) as client:
        broker.process.send_signal(number)

        assert told_at_the_end(client)[:3] == b"\xe0\x01\x8b"
        assert broker.process.wait(timeout=20) == 0


def deaf(address: str) -> socket.socket:
    """A client that was sent more than it will ever read."""
    client = connect(address, b"deaf")
    client.sendall(b"\x82\x07\0\1\0\0\1t\0")
    with connect(address, b"sender") as sender:
        publish = b"\0\1t\0" + b"x" * 1_000_000
        for _ in range(16):
            length = len(publish)
            head = bytes([0x30, length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
            sender.sendall(head + publish)
        sender.sendall(b"\xc0\0")
        assert sender.recv(2) == b"\xd0\0"
    return client


def test_a_client_that_does_not_read_is_cut_at_the_deadline(home: dict[str, str]) -> None:
    home["QUANTUMMQ_BROKER__SHUTDOWN_DEADLINE_S"] = "0.5"

    with started(run(), home) as broker, deaf(broker.address):
        broker.process.send_signal(signal.SIGTERM)

        assert broker.process.wait(timeout=20) == 0
    assert "clients were cut off that did not read in time" in [
        line["message"] for line in messages(broker)
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGINT, signal.SIGINT),
    ],
)
def test_a_second_signal_ends_it_at_once(
    home: dict[str, str], first: signal.Signals, second: signal.Signals
) -> None:
    """Though a client would hold the graceful stop up for a minute."""
    home["QUANTUMMQ_BROKER__SHUTDOWN_DEADLINE_S"] = "60"
    environment = home | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(run(), env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        line = next(line for line in process.stderr if READY.search(line))
        with deaf(json.loads(line)["addresses"][0]):
            process.send_signal(first)
            assert any("stopping" in line for line in process.stderr)
            assert process.poll() is None

            process.send_signal(second)

            assert process.wait(timeout=20) == -second


# --- certificates ------------------------------------------------------------------------------


def shown(address: str) -> bytes:
    """The certificate that a new connection is shown, DER."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    port = int(address.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def der(certificate: Path) -> bytes:
    """A PEM file's certificate, DER."""
    return ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))


def secure(home: dict[str, str], certificates: Certificates, interval_s: str) -> dict[str, str]:
    """The environment of a broker with TLS that looks at its files that often."""
    return home | {
        "QUANTUMMQ_TLS__CERTIFICATE": str(certificates.server),
        "QUANTUMMQ_TLS__KEY": str(certificates.server_key),
        "QUANTUMMQ_TLS__RELOAD_INTERVAL_S": interval_s,
    }


def test_sighup_loads_certificates_and_a_broken_one_changes_nothing(
    home: dict[str, str], certificates: Certificates
) -> None:
    before = der(certificates.server)
    environment = secure(home, certificates, "0")
    with started(run("--listen", "tls://127.0.0.1:0"), environment) as broker:
        certificates.server.write_text("broken", encoding="ascii")
        broker.process.send_signal(signal.SIGHUP)
        kept = json.loads(broker.line_with("kept the certificates of before"))
        assert shown(broker.address) == before
        write_certificates(certificates.ca.parent)
        assert shown(broker.address) == before

        broker.process.send_signal(signal.SIGHUP)
        broker.line_with("certificates loaded")

        assert shown(broker.address) == der(certificates.server) != before
    assert kept["level"] == "error"
    assert "certificate" in str(kept["why"])


def test_changed_certificates_are_noticed_and_connections_stay(
    home: dict[str, str], certificates: Certificates
) -> None:
    context = ssl.create_default_context(cafile=certificates.ca)
    environment = secure(home, certificates, "0.05")
    with started(run("--listen", "tls://127.0.0.1:0"), environment) as broker:
        port = int(broker.address.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as old,
        ):
            old.sendall(b"\x10\x0e\0\4MQTT\5\2\0\0\0\0\1o")
            assert old.recv(4096)[0] == 0x20
            write_certificates(certificates.ca.parent)

            broker.line_with("certificates loaded")

            assert shown(broker.address) == der(certificates.server)
            old.sendall(b"\xc0\0")
            assert old.recv(2) == b"\xd0\0"


# --- faults ------------------------------------------------------------------------------------

# The program, and a signal that takes the engine's event loops their epoll instances away; that
# of asyncio was there first.
BREAKABLE = """
import os, signal
def take_away(*_):
    instances = []
    for entry in os.scandir("/proc/self/fd"):
        try:
            if os.readlink(entry.path) == "anon_inode:[eventpoll]":
                instances.append(int(entry.name))
        except FileNotFoundError:
            pass
    null = os.open(os.devnull, os.O_RDWR)
    for instance in sorted(instances)[1:]:
        os.dup2(null, instance)
    os.write(1, b"taken\\n")
signal.signal(signal.SIGUSR1, take_away)
from quantummq.cli import main
main()
"""


def test_a_fault_of_the_engine_ends_the_process_with_an_error(home: dict[str, str]) -> None:
    """Whoever supervises it starts it again; a broker with half its loops serves nobody."""
    home["QUANTUMMQ_BROKER__SHUTDOWN_DEADLINE_S"] = "0.5"
    command = [sys.executable, "-c", BREAKABLE, *run()[1:]]
    process = subprocess.Popen(
        command, env=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == "taken\n"
        port = int(ready["addresses"][0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20):  # Wakes the loops up.
            _, log = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == 1
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["level"] for line in lines if "an event loop failed" in line["message"]] != []
    assert lines[-1]["level"] == "error"
