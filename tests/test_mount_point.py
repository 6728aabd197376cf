"""A mount point keeps the topics and sessions of a listener's clients apart from all others."""

import pytest

from quantummq.config import Config
from tests.packets import Connect, Publish, Will
from tests.peer import Clients, Filter, Peer

PLAIN, SITE1, SITE2, SLASH = range(4)


@pytest.fixture
def config() -> Config:
    """A listener without a mount point, two with one, and one whose first level is empty."""
    mounts = ["", "site1/", "site2/", "/"]
    return Config.model_validate(
        {
            "broker": {"shards": 2, "seed": 7},
            "listener": [
                {"address": "tcp://127.0.0.1:0", "name": f"{index}", "mount_point": mount}
                for index, mount in enumerate(mounts)
            ],
        }
    )


async def topics(peer: Peer, count: int) -> set[str]:
    """The topics of the next messages."""
    return {message.topic for message in await peer.messages(count)}


# --- topic names and filters -------------------------------------------------------------------


@pytest.mark.parametrize("version", [5, 4, 3])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_is_below_the_mount_point_for_all_others(
    clients: Clients, qos: int, version: int
) -> None:
    outside = await clients.connect("outside", version=version)
    await outside.subscribe("#", qos=2)
    inside = await clients.connect("inside", listener=SITE1, version=version)

    await inside.publish("lab/temp", b"21", qos=qos)

    message = await outside.message()
    assert (message.topic, message.payload, message.qos) == ("site1/lab/temp", b"21", qos)


@pytest.mark.parametrize("filter_name", ["lab/temp", "lab/+", "lab/#", "#", "+/temp", "+/+"])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_clients_behind_a_mount_point_see_topics_without_it(
    clients: Clients, filter_name: str, qos: int
) -> None:
    inside = await clients.connect("inside", listener=SITE1)
    await inside.subscribe(filter_name, qos=2)
    outside = await clients.connect("outside")

    await outside.publish("site1/lab/temp", b"21", qos=qos)

    message = await inside.message()
    assert (message.topic, message.qos) == ("lab/temp", qos)


async def test_no_filter_reaches_over_the_mount_point(clients: Clients) -> None:
    inside = await clients.connect("inside", listener=SITE1)
    await inside.subscribe("#", "+", "+/+", "/#", "site2/#", "site1/#", "lab/temp", "../#")
    others = [await clients.connect("plain"), await clients.connect("two", listener=SITE2)]

    for other in others:
        await other.publish("lab/temp", b"x")
        await other.publish("site1", b"x")
    await others[0].publish("site2/lab/temp", b"x")

    await clients.silent(inside)


async def test_one_publication_has_its_own_topic_for_each_receiver(clients: Clients) -> None:
    """The same frame is not sent to both: what is cut off differs."""
    receivers = [
        await clients.connect("plain"),
        await clients.connect("inside", listener=SITE1),
        await clients.connect("slash", listener=SLASH),
    ]
    for receiver in receivers:
        await receiver.subscribe("site1/#", "/site1/#", "lab/#", qos=1)
    inside = await clients.connect("sender", listener=SITE1)

    await inside.publish("lab", b"1", qos=1)
    await receivers[0].publish("/site1/lab", b"2", qos=1)

    assert await topics(receivers[0], 2) == {"site1/lab", "/site1/lab"}
    assert await topics(receivers[1], 1) == {"lab"}
    assert await topics(receivers[2], 1) == {"site1/lab"}
    await clients.silent(*receivers)


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("outer", ["site1", "site1/", "/"])
async def test_what_would_be_an_empty_topic_inside_is_not_sent(
    clients: Clients, outer: str, retain: bool
) -> None:
    """[MQTT-4.7.3-1]: `site1/#` matches `site1`, of which nothing is left behind `site1/`."""
    outside = await clients.connect("outside")
    inside = [await clients.connect("inside", listener=each) for each in (SITE1, SLASH)]
    if not retain:
        for peer in inside:
            await peer.subscribe("#", "+", "/#", "+/#")

    await outside.publish(outer, b"x", qos=1, retain=retain)
    if retain:
        for peer in inside:
            await peer.subscribe("#", "+", "/#", "+/#")

    await clients.silent(*inside)


async def test_a_filter_of_an_empty_first_level_still_takes_dollars(clients: Clients) -> None:
    """`/$own` does not begin with a dollar."""
    outside = await clients.connect("outside")
    await outside.publish("site1//$own", b"1", qos=1, retain=True)
    inside = await clients.connect("inside", listener=SITE1)

    await inside.subscribe("/#")
    await outside.publish("site1//$own", b"2", qos=1)

    assert await topics(inside, 2) == {"/$own"}


