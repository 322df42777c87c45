"""What a report is made of: sections with sentences, charts and tables; how cells are shown and what CSV gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from models.cells import countries
from optimizer.console import plain

_MINUS = "\u2212"
MOST_ROWS = 6000  # of one table: what a browser and a mailbox still take


@dataclass(frozen=True)
class Column:
    """A column of a table: its name (unit included), and how its cells are shown.

    ``kind``: text, number, t (tonnes), usd, usd_t (USD per tonne), share, hhi, year, yes (yes or blank),
    country, sources (ids of sources.csv), source id (one of them, the place they lead to), link (an address).
    """

    label: str
    kind: str = "text"

    @property
    def numeric(self) -> bool:
        """Whether cells stand to the right and sort as numbers."""
        return self.kind not in ("text", "country", "sources", "source id", "link", "yes")


@dataclass(frozen=True)
class Table:
    """Rows of plain values under columns; ``keys``: the choice of a chart to which each row belongs."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    keys: Sequence[str] = ()
    note: str = ""

    @property
    def cells(self) -> list[list[tuple[str, Any]]]:
        """Each cell as (text shown, value that sorting and CSV use)."""
        return [[shown(column, value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows]


@dataclass(frozen=True)
class Chart:
    """A Plotly figure, or one for each choice, with its table beneath.

    ``choices``: (label, options) of each drop-down list; a figure's key is the options joined with "|".
    ``captions``: a sentence for each key.
    """

    name: str
    title: str
    figures: Mapping[str, Any]
    table: Table
    choices: Sequence[tuple[str, Sequence[str]]] = ()
    captions: Mapping[str, str] = field(default_factory=dict)
    first: str = ""

    @property
    def chosen(self) -> list[str]:
        """The options that are shown first."""
        key = self.first or next(iter(self.figures), "")
        return key.split("|") if self.choices else []


@dataclass(frozen=True)
class Card:
    """One of the numbers of the answer."""

    figure: str
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report: what a planner would say aloud, then what shows it."""

    name: str
    title: str
    said: Sequence[str]
    blocks: Sequence[Table | Chart] = ()
    cards: Sequence[Card] = ()
    html: str = ""  # only for text of our own (the mathematics), never for data

    @property
    def tables(self) -> list[Table]:
        """Every table of the section."""
        return [block.table if isinstance(block, Chart) else block for block in self.blocks]


def shown(column: Column, value: Any) -> tuple[str, Any]:
    """The text of a cell, and its value as CSV and sorting take it (text, number, or "" for none)."""
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return "", ""
    if column.kind == "yes":
        return ("yes", "yes") if bool(value) else ("", "")
    if not column.numeric:
        text = plain(value)
        name = countries().get(text, "") if column.kind == "country" else ""
        return (f"{name} ({text})" if name else text), text
    number = value.item() if hasattr(value, "item") else value
    return _figure(column.kind, float(number)), number


def _figure(kind: str, value: float) -> str:
    value += 0.0  # never "-0"
    if kind == "year":
        text = f"{value:.0f}"
    elif kind == "share":
        text = f"{100 * value:.1f}%"
    elif kind == "hhi":
        text = f"{value:.3f}"
    elif kind == "usd":
        text = f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:,.2f}"
    else:
        text = f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:,.3g}"
    return text.replace("-", _MINUS)


def table_of(
    name: str, frame: pd.DataFrame, columns: Mapping[str, Column], keys: Sequence[str] = (), note: str = "",
    largest: str = "",
) -> Table:  # fmt: skip
    """A table from the columns of a frame that are named; a very long one is cut to the ``largest``, and says so."""
    if len(frame) > MOST_ROWS:
        size = frame[largest].abs() if largest else pd.Series(range(len(frame), 0, -1), frame.index)
        kept = (size.rank(ascending=False, method="first") <= MOST_ROWS).tolist()
        note = f"{note} The {MOST_ROWS:,} largest of {len(frame):,} rows; the run folder has them all.".strip()
        frame, keys = frame[kept], [key for key, own in zip(keys, kept, strict=False) if own]
    rows = [list(row) for row in zip(*(frame[column].tolist() for column in columns), strict=True)]
    return Table(name, list(columns.values()), rows, list(keys), note)


def country(code: str) -> str:
    """A country by name with its code: China (CHN)."""
    name = countries().get(code, "")
    return f"{name} ({code})" if name else code


def listed(words: Sequence[str], most: int = 4) -> str:
    """Words in a sentence: a, b and c; a long list is cut, and says so."""
    kept = list(words[:most]) + ([f"{len(words) - most} more"] if len(words) > most else [])
    return kept[0] if len(kept) == 1 else ", ".join(kept[:-1]) + f" and {kept[-1]}" if kept else "none"


def counted(count: int, word: str) -> str:
    """How many of a thing: 1 rule, 3 rules."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def called(who: str) -> str:
    """A side in a sentence: the plan, today's mix, or the run by its name."""
    return {"plan": "the plan", "today": "today's mix"}.get(who, plain(who))


def capital(text: str, lead: str = "") -> str:
    """A sentence with a capital first letter, or after the name of the run that it is about."""
    return f"{lead}{text}" if lead else text[:1].upper() + text[1:]
