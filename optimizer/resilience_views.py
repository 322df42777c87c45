"""What a planner sees of resilience: what each delivered material's largest losses leave, of one plan or of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from optimizer.console import percent, plain, table, tonnes
from optimizer.plan import Plan

SHADES = ((0.5, "bold red"), (0.8, "yellow"))
VISIBLE = 0.005  # of a requirement: what a percentage shows
_COMPARED = ["serve_largest", "largest_country", "days_cover", "expected_short_t", "largest_point",
             "served_largest_point"]  # fmt: skip


def resilience(console: Console, plan: Plan, year: int) -> None:
    """Each delivered material, worst first: what is served without its largest country and largest single point."""
    rows = _delivered(plan, year)
    if rows.empty:
        return
    rows = rows.sort_values(["serve_largest", "served_largest_point", "material"])
    stocked, expected = bool((rows["days_cover"] > 0).any()), bool(rows["expected_short_t"].notna().any())
    listed = []
    for row in rows.to_dict("records"):
        cells = [row["material"], _left(row["largest_country"], row["serve_largest"]),
                 _left(row["largest_point"], row["served_largest_point"])]  # fmt: skip
        if stocked:
            cells.append(f"{row['days_cover']:.0f}" if row["days_cover"] > 0 else "-")
        if expected:
            cells.append(tonnes(row["expected_short_t"]) if row["expected_short_t"] > 0 else "-")
        listed.append(cells)
    heads: list[str | tuple[str, str]] = [
        f"served {year}, without",
        ("largest country", "whole"),
        "largest single point",
    ]
    heads += [("days in stock", "right")] if stocked else []
    heads += [("t short, expected", "right")] if expected else []
    console.print()
    console.print(table(heads, listed))
    worse = rows[(rows["worst_country"] != rows["largest_country"])
                 & (rows["served_worst_country"] < rows["serve_largest"] - VISIBLE)]  # fmt: skip
    named = [f"{plain(row['material'])} without {row['worst_country']} {percent(row['served_worst_country'])}"
             for row in worse.to_dict("records")]  # fmt: skip
    if named:
        console.print(Text(f"Worse than the loss of the largest: {', '.join(named)}."))
    console.print(Text("of the requirement, for a year, with the plan kept: oremix show RUN resilience", style="dim"))


def resilience_compared(console: Console, plans: Sequence[Plan], names: Sequence[str], year: int) -> None:
    """The delivered materials of which the loss of the largest country leaves more in one run than in another."""
    tables = [_delivered(plan, year).set_index("material") for plan in plans]
    materials = list(dict.fromkeys(material for found in tables for material in found.index))
    listed: list[tuple[float, list[str | Text]]] = []
    for material in materials:
        shares = [found["serve_largest"].get(material, float("nan")) for found in tables]
        known = [share for share in shares if share == share]
        if len(known) > 1 and max(known) - min(known) >= VISIBLE:
            cells = [Text("-") if share != share else _left(found.loc[material, "largest_country"], share)
                     for found, share in zip(tables, shares, strict=True)]  # fmt: skip
            listed.append((min(known) - max(known), [material, *cells]))
    if not listed:
        return
    rows = [row for _, row in sorted(listed, key=lambda pair: pair[0])]
    console.print()
    console.print(table([f"served without largest, {year}", *(plain(name) for name in names)], rows))


def resilience_differences(plans: Sequence[Plan], names: Sequence[str]) -> pd.DataFrame:
    """Every row of resilience in any run, with the measures of each run, named column@run."""
    keys = ["mineral", "material", "stage", "year"]
    parts = [
        plan.tables["resilience"].set_index(keys)[_COMPARED].add_suffix(f"@{name}")
        for name, plan in zip(names, plans, strict=True)
    ]
    return pd.concat(parts, axis=1).reset_index()


def _delivered(plan: Plan, year: int) -> pd.DataFrame:
    found = plan.tables["resilience"]
    kept = found[(found["stage"] == "delivered") & (found["year"] == year)]
    return kept[kept["serve_largest"].notna()]


def _left(member: Any, share: float) -> Text:
    """CHN 41%: who is lost and what is left; nobody where no loss takes anything."""
    style = next((style for least, style in SHADES if share < least), "")
    return Text(f"{plain(member)} " if member else "nobody ").append(percent(share), style=style)
