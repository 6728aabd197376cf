"""What was sent, what was acknowledged and what arrived: the counts that must be zero."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Id:
    """One message: its publisher, its QoS and its place in the publisher's order."""

    publisher: str
    qos: int
    number: int

    @property
    def topic(self) -> str:
        """The topic it is published under."""
        return f"load/{self.qos}/{self.publisher}"

    def encode(self) -> bytes:
        """As a payload."""
        return f"{self.publisher} {self.qos} {self.number}".encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Id":
        """From a payload."""
        publisher, qos, number = payload.decode().split()
        return cls(publisher, int(qos), int(number))


@dataclass
class Ledger:
    """Counts by message, shared by all clients of one run."""

    acknowledged: set[Id] = field(default_factory=set[Id])
    """PUBACK or PUBREC below 0x80 came; of a will, the CONNACK of its session."""
    refused: dict[Id, int] = field(default_factory=dict[Id, int])
    """Reason Codes from 0x80 on of PUBACK and PUBREC."""
    arrived: dict[str, list[Id]] = field(default_factory=lambda: defaultdict(list))
    """By subscriber or shared group, in order; QoS 2 once per exchange."""
    faults: list[str] = field(default_factory=list[str])
    """Found on the way: sessions, subscriptions or values lost, stale or risen."""

    def check(self, subscriber: str, *, qos: int = 2, is_ordered: bool = True) -> list[str]:
        """What is wrong with what a subscriber of everything got in the end.

        Args:
            subscriber: Whose, as in `arrived`.
            qos: What it was granted: below 2 everything may come again.
            is_ordered: Whether one session got all of it; the members of a shared group do not.
        """
        arrived = self.arrived[subscriber]
        found = [f"{subscriber}: lost {each}" for each in sorted(self.missing(subscriber))]
        if qos == 2:
            counts = Counter(each for each in arrived if each.qos == 2)
            twice = sorted(each for each, count in counts.items() if count > 1)
            found += [f"{subscriber}: QoS 2 twice {each}" for each in twice]
        return found + (self._disorder(subscriber) if is_ordered else [])

    def missing(self, subscriber: str) -> set[Id]:
        """What was acknowledged and has not arrived there."""
        return self.acknowledged - set(self.arrived[subscriber])

    def repeats(self, subscriber: str) -> int:
        """QoS 1 messages that came again: allowed, and counted."""
        arrived = self.arrived[subscriber]
        return len(arrived) - len(set(arrived))

    def _disorder(self, subscriber: str) -> list[str]:
        """Order is that of the first arrival: QoS 1 may come again."""
        found: list[str] = []
        latest: dict[tuple[str, int], int] = {}
        for each in dict.fromkeys(self.arrived[subscriber]):
            key = (each.publisher, each.qos)
            if each.number < latest.get(key, -1):
                found.append(f"{subscriber}: {each} came after {latest[key]}")
            latest[key] = each.number
        return found
