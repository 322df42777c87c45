"""Audits provenance and survive rules: traces every plan's tonnes, and re-dispatches every loss, with scipy alone.

The network of a year is written anew from the tables. For each loss it is asked how much of a material the kept plan
can still deliver; for each selection of suppliers, whether tonnes can be handed on so that no row has more touched
ones than it claims. Nothing here knows how the model does either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.audit_facts import TOLERANCE, records, room, text
from models.audit_lp import Lp

if TYPE_CHECKING:
    from models.audit import Findings, Plan
    from models.audit_facts import Facts, Lanes
    from models.audit_years import Claimed

Key = tuple[str, str, str, str, str, str, int]  # rule, kind, bound, mineral, material, member, year
Claims = Mapping[Key, list[tuple[float, float]]]
KINDS = ("provenance", "survive")


def check_risk(
    facts: Facts, lanes: Lanes, plan: Plan, years: Claimed, claims: Claims, found: Findings
) -> None:  # fmt: skip
    """The rows of provenance and survive rules: those due, their limits and values, and that they hold.

    ``years``: expansions and stock that the answer claims. ``claims``: its rows of rules.
    """
    listed: dict[tuple[str, str, int], list[Key]] = defaultdict(list)
    for key in claims:
        if key[1] in KINDS:
            listed[key[0], key[4], key[6]].append(key)
    seen: set[Key] = set()
    networks: dict[int, _Network] = {}
    for rule in facts.case.settings.rules:
        if not rule.enabled or rule.kind not in KINDS:
            continue
        for year in facts.years:
            if not (rule.from_year or -1) <= year <= (rule.to_year or 9999):
                continue
            rows = []
            for material in _subjects(facts, rule):
                keys = listed.get((rule.name, material, year), [])
                where = f"{rule.name} {rule.kind} {material} {year}"
                if len(keys) != 1 or len(claims[keys[0]]) != 1:
                    found.note("rule_rows", where, sum(len(claims[key]) for key in keys), 1)
                    continue
                seen.add(keys[0])
                rows.append(_claim(facts, rule, material, year, keys[0], claims[keys[0]][0], where, found))
            if rule.kind == "provenance":
                _check_trail(facts, plan, rule, year, rows, found)
            else:
                if year not in networks:
                    networks[year] = _Network(facts, lanes, plan, years, year)
                _check_losses(networks[year], rule, rows, found)
    for key in claims:
        if key[1] in KINDS and key not in seen:
            where = " ".join(str(part) for part in key if part != "")
            found.note("rule_rows", where, len(claims[key]), 0, "no such row is due")


@dataclass(frozen=True)
class _Claim:
    material: str
    where: str
    limit: float
    value: float
    member: str


def _claim(facts: Facts, rule: Any, material: str, year: int, key: Key, claimed: tuple[float, float], where: str,
           found: Findings) -> _Claim:  # fmt: skip
    own, bound = (rule.max, "max") if rule.kind == "provenance" else (rule.serve, "min")
    limit = facts.case.relaxed.get((rule.name, bound, facts.mineral[material], material, "", year), own)
    found.same("rule_limit", where, claimed[1], limit, 1e-9 * abs(limit))
    if key[2] != bound or key[3] != facts.mineral[material]:
        found.note("rule_rows", where, 0, 1, f"the row is bound {bound} of {facts.mineral[material]}")
    return _Claim(material, where, limit, claimed[0], key[5])


def _subjects(facts: Facts, rule: Any) -> list[str]:
    """The materials that a market of the rule requires, and that it is about."""
    wanted = dict.fromkeys(m for market, m, _ in facts.required if rule.market in (None, market))
    return [
        m for m in wanted
        if (rule.mineral is None or facts.mineral[m] in rule.mineral) and (rule.material is None or m in rule.material)
    ]  # fmt: skip


# ---- survive: the network of a year after a loss


class _Network:
    """What the kept plan can still deliver in a year, chain by chain."""

    def __init__(self, facts: Facts, lanes: Lanes, plan: Plan, years: Claimed, year: int) -> None:
        self.facts, self.plan, self.years, self.year = facts, plan, years, year
        self.made = {name: max(plan.produced.get((name, year), 0.0), 0.0) for name in facts.makers}
        self.most = {
            name: facts.capacity[name, year] + years.usable(name, year) if facts.active(name, year) else 0.0
            for name in facts.makers
        }  # fmt: skip
        self.chain = chains(facts)
        able = {name for name in facts.makers if self.made[name] > 0 or (facts.surge[name] > 0 and self.most[name] > 0)}
        self.makers: dict[str, list[str]] = defaultdict(list)  # chain -> suppliers that can make anything
        for name in sorted(able):
            self.makers[self.chain[facts.makers[name].material]].append(name)
        users: dict[str, list[str]] = defaultdict(list)
        for name in sorted(able):
            if facts.makers[name].input:
                users[facts.makers[name].input].append(name)
        markets: dict[str, list[str]] = defaultdict(list)
        for market, material, at in facts.required:
            if at == year and facts.required[market, material, at] > 0:
                markets[material].append(market)
        self.markets = markets
        self.lanes: dict[str, list[tuple[str, str, str, float]]] = defaultdict(list)
        for name in sorted(able):
            for material in (facts.makers[name].material, *facts.byproducts.get(name, {})):
                for end in [*users.get(material, ()), *markets.get(material, ())]:
                    matched, _, _, limit = lanes.cells(name, end, material, year)
                    if end != name and (matched or not lanes.listed):
                        most = np.inf if np.isnan(limit) else limit
                        self.lanes[self.chain[material]].append((name, end, material, most))

    def left(self, lose: str, spared: Iterable[str]) -> dict[str, float]:
        """Share left of each supplier after a loss written as ``kind:member``."""
        facts = self.facts
        kind, _, member = lose.partition(":")
        if kind == "scenario":
            return scenario_left(facts, member, self.year)
        lost = facts.members(member, self.year) - set(spared) if kind == "bloc" else {member}
        return {
            name: 0.0 if (name if kind == "supplier" else maker.controller if kind == "controller" else maker.country)
            in lost else 1.0 for name, maker in facts.makers.items()
        }  # fmt: skip

    def limits(self, left: Mapping[str, float], chain: str) -> tuple[float, ...]:
        """Most that each supplier of a chain can make."""
        surge = self.facts.surge
        return tuple(left[n] * (self.made[n] + surge[n] * max(self.most[n] - self.made[n], 0.0))
                     for n in self.makers[chain])  # fmt: skip

    def serve(self, chain: str, limits: tuple[float, ...], asked: Mapping[str, float], most: str, markets: set[str],
              months: float) -> tuple[float, float]:  # fmt: skip
        """Sum of missing shares where each material is asked for as a share; and the share of ``most`` delivered
        where the others come first.
        """
        facts, year, lp = self.facts, self.year, Lp()
        made = {name: lp.column(limit) for name, limit in zip(self.makers[chain], limits, strict=True)}
        out: dict[tuple[str, str], list[int]] = defaultdict(list)
        come: dict[tuple[str, str], list[int]] = defaultdict(list)
        for origin, end, material, limit in self.lanes[chain]:
            column = lp.column(limit)
            out[origin, material].append(column)
            come[end, material].append(column)
        drawn: dict[str, list[int]] = defaultdict(list)
        for name, column in made.items():
            maker = facts.makers[name]
            own = [(c, 1.0) for c in out[name, maker.material]]
            lp.row([*own, (column, -1.0)], 0.0, 0.0)
            for material, ratio in facts.byproducts.get(name, {}).items():
                lp.row([*((c, 1.0) for c in out[name, material]), (column, -ratio)], -np.inf, 0.0)
            if maker.input:
                received = list(come[name, maker.input])
                if (maker.input, year) in facts.pools:
                    drawn[maker.input].append(lp.column())
                    received.append(drawn[maker.input][-1])
                lp.row([*((c, 1.0) for c in received), (column, -1.0 / maker.recovery)], 0.0, 0.0)
        for material, columns in drawn.items():
            lp.row([(c, 1.0) for c in columns], -np.inf, facts.pools[material, year][0])
        missing: dict[str, int] = {}
        for material, share in asked.items():
            missing[material] = lp.column(cost=1e3 if most and material != most else 1.0)
            for market in self.markets[material]:
                if market in markets:
                    required = facts.required[market, material, year]
                    stock = self.stock(market, material, months)
                    need = max(share * required - stock, 0.0)
                    lp.row([*((c, 1.0) for c in come[market, material]), (missing[material], required)], need, np.inf)
        x = lp.solve()
        assert x is not None  # with all of it missing there is always an answer
        total = float(sum(x[c] for c in missing.values()))
        return total, asked[most] - float(x[missing[most]]) if most else 0.0

    def stock(self, market: str, material: str, months: float) -> float:
        """Tonnes a year that stock adds while a loss lasts: what is there at the start of the year, spread over it."""
        row = self.years.growth.stocks.get((market, material))
        if row is None:
            return 0.0
        place = self.facts.years.index(self.year)
        start = float(row["opening_t"])
        if place:
            start = self.years.moved.get((market, material, self.facts.years[place - 1]), (0.0, 0.0, 0.0))[2]
        most = float(row["draw_max_t"])
        return min(max(start, 0.0) * 12.0 / months, np.inf if np.isnan(most) else most)


def chains(facts: Facts) -> dict[str, str]:
    """Material -> a name for all materials that suppliers link it with."""
    name = {material: material for material in facts.mineral}
    links = [(maker.material, maker.input) for maker in facts.makers.values() if maker.input]
    links += [(facts.makers[s].material, m) for s, made in facts.byproducts.items() for m in made]
    for one, other in links:
        old, new = name[other], name[one]
        if old != new:
            name = {material: new if at == old else at for material, at in name.items()}
    return name


def _losses(facts: Facts, rule: Any) -> list[str]:
    """Everything that the rule loses, as ``kind:member``."""
    kind, _, member = rule.lose.partition(" ")
    if kind != "each":
        return [rule.lose]
    spared = set(rule.except_)
    of = {"supplier": facts.makers, "country": {m.country for m in facts.makers.values()},
          "controller": {m.controller for m in facts.makers.values()}}[member]  # fmt: skip
    return [f"{member}:{name}" for name in sorted(set(of) - spared)]


def _check_losses(network: _Network, rule: Any, rows: list[_Claim], found: Findings) -> None:
    """Every loss re-dispatched: what each row says is still served, and that it is enough."""
    facts = network.facts
    left = {lose: network.left(lose, rule.except_) for lose in _losses(facts, rule)}
    markets = {rule.market} if rule.market else {market for market, _, _ in facts.required}
    by_chain: dict[str, list[_Claim]] = defaultdict(list)
    for row in rows:
        required = sum(t for (k, m, y), t in facts.required.items()
                       if m == row.material and y == network.year and k in markets)  # fmt: skip
        if required > 0:
            by_chain[network.chain[row.material]].append(row)
        elif not (np.isnan(row.value) or row.value == 0):
            found.note("rule_value", row.where, row.value, np.nan, "a value where nothing is required")
    for chain, listed in by_chain.items():
        limits = {lose: network.limits(share, chain) for lose, share in left.items()}
        asked = {row.material: row.limit for row in listed}
        least: dict[str, dict[str, float]] = {row.material: {} for row in listed}
        known: dict[tuple[float, ...], dict[str, float]] = {}
        for lose, bound in limits.items():
            if bound not in known:
                known[bound] = {
                    row.material: network.serve(
                        chain, bound, {**asked, row.material: 1.0}, row.material, markets, rule.months
                    )[1] for row in listed
                }  # fmt: skip
                short = sum(max(row.limit - known[bound][row.material], 0.0) for row in listed)
                if len(listed) > 1:  # each by itself is not yet all of them by one set of flows
                    short, _ = network.serve(chain, bound, asked, "", markets, rule.months)
                if short > TOLERANCE:
                    where = f"{listed[0].where} lose {lose}"
                    found.note("rule_holds", where, sum(asked.values()) - short, sum(asked.values()))
                    known[bound] = {}
            for material, share in known[bound].items():
                least[material][lose] = share
        for row in listed:
            shares = least[row.material]
            if len(shares) < len(limits):
                continue  # the rule does not hold, and that is said
            worst = min(shares.values())
            found.same("rule_value", row.where, row.value, worst, 2 * TOLERANCE)
            if row.member not in shares or shares[row.member] > worst + 2 * TOLERANCE:
                message = f"{row.member or 'no loss'} is not the loss that leaves least"
                found.note("rule_value", row.where, shares.get(row.member, np.nan), worst, message)


# ---- provenance: where the tonnes of the plan passed


def _check_trail(facts: Facts, plan: Plan, rule: Any, year: int, rows: list[_Claim], found: Findings) -> None:
    """The tonnes of the plan can be handed on so that each row has no more touched ones than it says, or may."""
    touched = set(_selected(facts, rule.where, year))
    base: dict[str, float] = {}
    for row in rows:
        arrivals = plan.delivered.get((row.material, year), {})
        base[row.material] = sum(
            t for market, origins in arrivals.items() if rule.market in (None, market)
            and (market, row.material, year) in facts.required for t in origins.values()
        )  # fmt: skip
        if base[row.material] <= TOLERANCE and not (np.isnan(row.value) or row.value <= TOLERANCE):
            found.note("rule_value", row.where, row.value, np.nan, "a value where nothing flows")
    rows = [row for row in rows if base[row.material] > TOLERANCE]
    for row in rows:
        if not row.value <= row.limit + TOLERANCE * max(1.0, row.limit):
            found.note("rule_holds", row.where, row.value, row.limit)
    claimed = {row.material: row.value for row in rows}
    if rows and _least_above(facts, plan, rule, year, touched, base, claimed) > 3 * TOLERANCE * len(rows):
        where = f"{rule.name} {rule.kind} {year}"
        found.note("rule_value", where, sum(claimed.values()), np.nan,
                   "the tonnes cannot be handed on so that every row has the touched share that it says")  # fmt: skip
    for row in rows:
        alone = _least_above(facts, plan, rule, year, touched, base, {row.material: 0.0})
        if row.value < alone - 3 * TOLERANCE:
            found.note("rule_value", row.where, row.value, alone, "less than can be")
    caps = {row.material: row.limit for row in rows}
    together = _least_above(facts, plan, rule, year, touched, base, dict.fromkeys(caps, 0.0), caps)
    # every flow and balance has room for 1e-6 of itself here: together they make the least a little less
    if np.isfinite(together) and sum(claimed.values()) > together + 10 * TOLERANCE * len(rows):
        found.note("rule_value", f"{rule.name} {rule.kind} {year}", sum(claimed.values()), together,
                   "all rows together can have less, and each still within its limit")  # fmt: skip


def _least_above(facts: Facts, plan: Plan, rule: Any, year: int, touched: set[str], base: Mapping[str, float],
                 shares: Mapping[str, float], caps: Mapping[str, float] | None = None) -> float:  # fmt: skip
    """Least sum, over materials, of the touched share above the share given, at most ``caps`` of it."""
    lp = Lp()
    part: dict[tuple[str, str, str], tuple[int, float]] = {}  # flow -> column of its touched tonnes, all its tonnes
    out: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    come: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for (origin, end, material, at), tonnes in plan.flows.items():
        if at != year or origin not in facts.makers or tonnes <= 0:
            continue
        column = lp.column(tonnes + room(tonnes))
        if origin in touched:
            lp.row([(column, 1.0)], tonnes - room(tonnes), np.inf)
        part[origin, end, material] = (column, tonnes)
        out[origin, material].append((column, tonnes))
        if end in facts.makers:
            come[end].append((column, tonnes))
    for name, maker in facts.makers.items():
        if name in touched:
            continue
        own, fed = out.get((name, maker.material), []), come.get(name, [])
        size = sum(t for _, t in own)
        main = [(c, 1.0) for c, _ in own]
        if own or fed:
            lp.row([*main, *((c, -maker.recovery) for c, _ in fed)], -3 * room(size), 3 * room(size))
        for material, ratio in facts.byproducts.get(name, {}).items():
            beside = out.get((name, material), [])
            if beside:
                taken = sum(t for _, t in beside)
                terms = [*((c, 1.0) for c, _ in beside), *((c, -ratio) for c, _ in own)]
                lp.row(terms, -np.inf, room(taken))  # touched by-product comes of touched batches
                lp.row([(c, -v) for c, v in terms], -np.inf, ratio * size - taken + room(taken))  # clean of clean ones
    for material, share in shares.items():
        above = lp.column((caps or {}).get(material, np.inf) + TOLERANCE, cost=1.0)
        terms = [(c, 1.0) for (_, end, m), (c, _) in part.items() if m == material and end not in facts.makers
                 and rule.market in (None, end)]  # fmt: skip
        lp.row([*terms, (above, -base[material])], -np.inf, share * base[material])
    x = lp.solve()
    return np.inf if x is None else float(np.dot(lp.cost, x))


def _selected(facts: Facts, where: Any, year: int) -> Iterable[str]:
    blocs = [None if names is None else {c for name in names for c in facts.members(name, year)}
             for names in (where.bloc, where.controller_bloc)]  # fmt: skip
    for name, maker in facts.makers.items():
        pairs = ((where.channel, maker.channel), (where.country, maker.country), (where.controller, maker.controller),
                 (blocs[0], maker.country), (blocs[1], maker.controller), (where.supplier, name))  # fmt: skip
        if all(wanted is None or value in wanted for wanted, value in pairs) and (
            where.certified is None or where.certified == maker.certified
        ):
            yield name


def scenario_left(facts: Facts, scenario: str, year: int) -> dict[str, float]:
    """Share left of each supplier in a scenario of disruptions.csv: the least of the rows that hit it."""
    hits = struck(facts, scenario, year)
    return {name: min((share for share, _ in hits.get(name, ())), default=1.0) for name in facts.makers}


def struck(facts: Facts, scenario: str, year: int) -> dict[str, list[tuple[float, float]]]:
    """Supplier -> (available share, cost multiple) of each row of the scenario that hits it."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    columns = ("scenario", "country", "controller", "bloc", "supplier", "channel", "material", "mineral",
               "available_share", "cost_multiple")  # fmt: skip
    for name, *named, share, multiple in records(facts.case.tables["disruptions"], *columns):
        country, controller, bloc, supplier, channel, material, mineral = map(text, named)
        if name != scenario:
            continue
        inside = facts.members(bloc, year) if bloc else set()
        for maker_id, maker in facts.makers.items():
            hit = (
                country in ("", maker.country) and controller in ("", maker.controller) and supplier in ("", maker_id)
                and channel in ("", maker.channel) and (not bloc or maker.country in inside)
                and material in ("", maker.material) and mineral in ("", facts.mineral[maker.material])
            )  # fmt: skip
            if hit:
                found[maker_id].append((share, multiple))
    return found
