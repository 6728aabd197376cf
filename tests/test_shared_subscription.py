"""Shared subscriptions: each message goes to one member of a group (MQTT 5 §4.8.2)."""

import pytest

from tests.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Publish
from tests.peer import Clients, Filter, Peer

NAMES = ["spring", "summer", "autumn", "winter"]
SHARED = "$share/group/a/#"


async def member(clients: Clients, name: str, qos: int = 2, expiry: int = 600) -> Peer:
    """A client in the group."""
    peer = await clients.connect(name, expiry=expiry)
    await peer.subscribe(SHARED, qos=qos)
    return peer


async def publish(clients: Clients, count: int, qos: int) -> None:
    """Publishes numbered messages."""
    sender = await clients.connect("sender")
    for number in range(count):
        await sender.publish(f"a/{number}", b"%d" % number, qos=qos)
    await sender.disconnect()


async def gathered(clients: Clients, peer: Peer) -> list[Publish]:
    """All that has come to a client, acknowledged."""
    await clients.settle()
    await peer.ping()
    return await peer.messages(peer.held())


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_each_message_goes_to_one_member_and_all_have_their_share(
    clients: Clients, qos: int
) -> None:
    """MQTT 5 §4.8.2. [MQTT-4.8.2-3]."""
    members = [await member(clients, name) for name in NAMES]

    await publish(clients, 100, qos)

    received = [await gathered(clients, peer) for peer in members]
    assert sorted(int(m.payload) for share in received for m in share) == list(range(100))
    assert all(m.qos == qos for share in received for m in share)
    assert all(len(share) >= 15 for share in received)


async def test_each_member_gets_the_qos_it_was_granted(clients: Clients) -> None:
    """[MQTT-4.8.2-3] [MQTT-3.8.4-8]."""
    members = [await member(clients, name, qos) for qos, name in enumerate(NAMES[:3])]

    await publish(clients, 30, 2)

    for qos, peer in enumerate(members):
        received = await gathered(clients, peer)
        assert received
        assert {message.qos for message in received} == {qos}


async def test_groups_and_other_subscriptions_each_get_the_message(clients: Clients) -> None:
    """MQTT 5 §4.8.2: a group is named by its ShareName and its filter."""
    receivers: list[Peer] = []
    for number, names in enumerate(
        ["$share/one/a/#", "$share/two/a/#", "$share/one/a/+", "a/#", "$share/one//a"]
    ):
        receivers.append(await clients.connect(f"receiver-{number}"))
        await receivers[-1].subscribe(names, qos=1)

    await publish(clients, 1, 1)

    found = [len(await gathered(clients, peer)) for peer in receivers]
    assert found == [1, 1, 1, 1, 0]


async def test_retained_messages_are_not_sent_to_a_group(clients: Clients) -> None:
    """MQTT 5 §4.8.2: none when it is made; what is retained later is shared like any other."""
    sender = await clients.connect("sender")
    await sender.publish("a/x", b"old", qos=1, retain=True)
    peer = await member(clients, "spring")

    await clients.silent(peer)
    await sender.publish("a/x", b"new", qos=1, retain=True)

    message = await peer.message()
    assert (message.payload, message.retain) == (b"new", False)


async def test_those_who_are_connected_are_preferred(clients: Clients) -> None:
    here = await member(clients, "spring")
    for name in NAMES[1:]:
        await (await member(clients, name)).disconnect()

    await publish(clients, 20, 1)

    assert len(await gathered(clients, here)) == 20


@pytest.mark.parametrize("qos", [1, 2])
async def test_with_nobody_there_messages_wait_for_members(clients: Clients, qos: int) -> None:
    """[MQTT-4.5.0-1]."""
    for name in NAMES:
        await (await member(clients, name)).disconnect()

    await publish(clients, 20, qos)

    found: list[int] = []
    for name in NAMES:
        peer = await clients.connect(name, expiry=600, clean=False)
        found += [int(message.payload) for message in await gathered(clients, peer)]
        await peer.disconnect()
    assert sorted(found) == list(range(20))


async def test_a_member_granted_qos_0_is_not_waited_for(clients: Clients) -> None:
    """A message that may wait goes to one for whom it may. [MQTT-4.8.2-3]."""
    await (await member(clients, "spring", qos=0)).disconnect()
    await (await member(clients, "summer", qos=1)).disconnect()

    await publish(clients, 10, 1)

    peer = await clients.connect("summer", expiry=600, clean=False)
    assert len(await gathered(clients, peer)) == 10


@pytest.mark.parametrize("name", NAMES)
async def test_qos_1_goes_to_another_when_its_member_is_gone(clients: Clients, name: str) -> None:
    """MQTT 5 §4.8.2: the server may wait, or send it to another member."""
    first = await member(clients, name)
    await publish(clients, 5, 1)
    assert len([await first.publication() for _ in range(5)]) == 5
    second = await member(clients, "second")

    await first.close()

    received = await second.messages(5)
    assert sorted(int(message.payload) for message in received) == list(range(5))
    back = await clients.connect(name, expiry=600, clean=False)
    await clients.silent(back, second)


