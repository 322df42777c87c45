"""The named list of costs: the objective is its weighted sum, the cost report is the same list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.case import Case, Floats
from models.lanes import Ints
from models.layout import Layout

COSTS = (
    "production", "credit", "floor", "freight", "duty", "collection", "fixed", "capital", "grant", "holding",
    "substitution", "shortage",
)  # fmt: skip

# Decided before anything happens, and paid whatever happens; the other families are paid as delivered.
FIRST_STAGE = ("fixed", "capital", "grant", "holding")


@dataclass(frozen=True)
class CostVector:
    """One cost family as entries: USD (of price_base_year, undiscounted) in ``year`` per unit of ``columns``.

    ``usd_per_unit`` is what buyers pay, ``public_usd_per_unit`` what the public pays (MATHS.md, Public cost). A column
    has an entry for each horizon year in which it costs anything: an expansion for each in which it is usable.
    """

    columns: Ints
    year: Ints
    usd_per_unit: Floats
    public_usd_per_unit: Floats


def cost_vectors(layout: Layout) -> dict[str, CostVector]:
    """Every cost family of the case, in the order of COSTS.

    production: cost_usd_per_t of the year. credit, floor: what supports change of it. freight, duty: of the lane,
    duty ad valorem on the material's reference price. collection: of the pool. fixed: per year of use. capital:
    annuities of expansions and openings. grant: the part of them that the public pays. holding: of stock at the end
    of the year. substitution: of requirement done without. shortage: price of a missing tonne.
    """
    case = layout.case
    suppliers, lanes = case.suppliers, case.lanes
    price = case.materials["price_usd_per_t"].to_numpy(dtype=float)
    collection = np.zeros(layout.sizes["draw"])
    inputs = suppliers["input"].to_numpy()
    for place, (supplier, year) in enumerate(zip(layout.draw_supplier, layout.draw_year, strict=True)):
        collection[place] = case.pools[inputs[supplier]][1][year]
    used = layout.production_supplier[layout.used_production]
    capital, grant = _capital(layout)
    credit, floor = _supports(layout)
    return {
        "production": _yearly(
            layout, "production", case.by_year("cost_usd_per_t")[layout.production_supplier, layout.production_year]
        ),
        "credit": credit,
        "floor": floor,
        "freight": _yearly(layout, "flow", lanes.freight_usd_per_t[layout.flow_lane, layout.flow_year]),
        "duty": _yearly(
            layout, "flow", lanes.duty_share[layout.flow_lane, layout.flow_year] * price[layout.flow_material]
        ),
        "collection": _yearly(layout, "draw", collection),
        "fixed": _yearly(layout, "used", suppliers["fixed_usd_per_y"].to_numpy(dtype=float)[used]),
        "capital": capital,
        "grant": grant,
        "holding": _yearly(layout, "stock", case.stock["hold_usd_per_t_y"].to_numpy(dtype=float)[layout.stock_place]),
        "substitution": _yearly(
            layout, "substituted", case.substitution["usd_per_t"].to_numpy(dtype=float)[layout.substituted_step]
        ),
        "shortage": _yearly(
            layout, "shortage", case.demand["shortage_usd_per_t"].to_numpy(dtype=float)[layout.shortage_demand]
        ),
    }


def _yearly(layout: Layout, family: str, usd: Floats) -> CostVector:
    """A cost that buyers pay in the year of the quantity itself, on every entry of its family."""
    columns = layout.columns(family)
    return CostVector(columns, layout.column_year[columns], usd, np.zeros(len(columns)))


def _capital(layout: Layout) -> tuple[CostVector, CostVector]:
    """Annuities of expansions (per t) and openings, in each horizon year in which they are usable; and their grants."""
    growth = layout.growth
    parts = []
    for family, supplier, year, usd in (
        ("expansion", layout.expansion_supplier, layout.expansion_year, growth.capex_usd_per_t),
        ("opened", layout.opened_supplier, layout.opened_year, growth.open_usd),
    ):
        entry, owed = np.nonzero(growth.owed[supplier, year])
        yearly = (usd * growth.annuity)[supplier[entry]]
        grant = growth.grant[supplier[entry], year[entry]]
        parts.append((layout.offsets[family] + entry, owed, yearly, yearly * grant))
    columns, owed, yearly, granted = (np.concatenate(part) for part in zip(*parts, strict=True))
    some = granted != 0
    return (
        CostVector(columns, owed, yearly, np.zeros(len(columns))),
        CostVector(columns[some], owed[some], -granted[some], granted[some]),
    )


def _supports(layout: Layout) -> tuple[CostVector, CostVector]:
    """Production credits, and price floors as contracts for difference; only where a supplier has one.

    credit = credit_share * cost (where that is above 0) + credit_usd_per_t: buyers pay so much less, the public so
    much. A floor F above the reference price P pays F - P per tonne. With it the supplier sells at P if that covers
    its cost: what buyers pay falls by as much, but not below P. Who pays F - P is stated by floor_paid_by.
    """
    case = layout.case
    at = layout.production_supplier, layout.production_year
    credit, paid, relief = supports(case, at, case.by_year("cost_usd_per_t")[at])
    by_public = (case.suppliers["floor_paid_by"] == "public").to_numpy()[at[0]]
    columns, year = layout.columns("production"), layout.production_year
    given, floored = credit != 0, paid > 0
    return (
        CostVector(columns[given], year[given], -credit[given], credit[given]),
        CostVector(columns[floored], year[floored], np.where(by_public, -relief, paid - relief)[floored],
                   np.where(by_public, paid, 0.0)[floored]),
    )  # fmt: skip


def supports(case: Case, at: Any, cost: Floats) -> tuple[Floats, Floats, Floats]:
    """Per tonne of suppliers and years (places ``at`` of a suppliers x years array) at a cost: the credit, what a floor
    pays, and how far it relieves the buyers.
    """
    credit = case.by_year("credit_share")[at] * np.maximum(cost, 0.0) + case.by_year("credit_usd_per_t")[at]
    price = case.suppliers["material"].map(case.materials["price_usd_per_t"]).to_numpy(dtype=float)[at[0]]
    paid = np.maximum(np.nan_to_num(case.by_year("floor_usd_per_t")[at]) - price, 0.0)
    return credit, paid, np.minimum(paid, np.maximum(cost - credit - price, 0.0))


def buyers_pay(case: Case, supplier: int, at: int, cost: float) -> float:
    """What buyers pay for a tonne of a supplier at a cost, with its credit and its floor, in a horizon year."""
    credit, paid, relief = (float(part[0]) for part in supports(case, ([supplier], [at]), np.array([cost])))
    public = case.suppliers["floor_paid_by"].iloc[supplier] == "public"
    return cost - credit - relief + (0.0 if public else paid)


@dataclass(frozen=True)
class CostEntries:
    """All cost families one after the other; ``family`` is the place in COSTS."""

    family: Ints
    columns: Ints
    year: Ints
    usd_per_unit: Floats
    public_usd_per_unit: Floats

    def per_year(self, usd_per_unit: Floats, x: Floats, years: int) -> Floats:
        """USD in each horizon year at the columns' values, of ``usd_per_unit`` or ``public_usd_per_unit``."""
        return np.bincount(self.year, weights=usd_per_unit * x[self.columns], minlength=years).astype(float)


