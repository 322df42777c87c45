"""Benchmarks of many years: 15 minerals, 400 suppliers that may all grow, 15 years; and 60 that must be opened first.

    uv run pytest tests/bench/test_bench_years.py --benchmark-only --benchmark-columns=median,rounds -s

Prints what HiGHS itself took, the gap and the bound: the aim is tables to audited plan within twice HiGHS' own time
plus 3 s, and 0.1% within 60 s with openings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.case import load_case
from models.changes import Request
from optimizer.run import Options, execute
from tests.bench.years import write_years_case

OPENINGS = {
    "none": {},
    "60, half of the capital": {"openings": 60, "lump": 0.5},
    "60, most of the capital, much to be built": {"openings": 60, "lump": 0.9, "scarce": 0.5, "seed": 2},
    "60, all of the capital, nearly all to be built": {"openings": 60, "lump": 1.0, "scarce": 0.3, "seed": 4},
}


@pytest.mark.parametrize("openings", OPENINGS)
def test_tables_to_audited_plan(openings: str, benchmark: Any, tmp_path: Path) -> None:
    folder = write_years_case(tmp_path / "case", **OPENINGS[openings])
    benchmark.group = "15 minerals, 400 suppliers, 15 years"
    plan = benchmark.pedantic(
        lambda: execute(load_case(folder), Request(), Options(write=False)), rounds=3 if openings == "none" else 1
    )
    assert plan.audit == []
    about = plan.about
    benchmark.extra_info.update(
        highs=about["seconds"]["highs"], gap=plan.gap, status=plan.status, columns=about["columns"], rows=about["rows"]
    )
    print(f"\nopenings: {openings}: HiGHS {about['seconds']['highs']:.2f} s of {about['seconds']['total']:.2f} s, "
          f"{about['columns']} columns, {about['rows']} rows; {plan.status}, gap {plan.gap:.2g}, "
          f"cost {plan.objective_usd:.6g}, bound {about['bound_usd'] or plan.objective_usd:.6g}")  # fmt: skip
