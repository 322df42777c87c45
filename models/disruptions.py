"""What a disruption does: which suppliers lose how much, at what cost, and how requirements change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.cells import countries

if TYPE_CHECKING:
    from models.case import Case, Flags, Floats

SELECTORS = ("country", "controller", "bloc", "supplier", "channel")
_OWN = ("country", "controller", "supplier", "channel")  # columns of a supplier; a bloc is one of countries
EACH = ("country", "controller", "supplier")
NOTHING = "nothing happens"


@dataclass(frozen=True)
class Loss:
    """Something that can be lost, or a scenario of disruptions.csv: ``kind`` and the name within it.

    kind: country, controller, supplier, bloc or scenario. ``spared``: countries of a bloc that are not lost.
    """

    kind: str
    member: str
    spared: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """How tables and ``--lose`` write it: ``country:CHN``."""
        return f"{self.kind}:{self.member}"


@dataclass(frozen=True)
class Losses:
    """Several losses at once, such as a pair of countries."""

    parts: tuple[Loss, ...]

    @property
    def name(self) -> str:
        """The names of the parts, joined by +."""
        return "+".join(part.name for part in self.parts)


def available_share(case: Case, loss: Loss | Losses, year: int) -> Floats:
    """What is left of each supplier's production after a loss, 0 to 1; shape (suppliers,).

    Blocs count with their membership of the year. In a scenario, the least share of the rows that hit it.
    """
    if isinstance(loss, Losses):
        left = [available_share(case, part, year) for part in loss.parts]
        return np.asarray(np.min([np.ones(len(case.suppliers)), *left], axis=0))
    if loss.kind == "scenario":
        return scenario_effect(case, loss.member, year).available_share
    table = case.suppliers
    if loss.kind == "bloc":
        lost = table["country"].isin(case.bloc_members(loss.member, year) - loss.spared)
    else:
        lost = table[loss.kind] == loss.member
    return np.where(lost.to_numpy(dtype=bool), 0.0, 1.0)


@dataclass(frozen=True)
class Effect:
    """What a scenario does in a year: for each supplier the share left and the factor on its cost (shape
    (suppliers,)), for each market and material the factor on its requirement (shape (markets, materials)).
    """

    available_share: Floats
    cost_multiple: Floats
    demand_multiple: Floats


def scenario_effect(case: Case, scenario: str, year: int) -> Effect:
    """The effect of a scenario of disruptions.csv (or of ``NOTHING``) in a year.

    Several rows on one supplier: the least share, the greatest cost multiple; demand multiples multiply.
    """
    targets, markets = Targets(case), list(case.markets)
    share, cost = np.ones(len(case.suppliers)), np.full(len(case.suppliers), -np.inf)
    demand = np.ones((len(markets), len(case.materials)))
    table = case.tables["disruptions"]
    for row in table[table["scenario"] == scenario].to_dict("records"):
        hit = targets.hits(row, year)
        share[hit] = np.minimum(share[hit], row["available_share"])
        cost[hit] = np.maximum(cost[hit], row["cost_multiple"])
        at = np.array([row["market"] in ("", market) for market in markets], dtype=bool)
        demand[np.ix_(at, targets.named(row))] *= row["demand_multiple"]
    return Effect(share, np.where(np.isfinite(cost), cost, 1.0), demand)


class Targets:
    """What rows of disruptions.csv may hit in a case; made once, asked for each row."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.suppliers = {name: case.suppliers[name].to_numpy() for name in (*_OWN, "material", "mineral")}
        self.materials = {name: case.materials[name].to_numpy() for name in ("material", "mineral")}

    def hits(self, row: Mapping[Any, Any], year: int) -> Flags:
        """Which suppliers a row hits: those selected that make the material or mineral; shape (suppliers,)."""
        kept = _named(row, self.suppliers)
        for key in _OWN:
            if row[key]:
                kept &= self.suppliers[key] == row[key]
        if row["bloc"]:
            kept &= np.isin(self.suppliers["country"].astype(str), list(self.case.bloc_members(row["bloc"], year)))
        return kept

    def hits_any(self, row: Mapping[Any, Any]) -> bool:
        """Whether a row hits a supplier in any horizon year; only the members of a bloc change with the years."""
        return any(self.hits(row, year).any() for year in self.case.years[: None if row["bloc"] else 1])

    def named(self, row: Mapping[Any, Any]) -> Flags:
        """Which materials a row is about; shape (materials,)."""
        return _named(row, self.materials)


