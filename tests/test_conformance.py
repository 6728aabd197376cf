"""Every normative statement that the broker can break has a test; generated pages are fresh."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs docs/generate.py."""
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_statement_that_the_broker_can_break_has_a_test() -> None:
    result = generate("--missing")

    assert result.returncode == 0, f"no test cites these:\n{result.stdout}{result.stderr}"


def test_every_cited_statement_is_one_of_the_standards() -> None:
    result = generate("--unknown")

    assert result.returncode == 0, f"{result.stdout}{result.stderr}"


def test_the_generated_pages_are_fresh() -> None:
    result = generate("--check")

    assert result.returncode == 0, f"{result.stdout}{result.stderr}"
