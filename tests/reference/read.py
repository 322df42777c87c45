"""Reads one case folder with csv and tomllib alone, and answers what its tables say of a year."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

Lane = tuple[str, str, str]  # origin, destination, material


@dataclass(frozen=True)
class Material:
    mineral: str
    stage: str
    price: float


@dataclass(frozen=True)
class Supplier:
    id: str
    country: str
    controller: str
    channel: str
    material: str
    input: str
    recovery: float
    capacity: float
    incumbent: float
    cost: float
    least: float
    lot: float
    fixed: float
    first: float
    last: float
    certified: str
    emissions: float


@dataclass
class Case:
    years: list[int]
    rate: float
    home: str
    market_country: dict[str, str]
    listed: bool
    materials: dict[str, Material]
    suppliers: dict[str, Supplier]
    steps: dict[tuple[str, str], list[tuple[int, float]]]
    byproducts: dict[tuple[str, str], float]
    demand: dict[tuple[str, str, str], list[tuple[int, float, float | None]]]
    feedstock: dict[str, list[tuple[int, float, float]]]
    bloc_rows: list[tuple[str, str, float, float]]
    risk_rows: dict[tuple[str, str], list[tuple[float, float]]]
    lane_rows: list[dict[str, str]]
    rules: list[dict[str, Any]]
    _lanes: dict[int, dict[Lane, tuple[float, float | None]]] = field(default_factory=dict)

    # ---- years
    def weight(self, year: int) -> float:
        i = self.years.index(year)
        if i + 1 < len(self.years):
            span = self.years[i + 1] - year
        else:
            span = year - self.years[i - 1] if i else 1
        return sum((1.0 + self.rate) ** -(t - self.years[0]) for t in range(year, year + span))

    def in_bloc(self, bloc: str, country: str, year: int) -> bool:
        return any(b == bloc and c == country and lo <= year <= hi for b, c, lo, hi in self.bloc_rows)

    def risk(self, indicator: str, country: str, year: int) -> float:
        rows = sorted(self.risk_rows.get((country, indicator), []))
        if not rows:
            raise ValueError(f"no {indicator} for {country}")
        known = [value for since, value in rows if since <= year]
        return known[-1] if known else rows[0][1]

    # ---- suppliers
    def _stepped(self, s: Supplier, column: str, year: int, base: float) -> float:
        for since, value in sorted(self.steps.get((s.id, column), [])):
            if since <= year:
                base = value
        return base

    def capacity(self, s: Supplier, year: int) -> float:
        return self._stepped(s, "capacity_t", year, s.capacity)

    def cost(self, s: Supplier, year: int) -> float:
        return self._stepped(s, "cost_usd_per_t", year, s.cost)

    def least(self, s: Supplier, year: int) -> float:
        return self._stepped(s, "min_t", year, s.least)

    def active(self, s: Supplier, year: int) -> bool:
        return s.first <= year <= s.last

    # ---- markets and pools
    def sectors(self, year: int) -> list[tuple[str, str, str, float, float | None]]:
        """(market, material, sector, required, shortage price or None) of the year."""
        out = []
        for (market, material, sector), rows in self.demand.items():
            before = [price for since, _, price in rows if since <= year]
            required = line([(since, t) for since, t, _ in rows], year)
            out.append((market, material, sector, required, before[-1] if before else rows[0][2]))
        return out

    def required(self, material: str, year: int, market: str | None = None) -> float:
        return sum(t for k, m, _, t, _ in self.sectors(year) if m == material and market in (None, k))

    def delivered(self, market: str | None = None) -> list[str]:
        """Materials that a market requires, in the order of the materials table."""
        wanted = {m for k, m, _ in self.demand if market in (None, k)}
        return [m for m in self.materials if m in wanted]

    def pool(self, material: str, year: int) -> tuple[float, float] | None:
        rows = self.feedstock.get(material)
        if rows is None:
            return None
        return line([(y, t) for y, t, _ in rows], year), line([(y, c) for y, _, c in rows], year)

    # ---- lanes
    def _grade(self, spec: str, node: str, country: str | None, year: int) -> int | None:
        """How specifically a cell of origin or destination names the node; None where it does not."""
        if spec == "*":
            return 0
        if spec.startswith("bloc:"):
            return 1 if country is not None and self.in_bloc(spec[5:], country, year) else None
        if spec.startswith("country:"):
            return 2 if spec[8:] == country else None
        return 3 if spec == node else None

    def _pairs(self) -> Iterator[tuple[str, str, str, str | None, str]]:
        makes = [(s.id, s.material) for s in self.suppliers.values()] + list(self.byproducts)
        markets = dict.fromkeys((k, m) for k, m, _ in self.demand)
        for origin, material in makes:
            home = self.suppliers[origin].country
            for s in self.suppliers.values():
                if s.input == material and s.id != origin:
                    yield origin, home, s.id, s.country, material
            for market, wanted in markets:
                if wanted == material:
                    yield origin, home, market, self.market_country.get(market), material

    def lanes(self, year: int) -> dict[Lane, tuple[float, float | None]]:
        """Every lane of the year: (freight + duty in usd per t, most tonnes or None)."""
        if year in self._lanes:
            return self._lanes[year]
        out: dict[Lane, tuple[float, float | None]] = {}
        for origin, country, destination, there, material in self._pairs():
            matching = []
            for row in self.lane_rows:
                a = self._grade(row["origin"], origin, country, year)
                b = self._grade(row["destination"], destination, there, year)
                named = row.get("material", "")
                dated = row.get("from_year", "") != "" or row.get("to_year", "") != ""
                holds = number(row, "from_year", -1e9) <= year <= number(row, "to_year", 1e9)
                if a is not None and b is not None and named in ("", material) and holds:
                    matching.append(((a, b, int(named != ""), int(dated)), row))
            if self.listed and not matching:
                continue
            cell: dict[str, float | None] = {}
            for column in ("freight_usd_per_t", "duty_share", "max_t"):
                given = [(rank, float(row[column])) for rank, row in matching if row.get(column, "") != ""]
                best = max((rank for rank, _ in given), default=None)
                values = {value for rank, value in given if rank == best}
                if len(values) > 1:
                    raise ValueError(f"lane {origin} > {destination}: {column} given as {sorted(values)} at equal rank")
                cell[column] = values.pop() if values else None
            unit = (cell["freight_usd_per_t"] or 0.0) + (cell["duty_share"] or 0.0) * self.materials[material].price
            out[origin, destination, material] = (unit, cell["max_t"])
        self._lanes[year] = out
        return out


def line(points: list[tuple[int, float]], year: int) -> float:
    """Straight between the years, held at both ends."""
    points = sorted(points)
    if year <= points[0][0]:
        return points[0][1]
    for (y0, v0), (y1, v1) in pairwise(points):
        if y0 <= year <= y1:
            return v0 + (v1 - v0) * (year - y0) / (y1 - y0)
    return points[-1][1]


def table(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / "tables" / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = [row for row in csv.reader(handle) if any(cell.strip() for cell in row)]
    head = [cell.strip() for cell in rows[0]]
    return [dict(zip(head, (cell.strip() for cell in row), strict=True)) for row in rows[1:]]


def number(row: dict[str, str], column: str, default: float = 0.0) -> float:
    text = row.get(column, "")
    return float(text) if text != "" else default


def read(folder: Path | str) -> Case:
    folder = Path(folder)
    toml = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8-sig"))
    inf = float("inf")
    materials = {
        r["material"]: Material(r["mineral"], r["stage"], number(r, "price_usd_per_t"))
        for r in table(folder, "materials")
    }
    suppliers = {
        r["supplier"]: Supplier(
            id=r["supplier"],
            country=r["country"],
            controller=r.get("controller", "") or r["country"],
            channel=r["channel"],
            material=r["material"],
            input=r.get("input", ""),
            recovery=number(r, "recovery", 1.0),
            capacity=number(r, "capacity_t"),
            incumbent=number(r, "incumbent_t"),
            cost=number(r, "cost_usd_per_t"),
            least=number(r, "min_t"),
            lot=number(r, "lot_t"),
            fixed=number(r, "fixed_usd_per_y"),
            first=number(r, "from_year", -inf),
            last=number(r, "to_year", inf),
            certified=r.get("certified", "") or "no",
            emissions=number(r, "emissions_kgco2e_per_t"),
        )
        for r in table(folder, "suppliers")
    }
    steps: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for r in table(folder, "supplier_years"):
        for column in ("capacity_t", "cost_usd_per_t", "min_t"):
            if r.get(column, "") != "":
                steps.setdefault((r["supplier"], column), []).append((int(r["year"]), float(r[column])))
    demand: dict[tuple[str, str, str], list[tuple[int, float, float | None]]] = {}
    for r in table(folder, "demand"):
        key = (r.get("market", "") or "home", r["material"], r.get("sector", ""))
        price = float(r["shortage_usd_per_t"]) if r.get("shortage_usd_per_t", "") != "" else None
        demand.setdefault(key, []).append((int(r["year"]), float(r["required_t"]), price))
    feedstock: dict[str, list[tuple[int, float, float]]] = {}
    for r in table(folder, "feedstock"):
        row = (int(r["year"]), float(r["available_t"]), number(r, "cost_usd_per_t"))
        feedstock.setdefault(r["material"], []).append(row)
    risk: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for r in table(folder, "risk"):
        risk.setdefault((r["country"], r["indicator"]), []).append((number(r, "year", -inf), float(r["value"])))
    market = toml["market"]
    return Case(
        years=list(toml["horizon"]["years"]),
        rate=float(toml["horizon"].get("discount_rate", 0.0)),
        home=market["home"],
        market_country={**market.get("countries", {}), "home": market["home"]},
        listed=toml.get("network", {}).get("lanes", "open") == "listed",
        materials=materials,
        suppliers=suppliers,
        steps=steps,
        byproducts={(r["supplier"], r["material"]): float(r["t_per_t"]) for r in table(folder, "byproducts")},
        demand={key: sorted(rows, key=lambda row: row[0]) for key, rows in demand.items()},
        feedstock=feedstock,
        bloc_rows=[
            (r["bloc"], r["country"], number(r, "from_year", -inf), number(r, "to_year", inf))
            for r in table(folder, "blocs")
        ],
        risk_rows=risk,
        lane_rows=table(folder, "lanes"),
        rules=[r for r in toml.get("rules", []) if r.get("enabled", True)],
    )
