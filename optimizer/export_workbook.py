"""A run as a workbook: the answer with charts, mix and allocation for people, then every table of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.case import Case
from models.sheets import column_letters
from optimizer import summaries
from optimizer.export import result_tables
from optimizer.palette import CHANNEL_COLOURS, PLAN, TODAY
from optimizer.plan import Plan
from optimizer.two_stage_text import guess_sentence, measures, over, weighs, worths

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

# Adds up only what a filter shows: 109 is SUM without hidden rows.
_TOTALS = ("t", "produced_t", "capacity_t", "usd_per_y", "public_usd_per_y", "freight_usd_per_y", "duty_usd_per_y",
           "built_t", "drawn_t", "capital_usd", "hold_usd_per_y")  # fmt: skip
_TOTALLED = ("suppliers", "flows", "costs", "shortage", "expansion", "stock", "substitution", "projects", "capacity")
_SHARES = ("share", "import_reliance", "probability", "low", "high")
_NUMBER = "[>=100]#,##0;[<=-100]-#,##0;#,##0.00#"  # gallium in tens of tonnes beside nickel in hundreds of thousands


class _Book:
    """A workbook being written, with its formats."""

    def __init__(self, book: Workbook) -> None:
        self.book = book
        self.formats: dict[str, Any] = {}

    def format(self, **wanted: Any) -> Any:
        key = repr(sorted(wanted.items()))
        if key not in self.formats:
            self.formats[key] = self.book.add_format(wanted)
        return self.formats[key]

    def number(self, name: str, **more: Any) -> Any:
        """The format of a column by the unit in its name."""
        if name == "year" or name.endswith("_year"):
            return self.format(num_format="0", **more)
        if name.endswith("share") or name in _SHARES:
            return self.format(num_format="0.0%", **more)
        if name.startswith("hhi") or name in ("value", "limit"):
            return self.format(num_format="[>=100]#,##0;0.000#", **more)
        if name == "usd" or name.endswith(("usd_per_y", "_usd")):
            return self.format(num_format="#,##0", **more)
        return self.format(num_format=_NUMBER, **more)

    def write(self, sheet: Worksheet, row: int, column: int, value: Any, how: Any = None) -> None:
        """A cell: numbers as numbers, everything else as text that never becomes a formula."""
        if value is None or (isinstance(value, float) and not np.isfinite(value)):
            sheet.write_blank(row, column, None, how)
        elif isinstance(value, (bool, np.bool_)):
            sheet.write_boolean(row, column, bool(value), how)
        elif isinstance(value, (int, float, np.integer, np.floating)):
            sheet.write_number(row, column, float(value), how)
        else:
            text = str(value)[:32767]
            # quotePrefix: stays text even after someone edits the cell
            guarded = self.format(quote_prefix=True) if text[:1] in ("=", "+", "-", "@") and how is None else how
            sheet.write_string(row, column, text, guarded)


def write_workbook(plan: Plan, case: Case, path: Path) -> None:
    """The workbook of a run: sheets answer, mix, allocation, one for each table, about."""
    import xlsxwriter

    with xlsxwriter.Workbook(path, {"strings_to_formulas": False, "strings_to_urls": False}) as inner:
        inner.set_properties({"title": plan.title or plan.case, "comments": "made by oremix"})
        inner.set_size(2400, 1500)
        book = _Book(inner)
        tables = result_tables(plan, case)
        about = tables.pop("about")
        _answer(book, plan, case)
        _mix(book, plan)
        _allocation(book, plan, case)
        for name, table in tables.items():
            _table(book, name, table)
        _table(book, "about", about, width=100)


def write_tables(tables: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Tables as a workbook, one sheet each (an analysis)."""
    import xlsxwriter

    with xlsxwriter.Workbook(path, {"strings_to_formulas": False, "strings_to_urls": False}) as inner:
        inner.set_size(2400, 1500)
        book = _Book(inner)
        for name, table in tables.items():
            _table(book, name, table)


