"""Why each supplier is in a plan at its level, or what would bring it in: found, and checked, by solving again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from models.case import Floats
from models.costs import buyers_pay
from optimizer.build_ups import BuildUps
from optimizer.measures import SMALLEST_T
from optimizer.part_solver import Parameter, PartSolver, Point
from optimizer.price_curves import slope_at_start
from optimizer.program import Program
from optimizer.resolving import Resolved
from optimizer.switched import Switched, whole_program

SWITCHED_OFF = "not used: a lot or a fixed charge stands against it (whole numbers are fixed; --why-not frees them)"
STEP = 1e-2  # of a supplier's capacity, or of its material's unit: how much of it is tried
NEAR = 1e-5  # relative: just below and just above the cost at which a supplier comes in
Say = Callable[[str], None]


@dataclass
class Reason:
    """One supplier in one year.

    ``enters_below``: cost (as in ``cost_usd_per_t``) below which it comes in, None where it is in or no cost would
    do; ``leaves_above`` the like for one that is in (asked for only). ``holds``: costs between which its level stays
    (HiGHS ranging; nan: not known). ``instead``: who (or what) gives way for the first tonne of it, or
    makes up for the last, mostly; ``instead_usd_per_t``: what that costs. ``confirmed``: whether solving just below
    and just above gave what was said. ``moved``: the part's quantities with that tonne less those of the plan.
    """

    supplier: int
    at: int
    produced_t: float
    why: str
    enters_below: float | None = None
    leaves_above: float | None = None
    holds: tuple[float, float] = (float("nan"), float("nan"))
    instead: str = ""
    instead_usd_per_t: float | None = None
    confirmed: bool | None = None
    moved: Floats = field(default_factory=lambda: np.zeros(0))

    def record(self, resolved: Resolved) -> dict[str, Any]:
        """As a row of ``suppliers`` (contract 5; more keys are welcome)."""
        case = resolved.case
        row = {
            name: case.suppliers[name].to_numpy()[self.supplier] for name in ("supplier", "name", "mineral", "material")
        }
        cost = float(resolved.costs[self.supplier, self.at])
        return {
            "supplier": row["supplier"], "name": row["name"], "mineral": row["mineral"], "material": row["material"],
            "year": case.years[self.at], "produced_t": self.produced_t,
            "capacity_t": float(resolved.capacities[self.supplier, self.at]), "cost_usd_per_t": cost,
            "enters_below_usd_per_t": self.enters_below, "leaves_above_usd_per_t": self.leaves_above,
            "gap_usd_per_t": None if self.enters_below is None else cost - self.enters_below,
            "level_from_usd_per_t": self.holds[0], "level_to_usd_per_t": self.holds[1], "why": self.why,
            "instead": self.instead, "instead_usd_per_t": self.instead_usd_per_t, "confirmed": self.confirmed,
        }  # fmt: skip


class Suppliers:
    """Reasons of every supplier of a plan, year by year."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved, self.layout, self.case = resolved, resolved.layout, resolved.case
        layout = self.layout
        self.entry = np.full((len(self.case.suppliers), len(self.case.years)), -1, dtype=np.int64)
        self.entry[layout.production_supplier, layout.production_year] = np.arange(layout.sizes["production"])
        self.makers, self.builder = self._makers(), BuildUps(resolved)

    @cached_property
    def program(self) -> Program:
        """The program of the plan with its whole numbers free."""
        return whole_program(self.resolved)

    def _makers(self) -> dict[tuple[int, int], list[tuple[int, str]]]:
        """(material, year) -> (column, name) of what can serve instead: suppliers, shortage, substitution, stock."""
        layout, case = self.layout, self.case
        names = case.suppliers["supplier"].to_numpy()
        found = [
            (layout.offsets["production"] + p, str(names[layout.production_supplier[p]]), int(m), int(y))
            for p, (m, y) in enumerate(zip(layout.column_material[: layout.sizes["production"]],
                                           layout.production_year, strict=True))
        ]  # fmt: skip
        for family, word in (("shortage", "shortage"), ("substituted", "substitution"), ("drawn", "stock")):
            years, start = layout.year_of(family), layout.offsets[family]
            materials = layout.column_material[start : start + layout.sizes[family]]
            found += [(start + i, word, int(m), int(y)) for i, (m, y) in enumerate(zip(materials, years, strict=True))]
        index: dict[tuple[int, int], list[tuple[int, str]]] = {}
        for column, name, material, year in found:
            index.setdefault((material, year), []).append((column, name))
        return index

    def exchange(self, reason: Reason) -> list[tuple[str, float, float]]:
        """Who moves for a tonne of a supplier, in all years: (who, t for each of its tonnes, USD for each).

        Of a supplier: what it makes, and the cost of that with what leaves it and what it draws. The USD of all
        together are what the tonne costs (or would save, made by the others).
        """
        if not len(reason.moved):
            return []
        layout, resolved = self.layout, self.resolved
        entry = int(self.entry[reason.supplier, reason.at])
        column = layout.offsets["production"] + entry
        part = resolved.solver(resolved.label_of(column)).part
        own = abs(float(reason.moved[part.place[column]]))
        weight = float(self.case.weights[reason.at])
        usd = resolved.program.cost[part.columns] * reason.moved / (weight * own)
        tonnes: dict[str, float] = {}
        cost: dict[str, float] = {}
        for place in np.flatnonzero(np.abs(reason.moved) > 1e-9 * own).tolist():
            who, makes = self.owner(int(part.columns[place]))
            cost[who] = cost.get(who, 0.0) + float(usd[place])
            tonnes[who] = tonnes.get(who, 0.0) + (float(reason.moved[place]) / own if makes else 0.0)
        most = max((abs(value) for value in cost.values()), default=0.0)
        return [
            (who, tonnes[who], cost[who]) for who in sorted(cost, key=lambda who: -abs(cost[who]))
            if abs(cost[who]) > 1e-6 * most or abs(tonnes[who]) > 1e-6
        ]  # fmt: skip

    def owner(self, column: int) -> tuple[str, bool]:
        """Whose a column is, and its year; and whether it counts tonnes made (or done without)."""
        layout = self.layout
        names = self.case.suppliers["supplier"]
        if column >= layout.width:
            return "other", False
        family = next(name for name in reversed(layout.offsets) if column >= layout.offsets[name])
        at = column - layout.offsets[family]
        year = f" {self.case.years[int(layout.column_year[column])]}"
        if family == "production":
            return str(names.iloc[layout.production_supplier[at]]) + year, True
        if family == "flow":
            return str(names.iloc[layout.flow_origin[at]]) + year, False
        if family == "draw":
            return str(names.iloc[layout.draw_supplier[at]]) + year, False
        if family in ("expansion", "opened"):
            return f"expansion of {names.iloc[getattr(layout, f'{family}_supplier')[at]]}", family == "expansion"
        if family == "used":
            return str(names.iloc[layout.production_supplier[layout.used_production[at]]]) + year, False
        word = {"shortage": "shortage", "substituted": "substitution"}.get(family, "stock")
        return word + year, family in ("shortage", "substituted", "built", "drawn")

    def reason(self, supplier: int, at: int, closely: bool = False) -> Reason:
        """Why a supplier makes what it makes in a year; ``closely``: with the cost at which one that is in leaves."""
        entry = int(self.entry[supplier, at])
        if entry < 0:
            return Reason(supplier, at, 0.0, self._not_there(supplier, at))
        column = self.layout.offsets["production"] + entry
        made = float(self.resolved.x[column])
        label = self.resolved.label_of(column)
        asked = _Asked(self, supplier, at, entry, column, label)
        return asked.inside(made, closely) if made >= SMALLEST_T else asked.outside(closely)

    def _not_there(self, supplier: int, at: int) -> str:
        """Why a supplier cannot make anything that year."""
        row, year = self.case.suppliers.iloc[supplier], self.case.years[at]
        if not self.case.active[supplier, at]:
            first, last = row["from_year"], row["to_year"]
            if first == first and year < first:
                return f"not there before {int(first)}"
            return f"not there after {int(last)}"
        if self.resolved.capacities[supplier, at] <= 0:
            return "no capacity"
        return "no way from its input to a market"


