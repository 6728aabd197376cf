"""Topic Names and Topic Filters as the router matches them (MQTT 5 §4.7)."""

import pytest

from tests.packets import Publish, packet
from tests.peer import Clients, Filter

NAMES = ["spring", "summer", "autumn", "winter"]

TOPICS = [
    "sport",
    "sport/",
    "/sport",
    "sport/tennis",
    "sport/tennis/player1",
    "sport/tennis/player1/ranking",
    "sport/tennis/player2",
    "finance",
    "/finance",
    "Accounts payable",
    "ACCOUNTS",
    "Accounts",
    "/",
    "//",
    "a//b",
    " ",
    "über/ß",
    "日本/東京",
    "$other",
    "$other/sport",
]

# What each filter matches, from the examples of §4.7.1 to §4.7.3 and beyond.
MATCHES: dict[str, set[str]] = {
    "sport/tennis/player1/#": {"sport/tennis/player1", "sport/tennis/player1/ranking"},
    "sport/#": {topic for topic in TOPICS if topic == "sport" or topic.startswith("sport/")},
    "#": {topic for topic in TOPICS if not topic.startswith("$")},
    "sport/tennis/+": {"sport/tennis/player1", "sport/tennis/player2"},
    "sport/+": {"sport/", "sport/tennis"},
    "+": {"sport", "finance", "Accounts payable", "ACCOUNTS", "Accounts", " "},
    "+/+": {"sport/", "/sport", "sport/tennis", "/finance", "/", "über/ß", "日本/東京"},
    "/+": {"/sport", "/finance", "/"},
    "+/tennis/#": {topic for topic in TOPICS if topic.startswith("sport/tennis")},
    "sport/+/player1": {"sport/tennis/player1"},
    "+/": {"sport/", "/"},
    "/": {"/"},
    "//": {"//"},
    "/#": {"/sport", "/finance", "/", "//"},
    "+/+/+": {"sport/tennis/player1", "sport/tennis/player2", "//", "a//b"},
    "a/+/b": {"a//b"},
    "a//b": {"a//b"},
    "a/b": set(),
    "Accounts": {"Accounts"},
    "ACCOUNTS": {"ACCOUNTS"},
    "Accounts payable": {"Accounts payable"},
    " ": {" "},
    "über/+": {"über/ß"},
    "UEBER/+": set(),
    "+/東京": {"日本/東京"},
    "$other": {"$other"},
    "$other/#": {"$other", "$other/sport"},
    "$other/+": {"$other/sport"},
    "+/sport": {"/sport"},
    "+/sport/#": {"/sport"},
}

MALFORMED = ["sport/tennis#", "sport/tennis/#/ranking", "sport+", "+a", "a/+b/c", "##", "#/", "#a"]


@pytest.mark.parametrize("names", MATCHES)
async def test_a_filter_gets_the_topics_it_matches_and_no_others(
    clients: Clients, names: str
) -> None:
    """[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT-3.3.2-3]."""
    receivers = [await clients.connect(name) for name in NAMES[:2]]
    for receiver in receivers:
        await receiver.subscribe(names, qos=1)
    sender = await clients.connect("sender")

    for topic in TOPICS:
        wanted = topic in MATCHES[names]
        assert await sender.publish(topic, topic.encode(), qos=1) == (0 if wanted else 0x10)

    for receiver in receivers:
        received = await receiver.messages(len(MATCHES[names]))
        assert [m.topic for m in received] == [t for t in TOPICS if t in MATCHES[names]]
        assert all(message.payload == message.topic.encode() for message in received)
    await clients.silent(*receivers)


