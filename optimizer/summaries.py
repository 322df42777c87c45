"""What planners ask of a plan, as tables: mix, concentration, allocation and cost, today beside the plan.

Used by report, workbook and notebook, so that each number is worked out once. A side (``who``) is "today" (the
status quo of the run), "plan", or one of several runs by its name. Shares and prices are those of the run's own
tables, never recomputed from tonnes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from models.case import Case
from models.cells import countries
from models.costs import COSTS
from optimizer.plan import Plan

CHANNELS = ("domestic", "allied", "recycling", "incumbent")
STAGES = ("extraction", "processing", "manufacturing", "delivered")
PER_POINT = ("share", "each_share", "hhi")  # kinds whose limit is counted in hundredths
_KEYS = ["mineral", "material", "stage", "year"]


Sides = Mapping[str, Mapping[str, pd.DataFrame]]


def sides(plan: Plan) -> dict[str, dict[str, pd.DataFrame]]:
    """The tables of today (where the run has them beside a plan) and of the plan."""
    if plan.status_quo is None or plan.about.get("status_quo"):
        return {"plan": plan.tables}
    return {"today": plan.status_quo["tables"], "plan": plan.tables}


def mix(both: Sides) -> pd.DataFrame:
    """Delivered material, year, who: share of each channel, and tonnes delivered."""
    parts = []
    for who, tables in both.items():
        shares = tables["shares"]
        shares = shares[(shares["stage"] == "delivered") & (shares["by"] == "channel")]
        keys = ["mineral", "material", "year"]
        wide = shares.pivot_table(index=keys, columns="member", values="share", fill_value=0.0, sort=False)
        wide = wide.reindex(columns=list(CHANNELS), fill_value=0.0)
        wide["t"] = shares.groupby(keys)["t"].sum()
        parts.append(wide.reset_index().assign(who=who))
    table = pd.concat(parts, ignore_index=True)
    material = {name: place for place, name in enumerate(materials_in_order(both))}
    side = {name: place for place, name in enumerate(both)}
    ranks = {"material": material, "who": side}
    table = table.sort_values(["year", "material", "who"], ignore_index=True,
                              key=lambda c: c.map(ranks[c.name]) if c.name in ranks else c)  # fmt: skip
    return table[["mineral", "material", "year", "who", *CHANNELS, "t"]]


def materials_in_order(both: Sides) -> list[str]:
    """Delivered materials, by mineral and name."""
    found = set()
    for tables in both.values():
        risk = tables["risk"]
        delivered = risk[risk["stage"] == "delivered"]
        found |= set(zip(delivered["mineral"], delivered["material"], strict=True))
    return list(dict.fromkeys(material for _, material in sorted(found)))


def concentration(both: Sides, limits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Stage, material (blank but at delivered), year: largest country and HHI of each side, with their limits.

    Columns end in _WHO; ``limits``: who -> ``country_limits`` of that plan, giving largest_limit_WHO, hhi_limit_WHO.
    """
    values = ["largest_country", "largest_share", "hhi_country", "import_reliance"]
    table = None
    for who, tables in both.items():
        part = tables["risk"].set_index(_KEYS)[values].add_suffix(f"_{who}")
        table = part if table is None else table.join(part, how="outer")
    assert table is not None
    table = table.reset_index()
    for who, found in limits.items():
        for name in ("largest", "hhi"):
            least = found[found["what"] == name].groupby(_KEYS)["limit"].min()
            table = table.join(least.rename(f"{name}_limit_{who}"), on=_KEYS)
    rank = {stage: place for place, stage in enumerate(STAGES)}
    return table.sort_values(["stage", "mineral", "material", "year"], ignore_index=True,
                             key=lambda c: c.map(rank).fillna(-1) if c.name == "stage" else c)  # fmt: skip


def country_limits(plan: Plan, case: Case) -> pd.DataFrame:
    """The rules' limits on the largest country's share and on the HHI by country, as (mineral, ..., what, limit)."""
    known = {rule.name: rule for rule in case.rules}
    found = []
    for row in plan.tables["rules"].to_dict("records"):
        rule = known.get(str(row["rule"]))
        if rule is None or row["bound"] != "max" or getattr(rule, "market", None):
            continue
        if row["kind"] == "each_share" and rule.each == "country" and rule.of == "supply":
            what = "largest"
        elif row["kind"] == "hhi" and rule.by == "country" and not rule.weight:
            what = "hhi"
        else:
            continue
        found.append({**{key: row[key] for key in _KEYS}, "what": what, "limit": row["limit"]})
    return pd.DataFrame(found, columns=[*_KEYS, "what", "limit"])


