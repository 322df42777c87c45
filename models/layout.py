"""The quantities of a case by year (production, flows, draws, shortages, use) and their numbers as vectors.

Everything that varies by year stands here beside the formulation: the model families read these vectors,
and so do the measures of a plan. Columns are numbered through, family by family in the order of FAMILIES.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import TopologicalSorter

import numpy as np

from models.case import Case, Flags, Floats
from models.lanes import Ints

FAMILIES = ("production", "flow", "draw", "shortage", "used")


@dataclass(frozen=True)
class Layout:
    """Which quantities exist, each an entry of its family's arrays; ``*_year`` are positions in the horizon.

    production_*: supplier, year, lower_t, upper_t. flow_*: lane, year, upper_t. draw_*: supplier, year.
    shortage_*: row of ``case.demand``, year, upper_t. used_*: the production entry that is used or not (0 or 1),
    only where a lot or a fixed charge asks for it. requirement_*: market, material, year and tonnes of what must
    be delivered; pool_*: feedstock, year and tonnes available, where something may draw on it.
    """

    case: Case
    status_quo: bool
    production_supplier: Ints
    production_year: Ints
    production_lower_t: Floats
    production_upper_t: Floats
    flow_lane: Ints
    flow_year: Ints
    flow_upper_t: Floats
    draw_supplier: Ints
    draw_year: Ints
    shortage_demand: Ints
    shortage_year: Ints
    shortage_upper_t: Floats
    used_production: Ints
    requirement_market: Ints
    requirement_material: Ints
    requirement_year: Ints
    requirement_t: Floats
    pool_material: Ints
    pool_year: Ints
    pool_t: Floats
    dropped_lanes: int

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Entries in each family."""
        return {
            "production": len(self.production_supplier), "flow": len(self.flow_lane),
            "draw": len(self.draw_supplier), "shortage": len(self.shortage_demand), "used": len(self.used_production),
        }  # fmt: skip

    @cached_property
    def offsets(self) -> dict[str, int]:
        """First column number of each family."""
        starts = np.concatenate([[0], np.cumsum(list(self.sizes.values()))])
        return dict(zip(self.sizes, (int(start) for start in starts), strict=False))

    @property
    def width(self) -> int:
        """Number of columns of all families together."""
        return sum(self.sizes.values())

    @cached_property
    def material_code(self) -> dict[str, int]:
        """Material -> its place in materials.csv."""
        return {name: code for code, name in enumerate(self.case.materials["material"])}

    @cached_property
    def supplier_material(self) -> Ints:
        """What each supplier makes, as a material code."""
        return np.array([self.material_code[m] for m in self.case.suppliers["material"]], dtype=np.int64)

    @cached_property
    def flow_origin(self) -> Ints:
        """Supplier from which each flow leaves."""
        return self.case.lanes.origin[self.flow_lane]

    @cached_property
    def flow_destination(self) -> Ints:
        """Supplier, or suppliers + market, at which each flow arrives."""
        return self.case.lanes.destination[self.flow_lane]

    @cached_property
    def flow_material(self) -> Ints:
        """Material code of each flow."""
        return self.case.lanes.material[self.flow_lane]

    @cached_property
    def draw_material(self) -> Ints:
        """Feedstock code of each draw."""
        inputs = self.case.suppliers["input"].to_numpy()
        return np.array([self.material_code[inputs[s]] for s in self.draw_supplier], dtype=np.int64)

    @cached_property
    def shortage_material(self) -> Ints:
        """Material code of each shortage."""
        return np.array([self.material_code[m] for m in self.case.demand["material"].to_numpy()[self.shortage_demand]],
                        dtype=np.int64)  # fmt: skip

    @cached_property
    def shortage_market(self) -> Ints:
        """Market of each shortage."""
        places = {name: place for place, name in enumerate(self.case.markets)}
        return np.array([places[m] for m in self.case.demand["market"].to_numpy()[self.shortage_demand]],
                        dtype=np.int64)  # fmt: skip

    def columns(self, family: str) -> Ints:
        """Column numbers of a family."""
        start = self.offsets[family]
        return np.arange(start, start + self.sizes[family])

    def year_of(self, family: str) -> Ints:
        """Horizon position of each entry of a family."""
        return {
            "production": self.production_year, "flow": self.flow_year, "draw": self.draw_year,
            "shortage": self.shortage_year, "used": self.production_year[self.used_production],
        }[family]  # fmt: skip

    def keys(self, family: str) -> Ints:
        """What each entry of a family is, whatever its year: its supplier, lane or series of demand."""
        return {
            "production": self.production_supplier, "flow": self.flow_lane, "draw": self.draw_supplier,
            "shortage": self.shortage_demand // len(self.case.years),  # a series has one row for every year
            "used": self.production_supplier[self.used_production],
        }[family]  # fmt: skip

    def one_year(self, entries: dict[str, Ints], requirement: Ints, pool: Ints) -> Layout:
        """A layout of year 0 alone with the entries named of each family; its numbers are those of any year."""
        none = {f"{family}_year": np.zeros(len(listed), dtype=np.int64) for family, listed in entries.items()}
        production = entries["production"]
        maker = np.full(len(self.case.suppliers), -1, dtype=np.int64)
        maker[self.production_supplier[production]] = np.arange(len(production))
        return replace(
            self,
            production_supplier=self.production_supplier[production], production_year=none["production_year"],
            production_lower_t=self.production_lower_t[production],
            production_upper_t=self.production_upper_t[production],
            flow_lane=self.flow_lane[entries["flow"]], flow_year=none["flow_year"],
            flow_upper_t=self.flow_upper_t[entries["flow"]],
            draw_supplier=self.draw_supplier[entries["draw"]], draw_year=none["draw_year"],
            shortage_demand=self.shortage_demand[entries["shortage"]], shortage_year=none["shortage_year"],
            shortage_upper_t=self.shortage_upper_t[entries["shortage"]],
            used_production=maker[self.production_supplier[self.used_production[entries["used"]]]],
            requirement_market=self.requirement_market[requirement],
            requirement_material=self.requirement_material[requirement],
            requirement_year=np.zeros(len(requirement), dtype=np.int64),
            requirement_t=self.requirement_t[requirement],
            pool_material=self.pool_material[pool], pool_year=np.zeros(len(pool), dtype=np.int64),
            pool_t=self.pool_t[pool],
        )  # fmt: skip

    @cached_property
    def column_year(self) -> Ints:
        """Horizon position of each column."""
        return np.concatenate([self.year_of(family) for family in FAMILIES])

    @cached_property
    def column_material(self) -> Ints:
        """Material whose tonnes each column counts (of ``used``: what the supplier makes)."""
        return np.concatenate([
            self.supplier_material[self.production_supplier], self.flow_material, self.draw_material,
            self.shortage_material, self.supplier_material[self.production_supplier[self.used_production]],
        ])  # fmt: skip

    @cached_property
    def upper_t(self) -> Floats:
        """Upper bound of each column in tonnes."""
        return np.concatenate([
            self.production_upper_t, self.flow_upper_t, np.full(self.sizes["draw"], np.inf), self.shortage_upper_t,
            np.ones(self.sizes["used"]),
        ])  # fmt: skip

    @cached_property
    def lower_t(self) -> Floats:
        """Lower bound of each column in tonnes."""
        rest = np.zeros(self.width - self.sizes["production"])
        return np.concatenate([self.production_lower_t, rest])

    @cached_property
    def scale_t(self) -> Floats:
        """Tonnes in one unit of each material for the solver: a power of ten near 1/100 of its requirement.

        Gallium is required in tens of tonnes and nickel in hundreds of thousands; scaled, flows of both are
        of the order 1 to 1000.
        """
        need = self.need_t.max(axis=1, initial=0.0)
        capacity = np.zeros(len(need))
        np.maximum.at(capacity, self.supplier_material, self.case.by_year("capacity_t").max(axis=1, initial=0.0))
        need = np.where(need > 0, need, capacity)
        exponent = np.floor(np.log10(np.maximum(need, 1e-6))) - 2
        return np.asarray(10.0**exponent)

    @cached_property
    def need_t(self) -> Floats:
        """Most of each material that markets and the chain behind them can use; shape (materials, years).

        Requirement plus, down the chain, what the consumers could need at their lowest recovery.
        """
        case = self.case
        need = np.zeros((len(self.material_code), len(case.years)))
        for (_, material, year), tonnes in case.required.items():
            need[self.material_code[material], case.years.index(year)] += tonnes
        lowest: dict[tuple[str, str], float] = {}
        table = case.suppliers
        for made, used, recovery in zip(table["material"], table["input"], table["recovery"], strict=True):
            if used:
                lowest[made, used] = min(lowest.get((made, used), np.inf), recovery)
        by_output: dict[int, list[tuple[int, float]]] = {}
        for (made, used), recovery in lowest.items():
            by_output.setdefault(self.material_code[made], []).append((self.material_code[used], recovery))
        for output in self.downstream_first:
            for needed, recovery in by_output.get(output, ()):
                need[needed] += need[output] / recovery
        return need

    @cached_property
    def downstream_first(self) -> list[int]:
        """Material codes so that each comes before what it is made from."""
        table = self.case.suppliers
        graph: dict[int, set[int]] = {code: set() for code in self.material_code.values()}
        for made, used in zip(table["material"], table["input"], strict=True):
            if used:
                graph[self.material_code[made]].add(self.material_code[used])
        return list(TopologicalSorter(graph).static_order())[::-1]


