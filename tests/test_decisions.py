"""Who is let in, decided in Python: what is asked, what can be answered, bounds, faults."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from quantummq.auth import AuthenticationRequest, Authenticator, Identity, Refusal
from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from tests.conftest import CONFIG
from tests.packets import PINGREQ, PINGRESP, Connect, Publish, packet
from tests.peer import TIMEOUT_S, Clients, Peer

SECRET = b"open sesame"
ANSWER = Identity | Refusal


@dataclass
class Gate:
    """An authenticator that decides when the test does."""

    asked: dict[str, AuthenticationRequest] = field(
        default_factory=dict[str, AuthenticationRequest]
    )
    answers: dict[str, "asyncio.Future[ANSWER]"] = field(
        default_factory=dict[str, "asyncio.Future[ANSWER]"]
    )
    cancelled: list[str] = field(default_factory=list[str])

    async def authenticate(self, request: AuthenticationRequest) -> ANSWER:
        """Waits for the test's answer."""
        client_id = request.client_id
        self.asked[client_id] = request
        self.answers[client_id] = asyncio.get_running_loop().create_future()
        try:
            return await self.answers[client_id]
        except asyncio.CancelledError:
            self.cancelled.append(client_id)
            raise

    async def reached(self, count: int) -> None:
        """Waits until it has been asked so often."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.asked) < count:
                await asyncio.sleep(0)

    def let_in(self, client_id: str) -> None:
        """Says yes."""
        self.answers[client_id].set_result(Identity(client_id))


@dataclass(frozen=True)
class Always:
    """An authenticator that has one answer; it may be one that the protocol does not know."""

    answer: ANSWER

    async def authenticate(self, request: AuthenticationRequest) -> ANSWER:
        """Answers without waiting."""
        del request
        return self.answer


class Careless:
    """An authenticator that fails, with the password in its error."""

    async def authenticate(self, request: AuthenticationRequest) -> ANSWER:
        """Fails."""
        raise LookupError(f"no such password: {request.password!r}")


@asynccontextmanager
async def decided_by(authenticator: Authenticator, **limits: float) -> AsyncGenerator[Clients]:
    """A broker whose clients an authenticator lets in."""
    config = Config.model_validate({**CONFIG, "limits": limits})
    clock = ManualClock()
    async with Broker(config, clock=clock, authenticators=authenticator) as broker:
        clients = Clients(broker, clock)
        try:
            yield clients
        finally:
            await clients.close()


async def asking(clients: Clients, client_id: str) -> Peer:
    """A client that has sent CONNECT."""
    peer = await clients.open()
    await peer.send(Connect(client_id).encode())
    return peer


# --- what is asked -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_request_says_all_that_is_known(version: int) -> None:
    gate = Gate()
    async with decided_by(gate) as clients:
        peer = await clients.open()
        peer.version = version
        connect = Connect("c", version, username="ü", password=b"\x00\xff")
        await peer.send(connect.encode())
        await gate.reached(1)

        request = gate.asked["c"]
        assert request == AuthenticationRequest(
            client_id="c",
            username="ü",
            password=b"\x00\xff",
            listener=clients.broker.config.listeners[0].name,
            mount_point="",
            peer="{}:{}".format(*peer.writer.get_extra_info("sockname")),
            protocol_version=version,
        )
        gate.let_in("c")
        assert (await peer.packet(2)).reason == 0
        [session] = await clients.broker.sessions()
        assert session.user == "c"


async def test_a_client_without_credentials_is_asked_about_as_well() -> None:
    gate = Gate()
    async with decided_by(gate) as clients:
        await asking(clients, "c")
        await gate.reached(1)

        assert gate.asked["c"].username is None
        assert gate.asked["c"].password is None
        assert gate.asked["c"].current_user is None


async def test_an_authentication_method_is_not_for_a_single_authenticator() -> None:
    """[MQTT-4.12.0-1]: it would not know what to do with the data."""
    async with decided_by(Always(Identity("u"))) as clients:
        peer = await clients.open()
        connack = await peer.connect(
            Connect("c", properties=(("authentication_method", "SCRAM-SHA-256"),))
        )

        assert connack.reason == 0x8C


# --- what can be answered ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "in_5", "in_4"),
    [
        (0x86, 0x86, 4),
        (0x87, 0x87, 5),
        (0x88, 0x88, 3),
        (0x89, 0x89, 3),
        (0x8A, 0x8A, 5),
        (0x97, 0x97, 3),
        (0x9C, 0x9C, 3),
        (0x8B, 0x88, 3),
        (0x8E, 0x80, 3),
        (0xFF, 0x80, 3),
    ],
)
async def test_a_refusal_has_the_reason_that_a_connack_may_have(
    code: int, in_5: int, in_4: int
) -> None:
    """[MQTT-3.2.2-8] [MQTT3-3.2.2-5]: any other becomes one that it may have."""
    async with decided_by(Always(Refusal(code, "not today: ü"))) as clients:
        for version, reason in ((5, in_5), (4, in_4), (3, in_4)):
            peer = await clients.open()
            connack = await peer.connect(Connect("c", version))

            assert connack.reason == reason
            assert connack.get("reason_string") == ("not today: ü" if version == 5 else None)
            assert await peer.rest() == []
        await clients.settle()
        assert clients.broker.counters()["connects_refused"] == 3
        assert await clients.broker.sessions() == []


@pytest.mark.parametrize(
    "answer",
    [
        None,
        True,
        "yes",
        Refusal(0),
        Refusal(0x7F),
        Refusal(0x100),
        Refusal(-1),
        Refusal(0x87, "a\0b"),
        Refusal(0x87, "x" * 65_536),
        Identity("u", client_id=""),
        Identity("u", client_id="a\0b"),
        Identity("u", client_id="x" * 65_536),
        Identity("\ud800"),
        Identity(7),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    ],
    ids=repr,
)
async def test_an_answer_that_is_none_means_no(
    answer: ANSWER, caplog: pytest.LogCaptureFixture
) -> None:
    async with decided_by(Always(answer)) as clients:
        peer = await clients.open()
        connack = await peer.connect(Connect("c", username="u", password=SECRET))

        assert connack.reason == 0x87
        assert connack.get("reason_string") is None
        [record] = [each for each in caplog.records if each.name == "quantummq.auth"]
        assert record.levelno == logging.ERROR
        assert "client 'c', user 'u' from 127.0.0.1:" in record.getMessage()


@pytest.mark.parametrize("version", [4, 5])
async def test_an_identity_may_bring_the_client_identifier(version: int) -> None:
    """[MQTT-3.1.3-7]: for a client that has none; its session may live on either shard."""
    for number in range(10):
        given = f"given-{number}"
        async with decided_by(Always(Identity("u", client_id=given))) as clients:
            peer = await clients.open()
            connack = await peer.connect(Connect("", version))
            assert connack.reason == 0
            assert connack.get("assigned_client_identifier") == (given if version == 5 else None)

            other = await clients.open()
            connack = await other.connect(Connect("own", version))
            assert connack.get("assigned_client_identifier") is None

            await peer.subscribe("a")
            await other.publish("a", b"1", qos=1)
            assert (await peer.message()).payload == b"1"
            names = {session.client_id for session in await clients.broker.sessions()}
            assert names == {given, "own"}


async def test_without_one_the_broker_makes_the_client_identifier() -> None:
    """[MQTT-3.1.3-6] [MQTT-3.2.2-16]: each its own."""
    async with decided_by(Always(Identity("u"))) as clients:
        peers = [await clients.connect("") for _ in range(10)]
        given = {peer.connack.get("assigned_client_identifier") for peer in peers if peer.connack}

        assert len(given) == 10
        assert given == {session.client_id for session in await clients.broker.sessions()}


async def test_a_session_is_taken_over_by_its_own_identity_alone() -> None:
    """And not before the new connection is let in."""
    gate = Gate()
    async with decided_by(gate) as clients:
        first = await asking(clients, "c")
        await gate.reached(1)
        gate.answers["c"].set_result(Identity("alice"))
        await first.packet(2)

        gate.asked.clear()
        second = await asking(clients, "c")
        await gate.reached(1)
        await first.ping()
        gate.answers["c"].set_result(Refusal())
        assert (await second.packet(2)).reason == 0x87
        await first.ping()

        gate.asked.clear()
        third = await asking(clients, "c")
        await gate.reached(1)
        gate.answers["c"].set_result(Identity("bob"))
        assert (await third.packet(2)).reason >= 0x80
        await first.ping()

        gate.asked.clear()
        fourth = await asking(clients, "c")
        await gate.reached(1)
        gate.answers["c"].set_result(Identity("alice"))
        assert (await fourth.packet(2)).reason == 0
        assert await first.refused() == 0x8E


# --- bounds ------------------------------------------------------------------------------------


async def test_a_decision_that_takes_too_long_is_no(caplog: pytest.LogCaptureFixture) -> None:
    """At limits.decision_timeout_s; its coroutine ends, and the log says for whom."""
    gate = Gate()
    async with decided_by(gate, decision_timeout_s=3) as clients:
        peer = await asking(clients, "slow")
        await gate.reached(1)
        await clients.clock.advance(2.999)
        assert gate.cancelled == []
        await clients.clock.advance(0.001)

        assert (await peer.packet(2)).reason == 0x87
        assert await peer.rest() == []
        while not gate.cancelled:
            await asyncio.sleep(0)
        assert "client 'slow', user None from 127.0.0.1:" in caplog.text
        assert "no decision in 3 s" in caplog.text

        quick = await asking(clients, "quick")
        await gate.reached(2)
        await clients.clock.advance(2.999)
        gate.let_in("quick")
        assert (await quick.packet(2)).reason == 0


async def test_an_answer_that_comes_too_late_has_no_effect() -> None:
    """Even from an authenticator that does not let itself be cancelled."""
    done = asyncio.Event()

    class Stubborn:
        async def authenticate(self, request: AuthenticationRequest) -> ANSWER:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                done.set()
            return Identity(request.client_id)

    async with decided_by(Stubborn()) as clients:
        peer = await asking(clients, "c")
        await clients.settle()
        await asyncio.sleep(0)
        await clients.clock.advance(2)
        assert (await peer.packet(2)).reason == 0x87
        await done.wait()
        await clients.settle()

        assert await clients.broker.sessions() == []
        assert await peer.rest() == []


async def test_the_connect_timeout_goes_on_while_a_decision_is_waited_for() -> None:
    """The earlier of the two counts: here a connect timeout of one second.

    Whichever shard reads the CONNECT, and whichever it is for.
    """
    gate = Gate()
    listener = {"address": "tcp://127.0.0.1:0", "connect_timeout_s": 1}
    config = Config.model_validate({**CONFIG, "listener": [listener]})
    clock = ManualClock()
    async with Broker(config, clock=clock, authenticators=gate) as broker:
        clients = Clients(broker, clock)
        peers = [await asking(clients, f"c{number}") for number in range(20)]
        await gate.reached(20)
        await clock.advance(1)

        for peer in peers:
            assert (await peer.packet(2)).reason == 0x87
        await clients.close()


@pytest.mark.parametrize("at_once", [True, False])
async def test_one_more_than_the_limit_is_told_to_come_again(at_once: bool) -> None:
    """limits.authentications: exactly so many wait, whether they come together or not."""
    gate = Gate()
    async with decided_by(gate, authentications=3) as clients:
        peers: list[Peer] = []
        for number in range(5):
            peers.append(await asking(clients, f"c{number}"))
            if not at_once:
                await clients.settle()
                await asyncio.sleep(0)
        await gate.reached(3)

        waiting = list(gate.asked)
        for number, peer in enumerate(peers):
            if f"c{number}" not in waiting:
                assert (await peer.packet(2)).reason == 0x89
        assert len(waiting) == 3

        for client_id in waiting:
            gate.let_in(client_id)
            assert (await peers[int(client_id[1:])].packet(2)).reason == 0
        again = await asking(clients, "again")
        await gate.reached(4)
        gate.let_in("again")
        assert (await again.packet(2)).reason == 0


async def test_hundreds_at_once_are_all_decided() -> None:
    """Some at once, some after waiting, some not at all."""

    class Mixed:
        async def authenticate(self, request: AuthenticationRequest) -> ANSWER:
            number = int(request.client_id)
            for _ in range(number % 4):
                await asyncio.sleep(0)
            if number % 5 == 0:
                return Refusal(0x86)
            if number % 7 == 0:
                raise LookupError
            return Identity(str(number))

    async with decided_by(Mixed()) as clients:
        peers = [await asking(clients, str(number)) for number in range(300)]
        reasons = [(await peer.packet(2)).reason for peer in peers]

    assert reasons == [
        0x86 if number % 5 == 0 else 0x87 if number % 7 == 0 else 0 for number in range(300)
    ]


# --- while it waits ----------------------------------------------------------------------------


async def test_what_follows_the_connect_is_handled_after_the_decision_in_order() -> None:
    """A client may send before CONNACK (MQTT 5 §3.1.4)."""
    gate = Gate()
    async with decided_by(gate) as clients:
        peer = await clients.open()
        publishes = b"".join(
            Publish("a", b"%d" % number, 1, packet_id=number + 1).encode(5) for number in range(50)
        )
        async with clients.broker.subscribe("a") as messages:
            await peer.send(Connect("c").encode() + publishes + packet(PINGREQ, 0, b""))
            await gate.reached(1)
            await clients.settle()
            assert clients.broker.counters()["messages_received"] == 0
            gate.let_in("c")

            assert (await peer.packet(2)).reason == 0
            for number in range(50):
                assert (await peer.packet(4)).packet_id == number + 1
                assert (await anext(messages)).payload == b"%d" % number
            await peer.packet(PINGRESP)


async def test_a_client_that_waits_is_not_read_from() -> None:
    """Its flood stays in its socket; nothing of it is kept in memory."""
    gate = Gate()
    async with decided_by(gate) as clients:
        peer = await asking(clients, "c")
        await gate.reached(1)
        before = clients.broker.counters()["bytes_received"]
        peer.writer.write(Publish("a", bytes(32 * 1024 * 1024)).encode(5))
        for _ in range(5):
            await clients.settle()

        assert clients.broker.counters()["bytes_received"] == before
        assert peer.writer.transport.get_write_buffer_size() > 0
        peer.writer.transport.abort()


async def test_what_was_sent_with_the_connect_is_read_once() -> None:
    """What comes with the CONNECT is kept, and no more than one read of it."""
    gate = Gate()
    async with decided_by(gate) as clients:
        peer = await clients.open()
        flood = Connect("c").encode() + Publish("a", bytes(32 * 1024 * 1024)).encode(5)
        peer.writer.write(flood)
        await gate.reached(1)
        for _ in range(5):
            await clients.settle()

        assert clients.broker.counters()["bytes_received"] <= 1024 * 1024
        peer.writer.transport.abort()


async def test_a_refused_client_has_nothing_handled() -> None:
    """[MQTT-3.1.4-6]: what followed its CONNECT is forgotten."""
    gate = Gate()
    async with decided_by(gate) as clients:
        peer = await clients.open()
        await peer.send(Connect("c").encode() + Publish("a", b"1", retain=True).encode(5))
        await gate.reached(1)
        gate.answers["c"].set_result(Refusal())

        assert (await peer.packet(2)).reason == 0x87
        assert await peer.rest() == []
        assert await clients.broker.retained("#") == []


async def test_a_client_that_leaves_while_it_waits_is_forgotten() -> None:
    gate = Gate()
    async with decided_by(gate, authentications=1) as clients:
        for number in range(3):
            peer = await asking(clients, f"c{number}")
            await gate.reached(number + 1)
            peer.writer.transport.abort()
            await clients.settle()
            gate.let_in(f"c{number}")
            await asyncio.sleep(0)
        await clients.settle()

        assert await clients.broker.sessions() == []
        assert clients.broker.counters()["connections"] == 0


async def test_others_are_served_while_one_waits() -> None:
    class Patient:
        async def authenticate(self, request: AuthenticationRequest) -> ANSWER:
            if request.client_id == "slow":
                await asyncio.Event().wait()
            return Identity(request.client_id)

    async with decided_by(Patient()) as clients:
        await asking(clients, "slow")
        await clients.settle()
        for number in range(10):
            peer = await clients.connect(f"c{number}")
            await peer.subscribe("a")
            await peer.publish("a", b"1", qos=1)
            assert (await peer.message()).payload == b"1"


async def test_a_stop_leaves_no_decision_behind(caplog: pytest.LogCaptureFixture) -> None:
    """Clients are told that the server goes, and nothing is said of a decision that was late."""
    gate = Gate()
    async with decided_by(gate) as clients:
        peers = [await asking(clients, f"c{number}") for number in range(3)]
        await gate.reached(3)
        await clients.broker.stop()

        for peer in peers:
            assert (await peer.packet(2)).reason == 0x88
            assert await peer.rest() == []
        assert sorted(gate.cancelled) == ["c0", "c1", "c2"]
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "quantummq decisions" not in names
    assert caplog.text == ""


# --- faults ------------------------------------------------------------------------------------


async def test_an_authenticator_that_fails_denies_and_the_log_says_where(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not what: the error's text may hold what the client sent."""
    with caplog.at_level(logging.DEBUG):
        async with decided_by(Careless()) as clients:
            peer = await clients.open()
            connack = await peer.connect(Connect("c", username="u", password=SECRET))

            assert connack.reason == 0x87
            assert connack.get("reason_string") is None
            assert await peer.rest() == []

    assert "client 'c', user 'u' from 127.0.0.1:" in caplog.text
    assert "the authenticator failed: LookupError in" in caplog.text
    assert "test_decisions.py" in caplog.text
    assert SECRET.decode() not in caplog.text
