"""TLS: who is let in, which versions are spoken, and certificates that change while it runs."""

import asyncio
import shutil
import socket
import ssl
from pathlib import Path

import pytest

from quantummq.broker import Broker
from quantummq.cli.reload import CertificateWatch
from quantummq.clock import ManualClock
from quantummq.config import Config
from quantummq.engine import EngineError
from quantummq.errors import QuantumMQError
from quantummq.log import facts_of
from tests.certificates import Certificates, write_certificates
from tests.packets import PINGREQ, Connect, packet
from tests.peer import TIMEOUT_S, Clients, Peer
from tests.transports import dial, open_tls, trusting

ANY, REQUIRE, OPTIONAL, ONLY_13 = range(4)
ALERT = b"\x15\x03\x03"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Files that a test may replace."""
    return write_certificates(tmp_path, "device-7")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The files of another authority."""
    return write_certificates(tmp_path_factory.mktemp("others"))


@pytest.fixture
def config(certificates: Certificates) -> Config:
    """Listeners that differ in what they ask of clients, in the order of the names above."""
    own = {"certificate": certificates.server, "key": certificates.server_key}
    asking = {**own, "client_ca": certificates.ca}
    tables = [
        own,
        {**asking, "client_certificate": "require"},
        {**asking, "client_certificate": "optional"},
        {**own, "minimum_version": "1.3"},
    ]
    return Config.model_validate(
        {
            "broker": {"shards": 2, "seed": 7},
            "listener": [
                {"address": "tls://127.0.0.1:0", "name": f"{index}", "tls": table}
                for index, table in enumerate(tables)
            ],
        }
    )


async def connected(clients: Clients, listener: int, tls: ssl.SSLContext) -> Peer:
    """A client past CONNACK."""
    peer = await open_tls(clients.broker.addresses[listener], tls)
    clients.peers.append(peer)
    assert (await peer.connect(Connect("client"))).reason == 0
    return peer


async def is_refused(clients: Clients, listener: int, tls: ssl.SSLContext) -> bool:
    """Whether TLS ends before CONNACK; with TLS 1.3 a client learns it on its first read."""
    try:
        peer = await open_tls(clients.broker.addresses[listener], tls)
    except (ssl.SSLError, ConnectionError):
        return True
    try:
        await peer.connect(Connect("client"))
    except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
        return True
    finally:
        peer.writer.close()
    return False


# --- who is let in -----------------------------------------------------------------------------


async def test_a_client_with_a_certificate_of_the_authority_is_let_in(
    clients: Clients, certificates: Certificates
) -> None:
    for listener in (REQUIRE, OPTIONAL):
        await connected(clients, listener, trusting(certificates, show=True))


async def test_a_client_without_one_is_let_in_where_it_is_not_required(
    clients: Clients, certificates: Certificates
) -> None:
    tls = trusting(certificates)

    assert not await is_refused(clients, OPTIONAL, tls)
    assert await is_refused(clients, REQUIRE, tls)


@pytest.mark.parametrize("listener", [REQUIRE, OPTIONAL])
async def test_a_certificate_of_another_authority_is_refused(
    clients: Clients, certificates: Certificates, others: Certificates, listener: int
) -> None:
    tls = trusting(certificates)
    tls.load_cert_chain(others.client, others.client_key)

    assert await is_refused(clients, listener, tls)


async def test_a_servers_certificate_is_no_clients(
    clients: Clients, certificates: Certificates
) -> None:
    """Its extended key usage says what it is for, RFC 5280 §4.2.1.12."""
    tls = trusting(certificates)
    tls.load_cert_chain(certificates.server, certificates.server_key)

    assert await is_refused(clients, REQUIRE, tls)


