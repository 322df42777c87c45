"""Audits what spans years: expansions and their annuities, stock, substitution, and what the public pays.

Worked out anew from the tables (contract 1.3, MATHS.md), knowing nothing of the model.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.audit_facts import TOLERANCE, Facts, records, room

if TYPE_CHECKING:
    from models.audit import Answer, Findings, Plan

Paid = tuple[str, str, int, float]  # cost, material that it belongs to, year, USD a year
HAIR = 1e-9  # years
WRITTEN_OFF = 20.0  # years of the annuity of what lasts to the end


@dataclass(frozen=True)
class Grower:
    """What suppliers.csv says of how a supplier may grow."""

    limit_t: float
    capex: float
    open_usd: float
    lead: float
    life: float
    ramp: float
    rate: float

    def owed(self, decided: int, year: int) -> bool:
        """Whether what was decided then is usable, and its annuity owed, in the year."""
        start = decided + self.lead
        return start - HAIR <= year < start + self.life - HAIR

    def part(self, decided: int, year: int) -> float:
        """The part of it that can be used in the year: it ramps up in equal steps."""
        if not self.owed(decided, year):
            return 0.0
        since = year - math.ceil(decided + self.lead - HAIR)
        return (since + 1) / (self.ramp + 1) if since < self.ramp else 1.0

    @property
    def annuity(self) -> float:
        """Paid in a year for each USD of capital."""
        years = WRITTEN_OFF if math.isinf(self.life) else self.life
        return 1 / years if self.rate == 0 else self.rate / (1 - (1 + self.rate) ** -years)


class Growth:
    """How each supplier may grow, by what it is supported, and the stockpiles, as the tables say."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        discount = facts.case.settings.horizon.discount_rate
        columns = ("supplier", "max_expansion_t", "capex_usd_per_t", "open_usd", "lead_years", "life_years",
                   "ramp_years", "cost_of_capital")  # fmt: skip
        self.growers = {
            supplier: Grower(limit, capex, opening, lead, math.inf if math.isnan(life) else life, ramp,
                             discount if math.isnan(rate) else rate)
            for supplier, limit, capex, opening, lead, life, ramp, rate
            in records(facts.case.tables["suppliers"], *columns) if limit > 0
        }  # fmt: skip
        self.stocks = {(row["market"], row["material"]): row for row in facts.case.tables["stock"].to_dict("records")}
        stepped = ("credit_share", "credit_usd_per_t", "grant_share", "floor_usd_per_t")
        self.credit_share, self.credit, self.grant, self.floor = map(facts.stepped, stepped)
        self.floor_payer = dict(records(facts.case.tables["suppliers"], "supplier", "floor_paid_by"))

    def spans(self) -> dict[int, int]:
        """Calendar years that each horizon year stands for."""
        years = self.facts.years
        tail = years[-1] - years[-2] if len(years) > 1 else 1
        return {year: after - year for year, after in zip(years, [*years[1:], years[-1] + tail], strict=True)}

    def substitution(self) -> dict[tuple[str, str, int], tuple[float, float]]:
        """(material, step, year) -> most of the requirement, and USD per t: the latest row at or before the year."""
        series: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
        columns = ("material", "step", "year", "max_share", "usd_per_t")
        for material, step, since, share, usd in records(self.facts.case.tables["substitution"], *columns):
            series[material, step].append((since, share, usd))
        found = {}
        for (material, step), rows in series.items():
            for year in self.facts.years:
                past = [row for row in rows if row[0] <= year]
                if past:
                    found[material, step, year] = max(past)[1:]
        return found

    def supports(self, supplier: str, year: int) -> tuple[float, float, float, bool]:
        """USD per t produced: credit, floor payment, how far it lowers what buyers pay, and whether the public pays it.

        A floor F pays F less the reference price P; what buyers pay (after the credit) falls by as much, not below P.
        """
        facts = self.facts
        cost, material = facts.unit_cost[supplier, year], facts.makers[supplier].material
        credit = self.credit_share[supplier, year] * max(cost, 0.0) + self.credit[supplier, year]
        floor = self.floor[supplier, year]
        payment = 0.0 if math.isnan(floor) else max(0.0, floor - facts.price[material])
        above = max(0.0, cost - credit - facts.price[material])
        return credit, payment, min(payment, above), self.floor_payer[supplier] == "public"


