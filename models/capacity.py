"""Lots, fixed charges and the status quo in Pyomo: when a supplier is used at all."""

from __future__ import annotations

import numpy as np
from pyomo.core import Binary, Constraint, NonNegativeReals, Var
from pyomo.core.base.block import BlockData

from models.case import Floats
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
