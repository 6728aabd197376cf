"""The log: what clients write into it commands no terminal and begins no line."""

import json
import logging

import pytest

from quantummq.log import formatter, tell

HOSTILE = "a\x1b[2J\x9b31m\r\n\x7f\u2028\u202eé\U0001f600"
"""Escape sequences of 7 and 8 bits, line ends, a change of direction; then two honest letters."""


def line(form: str, caplog: pytest.LogCaptureFixture) -> str:
    """A line with a hostile message and fact."""
    logger = logging.getLogger("quantummq.test")
    with caplog.at_level(logging.INFO):
        tell(logger, logging.INFO, HOSTILE, client_id=HOSTILE)
    return formatter(form, is_terminal=False).format(caplog.records[-1])


@pytest.mark.parametrize("form", ["text", "json"])
def test_clients_command_no_terminal(form: str, caplog: pytest.LogCaptureFixture) -> None:
    written = line(form, caplog)

    assert written.isprintable()
    assert written.count("é\U0001f600") == 2


def test_json_says_what_the_client_wrote(caplog: pytest.LogCaptureFixture) -> None:
    facts = json.loads(line("json", caplog))

    assert (facts["message"], facts["client_id"]) == (HOSTILE, HOSTILE)
