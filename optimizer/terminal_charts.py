"""Charts in the terminal, where they say more than a table: drawn only on a terminal that shows blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from optimizer import summaries
from optimizer.console import money, plain
from optimizer.plan import Plan

MOST = 10  # bars of one chart
WIDEST = 30  # cells on each side


def drawable(console: Console) -> bool:
    """Whether the console is a terminal that shows block characters; nothing is drawn into a pipe or file."""
    return console.is_terminal and not console.options.ascii_only and console.width >= 60


def difference_bars(console: Console, title: str, rows: Sequence[tuple[str, float]]) -> None:
    """Bars to the left (less) and to the right (more) of a line, one a name, with the amount in USD."""
    largest = max((abs(value) for _, value in rows), default=0.0)
    if not largest or not drawable(console):
        return
    names = [plain(name) for name, _ in rows]
    amounts = [("+" if value > 0 else "") + money(value) for _, value in rows]
    room = console.width - max(map(len, names)) - max(map(len, amounts)) - 4
    cells = min(WIDEST, room // 2)
    if cells < 5:
        return
    grid = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False,
                 padding=(0, 1, 0, 0))  # fmt: skip
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, width=cells)
    grid.add_column(no_wrap=True, width=cells)
    grid.add_column(no_wrap=True, justify="right")
    for name, amount, (_, value) in zip(names, amounts, rows, strict=True):
        size = abs(value)
        less = Bar(largest, largest - size if value < 0 else largest, largest, width=cells, color="green")
        more = Bar(largest, 0, size if value > 0 else 0, width=cells, color="red")
        grid.add_row(Text(name), less, more, Text(amount))
    console.print()
    console.print(grid)


def against_today(console: Console, plan: Plan, year: int) -> None:
    """Which minerals cost less and which more than today; nothing for a case of one mineral."""
    both = summaries.sides(plan)
    if "today" in both:
        _moved(console, summaries.costs(both, "mineral"), year, "today", ["plan"])


def against_first(console: Console, plans: Mapping[str, Plan], year: int) -> None:
    """Which minerals cost less and which more than in the first run."""
    first, *others = plans
    tables = {name: plan.tables for name, plan in plans.items()}
    _moved(console, summaries.costs(tables, "mineral"), year, first, others)


def _moved(console: Console, table: pd.DataFrame, year: int, base: str, others: Sequence[str]) -> None:
    table = table[table["year"] == year].set_index("mineral")
    for who in others:
        change = (table[who] - table[base]).sort_values()
        kept = change[change.abs() > 0.001 * change.abs().max()]
        kept = kept[kept.abs().rank(ascending=False, method="first") <= MOST]
        if len(table) > 1 and len(kept):
            rows = [(str(mineral), float(value)) for mineral, value in kept.items()]
            left = f", the {MOST} largest" if len(change[change != 0]) > MOST else ""
            against = f"More or less than {plain(base)}" if who == "plan" else f"{plain(who)} against {plain(base)}"
            difference_bars(console, f"{against} in {year}, USD a year{left}", rows)