class Claimed:
    """What an answer claims of the years, added up, and the costs that it makes."""

    def __init__(self, growth: Growth) -> None:
        self.growth = growth
        self.expanded: dict[str, dict[int, float]] = {}  # supplier -> year of decision -> t
        self.opened: dict[str, list[int]] = {}
        self.moved: dict[tuple[str, str, int], tuple[float, float, float]] = {}  # built, drawn, end
        self.replaced: dict[tuple[str, str, int], float] = defaultdict(float)
        self.paid: list[Paid] = []  # by buyers
        self.public: list[Paid] = []

    def usable(self, supplier: str, year: int) -> float:
        """Tonnes a year that can be used of the expansions of the supplier."""
        decided = self.expanded.get(supplier)
        if not decided:
            return 0.0
        return sum(self.growth.growers[supplier].part(at, year) * tonnes for at, tonnes in decided.items())


def check_years(facts: Facts, plan: Plan, answer: Answer, found: Findings) -> Claimed:
    """Check expansions, stock and substitution; gives the claims, and the costs that they make."""
    growth = Growth(facts)
    claims = Claimed(growth)
    _expansions(growth, answer, claims, found)
    _stock(growth, answer, claims, found)
    _substitution(growth, answer, claims, found)
    for (supplier, year), made in plan.produced.items():
        if supplier in facts.makers and year in facts.years:
            _support(growth, supplier, year, made, claims)
    return claims


def _expansions(growth: Growth, answer: Answer, claims: Claimed, found: Findings) -> None:
    facts = growth.facts
    columns = ("supplier", "year", "t", "opened", "usd_per_y", "public_usd_per_y")
    for supplier, year, tonnes, opened, usd, public in records(answer.expansion, *columns):
        where, grower = f"{supplier} {year}", growth.growers.get(supplier)
        if grower is None or year not in facts.years or not (tonnes >= -TOLERANCE and tonnes < math.inf):
            found.note("expansion", where, tonnes, 0.0)
            continue
        if answer.status_quo:
            found.note("expansion", where, tonnes, 0.0, "going on as today expands nothing")
        decided = claims.expanded.setdefault(supplier, {})
        decided[int(year)] = decided.get(int(year), 0.0) + tonnes
        if opened:
            claims.opened.setdefault(supplier, []).append(int(year))
        capital = grower.capex * tonnes + (grower.open_usd if opened else 0.0)
        yearly, grant = capital * grower.annuity, growth.grant[supplier, int(year)]
        found.same("annuity", where, usd, yearly, TOLERANCE * max(yearly, grower.capex, 1.0))
        found.same("annuity", where, public, yearly * grant, TOLERANCE * max(yearly, grower.capex, 1.0),
                   "the public pays the grant's share of the annuity")  # fmt: skip
        material = facts.makers[supplier].material
        for later in facts.years:
            if grower.owed(int(year), later):
                claims.paid += [("capital", material, later, yearly), ("grant", material, later, -grant * yearly)]
                claims.public.append(("grant", material, later, grant * yearly))
    for supplier, decided in claims.expanded.items():
        grower = growth.growers[supplier]
        found.at_most("expansion_limit", supplier, sum(decided.values()), grower.limit_t)
        if grower.open_usd > 0:
            _opening(growth, supplier, claims, found)


def _opening(growth: Growth, supplier: str, claims: Claimed, found: Findings) -> None:
    openings, grower = claims.opened.get(supplier, []), growth.growers[supplier]
    if len(openings) > 1:
        found.note("opening", supplier, len(openings), 1)
    if openings and not any(grower.owed(openings[0], year) for year in growth.facts.years):
        found.note("opening", supplier, 1, 0, "opened so that it never becomes usable, and is never paid for")
    decided = claims.expanded.get(supplier, {})
    early = sum(t for year, t in decided.items() if not any(opening <= year for opening in openings))
    found.at_most("opening", supplier, early, 0.0, "expanded before it is opened")


