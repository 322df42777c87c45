"""One part of a case's program, asked over and over: is there a plan with these limits held and those let go?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.case import Floats
from models.rule_rows import RuleRow
from optimizer.case_limits import CaseLimit, CaseProgram, with_limit
from optimizer.cutting import Cutter
from optimizer.engine import Engine, EngineError, Limits, Solution
from optimizer.parts import Part
from optimizer.program import Program

# A limit found by a solve is given a hair loose, so that the plan at it is inside the solver's tolerance.
HAIR, HHI_HAIR = 1e-8, 1e-6
ZERO = 1e-12  # relative: what is left of a limit that gives way wholly


@dataclass(frozen=True)
class Answer:
    """What a trial gave: ``there`` is True, False, or None where that was not decided; ``x`` over the whole program."""

    there: bool | None
    x: Floats


@dataclass
class Trial:
    """A part with its limits, kept warm in the solver.

    ``ends``: the time (of ``time.perf_counter``) at which every further question is left open. ``own``: the limits
    of the part.
    """

    whole: CaseProgram
    part: Part
    limits: Limits
    ends: float
    own: list[CaseLimit]
    asked: int = 0

    def __post_init__(self) -> None:
        numbers = {limit.number for limit in self.own}
        # HHI rows hold through tangents alone: only those of this part are looked at
        self.rows: list[RuleRow] = [
            row if row.kind != "hhi" or number in numbers else replace(row, kind="elsewhere")
            for number, row in enumerate(self.whole.rows)
        ]
        self.program = self.part.program
        self.unit = self.whole.unit[self.part.columns]
        self.rule_place = {
            index: at for family in ("rule_row", "supplier_count") for at, index in self.program.rows.places(family)
        }
        self.integer = bool(self.program.integer.any())
        self.cutter = self._cutter(self.rows)
        self.engine: Engine | None = None

    def relaxed(self) -> Trial:
        """The same part with its whole numbers let go."""
        program = replace(self.program, integer=np.zeros_like(self.program.integer))
        return Trial(self.whole, replace(self.part, program=program), self.limits, self.ends, self.own)

    def _cutter(self, rows: Sequence[RuleRow]) -> Cutter:
        made = Cutter(self.whole.layout, rows, self.part.place)
        made.slack_column = {
            number: int(self.part.place[column]) for number, column in self.whole.slack.items()
            if self.part.place[column] >= 0
        }  # fmt: skip
        return made

    def ask(self, held: Iterable[CaseLimit]) -> Answer:
        """Any plan with these limits held and all others let go."""
        kept = {id(limit) for limit in held}
        upper = self.program.upper.copy()
        for limit in self.own:
            for column, tight, loose in limit.switches:
                upper[self.part.place[column]] = tight if id(limit) in kept else loose
        if self.integer:
            return self._answer(replace(self.program, upper=upper), self._cutter(self.rows))
        if self._left() <= 0:
            return Answer(None, np.zeros(0))
        if self.engine is None:
            self.engine = Engine(replace(self.program, upper=upper), self.unit)
        moved = np.flatnonzero(self.engine.program.upper != upper)
        if len(moved):
            self.engine.change_bounds(moved, self.program.lower[moved], upper[moved])
        return self._read(self.cutter.solve, self.engine)

    def least(
        self, cost: Mapping[int, float], let_go: Iterable[CaseLimit], held: Iterable[CaseLimit],
        values: Mapping[int, float] | None = None,
    ) -> Answer:  # fmt: skip
        """The plan of least ``cost`` (column of the whole -> cost) with some limits held, others let go at a cost.

        ``values``: place in ``own`` -> the value at which that limit holds, in place of its own.
        """
        program, rows = self._at(values or {}, held, let_go)
        costs = np.zeros(len(program.cost))
        for column, value in cost.items():
            costs[self.part.place[column]] += value
        return self._answer(replace(program, cost=costs), self._cutter(rows), known=not values)

    def holds_at(self, values: Mapping[int, float], held: Iterable[CaseLimit] | None = None) -> Answer:
        """Any plan with limits at other values (place in ``own`` -> value) and the rest held (default: all others)."""
        program, rows = self._at(values, self.own if held is None else held, ())
        return self._answer(program, self._cutter(rows))

    def _at(
        self, values: Mapping[int, float], held: Iterable[CaseLimit], let_go: Iterable[CaseLimit]
    ) -> tuple[Program, list[RuleRow]]:
        """The part's program and rule rows with limits held, let go, or at other values."""
        kept = {id(limit) for limit in held} - {id(limit) for limit in let_go}
        program, rows = self.program, list(self.rows)
        program = replace(
            program, lower=program.lower.copy(), upper=program.upper.copy(), row_lower=program.row_lower.copy(),
            row_upper=program.row_upper.copy(),
        )  # fmt: skip
        for number, limit in enumerate(self.own):
            if number in values:
                program = self._moved_to(program, rows, limit, values[number])
                continue
            for column, tight, loose in limit.switches:
                program.upper[self.part.place[column]] = tight if id(limit) in kept else loose
        return program, rows

    def _moved_to(self, program: Program, rows: list[RuleRow], limit: CaseLimit, value: float) -> Program:
        """The program (and its rule rows) with one limit at another value."""
        if limit.what == "rule":
            old = self.rows[limit.number]
            rows[limit.number] = new = replace(old, limit=value)
            if old.kind == "suppliers":
                side = program.row_lower if old.bound == "min" else program.row_upper
                side[self.rule_place[limit.number]] = value
            elif old.kind != "hhi":
                return with_limit(program, self.rule_place[limit.number], self._local(old), self._local(new))
        elif limit.direct:
            program.upper[self.part.place[limit.reach[0][0]]] = value
        else:
            for (column, _, _), moved in zip(limit.switches, _moved(limit, value), strict=True):
                program.upper[self.part.place[column]] = moved
                if limit.what == "demand":
                    program.lower[self.part.place[column]] = moved
        return program

    def _local(self, row: RuleRow) -> RuleRow:
        place = self.part.place
        top, base = row.top, row.base
        return replace(
            row, top=replace(top, columns=place[top.columns]), base=replace(base, columns=place[base.columns])
        )

    def _answer(self, program: Program, cutter: Cutter, known: bool = False) -> Answer:
        """One solve in an engine of its own; ``known``: with the tangents found so far."""
        if self._left() <= 0:
            return Answer(None, np.zeros(0))
        engine = Engine(program, self.unit)
        if known and self.cutter.cuts:
            cutter.give(engine, self.cutter.cuts)
        return self._read(lambda engine, limits: cutter.optimum(engine, limits)[1], engine)

    def _left(self) -> float:
        return self.ends - time.perf_counter()

    def _limits(self) -> Limits:
        left = max(0.01, self._left())
        return replace(self.limits, seconds=left, presolve=self.integer)

    def _read(self, solve: Callable[[Engine, Limits], Solution], engine: Engine) -> Answer:
        """One run; what lies between a plan and none by less than the solver can tell is left open."""
        self.asked += 1
        try:
            solution = solve(engine, self._limits())
        except EngineError:
            return Answer(None, np.zeros(0))
        if solution.has_plan:
            return Answer(True, self.part.spread(solution.x))
        return Answer(None if solution.status == "stopped" else False, np.zeros(0))

    def proof(self, held: Sequence[CaseLimit]) -> list[CaseLimit]:
        """Those of the limits just found to conflict that the solver's own proof of it needs; all where it has none."""
        engine = self.engine
        ray = None if self.integer or engine is None else engine.ray(self._limits())
        if ray is None:
            return list(held)
        assert engine is not None
        weight = np.abs(engine.program.matrix.T @ ray) * engine.column_unit
        small = 1e-9 * weight.max(initial=0.0)
        return [limit for limit in held if any(weight[self.part.place[c]] > small for c, _, _ in limit.switches)]


def _moved(limit: CaseLimit, value: float) -> list[float]:
    """How far each way past a limit is open at another value: more and less, or the one way that there is."""
    return [max(0.0, sign * (value - limit.limit)) for _, sign in limit.reach]


def measured(limit: CaseLimit, rows: Sequence[RuleRow], x: Floats) -> float:
    """The value of a limit at which the point ``x`` (over the whole program) keeps it, to the digit."""
    if limit.what == "rule":
        return rows[limit.number].value(x)
    value = limit.start + sum(sign * float(x[column]) for column, sign in limit.reach)
    return value if abs(value) > ZERO * limit.limit else 0.0


def loosened(limit: CaseLimit, value: float) -> float:
    """A measured value, a hair looser: what a person can set the limit to."""
    if limit.kind == "suppliers":
        return float(round(value))
    room = (HHI_HAIR if limit.kind == "hhi" else HAIR) * max(abs(value), 1e-3)
    if limit.what == "rule":
        value = value + room if limit.bound == "max" else value - room
        return min(max(value, 0.0), 1.0) if limit.kind in ("share", "each_share") else value
    if limit.what == "demand":
        return max(0.0, value + room if value > limit.limit else value - room)
    return max(0.0, value - room) if limit.what == "minimum" else value + room
