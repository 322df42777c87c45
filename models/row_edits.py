"""Rows that levers add to the tables of a case being changed, and values that change with the years."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.case import Case, Change
from models.change_text import plain, row_name
from models.tables import columns

if TYPE_CHECKING:
    from models.changes import Editor


def add_row(editor: Editor, table: str, values: dict[str, Any], by: str) -> list[Any]:
    """Add a row; cells not given take their default."""
    cells: dict[str, Any] = {}
    for name, column in columns(table).items():
        number = column.kind in ("number", "year")
        blank = np.nan if number else ""
        value = values.get(name, column.default)
        cells[name] = blank if value is None else float(value) if number else value
    frame = editor.tables[table]
    cells["row"] = int(frame["row"].max()) + 1 if len(frame) else 2
    added = pd.DataFrame({name: pd.Series([cells[name]], dtype=frame[name].dtype) for name in frame.columns})
    editor.tables[table] = frame = pd.concat([frame, added], ignore_index=True) if len(frame) else added
    key = row_name(frame, table, len(frame) - 1)
    named = {pair.partition("=")[0] for pair in key.split(",")}
    given = {name: plain(value) for name, value in values.items() if value is not None and name not in named}
    if len(given) == 1:
        editor.log.append(Change(f"{table}[{key}].{next(iter(given))}", None, next(iter(given.values())), by))
    else:
        editor.log.append(Change(f"{table}[{key}]", None, given or "a row", by))
    return [(table, key, name) for name in values]


def set_series(
    editor: Editor, case: Case, supplier: str, column: str, values: Sequence[float], by: str
) -> list[Any]:  # fmt: skip
    """Give a supplier's column these values in the horizon years, through supplier_years; [] where it has them.

    ``case``: the case as the editor has it before.
    """
    old = case.by_year(column)[case.supplier_position[supplier]]
    new = np.asarray(values, dtype=float)
    first = next(iter(np.flatnonzero(~np.isclose(old, new, equal_nan=True))), len(new))
    cells: list[Any] = []
    stepped = editor.tables["supplier_years"]
    before = stepped[(stepped["supplier"] == supplier) & stepped[column].notna() & (stepped["year"] <= case.years[0])]
    base = int(first)
    if base == 0 and before.empty:
        table, place = editor.tables["suppliers"], case.supplier_position[supplier]
        editor.log.append(
            Change(f"suppliers[supplier={supplier}].{column}", plain(table[column].iloc[place]), plain(new[0]), by)
        )
        table.at[table.index[place], column] = new[0]
        cells.append(("suppliers", f"supplier={supplier}", column))
        base = 1
    for at in range(base, len(new)):
        year = case.years[at]
        steps = editor.tables["supplier_years"]
        own = (steps["supplier"] == supplier).to_numpy()
        here = np.flatnonzero(own & (steps["year"] == year).to_numpy())
        since = case.years[at - 1] if at > first else year - 1
        replaced = own & steps[column].notna().to_numpy() & (steps["year"] > since).to_numpy()
        if at > first and new[at] == new[at - 1] and not (replaced & (steps["year"] <= year).to_numpy()).any():
            continue  # what was written for an earlier year goes on
        if len(here):
            key = f"supplier_years[{row_name(steps, 'supplier_years', int(here[0]))}].{column}"
            editor.log.append(Change(key, plain(steps[column].iloc[here[0]]), plain(new[at]), by))
            steps.at[steps.index[here[0]], column] = new[at]
        else:
            add_row(editor, "supplier_years", {"supplier": supplier, "year": year, column: float(new[at])}, by)
        cells.append(("supplier_years", f"supplier={supplier},year={year}", column))
    return cells
