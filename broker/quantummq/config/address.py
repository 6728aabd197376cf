"""Where a listener listens: `tcp://127.0.0.1:1883`, `wss://[::]:443`, `unix:/run/q.sock`."""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

DEFAULT_PORTS: Final = {"tcp": 1883, "tls": 8883, "ws": 80, "wss": 443}
"""Registered ports of each scheme (IANA: mqtt, secure-mqtt, http, https)."""

# sockaddr_un.sun_path has 108 bytes with the closing null (unix(7)).
_UNIX_PATH_BYTES_MAX: Final = 107
_EXAMPLE: Final = "write one like tcp://127.0.0.1:1883, tls://[::]:8883 or unix:/run/quantummq.sock"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed listening address.

    Attributes:
        scheme: `tcp`, `tls`, `ws`, `wss` or `unix`.
        host: An IP address as text; empty for `unix`.
        port: 0 to 65,535, 0 for any free one; 0 for `unix`.
        path: The socket's path for `unix`; else empty.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        """The address as it is written in the configuration."""
        if self.scheme == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_unix(self) -> bool:
        """Whether it is a path, not an IP address and port."""
        return self.scheme == "unix"

    @property
    def is_tls(self) -> bool:
        """Whether connections begin with a TLS handshake."""
        return self.scheme in ("tls", "wss")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it: loopback or a Unix socket."""
        return self.is_unix or ipaddress.ip_address(self.host.split("%")[0]).is_loopback


def parse_address(text: str) -> Address:
    """Reads an address; a bare `HOST:PORT` is tcp.

    `localhost` means 127.0.0.1; an empty host or `*` means every interface.

    Raises:
        ValueError: it cannot be listened on; the message says what to write.
    """
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:").removeprefix("//"))
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"{scheme!r} is not one of tcp, tls, ws, wss, unix; {_EXAMPLE}")
    host, port = _host_and_port(rest.removesuffix("/"), DEFAULT_PORTS[scheme])
    return Address(scheme, host, port)


def _unix(path: str) -> Address:
    if not path or "\x00" in path:
        raise ValueError(f"the path of the socket is missing; {_EXAMPLE}")
    if len(path.encode()) > _UNIX_PATH_BYTES_MAX:
        raise ValueError(f"the path is longer than {_UNIX_PATH_BYTES_MAX} bytes; use a shorter one")
    return Address("unix", path=path)


def _host_and_port(text: str, port_default: int) -> tuple[str, int]:
    """Splits `host:port`, `[v6]:port`, `host`, `[v6]`, `:port`."""
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError(f"{text!r} is not an address; {_EXAMPLE}")
        port_text = tail[1:] if tail else str(port_default)
    else:
        host, colon, port_text = text.partition(":")
        port_text = port_text if colon else str(port_default)
        if ":" in port_text:
            raise ValueError(f"write the IPv6 address in brackets; {_EXAMPLE}")
    return _host(host), _port(port_text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65_535:
        raise ValueError(f"{text!r} is not a port between 0 and 65535; {_EXAMPLE}")
    return int(text)


def _host(text: str) -> str:
    if text in ("", "*"):
        return every_interface()
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        why = f"{text!r} is not an IP address of this machine, such as 0.0.0.0; {_EXAMPLE}"
        raise ValueError(why) from None


def every_interface() -> str:
    """The host to listen on everywhere: `::` where it takes IPv4 too, else `0.0.0.0`."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - asked for


def _validate(raw: object) -> Address:
    if isinstance(raw, Address):
        return raw
    if isinstance(raw, str):
        return parse_address(raw)
    raise ValueError(f"should be text; {_EXAMPLE}")


AddressField = Annotated[
    Address,
    PlainValidator(_validate),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["tcp://127.0.0.1:1883", "tls://[::]:8883"]}),
]
"""`Address` as a field of a table, written as text."""
