"""A plan as it stands, ready to respond to losses: what it can still serve, at what cost, and for how long.

Each supplier makes at most a * (q + surge_share * (capacity - q)), stock adds what it can over the months of the loss,
and everything is dispatched anew. What was asked once is known: a chain of minerals in a year, under the same limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np

from models.case import Case, Flags, Floats
from models.disruptions import Effect
from models.layout import Layout
from models.outcomes import ScenarioEffects
from models.responses import surge_capacity_t
from optimizer.compiling import compile_model
from optimizer.dispatch import Dispatch, UnitCosts
from optimizer.program import Program
from optimizer.recourse import Chain, ChainKey, Chains, most_t
from optimizer.stamping import stamp

ROUND = 1e-8  # share of a requirement that is nothing


class KeptPlan:
    """A plan's quantities (values of its layout's columns), what can be called on, and chains with warm programs.

    ``program``: one of the same layout, from which rows are taken; stamped where none is given.
    """

    def __init__(self, layout: Layout, x: Floats, months: float = 12.0, program: Program | None = None) -> None:
        self.layout, self.x, self.months = layout, x, months
        self.case = layout.case
        self.program = stamp(layout, [], compile_model) if program is None else program
        self.made, self.capacity = x[: layout.sizes["production"]], surge_capacity_t(layout, x)
        self.surge = self.case.suppliers["surge_share"].to_numpy(dtype=float)[layout.production_supplier]
        self.able = (self.made > 0) | ((self.surge > 0) & (self.capacity > 0))
        self.chains = Chains(layout, self.program, self.able)
        stock = self.chains.stock
        self.start_t, self.stock_t = stock.start_t(x), stock.counts_t(x, months)
        self._dispatch: dict[ChainKey, Dispatch] = {}
        self._served: dict[tuple[ChainKey, bytes, int], float] = {}
        self._cost: dict[tuple[ChainKey, bytes], float | None] = {}
        self._recovers: dict[tuple[ChainKey, bytes, int], float] = {}
        self._could: dict[tuple[ChainKey, int], Floats] = {}
        self._enough: dict[tuple[ChainKey, int, bytes], list[Floats]] = {}  # limits under which all is delivered
        self._could_deliver: dict[tuple[ChainKey, int], list[Floats]] = {}  # the same of all capacity
        self._making: dict[int, Flags] = {}

    @cached_property
    def every(self) -> Chains:
        """The chains with all suppliers, used or not."""
        return Chains(self.layout, self.program)

    @cached_property
    def costs(self) -> UnitCosts:
        """What each quantity costs."""
        return UnitCosts(self.layout)

    @cached_property
    def sunk(self) -> Floats:
        """USD of each year that are paid whatever happens."""
        return self.costs.sunk_usd_per_y(self.x, len(self.case.years))

    @cached_property
    def scenario_effects(self) -> ScenarioEffects:
        """What the scenarios of disruptions.csv do."""
        return ScenarioEffects(self.case)

    def limits(self, chain: Chain, left: Floats) -> Floats:
        """Most that each supplier of a chain makes after a loss, t a year."""
        return most_t(chain, left, self.made, self.capacity)

    def served(
        self, key: ChainKey, limits: Floats, place: int, stock_t: Floats | None = None, asked: Floats | None = None
    ) -> float:
        """The largest share of a material's requirement that can be delivered, by itself, at most 1.

        ``asked``: the share of each requirement of the chain that is wanted (``chain.required``), default 1; then 1
        less the share of the requirement that is missing of what is asked.
        """
        chain = self.chains.at(key)
        stock = self.stock_t[chain.stocked] if stock_t is None else stock_t
        behind = chain.of_material[chain.stock_row] == place
        own = limits[self._makers(chain, place)]
        held = stock[behind].tobytes() + (b"" if asked is None else b"|" + asked.tobytes())
        known = key, own.tobytes() + held, place
        if known not in self._served:
            enough = self._enough.setdefault((key, place, held), [])
            self._served[known] = _share_beyond(enough, own, chain, limits, place, stock, asked)
        return self._served[known]

    def _makers(self, chain: Chain, place: int) -> Flags:
        """The production entries of a chain whose limits can matter to what is delivered of a material: of those that
        make it, or what it is made of; where that is a by-product, also of those that take the main product further,
        which must go somewhere.
        """
        code = int(chain.materials[place])
        if code not in self._making:
            self._making[code] = _making(self.case, code)
        return self._making[code][chain.supplier]

    def cheapest(self, key: ChainKey, limits: Floats, effect: Effect) -> float | None:
        """USD a year of the cheapest response of a chain; None where demand without a price is missed."""
        chain, layout = self.chains.at(key), self.layout
        multiple = effect.cost_multiple[layout.production_supplier[chain.production]]
        demand = effect.demand_multiple[layout.requirement_market[chain.required],
                                        layout.requirement_material[chain.required]]  # fmt: skip
        known = key, limits.tobytes() + multiple.tobytes() + demand.tobytes()
        if known not in self._cost:
            if key not in self._dispatch:
                self._dispatch[key] = Dispatch(chain, self.program, self.costs)
            stock = self.stock_t[chain.stocked]
            self._cost[known] = self._dispatch[key].cheapest(limits, stock, multiple, demand).usd_per_y
        return self._cost[known]

    def months_to_survive(self, key: ChainKey, limits: Floats, place: int) -> float:
        """For how many months the stock there is makes up for all that a loss takes; nan where nothing is missing
        without it, 0 where it never does.
        """
        chain = self.chains.at(key)
        nothing = np.zeros(len(chain.stocked))
        missing = 1.0 - self.served(key, limits, place, nothing)
        if missing <= ROUND:
            return float("nan")
        behind = np.flatnonzero(chain.of_material[chain.stock_row] == place)
        start = self.start_t[chain.stocked][behind]
        if not len(behind) or not (start > 0).any():
            return 0.0
        most = self.chains.stock.draw_max_t[chain.stocked]
        if (chain.of_material == place).sum() == 1:  # one market: the stock makes up for the whole gap, or never does
            gap = missing * float(chain.required_t[chain.of_material == place][0])
            return 12.0 * float(start[0]) / gap if gap <= most[behind[0]] else 0.0

        def enough(months: float) -> bool:
            stock = np.minimum(self.start_t[chain.stocked] * 12.0 / months, most)
            return 1.0 - self.served(key, limits, place, stock) <= 1e-7

        low, high = 0.0, 1.0
        while enough(high) and high < 1e4:
            low, high = high, 2 * high
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if enough(middle) else (low, middle)
        return low

    def recover_year(self, key: ChainKey, left: Sequence[Floats], place: int) -> float:
        """The first horizon year from the loss on in which capacity that is there, or can be added by then when it is
        decided after the loss, can deliver all that is required; nan where none can.

        All capacity may be contracted anew (not only what the plan buys); expansions decided before stay.
        """
        years = self.case.years
        for at in range(key[1], len(years)):
            chain = self.every.at((key[0], at))
            code = self.chains.at(key).materials[place]
            there = np.flatnonzero(chain.materials == code)
            if not len(there):
                return float(years[at])  # nothing is required of it then
            if (chain.key, key[1]) not in self._could:
                self._could[chain.key, key[1]] = self._could_be(chain, key[1], at)
            limits = left[at][chain.supplier] * self._could[chain.key, key[1]]
            own, nothing = limits[self._makers(chain, int(there[0]))], np.zeros(len(chain.stocked))
            known = chain.key, own.tobytes(), int(code)
            if known not in self._recovers:
                enough = self._could_deliver.setdefault((chain.key, int(code)), [])
                self._recovers[known] = _share_beyond(enough, own, chain, limits, int(there[0]), nothing)
            if self._recovers[known] >= 1.0 - 1e-7:
                return float(years[at])
        return float("nan")

    def _could_be(self, chain: Chain, since: int, at: int) -> Floats:
        """Capacity of the chain's suppliers in a year, with all that could be decided from another year on."""
        layout, growth = self.layout, self.layout.growth
        production, expansion, part = layout.grown
        capacity = layout.production_capacity_t.copy()
        early = layout.expansion_year[expansion] < since
        decided = self.x[layout.offsets["expansion"] + expansion]
        np.add.at(capacity, production[early], part[early] * decided[early])
        before = np.zeros(len(self.case.suppliers))
        first = np.flatnonzero(layout.expansion_year < since)
        np.add.at(before, layout.expansion_supplier[first], self.x[layout.offsets["expansion"] + first])
        supplier = layout.production_supplier[chain.production]
        more = np.maximum(growth.limit_t - before, 0.0)[supplier] * growth.usable[supplier, since:, at].max(axis=1)
        return np.asarray(capacity[chain.production] + more)


