"""Solves a case folder as one linear or mixed-integer program written straight from the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import rules as rule_rows
from .program import INF, Expr, Program, total, value
from .read import Case, read


@dataclass
class Answer:
    status: str  # "optimal" or "infeasible"
    objective_usd: float | None = None
    cost_usd_per_y: dict[int, float] = field(default_factory=dict)
    produced: dict[tuple[str, int], float] = field(default_factory=dict)
    flows: dict[tuple[str, str, str, int], float] = field(default_factory=dict)  # origin, destination, material, year
    shortage: dict[tuple[str, str, int], float] = field(default_factory=dict)  # market, material, year
    cost_by_material: dict[tuple[int, str], float] = field(default_factory=dict)


@dataclass
class Year:
    """The variables of one year."""

    made: dict[str, Expr] = field(default_factory=dict)
    limit: dict[str, float] = field(default_factory=dict)
    flow: dict[tuple[str, str, str], Expr] = field(default_factory=dict)
    drawn: dict[str, Expr] = field(default_factory=dict)
    short: dict[tuple[str, str, str], Expr] = field(default_factory=dict)
    cost: dict[str, Expr] = field(default_factory=dict)  # by the material that it belongs to

    def pay(self, material: str, usd: float, amount: Expr) -> None:
        if usd:
            self.cost[material] = total((1.0, self.cost.get(material, {})), (usd, amount))


def needed(case: Case, year: int) -> dict[str, float]:
    """Most tonnes of each material that the markets can pull through the chain: nothing of a main product is thrown away."""
    done: dict[str, float] = {}

    def pull(material: str) -> float:
        if material not in done:
            chain = sum(pull(s.material) / s.recovery for s in case.suppliers.values() if s.input == material)
            done[material] = case.required(material, year) + chain
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
            limit = case.capacity(s, year) if on else 0.0
            made = program.variable(case.least(s, year) if on else 0.0, limit)
            limit = min(limit, need[s.material])
        now.made[s.id], now.limit[s.id] = made, limit
        now.pay(s.material, case.cost(s, year), made)
        if s.fixed or (s.lot and not quo):
            used = program.switch(made, limit)
            now.pay(s.material, s.fixed, used)
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
    for node, tonnes in required.items():
        program.row(total(*into.get(node, [])), low=tonnes, high=tonnes)


def solve(case_dir: Path | str, *, rules: bool = True) -> Answer:
    """The least-cost plan of a case folder, with its rules or without."""
    case = read(case_dir)
    program = Program()
    net = {y: network(case, program, y, quo=False) for y in case.years}
    if rules and case.rules:
        known: list[Answer] = []

        def quo_cost(year: int, scope: set[str]) -> float:
            if not known:
                known.append(quo_answer(case))
            if known[0].status != "optimal":
                raise ValueError("a premium budget needs a status quo")
            return sum(usd for (y, m), usd in known[0].cost_by_material.items() if y == year and m in scope)

        rule_rows.apply(case, program, net, quo_cost)
    return finish(case, program, net)


def status_quo(case_dir: Path | str) -> Answer:
    """Section 1.2: going on as today."""
    return quo_answer(read(case_dir))


def quo_answer(case: Case) -> Answer:
    if not any(s.incumbent for s in case.suppliers.values()):
        return Answer("infeasible")
    program = Program()
    return finish(case, program, {y: network(case, program, y, quo=True) for y in case.years})


def finish(case: Case, program: Program, net: dict[int, Year]) -> Answer:
    for year, now in net.items():
        for expr in now.cost.values():
            for column, usd in expr.items():
                program.cost[column] += case.weight(year) * usd
    x = program.solve()
    if x is None:
        return Answer("infeasible")
    answer = Answer("optimal", float(np.dot(program.cost, x)))
    for year, now in net.items():
        answer.cost_by_material.update({(year, m): value(expr, x) for m, expr in now.cost.items()})
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
    return answer
