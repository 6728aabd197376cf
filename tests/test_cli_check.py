"""`quantummq check`: every mistake with its key, the reason, the nearest key and the way out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.certificates import write_certificates

PROGRAM = str(Path(sys.executable).with_name("quantummq"))


def check(
    folder: Path, text: str | None, *options: str, code: int, **variables: str
) -> subprocess.CompletedProcess[str]:
    """`quantummq check` of a file with that text, after checking the exit code."""
    command = [PROGRAM, "check", *options]
    if text is not None:
        file = folder / "quantummq.toml"
        file.write_text(text, encoding="utf-8")
        command += ["--config", str(file)]
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        # An unknown key: the nearest one of the same table, or of another.
        ('[[listener]]\nadress = "127.0.0.1"', ["listener[0].adress", 'did you mean "address"?']),
        ("[limits]\nsesions = 5", ["limits.sesions", 'did you mean "sessions"?']),
        ("[limits]\nseed = 1", ["limits.seed", 'did you mean "broker.seed"?']),
        ("[colour]\nred = 1", ["colour", "there is no such key; known are"]),
        # A value of another kind, or out of range.
        ("[limits]\nsessions = 0", ["limits.sessions", "greater than or equal to 1", "it is 0"]),
        ('[log]\nlevel = "loud"', ["log.level", "'debug', 'info'", "it is 'loud'"]),
        ('[limits]\nsessions = "many"', ["limits.sessions", "a whole number", "it is 'many'"]),
        # An address: what to write.
        ('[[listener]]\naddress = "http://x"', ["listener[0].address", "write one like tcp://"]),
        ('[[listener]]\naddress = "::1:1883"', ["in brackets"]),
        ('[[listener]]\naddress = "broker.example:1"', ["is not an IP address of this machine"]),
        # What no single value shows.
        ('[[listener]]\naddress = "0.0.0.0:0"', ["password_file", "--lan", "anonymous = true"]),
        ('[[listener]]\naddress = "tls://127.0.0.1:0"', ["listener[0].tls", "certificate and key"]),
        ('[authentication]\npassword_file = "/absent"', ["no file at", 'run "quantummq passwd']),
        ("[broker]\nanonymous = false", ["nobody could connect", "password_file"]),
        ('[[listener]]\nproxy = {}', ["listener[0].proxy.trusted", "is needed here"]),
        ('[[listener]]\nmount_point = "site1"', ["mount_point", "'site1/'"]),
        ('[mqtt]\nredirect = "permanent"', ["mqtt.server_reference", "set mqtt.server_reference"]),
        # No TOML.
        ("[broker\n", ["quantummq.toml", "line 1"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_key_and_the_way_out(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    done = check(tmp_path, text, code=1)

    assert done.stdout == ""
    assert [part for part in parts if part not in done.stderr] == [], done.stderr


def test_every_mistake_is_found_at_once(tmp_path: Path) -> None:
    text = '[limits]\nsesions = 1\n[log]\nlevel = "loud"\n[[listener]]\nadress = "x"\n'

    done = check(tmp_path, text, code=1)

    keys = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert sorted(keys) == ["limits.sesions", "listener[0].adress", "log.level"]


def test_files_are_read_and_have_to_fit(tmp_path: Path) -> None:
    pem = write_certificates(tmp_path)
    users = tmp_path / "users"
    users.write_text("alice:plain text\n", encoding="utf-8")

    done = check(
        tmp_path,
        f'[tls]\ncertificate = "{pem.server}"\nkey = "{pem.client_key}"\n'
        '[[listener]]\naddress = "tls://127.0.0.1:0"\n',
        code=1,
    )
    assert "tls.key" in done.stderr
    assert "belong together" in done.stderr

    done = check(tmp_path, f'[authentication]\npassword_file = "{users}"\n', code=1)
    assert "users" in done.stderr
    assert "plain text" not in done.stderr


def test_a_good_configuration_is_said_to_be_so(tmp_path: Path) -> None:
    text = '[store]\nprofile = "safe"\n[[listener]]\naddress = "127.0.0.1:1884"\n'
    done = check(tmp_path, text, code=0)

    first, second = done.stdout.splitlines()
    assert first == f"{tmp_path}/quantummq.toml: ok"
    assert second.startswith("store: safe: acknowledged means stored")


def test_without_a_file_the_defaults_are_looked_at(tmp_path: Path) -> None:
    done = check(tmp_path, None, code=0)

    assert ": ok\nstore: memory: " in done.stdout


def test_options_and_environment_count_as_for_run(tmp_path: Path) -> None:
    done = check(tmp_path, None, "--listen", "0.0.0.0:0", code=1)
    assert "listener[0].address" in done.stderr
    check(tmp_path, None, "--listen", "0.0.0.0:0", code=0, QUANTUMMQ_BROKER__ANONYMOUS="true")
    check(tmp_path, None, "--lan", code=0)
    done = check(tmp_path, None, code=1, QUANTUMMQ_LIMITS__SESIONS="5")
    assert "limits.sesions" in done.stderr


def test_nothing_is_made_or_bound(tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))

    check(tmp_path, None, "--lan", "--data", str(tmp_path / "state"), code=0)

    assert set(tmp_path.rglob("*")) == before


def test_programs_read_json(tmp_path: Path) -> None:
    done = check(tmp_path, "[limits]\nsesions = 5", "--json", code=1)

    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert [error["where"] for error in answer["errors"]] == ["limits.sesions"]
    assert done.stderr == ""
    assert json.loads(check(tmp_path, "", "--json", code=0).stdout) == {
        "ok": True,
        "source": f"{tmp_path}/quantummq.toml",
        "store": "memory",
        "errors": [],
    }