@dataclass
class _Asked:
    """One supplier and year, in its part."""

    whole: Suppliers
    supplier: int
    at: int
    entry: int
    column: int
    label: int

    def __post_init__(self) -> None:
        resolved = self.whole.resolved
        self.solver: PartSolver = resolved.solver(self.label)
        self.here: Point = resolved.here(self.label)
        self.place = int(resolved.local_columns(self.label, [self.column])[0])
        self.weight = float(resolved.case.weights[self.at])
        self.cost = float(resolved.costs[self.supplier, self.at])
        unit = float(resolved.layout.scale_t[resolved.layout.supplier_material[self.supplier]])
        most = float(resolved.layout.production_upper_t[self.entry])
        self.step = STEP * min(unit, most if most > 0 else unit)  # how much of it is tried
        self.small = 1e-3 * self.step  # less is a corner of the figures, not a supply

    def outside(self, closely: bool) -> Reason:
        """What would bring it in; ``closely``: also where that takes whole numbers."""
        found = Reason(self.supplier, self.at, 0.0, "")
        switch = self._switched_off()
        if switch is not None:
            return self._switched(switch) if closely else replace(found, why=SWITCHED_OFF)
        first = np.array([self.place])
        parameter = Parameter(0.0, lower=(first, np.ones(1)))
        point = self.solver.at(parameter, self.step) or self.solver.at(parameter, self.step * STEP)
        if point is None:
            return replace(found, why=self._forbidden())
        at_zero = Point(0.0, self.here.usd, 0.0, self.here.x)
        gap = max(0.0, slope_at_start(self.solver, parameter, at_zero, point)) / self.weight
        enters = self._cost_for(gap)
        confirmed = self._turns_at(gap)
        moved = point.x - self.here.x
        why = f"{gap:,.0f} USD a tonne too dear" if gap > 1e-6 * max(1.0, abs(self.cost)) else "as good as what is in"
        return replace(found, why=why, enters_below=enters, instead=self._instead(moved, 1.0), instead_usd_per_t=gap,
                       confirmed=confirmed, moved=moved)  # fmt: skip

    def inside(self, made: float, closely: bool) -> Reason:
        """Why it makes what it makes."""
        capacity, least = (float(side[self.place]) for side in (self.solver.program.upper, self.solver.program.lower))
        if least > 0 and made <= least * (1 + 1e-7):
            why = "its contracted minimum"
        elif made >= capacity * (1 - 1e-7) or self._expanded():
            why = "all that it can make"
        else:
            why = self._let()
        found = Reason(self.supplier, self.at, made, why, holds=self._holds())
        if least > 0 and made <= least * (1 + 1e-7):
            return found
        first = np.array([self.place])
        less = min(self.step, 0.5 * (made - least))
        parameter = Parameter(made, upper=(first, np.ones(1)))
        program = replace(self.solver.program, upper=self.solver.program.upper.copy())
        program.upper[self.place] = made - less
        solution = self.solver.solve(program)
        if not solution.has_plan:
            return replace(found, why=f"{why}; no plan without it")
        assert solution.reduced_costs is not None
        loss = -min(0.0, float(solution.reduced_costs[self.place])) / self.weight
        moved = solution.x - self.here.x
        found = replace(found, instead=self._instead(moved, -1.0), instead_usd_per_t=loss, moved=moved)
        if not closely:
            return found
        return self._leaves(found, parameter)

    def _let(self) -> str:
        """What holds it at its level, by what limits add to (or take from) the price of its chain."""
        lines = self.whole.builder.build_up(self.supplier, self.at)
        limits = [line for line in lines if line.what in ("rule", "scarce")]
        held = min(limits, key=lambda line: line.usd_per_t, default=None)
        if held is not None and held.usd_per_t < -1e-6 * abs(self.cost):
            return f"brought in by {held.what} {held.name}" if held.what == "rule" else f"held by {held.name}"
        most = max(limits, key=lambda line: line.usd_per_t, default=None)
        if most is not None and most.usd_per_t > 1e-6 * abs(self.cost):
            return f"as much as {'rule ' if most.what == 'rule' else ''}{most.name} lets it"
        return "makes the last tonnes"

    def _leaves(self, found: Reason, parameter: Parameter) -> Reason:
        """With the cost above which it would make nothing."""
        first, program = np.array([self.place]), self.solver.program
        held = replace(program, lower=program.lower.copy(), upper=program.upper.copy())
        held.lower[self.place] = held.upper[self.place] = 0.0
        without = self.solver.solve(held)
        if not without.has_plan:
            return found
        self.solver.program = held
        try:
            nothing = Point(0.0, float(held.cost @ without.x), 0.0, without.x)
            fixed = Parameter(0.0, upper=(first, np.ones(1)), lower=(first, np.ones(1)))
            point = self.solver.at(fixed, self.step)
            if point is None:
                return found
            slope = slope_at_start(self.solver, fixed, nothing, point)
        finally:
            self.solver.program = program
        gap = slope / self.weight
        return replace(found, leaves_above=self._cost_for(gap), confirmed=self._turns_at(gap))

    def _turns_at(self, gap: float) -> bool:
        """Whether it makes something at a cost just below where it comes in, and nothing just above."""
        program, near = self.solver.program, NEAR * max(abs(self.cost), abs(gap), 1e-3)
        made = []
        for cost in (gap + near, gap - near):
            cheaper = replace(program, cost=program.cost.copy())
            cheaper.cost[self.place] -= cost * self.weight
            solution = self.solver.solve(cheaper)
            made.append(float(solution.x[self.place]) if solution.has_plan else float("nan"))
        below, above = made
        return below > self.small and above <= self.small

    def _cost_for(self, gap: float) -> float:
        """``cost_usd_per_t`` at which a tonne costs the buyers ``gap`` USD less than now (credits and floors in it)."""
        case = self.whole.case
        if not self.whole.resolved.supported[self.supplier, self.at]:
            return self.cost - gap
        now = buyers_pay(case, self.supplier, self.at, self.cost)
        low, high = self.cost - 2 * abs(gap) - 1.0, self.cost + 2 * abs(gap) + 1.0
        for _ in range(20):  # supports bend what buyers pay: it never falls as the cost rises
            if buyers_pay(case, self.supplier, self.at, low) <= now - gap:
                break
            low -= 2 * (high - low)
        for _ in range(200):
            middle = (low + high) / 2
            if buyers_pay(case, self.supplier, self.at, middle) <= now - gap:
                low = middle
            else:
                high = middle
        return low

    def _holds(self) -> tuple[float, float]:
        """Costs between which its level stays, from HiGHS' ranging of its cost."""
        ranges = self.solver.ranges()
        if ranges is None:
            return float("nan"), float("nan")
        now = float(self.solver.program.cost[self.place])
        low, high = ((float(side[self.place]) - now) / self.weight for side in (ranges.cost_low, ranges.cost_high))
        return self.cost + min(low, 0.0), self.cost + max(high, 0.0)

    def _expanded(self) -> bool:
        row = self.whole.resolved.row_place.get("capacity_expanded", {}).get(self.entry)
        if row is None:
            return False
        resolved = self.whole.resolved
        used = float((resolved.parts.by_row[[row]] @ resolved.x)[0])
        return used >= float(resolved.program.row_upper[row]) - self.small

    def _switched_off(self) -> int | None:
        """The column of its switch where a lot or a fixed charge keeps it out."""
        used = np.flatnonzero(self.whole.layout.used_production == self.entry)
        if not len(used) or not self.whole.resolved.solved.whole_numbers:
            return None
        switch = self.whole.layout.offsets["used"] + int(used[0])
        return switch if float(self.whole.resolved.program.upper[switch]) < 0.5 else None

    def _switched(self, switch: int) -> Reason:
        """What would bring it in against its lot or fixed charge: with all whole numbers of its part free again."""
        whole = self.whole
        asked = Switched(whole.resolved, whole.program, self.label, self.column, switch, self.weight)
        found, answer = Reason(self.supplier, self.at, 0.0, SWITCHED_OFF), asked.enters()
        if answer is None:
            return replace(found, why="no cost brings it in (or none was found in time)")
        gap, confirmed = answer
        why = f"{gap:,.0f} USD a tonne too dear, with its lot or fixed charge"
        return replace(found, why=why, enters_below=self._cost_for(gap), confirmed=confirmed)

    def _forbidden(self) -> str:
        """Why not a tonne of it is possible: a rule that forbids it, else what surrounds it."""
        column = self.column
        for row in self.whole.resolved.rows:
            flows = self.whole.layout.flow_origin == self.supplier
            mine = self.whole.layout.offsets["flow"] + np.flatnonzero(flows & (self.whole.layout.flow_year == self.at))
            if row.kind == "ban" and row.limit <= 0 and np.isin(np.append(mine, column), row.top.columns).any():
                return f"rule {row.rule} forbids it"
        return "not a tonne more of it fits (inputs, lanes or rules)"

    def _instead(self, moved: Floats, sign: float) -> str:
        """Who makes most less (or more) of the same material that year, for a tonne of the supplier."""
        material = int(self.whole.layout.supplier_material[self.supplier])
        place, found = self.solver.part.place, dict[str, float]()
        for column, name in self.whole.makers.get((material, self.at), ()):
            if column != self.column and place[column] >= 0:
                found[name] = found.get(name, 0.0) + sign * float(moved[place[column]])
        best = min(found, key=lambda name: found[name], default="")
        return best if best and found[best] < -self.small else ""
