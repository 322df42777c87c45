"""Draws scenarios and the weight of risk for a random case: losses, dearer purchases, more or less demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases import Case

SELECTORS = ("country", "controller", "bloc", "supplier", "channel", "material", "mineral", "market")


def averse(case: Case) -> None:
    """Two to four scenarios (added up to at most 1, sometimes to 1), surge, and section [risk].

    Shortage has a price, except that in one case of eight the sectors that must be met stay, much smaller.
    """
    firm = case.chance(0.12)
    for row in case.tables["demand"]:
        if row["shortage_usd_per_t"] is None:
            if firm:
                row["required_t"] = round(row["required_t"] * 0.05, 2)
            else:
                row["shortage_usd_per_t"] = case.some(80, 300)
    for row in case.tables["suppliers"]:
        if case.chance(0.5):
            row["surge_share"] = case.some(0, 1)
    case.tables["disruptions"] = []
    names = ["quake", "embargo", "strike", "boom"][: case.r.randint(2, 4)]
    parts = [case.r.uniform(0.02, 0.3) for _ in names]
    certain = case.chance(0.15)  # "nothing happens" has probability 0
    probabilities = [p / sum(parts) if certain else p for p in parts]
    probabilities = [round(p, 3) for p in probabilities]
    if certain:
        probabilities[0] = round(1.0 - sum(probabilities[1:]), 3)
    for name, probability in zip(names, probabilities, strict=True):
        for _ in range(case.r.randint(1, 3)):
            row = {"scenario": name, "probability": probability, **dict.fromkeys(SELECTORS)}
            case.tables["disruptions"].append(row | hit(case, name == "boom"))
    case.aversion = {"weight": case.r.choice([0.0, 0.2, 0.5, 0.9, 1.0])}
    if case.chance(0.75):
        case.aversion["tail"] = case.r.choice([0.05, 0.1, 0.25, 0.5, 1.0])


def hit(case: Case, boom: bool) -> dict[str, Any]:
    """What one row hits, and how hard."""
    s = case.r.choice(case.tables["suppliers"])
    mineral = case.of(s["material"])["mineral"]
    row: dict[str, Any] = case.r.choice([
        {"country": s["country"]}, {"controller": s["controller"] or s["country"]}, {"supplier": s["supplier"]},
        {"channel": s["channel"]}, {"bloc": case.r.choice(["friends", "rivals", "union"])},
    ])  # fmt: skip
    if boom:
        row = {"market": case.r.choice([None, *sorted({r["market"] or "home" for r in case.tables["demand"]})])}
        row["demand_multiple"] = case.some(0.6, 1.6)
        if case.chance(0.3):
            row["cost_multiple"] = case.some(0.8, 1.5)
    else:
        row["available_share"] = 0.0 if case.chance(0.4) else case.some(0, 0.9) if case.chance(0.8) else None
        row["cost_multiple"] = case.some(0.8, 3) if case.chance(0.5) else None
        row["demand_multiple"] = case.some(0.7, 1.3) if case.chance(0.25) else None
    if case.chance(0.4):
        row |= {"mineral": mineral} if case.chance(0.5) else {"material": s["material"]}
    return row
