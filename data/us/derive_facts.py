"""The fact tables of the US case, and a supplier while it is being put together."""

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = "USA"
BASE_YEAR = 2025
YEARS = (2026, 2028, 2030, 2035)
OPEN = 1e9  # a lane limit that never binds: reopens one lane of a closed origin

Row = dict[str, str]


@dataclass
class Supplier:
    """One row of suppliers.csv while it is being put together."""

    id: str
    name: str
    country: str
    controller: str
    channel: str
    material: str
    input: str
    recovery: float = 1.0
    output: float | None = None  # national output that is its own, where known
    nameplate: float | None = None  # its own published size: a named plant or project
    status: str = "operating"
    from_year: str = ""
    to_year: str = ""
    capex_musd: float = 0.0
    kind: str = ""  # what sort of plant: sets how long it takes; blank where there is nothing to decide
    capital: float = 0.0  # USD per yearly tonne, before contingency
    growth: Row = field(default_factory=dict)  # the columns of suppliers.csv that say how it can grow
    certified: str = ""
    at_price: str = ""
    incumbent: float = 0.0
    asked: str = ""  # incumbent as the facts ask for it: a number or "auto"
    capacity: dict[int, float] = field(default_factory=dict)
    cost: float = 0.0
    basis: str = ""
    sources: list[str] = field(default_factory=list)
    note: str = ""


class Facts:
    """The fact tables and the small look-ups made from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chains = {r["material"]: r for r in self.read("chains")}
        self.assumed = {r["name"]: float(r["value"]) for r in self.read("assumptions")}
        self.names = {r["iso3"]: r["name"] for r in read_csv(HERE.parent / "countries.csv")}
        self.allied = {r["country"] for r in self.read("blocs") if r["bloc"] == "allied"}
        self.controlled = {(r["material"], r["country"]): r for r in self.read("export_controls")}
        self.costs = {r["supplier"]: r for r in self.read("costs")}
        self.yields = {(r["input"], r["material"]): r for r in self.read("yields")}
        self.lead = {r["kind"]: float(r["value"]) for r in self.read("lead_times")}
        self.certified = {r["supplier"]: r for r in self.read("certified")}
        self.hosted = {(r["supplier"], r["material"]): r for r in self.read("byproducts")}
        self.imports = {(r["material"], r["country"]): float(r["value"]) for r in self.read("import_shares")}
        self.price = self._prices()
        self.balance: dict[tuple[str, str], float] = defaultdict(float)
        for r in self.read("us_balance"):
            self.balance[r["material"], r["item"]] += tonnes(r)

    def read(self, name: str) -> list[Row]:
        return read_csv(self.folder / f"{name}.csv")

    def _prices(self) -> dict[str, float]:
        rows = self.read("prices")
        price = {r["material"]: float(r["value"]) * float(r["to_usd_per_t"]) for r in rows if not r["share_of"]}
        for r in rows:
            if r["share_of"]:
                price[r["material"]] = float(r["value"]) * price[r["share_of"]]
        return price

    def channel(self, country: str) -> str:
        return "domestic" if country == HOME else "allied" if country in self.allied else "incumbent"


def read_csv(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8-sig") as handle:
        return list(csv.DictReader(handle))


def tonnes(row: Row) -> float:
    return float(row["value"]) * float(row["to_t"] or 1)


def ratio(row: Row) -> float:
    """Tonnes of a by-product per tonne of its host."""
    return float(row["value"]) / float(row["host_value"])


def grouped(rows: list[Row], *columns: str) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for r in rows:
        groups[tuple(r[c] for c in columns)].append(r)
    return groups


def unique(items: list[str]) -> list[str]:
    return list(dict.fromkeys(x for item in items for x in item.split()))


def joined(*parts: str) -> str:
    return "; ".join(x for x in parts if x)


def number(value: float | str | None, digits: int = 5) -> str:
    """Fixed formatting: `digits` significant digits, no exponent."""
    if value is None or isinstance(value, str):
        return value or ""
    return format(Decimal(f"{value:.{digits}g}"), "f")


def interpolate(points: dict[int, float], year: int) -> float:
    years = sorted(points)
    if year <= years[0] or year >= years[-1]:
        return points[years[0] if year <= years[0] else years[-1]]
    low, high = max(y for y in years if y <= year), min(y for y in years if y >= year)
    return points[low] if low == high else points[low] + (points[high] - points[low]) * (year - low) / (high - low)
