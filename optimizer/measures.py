"""The tidy tables of a plan, measured once from the values of its quantities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from models.case import Floats
from models.costs import COSTS, cost_entries, cost_minerals, cost_vectors
from models.layout import Layout
from models.rule_rows import RuleRow
from optimizer.plan import JSON_TABLES
from optimizer.tonnage import SMALLEST_T as SMALLEST_T
from optimizer.tonnage import Tonnage
from optimizer.two_stage_measures import Weighed, nothing_weighed
from optimizer.year_measures import (
    capacity_table,
    expansion_table,
    project_table,
    stock_table,
    substitution_table,
    usable_t,
)

SURVIVAL, RESILIENCE = JSON_TABLES["survival"], JSON_TABLES["resilience"]


def supplier_table(layout: Layout, x: Floats) -> pd.DataFrame:
    """Every supplier in every year: produced_t (0 below 1e-6 t), capacity_t (with what is usable of expansions)."""
    case = layout.case
    years, count = np.array(case.years), len(case.suppliers)
    produced = np.zeros((count, len(years)))
    values = x[layout.columns("production")]
    produced[layout.production_supplier, layout.production_year] = np.where(values < SMALLEST_T, 0.0, values)
    capacity = np.where(case.active, case.by_year("capacity_t") + usable_t(layout, x), 0.0)
    keys = ["supplier", "name", "country", "controller", "channel", "mineral", "material", "stage"]
    table = case.suppliers[keys].loc[np.repeat(np.arange(count), len(years))].reset_index(drop=True)
    table["year"] = np.tile(years, count)
    table["produced_t"] = produced.ravel()
    table["capacity_t"] = capacity.ravel()
    table["cost_usd_per_t"] = case.by_year("cost_usd_per_t").ravel()
    return table


def flow_table(layout: Layout, x: Floats) -> pd.DataFrame:
    """Flows of 1e-6 t or more, draws on pools as origin feedstock:MATERIAL, with what each costs in USD."""
    case, lanes = layout.case, layout.case.lanes
    names = np.array([*case.suppliers["supplier"], *case.markets], dtype=object)
    materials = case.materials["material"].to_numpy()
    vectors = cost_vectors(layout)
    years = np.array(case.years)
    flows = x[layout.columns("flow")]
    kept = np.flatnonzero(flows >= SMALLEST_T)
    table = pd.DataFrame({
        "origin": names[layout.flow_origin[kept]], "destination": names[layout.flow_destination[kept]],
        "material": materials[layout.flow_material[kept]], "year": years[layout.flow_year[kept]], "t": flows[kept],
        "freight_usd_per_y": (vectors["freight"].usd_per_unit * flows)[kept],
        "duty_usd_per_y": (vectors["duty"].usd_per_unit * flows)[kept],
        "byproduct": lanes.is_byproduct[layout.flow_lane[kept]],
    })  # fmt: skip
    draws = x[layout.columns("draw")]
    kept = np.flatnonzero(draws >= SMALLEST_T)
    pools = materials[layout.draw_material[kept]]
    drawn = pd.DataFrame({
        "origin": np.array([f"feedstock:{material}" for material in pools], dtype=object),
        "destination": names[layout.draw_supplier[kept]], "material": pools, "year": years[layout.draw_year[kept]],
        "t": draws[kept], "freight_usd_per_y": 0.0, "duty_usd_per_y": 0.0, "byproduct": False,
    })  # fmt: skip
    return pd.concat([table, drawn], ignore_index=True) if len(drawn) else table


def shortage_table(layout: Layout, x: Floats) -> pd.DataFrame:
    """Requirement that is not met and paid for, by market, sector, material and year."""
    values = x[layout.columns("shortage")]
    kept = np.flatnonzero(values >= SMALLEST_T)
    table = layout.case.demand.iloc[layout.shortage_demand[kept]][
        ["market", "sector", "material", "year", "required_t", "shortage_usd_per_t"]
    ].reset_index(drop=True)
    table["t"] = values[kept]
    return table


def cost_table(layout: Layout, x: Floats) -> pd.DataFrame:
    """Undiscounted cost by family, mineral and year, USD a year: what buyers pay (adds up to cost_usd_per_y), and
    what the public pays.
    """
    entries, minerals = cost_entries(layout), cost_minerals(layout)
    value = x[entries.columns]
    usd, public = entries.usd_per_unit * value, entries.public_usd_per_unit * value
    paid = np.flatnonzero((usd != 0) | (public != 0))
    every = pd.DataFrame({
        "cost": np.array(COSTS, dtype=object)[entries.family[paid]], "mineral": minerals[entries.columns[paid]],
        "year": np.array(layout.case.years)[entries.year[paid]], "usd_per_y": usd[paid],
        "public_usd_per_y": public[paid],
    })  # fmt: skip
    table = every.groupby(["cost", "mineral", "year"], as_index=False)[["usd_per_y", "public_usd_per_y"]].sum()
    table = table[(table["usd_per_y"] != 0) | (table["public_usd_per_y"] != 0)]
    order = {name: place for place, name in enumerate(COSTS)}
    return table.sort_values(["cost", "mineral", "year"], key=lambda c: c.map(order) if c.name == "cost" else c,
                             ignore_index=True)  # fmt: skip


def rule_table(
    layout: Layout, rows: list[RuleRow], x: Floats, prices: dict[int, float] | None,
    found_apart: Mapping[int, tuple[float, str]] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Every row of the rules: value against limit, whether it binds, and its price in USD per 1.00 of limit.

    ``found_apart``: row -> value and member, of rows that take a program of their own.
    """
    weights = dict(zip(layout.case.years, layout.case.weights, strict=True))
    found = []
    for number, row in enumerate(rows):
        value, member = (found_apart or {}).get(number) or (row.value(x), row.member)
        gap = abs(value - row.limit)
        price = None if prices is None else prices.get(number, 0.0) / weights[row.year] + 0.0
        found.append({
            "rule": row.rule, "kind": row.kind, "bound": row.bound, "stage": row.stage, "mineral": row.mineral,
            "material": row.material, "member": member, "year": row.year, "value": value, "limit": row.limit,
            "binding": bool(gap <= 1e-6 * max(abs(row.limit), 1e-3)),
            "price_usd_per_y": None if price is None or not np.isfinite(price) else price,
            "denominator": row.denominator,
        })  # fmt: skip
    columns = ["rule", "kind", "bound", "stage", "mineral", "material", "member", "year", "value", "limit", "binding",
               "price_usd_per_y", "denominator"]  # fmt: skip
    return pd.DataFrame(found, columns=columns)


