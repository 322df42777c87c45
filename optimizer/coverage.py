"""How large a case is, and how much of it is published, price-based or assumed."""

from __future__ import annotations

import pandas as pd

from models.case import Case
from models.layout import lay_out


def sizes(case: Case) -> dict[str, int]:
    """Counts that tell the size of a case and of its program."""
    layout = lay_out(case)
    return {
        "minerals": case.materials["mineral"].nunique(), "materials": len(case.materials),
        "suppliers": len(case.suppliers), "countries": case.suppliers["country"].nunique(),
        "suppliers that may grow": int((case.suppliers["max_expansion_t"] > 0).sum()),
        "stockpiles": len(case.stock), "steps of substitution": len(case.substitution) // len(case.years),
        "markets": len(case.markets), "years": len(case.years), "rules": len(case.rules),
        "scenarios": len(case.settings.scenarios), "lanes": len(case.lanes),
        "lane-years dropped (cannot reach a market)": layout.dropped_lanes,
        "flows": layout.sizes["flow"], "sources": len(case.tables["sources"]),
        "assumptions": len(case.tables["assumptions"]),
    }  # fmt: skip


def coverage(case: Case) -> pd.DataFrame:
    """By cost_basis: suppliers, their share of rows, and of today's spending on production (incumbent_t * cost)."""
    table = case.suppliers.assign(spending=lambda t: (t["incumbent_t"] * t["cost_usd_per_t"]).clip(lower=0.0))
    order = ["published", "price", "premium", "assumption", ""]
    grouped = table.groupby("cost_basis").agg(suppliers=("supplier", "size"), spending=("spending", "sum"))
    grouped = grouped.reindex([basis for basis in order if basis in grouped.index])
    total = float(grouped["spending"].sum())
    return pd.DataFrame({
        "cost_basis": grouped.index, "suppliers": grouped["suppliers"].to_numpy(),
        "share_of_rows": (grouped["suppliers"] / len(table)).to_numpy(),
        "share_of_cost": (grouped["spending"] / total if total else grouped["spending"] * 0.0).to_numpy(),
    })  # fmt: skip