def cost_entries(layout: Layout) -> CostEntries:
    """Every cost of every column in every year in which it is owed."""
    vectors = cost_vectors(layout)
    family = [np.full(len(vector.columns), COSTS.index(name)) for name, vector in vectors.items()]
    parts = [
        np.concatenate([getattr(vector, name) for vector in vectors.values()])
        for name in ("columns", "year", "usd_per_unit", "public_usd_per_unit")
    ]
    return CostEntries(np.concatenate(family), *parts)


def objective(layout: Layout) -> Floats:
    """Discounted cost to buyers of one unit of every column: contract 1.1, weight of each year times its cost."""
    entries = cost_entries(layout)
    weighted = entries.usd_per_unit * layout.case.weights[entries.year]
    return np.bincount(entries.columns, weights=weighted, minlength=layout.width).astype(float)


def delivered_objective(layout: Layout) -> Floats:
    """The part of ``objective`` that is paid as delivered: without the families of FIRST_STAGE."""
    entries = cost_entries(layout)
    kept = ~np.isin(entries.family, [COSTS.index(name) for name in FIRST_STAGE])
    weighted = entries.usd_per_unit[kept] * layout.case.weights[entries.year[kept]]
    return np.bincount(entries.columns[kept], weights=weighted, minlength=layout.width).astype(float)


def purchase_objective(layout: Layout) -> Floats:
    """Discounted cost_usd_per_t of each production entry: what a cost multiple of a disruption multiplies."""
    at = layout.production_supplier, layout.production_year
    return np.asarray(layout.case.by_year("cost_usd_per_t")[at] * layout.case.weights[layout.production_year])


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