def tables_of(
    layout: Layout, rows: list[RuleRow], x: Floats, prices: dict[int, float] | None,
    found_apart: Mapping[int, tuple[float, str]] | None = None, survival: pd.DataFrame | None = None,
    weighed: Weighed | None = None,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """All tables of a plan but ``resilience``, which is empty here (``resilience_table`` measures it from the others).

    ``found_apart`` and ``survival``: from ``risk_measures.risk_values``; ``weighed``: from
    ``two_stage_measures.weigh``, where disruptions are weighed.
    """
    weighed = nothing_weighed() if weighed is None else weighed
    tonnage = Tonnage(layout)
    mix = tonnage.measure(x)
    suppliers, expansion = supplier_table(layout, x), expansion_table(layout, x)
    expanded = np.where(layout.case.active, usable_t(layout, x), 0.0).ravel()
    return {
        "suppliers": suppliers, "flows": flow_table(layout, x),
        "shares": tonnage.share_table(mix), "risk": tonnage.risk_table(mix),
        "rules": rule_table(layout, rows, x, prices, found_apart), "shortage": shortage_table(layout, x),
        "costs": cost_table(layout, x), "expansion": expansion, "projects": project_table(layout, expansion),
        "capacity": capacity_table(suppliers, expanded), "stock": stock_table(layout, x),
        "substitution": substitution_table(layout, x),
        "survival": pd.DataFrame(columns=list(SURVIVAL)) if survival is None else survival,
        "outcomes": weighed.outcomes, "outcome_shortage": weighed.shortage,
        "resilience": pd.DataFrame(columns=list(RESILIENCE)),
    }  # fmt: skip
