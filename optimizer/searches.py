"""Integer programs that fall into parts: what shares nothing is searched one part at a time.

A search over sixty openings of fifteen minerals is fifteen searches over four each: their trees add up instead of
multiplying.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from models.case import Flags
from optimizer.engine import Engine, Limits, Solution
from optimizer.parts import Part, Parts
from optimizer.program import Program

MOST = 64  # searches; smaller parts are put together
ROUNDS = 6  # of searching on in what is not close enough yet
LEAST_SECONDS = 1.0  # of a search in its first round


@dataclass
class _Search:
    """One part, its best point so far and the best bound on it (the program's fixed columns left out)."""

    part: Part
    engine: Engine
    found: Solution | None = None
    bound: float = -np.inf

    @property
    def whole(self) -> int:
        """Whole numbers in it."""
        return int(self.part.program.integer.sum())

    @property
    def gap(self) -> float:
        """How far the point may be above the best there is, USD; infinite without a point."""
        return np.inf if self.found is None or not self.found.has_plan else max(0.0, self.found.objective - self.bound)

    def search(self, limits: Limits) -> Solution:
        """Search once; the better of the points and of the bounds stay."""
        found = self.engine.solve(limits)
        if found.has_plan:
            self.bound = max(self.bound, found.bound if self.whole else found.objective)
            if self.found is None or not self.found.has_plan or found.objective < self.found.objective:
                self.found = found
        elif self.found is None:
            self.found = found
        return found


def solve_by_parts(engine: Engine, limits: Limits) -> Solution:
    """The optimum of an integer program, part by part; as ``engine.solve`` where it does not fall apart.

    Together within ``limits.gap``: in rounds, each part that is not close enough gets a share of the time left.
    """
    began = time.perf_counter()
    program = engine.program
    fixed = np.asarray(program.lower == program.upper)
    searches = _searches(engine, fixed)
    if sum(search.whole > 0 for search in searches) < 2:
        return engine.solve(limits)
    iterations, waiting, gap = 0, searches, limits.gap
    for last in (*[False] * (ROUNDS - 1), True):
        weight = sum(max(search.whole, 1) for search in waiting)
        for search in waiting:
            left = limits.seconds - (time.perf_counter() - began)
            share = left if last else left * max(search.whole, 1) / (2 * weight)
            found = search.search(replace(limits, gap=gap, seconds=max(min(max(share, LEAST_SECONDS), left), 0.01)))
            iterations += found.iterations
            if found.status in ("infeasible", "unbounded"):
                return replace(found, seconds=time.perf_counter() - began, iterations=iterations)
        whole = _together(program, fixed, searches, limits, iterations, began)
        if whole.status != "stopped" and whole.gap <= limits.gap:
            return whole
        if time.perf_counter() - began >= limits.seconds:
            break
        sizes = [abs(search.found.objective) for search in searches if search.found is not None]
        net, gross = abs(whole.objective) if whole.has_plan else np.nan, sum(sizes)
        if net < gross:  # costs of both signs cancel: what is close to each part is not close enough to their sum
            gap = limits.gap * net / gross
        waiting = [s for s in searches if s.whole and s.gap > gap * abs(s.found.objective if s.found else 0.0)]
        if not waiting:
            break
    return whole


def _together(
    program: Program, fixed: Flags, searches: list[_Search], limits: Limits, iterations: int, began: float
) -> Solution:
    x = np.where(fixed, program.lower, 0.0)
    seconds = time.perf_counter() - began
    if any(search.found is None or not search.found.has_plan for search in searches):
        return Solution("stopped", np.zeros(0), None, None, float("nan"), float("inf"), iterations, seconds)
    bound = float(program.cost @ x)
    for search in searches:
        assert search.found is not None
        free = ~fixed[search.part.columns]
        x[search.part.columns[free]] = search.found.x[free]
        bound += search.bound
    objective = float(program.cost @ x)
    gap = max(0.0, objective - bound) / max(abs(objective), 1e-9)
    status = "optimal" if gap <= limits.gap else "feasible"
    return Solution(status, x, None, None, objective, gap, iterations, seconds, bound=bound)


def _searches(engine: Engine, fixed: Flags) -> list[_Search]:
    """A search for each part with whole numbers, those with few first; what is linear is one more."""
    program = engine.program
    parts = Parts(program, fixed=np.flatnonzero(fixed).tolist())
    free = ~fixed
    whole = np.bincount(parts.of_column[free], weights=program.integer[free], minlength=parts.count)
    order = np.argsort(whole, kind="stable")
    order = order[whole[order] > 0]
    group = np.zeros(parts.count, dtype=np.int64)
    group[order] = 1 + np.arange(len(order)) * min(MOST, len(order)) // max(len(order), 1)
    there = np.zeros(parts.count, dtype=bool)  # not a fixed column alone
    there[parts.of_row] = True
    there[parts.of_column[free]] = True
    if len(order) < 2:
        return []
    found = []
    for name in np.unique(group[there]).tolist():
        part = parts.part(*np.flatnonzero(there & (group == name)).tolist())
        costs = np.where(fixed[part.columns], 0.0, part.program.cost)
        part = replace(part, program=replace(part.program, cost=costs))
        found.append(_Search(part, Engine(part.program, engine.column_unit[part.columns], engine.log)))
    return found
