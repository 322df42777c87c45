"""Benchmarks of what leaves the tool: whole processes of ``oremix report`` and ``oremix export`` for the bundled case.

uv run pytest tests/bench/test_leaving.py -n 0 --benchmark-only
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.case import load_case
from optimizer.run import optimize


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leaving") / "us"
    optimize(load_case("us"), out=folder)
    return folder


@pytest.mark.parametrize("what", ["report", "plan.xlsx", "plan.csv", "plan.json", "model.lp", "model.mps"])
def test_of_the_bundled_case(what: str, run: Path, benchmark: Any, tmp_path: Path) -> None:
    benchmark.group = "us"
    arguments = (
        ["report", str(run), "--out", "r.html"] if what == "report" else ["export", str(run), "--to", what, "--force"]
    )
    command = [sys.executable, "-m", "optimizer.cli", *arguments]
    benchmark.pedantic(
        lambda: subprocess.run(command, cwd=tmp_path, check=True, capture_output=True), rounds=3, warmup_rounds=1
    )
