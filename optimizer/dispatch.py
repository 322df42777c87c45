"""The cheapest response of a kept plan after a loss: a chain in a year dispatched anew within what is left of it.

Purchases, freight, duty, collection, shortage and substitution are paid as delivered; what the plan has already paid
for (fixed charges, capital, holding of stock) is not in it. Rules, minimums and lots do not hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.case import Floats
from models.costs import COSTS, FIRST_STAGE, CostEntries, cost_entries
from models.layout import Layout
from optimizer.engine import Engine, EngineError, Limits
from optimizer.program import Names, Program
from optimizer.recourse import Chain

MORE = ("shortage", "substituted")  # what a market may do beside receiving
_QUICK = Limits(seconds=60.0, threads=1, presolve=False)


def room_t(wanted_t: Floats) -> Floats:
    """What may be missing of a requirement that counts as met: a plan's table leaves out flows below 1e-6 t."""
    return np.minimum(wanted_t, 2e-6 + 1e-9 * wanted_t)


@dataclass(frozen=True)
class Cheapest:
    """The cheapest response: USD a year of the chain (undiscounted), and what each requirement is short of, t.

    ``usd_per_y`` is None where demand without a price would be missed.
    """

    usd_per_y: float | None
    short_t: Floats


class UnitCosts:
    """USD of one unit of each column in its own year, of what is paid as delivered; ``sunk``: the rest by year."""

    def __init__(self, layout: Layout, entries: CostEntries | None = None) -> None:
        entries = cost_entries(layout) if entries is None else entries
        sunk = np.isin(entries.family, [COSTS.index(name) for name in FIRST_STAGE])
        self._entries, self._sunk = entries, sunk
        self.usd = np.bincount(
            entries.columns[~sunk], weights=entries.usd_per_unit[~sunk], minlength=layout.width
        ).astype(float)
        at = layout.production_supplier, layout.production_year
        self.purchase = layout.case.by_year("cost_usd_per_t")[at]

    def sunk_usd_per_y(self, x: Floats, years: int) -> Floats:
        """What a plan pays in each year whatever happens; shape (years,)."""
        e, kept = self._entries, self._sunk
        usd = e.usd_per_unit[kept] * x[e.columns[kept]]
        return np.bincount(e.year[kept], weights=usd, minlength=years).astype(float)


class Dispatch:
    """One chain in one year as a warm program of least cost."""

    def __init__(self, chain: Chain, whole: Program, costs: UnitCosts) -> None:
        self.chain, self.costs, layout = chain, costs, chain.layout
        self._wanted = layout.requirement_t[chain.required]
        asked = layout.requirement_market[chain.required], layout.requirement_material[chain.required]
        place = {(int(k), int(m)): i for i, (k, m) in enumerate(zip(*asked, strict=True))}
        year = chain.key[1]
        more, of = [], []
        for family, market, material in (
            ("shortage", layout.shortage_market, layout.shortage_material),
            ("substituted", layout.substituted_market, layout.substituted_material),
        ):
            for entry in np.flatnonzero(layout.year_of(family) == year).tolist():
                key = int(market[entry]), int(material[entry])
                if key in place:
                    more.append(layout.offsets[family] + entry)
                    of.append(place[key])
        self.more, self._of = np.array(more, dtype=np.int64), np.array(of, dtype=np.int64)
        self.columns = np.concatenate([chain.columns, self.more])
        width, stocks, served = len(self.columns), len(chain.stocked), chain.kept + np.arange(len(chain.required))
        inner = sparse.csr_array(whole.matrix)[chain.rows][:, self.columns]
        stock = sparse.coo_array((np.ones(stocks), (chain.kept + chain.stock_row, np.arange(stocks))),
                                 shape=(len(chain.rows), stocks))  # fmt: skip
        low, high = whole.row_lower[chain.rows].copy(), whole.row_upper[chain.rows].copy()
        low[chain.kept :], high[chain.kept :] = self._wanted - room_t(self._wanted), self._wanted
        upper = np.concatenate([whole.upper[self.columns], np.zeros(stocks)])
        upper[: len(chain.production)] = 0.0
        program = Program(
            sparse.csc_array(sparse.hstack([inner, stock])), low, high,
            np.concatenate([costs.usd[self.columns], np.zeros(stocks)]), np.zeros(width + stocks), upper,
            np.zeros(width + stocks, dtype=bool), Names([("row", range(len(low)))]),
            Names([("column", range(width + stocks))]),
        )  # fmt: skip
        scale = layout.scale_t
        units = np.concatenate([
            scale[layout.column_material[self.columns]], scale[chain.materials[chain.of_material[chain.stock_row]]]
        ])  # fmt: skip
        self.engine, self._served = Engine(program, units), served
        self._most, self._more_t = upper.copy(), upper[len(chain.columns) : width].copy()
        self._multiple, self._demand = np.ones(len(chain.production)), np.ones(len(chain.required))

    def cheapest(
        self, most_t: Floats, stock_t: Floats, cost_multiple: Floats | None = None,
        demand_multiple: Floats | None = None,
    ) -> Cheapest:  # fmt: skip
        """The cheapest response where each supplier makes at most ``most_t`` and stock adds ``stock_t``, t a year.

        ``cost_multiple``: of each production entry; ``demand_multiple``: of each requirement of the chain.
        """
        self._patch(most_t, stock_t, cost_multiple, demand_multiple)
        solution = self.engine.solve(_QUICK)
        nothing = np.full(len(self.chain.required), np.nan)
        if solution.status == "infeasible":
            return Cheapest(None, nothing)
        if not solution.has_plan:
            raise EngineError(f"the cheapest response was {solution.status}")
        short = self.more[: int((self.more < self.chain.layout.offsets["used"]).sum())]
        at = len(self.chain.columns) + np.arange(len(short))
        missing = np.bincount(self._of[: len(short)], weights=solution.x[at], minlength=len(nothing)).astype(float)
        return Cheapest(solution.objective, missing)

    def _patch(
        self, most_t: Floats, stock_t: Floats, cost_multiple: Floats | None, demand_multiple: Floats | None
    ) -> None:
        """Give the engine what differs from its last question."""
        chain, engine = self.chain, self.engine
        multiple = np.ones(len(chain.production)) if cost_multiple is None else cost_multiple
        demand = np.ones(len(chain.required)) if demand_multiple is None else demand_multiple
        if not np.array_equal(multiple, self._multiple):
            at = np.arange(len(chain.production))
            own = self.costs.usd[chain.columns[at]]
            engine.change_costs(at, own + (multiple - 1.0) * self.costs.purchase[chain.production])
            self._multiple = multiple.copy()
        if not np.array_equal(demand, self._demand):
            wanted = demand * self._wanted
            engine.change_limits(self._served, wanted - room_t(wanted), wanted)
            self._demand = demand.copy()
        upper = engine.program.upper.copy()
        upper[: len(most_t)] = most_t
        upper[len(chain.columns) : len(self.columns)] = self._more_t * demand[self._of]
        upper[len(self.columns) :] = stock_t
        changed = np.flatnonzero(upper != engine.program.upper)
        if len(changed):
            engine.change_bounds(changed, np.zeros(len(changed)), upper[changed])
