"""Password hashes: argon2id, as `$argon2id$v=19$m=…,t=…,p=…$salt$digest`."""

import re
import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from typing import Final

from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.low_level import Type, hash_secret, verify_secret

# The OWASP cheat sheet's first choice for argon2id: enough against guessing, and a Raspberry Pi
# still checks some ten a second.
MEMORY_KIB: Final = 19 * 1024
ITERATIONS: Final = 2
LANES: Final = 1

_SALT_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
# A hash from a foreign file may not take the machine's memory or minutes: 1 GiB, 100 rounds.
_MEMORY_KIB_MAX: Final = 1024 * 1024
_ITERATIONS_MAX: Final = 100
_LANES_MAX: Final = 64
_FORM: Final = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,88})"
    r"\$([A-Za-z0-9+/]{16,172})"
)


def hash_password(password: bytes) -> str:
    """A new salted hash of `password`; takes tens of milliseconds and 19 MiB."""
    encoded = hash_secret(
        password,
        secrets.token_bytes(_SALT_BYTES),
        time_cost=ITERATIONS,
        memory_cost=MEMORY_KIB,
        parallelism=LANES,
        hash_len=_DIGEST_BYTES,
        type=Type.ID,
    )
    return encoded.decode()


def password_matches(encoded: str, password: bytes) -> bool:
    """Whether `password` is the one that was hashed; compares in constant time."""
    try:
        return verify_secret(encoded.encode(), password, Type.ID)
    except (Argon2Error, InvalidHashError):
        return False


def validate_hash(encoded: str) -> tuple[int, int, int]:
    """Memory in KiB, iterations and lanes of a hash.

    Raises:
        ValueError: it is not an argon2id hash, or one that would take too much.
    """
    found = _FORM.fullmatch(encoded)
    if found is None:
        raise ValueError("is not an argon2id hash; make one with quantummq passwd")
    memory_kib, iterations, lanes = (int(found[index]) for index in (1, 2, 3))
    within = memory_kib <= _MEMORY_KIB_MAX and 1 <= iterations <= _ITERATIONS_MAX
    if not within or not 1 <= lanes <= _LANES_MAX or memory_kib < 8 * lanes:
        raise ValueError("has argon2id parameters out of bounds; make a new one")
    return memory_kib, iterations, lanes


def decoy_hash(known: Iterable[str]) -> str:
    """A hash no password has, as costly as most of the `known`, for users that do not exist."""
    costs = Counter(validate_hash(encoded) for encoded in known)
    [(cost, _)] = costs.most_common(1) or [((MEMORY_KIB, ITERATIONS, LANES), 0)]
    salt = b64encode(secrets.token_bytes(_SALT_BYTES)).decode().rstrip("=")
    digest = b64encode(secrets.token_bytes(_DIGEST_BYTES)).decode().rstrip("=")
    return f"$argon2id$v=19$m={cost[0]},t={cost[1]},p={cost[2]}${salt}${digest}"