def _answer(book: _Book, plan: Plan, case: Case) -> None:
    sheet = book.book.add_worksheet("answer")
    sheet.set_column(0, 0, 34)
    sheet.set_column(1, 12, 18)
    bold, big = book.format(bold=True), book.format(bold=True, font_size=14)
    book.write(sheet, 0, 0, plan.title or plan.case, big)
    yearly = summaries.yearly_costs(plan)
    names = [name for name in ("plan", "today", "difference") if name in yearly]
    words = {"plan": "plan (USD a year)", "today": "today's mix (USD a year)", "difference": "difference (USD a year)"}
    row = 2
    for at, text in enumerate(["year", "weight (years, discounted)", *(words[name] for name in names)]):
        book.write(sheet, row, at, text, book.format(bold=True, bottom=1, text_wrap=True))
    first = row + 1
    money, factor = book.format(num_format="#,##0"), book.format(num_format="0.0000")
    for place, item in enumerate(yearly.to_dict("records"), first):
        sheet.write_number(place, 0, item["year"])
        book.write(sheet, place, 1, item["weight"], factor)
        for at, name in enumerate(names, 2):
            if name == "difference":
                sheet.write_formula(place, at, f"=C{place + 1}-D{place + 1}", money, item[name])
            else:
                sheet.write_number(place, at, item[name], money)
    last = first + len(yearly) - 1
    book.write(sheet, last + 1, 0, f"present value in {plan.years[0]} (USD)", bold)
    for at, name in enumerate(names, 2):
        letter = chr(ord("A") + at)
        total = float((yearly["weight"] * yearly[name]).sum())
        formula = f"=SUMPRODUCT($B{first + 1}:$B{last + 1},{letter}{first + 1}:{letter}{last + 1})"
        sheet.write_formula(last + 1, at, formula, book.format(num_format="#,##0", bold=True, top=1), total)
    if weighs(plan):
        book.write(sheet, last + 2, 0, "where nothing happens, like every cost by year")
    _printed(sheet)
    row = _numbers(book, sheet, plan, case, last + 4)
    chart = book.book.add_chart({"type": "column"})
    for at, name in enumerate(names[:2], 2):
        chart.add_series({
            "name": name, "categories": ["answer", first, 0, last, 0], "values": ["answer", first, at, last, at],
            "fill": {"color": PLAN if name == "plan" else TODAY}, "gap": 80,
        })  # fmt: skip
    chart.set_title({"name": "Cost, USD a year", "name_font": {"size": 11}})
    chart.set_y_axis(
        {"min": 0, "num_format": '#,##0,,"m"', "major_gridlines": {"visible": True, "line": {"color": "#DDDDDD"}}}
    )
    chart.set_legend({"position": "bottom"})
    sheet.insert_chart(
        row + 1, 0, chart, {"x_scale": 1.2, "description": "Cost of the plan and of today's mix by year"}
    )


def _numbers(book: _Book, sheet: Worksheet, plan: Plan, case: Case, row: int) -> int:
    """The other numbers of the answer, today beside the plan; gives the row below."""
    found = summaries.headline(plan, case.home)
    year, head = found["last_year"], book.format(bold=True, bottom=1)
    for at, text in enumerate((f"in {year}", "", "plan", "today's mix")):
        book.write(sheet, row, at, text, head)
    lines = [
        ("delivered materials", found["materials"], found.get("materials_today")),
        ("more than half from one foreign country", found["dependent"], found.get("dependent_today")),
        ("rows of rules", found["rows"], None),
        ("of them at the limit", found["at_limit"], None),
        ("tonnes short, all years", found["short_t"], None),
    ]
    for place, (label, now, before) in enumerate(lines, row + 1):
        book.write(sheet, place, 0, label)
        book.write(sheet, place, 2, now)
        book.write(sheet, place, 3, before)
    return _weighed(book, sheet, plan, row + len(lines) + 2)


