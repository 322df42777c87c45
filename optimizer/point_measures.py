"""What is measured at a point, as one row: cost, shares by channel and country, concentration, shortage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.case import Case, Floats
from models.lanes import Ints
from models.layout import Layout
from optimizer.tonnage import SMALLEST_T, Tonnage
from optimizer.what_if import Outcome

CHANNELS = ("domestic", "allied", "recycling", "incumbent")


@dataclass(frozen=True)
class Measure:
    """One measured number.

    ``what``: objective_usd, cost_usd_per_y, share, hhi_country, largest_share, import_reliance or shortage_t;
    ``material`` (delivered), ``year``, ``by`` and ``member`` as far as they apply.
    """

    what: str
    material: str = ""
    year: int = 0
    by: str = ""
    member: str = ""

    @property
    def name(self) -> str:
        """Its column: ``share/lithium_chemicals/2030/channel/domestic``; no id holds a slash."""
        return "/".join(str(part) for part in (self.what, self.material, self.year, self.by, self.member) if part)

    @classmethod
    def named(cls, name: str) -> Measure:
        """The measure of a column."""
        what, *rest = name.split("/")
        if what == "cost_usd_per_y":
            return cls(what, year=int(rest[0]))
        material, year, by, member = [*rest, "", "", "", ""][:4]
        return cls(what, material, int(year or 0), by, member)


def measures_of(case: Case, countries: bool = True) -> list[Measure]:
    """Every measure of a case in the order of its columns, the same for every point.

    Members are those who can make a material, whether they sell or not. ``countries``: shares by country too, cost by
    year, reliance and shortage; else only what a sensitivity analysis looks at (cost, channel shares, HHI).
    """
    found = [Measure("objective_usd")]
    if countries:
        found += [Measure("cost_usd_per_y", year=year) for year in case.years]
    for material in case.delivered_materials():
        makers = sorted(case.makers.get(material, ()))
        present = set(case.suppliers["channel"].iloc[makers])
        members = {"channel": [name for name in CHANNELS if name in present]}
        if countries:
            members["country"] = sorted(set(case.suppliers["country"].iloc[makers]))
        for year in case.years:
            for by, names in members.items():
                found += [Measure("share", material, year, by, str(name)) for name in names]
            found.append(Measure("hhi_country", material, year))
            if countries:
                found += [Measure(what, material, year) for what in ("largest_share", "import_reliance", "shortage_t")]
    return found


class Reader:
    """Reads measures off the columns of one layout; ``nan`` where a share has nothing to be a share of."""

    def __init__(self, layout: Layout, measures: Sequence[Measure]) -> None:
        self.layout = layout
        self.size = len(measures)
        self.tonnage = Tonnage(layout, delivered=True)
        place = {measure: number for number, measure in enumerate(measures)}
        keys = list(zip(self.tonnage.keys["material"], self.tonnage.keys["year"].tolist(), strict=True))
        self.shares: list[tuple[Any, Ints, Ints]] = []
        for by in ("channel", "country"):
            groups = self.tonnage.groups(by)
            at = [place.get(Measure("share", keys[key][0], keys[key][1], by, str(member)), -1)
                  for key, member in zip(groups.key.tolist(), groups.member, strict=True)]  # fmt: skip
            self.shares.append((groups.sums, *_kept(at)))
        self.per_key = {what: _kept([place.get(Measure(what, *key), -1) for key in keys])
                        for what in ("hhi_country", "largest_share", "import_reliance")}  # fmt: skip
        number = {key: at for at, key in enumerate(keys)}
        totals = [(place[m], number.get((m.material, m.year), -1)) for m in measures if m.what == "share"]
        self.share_columns = np.array([at for at, _ in totals], dtype=np.int64)
        self.share_keys = np.array([key for _, key in totals], dtype=np.int64)
        countries = self.tonnage.groups("country")
        self.starts = np.searchsorted(countries.key, np.arange(len(keys)))
        self.cost_columns = np.array([place.get(Measure("cost_usd_per_y", year=y), -1) for y in layout.case.years])
        self.of_plan = np.array([m.what in ("objective_usd", "cost_usd_per_y", "shortage_t") for m in measures])
        names, years = layout.case.materials["material"].to_numpy(), layout.case.years
        short = [place.get(Measure("shortage_t", str(names[m]), years[y]), -1)
                 for m, y in zip(layout.shortage_material, layout.shortage_year, strict=True)]  # fmt: skip
        self.short_from, self.short_to = _kept(short)

    def read(self, cost: Floats, x: Floats) -> Floats:
        """The measures of a plan; ``cost``: discounted USD per unit of each column, ``x``: value of each column."""
        layout = self.layout
        row = np.where(self.of_plan, 0.0, np.nan)
        each = cost * x
        row[0] = float(cost @ x)
        if len(self.cost_columns) and self.cost_columns[0] >= 0:
            years = len(layout.case.years)
            row[self.cost_columns] = np.bincount(layout.column_year, each, years) / layout.case.weights
        mix = self.tonnage.measure(x)
        present = np.append(mix.present, False)
        row[self.share_columns] = np.where(present[self.share_keys], 0.0, np.nan)
        for sums, taken, put in self.shares:
            row[put] = np.where(np.isnan(row[put]), np.nan, (sums @ mix.share)[taken])
        largest = mix.hhi_country  # of no keys where nothing can be delivered
        if len(self.starts):
            largest = np.where(mix.present, np.maximum.reduceat(mix.by_country, self.starts), np.nan)
        for what, values in (("hhi_country", mix.hhi_country), ("largest_share", largest),
                             ("import_reliance", mix.import_reliance)):  # fmt: skip
            taken, put = self.per_key[what]
            row[put] = values[taken]
        if len(self.short_to):
            short = x[layout.columns("shortage")]
            np.add.at(row, self.short_to, np.where(short < SMALLEST_T, 0.0, short)[self.short_from])
        return row


def _kept(places: Sequence[int]) -> tuple[Ints, Ints]:
    """Which have a place (0 or more), and it."""
    at = np.array(places, dtype=np.int64)
    kept = np.flatnonzero(at >= 0)
    return kept, at[kept]


class RowMaker:
    """Outcomes as rows of measures, over whatever layout they have."""

    def __init__(self, measures: Sequence[Measure]) -> None:
        self.measures = list(measures)
        self._reader: Reader | None = None

    def row(self, outcome: Outcome) -> Floats:
        """The measures of an outcome; all ``nan`` without a plan."""
        if not outcome.ok:
            return np.full(len(self.measures), np.nan)
        if self._reader is None or self._reader.layout is not outcome.layout:
            self._reader = Reader(outcome.layout, self.measures)
        row = self._reader.read(outcome.cost, outcome.x)
        if outcome.weighed_usd is not None:
            row[0] = outcome.weighed_usd
        return row
