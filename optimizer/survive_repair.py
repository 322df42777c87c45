"""Where survive rules cannot be kept: the highest share that can still be served, after which loss, and what lifts it.

Everything else comes first: what conflicts without the survive rules is repaired as without them (optimizer/repair.py).
Then ``serve`` gives way alone, as little as possible in the sum over rows, with all else held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from models.case import Floats
from models.layout import Layout
from models.rule_rows import RuleRow
from optimizer.case_limits import mineral_chains
from optimizer.compiling import compile_model
from optimizer.cutting import Cutter
from optimizer.engine import Engine, Limits, Solution
from optimizer.program import Names, Program
from optimizer.repair import Repair, find_repair
from optimizer.solving import column_units, solve
from optimizer.stamping import stamp
from optimizer.surviving import Survival

HAIR = 1e-8  # by which a share found by a solve is set looser, so that the plan at it is inside the solver's tolerance
_ACTIVE = 1e-7
_UNIT = 0.01  # of a slack: a percentage point
Items = list[dict[str, Any]]


def find_repair_with_losses(layout: Layout, rows: Sequence[RuleRow], limits: Limits) -> Repair:
    """What cannot hold together and the smallest repair, survive rules included."""
    if not any(row.kind == "survive" for row in rows):
        return find_repair(layout, rows, limits)
    others = [row for row in rows if row.kind != "survive"]
    if solve(layout, others, limits).has_plan:
        return _highest(layout, rows, Repair([], [], {}), limits)
    first = find_repair(layout, rows, limits)
    if first.relaxed is None:
        first.notes.append("survive rules were not looked at: without them there is no plan either")
        return first
    needed = first.relaxed
    mended = [replace(row, limit=needed.get(row.key, row.limit)) for row in rows]
    return _highest(layout, mended, first, limits)


def _highest(layout: Layout, rows: Sequence[RuleRow], first: Repair, limits: Limits) -> Repair:
    """Add to a repair the highest shares that can be served, with everything else held."""
    relaxed = _Slack(layout, rows)
    solution = relaxed.solve(limits)
    if not solution.has_plan:  # rules by themselves had a plan: time, or the solver's tolerance
        first.notes.append("how much can still be served was not decided (time, or the solver's tolerance)")
        return replace(first, relaxed=None)
    served = relaxed.served(solution.x)
    needed = {number: max(share - HAIR, 0.0) for number, (share, _) in served.items()
              if rows[number].limit - share > 1e-7}  # fmt: skip
    names = {number: loss for number, (_, loss) in served.items()}
    repairs = [_item(rows[number], share, names[number]) for number, share in needed.items()]
    conflicts = relaxed.conflicts(solution, needed, names, limits, len({item.get("set") for item in first.conflict}))
    together = {**(first.relaxed or {}), **{rows[number].key: share for number, share in needed.items()}}
    return Repair(first.conflict + conflicts, first.repair + repairs, together, first.notes)


def _item(row: RuleRow, needed: float, loss: str) -> dict[str, Any]:
    return {
        "what": "rule", "name": row.rule, "mineral": row.mineral, "year": row.year, "limit": row.limit,
        "material": row.material, "kind": row.kind, "bound": row.bound, "member": loss,
        "denominator": row.denominator, "needed": needed,
    }  # fmt: skip


@dataclass
class _Slack:
    """The program of a case in which survive rows may serve less; everything else is held."""

    layout: Layout
    rows: Sequence[RuleRow]

    def __post_init__(self) -> None:
        layout = self.layout
        self.numbers = [n for n, row in enumerate(self.rows) if row.kind == "survive" and row.base.constant > 0]
        whole = stamp(layout, self.rows, compile_model)
        self.survival = Survival(layout, self.rows, whole)
        self.width = whole.matrix.shape[1]
        count = len(self.numbers)
        matrix = sparse.csc_array(sparse.hstack([whole.matrix, sparse.csc_array((whole.matrix.shape[0], count))]))
        nothing, limits = np.zeros(count), np.array([self.rows[n].limit for n in self.numbers])
        self.program = Program(
            matrix, whole.row_lower, whole.row_upper, np.concatenate([np.zeros(self.width), np.ones(count)]),
            np.concatenate([whole.lower, nothing]), np.concatenate([whole.upper, limits]),
            np.concatenate([whole.integer, nothing > 0]), whole.rows,
            whole.names + Names([("less", np.array(self.numbers))]),
        )  # fmt: skip
        self.units = np.concatenate([column_units(whole, layout, np.arange(layout.width)), np.full(count, _UNIT)])

    def _cutter(self, slack: bool) -> Cutter:
        cutter = Cutter(self.layout, self.rows, np.arange(self.layout.width), survival=self.survival)
        if slack:
            cutter.slack_column = {number: self.width + place for place, number in enumerate(self.numbers)}
        return cutter

    def solve(self, limits: Limits) -> Solution:
        """The plan that serves least less, in the sum over rows."""
        self.cutter = self._cutter(slack=True)
        self.engine, solution = self.cutter.optimum(Engine(self.program, self.units), limits)
        return solution

    def served(self, x: Floats) -> dict[int, tuple[float, str]]:
        """Row -> the share still served after the loss that leaves least, at most the rule's own; and that loss."""
        given = {number: float(x[self.width + place]) for place, number in enumerate(self.numbers)}
        rows = [replace(row, limit=max(row.limit - given.get(n, 0.0), 0.0)) for n, row in enumerate(self.rows)]
        found: dict[int, tuple[float, str]] = {}
        for served in replace(self.survival, rows=rows).served(x[: self.layout.width]):
            if served.row not in found or served.share < found[served.row][0] - 1e-9:
                found[served.row] = served.share, served.loss.name
        return found

    def conflicts(
        self, solution: Solution, needed: Mapping[int, float], losses: Mapping[int, str], limits: Limits, before: int
    ) -> Items:  # fmt: skip
        """For each chain and year: the rows that give way, and what stands in the way of serving more, with what each
        would have to be, all else held.
        """
        chain = mineral_chains(self.layout.case)
        groups: dict[tuple[str, int], Items] = {}
        for number, share in needed.items():
            item = {**_item(self.rows[number], share, losses[number]), "alone": True}
            groups.setdefault((chain[item["mineral"]], item["year"]), []).append(item)
        for item, column in self._in_the_way(solution):
            key = chain.get(item["mineral"], ""), item["year"]
            if key in groups and item not in groups[key]:
                value = None if column is None else self._enough(column, needed, key, limits)
                groups[key].append({**item, "needed": value, "alone": value is not None})
        return [{**item, "set": before + place, "given": False}
                for place, items in enumerate(groups.values(), 1) for item in items]  # fmt: skip

    def _in_the_way(self, solution: Solution) -> list[tuple[dict[str, Any], int | None]]:
        """Limits that carry a price in the slackened optimum, and the column whose bound each is (None: no column)."""
        if solution.reduced_costs is None or solution.prices is None:
            return []
        layout, program = self.layout, self.engine.program
        found: list[tuple[dict[str, Any], int | None]] = []
        upper = program.upper[: layout.width]
        worth = solution.reduced_costs[: layout.width] * np.where(np.isfinite(upper), upper, 0.0)
        for column in np.flatnonzero(worth < -_ACTIVE).tolist():
            family, index = program.names[column]
            if family == "production":
                found.append((self._supplier(index, float(upper[column])), column))
            elif family == "flow":
                found.append((self._lane(index, float(upper[column])), column))
        for place, (family, index) in enumerate(program.rows):
            price = float(solution.prices[place])
            if family == "capacity_expanded" and price * float(program.row_upper[place]) < -_ACTIVE:
                found.append((self._supplier(index, float(layout.production_capacity_t[index])), None))
            elif family == "survive_cut" and price < -_ACTIVE:
                cut = self.cutter.survive_cuts[index]
                found += [(self._pool(*pool), None) for pool in cut.pools]
                found += [(self._lane(*lane), None) for lane in cut.lanes]
            elif family in ("rule_row", "provenance_row") and abs(price) > _ACTIVE:
                row = self.rows[index]
                found.append((_rule_item(row), None))
        return found

    def _enough(self, column: int, needed: Mapping[int, float], key: tuple[str, int], limits: Limits) -> float | None:
        """The least bound of a column at which the rows of a chain and year keep their own share, all else held."""
        if self.program.integer.any():
            return None
        chain = mineral_chains(self.layout.case)
        upper, cost = self.program.upper.copy(), np.zeros(len(self.program.cost))
        upper[column], cost[column] = np.inf, 1.0
        for place, number in enumerate(self.numbers):
            row, other = self.rows[number], needed.get(number)
            mine = (chain[row.mineral], row.year) == key
            upper[self.width + place] = 0.0 if mine or other is None else row.limit - other
        program = replace(self.program, upper=upper, cost=cost)
        _, solution = self._cutter(slack=True).optimum(Engine(program, self.units), limits)
        return float(solution.x[column]) * (1 + HAIR) if solution.has_plan else None

    def _supplier(self, entry: int, limit: float) -> dict[str, Any]:
        supplier = self.layout.case.suppliers.iloc[self.layout.production_supplier[entry]]
        return {"what": "capacity", "name": supplier["supplier"], "mineral": supplier["mineral"],
                "year": self.layout.case.years[self.layout.production_year[entry]], "limit": limit,
                "material": supplier["material"]}  # fmt: skip

    def _lane(self, flow: int, limit: float) -> dict[str, Any]:
        layout, case = self.layout, self.layout.case
        names = [*case.suppliers["supplier"], *case.markets]
        material = case.materials["material"].iloc[layout.flow_material[flow]]
        return {"what": "lane", "name": f"{names[layout.flow_origin[flow]]} -> {names[layout.flow_destination[flow]]}",
                "mineral": case.materials.loc[material, "mineral"], "year": case.years[layout.flow_year[flow]],
                "limit": limit, "material": material}  # fmt: skip

    def _pool(self, code: int, at: int, limit: float) -> dict[str, Any]:
        case = self.layout.case
        name = case.materials["material"].iloc[code]
        return {"what": "feedstock", "name": name, "mineral": case.materials.loc[name, "mineral"],
                "year": case.years[at], "limit": limit, "material": name}  # fmt: skip


def _rule_item(row: RuleRow) -> dict[str, Any]:
    return {
        "what": "rule", "name": row.rule, "mineral": row.mineral, "year": row.year, "limit": row.limit,
        "material": row.material, "kind": row.kind, "bound": row.bound, "member": row.member,
        "denominator": row.denominator,
    }  # fmt: skip
