"""Large programs against the same program in linopy and in HiGHS alone, one after the other in one run.

    uv run --group bench python -m tests.bench.scale 100000 25
    uv run --group bench python -m tests.bench.scale 1000000 250

Prints seconds from a checked case to the optimal values, how much of them HiGHS ran, and peak memory, each route in a
process of its own. Ratios say more than seconds: the machine may be shared.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from models.case import Case, load_case
from models.layout import lay_out
from models.rule_rows import RuleRows
from optimizer.engine import Limits, collection
from optimizer.solving import solve
from tests.bench.cases import write_case


def ours(folder: str) -> dict[str, float]:
    """From a validated case to the optimal values, as ``optimize`` does it."""
    case = load_case(folder)
    began = time.perf_counter()
    with collection(on=False):
        layout = lay_out(case)
        rows = RuleRows(layout).rows
        solved = solve(layout, rows, Limits())
    seconds = time.perf_counter() - began
    objective = float(solved.engine.program.cost[: layout.width] @ solved.x)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"objective": objective, "seconds": seconds, "highs": solved.seconds["highs"], "peak_mb": peak}


def vectors(case: Case) -> dict[str, Any]:
    """The numbers of a benchmark case by supplier, lane and year, for another modelling tool."""
    lanes, count, weights = case.lanes, len(case.suppliers), case.weights
    market = np.flatnonzero(lanes.destination >= count)
    demands = {key: place for place, key in enumerate(dict.fromkeys((m, k) for m, k, _ in case.required))}
    markets, materials = list(case.markets), case.materials["material"].to_numpy()
    demand_of, member_of = np.zeros(len(lanes), dtype=int), np.zeros(len(lanes), dtype=int)
    country = case.suppliers["country"].to_numpy()
    members: dict[tuple[str, str], int] = {}
    for lane in market.tolist():
        material = materials[lanes.material[lane]]
        demand_of[lane] = demands[markets[lanes.destination[lane] - count], material]
        member_of[lane] = members.setdefault((material, country[lanes.origin[lane]]), len(members))
    required = np.array([[case.required[(*key, year)] for year in case.years] for key in demands])
    total = {m: sum(required[place] for (_, k), place in demands.items() if k == m) for m in materials}
    most = np.array([total[m] * (0.5 if c != case.home else 1.0) for m, c in members])
    return {
        "capacity": case.by_year("capacity_t"), "cost": case.by_year("cost_usd_per_t") * weights,
        "recovery": case.suppliers["recovery"].to_numpy(dtype=float), "origin": lanes.origin,
        "destination": lanes.destination, "freight": lanes.freight_usd_per_t * weights,
        "inner": np.flatnonzero(lanes.destination < count), "market": market, "demand_of": demand_of,
        "member_of": member_of, "required": required, "most": most,
    }  # fmt: skip


def arrays(case: Case) -> dict[str, Any]:
    """The arrays of our program."""
    from optimizer.compiling import compile_model
    from optimizer.stamping import stamp

    layout = lay_out(case)
    p = stamp(layout, RuleRows(layout).rows, compile_model)
    return {"cost": p.cost, "lower": p.lower, "upper": p.upper, "row_lower": p.row_lower, "row_upper": p.row_upper,
            "starts": p.matrix.indptr.astype(np.int32), "rows": p.matrix.indices.astype(np.int32),
            "values": p.matrix.data}  # fmt: skip


def _run(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main(flows: int, years: int) -> None:
    """Write the case, run each route twice in turn, keep the better of each, print the table."""
    with TemporaryDirectory() as scratch:
        folder = write_case(Path(scratch) / "case", flows, years)
        case = load_case(folder)
        np.savez(Path(scratch) / "vectors.npz", **vectors(case))
        np.savez(Path(scratch) / "arrays.npz", **arrays(case))
        best: dict[str, dict[str, float]] = {}
        for _ in range(2):
            for name, arguments in (
                ("oremix", ("tests.bench.scale", "ours", str(folder))),
                ("linopy", ("tests.bench.linopy_same", "linopy", f"{scratch}/vectors.npz")),
                ("HiGHS alone", ("tests.bench.linopy_same", "highs", f"{scratch}/arrays.npz")),
            ):
                found = _run(*arguments)
                if name not in best or found["seconds"] < best[name]["seconds"]:
                    best[name] = found
    print(f"{flows} flows over {years} years")
    for name, row in best.items():
        print(f"{name:12s} {row['seconds']:8.2f} s in all  {row['highs']:8.2f} s HiGHS  {row['peak_mb']:8.0f} MB  "
              f"objective {row['objective']:.10g}")  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        print(json.dumps(ours(sys.argv[2])))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]))
