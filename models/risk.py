"""Disruption in Pyomo: tagged flows (provenance), and a copy of the network for every loss (survive)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pyomo.core import Block, Constraint, NonNegativeReals, Var
from pyomo.core.base.block import BlockData
from pyomo.core.expr.numeric_expr import LinearExpression

from models import network
from models.disruptions import Loss, available_share
from models.layout import Layout
from models.responses import stock_at_hand
from models.rule_rows import RuleRow
from models.trails import FAMILIES, TrailRow, trail_system


def provenance(model: BlockData, layout: Layout, rows: Sequence[RuleRow], columns: Sequence[object]) -> None:
    """Variable touched: the tonnes of a flow that passed through a selected supplier, for each rule and year.

    touched_at_most: touched <= flow. touched_passed_on: what leaves touched = recovery * what came touched.
    clean_byproduct: clean by-product taken is at most what clean batches make.
    provenance_row: touched tonnes delivered <= max * tonnes delivered.
    """
    tags, found = trail_system(layout, rows)
    model.touched = Var(tags, domain=NonNegativeReals)
    known = [*columns, *model.touched.values(), model.unmet]  # -1: the last
    by_family: dict[str, dict[tuple[int, ...] | int, TrailRow]] = {family: {} for family in FAMILIES}
    for row in found:
        by_family[row.family][row.index] = row
    for family, listed in by_family.items():

        def hold(_: BlockData, *index: int, listed: dict[tuple[int, ...] | int, TrailRow] = listed) -> object:
            row = listed[index if len(index) > 1 else index[0]]
            expression = LinearExpression(
                constant=0.0, linear_coefs=row.terms.coefficients.tolist(),
                linear_vars=[known[c] for c in row.terms.columns.tolist()],
            )  # fmt: skip
            return (None if row.low == -np.inf else row.low, expression, row.high)

        model.add_component(family, Constraint(list(listed), rule=hold))


def response_layout(layout: Layout, at: int) -> Layout:
    """One year of a layout as a response sees it: no minimum, lot or shortage; what limits production is a row."""
    entries = {family: np.flatnonzero(layout.year_of(family) == at) for family in ("production", "flow", "draw")}
    none = dict.fromkeys(("shortage", "used", "built", "drawn", "substituted"), np.zeros(0, dtype=np.int64))
    one = layout.one_year(
        {**entries, **none}, np.flatnonzero(layout.requirement_year == at),
        np.flatnonzero(layout.pool_year == at),
    )  # fmt: skip
    free = np.full(len(entries["production"]), np.inf)
    return replace(one, production_lower_t=np.zeros(len(free)), production_upper_t=free)


def survive(model: BlockData, layout: Layout, rows: Sequence[RuleRow]) -> None:
    """survive: a copy of the network (block ``response``) for each rule, year and loss, all in the one program.

    In each copy production leaves, inputs arrive, by-products and pools hold; response_at_most ties what a
    supplier makes to the plan; still_served is what every market must receive.
    """
    groups: dict[tuple[str, int], list[RuleRow]] = defaultdict(list)
    for row in rows:
        if row.kind == "survive":
            groups[row.rule, row.year].append(row)
    keys = [(group, place) for group, listed in enumerate(groups.values()) for place in range(len(listed[0].losses))]
    model.response = Block(keys)
    for group, listed in enumerate(groups.values()):
        for place, loss in enumerate(listed[0].losses):
            _response(model, model.response[group, place], layout, listed, loss)


def _response(model: BlockData, copy: BlockData, layout: Layout, rows: Sequence[RuleRow], loss: Loss) -> None:
    at = layout.case.years.index(rows[0].year)
    part = response_layout(layout, at)
    network.quantities(copy, part)
    network.production_leaves(copy, part)
    network.inputs_arrive(copy, part)
    network.byproduct_made(copy, part)
    network.pool_available(copy, part)
    response_at_most(model, copy, layout, at, loss)
    still_served(model, copy, layout, part, at, rows)


def response_at_most(model: BlockData, copy: BlockData, layout: Layout, at: int, loss: Loss) -> None:
    """Each supplier makes at most a * (q + surge_share * (capacity - q)), a what the loss leaves of it, capacity
    with what is usable of expansions.
    """
    case = layout.case
    entries = np.flatnonzero(layout.production_year == at).tolist()
    left = available_share(case, loss, case.years[at])
    surge = case.suppliers["surge_share"].to_numpy(dtype=float)
    grown: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for entry, expansion, part in zip(*(vector.tolist() for vector in layout.grown), strict=True):
        grown[entry].append((expansion, part))

    def limit(_: BlockData, p: int) -> object:
        entry = entries[p]
        s = int(layout.production_supplier[entry])
        share, called = float(left[s]), float(surge[s])
        used = LinearExpression(
            constant=0.0,
            linear_coefs=[1.0, -share * (1 - called), *(-share * called * part for _, part in grown[entry])],
            linear_vars=[copy.production[p], model.production[entry], *(model.expansion[e] for e, _ in grown[entry])],
        )  # fmt: skip
        return (None, used, share * called * float(layout.production_capacity_t[entry]))

    copy.response_at_most = Constraint(range(len(entries)), rule=limit)


def still_served(
    model: BlockData, copy: BlockData, layout: Layout, part: Layout, at: int, rows: Sequence[RuleRow]
) -> None:
    """Every market of the rule receives at least serve * required_t of each of its materials, from suppliers or from
    stock. stock_counts: from stock at most what was there at the start of the year * 12 / months, and draw_max_t.
    """
    case = part.case
    required = {(int(k), int(m)): float(t) for k, m, t in
                zip(part.requirement_market, part.requirement_material, part.requirement_t, strict=True)}  # fmt: skip
    flows: dict[tuple[int, int], list[int]] = defaultdict(list)
    for f, to in enumerate((part.flow_destination - len(case.suppliers)).tolist()):
        if to >= 0:
            flows[to, int(part.flow_material[f])].append(f)
    markets = list(case.markets)
    serve = {(markets.index(market), part.material_code[row.material]): row.limit
             for row in rows for market in row.markets}  # fmt: skip
    stock = stock_at_hand(layout)
    behind = {}
    for i, r in enumerate(stock.requirement.tolist()):
        key = int(layout.requirement_market[r]), int(layout.requirement_material[r])
        if layout.requirement_year[r] == at and key in serve:
            behind[key] = i
    copy.unmet = Var(bounds=(0.0, 0.0))
    most = {key: None if np.isinf(stock.draw_max_t[i]) else float(stock.draw_max_t[i]) for key, i in behind.items()}
    copy.from_stock = Var(list(behind), domain=NonNegativeReals, bounds=lambda _, *key: (0.0, most[key]))

    def counts(_: BlockData, k: int, m: int) -> object:
        i = behind[k, m]
        column, times = int(stock.column[i]), 12.0 / rows[0].months
        if column < 0:
            return (None, copy.from_stock[k, m], times * float(stock.opening_t[i]))
        return (None, copy.from_stock[k, m] - times * model.stock[column - layout.offsets["stock"]], 0.0)

    def served(_: BlockData, k: int, m: int) -> object:
        received = [copy.flow[f] for f in flows.get((k, m), ())]
        received += [copy.from_stock[k, m]] if (k, m) in behind else []
        received = received or [copy.unmet]
        total = LinearExpression(constant=0.0, linear_coefs=[1.0] * len(received), linear_vars=received)
        return (serve[k, m] * required[k, m], total, None)

    copy.stock_counts = Constraint(list(behind), rule=counts)
    copy.still_served = Constraint([key for key in required if key in serve], rule=served)
