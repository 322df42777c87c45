"""What a plan builds up over the years: expansions, capacity, projects, stock, substitution as tidy tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.case import Floats
from models.layout import Layout
from optimizer.tonnage import SMALLEST_T


def usable_t(layout: Layout, x: Floats) -> Floats:
    """Tonnes a year of expansions usable in each year; shape (suppliers, years)."""
    growth = layout.growth
    found = np.zeros((len(layout.case.suppliers), len(layout.case.years)))
    parts = growth.usable[layout.expansion_supplier, layout.expansion_year] * x[layout.columns("expansion")][:, None]
    np.add.at(found, layout.expansion_supplier, parts)
    return found


def expansion_table(layout: Layout, x: Floats) -> pd.DataFrame:
    """One row a decision: supplier, year in which it is decided, t, and its annuity in a usable year.

    ``usable_from`` and ``usable_to`` are calendar years, both included (blank: to the end). ``capital_usd`` is
    capex_usd_per_t * t and, where it is opened, open_usd; ``usd_per_y`` the annuity in full, of which
    ``public_usd_per_y`` is the grant.
    """
    case, growth = layout.case, layout.growth
    shape = (len(case.suppliers), len(case.years))
    added, opened = np.zeros(shape), np.zeros(shape, dtype=bool)
    added[layout.expansion_supplier, layout.expansion_year] = x[layout.columns("expansion")]
    opened[layout.opened_supplier, layout.opened_year] = x[layout.columns("opened")] > 0.5
    added[added < SMALLEST_T] = 0.0
    row, at = np.nonzero((added > 0) | opened)
    table = case.suppliers.iloc[row]
    year = np.array(case.years)[at]
    start = year + table["lead_years"].to_numpy(dtype=float)
    capital = added[row, at] * growth.capex_usd_per_t[row] + opened[row, at] * growth.open_usd[row]
    yearly = capital * growth.annuity[row]
    found = pd.DataFrame({
        "supplier": table["supplier"].to_numpy(), "mineral": table["mineral"].to_numpy(),
        "material": table["material"].to_numpy(), "year": year, "t": added[row, at], "opened": opened[row, at],
        "usable_from": np.ceil(start - 1e-9),
        "usable_to": np.ceil(start + table["life_years"].to_numpy(dtype=float) - 1e-9) - 1,
        "capital_usd": capital, "usd_per_y": yearly, "public_usd_per_y": yearly * growth.grant[row, at],
    })  # fmt: skip
    return found.sort_values(["supplier", "year"], ignore_index=True)


def project_table(layout: Layout, expansion: pd.DataFrame) -> pd.DataFrame:
    """Every supplier that may grow: what is decided and when, one row a decision; blank where nothing is."""
    keys = ["supplier", "name", "country", "channel", "mineral", "material", "max_expansion_t", "lead_years"]
    may = layout.case.suppliers.loc[layout.growth.limit_t > 0, keys]
    shown = ["supplier", "year", "t", "opened", "usable_from", "usable_to", "capital_usd", "usd_per_y",
             "public_usd_per_y"]  # fmt: skip
    table = may.merge(expansion[shown].rename(columns={"year": "decided"}), on="supplier", how="left")
    table["t"] = table["t"].fillna(0.0)
    table["opened"] = table["opened"].eq(True)
    return table.sort_values(["decided", "supplier"], ignore_index=True)


def capacity_table(suppliers: pd.DataFrame, expanded: Floats) -> pd.DataFrame:
    """Capacity of each supplier in each year: its own, what is usable of expansions, and how much is used."""
    keys = ["supplier", "name", "country", "channel", "mineral", "material", "stage", "year"]
    table = suppliers[keys].copy()
    table["own_t"] = suppliers["capacity_t"] - expanded
    table["expansion_t"] = expanded
    table["capacity_t"] = suppliers["capacity_t"]
    table["produced_t"] = suppliers["produced_t"]
    capacity = table["capacity_t"].where(table["capacity_t"] > 0)
    table["used_share"] = table["produced_t"] / capacity
    return table[(table["capacity_t"] > 0) | (table["produced_t"] > 0)].reset_index(drop=True)


def stock_table(layout: Layout, x: Floats) -> pd.DataFrame:
    """Stock of each market and material in each year: put in and drawn (net, t a year), and at year end (t).

    ``days`` is the stock at year end in days of the year's requirement; ``book_usd`` the opening stock at its book
    value. A plan that puts in and draws in one year is shown by the difference; where disruptions are weighed in full,
    since a response puts in what the plan does, but draws as it likes.
    """
    case = layout.case
    market, material = (case.stock[name].to_numpy()[layout.stock_place] for name in ("market", "material"))
    end = x[layout.columns("stock")]
    built, drawn = np.zeros(len(end)), np.zeros(len(end))
    if layout.sizes["built"]:
        built, drawn = x[layout.columns("built")], x[layout.columns("drawn")]
    both = np.minimum(built, drawn) if case.settings.risk.weight is None else np.zeros(len(end))
    years = np.array(case.years)[layout.stock_year]
    required = np.array(
        [case.required.get(key, 0.0) for key in zip(market, material, years.tolist(), strict=True)], dtype=float
    )
    opening, value, hold = (
        case.stock[name].to_numpy(dtype=float)[layout.stock_place]
        for name in ("opening_t", "opening_usd_per_t", "hold_usd_per_t_y")
    )
    small = SMALLEST_T
    return pd.DataFrame({
        "market": market, "mineral": case.materials["mineral"].reindex(material).to_numpy(), "material": material,
        "year": years, "built_t": np.where(built - both < small, 0.0, built - both),
        "drawn_t": np.where(drawn - both < small, 0.0, drawn - both), "end_t": np.where(end < small, 0.0, end),
        "days": np.divide(365.0 * np.maximum(end, 0.0), required, out=np.full(len(end), np.nan), where=required > 0),
        "hold_usd_per_y": hold * end, "book_usd": opening * value,
    })  # fmt: skip


def substitution_table(layout: Layout, x: Floats) -> pd.DataFrame:
    """Requirement done without, by market, material, step and year."""
    values = x[layout.columns("substituted")]
    kept = np.flatnonzero(values >= SMALLEST_T)
    step = layout.case.substitution.iloc[layout.substituted_step[kept]]
    markets = np.array(list(layout.case.markets), dtype=object)
    return pd.DataFrame({
        "market": markets[layout.substituted_market[kept]], "material": step["material"].to_numpy(),
        "step": step["step"].to_numpy(), "year": step["year"].to_numpy(), "t": values[kept],
        "usd_per_t": step["usd_per_t"].to_numpy(),
    })  # fmt: skip
