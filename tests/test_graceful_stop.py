"""A stop tells every client why, keeps what sessions hold until then, and ends in time."""

import asyncio
import socket
from pathlib import Path

import pytest

from quantummq.auth import AuthenticationRequest, Identity
from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from tests.certificates import Certificates, write_certificates
from tests.packets import CONNACK, DISCONNECT, Connect, Packet, Publish, Will
from tests.peer import TIMEOUT_S, Clients, Peer
from tests.transports import CLOSE, WebSocketPeer, dial, open_tls, request, trusting

SERVER_SHUTTING_DOWN = 0x8B
TCP, TLS, SOCKET = range(3)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority that the clients trust, and the broker's certificate."""
    return write_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def config(certificates: Certificates, tmp_path: Path) -> Config:
    """A listener of each kind that ends differently."""
    addresses = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", f"unix:{tmp_path}/q.sock"]
    return Config.model_validate(
        {
            "broker": {"shards": 2, "seed": 7},
            "tls": {"certificate": certificates.server, "key": certificates.server_key},
            "listener": [{"address": address} for address in addresses],
        }
    )


async def stop(clients: Clients, deadline_s: float = 60) -> bool:
    """Stops the broker; whether everything could be sent."""
    async with asyncio.timeout(TIMEOUT_S):
        return await clients.broker.stop(deadline_s)


async def test_clients_of_version_5_are_told_and_closed(clients: Clients) -> None:
    """MQTT 5 §3.14.2.1; on every shard, so there are many of them."""
    peers = [await clients.connect(f"client-{number}") for number in range(20)]

    assert await stop(clients)

    assert [await peer.refused() for peer in peers] == [SERVER_SHUTTING_DOWN] * 20


@pytest.mark.parametrize("version", [3, 4])
async def test_clients_before_version_5_are_closed(clients: Clients, version: int) -> None:
    """They know no DISCONNECT from a server. [MQTT3-3.14.4-3]."""
    peer = await clients.connect("old", version=version)

    assert await stop(clients)

    assert await peer.rest() == []


async def test_the_last_words_come_through_tls_and_websocket(
    clients: Clients, certificates: Certificates
) -> None:
    secure = await open_tls(clients.broker.addresses[TLS], trusting(certificates))
    framed = await WebSocketPeer.open(clients.broker.addresses[TCP])
    both = await WebSocketPeer.open(clients.broker.addresses[TLS], tls=trusting(certificates))
    local = await Peer.open(clients.broker.addresses[SOCKET])
    peers = [secure, framed, both, local]
    clients.peers.extend(peers)
    for number, peer in enumerate(peers):
        await peer.connect(Connect(f"client-{number}"))

    assert await stop(clients)

    assert [await peer.refused() for peer in peers] == [SERVER_SHUTTING_DOWN] * 4
    assert (await framed.control())[0] == CLOSE
    assert (await both.control())[0] == CLOSE


async def test_what_was_on_its_way_comes_before_the_last_word(clients: Clients) -> None:
    sender = await clients.connect("sender")
    receiver = await clients.connect("receiver")
    await receiver.subscribe("t", qos=1)
    for number in range(1000):
        await sender.publish("t", b"%d" % number)
    await sender.ping()
    await clients.settle()

    assert await stop(clients)

    received = await receiver.rest()
    assert [int(each.payload) for each in received[:-1] if isinstance(each, Publish)] == [
        *range(1000)
    ]
    last = received[-1]
    assert isinstance(last, Packet)
    assert (last.kind, last.reason) == (DISCONNECT, SERVER_SHUTTING_DOWN)


async def test_a_lasting_session_and_its_will_outlive_the_stop(clients: Clients) -> None:
    """Ended by the stop, a session is not expired, and its will waits for it. [MQTT-3.1.2-10]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("will")
    will = Will("will", b"gone", properties=(("will_delay_interval", 60),))
    lasting = await clients.connect("lasting", expiry=600, will=will)
    await lasting.subscribe("t", qos=1)
    await clients.broker.publish("t", b"kept", retain=True)
    async with clients.broker.events() as events:
        assert await stop(clients)
        told = [event async for batch in events for event in batch]

    kinds = [event.kind for event in told if event.client_id == "lasting"]
    assert kinds == ["disconnected"]
    assert [each for each in await watcher.rest() if isinstance(each, Publish)] == []


async def test_a_client_that_does_not_read_is_cut_at_the_deadline(clients: Clients) -> None:
    """The others are told all the same, and the stop says that not everything was sent."""
    reader, writer = await dial_slowly(clients.broker.addresses[TCP])
    deaf = Peer(reader, writer)
    clients.peers.append(deaf)
    await deaf.connect(Connect("deaf"))
    await deaf.subscribe("flood")
    other = await clients.connect("other")
    for _ in range(200):
        await other.publish("flood", b"x" * 65_536)
    await other.ping()
    await clients.settle()

    in_time = await stop(clients, deadline_s=0.5)

    assert not in_time
    assert await other.refused() == SERVER_SHUTTING_DOWN


async def dial_slowly(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose kernel buffers are small."""
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.setblocking(False)
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    await asyncio.get_running_loop().sock_connect(stream, (host, int(port)))
    return await asyncio.open_connection(sock=stream)


async def test_half_open_handshakes_do_not_hold_the_stop_up(
    clients: Clients, certificates: Certificates
) -> None:
    """A connection that is not past CONNECT has nothing to be told."""
    silent = await clients.open(TCP)
    half = await clients.open(TCP)
    await half.send(Connect("half").encode()[:-3])
    greeting = await clients.open(TCP)
    await greeting.send(request()[:-4])
    plain = Peer(*await dial(clients.broker.addresses[TLS]))
    clients.peers.append(plain)
    await clients.settle()

    assert await stop(clients)

    for peer in (silent, half, greeting, plain):
        assert isinstance(await peer.reader.read(), bytes)


async def test_nobody_is_accepted_any_more(clients: Clients) -> None:
    tcp, _, local = clients.broker.addresses

    assert await stop(clients)

    for address in (tcp, local):
        with pytest.raises((ConnectionError, FileNotFoundError)):
            await Peer.open(address)
    assert clients.broker.addresses == ()


async def test_the_address_is_free_for_the_next_broker_at_once(clients: Clients) -> None:
    """Though connections of the old one are in TIME_WAIT."""
    address = clients.broker.addresses[TCP]
    peer = await clients.connect("client")
    assert await stop(clients)
    await peer.refused()

    config = Config.model_validate({"listener": [{"address": address}]})
    async with Broker(config, clock=ManualClock()) as again:
        other = await Peer.open(again.addresses[0])
        assert (await other.connect(Connect("client"))).kind == CONNACK
        await other.close()


async def test_a_second_stop_is_no_error(clients: Clients) -> None:
    assert await stop(clients)

    assert await stop(clients)


class Undecided:
    """An authenticator that never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def authenticate(self, request: AuthenticationRequest) -> Identity:
        """Waits for ever."""
        self.asked.set()
        await asyncio.Event().wait()
        return Identity(request.client_id)


async def test_a_decision_that_is_not_made_does_not_hold_the_stop_up(config: Config) -> None:
    undecided = Undecided()
    clock = ManualClock()
    broker = Broker(config, clock=clock, authenticators=undecided)
    async with broker:
        clients = Clients(broker, clock)
        peer = await clients.open(TCP)
        await peer.send(Connect("waiting").encode())
        async with asyncio.timeout(TIMEOUT_S):
            await undecided.asked.wait()

        assert await stop(clients)

        assert [each for each in await peer.rest() if isinstance(each, Publish)] == []
        await clients.close()
