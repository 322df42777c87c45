"""What the tables of a case say in its horizon years, worked out anew for the audit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from models.case import Case

TOLERANCE = 1e-6  # relative to the right-hand side, and in tonnes


def records(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """The cells of the columns, row by row."""
    return zip(*(frame[column].tolist() for column in columns), strict=True)


def text(value: Any) -> str:
    """The text of a cell; "" where nothing is given."""
    return value if isinstance(value, str) else ""


def room(tonnes: float) -> float:
    """The tolerance of a row with this right-hand side, in tonnes."""
    return TOLERANCE * max(abs(tonnes), 1.0)


@dataclass(frozen=True)
class Maker:
    """A row of suppliers.csv, controller filled in."""

    country: str
    controller: str
    channel: str
    material: str
    input: str
    recovery: float
    incumbent_t: float
    lot_t: float
    fixed: float
    first: float
    last: float
    certified: bool
    emissions: float


class Facts:
    """What the tables of a case say in its horizon years."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.years = [int(year) for year in case.settings.horizon.years]
        table = case.tables["materials"]
        names = table["material"].tolist()
        self.mineral: dict[str, str] = dict(zip(names, table["mineral"].tolist(), strict=True))
        self.stage: dict[str, str] = dict(zip(names, table["stage"].tolist(), strict=True))
        self.price: dict[str, float] = dict(zip(names, table["price_usd_per_t"].tolist(), strict=True))
        self.makers = {
            str(row["supplier"]): Maker(
                row["country"], row["controller"] or row["country"], row["channel"], row["material"], row["input"],
                row["recovery"], row["incumbent_t"], row["lot_t"], row["fixed_usd_per_y"],
                -np.inf if np.isnan(row["from_year"]) else row["from_year"],
                np.inf if np.isnan(row["to_year"]) else row["to_year"],
                row["certified"] == "yes", row["emissions_kgco2e_per_t"],
            )
            for row in case.tables["suppliers"].to_dict("records")
        }  # fmt: skip
        surge = records(case.tables["suppliers"], "supplier", "surge_share")
        self.surge: dict[str, float] = {str(name): float(share) for name, share in surge}
        self.capacity, self.unit_cost, self.minimum = map(self.stepped, ("capacity_t", "cost_usd_per_t", "min_t"))
        self.byproducts: dict[str, dict[str, float]] = defaultdict(dict)
        table = case.tables["byproducts"]
        for supplier, material, ratio in records(table, "supplier", "material", "t_per_t"):
            self.byproducts[supplier][material] = ratio
        self.demand = self._demand()
        self.required: dict[tuple[str, str, int], float] = defaultdict(float)
        for (market, material, _, year), (required, _) in self.demand.items():
            self.required[market, material, year] += required
        self.pools = self._pools()
        self.blocs: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
        for bloc, country, first, last in records(case.tables["blocs"], "bloc", "country", "from_year", "to_year"):
            self.blocs[bloc].append((country, first, last))
        self._members: dict[tuple[str, int], set[str]] = {}

    def stepped(self, column: str) -> dict[tuple[str, int], float]:
        """(supplier, year) -> the column of suppliers.csv, or of the latest row of supplier_years.csv giving it."""
        steps: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for supplier, year, value in records(self.case.tables["supplier_years"], "supplier", "year", column):
            if not np.isnan(value):
                steps[supplier].append((year, value))
        found = {}
        for supplier, value in records(self.case.tables["suppliers"], "supplier", column):
            known = steps.get(supplier, [])
            for year in self.years:
                past = [step for step in known if step[0] <= year]
                found[supplier, year] = max(past)[1] if past else value
        return found

    def _demand(self) -> dict[tuple[str, str, str, int], tuple[float, float]]:
        """(market, material, sector, year) -> tonnes required, and USD per missing tonne (NaN: must be met)."""
        series: dict[tuple[str, str, str], list[tuple[float, float, float]]] = defaultdict(list)
        columns = ("market", "material", "sector", "year", "required_t", "shortage_usd_per_t")
        for market, material, sector, year, required, price in records(self.case.tables["demand"], *columns):
            series[market, material, sector].append((year, required, price))
        found = {}
        for (market, material, sector), points in series.items():
            points.sort(key=lambda point: point[0])
            known = [point[0] for point in points]
            for year, value in zip(self.years, _between(self.years, known, [p[1] for p in points]), strict=True):
                past = [point for point in points if point[0] <= year]
                price = (past[-1] if past else points[0])[2]
                found[market, material, sector, year] = (value, price)
        return found

    def _pools(self) -> dict[tuple[str, int], tuple[float, float]]:
        """(feedstock, year) -> tonnes available and USD per tonne collected."""
        series: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        columns = ("material", "year", "available_t", "cost_usd_per_t")
        for material, year, available, cost in records(self.case.tables["feedstock"], *columns):
            series[material].append((year, available, cost))
        found = {}
        for material, points in series.items():
            points.sort(key=lambda point: point[0])
            known = [point[0] for point in points]
            available_t, costs = (_between(self.years, known, [p[at] for p in points]) for at in (1, 2))
            for year, available, cost in zip(self.years, available_t, costs, strict=True):
                found[material, year] = (available, cost)
        return found

    def members(self, bloc: str, year: int) -> set[str]:
        """Countries that are in the bloc in the year."""
        if (bloc, year) not in self._members:
            rows = self.blocs.get(bloc, [])
            self._members[bloc, year] = {c for c, first, last in rows if not first > year and not last < year}
        return self._members[bloc, year]

    def active(self, supplier: str, year: int) -> bool:
        """Whether the supplier can produce in the year."""
        return self.makers[supplier].first <= year <= self.makers[supplier].last

    def country(self, place: str) -> str:
        """ISO3 of a supplier or a market; "" where the market has none."""
        if place in self.makers:
            return self.makers[place].country
        settings = self.case.settings.market
        return settings.home if place == "home" else settings.countries.get(place, "")

    def weights(self) -> list[float]:
        """Value at the first horizon year of 1 USD a year over the calendar years that each one stands for."""
        years, rate = self.years, self.case.settings.horizon.discount_rate
        tail = years[-1] - years[-2] if len(years) > 1 else 1
        ends = [*years[1:], years[-1] + tail]
        return [
            sum((1 + rate) ** (years[0] - t) for t in range(year, end)) for year, end in zip(years, ends, strict=True)
        ]


