"""A case whose inputs move: compiled once, then each point is a patch and a warm re-solve.

    what_if = WhatIf(case, {"rules.covered.max": (0.2, 1.0), "demand[mineral=lithium].required_t*": (0.7, 1.5)})
    outcome = what_if.at({"rules.covered.max": 0.5, "demand[mineral=lithium].required_t*": 1.0})

Whatever enters the program affinely is patched; anything else is rebuilt at every point, and ``rebuilds`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.case import Case, Floats
from models.changes import Request, change
from models.layout import Layout, lay_out
from models.problems import CaseError
from models.rule_rows import RuleRow, RuleRows
from optimizer.engine import Engine, Limits, Solution
from optimizer.solving import solve
from optimizer.status_quo import find_status_quo, has_status_quo


@dataclass(frozen=True)
class Outcome:
    """What one point gave.

    ``inputs``: KEY (as in ``--set``) -> value. ``status``: optimal, feasible, infeasible, unbounded or stopped.
    ``x``: value of every column of ``layout`` (empty where there is no plan); ``solution`` also has the prices of
    the engine's rows and the reduced costs. ``rows``: the rule rows at this point. ``gradient``: d objective_usd /
    d input of each input that was patched, for a linear program (one of several where the point is a kink).
    ``reason``: why there is no plan, in words; "" where there is one.
    """

    inputs: Mapping[str, float]
    status: str
    objective_usd: float | None
    layout: Layout
    rows: Sequence[RuleRow]
    x: Floats = field(default_factory=lambda: np.zeros(0))
    solution: Solution | None = None
    gradient: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a plan."""
        return self.objective_usd is not None


class WhatIf:
    """A case with inputs that move over ranges.

    ``ranges``: KEY -> (lowest, highest) value that will be asked for (a KEY that ends in ``*`` multiplies, in ``+``
    adds). Raises ``CaseError`` for a key or value that ``--set`` would not take. ``rebuilds``: "" where every point
    is a patch, else why points are rebuilt. ``fork`` gives another one with an engine of its own, for a thread.
    """

    def __init__(self, case: Case, ranges: Mapping[str, tuple[float, float]], limits: Limits | None = None) -> None:
        self.case, self.ranges = case, dict(ranges)
        settings = case.settings.solve
        self.limits = limits or Limits(settings.seconds, settings.gap, settings.threads)
        self.rebuilds = "not patched yet"
        self.engine: Engine | None = None

    def case_at(self, inputs: Mapping[str, float]) -> Case:
        """The case itself at a point, every input set."""
        return change(self.case, Request(sets=dict(inputs)))

    def at(self, inputs: Mapping[str, float]) -> Outcome:
        """Solve at a point; inputs that are not named stay as the case has them."""
        try:
            case = self.case_at(inputs)
        except CaseError as error:
            layout = lay_out(self.case)
            return Outcome(inputs, "error", None, layout, [], reason="; ".join(str(p) for p in error.problems))
        quo = find_status_quo(case, self.limits) if has_status_quo(case) else None
        layout = lay_out(case)
        rows = RuleRows(layout, quo.cost_usd_per_y() if quo is not None and quo.ok else {}).rows
        solved = solve(layout, rows, self.limits)
        self.engine = solved.engine
        if not solved.has_plan:
            return Outcome(inputs, solved.status, None, layout, rows, reason=f"no plan: {solved.status}")
        objective = float(solved.engine.program.cost[: layout.width] @ solved.x)
        return Outcome(inputs, solved.status, objective, layout, rows, solved.x, solved.solution)

    def fork(self) -> WhatIf:
        """The same inputs with an engine of its own: one for each thread."""
        return WhatIf(self.case, self.ranges, self.limits)
