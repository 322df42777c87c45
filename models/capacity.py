"""Lots, fixed charges, the status quo, and what links years (expansion and stock) in Pyomo."""

from __future__ import annotations

import numpy as np
from pyomo.core import Binary, Constraint, NonNegativeReals, Var
from pyomo.core.base.block import BlockData
from pyomo.core.expr.numeric_expr import LinearExpression

from models.case import Floats
from models.lanes import Ints
from models.layout import Layout


def use(model: BlockData, layout: Layout) -> None:
    """Variable used u, 0 or 1, for each supplier and year with a lot or a fixed charge (else none)."""
    model.used = Var(range(layout.sizes["used"]), domain=Binary)


def used_at_most_t(layout: Layout) -> Floats:
    """M of each production entry: the smaller of its capacity and what the chain can use, t a year."""
    most = np.minimum(
        layout.production_upper_t,
        layout.need_t[layout.supplier_material[layout.production_supplier], layout.production_year],
    )
    return np.maximum(most, layout.production_lower_t)


def used_at_most(model: BlockData, layout: Layout) -> None:
    """Nothing is produced unless used: q <= M * u, M the smaller of capacity and what the chain can use, t."""
    most = used_at_most_t(layout)
    entries = layout.used_production.tolist()

    def limit(_: BlockData, i: int) -> object:
        return (None, model.production[entries[i]] - float(most[entries[i]]) * model.used[i], 0.0)

    model.used_at_most = Constraint(range(len(entries)), rule=limit)


def used_at_least(model: BlockData, layout: Layout) -> None:
    """If used, at least a lot: q >= lot_t * u, t a year."""
    lot = layout.case.suppliers["lot_t"].to_numpy(dtype=float)[layout.production_supplier]
    entries = layout.used_production.tolist()

    def limit(_: BlockData, i: int) -> object:
        return (0.0, model.production[entries[i]] - float(lot[entries[i]]) * model.used[i], None)

    model.used_at_least = Constraint([i for i, p in enumerate(entries) if lot[p] > 0], rule=limit)


def status_quo_factor(model: BlockData, layout: Layout) -> None:
    """Status quo: q = incumbent_t * f, one factor f >= 0 for each material and year (contract 1.2)."""
    case = layout.case
    incumbent = case.suppliers["incumbent_t"].to_numpy(dtype=float)
    material = layout.supplier_material[layout.production_supplier].tolist()
    year = layout.production_year.tolist()
    model.factor = Var(sorted(set(zip(material, year, strict=True))), domain=NonNegativeReals)

    def same(_: BlockData, p: int) -> object:
        today = float(incumbent[layout.production_supplier[p]])
        return (0.0, model.production[p] - today * model.factor[material[p], year[p]], 0.0)

    model.status_quo_factor = Constraint(range(layout.sizes["production"]), rule=same)


def decisions(model: BlockData, layout: Layout) -> None:
    """Variables that link years: stock S at year end, expansion e decided in a year (both t), opened o (0 or 1)."""
    lower, upper = layout.lower_t.tolist(), [None if u == np.inf else u for u in layout.upper_t.tolist()]
    for family in ("stock", "expansion"):
        start, size = layout.offsets[family], layout.sizes[family]
        bounds = list(zip(lower[start : start + size], upper[start : start + size], strict=True))
        variable = Var(range(size), domain=NonNegativeReals, bounds=lambda _, i, known=bounds: known[i])
        model.add_component(family, variable)
    model.opened = Var(range(layout.sizes["opened"]), domain=Binary)


