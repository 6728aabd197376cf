"""What CONNECT asks to be told: Response Information and reasons (MQTT 5 §3.1.2.11.6, 7)."""

import pytest

from quantummq.config import Config
from tests.conftest import CONFIG
from tests.packets import DISCONNECT, SUBACK, Connect, Packet, Properties, Will
from tests.peer import Clients, Filter

OFF = Config.model_validate({**CONFIG, "mqtt": {"response_information": ""}})
OTHER = Config.model_validate({**CONFIG, "mqtt": {"response_information": "answers/to/"}})
ASK: Properties = [("request_response_information", 1)]


async def information(clients: Clients, client_id: str, asked: Properties) -> object:
    """Response Information, as CONNACK gives it."""
    peer = await clients.connect(client_id, properties=tuple(asked))
    assert peer.connack is not None
    return peer.connack.get("response_information")


@pytest.mark.parametrize("asked", [[], [("request_response_information", 0)]])
async def test_who_does_not_ask_gets_no_response_information(
    clients: Clients, asked: Properties
) -> None:
    """Absent is 0: [MQTT-3.1.2-28]."""
    assert await information(clients, "c", asked) is None


async def test_who_asks_gets_topics_of_its_own(clients: Clients) -> None:
    """The begin of topics that others answer to: [MQTT-3.1.2-28] lets it."""
    own = await information(clients, "c", ASK)
    assert own == "response/c/"
    assert await information(clients, "d", ASK) == "response/d/"
    assert await information(clients, "", ASK) != own


@pytest.mark.parametrize("config", [OTHER])
async def test_where_the_topics_begin_is_configured(clients: Clients, config: Config) -> None:
    """[MQTT-3.1.2-28]."""
    assert await information(clients, "c", ASK) == config.mqtt.response_information + "c/"


@pytest.mark.parametrize("config", [OFF])
async def test_a_broker_without_response_information_gives_none(
    clients: Clients, config: Config
) -> None:
    """The broker may leave it out: [MQTT-3.1.2-28]."""
    assert config.mqtt.response_information == ""
    assert await information(clients, "c", ASK) is None


async def test_topics_are_told_apart_and_can_be_used_whatever_the_identifier(
    clients: Clients,
) -> None:
    """No wildcard, and none is inside of another's: [MQTT-3.1.2-28]."""
    names = ["a", "a/b", "a%2Fb", "+", "#", "a+#/", "%", "é", "$SYS"]
    given = [str(await information(clients, name, ASK)) for name in names]
    assert len(set(given)) == len(names)
    for topics in given:
        assert sum(other.startswith(topics) for other in given) == 1
        peer = await clients.connect("user")
        assert (await peer.subscribe(f"{topics}#")).reasons == (0,)
        await peer.publish(f"{topics}1", b"answer")
        assert (await peer.message()).topic == f"{topics}1"


@pytest.mark.parametrize("length", [65_525, 65_526, 65_535])
async def test_a_longest_identifier_leaves_no_room_for_topics(
    clients: Clients, length: int
) -> None:
    """What is given can be followed by a name, or is not given: [MQTT-3.1.2-28]."""
    given = await information(clients, "x" * length, ASK)

    assert given is None or len(str(given)) < 65_535
    assert (given is None) == (length > 65_524)


async def reasons(clients: Clients, asked: Properties) -> dict[str, bool]:
    """Which packets had a Reason String: SUBACK, DISCONNECT and CONNACK."""
    peer = await clients.connect("c", properties=tuple(asked))
    await peer.send(peer.subscribe_bytes(1, [Filter("a/#/b")]))
    suback = await peer.packet(SUBACK)
    assert suback.reasons == (0x8F,)
    await peer.send(b"\xc1\0")
    disconnect = await peer.packet(DISCONNECT)
    assert disconnect.reason == 0x81
    refused = await clients.open()
    connack = await refused.connect(Connect("c", will=Will("#"), properties=tuple(asked)))
    assert isinstance(connack, Packet)
    named = {"suback": suback, "disconnect": disconnect, "connack": connack}
    return {name: each.get("reason_string") is not None for name, each in named.items()}


@pytest.mark.parametrize("asked", [[], [("request_problem_information", 1)]])
async def test_reasons_are_told_in_words(clients: Clients, asked: Properties) -> None:
    """Absent is 1: [MQTT-3.1.2-29]."""
    told = await reasons(clients, asked)

    assert told == {"suback": True, "disconnect": True, "connack": True}


async def test_who_wants_no_reasons_gets_them_in_connack_and_disconnect_alone(
    clients: Clients,
) -> None:
    """[MQTT-3.1.2-29]."""
    told = await reasons(clients, [("request_problem_information", 0)])

    assert told == {"suback": False, "disconnect": True, "connack": True}


async def test_user_properties_of_messages_are_not_problem_information(
    clients: Clients,
) -> None:
    """PUBLISH keeps them: [MQTT-3.1.2-29]."""
    peer = await clients.connect("c", properties=(("request_problem_information", 0),))
    await peer.subscribe("a", qos=1)
    pair: Properties = [("user_property", ("name", "value"))]
    await peer.publish("a", b"", qos=1, properties=pair)

    assert (await peer.message()).all("user_property") == [("name", "value")]
