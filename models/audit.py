"""Audits a plan: recomputes every balance, limit and cost from the tables and the flows, knowing nothing of the model.

What the tables say in a year (steps, interpolation, most specific lane row, weights, blocs) is worked out here
anew, so that a mistake in how the model reads them shows up as well. Flows are in tonnes a year, money in USD.
Tolerance: 1e-6 of each right-hand side, or 1e-6 t; costs 1e-6 of the sums that they are made of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.audit_rules import TOLERANCE, Paid, check_costs, check_rules, records, text

if TYPE_CHECKING:
    from models.case import Case

POOL = "feedstock:"  # origin of what is drawn from a feedstock pool
CHECKS = {
    "supplier_rows": "every supplier is listed once for each horizon year, and nothing else",
    "produced": "production is a number, 0 or more",
    "capacity": "production is within capacity, supplier_years counted in",
    "active": "nothing is produced before from_year or after to_year",
    "minimum": "min_t is produced in each active year",
    "lot": "a supplier that is used makes at least lot_t",
    "status_quo": "production is incumbent_t times one factor per material and year",
    "flow": "a flow is a number, 0 or more",
    "lane": "every flow runs on a lane that exists: made there, consumed here, listed, not to itself",
    "lane_limit": "a flow is within max_t of the most specific row of lanes.csv that gives it",
    "output": "what leaves a supplier of its main material is what it produces",
    "byproduct": "no more of a by-product is taken than comes with the main material",
    "input": "input received times recovery is what is produced",
    "pool": "draws on a feedstock pool are within what is available",
    "demand": "a market receives what it requires less its shortage",
    "shortage": "shortage only where it has a price, at most what the sector requires",
    "cost": "each cost of each mineral and year, from tables and flows",
    "year_cost": "the cost of each year is the sum of its costs",
    "objective": "the objective is the discounted sum over the calendar years that each horizon year stands for",
    "rule_rows": "the rows of the rules are those that are due, each once",
    "rule_limit": "the limit of each row is the rule's own, or the one that replaced it",
    "rule_value": "the value of each row follows from the tables and flows",
    "rule_holds": "each row of each rule holds",
}


@dataclass(frozen=True)
class Answer:
    """What a plan claims, nothing hidden.

    suppliers: supplier, year, produced_t (every supplier and horizon year listed). flows: origin, destination,
    material, year, t (zero flows left out; a draw on a pool has the origin ``feedstock:MATERIAL``). shortage:
    market, material, sector, year, t. rules: rule, kind, bound, mineral, material, member, year, value, limit.
    costs: cost (production, freight, duty, collection, fixed or shortage), mineral, year, usd_per_y, undiscounted.
    ``status_quo``: made by going on as today, so that capacities, limits and rules do not apply.
    ``status_quo_usd_per_y``: (mineral or "", year) -> cost of going on as today, which a premium is counted from.
    """

    suppliers: pd.DataFrame
    flows: pd.DataFrame
    shortage: pd.DataFrame
    rules: pd.DataFrame
    costs: pd.DataFrame
    cost_usd_per_y: Mapping[int, float]
    objective_usd: float
    status_quo: bool = False
    status_quo_usd_per_y: Mapping[tuple[str, int], float] | None = None


@dataclass(frozen=True)
class Finding:
    """One disagreement: the check (a key of ``CHECKS``), where, what was claimed and what the tables say."""

    check: str
    where: str
    claimed: float
    expected: float
    message: str

    def as_dict(self) -> dict[str, Any]:
        """The keys that ``--json`` gives; None for a number that there is not."""
        claimed, expected = (value if np.isfinite(value) else None for value in (self.claimed, self.expected))
        return {"check": self.check, "where": self.where, "claimed": claimed, "expected": expected,
                "message": self.message}  # fmt: skip


class Findings(list[Finding]):
    """The disagreements found so far."""

    def note(self, check: str, where: str, claimed: float, expected: float, message: str = "") -> None:
        """Record one; without a message the meaning of the check stands in."""
        self.append(Finding(check, where, float(claimed), float(expected), message or CHECKS[check]))

    def same(self, check: str, where: str, claimed: float, expected: float, slack: float, message: str = "") -> None:
        """Record unless claimed and expected are within ``slack``; NaN never is."""
        if not abs(claimed - expected) <= slack:
            self.note(check, where, claimed, expected, message)

    def at_most(self, check: str, where: str, claimed: float, limit: float, message: str = "") -> None:
        """Record tonnes above the limit."""
        if not claimed <= limit + room(limit):
            self.note(check, where, claimed, limit, message)

    def at_least(self, check: str, where: str, claimed: float, limit: float, message: str = "") -> None:
        """Record tonnes below the limit."""
        if not claimed >= limit - room(limit):
            self.note(check, where, claimed, limit, message)


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
        self.capacity, self.unit_cost, self.minimum = map(self._stepped, ("capacity_t", "cost_usd_per_t", "min_t"))
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

    def _stepped(self, column: str) -> dict[tuple[str, int], float]:
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
        self.rows: dict[tuple[str, str, str], list[float]] = {}
        columns = ("origin", "destination", "material", "freight_usd_per_t", "duty_share", "max_t")
        for origin, destination, material, *cells in records(facts.case.tables["lanes"], *columns):
            known = self.rows.setdefault((origin, destination, material), cells)
            if known is not cells:
                known[:] = [new if np.isnan(old) else old for old, new in zip(known, cells, strict=True)]
        self.names = ({key[0] for key in self.rows}, {key[1] for key in self.rows})
        self.largest = [max((abs(row[at]) for row in self.rows.values() if row[at] == row[at]), default=0.0)
                        for at in range(3)]  # fmt: skip
        self._levels: dict[tuple[str, int, int], list[list[str]]] = {}

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
        targets = self.levels(destination, year, 1)
        for start in self.levels(origin, year, 0):
            for end in targets:
                for moved in (material, ""):
                    for key in ((a, b, moved) for a in start for b in end):
                        row = self.rows.get(key)
                        if row is not None:
                            matched = True
                            cells = [new if np.isnan(old) else old for old, new in zip(cells, row, strict=True)]
        freight, duty, most = cells
        return matched, 0.0 if np.isnan(freight) else freight, 0.0 if np.isnan(duty) else duty, most


class Plan:
    """The claims of an answer, added up in the ways in which they are checked (tonnes a year)."""

    def __init__(self, answer: Answer, facts: Facts) -> None:
        self.produced: dict[tuple[str, int], float] = defaultdict(float)
        self.times_listed: dict[tuple[str, int], int] = defaultdict(int)
        for supplier, year, tonnes in records(answer.suppliers, "supplier", "year", "produced_t"):
            self.produced[supplier, int(year)] += tonnes
            self.times_listed[supplier, int(year)] += 1
        self.flows: dict[tuple[str, str, str, int], float] = defaultdict(float)
        for origin, destination, material, year, tonnes in records(
            answer.flows, "origin", "destination", "material", "year", "t"
        ):
            self.flows[origin, destination, material, int(year)] += tonnes
        self.out: dict[tuple[str, str, int], float] = defaultdict(float)
        self.received: dict[tuple[str, int], float] = defaultdict(float)
        self.drawn: dict[tuple[str, int], float] = defaultdict(float)
        self.delivered: dict[tuple[str, int], dict[str, dict[str, float]]] = {}  # -> market -> supplier -> t
        for (origin, destination, material, year), tonnes in self.flows.items():
            if origin.startswith(POOL):
                self.drawn[origin.removeprefix(POOL), year] += tonnes
            else:
                self.out[origin, material, year] += tonnes
            if destination not in facts.makers:
                market = self.delivered.setdefault((material, year), {}).setdefault(destination, defaultdict(float))
                market[origin] += tonnes
            elif facts.makers[destination].input == material:
                self.received[destination, year] += tonnes
        self.shortage: dict[tuple[str, str, str, int], float] = defaultdict(float)
        columns = ("market", "material", "sector", "year", "t")
        for market_id, material, sector, year, tonnes in records(answer.shortage, *columns):
            self.shortage[market_id, material, text(sector), int(year)] += tonnes


def _between(years: list[int], known: list[float], values: list[float]) -> list[float]:
    """Linear between the known years, held at both ends."""
    return [float(value) for value in np.interp(years, known, values)]


def audit(case: Case, answer: Answer) -> list[Finding]:
    """Every disagreement between an answer and the case; empty where all agrees.

    Raises ``KeyError`` where a frame of the answer lacks a column.
    """
    facts = Facts(case)
    lanes = Lanes(facts)
    plan = Plan(answer, facts)
    found = Findings()
    _suppliers(facts, plan, answer.status_quo, found)
    paid = _flows(facts, lanes, plan, answer.status_quo, found)
    _balances(facts, plan, answer.status_quo, found)
    _markets(facts, plan, answer.status_quo, found)
    costs = check_costs(facts, plan, answer, paid, lanes.largest, found)
    if not answer.status_quo:
        check_rules(facts, plan, answer, costs, found)
    return found


def _suppliers(facts: Facts, plan: Plan, status_quo: bool, found: Findings) -> None:
    for supplier, year in plan.times_listed:
        if supplier not in facts.makers or year not in facts.years:
            found.note("supplier_rows", f"{supplier} {year}", 1, 0, "not a supplier and horizon year of the case")
    for supplier, maker in facts.makers.items():
        for year in facts.years:
            where, made = f"{supplier} {year}", plan.produced.get((supplier, year), 0.0)
            listed = plan.times_listed.get((supplier, year), 0)
            if listed != 1:
                found.note("supplier_rows", where, listed, 1)
            if not (made >= -TOLERANCE and made < np.inf):
                found.note("produced", where, made, 0.0)
                continue
            if status_quo:
                continue
            if not facts.active(supplier, year):
                found.at_most("active", where, made, 0.0)
                continue
            found.at_most("capacity", where, made, facts.capacity[supplier, year])
            found.at_least("minimum", where, made, facts.minimum[supplier, year])
            if made > TOLERANCE:
                found.at_least("lot", where, made, maker.lot_t)
    if status_quo:
        _factors(facts, plan, found)


def _factors(facts: Facts, plan: Plan, found: Findings) -> None:
    for material in facts.mineral:
        makers = {name: maker.incumbent_t for name, maker in facts.makers.items() if maker.material == material}
        total = sum(makers.values())
        for year in facts.years:
            factor = sum(plan.produced.get((name, year), 0.0) for name in makers) / total if total > 0 else 0.0
            for name, incumbent in makers.items():
                made = plan.produced.get((name, year), 0.0)
                message = f"incumbent_t times the factor {factor:g} of all of {material}"
                found.same("status_quo", f"{name} {year}", made, incumbent * factor, room(incumbent * factor), message)


def _flows(facts: Facts, lanes: Lanes, plan: Plan, status_quo: bool, found: Findings) -> list[Paid]:
    """Every flow on a lane that exists, within its limit; what carrying it costs."""
    paid: list[Paid] = []
    years, makers = set(facts.years), facts.makers
    for (origin, destination, material, year), tonnes in plan.flows.items():
        where = f"{origin} -> {destination} {material} {year}"
        if not (tonnes >= -TOLERANCE and tonnes < np.inf):
            found.note("flow", where, tonnes, 0.0)
        wrong = ""
        if year not in years:
            wrong = "not a horizon year"
        elif destination in makers and makers[destination].input != material:
            wrong = "the destination does not consume it"
        elif destination not in makers and (destination, material, year) not in facts.required:
            wrong = "no market of this name requires it"
        if origin.startswith(POOL):
            if origin != POOL + material or destination not in makers or (material, year) not in facts.pools:
                wrong = wrong or "no such feedstock pool for this supplier"
            if wrong:
                found.note("lane", where, tonnes, 0.0, wrong)
            if destination in makers and (material, year) in facts.pools:
                usd = tonnes * facts.pools[material, year][1]
                paid.append(("collection", facts.mineral[makers[destination].material], year, usd))
            continue
        matched, freight, duty, most = lanes.cells(origin, destination, material, year)
        if origin not in makers:
            wrong = wrong or "the origin is no supplier"
        elif makers[origin].material != material and material not in facts.byproducts.get(origin, {}):
            wrong = wrong or "the origin does not make it"
        elif origin == destination:
            wrong = wrong or "no lane from a supplier to itself"
        elif lanes.listed and not matched:
            wrong = wrong or "no row of lanes.csv lists it"
        if wrong:
            found.note("lane", where, tonnes, 0.0, wrong)
        if not status_quo and not np.isnan(most):
            found.at_most("lane_limit", where, tonnes, most)
        if material in facts.mineral:
            paid.append(("freight", facts.mineral[material], year, tonnes * freight))
            paid.append(("duty", facts.mineral[material], year, tonnes * duty * facts.price[material]))
    return paid


def _balances(facts: Facts, plan: Plan, status_quo: bool, found: Findings) -> None:
    """Suppliers turn what they receive into what leaves them; pools last."""
    for supplier, maker in facts.makers.items():
        for year in facts.years:
            where, made = f"{supplier} {year}", plan.produced.get((supplier, year), 0.0)
            left = plan.out.get((supplier, maker.material, year), 0.0)
            found.same("output", where, left, made, room(made))
            if maker.input:
                turned = plan.received.get((supplier, year), 0.0) * maker.recovery
                found.same("input", where, turned, made, max(room(made), TOLERANCE * maker.recovery))
            for material, ratio in facts.byproducts.get(supplier, {}).items():
                taken = plan.out.get((supplier, material, year), 0.0)
                found.at_most("byproduct", f"{supplier} {material} {year}", taken, ratio * made)
    for (material, year), (available, _) in facts.pools.items():
        if not status_quo:
            found.at_most("pool", f"{POOL}{material} {year}", plan.drawn.get((material, year), 0.0), available)


def _markets(facts: Facts, plan: Plan, status_quo: bool, found: Findings) -> None:
    missing: dict[tuple[str, str, int], float] = defaultdict(float)
    for (market, material, sector, year), tonnes in plan.shortage.items():
        where = " ".join(filter(None, (market, material, sector, str(year))))
        missing[market, material, year] += tonnes
        required, price = facts.demand.get((market, material, sector, year), (0.0, np.nan))
        if status_quo:
            found.same("shortage", where, tonnes, 0.0, TOLERANCE, "going on as today leaves no shortage")
        elif np.isnan(price):
            found.same("shortage", where, tonnes, 0.0, TOLERANCE, "shortage where demand must be met")
        else:
            found.at_most("shortage", where, tonnes, required)
            found.at_least("shortage", where, tonnes, 0.0)
    for (market, material, year), required in facts.required.items():
        received = sum(plan.delivered.get((material, year), {}).get(market, {}).values())
        due = required - missing[market, material, year]
        found.same("demand", f"{market} {material} {year}", received, due, room(required))
