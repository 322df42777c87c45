"""From a layout and its rules to an optimum with prices: build, compile, load, solve."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.case import Floats
from models.lanes import Ints
from models.layout import FAMILIES, Layout
from models.rule_rows import RuleRow
from models.rules import Cut, SurviveCut
from optimizer.certificate import Certificate
from optimizer.cutting import Cutter, spread
from optimizer.engine import Engine, Limits, Solution
from optimizer.formulating import formulate
from optimizer.measures import SMALLEST_T
from optimizer.program import Program
from optimizer.response_cuts import ResponseCuts
from optimizer.surviving import Survival
from optimizer.two_stage import TwoStage, response_units


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
    whole_numbers: bool = False
    solution: Solution | None = None
    survival: Survival | None = None
    survive_cuts: list[SurviveCut] = field(default_factory=list)
    two: TwoStage | None = None
    rounds: int = 0

    @property
    def has_plan(self) -> bool:
        """Whether x is a plan."""
        return self.status in ("optimal", "feasible")


def program_columns(program: Program, layout: Layout) -> Ints:
    """Program column of each layout column, -1 where the model does not use it."""
    places = np.full(layout.width, -1, dtype=np.int64)
    start = 0
    for family, indices in program.names.blocks:
        if family in FAMILIES:
            places[layout.offsets[family] + np.asarray(indices)] = np.arange(start, start + len(indices))
        start += len(indices)
    return places


def column_units(program: Program, layout: Layout, columns: Ints) -> Floats:
    """Size of one scaled unit of each program column: its material's scale in tonnes, 1 for whole numbers."""
    units = np.ones(len(program.names))
    scale = layout.scale_t[layout.column_material]
    scale[layout.columns("used")] = 1.0
    scale[layout.columns("opened")] = 1.0
    present = columns >= 0
    units[columns[present]] = scale[present]
    for place, (_, flow) in program.names.places("touched"):
        units[place] = layout.scale_t[layout.flow_material[flow]]
    response_units(program, layout, units)
    return units


# Relative to what a tonne of the mineral typically costs; far above the solver's tolerance, far below a cent.
TIE_BREAK = 1e-7


def tie_break(program: Program, layout: Layout, columns: Ints) -> Floats:
    """A tiny cost that prefers, among plans of equal cost, the suppliers nearest to today's.

    On production and on flows into markets: half of it falls with incumbent_t / the largest incumbent_t of the
    material, half is pseudo-random by the names, so that neither the order of rows nor other minerals decide, nor a
    capacity that a sweep moves. On expansions and on what moves in and out of stock: no more of it than needed, and
    later rather than earlier. USD a unit.
    """
    case = layout.case
    table = case.suppliers
    cost = table["cost_usd_per_t"].abs().groupby(table["mineral"]).median()
    typical = np.array([float(cost.get(mineral, 0.0)) for mineral in case.materials["mineral"]])
    largest = table["incumbent_t"].groupby(table["material"]).transform("max").to_numpy(dtype=float)
    unlike_today = 1.0 - table["incumbent_t"].to_numpy(dtype=float) / np.maximum(largest, 1e-9)
    by_name = np.array([zlib.crc32(str(name).encode()) / 2**32 for name in table["supplier"]])
    each = 0.5 * unlike_today + 0.5 * by_name
    market = np.flatnonzero(layout.flow_destination >= len(table))
    extra = np.zeros(layout.width)
    extra[layout.columns("production")] = each[layout.production_supplier]
    extra[layout.offsets["flow"] + market] = each[layout.flow_origin[market]]
    for family in ("built", "drawn", "expansion"):
        extra[layout.columns(family)] = 1.0 / (1.0 + layout.year_of(family))
    extra *= TIE_BREAK * typical[layout.column_material] * case.weights[layout.column_year]
    found = np.zeros(len(program.names))
    found[columns[columns >= 0]] = extra[columns >= 0]
    return found


