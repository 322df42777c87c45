"""Why no plan can meet the rules, and the smallest change that would make one possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.case import Case, Floats
from models.layout import Layout
from models.rule_rows import RuleRow
from optimizer.compiling import compile_model
from optimizer.cutting import Cutter, spread
from optimizer.elastic import ElasticEngine
from optimizer.engine import Engine, EngineError, Limits, Solution
from optimizer.solving import column_units, solve
from optimizer.stamping import stamp

HARD = 1e3  # one per cent of demand or of a contract weighs as much as 1000 per cent of a rule's limit
# A repair with whole numbers is good enough within this of the smallest, or the best found in this time.
GAP, SECONDS = 1e-3, 20.0
STEPS = 14  # halvings in the search for a nearer limit
_ACTIVE = 1e-7


@dataclass(frozen=True)
class Repair:
    """What cannot hold together, and what would have to give way by how much."""

    conflict: list[dict[str, Any]]
    repair: list[dict[str, Any]]
    relaxed: dict[tuple[str, str, str, str, str, int], float] | None


def find_repair(layout: Layout, rows: Sequence[RuleRow], limits: Limits) -> Repair:
    """Loosen rules alone where that is enough; else demand and contracted minimums too.

    The repair is smallest in the sum over rows of the change of each limit, in its own units (shares), or
    relative to it (index, emissions, budget). ``relaxed`` maps rule rows to the limits needed, None where
    rules alone cannot mend it.
    """
    attempt = _Elastic(layout, rows)
    solution, elastic = attempt.solve(limits, hard=False)
    rules_alone = solution.has_plan
    if not rules_alone:
        solution, elastic = attempt.solve(limits, hard=True)
    if not solution.has_plan:
        return Repair([], [], None)
    x = spread(solution.x, attempt.columns)
    broken = attempt.broken_rules(x)
    conflict = attempt.conflict(elastic)
    if rules_alone and any(len(rows[number].base.columns) for number in broken):
        broken = _nearer(layout, rows, broken, limits)
    repairs = [_item(rows[number], needed) for number, needed in broken.items()]
    relaxed = {rows[number].key: needed for number, needed in broken.items()}
    if not rules_alone:
        repairs += attempt.missed(x)
    named = [{key: item[key] for key in item if key not in ("needed", "kind", "denominator")} for item in repairs]
    conflict += [item for item in named if item not in conflict]
    conflict += [item for item in attempt.demands(named) if item not in conflict]
    return Repair(_connected(layout.case, conflict, repairs), repairs, relaxed if rules_alone else None)


def _nearer(layout: Layout, rows: Sequence[RuleRow], broken: dict[int, float], limits: Limits) -> dict[int, float]:
    """Limits nearer to the rules' own where the denominator varies: there the first repair need not be smallest.

    Each part of the case that shares nothing with another (a chain of minerals in a year) moves all its limits
    together from the repair towards the rules' own, by bisection, as far as a plan is there.
    """
    part = {number: _part_of(layout.case, rows[number]) for number in broken}
    nearest = dict.fromkeys(part.values(), 0.0)  # 1 = at the repair, 0 = at the rule's own limit
    surest = dict.fromkeys(part.values(), 1.0)
    sure = dict(broken)
    for _ in range(STEPS):
        middle = {key: (nearest[key] + surest[key]) / 2 for key in surest}
        trial = list(rows)
        for number, needed in broken.items():
            own = rows[number].limit
            trial[number] = replace(rows[number], limit=own + middle[part[number]] * (needed - own))
        attempt = _Elastic(layout, trial)
        solution, _ = attempt.solve(replace(limits, seconds=min(limits.seconds, 2.0)), hard=False)
        if not solution.has_plan:
            break
        x = spread(solution.x, attempt.columns)
        still = {_part_of(layout.case, rows[number]) for number in attempt.broken_rules(x)}
        for key in middle:
            (nearest if key in still else surest)[key] = middle[key]
        for number in broken:
            if part[number] not in still:
                value, limit = rows[number].value(x), trial[number].limit
                inside = not np.isnan(value) and min(rows[number].limit, limit) <= value <= max(
                    rows[number].limit, limit
                )
                sure[number] = _rounded(value, rows[number]) if inside else limit
    final = [replace(row, limit=sure[number]) if number in sure else row for number, row in enumerate(rows)]
    # at the very edge of a cone the elastic point is inside by the solver's tolerance alone: then the first repair
    try:
        return sure if solve(layout, final, limits).has_plan else broken
    except EngineError:  # or the solver cannot tell
        return broken


def _part_of(case: Case, row: RuleRow) -> tuple[str, int]:
    """The chain of minerals and the year in which a rule row stands; a budget over everything ties all together,
    and so do expansions and stock for the years.
    """
    return (_chains(case).get(row.mineral, ""), 0 if _linked(case) else row.year)


def _linked(case: Case) -> bool:
    """Whether anything carries over from one year to another."""
    return bool((case.suppliers["max_expansion_t"] > 0).any()) or len(case.stock) > 0


def _chains(case: Case) -> dict[str, str]:
    """Mineral -> a name for all minerals that suppliers link it with."""
    group = {mineral: mineral for mineral in case.materials["mineral"]}
    of_mineral = case.materials["mineral"]
    table, seconds = case.suppliers, case.tables["byproducts"]
    makes = table.set_index("supplier")["mineral"]
    links = [(of_mineral[used], made) for used, made in zip(table["input"], table["mineral"], strict=True) if used]
    links += list(zip(seconds["supplier"].map(makes), seconds["material"].map(of_mineral), strict=True))
    for one, other in links:
        if group[one] != group[other]:
            merged = group[other]
            group = {mineral: group[one] if at == merged else at for mineral, at in group.items()}
    if any(rule.kind == "budget" and not rule.mineral and not rule.material for rule in case.rules):
        return dict.fromkeys(group, "all")
    return group


def _connected(case: Case, conflict: list[dict[str, Any]], repairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The part of a conflict that shares a year and a chain of minerals with something to repair.

    Prices elsewhere are those of a degenerate optimum without violation, and say nothing.
    """
    group = _chains(case)
    linked = _linked(case)

    def part(item: dict[str, Any]) -> tuple[str, int]:
        return group.get(item["mineral"], "all"), 0 if linked else item["year"]

    broken = {part(item) for item in repairs}
    kept = [item for item in conflict if part(item) in broken]
    order = {"rule": 0, "demand": 1, "minimum": 2, "capacity": 3, "feedstock": 4, "lane": 5}
    return sorted(kept, key=lambda i: (i["mineral"], i["year"], order[i["what"]], i["name"]))


