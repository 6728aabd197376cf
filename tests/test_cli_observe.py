"""The log of a broker whose level is above debug: a line for each counter that rose."""

import logging

import pytest

from quantummq.broker import Broker
from quantummq.cli.observe import TOLD, tell_rises
from quantummq.config import Config
from quantummq.log import facts_of


def test_what_rose_is_told_with_by_how_much(caplog: pytest.LogCaptureFixture) -> None:
    before = {"connects_refused": 2, "violations": 5, "messages_received": 1}

    with caplog.at_level(logging.WARNING):
        tell_rises(before, {"connects_refused": 5, "violations": 5, "messages_received": 9})

    assert [record.getMessage() for record in caplog.records] == ["CONNECTs were refused"]
    assert facts_of(caplog.records[0])["count"] == 3


def test_a_limit_of_connections_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing else would say why clients are cut off before they send a byte."""
    with caplog.at_level(logging.WARNING):
        tell_rises({"connections_refused": 0}, {"connections_refused": 7})

    assert "a limit" in caplog.records[0].getMessage()
    assert facts_of(caplog.records[0])["count"] == 7


async def test_every_counter_that_is_told_is_one_of_the_brokers() -> None:
    config = Config.model_validate({"listener": [{"address": "tcp://127.0.0.1:0"}]})

    async with Broker(config) as broker:
        assert set(TOLD) <= set(broker.counters())
