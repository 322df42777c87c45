"""What a planner sees of a stress test: losses ranked, worst first, and who is short of what."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from optimizer import stress_hazard_views as hazards
from optimizer.console import plain, table
from optimizer.stress_tests import Stress, shortfall_by_mineral
from optimizer.stress_text import SHARED, WIDE, hit_worst, lost_name, served, shade, usd, worst_hit

MOST, MAPPED = 15, 12


def answer(console: Console, found: Stress, year: int | None = None, most: int = MOST) -> None:
    """The losses ranked, the table of losses x minerals, and what the columns mean."""
    years = list(found.plan_usd_per_y)
    title = plain(found.about.get("title") or found.about.get("case") or found.case.name)
    lost = found.ranked
    hurt = int((lost["served"] < 1).sum())
    console.print(Text(title, style="bold"))
    shared = int((lost["kept_usd_per_y"].isna() & (lost["served"] >= 1)).sum())
    together = f" of any one material ({shared} of these not all materials at once)" if shared else ""
    how = f"{found.months:g} months" if found.months != 12 else "a year"
    console.print(Text(f"{found.about.get('losses', len(lost))} losses of {how} with the plan kept: "
                       f"{hurt} leave something short, {len(lost) - hurt} nothing{together}."))  # fmt: skip
    if lost.empty:
        return
    _ranked(console, found, lost.head(most))
    if len(lost) > most:
        console.print(Text(f"... and {len(lost) - most} more: tables/ranked.csv, --verbose, or --json", style="dim"))
    hazards.answer(console, found, max(most, hazards.MOST))
    _map(console, found, years[-1] if year is None else year)
    if hurt and lost.loc[lost["served"] < 1, "regret_usd_per_y"].isna().all():
        console.print(Text(_no_regret(found), style="dim"))
    for note in found.notes:
        console.print(Text(f"note: {plain(note)}", style="yellow"))


def _ranked(console: Console, found: Stress, rows: pd.DataFrame) -> None:
    shown, wide = worst_hit(found), console.width >= WIDE
    stocked = bool((found.losses["months_to_survive"] > 0).any())
    listed: list[list[str | Text]] = []
    for number, row in enumerate(rows.to_dict("records"), 1):
        missing = 1 - row["served"]
        cells: list[str | Text] = [
            str(number), lost_name(row["lose"]), hit_worst(row, shown), str(row["year"]),
            Text(served(row["served"]), style=shade(missing)), usd(row["short_usd_per_y"], "-"),
        ]  # fmt: skip
        if stocked:
            cells.append(_months(row["months_to_survive"]) if missing > 0 else "-")
        back = row["recover_year"]
        cells.append("none" if pd.isna(back) else f"{back:.0f}")
        regret = 0.0 if abs(row["regret_usd_per_y"]) < 1 else row["regret_usd_per_y"]  # what solving leaves over
        listed.append([*cells, *([usd(row["kept_usd_per_y"])] if wide else []), usd(regret)])
    console.print()
    lasts = [("lasts", "right")] if stocked else []
    heads: list[str | tuple[str, str]] = [
        ("#", "right"), "lost", "hits worst", ("year", "whole"), ("served", "right"), ("USD short", "right"), *lasts,
        ("back", "right"), *([("USD a year", "right")] if wide else []), ("regret", "right"),
    ]  # fmt: skip
    console.print(table(heads, listed))
    said = (
        "served: of the material hit worst; USD short: all that is missing in the worst year, at reference prices; "
        f"{'lasts: how long stock covers the whole gap; ' if stocked else ''}"
        f"back: the first year with capacity for all again; {'USD a year: cost of the dearest year; ' if wide else ''}"
        "regret: what a plan made knowing it would save (none: demand that has no price is missed)."
    )
    if any(hit_worst(row, shown) == "shared" for row in rows.to_dict("records")):
        said += f" {SHARED}"
    console.print(Text(said, style="dim"))


def _map(console: Console, found: Stress, year: int) -> None:
    """Minerals x the losses ranked first: the share missing of what is hit worst of the mineral."""
    names = found.ranked["lose"].head(MAPPED).tolist()
    missing = shortfall_by_mineral(found.losses, year, names)
    missing = missing.loc[:, (missing > 0.0005).any()]
    if missing.empty:
        return
    rows = [[str(name), *(_cell(value) for value in missing[name].tolist())] for name in missing.columns]
    console.print()
    heads = [(str(number), "right") for number in range(1, len(names) + 1)]
    console.print(table([f"% missing {year}, loss #", *heads], rows))


def _cell(value: float) -> Text:
    if not value >= 0.0005:  # or nothing known
        return Text(".", style="dim")
    return Text(f"{100 * value:.0f}" if value >= 0.01 else "<1", style=shade(value))


def _no_regret(found: Stress) -> str:
    """How to have costs and regrets where every loss misses demand without a price."""
    scenarios: dict[str, Any] = found.case.raw.get("scenarios", {})
    priced = [
        name for name, scenario in scenarios.items()
        if scenario.get("change") and not scenario.get("use")
        and all("shortage_usd_per_t" in step.get("set", {}) and len(step["set"]) == 1 for step in scenario["change"])
    ]  # fmt: skip
    how = f"--scenario {priced[0]}" if priced else "shortage_usd_per_t in demand.csv"
    return f"No regret is known where demand that has no price is missed; {how} gives it one."


def _months(value: float) -> str:
    if pd.isna(value):
        return "-"
    return f"{value:.1f} mo" if value < 100 else ">8 years"
