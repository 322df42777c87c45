"""From a layout and its rules to an optimum: compile, cut HHI cones, fix whole numbers, read prices."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.build import build
from models.case import Floats
from models.lanes import Ints
from models.layout import FAMILIES, Layout
from models.rule_rows import RuleRow
from models.rules import Cut, tangent
from optimizer.engine import Certificate, Engine, EngineError, Limits, Program, Solution, compile_model

_STALL = 1e-12


@dataclass
class Solved:
    """An optimum (or the lack of one) over a layout: values of its columns and prices of its rule rows."""

    layout: Layout
    rows: Sequence[RuleRow]
    status: str
    x: Floats
    gap: float
    engine: Engine
    columns: Ints
    prices: dict[int, float] | None = None
    certificate: Certificate | None = None
    cuts: list[Cut] = field(default_factory=list)
    iterations: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def whole_numbers(self) -> bool:
        """Whether the model has whole-number decisions."""
        return bool(self.engine.program.integer.any())


def program_columns(program: Program, layout: Layout) -> Ints:
    """Program column of each layout column, -1 where the model does not use it."""
    places = np.full(layout.width, -1, dtype=np.int64)
    for column, (family, index) in enumerate(program.names):
        if family in FAMILIES:
            places[layout.offsets[family] + index] = column
    return places


def column_units(program: Program, layout: Layout, columns: Ints) -> Floats:
    """Size of one scaled unit of each program column: its material's scale in tonnes, 1 for whole numbers."""
    units = np.ones(len(program.names))
    scale = layout.scale_t[layout.column_material]
    scale[layout.columns("used")] = 1.0
    present = columns >= 0
    units[columns[present]] = scale[present]
    return units


def spread(x: Floats, columns: Ints) -> Floats:
    """Program values as layout values (columns that the model does not use are 0)."""
    return np.where(columns >= 0, x[np.maximum(columns, 0)], 0.0) if len(x) else np.zeros(len(columns))


def solve(layout: Layout, rows: Sequence[RuleRow], limits: Limits, log: Path | None = None) -> Solved:
    """The least-cost plan over the layout that keeps the rule rows, or why there is none (``status``)."""
    began = time.perf_counter()
    model = build(layout, rows)
    built = time.perf_counter()
    program = compile_model(model)
    columns = program_columns(program, layout)
    compiled = time.perf_counter()
    engine = Engine(program, column_units(program, layout, columns), log)
    loaded = time.perf_counter()
    cutter = Cutter(layout, rows, columns)
    solution = cutter.solve(engine, limits)
    certified, gap, status = engine, solution.gap, solution.status
    if solution.has_plan and program.integer.any():
        certified, solution = _fix(engine, cutter, solution, limits)
    solved = Solved(
        layout, rows, status if solution.has_plan else solution.status, spread(solution.x, columns),
        gap if solution.has_plan else float("inf"), certified, columns,
        certificate=solution.certificate, cuts=cutter.cuts, iterations=solution.iterations,
        seconds={"build": built - began, "compile": compiled - built, "load": loaded - compiled,
                 "solve": time.perf_counter() - loaded, "highs": cutter.seconds},
    )  # fmt: skip
    if not solution.has_plan:
        solved.x = np.zeros(0)
    elif solution.prices is not None and not program.integer.any():
        solved.prices = rule_prices(solved, solution)
    return solved


def _fix(engine: Engine, cutter: Cutter, solution: Solution, limits: Limits) -> tuple[Engine, Solution]:
    """The LP with whole numbers fixed: exact flows; HHI cuts that it needs are taken back to the MILP."""
    while True:
        lp = engine.fixed(solution.x)
        before = len(cutter.cuts)
        fixed = cutter.solve(lp, limits)
        if fixed.has_plan:
            return lp, fixed
        if len(cutter.cuts) == before:  # rounding alone made it infeasible: the MILP's own point stands
            return lp, solution
        cutter.give(engine, cutter.cuts[before:])
        solution = cutter.solve(engine, limits)
        if not solution.has_plan:
            return engine, solution


@dataclass
class Cutter:
    """Solves, adds the tangents that the point breaks, and solves again until every HHI row holds to 1e-7."""

    layout: Layout
    rows: Sequence[RuleRow]
    columns: Ints
    cuts: list[Cut] = field(default_factory=list)
    seconds: float = 0.0
    slack_column: dict[int, int] = field(default_factory=dict)

    def solve(self, engine: Engine, limits: Limits) -> Solution:
        """The optimum with all HHI rows kept; raises ``EngineError`` if a cut does not move the point."""
        curved = [number for number, row in enumerate(self.rows) if row.kind == "hhi"]
        last = np.zeros(0)
        left = limits.seconds
        while True:
            solution = engine.solve(replace(limits, seconds=max(left, 0.01)))
            self.seconds += solution.seconds
            left -= solution.seconds
            if not solution.has_plan or not curved:
                return solution
            x = spread(solution.x, self.columns)
            cuts = [self._tangent(number, x, solution.x) for number in curved]
            found = [cut for cut in cuts if cut is not None]
            if not found:
                return solution
            if len(last) and np.abs(x - last).max() <= _STALL * max(1.0, float(np.abs(x).max())):
                if all(self._close(number, x) for number in curved):
                    return solution
                raise EngineError("an HHI cut did not move the point: the cone cannot be cut more closely")
            last = x
            self.give(engine, found)
            self.cuts.extend(found)

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
        value = self.rows[number].value(x)
        return not value > self.rows[number].limit * (1 + 9e-7)

    def give(self, engine: Engine, cuts: Sequence[Cut]) -> None:
        """Add the cuts to an engine's program."""
        terms, limits = [], []
        for cut in cuts:
            columns, inverse = np.unique(cut.terms.columns, return_inverse=True)
            values = np.bincount(inverse, weights=cut.terms.coefficients, minlength=len(columns))
            places = self.columns[columns]
            kept = places >= 0
            places, values = places[kept], values[kept]
            if cut.row in self.slack_column:
                places = np.append(places, self.slack_column[cut.row])
                values = np.append(values, -1.0)
            terms.append((places, values))
            limits.append(-cut.terms.constant)
        engine.add_rows(terms, limits, "hhi_cut")


def row_duals(program: Program, solution: Solution, cuts: Sequence[Cut], family: str) -> dict[Any, float]:
    """Price of each row of a family by its index; ``hhi_cut`` by rule row, its cuts added up with their slopes."""
    assert solution.prices is not None
    found: dict[Any, float] = {}
    seen = 0
    for place, (name, index) in enumerate(program.rows):
        if name == "hhi_cut":
            key = cuts[seen].row
            seen += 1
        else:
            key = index
        if name == family:
            found[key] = found.get(key, 0.0) + float(solution.prices[place])
    return found


def rule_prices(solved: Solved, solution: Solution) -> dict[int, float]:
    """d objective / d limit of each rule row: the row's dual times its denominator (envelope theorem).

    For an HHI row, limit H enters its cuts as sqrt(H) * T: the duals add up times T / (2 sqrt(H)).
    """
    program = solved.engine.program
    prices: dict[int, float] = {}
    for family in ("rule_row", "hhi_cut"):
        for number, dual in row_duals(program, solution, solved.cuts, family).items():
            row = solved.rows[number]
            base = row.base.value(solved.x)
            if family == "hhi_cut":
                prices[number] = dual * base / (2 * row.limit**0.5) if row.limit > 0 else float("nan")
            else:
                prices[number] = dual * base
    return prices
