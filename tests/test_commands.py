"""The commands at the root do what the first page says: `make` lists them, CI runs two of them."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def makefile() -> str:
    """The Makefile's text."""
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def test_make_alone_lists_every_target() -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", makefile(), re.M))

    listing = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert targets >= {"run", "test", "lint", "bench", "docs", "wheels", "fuzz", "soak", "clean"}
    assert {target for target in targets if f"make {target} " not in listing} == set()
    assert [line for line in listing.splitlines() if len(line) > 80] == []


def test_making_the_release_engine_forgets_the_one_for_tests_and_back() -> None:
    """There is one native module: a stamp that stayed would leave the wrong one in place."""
    recipes = re.findall(r"^\$\((\w+)_STAMP\):.*\n((?:\t.*\n)+)", makefile(), re.M)
    removed = {name: re.findall(r"rm -f \$\((\w+)_STAMP\)", recipe) for name, recipe in recipes}

    assert removed["RELEASE"] == ["DEBUG"]
    assert removed["DEBUG"] == ["RELEASE"]


def test_continuous_integration_lints_and_tests() -> None:
    script = ROOT / ".ci" / "run"

    checked = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stderr
    assert os.access(script, os.X_OK)
    assert "for target in lint test; do" in script.read_text(encoding="utf-8")
