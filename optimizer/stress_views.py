"""What a planner sees of a stress test: losses ranked, worst first, and who is short of what."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from optimizer.console import money, percent, plain, table
from optimizer.stress_tests import Stress, shortfall_by_mineral

SHADES = ((0.5, "bold white on red"), (0.2, "bold red"), (0.05, "yellow"), (0.0005, ""))
MOST, MAPPED = 15, 12


def answer(console: Console, found: Stress, year: int | None = None, most: int = MOST) -> None:
    """The losses ranked, the table of losses x minerals, and what the columns mean."""
    years = list(found.plan_usd_per_y)
    title = plain(found.about.get("title") or found.about.get("case") or found.case.name)
    lost = found.ranked
    hurt = int((lost["served"] < 1).sum())
    console.print(Text(title, style="bold"))
    how = f"{found.months:g} months" if found.months != 12 else "a year"
    console.print(Text(f"{found.about.get('losses', len(lost))} losses of {how} with the plan kept: "
                       f"{hurt} leave something short, {len(lost) - hurt} nothing."))  # fmt: skip
    if lost.empty:
        return
    _ranked(console, found, lost.head(most))
    if len(lost) > most:
        console.print(Text(f"... and {len(lost) - most} more: tables/ranked.csv, --verbose, or --json", style="dim"))
    _map(console, found, years[-1] if year is None else year)
    for note in found.notes:
        console.print(Text(f"note: {plain(note)}", style="yellow"))


def _ranked(console: Console, found: Stress, rows: pd.DataFrame) -> None:
    minerals = found.case.materials.set_index("material")["mineral"]
    several = minerals.value_counts()
    stocked = bool((found.losses["months_to_survive"] > 0).any())
    listed: list[list[str | Text]] = []
    for number, row in enumerate(rows.to_dict("records"), 1):
        missing, mineral = 1 - row["served"], str(minerals[row["material"]])
        hits = mineral if several[mineral] == 1 else row["material"]
        cells: list[str | Text] = [
            str(number), _shown(row["lose"]), hits if missing > 0 else "-", str(row["year"]),
            Text(percent(row["served"]), style=_shade(missing)), _usd(row["short_usd_per_y"], "-"),
        ]  # fmt: skip
        if stocked:
            cells.append(_months(row["months_to_survive"]) if missing > 0 else "-")
        back = row["recover_year"]
        listed.append([*cells, "none" if pd.isna(back) else f"{back:.0f}", _usd(row["regret_usd_per_y"])])
    console.print()
    lasts = [("lasts", "right")] if stocked else []
    heads: list[str | tuple[str, str]] = [
        ("#", "right"), "lost", "hits worst", ("year", "whole"), ("served", "right"), ("USD short", "right"), *lasts,
        ("back", "right"), ("regret", "right"),
    ]  # fmt: skip
    console.print(table(heads, listed))
    said = (
        "served: of the material hit worst; USD short: all that is missing in the worst year, at reference prices; "
        f"{'lasts: how long stock covers the whole gap; ' if stocked else ''}"
        "back: the first year with capacity for all again; regret: what a plan made knowing it would save (none: "
        "demand that has no price is missed)."
    )
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
    return Text(f"{100 * value:.0f}" if value >= 0.01 else "<1", style=_shade(value))


def _shade(missing: float) -> str:
    return next((style for least, style in SHADES if missing >= least), "")


def _shown(lose: str) -> str:
    """country:CHN as CHN, controller:CHN as CHN-owned; a pair with +."""
    parts = [part.partition(":") for part in lose.split("+")]
    said = [f"{plain(name)}-owned" if kind == "controller" else plain(name) for kind, _, name in parts]
    return " + ".join(said)


def _months(value: float) -> str:
    if pd.isna(value):
        return "-"
    return f"{value:.1f} mo" if value < 100 else ">8 years"


def _usd(value: Any, blank: str = "none") -> str:
    return blank if pd.isna(value) else money(float(value))
