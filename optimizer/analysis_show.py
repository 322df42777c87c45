"""The folder of an analysis shown again: its answer where it has a view, its document, or one of its tables."""

from __future__ import annotations

import shutil
import sys
from json import dumps
from pathlib import Path
from typing import Any

from rich.text import Text

from models.problems import CaseError, Problem, nearest
from optimizer import console
from optimizer.analysis_folder import KINDS, read_table


def analysis_kind(folder: Path) -> str | None:
    """What analysis a folder is of; None where it is of none."""
    return next((kind for kind in KINDS if (folder / f"{kind}.json").is_file()), None)


def show_analysis(folder: Path, kind: str, name: str | None, year: int | None, as_json: bool) -> int:
    """The answer (or, with ``name``, a table) of an analysis."""
    tables = sorted(path.stem for path in (folder / "tables").glob("*.csv"))
    screen = console.results()
    if name is not None:
        return _table(screen, folder, name, tables, year, as_json)
    if as_json:
        with (folder / f"{kind}.json").open(encoding="utf-8") as file:
            shutil.copyfileobj(file, sys.stdout)
        return 0
    if kind == "sweep":
        from optimizer import sweep_views
        from optimizer.sweeps import read_sweep

        sweep_views.sweep(screen, read_sweep(folder), year)
    elif kind == "sensitivity":
        from optimizer import sensitivity_views
        from optimizer.sensitivities import read_sensitivity

        sensitivity_views.sensitivity(screen, read_sensitivity(folder))
    else:
        screen.print(Text(f"A folder of {kind}: oremix report {folder} draws it.", style="bold"), soft_wrap=True)
    screen.print(Text(f"tables: {', '.join(tables)} (oremix show {folder} TABLE)", style="dim"), soft_wrap=True)
    return 0


def _table(screen: Any, folder: Path, name: str, tables: list[str], year: int | None, as_json: bool) -> int:
    from optimizer.plan import records

    if name not in tables:
        raise CaseError([Problem("show", f"no such table; {nearest(name, tables)}", value=name)])
    table = read_table(folder, name)
    if year is not None and "year" in table:
        table = table[table["year"] == year]
    if as_json:
        sys.stdout.write(dumps({"run": str(folder), "table": name, "rows": records(table)}, allow_nan=False) + "\n")
        return 0
    headers = [(str(column), "right") if table[column].dtype.kind in "if" else str(column) for column in table.columns]
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    screen.print(console.table(headers, rows))
    return 0


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.6g}"
    return "" if value is None else str(value)
