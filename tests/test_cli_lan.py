"""`quantummq run --lan`: everywhere, with credentials that are made and printed once."""

import json
import os
import re
import socket
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quantummq.cli.settings import read_settings
from quantummq.cli.sources import Sources
from tests.packets import CONNACK, Connect, Packet, decode
from tests.product import free_port

PROGRAM = str(Path(sys.executable).with_name("quantummq"))


@dataclass(frozen=True)
class Run:
    """What a broker said, on both streams, and what a client was answered meanwhile."""

    out: str
    err: str
    answers: dict[str, int]

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        return [json.loads(line) for line in self.err.splitlines()]

    @property
    def password(self) -> str:
        """The password that was printed."""
        found = re.search(r"^password: (\S+)$", self.out, re.M)
        assert found is not None, self.out
        return found[1]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose home is a folder of the test's, and nothing else."""
    return {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}


def run(environment: dict[str, str], logins: dict[str, Connect], *options: str) -> Run:
    """Starts it with --lan, has clients connect, and stops it.

    The port is a free one, and the host still `*`, as --lan has it.
    """
    port = free_port()
    listen = ["--listen", f"*:{port}"] if "--listen" not in options else []
    command = [PROGRAM, "run", "--lan", *listen, *options]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if '"ready"' in line:
                break
        address = int(re.findall(r":(\d+)", said[-1])[-1])
        answers = {name: answer(address, connect) for name, connect in logins.items()}
    finally:
        process.terminate()
        out, err = process.communicate(timeout=30)
    return Run("".join(said) + out, err, answers)


def answer(port: int, connect: Connect) -> int:
    """The Reason Code of CONNACK."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stream:
        stream.sendall(connect.encode())
        reader = stream.makefile("rb")
        with reader:
            first, length = reader.read(2)
            connack = decode(first, reader.read(length), 5)
    assert isinstance(connack, Packet)
    assert connack.kind == CONNACK
    return connack.reason


def login(password: str, username: str = "lan") -> Connect:
    """CONNECT with credentials."""
    return Connect("client", username=username, password=password.encode())


def test_credentials_are_made_printed_once_and_needed(home: dict[str, str]) -> None:
    first = run(home, {"nobody": Connect("client"), "wrong": login("wrong")})
    password = first.password
    second = run(home, {"nobody": Connect("client"), "right": login(password)})

    assert re.fullmatch(r"[a-z2-9]{16}", password)
    assert re.search(r"^user: lan$", first.out, re.M)
    assert first.answers == {"nobody": 0x87, "wrong": 0x86}
    assert second.answers == {"nobody": 0x87, "right": 0}
    assert password not in first.err
    assert password not in second.out + second.err
    assert "password: " not in second.out


def test_it_says_exactly_what_it_did(home: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / ".local" / "share" / "quantummq" / "passwords"

    first, second = run(home, {}), run(home, {})

    made = [line for line in first.log if str(line["message"]).startswith("--lan")]
    assert [(line["message"], line["user"], line["file"]) for line in made] == [
        ("--lan: made a user; the password is on standard output, this once", "lan", str(file))
    ]
    kept = [line for line in second.log if str(line["message"]).startswith("--lan")]
    assert [(line["user"], line["file"]) for line in kept] == [("lan", str(file))]
    assert kept[0]["new_one_with"] == f"quantummq passwd {file} lan"
    for each in (first, second):
        assert "clients need credentials" in [line["message"] for line in each.log]


def test_the_password_is_kept_as_a_hash_that_only_the_owner_reads(
    home: dict[str, str], tmp_path: Path
) -> None:
    password = run(home, {}).password
    file = tmp_path / ".local" / "share" / "quantummq" / "passwords"

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text(encoding="utf-8").startswith("lan:$argon2id$")
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in kept if password in path.read_text(errors="replace")]


def test_it_listens_on_every_interface_at_the_usual_port(home: dict[str, str]) -> None:
    """`check` says what `run` would do, without a port being taken."""
    result = subprocess.run(
        [PROGRAM, "check", "--lan", "--json"], env=home, capture_output=True, text=True, check=False
    )
    config = read_settings(Sources(None, (), None, True)).config

    assert json.loads(result.stdout)["ok"] is True
    assert [str(each.address) for each in config.listeners] in (
        ["tcp://[::]:1883"],
        ["tcp://0.0.0.0:1883"],
    )


def test_it_makes_none_where_authentication_is_configured(
    home: dict[str, str], tmp_path: Path
) -> None:
    users = tmp_path / "users"
    subprocess.run(
        [PROGRAM, "passwd", str(users), "alice"],
        env=home,
        input="wonderland\n",
        text=True,
        check=True,
        capture_output=True,
    )
    home["QUANTUMMQ_AUTHENTICATION__PASSWORD_FILE"] = str(users)

    result = run(home, {"alice": login("wonderland", "alice"), "nobody": Connect("client")})

    assert "password: " not in result.out
    assert result.answers == {"alice": 0, "nobody": 0x87}
    assert "no credentials were made" in result.err
