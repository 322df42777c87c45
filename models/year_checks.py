"""Checks of what spans years: stock, substitution, expansions that never become usable, price floors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.expansion import find_growth
from models.problems import Problems

if TYPE_CHECKING:
    from models.case import Case


def check_years(case: Case, problems: Problems) -> None:
    """Every problem and warning of stock.csv, substitution.csv, expansions and supports."""
    _stock(case, problems)
    _substitution(case, problems)
    _floors(case, problems)
    _expansions(case, problems)


def _stock(case: Case, problems: Problems) -> None:
    file = "tables/stock.csv"
    for row in case.tables["stock"].to_dict("records"):
        if row["material"] not in case.markets.get(row["market"], ()) and not problems.partial:
            message = f"the market {row['market']} does not require {row['material']}: demand.csv has no row of it"
            problems.add(file, message, row["row"], "material", row["material"])
        for column in ("opening_t", "closing_min_t"):
            if row[column] > row["max_t"]:
                problems.add(file, f"above max_t {row['max_t']:g}", row["row"], column, f"{row[column]:g}")


def _substitution(case: Case, problems: Problems) -> None:
    file, table = "tables/substitution.csv", case.tables["substitution"]
    required = set(case.delivered_materials())
    for name in sorted(set(table["material"]) - required):
        row = table.loc[table["material"] == name, "row"].iloc[0]
        if not problems.partial:
            problems.add(file, "no market requires it: demand.csv has no row of it", row, "material", name)
    steps = case.substitution.groupby(["material", "year"], as_index=False)[["max_share"]].sum()
    steps = steps.sort_values("max_share", ascending=False).drop_duplicates("material").sort_values("material")
    for name, share in zip(steps["material"], steps["max_share"], strict=True):
        if share > 1 + 1e-9:
            row = table.loc[table["material"] == name, "row"].iloc[-1]
            message = f"the steps of {name} add up to {share:g} of its requirement: at most 1"
            problems.add(file, message, row, "max_share")


def _floors(case: Case, problems: Problems) -> None:
    file, table = "tables/suppliers.csv", case.suppliers
    floor = np.nan_to_num(case.by_year("floor_usd_per_t")).max(axis=1, initial=0.0)
    price = table["material"].map(case.materials["price_usd_per_t"]).to_numpy(dtype=float)
    for place in np.flatnonzero(floor > 0).tolist():
        row = table.iloc[place]
        if not row["floor_paid_by"]:
            message = f"{row['supplier']} has a price floor: say who pays the difference, public or buyers"
            problems.add(file, message, row["row"], "floor_paid_by")
        if price[place] <= 0:
            message = f"paid against price_usd_per_t of {row['material']}, and materials.csv gives none"
            problems.add(file, message, row["row"], "floor_usd_per_t", f"{floor[place]:g}")


def _expansions(case: Case, problems: Problems) -> None:
    table = case.suppliers
    growth = find_growth(case)
    useful = (growth.usable > 0) & case.active[:, None, :]
    last = case.years[-1]
    for supplier in np.flatnonzero((growth.limit_t > 0) & ~useful.any(axis=(1, 2))).tolist():
        row = table.iloc[supplier]
        if not growth.owed[supplier].any():
            ready = case.years[0] + row["lead_years"]
            why = f"ready in {ready:g} at the earliest, and the last horizon year is {last}" if ready > last else (
                f"no horizon year falls in its life of {row['life_years']:g} years"
            )  # fmt: skip
            problems.warn(f"supplier {row['supplier']}: its expansion never becomes usable ({why})")
        else:
            problems.warn(
                f"supplier {row['supplier']}: its expansion is usable only in years in which it cannot produce "
                "(from_year, to_year)"
            )
    idle = (table["max_expansion_t"] == 0) & ((table["capex_usd_per_t"] > 0) | (table["open_usd"] > 0))
    for name in table.loc[idle, "supplier"]:
        problems.warn(f"supplier {name}: capital is given, but max_expansion_t is not, so nothing can be added")
