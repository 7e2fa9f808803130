"""The built wheel, installed outside the repository: it holds all package data and runs without the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).parents[3]
PACKAGES = {"client", "dispatcher", "shared", "training", "web", "worker"}
DEPENDENCIES = [place for place in sys.path if place.endswith(("site-packages", "dist-packages"))]
DATA_SUFFIXES = {".css", ".html", ".js", ".json", ".mako", ".safetensors", ".svg", ".toml"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network by the installed hatchling."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    [file] = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    install = [find_uv_bin(), "pip", "install", "--python", sys.executable, "--offline", "--no-deps"]
    subprocess.run([*install, "--target", str(folder), str(wheel)], check=True, capture_output=True)
    return folder


def limner(installed: Path, folder: Path, *words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command of the installed wheel in an empty folder.

    `-S` keeps the editable installation out of `sys.path`; the dependencies are added after the wheel.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIMNER_", "PYTHON"))}
    environment |= {"PYTHONPATH": os.pathsep.join([str(installed), *DEPENDENCIES]), "LIMNER_DATA_DIR": "data"}
    command = [sys.executable, "-S", "-W", "error", "-m", "limner_client.cli.main", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )


def tracked_data() -> set[str]:
    """The package data under version control, by the path that each file has in the wheel."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    files = [Path(name) for name in listed]
    data = {
        Path(*file.parts[1:]) for file in files if file.parts[0] in PACKAGES and file.suffix in DATA_SUFFIXES | {".py"}
    }
    migrations = {Path("limner_shared", file) for file in files if file.parts[0] == "migrations"}
    return {file.as_posix() for file in data | migrations}


def test_the_wheel_holds_every_module_and_every_data_file(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = tracked_data()
    assert {Path(name).suffix for name in expected} >= {".css", ".html", ".js", ".py", ".safetensors", ".toml"}
    assert any("migrations/versions/" in name for name in expected)
    assert not expected - packed


def test_the_wheel_holds_nothing_but_the_packages(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {f"limner_{name}" for name in PACKAGES}


def test_the_installed_wheel_is_what_runs(installed: Path, tmp_path: Path) -> None:
    shown = limner(installed, tmp_path, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "dead-letters" in shown.stdout
    program = "import limner_client, limner_shared, limner_web; print(limner_client.__file__, limner_web.__file__)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), *DEPENDENCIES])}
    found = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert all(place.startswith(str(installed)) for place in found.stdout.split())


def test_the_installed_wheel_migrates_a_database(installed: Path, tmp_path: Path) -> None:
    for words in (("db", "upgrade"), ("db", "current")):
        shown = limner(installed, tmp_path, *words)
        assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "data" / "limner.db").is_file()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_demo_runs_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    shown = limner(installed, tmp_path, "demo", "--output", "demo", seconds=500)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert len([*tmp_path.glob("demo/single-*.png"), *tmp_path.glob("demo/bulk-*.png")]) == 40


def test_the_doctor_of_the_installed_wheel_finds_cards_and_weights(installed: Path, tmp_path: Path) -> None:
    shown = limner(installed, tmp_path, "doctor")
    assert "weights found" in shown.stdout, shown.stderr
    assert "not found" not in shown.stdout
    assert "Traceback" not in shown.stderr
