"""What knowing more would be worth: plans made knowing the outcome (EVPI), the mean outcome (VSS), or none at all.

One program holds the plan and one response, kept warm: each outcome patches the response's numbers and solves again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.case import Floats
from models.outcomes import Effects
from models.rule_rows import RuleRow
from optimizer.cutting import Cutter
from optimizer.engine import Engine, Limits, Solution
from optimizer.kept_responses import respond
from optimizer.response_copies import Piece, Touch
from optimizer.solving import column_units, tie_break, without_idle
from optimizer.surviving import Survival
from optimizer.two_stage import Addition, TwoStage, add_copies, cvar


@dataclass(frozen=True)
class Foresight:
    """Discounted USD, on the scale of the objective. None where it was not found; ``notes`` say why.

    ``perfect_usd``: the objective of plans each made knowing the outcome (wait and see). ``mean_usd``: of the plan
    made for the mean outcome, ``ignoring_usd``: of the least-cost plan made as if nothing could happen; both kept and
    answered outcome by outcome. ``gap_usd``: how far off whole numbers may leave ``perfect_usd``.
    """

    perfect_usd: float | None
    mean_usd: float | None
    ignoring_usd: float | None
    gap_usd: float = 0.0
    notes: tuple[str, ...] = ()


def find_foresight(two: TwoStage, rows: Sequence[RuleRow], limits: Limits) -> Foresight:
    """Solve for each outcome that differs, for the mean outcome, and for none."""
    ends = time.perf_counter() + limits.seconds
    plan = _Planner(two, rows, limits)
    weight, tail = float(two.layout.case.settings.risk.weight or 0.0), two.layout.case.settings.risk.tail
    notes: list[str] = []
    calm = plan.undisturbed()
    ignoring = _kept(two, calm.x) if calm.has_plan else None
    if ignoring is None:
        notes.append("made as if nothing could happen, the plan would miss requirements without a price")
    mean = plan.knowing(two.effects.weighed(two.probability)) if len(two.outcomes) > 1 else calm
    average = _kept(two, mean.x) if mean.has_plan else None
    if average is None:
        notes.append("made for the mean outcome, the plan would miss requirements without a price: VSS has no end")
    cost, gap = np.full(len(two.outcomes), np.nan), np.zeros(len(two.outcomes))
    cost[0], gap[0] = calm.objective, _gap_usd(calm)
    known: dict[bytes, tuple[float, float]] = {}
    for o, answers in enumerate(two.copy_of, 1):
        key = answers.tobytes()
        if key not in known:
            left = ends - time.perf_counter()
            if left <= 0:
                notes.append(f"plans that know the outcome were not all found in {limits.seconds:g} s")
                return Foresight(None, average, ignoring, notes=tuple(notes))
            found = plan.knowing(_only(two.effects, o))
            if not found.has_plan:  # the whole had a plan for every outcome at once: time, or the solver's tolerance
                notes.append(f"the plan that knows {two.outcomes[o].name!r} was not found")
                return Foresight(None, average, ignoring, notes=tuple(notes))
            known[key] = found.objective, _gap_usd(found)
        cost[o], gap[o] = known[key]
    p = two.probability
    perfect = (1 - weight) * float(p @ cost) + weight * cvar(p, cost, tail)
    return Foresight(perfect, average, ignoring, float(gap.max()), tuple(notes))


def _gap_usd(solution: Solution) -> float:
    return max(0.0, solution.objective - solution.bound) if np.isfinite(solution.bound) else 0.0


def _only(effects: Effects, outcome: int) -> Effects:
    at = slice(outcome, outcome + 1)
    return Effects(effects.available_share[at], effects.cost_multiple[at], effects.demand_multiple[at])


def _kept(two: TwoStage, x: Floats) -> float | None:
    """The objective of a plan that is kept; None where it would miss a requirement without a price."""
    found = respond(two, x)
    return two.objective_usd(x[: two.layout.width], found.usd) if found.met else None


class _Planner:
    """The plan with one response, warm."""

    def __init__(self, two: TwoStage, rows: Sequence[RuleRow], limits: Limits) -> None:
        self.two, self.limits, self.network = two, limits, two.network
        layout, own = two.layout, two.program
        nothing = Effects(*(np.ones((1, *part.shape[1:])) for part in (
            two.effects.available_share, two.effects.cost_multiple, two.effects.demand_multiple)))  # fmt: skip
        self.pieces: list[Piece] = self.network.pieces
        self.touch = [self.network.touches(piece, nothing) for piece in self.pieces]
        added = Addition(len(own.cost))
        self.starts = add_copies(added, self.network, list(zip(self.pieces, self.touch, strict=True)),
                                 np.zeros(len(self.pieces)))  # fmt: skip
        heights = np.cumsum([0, *(piece.height for piece in self.pieces)])
        self.rows_at = (own.matrix.shape[0] + heights).tolist()
        program = added.to(own, own.cost.copy()) if added.columns else own
        columns = np.arange(layout.width)
        self.engine = Engine(program, column_units(program, layout, columns), None, tie_break(program, layout, columns))
        self.cutter = Cutter(layout, rows, columns, survival=Survival(layout, rows, own))
        self.calm = own.cost[: layout.width].copy()  # costs of the plan where nothing happens

    def undisturbed(self) -> Solution:
        """The least-cost plan where nothing can happen."""
        return self._solve()

    def knowing(self, effects: Effects) -> Solution:
        """The least-cost plan where it is known what will happen: its first stage and its response are paid."""
        delivered = np.flatnonzero(self.network.delivered)
        self.engine.change_costs(delivered, (self.calm - self.network.delivered)[delivered])
        for place, piece in enumerate(self.pieces):
            self._touch(place, piece, self.network.touches(piece, effects))
        return self._solve()

    def _solve(self) -> Solution:
        if self.engine.whole:
            _, found = self.cutter.optimum(self.engine, self.limits)
        else:
            found = self.cutter.solve(self.engine, self.limits)
        if not found.has_plan:
            return found
        return replace(found, x=without_idle(found.x[: self.two.layout.width], self.two.layout))

    def _touch(self, place: int, piece: Piece, touch: Touch) -> None:
        """Give the engine the numbers of a response that differ from those that it has."""
        network, engine, program = self.network, self.engine, self.engine.program
        columns = self.starts[place] + np.arange(len(piece.columns))
        cost, upper = network.costs(piece, touch)[0], network.bounds(piece, touch)[0]
        moved = np.flatnonzero(cost != program.cost[columns])
        if len(moved):
            engine.change_costs(columns[moved], cost[moved])
        moved = np.flatnonzero(upper != program.upper[columns])
        if len(moved):
            engine.change_bounds(columns[moved], np.zeros(len(moved)), upper[moved])
        rows = self.rows_at[place] + np.arange(piece.height)
        low, high = (part[0] for part in network.limits(piece, touch))
        moved = np.flatnonzero((low != engine.program.row_lower[rows]) | (high != engine.program.row_upper[rows]))
        if len(moved):
            engine.change_limits(rows[moved], low[moved], high[moved])
        before = network.calls(piece, self.touch[place])
        for old, new in zip(before, network.calls(piece, touch), strict=True):
            moved = np.flatnonzero(old[2][0] != new[2][0])
            if len(moved):
                engine.change_coefficients(self.rows_at[place] + new[0][moved], new[1][moved], new[2][0][moved])
        self.touch[place] = touch
