"""What is asked when a client connects, and what can be answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Reason Codes of MQTT 5 §2.4 that end an authentication.
BAD_USER_NAME_OR_PASSWORD: Final = 0x86
NOT_AUTHORIZED: Final = 0x87
SERVER_BUSY: Final = 0x89
BAD_AUTHENTICATION_METHOD: Final = 0x8C


@dataclass(frozen=True, slots=True)
class AuthenticationRequest:
    """A client that waits to be let in. Its secrets are not in its repr, and so in no log.

    Attributes:
        client_id: Client Identifier; empty if the broker is to assign one.
        username: User Name, or None.
        password: Password, any bytes, or None.
        listener: Name of the listener it came through.
        mount_point: Mount point of that listener, or empty.
        peer: Its address, such as `192.0.2.1:4711`, or `unix`.
        protocol_version: 3 (MQTT 3.1), 4 (3.1.1) or 5.
        certificate: Its verified client certificate in DER, or None.
        method: Authentication Method, or None.
        data: Authentication Data of the first packet, or None.
        current_user: On re-authentication, whose connection it is; else None.
    """

    client_id: str = ""
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    listener: str = ""
    mount_point: str = ""
    peer: str = ""
    protocol_version: int = 5
    certificate: bytes | None = field(default=None, repr=False)
    method: str | None = None
    data: bytes | None = field(default=None, repr=False)
    current_user: str | None = None


def _no_attributes() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Identity:
    """Let in, as this user.

    Attributes:
        user: Whose the session is; empty for anonymous.
        groups: Names of the groups the user is in.
        attributes: Further facts about the user, by name.
        client_id: The Client Identifier to use in place of an empty one, or None.
        data: The exchange's last Authentication Data, sent with CONNACK or AUTH, or None.
    """

    user: str
    groups: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=_no_attributes)
    client_id: str | None = None
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Not let in.

    Attributes:
        reason_code: 0x80 or above, for CONNACK or DISCONNECT.
        reason_string: A short public sentence, or None. Never says which half was wrong.
    """

    reason_code: int = NOT_AUTHORIZED
    reason_string: str | None = None


@dataclass(frozen=True, slots=True)
class Continue:
    """The exchange goes on: AUTH 0x18 with this Authentication Data is sent."""

    data: bytes = field(repr=False)


Step = Continue | Identity | Refusal
"""What one step of an exchange can come to."""
