"""Audits a plan made with a risk weight: every scenario dispatched anew, with scipy alone, and what that makes of cost.

From the plan's tables alone: first-stage cost; the cheapest response to each scenario, chain by chain of materials
(each year by itself, all years together where stock links them); expected cost and CVaR.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from models.audit_facts import TOLERANCE, records, room, text
from models.audit_lp import Lp
from models.audit_risk import chains, struck

if TYPE_CHECKING:
    from models.audit import Findings, Plan
    from models.audit_facts import Facts, Lanes
    from models.audit_years import Claimed

NOTHING = "nothing happens"
FIRST_STAGE = ("capital", "grant", "holding")  # and fixed charges: paid whatever happens
Terms = list[tuple[int, float]]
Place = tuple[str, str]  # market, material


@dataclass(frozen=True)
class TwoStageClaims:
    """What a plan made with a risk weight claims; money in USD, discounted to the first horizon year.

    scenarios: name -> probability and cost of its response, "nothing happens" (the plan itself) included.
    expected, cvar and worst are of the total cost, first stage and response together.
    """

    weight: float
    tail: float
    scenarios: Mapping[str, tuple[float, float]]
    first_stage_usd: float
    expected_usd: float
    cvar_usd: float
    worst_usd: float
    objective_usd: float


@dataclass(frozen=True)
class _Effect:
    """What a scenario does: share left and cost multiple of suppliers (by year), factor on requirements."""

    left: Mapping[tuple[str, int], float]
    dearer: Mapping[tuple[str, int], float]
    wanted: Mapping[Place, float]


def check_two_stage(
    facts: Facts, lanes: Lanes, plan: Plan, years: Claimed, claims: TwoStageClaims, undisturbed: tuple[float, float],
    found: Findings,
) -> None:  # fmt: skip
    """Compare the claims with what the plan's tables give; findings are added to ``found``.

    ``years``: expansions and stock that the answer claims. ``undisturbed``: discounted cost of the plan and its room.
    """
    weight, tail = claims.weight, claims.tail
    if not (0 <= weight <= 1 and 0 < tail <= 1):
        found.note("risk_weight", "weight and tail", weight, tail)
        return
    settings = facts.case.settings.risk
    if settings.weight is not None:
        found.same("risk_weight", "weight", weight, settings.weight, 0.0)
        found.same("risk_weight", "tail", tail, settings.tail, 0.0)
    probability = _joint(facts, claims, found) if settings.joint else _probabilities(facts)
    for name in probability.keys() - claims.scenarios.keys():
        found.note("scenario_rows", name, 0, 1, "a scenario is left out")
    for name in claims.scenarios.keys() - probability.keys():
        found.note("scenario_rows", name, 1, 0, "no such scenario in disruptions.csv")
    rows = _Rows(facts)
    total, slack = undisturbed
    first = _first_stage(facts, plan, years)
    found.same("first_stage", "first_stage_usd", claims.first_stage_usd, first, max(TOLERANCE * abs(first), slack))
    costs: dict[str, float] = {}
    rooms: dict[str, float] = {}
    parts = _parts(facts, lanes, plan, years)
    for name, share in probability.items():
        usd, near = total - first, slack
        if name != NOTHING:
            effect = rows.effect(name.split("+"))
            answers = [part.respond(effect) for part in parts]
            usd = sum(answer[0] for answer in answers)
            near = sum(answer[1] for answer in answers)
            if not abs(claims.scenarios.get(name, (0.0, usd))[1] - usd) <= near:
                near += usd - sum(part.respond(effect, free=True)[0] for part in parts) if usd < np.inf else 0.0
        costs[name], rooms[name] = first + usd, slack + near
        if name not in claims.scenarios:
            continue
        claimed_share, claimed_usd = claims.scenarios[name]
        found.same("scenario_rows", name, claimed_share, share, 1e-9, "the probability is that of disruptions.csv")
        if np.isinf(usd):
            found.note("response", name, claimed_usd, np.nan, "demand without a price cannot be met in this scenario")
        else:
            found.same("response", name, claimed_usd, usd, near)
    if all(np.isfinite(usd) for usd in costs.values()):
        _measures(claims, probability, costs, rooms, first, found)


def _measures(
    claims: TwoStageClaims, probability: Mapping[str, float], costs: Mapping[str, float], rooms: Mapping[str, float],
    first: float, found: Findings,
) -> None:  # fmt: skip
    """Expected cost, CVaR, worst and objective from the total cost of each scenario."""
    likely = {name: usd for name, usd in costs.items() if probability[name] > 0}
    expected = sum(probability[name] * usd for name, usd in likely.items())
    # min over v of v + E max(cost - v, 0) / tail: convex and piecewise linear, so least at one of the costs
    cvar = min(
        v + sum(probability[name] * max(usd - v, 0.0) for name, usd in likely.items()) / claims.tail
        for v in likely.values()
    )  # fmt: skip
    worst = max(likely.values())
    objective = first + (1 - claims.weight) * (expected - first) + claims.weight * (cvar - first)
    slack = max(rooms.values())
    found.same("expected_cost", "expected_usd", claims.expected_usd, expected, slack)
    found.same("cvar", "cvar_usd", claims.cvar_usd, cvar, slack)
    found.same("worst_cost", "worst_usd", claims.worst_usd, worst, slack)
    found.same("objective", "objective_usd of the scenarios", claims.objective_usd, objective, slack)


def _probabilities(facts: Facts) -> dict[str, float]:
    listed: dict[str, float] = {
        str(name): float(share) for name, share in records(facts.case.tables["disruptions"], "scenario", "probability")
    }
    likely = {name: share for name, share in listed.items() if share > 0}
    return {NOTHING: max(1.0 - sum(listed.values()), 0.0), **likely}


def _joint(facts: Facts, claims: TwoStageClaims, found: Findings) -> dict[str, float]:
    """Scenarios that strike together: the probability of each combination claimed, which add up to 1.

    Packages strike independently; within one, the less likely comes only with the likelier. Where there are more
    combinations than samples, each is claimed as often as it was drawn: a whole number of times.
    """
    causes: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    columns = ["scenario", "probability"] + ["package"] * ("package" in facts.case.tables["disruptions"])
    for name, share, *package in records(facts.case.tables["disruptions"], *columns):
        cause = ("package", text(package[0])) if package and text(package[0]) else ("", str(name))
        causes[cause][str(name)] = float(share)
    total = sum(share for share, _ in claims.scenarios.values())
    found.same("scenario_rows", "probabilities together", total, 1.0, 1e-9)
    samples = facts.case.settings.risk.samples
    drawn = np.prod([len(listed) + 1.0 for listed in causes.values()]) > samples
    known = {name for listed in causes.values() for name in listed}
    probability: dict[str, float] = {}
    for outcome, (claimed, _) in claims.scenarios.items():
        names = set() if outcome == NOTHING else set(outcome.split("+"))
        if not names <= known:
            continue
        share = 1.0
        for listed in causes.values():
            inside = [p for name, p in listed.items() if name in names]
            outside = [p for name, p in listed.items() if name not in names]
            share *= max(min(inside, default=1.0) - max(outside, default=0.0), 0.0)
        probability[outcome] = round(claimed * samples) / samples if drawn else share
    return probability


def _first_stage(facts: Facts, plan: Plan, years: Claimed) -> float:
    """Fixed charges of what is used, annuities less grants, holding of stock; discounted."""
    weights = dict(zip(facts.years, facts.weights(), strict=True))
    usd = sum(weights[year] * paid for name, _, year, paid in years.paid if name in FIRST_STAGE)
    for (supplier, year), made in plan.produced.items():
        if supplier in facts.makers and year in weights and made > TOLERANCE:
            usd += weights[year] * facts.makers[supplier].fixed
    return usd


class _Rows:
    """What the rows of disruptions.csv do, by scenario; worked out once."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        columns = ("scenario", "market", "material", "mineral", "demand_multiple")
        self.demand = list(records(facts.case.tables["disruptions"], *columns))
        self.hits: dict[str, dict[tuple[str, int], list[tuple[float, float]]]] = {}

    def _struck(self, scenario: str) -> dict[tuple[str, int], list[tuple[float, float]]]:
        if scenario not in self.hits:
            self.hits[scenario] = {
                (name, year): hits for year in self.facts.years
                for name, hits in struck(self.facts, scenario, year).items()
            }  # fmt: skip
        return self.hits[scenario]

    def effect(self, scenarios: Sequence[str]) -> _Effect:
        """What scenarios do together."""
        facts = self.facts
        left: dict[tuple[str, int], float] = {}
        dearer: dict[tuple[str, int], float] = {}
        for scenario in scenarios:
            for key, hits in self._struck(scenario).items():
                left[key] = min(left.get(key, 1.0), *(share for share, _ in hits))
                dearer[key] = max(dearer.get(key, -np.inf), *(multiple for _, multiple in hits))
        wanted: dict[Place, float] = {}
        rows = [row[1:] for row in self.demand if row[0] in scenarios]
        for market, material, _ in facts.required:
            factor = 1.0
            for where, what, mineral, multiple in rows:
                if (text(where) in ("", market) and text(what) in ("", material)
                        and text(mineral) in ("", facts.mineral[material])):  # fmt: skip
                    factor *= multiple
            wanted[market, material] = factor
        return _Effect(left, dearer, wanted)


