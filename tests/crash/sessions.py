"""Subscribes, unsubscribes, ends and begins sessions, and finds out what lasted."""

import asyncio
from dataclasses import dataclass, field

from tests.crash.client import Client

NO_SUBSCRIPTION_EXISTED = 0x11


@dataclass
class Resubscriber(Client):
    """UNSUBACK tells whether a subscription was there: 0x00 or 0x11 (MQTT 5 §3.11.3)."""

    possible: dict[str, set[bool]] = field(default_factory=dict[str, set[bool]], init=False)

    async def run(self, address: str) -> None:
        """Makes and ends subscriptions in turn, checking each on the way."""
        peer = await self.connect(address)
        while True:
            name = f"toggle/{self.random.randrange(8)}"
            before = self.possible.setdefault(name, {False})
            if self.random.random() < 0.5:
                self.possible[name] = before | {True}
                await peer.subscribe(name, qos=1)
                self.possible[name] = {True}
                continue
            self.possible[name] = before | {False}
            reason = (await peer.unsubscribe(name)).reasons[0]
            if (reason != NO_SUBSCRIPTION_EXISTED) not in before:
                self.ledger.faults.append(f"{name}: UNSUBACK {reason:#x}, was one of {before}")
            self.possible[name] = {False}


@dataclass
class Restarter(Client):
    """Begins sessions anew: what CONNACK said with Clean Start 1 stands after a crash."""

    possible: set[bool] = field(default_factory=lambda: {False}, init=False)
    """Whether a session may be there."""

    async def run(self, address: str) -> None:
        """Checks, then begins lasting and passing sessions in turn."""
        before = self.possible
        self.possible = before | {True}
        connack, peer = await self.begin(address, self.client_id, expiry_s=3_600)
        await peer.close()
        if connack.session_present not in before:
            self.ledger.faults.append(
                f"{self.client_id}: Session Present {connack.session_present}, may be {before}"
            )
        self.possible = {True}
        while True:
            expiry_s = self.random.choice([0, 3_600])
            self.possible |= {expiry_s > 0, False}
            _, peer = await self.begin(address, self.client_id, expiry_s=expiry_s, clean=True)
            await peer.close()
            # A session without expiry ends with its connection, so with the broker too.
            self.possible = {expiry_s > 0}


@dataclass
class Passing(Client):
    """Sessions with a queue that expire, or end, while the others are at work."""

    async def run(self, address: str) -> None:
        """Each takes some of what there is and leaves the rest behind."""
        while True:
            client_id = f"{self.client_id}-{self.random.randrange(4)}"
            expiry_s, clean = self.random.choice([0, 1, 3_600]), self.random.random() < 0.5
            _, peer = await self.begin(address, client_id, expiry_s=expiry_s, clean=clean)
            await peer.subscribe("load/#", qos=self.random.choice([1, 2]))
            try:
                async with asyncio.timeout(self.random.uniform(0, 0.1)):
                    while True:
                        await peer.next()
            except TimeoutError:
                await peer.close()