def capacity_expanded(model: BlockData, layout: Layout) -> None:
    """Production is within capacity and what is usable of expansions: q - sum of part * e <= capacity_t, t a year."""
    terms: dict[int, list[tuple[int, float]]] = {}
    for p, e, part in zip(*(vector.tolist() for vector in layout.grown), strict=True):
        terms.setdefault(p, []).append((e, -part))
    capacity = layout.production_capacity_t

    def limit(_: BlockData, p: int) -> object:
        expansions = [model.expansion[e] for e, _ in terms[p]]
        parts = [part for _, part in terms[p]]
        used = LinearExpression(
            constant=0.0, linear_coefs=[1.0, *parts], linear_vars=[model.production[p], *expansions]
        )
        return (None, used, float(capacity[p]))

    model.capacity_expanded = Constraint(list(terms), rule=limit)


def expansion_limit(model: BlockData, layout: Layout) -> None:
    """All expansions of a supplier together are at most max_expansion_t, and none comes before it is opened.

    Sum of e up to a year <= max_expansion_t * (1, or with open_usd: sum of o up to that year), t.
    """
    decided, opened = _by_supplier(layout.expansion_supplier), _by_supplier(layout.opened_supplier)
    expansion_year, opened_year = layout.expansion_year.tolist(), layout.opened_year.tolist()
    # one row a supplier; where it must be opened first, one for each year of decision
    keys = [(s, e) for s, entries in decided.items() for e in (entries if s in opened else entries[-1:])]

    def limit(_: BlockData, supplier: int, last: int) -> object:
        most = float(layout.growth.limit_t[supplier])
        until = [model.expansion[e] for e in decided[supplier] if e <= last]
        switches = [model.opened[o] for o in opened.get(supplier, ()) if opened_year[o] <= expansion_year[last]]
        coefficients = [1.0] * len(until) + [-most] * len(switches)
        total = LinearExpression(constant=0.0, linear_coefs=coefficients, linear_vars=[*until, *switches])
        return (None, total, 0.0 if supplier in opened else most)

    model.expansion_limit = Constraint(keys, rule=limit)


def _by_supplier(suppliers: Ints) -> dict[int, list[int]]:
    """Supplier -> its entries."""
    found: dict[int, list[int]] = {}
    for entry, supplier in enumerate(suppliers.tolist()):
        found.setdefault(supplier, []).append(entry)
    return found


def opened_once(model: BlockData, layout: Layout) -> None:
    """A supplier is opened at most once: sum of o <= 1."""
    opened = _by_supplier(layout.opened_supplier)

    def limit(_: BlockData, supplier: int) -> object:
        switches = [model.opened[o] for o in opened[supplier]]
        total = LinearExpression(constant=0.0, linear_coefs=[1.0] * len(switches), linear_vars=switches)
        return (None, total, 1.0)

    model.opened_once = Constraint(list(opened), rule=limit)


def stock_balance(model: BlockData, layout: Layout) -> None:
    """Stock at year end = at its start + calendar years that the year stands for * (built - drawn), t."""
    spans, opening = layout.case.spans, layout.case.stock["opening_t"].tolist()
    place, year = layout.stock_place.tolist(), layout.stock_year.tolist()

    def balance(_: BlockData, i: int) -> object:
        span = float(spans[year[i]])
        variables = [model.stock[i], model.built[i], model.drawn[i]]
        coefficients = [1.0, -span, span]
        if year[i] > 0:
            variables.append(model.stock[i - 1])
            coefficients.append(-1.0)
        start = float(opening[place[i]]) if year[i] == 0 else 0.0
        expression = LinearExpression(constant=0.0, linear_coefs=coefficients, linear_vars=variables)
        return (start, expression, start)

    model.stock_balance = Constraint(range(len(place)), rule=balance)


def closing_stock(model: BlockData, layout: Layout) -> None:
    """At the end of the last horizon year at least closing_min_t is in stock, t."""
    least, place = layout.case.stock["closing_min_t"].tolist(), layout.stock_place.tolist()
    last = len(layout.case.years) - 1
    ends = [i for i, at in enumerate(layout.stock_year.tolist()) if at == last and least[place[i]] > 0]

    def limit(_: BlockData, i: int) -> object:
        return (float(least[place[i]]), model.stock[i], None)

    model.closing_stock = Constraint(ends, rule=limit)
