"""What `pub` does: connect, publish with a bounded number under way, wait, disconnect."""

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessageInfo
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from quantummq.cli.client import (
    ClientError,
    complain,
    connect,
    disconnect,
    make_client,
    refused,
)
from quantummq.cli.properties import properties_of
from quantummq.cli.pub import Publication

# Messages given to paho and not yet sent or acknowledged: enough to keep a link busy.
_UNDER_WAY_MAX: Final = 1_000
_CONNACK_TIMEOUT_S: Final = 30.0


class _Publisher:
    """A connection, and what it was told by the broker."""

    def __init__(self, publication: Publication) -> None:
        self._publication = publication
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._why = ""
        self.refusals = 0
        connection, given = publication.connection, publication.properties
        self._client = make_client(connection, given, manual_ack=False)
        self._properties = properties_of("publish", given) if connection.version == 5 else None
        # In place of the 20 paho allows; the broker's Receive Maximum bounds it further.
        self._client.max_inflight_messages_set(publication.inflight_max)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish

    def run(self) -> None:
        """Publishes everything.

        Raises:
            ClientError: the broker cannot be reached, refused or went away.
        """
        connection = self._publication.connection
        connect(self._client, connection, self._publication.properties)
        self._client.loop_start()
        try:
            if not self._answered.wait(_CONNACK_TIMEOUT_S):
                raise ClientError(f"no CONNACK within {_CONNACK_TIMEOUT_S:.0f} s")
            self._check()
            self._publish_all()
        finally:
            disconnect(self._client, connection, self._publication.properties)
            self._client.loop_stop()

    def _publish_all(self) -> None:
        under_way: deque[MQTTMessageInfo] = deque()
        publication = self._publication
        for payload in _payloads(publication):
            under_way.append(
                self._client.publish(
                    publication.topic,
                    payload,
                    publication.qos,
                    publication.retain,
                    self._properties,
                )
            )
            if len(under_way) >= _UNDER_WAY_MAX:
                self._wait(under_way.popleft())
        while under_way:
            self._wait(under_way.popleft())

    def _wait(self, info: MQTTMessageInfo) -> None:
        while not info.is_published():
            self._check()
            info.wait_for_publish(0.2)

    def _check(self) -> None:
        if self._why or self._ended.is_set():
            raise ClientError(self._why or "the broker closed the connection")

    def _on_connect(
        self,
        client: Client,
        userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._why = refused(reason)
        self._answered.set()

    def _on_disconnect(
        self,
        client: Client,
        userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._why = self._why or f"the connection ended: {reason}"
        self._ended.set()
        self._answered.set()

    def _on_publish(
        self,
        client: Client,
        userdata: object,
        packet_id: int,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self.refusals += 1
            complain(self._publication.connection, f"message {packet_id} was refused: {reason}")


def publish(publication: Publication) -> int:
    """Publishes; the exit code."""
    try:
        publisher = _Publisher(publication)
        publisher.run()
    except (ClientError, ValueError) as error:
        complain(publication.connection, str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if publisher.refusals else 0


def _payloads(publication: Publication) -> Iterator[bytes]:
    """Every payload to send, with the pauses asked for."""
    first = True
    for _ in range(publication.repeat):
        for payload in _lines() if publication.payload is None else (publication.payload,):
            if not first and publication.repeat_delay_s:
                time.sleep(publication.repeat_delay_s)
            first = False
            yield payload


def _lines() -> Iterator[bytes]:
    for line in sys.stdin.buffer:
        yield line.removesuffix(b"\n")
