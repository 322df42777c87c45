"""The two-stage program as one extensive form: a full copy of all years for every scenario, nothing shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .program import INF, Expr, Program, total, value
from .read import Case, number, read
from .risk import struck
from .solve import Answer, Year, plan_of, report, unit_usd

NOTHING = "nothing happens"


@dataclass(frozen=True)
class Scenario:
    """Share left and factor on the cost of each supplier and year (1 where not named), factor on each requirement."""

    name: str
    probability: float
    left: Mapping[tuple[str, int], float] = field(default_factory=dict)
    dearer: Mapping[tuple[str, int], float] = field(default_factory=dict)
    wanted: Mapping[tuple[str, str], float] = field(default_factory=dict)  # (market, material)


@dataclass(frozen=True)
class Quantities:
    """What of a plan its responses depend on, tonnes (a year): made, expanded (year decided), built (into stock)."""

    made: Mapping[tuple[str, int], float]
    expanded: Mapping[tuple[str, int], float] = field(default_factory=dict)
    built: Mapping[tuple[str, str, int], float] = field(default_factory=dict)  # market, material, year


@dataclass(frozen=True)
class TwoStage:
    """All USD are discounted. expected, cvar and worst: of the total, first stage and response together."""

    weight: float
    tail: float
    probability: dict[str, float]
    first_stage_usd: float
    response_usd: dict[str, float]
    expected_usd: float
    cvar_usd: float
    worst_usd: float
    plan: Quantities


# ---- scenarios


def scenarios(case: Case) -> list[Scenario]:
    """Those of disruptions.csv, after "nothing happens" with the rest of the probability."""
    out = [scenario(case, name) for name in dict.fromkeys(row["scenario"] for row in case.disruptions)]
    return [Scenario(NOTHING, max(0.0, 1.0 - sum(s.probability for s in out))), *out]


def scenario(case: Case, name: str) -> Scenario:
    rows = [row for row in case.disruptions if row["scenario"] == name]
    left, dearer, wanted = {}, {}, {}
    for s in case.suppliers.values():
        for year in case.years:
            mine = [row for row in rows if struck(case, row, s, year)]
            if mine:
                left[s.id, year] = min(number(row, "available_share", 1.0) for row in mine)
                dearer[s.id, year] = max(number(row, "cost_multiple", 1.0) for row in mine)
    for market, material, _ in case.demand:
        factor = 1.0
        for row in rows:
            mineral = case.materials[material].mineral
            named = row.get("material", "") in ("", material) and row.get("mineral", "") in ("", mineral)
            if named and row.get("market", "") in ("", market):
                factor *= number(row, "demand_multiple", 1.0)
        wanted[market, material] = factor
    return Scenario(name, float(rows[0]["probability"]), left, dearer, wanted)


def mean(case: Case, every: list[Scenario]) -> Scenario:
    """One scenario of probability 1: the means of what is left, of the factors on cost and on requirements."""
    at = [(s, year) for s in case.suppliers for year in case.years]
    places = dict.fromkeys((market, material) for market, material, _ in case.demand)
    return Scenario(
        "mean",
        1.0,
        {key: sum(s.probability * s.left.get(key, 1.0) for s in every) for key in at},
        {key: sum(s.probability * s.dearer.get(key, 1.0) for s in every) for key in at},
        {key: sum(s.probability * s.wanted.get(key, 1.0) for s in every) for key in places},
    )


# ---- the response to a scenario


@dataclass
class Held:
    """The plan as a response sees it: expressions of the program, or numbers (``fixed``) where it is given."""

    made: Mapping[tuple[str, int], Expr]
    grown: Mapping[tuple[str, int], Expr]
    built: Mapping[tuple[str, str, int], Expr]


def response(case: Case, program: Program, held: Held, s: Scenario, slack_t: float = 0.0) -> Expr:
    """Adds the response to a scenario in all years; gives its discounted cost."""
    paid: list[tuple[float, Expr]] = []
    before: dict[tuple[str, str], Expr] = {}
    for year in case.years:
        weight = case.weight(year)
        into: dict[tuple[str, str], list[tuple[float, Expr]]] = {}
        out: dict[tuple[str, str], list[tuple[float, Expr]]] = {}
        for (origin, destination, material), (unit, cap) in case.lanes(year).items():
            t = program.variable(high=INF if cap is None else cap)
            paid.append((weight * unit, t))
            out.setdefault((origin, material), []).append((1.0, t))
            into.setdefault((destination, material), []).append((1.0, t))
        pools: dict[str, list[tuple[float, Expr]]] = {}
        for maker in case.suppliers.values():
            made, key = program.variable(), (maker.id, year)
            share = s.left.get(key, 1.0)
            own = case.capacity(maker, year) if case.active(maker, year) else 0.0
            q, grown = held.made.get(key, {}), held.grown.get(key, {})
            most = total((share * (1.0 - maker.surge), q), (share * maker.surge, grown))
            program.row(total((1.0, made), (-1.0, most)), high=share * maker.surge * own)
            dearer = case.cost(maker, year) * (s.dearer.get(key, 1.0) - 1.0)
            paid.append((weight * (unit_usd(case, maker, year)[0] + dearer), made))
            program.row(total(*out.get((maker.id, maker.material), []), (-1.0, made)), low=0.0, high=0.0)
            for (sid, material), rate in case.byproducts.items():
                if sid == maker.id:
                    program.row(total(*out.get((sid, material), []), (-rate, made)), high=0.0)
            if maker.input:
                come = list(into.get((maker.id, maker.input), []))
                pool = case.pool(maker.input, year)
                if pool is not None:
                    drawn = program.variable()
                    paid.append((weight * pool[1], drawn))
                    pools.setdefault(maker.input, []).append((1.0, drawn))
                    come.append((1.0, drawn))
                program.row(total(*come, (-1.0 / maker.recovery, made)), low=0.0, high=0.0)
        for material, taken in pools.items():
            pool = case.pool(material, year)
            assert pool is not None
            program.row(total(*taken), high=pool[0])
        required: dict[tuple[str, str], float] = {}
        for market, material, _, tonnes, price in case.sectors(year):
            tonnes *= s.wanted.get((market, material), 1.0)
            required[market, material] = required.get((market, material), 0.0) + tonnes
            if price is not None:
                short = program.variable(high=tonnes)
                paid.append((weight * price, short))
                into.setdefault((market, material), []).append((1.0, short))
        for place, tonnes in required.items():
            for most_share, usd in case.steps_of(place[1], year):
                less = program.variable(high=most_share * tonnes)
                paid.append((weight * usd, less))
                into.setdefault(place, []).append((1.0, less))
        for place, stock in case.stocks.items():
            drawn, end = program.variable(high=stock.draw), program.variable(high=stock.most)
            built, span = held.built.get((*place, year), {}), float(case.span(year))
            start = stock.opening if place not in before else 0.0
            moved = total((1.0, end), (-span, built), (span, drawn), (-1.0, before.get(place, {})))
            program.row(moved, low=start, high=start)
            before[place] = end
            into.setdefault(place, []).extend([(1.0, drawn), (-1.0, built)])
        for place, tonnes in required.items():
            program.row(total(*into.get(place, [])), low=tonnes - slack_t, high=tonnes)
    return total(*paid)


def response_cost(case: Case, plan: Quantities, s: Scenario, slack_t: float = 0.0) -> float:
    """Least discounted cost of the response of a plan to a scenario; infinite where unpriced demand is not met.

    ``slack_t``: what a market may be missing unpaid, for plans whose tonnes are rounded.
    """
    program = Program()
    one = program.variable(1.0, 1.0)

    def number_of(t: float) -> Expr:
        return {column: t * c for column, c in one.items()}

    grown: dict[tuple[str, int], float] = {}
    for (sid, decided), t in plan.expanded.items():
        for year in case.years:
            if case.active(case.suppliers[sid], year):
                grown[sid, year] = grown.get((sid, year), 0.0) + case.growth[sid].part(decided, year) * t
    held = Held(*({k: number_of(t) for k, t in of.items()} for of in (plan.made, grown, plan.built)))
    usd = response(case, program, held, s, slack_t)
    for column, c in usd.items():
        program.cost[column] += c
    x = program.solve()
    return INF if x is None else value(usd, x)


# ---- the risk measure


def cvar(costs: Mapping[str, float], probability: Mapping[str, float], tail: float) -> float:
    """Mean of the dearest `tail` of the probability: dearest first, the last one counted in part."""
    left, paid, last = tail, 0.0, 0.0
    for name in sorted(costs, key=lambda n: -costs[n]):
        part = min(left, probability[name])
        if part > 0.0:
            paid, left, last = paid + part * costs[name], left - part, costs[name]
    return (paid + max(left, 0.0) * last) / tail  # what rounding leaves of a tail of 1


def average(costs: Mapping[str, float], probability: Mapping[str, float]) -> float:
    return sum(probability[name] * usd for name, usd in costs.items() if probability[name] > 0.0)


def measure(costs: Mapping[str, float], probability: Mapping[str, float], weight: float, tail: float) -> float:
    """(1 - W) expected + W CVaR; infinite where any scenario cannot be met at all."""
    if INF in costs.values():
        return INF
    return (1.0 - weight) * average(costs, probability) + weight * cvar(costs, probability, tail)


# ---- the whole program


def settings(case: Case) -> tuple[float, float]:
    if case.aversion.get("joint", False):
        raise ValueError("joint scenarios are sampled: not in this implementation")
    return float(case.aversion["weight"]), float(case.aversion.get("tail", 0.1))


def solve_case(case: Case, *, rules: bool = True) -> Answer:
    weight, tail = settings(case)
    return extensive(case, scenarios(case), weight, tail, rules=rules)


def extensive(
    case: Case, every: list[Scenario], weight: float, tail: float, *, rules: bool = True, then_own: bool = False
) -> Answer:
    """The least of first stage + (1 - W) expected + W CVaR; ``then_own``: of those the one that costs least undisturbed."""
    program, net, decisions = plan_of(case, rules)
    undisturbed, first = cost_of(case, net, "cost"), cost_of(case, net, "first")
    own = total((1.0, undisturbed), (-1.0, first))
    held = Held(
        {(sid, y): made for y, now in net.items() for sid, made in now.made.items()},
        {(sid, y): grown for y, now in net.items() for sid, grown in now.grown.items()},
        {(*place, y): built for y, now in net.items() for place, (built, _) in now.moved.items()},
    )
    q = {s.name: own if s.name == NOTHING else response(case, program, held, s) for s in every}
    terms = [(1.0, first), *((s.probability * (1.0 - weight), q[s.name]) for s in every)]
    if weight > 0.0:
        edge = program.variable(-INF)
        terms.append((weight, edge))
        for s in every:
            above = program.variable()
            program.row(total((1.0, above), (-1.0, q[s.name]), (1.0, edge)), low=0.0)
            terms.append((weight * s.probability / tail, above))
    objective = total(*terms)
    for column, usd in objective.items():
        program.cost[column] += usd
    x = program.solve()
    if x is None:
        return Answer("infeasible")
    best = value(objective, x)
    if then_own:
        program.row(objective, high=best + 1e-9 * max(1.0, abs(best)))
        program.cost = [0.0] * len(program.cost)
        for column, usd in undisturbed.items():
            program.cost[column] += usd
        x = program.solve()
        assert x is not None
    answer = report(case, net, decisions, x, best)
    answer.two_stage = found(case, every, weight, tail, held, decisions.added, x, value(first, x), value(own, x))
    return answer


def cost_of(case: Case, net: dict[int, Year], purse: str) -> Expr:
    """Discounted."""
    return total(*((case.weight(y), expr) for y, now in net.items() for expr in getattr(now, purse).values()))


def found(
    case: Case,
    every: list[Scenario],
    weight: float,
    tail: float,
    held: Held,
    added: Mapping[tuple[str, int], Expr],
    x: np.ndarray,
    first: float,
    own: float,
) -> TwoStage:
    """Each response once more by itself: the program has no reason to make one cheap that is not in the tail."""
    read_off = ({key: max(value(expr, x), 0.0) for key, expr in of.items()} for of in (held.made, added, held.built))
    plan = Quantities(*read_off)
    responses = {s.name: own if s.name == NOTHING else response_cost(case, plan, s, 1e-7) for s in every}
    probability = {s.name: s.probability for s in every}
    costs = {name: first + usd for name, usd in responses.items()}
    mean_usd, tail_usd = average(costs, probability), cvar(costs, probability, tail)
    worst = max(usd for name, usd in costs.items() if probability[name] > 0.0)
    return TwoStage(weight, tail, probability, first, responses, mean_usd, tail_usd, worst, plan)


# ---- what knowing, and what thinking in scenarios, is worth


def wait_and_see(case: Case, s: Scenario, *, rules: bool = True) -> float:
    """The optimum where the scenario is certain; the plan itself still has to be possible undisturbed."""
    alone = [Scenario(s.name, 1.0, s.left, s.dearer, s.wanted)]
    objective = extensive(case, alone, 0.0, 1.0, rules=rules).objective_usd
    return INF if objective is None else objective


def perfect_information(folder: Path | str, *, rules: bool = True) -> float:
    """EVPI: the optimum less the risk measure of what each scenario costs at least where it is known to come."""
    case = read(folder)
    (weight, tail), every = settings(case), scenarios(case)
    optimum = extensive(case, every, weight, tail, rules=rules).objective_usd
    assert optimum is not None
    known = {s.name: wait_and_see(case, s, rules=rules) for s in every}
    return optimum - measure(known, {s.name: s.probability for s in every}, weight, tail)


def stochastic_solution(folder: Path | str, *, rules: bool = True) -> float:
    """VSS: the risk measure of the plan made for the mean scenario, less the optimum.

    Of several such plans the one that costs least undisturbed. Infinite where it leaves unpriced demand unmet.
    """
    case = read(folder)
    (weight, tail), every = settings(case), scenarios(case)
    optimum = extensive(case, every, weight, tail, rules=rules).objective_usd
    assert optimum is not None
    naive = extensive(case, [mean(case, every)], 0.0, 1.0, rules=rules, then_own=True)
    if naive.two_stage is None or naive.objective_usd is None:
        return INF
    first, plan = naive.two_stage.first_stage_usd, naive.two_stage.plan
    undisturbed = sum(case.weight(y) * usd for y, usd in naive.cost_usd_per_y.items())
    costs = {s.name: undisturbed if s.name == NOTHING else first + response_cost(case, plan, s, 1e-7) for s in every}
    return measure(costs, {s.name: s.probability for s in every}, weight, tail) - optimum
