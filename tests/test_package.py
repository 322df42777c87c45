"""The wheel carries the data and works where it is installed, far from this repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv")
KINDS = (".py", ".csv", ".toml", ".md", ".j2", ".css", ".js")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(UV is None, reason="uv is not installed")]


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command outside of the repository, without what points back to it."""
    hidden = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--quiet", "--out-dir", out, ROOT, cwd=out)
    (found,) = out.glob("oremix-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script of a fresh environment that has the wheel and what it depends on."""
    place = tmp_path_factory.mktemp("elsewhere") / "venv"
    run(UV, "venv", "--quiet", "--python", sys.executable, place, cwd=place.parent)
    scripts = place / ("Scripts" if os.name == "nt" else "bin")
    run(UV, "pip", "install", "--quiet", "--python", scripts / "python", wheel, cwd=place.parent)
    return scripts / "oremix"


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in ("data", "models", "optimizer")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix in KINDS
    }
    assert held == wanted


def test_the_installed_program_passes_its_own_test(installed: Path, tmp_path: Path) -> None:
    document = json.loads(run(installed, "doctor", "--json", cwd=tmp_path).stdout)
    assert document["status"] == "ok"
    assert "missing" not in document["versions"].values()


def test_the_installed_program_solves_the_small_case(installed: Path, tmp_path: Path) -> None:
    plan = json.loads(run(installed, "optimize", "small", "--json", cwd=tmp_path).stdout)
    assert (plan["status"], plan["audit"]) == ("optimal", [])
    assert plan["objective_usd"] == pytest.approx(13_100_000, rel=1e-9)
    assert (tmp_path / plan["run"] / "plan.json").is_file()


def test_the_installed_program_has_presets_and_the_bundled_case(installed: Path, tmp_path: Path) -> None:
    assert "crma" in run(installed, "presets", cwd=tmp_path).stdout
    assert "no problem found" in run(installed, "check", "us", cwd=tmp_path).stdout


def test_the_installed_program_makes_a_report(installed: Path, tmp_path: Path) -> None:
    run(installed, "optimize", "small", "--out", "run", "--quiet", cwd=tmp_path)
    run(installed, "report", "run", cwd=tmp_path)
    text = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert 'id="mathematics"' in text and "plotly.js v" in text


def test_the_installed_program_starts_a_case_from_the_bundled_one(installed: Path, tmp_path: Path) -> None:
    run(installed, "new", "mine", cwd=tmp_path)
    assert json.loads(run(installed, "check", "mine", "--json", cwd=tmp_path).stdout)["status"] == "ok"