def solve(
    layout: Layout, rows: Sequence[RuleRow], limits: Limits, log: Path | None = None, weighs: bool = True,
    most_rows: float = np.inf,
) -> Solved:  # fmt: skip
    """The least-cost plan over the layout that keeps the rule rows, or why there is none (``status``).

    ``weighs`` off: as if nothing could happen, whatever ``[risk]`` of the case says. ``most_rows``: responses of more
    rows than that are solved one by one, and become cuts; in a program without whole numbers.
    """
    began = time.perf_counter()
    program, own, two = formulate(layout, rows, weighs=weighs, most_rows=most_rows)
    columns = np.arange(layout.width)
    stamped = time.perf_counter()
    engine = Engine(program, column_units(program, layout, columns), log, tie_break(program, layout, columns))
    loaded = time.perf_counter()
    survival = Survival(layout, rows, own)
    cutter = Cutter(layout, rows, columns, survival=survival)
    if two is not None and two.height > most_rows and not program.integer.any():
        cutter.responses = ResponseCuts(two, next(place for place, _ in program.names.places("response_cost")))
        _first_cuts(cutter, engine, own, limits)
    certified, solution = cutter.optimum(engine, limits)
    solved = Solved(
        layout, rows, solution.status, spread(solution.x, columns), solution.gap, certified, columns,
        whole_numbers=bool(program.integer.any()), solution=solution,
        certificate=solution.certificate, cuts=cutter.cuts, iterations=solution.iterations,
        survival=survival, survive_cuts=cutter.survive_cuts, two=two,
        seconds={"stamp": stamped - began, "load": loaded - stamped,
                 "solve": time.perf_counter() - loaded, "highs": cutter.seconds + survival.seconds},
    )  # fmt: skip
    if cutter.responses is not None:
        solved.seconds["responses"] = cutter.responses.wall
        solved.rounds = cutter.responses.rounds
    if solution.has_plan:
        solved.x = without_idle(solved.x, layout)
    else:
        solved.x = np.zeros(0)
    if solution.prices is not None and not program.integer.any():
        solved.prices = rule_prices(solved, solution)
    return solved


def _first_cuts(cutter: Cutter, engine: Engine, own: Program, limits: Limits) -> None:
    """What responses cost at least, and their cuts at the plan made as if nothing could happen."""
    assert cutter.responses is not None
    least = cutter.responses.least()
    costs = cutter.responses.first + np.arange(len(least))
    engine.change_bounds(costs, least, np.full(len(least), np.inf))
    layout, columns = cutter.layout, np.arange(cutter.layout.width)
    units, ties = column_units(own, layout, columns), tie_break(own, layout, columns)
    found = Engine(own, units, None, ties).solve(limits)  # its rules may be broken: it is a plan to start from
    if found.has_plan:
        cutter.answer(engine, cutter.responses.cuts(spread(found.x, columns)))


def without_idle(x: Floats, layout: Layout) -> Floats:
    """The values with what is reported as 0 not used (or opened) either, and so not paid for."""
    if not len(x):
        return x
    x = x.copy()
    idle = x[layout.used_production] < SMALLEST_T
    x[layout.columns("used")[idle]] = 0.0
    if layout.sizes["opened"]:
        added = np.zeros(len(layout.case.suppliers))
        np.add.at(added, layout.expansion_supplier, x[layout.columns("expansion")])
        x[layout.columns("opened")[added[layout.opened_supplier] < SMALLEST_T]] = 0.0
    return x


def row_duals(program: Program, solution: Solution, family: str) -> dict[Any, float]:
    """Price of each row of a family by its index; ``hhi_cut`` by rule row, its cuts added up."""
    assert solution.prices is not None
    found: dict[Any, float] = {}
    for place, index in program.rows.places(family):
        found[index] = found.get(index, 0.0) + float(solution.prices[place])
    return found


def rule_prices(solved: Solved, solution: Solution) -> dict[int, float]:
    """d objective / d limit of each rule row: the row's dual times its denominator (envelope theorem).

    For an HHI row, limit H enters its cuts as sqrt(H) * T: the duals add up times T / (2 sqrt(H)). For a survive
    row, serve enters the limit of each of its cuts with the cut's weight.
    """
    program = solved.engine.program
    prices: dict[int, float] = {}
    for family in ("rule_row", "hhi_cut", "provenance_row"):
        for number, dual in row_duals(program, solution, family).items():
            row = solved.rows[number]
            base = row.base.value(solved.x)
            if family == "hhi_cut":
                prices[number] = dual * base / (2 * row.limit**0.5) if row.limit > 0 else float("nan")
            else:
                prices[number] = dual * base
    for (number, _), price in loss_prices(solved, solution).items():
        prices[number] = prices.get(number, 0.0) + price
    return prices


def loss_prices(solved: Solved, solution: Solution) -> dict[tuple[int, str], float]:
    """(rule row, loss) -> d objective / d serve: the part of the row's price that comes of this loss."""
    found: dict[tuple[int, str], float] = {}
    for number, dual in row_duals(solved.engine.program, solution, "survive_cut").items():
        cut = solved.survive_cuts[number]
        for row, weight in cut.weights.items():
            found[row, cut.loss] = found.get((row, cut.loss), 0.0) - dual * weight
    return found
