"""A case whose inputs move: compiled once, then each point is a patch and a warm re-solve.

    what_if = WhatIf(case, {"rules.covered.max": (0.2, 1.0), "demand[mineral=lithium].required_t*": (0.7, 1.5)})
    outcome = what_if.at({"rules.covered.max": 0.5, "demand[mineral=lithium].required_t*": 1.0})

What cannot be patched is rebuilt at every point, and ``rebuilds`` says why.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from models.case import Case, Floats
from models.changes import Request, change, current_value
from models.costs import objective
from models.existing import extent
from models.lanes import Ints
from models.layout import Layout, lay_out
from models.problems import CaseError
from models.rule_rows import RuleRow, RuleRows
from optimizer.compiling import compile_model
from optimizer.cutting import Cutter
from optimizer.engine import Engine, Limits, Solution, collection
from optimizer.formulating import weighs_outcomes
from optimizer.patches import Compiled, NotPatched, Patches
from optimizer.program import Program
from optimizer.solving import column_units, solve, tie_break, without_idle
from optimizer.stamping import stamp
from optimizer.status_quo import find_status_quo, has_status_quo

MOST_CUTS = 400  # tangents gathered over many points; beyond it they are found anew


@dataclass
class Outcome:
    """What one point gave.

    ``inputs``: KEY (as in ``--set``) -> value. ``status``: optimal, feasible, infeasible, unbounded or stopped; error
    where the case would be wrong. ``x``: value of every column of ``layout`` (empty without a plan), ``cost``: its
    discounted cost per unit. ``solution`` also has the prices of the engine's rows and the reduced costs. ``case``
    and ``rows`` are the case and its rule rows at this point, made when asked for. ``reason``: why there is no plan,
    in words; "" where there is one. ``patched``: whether the point was a patch; ``cuts``: the rule row of each tangent
    that stood behind the program's own rows; ``highs_seconds``: time inside HiGHS' runs. ``weighed_usd``: the
    objective where disruptions are weighed, else None.
    """

    inputs: Mapping[str, float]
    status: str
    layout: Layout
    what_if: WhatIf
    x: Floats = field(default_factory=lambda: np.zeros(0))
    cost: Floats = field(default_factory=lambda: np.zeros(0))
    solution: Solution | None = None
    reason: str = ""
    patched: bool = False
    cuts: tuple[int, ...] = ()
    highs_seconds: float = 0.0
    weighed_usd: float | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a plan."""
        return self.status in ("optimal", "feasible")

    @property
    def objective_usd(self) -> float | None:
        """Discounted cost of the plan (``weighed_usd``, where disruptions are weighed); None where there is none."""
        if self.weighed_usd is not None and self.ok:
            return self.weighed_usd
        return float(self.cost @ self.x) if self.ok else None

    def cost_usd_per_y(self) -> dict[int, float]:
        """Undiscounted cost by year."""
        case, each = self.layout.case, self.cost * self.x
        return {
            year: float(each[self.layout.column_year == at].sum() / case.weights[at])
            for at, year in enumerate(case.years)
        }

    @cached_property
    def case(self) -> Case:
        """The case at this point."""
        return self.what_if.case_at(self.inputs)

    @cached_property
    def rows(self) -> Sequence[RuleRow]:
        """The rule rows at this point, over ``layout``."""
        return self.what_if.rule_rows(self.case, self.layout)

    @cached_property
    def gradient(self) -> Mapping[str, float]:
        """d objective_usd / d input of each input, for a linear program that was patched; else empty.

        One of several where the point is a kink. A risk weight of an HHI rule is not in it.
        """
        if not self.patched or self.solution is None or self.solution.prices is None:
            return {}
        return self.what_if.gradient(self)