@dataclass(frozen=True)
class Extent:
    """What can be other than zero in a case: suppliers and lanes by year, who asks for a switch, priced demand,
    requirements. Extents of several cases over the same rows add up (``|``).
    """

    alive: Flags
    kept: Flags
    carries: Flags
    asks: Flags
    priced: Flags
    required: Flags

    def __or__(self, other: Extent) -> Extent:
        return Extent(*(getattr(self, name) | getattr(other, name) for name in self.__dataclass_fields__))


def _limits_of(case: Case, status_quo: bool) -> tuple[Floats, Floats]:
    """Capacity and minimum of each supplier in each year, 0 where it is not active; t."""
    capacity, minimum = case.by_year("capacity_t"), case.by_year("min_t")
    if status_quo:
        incumbent = case.suppliers["incumbent_t"].to_numpy() > 0
        capacity = np.repeat(np.where(incumbent, np.inf, 0.0)[:, None], len(case.years), axis=1)
        return capacity, np.zeros_like(capacity)
    return np.where(case.active, capacity, 0.0), np.where(case.active, minimum, 0.0)


def extent(case: Case, status_quo: bool = False) -> Extent:
    """What can be other than zero; lanes that cannot carry anything to a market are left out."""
    capacity, minimum = _limits_of(case, status_quo)
    alive, carries = _reachable(case, capacity, status_quo)
    # A contract that nothing can take is kept, and reported as a conflict; so is an incumbent in the status quo,
    # whose factor is that of its material.
    forced = (capacity if status_quo else minimum) > 0
    asks = case.suppliers["fixed_usd_per_y"].to_numpy() > 0
    demand = case.demand
    priced = np.zeros(len(demand), dtype=bool)
    if not status_quo:
        asks = asks | (case.suppliers["lot_t"].to_numpy() > 0)
        priced = (demand["shortage_usd_per_t"].notna() & (demand["required_t"] > 0)).to_numpy(dtype=bool)
    return Extent(alive, alive | forced, carries, asks, priced, required_t(case) > 0)


