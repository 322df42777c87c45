"""Solves a case folder as one linear or mixed-integer program written straight from the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import rules as rule_rows
from .program import INF, Expr, Program, total, value
from .read import Case, Supplier, read

if TYPE_CHECKING:
    from .two_stage import TwoStage


@dataclass
class Answer:
    status: str  # "optimal" or "infeasible"
    objective_usd: float | None = None
    cost_usd_per_y: dict[int, float] = field(default_factory=dict)
    produced: dict[tuple[str, int], float] = field(default_factory=dict)
    flows: dict[tuple[str, str, str, int], float] = field(default_factory=dict)  # origin, destination, material, year
    shortage: dict[tuple[str, str, int], float] = field(default_factory=dict)  # market, material, year
    cost_by_material: dict[tuple[int, str], float] = field(default_factory=dict)
    public_usd_per_y: dict[int, float] = field(default_factory=dict)
    public_by_material: dict[tuple[int, str], float] = field(default_factory=dict)
    capital_by_material: dict[tuple[int, str], float] = field(default_factory=dict)
    expanded: dict[tuple[str, int], float] = field(default_factory=dict)
    stock: dict[tuple[str, str, int], float] = field(default_factory=dict)  # at year end
    two_stage: TwoStage | None = None  # where section [risk] of case.toml gives a weight


@dataclass
class Year:
    """The variables of one year."""

    made: dict[str, Expr] = field(default_factory=dict)
    limit: dict[str, float] = field(default_factory=dict)
    flow: dict[tuple[str, str, str], Expr] = field(default_factory=dict)
    drawn: dict[str, Expr] = field(default_factory=dict)
    short: dict[tuple[str, str, str], Expr] = field(default_factory=dict)
    moved: dict[tuple[str, str], tuple[Expr, Expr]] = field(default_factory=dict)  # put into stock, drawn from it
    stored: dict[tuple[str, str], Expr] = field(default_factory=dict)  # at the end of the year
    cost: dict[str, Expr] = field(default_factory=dict)  # by the material that it belongs to
    public: dict[str, Expr] = field(default_factory=dict)
    capital: dict[str, Expr] = field(default_factory=dict)
    first: dict[str, Expr] = field(default_factory=dict)  # of the cost: fixed, capital less grants, holding
    grown: dict[str, Expr] = field(default_factory=dict)  # usable of a supplier's expansions

    def pay(self, material: str, usd: float, amount: Expr, purse: str = "cost") -> None:
        if usd:
            paid = getattr(self, purse)
            paid[material] = total((1.0, paid.get(material, {})), (usd, amount))


@dataclass
class Decisions:
    """Expansions by (supplier, year decided), and the opening of those that must be opened."""

    added: dict[tuple[str, int], Expr] = field(default_factory=dict)
    opened: dict[tuple[str, int], Expr] = field(default_factory=dict)


def decide(case: Case, program: Program) -> Decisions:
    """e >= 0 in all at most max_expansion_t, and none before the one opening. What is never usable is not decided."""
    out = Decisions()
    for sid, g in case.growth.items():
        ever = [a for a in case.years if any(g.usable(a, y) for y in case.years)]
        if g.most <= 0.0 or not ever:
            continue
        for a in ever:
            out.added[sid, a] = program.variable(high=g.most)
            if g.opening:
                out.opened[sid, a] = program.variable(0.0, 1.0, integer=True)
                before = [(-g.most, out.opened[sid, b]) for b in ever if b <= a]
                program.row(total((1.0, out.added[sid, a]), *before), high=0.0)
        program.row(total(*((1.0, out.added[sid, a]) for a in ever)), high=g.most)
        if g.opening:
            program.row(total(*((1.0, out.opened[sid, a]) for a in ever)), high=1.0)
    return out


def build_up(case: Case, program: Program, net: dict[int, Year], decisions: Decisions) -> None:
    """Capacity with what is usable, the annuities of the years, and stock carried from year to year."""
    for s in case.suppliers.values():
        g = case.growth[s.id]
        mine = [a for a in case.years if (s.id, a) in decisions.added]
        for year in case.years:
            if not mine:
                continue
            now = net[year]
            if case.active(s, year):
                usable = [(-g.part(a, year), decisions.added[s.id, a]) for a in mine]
                now.grown[s.id] = total(*((-part, e) for part, e in usable))
                program.row(total((1.0, now.made[s.id]), *usable), high=case.capacity(s, year))
            for a in (a for a in mine if g.usable(a, year)):
                grant = case.support(s, "grant_share", a)
                amounts = [(g.capex, decisions.added[s.id, a])]
                amounts += [(g.opening, decisions.opened[s.id, a])] if g.opening else []
                for usd, amount in amounts:
                    now.pay(s.material, usd * g.annuity, amount, "capital")
                    for purse in ("cost", "first"):
                        now.pay(s.material, usd * g.annuity * (1.0 - grant), amount, purse)
                    now.pay(s.material, usd * g.annuity * grant, amount, "public")
    for place, stock in case.stocks.items():
        before: Expr | None = None
        for year in case.years:
            end = net[year].stored[place]
            built, drawn = net[year].moved[place]
            change = total((1.0, built), (-1.0, drawn))
            terms = [(1.0, end), (-float(case.span(year)), change)]
            terms += [] if before is None else [(-1.0, before)]
            start = stock.opening if before is None else 0.0
            program.row(total(*terms), low=start, high=start)
            for purse in ("cost", "first"):
                net[year].pay(place[1], stock.hold, end, purse)
            before = end
        assert before is not None
        program.row(before, low=stock.closing)


def needed(case: Case, year: int) -> dict[str, float]:
    """Most tonnes of each material that the markets can pull through the chain: nothing of a main product is thrown away."""
    done: dict[str, float] = {}
    stores: dict[str, float] = {}
    for place in case.stocks:
        stores[place[1]] = stores.get(place[1], 0.0) + case.room(place, year)

    def pull(material: str) -> float:
        if material not in done:
            chain = sum(pull(s.material) / s.recovery for s in case.suppliers.values() if s.input == material)
            done[material] = case.required(material, year) + chain + stores.get(material, 0.0)
        return done[material]

    return {m: pull(m) for m in case.materials}


def network(case: Case, program: Program, year: int, quo: bool) -> Year:
    """One year of section 1.1, or with `quo` of 1.2 (no limits; production = incumbent_t * the factor of the material)."""
    now = Year()
    need = needed(case, year)
    factor = {m: program.variable() for m in case.materials} if quo else {}
    for s in case.suppliers.values():
        if quo:
            made = program.variable()
            program.row(total((1.0, made), (-s.incumbent, factor[s.material])), low=0.0, high=0.0)
            limit = need[s.material] if s.incumbent else 0.0
        else:
            on = case.active(s, year)
            g = case.growth[s.id]
            limit = case.capacity(s, year) + g.most * max(g.part(a, year) for a in case.years) if on else 0.0
            made = program.variable(case.least(s, year) if on else 0.0, limit)
            limit = min(limit, need[s.material])
        now.made[s.id], now.limit[s.id] = made, limit
        supported(case, now, s, year, made)
        if s.fixed or (s.lot and not quo):
            used = program.switch(made, limit)
            for purse in ("cost", "first"):
                now.pay(s.material, s.fixed, used, purse)
            if not quo:
                program.row(total((1.0, made), (-s.lot, used)), low=0.0)
        pool = case.pool(s.input, year) if s.input else None
        if pool is not None:
            now.drawn[s.id] = program.variable()
            now.pay(s.input, pool[1], now.drawn[s.id])
    for lane, (unit, most) in case.lanes(year).items():
        now.flow[lane] = program.variable(high=INF if quo or most is None else most)
        now.pay(lane[2], unit, now.flow[lane])
    balances(case, program, year, now, quo)
    return now


def unit_usd(case: Case, s: Supplier, year: int) -> tuple[float, float]:
    """What buyers pay for a tonne, and what the public pays of it: credits, and floors above the reference price."""
    cost, price = case.cost(s, year), case.materials[s.material].price
    credit = case.support(s, "credit_share", year) * max(cost, 0.0) + case.support(s, "credit_usd_per_t", year)
    top_up = max(0.0, case.support(s, "floor_usd_per_t", year) - price)
    asked = cost - credit
    with_floor = max(asked - top_up, min(asked, price)) if top_up else asked
    public = case.growth[s.id].payer == "public"
    return with_floor + (0.0 if public else top_up), credit + (top_up if public else 0.0)


def supported(case: Case, now: Year, s: Supplier, year: int, made: Expr) -> None:
    buyers, public = unit_usd(case, s, year)
    now.pay(s.material, buyers, made)
    now.pay(s.material, public, made, "public")


def balances(case: Case, program: Program, year: int, now: Year, quo: bool) -> None:
    out: dict[tuple[str, str], list[tuple[float, Expr]]] = {}
    into: dict[tuple[str, str], list[tuple[float, Expr]]] = {}
    for (origin, destination, material), t in now.flow.items():
        out.setdefault((origin, material), []).append((1.0, t))
        into.setdefault((destination, material), []).append((1.0, t))
    for s in case.suppliers.values():
        program.row(total(*out.get((s.id, s.material), []), (-1.0, now.made[s.id])), low=0.0, high=0.0)
        if s.input:
            drawn = [(1.0, now.drawn[s.id])] if s.id in now.drawn else []
            come = total(*into.get((s.id, s.input), []), *drawn, (-1.0 / s.recovery, now.made[s.id]))
            program.row(come, low=0.0, high=0.0)
    for (sid, material), rate in case.byproducts.items():
        program.row(total(*out.get((sid, material), []), (-rate, now.made[sid])), high=0.0)
    for material in case.feedstock:
        pool = case.pool(material, year)
        if pool is not None and not quo:
            drawn = [(1.0, now.drawn[s.id]) for s in case.suppliers.values() if s.input == material]
            program.row(total(*drawn), high=pool[0])
    required: dict[tuple[str, str], float] = {}
    for market, material, sector, wanted, price in case.sectors(year):
        required[market, material] = required.get((market, material), 0.0) + wanted
        if price is not None and not quo:
            now.short[market, material, sector] = short = program.variable(high=wanted)
            now.pay(material, price, short)
            into.setdefault((market, material), []).append((1.0, short))
    for (market, material), tonnes in required.items() if not quo else ():
        for share, usd in case.steps_of(material, year):
            less = program.variable(high=share * tonnes)
            now.pay(material, usd, less)
            into.setdefault((market, material), []).append((1.0, less))
    for place, stock in case.stocks.items():
        if quo:  # it stays as it is
            now.stored[place] = program.variable(stock.opening, stock.opening)
            now.pay(place[1], stock.hold, now.stored[place])
            continue
        now.stored[place] = program.variable(high=stock.most)
        built, drawn = program.variable(high=stock.build), program.variable(high=stock.draw)
        now.moved[place] = built, drawn
        into.setdefault(place, []).extend([(1.0, drawn), (-1.0, built)])
    for node, tonnes in required.items():
        program.row(total(*into.get(node, [])), low=tonnes, high=tonnes)


def solve(case_dir: Path | str, *, rules: bool = True) -> Answer:
    """The least-cost plan of a case folder, with its rules or without; with a risk weight the two-stage program."""
    case = read(case_dir)
    if "weight" in case.aversion:
        from . import two_stage

        return two_stage.solve_case(case, rules=rules)
    return finish(case, *plan_of(case, rules))


def plan_of(case: Case, rules: bool) -> tuple[Program, dict[int, Year], Decisions]:
    """The undisturbed plan as a program without an objective yet."""
    program = Program()
    net = {y: network(case, program, y, quo=False) for y in case.years}
    decisions = decide(case, program)
    build_up(case, program, net, decisions)
    if rules and case.rules:
        known: list[Answer] = []

        def quo_cost(year: int, scope: set[str]) -> float:
            if not known:
                known.append(quo_answer(case))
            if known[0].status != "optimal":
                raise ValueError("a premium budget needs a status quo")
            return sum(usd for (y, m), usd in known[0].cost_by_material.items() if y == year and m in scope)

        rule_rows.apply(case, program, net, quo_cost)
    return program, net, decisions


def status_quo(case_dir: Path | str) -> Answer:
    """Section 1.2: going on as today."""
    return quo_answer(read(case_dir))


def quo_answer(case: Case) -> Answer:
    if not any(s.incumbent for s in case.suppliers.values()):
        return Answer("infeasible")
    program = Program()
    net = {y: network(case, program, y, quo=True) for y in case.years}
    return finish(case, program, net, Decisions())


def finish(case: Case, program: Program, net: dict[int, Year], decisions: Decisions) -> Answer:
    for year, now in net.items():
        for expr in now.cost.values():
            for column, usd in expr.items():
                program.cost[column] += case.weight(year) * usd
    x = program.solve()
    if x is None:
        return Answer("infeasible")
    return report(case, net, decisions, x, float(np.dot(program.cost, x)))


def report(case: Case, net: dict[int, Year], decisions: Decisions, x: np.ndarray, objective: float) -> Answer:
    """The plan that the solution says."""
    answer = Answer("optimal", objective)
    for year, now in net.items():
        answer.cost_by_material.update({(year, m): value(expr, x) for m, expr in now.cost.items()})
        answer.public_by_material.update({(year, m): value(expr, x) for m, expr in now.public.items()})
        answer.capital_by_material.update({(year, m): value(expr, x) for m, expr in now.capital.items()})
        answer.public_usd_per_y[year] = sum(value(expr, x) for expr in now.public.values())
        answer.stock.update({(*place, year): value(end, x) for place, end in now.stored.items()})
        answer.cost_usd_per_y[year] = sum(value(expr, x) for expr in now.cost.values())
        for sid, made in now.made.items():
            t = value(made, x)
            answer.produced[sid, year] = t if abs(t) >= 1e-6 else 0.0
        moved = {(*lane, year): value(t, x) for lane, t in now.flow.items()}
        for sid, drawn in now.drawn.items():
            feed = case.suppliers[sid].input
            moved[f"feedstock:{feed}", sid, feed, year] = value(drawn, x)
        answer.flows.update({key: t for key, t in moved.items() if t >= 1e-6})
        for (market, material, _), short in now.short.items():
            key = (market, material, year)
            answer.shortage[key] = answer.shortage.get(key, 0.0) + value(short, x)
    answer.expanded = {key: value(t, x) for key, t in decisions.added.items()}
    return answer