# ---- the response of one chain


def _parts(facts: Facts, lanes: Lanes, plan: Plan, years: Claimed) -> list[_Part]:
    chain = chains(facts)
    stocked = {chain[material] for _, material in years.growth.stocks}
    asked = dict.fromkeys(chain[material] for _, material, _ in facts.required)
    parts = []
    for name in asked:
        materials = {material for material, of in chain.items() if of == name}
        spans = [facts.years] if name in stocked else [[year] for year in facts.years]
        parts += [_Part(facts, lanes, plan, years, materials, span) for span in spans]
    return parts


@dataclass
class _Part:
    """A chain of materials in one year, or in all of them where stock links them: what a response may do there.

    A plan's table leaves out what is below 1e-6 t. So that such a plan is not found to fail, a requirement may be
    missed, and a stock be overfull, by as much as a row has room for; at a price that lets it happen only where
    there is no other way, and that is not counted. Where tonnes in the room of a table's rounding are worth much,
    what they are worth (``free``: a requirement is missed by so little at no price) is room for the cost.
    """

    facts: Facts
    lanes: Lanes
    plan: Plan
    claimed: Claimed
    materials: set[str]
    years: list[int]
    lp: Lp = field(default_factory=Lp)

    def __post_init__(self) -> None:
        facts = self.facts
        self.weights = dict(zip(facts.years, facts.weights(), strict=True))
        self.made: dict[tuple[str, int], tuple[int, float, float]] = {}  # column, tonnes without a loss, USD dearer
        self.shorts: dict[int, tuple[Place, float]] = {}  # column of shortage or substitution -> its limit
        self.needs: dict[int, tuple[Place, float, float, int]] = {}  # row -> place, required, built, column of room
        self.beyond: list[int] = []  # columns of room, which cost nothing that counts
        self.known: dict[tuple[float, ...], tuple[float, float]] = {}
        self.steps = self.claimed.growth.substitution()
        self.spans = self.claimed.growth.spans()
        stored: dict[Place, Terms] = {}
        for year in self.years:
            self._year(year, stored)
        self.dearest = max((abs(usd) for usd in self.lp.cost), default=0.0)
        self.rounded = len(self.made) + len(self.needs)  # tables give each of these to 1e-6 t
        for column in self.beyond:
            self.lp.cost[column] = 1e3 * max(self.dearest, 1.0)

    def _year(self, year: int, stored: dict[Place, Terms]) -> None:
        facts, lp, weight = self.facts, self.lp, self.weights[year]
        makers = self._makers(year)
        into: dict[Place, Terms] = defaultdict(list)  # market or supplier, material
        out: dict[Place, Terms] = defaultdict(list)
        markets = [(market, material) for market, material, at in facts.required
                   if at == year and material in self.materials]  # fmt: skip
        for name in makers:
            maker = facts.makers[name]
            for material in (maker.material, *facts.byproducts.get(name, {})):
                ends = [end for end in makers if end != name and facts.makers[end].input == material]
                for end in [*ends, *(market for market, wanted in markets if wanted == material)]:
                    matched, freight, duty, most = self.lanes.cells(name, end, material, year)
                    if matched or not self.lanes.listed:
                        usd = freight + duty * facts.price[material]
                        column = lp.column(np.inf if np.isnan(most) else most, weight * usd)
                        out[name, material].append((column, 1.0))
                        into[end, material].append((column, 1.0))
        pools: dict[str, Terms] = defaultdict(list)
        for name, (tonnes, usd, dearer) in makers.items():
            maker, column = facts.makers[name], lp.column(tonnes, weight * usd)
            self.made[name, year] = (column, tonnes, weight * dearer)
            lp.row([*out[name, maker.material], (column, -1.0)], 0.0, 0.0)
            for material, ratio in facts.byproducts.get(name, {}).items():
                lp.row([*out[name, material], (column, -ratio)], -np.inf, 0.0)
            if maker.input:
                come = list(into[name, maker.input])
                if (maker.input, year) in facts.pools:
                    draw = lp.column(cost=weight * facts.pools[maker.input, year][1])
                    pools[maker.input].append((draw, 1.0))
                    come.append((draw, 1.0))
                lp.row([*come, (column, -1.0 / maker.recovery)], 0.0, 0.0)
        for material, terms in pools.items():
            lp.row(terms, -np.inf, facts.pools[material, year][0])
        for place in markets:
            self._market(place, year, into[place], stored)

    def _makers(self, year: int) -> dict[str, tuple[float, float, float]]:
        """Suppliers that can make anything: most without a loss (t), USD per t, and what a cost multiple multiplies."""
        facts, found = self.facts, {}
        for name, maker in facts.makers.items():
            if maker.material not in self.materials:
                continue
            planned = max(self.plan.produced.get((name, year), 0.0), 0.0)
            capacity = 0.0
            if facts.active(name, year):
                capacity = facts.capacity[name, year] + self.claimed.usable(name, year)
            most = planned + facts.surge[name] * max(capacity - planned, 0.0)
            if most > 0:
                cost = facts.unit_cost[name, year]
                credit, payment, relief, public = self.claimed.growth.supports(name, year)
                found[name] = (most, cost - credit + (0.0 if public else payment) - relief, cost)
        return found

    def _market(self, place: Place, year: int, into: Terms, stored: dict[Place, Terms]) -> None:
        facts, lp, weight = self.facts, self.lp, self.weights[year]
        market, material = place
        required, built = facts.required[market, material, year], 0.0
        terms = list(into)
        for (where, what, _, at), (tonnes, price) in facts.demand.items():
            if (where, what, at) == (market, material, year) and not np.isnan(price):
                column = lp.column(tonnes, weight * price)
                self.shorts[column] = (place, tonnes)
                terms.append((column, 1.0))
        for (what, _, at), (share, usd) in self.steps.items():
            if (what, at) == (material, year):
                column = lp.column(share * required, weight * usd)
                self.shorts[column] = (place, share * required)
                terms.append((column, 1.0))
        row = self.claimed.growth.stocks.get(place)
        if row is not None:
            built, span = self.claimed.moved.get((*place, year), (0.0, 0.0, 0.0))[0], self.spans[year]
            full, most = (np.inf if np.isnan(row[key]) else float(row[key]) for key in ("max_t", "draw_max_t"))
            draw, end, over = lp.column(most), lp.column(full), lp.column(room(full) if full < np.inf else 0.0)
            self.beyond.append(over)
            start = span * built + (0.0 if place in stored else float(row["opening_t"]))
            before = [(column, -1.0) for column, _ in stored.get(place, [])]
            stored[place] = [(end, 1.0), (over, 1.0)]
            lp.row([*stored[place], *before, (draw, float(span))], start, start)
            terms.append((draw, 1.0))
        missing = lp.column()
        self.beyond.append(missing)
        self.needs[lp.row([*terms, (missing, 1.0)], 0.0, 0.0)] = (place, required, built, missing)

    def respond(self, effect: _Effect, free: bool = False) -> tuple[float, float]:
        """Least discounted cost of the response, USD, and its room; infinite where unpriced demand is missed."""
        keys = [(effect.left.get(key, 1.0), effect.dearer.get(key, 1.0)) for key in self.made]
        factors = [effect.wanted[place] for place, *_ in self.needs.values()]
        known = (float(free), *(value for pair in keys for value in pair), *factors)
        if known not in self.known:
            self.known[known] = self._solve(keys, effect.wanted, free)
        return self.known[known]

    def _solve(self, hits: list[tuple[float, float]], wanted: Mapping[Place, float], free: bool) -> tuple[float, float]:
        lp = self.lp
        plain = list(lp.cost)
        for (share, multiple), (column, tonnes, dearer) in zip(hits, self.made.values(), strict=True):
            lp.upper[column] = share * tonnes
            lp.cost[column] += (multiple - 1.0) * dearer
        for column, (place, tonnes) in self.shorts.items():
            lp.upper[column] = wanted[place] * tonnes
        for row, (place, required, built, missing) in self.needs.items():
            lp.low[row] = lp.high[row] = wanted[place] * required + built
            lp.upper[missing] = min(2 * room(lp.high[row]), max(lp.high[row], 0.0))
            if free:
                lp.upper[missing] = min(lp.upper[missing], 2e-6 + 1e-9 * lp.high[row])
                lp.cost[missing] = 0.0
        x = lp.solve()
        counted = np.array(lp.cost)
        counted[self.beyond] = 0.0
        lp.cost = plain
        if x is None:
            return np.inf, 0.0
        usd = counted * np.maximum(x, 0.0)
        return float(usd.sum()), TOLERANCE * float(np.abs(usd).sum() + self.rounded * np.abs(counted).max(initial=0.0))
