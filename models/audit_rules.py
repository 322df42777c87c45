"""Audits what a plan costs and its rules row by row: which are due, their value, and whether they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.audit_facts import TOLERANCE, records, text
from models.audit_years import Claimed, Paid, dearest_t

if TYPE_CHECKING:
    from models.audit import Answer, Findings, Plan
    from models.audit_facts import Facts

Costs = dict[str, dict[tuple[str, int], float]]  # all, capital or public -> (material, year) -> USD a year
APART = ("provenance", "survive")  # audited in audit_risk: each takes programs of its own
Key = tuple[str, str, str, str, str, str, int]  # rule, kind, bound, mineral, material, member, year


def check_costs(
    facts: Facts, plan: Plan, answer: Answer, claims: Claimed, moved: list[Paid], dearest_lane: list[float],
    found: Findings,
) -> tuple[Costs, tuple[float, float]]:  # fmt: skip
    """The costs as tables and flows give them: to buyers (all, capital) and to the public, undiscounted.

    Beside them their discounted sum, which is the objective of a plan made without a risk weight, and its room, USD.

    Every claim of the answer is compared with them and findings added to ``found``. ``moved``: what the flows
    cost; ``dearest_lane``: the largest freight (USD per t) and duty (share) of lanes.csv.
    """
    paid = [*moved, *claims.paid]
    for (supplier, year), made in plan.produced.items():
        maker = facts.makers.get(supplier)
        if maker is not None and year in facts.years:
            paid.append(("production", maker.material, year, made * facts.unit_cost[supplier, year]))
            paid.append(("fixed", maker.material, year, maker.fixed if made > TOLERANCE else 0.0))
    for series, tonnes in plan.shortage.items():
        price = facts.demand.get(series, (0.0, np.nan))[1]
        if not np.isnan(price):
            paid.append(("shortage", series[1], series[3], tonnes * price))
    largest = {  # USD: a tonne of what each cost is paid for, at most
        "production": max(map(abs, facts.unit_cost.values()), default=0.0),
        "freight": dearest_lane[0],
        "duty": dearest_lane[1] * max(facts.price.values(), default=0.0),
        "collection": max((abs(cost) for _, cost in facts.pools.values()), default=0.0),
        "shortage": max((price for _, price in facts.demand.values() if price == price), default=0.0),
        **dearest_t(claims.growth),
    }
    slack = _compare(facts, answer, "usd_per_y", paid, largest, found)
    _compare(facts, answer, "public_usd_per_y", claims.public, largest, found)
    total = room = 0.0
    for year, weight in zip(facts.years, facts.weights(), strict=True):
        due = sum(usd for _, _, at, usd in paid if at == year)
        total, room = total + weight * due, room + weight * slack[year]
    if answer.two_stage is None:
        found.same("objective", "objective_usd", answer.objective_usd, total, room)
    by_material: Costs = {"all": defaultdict(float), "capital": defaultdict(float), "public": defaultdict(float)}
    for part, listed in (("all", paid), ("capital", [p for p in paid if p[0] == "capital"]), ("public", claims.public)):
        for _, material, year, usd in listed:
            by_material[part][material, year] += usd
    return by_material, (total, room)


def _compare(
    facts: Facts, answer: Answer, column: str, paid: list[Paid], largest: Mapping[str, float], found: Findings
) -> dict[int, float]:
    """Compare the cost rows and the sums of years with what is paid; gives the room of each year, USD."""
    public = column == "public_usd_per_y"
    costs: dict[tuple[str, str, int], float] = defaultdict(float)
    size: dict[tuple[str, str, int], float] = defaultdict(float)
    for family, material, year, usd in paid:
        costs[family, facts.mineral[material], year] += usd
        size[family, facts.mineral[material], year] += abs(usd)
    claims: dict[tuple[str, str, int], float] = defaultdict(float)
    for family, mineral, year, usd in records(answer.costs, "cost", "mineral", "year", column):
        claims[family, mineral, int(year)] += usd
    for key in dict.fromkeys([*costs, *claims]):
        slack = TOLERANCE * (size.get(key, 0.0) + largest.get(key[0], 0.0))
        pair = "{} {} {}".format(*key), claims.get(key, 0.0), costs.get(key, 0.0), slack
        found.same("public_cost", *pair) if public else found.same("cost", *pair)
    sums = answer.public_usd_per_y if public else answer.cost_usd_per_y
    room = {}
    for year in facts.years:
        due = sum(usd for key, usd in costs.items() if key[2] == year)
        room[year] = TOLERANCE * (sum(usd for key, usd in size.items() if key[2] == year) + max(largest.values()))
        pair = str(year), sums.get(year, np.nan), due, room[year]
        found.same("public_year", *pair) if public else found.same("year_cost", *pair)
    for year in sums:
        if year not in facts.years:
            found.note("year_cost", str(year), sums[year], np.nan, "not a horizon year")
    return room


@dataclass(frozen=True)
class Row:
    """A row that is due: ``amount`` (tonnes, kg CO2e, USD or a count) against ``limit * base``.

    Its value is amount / base. ``scale``: amount of one tonne at most, so that a row has room for 1e-6 t.
    ``holds``: nothing flows, whatever the limit. ``fewer``: by how much a count may be lower where a supplier
    stands at the very edge. ``optional``: nothing flows from the member, its row may be left out.
    """

    key: Key
    limit: float
    amount: float
    base: float = 1.0
    scale: float = 1.0
    holds: bool = False
    fewer: float = 0.0
    optional: bool = False


def check_rules(facts: Facts, plan: Plan, answer: Answer, costs: Costs, found: Findings) -> None:
    """Compare the rows of an answer with those due, and check that each due row holds.

    ``costs``: USD a year, recomputed. Findings are added to ``found``.
    """
    claims = {key: listed for key, listed in claims_of(answer).items() if key[1] not in APART}
    relaxed = facts.case.relaxed
    due: set[Key] = set()
    for row in _Rules(facts, plan, answer, costs).rows():
        due.add(row.key)
        where = " ".join(str(part) for part in row.key if part != "")
        rule, _, bound, mineral, material, member, at = row.key
        limit = relaxed.get((rule, bound, mineral, material, member, at), row.limit)
        _holds(row, bound, limit, where, found)
        listed = claims.get(row.key, [])
        if len(listed) > 1 or not (listed or row.optional):
            found.note("rule_rows", where, len(listed), 1)
        for value, claimed in listed:
            found.same("rule_limit", where, claimed, limit, 1e-9 * abs(limit))
            _value(row, value, limit, where, found)
    for key in claims.keys() - due:
        where = " ".join(str(part) for part in key if part != "")
        found.note("rule_rows", where, len(claims[key]), 0, "no such row is due")


def claims_of(answer: Answer) -> dict[Key, list[tuple[float, float]]]:
    """The rows of the rules that an answer lists: value and limit of each."""
    claims: dict[Key, list[tuple[float, float]]] = defaultdict(list)
    columns = ("rule", "kind", "bound", "mineral", "material", "member", "year", "value", "limit")
    for *names, year, value, limit in records(answer.rules, *columns):
        rule, kind, bound, mineral, material, member = map(text, names)
        claims[rule, kind, bound, mineral, material, member, int(year)].append((_number(value), _number(limit)))
    return claims


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _holds(row: Row, bound: str, limit: float, where: str, found: Findings) -> None:
    if row.holds:
        return
    right = limit * row.base
    room = TOLERANCE * max(abs(right), row.scale)
    if not (row.amount <= right + room if bound == "max" else row.amount >= right - room):
        value = row.amount / row.base if row.base > 0 else row.amount
        found.note("rule_holds", where, value, limit)


def _value(row: Row, value: float, limit: float, where: str, found: Findings) -> None:
    if row.base <= TOLERANCE:  # nothing to divide by
        if row.base <= 0 and row.amount <= 0 and not (np.isnan(value) or value == 0):
            found.note("rule_value", where, value, np.nan, "a value where nothing flows")
        return
    right = row.amount / row.base
    room = TOLERANCE * max(abs(right), abs(limit), row.scale / row.base)
    if not right - row.fewer - room <= value <= right + room:
        found.note("rule_value", where, value, right)


class _Rules:
    """The rows due for each rule, from the recomputed facts, the flows and the costs."""

    def __init__(self, facts: Facts, plan: Plan, answer: Answer, costs: Costs) -> None:
        self.facts, self.plan, self.answer = facts, plan, answer
        self.cost: dict[tuple[str, str, str, int], float] = defaultdict(
            float
        )  # part, mineral, material, year; "" = all
        for part, by_material in costs.items():
            for (material, year), usd in by_material.items():
                for key in (("", ""), (facts.mineral[material], ""), (facts.mineral[material], material)):
                    self.cost[part, *key, year] += usd
        self.wanted: dict[str, dict[str, None]] = {}  # market or "" -> the materials that it requires
        for market, material, _ in facts.required:
            self.wanted.setdefault(market, {})[material] = None
            self.wanted.setdefault("", {})[material] = None
        self.makes: dict[str, set[str]] = defaultdict(set)  # material -> suppliers
        for supplier, maker in facts.makers.items():
            self.makes[maker.material].add(supplier)
            for material in facts.byproducts.get(supplier, {}):
                self.makes[material].add(supplier)
        self._risk: dict[tuple[str, int], dict[str, float]] = {}
        self._tonnes: dict[tuple[Any, ...], dict[str, float]] = {}

    def rows(self) -> Iterator[Row]:
        """Every row of every enabled rule."""
        for rule in self.facts.case.settings.rules:
            if not rule.enabled or rule.kind in APART:
                continue
            for year in self.facts.years:
                if (rule.from_year or -1) <= year <= (rule.to_year or 9999):
                    yield from getattr(self, f"_{rule.kind}")(rule, year)

    def subjects(self, rule: Any) -> Iterator[tuple[str, str]]:
        """(mineral, material): each delivered material, or each mineral ("" for material) at another stage."""
        facts = self.facts

        def chosen(material: str) -> bool:
            by_mineral = rule.mineral is None or facts.mineral[material] in rule.mineral
            return by_mineral and (rule.material is None or material in rule.material)

        if rule.stage == "delivered":
            yield from ((facts.mineral[m], m) for m in self.wanted.get(rule.market or "", {}) if chosen(m))
            return
        there = [m for m, stage in facts.stage.items() if stage == rule.stage and chosen(m)]
        if rule.material is not None:
            yield from ((facts.mineral[m], m) for m in there)
        else:
            yield from ((mineral, "") for mineral in dict.fromkeys(facts.mineral[m] for m in there))

    def materials(self, rule: Any, mineral: str, material: str) -> list[str]:
        """The materials that a row adds up."""
        if material:
            return [material]
        facts = self.facts
        return [m for m, stage in facts.stage.items() if stage == rule.stage and facts.mineral[m] == mineral]

    def tonnes(self, rule: Any, mineral: str, material: str, year: int) -> dict[str, float]:
        """Supplier -> tonnes of the row: into the markets, or made at the stage (by-products: what is taken)."""
        key = (rule.stage, rule.market, mineral, material, year)
        if key in self._tonnes:
            return self._tonnes[key]
        found: dict[str, float] = defaultdict(float)
        if rule.stage == "delivered":
            for market, origins in self.plan.delivered.get((material, year), {}).items():
                if (market, material, year) in self.facts.required and rule.market in (None, market):
                    for supplier, tonnes in origins.items():
                        if supplier in self.facts.makers:
                            found[supplier] += tonnes
        else:
            for made in self.materials(rule, mineral, material):
                for supplier in self.makes.get(made, ()):
                    main = self.facts.makers[supplier].material == made
                    plan = self.plan
                    amount = plan.produced.get((supplier, year)) if main else plan.out.get((supplier, made, year))
                    if amount:
                        found[supplier] += amount
        self._tonnes[key] = found
        return found

    def total(self, rule: Any, mineral: str, material: str, year: int) -> float:
        """T: the tonnes of the row, or what the markets require."""
        if getattr(rule, "of", "supply") == "supply":
            return sum(self.tonnes(rule, mineral, material, year).values())
        facts = self.facts
        if rule.stage == "delivered":
            return sum(
                required for (market, m, y), required in facts.required.items()
                if m == material and y == year and rule.market in (None, market)
            )  # fmt: skip
        return sum(
            required for (_, m, y), required in facts.required.items() if facts.mineral[m] == mineral and y == year
        )

    def selected(self, where: Any, suppliers: Iterable[str], year: int) -> list[str]:
        """Those of the suppliers for which all that ``where`` gives holds."""
        facts = self.facts
        if where is None:
            return list(suppliers)
        blocs = [
            None if names is None else {country for name in names for country in facts.members(name, year)}
            for names in (where.bloc, where.controller_bloc)
        ]

        def holds(supplier: str) -> bool:
            maker = facts.makers[supplier]
            pairs = (
                (where.channel, maker.channel), (where.country, maker.country), (where.controller, maker.controller),
                (blocs[0], maker.country), (blocs[1], maker.controller), (where.supplier, supplier),
            )  # fmt: skip
            return all(wanted is None or value in wanted for wanted, value in pairs) and (
                where.certified is None or where.certified == maker.certified
            )

        return [supplier for supplier in suppliers if holds(supplier)]

    def member(self, by: str, supplier: str) -> str:
        """The group of a supplier: its country, controller or channel, or itself."""
        return supplier if by == "supplier" else str(getattr(self.facts.makers[supplier], by))

    def risk(self, indicator: str, year: int) -> dict[str, float]:
        """Country -> value: the latest row at or before the year, else the earliest (no year: first)."""
        if (indicator, year) not in self._risk:
            table = self.facts.case.tables["risk"]
            rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
            for country, name, since, value in records(table, "country", "indicator", "year", "value"):
                if name == indicator:
                    rows[country].append((-np.inf if np.isnan(since) else since, value))
            found = {}
            for country, known in rows.items():
                past = [row for row in known if row[0] <= year]
                found[country] = max(past)[1] if past else min(known)[1]
            self._risk[indicator, year] = found
        return self._risk[indicator, year]

    def _share(self, rule: Any, year: int) -> Iterator[Row]:
        for mineral, material in self.subjects(rule):
            tonnes = self.tonnes(rule, mineral, material, year)
            amount = sum(tonnes[supplier] for supplier in self.selected(rule.where, tonnes, year))
            base = self.total(rule, mineral, material, year)
            for bound, limit in (("min", rule.min), ("max", rule.max)):
                if limit is not None:
                    key = (rule.name, rule.kind, bound, mineral, material, "", year)
                    yield Row(key, limit, amount, base, holds=rule.of == "supply" and base <= TOLERANCE)

    def _each_share(self, rule: Any, year: int) -> Iterator[Row]:
        exempt = set(rule.except_)
        if rule.each == "country" and not rule.include_home:
            exempt.add(self.facts.case.home)
        for mineral, material in self.subjects(rule):
            amounts = {
                self.member(rule.each, supplier): 0.0
                for made in self.materials(rule, mineral, material) for supplier in sorted(self.makes.get(made, ()))
            }  # fmt: skip
            for supplier, tonnes in self.tonnes(rule, mineral, material, year).items():
                name = self.member(rule.each, supplier)
                amounts[name] = amounts.get(name, 0.0) + tonnes
            base = self.total(rule, mineral, material, year)
            idle = rule.of == "supply" and base <= TOLERANCE
            for name, amount in amounts.items():
                if name not in exempt:
                    key = (rule.name, rule.kind, "max", mineral, material, name, year)
                    yield Row(key, rule.max, amount, base, holds=idle, optional=amount <= TOLERANCE)

    def _hhi(self, rule: Any, year: int) -> Iterator[Row]:
        weights = self.risk(rule.weight, year) if rule.weight else {}
        for mineral, material in self.subjects(rule):
            groups: dict[str, float] = defaultdict(float)
            weight: dict[str, float] = {}
            for supplier, tonnes in self.tonnes(rule, mineral, material, year).items():
                name = self.member(rule.by, supplier)
                groups[name] += tonnes
                country = self.facts.makers[supplier].country if rule.by == "supplier" else name
                weight[name] = weights.get(country, np.nan) if rule.weight else 1.0
            base = sum(groups.values())
            idle = base <= TOLERANCE
            amount = 0.0 if idle else sum(weight[name] * (tonnes / base) * tonnes for name, tonnes in groups.items())
            key = (rule.name, rule.kind, "max", mineral, material, "", year)
            yield Row(key, rule.max, amount, base, 2 * max(weight.values(), default=0.0), holds=idle)

    def _index(self, rule: Any, year: int) -> Iterator[Row]:
        values = self.risk(rule.indicator, year)
        for mineral, material in self.subjects(rule):
            tonnes = self.tonnes(rule, mineral, material, year)
            value = {supplier: values.get(self.facts.makers[supplier].country, np.nan) for supplier in tonnes}
            amount, base = sum(value[supplier] * t for supplier, t in tonnes.items()), sum(tonnes.values())
            key = (rule.name, rule.kind, "max", mineral, material, "", year)
            yield Row(key, rule.max, amount, base, max(value.values(), default=0.0), holds=base <= TOLERANCE)

    def _ban(self, rule: Any, year: int) -> Iterator[Row]:
        for mineral, material in self.subjects(rule):
            tonnes = self.tonnes(rule, mineral, material, year)
            amount = sum(tonnes[supplier] for supplier in self.selected(rule.where, tonnes, year))
            yield Row((rule.name, rule.kind, "max", mineral, material, "", year), 0.0, amount)

    def _budget(self, rule: Any, year: int) -> Iterator[Row]:
        parts = [(self.facts.mineral[material], material) for material in rule.material or ()]
        for mineral, material in parts or [(mineral, "") for mineral in rule.mineral or ("",)]:
            part = "all" if rule.of == "premium" else rule.of
            cost, today = self.cost.get((part, mineral, material, year), 0.0), 0.0
            if rule.of == "premium":
                today = (self.answer.status_quo_usd_per_y or {}).get((mineral, material, year), np.nan)
            scale = max(abs(rule.max_usd_per_y + today), abs(cost), 1.0)
            key = (rule.name, rule.kind, "max", mineral, material, "", year)
            yield Row(key, rule.max_usd_per_y, cost - today, scale=scale)

    def _stock_days(self, rule: Any, year: int) -> Iterator[Row]:
        facts = self.facts
        ends = {(market, material): end for market, material, at, end
                in records(self.answer.stock, "market", "material", "year", "end_t") if at == year}  # fmt: skip
        for market, material in records(facts.case.tables["stock"], "market", "material"):
            mineral = facts.mineral[material]
            if rule.market not in (None, market) or (rule.mineral is not None and mineral not in rule.mineral):
                continue
            if rule.material is not None and material not in rule.material:
                continue
            required = facts.required.get((market, material, year), 0.0)
            key = (rule.name, rule.kind, "min", mineral, material, market, year)
            yield Row(key, rule.days, 365.0 * ends.get((market, material), 0.0), required, 365.0)

    def _emissions(self, rule: Any, year: int) -> Iterator[Row]:
        facts = self.facts
        for mineral in dict.fromkeys(facts.mineral[material] for material in self.wanted.get("", {})):
            if rule.mineral is not None and mineral not in rule.mineral:
                continue
            makers = [name for name, maker in facts.makers.items() if facts.mineral[maker.material] == mineral]
            emitted = sum(facts.makers[name].emissions * self.plan.produced.get((name, year), 0.0) for name in makers)
            delivered = sum(
                sum(self.tonnes(rule, mineral, material, year).values())
                for material in self.wanted[""] if facts.mineral[material] == mineral
            )  # fmt: skip
            most = max((facts.makers[name].emissions for name in makers), default=0.0)
            key = (rule.name, rule.kind, "max", mineral, "", "", year)
            yield Row(key, rule.max_kgco2e_per_t, emitted, delivered, most)

    def _suppliers(self, rule: Any, year: int) -> Iterator[Row]:
        for mineral, material in self.subjects(rule):
            tonnes = self.tonnes(rule, mineral, material, year)
            there = [tonnes[supplier] for supplier in self.selected(rule.where, tonnes, year)]
            there = [t for t in there if t > TOLERANCE]
            if rule.min is not None:
                room = TOLERANCE * max(rule.least_t, 1.0)
                count = sum(t >= rule.least_t - room for t in there)
                sure = sum(t >= rule.least_t + room for t in there)
                key = (rule.name, rule.kind, "min", mineral, material, "", year)
                yield Row(key, rule.min, count, scale=0.0, fewer=count - sure)
            if rule.max is not None:
                yield Row((rule.name, rule.kind, "max", mineral, material, "", year), rule.max, len(there), scale=0.0)