def _weighed(book: _Book, sheet: Worksheet, plan: Plan, row: int) -> int:
    """What a plan that weighs disruptions costs over the outcomes; gives the row below."""
    two = plan.two_stage
    if two is None or not weighs(plan):
        return row - 1
    head, money = book.format(bold=True, bottom=1), book.format(num_format="#,##0")
    for at, text in enumerate((f"disruptions weighed over {over(two)}", "", "USD, present value")):
        book.write(sheet, row, at, text, head)
    for place, (words, key) in enumerate([*measures(two), *worths(two)], row + 1):
        book.write(sheet, place, 0, words)
        book.write(sheet, place, 2, two[key], money)
    row += len(measures(two)) + len(worths(two)) + 1
    if guess_sentence(two):
        book.write(sheet, row, 0, guess_sentence(two))
        row += 1
    return row + 1


def _mix(book: _Book, plan: Plan) -> None:
    table = summaries.mix(summaries.sides(plan))
    named = table.rename(columns={"who": "of", "t": "delivered_t", **{c: f"{c}_share" for c in summaries.CHANNELS}})
    last = plan.years[-1]
    named = pd.concat([named[named["year"] == last], named[named["year"] != last]], ignore_index=True)
    sheet = _table(book, "mix", named)
    shown = int((named["year"] == last).sum())
    if not shown:
        return
    chart = book.book.add_chart({"type": "bar", "subtype": "percent_stacked"})
    start = list(named.columns).index("domestic_share")
    for at, channel in enumerate(summaries.CHANNELS, start):
        chart.add_series({
            "name": channel, "categories": ["mix", 1, 1, shown, 3], "values": ["mix", 1, at, shown, at],
            "fill": {"color": CHANNEL_COLOURS[channel]}, "gap": 30,
        })  # fmt: skip
    chart.set_title({"name": f"Delivered in {last}, by channel", "name_font": {"size": 11}})
    chart.set_y_axis({"reverse": True, "num_font": {"size": 8}})
    chart.set_x_axis({"num_format": "0%"})
    chart.set_legend({"position": "top"})
    chart.set_size({"width": 760, "height": max(260, 24 * shown + 100)})
    sheet.insert_chart(1, len(named.columns) + 1, chart, {"description": f"Mix of each material in {last}"})


def _allocation(book: _Book, plan: Plan, case: Case) -> None:
    _table(book, "allocation", summaries.allocation(plan, case), totals=[f"plan_{y}_t" for y in plan.years])


def _table(book: _Book, name: str, table: pd.DataFrame, totals: Sequence[str] = (), width: float = 50) -> Worksheet:
    """One sheet, one table: names with units as headers, filters, frozen header, totals of the rows shown."""
    sheet = book.book.add_worksheet(name[:31])
    columns = [str(column) for column in table.columns]
    summed = set(totals) | {c for c in columns if name.removeprefix("status_quo_") in _TOTALLED and c in _TOTALS}
    heads: list[dict[str, Any]] = []
    for at, column in enumerate(columns):
        cells = table.iloc[:, at]
        numeric = cells.dtype.kind in "iuf"
        how = book.number(column) if numeric else None
        head: dict[str, Any] = {"header": column, "header_format": book.format(bold=True, bg_color="#DCE6F1")}
        if column in summed and len(table):
            letters = column_letters(at)  # a plain range: not every spreadsheet knows the column of a table by its name
            total = f"SUBTOTAL(109,{letters}2:{letters}{len(table) + 1})"
            head |= {"total_function": total, "total_value": float(cells.sum()), "format": how}
        heads.append(head)
        for row, value in enumerate(cells.tolist(), 1):
            book.write(sheet, row, at, value, how)
        longest = max((len(str(value)) for value in cells.tolist()[:300]), default=0) if not numeric else 14
        sheet.set_column(at, at, min(max(len(column) + 3, longest + 1), width))
    if any("total_function" in head for head in heads):
        first = next((head for head in heads if "total_function" not in head), None)
        if first is not None:
            first["total_string"] = "total of the rows shown"
    totalled = any("total_function" in head for head in heads)
    sheet.add_table(
        0, 0, max(len(table), 1) + totalled, len(columns) - 1,
        {"name": f"t_{name}", "columns": heads, "total_row": totalled, "style": "Table Style Light 1"},
    )  # fmt: skip
    sheet.freeze_panes(1, 1)
    sheet.repeat_rows(0)
    _printed(sheet)
    return sheet


def _printed(sheet: Worksheet) -> None:
    """On paper: as wide as the page."""
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