@pytest.mark.parametrize("name", NAMES)
async def test_qos_2_under_way_waits_for_its_member(clients: Clients, name: str) -> None:
    """[MQTT-4.8.2-4]: whether PUBREC came or not."""
    first = await member(clients, name)
    await publish(clients, 3, 2)
    seen = [await first.publication() for _ in range(3)]
    await first.answer(PUBREC, seen[1].packet_id)
    await first.packet(PUBREL)
    second = await member(clients, "second")

    await first.close()
    await clients.clock.advance(500)

    await clients.silent(second)
    back = await clients.connect(name, expiry=600, clean=False)
    again = await back.publication()
    assert (again.packet_id, again.dup, again.payload) == (seen[0].packet_id, True, b"0")
    assert (await back.packet(PUBREL)).packet_id == seen[1].packet_id
    assert (await back.publication()).packet_id == seen[2].packet_id
    for message in (seen[0], seen[2]):
        await back.answer(PUBREC, message.packet_id)
        assert (await back.packet(PUBREL)).packet_id == message.packet_id
    for message in seen:
        await back.answer(PUBCOMP, message.packet_id)
    await clients.silent(back, second)


@pytest.mark.parametrize("name", NAMES)
async def test_qos_2_under_way_is_given_up_with_its_session(clients: Clients, name: str) -> None:
    """[MQTT-4.8.2-5]."""
    first = await member(clients, name, expiry=100)
    await publish(clients, 2, 2)
    for _ in range(2):
        await first.publication()
    second = await member(clients, "second")
    await first.close()

    await clients.clock.advance(101)

    await clients.silent(second)
    fresh = await clients.connect(name, expiry=100, clean=False)
    assert fresh.connack is not None
    assert not fresh.connack.session_present
    await clients.silent(fresh, second)


@pytest.mark.parametrize("ending", ["takeover", "expiry 0", "unsubscribe"])
async def test_qos_2_under_way_is_given_up_however_the_session_ends(
    clients: Clients, ending: str
) -> None:
    """[MQTT-4.8.2-5]."""
    first = await member(clients, "spring", expiry=0 if ending == "expiry 0" else 600)
    await publish(clients, 1, 2)
    await first.publication()
    second = await member(clients, "second")

    if ending == "takeover":
        await clients.connect("spring", clean=True)
    elif ending == "unsubscribe":
        await first.unsubscribe(SHARED)
    else:
        await first.close()

    await clients.silent(second)


@pytest.mark.parametrize(("qos", "kind"), [(1, PUBACK), (2, PUBREC)])
@pytest.mark.parametrize("reason", [0x80, 0x83, 0x87, 0x90, 0x97, 0x99])
async def test_a_refused_message_goes_to_nobody_else(
    clients: Clients, qos: int, kind: int, reason: int
) -> None:
    """[MQTT-4.8.2-6]."""
    first = await member(clients, "spring")
    await publish(clients, 1, qos)
    message = await first.publication()
    others = [await member(clients, name) for name in NAMES[1:]]

    await first.answer(kind, message.packet_id, reason)

    await clients.silent(first, *others)
    await first.close()
    await clients.silent(*others)


async def test_what_was_not_sent_yet_goes_to_others_with_any_qos(clients: Clients) -> None:
    """Only messages under way belong to their member. [MQTT-4.8.2-4]."""
    first = await clients.connect("spring", expiry=600, properties=(("receive_maximum", 1),))
    await first.subscribe(SHARED, qos=2)
    await publish(clients, 4, 2)
    seen = await first.publication()
    second = await member(clients, "second")

    await first.close()

    received = await second.messages(3)
    assert [message.payload for message in received] == [b"1", b"2", b"3"]
    back = await clients.connect("spring", expiry=600, clean=False)
    assert (await back.message()).packet_id == seen.packet_id
    await clients.silent(back, second)


async def test_a_member_without_credit_is_passed_over(clients: Clients) -> None:
    full = await clients.connect("spring", properties=(("receive_maximum", 1),))
    await full.subscribe(SHARED, qos=1)
    await publish(clients, 1, 1)
    await full.publication()
    free = await member(clients, "summer")

    await publish(clients, 10, 1)

    assert len(await gathered(clients, free)) == 10
    await clients.silent(full)


async def test_leaving_leaves_the_others(clients: Clients) -> None:
    """[MQTT-3.10.4-2]."""
    members = [await member(clients, name) for name in NAMES]

    for peer in members[:3]:
        await peer.unsubscribe(SHARED)

    await publish(clients, 10, 1)
    assert len(await gathered(clients, members[3])) == 10
    await clients.silent(*members)


async def test_subscribing_again_changes_the_terms_of_one_member(clients: Clients) -> None:
    """It is no second place in the group. [MQTT-3.8.4-3]."""
    peer = await member(clients, "spring", qos=2)

    await peer.subscribe(SHARED, qos=1)

    await publish(clients, 4, 2)
    assert [message.qos for message in await gathered(clients, peer)] == [1] * 4


@pytest.mark.parametrize(
    "names",
    ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a"],
)
async def test_an_incomplete_name_is_refused(clients: Clients, names: str) -> None:
    """[MQTT-4.8.2-1] [MQTT-4.8.2-2]."""
    peer = await clients.connect("peer")

    assert (await peer.subscribe(names)).reasons == (0x8F,)


async def test_no_local_is_a_protocol_error(clients: Clients) -> None:
    """[MQTT-3.8.3-4] [MQTT-4.13.1-1]."""
    peer = await clients.connect("peer")

    await peer.send(peer.subscribe_bytes(1, [Filter(SHARED, no_local=True)]))

    assert await peer.refused() == 0x82
