"""Cases as workbooks: writes one sheet a table with lists, units and meanings, and turns workbooks into folders."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from models.case import find_case, load_case
from models.cells import NUMERAL, countries
from models.problems import CaseError, Problem, Problems
from models.reading import read_records
from models.sheets import SETTINGS_SHEET, column_letters, sheet_records
from models.tables import TABLES, Column, columns

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

Records = list[list[str]]
LONGEST_CELL = 32767  # characters, Excel's limit
_SPARE_ROWS = 500  # below the data: drop-down lists reach that far
_LISTED = 5000  # rows to which lists of ids reach
# Columns that name an id of another table, wherever they stand but there.
_NAMED_IN = {"material": "materials", "input": "materials", "supplier": "suppliers"}


@dataclass(frozen=True)
class CaseTexts:
    """A case as it is written: the text of case.toml, and the header and records of each table that it has."""

    toml: str
    tables: Mapping[str, Records]


def read_texts(name: str | Path) -> CaseTexts:
    """The texts of a case folder, workbook or bundled case; raises ``CaseError`` where the case has problems."""
    load_case(name)
    place, problems = find_case(name), Problems()
    if place.is_file():
        text, sheets = sheet_records(place, problems)
        found = {table: records for table, (records, _) in sheets.items() if len(records) > 1}
        return CaseTexts(str(text), found)
    tables = {}
    for table in TABLES:
        path = place / "tables" / f"{table}.csv"
        read = read_records(path, f"tables/{table}.csv", problems) if path.is_file() else None
        if read is not None:
            tables[table] = read[0]
    text = (place / "case.toml").read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    return CaseTexts(text, tables)


def write_folder(texts: CaseTexts, folder: Path) -> None:
    """The case as case.toml and tables/*.csv in a new folder."""
    (folder / "tables").mkdir(parents=True)
    (folder / "case.toml").write_text(texts.toml, encoding="utf-8", newline="\n")
    for table, records in texts.tables.items():
        with (folder / "tables" / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(_without_blank_columns(table, records))


def _without_blank_columns(table: str, records: Records) -> Records:
    """Only the columns that are needed or hold anything (a workbook has them all)."""
    header = [cell.strip() for cell in records[0]]
    kept = [
        at for at, name in enumerate(header)
        if columns(table)[name].required or any(record[at].strip() for record in records[1:])
    ]  # fmt: skip
    return [[record[at] for at in kept] for record in records]


def write_workbook(texts: CaseTexts, path: Path) -> None:
    """The case as a workbook: sheets about, case, each table, lists. Raises ``CaseError`` for a text too long."""
    import xlsxwriter

    with xlsxwriter.Workbook(path, {"strings_to_formulas": False, "strings_to_urls": False}) as book:
        book.set_size(2400, 1500)
        formats = {
            "head": book.add_format({"bold": True, "bg_color": "#DCE6F1", "bottom": 1}),
            "needed": book.add_format({"bold": True, "bg_color": "#1F4E79", "font_color": "#FFFFFF", "bottom": 1}),
            "title": book.add_format({"bold": True, "font_size": 14}),
            "code": book.add_format({"font_name": "Courier New"}),
            "text": book.add_format({"num_format": "@"}),
        }
        _about(book, formats)
        _settings(book, texts.toml, formats)
        for table in TABLES:
            _table(book, table, texts.tables.get(table, [list(columns(table))]), formats)
        _lists(book, formats)


def _about(book: Workbook, formats: dict[str, Any]) -> None:
    sheet = book.add_worksheet("about")
    sheet.set_column(0, 0, 120)
    lines = [
        "One sheet is one table, one row one record. The dark headers are needed; a blank cell takes the default.",
        "Rest the pointer on a header for its meaning, unit and range.",
        "The sheet case holds the settings, rules and scenarios: case.toml, one line a row, in column A.",
        "The sheets about, lists and notes, and those whose name starts with _, are for people: they are not read.",
        "Check it: oremix check FILE.xlsx. Plan with it: oremix optimize FILE.xlsx.",
        "As a folder of CSV files: oremix new FOLDER --from FILE.xlsx. Back: oremix new FILE.xlsx --from FOLDER.",
    ]
    sheet.write_string(0, 0, "A sourcing case for oremix", formats["title"])
    for place, line in enumerate(lines, 2):
        sheet.write_string(place, 0, line)


def _settings(book: Workbook, toml: str, formats: dict[str, Any]) -> None:
    sheet = book.add_worksheet(SETTINGS_SHEET)
    sheet.set_column(0, 0, 110, formats["code"])
    for place, line in enumerate(toml.removesuffix("\n").split("\n")):
        _write_text(sheet, place, 0, line, SETTINGS_SHEET)


def _table(book: Workbook, table: str, records: Records, formats: dict[str, Any]) -> None:
    sheet = book.add_worksheet(table)
    known = list(columns(table).values())
    header = {cell.strip(): at for at, cell in enumerate(records[0])}
    body = records[1:]
    for at, column in enumerate(known):
        cells = [record[header[column.name]] for record in body] if column.name in header else []
        widest = max([len(column.name) + 2, *(len(cell) for cell in cells[:200])])
        text = column.kind not in ("number", "year")
        sheet.set_column(at, at, min(max(widest, 8), 60), formats["text"] if column.kind == "id" else None)
        sheet.write_string(0, at, column.name, formats["needed" if column.required else "head"])
        sheet.write_comment(0, at, _comment(column), {"x_scale": 2.2, "y_scale": 1.3})
        for place, cell in enumerate(cells, 1):
            if text or not _is_exact(cell):
                if cell:
                    _write_text(sheet, place, at, cell, table)
            else:
                sheet.write_number(place, at, float(cell))
        _list_of(sheet, table, column, at, len(body) + _SPARE_ROWS)
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, max(len(body), 1), len(known) - 1)


def _is_exact(cell: str) -> bool:
    """Whether the number is the same after being written with 16 digits, as workbooks are."""
    text = cell.strip()
    return bool(NUMERAL.fullmatch(text)) and float(f"{float(text):.16G}") == float(text)


def _write_text(sheet: Worksheet, row: int, at: int, text: str, name: str) -> None:
    """Text that stays text, whatever it starts with."""
    if len(text) > LONGEST_CELL:
        place = f"{name}!{column_letters(at)}{row + 1}"
        raise CaseError([Problem(place, f"longer than a cell of a workbook can hold ({LONGEST_CELL:,} characters)")])
    sheet.write_string(row, at, text)


def _comment(column: Column) -> str:
    parts = [column.meaning[:1].upper() + column.meaning[1:] + "."]
    if column.unit:
        parts.append(f"Unit: {column.unit}.")
    parts.append(f"Allowed: {column.allowed}.")
    if column.required:
        parts.append("Needed.")
    elif column.default not in (None, ""):
        parts.append(f"Default: {column.default}.")
    return "\n".join(parts)


def _list_of(sheet: Worksheet, table: str, column: Column, at: int, last: int) -> None:
    """A drop-down list where a cell takes one of a few values, or an id of another sheet."""
    rule: dict[str, Any] = {"validate": "list", "ignore_blank": True, "error_title": column.name,
                            "error_message": f"Must be {column.allowed}."[:255]}  # fmt: skip
    if column.kind == "choice":
        rule["source"] = _choices(column.annotation)
    elif column.kind == "country":
        rule["source"] = f"=lists!$A$2:$A${len(countries()) + 1}"
    elif _NAMED_IN.get(column.name, table) != table:
        other = _NAMED_IN[column.name]
        rule |= {"source": f"={other}!$A$2:$A${_LISTED}", "error_type": "warning",
                 "error_message": f"Not in the sheet {other}."}  # fmt: skip
    else:
        return
    sheet.data_validation(1, at, last, at, rule)


def _choices(annotation: Any) -> list[str]:
    """The words that a column takes, from its type."""
    if get_origin(annotation) is Literal:
        return [word for word in get_args(annotation) if word]
    return [word for part in get_args(annotation) if get_args(part) for word in _choices(part)]


def _lists(book: Workbook, formats: dict[str, Any]) -> None:
    sheet = book.add_worksheet("lists")
    sheet.write_row(0, 0, ["country", "name"], formats["head"])
    sheet.set_column(1, 1, 40)
    for place, (code, name) in enumerate(countries().items(), 1):
        sheet.write_string(place, 0, code)
        sheet.write_string(place, 1, name)