async def test_unsubscribe_takes_the_filter_as_the_client_wrote_it(clients: Clients) -> None:
    inside = await clients.connect("inside", listener=SITE1)
    await inside.subscribe("lab/#", "$share/group/lab/#")

    unsuback = await inside.unsubscribe("lab/#", "$share/group/lab/#", "site1/lab/#")

    assert unsuback.reasons == (0, 0, 0x11)
    await inside.publish("lab/temp", b"x")
    await clients.silent(inside)


async def test_topic_aliases_stand_for_topics_with_their_mount_point(clients: Clients) -> None:
    outside = await clients.connect("outside")
    await outside.subscribe("#")
    alias = ("topic_alias_maximum", 10)
    inside = await clients.connect("inside", listener=SITE1, properties=(alias,))
    await inside.subscribe("back")

    await inside.publish("lab", b"1", properties=[("topic_alias", 3)])
    await inside.publish("", b"2", properties=[("topic_alias", 3)])
    await clients.settle()
    await outside.publish("site1/back", b"3")
    await outside.publish("site1/back", b"4")

    assert [m.topic for m in await outside.messages(4)] == [
        *["site1/lab"] * 2,
        *["site1/back"] * 2,
    ]
    first, second = await inside.messages(2)
    assert first.topic == "back"
    assert second.topic == ("" if first.get("topic_alias") else "back")


async def test_a_topic_with_its_mount_point_may_be_too_long(clients: Clients) -> None:
    """[MQTT-4.7.3-3]: the whole name must fit, or nobody outside could be told it."""
    inside = await clients.connect("inside", listener=SITE1)
    await inside.subscribe("#", qos=1)

    fits = await inside.publish("t" * (65_535 - len("site1/")), b"1", qos=1)
    too_long = await inside.publish("t" * (65_536 - len("site1/")), b"2", qos=1)

    assert fits == 0
    assert too_long == 0x90
    assert (await inside.message()).payload == b"1"
    await clients.silent(inside)


async def test_a_filter_with_its_mount_point_may_be_too_long(clients: Clients) -> None:
    inside = await clients.connect("inside", listener=SITE1)

    suback = await inside.subscribe("f" * 65_529, "f" * 65_530)

    assert suback.reasons == (0, 0x8F)


# --- shared subscriptions ----------------------------------------------------------------------


async def test_the_mount_point_goes_before_the_inner_part_of_a_shared_filter(
    clients: Clients,
) -> None:
    inside = await clients.connect("inside", listener=SITE1)
    outside = await clients.connect("outside")
    await inside.subscribe("$share/group/lab/+", qos=1)
    await outside.subscribe("$share/group/lab/+", qos=1)

    await outside.publish("site1/lab/temp", b"for inside", qos=1)
    await outside.publish("lab/temp", b"for outside", qos=1)

    message = await inside.message()
    assert (message.topic, message.payload) == ("lab/temp", b"for inside")
    message = await outside.message()
    assert (message.topic, message.payload) == ("lab/temp", b"for outside")


async def test_a_group_has_members_on_both_sides_of_a_mount_point(clients: Clients) -> None:
    """`$share/g/lab` behind `site1/` and `$share/g/site1/lab` without are one group."""
    inside = await clients.connect("inside", listener=SITE1)
    outside = await clients.connect("outside")
    await inside.subscribe("$share/g/lab")
    await outside.subscribe("$share/g/site1/lab")
    sender = await clients.connect("sender")

    for number in range(10):
        await sender.publish("site1/lab", b"%d" % number, qos=1)
    await clients.settle()
    await inside.send(b"\xc0\x00")
    await outside.send(b"\xc0\x00")

    received: list[Publish] = []
    for peer, topic in ((inside, "lab"), (outside, "site1/lab")):
        while isinstance(message := await peer.next(), Publish):
            assert message.topic == topic
            received.append(message)
    assert sorted(int(message.payload) for message in received) == list(range(10))


# --- names with a dollar -----------------------------------------------------------------------


async def test_wildcards_do_not_match_a_dollar_behind_the_mount_point(clients: Clients) -> None:
    """[MQTT-4.7.2-1]: a client behind `site1/` has `$own/x` as a topic that begins with $."""
    inside = await clients.connect("inside", listener=SITE1)
    await inside.subscribe("#", "+/x")
    named = await clients.connect("named", listener=SITE1)
    await named.subscribe("$own/#")
    outside = await clients.connect("outside")
    await outside.subscribe("#")

    await outside.publish("site1/$own/x", b"1")

    assert (await named.message()).topic == "$own/x"
    assert (await outside.message()).topic == "site1/$own/x"
    await clients.silent(inside)


