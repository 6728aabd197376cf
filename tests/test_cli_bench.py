"""`quantummq bench`: what it measures, prints and refuses. Its numbers are never asserted."""

import asyncio
import json
import os
import socket
import threading
from contextlib import ExitStack

import pytest
from click.testing import CliRunner, Result

from quantummq.cli import cli
from quantummq.cli.bench_client import BenchError
from tests.peer import Clients

NAMES = ["connect", "qos0", "qos1", "qos2", "latency"]


def bench(port: int, *options: str) -> Result:
    """Runs the command; an error it raises on purpose is in the result."""
    runner = CliRunner()
    return runner.invoke(cli, ["bench", "--port", str(port), *options])


async def run(clients: Clients, *options: str) -> Result:
    """Runs the command beside the broker, briefly."""
    port = int(clients.broker.addresses[0].rpartition(":")[2])
    return await asyncio.to_thread(bench, port, "--seconds", "0.05", "--pairs", "2", *options)


async def test_bench_shows_every_measurement_in_a_table_that_fits_a_terminal(
    clients: Clients,
) -> None:
    result = await run(clients, "--pid", str(os.getpid()))

    assert result.exit_code == 0, result.output
    title, _, *rows = result.output.splitlines()
    assert "2 pairs, 64 bytes of payload" in title
    assert [row.split()[0] for row in rows] == ["measurement", *NAMES]
    assert all(len(row) <= 80 for row in rows)
    assert "broker CPU each" in rows[0]


async def test_bench_counts_every_message_at_every_qos(clients: Clients) -> None:
    """A batch is complete or it does not end: counts are multiples of it."""
    result = await run(clients, "--json", "--payload", "300")

    facts = json.loads(result.output)
    counts = {each["name"]: each["count"] for each in facts["measurements"]}
    assert list(counts) == NAMES
    assert all(count > 0 for count in counts.values())
    assert [counts[f"qos{qos}"] % 64 for qos in range(3)] == [0, 0, 0]
    assert facts["payload_bytes"] == 300


async def test_bench_measures_what_was_asked_for_with_mqtt_3_1_1(clients: Clients) -> None:
    result = await run(clients, "--json", "-V", "311", "-m", "qos2", "-m", "latency")

    facts = json.loads(result.output)
    assert facts["protocol"] == 4
    assert [each["name"] for each in facts["measurements"]] == ["qos2", "latency"]


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "::", "2001:db8::1", "192.168.1.20"])
def test_bench_loads_no_other_machine(host: str) -> None:
    result = bench(1883, "--host", host)

    assert result.exit_code == 2
    assert "loopback" in result.output


def test_bench_looks_up_no_names() -> None:
    result = bench(1883, "--host", "broker.example.org")

    assert result.exit_code == 2
    assert "127.0.0.1, ::1 or localhost" in result.output


def test_bench_without_a_broker_says_how_to_start_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    result = bench(port)

    assert isinstance(result.exception, BenchError)
    assert "quantummq run" in str(result.exception)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"\x20\x03\x00\x87\x00", "refuses CONNECT with 0x87"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(80), "not a broker"),
        (b"", "closed the connection"),
    ],
)
def test_bench_says_what_a_server_did_that_is_not_measured(answer: bytes, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        result = bench(server.getsockname()[1], "-m", "connect")
        thread.join()

    assert isinstance(result.exception, BenchError)
    assert why in str(result.exception)


async def test_bench_asks_no_more_than_the_broker_offers() -> None:
    """Maximum QoS (MQTT 5 §3.2.2.3.4) is the broker's to set: that row then says so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with ExitStack() as open_peers:
                for _ in ("publisher", "subscriber"):
                    peer = open_peers.enter_context(server.accept()[0])
                    peer.recv(4096)
                    peer.sendall(b"\x20\x05\x00\x00\x02\x24\x00")

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        result = await asyncio.to_thread(bench, port, "-m", "qos1", "--pairs", "1")
        thread.join()

    assert result.exit_code == 0, result.output
    assert "not offered" in result.output
