"""Fixtures for tests that speak MQTT with a real broker over real sockets."""

from collections.abc import AsyncIterator

import pytest

from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from tests.peer import Clients

CONFIG = {"broker": {"shards": 2, "seed": 7}, "listener": [{"address": "tcp://127.0.0.1:0"}]}


@pytest.fixture
def config() -> Config:
    """The broker's configuration; a test module overrides it by a fixture of the same name."""
    return Config.model_validate(CONFIG)


@pytest.fixture
async def clients(config: Config) -> AsyncIterator[Clients]:
    """A broker of two shards with a clock that stands still, and who makes its clients."""
    clock = ManualClock()
    async with Broker(config, clock=clock) as broker:
        made = Clients(broker, clock)
        yield made
        await made.close()