class WhatIf:
    """A case with inputs that move over ranges.

    ``ranges``: KEY -> (lowest, highest) value that will be asked for (a KEY that ends in ``*`` multiplies, in ``+``
    adds), applied in their order. Raises ``CaseError`` for a key or an end that ``--set`` would not take.
    ``rebuilds``: "" where every point is a patch, else why points are rebuilt. ``fork`` gives another one with an
    engine of its own, for a thread. ``engine`` is the engine of the last point.
    """

    def __init__(self, case: Case, ranges: Mapping[str, tuple[float, float]], limits: Limits | None = None) -> None:
        self.case, self.ranges = case, dict(ranges)
        settings = case.settings.solve
        self.limits = limits or Limits(settings.seconds, settings.gap, settings.threads)
        self.premium = any(rule.kind == "budget" and rule.of == "premium" for rule in case.rules)
        nominal = {key: current_value(case, key) for key in self.ranges}
        # An input whose cells differ has no value of its own: it must always be named.
        self.must_name = frozenset(key for key, value in nominal.items() if value is None)
        self.start = {key: self.ranges[key][0] if value is None else value for key, value in nominal.items()}
        self.layout = lay_out(case)
        self.within = extent(case)
        survives = any(rule.kind == "survive" for rule in case.rules)
        self.rebuilds = (
            "a survive rule is solved by cuts of its own" if survives
            else "disruptions are weighed: the responses belong to each point" if weighs_outcomes(self.layout)
            else self._reach()
        )  # fmt: skip
        self.engine: Engine | None = None
        self.cutter: Cutter | None = None
        self.patches: Patches | None = None
        self._formulated: dict[bytes, Program] = {}
        self._home: Any = None  # the basis at the nominal values, from which points that stand alone start
        with collection(on=False):
            try:
                self.patches = None if self.rebuilds else Patches(self.start, self.ranges, self._compiled)
            except NotPatched as reason:
                self.rebuilds = str(reason)
        self._formulated.clear()

    def _reach(self) -> str:
        """Widen ``within`` to both ends of all inputs together; where those make a wrong case, why points are rebuilt.

        Raises ``CaseError`` where one end is wrong by itself.
        """
        try:
            for side in (0, 1):
                self.within |= extent(self.case_at({key: ends[side] for key, ends in self.ranges.items()}))
        except CaseError as error:
            for key, ends in self.ranges.items():
                for end in ends:
                    self.case_at({key: end})
            return f"not all values of the inputs go together: {error.problems[0]}"
        return ""

    @property
    def _patches(self) -> Patches:
        assert self.patches is not None
        return self.patches

    @property
    def _engine(self) -> Engine:
        assert self.engine is not None
        return self.engine

    @property
    def _cutter(self) -> Cutter:
        assert self.cutter is not None
        return self.cutter

    def case_at(self, inputs: Mapping[str, float], check: bool = True) -> Case:
        """The case itself at a point, every input set, in the order of the ranges."""
        named = {key: inputs[key] for key in self.ranges if key in inputs} | dict(inputs)
        return change(self.case, Request(sets=named), check=check) if named else self.case

    def rule_rows(self, case: Case, layout: Layout) -> list[RuleRow]:
        """The rule rows of a case over a layout; a premium is over the status quo of that very case."""
        quo = find_status_quo(case, self.limits) if self.premium and has_status_quo(case) else None
        return RuleRows(layout, quo.cost_usd_per_y() if quo is not None and quo.ok else {}).rows

    def _compiled(self, inputs: Mapping[str, float]) -> Compiled:
        named = {key: inputs.get(key, self.start[key]) for key in self.ranges if key in inputs or key in self.must_name}
        try:
            case = self.case_at(named, check=False)
        except CaseError as error:
            raise NotPatched(f"not all values of the inputs go together: {error.problems[0]}") from error
        layout = lay_out(case, within=self.within)
        rows = self.rule_rows(case, layout)
        program = stamp(layout, rows, compile_model, self._formulated)
        if not inputs:
            self.layout = layout
            self.units = column_units(program, layout, np.arange(layout.width))
            self.ties = tie_break(program, layout, np.arange(layout.width))
        return Compiled(program, rows)

    def fork(self) -> WhatIf:
        """The same inputs with an engine of its own: one for each thread."""
        other = copy.copy(self)
        other.engine = other.cutter = None
        return other

    def at(self, inputs: Mapping[str, float]) -> Outcome:
        """Solve at a point; inputs that are not named stay as the case has them.

        Outside the ranges, and where an input that has no value of its own is not named, the point is rebuilt.
        """
        if not self._patchable(inputs):
            return self._rebuilt(inputs)
        values = self._patches.values(inputs)
        if self._patches.base.program.integer.any():
            return self._with_whole_numbers(inputs, values)
        self._move(values)
        solution = self._cutter.solve(self._engine, self.limits)
        return self._outcome(inputs, solution, solution.x)

    def alone(self, inputs: Mapping[str, float]) -> Outcome:
        """Solve at a point from the basis of the nominal values, as if it were the first point.

        The outcome is the same to the last digit whatever was solved before, in any order, thread or process; ``at``
        goes on from the last point, whose basis, ties and tangents may show in the last digits. Far from the last
        point this is no slower than ``at``. Call ``prepare`` before forks that are used in threads.
        """
        if not self._patchable(inputs) or self._patches.base.program.integer.any():
            return self.at(inputs)
        self.prepare()
        if self.engine is None or self.cutter is None or self.cutter.cuts or self._patches.shape.cones:
            self._begin()
        self._move(self._patches.values(inputs))
        if self._home is not None:
            self._engine.start(self._home)
        solution = self._cutter.solve(self._engine, self.limits)
        return self._outcome(inputs, solution, solution.x)

    def prepare(self) -> None:
        """Find the basis at the nominal values, once; forks made afterwards share it."""
        if self._home is None and not self.rebuilds and not self._patches.base.program.integer.any():
            self._begin()
            solution = self._engine.solve(self.limits)
            self._home = self._engine.basis if solution.has_plan else None

    def _begin(self) -> None:
        """A new engine at the nominal values."""
        self.numbers = self._patches.v0.copy()
        self._restart()

    def _patchable(self, inputs: Mapping[str, float]) -> bool:
        if self.patches is None or not self.must_name <= inputs.keys() <= self.ranges.keys():
            return False
        return all(self.ranges[key][0] <= value <= self.ranges[key][1] for key, value in inputs.items())

    def _outcome(self, inputs: Mapping[str, float], solution: Solution, x: Floats) -> Outcome:
        """A patched point, its numbers copied out of the engine."""
        costs = self._patches.shape.sections["cost"]
        found = Outcome(dict(inputs), solution.status, self.layout, self, solution=solution, patched=True,
                        cost=self.numbers[costs][: self.layout.width].copy(),
                        highs_seconds=self._cutter.seconds)  # fmt: skip
        self._cutter.seconds = 0.0
        if found.ok:
            found.x = x[: self.layout.width]
            found.cuts = tuple(cut.row for cut in self.cutter.cuts) if self.cutter is not None else ()
        else:
            found.reason = self._why(solution.status)
        return found

    def _rebuilt(self, inputs: Mapping[str, float]) -> Outcome:
        """A point compiled from the case itself."""
        try:
            case = self.case_at(inputs)
        except CaseError as error:
            reason = "; ".join(str(problem) for problem in error.problems)
            return Outcome(dict(inputs), "error", self.layout, self, reason=reason)
        layout = lay_out(case)
        rows = self.rule_rows(case, layout)
        solved = solve(layout, rows, self.limits)
        self.engine, self.cutter = solved.engine, None
        found = Outcome(dict(inputs), solved.status, layout, self, solution=solved.solution,
                        cost=solved.engine.program.cost[: layout.width],
                        highs_seconds=solved.seconds["highs"])  # fmt: skip
        if solved.two is not None:
            found.cost = objective(layout)
            found.weighed_usd = solved.solution.objective if solved.solution is not None else None
        if found.ok:
            found.x = solved.x
        else:
            found.reason = why(solved.status, solved.engine, rows, layout, self.limits)
        return found

    def _with_whole_numbers(self, inputs: Mapping[str, float], values: Floats) -> Outcome:
        """A patched program with whole numbers is solved anew; there is no basis to go on from."""
        self.numbers = self._patches.v0.copy()
        self.numbers[self._patches.entries] = values
        self._restart()
        self.engine, solution = self._cutter.optimum(self._engine, self.limits)
        return self._outcome(inputs, solution, without_idle(solution.x, self.layout))

    def _restart(self) -> None:
        """A new engine at the present numbers, without tangents."""
        shape, base = self._patches.shape, self._patches.base
        self.engine = Engine(shape.program(self.numbers, base.program), self.units, None, self.ties)
        rows = shape.rule_rows(self.numbers, base.rows)
        self.cutter = Cutter(self.layout, rows, np.arange(self.layout.width))

    def _move(self, values: Floats) -> None:
        """Give the engine the numbers that differ from those of the last point."""
        shape, entries = self._patches.shape, self._patches.entries
        if self.engine is None or self.cutter is None or len(self.cutter.cuts) > MOST_CUTS:
            self.numbers = self._patches.v0.copy()
            self.numbers[entries] = values
            self._restart()
            return
        moved = values != self.numbers[entries]
        self.numbers[entries] = values
        part = {name: local[moved[inside]] for name, (inside, local) in self._patches.parts.items()}
        now = {name: self.numbers[shape.sections[name]] for name in shape.sections}
        if len(part.get("cones", ())) and not self._move_cones():
            return
        columns = part.get("cost", _NONE)
        if len(columns):
            self.engine.change_costs(columns, now["cost"][columns])
        columns = _both(part, "lower", "upper")
        if len(columns):
            self.engine.change_bounds(columns, now["lower"][columns], now["upper"][columns])
        rows = _both(part, "row_lower", "row_upper")
        if len(rows):
            self.engine.change_limits(rows, now["row_lower"][rows], now["row_upper"][rows])
        places = part.get("entries", _NONE)
        if len(places):
            columns, rows = np.divmod(shape.keys[places], shape.height)
            self.engine.change_coefficients(rows, columns, now["entries"][places])

    def _move_cones(self) -> bool:
        """New limits of the tangents gathered so far; where more than that changes, a new engine (False)."""
        shape, engine, cutter = self._patches.shape, self._engine, self._cutter
        rows = shape.rule_rows(self.numbers, self._patches.base.rows)
        for number in shape.cones:
            old, new = cutter.rows[number], rows[number]
            weights = [w for _, _, w in old.groups] != [w for _, _, w in new.groups]
            if weights or (old.limit != new.limit and len(new.base.columns)):
                self._restart()
                return False
        cutter.rows = rows
        if cutter.cuts:
            limits = np.array([rows[cut.row].limit ** 0.5 * rows[cut.row].base.constant for cut in cutter.cuts])
            places = shape.height + np.arange(len(limits))
            engine.change_limits(places, np.full(len(limits), -np.inf), limits)
        return True

    def _why(self, status: str) -> str:
        return why(status, self._engine, self._cutter.rows, self.layout, self.limits)

    def gradient(self, outcome: Outcome) -> Mapping[str, float]:
        """d objective_usd / d input at a patched point, by the envelope theorem: prices times what the input moves."""
        patches = self._patches
        shape = patches.shape
        numbers = patches.v0.copy()
        numbers[patches.entries] = patches.values(outcome.inputs)
        prices, reduced, x = _prices(outcome)
        prices = prices[: shape.height]
        column, row = np.divmod(shape.keys, shape.height)
        worth = np.concatenate([
            x, np.maximum(reduced, 0.0), np.minimum(reduced, 0.0), np.maximum(prices, 0.0), np.minimum(prices, 0.0),
            -prices[row] * x[column], self._worth_of_cones(outcome, numbers),
        ])  # fmt: skip
        return patches.gradient(outcome.inputs, worth[patches.entries])

    def _worth_of_cones(self, outcome: Outcome, numbers: Floats) -> Floats:
        """d objective / d limit and / d constant of each HHI row: what its tangents carry."""
        shape, prices = self._patches.shape, _prices(outcome)[0]
        carried: dict[int, float] = {}
        for place, number in enumerate(outcome.cuts, shape.height):
            carried[number] = carried.get(number, 0.0) + float(prices[place])
        worth = []
        rows = shape.rule_rows(numbers, self._patches.base.rows)
        for number in shape.cones:
            price, row = carried.get(number, 0.0), rows[number]
            root = row.limit**0.5
            worth += [price * row.base.value(outcome.x) / (2 * root) if root else 0.0, price * root]
            worth += [0.0] * len(row.groups)
        return np.array(worth)