class Lanes:
    """Which lanes exist, and what the most specific rows of lanes.csv say of them."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.listed = facts.case.settings.network.lanes == "listed"
        columns = ["origin", "destination", "material", "from_year", "to_year"]
        columns += ["freight_usd_per_t", "duty_share", "max_t"]
        self.table = list(records(facts.case.tables["lanes"], *columns))
        self.names = ({row[0] for row in self.table}, {row[1] for row in self.table})
        self.largest = [max((abs(row[at]) for row in self.table if row[at] == row[at]), default=0.0)
                        for at in (5, 6, 7)]  # fmt: skip
        self._rows: dict[int, dict[tuple[str, str, str], list[float]]] = {}
        self._levels: dict[tuple[str, int, int], list[list[str]]] = {}

    def rows(self, year: int) -> dict[tuple[str, str, str], list[float]]:
        """(origin, destination, material) -> the three cells in the year; rows with a year come before the others."""
        if year not in self._rows:
            found: dict[tuple[str, str, str], list[float]] = {}
            for dated in (True, False):
                for *key, first, last, freight, duty, most in self.table:
                    if (first == first or last == last) != dated or first > year or last < year:
                        continue
                    cells = found.setdefault((key[0], key[1], key[2]), [np.nan] * 3)
                    given = (freight, duty, most)
                    cells[:] = [new if np.isnan(old) else old for old, new in zip(cells, given, strict=True)]
            self._rows[year] = found
        return self._rows[year]

    def levels(self, place: str, year: int, side: int) -> list[list[str]]:
        """The ways in which lanes.csv can name the place, most specific first: id, country, blocs, ``*``."""
        key = (place, year, side)
        if key not in self._levels:
            country = self.facts.country(place)
            blocs = [f"bloc:{bloc}" for bloc in self.facts.blocs if country in self.facts.members(bloc, year)]
            found = [[place], [f"country:{country}"] if country else [], blocs, ["*"]]
            used = [[name for name in level if name in self.names[side]] for level in found]
            self._levels[key] = [level for level in used if level]
        return self._levels[key]

    def cells(self, origin: str, destination: str, material: str, year: int) -> tuple[bool, float, float, float]:
        """Whether any row matches the lane; its freight and duty (0 where not given) and max_t (NaN where not)."""
        cells, matched = [np.nan] * 3, False
        targets, rows = self.levels(destination, year, 1), self.rows(year)
        for start in self.levels(origin, year, 0):
            for end in targets:
                for moved in (material, ""):
                    for key in ((a, b, moved) for a in start for b in end):
                        row = rows.get(key)
                        if row is not None:
                            matched = True
                            cells = [new if np.isnan(old) else old for old, new in zip(cells, row, strict=True)]
        freight, duty, most = cells
        return matched, 0.0 if np.isnan(freight) else freight, 0.0 if np.isnan(duty) else duty, most


def _between(years: list[int], known: list[float], values: list[float]) -> list[float]:
    """Linear between the known years, held at both ends."""
    return [float(value) for value in np.interp(years, known, values)]
