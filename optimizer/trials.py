"""One part of a case's program, asked over and over: is there a plan with these limits held and those let go?"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from models.case import Floats
from models.rule_rows import RuleRow
from models.rules import Cut
from optimizer.case_limits import CaseLimit, CaseProgram, set_limit
from optimizer.cutting import Cutter, relimited
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
    """A part with its limits, kept warm in the solver. Every limit that a question does not hold is let go.

    ``ends``: the time (of ``time.perf_counter``) at which every further question is left open. ``own``: the limits
    of the part. ``rows``: the rule rows of the whole, at the values that they have here.
    """

    whole: CaseProgram
    part: Part
    limits: Limits
    ends: float
    own: Sequence[CaseLimit]
    rows: Sequence[RuleRow] = ()

    def __post_init__(self) -> None:
        numbers = {limit.number for limit in self.own}
        # HHI rows hold through tangents alone: only those of this part are looked at
        self.rows = self.rows or [
            row if row.kind != "hhi" or number in numbers else replace(row, kind="elsewhere")
            for number, row in enumerate(self.whole.rows)
        ]
        self.program = self.part.program
        self.unit = self.whole.unit[self.part.columns]
        self.integer = bool(self.program.integer.any())
        self.cutter = self._cutter()
        self.engine: Engine | None = None
        self.cuts: list[Cut] = []

    @cached_property
    def rule_place(self) -> dict[int, int]:
        """Row of the part for each rule row that is one."""
        families = ("rule_row", "supplier_count", "provenance_row")
        return {index: at for family in families for at, index in self.program.rows.places(family)}

    def relaxed(self) -> Trial:
        """The same part with its whole numbers let go."""
        program = replace(self.program, integer=np.zeros_like(self.program.integer))
        return replace(self, part=replace(self.part, program=program))

    def at(self, values: Mapping[CaseLimit, float]) -> Trial:
        """The same part with limits at other values. All but rules are then held for good."""
        if not values:
            return self
        program, rows = self.program, list(self.rows)
        matrix = program.matrix
        if any(limit.what == "rule" for limit in values):
            matrix = matrix.copy()
        program = replace(
            program, matrix=matrix, lower=program.lower.copy(), upper=program.upper.copy(),
            row_lower=program.row_lower.copy(), row_upper=program.row_upper.copy(),
        )  # fmt: skip
        for limit, value in values.items():
            if limit.what == "rule":
                old = rows[limit.number]
                rows[limit.number] = new = replace(old, limit=value)
                if old.kind == "suppliers":
                    side = program.row_lower if old.bound == "min" else program.row_upper
                    side[self.rule_place[limit.number]] = value
                elif old.kind != "hhi":
                    set_limit(program, self.rule_place[limit.number], self._local(old), self._local(new))
            elif limit.direct:
                program.upper[self.part.place[limit.reach[0][0]]] = value
            else:
                for (column, _, _), moved in zip(limit.switches, _moved(limit, value), strict=True):
                    program.upper[self.part.place[column]] = moved
                    if limit.what == "demand":
                        program.lower[self.part.place[column]] = moved
        left = [limit for limit in self.own if limit.what == "rule" or limit not in values]
        made = replace(self, part=replace(self.part, program=program), own=left, rows=rows)
        made.cuts = [relimited(cut, rows[cut.row]) for cut in self.cutter.cuts]
        vars(made)["rule_place"] = self.rule_place
        return made

    def ask(self, held: Iterable[CaseLimit]) -> Answer:
        """Any plan with these limits held and all others let go."""
        upper = self._upper(set(held))
        if self.integer:
            return self._run(replace(self.program, upper=upper))
        if self._left() <= 0:
            return Answer(None, np.zeros(0))
        if self.engine is None:
            self.engine = Engine(replace(self.program, upper=upper), self.unit)
            self.cutter.give(self.engine, self.cuts)
            self.cutter.cuts = list(self.cuts)
        moved = np.flatnonzero(self.engine.program.upper != upper)
        if len(moved):
            self.engine.change_bounds(moved, self.program.lower[moved], upper[moved])
        return self._read(self.cutter.solve, self.engine)

    def least(
        self, let_go: Mapping[CaseLimit, float], held: Iterable[CaseLimit], both_ways: bool = False
    ) -> Answer:  # fmt: skip
        """The plan in which some limits give way by as little as possible, each at its cost a unit.

        ``both_ways``: a rule may also be kept by more than it asks, which counts as giving way by less than nothing.
        """
        upper, lower = self._upper(set(held) - let_go.keys()), self.program.lower
        cost = np.zeros(len(upper))
        for limit, value in let_go.items():
            for column, _ in limit.reach:
                cost[self.part.place[column]] += value
        if both_ways:
            lower = lower.copy()
            lower[[self.part.place[column] for limit in let_go for column, _ in limit.reach]] = -np.inf
        return self._run(replace(self.program, upper=upper, lower=lower, cost=cost))

    def _upper(self, held: Container[CaseLimit]) -> Floats:
        """Upper bounds with limits held or let go."""
        upper = self.program.upper.copy()
        for limit in self.own:
            for column, tight, loose in limit.switches:
                upper[self.part.place[column]] = tight if limit in held else loose
        return upper

    def _cutter(self) -> Cutter:
        made = Cutter(self.whole.layout, self.rows, self.part.place)
        made.slack_column = {
            number: int(self.part.place[column]) for number, column in self.whole.slack.items()
            if self.part.place[column] >= 0
        }  # fmt: skip
        return made

    def _local(self, row: RuleRow) -> RuleRow:
        place = self.part.place
        top, base = row.top, row.base
        return replace(
            row, top=replace(top, columns=place[top.columns]), base=replace(base, columns=place[base.columns])
        )

    def _run(self, program: Program) -> Answer:
        """One solve in an engine of its own, with the tangents found so far."""
        if self._left() <= 0:
            return Answer(None, np.zeros(0))
        engine, cutter = Engine(program, self.unit), self._cutter()
        known = self.cutter.cuts or self.cuts
        if known and not self.integer:
            cutter.give(engine, known)
            cutter.cuts = list(known)
        return self._read(lambda engine, limits: cutter.optimum(engine, limits)[1], engine)

    def _left(self) -> float:
        return self.ends - time.perf_counter()

    def _limits(self) -> Limits:
        left = max(0.01, self._left())
        return replace(self.limits, seconds=left, presolve=self.integer)

    def _read(self, solve: Callable[[Engine, Limits], Solution], engine: Engine) -> Answer:
        """One run; what lies between a plan and none by less than the solver can tell is left open."""
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
        return min(max(value, 0.0), 1.0) if limit.kind in ("share", "each_share", "provenance") else value
    if limit.what == "demand":
        return max(0.0, value + room if value > limit.limit else value - room)
    return max(0.0, value - room) if limit.what == "minimum" else value + room