_NONE = np.zeros(0, dtype=np.int64)


def _both(part: Mapping[str, Ints], one: str, other: str) -> Ints:
    """Places that move on either of two sides."""
    if one in part and other in part:
        return np.union1d(part[one], part[other])
    return part.get(one, part.get(other, _NONE))


def _prices(outcome: Outcome) -> tuple[Floats, Floats, Floats]:
    """Prices of the rows, reduced costs and values of the columns of a solved linear program."""
    solution = outcome.solution
    assert solution is not None
    assert solution.prices is not None
    assert solution.reduced_costs is not None
    return solution.prices, solution.reduced_costs, solution.x


def why(status: str, engine: Engine, rows: Sequence[RuleRow], layout: Layout, limits: Limits) -> str:
    """Why a point has no plan, in words: the rules and demands that carry the proof that there is none."""
    if status != "infeasible":
        return {"stopped": "no plan found in the time allowed", "unbounded": "costs fall without end"}.get(status, "")
    ray = engine.ray(limits)
    if ray is None:
        return "no plan can meet the rules and the demand together"
    case, program = layout.case, engine.program
    materials, named = case.materials["material"].to_numpy(), []
    for place in np.flatnonzero(np.abs(ray) > 1e-9 * np.abs(ray).max(initial=0.0)).tolist():
        family, index = program.rows[place]
        if family in ("rule_row", "hhi_cut", "supplier_count"):
            row = rows[index]
            about = " ".join(filter(None, (row.material or row.mineral, row.member, str(row.year))))
            named.append(f"rule {row.rule} ({about})")
        elif family == "requirement_met":
            named.append(f"demand for {materials[index[1]]} {case.years[index[2]]}")
    listed = sorted(dict.fromkeys(named), key=lambda words: words.startswith("demand"))
    if not listed:
        return "capacities and minimums cannot hold together"
    more = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
    return "cannot hold together: " + ", ".join(listed[:6]) + more
