"""Checks a plan against the rules by arithmetic on its tonnes alone: what a rule says, not how a solver is told it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from .read import Case, Supplier
from .rules import listed, selected
from .solve import Answer

Checked = tuple[float, float, float]  # value, limit, size of the numbers


def tonnes_of(
    case: Case, answer: Answer, year: int, materials: list[str], stage: str, market: str | None
) -> dict[str, float]:
    """Tonnes of each supplier at the stage."""
    out: dict[str, float] = defaultdict(float)
    for (origin, destination, material, y), t in answer.flows.items():
        if y != year or material not in materials or origin.startswith("feedstock:"):
            continue
        arrives = destination not in case.suppliers and market in (None, destination)
        if stage != "delivered" or arrives:  # of a main product everything made is sent
            out[origin] += t
    return dict(out)


def broken(case: Case, answer: Answer, quo: Answer | None, tolerance: float = 1e-6) -> list[str]:
    """Every row of a rule that the plan does not keep."""
    faults: list[str] = []
    for rule in case.rules:
        for year in case.years:
            if rule.get("from_year", year) <= year <= rule.get("to_year", year):
                for value, limit, size in values(case, answer, quo, rule, year):
                    if value > limit + tolerance * max(1.0, abs(limit), abs(size)):
                        faults.append(f"{rule['name']} {year}: {value} > {limit}")
    return faults


def values(case: Case, answer: Answer, quo: Answer | None, rule: dict[str, Any], year: int) -> list[Checked]:
    """(value, limit, size of the numbers) of each row: value <= limit is meant."""
    kind = rule["kind"]
    named = listed(rule["material"]) if "material" in rule else None
    minerals = listed(rule["mineral"]) if "mineral" in rule else list({m.mineral for m in case.materials.values()})
    meant = [m for m, row in case.materials.items() if (m in named if named is not None else row.mineral in minerals)]
    if kind == "budget":
        scopes = (
            [[m for m in meant if case.materials[m].mineral == one] for one in minerals]
            if "mineral" in rule
            else [meant]
        )
        out = []
        for scope in scopes:
            purses = {"capital": answer.capital_by_material, "public": answer.public_by_material}
            purse = purses.get(rule.get("of", "all"), answer.cost_by_material)
            spent = sum(usd for (y, m), usd in purse.items() if y == year and m in scope)
            base = sum(usd for (y, m), usd in quo.cost_by_material.items() if y == year and m in scope) if quo else 0.0
            out.append((spent - (base if rule.get("of") == "premium" else 0.0), float(rule["max_usd_per_y"]), spent))
        return out
    if kind == "stock_days":
        least = float(rule["days"]) / 365.0
        return [
            (least * case.required(m, year, market), answer.stock[market, m, year], answer.stock[market, m, year])
            for market, m in case.stocks
            if m in meant and rule.get("market", market) == market
        ]
    if kind == "emissions":
        out = []
        for mineral in {case.materials[m].mineral for m in case.delivered()} & set(minerals):
            own: list[str] = [m for m, row in case.materials.items() if row.mineral == mineral]
            co2 = sum(s.emissions * answer.produced[s.id, year] for s in case.suppliers.values() if s.material in own)
            sold = sum(tonnes_of(case, answer, year, own, "delivered", None).values())
            out.append((co2, float(rule["max_kgco2e_per_t"]) * sold, co2))
        return out
    stage, market = rule.get("stage", "delivered"), rule.get("market")
    if stage == "delivered":
        baskets = [[m] for m in case.delivered(market) if m in meant]
    else:
        there = [m for m in meant if case.materials[m].stage == stage]
        kinds = {case.materials[m].mineral for m in there}
        baskets = (
            [[m] for m in there] if named else [[m for m in there if case.materials[m].mineral == k] for k in kinds]
        )
    out = []
    for basket in baskets:
        tonnes = tonnes_of(case, answer, year, basket, stage, market)
        if stage == "delivered":
            required = case.required(basket[0], year, market)
        else:
            mine = {case.materials[m].mineral for m in basket}
            required = sum(case.required(m, year) for m in case.delivered() if case.materials[m].mineral in mine)
        out += one(case, rule, year, tonnes, required)
    return out


def one(case: Case, rule: dict[str, Any], year: int, tonnes: dict[str, float], required: float) -> list[Checked]:
    kind, whole = rule["kind"], sum(tonnes.values())
    of = {sid: case.suppliers[sid] for sid in tonnes}
    base = required if rule.get("of") == "requirement" else whole
    chosen = {sid: t for sid, t in tonnes.items() if selected(case, rule.get("where", {}), of[sid], year)}
    out = []
    if kind == "share":
        out += [(sum(chosen.values()), rule["max"] * base, whole)] if "max" in rule else []
        out += [(rule["min"] * base, sum(chosen.values()), whole)] if "min" in rule else []
    elif kind == "each_share":
        for member, t in summed(of, tonnes, rule["each"]).items():
            home = rule["each"] == "country" and member == case.home and not rule.get("include_home")
            if not home and member not in rule.get("except", []):
                out.append((t, rule["max"] * base, whole))
    elif kind == "hhi" and whole > 1e-3:
        by, score = rule.get("by", "country"), 0.0
        for member, t in summed(of, tonnes, by).items():
            country = of[member].country if by == "supplier" else member
            score += (case.risk(rule["weight"], country, year) if "weight" in rule else 1.0) * (t / whole) ** 2
        out.append((score, rule["max"], 1.0))
    elif kind == "index":
        points = sum(case.risk(rule["indicator"], of[sid].country, year) * t for sid, t in tonnes.items())
        out.append((points, rule["max"] * whole, points))
    elif kind == "ban":
        out.append((sum(chosen.values()), 0.0, whole))
    elif kind == "suppliers":
        out += [(float(sum(t > 1e-5 for t in chosen.values())), float(rule["max"]), 1.0)] if "max" in rule else []
        enough = sum(t >= rule.get("least_t", 1.0) - 1e-5 for t in chosen.values())
        out += [(float(rule["min"]), float(enough), 1.0)] if "min" in rule else []
    return out


def summed(of: dict[str, Supplier], tonnes: dict[str, float], by: str) -> dict[str, float]:
    out: dict[str, float] = defaultdict(float)
    for sid, t in tonnes.items():
        out[sid if by == "supplier" else str(getattr(of[sid], by))] += t
    return out
