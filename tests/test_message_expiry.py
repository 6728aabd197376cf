"""Message Expiry Interval: what is left of it is sent on, what ran out is not (§3.3.2.3.3)."""

import pytest

from tests.packets import PUBACK, Properties
from tests.peer import Clients, Peer

NAMES = ["spring", "summer", "autumn", "winter"]
EXPIRY: Properties = [("message_expiry_interval", 100)]


async def away(clients: Clients, name: str) -> None:
    """A session that waits for its client."""
    receiver = await clients.connect(name, expiry=10_000)
    await receiver.subscribe("a", qos=2)
    await receiver.disconnect()


async def back(clients: Clients, name: str) -> Peer:
    """The client comes."""
    return await clients.connect(name, expiry=10_000, clean=False)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_at_once_all_of_it_is_left(clients: Clients, qos: int) -> None:
    """[MQTT-3.3.2-6]."""
    receivers = [await clients.connect(name) for name in NAMES]
    for receiver in receivers:
        await receiver.subscribe("a", qos=qos)
    sender = await clients.connect("sender")

    await sender.publish("a", b"x", qos=qos, properties=EXPIRY)

    for receiver in receivers:
        assert list((await receiver.message()).properties) == EXPIRY


@pytest.mark.parametrize("name", NAMES)
async def test_the_time_in_the_queue_is_taken_off(clients: Clients, name: str) -> None:
    """[MQTT-3.3.2-6]."""
    await away(clients, name)
    sender = await clients.connect("sender")
    await sender.publish("a", b"first", qos=1, properties=EXPIRY)
    await clients.clock.advance(30)
    await sender.publish("a", b"second", qos=2, properties=EXPIRY)
    await sender.publish("a", b"third", qos=1)
    await clients.clock.advance(60)

    receiver = await back(clients, name)

    received = await receiver.messages(3)
    assert [(m.payload, m.get("message_expiry_interval")) for m in received] == [
        (b"first", 10),
        (b"second", 40),
        (b"third", None),
    ]


@pytest.mark.parametrize("name", NAMES)
async def test_what_ran_out_is_not_delivered(clients: Clients, name: str) -> None:
    """[MQTT-3.3.2-5]."""
    await away(clients, name)
    sender = await clients.connect("sender")
    await sender.publish("a", b"gone", qos=1, properties=EXPIRY)
    await sender.publish("a", b"gone", qos=2, properties=EXPIRY)
    await sender.publish("a", b"here", qos=1)

    await clients.clock.advance(100)

    receiver = await back(clients, name)
    assert (await receiver.message()).payload == b"here"
    await clients.silent(receiver)


async def test_the_last_second_is_still_there(clients: Clients) -> None:
    """[MQTT-3.3.2-5] [MQTT-3.3.2-6]."""
    await away(clients, "receiver")
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1, properties=EXPIRY)

    await clients.clock.advance(99.5)

    message = await (await back(clients, "receiver")).message()
    assert message.get("message_expiry_interval") in (0, 1)


async def test_what_waits_for_credit_runs_out_too(clients: Clients) -> None:
    """[MQTT-3.3.2-5]: its delivery has not begun."""
    receiver = await clients.connect("receiver", properties=(("receive_maximum", 1),))
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")
    await sender.publish("a", b"first", qos=1)
    held = await receiver.publication()
    await sender.publish("a", b"gone", qos=1, properties=EXPIRY)
    await sender.publish("a", b"here", qos=1)

    await clients.clock.advance(101)
    await receiver.answer(PUBACK, held.packet_id)

    assert (await receiver.message()).payload == b"here"
    await clients.silent(receiver)


async def test_a_retained_message_runs_out(clients: Clients) -> None:
    """[MQTT-3.3.2-5] [MQTT-3.3.2-6]."""
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1, retain=True, properties=EXPIRY)

    await clients.clock.advance(60)
    early = await clients.connect("early")
    await early.subscribe("a")
    assert (await early.message()).get("message_expiry_interval") == 40
    await clients.clock.advance(60)
    late = await clients.connect("late")
    await late.subscribe("a")

    await clients.silent(late)


async def test_a_retained_message_that_ran_out_makes_room_for_another(clients: Clients) -> None:
    """[MQTT-3.3.1-5]."""
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1, retain=True, properties=EXPIRY)
    await clients.clock.advance(200)

    await sender.publish("a", b"y", qos=1, retain=True)

    late = await clients.connect("late")
    await late.subscribe("a")
    assert (await late.message()).payload == b"y"


@pytest.mark.parametrize("interval", [0, 1, 2**32 - 1])
async def test_any_four_bytes_are_an_interval(clients: Clients, interval: int) -> None:
    """[MQTT-3.3.2-6]: one of 0 reaches those who are there."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")

    await sender.publish("a", qos=1, properties=[("message_expiry_interval", interval)])

    assert (await receiver.message()).get("message_expiry_interval") == interval


async def test_an_expired_publication_is_acknowledged_all_the_same(clients: Clients) -> None:
    """MQTT 5 §4.3.2: expiry ends deliveries, not exchanges. [MQTT-4.3.3-13]."""
    await away(clients, "receiver")
    sender = await clients.connect("sender")

    for qos in (1, 2):
        gone: Properties = [("message_expiry_interval", 0)]
        assert await sender.publish("a", qos=qos, properties=gone) == 0

    await clients.silent(await back(clients, "receiver"))
