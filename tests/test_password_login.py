"""Logging in with a user name and a password, over the wire, against a password file."""

import asyncio
import logging
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quantummq.auth import password_file
from quantummq.auth.password_hash import hash_password, validate_hash
from quantummq.auth.user_file import write_users
from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from tests.conftest import CONFIG
from tests.packets import Connect, Packet
from tests.peer import TIMEOUT_S, Clients, Peer
from tests.product import started

PASSWORDS = {"alice": b"wonder\x00land \xff", "bob": "grün".encode()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A password file with alice and bob."""
    path = tmp_path / "passwords"
    write_users(path, {user: hash_password(password) for user, password in PASSWORDS.items()})
    return path


@asynccontextmanager
async def guarded(
    file: Path, authentication: dict[str, float] | None = None, **broker: object
) -> AsyncGenerator[Clients]:
    """A broker that asks for a password."""
    raw: dict[str, object] = {
        **CONFIG,
        "broker": {"shards": 2, **broker},
        "authentication": {"password_file": file, **(authentication or {})},
    }
    clock = ManualClock()
    async with Broker(Config.model_validate(raw), clock=clock) as made:
        clients = Clients(made, clock)
        try:
            yield clients
        finally:
            await clients.close()


async def log_in(
    clients: Clients, user: str | None, password: bytes | None, version: int = 5
) -> Packet:
    """The CONNACK for these credentials."""
    peer = await clients.open()
    connect = Connect(f"{user} {secrets.token_hex(4)}", version, username=user, password=password)
    connack = await peer.connect(connect)
    if connack.reason:
        assert await peer.rest() == []
    return connack


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_the_right_password_is_let_in_as_its_user(file: Path, version: int) -> None:
    """Passwords are bytes, any of them [MQTT-3.1.3-12]."""
    async with guarded(file) as clients:
        for user, password in PASSWORDS.items():
            assert (await log_in(clients, user, password, version)).reason == 0

        users = {session.user for session in await clients.broker.sessions()}
        assert users == set(PASSWORDS)


@pytest.mark.parametrize(("version", "reason"), [(5, 0x86), (4, 4), (3, 4)])
async def test_an_unknown_user_is_told_what_a_wrong_password_is(
    file: Path, version: int, reason: int
) -> None:
    """In the same bytes: nobody learns which users there are."""
    async with guarded(file) as clients:
        wrong = await log_in(clients, "alice", b"wrong", version)
        unknown = await log_in(clients, "carol", b"wrong", version)
        empty = await log_in(clients, "alice", b"", version)
        other = await log_in(clients, "bob", PASSWORDS["alice"], version)

    assert wrong.reason == reason
    assert wrong.body == unknown.body == empty.body == other.body
    if version == 5:
        assert wrong.get("reason_string") == "bad user name or password"


async def test_an_unknown_user_costs_the_work_of_a_wrong_password(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash, with the parameters that most users in the file have."""
    costs: list[tuple[int, int, int]] = []
    really_matches = password_file.password_matches

    def counted(encoded: str, password: bytes) -> bool:
        costs.append(validate_hash(encoded))
        return really_matches(encoded, password)

    monkeypatch.setattr(password_file, "password_matches", counted)
    async with guarded(file) as clients:
        await log_in(clients, "alice", b"wrong")
        await log_in(clients, "carol", b"wrong")

    assert len(costs) == 2
    assert costs[0] == costs[1]


async def test_a_password_that_was_right_costs_no_hash_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of devices come back after a cut without thousands of hashes."""
    async with guarded(file) as clients:
        assert (await log_in(clients, "alice", PASSWORDS["alice"])).reason == 0

        def unexpected(encoded: str, password: bytes) -> bool:
            raise AssertionError("a hash was computed")

        monkeypatch.setattr(password_file, "password_matches", unexpected)
        for _ in range(5):
            assert (await log_in(clients, "alice", PASSWORDS["alice"])).reason == 0


@pytest.mark.parametrize(
    ("version", "user", "password", "reason"),
    [
        (5, None, None, 0x87),
        (5, "alice", None, 0x87),
        (5, None, b"wonderland", 0x87),
        (5, "", b"wonderland", 0x87),
        (4, None, None, 5),
        (4, "alice", None, 5),
        (3, None, None, 5),
    ],
)
async def test_half_of_the_credentials_is_not_enough(
    file: Path, version: int, user: str | None, password: bytes | None, reason: int
) -> None:
    async with guarded(file) as clients:
        assert (await log_in(clients, user, password, version)).reason == reason


async def test_beside_a_password_file_anonymous_clients_come_in_where_that_is_said(
    file: Path,
) -> None:
    """They are nobody; a wrong password does not make one of them."""
    async with guarded(file, anonymous=True) as clients:
        assert (await log_in(clients, None, None)).reason == 0
        assert (await log_in(clients, "alice", PASSWORDS["alice"])).reason == 0
        assert (await log_in(clients, "alice", b"wrong")).reason == 0x86
        assert (await log_in(clients, "carol", b"wrong")).reason == 0x86

        users = {session.user for session in await clients.broker.sessions()}
        assert users == {"", "alice"}


async def test_a_changed_file_counts_without_a_restart(file: Path) -> None:
    """After authentication.reload_interval_s; a remembered password is forgotten with it."""
    async with guarded(file, {"reload_interval_s": 5}) as clients:
        stays = await clients.connect("c", username="alice", password=PASSWORDS["alice"])
        write_users(file, {"alice": hash_password(b"new"), "carol": hash_password(b"hi")})
        await clients.clock.advance(4.999)
        assert (await log_in(clients, "alice", PASSWORDS["alice"])).reason == 0
        await clients.clock.advance(0.001)

        assert (await log_in(clients, "alice", PASSWORDS["alice"])).reason == 0x86
        assert (await log_in(clients, "alice", b"new")).reason == 0
        assert (await log_in(clients, "carol", b"hi")).reason == 0
        assert (await log_in(clients, "bob", PASSWORDS["bob"])).reason == 0x86
        await stays.ping()


async def test_a_file_that_breaks_or_goes_leaves_the_users_of_before(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with guarded(file, {"reload_interval_s": 1}) as clients:
        file.write_text("alice:not a hash, and not for the log\n", encoding="utf-8")
        await clients.clock.advance(1)
        assert (await log_in(clients, "alice", PASSWORDS["alice"])).reason == 0
        file.unlink()
        await clients.clock.advance(1)
        assert (await log_in(clients, "bob", PASSWORDS["bob"])).reason == 0

    assert caplog.text.count("kept the users of before") == 2
    assert "not for the log" not in caplog.text


async def test_many_log_in_at_once(file: Path) -> None:
    """More than there are threads; the event loop goes on meanwhile."""
    async with guarded(file, {"verification_threads": 1}) as clients:
        logins = [
            log_in(clients, "alice", b"wrong" if number % 2 else PASSWORDS["alice"])
            for number in range(20)
        ]
        async with asyncio.timeout(TIMEOUT_S):
            reasons = [connack.reason for connack in await asyncio.gather(*logins)]

    assert reasons == [0x86 if number % 2 else 0 for number in range(20)]


async def test_a_password_reaches_no_log_and_no_event(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At level debug, with asyncio's own debugging on."""
    secret = secrets.token_hex(16)
    write_users(file, {"alice": hash_password(secret.encode()), "bob": hash_password(b"x")})
    asyncio.get_running_loop().set_debug(True)
    with caplog.at_level(logging.DEBUG):
        async with guarded(file, anonymous=True) as clients, clients.broker.events() as stream:
            for user in ("alice", "bob", "carol"):
                for version in (3, 4, 5):
                    await log_in(clients, user, secret.encode(), version)
            peer = await clients.open()
            await peer.send(Connect("c", username="alice", password=secret.encode()).encode()[:-1])
            await peer.close()
            await clients.settle()
            stream.close()
            events = [repr(event) async for batch in stream for event in batch]

    assert len(events) == 10
    assert secret not in "".join(events)
    assert secret not in caplog.text
    hashed = file.read_text(encoding="utf-8").split(":", 1)[1].splitlines()[0]
    assert hashed.rpartition("$")[2] not in caplog.text


@pytest.mark.parametrize("form", ["json", "text"])
async def test_a_password_reaches_nothing_that_the_program_writes(
    file: Path, tmp_path: Path, form: str
) -> None:
    """`quantummq run` at level debug: neither password nor hash, though it tells of each client."""
    secret = secrets.token_hex(16)
    write_users(file, {"alice": hash_password(secret.encode())})
    settings = tmp_path / "quantummq.toml"
    settings.write_text(
        f"[log]\nlevel = 'debug'\nformat = '{form}'\n[authentication]\npassword_file = '{file}'\n",
        encoding="utf-8",
    )
    program = str(Path(sys.executable).with_name("quantummq"))
    command = [program, "run", "--config", str(settings), "--listen", "tcp://127.0.0.1:0"]
    environment = {"HOME": str(tmp_path), "PATH": str(Path(sys.executable).parent)}
    with started(command, environment) as process:
        for user in ("alice", "carol"):
            for version in (3, 4, 5):
                peer = await Peer.open(process.address)
                connect = Connect("client-of-the-test", version, username=user)
                await peer.connect(connect)
                await peer.close()
                peer = await Peer.open(process.address)
                connect = Connect("c", version, username=user, password=secret.encode())
                connack = await peer.connect(connect)
                assert (connack.reason == 0) == (user == "alice")
                await peer.close()

    written = "\n".join(process.lines)
    assert "client-of-the-test" in written
    assert "bad user name or password" in written
    assert secret not in written
    assert file.read_text(encoding="utf-8").strip().rpartition("$")[2] not in written
