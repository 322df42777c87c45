"""What a planner sees of the years: what is built and when, capital, stock, and how the mix moves, as text tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from optimizer.console import money, plain, table, tonnes
from optimizer.plan import Plan

ROOM = 100  # columns of the terminal, from which the annuity of a project is shown too
SMALLEST_MOVE = 0.05  # of the delivered tonnes: half a letter of a mix bar


def cost_rows(plan: Plan) -> list[list[str]]:
    """Rows for the cost table: how much of the cost is capital, and what the public pays beside it."""
    costs, rows = plan.tables["costs"], []
    capital = costs[costs["cost"] == "capital"].groupby("year")["usd_per_y"].sum()
    if len(capital):
        rows.append(["of it capital", *(money(float(capital.get(year, 0.0))) for year in plan.years)])
    if any(plan.public_usd_per_y.values()):
        rows.append(["public pays", *(money(plan.public_usd_per_y.get(year, 0.0)) for year in plan.years)])
    return rows


def build_up(console: Console, plan: Plan, bars: Any) -> None:
    """Projects, stock and the mix of each year; nothing where the case has none. ``bars``: year -> material -> bar."""
    _projects(console, plan)
    _stock(console, plan)
    if len(plan.years) > 1:
        _mix_by_year(console, plan, bars)


def _projects(console: Console, plan: Plan, most: int = 12) -> None:
    projects = plan.tables["projects"]
    if projects.empty or plan.about.get("status_quo"):
        return
    built = projects[projects["decided"].notna()]
    console.print()
    count, may = built["supplier"].nunique(), projects["supplier"].nunique()
    if built.empty:
        console.print(Text(f"None of {may} possible projects is built: oremix show RUN projects"))
        return
    shown = built.sort_values("capital_usd", ascending=False).head(most).sort_values(["usable_from", "supplier"])
    rows = []
    for row in shown.to_dict("records"):
        rows.append([
            row["supplier"], row["material"], tonnes(row["t"]), f"{row['decided']:.0f}", f"{row['usable_from']:.0f}",
            money(row["capital_usd"]), money(row["usd_per_y"]),
        ])  # fmt: skip
    heads = [("t a year", "right"), ("decided", "whole"), ("usable", "whole"), ("capital USD", "right"),
             ("USD a year", "right")]  # fmt: skip
    if console.width < ROOM:
        rows, heads = [row[:-1] for row in rows], heads[:-1]
    console.print(table(["what is built", "material", *heads], rows))
    text = f"{count} of {may} possible projects, capital {money(float(built['capital_usd'].sum()))} USD"
    if len(built) > most:
        text += f"; the {most} largest decisions are shown"
    console.print(Text(text + ": oremix show RUN projects, capacity"))


def built_compared(console: Console, plans: Sequence[Plan], names: Sequence[str], most: int = 12) -> None:
    """What is built in any of the runs: t a year that each supplier adds, the most different first."""
    added = [plan.tables["expansion"].groupby("supplier")["t"].sum() for plan in plans]
    every = pd.concat(added, axis=1).fillna(0.0)
    if every.empty:
        return
    spread = (every.max(axis=1) - every.min(axis=1)) / every.max(axis=1).clip(lower=1e-9)
    order = sorted(every.index, key=lambda supplier: (-spread[supplier], supplier))
    rows = [[supplier, *(tonnes(t) if t else "-" for t in every.loc[supplier])] for supplier in order[:most]]
    console.print()
    console.print(table(["built, t a year", *((plain(name), "right") for name in names)], rows))
    if len(order) > most:
        console.print(Text(f"... and {len(order) - most} more (--json has them all)"))


def _stock(console: Console, plan: Plan, most: int = 12) -> None:
    stock = plan.tables["stock"]
    held = stock[(stock[["built_t", "drawn_t", "end_t"]] > 0).any(axis=1)]
    if held.empty:
        return
    several = stock["market"].nunique() > 1
    largest = held.groupby(["market", "material"])["end_t"].max().sort_values(ascending=False)
    rows = []
    for market, material in sorted(largest.index[:most]):
        mine = stock[(stock["market"] == market) & (stock["material"] == material)].set_index("year")
        cells = [_stocked(mine.loc[year]) for year in plan.years]
        rows.append([f"{material} at {market}" if several else material, *cells])
    console.print()
    heads = [(f"end {year}", "right") for year in plan.years]
    console.print(table(["in stock, t (days)", *heads], rows))
    if len(largest) > most:
        console.print(Text(f"... and {len(largest) - most} more: oremix show RUN stock"))


def _stocked(row: pd.Series[Any]) -> str:
    days = f" ({row['days']:.0f})" if row["days"] == row["days"] else ""
    return f"{tonnes(row['end_t'])}{days}"


def _mix_by_year(console: Console, plan: Plan, bars: Any) -> None:
    shares = plan.tables["shares"]
    shares = shares[(shares["stage"] == "delivered") & (shares["by"] == "channel")]
    if shares.empty:
        return
    wide = shares.pivot_table(index="material", columns=["member", "year"], values="share", fill_value=0.0)
    moves = (wide.T.groupby(level="member").max() - wide.T.groupby(level="member").min()).max()
    moving = [material for material in dict.fromkeys(shares["material"]) if moves[material] >= SMALLEST_MOVE]
    console.print()
    if not moving:
        console.print(Text("No mix moves from year to year."))
        return
    years = _fitting(plan.years, console.width, max(len(material) for material in moving))
    mixes = {year: bars(year) for year in years}
    rows = [[material, *(mixes[year].get(material, Text("-")) for year in years)] for material in moving]
    console.print(table([("mix by year", "whole"), *((str(year), "whole") for year in years)], rows))
    still = shares["material"].nunique() - len(moving)
    rest = f"; {still} more hardly move" if still else ""
    console.print(Text(f"each year in full: --show-year YEAR, or oremix show RUN shares{plain(rest)}"))


def _fitting(years: tuple[int, ...], width: int, name: int) -> list[int]:
    """As many years as fit beside a name, first and last among them."""
    room = max(2, (width - name - 1) // 11)
    if len(years) <= room:
        return list(years)
    step = (len(years) - 1) / (room - 1)
    return [years[round(step * place)] for place in range(room)]
