"""What the product is built from may be given away under the Apache License 2.0."""

import json
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent

# SPDX identifiers. Permissive ones, and the MPL, which reaches no further than its own files.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}
# Distributions that name their licence only in the words of PyPI's classifiers.
CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}


def allowed(expression: str) -> bool:
    """Whether an SPDX expression can be met with licences of the list.

    Args:
        expression: identifiers with AND, OR, WITH and parentheses; `/` is an old way to write OR.
    """
    tokens = re.findall(r"\(|\)|[\w.+-]+(?: WITH [\w.+-]+)?", expression.replace("/", " OR "))
    words = {"(": "(", ")": ")", "AND": "and", "OR": "or"}
    return any_of(" ".join(words.get(token, str(token in ALLOWED)) for token in tokens).split())


def any_of(tokens: list[str]) -> bool:
    """The value of `alternative or alternative`; takes what it reads from `tokens`."""
    value = all_of(tokens)
    while tokens and tokens[0] == "or":
        tokens.pop(0)
        value = all_of(tokens) or value
    return value


def all_of(tokens: list[str]) -> bool:
    """The value of `term and term`; takes what it reads from `tokens`."""
    value = term(tokens)
    while tokens and tokens[0] == "and":
        tokens.pop(0)
        value = term(tokens) and value
    return value


def term(tokens: list[str]) -> bool:
    """The value of an identifier, or of what parentheses hold."""
    token = tokens.pop(0)
    if token != "(":
        return token == "True"
    value = any_of(tokens)
    tokens.pop(0)
    return value


def python_dependencies(distribution: str) -> set[str]:
    """Names of the distributions that `distribution` installs here, without extras."""
    found: set[str] = set()
    waiting = [distribution]
    while waiting:
        for line in metadata.requires(waiting.pop()) or []:
            requirement = Requirement(line)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            name = requirement.name.lower()
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def python_licence(distribution: str) -> str:
    """The SPDX expression of an installed distribution, or what it says instead."""
    about = metadata.metadata(distribution)
    if "License-Expression" in about:
        return about["License-Expression"]
    classifiers: list[str] = about.get_all("Classifier", [])
    known = [CLASSIFIERS[line] for line in classifiers if line in CLASSIFIERS]
    if not known and "License" in about:
        return about["License"]
    return " AND ".join(known) or "nothing"


def output(*command: str) -> str:
    """What a command prints, run in the Rust workspace."""
    return subprocess.run(
        command, cwd=ROOT / "broker", stdout=subprocess.PIPE, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT/Apache-2.0", True),
        ("Apache-2.0 AND ISC", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND Unicode-3.0", True),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", True),
        ("GPL-3.0-only", False),
        ("nothing", False),
    ],
)
def test_an_expression_is_allowed_when_a_choice_of_it_is(expression: str, answer: bool) -> None:
    assert allowed(expression) is answer


def test_every_crate_has_an_allowed_licence() -> None:
    host = re.search(r"^host: (\S+)$", output("rustc", "-vV"), re.M)
    assert host is not None
    listing = output(
        *("cargo", "metadata", "--format-version", "1", "--locked"),
        *("--filter-platform", host[1]),
    )

    crates = json.loads(listing)["packages"]

    assert [
        f"{crate['name']} {crate['version']}: {crate['license']}"
        for crate in crates
        if not allowed(crate["license"] or "nothing")
    ] == []


def test_every_python_dependency_has_an_allowed_licence() -> None:
    licences = {name: python_licence(name) for name in python_dependencies("quantummq")}

    assert {name: licence for name, licence in licences.items() if not allowed(licence)} == {}
    assert "pydantic" in licences
