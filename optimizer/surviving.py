"""survive rules in the program: cuts for the losses that a plan fails, and what it can still serve after each.

A plan fails a loss where the least sum of missing shares v (see optimizer/recourse.py) is above 0. v is convex in the
plan, so its tangent at the plan (from the prices of the response) is a row that every plan which survives the loss
keeps. Rows are added only for losses that the current plan fails, from the last basis, until it fails none: the same
optimum as with a copy of the network for every loss (models/risk.py), which is proved in the tests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.case import Floats
from models.disruptions import Loss
from models.lanes import Ints
from models.layout import Layout
from models.responses import surge_capacity_t
from models.rule_rows import Linear, RuleRow
from models.rules import SurviveCut
from optimizer.program import Program
from optimizer.recourse import Chain, ChainKey, Chains, LossTable, Response, most_t, shares_asked

ENOUGH = 2e-8  # sum of missing shares at which a loss counts as survived


@dataclass(frozen=True)
class Served:
    """What a plan can still serve after one loss: a rule row, the loss, and the share of the requirement."""

    row: int
    loss: Loss
    share: float


@dataclass
class _Group:
    """The rows of one rule in one part, and the losses that matter there with what they leave of each supplier."""

    chain: ChainKey
    numbers: list[int]
    losses: list[tuple[Loss, Floats]]
    markets: list[int]


@dataclass
class Survival:
    """The survive rules of a case over one program; empty (``groups``) where there are none."""

    layout: Layout
    rows: Sequence[RuleRow]
    program: Program
    groups: list[_Group] = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.groups = []
        if not any(row.kind == "survive" for row in self.rows):
            return
        self.chains = Chains(self.layout, self.program)
        self.losses = LossTable(self.layout.case)
        layout = self.layout
        self._codes = layout.material_code
        places = {market: place for place, market in enumerate(layout.case.markets)}
        found: dict[tuple[str, ChainKey], list[int]] = defaultdict(list)
        for number, row in enumerate(self.rows):
            if row.kind == "survive" and row.base.constant > 0:
                at = layout.case.years.index(row.year)
                chain = int(self.chains.chain[self._codes[row.material]])
                found[row.rule, (chain, at)].append(number)
        for (_, key), numbers in found.items():
            part = self.chains.at(key)
            suppliers = np.unique(layout.production_supplier[part.production])
            markets = sorted({places[market] for n in numbers for market in self.rows[n].markets})
            losses = self._worst(self.rows[numbers[0]].losses, key[1], suppliers)
            self.groups.append(_Group(key, numbers, losses, markets))

    def _worst(self, losses: Sequence[Loss], at: int, suppliers: Ints) -> list[tuple[Loss, Floats]]:
        """The losses of which none leaves more than another everywhere: the others are survived with them."""
        kept: dict[bytes, tuple[Loss, Floats]] = {}
        for loss in losses:
            left = self.losses.left(loss, at)
            kept.setdefault(left[suppliers].tobytes(), (loss, left))
        listed = list(kept.values())
        if len(listed) < 2 or not len(suppliers):
            return listed[:1]
        left = np.array([share[suppliers] for _, share in listed])
        milder = [bool(((left <= mine).all(axis=1) & (left < mine).any(axis=1)).any()) for mine in left]
        return [pair for pair, drop in zip(listed, milder, strict=True) if not drop]

    def cuts(self, x: Floats, given_up: Mapping[int, float]) -> list[SurviveCut]:
        """The rows that ``x`` breaks, one for each loss that it fails; ``given_up``: rule row -> share not asked."""
        found: list[SurviveCut] = []
        made = x[: self.layout.sizes["production"]]
        capacity = surge_capacity_t(self.layout, x)
        for group in self.groups:
            part = self.chains.at(group.chain)
            given = {n: min(given_up.get(n, 0.0), self.rows[n].limit) for n in group.numbers}
            asked = {self._codes[self.rows[n].material]: self.rows[n].limit - given[n] for n in group.numbers}
            shares = shares_asked(part, asked, group.markets)
            months = self.rows[group.numbers[0]].months
            stock = self.chains.stock.counts_t(x, months)[part.stocked]
            known: dict[bytes, Response] = {}
            for loss, left in group.losses:
                most = most_t(part, left, made, capacity)
                if most.tobytes() in known:
                    continue  # the loss takes nothing more than another one
                response = known[most.tobytes()] = part.ask(most, shares, stock)
                self.seconds += response.solution.seconds
                if response.missing.sum() > ENOUGH:
                    found.append(self._cut(group, part, loss, left, x, months, response, given))
        return found

    def _cut(self, group: _Group, part: Chain, loss: Loss, left: Floats, x: Floats, months: float, response: Response,
             given: Mapping[int, float]) -> SurviveCut:  # fmt: skip
        """The tangent of the least missing at the plan: d missing / d production, expansion and stock from the reduced
        costs of what each limits.
        """
        solution, layout = response.solution, self.layout
        assert solution.reduced_costs is not None
        assert solution.prices is not None
        supplier, surge = part.supplier, part.surge
        price = np.minimum(solution.reduced_costs[: len(part.production)], 0.0)
        slope = np.zeros(layout.width)
        slope[layout.offsets["production"] + part.production] = price * left[supplier] * (1 - surge)
        by_entry = np.zeros(layout.sizes["production"])
        by_entry[part.production] = price * left[supplier] * surge
        production, expansion, usable = layout.grown
        np.add.at(slope, layout.offsets["expansion"] + expansion, by_entry[production] * usable)
        stock, times = self.chains.stock, 12.0 / months
        column = stock.column[part.stocked]
        binds = (column >= 0) & (stock.start_t(x) * times < stock.draw_max_t)[part.stocked]
        drawn = np.minimum(solution.reduced_costs[len(part.columns) + len(part.materials) :], 0.0)
        np.add.at(slope, column[binds], drawn[binds] * times)
        columns = np.flatnonzero(slope)
        value = solution.objective - float(slope[columns] @ np.maximum(x[columns], 0.0))
        served = solution.prices[part.kept :] * part.required_t
        by_material = np.bincount(part.of_material, weights=served, minlength=len(part.materials))
        code = {int(m): place for place, m in enumerate(part.materials)}
        weights = {n: float(by_material[code[self._codes[self.rows[n].material]]]) for n in group.numbers}
        value += sum(weight * given[n] for n, weight in weights.items())
        return SurviveCut(loss.name, Linear(columns, slope[columns]), -value, weights, *part.in_the_way(solution))

    def served(self, x: Floats) -> list[Served]:
        """For each rule row and each loss that matters: the most of its material that can still be delivered, as a
        share of the requirement (at most 1), while the rule's other materials keep their ``serve``.
        """
        found: list[Served] = []
        made = x[: self.layout.sizes["production"]]
        capacity = surge_capacity_t(self.layout, x)
        for group in self.groups:
            part = self.chains.at(group.chain)
            own = {self._codes[self.rows[n].material]: self.rows[n].limit for n in group.numbers}
            for number in group.numbers:
                code = self._codes[self.rows[number].material]
                asked = shares_asked(part, {**own, code: 1.0}, group.markets)
                place = int(np.flatnonzero(part.materials == code)[0])
                room = np.where(np.arange(len(part.materials)) == place, 1.0, 0.0)
                stock = self.chains.stock.counts_t(x, self.rows[number].months)[part.stocked]
                known: dict[bytes, float] = {}
                for loss, left in group.losses:
                    most = most_t(part, left, made, capacity)
                    if most.tobytes() not in known:
                        response = part.ask(most, asked, stock, room)
                        known[most.tobytes()] = 1.0 - float(response.missing[place])
                    found.append(Served(number, loss, known[most.tobytes()]))
        return found
