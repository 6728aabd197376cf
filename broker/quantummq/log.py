"""What is written to standard error: text for people, JSON lines for machines.

Libraries log through `logging` as usual; only the command line sets this up. Facts go beside the
message: `tell(LOG, logging.INFO, "connected", client_id="a")`. Facts with a secret's name are
struck out whatever they hold.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

_FIELDS: Final = "quantummq_fields"
_SECRET_PARTS: Final = (
    "password",
    "passwd",
    "secret",
    "token",
    "private_key",
    "authentication_data",
)
_STRUCK_OUT: Final = "***"

Fact = str | int | float | bool | None | list[str]
"""What a line can say beside its message."""


def tell(logger: logging.Logger, level: int, message: str, **facts: Fact) -> None:
    """Logs `message` with facts beside it."""
    if logger.isEnabledFor(level):
        logger.log(level, message, extra={_FIELDS: facts})


def set_up(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends all logging of this process to `stream`, in place of what was set up before.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        form: `text`, `json`, or `auto` for text on a terminal and JSON elsewhere.
        stream: None for standard error.
    """
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    handler.setFormatter(formatter(form, is_terminal=target.isatty()))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # asyncio's debug lines say nothing about the broker.
    logging.getLogger("asyncio").setLevel(max(logging.INFO, logging.getLogger().level))


def formatter(form: str, *, is_terminal: bool) -> logging.Formatter:
    """The formatter for `form`: `text`, `json` or `auto`."""
    as_text = form == "text" or (form == "auto" and is_terminal)
    return TextFormatter() if as_text else JsonFormatter()


class TextFormatter(logging.Formatter):
    """`12:34:56 info    run: ready  addresses=tcp://127.0.0.1:1883`, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, more only for a traceback."""
        moment = datetime.fromtimestamp(record.created).astimezone()
        name = record.name.removeprefix("quantummq.")
        facts = "".join(f"  {key}={_shown(value)}" for key, value in facts_of(record).items())
        level = record.levelname.lower()
        head = f"{moment:%H:%M:%S} {level:<7} {name}: {one_line(record.getMessage())}"
        return head + facts + _trace(self, record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, time in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Fact] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in facts_of(record).items() if key not in line)
        trace = _trace(self, record)
        if trace:
            line["trace"] = trace.strip()
        text = json.dumps(line, ensure_ascii=False, default=str)
        if text.isprintable():
            return text
        # JSON leaves U+007F to U+009F as they are, and a terminal that shows the log obeys them.
        return "".join(
            letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text
        )


def facts_of(record: logging.LogRecord) -> Mapping[str, Fact]:
    """The facts beside the message, secrets struck out."""
    facts: Mapping[str, Fact] = getattr(record, _FIELDS, {})
    return {key: _STRUCK_OUT if _is_secret(key) else value for key, value in facts.items()}


def _is_secret(key: str) -> bool:
    return any(part in key.lower() for part in _SECRET_PARTS)


def one_line(text: str) -> str:
    """`text` without control characters, so that no client can write lines of its own."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _shown(value: Fact) -> str:
    if isinstance(value, list):
        return one_line(" ".join(value))
    text = one_line(str(value))
    return json.dumps(text, ensure_ascii=False) if not text or " " in text else text


def _trace(form: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_info:
        return "\n" + form.formatException(record.exc_info)
    return ""
