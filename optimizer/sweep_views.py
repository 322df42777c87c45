"""What a sweep shows in the terminal: its points where they are few, their span, and what moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from optimizer.console import money, percent, plain, table, tonnes
from optimizer.sweeps import Sweep, counted
from optimizer.views import CHANNELS, mix_bar

MOST_POINTS = 40  # more are summed up
MOST_ROWS = 12  # materials of what moves


_WORDS = {
    "required_t": "demand", "capacity_t": "capacity", "cost_usd_per_t": "cost", "available_t": "available",
    "duty_share": "duty", "freight_usd_per_t": "freight", "price_usd_per_t": "price", "min_t": "minimum",
    "max_t": "lane limit", "shortage_usd_per_t": "price of shortage",
}  # fmt: skip


def label(key: str) -> str:
    """An input as people say it: ``CHL lithium capacity`` of ``suppliers[country=CHL,mineral=lithium].capacity_t*``."""
    bare = key.rstrip("*+")
    if bare.startswith("rules."):
        return bare.removeprefix("rules.").replace(".", " ")
    place, _, column = bare.rpartition(".")
    _, _, inside = place.partition("[")
    values = [pair.partition("=")[2].strip() for pair in inside.rstrip("]").split(",") if pair]
    kept = [value.removeprefix("country:") for value in values]
    return " ".join([*kept, _WORDS.get(column, column)])


def shorten(texts: Sequence[str]) -> list[str]:
    """Inputs as labels, each in full where two would read alike."""
    labels = [label(text) for text in texts]
    return [short if labels.count(short) == 1 else text for short, text in zip(labels, texts, strict=True)]


def input_value(key: str, value: float) -> str:
    """A value of an input: x0.8 for a factor, +5 for an addition."""
    if value != value:
        return "-"
    return f"x{value:.6g}" if key.endswith("*") else f"{value:+.6g}" if key.endswith("+") else f"{value:.6g}"


def cost_words(usd: float) -> str:
    """USD with five digits: points of a sweep often differ in the fourth."""
    for size, unit in ((1e9, " billion"), (1e6, " million")):
        if abs(usd) >= size * 0.9995:
            return f"{usd / size:,.{max(0, 4 - len(str(int(abs(usd) / size))) + 1)}f}{unit}"
    return money(usd)


def sweep(console: Console, found: Sweep, year: int | None) -> None:
    """The answer first: how many plans and what they cost; then points, or spans, and what moves."""
    document = found.document
    good, without = counted(document["counts"])
    title = plain(document["title"] or document["case"])
    console.print(Text(title, style="bold"))
    inputs = document["inputs"]
    how = f"sampled ({document['method']}, seed {document['seed']})" if document["sample"] else "of a grid"
    said = f"{document['points']:,} points {how} over {len(inputs)} input{'s' if len(inputs) > 1 else ''}"
    console.print(Text(said + (f": {good:,} with a plan, {without:,} without." if without else ", each with a plan.")))
    objective = found.summary[found.summary["measure"] == "objective_usd"]
    if len(objective):
        cost = objective.iloc[0]
        span = f"{cost_words(float(cost['least']))} to {cost_words(float(cost['most']))} USD in all"
        console.print(Text(f"Cost: {span}, {cost_words(float(cost['mean']))} on average."))
    if document["about"]["rebuilds"]:
        console.print(Text(f"Every point was built anew: {plain(document['about']['rebuilds'])}.", style="dim"))
    if document["points"] <= MOST_POINTS and len(inputs) <= 3:
        _points(console, found, year)
    if without:
        _without(console, found)
    _moves(console, found, year)


def _points(console: Console, found: Sweep, year: int | None) -> None:
    """Every point: its inputs, its cost, and the mix where one material is delivered."""
    rows_of = found.table
    materials = list(dict.fromkeys(_named(found, "hhi_country")["material"]))
    at = _year(found, year)
    single = materials[0] if len(materials) == 1 else ""
    short = [str(name) for name in rows_of.columns if str(name).startswith("shortage_t/")
             and str(name).endswith(f"/{at}")]  # fmt: skip
    some_short = bool(short) and bool((rows_of[short].sum(axis=1) > 0).any())
    rows: list[list[Any]] = []
    for row in rows_of.to_dict("records"):
        cells: list[Any] = [input_value(key, row[key]) for key in found.inputs]
        if row["status"] not in ("optimal", "feasible"):
            cells.append(Text(str(row["status"]), style="red"))
            rows.append([*cells, *[""] * ((4 if single else 0) + some_short)])
            continue
        cells.append(cost_words(float(row["objective_usd"])))
        if single:
            mix = {name: row.get(f"share/{single}/{at}/channel/{name}", 0.0) for name, _, _ in CHANNELS}
            largest, hhi, imported = (row[f"{what}/{single}/{at}"]
                                      for what in ("largest_share", "hhi_country", "import_reliance"))  # fmt: skip
            cells += [mix_bar({k: v for k, v in mix.items() if v == v}), percent(largest), f"{hhi:.2f}",
                      percent(imported)]  # fmt: skip
        if some_short:
            cells.append(tonnes(sum(row[name] for name in short if row[name] == row[name])))
        rows.append(cells)
    heads: list[Any] = [(plain(name), "right") for name in shorten(found.inputs)]
    heads.append(("USD in all", "right"))
    if single:
        heads += [(f"mix {at}", "whole"), ("largest", "right"), ("HHI", "right"), ("imported", "right")]
    heads += [("short t", "right")] if some_short else []
    console.print()
    console.print(table(heads, rows))
    if single:
        legend = Text("mix: each letter a tenth; ")
        for name, letter, colour in CHANNELS:
            legend.append(f"{letter} {name}  ", style=colour)
        console.print(legend)


def _without(console: Console, found: Sweep) -> None:
    """Why some points have no plan: the reasons, most frequent first."""
    good = found.table["status"].isin(["optimal", "feasible"])
    bad = found.table[~good]
    reasons = bad.groupby(["status", "reason"], sort=False).size().sort_values(ascending=False, kind="stable")
    rows = [[count, f"{status}: {plain(reason)}" if reason else str(status)]
            for status, reason, count in reasons.head(5).reset_index(name="count").itertuples(index=False)]  # fmt: skip
    console.print()
    console.print(table([("points", "right"), "without a plan"], rows))
    if len(reasons) > len(rows):
        console.print(Text(f"... and {len(reasons) - len(rows)} more reasons: tables/points.csv"))


def _moves(console: Console, found: Sweep, year: int | None) -> None:
    """Each delivered material whose mix moves: the span of its channels, HHI and import reliance."""
    at = _year(found, year)
    part = found.summary[found.summary["year"] == at] if at is not None else found.summary.iloc[:0]
    part = part.assign(span=part["most"] - part["least"])
    shares = part[(part["measure"] == "share") & (part["by"] == "channel")]
    ranked = shares.groupby("material", sort=False)["span"].max().sort_values(ascending=False, kind="stable")
    moving = ranked[ranked > 5e-4]
    if moving.empty:
        if len(ranked):
            console.print(Text(f"No mix moves in {at}."))
        return
    rows: list[list[Any]] = []
    for material in moving.index[:MOST_ROWS]:
        own = shares[shares["material"] == material].set_index("member")
        risk = part[part["material"] == material].set_index("measure")
        cells: list[Any] = [plain(material)]
        for name, _, colour in CHANNELS:
            cells.append(Text(_span(own.loc[name]) if name in own.index else "-", style=colour))
        hhi, imported = risk.loc["hhi_country"], risk.loc["import_reliance"]
        cells += [_two(hhi["least"], hhi["most"], lambda value: f"{value:.2f}".removeprefix("0")), _span(imported)]
        rows.append(cells)
    console.print()
    heads = [(name, "right") for name, _, _ in CHANNELS] + [("HHI", "right"), ("imported %", "right")]
    console.print(table([f"% delivered {at}, least-most", *heads], rows))
    rest = len(moving) - MOST_ROWS
    still = len(ranked) - len(moving)
    said = ([f"{rest} more move"] if rest > 0 else []) + ([f"the mix of {still} more does not"] if still else [])
    if said:
        console.print(Text(f"({', '.join(said)}; every number: tables/points.csv, tables/summary.csv)", style="dim"))


def _named(found: Sweep, measure: str) -> pd.DataFrame:
    return found.summary[found.summary["measure"] == measure]


def _year(found: Sweep, wanted: int | None) -> int | None:
    """The year that tables show: the one asked for, else the last."""
    if wanted is not None:
        return wanted
    years = found.summary["year"].dropna()
    return int(years.max()) if len(years) else None


def _span(row: Any) -> str:
    return _two(row["least"], row["most"], lambda value: f"{100 * value:.0f}")


def _two(least: float, most: float, shown: Any) -> str:
    low, high = shown(least), shown(most)
    return low if low == high else f"{low}-{high}"