def _named(row: Mapping[Any, Any], of: Mapping[str, Any]) -> Flags:
    """Whether each material, or what each supplier makes, is one that the row is about."""
    kept = np.ones(len(of["material"]), dtype=bool)
    for key in ("material", "mineral"):
        if row[key]:
            kept &= of[key] == row[key]
    return kept


def probabilities(case: Case) -> dict[str, float]:
    """Scenario -> probability in the order of disruptions.csv, ``NOTHING`` (the rest to 1) first."""
    table = case.tables["disruptions"].drop_duplicates("scenario")
    found = dict(zip(table["scenario"], (float(p) for p in table["probability"]), strict=True))
    return {NOTHING: max(0.0, 1.0 - sum(found.values())), **found}


def hazards(case: Case) -> pd.DataFrame:
    """One row a scenario of disruptions.csv, in the order of the table.

    Columns: scenario; probability, low, high (a year; low and high are the probability where none is given); basis
    (published, computed, guess or blank); package (blank: none); source (ids of all its rows, separated by spaces).
    """
    table = case.tables["disruptions"]
    found = table.drop_duplicates("scenario").set_index("scenario", drop=False)
    cited = table.groupby("scenario", sort=False)["source"].agg(
        lambda cells: " ".join(dict.fromkeys(name for cell in cells for name in cell.split()))
    )
    likely = found["probability"].astype(float)
    return pd.DataFrame({
        "scenario": found["scenario"], "probability": likely,
        "low": found["probability_low"].astype(float).fillna(likely),
        "high": found["probability_high"].astype(float).fillna(likely), "basis": found["probability_basis"],
        "package": found["package"], "source": cited.reindex(found.index),
    }).reset_index(drop=True)  # fmt: skip


def parse_lose(text: str, except_: Iterable[str] = ()) -> tuple[str, str]:
    """``each country`` -> ("each", "country"), ``country:CHN`` -> ("country", "CHN"); raises ``ValueError``."""
    words = text.split()
    if len(words) == 2 and words[0] == "each" and words[1] in EACH:
        return "each", words[1]
    kind, colon, member = text.partition(":")
    if colon and member and kind in ("bloc", "country", "controller", "supplier", "scenario"):
        if tuple(except_) and kind != "bloc":
            raise ValueError("except goes with each country, each controller, each supplier or bloc:NAME")
        return kind, member
    raise ValueError("lose is one of 'each country', 'each controller', 'each supplier', bloc:NAME, country:ISO3, "
                     "scenario:NAME (also controller:ISO3, supplier:ID)")  # fmt: skip


def find_losses(case: Case, lose: str, except_: Iterable[str] = ()) -> list[Loss]:
    """The losses that ``lose`` means, in the order of their names."""
    kind, member = parse_lose(lose, except_)
    if kind != "each":
        return [Loss(kind, member, frozenset(except_))]
    spared = set(except_)
    return [Loss(member, name) for name in sorted(set(case.suppliers[member]) - spared)]


def lost_names(case: Case) -> dict[str, list[str]]:
    """What can be lost, by kind: countries and controllers (any that there is), suppliers, blocs, scenarios."""
    table = case.suppliers
    places = list(dict.fromkeys([*table["country"], *table["controller"], *countries()]))
    return {
        "country": places, "controller": places, "supplier": list(table["supplier"]), "bloc": sorted(case.bloc_names),
        "scenario": list(dict.fromkeys(case.tables["disruptions"]["scenario"])),
    }  # fmt: skip