def allocation(plan: Plan, case: Case) -> pd.DataFrame:
    """One row a supplier that sells today or is in the plan: what it is, incumbent_t, and plan_YEAR_t for each year."""
    made = plan.tables["suppliers"]
    wide = made.pivot_table(index="supplier", columns="year", values="produced_t", aggfunc="sum", fill_value=0.0)
    wide.columns = [f"plan_{year}_t" for year in wide.columns]
    keys = ["supplier", "name", "mineral", "material", "stage", "country", "controller", "channel", "incumbent_t"]
    table = case.suppliers[[*keys, "cost_basis", "source"]].join(wide, on="supplier")
    columns = list(wide.columns)
    used = (table["incumbent_t"] > 0) | (table[columns] > 0).any(axis=1)
    rank = {stage: place for place, stage in enumerate(STAGES)}
    table = table[used].assign(_stage=lambda t: t["stage"].map(rank).fillna(-1), _most=lambda t: -t[columns[-1]])
    table = table.sort_values(["mineral", "_stage", "material", "_most", "supplier"], ignore_index=True)
    return table[[*keys, *columns, "cost_basis", "source"]]


def costs(both: Sides, by: str = "cost", paid: str = "usd_per_y") -> pd.DataFrame:
    """Undiscounted USD a year by cost family or mineral, and year: a column for each side.

    ``paid``: usd_per_y is what buyers pay, public_usd_per_y what the public pays beside it.
    """
    table = None
    for who, tables in both.items():
        part = tables["costs"].groupby([by, "year"], sort=False)[paid].sum().rename(who)
        table = part.to_frame() if table is None else table.join(part, how="outer")
    assert table is not None
    order = {name: place for place, name in enumerate(COSTS)}
    return (
        table.fillna(0.0)
        .reset_index()
        .sort_values(
            [by, "year"], ignore_index=True, key=lambda c: c.map(order).fillna(len(order)) if c.name == "cost" else c
        )
    )


def yearly_costs(plan: Plan) -> pd.DataFrame:
    """Year, weight, cost of plan and today in USD a year."""
    weights = plan.about.get("weights") or [np.nan] * len(plan.years)
    table = pd.DataFrame({"year": plan.years, "weight": weights})
    table["plan"] = [plan.cost_usd_per_y[year] for year in plan.years]
    if "today" in sides(plan):
        assert plan.status_quo is not None
        table["today"] = [plan.status_quo["cost_usd_per_y"][year] for year in plan.years]
        table["difference"] = table["plan"] - table["today"]
    return table


def rule_costs(plan: Plan) -> pd.DataFrame:
    """Each rule: rows, rows at the limit, and what all its rows looser by one unit save (present value, USD).

    A unit is a percentage point (0.01 of a share or an HHI), else 1 of the limit. First order: the prices of the
    rows add up, each weighted with its year. NaN where the plan has no prices.
    """
    rules = plan.tables["rules"]
    weights = dict(zip(plan.years, plan.about.get("weights") or [np.nan] * len(plan.years), strict=True))
    unit = np.where(rules["kind"].isin(PER_POINT), 0.01, 1.0)
    side = np.where(rules["bound"] == "max", -1.0, 1.0)
    table = rules.assign(saves=rules["price_usd_per_y"].astype(float) * side * unit * rules["year"].map(weights))
    grouped = table.groupby(["rule", "kind", "bound", "stage", "denominator"], sort=False, as_index=False)
    found = grouped.agg(
        rows=("value", "size"), at_limit=("binding", "sum"), saves_usd=("saves", lambda s: s.sum(min_count=1))
    )
    found["unit"] = np.where(found["kind"].isin(PER_POINT), "percentage point", "1 of the limit")
    return found.sort_values("saves_usd", ascending=False, na_position="last", ignore_index=True)


def priced_limits(plan: Plan) -> pd.DataFrame:
    """Rows of the rules at their limit with a price, dearest first; saves_usd_per_y per unit (point or 1) looser."""
    rules = plan.tables["rules"]
    prices = rules["price_usd_per_y"].astype(float)  # all None where whole numbers leave no price
    bound = rules.assign(price_usd_per_y=prices)[rules["binding"].astype(bool) & (prices.abs() > 0.5)]
    unit = np.where(bound["kind"].isin(PER_POINT), 0.01, 1.0)
    side = np.where(bound["bound"] == "max", -1.0, 1.0)
    table = bound.assign(saves_usd_per_y=bound["price_usd_per_y"] * side * unit,
                         points=bound["kind"].isin(PER_POINT))  # fmt: skip
    order = table["saves_usd_per_y"].abs().sort_values(ascending=False).index
    return table.loc[order].sort_values("points", ascending=False, kind="stable", ignore_index=True)