def _stock(growth: Growth, answer: Answer, claims: Claimed, found: Findings) -> None:
    facts, spans = growth.facts, growth.spans()
    listed: dict[tuple[str, str, int], int] = defaultdict(int)
    for market, material, year, built, drawn, end in records(
        answer.stock, "market", "material", "year", "built_t", "drawn_t", "end_t"
    ):
        listed[market, material, int(year)] += 1
        claims.moved[market, material, int(year)] = (built, drawn, end)
    for key in listed:
        if key[:2] not in growth.stocks or key[2] not in facts.years:
            found.note("stock_rows", " ".join(map(str, key)), 1, 0, "no such stock and horizon year")
    for (market, material), row in growth.stocks.items():
        before = float(row["opening_t"])
        for year in facts.years:
            where = f"{market} {material} {year}"
            if listed[market, material, year] != 1:
                found.note("stock_rows", where, listed[market, material, year], 1)
            built, drawn, end = claims.moved.get((market, material, year), (0.0, 0.0, 0.0))
            span = spans[year]
            _within(row, where, (built, drawn, end), answer.status_quo, found)
            due = before + span * (built - drawn)
            size = max(before, end, span * built, span * drawn)
            found.same("stock_balance", where, end, due, max(room(size), span * TOLERANCE))
            claims.paid.append(("holding", material, year, row["hold_usd_per_t_y"] * end))
            before = end
        if not answer.status_quo:
            found.at_least("closing_stock", f"{market} {material}", before, row["closing_min_t"])


def _within(row: Any, where: str, claimed: tuple[float, float, float], status_quo: bool, found: Findings) -> None:
    names = ("build_max_t", "draw_max_t", "max_t")
    for name, tonnes in zip(names, claimed, strict=True):
        most = math.inf if math.isnan(row[name]) else row[name]
        if status_quo and name != "max_t":
            most = 0.0
        if not tonnes >= -TOLERANCE:
            found.note("stock_limit", where, tonnes, 0.0)
        found.at_most("stock_limit", where, tonnes, most, f"{name} is kept")


def _substitution(growth: Growth, answer: Answer, claims: Claimed, found: Findings) -> None:
    facts, steps = growth.facts, growth.substitution()
    for market, material, step, year, tonnes in records(answer.substitution, "market", "material", "step", "year", "t"):
        where = f"{market} {material} {step} {year}"
        share, usd = steps.get((material, str(step), int(year)), (0.0, 0.0))
        required = facts.required.get((market, material, int(year)), 0.0)
        if not tonnes >= -TOLERANCE or answer.status_quo:
            found.note("substitution", where, tonnes, 0.0)
        found.at_most("substitution", where, tonnes, share * required)
        claims.replaced[market, material, int(year)] += tonnes
        claims.paid.append(("substitution", material, int(year), usd * tonnes))


def _support(growth: Growth, supplier: str, year: int, made: float, claims: Claimed) -> None:
    credit, payment, relief, public = growth.supports(supplier, year)
    material = growth.facts.makers[supplier].material
    claims.paid.append(("credit", material, year, -credit * made))
    claims.public.append(("credit", material, year, credit * made))
    claims.paid.append(("floor", material, year, ((0.0 if public else payment) - relief) * made))
    claims.public.append(("floor", material, year, (payment if public else 0.0) * made))


def dearest_t(growth: Growth) -> dict[str, float]:
    """USD: what a tonne can cost at most, in each cost that spans years or is supported."""
    facts = growth.facts
    supports = [growth.supports(supplier, year) for supplier in facts.makers for year in facts.years]
    capital = max((g.capex * g.annuity for g in growth.growers.values()), default=0.0)
    return {
        "credit": max((credit for credit, *_ in supports), default=0.0),
        "floor": max((payment for _, payment, *_ in supports), default=0.0),
        "capital": capital, "grant": capital,
        "holding": max((row["hold_usd_per_t_y"] for row in growth.stocks.values()), default=0.0),
        "substitution": max((abs(usd) for _, usd in growth.substitution().values()), default=0.0),
    }  # fmt: skip
