"""Each rule as rows over the quantities of a case: what it measures, against what, up to which limit.

The model adds these rows, and the plan reports their values and prices: one computation for both.
Formulas: contract section 2; HHI in an LP: MATHS.md, section Concentration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.case import Flags, Floats
from models.costs import COSTS, CostEntries, cost_entries, cost_materials
from models.disruptions import Loss, find_losses
from models.lanes import Ints
from models.layout import Layout
from models.rule_checks import rule_subjects, selected, stocked_subjects, years_in_force


@dataclass(frozen=True)
class Linear:
    """constant + sum of coefficient * column."""

    columns: Ints
    coefficients: Floats
    constant: float = 0.0

    def value(self, x: Floats) -> float:
        """Its value at the columns' values."""
        return float(self.coefficients @ x[self.columns] + self.constant)

    def only(self, kept: Any) -> Linear:
        """The terms where ``kept`` is true."""
        return Linear(self.columns[kept], self.coefficients[kept], self.constant)

    def times(self, factors: Any) -> Linear:
        """Every term multiplied by its own factor."""
        return Linear(self.columns, self.coefficients * factors, self.constant)


ONE = Linear(np.zeros(0, dtype=np.int64), np.zeros(0), 1.0)


@dataclass(frozen=True)
class Tonnes:
    """The tonnes at a stage in a year: one term for each flow or production, with its supplier."""

    terms: Linear
    supplier: Ints


@dataclass(frozen=True)
class RuleRow:
    """One row of the program: top <= limit * base (``bound`` max) or >= (min); an HHI has groups instead.

    ``base`` is the denominator; a ban and a budget have the constant 1. ``counted`` (kind suppliers) is
    the tonnes of each supplier that may count. ``touched`` (provenance) says whether each supplier is selected;
    the touched part of ``top``, the flows delivered, counts. ``losses`` (survive) are what has to be survived,
    each for ``months``, in the ``markets``. Values of these two kinds take a program of their own, but for a
    provenance row whose ``top`` is the touched tonnes themselves (``traced``).
    """

    rule: str
    kind: str
    bound: str
    mineral: str
    material: str
    member: str
    year: int
    limit: float
    top: Linear
    base: Linear
    groups: tuple[tuple[str, Linear, float], ...] = ()
    counted: tuple[tuple[int, Linear], ...] = ()
    least_t: float = 0.0
    stage: str = "delivered"
    denominator: str = ""
    touched: Flags | None = None
    losses: tuple[Loss, ...] = ()
    months: float = 12.0
    markets: tuple[str, ...] = ()
    traced: bool = False

    @property
    def key(self) -> tuple[str, str, str, str, str, int]:
        """What tells this row from every other."""
        return self.rule, self.bound, self.mineral, self.material, self.member, self.year

    def value(self, x: Floats) -> float:
        """What the rule measures, in the units of its limit; NaN where nothing flows (and of provenance and survive,
        which take a program of their own).
        """
        if self.kind == "survive" or (self.kind == "provenance" and not self.traced):
            return float("nan")
        if self.kind == "suppliers":
            least = self.least_t if self.bound == "min" else 1e-6
            slack = 1e-6 * max(1.0, least) if self.bound == "min" else 0.0
            tonnes = [terms.value(x) for _, terms in self.counted]
            if self.bound == "min":
                return float(sum(t >= least - slack and t > 1e-6 for t in tonnes))
            return float(sum(t > least for t in tonnes))
        base = self.base.value(x)
        if abs(base) <= 1e-9:
            return float("nan")
        if self.kind == "hhi":
            return float(sum(weight * (terms.value(x) / base) ** 2 for _, terms, weight in self.groups))
        return self.top.value(x) / base


_NOTHING = np.zeros(0, dtype=np.int64)


def _by_material_and_year(
    layout: Layout, material: Ints, year: Ints, kept: Flags | None = None
) -> dict[tuple[int, int], Ints]:
    """(material code, horizon position) -> entries, in their order."""
    chosen = np.arange(len(material)) if kept is None else np.flatnonzero(kept)
    years = len(layout.case.years)
    key = material[chosen] * years + year[chosen]
    order = np.argsort(key, kind="stable")
    values, starts = np.unique(key[order], return_index=True)
    parts = np.split(chosen[order], starts[1:]) if len(values) else []
    return {divmod(int(value), years): part for value, part in zip(values, parts, strict=True)}


