"""MQTT 3.1 and 3.1.1: CONNECT and CONNACK, client identifiers, return codes, DISCONNECT."""

import string
from dataclasses import replace

import pytest

from quantummq.auth import AuthenticationRequest, Identity, Refusal
from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from tests.packets import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBLISH,
    SUBACK,
    Connect,
    Packet,
    Publish,
    Will,
    data,
    packet,
    text,
)
from tests.peer import Clients, Filter

versions = pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])
NAMES = {3: "MQIsdp", 4: "MQTT"}


def connect_bytes(version: int, flags: int, payload: bytes, level: int | None = None) -> bytes:
    """A CONNECT with any flags and payload, right or wrong."""
    level = version if level is None else level
    return packet(1, 0, text(NAMES[version]) + bytes([level, flags, 0, 0]) + payload)


@versions
async def test_the_first_packet_of_the_broker_is_a_connack_that_accepts(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.1.4-4] [MQTT3-3.2.0-1] [MQTT3-3.2.2-1] [MQTT3-3.2.2-3] [MQTT3-7.1.1-1]."""
    for clean in (True, False):
        peer = await clients.open()
        await peer.send(Connect(f"first{clean}", version, clean).encode())
        peer.version = version

        connack = await peer.packet(CONNACK)

        assert connack.flags == 0
        assert connack.body == b"\0\0"


@versions
async def test_what_comes_behind_connect_is_handled_after_connack(
    clients: Clients, version: int
) -> None:
    """A client need not wait for CONNACK [MQTT3-3.2.0-1]."""
    peer = await clients.open()
    peer.version = version
    subscribe = peer.subscribe_bytes(1, [Filter("a")])
    publish = Publish("a", b"early").encode(version)

    await peer.send(Connect("eager", version).encode() + subscribe + publish)

    kinds = [await peer.next(), await peer.next(), await peer.next()]
    assert [isinstance(each, Packet) and each.kind for each in kinds] == [CONNACK, SUBACK, False]
    assert isinstance(kinds[2], Publish)
    assert kinds[2].payload == b"early"


@versions
async def test_a_packet_before_connect_closes_the_connection(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.1.0-1]."""
    for first in (
        packet(PINGREQ, 0, b""),
        packet(DISCONNECT, 0, b""),
        Publish("a", b"1").encode(version),
        packet(CONNACK, 0, b"\0\0"),
    ):
        peer = await clients.open()
        peer.version = version
        await peer.send(first)

        assert await peer.refused() == -1


@versions
async def test_a_second_connect_closes_the_connection(clients: Clients, version: int) -> None:
    """[MQTT3-3.1.0-2] [MQTT3-4.8.0-1]."""
    peer = await clients.connect("twice", version=version)

    await peer.send(Connect("twice", version).encode())

    assert await peer.refused() == -1


async def test_a_protocol_name_that_is_not_mqtts_closes_the_connection(clients: Clients) -> None:
    """[MQTT3-3.1.2-1]."""
    for name in ("MQTTX", "mqtt", "MQIsdpX", "HTTP", ""):
        for level in (3, 4, 5):
            peer = await clients.open()
            await peer.send(packet(1, 0, text(name) + bytes([level, 2, 0, 0]) + text("a")))

            assert await peer.refused() == -1, name


@pytest.mark.parametrize(
    ("version", "level"), [(3, 2), (3, 4), (3, 5), (3, 0x83), (4, 0), (4, 3), (4, 0x84)]
)
async def test_a_level_that_is_not_spoken_is_answered_with_return_code_1(
    clients: Clients, version: int, level: int
) -> None:
    """A bridge of mosquitto tries 0x84 and 0x83 first [MQTT3-3.1.2-2] [MQTT3-3.2.2-5]."""
    peer = await clients.open()
    peer.version = 4
    await peer.send(connect_bytes(version, 2, text("a"), level))

    assert await peer.refused() == 1


