"""A plan's tables as values of the columns of its layout: the way back from what was written."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from models.case import Case, Floats, load_case
from models.existing import extent
from models.layout import Layout, lay_out
from optimizer.plan import Plan


def layout_of_run(folder: Path, plan: Plan) -> Layout:
    """The layout of a run's case; of a status quo, with all that is bought today beside what can be planned."""
    return layout_of(load_case(folder / "case"), bool(plan.about.get("status_quo")))


def layout_of(case: Case, status_quo: bool) -> Layout:
    """The layout over which a plan of the case (or its status quo) has all its quantities."""
    return lay_out(case, within=extent(case) | extent(case, status_quo=True)) if status_quo else lay_out(case)


def plan_columns(layout: Layout, plan: Plan) -> Floats:
    """Values of every column of the layout that a plan's tables hold; what they leave out is 0."""
    case, tables = layout.case, plan.tables
    x = np.zeros(layout.width)
    suppliers, markets = list(case.suppliers["supplier"]), list(case.markets)
    names, materials, years = [*suppliers, *markets], list(case.materials["material"]), list(case.years)

    def fill(family: str, keys: Iterable[Hashable], table: pd.DataFrame, columns: Sequence[str], value: str) -> None:
        place = {key: number for number, key in enumerate(keys)}
        for *key, tonnes in table[[*columns, value]].itertuples(index=False):
            at = place.get(tuple(key))
            if at is not None and tonnes:
                x[layout.offsets[family] + at] += float(tonnes)

    def named(listed: Sequence[str], codes: Iterable[int]) -> list[str]:
        return [listed[code] for code in codes]

    def years_of(family: str) -> list[int]:
        return [years[at] for at in layout.year_of(family).tolist()]

    made = named(suppliers, layout.production_supplier)
    fill("production", zip(made, years_of("production"), strict=True), tables["suppliers"], ["supplier", "year"],
         "produced_t")  # fmt: skip
    flows = tables["flows"]
    drawn = flows["origin"].str.startswith("feedstock:")
    fill("flow", zip(named(names, layout.flow_origin), named(names, layout.flow_destination),
                     named(materials, layout.flow_material), years_of("flow"), strict=True),
         flows[~drawn], ["origin", "destination", "material", "year"], "t")  # fmt: skip
    fill("draw", zip(named(suppliers, layout.draw_supplier), years_of("draw"), strict=True), flows[drawn],
         ["destination", "year"], "t")  # fmt: skip
    demand = case.demand.iloc[layout.shortage_demand]
    fill("shortage", demand[["market", "sector", "material", "year"]].itertuples(index=False, name=None),
         tables["shortage"], ["market", "sector", "material", "year"], "t")  # fmt: skip
    pile = case.stock[["market", "material"]]
    for family, column in (("built", "built_t"), ("drawn", "drawn_t"), ("stock", "end_t")):
        at = pile.iloc[getattr(layout, f"{family}_place")].itertuples(index=False, name=None)
        fill(family, [(*place, year) for place, year in zip(at, years_of(family), strict=True)], tables["stock"],
             ["market", "material", "year"], column)  # fmt: skip
    step = case.substitution.iloc[layout.substituted_step]
    fill("substituted", zip(named(markets, layout.substituted_market), step["material"], step["step"], step["year"],
                            strict=True),
         tables["substitution"], ["market", "material", "step", "year"], "t")  # fmt: skip
    decided = tables["expansion"].assign(opened=lambda t: t["opened"].astype(bool).astype(float))
    for family, column in (("expansion", "t"), ("opened", "opened")):
        who = named(suppliers, getattr(layout, f"{family}_supplier"))
        fill(family, zip(who, years_of(family), strict=True), decided, ["supplier", "year"], column)
    used = x[layout.columns("production")][layout.used_production] > 0
    x[layout.columns("used")] = used
    return x
