"""How changes are written and shown: KEY=VALUE, numbers and percentages, names of rows for the log."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.problems import CaseError, Problem
from models.tables import TABLES


def parse_set(text: str) -> tuple[str, str]:
    """``KEY=VALUE``, ``KEY*=VALUE`` or ``KEY+=VALUE`` as a key (with its * or +) and a value."""
    match = re.fullmatch(
        r"(?P<key>[A-Za-z0-9_.-]+?(\[[^\]]*\])?(\.[A-Za-z0-9_]+)?)\s*(?P<op>[*+]?)=(?P<value>.*)", text
    )
    if match is None:
        raise CaseError([Problem("--set", "write KEY=VALUE, KEY*=VALUE or KEY+=VALUE", None, "", text)])
    return match["key"] + match["op"], match["value"].strip()


def number(value: Any) -> Any:
    """Text as a number where it is one; 30% is 0.3; true and false are themselves."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        return {"true": True, "false": False}.get(text.lower(), text)


def plain(value: Any) -> Any:
    """A cell for the log: None where nothing is given."""
    if isinstance(value, float) and np.isnan(value):
        return None
    return value.item() if hasattr(value, "item") else value


def row_name(frame: pd.DataFrame, table: str, index: int) -> str:
    """What names a row in the log."""
    return row_names(frame, table, np.array([index]))[0]


def row_names(frame: pd.DataFrame, table: str, places: npt.NDArray[np.int64]) -> list[str]:
    """What names each of these rows in the log: its key columns."""
    keys = TABLES[table].unique or ("origin", "destination", "material") if table == "lanes" else TABLES[table].unique
    columns = [(key, [plain(cell) for cell in frame[key].iloc[places].tolist()]) for key in keys or ("row",)]
    return [
        ",".join(
            f"{key}={cells[at]:g}" if isinstance(cells[at], float) else f"{key}={cells[at]}"
            for key, cells in columns if cells[at] not in ("", None)
        )
        for at in range(len(places))
    ]  # fmt: skip


def cell_text(cell: Any) -> str:
    """A changed cell for a message."""
    return f"rules.{cell[1]}.{cell[2]}" if cell[0] == "rule" else f"{cell[0]}[{cell[1]}].{cell[2]}"
