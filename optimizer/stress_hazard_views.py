"""What a planner sees of the scenarios of a stress test: how likely, what is short on average, what is a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console
from rich.text import Text

from optimizer.console import plain, table
from optimizer.stress_text import SHARED, WIDE, hit_worst, lost_name, served, shade, usd, worst_hit

if TYPE_CHECKING:
    from optimizer.stress_tests import Stress

MOST, NAMED = 25, 6


def answer(console: Console, found: Stress, most: int = MOST) -> None:
    """The scenarios ranked with their probability, and what they leave short on average; nothing without any."""
    ranked = found.ranked
    rows = ranked[ranked["probability"].notna()].head(most)
    if rows.empty:
        return
    _scenarios(console, found, rows)
    left = int(ranked["probability"].notna().sum()) - len(rows)
    if left:
        console.print(Text(f"... and {left} more scenarios: tables/ranked.csv, --verbose, or --json", style="dim"))
    _guessed(console, rows)
    _expected(console, found)


def _scenarios(console: Console, found: Stress, rows: pd.DataFrame) -> None:
    shown, wide = worst_hit(found), console.width >= WIDE
    listed: list[list[str | Text]] = []
    for place, row in zip(rows.index, rows.to_dict("records"), strict=True):
        missing = 1 - row["served"]
        likely, basis = float(row["probability"]), str(row["probability_basis"])
        style = "yellow" if basis == "guess" and likely > 0 else ""
        listed.append([
            str(place + 1), lost_name(row["lose"]), hit_worst(row, shown),
            Text(served(row["served"]), style=shade(missing)), usd(row["short_usd_per_y"], "-"),
            chance(likely) if likely else "test",
            *([_range(row["probability_low"], row["probability_high"]) if likely else ""] if wide else []),
            Text(basis if likely else "", style=style),
        ])  # fmt: skip
    console.print()
    heads: list[str | tuple[str, str]] = [
        ("#", "right"), "scenario", "hits worst", ("served", "right"), ("USD short", "right"), ("a year", "right"),
        *([("range", "right")] if wide else []), "basis",
    ]  # fmt: skip
    console.print(table(heads, listed))
    said = "#: place among all losses; a year: probability (test: run as a test only, counted in another scenario)."
    if any(hit_worst(row, shown) == "shared" for row in rows.to_dict("records")):
        said += f" {SHARED}"
    console.print(Text(said, style="dim"))


def _guessed(console: Console, rows: pd.DataFrame) -> None:
    """Which of the losses shown have a probability that somebody guessed."""
    guessed = rows.loc[(rows["probability_basis"] == "guess") & (rows["probability"] > 0), "lose"].tolist()
    if guessed:
        names = ", ".join(lost_name(name) for name in guessed[:NAMED])
        more = f" and {len(guessed) - NAMED} more" if len(guessed) > NAMED else ""
        console.print(Text(f"Probability is a guess: {names}{more}.", style="yellow"))


def _expected(console: Console, found: Stress) -> None:
    """Sum of probability times short by year, with its range and the part that hangs on guesses."""
    if found.expected.empty:
        return
    sums = [f"{name}_short_usd" for name in ("expected", "low", "high", "guessed")]
    years = found.expected.groupby("year")[sums].sum(min_count=1)
    listed = [
        [str(year), *(usd(value, "-") for value in (row[sums[0]], row[sums[1]], row[sums[2]])), _part(row)]
        for year, row in years.iterrows()
    ]
    console.print()
    console.print(table([
        ("year", "whole"), ("expected USD short", "right"), ("low", "right"), ("high", "right"),
        ("hangs on guesses", "right"),
    ], listed))  # fmt: skip
    bare = found.expected.loc[found.expected["expected_short_usd"].isna(), "material"].unique().tolist()
    said = (
        "Expected: sum of probability times what is short, plan kept, at reference prices; low and high: every "
        "probability at its low, at its high. Tonnes: tables/expected.csv."
    )
    if bare:
        said += f" Without a price, so not counted: {', '.join(plain(name) for name in bare)}."
    console.print(Text(said, style="dim"))


def _part(row: pd.Series) -> str:
    expected = float(row["expected_short_usd"])
    return f"{100 * float(row['guessed_short_usd']) / expected:.0f}%" if expected > 0 else "-"


def _range(low: float, high: float) -> str:
    return f"{chance(low).removesuffix('%')}-{chance(high)}"


def chance(probability: float) -> str:
    """A probability in per cent, with two digits where it is small."""
    return f"{100 * probability:.2g}%" if probability < 0.1 else f"{100 * probability:.0f}%"
