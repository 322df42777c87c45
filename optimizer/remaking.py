"""The least-cost plan made knowing a loss: only the parts of the program that the loss takes something from.

A part shares nothing with the rest of the program (optimizer/parts.py), so what the loss does not touch stays as it
is. Rules hold, but for survive rules: the disruption is the one that is known. Each part keeps its engine warm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.case import Case, Floats
from models.costs import cost_entries
from models.disruptions import Effect
from models.lanes import Ints
from models.layout import Layout, lay_out
from models.rule_rows import RuleRow, RuleRows
from optimizer.compiling import compile_model
from optimizer.cutting import Cutter
from optimizer.engine import Engine, Limits
from optimizer.parts import Part, Parts, cone_ties
from optimizer.program import Program
from optimizer.solving import column_units, tie_break, without_idle
from optimizer.stamping import stamp


@dataclass
class _Warm:
    """A part with its engine. ``entries``: its production entries; ``columns``: their columns in it. ``known``: what
    it costs more in each year, by what is left of the entries and what they cost then.
    """

    part: Part
    engine: Engine
    cutter: Cutter
    entries: Ints
    columns: Ints
    x: Floats
    known: dict[bytes, Floats | None]


class Remaking:
    """Plans remade, over the program of one case; ``usd_per_y``: cost of the plan without any loss, by year."""

    def __init__(self, layout: Layout, rows: Sequence[RuleRow], limits: Limits) -> None:
        self.layout, self.limits = layout, replace(limits, threads=1)  # like every response: small programs
        self.rows = [row for row in rows if row.kind != "survive"]
        self._formulated: dict[bytes, Program] = {}
        self._warm: dict[int, _Warm] = {}
        self.program = stamp(layout, self.rows, compile_model, self._formulated)
        self.units = column_units(self.program, layout, np.arange(layout.width))
        self.ties = tie_break(self.program, layout, np.arange(layout.width))
        cutter = Cutter(layout, self.rows, np.arange(layout.width))
        engine, solution = cutter.optimum(Engine(self.program, self.units, None, self.ties), limits)
        self.status, self.ok = solution.status, solution.has_plan
        if not self.ok:
            return
        self.x = np.concatenate([without_idle(solution.x[: layout.width], layout), solution.x[layout.width :]])
        self.made = self.x[: layout.sizes["production"]]
        unmet = [place for place, _ in self.program.names.places("unmet")]
        self.parts = Parts(engine.program, cone_ties(self.rows), unmet)
        self.whole = bool(self.program.integer.any())
        self.usd = _usd_by_year(layout)
        self.price = _production_price(layout)
        self.usd_per_y: Floats = self.usd @ self.x[: layout.width]

    def without(self, effects: Sequence[Effect]) -> Floats | None:
        """USD a year (undiscounted) by horizon year of the plan made knowing what is left in each, at what cost; None
        where demand without a price or a rule cannot be met.
        """
        layout = self.layout
        at = layout.production_year, layout.production_supplier
        left = np.array([effect.available_share for effect in effects])[at]
        more = (np.array([effect.cost_multiple for effect in effects])[at] - 1.0) * self.price
        asks_more = any((effect.demand_multiple != 1).any() for effect in effects)
        partly = (left > 0) & (left < 1)
        if self.whole or asks_more or partly[layout.grown[0]].any():  # part of an expansion: a coefficient
            return self._anew(effects)
        total = self.usd_per_y.copy()
        # with less to be had, at no lower cost, what is not used changes nothing
        short = self.made > left * self.program.upper[: len(left)]
        touched = np.flatnonzero((left < 1) & short | (more != 0) & (self.made > 0) | (more < 0))
        for label in np.unique(self.parts.of_column[touched]).tolist():
            change = self._change(label, left, more)
            if change is None:
                return None
            total += change
        return total

    def _change(self, label: int, left: Floats, more: Floats) -> Floats | None:
        """What a part costs more in each year, USD, where some production is lost or costs ``more`` USD a tonne."""
        warm = self._part(label)
        key: bytes = left[warm.entries].tobytes() + more[warm.entries].tobytes()
        if key not in warm.known:
            warm.known[key] = self._solve(warm, left[warm.entries], more[warm.entries])
        found: Floats | None = warm.known[key]
        return found

    def _part(self, label: int) -> _Warm:
        if label not in self._warm:
            part = self.parts.part(label)
            own = np.flatnonzero(part.columns < self.layout.sizes["production"])  # production comes first
            rows = [
                row if row.kind != "hhi" or self.parts.of_column[_first(row)] == label
                else replace(row, kind="elsewhere") for row in self.rows
            ]  # fmt: skip
            engine = Engine(part.program, self.units[part.columns], None, self.ties[part.columns])
            cutter = Cutter(self.layout, rows, part.place)
            self._warm[label] = _Warm(part, engine, cutter, part.columns[own], own, self.x[part.columns], {})
        return self._warm[label]

    def _solve(self, warm: _Warm, left: Floats, more: Floats) -> Floats | None:
        """Solve a part with what is left of its production, at what it costs then, from its last basis."""
        program, columns, layout = warm.part.program, warm.columns, self.layout
        upper, lower = program.upper[columns] * left, program.lower[columns]
        lower = np.where(left < 1, np.minimum(lower, layout.production_capacity_t[warm.entries] * left), lower)
        now = warm.engine.program
        moved = np.flatnonzero((now.upper[columns] != upper) | (now.lower[columns] != lower))
        warm.engine.change_bounds(columns[moved], lower[moved], upper[moved])
        year = layout.production_year[warm.entries]
        cost = program.cost[columns] + more * layout.case.weights[year]
        dearer = np.flatnonzero(now.cost[columns] != cost)
        if len(dearer):
            warm.engine.change_costs(columns[dearer], cost[dearer])
        solution = warm.cutter.solve(warm.engine, self.limits)
        if not solution.has_plan:
            return None
        own = warm.part.columns < layout.width
        moved_t = solution.x[own] - warm.x[own]
        paid = np.bincount(year, weights=more * solution.x[columns], minlength=len(layout.case.years))
        return np.asarray(self.usd[:, warm.part.columns[own]] @ moved_t + paid)

    def _anew(self, effects: Sequence[Effect]) -> Floats | None:
        """A plan where prices, requirements or parts of capacities change: the whole program at other numbers."""
        layout, multiple = disrupted(self.layout, effects)
        today = {(row.mineral, row.material, row.year): -row.top.constant for row in self.rows if row.kind == "budget"}
        rows = [row for row in RuleRows(layout, today).rows if row.kind != "survive"]
        program = stamp(layout, rows, compile_model, self._formulated)
        more = (multiple - 1.0) * _production_price(layout)
        cost = program.cost.copy()
        cost[: len(more)] += more * layout.case.weights[layout.production_year]
        cutter = Cutter(layout, rows, np.arange(layout.width))
        units, ties = (make(program, layout, np.arange(layout.width)) for make in (column_units, tie_break))
        _, solution = cutter.optimum(Engine(replace(program, cost=cost), units, None, ties), self.limits)
        if not solution.has_plan:
            return None
        x, years = without_idle(solution.x[: layout.width], layout), len(layout.case.years)
        paid = np.bincount(layout.production_year, weights=more * x[: len(more)], minlength=years)
        return np.asarray(_usd_by_year(layout) @ x + paid)


def _usd_by_year(layout: Layout) -> Floats:
    """Undiscounted USD of one unit of each column in each horizon year; shape (years, columns)."""
    entries, years = cost_entries(layout), len(layout.case.years)
    found = np.zeros((years, layout.width))
    np.add.at(found, (entries.year, entries.columns), entries.usd_per_unit)
    return found


def _production_price(layout: Layout) -> Floats:
    """cost_usd_per_t of each production entry, which a cost multiple multiplies."""
    return np.asarray(layout.case.by_year("cost_usd_per_t")[layout.production_supplier, layout.production_year])


def _first(row: RuleRow) -> int:
    """A column of an HHI row."""
    columns = row.base.columns if len(row.base.columns) else row.top.columns
    return int(columns[0])


def disrupted(layout: Layout, effects: Sequence[Effect]) -> tuple[Layout, Floats]:
    """The layout of what is left of capacities and expansions, with changed requirements; and the factor on the cost
    of each of its production entries. One effect a horizon year.
    """
    left = np.array([effect.available_share for effect in effects])
    multiple = np.array([effect.cost_multiple for effect in effects])
    case = scaled_demand(layout.case, effects[0].demand_multiple)
    if case is not layout.case:
        layout = lay_out(case)
    at = layout.production_year, layout.production_supplier
    growth = replace(layout.growth, usable=layout.growth.usable * left.T[:, None, :])
    capacity, most = layout.production_capacity_t * left[at], layout.production_upper_t * left[at]
    changed = replace(
        layout, growth=growth, production_capacity_t=capacity, production_upper_t=most,
        production_lower_t=np.minimum(layout.production_lower_t, capacity),
    )  # fmt: skip
    return changed, multiple[at]


def scaled_demand(case: Case, multiple: Floats) -> Case:
    """The case with every requirement times the factor of its market and material; shape (markets, materials)."""
    if (multiple == 1).all():
        return case
    markets = {name: place for place, name in enumerate(case.markets)}
    code = {name: place for place, name in enumerate(case.materials["material"])}
    table = case.tables["demand"]
    factor = np.array([multiple[markets[k], code[m]] for k, m in zip(table["market"], table["material"], strict=True)])
    demand = table.assign(required_t=table["required_t"] * factor)
    return case.with_(tables={**case.tables, "demand": demand})
