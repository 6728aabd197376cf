"""How `sub -F` prints a message; the letters are those of mosquitto_sub."""

import json
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_PIECE: Final = re.compile(
    r"%(?P<flags>[-0]*)(?P<width>\d{0,4})(?:\.(?P<precision>\d{1,4}))?"
    r"(?P<letter>@.|[A-Za-z%])"
    r"|\\(?P<escape>.)"
    r"|(?P<text>[^%\\]+|.)",
    re.DOTALL,
)
_ESCAPES: Final = {
    "0": "\0",
    "a": "\a",
    "e": "\x1b",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
}


@dataclass(frozen=True, slots=True)
class Received:
    """A message as `sub` got it.

    Attributes:
        topic: Topic Name.
        payload: Application Message.
        qos: 0, 1 or 2.
        retain: RETAIN.
        packet_id: 0 at QoS 0.
        moment: When it came, in local time.
        properties: MQTT 5 properties by their names in JSON.
        user_properties: In order.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet_id: int
    moment: datetime
    properties: dict[str, str | int | list[int]]
    user_properties: tuple[tuple[str, str], ...] = ()


def compile_format(form: str, *, pretty: bool = False) -> list[Callable[[Received], bytes]]:
    """The parts of a format, to be put together for each message.

    Args:
        form: Text with the letters of mosquitto_sub.
        pretty: Whether JSON is spread over lines.

    Raises:
        ValueError: a letter is unknown.
    """
    return [_part(piece, pretty) for piece in _PIECE.finditer(form)]


def render(parts: list[Callable[[Received], bytes]], message: Received) -> bytes:
    """A message in a format."""
    return b"".join(part(message) for part in parts)


def as_json(message: Received, *, parse_payload: bool = False, pretty: bool = False) -> str:
    """A message as a JSON object; a payload that is not UTF-8 comes as `payload_base64`.

    Args:
        message: The message.
        parse_payload: Whether the payload is JSON that goes in as such, if it is.
        pretty: Whether it is spread over lines.
    """
    shown: dict[str, object] = {
        "tst": message.moment.isoformat(timespec="microseconds"),
        "topic": message.topic,
        "qos": message.qos,
        "retain": int(message.retain),
        "payloadlen": len(message.payload),
    }
    if message.packet_id:
        shown["mid"] = message.packet_id
    properties: dict[str, object] = dict(message.properties)
    if message.user_properties:
        properties["user-properties"] = [{key: value} for key, value in message.user_properties]
    if properties:
        shown["properties"] = properties
    try:
        shown["payload"] = (
            json.loads(message.payload) if parse_payload else message.payload.decode()
        )
    except ValueError:
        try:
            shown["payload"] = message.payload.decode()
        except UnicodeDecodeError:
            shown["payload_base64"] = b64encode(message.payload).decode()
    if pretty:
        return json.dumps(shown, ensure_ascii=False, indent=2)
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


def _property(name: str) -> Callable[[Received], str]:
    def read(message: Received) -> str:
        value = message.properties.get(name, "")
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    return read


_LETTERS: Final[dict[str, Callable[[Received], str | bytes]]] = {
    "%": lambda message: "%",
    "A": _property("topic-alias"),
    "C": _property("content-type"),
    "D": _property("correlation-data"),
    "E": _property("message-expiry-interval"),
    "F": _property("payload-format-indicator"),
    "I": lambda message: message.moment.strftime("%Y-%m-%dT%H:%M:%S%z"),
    "P": lambda message: " ".join(f"{key}:{value}" for key, value in message.user_properties),
    "R": _property("response-topic"),
    "S": _property("subscription-identifier"),
    "U": lambda message: f"{message.moment.timestamp():.9f}",
    "X": lambda message: message.payload.hex().upper(),
    "l": lambda message: str(len(message.payload)),
    "m": lambda message: str(message.packet_id),
    "p": lambda message: message.payload,
    "q": lambda message: str(message.qos),
    "r": lambda message: str(int(message.retain)),
    "t": lambda message: message.topic,
    "x": lambda message: message.payload.hex(),
}


def _part(piece: re.Match[str], pretty: bool) -> Callable[[Received], bytes]:
    text, escape, letter = piece["text"], piece["escape"], piece["letter"]
    if text is not None:
        return _constant(text)
    if escape is not None:
        if escape not in _ESCAPES:
            raise ValueError(f"\\{escape} is not known; write one of \\0 \\a \\e \\n \\r \\t \\v")
        return _constant(_ESCAPES[escape])
    if letter.startswith("@"):
        return lambda message: message.moment.strftime(f"%{letter[1]}").encode()
    if letter in ("j", "J"):
        parse = letter == "J"
        return _padded(lambda message: as_json(message, parse_payload=parse, pretty=pretty), piece)
    if letter not in _LETTERS:
        raise ValueError(f"%{letter} is not known; see quantummq sub --help")
    return _padded(_LETTERS[letter], piece)


def _constant(text: str) -> Callable[[Received], bytes]:
    encoded = text.encode("utf-8", "surrogateescape")
    return lambda message: encoded


def _padded(
    read: Callable[[Received], str | bytes], piece: re.Match[str]
) -> Callable[[Received], bytes]:
    """What `read` gives, cut to the precision and filled up to the width."""
    width = int(piece["width"] or 0)
    precision = int(piece["precision"]) if piece["precision"] else None
    left, fill = "-" in piece["flags"], b"0" if "0" in piece["flags"] else b" "

    def write(message: Received) -> bytes:
        value = read(message)
        raw = (value if isinstance(value, bytes) else value.encode())[:precision]
        return raw.ljust(width) if left else raw.rjust(width, fill)

    return write
