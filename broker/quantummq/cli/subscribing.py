"""What `sub` does: subscribe, print each message, acknowledge it once it is printed."""

import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from types import FrameType
from typing import Final

from paho.mqtt.client import (
    Client,
    ConnectFlags,
    DisconnectFlags,
    MQTTMessage,
    topic_matches_sub,
)
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from quantummq.cli.client import (
    ClientError,
    complain,
    connect,
    disconnect,
    lost,
    make_client,
    refused,
)
from quantummq.cli.output_format import Received, compile_format, render
from quantummq.cli.properties import properties_of
from quantummq.cli.sub import Wanted

TIMED_OUT: Final = 27
_RECONNECT_S: Final = 1.0
# The longest wait for the socket, so that signals and timeouts are seen.
_LOOP_S: Final = 0.2
_NUMBERS: Final = {
    "MessageExpiryInterval": "message-expiry-interval",
    "PayloadFormatIndicator": "payload-format-indicator",
    "SubscriptionIdentifier": "subscription-identifier",
    "TopicAlias": "topic-alias",
    "ContentType": "content-type",
    "ResponseTopic": "response-topic",
    "CorrelationData": "correlation-data",
}


class _Subscriber:
    """A connection, and how far it is with what was asked."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._parts = compile_format(wanted.form, pretty=wanted.pretty)
        self._printed = 0
        self._pending = 0
        self._done = False
        self._error = ""
        self._client = make_client(wanted.connection, wanted.properties, manual_ack=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_unsubscribe = self._on_unsubscribe
        self._client.on_message = self._on_message

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Ends it at the next occasion; may be a signal's handler."""
        self._done = True

    def run(self) -> int:
        """Prints until it is done; the exit code.

        Raises:
            ClientError: the broker cannot be reached at first, or refused.
        """
        wanted = self._wanted
        ends_s = time.monotonic() + wanted.timeout_s if wanted.timeout_s else None
        connect(self._client, wanted.connection, wanted.properties)
        code = 0
        while not self._done and not self._error:
            left_s = _LOOP_S if ends_s is None else ends_s - time.monotonic()
            if left_s <= 0:
                code = TIMED_OUT
                break
            result = self._client.loop(min(_LOOP_S, left_s))
            if result != MQTTErrorCode.MQTT_ERR_SUCCESS and not self._done and not self._error:
                complain(wanted.connection, lost(result))
                self._reconnect()
        disconnect(self._client, wanted.connection, wanted.properties)
        if self._error:
            raise ClientError(self._error)
        return code

    def _reconnect(self) -> None:
        time.sleep(_RECONNECT_S)
        try:
            self._client.reconnect()
        except OSError as error:
            complain(self._wanted.connection, str(error))

    def _on_connect(
        self,
        client: Client,
        userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        wanted = self._wanted
        if reason.is_failure:
            self._error = refused(reason)
            return
        is_5 = wanted.connection.version == 5
        if wanted.unsubscribe:
            of_unsubscribe = properties_of("unsubscribe", wanted.properties) if is_5 else None
            client.unsubscribe(list(wanted.unsubscribe), of_unsubscribe)
            self._pending += 1
        if not wanted.filters:
            return
        self._pending += 1
        if is_5:
            options = SubscribeOptions(wanted.qos, retainAsPublished=wanted.retain_as_published)
            topics = [(each, options) for each in wanted.filters]
            client.subscribe(topics, properties=properties_of("subscribe", wanted.properties))
        else:
            client.subscribe([(each, wanted.qos) for each in wanted.filters])

    def _on_disconnect(
        self,
        client: Client,
        userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        # MQTT 5 brokers say why; coming back at once would not help.
        if flags.is_disconnect_packet_from_server and reason.is_failure:
            self._error = f"the broker ended the connection: {reason}"

    def _on_subscribe(
        self,
        client: Client,
        userdata: object,
        packet_id: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        for topic_filter, reason in zip(self._wanted.filters, reasons, strict=False):
            if reason.is_failure:
                complain(self._wanted.connection, f"{topic_filter}: not subscribed: {reason}")
        if reasons and all(reason.is_failure for reason in reasons):
            self._error = "the broker refused every subscription"
        self._answered()

    def _on_unsubscribe(
        self,
        client: Client,
        userdata: object,
        packet_id: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        self._answered()
        if not self._wanted.filters:
            self._done = True

    def _answered(self) -> None:
        self._pending -= 1
        if self._pending == 0 and self._wanted.exit_after_subscribe:
            self._done = True

    def _on_message(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        wanted = self._wanted
        if self._done:
            # Left unacknowledged: a session that is kept gets it again.
            return
        if wanted.retained_only and not message.retain:
            self._done = True
            return
        if message.retain and wanted.remove_retained:
            client.publish(message.topic, b"", qos=min(1, wanted.qos), retain=True)
        if not self._is_skipped(message):
            self._print(message)
        client.ack(message.mid, message.qos)
        if wanted.count and self._printed >= wanted.count:
            self._done = True

    def _is_skipped(self, message: MQTTMessage) -> bool:
        wanted = self._wanted
        stale = message.retain and wanted.ignore_stale
        # What removes a retained message comes to us as well.
        removal = wanted.remove_retained and not message.retain and not message.payload
        dropped = any(topic_matches_sub(each, message.topic) for each in wanted.dropped_filters)
        # A sample, not a secret.
        unlucky = random.uniform(0, 100) >= wanted.percentage  # noqa: S311
        return stale or removal or dropped or unlucky

    def _print(self, message: MQTTMessage) -> None:
        out = sys.stdout.buffer
        if self._parts:
            out.write(render(self._parts, received(message)))
        elif self._wanted.verbose:
            out.write(message.topic.encode() + b" " + (message.payload or b"(null)"))
        else:
            out.write(message.payload)
        # An empty payload leaves no trace, as with mosquitto_sub, unless its topic is printed.
        if self._wanted.newline and (self._parts or self._wanted.verbose or message.payload):
            out.write(b"\n")
        out.flush()
        self._printed += 1


def received(message: MQTTMessage) -> Received:
    """What paho got, as `output_format` reads it."""
    found: dict[str, str | int | list[int]] = {}
    for attribute, name in _NUMBERS.items():
        value: str | int | bytes | list[int] | None = getattr(message.properties, attribute, None)
        if value is not None:
            found[name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    pairs: list[tuple[str, str]] = getattr(message.properties, "UserProperty", [])
    return Received(
        topic=message.topic,
        payload=bytes(message.payload),
        qos=message.qos,
        retain=message.retain,
        packet_id=message.mid,
        moment=datetime.now(UTC).astimezone(),
        properties=found,
        user_properties=tuple(pairs),
    )


def subscribe(wanted: Wanted) -> int:
    """Subscribes and prints; the exit code."""
    try:
        subscriber = _Subscriber(wanted)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, subscriber.stop)
        return subscriber.run()
    except BrokenPipeError:
        # Whoever read has enough, as in `sub … | head`; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ClientError, ValueError) as error:
        complain(wanted.connection, str(error))
        return 1
