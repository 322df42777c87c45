"""Draws what spans years for a random case: expansions, openings, stock, substitution, supports and their rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases import Case


def grow(case: Case, integers: bool, today: bool) -> None:
    """Expansions of some suppliers, stock and substitution of some delivered materials, credits, grants and floors.

    ``today``: going on as today has to stay possible, so every supplier keeps what it has.
    """
    for row in case.tables["suppliers"]:
        if case.chance(0.45) and case.of(row["material"])["stage"] != "feedstock":
            expand(case, row, integers, today)
        if case.chance(0.15):
            row["credit_share"] = case.some(0, 0.3)
        if case.chance(0.1):
            row["credit_usd_per_t"] = case.some(0, 4)
        price = case.of(row["material"])["price_usd_per_t"]
        if price and case.chance(0.2):
            row["floor_usd_per_t"] = round(price * case.r.uniform(0.8, 1.4), 2)
            row["floor_paid_by"] = case.r.choice(["public", "buyers"])
    for row in case.tables["suppliers"]:
        if case.chance(0.15):
            step = {"supplier": row["supplier"], "year": case.r.choice(case.years) + case.r.choice([0, 1])}
            step[case.r.choice(["credit_share", "grant_share"])] = case.some(0, 0.5)
            known = {(s["supplier"], s["year"]) for s in case.tables["supplier_years"]}
            if (step["supplier"], step["year"]) not in known:
                case.tables["supplier_years"].append(step)
    places = sorted({(row["market"] or "home", row["material"]) for row in case.tables["demand"]})
    for market, material in places:
        if case.chance(0.4):
            stockpile(case, market, material)
    for material in case.delivered:
        if case.chance(0.3):
            substitute(case, material)


def expand(case: Case, row: dict[str, Any], integers: bool, today: bool) -> None:
    row["max_expansion_t"] = round(row["capacity_t"] * case.r.uniform(0.2, 2), 1)
    row["capex_usd_per_t"] = case.some(5, 150) if case.chance(0.9) else None
    row["lead_years"] = case.r.choice([None, 0, 1, 2, 3, 5, 1.5, 30])
    row["life_years"] = case.r.choice([None, None, 1, 3, 6, 20, 2.5])
    row["ramp_years"] = case.r.choice([None, None, 1, 3])
    row["cost_of_capital"] = case.some(0.0, 0.15) if case.chance(0.4) else None
    row["grant_share"] = case.some(0, 0.6) if case.chance(0.2) else None
    stepped = any(step["supplier"] == row["supplier"] for step in case.tables["supplier_years"])
    if case.chance(0.2) and not stepped and not today:
        row["capacity_t"], row["incumbent_t"], row["min_t"] = 0.0, None, None
    if integers and case.chance(0.5):
        row["open_usd"] = round(row["max_expansion_t"] * case.r.uniform(1, 40), 1)


def stockpile(case: Case, market: str, material: str) -> None:
    size = case.scale[case.of(material)["mineral"]]
    most = round(size * case.r.uniform(0.1, 2), 1) if case.chance(0.7) else None
    case.tables["stock"].append({
        "material": material, "market": market if market != "home" or case.chance(0.5) else None,
        "opening_t": round((most or size) * case.r.uniform(0, 0.8), 1) if case.chance(0.6) else None,
        "max_t": most,
        "build_max_t": round(size * case.r.uniform(0.05, 0.6), 1) if case.chance(0.4) else None,
        "draw_max_t": round(size * case.r.uniform(0.05, 0.6), 1) if case.chance(0.4) else None,
        "closing_min_t": round((most or size) * case.r.uniform(0, 0.4), 1) if case.chance(0.4) else None,
        "hold_usd_per_t_y": case.some(0, 3) if case.chance(0.7) else None,
        "opening_usd_per_t": case.some(0, 30) if case.chance(0.3) else None,
    })  # fmt: skip


def substitute(case: Case, material: str) -> None:
    for step in ("thrift", "2")[: case.r.choice([1, 1, 2])]:
        span = range(case.years[0] - 2, case.years[-1] + 2)
        for year in sorted(case.r.sample(span, case.r.choice([1, 1, 2]))):
            row = {"material": material, "year": year, "step": step, "max_share": case.some(0, 0.3)}
            case.tables["substitution"].append(row | {"usd_per_t": case.some(5, 60)})


def year_rules(case: Case) -> list[dict[str, Any]]:
    """None to three rules of what spans years; kept mild, so that most cases still have a plan."""
    rules: list[dict[str, Any]] = []
    stocked = case.tables["stock"]
    if stocked and case.chance(0.5):
        rules.append({"name": "cover", "kind": "stock_days", "days": case.some(1, 60)})
        if case.chance(0.4):
            rules[-1]["material"] = case.r.choice(stocked)["material"]
        if case.chance(0.3):
            rules[-1]["from_year"] = case.years[1]
    for of in ("capital", "public"):
        if case.chance(0.3):
            usd = round(sum(case.scale.values()) * case.r.uniform(0.05, 2), 1)
            rules.append({"name": of, "kind": "budget", "of": of, "max_usd_per_y": usd})
            if case.chance(0.3):
                rules[-1]["mineral"] = case.r.choice(sorted(case.scale))
    return rules