@pytest.mark.parametrize(
    "reserved", ["$SYS/x", "$SYS", "$share/g/t", "$queue/q", "$delayed/5/t", "$replay/t", "$dead/q"]
)
@pytest.mark.parametrize("listener", [PLAIN, SITE1])
async def test_the_brokers_own_names_cannot_be_published_to(
    clients: Clients, reserved: str, listener: int
) -> None:
    watcher = await clients.connect("watcher")
    await watcher.subscribe("#", "$SYS/#")
    peer = await clients.connect("peer", listener=listener)

    assert await peer.publish(reserved, b"x", qos=1) == 0x90
    assert await peer.publish(reserved, b"x", qos=2) == 0x90

    await clients.silent(watcher)


@pytest.mark.parametrize("kept", ["$queue/q", "$delayed/5/t", "$replay/t"])
@pytest.mark.parametrize("listener", [PLAIN, SITE1])
async def test_names_kept_for_queues_cannot_be_subscribed_to(
    clients: Clients, kept: str, listener: int
) -> None:
    """Nor by the inner part of a shared filter: they will not mean a plain topic once they come."""
    peer = await clients.connect("peer", listener=listener)

    suback = await peer.subscribe(kept, f"$share/group/{kept}")

    assert suback.reasons == (0x8F, 0x8F)


@pytest.mark.parametrize("listener", [PLAIN, SITE1])
async def test_a_will_cannot_go_to_the_brokers_own_names(clients: Clients, listener: int) -> None:
    watcher = await clients.connect("watcher")
    await watcher.subscribe("#", "$SYS/#")
    peer = await clients.open(listener)

    connack = await peer.connect(Connect("peer", will=Will("$SYS/x", b"x")))

    assert connack.reason == 0x90
    await clients.silent(watcher)


async def test_the_mount_point_does_not_go_before_sys(clients: Clients) -> None:
    """All listeners have the same `$SYS`, though nothing is in it yet."""
    inside = await clients.connect("inside", listener=SITE1)

    suback = await inside.subscribe("$SYS/#", "$SYS", "$share/g/$SYS/#")
    unsuback = await inside.unsubscribe("$SYS/#")

    assert suback.reasons == (0, 0, 0)
    assert unsuback.reasons == (0,)


# --- retained messages and wills ---------------------------------------------------------------


async def test_retained_messages_are_below_the_mount_point(clients: Clients) -> None:
    inside = await clients.connect("inside", listener=SITE1)
    outside = await clients.connect("outside")
    await inside.publish("lab/temp", b"inside", qos=1, retain=True)
    await outside.publish("site1/lab/hum", b"outside", qos=1, retain=True)
    await outside.publish("lab/other", b"elsewhere", qos=1, retain=True)

    await inside.subscribe("#")
    await outside.subscribe("site1/#")

    assert await topics(inside, 2) == {"lab/temp", "lab/hum"}
    assert await topics(outside, 2) == {"site1/lab/temp", "site1/lab/hum"}
    await clients.silent(inside)


async def test_a_retained_message_is_removed_by_its_own_name(clients: Clients) -> None:
    """[MQTT-3.3.1-6]."""
    inside = await clients.connect("inside", listener=SITE1)
    await inside.publish("lab/temp", b"21", qos=1, retain=True)

    await inside.publish("lab/temp", b"", qos=1, retain=True)

    assert await clients.broker.retained("#") == []


async def test_retained_messages_of_a_dollar_topic_are_not_for_wildcards(
    clients: Clients,
) -> None:
    """[MQTT-4.7.2-1], behind the mount point."""
    outside = await clients.connect("outside")
    await outside.publish("site1/$own/x", b"1", qos=1, retain=True)
    inside = await clients.connect("inside", listener=SITE1)

    await inside.subscribe("#")

    await clients.silent(inside)
    await inside.subscribe("$own/#")
    assert (await inside.message()).topic == "$own/x"


async def test_a_will_is_published_below_the_mount_point(clients: Clients) -> None:
    """[MQTT-3.1.2-8]."""
    outside = await clients.connect("outside")
    await outside.subscribe("#", qos=1)
    neighbour = await clients.connect("neighbour", listener=SITE1)
    await neighbour.subscribe("status", qos=1)
    will = Will("status", b"gone", qos=1, retain=True)
    leaver = await clients.connect("leaver", listener=SITE1, will=will)

    await leaver.close()

    assert (await outside.message()).topic == "site1/status"
    assert (await neighbour.message()).topic == "status"
    retained = await clients.broker.retained("#")
    assert [message.topic for message in retained] == ["site1/status"]


