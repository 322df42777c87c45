"""The quantities of a case by year (production, flows, stock, expansion, ...) and their numbers as vectors.

Everything that varies by year stands here beside the formulation: the model families read these vectors,
and so do the measures of a plan. Columns are numbered through, family by family in the order of FAMILIES.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any

import numpy as np

from models.case import Case, Flags, Floats
from models.existing import Extent as Extent
from models.existing import extent, limits_of, name_rank, replaceable_t, required_t, stocked
from models.expansion import Growth, find_growth
from models.lanes import Ints

# Quantities of one year, whose rows hold nothing of another; and those that link years.
YEARLY = ("production", "flow", "draw", "shortage", "used", "built", "drawn", "substituted")
LINKING = ("stock", "expansion", "opened")
FAMILIES = YEARLY + LINKING


@dataclass(frozen=True)
class Layout:
    """Which quantities exist, each an entry of its family's arrays; ``*_year`` are positions in the horizon.

    production_*: supplier, year, lower_t, upper_t (with all that can be usable of expansions), capacity_t (without).
    flow_*: lane, year, upper_t. draw_*: supplier, year.
    shortage_*: row of ``case.demand``, year, upper_t. used_*: the production entry that is used or not (0 or 1),
    only where a lot or a fixed charge asks for it. built_*, drawn_*, stock_*: place (row of ``case.stock``), year,
    upper_t (stock_lower_t too). substituted_*: market, step (row of ``case.substitution``), year, upper_t.
    expansion_*, opened_*: supplier and year of decision, upper (t; 0 or 1); what they give and cost: ``growth``.
    requirement_*: market, material, year and tonnes of what must be delivered; pool_*: feedstock, year and tonnes
    available, where something may draw on it.
    """

    case: Case
    status_quo: bool
    production_supplier: Ints
    production_year: Ints
    production_lower_t: Floats
    production_upper_t: Floats
    production_capacity_t: Floats
    flow_lane: Ints
    flow_year: Ints
    flow_upper_t: Floats
    draw_supplier: Ints
    draw_year: Ints
    shortage_demand: Ints
    shortage_year: Ints
    shortage_upper_t: Floats
    used_production: Ints
    built_place: Ints
    built_year: Ints
    built_upper_t: Floats
    drawn_place: Ints
    drawn_year: Ints
    drawn_upper_t: Floats
    substituted_market: Ints
    substituted_step: Ints
    substituted_year: Ints
    substituted_upper_t: Floats
    stock_place: Ints
    stock_year: Ints
    stock_lower_t: Floats
    stock_upper_t: Floats
    expansion_supplier: Ints
    expansion_year: Ints
    expansion_upper_t: Floats
    opened_supplier: Ints
    opened_year: Ints
    opened_upper: Floats
    growth: Growth
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
        """Entries in each family, in the order of FAMILIES."""
        first = (
            self.production_supplier, self.flow_lane, self.draw_supplier, self.shortage_demand, self.used_production,
            self.built_place, self.drawn_place, self.substituted_step, self.stock_place, self.expansion_supplier,
            self.opened_supplier,
        )  # fmt: skip
        return {family: len(entries) for family, entries in zip(FAMILIES, first, strict=True)}

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

    @cached_property
    def stock_market(self) -> Ints:
        """Market of each row of ``case.stock``."""
        places = {name: place for place, name in enumerate(self.case.markets)}
        return np.array([places[m] for m in self.case.stock["market"]], dtype=np.int64)

    @cached_property
    def stock_material(self) -> Ints:
        """Material code of each row of ``case.stock``."""
        return np.array([self.material_code[m] for m in self.case.stock["material"]], dtype=np.int64)

    @cached_property
    def substituted_material(self) -> Ints:
        """Material code of what each substitution does without."""
        material = self.case.substitution["material"].to_numpy()
        return np.array([self.material_code[m] for m in material[self.substituted_step]], dtype=np.int64)

    @cached_property
    def grown(self) -> tuple[Ints, Ints, Floats]:
        """Production entry, expansion entry and the part of it that is usable there, wherever it is above 0."""
        entry = np.full((len(self.case.suppliers), len(self.case.years)), -1, dtype=np.int64)
        entry[self.production_supplier, self.production_year] = np.arange(self.sizes["production"])
        part = self.growth.usable[self.expansion_supplier, self.expansion_year]
        expansion, year = np.nonzero((part > 0) & (entry[self.expansion_supplier] >= 0))
        production = entry[self.expansion_supplier[expansion], year]
        order = np.lexsort((expansion, production))
        return production[order], expansion[order], part[expansion, year][order]

    def columns(self, family: str) -> Ints:
        """Column numbers of a family."""
        start = self.offsets[family]
        return np.arange(start, start + self.sizes[family])

    def year_of(self, family: str) -> Ints:
        """Horizon position of each entry of a family."""
        return {
            "production": self.production_year, "flow": self.flow_year, "draw": self.draw_year,
            "shortage": self.shortage_year, "used": self.production_year[self.used_production],
            "built": self.built_year, "drawn": self.drawn_year, "substituted": self.substituted_year,
            "stock": self.stock_year, "expansion": self.expansion_year, "opened": self.opened_year,
        }[family]  # fmt: skip

    def keys(self, family: str) -> Ints:
        """What each entry of a yearly family is, whatever its year: its supplier, lane, stock or series."""
        years = len(self.case.years)  # a series of demand or of substitution has one row for every year
        steps = len(self.case.substitution) // years
        return {
            "production": self.production_supplier, "flow": self.flow_lane, "draw": self.draw_supplier,
            "shortage": self.shortage_demand // years,
            "used": self.production_supplier[self.used_production],
            "built": self.built_place, "drawn": self.drawn_place,
            "substituted": self.substituted_market * steps + self.substituted_step // years,
        }[family]  # fmt: skip

    def one_year(self, entries: dict[str, Ints], requirement: Ints, pool: Ints) -> Layout:
        """A layout of year 0 alone with the entries named of each family; its numbers are those of any year."""
        none = {f"{family}_year": np.zeros(len(listed), dtype=np.int64) for family, listed in entries.items()}
        nothing, built, drawn = np.zeros(0, dtype=np.int64), entries["built"], entries["drawn"]
        production = entries["production"]
        maker = np.full(len(self.case.suppliers), -1, dtype=np.int64)
        maker[self.production_supplier[production]] = np.arange(len(production))
        return replace(
            self,
            production_supplier=self.production_supplier[production], production_year=none["production_year"],
            production_lower_t=self.production_lower_t[production],
            production_upper_t=self.production_upper_t[production],
            production_capacity_t=self.production_capacity_t[production],
            flow_lane=self.flow_lane[entries["flow"]], flow_year=none["flow_year"],
            flow_upper_t=self.flow_upper_t[entries["flow"]],
            draw_supplier=self.draw_supplier[entries["draw"]], draw_year=none["draw_year"],
            shortage_demand=self.shortage_demand[entries["shortage"]], shortage_year=none["shortage_year"],
            shortage_upper_t=self.shortage_upper_t[entries["shortage"]],
            used_production=maker[self.production_supplier[self.used_production[entries["used"]]]],
            built_place=self.built_place[built], built_year=none["built_year"], built_upper_t=self.built_upper_t[built],
            drawn_place=self.drawn_place[drawn], drawn_year=none["drawn_year"], drawn_upper_t=self.drawn_upper_t[drawn],
            substituted_market=self.substituted_market[entries["substituted"]],
            substituted_step=self.substituted_step[entries["substituted"]], substituted_year=none["substituted_year"],
            substituted_upper_t=self.substituted_upper_t[entries["substituted"]],
            stock_place=nothing, stock_year=nothing, stock_lower_t=np.zeros(0), stock_upper_t=np.zeros(0),
            expansion_supplier=nothing, expansion_year=nothing, expansion_upper_t=np.zeros(0),
            opened_supplier=nothing, opened_year=nothing, opened_upper=np.zeros(0),
            requirement_market=self.requirement_market[requirement],
            requirement_material=self.requirement_material[requirement],
            requirement_year=np.zeros(len(requirement), dtype=np.int64),
            requirement_t=self.requirement_t[requirement],
            pool_material=self.pool_material[pool], pool_year=np.zeros(len(pool), dtype=np.int64),
            pool_t=self.pool_t[pool],
        )  # fmt: skip

    @cached_property
    def column_year(self) -> Ints:
        """Horizon position of each column (of expansions and openings: when they are decided)."""
        return np.concatenate([self.year_of(family) for family in FAMILIES])

    @cached_property
    def column_material(self) -> Ints:
        """Material whose tonnes each column counts (of ``used`` and ``opened``: what the supplier makes)."""
        return np.concatenate([
            self.supplier_material[self.production_supplier], self.flow_material, self.draw_material,
            self.shortage_material, self.supplier_material[self.production_supplier[self.used_production]],
            self.stock_material[self.built_place], self.stock_material[self.drawn_place], self.substituted_material,
            self.stock_material[self.stock_place], self.supplier_material[self.expansion_supplier],
            self.supplier_material[self.opened_supplier],
        ])  # fmt: skip

    @cached_property
    def upper_t(self) -> Floats:
        """Upper bound of each column in tonnes."""
        return np.concatenate([
            self.production_upper_t, self.flow_upper_t, np.full(self.sizes["draw"], np.inf), self.shortage_upper_t,
            np.ones(self.sizes["used"]), self.built_upper_t, self.drawn_upper_t, self.substituted_upper_t,
            self.stock_upper_t, self.expansion_upper_t, self.opened_upper,
        ])  # fmt: skip

    @cached_property
    def lower_t(self) -> Floats:
        """Lower bound of each column in tonnes."""
        lower = np.zeros(self.width)
        lower[self.columns("production")] = self.production_lower_t
        lower[self.columns("stock")] = self.stock_lower_t
        return lower

    @cached_property
    def scale_t(self) -> Floats:
        """Tonnes in one unit of each material for the solver: a power of ten near 1/100 of its requirement.

        Gallium is required in tens of tonnes and nickel in hundreds of thousands; scaled, flows of both are
        of the order 1 to 1000.
        """
        need = self._upstream(self._required).max(axis=1, initial=0.0)
        capacity = np.zeros(len(need))
        most = self.case.by_year("capacity_t").max(axis=1, initial=0.0) + self.growth.limit_t
        np.maximum.at(capacity, self.supplier_material, most)
        need = np.where(need > 0, need, capacity)
        exponent = np.floor(np.log10(np.maximum(need, 1e-6))) - 2
        return np.asarray(10.0**exponent)

    @cached_property
    def need_t(self) -> Floats:
        """Most of each material that markets and the chain behind them can use; shape (materials, years).

        Requirement and what can be put into stock plus, down the chain, what the consumers could need at their
        lowest recovery.
        """
        need = self._required.copy()
        if self.sizes["built"]:
            span = np.array(self.case.spans, dtype=float)[self.built_year]
            holds = self.case.stock["max_t"].to_numpy(dtype=float)[self.built_place]
            material = self.stock_material[self.built_place]
            room = np.minimum(np.minimum(self.built_upper_t, holds / span), self._makeable[material, self.built_year])
            np.add.at(need, (material, self.built_year), room)
        return self._upstream(need)

    @cached_property
    def _required(self) -> Floats:
        return np.asarray(required_t(self.case).sum(axis=0))

    @cached_property
    def _makeable(self) -> Floats:
        """Most of each material that its suppliers can make, by-products included; shape (materials, years)."""
        found = np.zeros((len(self.material_code), len(self.case.years)))
        most = np.where(np.isfinite(self.production_upper_t), self.production_upper_t, 0.0)
        np.add.at(found, (self.supplier_material[self.production_supplier], self.production_year), most)
        names = self.case.suppliers["supplier"].to_numpy()
        for supplier, year, tonnes in zip(self.production_supplier, self.production_year, most, strict=True):
            for material, ratio in self.case.byproducts.get(names[supplier], ()):
                found[self.material_code[material], year] += ratio * tonnes
        return found

    def _upstream(self, wanted: Floats) -> Floats:
        """What is wanted of each material and, down the chain, of what it is made from at the lowest recovery."""
        need = wanted.copy()
        lowest: dict[tuple[str, str], float] = {}
        table = self.case.suppliers
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


def lay_out(case: Case, status_quo: bool = False, within: Extent | None = None) -> Layout:
    """The quantities that can be other than zero; lanes that cannot carry anything to a market are dropped.

    In the status quo every supplier with ``incumbent_t`` counts, whatever its years and capacity, and lanes have
    no limit; nothing is expanded, substituted, put into stock or drawn from it (contract 1.2). ``within``: lay out
    more than the case itself needs (what it cannot use has the limit 0), so that several cases over the same rows
    have the same columns.
    """
    found = within if within is not None else extent(case, status_quo)
    growth = find_growth(case)
    capacity, most, minimum = limits_of(case, growth, status_quo)
    alive, carries, asks = found.alive, found.carries, found.asks
    lanes = case.lanes
    by_name = name_rank(case)
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
    wanted = np.nonzero(found.required)
    own = extent(case, status_quo) if within is not None else found
    replaceable = np.where(own.replaced, replaceable_t(case), 0.0)
    market, step = np.nonzero(found.replaced)
    code = {name: place for place, name in enumerate(case.materials["material"])}
    inputs = case.suppliers["input"].to_numpy()
    drawn = np.array([code[inputs[s]] for s in draw_supplier], dtype=np.int64)
    pool, pool_year = np.unique(np.stack([drawn, draw_year], axis=1), axis=0).T
    materials = case.materials["material"].to_numpy()
    return Layout(
        case=case, status_quo=status_quo,
        production_supplier=supplier, production_year=year,
        production_lower_t=minimum[supplier, year], production_upper_t=most[supplier, year],
        production_capacity_t=capacity[supplier, year],
        flow_lane=flow_lane, flow_year=flow_year, flow_upper_t=limit,
        draw_supplier=draw_supplier, draw_year=draw_year,
        shortage_demand=priced,
        shortage_year=np.array([year_at[y] for y in demand["year"].to_numpy()[priced]], dtype=np.int64),
        shortage_upper_t=demand["required_t"].to_numpy(dtype=float)[priced],
        used_production=np.flatnonzero(asks[supplier]),
        requirement_market=wanted[0], requirement_material=wanted[1], requirement_year=wanted[2],
        requirement_t=required_t(case)[wanted],
        pool_material=pool, pool_year=pool_year,
        pool_t=np.array([case.pools[materials[m]][0][y] for m, y in zip(pool, pool_year, strict=True)]),
        dropped_lanes=int((lanes.exists & ~carries).sum()),
        substituted_market=market, substituted_step=step,
        substituted_year=np.array([year_at[y] for y in case.substitution["year"].to_numpy()[step]], dtype=np.int64),
        substituted_upper_t=replaceable[market, step], growth=growth, **stocked(case, status_quo),
        **_decisions(by_name, "expansion", found.expands, "upper_t", np.where(own.expands, growth.limit_t[:, None], 0)),
        **_decisions(by_name, "opened", found.opens, "upper", own.opens),
    )  # fmt: skip


def _decisions(rank: Ints, family: str, flags: Flags, bound: str, most: Floats | Flags) -> dict[str, Any]:
    """Supplier, year and upper bound of each decision, in the order of the suppliers' ids."""
    supplier, year = np.nonzero(flags)
    order = np.lexsort((year, rank[supplier]))
    supplier, year = supplier[order], year[order]
    return {f"{family}_supplier": supplier, f"{family}_year": year,
            f"{family}_{bound}": np.asarray(most[supplier, year], dtype=float)}  # fmt: skip
