"""The two-stage program of a case as the extensive form of mpi-sppy: what ours is measured by.

Run as a process of its own: ``python -m tests.bench.mpisppy_same build|solve FOLDER SCENARIOS MINERAL,...``; prints
seconds and peak memory. ``build`` ends where HiGHS would run. FOLDER: to write the case into.

Each scenario holds what a response depends on or the first stage is paid by, as mpi-sppy's first-stage variables, and
its response; the plan's other quantities and its rows are in the scenario "nothing happens" alone. That is as little
as mpi-sppy can do with. Its own CVaR is over first stage and response together, which comes to the same: what all
scenarios share goes through CVaR unchanged.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from models import capacity
from models.build import build
from models.case import Case
from models.costs import delivered_objective, objective
from models.layout import FAMILIES, Layout, lay_out
from models.outcomes import find_effects, find_outcomes
from models.rule_rows import RuleRows
from models.two_stage import answer
from tests.bench.disrupted import disrupted

SHARED = ("production", "used", "expansion", "opened", "built", "stock")  # the rest of a plan its responses never see


class HandedOver(Exception):  # noqa: N818  # not a fault
    """HiGHS has all that it needs and would run now."""


def plan_alone(layout: Layout) -> Any:
    """The quantities of a plan that scenarios share, without its rows."""
    from pyomo.core import ConcreteModel, NonNegativeReals, Var

    model = ConcreteModel()
    model.production = Var(range(layout.sizes["production"]), domain=NonNegativeReals)
    model.used = Var(range(layout.sizes["used"]), domain=NonNegativeReals)
    for family in ("drawn", "built"):
        setattr(model, family, Var(range(layout.sizes[family]), domain=NonNegativeReals))
    capacity.decisions(model, layout)
    return model


def extensive_form(case: Case) -> Any:
    """mpi-sppy's extensive form of all outcomes, not yet given to HiGHS."""
    import mpisppy.utils.sputils as sputils
    from mpisppy.opt.ef import ExtensiveForm
    from mpisppy.utils.cvar import add_cvar
    from pyomo.core import Block, Objective
    from pyomo.core.expr.numeric_expr import LinearExpression

    layout = lay_out(case)
    rows, outcomes = RuleRows(layout).rows, find_outcomes(case)
    effects, delivered = find_effects(case, outcomes), delivered_objective(layout)
    first, risk = objective(layout) - delivered, case.settings.risk
    place = {f"o{o}": o for o in range(len(outcomes))}
    paid_by = np.concatenate([layout.columns(family) for family in SHARED])
    assert np.isin(np.flatnonzero(first), paid_by).all()

    def linear(model: Any, costs: Any, families: tuple[str, ...]) -> Any:
        terms = [(float(usd), variable) for family in families for usd, variable in zip(
            costs[layout.columns(family)], getattr(model, family).values(), strict=True) if usd]  # fmt: skip
        return LinearExpression(constant=0.0, linear_coefs=[usd for usd, _ in terms],
                                linear_vars=[variable for _, variable in terms])  # fmt: skip

    def scenario(name: str) -> Any:
        o = place[name]
        model = plan_alone(layout) if o else build(layout, rows)
        if o:
            model.answer = Block()
            paid = answer(model, model.answer, layout, effects, o)
        else:
            del model.cost
            paid = linear(model, delivered, FAMILIES)
        model.first = linear(model, first, SHARED)
        model.cost = Objective(expr=model.first + paid)
        model._mpisppy_probability = outcomes[o].probability
        sputils.attach_root_node(model, model.first, [getattr(model, family) for family in SHARED])
        add_cvar(model, cvar_weight=risk.weight, cvar_alpha=1 - risk.tail, cvar_mean_weight=1 - risk.weight)
        return model

    return ExtensiveForm({"solver": "appsi_highs", "toc": False}, list(place), scenario, suppress_warnings=True)


def main(what: str, folder: str, scenarios: int, minerals: tuple[str, ...]) -> dict[str, Any]:
    """Make the form and hand it over, or solve it too."""
    import highspy
    import mpisppy.opt.ef  # before the clock starts
    import pyomo.environ

    assert mpisppy.opt.ef and pyomo.environ
    case = disrupted(Path(folder), scenarios, minerals)
    cpu, began = sum(os.times()[:2]), time.perf_counter()
    form = extensive_form(case)
    found: dict[str, Any] = {"form_s": time.perf_counter() - began, "objective": None}
    run = highspy.Highs.run

    def handed(highs: Any) -> Any:
        found["rows"], found["columns"] = highs.getNumRow(), highs.getNumCol()
        found["seconds"], found["cpu_s"] = time.perf_counter() - began, sum(os.times()[:2]) - cpu
        if what == "build":
            raise HandedOver
        return run(highs)

    highspy.Highs.run = handed
    try:
        form.solve_extensive_form()
        found["objective"] = form.get_objective_value()
    except HandedOver:
        assert what == "build"
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), tuple(sys.argv[4].split(",")))))
