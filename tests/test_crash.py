"""Acknowledged means stored: the broker is killed at random moments, and nothing is missing."""

import os
import random
from pathlib import Path

import pytest

from tests.crash.broker import KilledBroker
from tests.crash.load import Load
from tests.product import free_port

ROUNDS = int(os.environ.get("QUANTUMMQ_CRASH_ROUNDS", "20"))
SEED = int(os.environ.get("QUANTUMMQ_CRASH_SEED", str(random.randrange(2**32))))


@pytest.mark.soak
@pytest.mark.timeout(60 + 10 * ROUNDS)
async def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """Rounds by QUANTUMMQ_CRASH_ROUNDS, to repeat: QUANTUMMQ_CRASH_SEED."""
    load = Load(SEED)
    broker = KilledBroker(tmp_path, free_port())

    await broker.start(QUANTUMMQ_STORE__PROFILE="safe")
    await load.subscribe(broker.address)
    for _ in range(ROUNDS):
        await load.work(broker, load.chance.uniform(0.05, 0.6))
        await broker.start(QUANTUMMQ_STORE__PROFILE="safe")
    await load.settle(broker.address)
    code = await broker.stop()

    assert not load.faults()[:20], f"QUANTUMMQ_CRASH_SEED={SEED}"
    assert code == 0
    assert len(load.ledger.acknowledged) > 10 * ROUNDS, "the load did next to nothing"
