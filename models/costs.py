"""The named list of costs: the objective is its weighted sum, the cost report is the same list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.case import Floats
from models.lanes import Ints
from models.layout import Layout

COSTS = ("production", "freight", "duty", "collection", "fixed", "shortage")


@dataclass(frozen=True)
class CostVector:
    """One cost family: USD (of price_base_year, undiscounted) per unit of each of its columns."""

    columns: Ints
    usd_per_unit: Floats


def cost_vectors(layout: Layout) -> dict[str, CostVector]:
    """Every cost family of the case, in the order of COSTS.

    production: cost_usd_per_t of the year. freight, duty: of the lane, duty ad valorem on the material's
    reference price. collection: of the pool. fixed: per year of use. shortage: price of a missing tonne.
    """
    case = layout.case
    suppliers, lanes = case.suppliers, case.lanes
    price = case.materials["price_usd_per_t"].to_numpy(dtype=float)
    flow = layout.columns("flow")
    collection = np.zeros(layout.sizes["draw"])
    inputs = suppliers["input"].to_numpy()
    for place, (supplier, year) in enumerate(zip(layout.draw_supplier, layout.draw_year, strict=True)):
        collection[place] = case.pools[inputs[supplier]][1][year]
    used = layout.production_supplier[layout.used_production]
    return {
        "production": CostVector(
            layout.columns("production"),
            case.by_year("cost_usd_per_t")[layout.production_supplier, layout.production_year],
        ),
        "freight": CostVector(flow, lanes.freight_usd_per_t[layout.flow_lane, layout.flow_year]),
        "duty": CostVector(flow, lanes.duty_share[layout.flow_lane, layout.flow_year] * price[layout.flow_material]),
        "collection": CostVector(layout.columns("draw"), collection),
        "fixed": CostVector(layout.columns("used"), suppliers["fixed_usd_per_y"].to_numpy(dtype=float)[used]),
        "shortage": CostVector(
            layout.columns("shortage"),
            case.demand["shortage_usd_per_t"].to_numpy(dtype=float)[layout.shortage_demand],
        ),
    }


def usd_per_unit(layout: Layout) -> Floats:
    """Undiscounted cost of one unit of every column, all families together; shape (columns,)."""
    total = np.zeros(layout.width)
    for vector in cost_vectors(layout).values():
        total[vector.columns] += vector.usd_per_unit
    return total


def objective(layout: Layout) -> Floats:
    """Discounted cost of one unit of every column: contract 1.1, weight of the year times its cost."""
    return np.asarray(usd_per_unit(layout) * layout.case.weights[layout.column_year])


def cost_materials(layout: Layout) -> Ints:
    """Code of the material to which each column's cost belongs: made, moved, collected for (what the recycler
    makes), or missing.
    """
    codes = layout.column_material.copy()
    codes[layout.columns("draw")] = layout.supplier_material[layout.draw_supplier]
    return codes


def cost_minerals(layout: Layout) -> npt.NDArray[np.object_]:
    """Mineral to which each column's cost belongs."""
    return np.asarray(layout.case.materials["mineral"].to_numpy(dtype=object)[cost_materials(layout)])
