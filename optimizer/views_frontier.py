"""What a planner sees of a frontier: the answer in words, a chart, and a row for each breakpoint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.text import Text

from optimizer.console import money, plain, table
from optimizer.terminal_charts import drawable
from optimizer.tradeoff import Frontier

MOST = 24  # rows of the table; the rest is in the folder
HIGH = 14  # lines of the chart


def frontier(console: Console, found: Frontier) -> None:
    """The answer first: what the limit costs over its range, where it ends; then the chart and the breakpoints."""
    _headline(console, found)
    _chart(console, found)
    _table(console, found)


def limit_text(found: Frontier, limit: float) -> str:
    """A limit as people write it."""
    if found.unit == "share":
        return f"{100 * limit:.4g}%"
    return f"{limit:,.0f}" if found.unit in ("USD a year", "suppliers", "days") else f"{limit:.4g}"


def _headline(console: Console, found: Frontier) -> None:
    points = found.points
    cost, unit = points["objective_usd"], "" if found.unit == "share" else f" {found.unit}"
    title = plain(found.about.get("title") or found.about.get("case", ""))
    console.print(Text(title, style="bold"))
    bound = "at most" if found.bound == "max" else "at least"
    tight, loose = (0, len(points) - 1) if found.bound == "max" else (len(points) - 1, 0)
    ends = [limit_text(found, float(points["limit"][k])) for k in (loose, tight)]
    more = float(cost[tight] - cost[loose])
    if len(points) == 1:
        console.print(Text(f"{plain(found.key)}: {bound} {ends[0]}{unit} is the only limit that has a plan: "
                           f"{money(float(cost[0]))} USD in all."))  # fmt: skip
    else:
        share = f" ({100 * more / abs(cost[loose]):.2g}%)" if cost[loose] else ""
        way = f"from {bound} {ends[0]} to {bound} {ends[1]}{unit}"
        console.print(Text(f"{plain(found.key)}: {way}, the least cost rises by {money(more)} USD{share}, "
                           f"to {money(float(cost[tight]))} USD in all."))  # fmt: skip
    if found.stops is not None and len(points) > 1:
        free = limit_text(found, found.stops)
        word = "From" if found.bound == "max" else "Up to"
        console.print(Text(f"{word} {free}{unit}{' on' if word == 'From' else ''} it costs nothing."))
    if found.ends_at:
        shown = ", ".join(found.ends_at[:4]) + (" and others" if len(found.ends_at) > 4 else "")
        way = "Below" if found.bound == "max" else "Above"
        console.print(Text(f"{way} {ends[1]}{unit} there is no plan: {plain(shown)} can go no further."))
    if found.why:
        console.print(Text(f"Not exact: {found.why}."))


def _chart(console: Console, found: Frontier) -> None:
    """The curve with its breakpoints, on a terminal; nothing into a pipe."""
    if not drawable(console) or len(found.points) < 3:
        return
    from uniplot import plot_to_string

    x = found.points["limit"].to_numpy() * (100 if found.unit == "share" else 1)
    y = found.points["objective_usd"].to_numpy()
    most = float(np.abs(y).max())
    size, word = (1e9, "billion ") if most >= 1e9 else (1e6, "million ") if most >= 1e6 else (1.0, "")
    unit = "%" if found.unit == "share" else f" {found.unit}"
    width = max(30, min(console.width - 16, 110))
    lines = plot_to_string(
        [y / size, y / size], [x, x], lines=[True, False], width=width, height=HIGH, color=False,
        x_min=float(x.min()), x_max=float(x.max()),
    )  # fmt: skip
    console.print()
    console.print(Text(f"least cost, {word}USD in all, over the limit ({unit.strip()})", style="bold"))
    for line in lines.split("\n"):
        console.print(Text(line.rstrip()), no_wrap=True, overflow="crop")


def _table(console: Console, found: Frontier) -> None:
    points = found.points
    share = found.unit == "share"
    slope = points["slope_usd_per_point"] if share else points["slope_usd"]
    shown = _shown(found)
    rows = []
    for k in shown:
        limit = float(points["limit"][k])
        per = float(slope[k])
        rows.append([
            limit_text(found, limit), money(float(points["objective_usd"][k])),
            "no plan" if per != per else "0" if per == 0 else money(per), Text(_changes(found, limit)),
        ])  # fmt: skip
    console.print()
    per_one = "USD a point" if share else "USD per 1"
    headers = [("limit", "right"), ("USD in all", "right"), (f"{per_one}, then", "right")]
    console.print(table([*headers, "at this limit, as it rises"], rows))
    if len(shown) < len(points):
        console.print(Text(f"({len(points) - len(shown)} more points in tables/points.csv: these bend it most)",
                           style="dim"))  # fmt: skip


def _shown(found: Frontier) -> Sequence[int]:
    """The ends and the sharpest breakpoints, in order."""
    count = len(found.points)
    if count <= MOST:
        return range(count)
    slope = found.points["slope_usd"].to_numpy()
    bend = np.abs(np.diff(slope[: count - 1], prepend=slope[0]))
    chosen = set(np.argsort(-bend)[: MOST - 2].tolist()) | {0, count - 1}
    return sorted(chosen)


def _changes(found: Frontier, limit: float) -> str:
    """Who enters, leaves or is at capacity at a limit, the largest first; two names and how many more."""
    if not len(found.moves):
        return ""
    here = found.moves[(found.moves["limit"] == limit) & (found.moves["change"] != "other pace")]
    size = (here["t_per_limit_after"] - here["t_per_limit_before"]).abs()
    here = here.loc[size.sort_values(ascending=False, kind="stable").index]
    words = [f"{supplier} {change} ({year})" for supplier, change, year in
             zip(here["supplier"], here["change"], here["year"], strict=True)]  # fmt: skip
    more = f" and {len(words) - 2} more" if len(words) > 2 else ""
    return plain(", ".join(words[:2]) + more)
