"""What a planner sees of an explanation: what binds, what is scarce, who nearly comes in, one supplier's story."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.text import Text

from optimizer.console import money, plain, table, tonnes
from optimizer.explaining import Explanation
from optimizer.infeasible_views import WORDS
from optimizer.views import IN_SHARES, PER, denominators, limit_text

MOST = 8
EVEN = 1e-6  # relative to its cost: as good as what is in
POINTS = ("share", "each_share", "provenance", "survive")
_PER = dict.fromkeys(POINTS, "a percentage point") | {"ban": "a tonne", "budget": "a dollar", "stock_days": "a day"}
Row = Mapping[Any, Any]


def explanation(console: Console, found: Explanation, year: int, verbose: bool) -> None:
    """The short answer, or the stories of the suppliers asked about; ``verbose``: every row of the year."""
    most = 10**6 if verbose else MOST
    console.print(Text(plain(found.title or found.case), style="bold"))
    for note in found.notes:
        console.print(Text(plain(note), style="yellow"))
    _rules(console, found, year, most)
    if found.asked:
        for name in found.asked:
            _story(console, found, name, year)
    else:
        _scarce(console, found, year, most)
        if verbose:
            _demands(console, found, year)
        _out(console, found, year, most)
    _checked(console, found)


def _rules(console: Console, found: Explanation, year: int, most: int) -> None:
    """Each rule that costs something: what a step looser saves, what a step tighter costs, how far that holds."""
    prices = found.prices[found.prices["year"] == year]
    sides = prices[["price_usd_per_y", "below_usd_per_y", "above_usd_per_y"]].abs().max(axis=1)
    costly = prices.assign(size=sides, shares=prices["kind"].isin(IN_SHARES))[sides > 0.5]
    costly = costly.sort_values(["shares", "size"], ascending=False)
    console.print()
    if costly.empty:
        said = f"No rule stands at its limit in {year}."
        if len(prices):
            said = f"{len(prices)} rows of rules stand at their limit in {year}; none of them costs anything."
        console.print(Text(said))
        return
    shown = costly.head(most)
    heads: list[Any] = ["where", ("limit", "right"), ("looser saves", "right"), ("tighter costs", "right"),
                        ("holds", "right")]  # fmt: skip
    console.print(table([f"binds in {year}", *heads], [_rule(row) for row in shown.to_dict("records")]))
    _more(console, len(costly) - most, "rows of rules that bind")
    units = dict.fromkeys(_PER.get(kind, PER.get(kind, "")) for kind in shown["kind"])
    console.print(Text(f"looser, tighter: USD a year for {', '.join(units)}", style="dim"))
    denominators(console, costly.to_dict("records"))
    if costly.head(most)["curved"].astype(bool).any():
        console.print(Text("~ the cost bends here: over this range the price stays within 1%", style="dim"))


def _rule(row: Row) -> list[Any]:
    per = 100.0 if row["kind"] in IN_SHARES else 1.0
    ways = [("above", -1.0), ("below", -1.0)] if row["bound"] == "max" else [("below", 1.0), ("above", 1.0)]
    looser, tighter = (_side(row, way, sign / per) for way, sign in ways)
    where = f"{row['material'] or row['mineral'] or 'everything'} {row['member']}".strip()
    curved = "~" if row["curved"] else ""
    return [row["rule"], where, f"{row['bound']} {limit_text(row)}", looser, tighter, curved + _holds(row)]


def _side(row: Row, way: str, factor: float) -> str:
    """What lies on one side of a limit, in USD a year for a step."""
    price = row[f"{way}_usd_per_y"]
    if price is None or np.isnan(price):
        return "no plan" if row["from_ends" if way == "below" else "to_ends"] == "no plan" else "-"
    return money(price * factor) if abs(price * factor) >= 0.5 else "0"


def _holds(row: Row) -> str:
    """The range over which a price holds, in the unit of its limit."""
    low, high = row["from"], row["to"]
    if high - low <= 1e-9 * max(1.0, abs(row["limit"])):
        return "only here"
    if row["kind"] in POINTS:
        return f"{100 * low:.3g}-{100 * high:.3g}%"
    ends = [f"{end:.4g}" if abs(end) < 1e4 else money(end) for end in (low, high) if np.isfinite(end)]
    return f"{ends[0]} on" if len(ends) == 1 else "-".join(ends)


def _scarce(console: Console, found: Explanation, year: int, most: int) -> None:
    """What one tonne more of each scarce thing saves; first what would save most as far as its price holds."""
    limits = found.limits
    mine = limits[(limits["year"] == year) & (limits["what"] != "demand") & (limits["above_usd_per_y"] < -0.5)]
    if mine.empty:
        return
    further = np.where(np.isfinite(mine["to"]), mine["to"] - mine["limit"], mine["limit"])
    mine = mine.assign(saves=-mine["above_usd_per_y"] * further).sort_values("saves", ascending=False)
    rows = [
        [f"{WORDS[row['kind'] or row['what']]} {row['name']}", tonnes(row["limit"]), money(-row["above_usd_per_y"]),
         "no end" if np.isinf(row["to"]) else tonnes(row["to"])]
        for row in mine.head(most).to_dict("records")
    ]  # fmt: skip
    console.print()
    heads = [("has t", "right"), ("one more saves USD", "right"), ("up to t", "right")]
    console.print(table([f"scarce in {year}", *heads], rows))
    _more(console, len(mine) - most, "scarce capacities, lanes and feedstocks")


def _demands(console: Console, found: Explanation, year: int) -> None:
    """What one tonne more of each requirement costs."""
    limits = found.limits
    mine = limits[(limits["year"] == year) & (limits["what"] == "demand")]
    rows = [
        [row["material"], row["name"], tonnes(row["limit"]), _side(row, "above", 1.0), _holds({**row, "kind": ""})]
        for row in mine.to_dict("records")
    ]
    console.print()
    heads: list[Any] = ["at", ("required t", "right"), ("one more costs USD", "right"), ("holds", "right")]
    console.print(table([f"required in {year}", *heads], rows))


def _out(console: Console, found: Explanation, year: int, most: int) -> None:
    """Suppliers that are out, nearest to coming in first."""
    mine = found.suppliers[(found.suppliers["year"] == year) & found.suppliers["enters_below_usd_per_t"].notna()]
    if mine.empty:
        return
    relative = mine["gap_usd_per_t"] / mine["cost_usd_per_t"].abs().clip(lower=1.0)
    mine = mine.assign(relative=relative).sort_values("relative", kind="stable")
    even, mine = mine[mine["relative"] <= EVEN], mine[mine["relative"] > EVEN]
    rows = [
        [row["supplier"], money(row["cost_usd_per_t"]), money(row["enters_below_usd_per_t"]),
         f"{100 * row['relative']:.1f}%", row["instead"] or "-"]
        for row in mine.head(most).to_dict("records")
    ]  # fmt: skip
    console.print()
    heads: list[Any] = [("costs USD/t", "right"), ("in below", "right"), ("too dear", "right"), "instead of"]
    if rows:
        console.print(table([f"out in {year}", *heads], rows))
    _more(console, len(mine) - most, "suppliers that are out (nearest first)")
    if len(even):
        names = ", ".join(even["supplier"].head(3)) + (", ..." if len(even) > 3 else "")
        console.print(Text(f"{len(even)} more would do as well as those that are in: {plain(names)}", style="dim"))
    console.print(Text("why one is in or out: --why-not SUPPLIER", style="dim"))


def _more(console: Console, left: int, what: str) -> None:
    if left > 0:
        console.print(Text(f"... and {left} more {what}: --verbose, or the tables", style="dim"))


def _story(console: Console, found: Explanation, name: str, year: int) -> None:
    """One supplier: each year, then a tonne of it in the year shown."""
    mine = found.suppliers[found.suppliers["supplier"] == name]
    first = mine.iloc[0]
    console.print()
    console.print(Text(f"{plain(name)} ({plain(first['name'])}): {plain(first['material'])}", style="bold"))
    rows = [
        [row["year"], tonnes(row["produced_t"]), tonnes(row["capacity_t"]), money(row["cost_usd_per_t"]), _turn(row),
         row["why"]]
        for row in mine.to_dict("records")
    ]  # fmt: skip
    heads: list[Any] = [("makes t", "right"), ("of t", "right"), ("costs USD/t", "right"), ("in below", "right"), "why"]
    console.print(table([("year", "whole"), *heads], rows))
    lines = found.build_up[(found.build_up["supplier"] == name) & (found.build_up["year"] == year)]
    if len(lines):
        console.print()
        items = [[line["item"], money(line["usd_per_t"])] for line in lines.to_dict("records")]
        items[-1] = [Text(plain(cell), style="bold") for cell in items[-1]]
        console.print(table([f"a tonne of it in {year}", ("USD", "right")], items))
    swap = found.instead[(found.instead["supplier"] == name) & (found.instead["year"] == year)]
    if len(swap):
        is_in = float(mine[mine["year"] == year]["produced_t"].iloc[0]) > 0
        rows = [
            [line["who"], f"{line['t_per_t']:+.3g}", f"{line['usd_per_t']:+,.0f}"]
            for line in swap.to_dict("records")
        ]  # fmt: skip
        rows.append([Text("together", style="bold"), "", Text(f"{swap['usd_per_t'].sum():+,.0f}", style="bold")])
        console.print()
        head = f"for a tonne less of it in {year}" if is_in else f"for a tonne of it in {year}"
        console.print(table([head, ("t", "right"), ("USD", "right")], rows))


def _turn(row: Mapping[Any, Any]) -> str:
    """The cost below which it is in."""
    for key in ("enters_below_usd_per_t", "leaves_above_usd_per_t"):
        if row[key] is not None and not np.isnan(row[key]):
            return money(row[key])
    return "-"


def _checked(console: Console, found: Explanation) -> None:
    """How much of it was checked by solving again."""
    priced = pd.concat([found.prices["confirmed"], found.limits["confirmed"]]).astype(bool)
    asked = found.suppliers["confirmed"].dropna().astype(bool)
    said = [f"{int(priced.sum())} of {len(priced)} prices confirmed by solving again at the end of their range"]
    if len(asked):
        said.append(f"{int(asked.sum())} of {len(asked)} suppliers just below and just above the cost named")
    console.print()
    console.print(Text("; ".join(said) + ".", style="dim"))
