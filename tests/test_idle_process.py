"""An idle `quantummq run` has no module loaded that it does not need, and takes 40 MB at most."""

import json
import os
import re
import sys
from pathlib import Path

from tests.product import started

# The console script, and the modules that are loaded when it ends.
PROGRAM = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps({"modules": sorted(sys.modules)}), file=sys.stderr))
from quantummq.cli import main
main()
"""

OWN = [
    "quantummq",
    "quantummq._engine",
    "quantummq.auth",
    "quantummq.auth.authenticator",
    "quantummq.auth.build",
    "quantummq.auth.decision",
    "quantummq.broker",
    "quantummq.cli",
    "quantummq.cli.lazy",
    "quantummq.cli.notify",
    "quantummq.cli.observe",
    "quantummq.cli.reload",
    "quantummq.cli.run",
    "quantummq.cli.serve",
    "quantummq.cli.settings",
    "quantummq.cli.sources",
    "quantummq.clock",
    "quantummq.config",
    "quantummq.config.address",
    "quantummq.config.authentication",
    "quantummq.config.broker",
    "quantummq.config.check",
    "quantummq.config.config",
    "quantummq.config.limits",
    "quantummq.config.listener",
    "quantummq.config.load",
    "quantummq.config.log",
    "quantummq.config.mqtt",
    "quantummq.config.proxy",
    "quantummq.config.table",
    "quantummq.config.store",
    "quantummq.config.tls",
    "quantummq.config.websocket",
    "quantummq.decisions",
    "quantummq.engine",
    "quantummq.errors",
    "quantummq.events",
    "quantummq.log",
    "quantummq.options",
    "quantummq.paths",
    "quantummq.subscription",
]

# Packages of others, with what they import themselves.
OTHERS = {
    "annotated_types",
    "click",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
}

# Of the standard library: what only other commands, or rare occasions, need.
NOT_NEEDED = {
    *("difflib", "http", "multiprocessing", "sqlite3", "tomllib", "unittest", "urllib.request"),
    "xml",
}


def loaded(home: Path, *options: str) -> set[str]:
    """The modules of a broker that ran for a moment."""
    command = [sys.executable, "-c", PROGRAM, "run", "--listen", "tcp://127.0.0.1:0", *options]
    with started(command, {"HOME": str(home), "PATH": os.environ["PATH"]}) as broker:
        pass
    (line,) = [line for line in broker.lines if line.startswith('{"modules"')]
    return set(json.loads(line)["modules"])


def test_run_loads_its_own_modules_and_no_more(tmp_path: Path) -> None:
    """A new one is either needed by every broker, or imported where it is used."""
    own = {name for name in loaded(tmp_path) if name.split(".")[0] == "quantummq"}

    assert sorted(own) == sorted(OWN)


def test_run_loads_few_packages_of_others(tmp_path: Path) -> None:
    modules = loaded(tmp_path)
    plain = {name.split(".")[0] for name in modules} - set(sys.stdlib_module_names)
    # What environments bring in before the program begins.
    startup = {"sitecustomize", "usercustomize", "quantummq", "__mp_main__"}
    others = {name for name in plain if not name.startswith("_") and name not in startup}

    assert others == OTHERS
    assert modules & NOT_NEEDED == set()


def test_passwords_bring_in_what_hashes_them_and_no_more(tmp_path: Path) -> None:
    modules = loaded(tmp_path, "--lan")

    assert "argon2" in modules
    assert not {name for name in modules if name.split(".")[0] in ("paho", "cryptography")}


def test_an_idle_broker_has_at_most_40_megabytes(tmp_path: Path) -> None:
    """With the engine built for tests as well, which takes no more while it is idle."""
    program = str(Path(sys.executable).with_name("quantummq"))
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    with started([program, "run", "--listen", "tcp://127.0.0.1:0"], environment) as broker:
        status = Path(f"/proc/{broker.process.pid}/status").read_text(encoding="ascii")

    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.M)
    assert found is not None
    assert int(found[1]) <= 40_000
