"""Sessions that last, with a will, that lose their connection: the will comes exactly once."""

import asyncio
from dataclasses import dataclass, field

from tests.crash.client import Client
from tests.crash.ledger import Id
from tests.packets import Will

DELAYS_S = (0, 0, 1)


@dataclass
class Mortal(Client):
    """Each connection is a client of its own, which never comes back."""

    born: int = field(default=0, init=False)

    async def run(self, address: str) -> None:
        """Some lose their connection while the broker runs, the last one with it."""
        while True:
            self.born += 1
            client_id = f"{self.client_id}-{self.born}"
            message = Id(client_id, self.random.choice([1, 2]), 0)
            delay = (("will_delay_interval", self.random.choice(DELAYS_S)),)
            properties = delay if self.version == 5 else ()
            will = Will(message.topic, message.encode(), message.qos, properties=properties)
            _, peer = await self.begin(address, client_id, expiry_s=3_600, will=will)
            # Stored before CONNACK: whatever happens to the broker now, the will is published.
            self.ledger.acknowledged.add(message)
            try:
                async with asyncio.timeout(self.random.uniform(0, 0.2)):
                    await peer.next()
            except TimeoutError:
                await peer.close()
