"""How `pub` and `sub` reach a broker: the options they share, in mosquitto's words."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, TypeVar, cast
from urllib.parse import unquote, urlsplit

import click

VERSIONS: Final = {
    "5": 5,
    "mqttv5": 5,
    "311": 4,
    "mqttv311": 4,
    "4": 4,
    "31": 3,
    "mqttv31": 3,
    "3": 3,
}
_DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
SESSION_EXPIRY_NEVER: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to connect, as whom and how; the fields are named after the options.

    Attributes:
        host: Name or address of the broker.
        port: TCP port, or None for the default of the transport.
        unix: Path of a Unix socket, in place of host and port.
        url: `mqtt(s)://` or `ws(s)://[user[:password]@]host[:port][/topic]`, in place of them.
        ws: Whether to use WebSocket.
        ws_path: Request path of the WebSocket.
        bind_address: Local address to connect from.
        client_id: Client Identifier, or None for one the broker assigns.
        id_prefix: Begin of a Client Identifier that ends with the process id.
        username: User Name.
        password: Password.
        protocol: A key of `VERSIONS`.
        keep_alive: Seconds.
        keep_session: Whether the session outlives the connection.
        session_expiry: Seconds of Session Expiry Interval, or None for the usual.
        cafile, capath: Authorities to trust; capath is a folder.
        cert, key: The client's certificate and key.
        tls: Whether to use TLS with the machine's authorities.
        tls_version: `tlsv1.2` or `tlsv1.3`, the only one to use.
        tls_alpn: Application protocol to ask for.
        ciphers: OpenSSL cipher list.
        nodelay: Whether small packets are sent at once (TCP_NODELAY).
        insecure: Whether to accept a certificate for another name.
        will_topic, will_payload, will_qos, will_retain: The Will Message.
        debug: Whether to print what happens.
        quiet: Whether to keep silent about errors.
    """

    host: str
    port: int | None
    unix: str | None
    url: str | None
    ws: bool
    ws_path: str
    bind_address: str
    client_id: str | None
    id_prefix: str | None
    username: str | None
    password: str | None
    protocol: str
    keep_alive: int
    keep_session: bool
    session_expiry: int | None
    cafile: Path | None
    capath: Path | None
    cert: Path | None
    key: Path | None
    tls: bool
    tls_version: str | None
    tls_alpn: str | None
    ciphers: str | None
    nodelay: bool
    insecure: bool
    will_topic: str | None
    will_payload: str
    will_qos: int
    will_retain: bool
    debug: bool
    quiet: bool

    @property
    def version(self) -> int:
        """Protocol level: 3, 4 or 5."""
        return VERSIONS[self.protocol]

    @property
    def is_tls(self) -> bool:
        """Whether TLS is used."""
        return self.tls or any((self.cafile, self.capath, self.cert, self.tls_version))

    @property
    def effective_port(self) -> int:
        """The port to connect to."""
        if self.port is not None:
            return self.port
        if self.ws:
            return 443 if self.is_tls else 80
        return 8883 if self.is_tls else 1883

    @property
    def effective_id(self) -> str:
        """The Client Identifier; empty for one the broker assigns."""
        if self.id_prefix is not None:
            return f"{self.id_prefix}{os.getpid()}"
        return self.client_id or ""

    @property
    def effective_session_expiry(self) -> int:
        """Seconds: as given, else for ever for a kept session, else 0."""
        if self.session_expiry is not None:
            return self.session_expiry
        return SESSION_EXPIRY_NEVER if self.keep_session else 0


def take(given: dict[str, object]) -> Connection:
    """Takes the fields of `Connection` out of a command's options.

    Raises:
        click.UsageError: they do not go together.
    """
    taken = {each.name: given.pop(each.name) for each in fields(Connection)}
    connection = Connection(**taken)  # type: ignore[arg-type]
    if connection.client_id is not None and connection.id_prefix is not None:
        raise click.UsageError("give --id or --id-prefix, not both")
    if connection.keep_session and not connection.effective_id:
        raise click.UsageError("a session that is kept needs a name: give --id")
    if (connection.cert is None) != (connection.key is None):
        raise click.UsageError("--cert and --key belong together")
    if connection.will_topic is None and connection.will_payload:
        raise click.UsageError("a will needs --will-topic")
    return connection


