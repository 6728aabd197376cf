"""Every kind of listener carries MQTT, all versions of it, beside WebSocket on the same port."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from quantummq.engine import EngineError
from tests.certificates import Certificates, write_certificates
from tests.packets import Connect
from tests.peer import Clients, Peer
from tests.product import free_port
from tests.transports import WebSocketPeer, dial, trusting

KINDS = ["tcp", "tcp6", "unix", "tls", "ws", "wss"]
WAYS = [*KINDS, "ws on tcp", "ws on tcp6", "ws on unix", "ws on tls"]
LARGE = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority that the clients trust, and the broker's certificate."""
    return write_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def config(certificates: Certificates, tmp_path: Path) -> Config:
    """One listener of each kind, in the order of `KINDS`."""
    addresses = ["tcp://127.0.0.1:0", "tcp://[::1]:0", f"unix:{tmp_path}/broker.sock"]
    addresses += ["tls://127.0.0.1:0", "ws://127.0.0.1:0", "wss://127.0.0.1:0"]
    return Config.model_validate(
        {
            "broker": {"shards": 2, "seed": 7},
            "tls": {"certificate": certificates.server, "key": certificates.server_key},
            "listener": [
                {"address": address, "name": name}
                for address, name in zip(addresses, KINDS, strict=True)
            ],
        }
    )


async def reach(clients: Clients, way: str, certificates: Certificates) -> Peer:
    """A connection by one of `WAYS`; nothing of MQTT is sent yet."""
    kind = way.removeprefix("ws on ")
    address = clients.broker.addresses[KINDS.index(kind)]
    tls = trusting(certificates) if kind in ("tls", "wss") else None
    peer: Peer
    if kind in ("ws", "wss") or kind != way:
        peer = await WebSocketPeer.open(address, tls=tls)
    else:
        peer = Peer(*await dial(address, tls))
    clients.peers.append(peer)
    return peer


@pytest.mark.parametrize("version", [5, 4, 3])
@pytest.mark.parametrize("way", WAYS)
async def test_messages_go_both_ways_over_each_transport(
    clients: Clients, certificates: Certificates, way: str, version: int
) -> None:
    """[MQTT-4.2.0-1] [MQTT-6.0.0-4]."""
    here = await reach(clients, way, certificates)
    await here.connect(Connect("here", version=version))
    there = await clients.connect("there")
    await here.subscribe("to/here", qos=2)
    await there.subscribe("to/there", qos=2)

    await here.publish("to/there", b"from here", qos=2)
    await there.publish("to/here", b"from there", qos=2)

    assert (await there.message()).payload == b"from here"
    assert (await here.message()).payload == b"from there"


@pytest.mark.parametrize("way", WAYS)
async def test_a_message_of_a_megabyte_comes_back_whole(
    clients: Clients, certificates: Certificates, way: str
) -> None:
    peer = await reach(clients, way, certificates)
    await peer.connect(Connect("large"))
    await peer.subscribe("large", qos=1)

    await peer.publish("large", LARGE, qos=1)

    assert (await peer.message()).payload == LARGE


@pytest.mark.parametrize("way", WAYS)
async def test_packets_may_come_byte_by_byte(
    clients: Clients, certificates: Certificates, way: str
) -> None:
    """With WebSocket, each byte in a frame of its own. [MQTT-6.0.0-2]."""
    peer = await reach(clients, way, certificates)

    for byte in Connect("slow").encode():
        await peer.send(bytes([byte]))

    assert (await peer.next()) == await (await reach(clients, way, certificates)).connect(
        Connect("quick")
    )


@pytest.mark.parametrize("way", WAYS)
async def test_many_packets_may_come_at_once(
    clients: Clients, certificates: Certificates, way: str
) -> None:
    """[MQTT-6.0.0-2]."""
    peer = await reach(clients, way, certificates)
    everything = Connect("eager").encode() + b"\x82\x08\x00\x01\x00\x00\x02in\x00"
    everything += b"\x30\x05\x00\x02in\x00" * 1000

    await peer.send(everything)

    await peer.next()
    await peer.next()
    assert [received.topic for received in await peer.messages(1000)] == ["in"] * 1000


@pytest.mark.parametrize("kind", ["ws", "wss"])
async def test_a_websocket_listener_takes_nothing_else(
    clients: Clients, certificates: Certificates, kind: str
) -> None:
    address = clients.broker.addresses[KINDS.index(kind)]
    peer = Peer(*await dial(address, trusting(certificates) if kind == "wss" else None))
    clients.peers.append(peer)

    await peer.send(Connect("plain").encode())

    answer = await peer.reader.read()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


async def test_the_addresses_tell_the_schemes(clients: Clients) -> None:
    schemes = [address.partition(":")[0] for address in clients.broker.addresses]

    assert schemes == ["tcp", "tcp", "unix", "tls", "ws", "wss"]


async def test_plain_mqtt_on_a_tls_port_is_closed(clients: Clients) -> None:
    peer = Peer(*await dial(clients.broker.addresses[KINDS.index("tls")]))
    clients.peers.append(peer)

    await peer.send(Connect("plain").encode())

    alert = await peer.reader.read()
    assert alert[:1] in (b"", b"\x15")  # Nothing, or TLS's alert: never CONNACK.


