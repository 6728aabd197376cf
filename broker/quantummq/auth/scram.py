"""SCRAM-SHA-256 as an enhanced authentication method: the server's side.

Source: RFC 5802 with SHA-256 as in RFC 7677. Channel binding is not offered.
"""

import hashlib
import hmac
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quantummq.auth.decision import (
    NOT_AUTHORIZED,
    AuthenticationRequest,
    Continue,
    Identity,
    Refusal,
    Step,
)
from quantummq.auth.saslprep import saslprep
from quantummq.auth.scram_message import (
    ClientFirst,
    ScramError,
    decode,
    encode,
    parse_client_final,
    parse_client_first,
)
from quantummq.auth.user_file import UserFile

METHOD: Final = "SCRAM-SHA-256"
# RFC 7677 §4 asks for at least 4096 and recommends 15,000 or more; the client computes them.
ITERATIONS: Final = 15_000
_ITERATIONS_MIN: Final = 4_096
_ITERATIONS_MAX: Final = 10_000_000
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 18
_LOG = logging.getLogger("quantummq.auth")
# Every failure says the same; 0x87 because DISCONNECT after a re-authentication may carry it.
_FAILED: Final = Refusal(NOT_AUTHORIZED, "authentication failed")

DECOY_USER: Final = "*"
"""The line of the file that holds the secret from which salts of unknown users are made."""


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What the server keeps of a password.

    Attributes:
        iterations: Rounds of PBKDF2.
        salt: Random bytes.
        stored_key: H(ClientKey).
        server_key: HMAC(SaltedPassword, "Server Key").
    """

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    @classmethod
    def derive(
        cls, password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS
    ) -> "ScramKeys":
        """The keys of `password`.

        Raises:
            ValueError: the password holds characters that SASLprep forbids.
        """
        used = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
        prepared = saslprep(password).encode()
        salted = hashlib.pbkdf2_hmac("sha256", prepared, used, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        stored_key = hashlib.sha256(client_key).digest()
        return cls(iterations, used, stored_key, hmac.digest(salted, b"Server Key", "sha256"))

    @classmethod
    def parse(cls, text: str) -> "ScramKeys":
        """Reads `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, as PostgreSQL writes it.

        Raises:
            ValueError: it is not that.
        """
        try:
            method, cost, keys = text.split("$")
            iterations, salt = cost.split(":")
            stored_key, server_key = keys.split(":")
            parsed = cls(int(iterations), decode(salt), decode(stored_key), decode(server_key))
        except ValueError:
            raise ValueError("is not a SCRAM-SHA-256 key; see quantummq passwd --scram") from None
        sizes = len(parsed.stored_key), len(parsed.server_key)
        if method != METHOD or sizes != (32, 32) or not parsed.salt:
            raise ValueError("is not a SCRAM-SHA-256 key; see quantummq passwd --scram")
        if not _ITERATIONS_MIN <= parsed.iterations <= _ITERATIONS_MAX:
            raise ValueError(f"has fewer than {_ITERATIONS_MIN} iterations, or far too many")
        return parsed

    def __str__(self) -> str:
        """The form that `parse` reads."""
        keys = f"{encode(self.stored_key)}:{encode(self.server_key)}"
        return f"{METHOD}${self.iterations}:{encode(self.salt)}${keys}"


def decoy_keys(secret: bytes, user: str, iterations: int) -> ScramKeys:
    """Keys of a user that does not exist: the same each time it is asked for, and no password's."""
    salt = hmac.digest(secret, b"salt" + user.encode(), "sha256")[:_SALT_BYTES]
    return ScramKeys(iterations, salt, secrets.token_bytes(32), secrets.token_bytes(32))


class ScramExchange:
    """One client's exchange: first message, our challenge, its proof, our signature."""

    def __init__(self, keys_of: Callable[[str], tuple[ScramKeys, bool]], nonce: str) -> None:
        """Starts before the client's first message.

        Args:
            keys_of: Keys by user name, and whether the user exists.
            nonce: Our part of the nonce.
        """
        self._keys_of = keys_of
        self._nonce = nonce
        self._first: ClientFirst | None = None
        self._keys: ScramKeys | None = None
        self._exists = False
        self._challenge = ""

    async def step(self, data: bytes | None) -> Step:
        """The next message of the client."""
        try:
            if self._first is None or self._keys is None:
                if not data:
                    # An empty challenge asks for the first message (RFC 4422 §5.1).
                    return Continue(b"")
                return self._begin(data)
            return self._finish(data or b"", self._first, self._keys)
        except ScramError as error:
            _LOG.debug("SCRAM: %s", error)
            return _FAILED

    def _begin(self, data: bytes) -> Continue:
        first = parse_client_first(data)
        self._keys, self._exists = self._keys_of(first.user)
        self._first = first
        nonce = first.nonce + self._nonce
        self._challenge = f"r={nonce},s={encode(self._keys.salt)},i={self._keys.iterations}"
        return Continue(self._challenge.encode())

    def _finish(self, data: bytes, first: ClientFirst, keys: ScramKeys) -> Identity | Refusal:
        final = parse_client_final(data)
        message = f"{first.bare},{self._challenge},{final.unproved}".encode()
        signature = hmac.digest(keys.stored_key, message, "sha256")
        if len(final.proof) != len(signature):
            return _FAILED
        client_key = bytes(a ^ b for a, b in zip(final.proof, signature, strict=True))
        proved = hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)
        nonce_kept = hmac.compare_digest(final.nonce, first.nonce + self._nonce)
        bound = hmac.compare_digest(final.binding, first.header.encode())
        if not (proved and nonce_kept and bound and self._exists):
            return _FAILED
        server_signature = hmac.digest(keys.server_key, message, "sha256")
        return Identity(first.user, data=f"v={encode(server_signature)}".encode())


class Scram:
    """Enhanced authenticator SCRAM-SHA-256 by a file of `user:keys` lines."""

    def __init__(
        self,
        path: Path,
        *,
        reload_interval_s: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
        nonce: Callable[[], str] = lambda: encode(secrets.token_bytes(_NONCE_BYTES)),
    ) -> None:
        """Reads the file.

        Args:
            path: The file.
            reload_interval_s: Seconds between looks at the file.
            monotonic: The clock, in seconds.
            nonce: Makes our part of a nonce; tests give that of the RFC.

        Raises:
            CredentialsError: it cannot be used.
        """
        self._file = UserFile(
            path, ScramKeys.parse, interval_s=reload_interval_s, monotonic=monotonic
        )
        self._nonce = nonce
        # Without the line in the file, unknown users get other salts after a restart.
        self._secret = self._fallback_secret = secrets.token_bytes(32)
        self._iterations = ITERATIONS
        self._generation = -1

    @property
    def name(self) -> str:
        """The Authentication Method."""
        return METHOD

    def start(self, request: AuthenticationRequest) -> ScramExchange:
        """A new exchange; all it needs is in the client's messages."""
        del request
        return ScramExchange(self._keys_of, self._nonce())

    def _keys_of(self, user: str) -> tuple[ScramKeys, bool]:
        users = self._file.users
        if self._generation != self._file.generation:
            self._generation = self._file.generation
            self._learn_decoy(users)
        text = users.get(user) if user != DECOY_USER else None
        if text is None:
            return decoy_keys(self._secret, user, self._iterations), False
        return ScramKeys.parse(text), True

    def _learn_decoy(self, users: dict[str, str]) -> None:
        """An unknown user's challenge looks like that of most users in the file."""
        known = Counter(
            ScramKeys.parse(text).iterations for user, text in users.items() if user != DECOY_USER
        )
        [(self._iterations, _)] = known.most_common(1) or [(ITERATIONS, 0)]
        decoy = users.get(DECOY_USER)
        self._secret = ScramKeys.parse(decoy).server_key if decoy else self._fallback_secret
