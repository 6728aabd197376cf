"""Sets and clears retained messages, and finds out what became of them after a crash."""

import asyncio
from dataclasses import dataclass, field

from tests.crash.client import Client
from tests.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish
from tests.peer import Peer

TOPICS = 8
NONE = -1


@dataclass
class RetainedWriter(Client):
    """Values rise; every tenth clears the topic. One PUBLISH is under way at a time."""

    sent: int = field(default=0, init=False)
    possible: dict[int, list[int]] = field(default_factory=dict[int, list[int]], init=False)
    """By topic: the value last acknowledged, and those sent since."""

    async def run(self, address: str) -> None:
        """Looks at what is there, then goes on writing."""
        await self.check(address)
        _, peer = await self.begin(address, self.client_id, expiry_s=0, clean=True)
        while True:
            self.sent += 1
            topic = self.random.randrange(TOPICS)
            value = NONE if self.sent % 10 == 0 else self.sent
            self.possible.setdefault(topic, [NONE]).append(value)
            await self._write(peer, topic, value)
            self.possible[topic] = [value]

    async def _write(self, peer: Peer, topic: int, value: int) -> None:
        """Returns when it is acknowledged: at QoS 2 with PUBREC."""
        payload = b"" if value == NONE else str(value).encode()
        qos = self.random.choice([1, 2])
        publish = Publish(self._topic(topic), payload, qos, retain=True, packet_id=1)
        await peer.send(publish.encode(self.version))
        answer = await peer.next()
        assert isinstance(answer, Packet), answer
        assert answer.kind == (PUBACK if qos == 1 else PUBREC), answer
        assert answer.reason < 0x80, answer
        if qos == 2:
            self.possible[topic] = [value]
            await peer.answer(PUBREL, 1)
            await peer.packet(PUBCOMP)

    def _topic(self, number: int) -> str:
        return f"kept/{self.client_id}/{number}"

    async def check(self, address: str) -> None:
        """Each topic has the value last acknowledged, or one sent after it."""
        found = await self._read(address)
        for topic, possible in self.possible.items():
            if (value := found.get(topic, NONE)) not in possible:
                name = self._topic(topic)
                self.ledger.faults.append(f"{name} is {value}, not one of {possible}")
            self.possible[topic] = [value]

    async def _read(self, address: str) -> dict[int, int]:
        """What a new subscription is given; it is waited for longer where it must come."""
        _, peer = await self.begin(address, f"{self.client_id}-reader", expiry_s=0, clean=True)
        await peer.subscribe(f"kept/{self.client_id}/#", qos=1)
        due = {topic for topic, possible in self.possible.items() if NONE not in possible}
        found: dict[int, int] = {}
        try:
            while len(found) < TOPICS:
                async with asyncio.timeout(0.1 if due <= found.keys() else 10):
                    publish = await peer.message()
                found[int(publish.topic.rpartition("/")[2])] = int(publish.payload)
        except TimeoutError:
            pass  # Some are cleared, and nothing comes for them; or it is lost.
        await peer.disconnect()
        return found
