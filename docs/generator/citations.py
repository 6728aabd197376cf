"""Finds the tests that cite a normative statement, in Python and in Rust.

A test cites `[MQTT-3.1.2-4]` (MQTT 5) or `[MQTT3-3.1.2-4]` (3.1.1). In Python it does so in its
docstring, in its decorators, or in a module-level table that it names; in Rust in the comments
above the test or in its body.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

STATEMENT = re.compile(r"\[(MQTT3?-\d[\d.]*-\d+)\]")
RUST_TEST = re.compile(r"^(?P<indent> *)(?:pub |async )*fn (?P<name>\w+)\(")


class Citation(NamedTuple):
    """One test that cites one statement."""

    statement: str
    file: str
    test: str


def python_citations(root: Path, file: Path) -> Iterator[Citation]:
    """The citations of one test module; `file` is under `root`."""
    module = ast.parse(file.read_text(encoding="utf-8"))
    tables = dict(_tables(module))
    where = file.relative_to(root).as_posix()
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not node.name.startswith("test_"):
            continue
        texts = [ast.get_docstring(node) or ""]
        texts += [text for part in node.decorator_list for text in _strings(part)]
        texts += [text for name in _names(node) for text in tables.get(name, ())]
        for statement in sorted({found for text in texts for found in STATEMENT.findall(text)}):
            yield Citation(statement, where, node.name)


def rust_citations(root: Path, file: Path) -> Iterator[Citation]:
    """The citations of one Rust file, formatted by rustfmt; `file` is under `root`."""
    lines = file.read_text(encoding="utf-8").splitlines()
    where = file.relative_to(root).as_posix()
    for number, line in enumerate(lines):
        if line.strip() != "#[test]":
            continue
        start = number
        while start > 0 and lines[start - 1].lstrip().startswith(("//", "#[")):
            start -= 1
        name, end = _rust_function(lines, number)
        text = "\n".join(lines[start:end])
        for statement in sorted(set(STATEMENT.findall(text))):
            yield Citation(statement, where, name)


def all_citations(root: Path) -> list[Citation]:
    """Every citation in the repository at `root`, in order of file and place."""
    found: list[Citation] = []
    for file in sorted((root / "tests").rglob("test_*.py")):
        found += python_citations(root, file)
    for file in sorted((root / "broker").glob("*/**/*.rs")):
        if "target" not in file.parts:
            found += rust_citations(root, file)
    return found


def _tables(module: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Names assigned at the module's top level, with the strings in what they are assigned."""
    for node in module.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, list(_strings(node.value))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, list(_strings(node.value))


def _strings(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _rust_function(lines: list[str], start: int) -> tuple[str, int]:
    """The name of the function at or after `start`, and the index after its closing brace."""
    for number in range(start, len(lines)):
        if match := RUST_TEST.match(lines[number]):
            closing = match["indent"] + "}"
            for end in range(number + 1, len(lines)):
                if lines[end] == closing:
                    return match["name"], end + 1
            return match["name"], number + 1
    return "", start
