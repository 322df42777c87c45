"""Reads the CSV tables of a case into checked data frames, every problem collected."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from models.problems import Problems, nearest
from models.tables import REQUIRED_TABLES, TABLES, Column, columns


@cache
def _adapter(table: str, column: str) -> TypeAdapter[list[Any]]:
    annotation = columns(table)[column].annotation
    return TypeAdapter(list[annotation])  # type: ignore[valid-type]  # the annotation is data here


def read_tables(folder: Path, problems: Problems) -> dict[str, pd.DataFrame]:
    """All tables of ``folder``/tables, each with its columns, defaults filled, and ``row`` (line in the file).

    Numbers are float64 (NaN: not given), years too; text is object dtype ("": not given). A table that is
    not there is an empty frame.
    """
    directory = folder / "tables"
    if not directory.is_dir():
        problems.add("tables/", "the case has no folder of tables; `oremix new FOLDER` writes a starter case")
        return {name: blank_table(name) for name in TABLES}
    for path in sorted(directory.glob("*.csv")):
        refuse_unknown(path.stem, f"tables/{path.name}", problems)
    tables = {}
    for name in TABLES:
        path = directory / f"{name}.csv"
        if path.is_file():
            tables[name] = _read_table(path, name, problems)
        else:
            if name in REQUIRED_TABLES:
                problems.add(f"tables/{name}.csv", "this table is missing; `oremix columns` lists its columns")
            tables[name] = blank_table(name)
    return tables


def refuse_unknown(name: str, file: str, problems: Problems) -> None:
    """A problem where no table has this name."""
    if name not in TABLES:
        problems.add(file, f"unknown table; {nearest(name, TABLES)}")


def blank_table(table: str) -> pd.DataFrame:
    """An empty frame with the table's columns."""
    return _frame(table, {name: [] for name in columns(table)}, [])


def _read_table(path: Path, table: str, problems: Problems) -> pd.DataFrame:
    file = f"tables/{path.name}"
    found = read_records(path, file, problems)
    return blank_table(table) if found is None else table_of(*found, table, file, problems)


def read_records(path: Path, file: str, problems: Problems) -> tuple[list[list[str]], list[int]] | None:
    """The header and records of a CSV file as texts, and the line on which each ends; None where it is no text."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problems.add(
            file, "not UTF-8 text: save the file as CSV UTF-8", line, "", f"byte 0x{error.object[error.start]:02x}"
        )
        return None
    if "\0" in text:
        problems.add(file, "a NUL character: this is not a text file", text[: text.index("\0")].count("\n") + 1)
        return None
    return _records(text, file, problems)


def table_of(records: list[list[str]], lines: list[int], table: str, file: str, problems: Problems) -> pd.DataFrame:
    """The checked table of a header and its records, each with its line in the file (or row of the sheet)."""
    if not records:
        problems.add(file, "the header row is missing: " + ",".join(columns(table)))
        return blank_table(table)
    header = [cell.strip() for cell in records[0]]
    _check_header(header, lines[0], table, file, problems)
    width = len(header)
    cells, rows = [], []
    for record, line in zip(records[1:], lines[1:], strict=True):
        if len(record) != width:
            problems.add(
                file, f"the row has {len(record)} cells, the header has {width} (quote a cell that holds a comma)", line
            )
        else:
            cells.append(record)
            rows.append(line)
    if not cells:
        return blank_table(table)
    by_name = dict(zip(header, zip(*cells, strict=True), strict=True))
    values = {
        name: _column_values(column, by_name.get(name), rows, file, problems) for name, column in columns(table).items()
    }
    return _frame(table, values, rows)


def _records(text: str, file: str, problems: Problems) -> tuple[list[list[str]], list[int]]:
    """The records that are not blank, and the line on which each ends."""
    records, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for record in reader:
            if any(cell and not cell.isspace() for cell in record):
                records.append(record)
                lines.append(reader.line_num)
    except csv.Error as error:
        problems.add(file, f"not a CSV record: {error}; check the quotes", reader.line_num)
    return records, lines


def _check_header(header: list[str], line: int, table: str, file: str, problems: Problems) -> None:
    known = columns(table)
    for position, name in enumerate(header):
        if name in header[:position]:
            problems.add(file, "the column stands twice", line, name)
        elif name not in known:
            problems.add(file, f"unknown column; {nearest(name, known)}", line, name or f"(column {position + 1})")
    for name, column in known.items():
        if column.required and name not in header:
            problems.add(file, f"the column is missing: {column.meaning}", line, name)


def _column_values(
    column: Column, cells: Sequence[str] | None, rows: Sequence[int], file: str, problems: Problems
) -> list[Any]:
    if cells is None:
        return [column.default] * len(rows)
    stripped = [cell.strip().replace("\r\n", "\n").replace("\r", "\n") for cell in cells]
    places = [place for place, cell in enumerate(stripped) if cell]
    values: list[Any] = [column.default] * len(rows)
    if column.required and len(places) < len(rows):
        given = set(places)
        for place in range(len(rows)):
            if place not in given:
                problems.add(file, f"a value is needed: {column.allowed}", rows[place], column.name)
    try:
        parsed = _adapter(column.table, column.name).validate_python([stripped[place] for place in places])
    except ValidationError as error:
        bad = {int(item["loc"][0]) for item in error.errors(include_url=False)}
        for index in sorted(bad):
            place = places[index]
            problems.add(file, f"must be {column.allowed}", rows[place], column.name, stripped[place])
        places = [place for index, place in enumerate(places) if index not in bad]
        parsed = _adapter(column.table, column.name).validate_python([stripped[place] for place in places])
    for place, value in zip(places, parsed, strict=True):
        values[place] = value
    return values


def checked_value(table: str, column: str, value: Any) -> Any:
    """``value`` as the column takes it; raises ``ValueError`` with what is allowed."""
    try:
        return _adapter(table, column).validate_python([value])[0]
    except ValidationError:
        raise ValueError(columns(table)[column].allowed) from None


def checked_column(table: str, column: str, values: Sequence[Any]) -> list[int]:
    """The positions of the values that the column does not take."""
    try:
        _adapter(table, column).validate_python(list(values))
    except ValidationError as error:
        return sorted({int(item["loc"][0]) for item in error.errors(include_url=False)})
    return []


def _frame(table: str, values: dict[str, Any], rows: Sequence[int]) -> pd.DataFrame:
    frame = {}
    for name, column in columns(table).items():
        if column.kind in ("number", "year"):
            given = [np.nan if value is None else value for value in values[name]]
            frame[name] = pd.Series(np.asarray(given, dtype=float))
        else:
            frame[name] = pd.Series(["" if value is None else value for value in values[name]], dtype=object)
    frame["row"] = pd.Series(np.asarray(rows, dtype=np.int64))
    return pd.DataFrame(frame)
