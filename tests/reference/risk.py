"""Losses and trails: a whole copy of the year for every loss, and every flow split in a clean and a touched part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .program import INF, Expr, Program, total
from .read import Case, Supplier, number
from .rules import baskets, group, listed, selected, years

if TYPE_CHECKING:
    from .solve import Year


def losses(case: Case, rule: dict[str, Any]) -> list[tuple[str, str]]:
    lose = rule["lose"]
    if lose.startswith("each "):
        by = lose.removeprefix("each ")
        members = {group(s, by) for s in case.suppliers.values()} - set(listed(rule.get("except", [])))
        return [(by, member) for member in sorted(members)]
    kind, _, member = lose.partition(":")
    return [(kind, member)]


def left(case: Case, kind: str, member: str, s: Supplier, year: int, spared: list[str]) -> float:
    """How much of a supplier is left after the loss."""
    if kind == "scenario":
        shares = [number(r, "available_share", 1.0) for r in case.disruptions
                  if r["scenario"] == member and struck(case, r, s, year)]  # fmt: skip
        return min(shares, default=1.0)
    if kind == "bloc":
        return 0.0 if case.in_bloc(member, s.country, year) and s.country not in spared else 1.0
    return 0.0 if group(s, kind) == member else 1.0


def struck(case: Case, row: dict[str, str], s: Supplier, year: int) -> bool:
    mineral = case.materials[s.material].mineral
    for key, own in (("country", s.country), ("controller", s.controller), ("supplier", s.id), ("channel", s.channel),
                     ("material", s.material), ("mineral", mineral)):  # fmt: skip
        if row.get(key, "") not in ("", own):
            return False
    return not row.get("bloc", "") or case.in_bloc(row["bloc"], s.country, year)


def dispatch(
    case: Case, program: Program, year: int, most: dict[str, Expr], fixed: dict[str, float]
) -> dict[Any, Expr]:
    """Flows of a year in which supplier s makes at most the expression most[s] + fixed[s]."""
    flow = {lane: program.variable(high=INF if cap is None else cap) for lane, (_, cap) in case.lanes(year).items()}
    out: dict[tuple[str, str], list[tuple[float, Expr]]] = {}
    into: dict[tuple[str, str], list[tuple[float, Expr]]] = {}
    for (origin, destination, material), t in flow.items():
        out.setdefault((origin, material), []).append((1.0, t))
        into.setdefault((destination, material), []).append((1.0, t))
    pools: dict[str, list[tuple[float, Expr]]] = {}
    for s in case.suppliers.values():
        made = total(*out.get((s.id, s.material), []))
        program.row(total((1.0, made), (-1.0, most[s.id])), high=fixed[s.id])
        for (sid, material), rate in case.byproducts.items():
            if sid == s.id:
                program.row(total(*out.get((sid, material), []), (-rate, made)), high=0.0)
        if s.input:
            come = list(into.get((s.id, s.input), []))
            if case.pool(s.input, year) is not None:
                drawn = program.variable()
                pools.setdefault(s.input, []).append((1.0, drawn))
                come.append((1.0, drawn))
            program.row(total(*come, (-1.0 / s.recovery, made)), low=0.0, high=0.0)
    for material, drawn_all in pools.items():
        available = case.pool(material, year)
        assert available is not None
        program.row(total(*drawn_all), high=available[0])
    return flow


def survive(case: Case, program: Program, net: dict[int, Year], rule: dict[str, Any]) -> None:
    materials = [basket[0] for basket in baskets(case, rule)]
    for year in years(case, rule):
        for kind, member in losses(case, rule):
            most, fixed = {}, {}
            for s in case.suppliers.values():
                a = left(case, kind, member, s, year, listed(rule.get("except", [])))
                capacity = case.capacity(s, year) if case.active(s, year) else 0.0
                grown = net[year].grown.get(s.id, {})
                most[s.id] = total((a * (1.0 - s.surge), net[year].made[s.id]), (a * s.surge, grown))
                fixed[s.id] = a * s.surge * capacity
            flow = dispatch(case, program, year, most, fixed)
            for material in materials:
                for market in dict.fromkeys(k for k, m, _ in case.demand if m == material):
                    if rule.get("market") in (None, market):
                        come = [(1.0, t) for (_, to, m), t in flow.items() if (to, m) == (market, material)]
                        come += stocked(case, program, net, (market, material), year, rule.get("months", 12))
                        program.row(total(*come), low=rule["serve"] * case.required(material, year, market))


def stocked(
    case: Case, program: Program, net: dict[int, Year], place: tuple[str, str], year: int, months: float
) -> list[tuple[float, Expr]]:
    """What stock adds to a year's deliveries while the loss lasts."""
    if place not in case.stocks:
        return []
    stock, before = case.stocks[place], [y for y in case.years if y < year]
    start = net[before[-1]].stored[place] if before else {}
    more = program.variable(high=stock.draw)
    program.row(total((1.0, more), (-12.0 / months, start)), high=0.0 if before else stock.opening * 12.0 / months)
    return [(1.0, more)]


def provenance(case: Case, program: Program, net: dict[int, Year], rule: dict[str, Any]) -> None:
    for year in years(case, rule):
        flow = net[year].flow
        chosen = {s.id for s in case.suppliers.values() if selected(case, rule["where"], s, year)}
        touched: dict[Any, Expr] = {}
        for lane, t in flow.items():
            if lane[0] in chosen:
                touched[lane] = t
            else:
                touched[lane] = program.variable()
                program.row(total((1.0, touched[lane]), (-1.0, t)), high=0.0)
        for s in case.suppliers.values():
            if s.id in chosen:
                continue
            out = [(1.0, touched[k]) for k in flow if k[0] == s.id and k[2] == s.material]
            come = [(-s.recovery, touched[k]) for k in flow if k[1] == s.id]
            program.row(total(*out, *come), low=0.0, high=0.0)
            for (sid, material), rate in case.byproducts.items():
                if sid != s.id:
                    continue
                side = [k for k in flow if k[0] == sid and k[2] == material]
                hot = [(1.0, touched[k]) for k in side] + [(-rate * f, e) for f, e in out]
                program.row(total(*hot), high=0.0)
                every = [(1.0, flow[k]) for k in side]
                every += [(-rate, flow[k]) for k in flow if k[0] == sid and k[2] == s.material]
                program.row(total(*every, *((-f, e) for f, e in hot)), high=0.0)
        for (material,) in baskets(case, rule):
            sold = [k for k in flow if k[2] == material and k[1] not in case.suppliers
                    and rule.get("market") in (None, k[1])]  # fmt: skip
            program.row(
                total(*((1.0, touched[k]) for k in sold), *((-float(rule.get("max", 0.0)), flow[k]) for k in sold)),
                high=0.0,
            )
