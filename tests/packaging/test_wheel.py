"""The distributions hold what they should, and the wheel works where nothing else of the checkout is."""

from __future__ import annotations

import email.message
import email.parser
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints" / "airflow-newest.txt"
PACKAGE = "airflow_provider_apitask"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command outside the checkout and return what it printed; its output is part of the failure."""
    ours = {"PYTHONPATH", "VIRTUAL_ENV"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist and the wheel built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    run("uv", "build", "--no-build-isolation", "--python", sys.executable, "--out-dir", out, ROOT, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("environment")
    run("uv", "venv", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run("uv", "pip", "install", "--python", python, "--constraints", CONSTRAINTS, wheel, cwd=folder)
    return folder


def read_metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.BytesParser().parsebytes(archive.read(name))


def test_wheel_holds_the_package_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {PACKAGE}
    assert names >= {f"{PACKAGE}/provider.yaml", f"{PACKAGE}/py.typed", f"{PACKAGE}/get_provider_info.py"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / PACKAGE).rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources


def test_wheel_describes_itself(wheel: Path) -> None:
    metadata = read_metadata(wheel)
    assert metadata["Name"] == "airflow-provider-apitask"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.14"}
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_sdist_holds_tests_docs_and_examples(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "tox.ini"}
    for folder in (PACKAGE, "tests", "docs", "example_dags", "constraints"):
        assert any(name.startswith(f"{folder}/") for name in names), f"{folder} is missing from the sdist"
    assert not [name for name in names if "__pycache__" in name or name.startswith((".tox", ".venv"))]


def test_every_module_imports_from_the_wheel(environment: Path) -> None:
    code = (
        "import importlib, json, pkgutil, airflow_provider_apitask as package\n"
        "names = [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + '.')]\n"
        "for name in names:\n"
        "    if not name.endswith('__main__'):\n"
        "        importlib.import_module(name)\n"
        "print(json.dumps([package.__file__, *names]))\n"
    )
    python = environment / "venv" / "bin" / "python"
    home = str(environment / "home")
    printed = run(python, "-I", "-W", "error", "-c", code, cwd=environment, AIRFLOW_HOME=home)
    file, *names = json.loads(printed.splitlines()[-1])
    assert Path(file).is_relative_to(environment)
    assert f"{PACKAGE}.get_provider_info" in names


def test_airflow_lists_the_provider(environment: Path, wheel: Path) -> None:
    airflow = environment / "venv" / "bin" / "airflow"
    printed = run(
        *(airflow, "providers", "list", "--output", "json"),
        cwd=environment,
        AIRFLOW_HOME=str(environment / "home"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
    )
    providers = json.loads(printed[printed.index("[") :])
    versions = {entry["package_name"]: entry["version"] for entry in providers}
    assert versions["airflow-provider-apitask"] == read_metadata(wheel)["Version"]
