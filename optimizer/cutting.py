"""Solves with HHI cones, survive rules and whole numbers kept: cuts where a point breaks them, outer approximation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from models.case import Floats
from models.lanes import Ints
from models.layout import Layout
from models.rule_rows import Linear, RuleRow
from models.rules import Cut, SurviveCut, tangent
from optimizer.engine import Engine, EngineError, Limits, Solution
from optimizer.measures import SMALLEST_T
from optimizer.program import Program
from optimizer.response_cuts import ResponseCut, ResponseCuts, rows_of
from optimizer.searches import solve_by_parts
from optimizer.surviving import Survival

_STALL = 1e-12
Branch = tuple[Ints, Floats, Ints]  # whole-number columns, their value, columns held at 0


def spread(x: Floats, columns: Ints) -> Floats:
    """Program values as layout values (columns that the model does not use are 0)."""
    return np.where(columns >= 0, x[np.maximum(columns, 0)], 0.0) if len(x) else np.zeros(len(columns))


def relimited(cut: Cut, row: RuleRow) -> Cut:
    """The tangent in the same direction for another limit of its row: only its side of the denominator changes."""
    root, own = row.limit**0.5, len(cut.terms.columns) - len(row.base.columns)
    values = np.concatenate([cut.terms.coefficients[:own], -root * row.base.coefficients])
    return Cut(cut.row, Linear(cut.terms.columns, values, -root * row.base.constant))


@dataclass
class Cutter:
    """Solves, adds the cuts that the point breaks, and solves again until every HHI row holds to 1e-7 and every loss is
    survived.
    """

    layout: Layout
    rows: Sequence[RuleRow]
    columns: Ints
    cuts: list[Cut] = field(default_factory=list)
    seconds: float = 0.0
    slack_column: dict[int, int] = field(default_factory=dict)
    survival: Survival | None = None
    survive_cuts: list[SurviveCut] = field(default_factory=list)
    responses: ResponseCuts | None = None

    def solve(self, engine: Engine, limits: Limits) -> Solution:
        """The optimum with all HHI rows kept; raises ``EngineError`` if a cut does not move the point."""
        curved = self._curved
        last = np.zeros(0)
        left = limits.seconds
        while True:
            solution = engine.solve(replace(limits, seconds=max(left, 0.01)))
            self.seconds += solution.seconds
            left -= solution.seconds
            if not solution.has_plan or not self._cutting:
                return solution
            x = spread(solution.x, self.columns)
            cuts = [self._tangent(number, x, solution.x) for number in curved]
            found = [cut for cut in cuts if cut is not None]
            failed = self._failed(x, solution.x)
            if not found and not failed:
                if not self._answered(engine, x, solution):
                    return solution
                last = np.zeros(0)
                continue
            if len(last) and np.abs(x - last).max() <= _STALL * max(1.0, float(np.abs(x).max())):
                # with slack (looking for a repair) the point is good enough: its limits are measured, not proved
                if self.slack_column or (all(self._close(number, x) for number in curved) and not failed):
                    return solution
                raise EngineError("a cut did not move the point: the rule cannot be cut more closely")
            last = x
            self.give(engine, found)
            self.give_survive(engine, failed)
            self.cuts.extend(found)
            self.survive_cuts.extend(failed)

    def optimum(self, engine: Engine, limits: Limits) -> tuple[Engine, Solution]:
        """The optimum with HHI rows and whole numbers kept, and the engine (an LP) that proves it.

        With whole numbers: cuts of the relaxed program first, then MILP and the LP with its whole numbers fixed
        in turn (outer approximation), until the best plan is within the gap of the MILP's bound.
        """
        ends = time.perf_counter() + limits.seconds
        if not engine.program.integer.any():
            return engine, self.solve(engine, limits)
        if self._cutting:
            relaxed = self.solve(engine.relaxed(), limits)
            if not relaxed.has_plan:
                return engine, relaxed
            self.give(engine, self.cuts)
            self.give_survive(engine, self.survive_cuts)
        return self._branch(engine, limits, ends)

    def _branch(self, engine: Engine, limits: Limits, ends: float) -> tuple[Engine, Solution]:
        """The best over branches that close what leaks through a big-M.

        A switch within the solver's tolerance of 0 still lets a millionth of a large M through. Where the MILP's
        point uses that, two branches are solved instead: the switch at 1, and the switch and what it lets through
        at 0. Both exclude the leak, and together they hold every honest plan.
        """
        best: tuple[Engine, Solution] | None = None
        worst: Solution | None = None
        bound = float("inf")  # the least of the branches
        waiting = [engine]
        while waiting:
            part = waiting.pop()
            left = replace(limits, seconds=max(ends - time.perf_counter(), 0.01))
            proof, found = self._approximate(part, left, ends)
            leak = self._leak(part.program, found.x) if found.has_plan else []
            if best is not None and found.has_plan and found.objective >= best[1].objective:
                bound = min(bound, found.bound)
                continue  # no branch of it is better than what is there
            if leak and found.status == "optimal":
                waiting += [part.branch(*side) for side in leak]
            elif found.has_plan:
                best, bound = (proof, found), min(bound, found.bound)
            else:
                worst = found
                if found.status == "stopped":
                    break
        if best is not None and worst is not None and worst.status == "stopped":
            return best[0], replace(best[1], status="feasible", bound=float("nan"))
        if best is not None:
            return best[0], replace(best[1], bound=bound)
        return engine, worst or Solution("infeasible", np.zeros(0), None, None, float("nan"), float("inf"), 0, 0.0)

    def _leak(self, program: Program, x: Floats) -> list[Branch]:
        """The branches that close the first switch at 0 that something runs through; none where none leaks."""
        matrix = program.matrix.tocsr()
        for row, (family, _) in enumerate(program.rows):
            if family not in ("used_at_most", "counted_at_most"):
                continue
            part = slice(matrix.indptr[row], matrix.indptr[row + 1])
            columns = matrix.indices[part].astype(np.int64)
            switches = columns[program.integer[columns]]
            through = columns[~program.integer[columns]]
            if len(switches) == 1 and round(float(x[switches[0]])) == 0 and float(x[through].sum()) > SMALLEST_T:
                opened: Branch = (switches, np.ones(1), switches[:0])
                must_run = bool((program.lower[through] > 0).any())
                return [opened] if must_run else [opened, (switches, np.zeros(1), through)]
        return []

    def _approximate(self, engine: Engine, limits: Limits, ends: float) -> tuple[Engine, Solution]:
        """MILP and the LP with its whole numbers fixed in turn, until the gap closes (outer approximation)."""
        best: tuple[Engine, Solution] | None = None
        while True:
            left = replace(limits, seconds=max(ends - time.perf_counter(), 0.01))
            whole = solve_by_parts(engine, left)
            self.seconds += whole.seconds
            if not whole.has_plan:
                if best is None or whole.status != "stopped":
                    return engine, whole
                return best[0], replace(best[1], status="feasible")
            before, lp = (len(self.cuts), len(self.survive_cuts)), engine.fixed(whole.x)
            fixed = self.solve(lp, left)
            if fixed.has_plan and (best is None or fixed.objective < best[1].objective):
                best = lp, fixed
            fresh, failed = self.cuts[before[0] :], self.survive_cuts[before[1] :]
            if best is not None:
                gap = max(0.0, best[1].objective - whole.bound) / max(abs(best[1].objective), 1e-9)
                best = best[0], replace(best[1], status=whole.status, gap=gap, bound=whole.bound)
                if not (fresh or failed) or gap <= limits.gap or whole.status == "feasible":
                    return best
            elif not (fresh or failed):  # rounding alone made it infeasible: the MILP's own point stands
                return engine, whole
            self.give(engine, fresh)
            self.give_survive(engine, failed)

    @property
    def _cutting(self) -> bool:
        """Whether there are rules that hold through cuts alone."""
        survives = self.survival is not None and bool(self.survival.groups)
        return bool(self._curved) or survives or self.responses is not None

    def _answered(self, engine: Engine, x: Floats, solution: Solution) -> bool:
        """Add the cuts of responses that cost more than the point counts for them; whether there were any."""
        if self.responses is None:
            return False
        first = self.responses.first
        paid = solution.x[first : first + self.responses.two.count]
        cuts = self.responses.cuts(x, paid, solution.objective)
        self.answer(engine, cuts)
        return bool(cuts)

    def answer(self, engine: Engine, cuts: Sequence[ResponseCut]) -> None:
        """Add the cuts of responses to an engine's program."""
        assert self.responses is not None
        if cuts:
            terms, limits = rows_of(cuts, self.columns, self.responses.first)
            engine.add_rows(terms, limits, [("response_cut", cut.copy) for cut in cuts])

    def _failed(self, x: Floats, raw: Floats) -> list[SurviveCut]:
        """The cuts of the losses that the point fails; what its slack gives up is not asked."""
        if self.survival is None:
            return []
        given_up = {number: float(raw[column]) for number, column in self.slack_column.items()
                    if self.rows[number].kind == "survive"}  # fmt: skip
        return self.survival.cuts(x, given_up)

    @cached_property
    def _curved(self) -> list[int]:
        return [number for number, row in enumerate(self.rows) if row.kind == "hhi"]

    def _tangent(self, number: int, x: Floats, raw: Floats) -> Cut | None:
        cut = tangent(self.rows[number], number, x)
        if cut is not None and number in self.slack_column:
            terms = cut.terms
            over = float(terms.coefficients @ x[terms.columns] + terms.constant)
            scale = max(1e-9, abs(self.rows[number].base.value(x)))
            if over - raw[self.slack_column[number]] <= 1e-8 * scale:
                return None
        return cut

    def _close(self, number: int, x: Floats) -> bool:
        row = self.rows[number]
        value = row.value(x)
        scale_t = float(self.layout.scale_t[self.layout.column_material[row.top.columns]].max(initial=0.0))
        nothing = abs(row.base.value(x)) <= 1e-8 * scale_t  # what flows is the solver's tolerance: no share of it
        return nothing or not value > row.limit * (1 + 9e-7)

    def give(self, engine: Engine, cuts: Sequence[Cut]) -> None:
        """Add the cuts to an engine's program."""
        terms: list[tuple[Ints, Floats]] = []
        limits: list[float] = []
        for cut in cuts:
            columns, inverse = np.unique(cut.terms.columns, return_inverse=True)
            values = np.bincount(inverse, weights=cut.terms.coefficients, minlength=len(columns)).astype(float)
            places = self.columns[columns]
            kept = places >= 0
            places, values = places[kept], values[kept]
            if cut.row in self.slack_column:
                places = np.append(places, self.slack_column[cut.row])
                values = np.append(values, -1.0)
            terms.append((places, values))
            limits.append(-cut.terms.constant)
        engine.add_rows(terms, limits, [("hhi_cut", cut.row) for cut in cuts])

    def give_survive(self, engine: Engine, cuts: Sequence[SurviveCut]) -> None:
        """Add the cuts of failed losses to an engine's program; named by their place in ``survive_cuts``."""
        if not cuts:
            return
        known = {id(cut): place for place, cut in enumerate(self.survive_cuts)}
        terms: list[tuple[Ints, Floats]] = []
        for cut in cuts:
            slack = [(self.slack_column[n], -weight) for n, weight in cut.weights.items() if n in self.slack_column]
            terms.append((np.concatenate([self.columns[cut.terms.columns], [c for c, _ in slack]]).astype(np.int64),
                          np.concatenate([cut.terms.coefficients, [w for _, w in slack]])))  # fmt: skip
        names = [("survive_cut", known.get(id(cut), len(self.survive_cuts) + i)) for i, cut in enumerate(cuts)]
        engine.add_rows(terms, [cut.limit for cut in cuts], names)