def own_sockets() -> Iterator[socket.socket]:
    """Every socket of this process, which the broker of the test shares, as a duplicate."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
            found = socket.socket(fileno=socket.dup(int(entry.name)))
        except OSError:
            continue
        with found:
            yield found


def is_listening(found: socket.socket, port: int) -> bool:
    """Whether it is the socket that listens on that TCP port."""
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(listens) and found.getsockname()[1] == port


@pytest.mark.parametrize("kind", ["tcp", "tcp6", "tls", "ws", "wss"])
async def test_the_kernel_keeps_a_thousand_connections_waiting(clients: Clients, kind: str) -> None:
    """The backlog as the kernel has it: `tcpi_sacked` of a listening socket's tcp_info."""
    port = int(clients.broker.addresses[KINDS.index(kind)].rpartition(":")[2])
    bound = int(Path("/proc/sys/net/core/somaxconn").read_text(encoding="ascii"))
    backlogs = [
        struct.unpack_from("=I", found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0]
        for found in own_sockets()
        if is_listening(found, port)
    ]

    assert set(backlogs) == {min(1024, bound)}


@pytest.mark.parametrize("way", [way for way in WAYS if not way.endswith("unix")])
async def test_small_packets_do_not_wait_for_acknowledgements(
    clients: Clients, certificates: Certificates, way: str
) -> None:
    """TCP_NODELAY is set on the broker's end of a connection."""
    peer = await reach(clients, way, certificates)
    await peer.connect(Connect("prompt"))
    ours = peer.writer.get_extra_info("sockname")

    flags = [
        found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for found in own_sockets()
        if is_peer_of(found, ours)
    ]

    assert flags == [1]


def is_peer_of(found: socket.socket, address: object) -> bool:
    """Whether a socket is the other end of a connection from `address`."""
    try:
        return found.family != socket.AF_UNIX and found.getpeername() == address
    except OSError:
        return False


@pytest.fixture
async def everywhere() -> AsyncIterator[Clients]:
    """A broker on every interface, by the host `*`."""
    config = Config.model_validate(
        {"broker": {"anonymous": True}, "listener": [{"address": "tcp://*:0"}]}
    )
    clock = ManualClock()
    async with Broker(config, clock=clock) as broker:
        made = Clients(broker, clock)
        yield made
        await made.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_a_wildcard_listener_takes_ipv4_and_ipv6(everywhere: Clients, host: str) -> None:
    port = everywhere.broker.addresses[0].rpartition(":")[2]

    peer = await Peer.open(f"tcp://{host}:{port}")
    connack = await peer.connect(Connect("either"))

    assert connack.reason == 0
    sessions = await everywhere.broker.sessions()
    assert [session.client_id for session in sessions] == ["either"]
    await peer.close()


@pytest.mark.parametrize("order", [("0.0.0.0", "[::]"), ("[::]", "0.0.0.0")])
async def test_wildcards_of_both_families_share_a_port(order: tuple[str, str]) -> None:
    """The IPv6 one then leaves IPv4 to the other."""
    port, peers = free_port(), list[Peer]()
    config = Config.model_validate(
        {
            "broker": {"anonymous": True},
            "listener": [{"address": f"tcp://{host}:{port}"} for host in order],
        }
    )
    async with Broker(config) as broker:
        for host in ("127.0.0.1", "[::1]"):
            peer = await Peer.open(f"tcp://{host}:{port}")
            peers.append(peer)
            assert (await peer.connect(Connect(host))).reason == 0
        sessions = await broker.sessions()
        for peer in peers:
            await peer.close()

    assert {(session.client_id, session.peer.rpartition(":")[0]) for session in sessions} == {
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "[::1]"),
    }


async def test_an_address_in_use_says_so(clients: Clients) -> None:
    taken = clients.broker.addresses[0]
    config = Config.model_validate({"listener": [{"address": taken, "name": "second"}]})

    with pytest.raises(EngineError, match=r"second.*in use.*choose another port"):
        await Broker(config).start()


async def test_a_unix_socket_has_its_permissions_and_goes_with_the_broker(tmp_path: Path) -> None:
    path = tmp_path / "q.sock"
    table = {"address": f"unix:{path}", "unix_mode": "600"}
    async with Broker(Config.model_validate({"listener": [table]})):
        assert path.stat().st_mode & 0o777 == 0o600

    assert not path.exists()


async def test_a_socket_file_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "q.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    config = Config.model_validate({"listener": [{"address": f"unix:{path}"}]})

    async with Broker(config) as broker:
        peer = await Peer.open(broker.addresses[0])
        assert (await peer.connect(Connect("after"))).reason == 0
        await peer.close()


async def test_a_socket_file_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "q.sock"
    config = Config.model_validate({"listener": [{"address": f"unix:{path}"}]})
    async with Broker(config) as broker:
        with pytest.raises(EngineError, match=r"q\.sock"):
            await Broker(config).start()
        peer = await Peer.open(broker.addresses[0])
        assert (await peer.connect(Connect("still there"))).reason == 0
        await peer.close()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("keep me", encoding="ascii")
    config = Config.model_validate({"listener": [{"address": f"unix:{path}"}]})

    with pytest.raises(EngineError, match="precious"):
        await Broker(config).start()

    assert await asyncio.to_thread(path.read_text, encoding="ascii") == "keep me"
