"""The documentation's examples work, its links lead somewhere, and every page can be reached.

An example is a fenced block, told by what stands behind the fence:

    toml                a configuration; `quantummq check` accepts it
    sh                  runs in the page's folder, after the blocks above it on the same page
    sh background       starts a broker (or another program) for the rest of the page
    python              runs like sh, as a program of its own
    python file=NAME    is saved under that name, for a block below to run
    text output         the block above printed these lines
    console, text, …    shown, not run: what needs root, a network, or another machine

Port 1883 becomes a free one, /etc/quantummq a folder with a certificate and a password file.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.certificates import write_certificates
from tests.product import free_port, started

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(?P<about>[^\n`]*)\n(?P<text>.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\((?!https?://|mailto:)(?P<target>[^)#\s]+)?(?P<part>#[^)\s]*)?\)")
TAGS = [("toml",), ("sh",), ("python",)]


class Example(NamedTuple):
    """A fenced block: its place, the words behind the fence, its text."""

    page: Path
    line: int
    words: tuple[str, ...]
    text: str


def examples(page: Path) -> Iterator[Example]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Example(page, line, tuple(match["about"].split()), match["text"])


def name(page: Path) -> str:
    """A page as messages show it."""
    return page.relative_to(ROOT).as_posix()


@dataclass
class Reader:
    """Somebody who follows a page, block by block, in a folder of their own."""

    folder: Path
    settings: Path
    port: int
    programs: ExitStack
    printed: str = ""
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def follow(self, example: Example) -> None:
        """Does what a block asks."""
        text = example.text.replace("/etc/quantummq", str(self.settings))
        text = re.sub(r"\b1883\b", str(self.port), text)
        match example.words:
            case ["toml", *_]:
                file = self.folder / "quantummq.toml"
                file.write_text(text, encoding="utf-8")
                self.run("quantummq", "check", "--config", str(file))
            case ["sh"]:
                self.run("sh", "-ec", text)
            case ["sh", "background"]:
                command = ["sh", "-ec", f"exec {text.strip()}"]
                self.programs.enter_context(started(command, self.environment, self.folder))
            case ["python"]:
                self.run(sys.executable, "-c", text)
            case ["python", saved] if saved.startswith("file="):
                (self.folder / saved.removeprefix("file=")).write_text(text, encoding="utf-8")
            case ["text", "output"]:
                for line in text.splitlines():
                    assert line in self.printed, self.printed
            case ["sh" | "python", *_]:
                pytest.fail(f"unknown words behind the fence: {example.words}")
            case _:
                pass

    def run(self, *command: str) -> None:
        """Runs a program to its end, and keeps what it printed."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=50,
            check=False,
        )
        self.printed = result.stdout
        assert result.returncode == 0, self.printed


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands for /etc/quantummq: certificates and a password file."""
    folder = tmp_path_factory.mktemp("etc")
    write_certificates(folder)
    program = Path(sys.executable).with_name("quantummq")
    for file, options in (("passwords", []), ("scram", ["--scram"])):
        subprocess.run(
            [program, "passwd", folder / file, "alice", *options],
            input="wonderland\n",
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return folder


RUNNABLE = [page for page in PAGES if any(e.words[:1] in TAGS for e in examples(page))]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_the_examples_of_a_page_work(page: Path, settings: Path, tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with ExitStack() as programs:
        reader = Reader(tmp_path, settings, free_port(), programs, environment=environment)
        for example in examples(page):
            try:
                reader.follow(example)
            except BaseException as error:
                error.add_note(f"{name(page)}:{example.line}")
                raise


def commands(page: Path) -> list[str]:
    """What a page shows to be typed, line by line."""
    lines = [line for each in examples(page) for line in each.text.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def test_the_first_minute_of_the_readme_works(tmp_path: Path) -> None:
    """Its `pub` and `sub`; the message is retained, so that it is there whichever is first."""
    program = str(Path(sys.executable).with_name("quantummq"))
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    shown = [line for line in commands(ROOT / "README.md") if line.startswith(".venv/bin/")]
    sub, pub = [line.replace(".venv/bin/quantummq", program) for line in shown]

    with started([program, "run", "--listen", "tcp://127.0.0.1:0"], environment) as broker:
        port = broker.address.rpartition(":")[2]
        reader = Reader(tmp_path, tmp_path, 0, ExitStack(), environment=environment)
        reader.run("sh", "-ec", f"{pub} -p {port} -r")
        reader.run("sh", "-ec", f"{sub} -p {port} -C 1 -W 20")

    assert reader.printed == "lab/temp 21.5\n"


def test_the_make_commands_of_the_readme_start_a_broker() -> None:
    shown = [line for line in commands(ROOT / "README.md") if line.startswith("make run")]
    starts = [
        subprocess.run(
            ["sh", "-ec", line.replace("make", "make --dry-run --no-print-directory", 1)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
        for line in shown
    ]

    assert [each.strip() for each in starts] == [
        "exec .venv/bin/quantummq run",
        "exec .venv/bin/quantummq run --lan",
    ]


def test_every_page_is_reached_from_the_index() -> None:
    reached: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        waiting += [target for target, _ in links(page)]

    assert sorted(name(page) for page in DOCS.rglob("*.md") if page not in reached) == []


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The links of a page inside the repository: file, and `#part` or nothing."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for match in LINK.finditer(text):
        target = page.parent / match["target"] if match["target"] else page
        yield target.resolve(), match["part"] or ""


def anchors(page: Path) -> set[str]:
    """The `#part` of each heading, as GitHub makes it."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {"#" + heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = [
        f"{target.name}{part}"
        for target, part in links(page)
        if not target.exists() or (part and target.suffix == ".md" and part not in anchors(target))
    ]

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_has_one_title(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))

    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.M)) == 1
