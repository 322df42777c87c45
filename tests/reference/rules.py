"""Writes the rules of a case as rows of the program: one for each year in force and material or mineral."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .program import Expr, Program, total
from .read import Case, Supplier

if TYPE_CHECKING:
    from .solve import Year

QuoCost = Callable[[int, set[str]], float]


@dataclass
class Row:
    """One row: who delivers or makes what at the stage meant, all of it together, and what is required."""

    year: int
    tonnes: dict[str, Expr]
    most: dict[str, float]
    whole: Expr
    required: float


def listed(item: Any) -> list[str]:
    return [str(i) for i in item] if isinstance(item, list) else [str(item)]


def years(case: Case, rule: dict[str, Any]) -> list[int]:
    return [y for y in case.years if rule.get("from_year", y) <= y <= rule.get("to_year", y)]


def selected(case: Case, where: dict[str, Any], s: Supplier, year: int) -> bool:
    for key, wanted in where.items():
        if key == "certified":
            truth = wanted if isinstance(wanted, bool) else "yes" in listed(wanted)
            if (s.certified == "yes") != truth:
                return False
        elif key in ("bloc", "controller_bloc"):
            country = s.country if key == "bloc" else s.controller
            if not any(case.in_bloc(b, country, year) for b in listed(wanted)):
                return False
        elif str({"supplier": s.id}.get(key) or getattr(s, key)) not in listed(wanted):
            return False
    return True


def group(s: Supplier, by: str) -> str:
    return s.id if by == "supplier" else str(getattr(s, by))


def baskets(case: Case, rule: dict[str, Any]) -> Iterator[list[str]]:
    """The materials of each row: one delivered material, or those of one mineral at the stage."""
    stage = rule.get("stage", "delivered")

    def meant(material: str) -> bool:
        if "material" in rule:
            return material in listed(rule["material"])
        return "mineral" not in rule or case.materials[material].mineral in listed(rule["mineral"])

    if stage == "delivered":
        yield from ([m] for m in case.delivered(rule.get("market")) if meant(m))
        return
    there = [m for m, row in case.materials.items() if row.stage == stage and meant(m)]
    if "material" in rule:
        yield from ([m] for m in there)
    else:
        for mineral in dict.fromkeys(case.materials[m].mineral for m in there):
            yield [m for m in there if case.materials[m].mineral == mineral]


def rows(case: Case, rule: dict[str, Any], net: dict[int, Year]) -> Iterator[Row]:
    stage, market = rule.get("stage", "delivered"), rule.get("market")
    suppliers = case.suppliers.values()
    for year in years(case, rule):
        now = net[year]
        for basket in baskets(case, rule):
            tonnes: dict[str, Expr] = {}
            most: dict[str, float] = {}
            if stage == "delivered":
                material = basket[0]
                required = case.required(material, year, market)
                rooms = [case.room(place, year) for place in case.stocks if place[1] == material]
                wants = {k for k, m, _ in case.demand if m == material and market in (None, k)}
                for (origin, destination, moved), t in now.flow.items():
                    if moved == material and destination in wants:
                        tonnes[origin] = total((1.0, tonnes.get(origin, {})), (1.0, t))
                        most[origin] = required + sum(rooms)
            else:
                minerals = {case.materials[m].mineral for m in basket}
                required = sum(
                    case.required(m, year) for m in case.delivered() if case.materials[m].mineral in minerals
                )
                for s in suppliers:
                    side = [k for k in now.flow if k[0] == s.id and k[2] in basket and k[2] != s.material]
                    terms = [(1.0, now.made[s.id])] if s.material in basket else []
                    terms += [(1.0, now.flow[k]) for k in side]
                    if terms:
                        tonnes[s.id] = total(*terms)
                        rates = {k[2]: case.byproducts[s.id, k[2]] for k in side}
                        most[s.id] = now.limit[s.id] * (float(s.material in basket) + sum(rates.values()))
            yield Row(year, tonnes, most, total(*((1.0, e) for e in tonnes.values())), required)


def share_of(rule: dict[str, Any], row: Row, factor: float) -> tuple[Expr, float]:
    """factor * T as (expression, number)."""
    if rule.get("of", "supply") == "requirement":
        return {}, factor * row.required
    return total((factor, row.whole)), 0.0


def apply(case: Case, program: Program, net: dict[int, Year], quo_cost: QuoCost) -> None:
    for rule in case.rules:
        kind = rule["kind"]
        if kind == "budget":
            budget(case, program, net, rule, quo_cost)
        elif kind == "stock_days":
            stock_days(case, program, net, rule)
        elif kind == "emissions":
            emissions(case, program, net, rule)
        elif kind in ("survive", "provenance"):
            from . import risk

            (risk.survive if kind == "survive" else risk.provenance)(case, program, net, rule)
        elif kind in ("share", "each_share", "hhi", "index", "ban", "suppliers"):
            for row in rows(case, rule, net):
                one_row(case, program, rule, kind, row)
        else:
            raise ValueError(f"rule kind {kind} is not of the foundation")


def one_row(case: Case, program: Program, rule: dict[str, Any], kind: str, row: Row) -> None:
    of = {sid: case.suppliers[sid] for sid in row.tonnes}
    chosen = [sid for sid, s in of.items() if selected(case, rule.get("where", {}), s, row.year)]
    if kind == "share":
        mine = total(*((1.0, row.tonnes[sid]) for sid in chosen))
        if "max" in rule:
            expr, fixed = share_of(rule, row, float(rule["max"]))
            program.row(total((1.0, mine), (-1.0, expr)), high=fixed)
        if "min" in rule:
            expr, fixed = share_of(rule, row, float(rule["min"]))
            program.row(total((1.0, mine), (-1.0, expr)), low=fixed)
    elif kind == "each_share":
        for member, expr in grouped(of, row, rule["each"]).items():
            exempt = rule["each"] == "country" and member == case.home and not rule.get("include_home", False)
            if not exempt and member not in listed(rule.get("except", [])):
                cap, fixed = share_of(rule, row, float(rule["max"]))
                program.row(total((1.0, expr), (-1.0, cap)), high=fixed)
    elif kind == "hhi":
        by = rule.get("by", "country")
        groups = []
        for member, expr in grouped(of, row, by).items():
            country = of[member].country if by == "supplier" else member
            weight = case.risk(rule["weight"], country, row.year) if "weight" in rule else 1.0
            groups.append((weight, expr))
        program.square(groups, row.whole, float(rule["max"]))
    elif kind == "index":
        terms = [(case.risk(rule["indicator"], s.country, row.year), row.tonnes[sid]) for sid, s in of.items()]
        program.row(total(*terms, (-float(rule["max"]), row.whole)), high=0.0)
    elif kind == "ban":
        program.row(total(*((1.0, row.tonnes[sid]) for sid in chosen)), high=0.0)
    elif kind == "suppliers":
        count(program, rule, row, chosen)


def grouped(of: dict[str, Supplier], row: Row, by: str) -> dict[str, Expr]:
    out: dict[str, Expr] = {}
    for sid, s in of.items():
        out[group(s, by)] = total((1.0, out.get(group(s, by), {})), (1.0, row.tonnes[sid]))
    return out


def count(program: Program, rule: dict[str, Any], row: Row, chosen: list[str]) -> None:
    if "max" in rule:
        used = [program.switch(row.tonnes[sid], row.most[sid]) for sid in chosen]
        program.row(total(*((1.0, u) for u in used)), high=float(rule["max"]))
    if "min" in rule:
        counted = []
        for sid in chosen:
            counts = program.variable(0.0, 1.0, integer=True)
            program.row(total((1.0, row.tonnes[sid]), (-float(rule.get("least_t", 1.0)), counts)), low=0.0)
            counted.append(counts)
        program.row(total(*((1.0, c) for c in counted)), low=float(rule["min"]))


def budget(case: Case, program: Program, net: dict[int, Year], rule: dict[str, Any], quo_cost: QuoCost) -> None:
    if "material" in rule:
        scopes = [{m} for m in listed(rule["material"])]
    elif "mineral" in rule:
        scopes = [{m for m, row in case.materials.items() if row.mineral == one} for one in listed(rule["mineral"])]
    else:
        scopes = [set(case.materials)]
    of = rule.get("of", "all")
    for year in years(case, rule):
        for scope in scopes:
            purse = {"capital": net[year].capital, "public": net[year].public}.get(of, net[year].cost)
            spent = total(*((1.0, e) for m, e in purse.items() if m in scope))
            allowance = float(rule["max_usd_per_y"])
            if of == "premium":
                allowance += quo_cost(year, scope)
            program.row(spent, high=allowance)


def stock_days(case: Case, program: Program, net: dict[int, Year], rule: dict[str, Any]) -> None:
    for year in years(case, rule):
        for market, material in case.stocks:
            mineral = case.materials[material].mineral
            meant = material in listed(rule["material"]) if "material" in rule else True
            meant = meant and ("mineral" not in rule or mineral in listed(rule["mineral"]))
            if meant and rule.get("market", market) == market:
                least = float(rule["days"]) / 365.0 * case.required(material, year, market)
                program.row(net[year].stored[market, material], low=least)


def emissions(case: Case, program: Program, net: dict[int, Year], rule: dict[str, Any]) -> None:
    minerals = dict.fromkeys(case.materials[m].mineral for m in case.delivered())
    if "mineral" in rule:
        minerals = dict.fromkeys(m for m in minerals if m in listed(rule["mineral"]))
    for year in years(case, rule):
        for mineral in minerals:
            own = {m for m, row in case.materials.items() if row.mineral == mineral}
            made = [(s.emissions, net[year].made[s.id]) for s in case.suppliers.values() if s.material in own]
            sold = [
                (-float(rule["max_kgco2e_per_t"]), t)
                for (_, destination, m), t in net[year].flow.items()
                if m in own and destination not in case.suppliers
            ]
            program.row(total(*made, *sold), high=0.0)