MALFORMED_CONNECTS = {
    "the reserved flag [MQTT3-3.1.2-3]": (0x03, text("a")),
    "a Will QoS without a will [MQTT3-3.1.2-11] [MQTT3-3.1.2-13]": (0x0A, text("a")),
    "Will Retain without a will [MQTT3-3.1.2-11] [MQTT3-3.1.2-15]": (0x22, text("a")),
    "Will QoS 3 [MQTT3-3.1.2-14]": (0x1E, text("a") + text("w") + data(b"")),
    "a will that is missing [MQTT3-3.1.2-9]": (0x06, text("a")),
    "a will without message [MQTT3-3.1.2-9]": (0x06, text("a") + text("w")),
    "a will though the flag is 0 [MQTT3-3.1.2-11]": (0x02, text("a") + text("w") + data(b"x")),
    "a user name though the flag is 0 [MQTT3-3.1.2-18]": (0x02, text("a") + text("u")),
    "a password though the flag is 0 [MQTT3-3.1.2-20]": (
        0x82,
        text("a") + text("u") + data(b"p"),
    ),
    "no client identifier [MQTT3-3.1.3-3] [MQTT3-3.1.3-1]": (0x02, b""),
    "a client identifier that is cut short [MQTT3-3.1.3-3]": (0x02, b"\0\x05ab"),
    "a client identifier that is not UTF-8 [MQTT3-3.1.3-4] [MQTT3-1.5.3-1]": (
        0x02,
        data(b"\xff"),
    ),
    "a client identifier with NUL [MQTT3-3.1.3-4] [MQTT3-1.5.3-2]": (0x02, data(b"a\0b")),
    "a will topic that is not UTF-8 [MQTT3-3.1.3-10]": (
        0x06,
        text("a") + data(b"\xc3\x28") + data(b""),
    ),
    "a user name that is not UTF-8 [MQTT3-3.1.3-11]": (0x82, text("a") + data(b"\x80")),
    "a will topic with a wildcard": (0x06, text("a") + text("w/#") + data(b"")),
}


@versions
@pytest.mark.parametrize("what", MALFORMED_CONNECTS)
async def test_a_connect_that_does_not_conform_is_closed_without_connack(
    clients: Clients, version: int, what: str
) -> None:
    """See MALFORMED_CONNECTS; [MQTT3-3.1.4-1] [MQTT3-3.2.2-6]."""
    flags, payload = MALFORMED_CONNECTS[what]
    peer = await clients.open()
    peer.version = version
    await peer.send(connect_bytes(version, flags, payload))

    assert await peer.refused() == -1, what


@pytest.mark.parametrize(
    ("flags", "payload"),
    [
        pytest.param(0x82, text("a"), id="a user name that is missing [MQTT3-3.1.2-19]"),
        pytest.param(0xC2, text("a") + text("u"), id="a password that is missing [MQTT3-3.1.2-21]"),
        pytest.param(
            0x42, text("a") + data(b"p"), id="a password without user name [MQTT3-3.1.2-22]"
        ),
    ],
)
async def test_credentials_that_do_not_match_the_flags_close_the_connection(
    clients: Clients, flags: int, payload: bytes
) -> None:
    """3.1.1 alone: 3.1 lets the Remaining Length decide. [MQTT3-3.1.4-1]."""
    peer = await clients.open()
    peer.version = 4
    await peer.send(connect_bytes(4, flags, payload))

    assert await peer.refused() == -1


async def test_in_31_credentials_may_be_missing_whatever_the_flags_say(clients: Clients) -> None:
    """MQTT 3.1, section 3.1: the Remaining Length takes precedence over these two flags."""
    for flags, payload in ((0x82, text("a")), (0xC2, text("a") + text("u"))):
        peer = await clients.open()
        peer.version = 3
        await peer.send(connect_bytes(3, flags, payload))

        assert (await peer.packet(CONNACK)).reason == 0


@versions
async def test_client_identifiers_of_1_to_23_characters_are_taken(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.1.3-5]."""
    letters = string.digits + string.ascii_lowercase + string.ascii_uppercase
    names = [letters[start : start + 23] for start in range(0, len(letters), 13)] + ["x"]
    for name in names:
        peer = await clients.connect(name, version=version)

        assert peer.connack is not None
    held = {session.client_id for session in await clients.broker.sessions()}
    assert held >= set(names)


@versions
async def test_longer_client_identifiers_are_taken_up_to_65535_bytes(
    clients: Clients, version: int
) -> None:
    """3.1 would let a broker refuse them with 2; this one takes them, as most clients expect."""
    for name in ("x" * 24, "ü/☃ #+", "y" * 65_535):
        peer = await clients.open()

        assert (await peer.connect(Connect(name, version))).reason == 0


async def test_in_311_an_empty_client_identifier_gets_one_that_nobody_has(
    clients: Clients,
) -> None:
    """[MQTT3-3.1.3-6]."""
    first = await clients.connect("", version=4)
    second = await clients.connect("", version=4)

    await first.ping()
    await second.ping()
    names = [session.client_id for session in await clients.broker.sessions()]
    assert len(set(names)) == 2
    assert all(names)


async def test_in_311_an_empty_client_identifier_with_clean_session_0_gets_return_code_2(
    clients: Clients,
) -> None:
    """[MQTT3-3.1.3-8] [MQTT3-3.1.3-9] [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]."""
    peer = await clients.open()
    peer.version = 4
    await peer.send(Connect("", 4, clean=False).encode())

    connack = await peer.packet(CONNACK)

    assert connack.body == b"\0\x02"
    assert await peer.rest() == []


async def test_in_31_an_empty_client_identifier_gets_return_code_2(clients: Clients) -> None:
    """MQTT 3.1, section 3.1: the identifier has 1 to 23 characters."""
    for clean in (True, False):
        peer = await clients.open()
        peer.version = 3
        await peer.send(Connect("", 3, clean).encode())

        assert await peer.refused() == 2


@pytest.mark.parametrize("old", [3, 4, 5])
@pytest.mark.parametrize("new", [3, 4, 5])
async def test_a_client_identifier_in_use_disconnects_who_had_it(
    clients: Clients, old: int, new: int
) -> None:
    """Only MQTT 5 is told why. [MQTT3-3.1.4-2] [MQTT3-3.1.3-2]."""
    first = await clients.connect("same", version=old)

    second = await clients.connect("same", version=new)

    assert await first.refused() == (0x8E if old == 5 else -1)
    await second.ping()


@versions
async def test_disconnect_with_reserved_bits_closes_and_publishes_the_will(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.14.1-1] [MQTT3-2.2.2-2]."""
    watcher = await clients.connect("watcher", version=version)
    await watcher.subscribe("will")
    peer = await clients.connect("p", version=version, will=Will("will", b"gone"))

    await peer.send(packet(DISCONNECT, 1, b""))

    assert await peer.refused() == -1
    assert (await watcher.message()).payload == b"gone"


