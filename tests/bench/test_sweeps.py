"""Sweeps: 2,000 points of ``us`` on one core and on two, how much of it is HiGHS, and memory over 100,000 points.

    uv run pytest tests/bench/test_sweeps.py -n 0 --benchmark-only -s

Each is a process of its own; ratios are of one run. Nothing here asserts a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RUN = """
import json, resource, sys, time
from models.case import load_case
from optimizer.sweeps import sweep
name, sample, threads, out, vary = json.loads(sys.argv[1])
case = load_case(name)
wall, cpu = time.perf_counter(), time.process_time()
found = sweep(case, {key: tuple(ends) for key, ends in vary.items()}, sample=sample, out=out, threads=threads)
about = found.document["about"]
print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu,
                  "prepare_s": about["prepare_seconds"], "highs_s": about["highs_seconds"],
                  "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
SMALL = {"rules.one_country.max": (0.15, 1.0), "demand.required_t*": (0.7, 1.4)}
LITHIUM = {"demand[mineral=lithium].required_t*": (0.7, 1.5)}


def swept(name: str, sample: int, threads: int, out: Path, vary: dict[str, Any] | None = None) -> dict[str, float]:
    """One sweep in a process of its own, and what it took."""
    asked = json.dumps([name, sample, threads, str(out), vary or {}])
    done = subprocess.run([sys.executable, "-c", RUN, asked], cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def told(benchmark: Any, found: dict[str, float]) -> None:
    benchmark.extra_info.update(found)
    print("", json.dumps({key: round(value, 3) for key, value in found.items()}))


def test_us_on_one_core_and_on_two(benchmark: Any, tmp_path: Path) -> None:
    """2,000 points over the whole assumptions table: how much faster two are, and the share of time inside HiGHS."""
    runs: dict[int, dict[str, float]] = {}

    def both() -> None:
        for threads in (1, 2):
            runs[threads] = swept("us", 2000, threads, tmp_path / str(threads))

    benchmark.pedantic(both, rounds=1)
    one, two = runs[1], runs[2]
    told(benchmark, {
        "one_s": one["wall_s"], "two_s": two["wall_s"], "times_one": one["wall_s"] / two["wall_s"],
        "times_one_solving": (one["wall_s"] - one["prepare_s"]) / (two["wall_s"] - two["prepare_s"]),
        "highs_share_one": one["highs_s"] / one["wall_s"],
        "highs_share_one_solving": one["highs_s"] / (one["wall_s"] - one["prepare_s"]),
        "highs_share_two_solving": two["highs_s"] / (2 * (two["wall_s"] - two["prepare_s"])),
        "prepare_s": one["prepare_s"], "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
    })  # fmt: skip


@pytest.mark.parametrize("points", [2_000, 20_000, 100_000])
def test_memory_over_many_points(points: int, benchmark: Any, tmp_path: Path) -> None:
    """The small case: peak memory of the process."""
    found: dict[str, float] = {}
    benchmark.group = "memory"
    benchmark.pedantic(lambda: found.update(swept("small", points, 2, tmp_path / "out", SMALL)), rounds=1)
    told(benchmark, {"points": points, "peak_mb": found["peak_mb"], "points_per_s": points / found["wall_s"]})


@pytest.mark.parametrize("points", [300, 3_000])
def test_memory_over_many_points_of_us(points: int, benchmark: Any, tmp_path: Path) -> None:
    """The wide rows of ``us``, one input moving: peak memory of the process."""
    found: dict[str, float] = {}
    benchmark.group = "memory us"
    benchmark.pedantic(lambda: found.update(swept("us", points, 2, tmp_path / "out", LITHIUM)), rounds=1)
    told(benchmark, {"points": points, "peak_mb": found["peak_mb"], "points_per_s": points / found["wall_s"]})
