"""One part of a case with a limit that moves: its least cost, slope and plan at any value of the limit, kept warm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from models.case import Floats
from models.lanes import Ints
from models.layout import Layout
from models.rule_rows import Linear, RuleRow
from optimizer.cutting import Cutter, spread
from optimizer.engine import Engine, EngineError, Limits, Solution
from optimizer.program import Program
from optimizer.solving import solve, without_idle
from optimizer.splitting import KNOWN, Part
from optimizer.trading import Trade

MOST_CUTS = 100  # tangents gathered over many limits; beyond it they are found anew
SAME = 1e-9  # relative: a total that varies by less is constant


@dataclass(frozen=True)
class Point:
    """A part at a limit: ``value`` is its discounted cost in USD, ``slope`` d value / d limit (NaN with whole numbers).

    ``x``: values of the part's own columns. ``status`` other than optimal or feasible: there is no plan.
    """

    limit: float
    status: str
    value: float = float("nan")
    slope: float = float("nan")
    x: Floats | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a plan."""
        return self.x is not None


@dataclass(frozen=True)
class _Row:
    """A linear rule row whose limit moves: its place in the part's program, and its base over the part's columns.

    ``columns`` of the base, their ``entries`` in the matrix (zeros where only the base is on them), what they are at
    the limit 0 (``top``) and what 1.00 of the limit takes off (``per_limit``).
    """

    place: int
    base: Linear
    top_constant: float
    columns: Ints
    entries: Ints
    top: Floats
    per_limit: Floats