@versions
async def test_every_pingreq_gets_a_pingresp(clients: Clients, version: int) -> None:
    """[MQTT3-3.12.4-1] [MQTT3-2.2.2-1]."""
    peer = await clients.connect("p", version=version)

    await peer.send(packet(PINGREQ, 0, b"") * 3)

    assert [await peer.packet(PINGRESP) for _ in range(3)] == [Packet(PINGRESP, 0)] * 3


class Doorkeeper:
    """Lets in who knows the password; the others get the Reason Code their user name asks for."""

    async def authenticate(self, request: AuthenticationRequest) -> Identity | Refusal:
        """The verdict."""
        if request.password == b"right":
            return Identity(request.username or "")
        return Refusal(int(request.username or "135"), "not this way")


@versions
async def test_a_refusal_is_sent_as_the_return_code_nearest_to_it(version: int) -> None:
    """Codes of MQTT 5 never reach older clients [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]."""
    expected = {0x86: 4, 0x87: 5, 0x8A: 5, 0x88: 3, 0x89: 3, 0x97: 3, 0x85: 2, 0x9F: 3}
    clock = ManualClock()
    config = Config.model_validate({"listener": [{"address": "tcp://127.0.0.1:0"}]})
    async with Broker(config, clock=clock, authenticators=Doorkeeper()) as broker:
        clients = Clients(broker, clock)
        for reason, code in expected.items():
            peer = await clients.open()
            connect = Connect("p", version, username=str(reason), password=b"wrong")
            connack = await peer.connect(connect)

            assert connack.body == bytes([0, code]), hex(reason)
            assert await peer.rest() == []
        good = await clients.open()
        right = replace(Connect("p", version), username="u", password=b"right")
        assert (await good.connect(right)).reason == 0
        await clients.close()


@versions
async def test_what_follows_a_refused_connect_is_not_handled(version: int) -> None:
    """[MQTT3-3.1.4-5]."""
    clock = ManualClock()
    config = Config.model_validate({"listener": [{"address": "tcp://127.0.0.1:0"}]})
    async with Broker(config, clock=clock, authenticators=Doorkeeper()) as broker:
        clients = Clients(broker, clock)
        peer = await clients.open()
        peer.version = version
        refused = Connect("p", version, username="135", password=b"wrong").encode()
        retained = Publish("kept", b"x", retain=True).encode(version)
        await peer.send(refused + retained + Publish("kept2", b"x", retain=True).encode(version))

        assert await peer.refused() == 5
        await clients.settle()
        assert await broker.retained("#") == []
        await clients.close()


@versions
async def test_packets_that_only_a_server_sends_close_the_connection(
    clients: Clients, version: int
) -> None:
    """[MQTT3-4.8.0-1] [MQTT3-2.2.2-2]."""
    wrong = [
        packet(CONNACK, 0, b"\0\0"),
        packet(SUBACK, 0, b"\0\x01\0"),
        packet(PINGRESP, 0, b""),
        packet(0, 0, b""),
        packet(15, 0, b""),
        packet(PUBLISH, 0, b""),
    ]
    for each in wrong:
        peer = await clients.connect("p", version=version)
        await peer.send(each)

        assert await peer.refused() == -1, each
