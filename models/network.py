"""The network in Pyomo: production, conversion, balances and demand; one function a constraint family.

Sets and symbols are those of MATHS.md. Variables are indexed by their entry in the layout, so that a
compiled column and an entry of a vector are the same number.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pyomo.core import Constraint, NonNegativeReals, Var
from pyomo.core.base.block import BlockData
from pyomo.core.expr.numeric_expr import LinearExpression

from models.lanes import Ints
from models.layout import Layout


def quantities(model: BlockData, layout: Layout) -> None:
    """Variables: production q, flow x, draw d, shortage z, built b, drawn w, substituted v, all in tonnes a year.

    q within [min_t, capacity_t and all that can be usable of expansions] of an active supplier; x at most max_t of
    its lane; z at most what its sector requires; b and w within the rates of their stock; v within its step.
    """
    lower, upper = layout.lower_t.tolist(), [None if u == np.inf else u for u in layout.upper_t.tolist()]
    for family in ("production", "flow", "draw", "shortage", "built", "drawn", "substituted"):
        start, size = layout.offsets[family], layout.sizes[family]
        bounds = list(zip(lower[start : start + size], upper[start : start + size], strict=True))
        variable = Var(range(size), domain=NonNegativeReals, bounds=lambda _, i, known=bounds: known[i])
        model.add_component(family, variable)


def _grouped(keys: Ints, count: int) -> list[list[int]]:
    """Entry numbers by key, for keys 0..count-1."""
    order = np.argsort(keys, kind="stable")
    edges = np.searchsorted(keys[order], np.arange(count + 1))
    listed = order.tolist()
    return [listed[edges[k] : edges[k + 1]] for k in range(count)]


def _sum(*terms: tuple[float, Iterable[object]]) -> LinearExpression:
    coefficients: list[float] = []
    variables: list[object] = []
    for coefficient, listed in terms:
        before = len(variables)
        variables.extend(listed)
        coefficients.extend([coefficient] * (len(variables) - before))
    return LinearExpression(constant=0.0, linear_coefs=coefficients, linear_vars=variables)


def entry_of(layout: Layout) -> Ints:
    """Production entry of each (supplier, year), -1 where it cannot produce; shape (suppliers, years)."""
    found = np.full((len(layout.case.suppliers), len(layout.case.years)), -1, dtype=np.int64)
    found[layout.production_supplier, layout.production_year] = np.arange(layout.sizes["production"])
    return found


def production_leaves(model: BlockData, layout: Layout) -> None:
    """What a supplier produces leaves on lanes: sum of x out (main material) = q, t a year.

    Nothing is lost or thrown away; a supplier without a useful lane can only make nothing.
    """
    entry = entry_of(layout)
    main = np.flatnonzero(~layout.case.lanes.is_byproduct[layout.flow_lane])
    leaving = entry[layout.flow_origin[main], layout.flow_year[main]]
    groups = _grouped(leaving, layout.sizes["production"])
    q, x, main_list = list(model.production.values()), list(model.flow.values()), main.tolist()

    def balance(_: BlockData, p: int) -> object:
        return (0.0, _sum((1.0, [x[main_list[f]] for f in groups[p]]), (-1.0, [q[p]])), 0.0)

    model.production_leaves = Constraint(range(len(q)), rule=balance)


def inputs_arrive(model: BlockData, layout: Layout) -> None:
    """What a supplier consumes arrives on lanes or from the pool: sum of x in + d = q / recovery, t a year."""
    case, entry = layout.case, entry_of(layout)
    inner = np.flatnonzero(layout.flow_destination < len(case.suppliers))
    arriving = entry[layout.flow_destination[inner], layout.flow_year[inner]]
    groups = _grouped(arriving, layout.sizes["production"])
    draws = _grouped(entry[layout.draw_supplier, layout.draw_year], layout.sizes["production"])
    q, x, d = (list(getattr(model, name).values()) for name in ("production", "flow", "draw"))
    inner_list = inner.tolist()
    recovery = case.suppliers["recovery"].to_numpy(dtype=float)[layout.production_supplier].tolist()
    consuming = np.flatnonzero((case.suppliers["input"] != "").to_numpy()[layout.production_supplier])

    def balance(_: BlockData, p: int) -> object:
        received = [x[inner_list[f]] for f in groups[p]] + [d[i] for i in draws[p]]
        return (0.0, _sum((1.0, received), (-1.0 / recovery[p], [q[p]])), 0.0)

    model.inputs_arrive = Constraint(consuming.tolist(), rule=balance)


def byproduct_made(model: BlockData, layout: Layout) -> None:
    """By-product taken is at most what is made with the main one: sum of x out <= t_per_t * q, t a year.

    What nobody takes is discarded free and counts nowhere.
    """
    case, entry = layout.case, entry_of(layout)
    second = np.flatnonzero(case.lanes.is_byproduct[layout.flow_lane])
    making = entry[layout.flow_origin[second], layout.flow_year[second]]
    flows: dict[tuple[int, int], list[int]] = {}
    for f, p in zip(second.tolist(), making.tolist(), strict=True):
        flows.setdefault((p, int(layout.flow_material[f])), []).append(f)
    names = case.suppliers["supplier"].to_numpy()
    code = layout.material_code
    ratio = {(s, code[m]): t_per_t for s, made in case.byproducts.items() for m, t_per_t in made}

    def limit(_: BlockData, p: int, material: int) -> object:
        made = ratio[names[layout.production_supplier[p]], material]
        taken = [model.flow[f] for f in flows[p, material]]
        return (None, _sum((1.0, taken), (-made, [model.production[p]])), 0.0)

    model.byproduct_made = Constraint(list(flows), rule=limit)


def pool_available(model: BlockData, layout: Layout) -> None:
    """All recyclers of a feedstock together draw at most what is available: sum of d <= available_t."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, key in enumerate(zip(layout.draw_material.tolist(), layout.draw_year.tolist(), strict=True)):
        groups.setdefault(key, []).append(i)
    pools = zip(layout.pool_material.tolist(), layout.pool_year.tolist(), strict=True)
    available = dict(zip(pools, layout.pool_t.tolist(), strict=True))

    def limit(_: BlockData, material: int, year: int) -> object:
        drawn = [model.draw[i] for i in groups[material, year]]
        return (None, _sum((1.0, drawn)), available[material, year])

    model.pool_available = Constraint(list(available), rule=limit)


