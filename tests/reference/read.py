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
SUPPORTS = ("credit_share", "credit_usd_per_t", "grant_share", "floor_usd_per_t")


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
    surge: float


@dataclass(frozen=True)
class Growth:
    """How a supplier may grow, section 1.3, and what supports it."""

    most: float
    capex: float
    opening: float
    lead: float
    life: float | None
    ramp: float
    rate: float
    payer: str

    def usable(self, decided: int, year: int) -> bool:
        end = decided + self.lead + self.life if self.life is not None else float("inf")
        return decided + self.lead <= year < end

    def part(self, decided: int, year: int) -> float:
        if not self.usable(decided, year):
            return 0.0
        k = 0  # calendar years after the first usable one
        while decided + self.lead <= year - k - 1:
            k += 1
        return (k + 1) / (self.ramp + 1) if k < self.ramp else 1.0

    @property
    def annuity(self) -> float:
        n = 20.0 if self.life is None else self.life
        return 1.0 / n if self.rate == 0.0 else self.rate / (1.0 - (1.0 + self.rate) ** -n)


@dataclass(frozen=True)
class Stock:
    opening: float
    most: float
    build: float
    draw: float
    closing: float
    hold: float


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
    disruptions: list[dict[str, str]]
    aversion: dict[str, Any] = field(default_factory=dict)  # section [risk] of case.toml
    growth: dict[str, Growth] = field(default_factory=dict)
    base: dict[tuple[str, str], float] = field(default_factory=dict)  # (supplier, column) of credits, grants, floors
    stocks: dict[tuple[str, str], Stock] = field(default_factory=dict)  # (market, material)
    substitution: dict[tuple[str, str], list[tuple[int, float, float]]] = field(default_factory=dict)
    _lanes: dict[int, dict[Lane, tuple[float, float | None]]] = field(default_factory=dict)

    # ---- years
    def span(self, year: int) -> int:
        i = self.years.index(year)
        if i + 1 < len(self.years):
            return self.years[i + 1] - year
        return year - self.years[i - 1] if i else 1

    def weight(self, year: int) -> float:
        return sum((1.0 + self.rate) ** -(t - self.years[0]) for t in range(year, year + self.span(year)))

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

    def support(self, s: Supplier, column: str, year: int) -> float:
        """credit_share, credit_usd_per_t, grant_share or floor_usd_per_t of the year."""
        return self._stepped(s, column, year, self.base.get((s.id, column), 0.0))

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

    def steps_of(self, material: str, year: int) -> list[tuple[float, float]]:
        """(most of the requirement, usd per t) of each step of substitution that is there in the year."""
        out = []
        for (of, _), rows in self.substitution.items():
            past = [row for row in rows if row[0] <= year]
            if of == material and past:
                out.append(past[-1][1:])
        return out

    def could(self, s: Supplier, year: int) -> float:
        """Most that a supplier could make in the year, with all that it may be expanded by."""
        rates = sum(rate for (sid, _), rate in self.byproducts.items() if sid == s.id)
        return (self.capacity(s, year) + self.growth[s.id].most) * (1.0 + rates)

    def room(self, place: tuple[str, str], year: int) -> float:
        """Most that can go into a stock in a year."""
        stock = self.stocks[place]
        made = sum(self.could(s, year) for s in self.suppliers.values())  # of anything: enough
        return min(made, stock.build, stock.most / self.span(year))

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
            surge=number(r, "surge_share"),
        )
        for r in table(folder, "suppliers")
    }
    steps: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for r in table(folder, "supplier_years"):
        for column in ("capacity_t", "cost_usd_per_t", "min_t", *SUPPORTS):
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
    market, rate = toml["market"], float(toml["horizon"].get("discount_rate", 0.0))
    growth = {
        r["supplier"]: Growth(
            most=number(r, "max_expansion_t"),
            capex=number(r, "capex_usd_per_t"),
            opening=number(r, "open_usd"),
            lead=number(r, "lead_years"),
            life=number(r, "life_years") or None,
            ramp=number(r, "ramp_years"),
            rate=number(r, "cost_of_capital", rate),
            payer=r.get("floor_paid_by", ""),
        )
        for r in table(folder, "suppliers")
    }
    stocks = {
        (r.get("market", "") or "home", r["material"]): Stock(
            opening=number(r, "opening_t"),
            most=number(r, "max_t", inf),
            build=number(r, "build_max_t", inf),
            draw=number(r, "draw_max_t", inf),
            closing=number(r, "closing_min_t"),
            hold=number(r, "hold_usd_per_t_y"),
        )
        for r in table(folder, "stock")
    }
    substitution: dict[tuple[str, str], list[tuple[int, float, float]]] = {}
    for r in table(folder, "substitution"):
        row = (int(r["year"]), float(r["max_share"]), float(r["usd_per_t"]))
        substitution.setdefault((r["material"], r["step"]), []).append(row)
    return Case(
        years=list(toml["horizon"]["years"]),
        rate=rate,
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
        growth=growth,
        base={(r["supplier"], c): number(r, c) for r in table(folder, "suppliers") for c in SUPPORTS},
        stocks=stocks,
        substitution={key: sorted(rows) for key, rows in substitution.items()},
        disruptions=table(folder, "disruptions"),
        aversion=toml.get("risk", {}),
    )
