"""The wheel, in an empty virtual environment, is all that a user needs."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.product import build_environment, round_trip, started

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.timeout(600)


def output(*command: str | Path, code: int = 0) -> str:
    """What a command prints, after checking its exit code."""
    result = subprocess.run(
        command,
        cwd="/",
        env=build_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree without optimisation."""
    folder = tmp_path_factory.mktemp("wheel")
    maturin = Path(sys.executable).with_name("maturin")
    manifest = ROOT / "broker" / "binding" / "Cargo.toml"
    output(maturin, "build", "--profile", "dev", "--manifest-path", manifest, "--out", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`quantummq` of an environment that holds the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True, symlinks=True)
    output(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    return folder / "bin" / "quantummq"


def test_version_tells_the_version(program: Path) -> None:
    assert "0.1.0" in output(program, "version")


def test_check_accepts_a_good_configuration(program: Path, tmp_path: Path) -> None:
    file = tmp_path / "quantummq.toml"
    file.write_text('[[listener]]\naddress = "tcp://127.0.0.1:1884"\n', encoding="utf-8")

    output(program, "check", "--config", file)


def test_check_names_the_key_and_its_neighbour(program: Path, tmp_path: Path) -> None:
    file = tmp_path / "quantummq.toml"
    file.write_text('[[listener]]\nadress = "tcp://127.0.0.1:1884"\n', encoding="utf-8")

    said = output(program, "check", "--config", file, code=1)

    assert "adress" in said
    assert "address" in said.replace("adress", "")


def test_run_starts_a_broker_that_answers(program: Path, tmp_path: Path) -> None:
    environment = build_environment() | {"HOME": str(tmp_path)}
    command = [str(program), "run", "--listen", "tcp://127.0.0.1:0"]

    with started(command, environment) as broker:
        assert round_trip(broker.address, "wheel/topic", b"payload") == b"payload"


def test_the_wheel_holds_the_product_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    roots = {name.split("/")[0] for name in names}

    assert {root for root in roots if not root.endswith(".dist-info")} == {"quantummq"}
    assert "quantummq/py.typed" in names
    assert "quantummq/_engine.pyi" in names
    assert any(name.endswith("/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or "/test_" in name]


def test_one_wheel_serves_every_python_from_3_11(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name


def test_the_console_script_is_found_without_the_source_tree(program: Path) -> None:
    python = program.with_name("python")
    code = "import quantummq; print(quantummq.__file__)"

    assert str(ROOT) not in output(python, "-I", "-c", code)
    assert shutil.which("quantummq", path=str(program.parent)) == str(program)