class TradePart:
    """A part whose program has the traded rows at the limit 0 (``rows``), and moves them.

    ``exact``: the limit enters right-hand sides alone, so that the cost is convex and piecewise linear in it.
    ``convex``: the cost is convex in it, if not piecewise linear.
    """

    def __init__(
        self, part: Part, layout: Layout, rows: Sequence[RuleRow], trade: Trade, limits: Limits,
        ties: Floats | None = None,
    ) -> None:  # fmt: skip
        self.part, self.layout, self.trade, self.limits, self.ties = part, layout, trade, limits, ties
        own = [n for n in part.rules if rows[n].rule == trade.rule and rows[n].bound == trade.bound]
        place = {n: at for family in ("rule_row", "supplier_count") for at, n in part.program.rows.places(family)}
        self.own = [rows[n] for n in own]
        self.linear = [self._row(rows[n], place[n]) for n in own if n in place]
        self.cones = [rows[n] for n in own if rows[n].kind == "hhi"]
        self.held = [rows[n] for n in part.rules if rows[n].kind == "hhi" and n not in own]
        self.whole = bool(part.program.integer.any())
        self.varying = any(len(row.base.columns) for row in self.own)
        self.exact = not (self.whole or self.cones or self.held or self.varying)
        self.convex = not (self.whole or self.varying)
        # rules that hold by cuts of their own are solved by the ordinary path: then the case is one part
        self.lazy = any(row.kind not in KNOWN for row in rows)
        if self.lazy:
            self.rows = list(rows)
            self.exact = False
            self.convex = not self.whole and all(row.kind == "survive" for row in self.own)
        self.solves = 0
        self.stopped = False
        self._engine: Engine | None = None
        self._cutter: Cutter | None = None
        self._known: dict[float, Point] = {}

    def _row(self, row: RuleRow, place: int) -> _Row:
        base = Linear(self.part.place[row.base.columns], row.base.coefficients, row.base.constant)
        columns, inverse = np.unique(base.columns, return_inverse=True)
        per_limit = np.bincount(inverse, weights=base.coefficients, minlength=len(columns)).astype(float)
        matrix = self.part.program.matrix
        starts, ends = matrix.indptr[columns].tolist(), matrix.indptr[columns + 1].tolist()
        entries = np.array([start + int(np.searchsorted(matrix.indices[start:end], place))
                            for start, end in zip(starts, ends, strict=True)], dtype=np.int64)  # fmt: skip
        return _Row(place, base, row.top.constant, columns, entries, matrix.data[entries].copy(), per_limit)

    @property
    def moves(self) -> bool:
        """Whether the limit is in this part at all."""
        return bool(self.own)

    @property
    def rates(self) -> tuple[Ints, Floats]:
        """The rows that move with the limit, and by how much each right-hand side for 1.00 of it (where exact)."""
        places = np.array([row.place for row in self.linear], dtype=np.int64)
        return places, np.array([row.base.constant for row in self.linear])

    def engine(self, program: Program, ties: bool = True) -> Engine:
        """A new engine over a program with this part's columns first; without ``ties`` no tie is broken."""
        extra = program.matrix.shape[1] - len(self.part.unit)
        broken = None if self.ties is None or not ties else self.ties
        return Engine(program, np.concatenate([self.part.unit, np.ones(extra)]), None, broken)

    @property
    def warm(self) -> Engine:
        """The engine of the last point (a linear program)."""
        assert self._engine is not None
        return self._engine

    def forget(self) -> None:
        """Start the next point from nothing."""
        self._engine = self._cutter = None

    def value_of(self, x: Floats) -> float:
        """What the limit is on, at a plan: the largest over its rows for max, the least for min; NaN for none."""
        values = []
        wide = spread(x, self.part.place)
        for row in self.own:
            values.append(row.value(wide))
        kept = [value for value in values if not np.isnan(value)]
        if not kept:
            return float("nan")
        return max(kept) if self.trade.bound == "max" else min(kept)

    def at(self, limit: float) -> Point:
        """The least cost at a limit."""
        self.solves += 1
        if self.lazy:
            return self._anew(limit, [replace(row, limit=limit) if self._is_own(row) else row for row in self.rows])
        if self.whole:
            return self._whole(limit)
        warm = self._engine is not None
        solution = self._solved(limit)
        if warm and solution.status == "infeasible":  # rounding of an old basis and its tangents can say so
            self.forget()
            solution = self._solved(limit)
        self.stopped |= solution.status == "stopped"
        if not solution.has_plan:
            return Point(limit, solution.status)
        return Point(limit, solution.status, solution.objective, self._slope(solution, limit), solution.x)

    def inside(self, limit: float, tight: float, anew: bool = False) -> Point:
        """The least cost at a limit between limits that have a plan; raises ``EngineError`` where none is found.

        On the very edge of a jump HiGHS can be lost: then the plan a hair towards ``tight``, which keeps it as well.
        A point that is known is not solved again, unless ``anew`` (the engine is to stand at it).
        """
        if limit in self._known and not anew:
            return self._known[limit]
        for nudge in (0.0, 1e-7, 1e-6, 1e-5):
            point = self.at(limit + nudge * (tight - limit))
            if point.ok:
                self._known[limit] = replace(point, limit=limit)
                return self._known[limit]
        raise EngineError(f"no plan at {limit:g}, between limits that have one ({point.status})")

    def _solved(self, limit: float) -> Solution:
        """The linear program at a limit, from the last basis where there is one."""
        self._move(limit)
        assert self._engine is not None
        assert self._cutter is not None
        return self._cutter.solve(self._engine, self.limits)

    def free(self) -> Point:
        """The least cost without the limit."""
        self.solves += 1
        if self.lazy:
            return self._anew(float("nan"), [row for row in self.rows if not self._is_own(row)])
        engine, cutter = self.engine(self.without_limit()), Cutter(self.layout, list(self.held), self.part.place)
        engine, solution = cutter.optimum(engine, self.limits)
        self.stopped |= solution.status in ("stopped", "feasible")
        if not solution.has_plan:
            return Point(float("nan"), solution.status)
        return Point(float("nan"), solution.status, solution.objective, 0.0, solution.x)

    def _is_own(self, row: RuleRow) -> bool:
        return row.rule == self.trade.rule and row.bound == self.trade.bound

    def _anew(self, limit: float, rows: Sequence[RuleRow]) -> Point:
        """A point by the ordinary path, built and solved from nothing."""
        solved = solve(self.layout, rows, self.limits)
        self.stopped |= solved.status in ("stopped", "feasible")
        if not solved.has_plan:
            return Point(limit, solved.status)
        slope = float("nan")
        if solved.prices is not None:
            slope = sum(price for n, price in solved.prices.items() if self._is_own(rows[n])) + 0.0
        value = float(solved.engine.program.cost[: self.layout.width] @ solved.x)
        return Point(limit, solved.status, value, slope, solved.x)

    def without_limit(self) -> Program:
        """The part's program with the traded rows off."""
        low, high = self.part.program.row_lower.copy(), self.part.program.row_upper.copy()
        places = [row.place for row in self.linear]
        low[places], high[places] = -np.inf, np.inf
        return replace(self.part.program, row_lower=low, row_upper=high)

    def _limits_at(self, limit: float) -> tuple[Ints, Floats, Floats]:
        places, rates = self.rates
        known = limit * rates - np.array([row.top_constant for row in self.linear])
        none = np.full(len(known), np.inf)
        return (places, -none, known) if self.trade.bound == "max" else (places, known, none)

    def program_at(self, limit: float) -> Program:
        """The part's program at a limit (without the tangents of cones)."""
        program = self.part.program
        places, low, high = self._limits_at(limit)
        lower, upper = program.row_lower.copy(), program.row_upper.copy()
        lower[places], upper[places] = low, high
        matrix = program.matrix
        if self.varying:
            data = matrix.data.copy()
            for row in self.linear:
                data[row.entries] = row.top - limit * row.per_limit
            matrix = sparse.csc_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
        return replace(program, matrix=matrix, row_lower=lower, row_upper=upper)

    def _rules_at(self, limit: float) -> list[RuleRow]:
        """The cones of the part, those whose limit moves first."""
        return [*(replace(row, limit=limit) for row in self.cones), *self.held]

    def _whole(self, limit: float) -> Point:
        """A point with whole numbers, solved anew."""
        cutter = Cutter(self.layout, self._rules_at(limit), self.part.place)
        program = self.program_at(limit)
        _, solution = cutter.optimum(self.engine(program), self.limits)
        self.stopped |= solution.status in ("stopped", "feasible")
        if not solution.has_plan:
            return Point(limit, solution.status)
        x = self._without_idle(solution.x)
        return Point(limit, solution.status, float(program.cost @ x), float("nan"), x)

    def _without_idle(self, x: Floats) -> Floats:
        """The values with what is reported as 0 not used either, and so not paid for."""
        known = np.flatnonzero(self.part.place >= 0)
        wide = without_idle(spread(x, self.part.place), self.layout)
        x = x.copy()
        x[self.part.place[known]] = wide[known]
        return x

    def _move(self, limit: float) -> None:
        """Bring the warm engine to a limit."""
        many = self._cutter is not None and len(self._cutter.cuts) > MOST_CUTS
        if self._engine is None or many or (self.varying and self.cones):
            self._engine = self.engine(self.program_at(limit))
            self._cutter = Cutter(self.layout, self._rules_at(limit), self.part.place)
            return
        engine, cutter = self._engine, self._cutter
        assert cutter is not None
        if self.linear:
            engine.change_limits(*self._limits_at(limit))
        for row in self.linear:
            if len(row.columns):
                at = np.full(len(row.columns), row.place)
                engine.change_coefficients(at, row.columns, row.top - limit * row.per_limit)
        if self.cones:
            cutter.rows = self._rules_at(limit)
            moved = [k for k, cut in enumerate(cutter.cuts) if cut.row < len(self.cones)]
            if moved:
                roots = np.array([cutter.rows[cutter.cuts[k].row].base.constant * limit**0.5 for k in moved])
                places = self.part.program.matrix.shape[0] + np.array(moved)
                engine.change_limits(places, np.full(len(roots), -np.inf), roots)

    def _slope(self, solution: Solution, limit: float) -> float:
        """d value / d limit: the price of each row times its base (envelope theorem; a cone: T / (2 sqrt limit))."""
        if solution.prices is None:
            raise EngineError("a linear program without prices")
        slope = sum(float(solution.prices[row.place]) * row.base.value(solution.x) for row in self.linear)
        assert self._cutter is not None
        height = self.part.program.matrix.shape[0]
        wide = spread(solution.x, self.part.place) if self.cones else np.zeros(0)
        for k, cut in enumerate(self._cutter.cuts):
            if cut.row < len(self.cones) and limit > 0:
                base = self.cones[cut.row].base.value(wide)
                slope += float(solution.prices[height + k]) * base / (2 * limit**0.5)
        return slope + 0.0
