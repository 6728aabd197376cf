"""A paho client from the options of `pub` and `sub`, and the words for what goes wrong."""

import logging
import socket
import ssl
import sys
from typing import Final, Literal

import click
from paho.mqtt.client import Client, error_string
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from quantummq.cli.connection import Connection, Property
from quantummq.cli.properties import properties_of
from quantummq.errors import QuantumMQError

_TLS: Final = {"tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}


class ClientError(QuantumMQError):
    """The broker cannot be reached, or refused."""


def make_client(connection: Connection, given: list[Property], *, manual_ack: bool) -> Client:
    """A client that is not connected yet.

    Raises:
        ClientError: the certificates cannot be used.
        click.UsageError: a property cannot.
    """
    if given and connection.version != 5:
        raise click.UsageError("properties need MQTT 5; remove -V or -D")
    transport: Literal["tcp", "websockets", "unix"] = "tcp"
    if connection.unix is not None:
        transport = "unix"
    elif connection.ws:
        transport = "websockets"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=connection.effective_id,
        clean_session=None if connection.version == 5 else not connection.keep_session,
        protocol=MQTTProtocolVersion(connection.version),
        transport=transport,
        manual_ack=manual_ack,
        reconnect_on_failure=False,
    )
    if connection.ws:
        client.ws_set_options(connection.ws_path, _without_origin)
    if connection.username is not None or connection.password is not None:
        client.username_pw_set(connection.username or "", connection.password)
    if connection.will_topic is not None:
        client.will_set(
            connection.will_topic,
            connection.will_payload,
            connection.will_qos,
            connection.will_retain,
            properties_of("will", given) if connection.version == 5 else None,
        )
    if connection.is_tls:
        client.tls_set_context(_tls_context(connection))  # pyright: ignore[reportUnknownMemberType]
        client.tls_insecure_set(connection.insecure)
    if connection.nodelay and connection.unix is None:
        client.on_socket_open = _send_at_once
    if connection.debug:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(message)s")
        client.enable_logger()
    return client


def connect(client: Client, connection: Connection, given: list[Property]) -> None:
    """Opens the connection and sends CONNECT; the answer comes to `on_connect`.

    Raises:
        ClientError: nobody answers there.
    """
    properties: Properties | None = None
    if connection.version == 5:
        properties = properties_of("connect", given)
        if connection.effective_session_expiry:
            properties.SessionExpiryInterval = connection.effective_session_expiry
    place = connection.unix or f"{connection.host}:{connection.effective_port}"
    try:
        client.connect(
            connection.unix or connection.host,
            connection.effective_port,
            connection.keep_alive,
            connection.bind_address,
            clean_start=not connection.keep_session if connection.version == 5 else 3,
            properties=properties,
        )
    except OSError as error:
        why = f"{place}: {error.strerror or error}; does a broker listen there?"
        raise ClientError(why) from None
    except ValueError as error:
        raise ClientError(f"{place}: {error}") from None
    except Exception as error:  # paho's WebSocket handshake raises classes of its own
        raise ClientError(f"{place}: {error}") from None


def disconnect(client: Client, connection: Connection, given: list[Property]) -> None:
    """Sends DISCONNECT, with the properties given for it."""
    client.disconnect(
        properties=properties_of("disconnect", given) if connection.version == 5 else None
    )


def refused(reason: ReasonCode) -> str:
    """Why a CONNECT was refused, in a sentence."""
    return f"the broker refused the connection: {reason}"


def lost(code: MQTTErrorCode) -> str:
    """Why a connection ended, in a sentence."""
    return f"the connection ended: {error_string(code)}"


def complain(connection: Connection, message: str) -> None:
    """Tells an error, unless `--quiet` was given."""
    if not connection.quiet:
        click.echo(f"quantummq: {message}", err=True)


def _without_origin(headers: dict[str, str]) -> dict[str, str]:
    """Paho's headers, less the Origin: this is no web page, and brokers refuse pages unasked."""
    return {name: value for name, value in headers.items() if name != "Origin"}


def _send_at_once(client: Client, userdata: object, stream: object) -> None:
    if isinstance(stream, socket.socket):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _tls_context(connection: Connection) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=str(connection.cafile) if connection.cafile else None,
            capath=str(connection.capath) if connection.capath else None,
        )
        if connection.cert and connection.key:
            context.load_cert_chain(connection.cert, connection.key)
        if connection.ciphers:
            context.set_ciphers(connection.ciphers)
    except (OSError, ValueError) as error:
        raise ClientError(f"TLS: {error}; are these PEM files that belong together?") from None
    if connection.tls_version:
        context.minimum_version = context.maximum_version = _TLS[connection.tls_version]
    if connection.tls_alpn:
        context.set_alpn_protocols([connection.tls_alpn])
    if connection.insecure:
        context.check_hostname = False
    return context
