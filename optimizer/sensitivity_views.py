"""What a sensitivity analysis shows in the terminal: the tornado of cost, the indices, what drives each mix."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from optimizer.console import money, plain, table
from optimizer.point_measures import Measure
from optimizer.sensitivities import Sensitivity
from optimizer.sweep_views import cost_words, input_value, shorten
from optimizer.terminal_charts import drawable

MOST = 12  # inputs that are shown
MOST_MIXES = 12
CELLS = 12  # of a bar to each side


def sensitivity(console: Console, found: Sensitivity) -> None:
    """The answer first: what moves cost most; then the tornado, the indices, and the drivers of each mix."""
    document = found.document
    console.print(Text(plain(document["title"] or document["case"]), style="bold"))
    inputs = [str(item["input"]) for item in document["inputs"]]
    names = dict(zip(inputs, (plain(name) for name in shorten(inputs)), strict=True))
    cost = found.tornado[found.tornado["output"] == "objective_usd"]
    base = float(document["objective_usd"])
    console.print(Text(f"The case itself: {cost_words(base)} USD in all. {len(inputs)} uncertain inputs, "
                       f"{document['solves']:,} points solved."))  # fmt: skip
    _tornado(console, cost, names)
    if len(found.sobol):
        _indices(console, found.sobol, names, document["sample"])
        _drivers(console, found.sobol, names, "total", f"What drives the mix in {document['year']}: total index")
    if found.left_out[1]:
        _left_out(console, found, names)
    if document["undefined"]:
        listed = ", ".join(_output(name) for name in document["undefined"][:5])
        more = f" and {len(document['undefined']) - 5} more" if len(document["undefined"]) > 5 else ""
        console.print(Text(f"Without a share in some samples (nothing delivered), so without an index: {listed}{more}"))


def _tornado(console: Console, cost: pd.DataFrame, names: dict[str, str]) -> None:
    """Change of cost at the low and at the high of each input; bars where the terminal has room for them."""
    rows = cost.head(MOST).to_dict("records")
    room = console.width - max(len(names[row["input"]]) for row in rows) - 43
    cells = min(CELLS, room // 2) if drawable(console) else 0
    most = max((abs(row[end] - row["base"]) for row in rows for end in ("at_low", "at_high") if row[end] == row[end]),
               default=0.0)  # fmt: skip
    console.print()
    console.print(Text("One input at its low, then at its high: USD more or less in all", style="bold"))
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    made.add_column(Text("input"), overflow="fold")
    made.add_column(Text("low, high"), no_wrap=True, justify="right")
    with_bars = cells >= 4 and most > 0
    for _ in range(2 if with_bars else 0):
        made.add_column("", no_wrap=True, width=cells)
    made.add_column(Text("at low"), justify="right", no_wrap=True)
    made.add_column(Text("at high"), justify="right", no_wrap=True)
    for row in rows:
        changes = [row[end] - row["base"] for end in ("at_low", "at_high")]
        bars: list[Any] = []
        if with_bars:
            known = [change for change in changes if change == change]
            less, more = -min([0.0, *known]), max([0.0, *known])
            bars = [Bar(most, most - less, most, width=cells, color="green"),
                    Bar(most, 0, more, width=cells, color="red")]  # fmt: skip
        ends = f"{input_value(row['input'], row['low'])} {input_value(row['input'], row['high'])}"
        made.add_row(Text(names[row["input"]]), Text(ends), *bars, *(_change(change) for change in changes))
    console.print(made)
    if len(cost) > MOST:
        console.print(Text(f"... and {len(cost) - MOST} more: tables/tornado.csv", style="dim"))
    for row in cost.to_dict("records"):
        for end in ("low", "high"):
            if row[f"at_{end}"] != row[f"at_{end}"]:
                where = f"{names[row['input']]} at {input_value(row['input'], row[end])}"
                console.print(Text(f"no plan with {where}: {plain(row[f'reason_{end}'])}", style="red"))


def _change(usd: float) -> Text:
    if usd != usd:
        return Text("no plan", style="red")
    return Text("0" if abs(usd) < 0.5 else ("+" if usd > 0 else "") + money(usd))


def _indices(console: Console, sobol: pd.DataFrame, names: dict[str, str], size: int) -> None:
    """First and total index of cost."""
    cost = sobol[sobol["output"] == "objective_usd"]
    if cost.empty:
        console.print(Text("Cost does not vary over the samples."))
        return
    rows = [[names[row["input"]], _index(row["first"]), _index(row["total"]), f"{row['confidence']:.2f}"]
            for row in cost.head(MOST).to_dict("records")]  # fmt: skip
    console.print()
    console.print(Text(f"Share of the variance of cost (Sobol, N = {size})", style="bold"))
    console.print(table(["input", ("alone", "right"), ("with others", "right"), ("+/-", "right")], rows))
    rest = cost.iloc[MOST:]
    if len(rest):
        largest = f"with others at most {max(0.0, float(rest['total'].max())):.2f}"
        console.print(Text(f"... and {len(rest)} more, {largest}: tables/sobol.csv", style="dim"))
    console.print(Text("+/-: half of the 95% interval of the index with others, by bootstrap", style="dim"))


def _index(value: float) -> str:
    """An estimate near 0 may come out below it: sampling noise."""
    return f"{value:.2f}" if abs(value) >= 0.005 else "0.00"


def _drivers(console: Console, indices: pd.DataFrame, names: dict[str, str], by: str, title: str) -> None:
    """The two strongest inputs of every channel share and HHI, strongest outputs first."""
    rows = []
    outputs = [name for name in dict.fromkeys(indices["output"]) if name != "objective_usd"]
    for output in outputs:
        own = indices[indices["output"] == output]
        top = [f"{names[row['input']]} {row[by]:.2f}" for row in own.head(2).to_dict("records") if abs(row[by]) >= 0.05]
        if top:
            rows.append([_output(output), *top, *[""] * (2 - len(top))])
    if not rows:
        return
    console.print()
    shown = [row for row in rows if row[0].endswith("HHI")] if len(rows) > MOST_MIXES else rows
    console.print(Text(title, style="bold"))
    console.print(table([("output", "whole"), "most", "next"], shown[: 2 * MOST_MIXES]))
    if len(shown) < len(rows):
        console.print(Text(f"(and {len(rows) - len(shown)} channel shares: the folder's tables)", style="dim"))


def _output(name: str) -> str:
    measure = Measure.named(name)
    return f"{measure.material} {measure.member or 'HHI'}".strip()


def _left_out(console: Console, found: Sensitivity, names: dict[str, str]) -> None:
    """Rank correlations of the samples that have a plan, and how many have none."""
    samples, of = found.left_out
    console.print()
    console.print(Text(f"{samples} of {of} samples ({100 * samples / of:.2g}%) have no plan and are left out: no Sobol "
                       f"indices; rank correlations of the other {of - samples} instead.", style="bold"))  # fmt: skip
    cost = found.correlations[found.correlations["output"] == "objective_usd"]
    rows = [[names[row["input"]], f"{row['rank_correlation']:+.2f}"] for row in cost.head(MOST).to_dict("records")]
    if rows:
        console.print()
        console.print(table(["input", ("with cost", "right")], rows))
    _drivers(console, found.correlations, names, "rank_correlation",
             f"What the mix in {found.document['year']} goes with: rank correlation")  # fmt: skip
