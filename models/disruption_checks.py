"""Checks of disruptions.csv: names that exist, one selector a row, probabilities that agree and add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.disruptions import SELECTORS, Targets
from models.problems import Problems, nearest

if TYPE_CHECKING:
    from models.case import Case

_FILE = "tables/disruptions.csv"
_PLACES = {"supplier": "suppliers", "material": "materials", "mineral": "materials", "bloc": "blocs",
           "market": "demand"}  # fmt: skip


def check_names(case: Case, problems: Problems) -> None:
    """Suppliers, materials, minerals, blocs and markets that a row names exist."""
    table = case.tables["disruptions"]
    known = {
        "supplier": set(case.tables["suppliers"]["supplier"]), "material": set(case.tables["materials"]["material"]),
        "mineral": set(case.tables["materials"]["mineral"]), "bloc": case.bloc_names,
        "market": {"home", *case.tables["demand"]["market"]},
    }  # fmt: skip
    for column, names in known.items():
        source = _PLACES[column]
        if problems.in_column(f"tables/{source}.csv", column):
            continue  # the ids themselves are wrong there: what refers to them may be right
        for place in np.flatnonzero((table[column] != "") & ~table[column].isin(names)):
            value = table[column].iloc[place]
            message = f"not in {source}.csv; {nearest(value, sorted(names))}"
            problems.add(_FILE, message, table["row"].iloc[place], column, value)


def check_rows(case: Case, problems: Problems) -> None:
    """Each row says one thing, and the scenarios are a distribution."""
    table = case.tables["disruptions"]
    if table.empty:
        return
    rows, targets = table.to_dict("records"), Targets(case)
    for row in rows:
        selectors = [key for key in SELECTORS if row[key]]
        if len(selectors) > 1:
            problems.add(_FILE, f"give one of {', '.join(SELECTORS)} in a row, not {' and '.join(selectors)}: write "
                         "a row for each thing hit", row["row"], selectors[1], row[selectors[1]])  # fmt: skip
        if row["material"] and row["mineral"]:
            problems.add(_FILE, "give material or mineral, not both", row["row"], "mineral", row["mineral"])
        if not selectors and (row["available_share"] != 1 or row["cost_multiple"] != 1):
            what = row["material"] or row["mineral"] or "everything"
            problems.warn(f"{_FILE}:{row['row']}: names no {', '.join(SELECTORS[:-1])} or {SELECTORS[-1]}, so it hits "
                          f"every supplier of {what}")  # fmt: skip
        if row["market"] and row["demand_multiple"] == 1:
            problems.warn(f"{_FILE}:{row['row']}: names a market, but has no demand_multiple")
        supply = row["available_share"] != 1 or row["cost_multiple"] != 1
        if not supply and row["demand_multiple"] == 1:
            problems.warn(f"{_FILE}:{row['row']}: changes nothing: give available_share, cost_multiple or "
                          "demand_multiple")  # fmt: skip
        elif supply and not problems.partial and not targets.hits_any(row):
            problems.warn(f"{_FILE}:{row['row']}: hits no supplier of the case")
    _check_probabilities(rows, problems)


_OF_SCENARIO = ("probability", "probability_low", "probability_high", "probability_basis", "package")


def _check_probabilities(rows: Sequence[dict[Any, Any]], problems: Problems) -> None:
    """What a scenario says of itself is the same on each of its rows and in order; all add up to at most 1."""
    first: dict[str, dict[Any, Any]] = {}
    total = 0.0
    for row in rows:
        name = str(row["scenario"])
        if name in first:
            _check_same(name, first[name], row, problems)
            continue
        first[name], likely = row, float(row["probability"])
        for column, wrong, words in (
            ("probability_low", row["probability_low"] > likely, "above"),
            ("probability_high", row["probability_high"] < likely, "below"),
        ):
            if wrong:
                problems.add(_FILE, f"{words} the probability of scenario {name}, {likely:g}: probability_low <= "
                             "probability <= probability_high", row["row"], column, f"{row[column]:g}")  # fmt: skip
        before, total = total, total + likely
        if before <= 1 + 1e-9 < total:
            problems.add(_FILE, f"with scenario {name} the probabilities add up to {total:g}: at most 1, the rest is "
                         "nothing happens", row["row"], "probability", f"{likely:g}")  # fmt: skip


def _check_same(name: str, first: dict[Any, Any], row: dict[Any, Any], problems: Problems) -> None:
    for column in _OF_SCENARIO:
        was, cell = _shown(first[column]), _shown(row[column])
        if was != cell:
            problems.add(
                _FILE, f"scenario {name} has {was or 'a blank'} in row {first['row']}: the {column} is the same on "
                "each row of a scenario", row["row"], column, cell,
            )  # fmt: skip


def _shown(cell: Any) -> str:
    return cell if isinstance(cell, str) else "" if cell != cell else f"{cell:g}"
