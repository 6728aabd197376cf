"""A client that goes on through every crash: it connects again as soon as the broker is back."""

import asyncio
import random
from dataclasses import dataclass, field

from tests.crash.ledger import Ledger
from tests.packets import Connect, Packet, Will
from tests.peer import Peer

GONE = (asyncio.IncompleteReadError, ConnectionError, TimeoutError)
"""What a crash of the other side looks like."""


@dataclass
class Client:
    """What all have in common. `run` is one life between two crashes.

    Attributes:
        client_id: Client Identifier.
        ledger: What it sent and got.
        random: Its own chance.
        version: MQTT's: 5, or 4 for 3.1.1.
    """

    client_id: str
    ledger: Ledger
    random: random.Random
    version: int = field(default=5, kw_only=True)
    has_session: bool = field(default=False, init=False)
    """The CONNACK of a lasting session has come, so a crash may not lose it."""
    peers: list[Peer] = field(default_factory=list[Peer], init=False)
    """Connections of this life."""

    async def connect(self, address: str) -> Peer:
        """Connects to the session that lasts, and finds out if the broker forgot it."""
        connack, peer = await self.begin(address, self.client_id, expiry_s=3_600)
        if self.has_session and not connack.session_present:
            self.ledger.faults.append(f"{self.client_id}: the session was lost")
        self.has_session = True
        return peer

    async def begin(
        self,
        address: str,
        client_id: str,
        *,
        expiry_s: int,
        clean: bool = False,
        will: Will | None = None,
    ) -> tuple[Packet, Peer]:
        """A connection, and the CONNACK that let it in. Version 4 knows no expiry."""
        peer = await Peer.open(address)
        self.peers.append(peer)
        properties = (("session_expiry_interval", expiry_s),) if self.version == 5 else ()
        connect = Connect(client_id, self.version, clean, will=will, properties=properties)
        connack = await peer.connect(connect)
        assert connack.reason == 0, connack
        return connack, peer

    async def run(self, address: str) -> None:
        """Works until the broker is gone; a crash ends it with one of `GONE`."""
        raise AssertionError("each kind of client has its own")

    async def live(self, address: str) -> None:
        """One life: until the broker dies or `run` has nothing more to do."""
        try:
            await self.run(address)
        except GONE:
            return
        finally:
            await self.leave()

    async def leave(self) -> None:
        """Ends what is left of this life's connections."""
        while self.peers:
            await self.peers.pop().close()