@dataclass
class RuleRows:
    """All rows of a case's rules, over one layout."""

    layout: Layout
    status_quo_usd_per_y: Mapping[tuple[str, str, int], float] = field(default_factory=dict)
    rows: list[RuleRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        layout = self.layout
        self._delivered = _by_material_and_year(
            layout, layout.flow_material, layout.flow_year, layout.flow_destination >= len(layout.case.suppliers)
        )
        made = layout.supplier_material[layout.production_supplier]
        self._made = _by_material_and_year(layout, made, layout.production_year)
        second = layout.case.lanes.is_byproduct[layout.flow_lane]
        self._taken = _by_material_and_year(layout, layout.flow_material, layout.flow_year, second)
        built, drawn = layout.built_place, layout.drawn_place
        # what a market's balance has beside flows: (family, sign, markets, entries by material and year)
        self._beside = [
            (family, sign, market, _by_material_and_year(layout, material, layout.year_of(family)))
            for family, sign, market, material in (
                ("shortage", -1.0, layout.shortage_market, layout.shortage_material),
                ("substituted", -1.0, layout.substituted_market, layout.substituted_material),
                ("built", 1.0, layout.stock_market[built], layout.stock_material[built]),
                ("drawn", -1.0, layout.stock_market[drawn], layout.stock_material[drawn]),
            )
        ]
        self._required: dict[tuple[str, int], list[tuple[str, float]]] = {}
        for (market, material, year), tonnes in layout.case.required.items():
            self._required.setdefault((material, year), []).append((market, tonnes))
        self._cache: dict[Any, Tonnes] = {}
        self._costs: CostEntries | None = None
        for rule in layout.case.rules:
            for year in years_in_force(layout.case, rule):
                self.rows.extend(_KINDS[rule.kind](self, rule, year))

    @property
    def costs(self) -> CostEntries:
        """Every cost of every column, found once."""
        if self._costs is None:
            self._costs = cost_entries(self.layout)
        return self._costs

    def tonnes(self, mineral: str, material: str, stage: str, market: str | None, year: int) -> Tonnes:
        """Tonnes delivered of a material (to one market or all), or made of a mineral (or material) at a stage."""
        key = (mineral, material, stage, market, year)
        if key not in self._cache:
            self._cache[key] = self._find_tonnes(*key)
        return self._cache[key]

    def _find_tonnes(self, mineral: str, material: str, stage: str, market: str | None, year: int) -> Tonnes:
        layout, case = self.layout, self.layout.case
        at = case.years.index(year)
        if stage == "delivered":
            flows = self._delivered.get((layout.material_code[material], at), _NOTHING)
            if market is not None:
                node = len(case.suppliers) + list(case.markets).index(market)
                flows = flows[layout.flow_destination[flows] == node]
            columns, supplier = layout.offsets["flow"] + flows, layout.flow_origin[flows]
        else:
            table = case.materials
            chosen = (table["material"] == material) if material else (
                (table["mineral"] == mineral) & (table["stage"] == stage)
            )  # fmt: skip
            codes = np.flatnonzero(chosen.to_numpy()).tolist()
            production, flows = (
                np.sort(np.concatenate([_NOTHING, *(index.get((code, at), _NOTHING) for code in codes)]))
                for index in (self._made, self._taken)
            )
            columns = np.concatenate([layout.offsets["production"] + production, layout.offsets["flow"] + flows])
            supplier = np.concatenate([layout.production_supplier[production], layout.flow_origin[flows]])
        return Tonnes(Linear(columns, np.ones(len(columns))), supplier)

    def requirement(self, material: str, market: str | None, year: int) -> float:
        """Tonnes of the material that the market (or all) requires."""
        return sum(tonnes for name, tonnes in self._required.get((material, year), ()) if market in (None, name))

    def supply(self, mineral: str, material: str, stage: str, market: str | None, year: int) -> Linear:
        """All tonnes at the stage. Delivered: requirement less shortage and substitution, plus what is put into
        stock, less what is drawn; the balance makes that the same.
        """
        if stage != "delivered":
            return self.tonnes(mineral, material, stage, market, year).terms
        layout, case = self.layout, self.layout.case
        key = layout.material_code[material], case.years.index(year)
        columns, signs = [_NOTHING], [np.zeros(0)]
        for family, sign, markets, index in self._beside:
            entries = index.get(key, _NOTHING)
            if market is not None:
                entries = entries[markets[entries] == list(case.markets).index(market)]
            columns.append(layout.offsets[family] + entries)
            signs.append(np.full(len(entries), sign))
        return Linear(np.concatenate(columns), np.concatenate(signs), self.requirement(material, market, year))

    def base(self, rule: Any, mineral: str, material: str, year: int) -> tuple[Linear, str]:
        """The denominator of a share, and how to say it."""
        if getattr(rule, "of", "supply") == "supply":
            return self.supply(mineral, material, rule.stage, rule.market, year), (
                "tonnes delivered" if rule.stage == "delivered" else f"tonnes at {rule.stage}"
            )
        if rule.stage == "delivered":
            return Linear(ONE.columns, ONE.coefficients, self.requirement(material, rule.market, year)), "requirement"
        of_mineral = self.layout.case.materials["mineral"]
        wanted = [m for m in self.layout.case.delivered_materials() if of_mineral[m] == mineral]
        total = sum(self.requirement(m, None, year) for m in wanted)
        return Linear(ONE.columns, ONE.coefficients, total), "delivered requirement"

    def limit(self, key: tuple[str, str, str, str, str, int], own: float) -> float:
        """The rule's limit, or the one that --relax put in its place."""
        return self.layout.case.relaxed.get(key, own)


def _subjects(rows: RuleRows, rule: Any, year: int) -> Iterator[tuple[str, str, Tonnes, Linear, str]]:
    for mineral, material in rule_subjects(rows.layout.case, rule):
        found = rows.tonnes(mineral, material, rule.stage, rule.market, year)
        base, words = rows.base(rule, mineral, material, year)
        yield mineral, material, found, base, words


def _row(rows: RuleRows, rule: Any, bound: str, year: int, own: float, top: Linear, base: Linear,
         mineral: str = "", material: str = "", member: str = "", **more: Any) -> RuleRow:  # fmt: skip
    key = (rule.name, bound, mineral, material, member, year)
    return RuleRow(rule.name, rule.kind, bound, mineral, material, member, year, rows.limit(key, own), top, base,
                   stage=rule.stage, **more)  # fmt: skip


def share(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """min * T <= tonnes from the selected suppliers <= max * T."""
    chosen = selected(rows.layout.case, rule.where, year)
    for mineral, material, found, base, words in _subjects(rows, rule, year):
        top = found.terms.only(chosen[found.supplier])
        for bound in ("min", "max"):
            if getattr(rule, bound) is not None:
                yield _row(rows, rule, bound, year, getattr(rule, bound), top, base, mineral, material,
                           denominator=words)  # fmt: skip


def each_share(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """The same cap on every country (home exempt), controller, supplier or channel with tonnes there."""
    case = rows.layout.case
    names = case.suppliers[rule.each].to_numpy()
    exempt = set(rule.except_)
    if rule.each == "country" and not rule.include_home:
        exempt.add(case.home)
    for mineral, material, found, base, words in _subjects(rows, rule, year):
        of_term = names[found.supplier]
        for member in sorted(set(of_term) - exempt):
            yield _row(rows, rule, "max", year, rule.max, found.terms.only(of_term == member), base, mineral,
                       material, member, denominator=words)  # fmt: skip


def hhi(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """Sum over groups of weight * share^2 <= max; the weight is that of the group's country."""
    case = rows.layout.case
    names = case.suppliers[rule.by].to_numpy()
    countries = case.suppliers["controller" if rule.by == "controller" else "country"].to_numpy()
    weights = case.risk(rule.weight, year) if rule.weight else None
    for mineral, material, found, base, words in _subjects(rows, rule, year):
        of_term = names[found.supplier]
        groups = []
        for member in sorted(set(of_term)):
            inside = of_term == member
            country = countries[found.supplier[inside][0]]
            groups.append((str(member), found.terms.only(inside), 1.0 if weights is None else weights[country]))
        yield _row(rows, rule, "max", year, rule.max, found.terms, base, mineral, material,
                   groups=tuple(groups), denominator=words)  # fmt: skip


def index(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """Sum of share * indicator value <= max."""
    case = rows.layout.case
    values = case.risk(rule.indicator, year)
    by_supplier = np.array([values.get(country, np.nan) for country in case.suppliers["country"]])
    for mineral, material, found, base, words in _subjects(rows, rule, year):
        top = found.terms.times(by_supplier[found.supplier])
        yield _row(rows, rule, "max", year, rule.max, top, base, mineral, material, denominator=words)


def ban(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """Nothing from the selected suppliers at the stage: tonnes <= 0."""
    chosen = selected(rows.layout.case, rule.where, year)
    for mineral, material, found, _, _ in _subjects(rows, rule, year):
        yield _row(rows, rule, "max", year, 0.0, found.terms.only(chosen[found.supplier]), ONE, mineral, material,
                   denominator="tonnes")  # fmt: skip


def budget(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """Cost of the year <= max_usd_per_y, over everything or for each mineral (or material) named."""
    layout, case, entries = rows.layout, rows.layout.case, rows.costs
    usd = entries.public_usd_per_unit if rule.of == "public" else entries.usd_per_unit
    inside = (entries.year == case.years.index(year)) & (usd != 0)
    if rule.of == "capital":
        inside &= entries.family == COSTS.index("capital")
    materials = cost_materials(layout)[entries.columns]
    of_mineral = case.materials["mineral"].to_numpy()
    words = _BUDGET_WORDS[rule.of]
    parts = [(of_mineral[layout.material_code[m]], m) for m in rule.material or ()] or [
        (mineral, "") for mineral in rule.mineral or ("",)
    ]
    for mineral, material in parts:
        kept = inside
        if material:
            kept = inside & (materials == layout.material_code[material])
        elif mineral:
            kept = inside & (of_mineral[materials] == mineral)
        today = rows.status_quo_usd_per_y.get((mineral, material, year), 0.0) if rule.of == "premium" else 0.0
        yield _row(rows, rule, "max", year, rule.max_usd_per_y, Linear(entries.columns[kept], usd[kept], -today), ONE,
                   mineral, material, denominator=words)  # fmt: skip


_BUDGET_WORDS = {
    "all": "USD a year", "premium": "USD a year above the status quo", "capital": "USD a year of capital (annuities)",
    "public": "USD a year that the public pays",
}  # fmt: skip


def stock_days(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """Stock at year end >= days / 365 * required_t, for each market and material with stock."""
    layout, case = rows.layout, rows.layout.case
    of_mineral = case.materials["mineral"]
    for place, market, material in stocked_subjects(case, rule):
        entry = np.flatnonzero((layout.stock_place == place) & (layout.stock_year == case.years.index(year)))
        base = Linear(ONE.columns, ONE.coefficients, case.required.get((market, material, year), 0.0))
        top = Linear(layout.offsets["stock"] + entry, np.full(len(entry), 365.0))
        yield _row(rows, rule, "min", year, rule.days, top, base, of_mineral[material], material, market,
                   denominator="days of requirement")  # fmt: skip


def emissions(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """All production of the mineral's materials at every stage, per delivered tonne of the mineral."""
    layout, case = rows.layout, rows.layout.case
    rate = case.suppliers["emissions_kgco2e_per_t"].to_numpy(dtype=float)[layout.production_supplier]
    mineral_made = case.suppliers["mineral"].to_numpy()[layout.production_supplier]
    subjects = rule_subjects(case, rule)
    for mineral in dict.fromkeys(mineral for mineral, _ in subjects):
        made = (mineral_made == mineral) & (layout.production_year == case.years.index(year)) & (rate != 0)
        top = Linear(layout.offsets["production"] + np.flatnonzero(made), rate[made])
        parts = [rows.supply(mineral, material, "delivered", None, year) for m, material in subjects if m == mineral]
        base = Linear(np.concatenate([p.columns for p in parts]), np.concatenate([p.coefficients for p in parts]),
                      sum(p.constant for p in parts))  # fmt: skip
        yield _row(rows, rule, "max", year, rule.max_kgco2e_per_t, top, base, mineral,
                   denominator="kg CO2e per t delivered")  # fmt: skip


def suppliers(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """The number of selected suppliers with tonnes at the stage, at most max, at least min."""
    chosen = selected(rows.layout.case, rule.where, year)
    for mineral, material, found, _, _ in _subjects(rows, rule, year):
        counted = tuple(
            (int(supplier), found.terms.only(found.supplier == supplier))
            for supplier in np.unique(found.supplier[chosen[found.supplier]])
        )
        for bound in ("min", "max"):
            if getattr(rule, bound) is not None:
                yield _row(rows, rule, bound, year, float(getattr(rule, bound)), found.terms, ONE, mineral, material,
                           counted=counted, least_t=rule.least_t, denominator="suppliers")  # fmt: skip


def provenance(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """Delivered tonnes that passed through a selected supplier at any stage <= max * tonnes delivered."""
    chosen = selected(rows.layout.case, rule.where, year)
    for mineral, material, found, base, _ in _subjects(rows, rule, year):
        yield _row(rows, rule, "max", year, rule.max, found.terms, base, mineral, material, touched=chosen,
                   denominator="tonnes delivered, wherever they passed")  # fmt: skip


def survive(rows: RuleRows, rule: Any, year: int) -> Iterator[RuleRow]:
    """After each loss every market still receives at least serve * required_t by re-dispatch."""
    case = rows.layout.case
    losses = tuple(find_losses(case, rule.lose, rule.except_))
    for mineral, material in rule_subjects(case, rule):
        markets = tuple(name for name, wanted in case.markets.items()
                        if material in wanted and rule.market in (None, name))  # fmt: skip
        required = Linear(ONE.columns, ONE.coefficients, rows.requirement(material, rule.market, year))
        nothing = Linear(ONE.columns, ONE.coefficients)
        yield _row(rows, rule, "min", year, rule.serve, nothing, required, mineral, material, losses=losses,
                   months=rule.months, markets=markets, denominator="requirement, after the worst loss")  # fmt: skip


_KINDS: dict[str, Callable[[RuleRows, Any, int], Iterator[RuleRow]]] = {
    "share": share, "each_share": each_share, "hhi": hhi, "index": index, "ban": ban, "budget": budget,
    "emissions": emissions, "suppliers": suppliers, "stock_days": stock_days, "provenance": provenance,
    "survive": survive,
}  # fmt: skip
