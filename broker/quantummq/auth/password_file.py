"""User names and passwords against a file of argon2id hashes."""

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from quantummq.auth.decision import (
    BAD_USER_NAME_OR_PASSWORD,
    NOT_AUTHORIZED,
    SERVER_BUSY,
    AuthenticationRequest,
    Identity,
    Refusal,
)
from quantummq.auth.password_hash import decoy_hash, password_matches, validate_hash
from quantummq.auth.user_file import UserFile

_LOG = logging.getLogger("quantummq.auth")
# About 100 bytes each; a device that comes back after a cut is let in without a new hash.
_REMEMBERED_MAX: Final = 100_000
_FAILED: Final = Refusal(BAD_USER_NAME_OR_PASSWORD, "bad user name or password")
_NEEDED: Final = Refusal(NOT_AUTHORIZED, "user name and password are needed")
_BUSY: Final = Refusal(SERVER_BUSY, "too many connect at once, try again")


@dataclass(frozen=True, slots=True)
class PasswordFileOptions:
    """How a password file is used.

    Attributes:
        threads: Hashes computed at a time, off the event loop.
        patience_s: Seconds a check may wait for a thread; then the client is told to come again.
        reload_interval_s: Seconds between looks at the file.
        monotonic: The clock, in seconds.
    """

    threads: int = 2
    patience_s: float = 2.0
    reload_interval_s: float = 2.0
    monotonic: Callable[[], float] = time.monotonic


class PasswordFile:
    """Authenticator by `user:hash` lines.

    An unknown user takes as long as a wrong password and is told the same. A password that was
    right is remembered as a keyed digest, in memory alone and until the file changes, so that
    thousands of devices come back after a network cut without thousands of hashes.
    """

    def __init__(self, path: Path, options: PasswordFileOptions | None = None) -> None:
        """Reads the file.

        Raises:
            CredentialsError: it cannot be used.
        """
        self._options = options or PasswordFileOptions()
        self._file = UserFile(
            path,
            validate_hash,
            interval_s=self._options.reload_interval_s,
            monotonic=self._options.monotonic,
        )
        self._pool = ThreadPoolExecutor(self._options.threads, "quantummq-password")
        self._key = secrets.token_bytes(32)
        self._remembered: dict[str, bytes] = {}
        self._generation = -1
        self._decoy = ""
        self._refresh()

    async def authenticate(self, request: AuthenticationRequest) -> Identity | Refusal:
        """Who it is, by name and password."""
        user, password = request.username, request.password
        if not user or password is None:
            return _NEEDED
        hashed = self._refresh().get(user)
        digest = blake2b(password, key=self._key, digest_size=32).digest()
        remembered = self._remembered.get(user)
        if remembered is not None and hmac.compare_digest(remembered, digest):
            return Identity(user)
        generation = self._generation
        matches = await self._verify(hashed or self._decoy, password)
        if matches is None:
            _LOG.warning("passwords wait longer than %.1f s", self._options.patience_s)
            return _BUSY
        if not matches or hashed is None:
            return _FAILED
        if generation == self._generation:
            self._remember(user, digest)
        return Identity(user)

    def close(self) -> None:
        """Ends the threads; checks that wait are given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _refresh(self) -> dict[str, str]:
        users = self._file.users
        if self._generation != self._file.generation:
            self._generation = self._file.generation
            self._remembered.clear()
            self._decoy = decoy_hash(users.values())
        return users

    async def _verify(self, encoded: str, password: bytes) -> bool | None:
        """Whether it matches; None if it waited too long to be of use."""
        monotonic = self._options.monotonic
        too_late_s = monotonic() + self._options.patience_s

        def verify() -> bool | None:
            if monotonic() > too_late_s:
                return None
            return password_matches(encoded, password)

        return await asyncio.get_running_loop().run_in_executor(self._pool, verify)

    def _remember(self, user: str, digest: bytes) -> None:
        if len(self._remembered) >= _REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[user] = digest