@pytest.mark.parametrize(
    ("listener", "version", "spoken"),
    [
        (ANY, ssl.TLSVersion.TLSv1_2, True),
        (ANY, ssl.TLSVersion.TLSv1_3, True),
        (ONLY_13, ssl.TLSVersion.TLSv1_2, False),
        (ONLY_13, ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_the_oldest_version_is_as_configured(
    clients: Clients,
    certificates: Certificates,
    listener: int,
    version: ssl.TLSVersion,
    spoken: bool,
) -> None:
    tls = trusting(certificates)
    tls.minimum_version = tls.maximum_version = version

    assert await is_refused(clients, listener, tls) is not spoken


async def test_a_handshake_that_stops_is_closed_at_the_connect_timeout(clients: Clients) -> None:
    silent = Peer(*await dial(clients.broker.addresses[ANY]))
    half = Peer(*await dial(clients.broker.addresses[ANY]))
    clients.peers += [silent, half]
    await half.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    await clients.settle()

    await clients.clock.advance(10)

    async with asyncio.timeout(TIMEOUT_S):
        ends = [await silent.reader.read(), await half.reader.read()]
    assert all(end in (b"", ALERT + end[3:]) for end in ends)


async def test_a_handshake_without_connect_is_closed_at_the_connect_timeout(
    clients: Clients, certificates: Certificates
) -> None:
    peer = await open_tls(clients.broker.addresses[ANY], trusting(certificates))
    clients.peers.append(peer)
    await clients.settle()

    await clients.clock.advance(10)

    async with asyncio.timeout(TIMEOUT_S):
        assert await peer.reader.read() == b""


# --- certificates that change ------------------------------------------------------------------


async def shown(clients: Clients, listener: int = ANY) -> bytes:
    """The certificate that a new connection is shown, DER."""
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    peer = await open_tls(clients.broker.addresses[listener], tls)
    clients.peers.append(peer)
    certificate = peer.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(certificate, bytes)
    return certificate


def der(certificate: Path) -> bytes:
    """A PEM file's certificate, DER."""
    return ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))


def replace(certificates: Certificates, others: Certificates) -> None:
    """Puts the other authority's server certificate in the place of ours."""
    shutil.copy(others.server, certificates.server)
    shutil.copy(others.server_key, certificates.server_key)


async def test_a_new_certificate_is_for_new_connections_and_old_ones_stay(
    clients: Clients, certificates: Certificates, others: Certificates
) -> None:
    before = der(certificates.server)
    old = await connected(clients, ANY, trusting(certificates))
    assert await shown(clients) == before
    replace(certificates, others)

    await clients.broker.reload_tls()

    assert await shown(clients) == der(others.server) != before
    await old.ping()
    await connected(clients, ANY, trusting(others))
    assert await is_refused(clients, ANY, trusting(certificates))


async def test_new_authorities_are_for_new_connections(
    clients: Clients, certificates: Certificates, others: Certificates
) -> None:
    ours = trusting(certificates, show=True)
    old = await connected(clients, REQUIRE, ours)
    shutil.copy(others.ca, certificates.ca)

    await clients.broker.reload_tls()

    assert await is_refused(clients, REQUIRE, ours)
    await old.send(packet(PINGREQ, 0, b""))
    await old.packet(13)
    ours.load_cert_chain(others.client, others.client_key)
    await connected(clients, REQUIRE, ours)


async def test_a_certificate_that_cannot_be_used_changes_nothing(
    clients: Clients, certificates: Certificates, others: Certificates
) -> None:
    before = der(certificates.server)
    certificates.server.write_text("not a certificate", encoding="ascii")
    with pytest.raises(EngineError, match="certificate"):
        await clients.broker.reload_tls()

    shutil.copy(others.server, certificates.server)
    with pytest.raises(EngineError, match="belong together"):
        await clients.broker.reload_tls()

    certificates.server.unlink()
    with pytest.raises(QuantumMQError, match="no file at"):
        await clients.broker.reload_tls()

    assert await shown(clients) == before


async def test_a_fault_in_one_listener_does_not_keep_the_others_from_theirs(
    tmp_path: Path, others: Certificates
) -> None:
    first = write_certificates(make(tmp_path / "first"))
    second = write_certificates(make(tmp_path / "second"))
    before = der(first.server)
    config = Config.model_validate(
        {
            "listener": [
                {
                    "address": "tls://127.0.0.1:0",
                    "name": name,
                    "tls": {"certificate": files.server, "key": files.server_key},
                }
                for name, files in (("broken", first), ("sound", second))
            ]
        }
    )
    clock = ManualClock()
    async with Broker(config, clock=clock) as broker:
        clients = Clients(broker, clock)
        first.server.write_text("broken", encoding="ascii")
        replace(second, others)

        with pytest.raises(EngineError, match="broken"):
            await broker.reload_tls()

        assert await shown(clients, 0) == before
        assert await shown(clients, 1) == der(others.server)
        await clients.close()


def make(folder: Path) -> Path:
    """A folder that is there."""
    folder.mkdir()
    return folder


async def test_a_watch_sees_changed_files_and_tries_again_until_they_fit(
    clients: Clients,
    certificates: Certificates,
    others: Certificates,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A pair is often replaced file by file: until both are there the old ones stay."""
    watch = CertificateWatch(clients.broker.config, clients.broker.reload_tls)
    before = der(certificates.server)
    assert not await watch.look()

    shutil.copy(others.server, certificates.server)
    assert not await watch.look()
    assert not await watch.look()
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    assert "belong together" in str(facts_of(caplog.records[0])["why"])
    assert await shown(clients) == before
    shutil.copy(others.server_key, certificates.server_key)
    assert await watch.look()

    assert await shown(clients) == der(others.server)
    assert not await watch.look()


@pytest.mark.parametrize(
    ("listener", "is_resumed"), [(ANY, True), (REQUIRE, False), (OPTIONAL, False)]
)
async def test_a_session_is_resumed_only_where_no_certificate_is_asked_for(
    clients: Clients, certificates: Certificates, listener: int, is_resumed: bool
) -> None:
    """Else an old session would get past authorities that have changed since."""
    tls = trusting(certificates, show=True)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2  # Its ticket comes with the handshake.
    host, _, port = clients.broker.addresses[listener].removeprefix("tls://").rpartition(":")

    def resume() -> bool:
        """Two handshakes, the second with what the first was given."""
        session: ssl.SSLSession | None = None
        reused: bool | None = None
        for _ in range(2):
            with (
                socket.create_connection((host, int(port)), TIMEOUT_S) as plain,
                tls.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
            ):
                session = secure.session
                reused = secure.session_reused
        return bool(reused)

    assert await asyncio.to_thread(resume) is is_resumed
