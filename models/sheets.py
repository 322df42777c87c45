"""Reads a case from a workbook: one sheet a table, case.toml line by line in the sheet ``case``.

Values come from python-calamine (extra ``[excel]``). It gives a cell with an error (#N/A) and a formula that
was never computed as blank, and a blank cell means "the default": so the workbook's own XML is looked through
for those two, and each is a problem.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd

from models.config import parse_toml
from models.problems import CaseError, Problem, Problems
from models.reading import blank_table, refuse_unknown, table_of
from models.tables import REQUIRED_TABLES, TABLES

ENDINGS = (".xlsx", ".xlsm")
SETTINGS_SHEET = "case"
HELPERS = ("about", "lists", "notes")  # sheets for people; so are those whose name starts with _
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_FILE = re.compile(r"\b(?:tables/)?(" + "|".join(TABLES) + r")\.csv(?::(\d+))?")


@dataclass(frozen=True)
class Workbook:
    """Where the tables of a case stand in its workbook: table -> column -> letters of the sheet's column."""

    file: str
    columns: Mapping[str, Mapping[str, str]]

    def placed(self, problem: Problem) -> Problem:
        """The problem of a table or of case.toml, told by sheet and cell."""
        message = self.worded(problem.message)
        if problem.file == "case.toml":
            cell = f"A{problem.row}" if problem.row is not None else ""
            return replace(problem, file=f"{self.file}:{SETTINGS_SHEET}", message=message, cell=cell)
        table = problem.file.removeprefix("tables/").removesuffix(".csv")
        if not problem.file.startswith("tables/"):
            return replace(problem, message=message)
        letters = self.columns.get(table, {}).get(problem.column.partition("+")[0], "")
        cell = f"{letters}{problem.row}" if letters and problem.row is not None else ""
        return replace(problem, file=f"{self.file}:{table}", message=message, cell=cell)

    def worded(self, message: str) -> str:
        """A message that speaks of the sheets, not of CSV files."""
        return _FILE.sub(lambda m: f"sheet {m[1]}" + (f" row {m[2]}" if m[2] else ""), message)


def is_workbook(path: Path) -> bool:
    """Whether the path names a workbook."""
    return path.suffix.lower() in ENDINGS


def read_workbook(path: Path, problems: Problems) -> tuple[dict[str, Any] | None, dict[str, pd.DataFrame], Workbook]:
    """The document of case.toml (None where it cannot be read), the checked tables, and where they stand.

    Problems are told as those of a case folder; ``Workbook.placed`` names sheet and cell.
    """
    text, sheets = sheet_records(path, problems)
    tables, places = {}, {}
    for name in TABLES:
        if name not in sheets:
            if name in REQUIRED_TABLES:
                problems.add(f"tables/{name}.csv", "this sheet is missing; `oremix columns` lists its columns")
            tables[name] = blank_table(name)
            continue
        records, lines = sheets[name]
        if records:
            places[name] = {header.strip(): column_letters(at) for at, header in enumerate(records[0])}
        tables[name] = table_of(records, lines, name, f"tables/{name}.csv", problems)
    raw = None if text is None else parse_toml(text, "case.toml", problems)
    return raw, tables, Workbook(path.name, places)


def sheet_records(
    path: Path, problems: Problems
) -> tuple[str | None, dict[str, tuple[list[list[str]], list[int]]]]:  # fmt: skip
    """The text of case.toml, and for each table's sheet its records as texts with their rows."""
    book = _open(path)
    unread = _unread_cells(path)
    text, found = None, {}
    for sheet in book.sheet_names:
        name = sheet.strip().lower()
        if name in HELPERS or name.startswith("_"):
            continue
        rows = [[_as_text(cell) for cell in row] for row in _rows(book, sheet)]
        if name == SETTINGS_SHEET:
            for place, row in enumerate(rows, 1):
                if any(row[1:]):
                    problems.add("case.toml", "write each line of case.toml in column A alone", place)
            text = "\n".join(row[0] if row else "" for row in rows) + "\n"
            file = "case.toml"
        else:
            file = f"tables/{name}.csv"
            refuse_unknown(name, file, problems)
            if name not in TABLES:
                continue
            found[name] = _records(rows)
        for cell, why in unread.get(sheet, ()):
            letters = cell.rstrip("0123456789")
            at, number = column_number(letters), int(cell.removeprefix(letters))
            header = found[name][0][0] if name in found and found[name][0] else []
            problems.add(file, why, number, header[at].strip() if at < len(header) else letters)
    if text is None:
        problems.add("case.toml", "this sheet is missing: it holds case.toml, one line a row in column A")
    return text, found


