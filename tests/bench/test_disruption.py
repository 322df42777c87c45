"""Disruptions: a thousand scenarios in one program, survival of every single loss, and a stress test of ``us``.

    uv run --group bench pytest tests/bench/test_disruption.py -n 0 --benchmark-only -s

The thousand scenarios are timed against HiGHS alone on the same arrays, and against mpi-sppy's extensive form up to
where HiGHS would run; each a process of its own, one after the other. Ratios are of one run. Nothing here asserts a
time; that all find the same optimum is asserted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.case import load_case
from models.changes import Request
from optimizer.run import Options, execute
from optimizer.stress_tests import stress

ROOT = Path(__file__).parents[2]
CHAINS = {"short": "gallium,germanium,vanadium", "long": "cobalt,rare_earths,tungsten"}
SERVE = 0.19  # after the loss of any country anode graphite can be served to 19.7% in 2026, not more
SURVIVE = [
    {"name": "any_country", "kind": "survive", "lose": "each country", "serve": SERVE},
    {"name": "any_supplier", "kind": "survive", "lose": "each supplier", "serve": SERVE},
]


def run(module: str, what: str, folder: Path, scenarios: int, minerals: str) -> dict[str, Any]:
    """One route in a process of its own, and what it took."""
    command = [sys.executable, "-m", f"tests.bench.{module}", what, str(folder), str(scenarios), minerals]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def told(benchmark: Any, found: dict[str, Any]) -> None:
    found["load"] = os.getloadavg()[0]
    benchmark.extra_info.update(found)
    print("", json.dumps({key: round(value, 4) for key, value in found.items()}))


def timed(benchmark: Any, work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Once, with seconds on the clock and of the processors."""
    cpu, began = time.process_time(), time.perf_counter()
    found = benchmark.pedantic(work, rounds=1)
    return found, {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu,
                   "cores": len(os.sched_getaffinity(0))}  # fmt: skip


def test_the_extensive_form_is_the_same_program(benchmark: Any, tmp_path: Path) -> None:
    """Six scenarios: one program, cuts, HiGHS alone and mpi-sppy come to the same optimum."""
    found: dict[str, float] = {}

    def all_routes() -> None:
        for module, what in (
            ("disrupted", "whole"),
            ("disrupted", "cuts"),
            ("disrupted", "highs"),
            ("mpisppy_same", "solve"),
        ):
            found[what] = run(module, what, tmp_path / what, 6, CHAINS["short"])["objective"]

    benchmark.pedantic(all_routes, rounds=1)
    told(benchmark, dict(found))
    assert found["solve"] == pytest.approx(found["whole"], rel=1e-6)
    assert found["cuts"] == pytest.approx(found["whole"], rel=1e-6)
    assert found["highs"] == pytest.approx(found["whole"], rel=1e-6)


@pytest.mark.parametrize("chains", ["short", pytest.param("long", marks=pytest.mark.slow)])
def test_a_thousand_scenarios(chains: str, benchmark: Any, tmp_path: Path) -> None:
    """Case to plan over HiGHS' own time, and what is outside HiGHS against the same by mpi-sppy.

    ``finished`` 0: HiGHS was stopped after 300 s, and the ratio to its time is one of unfinished runs.
    """
    benchmark.group = "1,000 scenarios, one program"
    runs: dict[str, dict[str, Any]] = {}

    def all_routes() -> None:
        for name, module, what in (("ours", "disrupted", "whole"), ("alone", "disrupted", "highs"),
                                   ("mpisppy", "mpisppy_same", "build")):  # fmt: skip
            runs[name] = run(module, what, tmp_path / name, 1000, CHAINS[chains])

    benchmark.pedantic(all_routes, rounds=1)
    ours, alone, theirs = runs["ours"], runs["alone"], runs["mpisppy"]
    told(benchmark, {
        "ours_s": ours["seconds"], "ours_cpu_s": ours["cpu_s"], "inside_s": ours["highs_s"],
        "outside_s": ours["outside_s"], "finished": ours["finished"], "alone_s": alone["seconds"],
        "alone_cpu_s": alone["cpu_s"], "alone_finished": alone["finished"], "form_s": theirs["seconds"],
        "form_cpu_s": theirs["cpu_s"], "times_own_highs": ours["seconds"] / ours["highs_s"],
        "times_alone": ours["seconds"] / alone["seconds"],
        "times_alone_cpu": ours["cpu_s"] / alone["cpu_s"], "form_over_outside": theirs["seconds"] / ours["outside_s"],
        "rows": ours["rows"], "columns": ours["columns"], "form_rows": theirs["rows"],
        "form_columns": theirs["columns"], "peak_mb": ours["peak_mb"], "form_peak_mb": theirs["peak_mb"],
    })  # fmt: skip
    if ours["finished"] and alone["finished"]:
        assert alone["objective"] == pytest.approx(ours["objective"], rel=1e-6)


@pytest.mark.parametrize("chains", ["short", pytest.param("long", marks=pytest.mark.slow)])
def test_a_thousand_scenarios_as_cuts(chains: str, benchmark: Any, tmp_path: Path) -> None:
    """The same, responses solved one by one: no large program at all."""
    benchmark.group = "1,000 scenarios, cuts"
    found: dict[str, Any] = {}
    benchmark.pedantic(lambda: found.update(run("disrupted", "cuts", tmp_path / "c", 1000, CHAINS[chains])), rounds=1)
    told(benchmark, found)


def test_survive_every_country_and_every_supplier(benchmark: Any) -> None:
    """The whole of ``us``, tables to audited plan: what is left after any single loss serves 19% of every requirement."""
    request = Request(scenarios=["shortage_priced"], rules=SURVIVE)
    plan, found = timed(benchmark, lambda: execute(load_case("us"), request, Options(write=False)))
    assert plan.status == "optimal" and plan.audit == []
    told(benchmark, {**found, **{f"{name}_s": seconds for name, seconds in plan.about["seconds"].items()}})


def test_stress_every_single_loss(benchmark: Any, tmp_path: Path) -> None:
    """The plan of ``us`` kept and remade after each country, controller, supplier and scenario of disruptions.csv."""
    folder = tmp_path / "us"
    assert execute(load_case("us"), Request(), Options(out=folder)).ok
    stressed, found = timed(benchmark, lambda: stress(folder))
    told(benchmark, {**found, "losses": stressed.about["losses"], "about_s": stressed.about["seconds"]})
