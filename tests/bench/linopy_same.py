"""The linear program of a benchmark case written in linopy, and HiGHS alone on given arrays: what ours is measured by.

Run as a process of its own: ``python -m tests.bench.linopy_same linopy|highs FILE.npz``; prints seconds and peak memory.
FILE.npz holds the vectors of the case (by lane and year, supplier and year), or the arrays of the program.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import numpy as np


def by_linopy(d: Any) -> tuple[float, float, float]:
    """Build and solve with linopy's direct HiGHS route; objective, seconds in all, seconds in HiGHS."""
    import linopy
    import pandas as pd
    import xarray as xr

    began = time.perf_counter()
    model = linopy.Model()
    years = pd.RangeIndex(d["capacity"].shape[1], name="year")
    suppliers = pd.RangeIndex(d["capacity"].shape[0], name="supplier")
    lanes = pd.RangeIndex(d["freight"].shape[0], name="lane")
    capacity = xr.DataArray(d["capacity"], coords=[suppliers, years])
    q = model.add_variables(lower=0, upper=capacity, name="production")
    x = model.add_variables(lower=0, coords=[lanes, years], name="flow")
    origin = xr.DataArray(d["origin"], coords=[lanes], name="supplier")
    model.add_constraints(x.groupby(origin).sum() - q == 0, name="production_leaves")
    inner, market = d["inner"], d["market"]
    to = xr.DataArray(d["destination"][inner], coords=[lanes[inner]], name="supplier")
    arrives = x.sel(lane=lanes[inner]).groupby(to).sum()
    consuming = np.unique(d["destination"][inner])
    recovery = xr.DataArray(d["recovery"][consuming], coords=[suppliers[consuming]])
    model.add_constraints(arrives - q.sel(supplier=consuming) / recovery == 0, name="inputs_arrive")
    served = xr.DataArray(d["demand_of"][market], coords=[lanes[market]], name="demand")
    required = xr.DataArray(d["required"], dims=["demand", "year"],
                            coords={"demand": np.arange(len(d["required"])), "year": years})  # fmt: skip
    delivered = x.sel(lane=lanes[market])
    model.add_constraints(delivered.groupby(served).sum() == required, name="requirement_met")
    member = xr.DataArray(d["member_of"][market], coords=[lanes[market]], name="member")
    most = xr.DataArray(d["most"], dims=["member", "year"],
                        coords={"member": np.arange(len(d["most"])), "year": years})  # fmt: skip
    capped = delivered.groupby(member).sum()
    model.add_constraints(capped <= most.sel(member=capped.indexes["member"]), name="each_share")
    cost = xr.DataArray(d["cost"], coords=[suppliers, years])
    freight = xr.DataArray(d["freight"], coords=[lanes, years])
    model.add_objective((q * cost).sum() + (x * freight).sum())
    spent: list[float] = []
    import highspy

    run = highspy.Highs.run

    def timed(highs: Any) -> Any:
        start = time.perf_counter()
        done = run(highs)
        spent.append(time.perf_counter() - start)
        return done

    highspy.Highs.run = timed
    model.solve("highs", io_api="direct", output_flag=False)
    return float(model.objective.value), time.perf_counter() - began, sum(spent)


def by_highs(d: Any) -> tuple[float, float, float]:
    """The program's own arrays passed to HiGHS as they are."""
    import highspy

    began = time.perf_counter()
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    starts, width = d["starts"], len(d["cost"])
    highs.passModel(
        width, len(d["row_lower"]), len(d["values"]), 1, 1, 0.0, d["cost"], d["lower"], d["upper"], d["row_lower"],
        d["row_upper"], starts, d["rows"], d["values"], np.zeros(width, dtype=np.int32),
    )  # fmt: skip
    start = time.perf_counter()
    highs.run()
    return highs.getInfo().objective_function_value, time.perf_counter() - began, time.perf_counter() - start


if __name__ == "__main__":
    objective, seconds, inside = {"linopy": by_linopy, "highs": by_highs}[sys.argv[1]](np.load(sys.argv[2]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"objective": objective, "seconds": seconds, "highs": inside, "peak_mb": peak}))
