"""The column reference, made from the row classes."""

from __future__ import annotations

from typing import Any

from models.tables import TABLES, columns


def column_rows(name: str | None = None) -> list[dict[str, Any]]:
    """One dictionary a column: table, column, required, default, unit, allowed, meaning."""
    rows = []
    for table in [name] if name else TABLES:
        for column in columns(table).values():
            rows.append({
                "table": table, "column": column.name, "required": column.required,
                "default": column.default if column.default != "" else None, "unit": column.unit,
                "allowed": column.allowed, "meaning": column.meaning,
            })  # fmt: skip
    return rows


def markdown_reference() -> str:
    """models/COLUMNS.md: every table with its columns."""
    lines = ["# Columns of the case tables", "", ("Made by `oremix columns --markdown` from the row "
             "classes; required columns are **bold**. Any table may carry `source` and `note`."), ""]  # fmt: skip
    for table, row in TABLES.items():
        lines += [f"## {table}.csv", "", str(row.__doc__), "", "| column | unit | default | allowed | meaning |",
                  "|---|---|---|---|---|"]  # fmt: skip
        for column in columns(table).values():
            if column.name in ("source", "note") and table != "sources":
                continue
            name = f"**{column.name}**" if column.required else column.name
            default = "" if column.default in (None, "") else f"{column.default}"
            allowed = column.allowed.replace("*", "\\*")
            lines.append(f"| {name} | {column.unit} | {default} | {allowed} | {column.meaning} |")
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"
