"""Writes the bundled case with a wanted number of disruptions of some of its minerals, and times plans that weigh them.

Run as a process of its own: ``python -m tests.bench.disrupted whole|cuts|highs FOLDER SCENARIOS MINERAL,...``; prints
seconds and peak memory of the responses in one program, of responses as cuts, or of HiGHS alone on the program of the
former. FOLDER: to write the case into.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from models.case import Case, find_case, load_case
from models.changes import Request, change
from models.layout import lay_out
from models.rule_rows import RuleRows
from optimizer.engine import Limits, collection, plain_highs
from optimizer.formulating import formulate
from optimizer.solving import solve

LIMIT = Limits(seconds=300.0)

TOTAL = 0.8  # probability of all scenarios together; nothing happens with the rest
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75)  # what is left
MULTIPLES = (1.0, 1.0, 1.25, 1.5, 2.0)


def write_disruptions(folder: Path, scenarios: int, minerals: tuple[str, ...], seed: int = 1) -> Path:
    """``us`` with ``scenarios`` equally likely disruptions, each of one to four countries or suppliers of the minerals.

    A country is lost for one of the minerals or for all; half of what is hit is left with a part, and two in five
    of the hits that leave something make it dearer.
    """
    us = find_case("us")
    shutil.copytree(us / "tables", folder / "tables")
    shutil.copy(us / "case.toml", folder / "case.toml")
    listed = pd.read_csv(us / "tables" / "suppliers.csv", dtype=str, keep_default_na=False)
    material = pd.read_csv(us / "tables" / "materials.csv", dtype=str, keep_default_na=False)
    mineral = material.set_index("material")["mineral"]
    listed = listed[listed["material"].map(mineral).isin(minerals)]
    suppliers, countries = sorted(listed["supplier"]), sorted(set(listed["country"]))
    random, rows = np.random.default_rng(seed), []
    for number in range(scenarios):
        for _ in range(int(random.integers(1, 5))):
            of_country = bool(random.random() < 0.5)
            left = 0.0 if random.random() < 0.5 else float(random.choice(SHARES))
            rows.append({
                "scenario": f"s{number}", "probability": TOTAL / scenarios,
                "country": random.choice(countries) if of_country else "",
                "supplier": "" if of_country else random.choice(suppliers),
                "mineral": random.choice([*minerals, ""]) if of_country else "",
                "available_share": left, "cost_multiple": float(random.choice(MULTIPLES)) if left else 1.0,
            })  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "tables" / "disruptions.csv", index=False)
    return folder


def disrupted(folder: Path, scenarios: int, minerals: tuple[str, ...]) -> Case:
    """The case of these minerals, shortage priced, weighed half by what it costs on average and half by its tail."""
    case = load_case(write_disruptions(folder, scenarios, minerals))
    sets = {"risk.weight": 0.5, "risk.tail": 0.1}
    return change(case, Request(scenarios=["shortage_priced"], sets=sets, minerals=minerals))


def planned(case: Case, most_rows: float) -> dict[str, float]:
    """From a checked case to the optimal values; what of it is outside HiGHS' own runs, and whether it was finished."""
    cpu, began = sum(os.times()[:2]), time.perf_counter()
    with collection(on=False):
        layout = lay_out(case)
        solved = solve(layout, RuleRows(layout).rows, LIMIT, most_rows=most_rows)
    seconds, cpu_s = time.perf_counter() - began, sum(os.times()[:2]) - cpu
    highs, responses = solved.seconds["highs"], solved.seconds.get("responses", 0.0)
    rows, columns = solved.engine.program.matrix.shape
    return {"seconds": seconds, "cpu_s": cpu_s, "highs_s": highs, "responses_s": responses,
            "outside_s": seconds - highs - responses, "rows": rows, "columns": columns, "rounds": solved.rounds,
            "finished": float(solved.has_plan),
            "objective": solved.solution.objective if solved.has_plan and solved.solution else float("nan")}  # fmt: skip


def highs_alone(case: Case) -> dict[str, float]:
    """The arrays of the extensive program given to HiGHS as they are; stopped after 300 s."""
    layout = lay_out(case)
    highs = plain_highs(formulate(layout, RuleRows(layout).rows)[0])
    highs.setOptionValue("time_limit", LIMIT.seconds)
    cpu, began = sum(os.times()[:2]), time.perf_counter()
    highs.run()
    found = {"seconds": time.perf_counter() - began, "cpu_s": sum(os.times()[:2]) - cpu}
    finished = highs.modelStatusToString(highs.getModelStatus()) == "Optimal"
    return {**found, "finished": float(finished), "objective": highs.getInfo().objective_function_value}


if __name__ == "__main__":
    what, given = sys.argv[1], disrupted(Path(sys.argv[2]), int(sys.argv[3]), tuple(sys.argv[4].split(",")))
    done = highs_alone(given) if what == "highs" else planned(given, np.inf if what == "whole" else 0.0)
    print(json.dumps(done | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))
