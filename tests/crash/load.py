"""Everyone who is at work while the broker dies over and over, and what they say in the end."""

import asyncio
import random
from typing import Final

from tests.crash.broker import KilledBroker
from tests.crash.client import Client
from tests.crash.ledger import Ledger
from tests.crash.publisher import Publisher
from tests.crash.retained import RetainedWriter
from tests.crash.sessions import Passing, Restarter, Resubscriber
from tests.crash.subscriber import Subscriber
from tests.crash.will import Mortal

PATIENCE_S: Final = 10
GROUP: Final = "group"


class Load:
    """Clients of both versions and every kind, by seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ledger = Ledger()
        self.publishers = [
            self._publisher("publisher-1", (1,)),
            self._publisher("publisher-2", (2,)),
            self._publisher("publisher-both", (1, 2)),
            self._publisher("publisher-both-4", (1, 2), version=4),
        ]
        self.subscribers = [
            Subscriber("online", self.ledger, self._chance()),
            Subscriber("online-1", self.ledger, self._chance(), qos=1),
            Subscriber("flapping", self.ledger, self._chance(), leaves=True),
            Subscriber("flapping-4", self.ledger, self._chance(), leaves=True, version=4),
            Subscriber("offline", self.ledger, self._chance(), is_away=True),
            Subscriber("offline-4", self.ledger, self._chance(), is_away=True, version=4),
            Subscriber("member", self.ledger, self._chance(), group=GROUP),
            Subscriber("flapping-member", self.ledger, self._chance(), group=GROUP, leaves=True),
        ]
        self.others: list[Client] = [
            RetainedWriter("writer", self.ledger, self._chance()),
            RetainedWriter("writer-4", self.ledger, self._chance(), version=4),
            Resubscriber("resubscriber", self.ledger, self._chance()),
            Restarter("restarter", self.ledger, self._chance()),
            Passing("passing", self.ledger, self._chance()),
            Mortal("mortal", self.ledger, self._chance()),
            Mortal("mortal-4", self.ledger, self._chance(), version=4),
        ]

    def _chance(self) -> random.Random:
        return random.Random(self.chance.random())

    def _publisher(self, name: str, qos: tuple[int, ...], version: int = 5) -> Publisher:
        return Publisher(name, self.ledger, self._chance(), qos=qos, version=version)

    async def subscribe(self, address: str) -> None:
        """Everyone who counts messages has subscribed."""
        for subscriber in self.subscribers:
            subscriber.is_away, is_away = True, subscriber.is_away
            await subscriber.live(address)
            assert subscriber.is_subscribed
            subscriber.is_away = is_away

    async def work(self, broker: KilledBroker, seconds: float) -> None:
        """One life of everyone, which ends with the broker's."""
        everyone = [*self.publishers, *self.subscribers, *self.others]
        lives = [asyncio.create_task(each.live(broker.address)) for each in everyone]
        await asyncio.wait(lives, timeout=seconds)
        await broker.kill()
        await asyncio.gather(*lives)

    async def settle(self, address: str, patience_s: float = PATIENCE_S) -> None:
        """Everything sent is acknowledged, everything acknowledged taken, as far as it is there.

        Args:
            address: The broker's.
            patience_s: How long each subscriber waits for what is missing.
        """
        for publisher in self.publishers:
            publisher.is_stopping = True
            await publisher.live(address)
            assert not publisher.unfinished
            publisher.is_stopping = False
        for subscriber in self.subscribers:
            await subscriber.drain(address, patience_s)
            await subscriber.leave()

    def faults(self) -> list[str]:
        """What must not be."""
        found = list(self.ledger.faults)
        found += [
            f"refused with {reason:#x}: {each}" for each, reason in self.ledger.refused.items()
        ]
        for name, qos in {each.name: each.qos for each in self.subscribers}.items():
            found += self.ledger.check(name, qos=qos, is_ordered=name != GROUP)
        return found
