"""MQTT 5 properties from the command line: `-D publish content-type text/plain`."""

from typing import Final

import click
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from quantummq.cli.connection import Property

_PACKETS: Final = {
    "connect": PacketTypes.CONNECT,
    "publish": PacketTypes.PUBLISH,
    "subscribe": PacketTypes.SUBSCRIBE,
    "unsubscribe": PacketTypes.UNSUBSCRIBE,
    "disconnect": PacketTypes.DISCONNECT,
    "will": PacketTypes.WILLMESSAGE,
}
_NUMBERS: Final = {
    "maximum-packet-size",
    "message-expiry-interval",
    "payload-format-indicator",
    "receive-maximum",
    "request-problem-information",
    "request-response-information",
    "session-expiry-interval",
    "subscription-identifier",
    "topic-alias",
    "topic-alias-maximum",
    "will-delay-interval",
}
_BINARY: Final = {"authentication-data", "correlation-data"}
_TEXT: Final = {"authentication-method", "content-type", "response-topic"}


def properties_of(packet: str, given: list[Property]) -> Properties:
    """The properties given for one kind of packet, in their order.

    Raises:
        click.UsageError: a packet or property does not exist, or its value is out of range.
    """
    properties = Properties(_PACKETS[packet])
    for name, key, values in given:
        if name not in _PACKETS:
            raise click.UsageError(f"-D {name}: choose one of {', '.join(_PACKETS)}")
        if name == packet:
            _add(properties, name, key, values)
    return properties


def _add(properties: Properties, packet: str, key: str, values: tuple[str, ...]) -> None:
    attribute = "".join(part.capitalize() for part in key.split("-"))
    try:
        if key == "user-property":
            properties.UserProperty = (values[0], values[1])
        elif key in _NUMBERS:
            setattr(properties, attribute, int(values[0]))
        elif key in _BINARY:
            setattr(properties, attribute, values[0].encode())
        elif key in _TEXT:
            setattr(properties, attribute, values[0])
        else:
            known = ", ".join(sorted({"user-property", *_NUMBERS, *_BINARY, *_TEXT}))
            raise click.UsageError(f"-D {packet} {key}: there is no such property; known: {known}")
    except click.UsageError:
        raise
    except Exception as error:  # paho raises its own classes and plain ones alike
        raise click.UsageError(f"-D {packet} {key} {values[0]}: {error}") from None
