"""Receives everything from a session that lasts, and tells repeats of QoS 2 as a client must."""

import asyncio
from dataclasses import dataclass, field

from tests.crash.client import Client
from tests.crash.ledger import Id
from tests.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Publish
from tests.peer import Filter, Peer


@dataclass
class Subscriber(Client):
    """Subscribes once.

    Attributes:
        qos: Maximum QoS of the subscription.
        group: Of a shared subscription; its members' messages are counted together.
        leaves: It goes away at random.
        is_away: It stays away until the end.
    """

    qos: int = 2
    group: str = ""
    leaves: bool = False
    is_away: bool = False
    is_subscribed: bool = field(default=False, init=False)
    held: set[int] = field(default_factory=set[int], init=False)
    """Packet Identifiers of QoS 2 messages taken and not released (MQTT 5 §4.3.3)."""

    @property
    def name(self) -> str:
        """Under which its messages are counted."""
        return self.group or self.client_id

    async def run(self, address: str) -> None:
        """Takes messages until the broker dies, or it leaves."""
        if self.is_away and self.is_subscribed:
            return
        peer = await self.connect(address)
        if not self.is_subscribed:
            share = f"$share/{self.group}/" if self.group else ""
            suback = await peer.subscribe(Filter(f"{share}load/#", self.qos))
            assert suback.reasons == (self.qos,), suback
            self.is_subscribed = True
        if self.is_away:
            await peer.close()
            return
        while not (self.leaves and self.random.random() < 0.002):
            await self.take(peer)
        await peer.close()

    async def drain(self, address: str, patience_s: float) -> None:
        """Takes all there is, until nothing is missing and nothing comes any more.

        Args:
            address: The broker's.
            patience_s: How long the next one may take while something is missing.
        """
        peer = await self.connect(address)
        missing, arrived = self.ledger.missing(self.name), self.ledger.arrived[self.name]
        try:
            while True:
                async with asyncio.timeout(patience_s if missing else 0.3):
                    await self.take(peer)
                missing.difference_update(arrived[-1:])
        except TimeoutError:
            await peer.close()

    async def take(self, peer: Peer) -> None:
        """One packet, answered."""
        received = await peer.next()
        await asyncio.sleep(0)  # Others take their turn, however much has come.
        if isinstance(received, Publish):
            await self._message(peer, received)
        elif received.kind == PUBREL:
            self.held.discard(received.packet_id)
            await peer.answer(PUBCOMP, received.packet_id)

    async def _message(self, peer: Peer, publish: Publish) -> None:
        is_repeat = publish.qos == 2 and publish.packet_id in self.held
        if not is_repeat:
            self.ledger.arrived[self.name].append(Id.decode(publish.payload))
        if publish.qos == 2:
            self.held.add(publish.packet_id)
            await peer.answer(PUBREC, publish.packet_id)
        elif publish.qos == 1:
            await peer.answer(PUBACK, publish.packet_id)