def lay_out(case: Case, status_quo: bool = False, within: Extent | None = None) -> Layout:
    """The quantities that can be other than zero; lanes that cannot carry anything to a market are dropped.

    In the status quo every supplier with ``incumbent_t`` counts, whatever its years and capacity, and lanes
    have no limit (contract 1.2). ``within``: lay out more than the case itself needs (what it cannot use has
    the limit 0), so that several cases over the same rows have the same columns.
    """
    found = within if within is not None else extent(case, status_quo)
    capacity, minimum = _limits_of(case, status_quo)
    alive, carries, asks = found.alive, found.carries, found.asks
    lanes = case.lanes
    by_name = _name_rank(case)
    supplier, year = np.nonzero(found.kept)
    order = np.lexsort((year, by_name[supplier]))
    supplier, year = supplier[order], year[order]
    flow_lane, flow_year = np.nonzero(carries)
    ends = by_name[lanes.origin[flow_lane]], by_name[lanes.destination[flow_lane]]
    order = np.lexsort((flow_year, ends[1], ends[0], lanes.material[flow_lane]))
    flow_lane, flow_year = flow_lane[order], flow_year[order]
    demand = case.demand
    year_at = {y: at for at, y in enumerate(case.years)}
    priced = np.flatnonzero(found.priced)
    fed = np.array([name in case.pools for name in case.suppliers["input"]], dtype=bool)
    draw_supplier, draw_year = np.nonzero(alive & fed[:, None])
    order = np.lexsort((draw_year, by_name[draw_supplier]))
    draw_supplier, draw_year = draw_supplier[order], draw_year[order]
    limit = np.full(len(flow_lane), np.inf) if status_quo else lanes.max_t[flow_lane, flow_year]
    limit = np.where(lanes.exists[flow_lane, flow_year], limit, 0.0)
    required = required_t(case)
    wanted = np.nonzero(found.required)
    code = {name: place for place, name in enumerate(case.materials["material"])}
    inputs = case.suppliers["input"].to_numpy()
    drawn = np.array([code[inputs[s]] for s in draw_supplier], dtype=np.int64)
    pool, pool_year = np.unique(np.stack([drawn, draw_year], axis=1), axis=0).T
    materials = case.materials["material"].to_numpy()
    return Layout(
        case=case, status_quo=status_quo,
        production_supplier=supplier, production_year=year,
        production_lower_t=minimum[supplier, year], production_upper_t=capacity[supplier, year],
        flow_lane=flow_lane, flow_year=flow_year, flow_upper_t=limit,
        draw_supplier=draw_supplier, draw_year=draw_year,
        shortage_demand=priced,
        shortage_year=np.array([year_at[y] for y in demand["year"].to_numpy()[priced]], dtype=np.int64),
        shortage_upper_t=demand["required_t"].to_numpy(dtype=float)[priced],
        used_production=np.flatnonzero(asks[supplier]),
        requirement_market=wanted[0], requirement_material=wanted[1], requirement_year=wanted[2],
        requirement_t=required[wanted],
        pool_material=pool, pool_year=pool_year,
        pool_t=np.array([case.pools[materials[m]][0][y] for m, y in zip(pool, pool_year, strict=True)]),
        dropped_lanes=int((lanes.exists & ~carries).sum()),
    )  # fmt: skip