def _records(rows: list[list[str]]) -> tuple[list[list[str]], list[int]]:
    """The rows that are not blank, each with its number, without the blank columns at the right."""
    kept = [(row, place) for place, row in enumerate(rows, 1) if any(cell.strip() for cell in row)]
    width = max((at + 1 for row, _ in kept for at, cell in enumerate(row) if cell.strip()), default=0)
    return [row[:width] for row, _ in kept], [place for _, place in kept]


def _open(path: Path) -> Any:
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        message = "reading a workbook needs python-calamine: pip install 'oremix[excel]'"
        raise CaseError([Problem(path.name, message)]) from None
    try:
        return CalamineWorkbook.from_path(path)
    except (CalamineError, OSError) as error:
        raise CaseError([Problem(path.name, f"not a workbook that can be read: {error}")]) from error


def _rows(book: Any, sheet: str) -> Iterable[Sequence[Any]]:
    return book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)  # type: ignore[no-any-return]  # calamine


def _as_text(cell: Any) -> str:
    """A cell as a CSV file has it: numbers to the last digit, dates as 2026-11-21."""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ") if cell.time() != time() else cell.date().isoformat()
    if isinstance(cell, (date, time)):
        return cell.isoformat()
    return str(cell)


def _unread_cells(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Sheet -> cells that calamine gives as blank though they are not: errors, and formulas without a value."""
    found: dict[str, list[tuple[str, str]]] = {}
    try:
        with zipfile.ZipFile(path) as package:
            for sheet, part in _parts(package).items():
                with package.open(part) as stream:
                    found[sheet] = list(_wrong_cells(stream))
    except (zipfile.BadZipFile, ET.ParseError, KeyError) as error:
        raise CaseError([Problem(path.name, f"not a workbook that can be read: {error}")]) from error
    return found


def _parts(package: zipfile.ZipFile) -> dict[str, str]:
    """Sheet name -> its file inside the workbook."""
    links = ET.fromstring(package.read("xl/_rels/workbook.xml.rels"))
    target = {link.get("Id"): str(link.get("Target")) for link in links}
    sheets = ET.fromstring(package.read("xl/workbook.xml")).iter(f"{_MAIN}sheet")
    parts = {str(sheet.get("name")): target[sheet.get(_LINK)] for sheet in sheets}
    return {name: part.lstrip("/") if part.startswith("/") else f"xl/{part}" for name, part in parts.items()}


def _wrong_cells(stream: Any) -> Iterable[tuple[str, str]]:
    for _, cell in ET.iterparse(stream):
        if cell.tag != f"{_MAIN}c":
            continue
        value = cell.findtext(f"{_MAIN}v")
        if cell.get("t") == "e":
            yield str(cell.get("r")), f"the cell holds an error, {value}"
        elif cell.find(f"{_MAIN}f") is not None and value is None:
            yield str(cell.get("r")), "a formula that was never computed: open the workbook, save it, and try again"
        cell.clear()


def column_letters(at: int) -> str:
    """Letters of a sheet's column by its place from 0: 0 -> A, 26 -> AA."""
    letters = ""
    at += 1
    while at:
        at, rest = divmod(at - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def column_number(letters: str) -> int:
    """Place from 0 of a sheet's column by its letters: A -> 0."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
