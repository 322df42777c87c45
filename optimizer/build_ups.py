"""What a tonne of a supplier costs along its chain, and what limits add, up to what it is worth where it goes.

For every plan of a linear program the two sides are equal: own cost, inputs, freight, duty and collection of the
chain as it runs in the plan, plus the prices of the rules on it, plus what scarce capacities, lanes and feedstock of
the chain are worth, make the price that the plan pays at the place of delivery (complementary slackness).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models.case import Floats
from models.costs import cost_vectors
from models.lanes import Ints
from models.trails import FAMILIES as TRAILS
from models.trails import trail_groups
from optimizer.measures import SMALLEST_T
from optimizer.resolving import Resolved

SMALL = 1e-7  # relative to the largest: an item that is nothing


@dataclass(frozen=True)
class Item:
    """One line of a build-up: what (``cost``, ``rule``, ``scarce``, ``credit`` or ``value``), its name, USD a tonne."""

    what: str
    name: str
    usd_per_t: float


class BuildUps:
    """The build-up of every supplier that is in the plan."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved, self.layout, self.case = resolved, resolved.layout, resolved.case
        self.names = [*(str(name) for name in self.case.suppliers["supplier"]), *self.case.markets]
        self.materials = self.case.materials["material"].to_numpy()
        whole, solution = resolved.solved.engine.program, resolved.solved.solution
        assert solution is not None
        assert solution.prices is not None
        self.rows, self.prices = whole.rows, solution.prices  # with the tangents of HHI rows
        self.by_column = whole.matrix

    @cached_property
    def entry(self) -> Ints:
        """Production entry of each supplier and year, -1 for none."""
        layout = self.layout
        found = np.full((len(self.case.suppliers), len(self.case.years)), -1, dtype=np.int64)
        found[layout.production_supplier, layout.production_year] = np.arange(layout.sizes["production"])
        return found

    @cached_property
    def costs(self) -> list[tuple[str, Floats]]:
        """Each cost family: its name and USD per unit of every column, in the column's own year."""
        found = []
        for name, vector in cost_vectors(self.layout).items():
            each = np.zeros(self.layout.width)
            np.add.at(each, vector.columns, vector.usd_per_unit)
            found.append((name, each))
        return found

    @cached_property
    def flows(self) -> tuple[dict[tuple[int, int], list[int]], dict[tuple[int, int], list[int]]]:
        """(supplier, year) -> flows out of it of its main material, and flows into it."""
        layout = self.layout
        out: dict[tuple[int, int], list[int]] = defaultdict(list)
        into: dict[tuple[int, int], list[int]] = defaultdict(list)
        second = self.case.lanes.is_byproduct[layout.flow_lane]
        carried = self.resolved.x[layout.columns("flow")] >= SMALLEST_T
        for f in np.flatnonzero(carried).tolist():
            year = int(layout.flow_year[f])
            if not second[f]:
                out[int(layout.flow_origin[f]), year].append(f)
            if layout.flow_destination[f] < len(self.case.suppliers):
                into[int(layout.flow_destination[f]), year].append(f)
        return out, into

    @cached_property
    def draws(self) -> dict[tuple[int, int], int]:
        """(supplier, year) -> its draw from a pool."""
        layout = self.layout
        keys = zip(layout.draw_supplier.tolist(), layout.draw_year.tolist(), strict=True)
        return {key: i for i, key in enumerate(keys)}

    def chain(self, supplier: int, at: int) -> dict[int, float]:
        """Column -> tonnes for one tonne of the supplier, delivered as the plan delivers it, back to the mines."""
        layout, x = self.layout, self.resolved.x
        weight: dict[int, float] = defaultdict(float)
        out, into = self.flows
        recovery = self.case.suppliers["recovery"].to_numpy(dtype=float)
        inputs = self.case.suppliers["input"].to_numpy()
        second = self.case.lanes.is_byproduct[layout.flow_lane]
        leaving = out.get((supplier, at), [])
        total = sum(float(x[layout.offsets["flow"] + f]) for f in leaving)
        for f in leaving:
            weight[layout.offsets["flow"] + f] += float(x[layout.offsets["flow"] + f]) / total
        waiting = [(supplier, 1.0)]
        while waiting:
            maker, tonnes = waiting.pop()
            weight[layout.offsets["production"] + int(self.entry[maker, at])] += tonnes
            if not inputs[maker]:
                continue
            needed = tonnes / recovery[maker]
            arriving = [(layout.offsets["flow"] + f, f) for f in into.get((maker, at), ())]
            drawn = self.draws.get((maker, at))
            columns = [column for column, _ in arriving]
            if drawn is not None and x[layout.offsets["draw"] + drawn] >= SMALLEST_T:
                columns.append(layout.offsets["draw"] + drawn)
            received = float(x[columns].sum())
            for column in columns:
                weight[column] += needed * float(x[column]) / received
            for column, f in arriving:
                if not second[f]:  # a by-product comes from what is made anyhow: its own price is in the chain
                    waiting.append((int(layout.flow_origin[f]), needed * float(x[column]) / received))
        return weight

    def build_up(self, supplier: int, at: int) -> list[Item]:
        """The lines of one supplier in one year, the last of them what a tonne is worth where it goes."""
        chain = self.chain(supplier, at)
        columns = np.array(sorted(chain), dtype=np.int64)
        tonnes = np.array([chain[column] for column in columns.tolist()])
        weight = float(self.case.weights[at])
        found = self._costs(supplier, columns, tonnes)
        value = 0.0
        activity = self.by_column[:, columns] @ tonnes
        limits: dict[tuple[str, str], float] = defaultdict(float)
        for place in np.flatnonzero(np.abs(activity * self.prices) > 0).tolist():
            family, index = self.rows[place]
            usd = float(activity[place] * self.prices[place]) / weight
            if family == "requirement_met" or (family == "inputs_arrive" and self._is_buyer(index, supplier)):
                value += usd
            else:
                limits[self._limit(family, index)] -= usd
        reduced = self.resolved.reduced[columns]
        for column, tonne, price in zip(columns.tolist(), tonnes.tolist(), reduced.tolist(), strict=True):
            limits[self._bound(column)] -= tonne * price / weight
        found += [Item(what, name, usd) for (what, name), usd in limits.items()]
        largest = max([abs(value), *(abs(item.usd_per_t) for item in found)])
        kept = [item for item in found if abs(item.usd_per_t) > SMALL * largest]
        return [*kept, Item("value", self._where(supplier, at), value)]

    def _costs(self, supplier: int, columns: Ints, tonnes: Floats) -> list[Item]:
        """Own cost, that of each kind along the chain, and what inputs cost to make, by supplier."""
        layout = self.layout
        own: dict[str, float] = defaultdict(float)
        inputs: dict[str, float] = defaultdict(float)
        words = {"production": "own cost", "credit": "credit", "floor": "price floor"}
        for name, each in self.costs:
            for column, tonne in zip(columns.tolist(), tonnes.tolist(), strict=True):
                usd = float(each[column]) * tonne
                if not usd:
                    continue
                entry = column - layout.offsets["production"]
                maker = int(layout.production_supplier[entry]) if 0 <= entry < layout.sizes["production"] else supplier
                if maker != supplier:
                    inputs[f"input from {self.names[maker]}"] += usd
                else:
                    own[words.get(name, name)] += usd
        first = [Item("cost", "own cost", own.pop("own cost", 0.0))]
        return [*first, *(Item("cost", name, usd) for name, usd in [*inputs.items(), *own.items()])]

    def _is_buyer(self, index: Any, supplier: int) -> bool:
        """Whether a row of ``inputs_arrive`` is that of a buyer of the supplier, and not of its own chain."""
        layout = self.layout
        buyer, at = int(layout.production_supplier[index]), int(layout.production_year[index])
        out, _ = self.flows
        return any(int(layout.flow_destination[f]) == buyer for f in out.get((supplier, at), ()))

    def _limit(self, family: str, index: Any) -> tuple[str, str]:
        """What a row of the program is called in a build-up."""
        layout = self.layout
        if family in ("rule_row", "hhi_cut", "provenance_row"):
            row = self.resolved.rows[index]
            return "rule", f"{row.rule} {row.member}".strip()
        if family == "survive_cut":
            cut = self.resolved.solved.survive_cuts[index]
            rules = dict.fromkeys(self.resolved.rows[number].rule for number in cut.weights)
            return "rule", f"{', '.join(rules)} {cut.loss}"
        if family in TRAILS:
            rule, _ = list(trail_groups(self.resolved.rows))[index[0]]
            return "rule", rule
        if family == "pool_available":
            return "scarce", f"feedstock {self.materials[index[0]]}"
        if family == "byproduct_made":
            entry, code = index
            return "credit", f"by-product {self.materials[code]} of {self._maker(entry)}"
        if family in ("capacity_expanded", "minimum"):
            return "scarce", f"capacity of {self._maker(index)}"
        if family == "used_at_most":
            return "scarce", f"capacity of {self._maker(int(layout.used_production[index]))}"
        if family == "used_at_least":
            return "scarce", f"lot of {self._maker(int(layout.used_production[index]))}"
        return "scarce", family.replace("_", " ")

    def _bound(self, column: int) -> tuple[str, str]:
        """What the bound of a column is called."""
        layout = self.layout
        entry = column - layout.offsets["production"]
        if 0 <= entry < layout.sizes["production"]:
            price = self.resolved.reduced[column]
            return "scarce", f"{'minimum' if price > 0 else 'capacity'} of {self._maker(entry)}"
        flow = column - layout.offsets["flow"]
        if 0 <= flow < layout.sizes["flow"]:
            ends = self.names[layout.flow_origin[flow]], self.names[layout.flow_destination[flow]]
            return "scarce", f"lane {ends[0]} -> {ends[1]}"
        return "scarce", "other bounds"

    def _maker(self, entry: int) -> str:
        return str(self.names[self.layout.production_supplier[entry]])

    def _where(self, supplier: int, at: int) -> str:
        """Where a tonne of it goes."""
        out, _ = self.flows
        ends = dict.fromkeys(self.names[self.layout.flow_destination[f]] for f in out.get((supplier, at), ()))
        listed = list(ends)
        return "worth at " + ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