def required_t(case: Case) -> Floats:
    """Tonnes required, sectors added up; shape (markets, materials, years)."""
    code = {name: place for place, name in enumerate(case.materials["material"])}
    required = np.zeros((len(case.markets), len(code), len(case.years)))
    for place, (market, wanted) in enumerate(case.markets.items()):
        for material in wanted:
            required[place, code[material]] = [case.required[market, material, year] for year in case.years]
    return required


def _name_rank(case: Case) -> Ints:
    """Place of each supplier and market in the order of their ids: rows in any order give the same model."""
    names = np.array([*case.suppliers["supplier"], *case.markets], dtype=object)
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(names, kind="stable")] = np.arange(len(names))
    return rank


def _reachable(case: Case, capacity: Floats, status_quo: bool) -> tuple[Flags, Flags]:
    """Suppliers that can make something that reaches a market, and lanes that can carry it; each by year."""
    lanes, count = case.lanes, len(case.suppliers)
    open_lanes = lanes.exists.copy()
    if not status_quo:
        open_lanes &= lanes.max_t > 0
    to_market = lanes.destination >= count
    wanted = required_t(case)[np.maximum(lanes.destination - count, 0), lanes.material] > 0
    open_lanes &= wanted | ~to_market[:, None]
    pool = np.zeros((count, len(case.years)), dtype=bool)
    mine = np.array([not name for name in case.suppliers["input"]], dtype=bool)
    for place, name in enumerate(case.suppliers["input"]):
        if name in case.pools:
            pool[place] = True if status_quo else case.pools[name][0] > 0
    alive = capacity > 0
    carries = open_lanes
    while True:
        ends = np.where(to_market[:, None], True, alive[np.minimum(lanes.destination, count - 1)])
        carries = open_lanes & alive[lanes.origin] & ends
        leaves, arrives = np.zeros_like(alive), np.zeros_like(alive)
        main = ~lanes.is_byproduct
        np.logical_or.at(leaves, lanes.origin[main], carries[main])
        inner = ~to_market
        np.logical_or.at(arrives, lanes.destination[inner], carries[inner])
        kept = alive & leaves & (mine[:, None] | pool | arrives)
        if (kept == alive).all():
            return alive, carries
        alive = kept
