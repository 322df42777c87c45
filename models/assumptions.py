"""assumptions.csv: each key is one that --set would take, its range is one, and it names something of the case."""

from __future__ import annotations

import re

from models.case import Case, Change
from models.problems import Problems, nearest
from models.tables import TABLES, columns

KEY = re.compile(r"(?P<table>[a-z_]+)(\[(?P<where>[^\]]*)\])?\.(?P<column>[a-z_0-9]+)(?P<operation>[*+]?)")


def check_assumptions(case: Case, problems: Problems) -> None:
    """Keys that name nothing of the case, and ranges upside down; one message each."""
    table = case.tables["assumptions"]
    for key, low, high, row in zip(table["key"], table["low"], table["high"], table["row"], strict=True):
        if low > high:
            problems.add("tables/assumptions.csv", f"is above high {high:g}", row, "low", f"{low:g}")
        wrong = no_such_input(case, key)
        if wrong:
            problems.add("tables/assumptions.csv", wrong, row, "key", key)


def fit_assumptions(case: Case, why: str) -> Case:
    """The case without assumptions about what a filter took out of it; how many is logged as a change."""
    table = case.tables["assumptions"]
    kept = [not no_such_input(case, key) for key in table["key"]]
    if all(kept):
        return case
    log = Change("assumptions", len(kept), sum(kept), f"{why}: the others are about what is left out")
    tables = {**case.tables, "assumptions": table[kept].reset_index(drop=True)}
    return case.with_(tables=tables, changes=(*case.changes, log))


def no_such_input(case: Case, key: str) -> str:
    """Why a key names nothing of the case; "" where it is one of its settings, rules or cells."""
    settings = ("horizon.discount_rate", *(f"rules.{rule.name}" for rule in case.settings.rules))
    return "" if key.startswith(settings) else _wrong(case, key)


def _wrong(case: Case, key: str) -> str:
    """What is wrong with a key of table cells; "" where it selects some."""
    match = KEY.fullmatch(key.strip())
    if match is None:
        return "not a key as in --set: rules.NAME.KEY or TABLE[column=value,...].COLUMN, with * for factors"
    table, column = match["table"], match["column"]
    if table not in TABLES:
        return f"no such table; {nearest(table, TABLES)}"
    numeric = [c.name for c in columns(table).values() if c.kind in ("number", "year")]
    if column not in numeric:
        return f"{table} has no such column of numbers; {nearest(column, numeric)}"
    frame = case.tables[table]
    for pair in filter(None, (match["where"] or "").split(",")):
        name, _, wanted = (part.strip() for part in pair.partition("="))
        if name in ("mineral", "stage") and "material" in frame and name not in frame:
            frame = frame[frame["material"].map(case.materials[name]) == wanted]
        elif name not in columns(table):
            return f"{table} has no column {name}; {nearest(name, columns(table))}"
        elif name == "controller" and table == "suppliers":
            frame = frame[frame[name].where(frame[name] != "", frame["country"]) == wanted]
        elif columns(table)[name].kind in ("number", "year"):
            frame = frame[frame[name].map("{:g}".format) == wanted]
        else:
            frame = frame[frame[name] == wanted]
    return "" if len(frame) else f"no row of {table} matches"
