"""Table `[[listener]]`: one place where clients connect, and what they get there."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from quantummq.config.address import Address, AddressField
from quantummq.config.proxy import Proxy
from quantummq.config.table import Count, MqttText, Seconds, Table
from quantummq.config.tls import Tls
from quantummq.config.websocket import WebSocket

_NO_BOUND_S = 2**32 - 1


def _mount_point(text: str) -> str:
    """A prefix of topic names; wildcards would make filters of them.

    It ends a level, so that what clients write behind it stays a filter: `#` is `site1/#`.

    Source: MQTT 5 §4.7.1.
    """
    if "+" in text or "#" in text:
        raise ValueError("may not hold the wildcards + and #; write a prefix like site1/")
    if text.startswith("$"):
        raise ValueError("may not begin with $, where the broker's own topics are")
    if text and not text.endswith("/"):
        raise ValueError(f"should end with a /; write {text + '/'!r}")
    return text


def _unix_mode(raw: object) -> object:
    """File permissions as octal text, as chmod takes them."""
    if isinstance(raw, str):
        try:
            return int(raw, 8)
        except ValueError:
            raise ValueError('write the permissions in octal, like "660"') from None
    if isinstance(raw, int) and raw > 0o777:
        raise ValueError('write the permissions in octal as text, like "660"')
    return raw


def _name_from_address(table: dict[str, object]) -> str:
    return str(table.get("address", ""))


UnixMode = Annotated[
    int,
    BeforeValidator(_unix_mode),
    Field(ge=0, le=0o777),
    WithJsonSchema({"type": "string", "pattern": "^[0-7]{3}$", "default": "660"}),
]


class Listener(Table):
    """One place where clients connect, and what they get there."""

    address: AddressField = Field(
        default=Address("tcp", "127.0.0.1", 1883),
        description="tcp://, tls://, ws:// or wss:// with IP address and port (0: any free one), "
        "or unix:/path. tcp, tls and unix take MQTT and WebSocket, told apart by the first bytes.",
    )
    name: MqttText = Field(
        default_factory=_name_from_address,
        min_length=1,
        max_length=256,
        description="Its name in events and logs. Not set: its address.",
    )
    anonymous: bool | None = Field(
        default=None,
        description="Whether this listener accepts clients without credentials. "
        "Not set: broker.anonymous decides.",
    )
    mount_point: Annotated[MqttText, AfterValidator(_mount_point)] = Field(
        default="",
        max_length=1_024,
        description="Put before every topic name and filter of its clients, such as site1/; it "
        "ends with a /. Sessions are kept apart by it too. Empty: none.",
    )
    max_connections: Count = Field(
        default=10_000, description="Connections at a time; one more is closed at once."
    )
    maximum_packet_size: int = Field(
        default=16 * 1024 * 1024,
        ge=1_024,
        le=268_435_460,
        description="Bytes of the largest packet accepted, told to clients as Maximum Packet Size. "
        "A larger one ends the connection with 0x95.",
    )
    receive_maximum: int = Field(
        default=65_535,
        ge=1,
        le=65_535,
        description="QoS 1 and 2 messages a client may have unacknowledged (Receive Maximum).",
    )
    inflight_maximum: int = Field(
        default=65_535,
        ge=1,
        le=65_535,
        description="QoS 1 and 2 messages the broker has unacknowledged towards a client, "
        "besides the client's own Receive Maximum.",
    )
    topic_alias_maximum: int = Field(
        default=32, ge=0, le=65_535, description="Topic aliases a client may use. 0: none."
    )
    topic_alias_maximum_out: int = Field(
        default=32,
        ge=0,
        le=65_535,
        description="Topic aliases the broker uses towards a client, besides the client's own "
        "Topic Alias Maximum. 0: none.",
    )
    maximum_qos: Literal[0, 1, 2] = Field(
        default=2, description="The highest QoS granted (Maximum QoS)."
    )
    keep_alive_max_s: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="Seconds; a client that asks for more, or for none, gets this as its Server "
        "Keep Alive. 0: no bound.",
    )
    connect_timeout_s: Seconds = Field(
        default=10.0,
        description="Seconds from accept to a complete CONNECT, the PROXY, TLS and WebSocket "
        "handshakes included; then the connection is closed.",
    )
    session_expiry_max_s: int = Field(
        default=_NO_BOUND_S,
        ge=0,
        le=_NO_BOUND_S,
        description="Seconds; the longest Session Expiry Interval granted. 4294967295: no bound.",
    )
    backlog: int = Field(
        default=1_024,
        ge=1_024,
        le=65_535,
        description="Connections the kernel keeps until they are accepted; it has a bound of its "
        "own (net.core.somaxconn).",
    )
    unix_mode: UnixMode = Field(
        default=0o660, description='Permissions of a unix socket, in octal as text: "660".'
    )
    tls: Tls | None = Field(
        default=None, description="Certificates; needed by tls:// and wss://, unless [tls] is set."
    )
    proxy: Proxy | None = Field(
        default=None, description="PROXY protocol; not set: headers are not read."
    )
    ws: WebSocket = Field(default=WebSocket(), description="MQTT over WebSocket.")

    @property
    def accepts_mqtt(self) -> bool:
        """Whether MQTT may begin right after the transport's handshakes."""
        return self.address.scheme in ("tcp", "tls", "unix")

    @property
    def accepts_websocket(self) -> bool:
        """Whether a WebSocket handshake is answered."""
        return self.address.scheme in ("ws", "wss") or self.ws.enabled
