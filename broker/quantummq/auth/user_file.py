"""A file of users, one `user:secret` a line: reading, noticing changes, writing safely."""

import contextlib
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from quantummq.errors import CredentialsError

_LOG = logging.getLogger("quantummq.auth")
_FILE_BYTES_MAX: Final = 64 * 1024 * 1024
_USER_BYTES_MAX: Final = 65_535
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def valid_user(user: str) -> str:
    """`user` itself, if a line of the file can hold it.

    Raises:
        CredentialsError: it is empty, too long, begins with `#`, or holds a colon, a line break
            or a null character.
    """
    if not user or user.startswith("#") or any(letter in user for letter in ":\r\n\x00"):
        why = "may not be empty, begin with #, or hold a colon, a line break or a null character"
        raise CredentialsError(f"the user name {user!r} {why}")
    if len(user.encode()) > _USER_BYTES_MAX:
        raise CredentialsError(f"a user name may not be longer than {_USER_BYTES_MAX} bytes")
    return user


def read_users(path: Path, validate: Callable[[str], object]) -> dict[str, str]:
    """Users and their secrets, in the file's order. Lines that begin with # are comments.

    Args:
        path: The file.
        validate: Raises ValueError for a secret that cannot be used.

    Raises:
        CredentialsError: it cannot be read, or a line cannot be used; says which, without it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
            text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path}: cannot be read: {error}") from None
    if len(content) > _FILE_BYTES_MAX:
        raise CredentialsError(f"{path}: is larger than {_FILE_BYTES_MAX} bytes")
    users: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        entry = line.removesuffix("\r")
        if not entry.strip() or entry.startswith("#"):
            continue
        user, colon, secret = entry.partition(":")
        if not colon or not user:
            raise CredentialsError(f'{path}:{number}: is not "user:hash"')
        try:
            valid_user(user)
        except CredentialsError as error:
            raise CredentialsError(f"{path}:{number}: {error}") from None
        if user in users:
            raise CredentialsError(f"{path}:{number}: {user!r} is there twice; remove one")
        try:
            validate(secret)
        except ValueError as error:
            raise CredentialsError(f"{path}:{number}: {error}") from None
        users[user] = secret
    return users


def write_users(path: Path, users: dict[str, str]) -> None:
    """Replaces the file in one step, readable by its owner alone.

    Raises:
        CredentialsError: it cannot be written.
    """
    text = "".join(f"{user}:{secret}\n" for user, secret in users.items())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes it 0600; a service's file keeps the owner it had.
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _keep_owner(path, Path(name))
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be written: {error.strerror or error}") from None


def _keep_owner(old: Path, new: Path) -> None:
    with contextlib.suppress(OSError):
        status = old.stat()
        os.chown(new, status.st_uid, status.st_gid)


class UserFile:
    """The users of a file, read again when it has changed.

    A change that cannot be read leaves the last good users in place, and is logged.
    """

    def __init__(
        self,
        path: Path,
        validate: Callable[[str], object],
        *,
        interval_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        """Reads the file.

        Args:
            path: The file.
            validate: Raises ValueError for a secret that cannot be used.
            interval_s: Seconds between two looks at the file; 0 looks each time.
            monotonic: The clock, in seconds.

        Raises:
            CredentialsError: it cannot be used.
        """
        self._path = path
        self._validate = validate
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._looked_s = monotonic()
        self._stamp = _stamp(path)
        self._users = read_users(path, validate)
        self.generation = 0
        self._warn_if_open()

    @property
    def users(self) -> dict[str, str]:
        """Users and their secrets as of now; not to be changed."""
        now_s = self._monotonic()
        if now_s - self._looked_s >= self._interval_s:
            self._looked_s = now_s
            self._look()
        return self._users

    def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._users = read_users(self._path, self._validate)
        except CredentialsError as error:
            _LOG.error("kept the users of before: %s", error)
            return
        self.generation += 1
        self._warn_if_open()
        _LOG.info("read %d users from %s", len(self._users), self._path)

    def _warn_if_open(self) -> None:
        with contextlib.suppress(OSError):
            if self._path.stat().st_mode & _OTHERS:
                _LOG.warning(
                    "%s can be read by other users of this machine; run chmod 600 %s",
                    self._path,
                    self._path,
                )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None while there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