def _making(case: Case, code: int) -> Flags:
    """Which suppliers can matter to what is delivered of a material; shape (suppliers,)."""
    table, seconds = case.suppliers, case.tables["byproducts"]
    codes = {name: at for at, name in enumerate(case.materials["material"])}
    made = table["material"].map(codes).to_numpy()
    used = np.array([codes.get(name, -1) for name in table["input"]])
    place = {name: at for at, name in enumerate(table["supplier"])}
    by = np.array([place[name] for name in seconds["supplier"]], dtype=np.int64)
    second = np.array([codes[name] for name in seconds["material"]], dtype=np.int64)

    def grown(known: set[int], more: Callable[[set[int]], Iterable[int]]) -> set[int]:
        count = -1
        while len(known) > count:
            count = len(known)
            known = known | set(more(known))
        return known

    def makers(of: set[int]) -> Flags:
        found = np.isin(made, list(of))
        found[by[np.isin(second, list(of))]] = True
        return np.asarray(found)

    wanted = grown({code}, lambda known: used[makers(known) & (used >= 0)].tolist())
    led = set(made[by[np.isin(second, list(wanted))]].tolist())
    further = grown(led, lambda known: made[np.isin(used, list(known))].tolist())
    return np.asarray(makers(wanted) | np.isin(used, list(further)))


def _share_beyond(
    enough: list[Floats], own: Floats, chain: Chain, limits: Floats, place: int, stock_t: Floats,
    asked: Floats | None = None,
) -> float:  # fmt: skip
    """``_share``, where it is known under which limits all is delivered: whoever can make as much or more delivers all.

    ``own``: the part of ``limits`` that matters. What is found is added to ``enough``.
    """
    if any((least <= own).all() for least in enough):
        return 1.0
    found = _share(chain, limits, place, stock_t, asked)
    if found >= 1.0:
        enough.append(own)
    return found


def _share(chain: Chain, limits: Floats, place: int, stock_t: Floats, asked: Floats | None = None) -> float:
    """The largest share of a material's requirement that can be delivered under limits of production, at most 1."""
    asked = np.where(chain.of_material == place, 1.0 if asked is None else asked, 0.0)
    missing = float(chain.ask(limits, asked, stock_t).missing[place])
    enough = missing <= least_missing(float(chain.required_t[chain.of_material == place].sum()))
    return 1.0 if enough else 1.0 - missing


def least_missing(required_t: float) -> float:
    """The least share of a requirement that counts as missing: tonnes are known to a few 1e-6."""
    return max(ROUND, min(5e-6 / max(required_t, 1e-6), 1e-3))