def requirement_met(model: BlockData, layout: Layout) -> None:
    """A market receives exactly its requirement, less the shortage paid for and what is substituted, plus what goes
    into stock, less what is drawn from it: sum of x in + z + v + w - b = required_t.
    """
    case = layout.case
    market = layout.flow_destination - len(case.suppliers)
    inward = np.flatnonzero(market >= 0)
    built, drawn = layout.built_place, layout.drawn_place
    parts = {
        "flow": (inward, market[inward], layout.flow_material[inward], layout.flow_year[inward]),
        "shortage": (None, layout.shortage_market, layout.shortage_material, layout.shortage_year),
        "substituted": (None, layout.substituted_market, layout.substituted_material, layout.substituted_year),
        "drawn": (None, layout.stock_market[drawn], layout.stock_material[drawn], layout.drawn_year),
        "built": (None, layout.stock_market[built], layout.stock_material[built], layout.built_year),
    }
    received: dict[tuple[int, int, int], list[object]] = {}
    stored: dict[tuple[int, int, int], list[object]] = {}
    for family, (entries, *keys) in parts.items():
        variables = getattr(model, family)
        numbers = range(layout.sizes[family]) if entries is None else entries.tolist()
        into = stored if family == "built" else received
        for i, key in zip(numbers, zip(*(part.tolist() for part in keys), strict=True), strict=True):
            into.setdefault(key, []).append(variables[i])
    keys_of = zip(layout.requirement_market.tolist(), layout.requirement_material.tolist(),
                  layout.requirement_year.tolist(), strict=True)  # fmt: skip
    required = dict(zip(keys_of, layout.requirement_t.tolist(), strict=True))

    def balance(_: BlockData, market: int, material: int, year: int) -> object:
        key = market, material, year
        total = required[key]
        if key not in received and key not in stored:  # a row without columns would be lost in compiling
            return (total, _sum((1.0, [model.unmet])), total)
        return (total, _sum((1.0, received.get(key, ())), (-1.0, stored.get(key, ()))), total)

    model.unmet = Var(bounds=(0.0, 0.0))
    model.requirement_met = Constraint(list(required), rule=balance)
