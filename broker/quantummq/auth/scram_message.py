"""The messages of SCRAM as text: what a client may send, and nothing else.

Source: RFC 5802 §7 (formal syntax).
"""

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final

from quantummq.auth.saslprep import saslprep

# Clients in use send 18 to 64 characters; more would only grow what is signed.
_NONCE: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]{8,1024}")
_MESSAGE_BYTES_MAX: Final = 8_192
_EXTENSION: Final = re.compile(r"[A-Za-z]=[^\x00,]+")


class ScramError(ValueError):
    """A message that the syntax or the mechanism forbids; the text is for our log alone."""


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """The client's first message.

    Attributes:
        header: The GS2 header with its last comma, which the final message repeats.
        bare: The rest, which is signed.
        user: The name, prepared.
        nonce: The client's part of the nonce.
    """

    header: str
    bare: str
    user: str
    nonce: str


@dataclass(frozen=True, slots=True)
class ClientFinal:
    """The client's final message.

    Attributes:
        unproved: All before the proof, which is signed.
        binding: The GS2 header it repeats, decoded.
        nonce: The whole nonce.
        proof: ClientProof, any length.
    """

    unproved: str
    binding: bytes
    nonce: str
    proof: bytes


def parse_client_first(data: bytes) -> ClientFirst:
    """Reads `gs2-header client-first-message-bare`.

    Raises:
        ScramError: it is not one, or asks for channel binding.
    """
    text = _text(data)
    flag, _, rest = text.partition(",")
    if flag.startswith("p="):
        raise ScramError("channel binding is not supported")
    if flag not in ("n", "y"):
        raise ScramError("the GS2 header is malformed")
    authorization, comma, bare = rest.partition(",")
    if not comma:
        raise ScramError("the GS2 header is malformed")
    parts = bare.split(",")
    if parts[0].startswith("m="):
        raise ScramError("mandatory extensions are not supported")
    if len(parts) < 2 or not parts[0].startswith("n=") or not parts[1].startswith("r="):
        raise ScramError("user name and nonce are missing")
    _check_extensions(parts[2:])
    user = _name(parts[0][2:])
    if authorization and (authorization[:2] != "a=" or _name(authorization[2:]) != user):
        raise ScramError("acting as another user is not supported")
    if _NONCE.fullmatch(parts[1][2:]) is None:
        raise ScramError("the nonce is malformed")
    return ClientFirst(f"{flag},{authorization},", bare, user, parts[1][2:])


def parse_client_final(data: bytes) -> ClientFinal:
    """Reads `client-final-message`.

    Raises:
        ScramError: it is not one.
    """
    text = _text(data)
    unproved, comma, proof = text.rpartition(",")
    parts = unproved.split(",")
    if not comma or not proof.startswith("p=") or len(parts) < 2:
        raise ScramError("the proof is missing")
    if not parts[0].startswith("c=") or not parts[1].startswith("r="):
        raise ScramError("binding or nonce is missing")
    _check_extensions(parts[2:])
    return ClientFinal(unproved, decode(parts[0][2:]), parts[1][2:], decode(proof[2:]))


def decode(text: str) -> bytes:
    """Bytes of canonical base64.

    Raises:
        ScramError: it is not.
    """
    try:
        raw = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ScramError("is not base64") from None
    if encode(raw) != text:
        raise ScramError("is not canonical base64")
    return raw


def encode(raw: bytes) -> str:
    """Base64 of `raw`."""
    return b64encode(raw).decode()


def _text(data: bytes) -> str:
    if len(data) > _MESSAGE_BYTES_MAX:
        raise ScramError("the message is too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ScramError("the message is not UTF-8") from None
    if "\x00" in text:
        raise ScramError("the message holds a null character")
    return text


def _check_extensions(parts: list[str]) -> None:
    if any(_EXTENSION.fullmatch(part) is None for part in parts):
        raise ScramError("an extension is malformed")


def _name(escaped: str) -> str:
    """A saslname: `=2C` is a comma, `=3D` an equals sign, and no other `=` may be there."""
    if re.search(r"=(?!2C|3D)", escaped):
        raise ScramError("the user name is malformed")
    try:
        name = saslprep(escaped.replace("=2C", ",").replace("=3D", "="))
    except ValueError as error:
        raise ScramError(f"the user name: {error}") from None
    if not name:
        raise ScramError("the user name is empty")
    return name
