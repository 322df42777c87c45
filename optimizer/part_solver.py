"""A part of a solved case, warm in the solver, asked again with one of its numbers elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from models.case import Floats
from models.lanes import Ints
from models.layout import Layout
from models.rule_rows import RuleRow
from models.rules import Cut, SurviveCut
from optimizer.case_limits import set_limit
from optimizer.cutting import Cutter, relimited
from optimizer.engine import Engine, Limits, Ranges, Solution
from optimizer.parts import Part
from optimizer.program import Names, Program
from optimizer.surviving import Survival

CUT = ("hhi", "survive")  # rules that hold through cuts alone
Steps = tuple[Ints, Floats]  # places, and by how much each moves
NO_STEPS: Steps = (np.zeros(0, dtype=np.int64), np.zeros(0))


@dataclass(frozen=True)
class Parameter:
    """One number of a case, as what moves with it in a part: by so much for each unit of it.

    ``at``: its value now; ``least`` and ``most``: what it can sensibly be. ``rows``: right sides; ``upper`` and
    ``lower``: bounds of columns; ``cost``: costs of columns. ``bent``: rule rows that move with it in more than their
    right side (an HHI row, or a denominator that varies): (rule row, steps of its limit, steps of its denominator).
    ``removable``: whether there can be no such limit at all.
    """

    at: float
    rows: Steps = NO_STEPS
    upper: Steps = NO_STEPS
    lower: Steps = NO_STEPS
    cost: Steps = NO_STEPS
    bent: tuple[tuple[int, float, float], ...] = ()
    least: float = 0.0
    most: float = np.inf
    removable: bool = True


@dataclass(frozen=True)
class Point:
    """The optimum of a part at one value of a parameter: discounted cost, d cost / d parameter, and quantities."""

    at: float
    usd: float
    price: float
    x: Floats


class PartSolver:
    """One part. ``rows``: the rule rows of the whole; of those that hold through cuts, the ones elsewhere are left out.

    ``whole``: the program that the part is of, which the responses to losses are made from. ``cuts`` and
    ``survive_cuts``: those found so far.
    """

    def __init__(
        self, layout: Layout, part: Part, unit: Floats, rows: Sequence[RuleRow], cuts: Sequence[Cut], limits: Limits,
        whole: Program, survive_cuts: Sequence[SurviveCut] = (),
    ) -> None:  # fmt: skip
        self.layout, self.part, self.limits = layout, part, replace(limits, presolve=False)
        self.program, self.unit = part.program, unit[part.columns]
        self.place = part.place[: layout.width]
        self.inside = {number for number, row in enumerate(rows) if row.kind in CUT and self._has(row)}
        self.rows = [
            row if row.kind not in CUT or number in self.inside else replace(row, kind="elsewhere")
            for number, row in enumerate(rows)
        ]
        families = ("rule_row", "provenance_row")
        self.rule_place = {index: at for family in families for at, index in part.program.rows.places(family)}
        self.cuts = [cut for cut in cuts if cut.row in self.inside]
        self.survives = any(rows[number].kind == "survive" for number in self.inside)
        self.survival = Survival(layout, self.rows, whole) if self.survives else None
        self.survive_cuts = [cut for cut in survive_cuts if cut.weights.keys() & self.inside]
        self.warm: tuple[Engine, Cutter] | None = None
        self.last: tuple[Engine, Cutter] | None = None
        self.solves = 0
        self._ranges: Ranges | None = None

    def _has(self, row: RuleRow) -> bool:
        """Whether what a rule row is about lies in the part."""
        if row.kind == "hhi":
            return any(bool((self.place[terms.columns] >= 0).any()) for _, terms, _ in row.groups)
        layout = self.layout
        flows = (layout.flow_material == layout.material_code[row.material]) & (
            layout.flow_year == layout.case.years.index(row.year)
        )
        return bool((self.place[layout.offsets["flow"] + np.flatnonzero(flows)] >= 0).any())

    def solve(self, program: Program | None = None, rows: Sequence[RuleRow] | None = None) -> Solution:
        """The optimum of the part's program, or of one with other numbers; another matrix or other rules start anew."""
        program = program or self.program
        self.solves += 1
        if rows is not None or program.matrix is not self.program.matrix:
            self.last = self._start(program, rows or self.rows)
        else:
            if self.warm is None:
                self.warm = self._start(program, self.rows)
            else:
                self._move(self.warm[0], program)
            self.last = self.warm
        engine, cutter = self.last
        solution = cutter.solve(engine, self.limits)
        if rows is None:
            self.cuts, self.survive_cuts = list(cutter.cuts), list(cutter.survive_cuts)
        return solution

    def _start(self, program: Program, rows: Sequence[RuleRow]) -> tuple[Engine, Cutter]:
        engine, cutter = Engine(program, self.unit), Cutter(self.layout, rows, self.place)
        if self.survival is not None:
            cutter.survival = copy(self.survival)
            cutter.survival.rows = rows
        self._give(engine, cutter)
        return engine, cutter

    def _give(self, engine: Engine, cutter: Cutter) -> None:
        """The cuts found so far, at the limits that the rule rows have now."""
        rows = cutter.rows
        cutter.cuts = [relimited(cut, rows[cut.row]) for cut in self.cuts if rows[cut.row].kind == "hhi"]
        cutter.give(engine, cutter.cuts)
        cutter.survive_cuts = [
            replace(cut, limit=cut.limit - sum(
                weight * (rows[number].limit - self.rows[number].limit) for number, weight in cut.weights.items()
            ))
            for cut in self.survive_cuts if all(rows[number].kind == "survive" for number in cut.weights)
        ]  # fmt: skip
        cutter.give_survive(engine, cutter.survive_cuts)

    def _move(self, engine: Engine, program: Program) -> None:
        """Give the engine what differs from the last question."""
        last, height = engine.program, len(program.row_lower)
        costs = np.flatnonzero(last.cost != program.cost)
        if len(costs):
            engine.change_costs(costs, program.cost[costs])
        columns = np.flatnonzero((last.lower != program.lower) | (last.upper != program.upper))
        if len(columns):
            engine.change_bounds(columns, program.lower[columns], program.upper[columns])
        low, high = last.row_lower[:height], last.row_upper[:height]
        rows = np.flatnonzero((low != program.row_lower) | (high != program.row_upper))
        if len(rows):
            engine.change_limits(rows, program.row_lower[rows], program.row_upper[rows])

    def moved(self, parameter: Parameter, at: float) -> tuple[Program, list[RuleRow] | None]:
        """The part's program (and rule rows, where these change) with a parameter at a value; infinite: limit gone."""
        program, shift = self.program, at - parameter.at
        program = replace(
            program, row_lower=program.row_lower.copy(), row_upper=program.row_upper.copy(),
            lower=program.lower.copy(), upper=program.upper.copy(), cost=program.cost.copy(),
        )  # fmt: skip
        for values, (places, steps) in (
            (program.row_lower, parameter.rows), (program.row_upper, parameter.rows),
            (program.upper, parameter.upper), (program.lower, parameter.lower), (program.cost, parameter.cost),
        ):  # fmt: skip
            moving = np.isfinite(values[places]) & (steps != 0)
            values[places[moving]] += steps[moving] * shift
        rows: list[RuleRow] | None = None
        for number, limit, base in parameter.bent:
            old = self.rows[number]
            new = _bent(old, limit * shift if limit else 0.0, base * shift if base else 0.0)
            if old.kind in CUT:
                rows = rows or list(self.rows)
                rows[number] = new
            else:
                program = self._rewritten(program, old, new, self.rule_place[number])
        return program, rows

    def _rewritten(self, program: Program, old: RuleRow, new: RuleRow, place: int) -> Program:
        """The program with a linear rule row at another limit or denominator."""
        if new.kind != old.kind:  # gone
            program.row_lower[place], program.row_upper[place] = -np.inf, np.inf
            return program
        program = replace(program, matrix=program.matrix.copy())
        set_limit(program, place, self._local(old), self._local(new))
        return program

    def _local(self, row: RuleRow) -> RuleRow:
        top = replace(row.top, columns=row.top.columns[:0], coefficients=row.top.coefficients[:0])
        if row.kind != "provenance":  # there the touched tonnes are tags, which stay as they are
            top = replace(row.top, columns=self.place[row.top.columns])
        base = replace(row.base, columns=self.place[row.base.columns])
        return replace(row, top=top, base=base)

    def at(self, parameter: Parameter, at: float) -> Point | None:
        """The optimum with the parameter at a value; None where there is no plan."""
        program, rows = self.moved(parameter, at)
        solution = self.solve(program, rows)
        if not solution.has_plan:
            return None
        price = self.price(parameter, solution, rows or self.rows) if np.isfinite(at) else 0.0
        return Point(at, float(program.cost @ solution.x), price, solution.x)

    def price(self, parameter: Parameter, solution: Solution, rows: Sequence[RuleRow]) -> float:
        """d cost / d parameter, by the prices of all that moves with it (envelope theorem)."""
        prices, reduced = solution.prices, solution.reduced_costs
        assert prices is not None
        assert reduced is not None
        found = float(prices[parameter.rows[0]] @ parameter.rows[1])
        found += float(np.minimum(reduced[parameter.upper[0]], 0.0) @ parameter.upper[1])
        found += float(np.maximum(reduced[parameter.lower[0]], 0.0) @ parameter.lower[1])
        found += float(solution.x[parameter.cost[0]] @ parameter.cost[1])
        for number, limit, base in parameter.bent:
            found += self._price_of_row(number, limit, base, solution, rows[number])
        return found

    def _price_of_row(self, number: int, limit: float, base: float, solution: Solution, row: RuleRow) -> float:
        """What a rule row adds to d cost / d parameter where its limit and denominator move by these steps."""
        prices = solution.prices
        assert prices is not None
        if row.kind not in CUT:
            return float(prices[self.rule_place[number]]) * (limit * self.base_of(row, solution.x) + base * row.limit)
        assert self.last is not None
        engine, cutter = self.last
        if row.kind == "survive":
            places = engine.program.rows.places("survive_cut")
            weighed = [float(prices[at]) * float(cutter.survive_cuts[n].weights.get(number, 0.0)) for at, n in places]
            return -sum(weighed) * limit
        carried = sum(float(prices[at]) for at, n in engine.program.rows.places("hhi_cut") if n == number)
        root = float(row.limit**0.5)
        if not root:
            return float("nan")
        each = limit * self.base_of(row, solution.x) / (2 * root) + base * root
        return carried * float(each)

    def base_of(self, row: RuleRow, x: Floats) -> float:
        """The denominator of a rule row at quantities of the part."""
        return row.base.value(self.part.spread(x)[: self.layout.width])

    def ranges(self) -> Ranges | None:
        """How far right sides and bounds can move with the basis kept (HiGHS ranging); None for a curved part."""
        if self.cuts or self.survives:  # beyond the cuts found so far others lie
            return None
        if self._ranges is None:
            self.solve()
            assert self.warm is not None
            self._ranges = self.warm[0].ranges(self.limits)
        return self._ranges

    def reach(self, parameter: Parameter, way: float) -> float:
        """How far a parameter can go (``way`` +1 or -1) with a plan still there; infinite where there is no end to it.

        For what moves right sides and bounds: a column more, the distance, is made as large as can be.
        """
        program, height, width = self.program, len(self.program.row_lower), len(self.program.cost)
        lower, upper = program.lower.copy(), program.upper.copy()
        low, high = list(program.row_lower), list(program.row_upper)
        extra = [
            (row, width, -way * step)
            for row, step in zip(*(part.tolist() for part in parameter.rows), strict=True) if step
        ]  # fmt: skip
        for (columns, steps), bounds, limits, other, none in (
            (parameter.upper, upper, high, low, np.inf), (parameter.lower, lower, low, high, -np.inf),
        ):  # fmt: skip
            for column, step in zip(columns.tolist(), steps.tolist(), strict=True):
                if step and np.isfinite(bounds[column]):
                    extra += [(len(low), column, 1.0), (len(low), width, -way * step)]
                    limits.append(bounds[column])
                    other.append(-none)
                    bounds[column] = np.inf if none > 0 else min(0.0, bounds[column])
        if not extra:
            return way * np.inf
        old = program.matrix.tocoo()
        at, columns, values = (np.array(part) for part in zip(*extra, strict=True))
        matrix = sparse.csc_array(
            (np.concatenate([old.data, values]), (np.concatenate([old.row, at]), np.concatenate([old.col, columns]))),
            shape=(len(low), width + 1),
        )  # fmt: skip
        stretched = Program(
            matrix, np.array(low), np.array(high), np.append(np.zeros(width), -1.0), np.append(lower, 0.0),
            np.append(upper, np.inf), np.append(program.integer, False),
            program.rows + Names([("moved", range(len(low) - height))]), program.names + Names([("distance", [0])]),
        )  # fmt: skip
        unit = 10.0 ** np.floor(np.log10(max(abs(parameter.at), 1e-6)))
        engine, cutter = Engine(stretched, np.append(self.unit, unit)), Cutter(self.layout, self.rows, self.place)
        cutter.survival = self.survival
        self._give(engine, cutter)
        solution = cutter.solve(engine, self.limits)
        if not solution.has_plan:
            return way * np.inf
        return parameter.at + way * float(solution.x[width])


def _bent(row: RuleRow, limit: float, base: float) -> RuleRow:
    """A rule row with its limit and its denominator moved; gone where that is without end."""
    if not np.isfinite(limit) or not np.isfinite(base):
        return replace(row, kind="elsewhere")
    return replace(row, limit=row.limit + limit, base=replace(row.base, constant=row.base.constant + base))
