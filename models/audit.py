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

from models.audit_facts import TOLERANCE, Facts, Lanes, records, room, text
from models.audit_risk import check_risk
from models.audit_rules import check_costs, check_rules, claims_of
from models.audit_two_stage import TwoStageClaims, check_two_stage
from models.audit_years import Claimed, Paid, check_years

if TYPE_CHECKING:
    from models.case import Case

Flow = tuple[str, str, str, int]  # origin, destination, material, year
POOL = "feedstock:"  # origin of what is drawn from a feedstock pool
CHECKS = {
    "supplier_rows": "every supplier is listed once for each horizon year, and nothing else",
    "produced": "production is a number, 0 or more",
    "capacity": "production is within capacity, supplier_years and usable expansions counted in",
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
    "demand": "a market receives its requirement less shortage, substitution and what is drawn, plus what is stored",
    "shortage": "shortage only where it has a price, at most what the sector requires",
    "expansion": "an expansion is 0 or more, of a supplier that may grow, decided in a horizon year",
    "expansion_limit": "all expansions of a supplier together are within max_expansion_t",
    "opening": "a supplier with open_usd is opened once, before or when it is expanded",
    "annuity": "the annuity of a decision is its capital times r / (1 - (1 + r)^-n)",
    "stock_rows": "every stock is listed once for each horizon year, and nothing else",
    "stock_balance": "stock at year end is that at its start plus its calendar years of what is put in less drawn",
    "stock_limit": "stock and what is put in or drawn are 0 or more and within their limits",
    "closing_stock": "at the end of the last horizon year closing_min_t is in stock",
    "substitution": "no more is done without than max_share of what is required",
    "public_cost": "what the public pays of each cost, mineral and year",
    "public_year": "what the public pays in a year is the sum of its parts",
    "cost": "each cost of each mineral and year, from tables and flows",
    "year_cost": "the cost of each year is the sum of its costs",
    "objective": "the objective is the discounted sum over the calendar years that each horizon year stands for; with "
    "a risk weight W it is first-stage cost + (1 - W) expected + W CVaR of the responses",
    "risk_weight": "the risk weight is 0 to 1, the tail above 0 and at most 1",
    "scenario_rows": "the scenarios are those of disruptions.csv and nothing happens, with their probabilities",
    "first_stage": "first-stage cost is what is paid whatever happens: fixed, capital less grants, holding; discounted",
    "response": "the response to a scenario is the cheapest that the plan leaves; if nothing happens, the plan itself",
    "expected_cost": "the expected cost is the mean over the scenarios of first-stage and response cost",
    "cvar": "the CVaR is the mean cost of the worst tail of the probability, cut within a scenario if need be",
    "worst_cost": "the worst cost is that of the dearest scenario of a probability above 0",
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
    costs: cost (its name), mineral, year, usd_per_y (buyers), public_usd_per_y, undiscounted. expansion: supplier,
    year (of decision), t, opened, usd_per_y, public_usd_per_y (its annuity). stock: market, material, year, built_t,
    drawn_t (a year), end_t. substitution: market, material, step, year, t.
    ``status_quo``: made by going on as today, so that capacities, limits and rules do not apply.
    ``status_quo_usd_per_y``: (mineral or "", year) -> cost of going on as today, which a premium is counted from.
    ``two_stage``: what a plan made with a risk weight says of the scenarios; ``objective_usd`` is then that of both.
    """

    suppliers: pd.DataFrame
    flows: pd.DataFrame
    shortage: pd.DataFrame
    rules: pd.DataFrame
    costs: pd.DataFrame
    expansion: pd.DataFrame
    stock: pd.DataFrame
    substitution: pd.DataFrame
    cost_usd_per_y: Mapping[int, float]
    public_usd_per_y: Mapping[int, float]
    objective_usd: float
    status_quo: bool = False
    status_quo_usd_per_y: Mapping[tuple[str, str, int], float] | None = None
    two_stage: TwoStageClaims | None = None


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


def audit(case: Case, answer: Answer) -> list[Finding]:
    """Every disagreement between an answer and the case; empty where all agrees.

    Raises ``KeyError`` where a frame of the answer lacks a column.
    """
    facts = Facts(case)
    lanes = Lanes(facts)
    plan = Plan(answer, facts)
    found = Findings()
    claims = check_years(facts, plan, answer, found)
    _suppliers(facts, plan, claims, answer.status_quo, found)
    paid = _flows(facts, lanes, plan, answer.status_quo, found)
    _balances(facts, plan, answer.status_quo, found)
    _markets(facts, plan, claims, answer.status_quo, found)
    costs, undisturbed = check_costs(facts, plan, answer, claims, paid, lanes.largest, found)
    if answer.two_stage is not None:
        check_two_stage(facts, lanes, plan, claims, answer.two_stage, undisturbed, found)
        claimed = answer.two_stage.objective_usd
        found.same("objective", "objective_usd", answer.objective_usd, claimed, 1e-9 * abs(claimed))
    if not answer.status_quo:
        check_rules(facts, plan, answer, costs, found)
        check_risk(facts, lanes, plan, claims, claims_of(answer), found)
    return found


def _suppliers(facts: Facts, plan: Plan, claims: Claimed, status_quo: bool, found: Findings) -> None:
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
            grown = claims.usable(supplier, year)
            found.at_most("capacity", where, made, facts.capacity[supplier, year] + grown)
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
            paid += _draw(facts, (origin, destination, material, year), tonnes, wrong, found)
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
            paid.append(("freight", material, year, tonnes * freight))
            paid.append(("duty", material, year, tonnes * duty * facts.price[material]))
    return paid


def _draw(facts: Facts, flow: Flow, tonnes: float, wrong: str, found: Findings) -> list[Paid]:
    """A draw on a feedstock pool; what collecting it costs."""
    origin, destination, material, year = flow
    known = destination in facts.makers and (material, year) in facts.pools
    if origin != POOL + material or not known:
        wrong = wrong or "no such feedstock pool for this supplier"
    if wrong:
        found.note("lane", f"{origin} -> {destination} {material} {year}", tonnes, 0.0, wrong)
    if not known:
        return []
    return [("collection", facts.makers[destination].material, year, tonnes * facts.pools[material, year][1])]


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


def _markets(facts: Facts, plan: Plan, claims: Claimed, status_quo: bool, found: Findings) -> None:
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
        built, drawn, _ = claims.moved.get((market, material, year), (0.0, 0.0, 0.0))
        without = missing[market, material, year] + claims.replaced.get((market, material, year), 0.0)
        due = required - without + built - drawn
        found.same("demand", f"{market} {material} {year}", received, due, room(max(required, built)))