async def test_a_will_topic_with_its_mount_point_may_be_too_long(clients: Clients) -> None:
    peer = await clients.open(SITE1)

    connack = await peer.connect(Connect("peer", will=Will("t" * 65_530)))

    assert connack.reason == 0x90


# --- sessions ----------------------------------------------------------------------------------


async def test_the_same_client_id_behind_two_mount_points_is_two_sessions(
    clients: Clients,
) -> None:
    """[MQTT-3.1.4-3] holds inside a mount point only."""
    peers = [await clients.connect("same", listener=index, expiry=60) for index in range(4)]
    for peer in peers:
        await peer.subscribe("lab", qos=1)

    for peer in peers:
        await peer.publish("lab", b"own", qos=1)

    assert [(await peer.message()).payload for peer in peers] == [b"own"] * 4
    await clients.silent(*peers)
    sessions = await clients.broker.sessions()
    assert {session.mount_point for session in sessions} == {"", "site1/", "site2/", "/"}
    assert {session.client_id for session in sessions} == {"same"}


async def test_a_takeover_happens_only_behind_the_same_mount_point(clients: Clients) -> None:
    """[MQTT-3.1.4-3]."""
    plain = await clients.connect("same")
    first = await clients.connect("same", listener=SITE1)

    await clients.connect("same", listener=SITE1)

    assert await first.refused() == 0x8E
    await clients.silent(plain)


async def test_a_session_is_resumed_only_behind_its_own_mount_point(clients: Clients) -> None:
    """[MQTT-3.1.2-5]."""
    peer = await clients.connect("same", listener=SITE1, expiry=600)
    await peer.subscribe("lab", qos=1)
    await peer.disconnect()
    sender = await clients.connect("sender")
    await sender.publish("site1/lab", b"kept", qos=1)

    elsewhere = await clients.connect("same", listener=SITE2, clean=False, expiry=600)
    again = await clients.connect("same", listener=SITE1, clean=False, expiry=600)

    assert elsewhere.connack is not None
    assert again.connack is not None
    assert not elsewhere.connack.session_present
    assert again.connack.session_present
    assert (await again.message()).topic == "lab"
    await clients.silent(elsewhere)


async def test_a_mount_point_and_a_client_id_are_never_taken_for_another_pair(
    clients: Clients,
) -> None:
    """Behind `/` the client `y` is not the client `/y` without a mount point."""
    mounted = await clients.connect("y", listener=SLASH)

    plain = await clients.connect("/y")

    await clients.silent(mounted, plain)
    assert len(await clients.broker.sessions()) == 2


# --- properties, and the broker itself ---------------------------------------------------------


async def test_a_response_topic_is_sent_on_as_it_is(clients: Clients) -> None:
    """[MQTT-3.3.2-15] asks for that, so requests are answered behind the same mount point.

    Response Information too is the same everywhere: what it begins is mounted when it is used.
    """
    requester = await clients.connect("requester", listener=SITE1)
    responder = await clients.connect("responder", listener=SITE1)
    outside = await clients.connect("outside")
    await requester.subscribe("reply/1")
    await responder.subscribe("request")
    await outside.subscribe("site1/request")

    await requester.publish("request", b"?", properties=[("response_topic", "reply/1")])
    asked = await responder.message()
    await responder.publish(str(asked.get("response_topic")), b"!")

    assert asked.get("response_topic") == "reply/1"
    assert (await outside.message()).get("response_topic") == "reply/1"
    assert (await requester.message()).topic == "reply/1"


async def test_python_sees_and_writes_topics_with_their_mount_point(clients: Clients) -> None:
    inside = await clients.connect("inside", listener=SITE1)
    await inside.subscribe("down")
    async with clients.broker.subscribe("site1/#") as messages:
        await inside.publish("up", b"1", qos=1)
        assert (await anext(aiter(messages))).topic == "site1/up"

    await clients.broker.publish("site1/down", b"2")

    assert (await inside.message()).topic == "down"


async def test_no_local_holds_behind_a_mount_point(clients: Clients) -> None:
    """[MQTT-3.8.3-3]."""
    inside = await clients.connect("same", listener=SITE1)
    await inside.subscribe(Filter("lab", no_local=True))
    other = await clients.connect("same", listener=SITE2)

    await inside.publish("lab", b"own", qos=1)
    await clients.silent(inside, other)
    outside = await clients.connect("same")
    await outside.publish("site1/lab", b"not own", qos=1)

    assert (await inside.message()).payload == b"not own"