def from_url(connection: Connection) -> tuple[Connection, str | None]:
    """The connection that `--url` describes, and the topic in it.

    Raises:
        click.UsageError: it cannot be read.
    """
    if connection.url is None:
        return connection, None
    try:
        parts = urlsplit(connection.url)
        port = parts.port
    except ValueError as error:
        raise click.UsageError(f"--url: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise click.UsageError("--url: write mqtt://[user[:password]@]host[:port]/topic")
    from dataclasses import replace

    changed = replace(
        connection,
        host=parts.hostname,
        port=port or _DEFAULT_PORTS[parts.scheme],
        ws=parts.scheme in ("ws", "wss"),
        tls=connection.tls or parts.scheme in ("mqtts", "wss"),
        username=unquote(parts.username) if parts.username else connection.username,
        password=unquote(parts.password) if parts.password else connection.password,
    )
    return changed, unquote(parts.path[1:]) or None


Function = TypeVar("Function", bound=Callable[..., object])


def _expiry(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Seconds of Session Expiry Interval as on the wire, from a number, -1 or ∞."""
    if value is None:
        return None
    if value in ("∞", "-1"):
        return SESSION_EXPIRY_NEVER
    if value.isascii() and value.isdigit() and int(value) <= SESSION_EXPIRY_NEVER:
        return int(value)
    why = f"{value!r} is not between 0 and {SESSION_EXPIRY_NEVER}, or -1 for ever"
    raise click.BadParameter(why, ctx, param)


_FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)
_QOS: Final = click.IntRange(0, 2)

_OPTIONS: Final = (
    click.option("-h", "--host", default="localhost", help="Broker's name.  [localhost]"),
    click.option("-p", "--port", type=click.IntRange(1, 65_535), help="Port.  [1883; TLS: 8883]"),
    click.option("-L", "--url", help="mqtt(s)://[user[:password]@]host[:port]/topic, or ws(s)://"),
    click.option("--unix", help="Path of a Unix socket."),
    click.option("--ws", is_flag=True, help="Use WebSocket."),
    click.option("--ws-path", default="/mqtt", help="Request path.  [/mqtt]"),
    click.option("-A", "--bind", "bind_address", default="", help="Local address to use."),
    click.option("-i", "--id", "client_id", help="Client Identifier."),
    click.option("-I", "--id-prefix", help="Begin of the Client Identifier."),
    click.option("-u", "--username", help="User Name."),
    click.option("-P", "--pw", "password", help="Password.", envvar="QUANTUMMQ_CLIENT_PASSWORD"),
    click.option(
        "-V",
        "--protocol-version",
        "protocol",
        default="5",
        type=click.Choice(list(VERSIONS)),
        help="MQTT version: 5, 311 or 31.  [5]",
    ),
    click.option(
        "-k",
        "--keepalive",
        "keep_alive",
        default=60,
        type=click.IntRange(0, 65_535),
        help="Keep Alive in seconds.  [60]",
    ),
    click.option(
        "-c", "--disable-clean-session", "keep_session", is_flag=True, help="Keep the session."
    ),
    click.option(
        "-x",
        "--session-expiry-interval",
        "session_expiry",
        metavar="SECONDS",
        callback=_expiry,
        help="Seconds the session is kept; -1 or ∞: for ever.",
    ),
    click.option("--nodelay", is_flag=True, help="Send small packets at once."),
    click.option("--tls/--no-tls", "tls", default=False, help="TLS, trusting this machine's CAs."),
    click.option("--tls-use-os-certs", "tls", flag_value=True, is_flag=True, help="The same."),
    click.option("--cafile", type=_FILE, help="PEM file of CAs to trust."),
    click.option(
        "--capath", type=click.Path(path_type=Path, file_okay=False), help="Their folder."
    ),
    click.option("--cert", type=_FILE, help="PEM file with the client's certificate."),
    click.option("--key", type=_FILE, help="PEM file with its private key."),
    click.option(
        "--tls-version", type=click.Choice(["tlsv1.2", "tlsv1.3"]), help="The only version to use."
    ),
    click.option("--tls-alpn", help="ALPN protocol to ask for."),
    click.option("--ciphers", help="OpenSSL's list of ciphers."),
    click.option("--insecure", is_flag=True, help="Accept a certificate for another name."),
    click.option("--will-topic", help="Topic of the will."),
    click.option("--will-payload", default="", help="Payload of the will."),
    click.option("--will-qos", default=0, type=_QOS, help="QoS of the will."),
    click.option("--will-retain", is_flag=True, help="Retain the will."),
    click.option("-d", "--debug", is_flag=True, help="Print what happens."),
    click.option("--quiet", is_flag=True, help="Print no errors."),
)


def connection_options(function: Function) -> Function:
    """Adds the options of `Connection` to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class ClientCommand(click.Command):
    """A command with `-D COMMAND PROPERTY VALUE…`, whose number of values varies.

    The properties go to the context's `meta` under `PROPERTIES`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes the properties out, then parses the rest."""
        rest, properties = take_properties(args)
        ctx.meta[PROPERTIES] = properties
        return super().parse_args(ctx, rest)


PROPERTIES: Final = "quantummq.cli.properties"
Property = tuple[str, str, tuple[str, ...]]
"""Packet, property and its values."""


def take_properties(args: Sequence[str]) -> tuple[list[str], list[Property]]:
    """Splits `-D COMMAND PROPERTY VALUE [VALUE]` from other arguments.

    Raises:
        click.UsageError: values are missing.
    """
    rest: list[str] = []
    properties: list[Property] = []
    waiting = list(args)
    while waiting:
        argument = waiting.pop(0)
        if argument not in ("-D", "--property"):
            rest.append(argument)
            continue
        count = 4 if waiting[1:2] == ["user-property"] else 3
        taken, waiting = waiting[:count], waiting[count:]
        if len(taken) < count:
            raise click.UsageError("-D needs a packet, a property and its value")
        properties.append((taken[0], taken[1], tuple(taken[2:])))
    return rest, properties


def given_properties(ctx: click.Context) -> list[Property]:
    """What `ClientCommand` found."""
    return cast("list[Property]", ctx.meta[PROPERTIES])