def full_suppliers(plan: Plan, year: int) -> pd.DataFrame:
    """Suppliers that make all that they can in the year."""
    made = plan.tables["suppliers"]
    full = (made["year"] == year) & (made["capacity_t"] > 0) & (made["produced_t"] >= made["capacity_t"] * (1 - 1e-9))
    return made[full].sort_values(["mineral", "stage", "supplier"], ignore_index=True)


def capacity_use(plan: Plan) -> pd.DataFrame:
    """Mineral, stage, year: tonnes made, capacity (own and added by expansions) in tonnes, and the share used."""
    table = plan.tables["capacity"]
    columns = ["produced_t", "own_t", "expansion_t", "capacity_t"]
    table = table.groupby(["mineral", "stage", "year"], as_index=False, sort=False)[columns].sum()
    table["used_share"] = table["produced_t"] / table["capacity_t"].where(table["capacity_t"] > 0)
    return table


def most(table: pd.DataFrame, column: str) -> dict[str, Any]:
    """The row with the largest value in a column."""
    return dict(table.nlargest(1, column).to_dict("records")[0])  # type: ignore[arg-type]  # names are texts


def least(table: pd.DataFrame, column: str) -> dict[str, Any]:
    """The row with the smallest value in a column."""
    return dict(table.nsmallest(1, column).to_dict("records")[0])  # type: ignore[arg-type]  # names are texts


def headline(plan: Plan, home: str) -> dict[str, Any]:
    """The numbers of the answer: money, dependence, shortage, limits; ``*_today`` where there is a comparison.

    ``total_usd``: present value where nothing happens. ``dependent``: delivered materials of which more than half
    comes from one foreign country in the last year.
    """
    last = plan.years[-1]
    both = sides(plan)
    found: dict[str, Any] = {
        "total_usd": plan.undisturbed_usd, "last_year": last, "cost_usd_per_y": plan.cost_usd_per_y[last],
        "short_t": float(plan.tables["shortage"]["t"].sum()),
        "short_materials": sorted(set(plan.tables["shortage"]["material"])),
        "rows": len(plan.tables["rules"]), "at_limit": int(plan.tables["rules"]["binding"].astype(bool).sum()),
        "priced": len(priced_limits(plan)),
    }  # fmt: skip
    for who, tables in both.items():
        risk = tables["risk"]
        risk = risk[(risk["stage"] == "delivered") & (risk["year"] == last)]
        suffix = "" if who == "plan" else "_today"
        dependent = risk[(risk["largest_share"] > 0.5) & (risk["largest_country"] != home)]
        found[f"dependent{suffix}"], found[f"materials{suffix}"] = len(dependent), len(risk)
    if "today" in both:
        assert plan.status_quo is not None
        found["total_usd_today"] = plan.status_quo["objective_usd"]
        found["cost_usd_per_y_today"] = plan.status_quo["cost_usd_per_y"][last]
    return found


_STAGE_WORDS = {"feedstock": "scrap", "extraction": "mining", "processing": "refining", "manufacturing": "making"}


def links(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Flows from country to country, stage by stage: mineral, material, year, source, target, channel, t.

    A place is a country at what it makes ("China, refining"; the material where a stage has several), a pool of
    feedstock, or a market. ``channel`` is that of the suppliers from which the band comes. Feedstock counts under
    the mineral of the recycler that takes it.
    """
    suppliers = tables["suppliers"].drop_duplicates("supplier").set_index("supplier")
    made = suppliers.groupby(["mineral", "stage"])["material"].transform("nunique")
    word = suppliers["stage"].map(_STAGE_WORDS).where(made == 1, suppliers["material"])
    names = suppliers["country"].map(lambda code: countries().get(code, code)) + ", " + word
    flows = tables["flows"]
    taker = flows["destination"].map(suppliers["mineral"])
    mineral = flows["material"].map(dict(zip(suppliers["material"], suppliers["mineral"], strict=True)))
    mineral = mineral.fillna(flows["origin"].map(suppliers["mineral"])).fillna(taker)
    source = flows["origin"].map(names).fillna(flows["origin"].str.replace("feedstock:", "pool of ", regex=False))
    place = dict(zip(names.index, names, strict=True))
    ends = zip(flows["destination"], taker, mineral, strict=True)
    target = [
        f"{end} market" if end not in place else place[end] if own == of else f"{place[end]} ({own})"
        for end, own, of in ends
    ]
    table = pd.DataFrame({
        "mineral": mineral, "material": flows["material"], "year": flows["year"], "source": source, "target": target,
        "channel": flows["origin"].map(suppliers["channel"]).fillna("pool"), "t": flows["t"],
    })  # fmt: skip
    keys = [name for name in table.columns if name != "t"]
    summed = table.groupby(keys, as_index=False, sort=False)[["t"]].sum()
    order = ["mineral", "year", "material", "t"]
    return summed.sort_values(order, ascending=[True, True, True, False], ignore_index=True)
