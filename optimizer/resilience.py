"""How each delivered material and stage of a plan stands losses: what is still served, days of stock, single points.

The plan is kept (optimizer/kept_plan.py): what is served is what the stress test finds. Bounds spare most solves
(optimizer/loss_bounds.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from models.case import Floats
from models.disruptions import NOTHING, probabilities
from models.layout import Layout
from optimizer.kept_plan import KeptPlan
from optimizer.loss_bounds import SAME, LossBounds
from optimizer.measures import RESILIENCE
from optimizer.program import Program
from optimizer.recourse import ChainKey
from optimizer.tonnage import SMALLEST_T

MONTHS = 12.0
Target = tuple[ChainKey, int]  # a chain in a year, and the place of a material that it delivers


def resilience_table(
    layout: Layout, x: Floats, tables: Mapping[str, pd.DataFrame], program: Program | None = None
) -> pd.DataFrame:
    """A row (columns RESILIENCE) for each row of the table ``risk``: delivered material, or mineral at another stage.

    Served is the largest share of the requirement (at most 1) that the kept plan can still deliver over 12 months,
    each material for itself, all its markets alike, as ``oremix stress`` has it: each supplier makes at most
    a * (q + surge_share * (capacity - q)), stock adds min(start, draw_max_t). At a stage other than delivered it is
    the least over the mineral's delivered materials, or, where it delivers none, over those that its chains deliver.

    serve_largest: served after the loss, at every stage, of the country that is largest at the row's stage
    (``largest_country``). largest_point: the one supplier whose loss leaves least (of those with tonnes at the row's
    stage; delivered: of the whole chain), served_largest_point what it leaves; "" where none leaves less than is
    served without any loss, and then that. Of two that leave the same, the one that more of the plan passes through.
    worst_country, served_worst_country: the same of countries.
    days_cover: days of requirement in stock at year end, all markets together. expected_short_t: sum over the
    scenarios of disruptions.csv of probability times the tonnes a year that are short of the requirement, times its
    demand multiple, less what the plan does without by substitution, the same share of each market's requirement;
    with the rest of the probability, what the plan is short of. Blank without scenarios, and (both) at other stages.

    ``x``: values of the layout's columns. ``tables``: risk, shares, stock and shortage of the plan. ``program``: one
    of the same layout; stamped where none is given.
    """
    rows = tables["risk"]
    if rows.empty:
        return pd.DataFrame(columns=list(RESILIENCE))
    found = _Measures(layout, np.where(np.abs(x) < SMALLEST_T, 0.0, x), tables, program)
    keys = rows[["mineral", "material", "stage", "year", "largest_country"]]
    listed = [found.row(*key) for key in keys.itertuples(index=False, name=None)]
    return pd.DataFrame(listed, columns=list(RESILIENCE))


class _Measures:
    """The rows of one plan, one after the other; what was asked once is known."""

    def __init__(self, layout: Layout, x: Floats, tables: Mapping[str, pd.DataFrame], program: Program | None) -> None:
        self.layout, self.case = layout, layout.case
        self.kept = KeptPlan(layout, x, MONTHS, program)
        self._parts: dict[ChainKey, LossBounds] = {}
        self._who = {kind: self.case.suppliers[kind].to_numpy(dtype=object) for kind in ("supplier", "country")}
        materials = self.case.materials
        self._mineral = materials["mineral"].to_numpy(dtype=object)
        self._stage = materials["stage"].to_numpy(dtype=object)
        self._targets: dict[int, dict[int, Target]] = defaultdict(dict)  # position of the year, material code
        chain = self.kept.chains.chain
        for code, at in sorted({
            (int(m), int(y)) for m, y, t in zip(layout.requirement_material, layout.requirement_year,
                                                layout.requirement_t, strict=True) if t > 0
        }):  # fmt: skip
            key = int(chain[code]), at
            place = int(np.searchsorted(self.kept.chains.at(key).materials, code))
            self._targets[at][code] = key, place
        self._at_stage: dict[tuple[str, str, int, str], list[str]] = defaultdict(list)
        shares = tables["shares"]
        shares = shares[(shares["stage"] != "delivered") & shares["by"].isin(["country", "supplier"])]
        for *where, member in shares[["mineral", "stage", "year", "by", "member"]].itertuples(index=False):
            mineral, stage, year, by = where
            self._at_stage[mineral, stage, year, by].append(member)
        self._without_t = np.zeros((len(self.case.markets), len(self.case.materials), len(self.case.years)))
        np.add.at(self._without_t, (layout.substituted_market, layout.substituted_material, layout.substituted_year),
                  np.maximum(self.kept.x[layout.columns("substituted")], 0.0))  # fmt: skip
        stock, short = tables["stock"], tables["shortage"]
        self._end_t = stock.groupby(["material", "year"])["end_t"].sum().to_dict()
        self._short_t = short.groupby(["material", "year"])["t"].sum().to_dict()
        self._probability = probabilities(self.case) if len(self.case.tables["disruptions"]) else {}

    def row(self, mineral: str, material: str, stage: str, year: int, largest: str) -> tuple[Any, ...]:
        """One row of the table."""
        at = self.case.years.index(year)
        delivered = stage == "delivered"
        targets = [self._targets[at][code] for code in self._codes(mineral, material, stage, at)]
        lost: dict[str, tuple[str, float]] = {}
        left = days = short = float("nan")
        for kind in ("supplier", "country"):
            members = None if delivered else self._at_stage[mineral, stage, year, kind]
            lost[kind] = self._worst(targets, kind, members) if targets else ("", float("nan"))
        if targets:
            left = min(self._part(key).served(place, "country", largest) for key, place in targets)
        if delivered and targets:
            key, place = targets[0]
            days = 365.0 * self._end_t.get((material, year), 0.0) / self._part(key).required_t[place]
            if self._probability:
                short = self._expected_short_t(material, year, key, place)
        return (mineral, material, stage, year, left, largest, days, short, *lost["supplier"], *lost["country"])

    def _codes(self, mineral: str, material: str, stage: str, at: int) -> list[int]:
        """Codes of the delivered materials that a row is about: those with a requirement in the year."""
        asked = self._targets[at]
        if stage == "delivered":
            code = self.layout.material_code[material]
            return [code] if code in asked else []
        own = [code for code in asked if self._mineral[code] == mineral]
        if own:
            return own
        chain = self.kept.chains.chain
        chains = set(chain[(self._mineral == mineral) & (self._stage == stage)].tolist())
        return [code for code in asked if int(chain[code]) in chains]

    def _part(self, key: ChainKey) -> LossBounds:
        if key not in self._parts:
            self._parts[key] = LossBounds(self.kept, key, self._who)
        return self._parts[key]

    def _worst(self, targets: Sequence[Target], kind: str, members: Sequence[str] | None) -> tuple[str, float]:
        """The member whose loss leaves least of any target, and what it leaves; "" where none takes anything more
        than is missing without it. Asked in the order of the lower bounds, until no bound is below what was found.
        """
        name, least = "", min(self._part(key).undisturbed(place) for key, place in targets)
        bounds = []
        for key, place in targets:
            known = self._part(key).members(kind)
            for member in known if members is None else members:
                if member in known:
                    bounds.append((round(float(known[member][place]), 9), member, key, place))
        for low, member, key, place in sorted(bounds):
            if low >= least - SAME:
                break
            served = self._part(key).served(place, kind, member)
            if served < least - SAME:
                name, least = member, served
        return name, least

    def _expected_short_t(self, material: str, year: int, key: ChainKey, place: int) -> float:
        part, total = self._part(key), 0.0
        for scenario, probability in self._probability.items():
            if scenario == NOTHING:
                total += probability * self._short_t.get((material, year), 0.0)
            elif probability > 0:
                total += probability * part.short_t(place, scenario, self._without_t)
        return total