@pytest.mark.parametrize("names", MATCHES)
async def test_a_group_goes_by_the_same_rules(clients: Clients, names: str) -> None:
    """[MQTT-4.8.2-2] [MQTT-4.7.2-1]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe(f"$share/group/{names}", qos=1)
    sender = await clients.connect("sender")

    for topic in TOPICS:
        await sender.publish(topic, qos=1)

    received = await receiver.messages(len(MATCHES[names]))
    assert [message.topic for message in received] == [t for t in TOPICS if t in MATCHES[names]]
    await clients.silent(receiver)


async def test_all_filters_at_once_bring_each_topic_once(clients: Clients) -> None:
    """[MQTT-3.3.4-2] [MQTT-3.3.4-4]."""
    receiver = await clients.connect("receiver")
    for identifier, names in enumerate(MATCHES, start=1):
        await receiver.subscribe(names, qos=1, identifier=identifier)
    sender = await clients.connect("sender")

    for topic in TOPICS:
        await sender.publish(topic, qos=1)

    for message in await receiver.messages(len(TOPICS)):
        expected = {n for n, names in enumerate(MATCHES, 1) if message.topic in MATCHES[names]}
        assert set(message.all("subscription_identifier")) == expected
    await clients.silent(receiver)


@pytest.mark.parametrize("names", MALFORMED)
async def test_a_wildcard_in_the_wrong_place_is_refused(clients: Clients, names: str) -> None:
    """[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.0-1]: in SUBSCRIBE and UNSUBSCRIBE."""
    peer = await clients.connect("peer")

    assert (await peer.subscribe(names, f"$share/g/{names}")).reasons == (0x8F, 0x8F)
    assert (await peer.unsubscribe(names)).reasons == (0x8F,)


@pytest.mark.parametrize("topic", ["sport/+", "#", "a/#", "+", "a+", "#a"])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_topic_name_has_no_wildcards(clients: Clients, topic: str, qos: int) -> None:
    """[MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.13.1-1]."""
    peer = await clients.connect("peer")

    await peer.send(Publish(topic, qos=qos, packet_id=1).encode(5))

    assert await peer.refused() in (0x81, 0x82, 0x90)


async def test_an_empty_filter_is_refused(clients: Clients) -> None:
    """[MQTT-4.7.3-1]."""
    peer = await clients.connect("peer")

    assert (await peer.subscribe("")).reasons == (0x8F,)
    assert (await peer.unsubscribe("")).reasons == (0x8F,)


@pytest.mark.parametrize("bad", [b"a\0b", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"a\x00"])
async def test_names_are_utf_8_without_nul(clients: Clients, bad: bytes) -> None:
    """[MQTT-4.7.3-2] [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.13.1-1]."""
    field = len(bad).to_bytes(2, "big") + bad
    sent = [
        packet(3, 0, field + b"\0"),
        packet(8, 2, b"\0\x01\0" + field + b"\0"),
        packet(10, 2, b"\0\x01\0" + field),
    ]
    for each in sent:
        peer = await clients.connect("peer")
        await peer.send(each)
        assert await peer.refused() == 0x81


@pytest.mark.parametrize("name", NAMES)
async def test_names_may_have_65_535_bytes(clients: Clients, name: str) -> None:
    """[MQTT-4.7.3-3]."""
    topic = "/".join(["deep"] * 13_107)
    topic += "x" * (65_535 - len(topic))
    receiver = await clients.connect(name)
    await receiver.subscribe(topic, qos=1)
    sender = await clients.connect("sender")

    assert await sender.publish(topic, b"x", qos=1) == 0
    assert await sender.publish(topic[:-1], b"x", qos=1) == 0x10

    assert (await receiver.message()).topic == topic
    assert (await receiver.unsubscribe(topic)).reasons == (0,)


async def test_composed_and_decomposed_letters_differ(clients: Clients) -> None:
    """No normalisation. [MQTT-4.7.3-4]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("caf\u00e9")
    sender = await clients.connect("sender")

    assert await sender.publish("cafe\u0301", qos=1) == 0x10
    assert await sender.publish("caf\u00e9", qos=1) == 0


async def test_a_byte_order_mark_stays(clients: Clients) -> None:
    """[MQTT-1.5.4-3]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("\ufeffa")
    sender = await clients.connect("sender")

    await sender.publish("a")
    await sender.publish("\ufeffa")

    assert (await receiver.message()).topic == "\ufeffa"
    await clients.silent(receiver)


async def test_topics_with_a_dollar_may_be_shared_and_retained(clients: Clients) -> None:
    """[MQTT-4.7.2-1]: those that are not the broker's own are like any other."""
    sender = await clients.connect("sender")
    await sender.publish("$mine/a", b"kept", qos=1, retain=True)
    receiver = await clients.connect("receiver")
    await receiver.subscribe(Filter("#"), Filter("+/a"), Filter("$mine/+", 1))

    assert (await receiver.message()).payload == b"kept"
    await sender.publish("$mine/a", b"live", qos=1)
    assert (await receiver.message()).payload == b"live"
    await clients.silent(receiver)


def test_the_table_is_made_of_the_topics_it_is_about() -> None:
    assert set().union(*MATCHES.values()) == set(TOPICS)
