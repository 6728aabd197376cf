"""The Dockerfile's steps work: they run here as plain commands, each stage in a clean folder.

There is no container: a stage is a folder, and the absolute paths that the steps name are moved
into it. Steps that install Debian packages are left out; what they install is needed here anyway.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.product import build_environment, round_trip, started

ROOT = Path(__file__).resolve().parent.parent
# Folders that the steps make or fill. Others, such as /usr, are the base image's: this machine's.
MOVED = re.compile(r"(?<![\w./])/(src|build|wheels|state|opt/quantummq|var/lib/quantummq)\b")


@dataclass
class Stage:
    """One FROM and what follows; `root` stands for the image's /."""

    root: Path
    image: str
    alias: str
    workdir: str = "/"
    env: dict[str, str] = field(default_factory=dict[str, str])
    user: str = "root"
    entrypoint: list[str] = field(default_factory=list[str])
    command: list[str] = field(default_factory=list[str])

    def moved(self, text: str) -> str:
        """Text with the image's paths moved into the stage's folder."""
        return MOVED.sub(lambda match: f"{self.root}{match[0]}", text)

    def path(self, text: str) -> Path:
        """The place of a path of the image; a relative one is under WORKDIR."""
        return self.root / Path(self.workdir, text).relative_to("/")

    def environment(self) -> dict[str, str]:
        """Variables for a step: the build's, and those that ENV sets."""
        environment = build_environment()
        for name, value in self.env.items():
            expanded = re.sub(r"\$(\w+)", lambda match: environment.get(match[1], ""), value)
            environment[name] = self.moved(expanded)
        return environment


def instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's instructions: keyword and argument, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip():
            keyword, _, argument = line.strip().partition(" ")
            yield keyword, re.sub(r" +", " ", argument.strip())


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out of the build; the last line that matches decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        plain = pattern.removeprefix("!").removeprefix("**/")
        parts = path.split("/")
        prefixes = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        names = parts if "**/" in pattern else prefixes
        if any(fnmatch(name, plain) for name in names):
            out = not pattern.startswith("!")
    return out


def copy_context(target: Path) -> None:
    """`COPY . .`: what .dockerignore lets through, with its times, so that Cargo can reuse."""
    for folder, _, files in os.walk(ROOT):
        where = Path(folder).relative_to(ROOT)
        if where.parts[:1] in ((".git",), (".venv",)) or "target" in where.parts:
            continue
        for name in files:
            if not ignored((where / name).as_posix()):
                (target / where).mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / where / name, target / where / name)


def run_step(stage: Stage, command: str) -> None:
    """`RUN`: the command, with its paths moved; not if it is for the package manager."""
    if "apt-get" in command:
        assert "pip" not in command, "keep Debian packages in a step of their own"
        return
    stage.path(".").mkdir(parents=True, exist_ok=True)
    result = subprocess.run(
        ["sh", "-ec", stage.moved(command)],
        cwd=stage.path("."),
        env=stage.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"


def copy_step(stage: Stage, argument: str, stages: list[Stage]) -> None:
    """`COPY`, from the build context or from an earlier stage."""
    words = argument.split()
    source = next((word for word in words if word.startswith("--from=")), None)
    origin, target = [word for word in words if not word.startswith("--")]
    if source is None:
        assert (origin, target) == (".", "."), "the test copies the whole context only"
        copy_context(stage.path("."))
        return
    earlier = next(other for other in stages if other.alias == source.removeprefix("--from="))
    shutil.copytree(earlier.path(origin), stage.path(target))


def follow(keyword: str, argument: str, stages: list[Stage], folder: Path) -> None:
    """Carries out one instruction."""
    if keyword == "FROM":
        image, _, alias = argument.partition(" AS ")
        stages.append(Stage(folder / f"stage{len(stages)}", image, alias))
        return
    stage = stages[-1]
    if keyword == "RUN":
        run_step(stage, argument)
    elif keyword == "COPY":
        copy_step(stage, argument, stages)
    elif keyword == "WORKDIR":
        stage.workdir = argument
    elif keyword == "ENV":
        stage.env |= dict(word.split("=", 1) for word in argument.split())
    elif keyword == "USER":
        stage.user = argument
    elif keyword == "ENTRYPOINT":
        stage.entrypoint = json.loads(argument)
    elif keyword == "CMD":
        stage.command = json.loads(argument)
    else:
        assert keyword in {"VOLUME", "EXPOSE", "STOPSIGNAL"}, f"unknown instruction {keyword}"


@pytest.fixture(scope="module")
def image() -> Stage:
    """The last stage, after every step, in a folder that is emptied first.

    It is always the same one: Cargo would build the same sources again at another path.
    """
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "broker" / "target"))
    folder = target / "dockerfile"
    shutil.rmtree(folder, ignore_errors=True)
    stages: list[Stage] = []
    for keyword, argument in instructions():
        follow(keyword, argument, stages, folder)
    return stages[-1]


@pytest.mark.timeout(600)
def test_the_image_starts_a_broker_that_answers(image: Stage) -> None:
    program = shutil.which(image.entrypoint[0], path=image.environment()["PATH"])
    assert program is not None
    assert Path(program).is_relative_to(image.root)

    command = [program, "run", "--listen", "tcp://127.0.0.1:0"]
    with started(command, image.environment()) as broker:
        assert round_trip(broker.address, "image/topic", b"payload") == b"payload"


@pytest.mark.timeout(600)
def test_the_image_does_not_run_as_root(image: Stage) -> None:
    user, _, group = image.user.partition(":")

    assert user.isdigit()
    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.timeout(600)
def test_the_image_asks_for_a_password_by_default(image: Stage) -> None:
    """A container's port is open to others: --lan makes credentials and prints them once."""
    assert image.entrypoint == ["quantummq"]
    assert image.command == ["run", "--lan"]


@pytest.mark.timeout(600)
def test_the_image_keeps_its_state_in_the_volume(image: Stage) -> None:
    volumes = [argument for keyword, argument in instructions() if keyword == "VOLUME"]

    assert volumes == [image.env["STATE_DIRECTORY"]]
    assert image.path(volumes[0]).is_dir()


def test_the_build_has_two_stages_and_ends_without_rust() -> None:
    images = [argument for keyword, argument in instructions() if keyword == "FROM"]

    assert len(images) == 2
    assert images[0].startswith("rust:")
    assert images[1].startswith("python:")


def test_the_build_context_holds_no_products_of_a_build() -> None:
    assert ignored("broker/target/debug/lib.so")
    assert ignored("broker/quantummq/_engine.abi3.so")
    assert ignored("broker/quantummq/__pycache__/broker.cpython-311.pyc")
    assert ignored(".venv/bin/python")
    assert not ignored("broker/engine/src/lib.rs")
    assert not ignored("broker/quantummq/__init__.py")


def test_the_python_of_the_image_is_one_we_support() -> None:
    *_, last = [argument for keyword, argument in instructions() if keyword == "FROM"]
    version = re.search(r"python:3\.(\d+)", last)

    assert version is not None
    assert int(version[1]) >= 11
    assert sys.version_info >= (3, 11)
