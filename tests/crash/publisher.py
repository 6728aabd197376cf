"""Publishes in order at QoS 1 and 2 from a session that lasts, and resumes with DUP."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from tests.crash.client import Client
from tests.crash.ledger import Id
from tests.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish
from tests.peer import Peer

WINDOW = 16


@dataclass
class Publisher(Client):
    """A topic for each QoS it uses, by turns as chance has it."""

    qos: tuple[int, ...] = (1, 2)
    sent: Counter[int] = field(default_factory=Counter[int], init=False)
    """By QoS."""
    unfinished: dict[int, Id] = field(default_factory=dict[int, Id], init=False)
    """By Packet Identifier, in order of sending."""
    released: set[int] = field(default_factory=set[int], init=False)
    """Identifiers of those whose PUBREC came."""
    is_stopping: bool = field(default=False, init=False)

    async def run(self, address: str) -> None:
        """Sends what is unfinished again, then more, until stopped and all is acknowledged."""
        peer = await self.connect(address)
        for packet_id, each in self.unfinished.items():
            if packet_id in self.released:
                await peer.answer(PUBREL, packet_id)
            else:
                await peer.send(self._packet(packet_id, each, dup=True))
        while self.unfinished or not self.is_stopping:
            while len(self.unfinished) < WINDOW and not self.is_stopping:
                await self._publish(peer)
            await self._take(peer)
        await peer.disconnect()

    async def _publish(self, peer: Peer) -> None:
        packet_id = next(free for free in range(1, 65_536) if free not in self.unfinished)
        qos = self.random.choice(self.qos)
        each = Id(self.client_id, qos, self.sent[qos])
        self.sent[qos] += 1
        self.unfinished[packet_id] = each
        await peer.send(self._packet(packet_id, each, dup=False))
        await asyncio.sleep(0)

    async def _take(self, peer: Peer) -> None:
        answer = await peer.next()
        assert isinstance(answer, Packet), answer
        each = self.unfinished.get(answer.packet_id)
        if answer.kind in (PUBACK, PUBREC) and answer.reason >= 0x80 and each is not None:
            self.ledger.refused[each] = answer.reason
            del self.unfinished[answer.packet_id]
        elif answer.kind == PUBACK and each is not None:
            self.ledger.acknowledged.add(each)
            del self.unfinished[answer.packet_id]
        elif answer.kind == PUBREC and each is not None:
            self.ledger.acknowledged.add(each)
            self.released.add(answer.packet_id)
            await peer.answer(PUBREL, answer.packet_id)
        elif answer.kind == PUBCOMP:
            self.unfinished.pop(answer.packet_id, None)
            self.released.discard(answer.packet_id)

    def _packet(self, packet_id: int, each: Id, *, dup: bool) -> bytes:
        publish = Publish(each.topic, each.encode(), each.qos, dup=dup, packet_id=packet_id)
        return publish.encode(self.version)
