"""Files of users and messages of SCRAM, mutated by seed: what is wrong is refused, never a fault.

A failure names the seed that repeats it.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from quantummq.auth.password_hash import hash_password, password_matches, validate_hash
from quantummq.auth.saslprep import saslprep
from quantummq.auth.scram import ScramKeys
from quantummq.auth.scram_message import ScramError, parse_client_final, parse_client_first
from quantummq.auth.user_file import read_users, valid_user, write_users
from quantummq.errors import CredentialsError

ROUNDS = 3_000
HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$2+JCoQtY/2x5F0VB9pEVP3xBNguWP1T25Ui0PtZuk8o"
KEYS = str(ScramKeys.derive("pencil", salt=b"salt of 16 bytes", iterations=4_096))
TELLING = [
    *"\0\r\n:#$,=+/*09aé",
    "\u00ad",
    "\u2028",
    "\u0661",
    "\ufeff",
    "\U0001d4b6",
    "m=",
    "t=",
    "p=",
    "r=",
]


def mutated(chance: random.Random, text: str, others: list[str]) -> str:
    """`text` with one to five pieces changed."""
    for _ in range(chance.randint(1, 5)):
        at = chance.randint(0, len(text))
        end = min(len(text), at + chance.randint(0, 8))
        other = chance.choice(others)
        start = chance.randint(0, len(other))
        piece = other[start : start + chance.randint(0, 20)]
        text = chance.choice(
            [
                text[:at] + chance.choice(TELLING) + text[end:],
                text[:at] + text[end:],
                text[:end] + text[at:],
                text[:at] + piece + text[end:],
                text[:at] + "9" * chance.choice([1, 20, 5_000]) + text[end:],
            ]
        )
    return text


def attempts(texts: list[str], check: Callable[[str], None], rounds: int = ROUNDS) -> int:
    """How many of the mutated texts `check` takes; it may refuse the rest by a ValueError."""
    taken = 0
    for seed in range(rounds):
        chance = random.Random(seed)
        text = mutated(chance, chance.choice(texts), texts)
        try:
            check(text)
        except ValueError:
            continue
        except BaseException as error:
            error.add_note(f"seed {seed}: {text!r}")
            raise
        taken += 1
    return taken


def test_a_mutated_hash_is_refused_or_can_be_checked_against() -> None:
    """Within the bounds of memory and time, or it would not have been taken."""

    def check(text: str) -> None:
        memory_kib, iterations, lanes = validate_hash(text)
        assert memory_kib <= 1024 * 1024
        assert iterations <= 100
        assert lanes <= 64
        if memory_kib <= 1_024 and iterations <= 4:
            assert not password_matches(text, b"no password at all")

    assert 0 < attempts([HASH, HASH.replace("m=8", "m=64"), HASH[:40]], check) < ROUNDS


def test_mutated_scram_keys_are_refused_or_whole() -> None:
    def check(text: str) -> None:
        keys = ScramKeys.parse(text)
        assert 4_096 <= keys.iterations <= 10_000_000
        assert (len(keys.stored_key), len(keys.server_key)) == (32, 32)
        assert keys.salt
        assert ScramKeys.parse(str(keys)) == keys

    assert 0 < attempts([KEYS, KEYS.replace("4096", "15000")], check) < ROUNDS


def read(path: Path) -> tuple[dict[str, str] | None, str]:
    """The users of a file, or None; then why not."""
    try:
        return read_users(path, validate_hash), str(path)
    except CredentialsError as error:
        return None, str(error)


def test_a_mutated_file_is_refused_by_its_line_or_read(tmp_path: Path) -> None:
    """No message holds what could be a secret."""
    path = tmp_path / "users"
    secret = HASH.rpartition("$")[2]

    def check(text: str) -> None:
        path.write_bytes(text.encode())
        users, why = read(path)
        assert why.startswith(str(path))
        assert secret[:20] not in why
        if users is None:
            raise ValueError(why)
        for user, hashed in users.items():
            assert valid_user(user) == user
            validate_hash(hashed)
        write_users(path, users)
        assert read_users(path, validate_hash) == users

    whole = f"# users\nalice:{HASH}\r\nb ob:{HASH}\n\n"
    assert 0 < attempts([whole, f"alice:{HASH}\n"], check) < ROUNDS


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"alice:\xff", b"\x80" * 10])
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "users"
    path.write_bytes(raw)

    with pytest.raises(CredentialsError, match="cannot be read"):
        read_users(path, validate_hash)


@pytest.mark.parametrize("parse", [parse_client_first, parse_client_final])
def test_a_mutated_message_is_refused_or_read(parse: Callable[[bytes], object]) -> None:
    """By an error of its own, whose text is for our log."""
    first = "n,,n=us=2Cer=3D,r=rOprNGfwEbeRWgbNEkqO"
    final = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF,p=dHzbZapWIk4jUhN+Ute9ytag9z="

    class Refused(ValueError):
        pass

    def check(text: str) -> None:
        try:
            parse(text.encode())
        except ScramError as error:
            raise Refused from error
        except ValueError as error:
            raise AssertionError("not an error of its own") from error

    texts = [first, "y,a=user,n=user,r=abcdefgh", final, "c=biws,r=abcdefgh,p=AAAA"]
    assert 0 < attempts(texts, check) < ROUNDS


def test_a_prepared_name_stays_as_it_is() -> None:
    """SASLprep of what SASLprep gave is the same, or the name is refused."""

    def check(text: str) -> None:
        prepared = saslprep(text)
        assert saslprep(prepared) == prepared

    texts = ["user", "I\u00adX", "\u00aa", "\u2168", "\u0627\u0031\u0628", "ü\u0308", "a\u00a0b"]
    assert 0 < attempts(texts, check, 500) < 500


def test_a_password_of_any_bytes_can_be_hashed_and_checked() -> None:
    for password in (b"", b"\0", bytes(range(256)), b"x" * 65_535):
        hashed = hash_password(password)
        assert password_matches(hashed, password)
        assert not password_matches(hashed, password + b"\0")
