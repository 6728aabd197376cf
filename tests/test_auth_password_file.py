"""The password file: who is let in, who is not, and in the same words."""

import asyncio
import logging
from pathlib import Path

import pytest

from quantummq.auth import AuthenticationRequest, Identity, Refusal
from quantummq.auth.password_file import PasswordFile, PasswordFileOptions
from quantummq.auth.password_hash import decoy_hash, hash_password, validate_hash
from quantummq.auth.user_file import read_users, valid_user, write_users
from quantummq.errors import CredentialsError


class Clock:
    """Seconds that a test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def request(username: str | None, password: bytes | None) -> AuthenticationRequest:
    """A CONNECT with these credentials."""
    return AuthenticationRequest(client_id="c", username=username, password=password)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with alice, whose password holds a null byte, and bob."""
    path = tmp_path / "passwords"
    write_users(path, {"alice": hash_password(b"a\x00b"), "bob": hash_password("grün".encode())})
    return path


async def test_the_right_password_is_let_in(file: Path) -> None:
    passwords = PasswordFile(file)

    assert await passwords.authenticate(request("alice", b"a\x00b")) == Identity("alice")
    assert await passwords.authenticate(request("alice", b"a\x00b")) == Identity("alice")
    assert await passwords.authenticate(request("bob", "grün".encode())) == Identity("bob")
    passwords.close()


async def test_wrong_password_and_unknown_user_are_told_the_same(file: Path) -> None:
    passwords = PasswordFile(file)

    answers = [
        await passwords.authenticate(request(user, password))
        for user, password in [
            ("alice", b"wrong"),
            ("alice", b"a"),
            ("alice", b""),
            ("alice", b"a\x00bc"),
            ("ALICE", b"a\x00b"),
            ("carol", b"a\x00b"),
            ("alice:", b"a\x00b"),
            ("#", b""),
        ]
    ]

    assert answers == [Refusal(0x86, "bad user name or password")] * len(answers)
    passwords.close()


@pytest.mark.parametrize(
    ("username", "password"), [(None, None), ("alice", None), (None, b"a"), ("", b"")]
)
async def test_half_of_the_credentials_is_not_enough(
    file: Path, username: str | None, password: bytes | None
) -> None:
    passwords = PasswordFile(file)

    answer = await passwords.authenticate(request(username, password))

    assert isinstance(answer, Refusal)
    assert answer.reason_code == 0x87
    passwords.close()


async def test_a_right_password_is_not_remembered_for_a_wrong_one(file: Path) -> None:
    passwords = PasswordFile(file)
    await passwords.authenticate(request("alice", b"a\x00b"))

    assert isinstance(await passwords.authenticate(request("alice", b"a\x00c")), Refusal)
    assert isinstance(await passwords.authenticate(request("bob", b"a\x00b")), Refusal)
    passwords.close()


async def test_a_changed_file_is_read_again(file: Path) -> None:
    clock = Clock()
    passwords = PasswordFile(file, PasswordFileOptions(monotonic=clock, reload_interval_s=2))
    assert await passwords.authenticate(request("alice", b"a\x00b")) == Identity("alice")
    write_users(file, {"alice": hash_password(b"new")})

    assert await passwords.authenticate(request("alice", b"a\x00b")) == Identity("alice")
    clock.now_s = 2.0
    assert isinstance(await passwords.authenticate(request("alice", b"a\x00b")), Refusal)
    assert await passwords.authenticate(request("alice", b"new")) == Identity("alice")
    passwords.close()


async def test_a_broken_change_keeps_the_users_of_before(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    passwords = PasswordFile(file, PasswordFileOptions(monotonic=clock, reload_interval_s=0))
    file.write_text("alice:plain\n", encoding="utf-8")

    assert await passwords.authenticate(request("alice", b"a\x00b")) == Identity("alice")
    assert "kept the users of before" in caplog.text
    assert "plain" not in caplog.text
    passwords.close()


async def test_one_who_waited_too_long_for_a_thread_is_told_to_come_again(file: Path) -> None:
    moments = iter(range(0, 1_000, 10))
    options = PasswordFileOptions(
        patience_s=5, reload_interval_s=1_000_000, monotonic=lambda: float(next(moments))
    )
    passwords = PasswordFile(file, options)

    answer = await passwords.authenticate(request("alice", b"a\x00b"))

    assert isinstance(answer, Refusal)
    assert answer.reason_code == 0x89
    passwords.close()


async def test_many_at_once_are_all_decided(file: Path) -> None:
    passwords = PasswordFile(file, PasswordFileOptions(patience_s=600))

    answers = await asyncio.gather(
        *(passwords.authenticate(request("alice", b"wrong")) for _ in range(20)),
        *(passwords.authenticate(request("alice", b"a\x00b")) for _ in range(20)),
    )

    assert answers == [Refusal(0x86, "bad user name or password")] * 20 + [Identity("alice")] * 20
    passwords.close()


def test_secrets_are_not_shown_by_a_request() -> None:
    shown = repr(
        AuthenticationRequest(username="u", password=b"hidden1", data=b"hidden2", method="m")
    )

    assert "hidden" not in shown


def test_the_file_is_written_for_its_owner_alone(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_open_to_others_is_warned_about(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        PasswordFile(file).close()
        assert caplog.text == ""
        file.chmod(0o644)
        PasswordFile(file).close()

    assert "chmod 600" in caplog.text


def test_comments_and_empty_lines_are_skipped(tmp_path: Path) -> None:
    hashed = hash_password(b"x")
    path = tmp_path / "users"
    path.write_text(f"# users\n\r\n  \na b:{hashed}\r\n", encoding="utf-8")

    assert read_users(path, validate_hash) == {"a b": hashed}


GOOD = "$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 22 + "$" + "B" * 43


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        ":" + GOOD,
        "alice:",
        "alice:plain",
        "alice:$6$salt$hash",
        f"alice:{GOOD}\nalice:{GOOD}",
        "alice:" + GOOD.replace("m=19456", "m=9999999"),
        "alice:" + GOOD.replace("t=2", "t=999"),
        "alice:" + GOOD.replace("t=2", "t=0"),
        "alice:" + GOOD.replace("p=1", "p=99"),
        "alice:" + GOOD.replace("m=19456", "m=4"),
        "alice:" + GOOD.replace("argon2id", "argon2i"),
        "alice:" + GOOD + "!",
    ],
)
def test_a_line_that_cannot_be_used_is_named_without_its_secret(tmp_path: Path, line: str) -> None:
    path = tmp_path / "users"
    path.write_text(f"ok:{GOOD}\n{line}\n", encoding="utf-8")

    with pytest.raises(CredentialsError, match=r"users:[23]") as caught:
        PasswordFile(path)

    assert "A" * 22 not in str(caught.value)
    assert "plain" not in str(caught.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="absent"):
        PasswordFile(tmp_path / "absent")


@pytest.mark.parametrize("user", ["", "a:b", "a\nb", "a\rb", "a\x00b", "#a", "x" * 65_536])
def test_a_name_that_no_line_can_hold_is_refused(user: str) -> None:
    with pytest.raises(CredentialsError):
        valid_user(user)


def test_the_decoy_costs_what_most_users_cost() -> None:
    dear = GOOD.replace("m=19456,t=2", "m=65536,t=3")

    assert validate_hash(decoy_hash([GOOD, dear, dear])) == (65_536, 3, 1)
    assert validate_hash(decoy_hash([])) == validate_hash(hash_password(b"x"))