def _item(row: RuleRow, needed: float) -> dict[str, Any]:
    return {
        "what": "rule", "kind": row.kind, "name": row.rule, "mineral": row.mineral, "year": row.year,
        "limit": row.limit, "needed": needed, "bound": row.bound, "material": row.material, "member": row.member,
        "denominator": row.denominator,
    }  # fmt: skip


class _Elastic:
    """The elastic program of a layout and its rules."""

    def __init__(self, layout: Layout, rows: Sequence[RuleRow]) -> None:
        self.layout, self.rows = layout, rows
        self.program = program = stamp(layout, rows, compile_model)
        self.columns = np.arange(layout.width)
        self.case = layout.case
        self.places = {name: place for place, name in enumerate(program.rows)}

    def solve(self, limits: Limits, hard: bool) -> tuple[Solution, ElasticEngine]:
        """The point of least violation; ``hard`` softens demand and contracted minimums too."""
        layout, program = self.layout, self.program
        weights: dict[int, float] = {}
        for (family, index), place in self.places.items():
            if family == "rule_row":
                weights[place] = 1.0 / self._worth(self.rows[index])
            elif family == "supplier_count":
                weights[place] = 1.0
            elif family in ("requirement_met", "closing_stock") and hard and program.row_lower[place] > 0:
                weights[place] = HARD / max(program.row_lower[place], 1e-6)
        bounds: dict[int, float] = {}
        if hard:
            for entry in np.flatnonzero(layout.production_lower_t > 0).tolist():
                column = int(self.columns[layout.offsets["production"] + entry])
                if column >= 0:
                    bounds[column] = HARD / float(layout.production_lower_t[entry])
        engine = Engine(program, column_units(program, layout, self.columns))
        curved = {n: 1.0 / self._worth(row) for n, row in enumerate(self.rows) if row.kind == "hhi"}
        elastic = ElasticEngine.of(engine, weights, bounds, list(curved.values()))
        cutter = Cutter(layout, self.rows, self.columns)
        cutter.slack_column = dict(zip(curved, elastic.free_columns, strict=True))
        enough = replace(limits, gap=max(limits.gap, GAP), seconds=max(1.0, min(limits.seconds, SECONDS)))
        elastic.engine, solution = cutter.optimum(elastic.engine, enough)
        self.solution = solution
        return solution, elastic

    def _worth(self, row: RuleRow) -> float:
        """Slack in the row's own units that one unit of its limit is worth."""
        base = row.base.constant
        if row.kind == "budget":
            return max(abs(row.limit), 1.0)
        if base <= 0 or row.kind == "ban":
            at = self.case.years.index(row.year)
            codes = np.unique(
                self.layout.column_material[row.base.columns if len(row.base.columns) else row.top.columns]
            )
            base = max(float(self.layout.need_t[codes, at].sum()), 1e-6)
        if row.kind in ("index", "emissions", "stock_days"):
            return base * max(row.limit, 1e-6)
        return base

    def broken_rules(self, x: Floats) -> dict[int, float]:
        """Rows (by number) that the point breaks, with the limit that would let it through."""
        found = {}
        for number, row in enumerate(self.rows):
            value = row.value(x)
            over = value - row.limit if row.bound == "max" else row.limit - value
            if np.isnan(value) or over <= 1e-6 * max(abs(row.limit), 1e-3):
                continue
            needed = _rounded(value, row)
            found[number] = min(max(needed, 0.0), 1.0) if row.kind in ("share", "each_share") else needed
        return found

    def missed(self, x: Floats) -> list[dict[str, Any]]:
        """Demand that the point does not meet and minimums that it does not make."""
        layout, case = self.layout, self.case
        found = []
        received: dict[tuple[str, str, int], float] = {}
        markets, materials = list(case.markets), list(case.materials["material"])
        for f, (to, code, at) in enumerate(
            zip(layout.flow_destination, layout.flow_material, layout.flow_year, strict=True)
        ):
            if to >= len(case.suppliers):
                key = (markets[to - len(case.suppliers)], materials[code], case.years[at])
                received[key] = received.get(key, 0.0) + float(x[layout.offsets["flow"] + f])
        for i, row in enumerate(layout.shortage_demand.tolist()):
            demand = case.demand.iloc[row]
            key = (demand["market"], demand["material"], int(demand["year"]))
            received[key] = received.get(key, 0.0) + float(x[layout.offsets["shortage"] + i])
        for family, sign in (("substituted", 1.0), ("drawn", 1.0), ("built", -1.0)):
            market_of, material_of = layout.stock_market, layout.stock_material
            if family == "substituted":
                ends = layout.substituted_market, layout.substituted_material
            else:
                place = getattr(layout, f"{family}_place")
                ends = market_of[place], material_of[place]
            for i, (m, code, at) in enumerate(zip(*ends, layout.year_of(family), strict=True)):
                key = (markets[m], materials[code], case.years[at])
                received[key] = received.get(key, 0.0) + sign * float(x[layout.offsets[family] + i])
        last = layout.stock_year == len(case.years) - 1
        for i in np.flatnonzero(last).tolist():
            place, end = int(layout.stock_place[i]), float(x[layout.offsets["stock"] + i])
            least = float(case.stock["closing_min_t"].iloc[place])
            if least - end > 1e-6 * max(1.0, least):
                item = self._stockpile("minimum", place, len(case.years) - 1, least)
                found.append({**item, "needed": end})
        for key, required in case.required.items():
            got = received.get(key, 0.0)
            if abs(required - got) > 1e-6 * max(1.0, required):
                market, material, year = key
                found.append({
                    "what": "demand", "name": market, "mineral": case.materials.loc[material, "mineral"],
                    "year": year, "limit": required, "needed": got, "material": material,
                })  # fmt: skip
        for p in np.flatnonzero(layout.production_lower_t > 0).tolist():
            made, least = float(x[p]), float(layout.production_lower_t[p])
            if least - made > 1e-6 * max(1.0, least):
                supplier = case.suppliers.iloc[layout.production_supplier[p]]
                found.append({
                    "what": "minimum", "name": supplier["supplier"], "mineral": supplier["mineral"],
                    "year": case.years[layout.production_year[p]], "limit": least, "needed": made,
                    "material": supplier["material"],
                })  # fmt: skip
        return found

    def conflict(self, elastic: ElasticEngine) -> list[dict[str, Any]]:
        """The rows and bounds that carry a price in the elastic optimum: what cannot hold together."""
        solution = self.solution
        if solution.prices is None or solution.reduced_costs is None:
            return []
        engine, found = elastic.engine, {}
        program = engine.program
        prices = solution.prices * engine.row_unit / engine.money_unit
        for place, (family, number) in enumerate(program.rows):
            if abs(prices[place]) > _ACTIVE:
                for item in self._named(family, number, float(program.row_upper[place])):
                    found[tuple(item.items())] = item
        reduced = solution.reduced_costs * engine.column_unit / engine.money_unit
        for column in np.flatnonzero(np.abs(reduced) > _ACTIVE).tolist():
            family, index = program.names[column]
            if family == "production" and reduced[column] < 0:
                item = self._supplier("capacity", index, float(program.upper[column]))
            elif family == "production" and program.lower[column] > 0:
                item = self._supplier("minimum", index, float(program.lower[column]))
            elif family == "flow" and reduced[column] < 0:
                item = self._lane(index, float(program.upper[column]))
            elif family in ("built", "drawn", "stock") and reduced[column] < 0:
                place = getattr(self.layout, f"{family}_place")[index]
                year = self.layout.year_of(family)[index]
                item = self._stockpile("capacity", int(place), int(year), float(program.upper[column]))
            else:
                continue
            found[tuple(item.items())] = item
        return [*found.values(), *self.demands(list(found.values()))]

    def _named(self, family: str, index: Any, limit: float) -> list[dict[str, Any]]:
        case, layout = self.case, self.layout
        if family in ("rule_row", "hhi_cut", "supplier_count") and isinstance(index, int):
            row = self.rows[index]
            return [{"what": "rule", "name": row.rule, "mineral": row.mineral, "year": row.year, "limit": row.limit,
                     "bound": row.bound, "material": row.material, "member": row.member}]  # fmt: skip
        if family == "requirement_met":
            market, material, at = index
            name = case.materials["material"].iloc[material]
            return [{"what": "demand", "name": list(case.markets)[market],
                     "mineral": case.materials.loc[name, "mineral"], "year": case.years[at], "limit": limit,
                     "material": name}]  # fmt: skip
        if family == "pool_available":
            name = case.materials["material"].iloc[index[0]]
            return [{"what": "feedstock", "name": name, "mineral": case.materials.loc[name, "mineral"],
                     "year": case.years[index[1]], "limit": limit, "material": name}]  # fmt: skip
        if family == "used_at_most":
            entry = int(layout.used_production[index])
            return [self._supplier("capacity", entry, float(layout.production_upper_t[entry]))]
        if family == "minimum":
            return [self._supplier("minimum", index, float(layout.production_lower_t[index]))]
        if family == "capacity_expanded":
            return [self._supplier("capacity", index, limit)]
        if family == "closing_stock":
            place = int(layout.stock_place[index])
            least = float(case.stock["closing_min_t"].iloc[place])
            return [self._stockpile("minimum", place, len(case.years) - 1, least)]
        return []

    def _stockpile(self, what: str, place: int, at: int, limit: float) -> dict[str, Any]:
        case = self.case
        market, material = (str(case.stock[name].iloc[place]) for name in ("market", "material"))
        return {"what": what, "name": f"stock of {material} at {market}",
                "mineral": case.materials.loc[material, "mineral"], "year": case.years[at], "limit": limit,
                "material": material}  # fmt: skip

    def demands(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The demand that shares are of: it stands in a rule's row as a number, so it has no price of its own."""
        of_mineral = self.case.materials["mineral"]
        rules = [item for item in items if item["what"] == "rule"]
        return [
            {"what": "demand", "name": market, "mineral": of_mineral[material], "year": year, "limit": required,
             "material": material}
            for (market, material, year), required in self.case.required.items()
            if required > 0 and any(
                year == rule["year"]
                and (material == rule["material"] or (not rule["material"] and of_mineral[material] == rule["mineral"]))
                for rule in rules
            )
        ]  # fmt: skip

    def _supplier(self, what: str, entry: int, limit: float) -> dict[str, Any]:
        supplier = self.case.suppliers.iloc[self.layout.production_supplier[entry]]
        return {"what": what, "name": supplier["supplier"], "mineral": supplier["mineral"],
                "year": self.case.years[self.layout.production_year[entry]], "limit": limit,
                "material": supplier["material"]}  # fmt: skip

    def _lane(self, flow: int, limit: float) -> dict[str, Any]:
        layout, case = self.layout, self.case
        names = [*case.suppliers["supplier"], *case.markets]
        material = case.materials["material"].iloc[layout.flow_material[flow]]
        return {"what": "lane", "name": f"{names[layout.flow_origin[flow]]} -> {names[layout.flow_destination[flow]]}",
                "mineral": case.materials.loc[material, "mineral"], "year": case.years[layout.flow_year[flow]],
                "limit": limit, "material": material}  # fmt: skip


def _rounded(value: float, row: RuleRow) -> float:
    """The limit needed, a hair loose so that the plan at it is inside the solver's tolerance."""
    if row.kind == "suppliers":
        return float(round(value))
    room = (1e-6 if row.kind == "hhi" else 1e-8) * max(abs(value), 1e-3)
    return value + room if row.bound == "max" else value - room
