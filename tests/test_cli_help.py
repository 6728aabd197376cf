"""The command line as a whole: help, version, names that are nearly right, shell completion."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import quantummq

PROGRAM = str(Path(sys.executable).with_name("quantummq"))
COMMANDS = ["run", "check", "pub", "sub", "passwd", "bench", "completion", "version"]


def call(*arguments: str, code: int = 0, **variables: str) -> str:
    """What the program prints, after checking its exit code."""
    environment = {"HOME": "/nowhere", "PATH": os.environ["PATH"], **variables}
    done = subprocess.run(
        [PROGRAM, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_version_tells_the_version() -> None:
    facts = json.loads(call("version", "--json"))

    assert call("version") == f"quantummq {quantummq.__version__}\n"
    assert facts["version"] == quantummq.__version__


def test_help_lists_every_command_with_a_line() -> None:
    listing = call("--help")

    for name in COMMANDS:
        assert f"\n  {name} " in listing


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples(name: str) -> None:
    text = call(name, "--help")

    assert text.startswith(f"Usage: quantummq {name} ")
    assert "Options:" in text
    assert "Examples:" in text


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_help_fits_a_terminal_of_80_columns(name: str) -> None:
    text = call(*name.split(), "--help", COLUMNS="80")

    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_a_name_that_is_nearly_right_is_told(tmp_path: Path) -> None:
    assert 'Did you mean "check"?' in call("chekc", code=2)
    assert "--listen" in call("run", "--lisen", "x", code=2)


def test_the_module_is_the_program_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "quantummq", "version"], capture_output=True, text=True, check=True
    )

    assert done.stdout == call("version")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_each_shell(shell: str) -> None:
    script = call("completion", shell)

    assert "_QUANTUMMQ_COMPLETE" in script
    assert "quantummq" in script


def completed(*words: str) -> set[str]:
    """What the shell offers for the last of the words."""
    offered = call(
        _QUANTUMMQ_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(("quantummq", *words)),
        COMP_CWORD=str(len(words)),
    )
    return {line.partition(",")[2] for line in offered.splitlines()}


def test_commands_and_options_are_completed() -> None:
    assert completed("c") == {"check", "completion"}
    assert completed("run", "--l") == {"--listen", "--lan"}
    assert "--retained-only" in completed("sub", "--re")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    """The script is loaded, and its function asked as bash asks it."""
    script = tmp_path / "quantummq.bash"
    script.write_text(call("completion", "bash"), encoding="utf-8")
    ask = f"""
        source {script}
        COMP_WORDS=(quantummq ver) COMP_CWORD=1
        _quantummq_completion {PROGRAM} && echo "${{COMPREPLY[@]}}"
    """

    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=False)

    assert done.stdout == "version\n", done.stderr


@pytest.mark.parametrize("arguments", ["version", "--help", "check"])
def test_a_full_disk_is_told_in_one_line(arguments: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROGRAM, arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 1
    assert done.stderr == "quantummq: the output cannot be written: No space left on device\n"
