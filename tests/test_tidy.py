"""The tree keeps the project's own rules: sizes, names, who imports whom, what may be in a file."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "broker" / "quantummq"
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
LINE_COLUMNS_MAX = 100
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "data"}

# Who may import whom inside the package: a layer imports those below it, and itself.
# What stands on one line of the design's arrow shares a rank and stays apart.
LAYERS: dict[str, int] = {
    "errors": 0,
    "log": 0,
    "paths": 0,
    "clock": 1,
    "config": 1,
    "engine": 2,
    "plugin": 2,
    "admin": 3,
    "auth": 3,
    "bridge": 3,
    "cluster": 3,
    "queues": 3,
    "events": 3,
    "options": 3,
    "subscription": 3,
    "decisions": 4,
    "broker": 5,
    "cli": 6,
}


def tracked(*patterns: str) -> list[Path]:
    """Files of the tree that are committed or about to be, by git's patterns."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / line for line in listing.stdout.splitlines()]
    return sorted(path for path in paths if path.exists())


def code() -> list[Path]:
    """Every file of code, in both languages."""
    return tracked("*.py", "*.pyi", "*.rs")


def name(path: Path) -> str:
    """A path as messages show it."""
    return path.relative_to(ROOT).as_posix()


def text(path: Path) -> str:
    """A file's text."""
    return path.read_text(encoding="utf-8")


def report(faults: list[str]) -> None:
    """Fails with one fault a line."""
    assert not faults, "\n" + "\n".join(faults)


def test_a_file_of_code_has_at_most_600_lines() -> None:
    """But for the stub of the native module, which is one file by nature."""
    stub = PACKAGE / "_engine.pyi"
    lengths = [(len(text(path).splitlines()), name(path)) for path in code() if path != stub]

    report([f"{path}: {lines} lines" for lines, path in lengths if lines > FILE_LINES_MAX])


def test_a_line_of_code_has_at_most_100_columns() -> None:
    report(
        [
            f"{name(path)}:{number}: {len(line)} columns"
            for path in code()
            for number, line in enumerate(text(path).splitlines(), start=1)
            if len(line) > LINE_COLUMNS_MAX
        ]
    )


def test_a_python_function_has_at_most_60_lines() -> None:
    """Without its docstring. Clippy counts those of Rust, see broker/clippy.toml."""
    faults: list[str] = []
    for path in tracked("*.py"):
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = function_lines(node)
                if lines > FUNCTION_LINES_MAX:
                    faults.append(f"{name(path)}:{node.lineno}: {node.name} has {lines} lines")

    report(faults)


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, from `def` to its end, less those of its docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def test_no_module_has_a_name_that_says_nothing() -> None:
    faults = [
        name(path)
        for path in code()
        for part in (*path.relative_to(ROOT).parts[:-1], path.stem.strip("_"))
        if part in BANNED_NAMES
    ]

    report(faults)


def test_a_file_opens_with_what_lives_in_it() -> None:
    faults: list[str] = []
    for path in code():
        if path.suffix == ".rs":
            opened = text(path).startswith(("//!", "#![", "//"))
        else:
            opened = not text(path).strip() or ast.get_docstring(ast.parse(text(path))) is not None
        if not opened:
            faults.append(name(path))

    report(faults)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of what a Python file imports: `from a import b` is `a.b`."""
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def package_of(path: Path) -> str:
    """The first name under the package that a file belongs to: `config/load.py` → `config`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py").removesuffix(".pyi")


def test_dependencies_inside_the_package_point_one_way() -> None:
    """As LAYERS has it; what only type checkers read counts as well."""
    faults: list[str] = []
    for path in PACKAGE.rglob("*.py"):
        layer = package_of(path)
        if layer not in LAYERS:
            continue
        for line, imported in imports(path):
            parts = imported.split(".")
            if parts[0] != "quantummq" or len(parts) == 1 or parts[1] not in LAYERS:
                continue
            other = parts[1]
            if other != layer and LAYERS[other] >= LAYERS[layer]:
                faults.append(f"{name(path)}:{line}: {layer} imports {other}")

    report(faults)


def test_every_module_of_the_package_has_a_layer() -> None:
    """A new one gets its place in LAYERS, so that the rule above sees it."""
    free = {"__init__", "__main__", "_engine", "testing", "migrate"}
    found = {package_of(path) for path in PACKAGE.rglob("*.py")}

    assert found - free - set(LAYERS) == set()


def test_the_native_module_has_a_single_importer() -> None:
    importers = {
        name(path)
        for path in tracked("*.py")
        for _, imported in imports(path)
        if imported.startswith("quantummq._engine")
    }

    assert importers <= {"broker/quantummq/engine.py"}


def test_only_the_binding_names_pyo3() -> None:
    faults = [
        name(path)
        for path in tracked("broker/*.rs", "broker/*.toml")
        if not name(path).startswith("broker/binding/") and re.search("pyo3", text(path), re.I)
    ]

    report([fault for fault in faults if fault != "broker/clippy.toml"])


def test_the_engine_has_no_sockets_clocks_or_threads() -> None:
    banned = re.compile(r"std::(net|thread|fs)\b|\b(Instant|SystemTime)::now\b")

    report(
        [
            f"{name(path)}:{number}: {line.strip()}"
            for path in tracked("broker/engine/src/*.rs")
            for number, line in enumerate(text(path).splitlines(), start=1)
            if banned.search(line) and not line.lstrip().startswith("//")
        ]
    )


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("an unfinished place", r"\b(TODO|FIXME|XXX|HACK)\b|\btodo!\(|\bunimplemented!\("),
        ("an unfinished place", r"\bNotImplementedError\b|\blorem ipsum\b|\bcoming soon\b"),
        ("a path of one machine", r"(?<![\w/.{}$])/(work|home/\w+|root|Users/\w+)/"),
        ("a debugging print", r"\bdbg!\(|\bbreakpoint\(\)"),
    ],
)
def test_no_file_contains(what: str, pattern: str) -> None:
    banned = re.compile(pattern)
    faults: list[str] = []
    for path in tracked():
        if path == Path(__file__).resolve() or path.suffix in {".lock", ".bin", ".pem"}:
            continue
        try:
            lines = text(path).splitlines()
        except UnicodeDecodeError:
            continue
        faults += [
            f"{name(path)}:{number}: {what}: {line.strip()[:80]}"
            for number, line in enumerate(lines, start=1)
            if banned.search(line)
        ]

    report(faults)


def test_a_skipped_test_says_why() -> None:
    """A skip without a reason hides a test; xfail is strict, see pyproject.toml."""
    bare = re.compile(r"mark\.(skip|xfail)\s*$|mark\.(skip|xfail)\(\s*\)|pytest\.skip\(\s*\)")

    report(
        [
            f"{name(path)}:{number}"
            for path in tracked("tests/*.py")
            for number, line in enumerate(text(path).splitlines(), start=1)
            if bare.search(line)
        ]
    )


def test_tests_do_not_sleep() -> None:
    """They wait for the event, or turn the clock. `asyncio.sleep(0)` only yields."""
    sleeping = re.compile(r"\b(time|asyncio)\.sleep\((?!0\))|\bthread::sleep\(")

    report(
        [
            f"{name(path)}:{number}: {line.strip()}"
            for path in tracked("tests/*.py", "broker/*/tests/*.rs")
            for number, line in enumerate(text(path).splitlines(), start=1)
            if sleeping.search(line)
            and not line.lstrip().startswith(("#", "//"))
            and path != Path(__file__).resolve()
        ]
    )
