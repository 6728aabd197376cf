"""Acknowledged means stored: the power is cut at random moments, and nothing is missing."""

import os
import random
from pathlib import Path

import pytest

from tests.crash.load import Load
from tests.powercut.broker import PowerCutBroker
from tests.powercut.shim import Shim, compile_shim
from tests.product import free_port

ROUNDS = int(os.environ.get("QUANTUMMQ_POWERCUT_ROUNDS", "6"))
SEED = int(os.environ.get("QUANTUMMQ_POWERCUT_SEED", str(random.randrange(2**32))))
SYNC_US = 1_000
"""A slow disk: a cut often finds a commit under way."""


def a_broker(tmp_path: Path, load: Load) -> PowerCutBroker:
    """On an empty disk."""
    (tmp_path / "disk").mkdir()
    shim = Shim(compile_shim(tmp_path), tmp_path / "disk", tmp_path / "record", SYNC_US)
    return PowerCutBroker(shim, free_port(), random.Random(load.chance.random()))


async def cut_rounds(broker: PowerCutBroker, load: Load, profile: str, rounds: int) -> None:
    """So many power cuts under load."""
    longest_s = 1.5 if profile == "card" else 0.5
    for _ in range(rounds):
        await load.work(broker, load.chance.uniform(0.05, longest_s))
        await broker.start(QUANTUMMQ_STORE__PROFILE=profile)


@pytest.mark.soak
@pytest.mark.timeout(60 + 15 * ROUNDS)
@pytest.mark.parametrize("profile", ["safe", "card"])
async def test_nothing_acknowledged_is_lost_by_a_power_cut(tmp_path: Path, profile: str) -> None:
    """Rounds by QUANTUMMQ_POWERCUT_ROUNDS, to repeat: QUANTUMMQ_POWERCUT_SEED."""
    load = Load(SEED)
    broker = a_broker(tmp_path, load)

    await broker.start(QUANTUMMQ_STORE__PROFILE=profile)
    await load.subscribe(broker.address)
    await cut_rounds(broker, load, profile, ROUNDS)
    await load.settle(broker.address)
    code = await broker.stop()

    assert not load.faults()[:20], f"QUANTUMMQ_POWERCUT_SEED={SEED}"
    assert code == 0
    assert len(load.ledger.acknowledged) > 5 * ROUNDS, "the load did next to nothing"


@pytest.mark.timeout(300)
async def test_a_power_cut_shows_that_fast_does_not_survive_it(tmp_path: Path) -> None:
    """So the test above can fail, and the reference tells the truth about `fast`."""
    load = Load(SEED)
    broker = a_broker(tmp_path, load)

    await broker.start(QUANTUMMQ_STORE__PROFILE="fast")
    await load.subscribe(broker.address)
    for _ in range(10):
        await cut_rounds(broker, load, "fast", 2)
        await load.settle(broker.address, patience_s=0.5)
        if load.faults():
            break
    await broker.stop()

    assert load.faults(), f"QUANTUMMQ_POWERCUT_SEED={SEED}"
