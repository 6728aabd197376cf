"""`quantummq passwd`: users are added, changed, listed and removed, and no password is kept."""

import json
import os
import pty
import select
import stat
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("quantummq"))
KINDS = pytest.mark.parametrize("kind", [[], ["--scram"]], ids=["argon2id", "scram"])


def passwd(file: Path, *arguments: str, stdin: str = "", code: int = 0) -> str:
    """What the command prints, after checking its exit code."""
    done = subprocess.run(
        [PROGRAM, "passwd", str(file), *arguments],
        input=stdin,
        env={"HOME": "/nowhere", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


@KINDS
def test_users_come_and_go(tmp_path: Path, kind: list[str]) -> None:
    file = tmp_path / "users"

    assert passwd(file, "bob", *kind, stdin="secret-1\n") == f"added bob in {file}\n"
    assert passwd(file, "alice", *kind, stdin="secret-2\n") == f"added alice in {file}\n"
    assert passwd(file, "bob", *kind, stdin="secret-3\n") == f"changed bob in {file}\n"
    assert set(passwd(file, "--list", *kind).split()) == {"alice", "bob"}
    assert passwd(file, "bob", "--delete", *kind) == f"removed bob from {file}\n"
    assert passwd(file, "--list", *kind) == "alice\n"
    assert "there is no user 'bob'" in passwd(file, "bob", "--delete", *kind, code=1)

    assert "secret" not in file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@KINDS
def test_a_password_can_be_made(tmp_path: Path, kind: list[str]) -> None:
    first, second = (
        json.loads(passwd(tmp_path / "users", name, "--generate", "--json", *kind))
        for name in ("a", "b")
    )

    assert len(first["password"]) >= 20
    assert first["password"] != second["password"]
    assert first | {"password": ""} == {
        "file": str(tmp_path / "users"),
        "user": "a",
        "changed": False,
        "password": "",
    }


@pytest.mark.parametrize("name", ["", "a:b", "a\nb"])
def test_a_name_that_a_file_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    assert passwd(tmp_path / "users", name, stdin="secret\n", code=1)

    assert not (tmp_path / "users").exists()


def test_an_empty_password_is_refused(tmp_path: Path) -> None:
    assert "empty password" in passwd(tmp_path / "users", "bob", stdin="\n", code=1)


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "letter"
    file.write_text("Dear reader,\n", encoding="utf-8")

    said = passwd(file, "bob", stdin="secret\n", code=1)

    assert str(file) in said
    assert file.read_text(encoding="utf-8") == "Dear reader,\n"


def test_on_a_terminal_it_asks_twice_and_shows_nothing(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    file = tmp_path / "users"
    with subprocess.Popen(
        [PROGRAM, "passwd", str(file), "bob"],
        env={"HOME": "/nowhere", "PATH": os.environ["PATH"]},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    ) as process:
        os.close(follower)
        shown, asked = b"", 0
        while select.select([leader], [], [], 30)[0]:
            try:
                shown += os.read(leader, 4096)
            except OSError:  # The other end is closed.
                break
            if shown.count(b": ") > asked:
                asked += 1
                os.write(leader, b"hidden\n")
        assert process.wait(timeout=30) == 0
    os.close(leader)

    assert asked == 2
    assert b"hidden" not in shown
    assert passwd(file, "--list") == "bob\n"
