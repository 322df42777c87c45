"""Which quantities of a case can be other than zero, year by year."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.case import Case, Flags, Floats
from models.expansion import Growth, find_growth
from models.lanes import Ints


@dataclass(frozen=True)
class Extent:
    """What can be other than zero in a case: suppliers and lanes by year, who asks for a switch, priced demand,
    what markets take, steps of substitution, expansions and openings. Extents of several cases over the same rows
    add up (``|``).
    """

    alive: Flags
    kept: Flags
    carries: Flags
    asks: Flags
    priced: Flags
    required: Flags
    replaced: Flags
    expands: Flags
    opens: Flags

    def __or__(self, other: Extent) -> Extent:
        return Extent(*(getattr(self, name) | getattr(other, name) for name in self.__dataclass_fields__))


def limits_of(case: Case, growth: Growth, status_quo: bool) -> tuple[Floats, Floats, Floats]:
    """Of each supplier in each year: its capacity, that with all that can be usable of expansions, its minimum; t.

    0 where it is not active. In the status quo whoever sells today has no limit.
    """
    capacity, minimum = case.by_year("capacity_t"), case.by_year("min_t")
    if status_quo:
        incumbent = case.suppliers["incumbent_t"].to_numpy() > 0
        capacity = np.repeat(np.where(incumbent, np.inf, 0.0)[:, None], len(case.years), axis=1)
        return capacity, capacity, np.zeros_like(capacity)
    most = capacity + growth.limit_t[:, None] * growth.usable.max(axis=1)
    return tuple(np.where(case.active, tonnes, 0.0) for tonnes in (capacity, most, minimum))  # type: ignore[return-value]


def extent(case: Case, status_quo: bool = False, lifted: bool = False) -> Extent:
    """What can be other than zero; lanes that cannot carry anything to a market are left out.

    ``lifted``: what could be, were every capacity, lane limit, pool and requirement of 0 lifted.
    """
    growth = find_growth(case)
    capacity, most, minimum = limits_of(case, growth, status_quo)
    required = _taken(case, status_quo, lifted)
    alive, carries = reachable(case, case.active.astype(float) if lifted else most, required, status_quo or lifted)
    # A contract that nothing can take is kept, and reported as a conflict; so is an incumbent in the status quo,
    # whose factor is that of its material.
    forced = (capacity if status_quo else minimum) > 0
    asks = case.suppliers["fixed_usd_per_y"].to_numpy() > 0
    demand = case.demand
    priced = np.zeros(len(demand), dtype=bool)
    if not status_quo:
        asks = asks | (case.suppliers["lot_t"].to_numpy() > 0)
        priced = (demand["shortage_usd_per_t"].notna() & (demand["required_t"] > 0)).to_numpy(dtype=bool)
    replaced = (replaceable_t(case) > 0) & (not status_quo)
    expands, opens = decided(case, growth, alive, status_quo)
    return Extent(alive, alive | forced, carries, asks, priced, required, replaced, expands, opens)


def decided(case: Case, growth: Growth, alive: Flags, status_quo: bool) -> tuple[Flags, Flags]:
    """Expansions that give something in some year, and openings with or before them that are paid for in some year;
    each (suppliers, years of decision).
    """
    useful = (growth.usable > 0) & alive[:, None, :] & case.active[:, None, :]
    expands = useful.any(axis=2) & (not status_quo)
    later = np.flip(np.logical_or.accumulate(np.flip(expands, axis=1), axis=1), axis=1)
    opens = later & growth.owed.any(axis=2) & (growth.open_usd > 0)[:, None]
    expands = expands & ((growth.open_usd == 0)[:, None] | np.logical_or.accumulate(opens, axis=1))
    return np.asarray(expands), np.asarray(opens)


def replaceable_t(case: Case) -> Floats:
    """Most that each row of ``case.substitution`` can do without; shape (markets, rows), t a year."""
    steps = case.substitution
    code = {name: place for place, name in enumerate(case.materials["material"])}
    year_at = {year: at for at, year in enumerate(case.years)}
    material = np.array([code[name] for name in steps["material"]], dtype=np.int64)
    year = np.array([year_at[at] for at in steps["year"]], dtype=np.int64)
    return np.asarray(required_t(case)[:, material, year] * steps["max_share"].to_numpy(dtype=float))


def stocked(case: Case, status_quo: bool) -> dict[str, Any]:
    """Stockpiles in each year; in the status quo they stay as they are, and nothing is put in or drawn."""
    table, years = case.stock, len(case.years)
    place, year = np.repeat(np.arange(len(table)), years), np.tile(np.arange(years), len(table))
    moves = np.zeros(0, dtype=np.int64) if status_quo else np.arange(len(place))
    opening = table["opening_t"].to_numpy(dtype=float)[place]
    return {
        "built_place": place[moves], "built_year": year[moves],
        "built_upper_t": table["build_max_t"].to_numpy(dtype=float)[place[moves]],
        "drawn_place": place[moves], "drawn_year": year[moves],
        "drawn_upper_t": table["draw_max_t"].to_numpy(dtype=float)[place[moves]],
        "stock_place": place, "stock_year": year, "stock_lower_t": opening if status_quo else np.zeros(len(place)),
        "stock_upper_t": opening if status_quo else table["max_t"].to_numpy(dtype=float)[place],
    }  # fmt: skip


def _taken(case: Case, status_quo: bool, lifted: bool = False) -> Flags:
    """Whether a market takes a material in a year: it requires it (``lifted``: be it 0), or can put it into stock."""
    taken = required_t(case) > 0
    markets, materials = list(case.markets), list(case.materials["material"])
    if lifted:
        for place, wanted in enumerate(case.markets.values()):
            taken[place, [materials.index(material) for material in wanted]] = True
    if not status_quo:
        for market, material in zip(case.stock["market"], case.stock["material"], strict=True):
            taken[markets.index(market), materials.index(material)] = True
    return np.asarray(taken)


def required_t(case: Case) -> Floats:
    """Tonnes required, sectors added up; shape (markets, materials, years)."""
    code = {name: place for place, name in enumerate(case.materials["material"])}
    required = np.zeros((len(case.markets), len(code), len(case.years)))
    for place, (market, wanted) in enumerate(case.markets.items()):
        for material in wanted:
            required[place, code[material]] = [case.required[market, material, year] for year in case.years]
    return required


def name_rank(case: Case) -> Ints:
    """Place of each supplier and market in the order of their ids: rows in any order give the same model."""
    names = np.array([*case.suppliers["supplier"], *case.markets], dtype=object)
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(names, kind="stable")] = np.arange(len(names))
    return rank


def reachable(case: Case, capacity: Floats, required: Flags, unlimited: bool) -> tuple[Flags, Flags]:
    """Suppliers that can make something that reaches a market, and lanes that can carry it; each by year.

    ``unlimited``: lanes closed by their limit and empty pools count as well.
    """
    lanes, count = case.lanes, len(case.suppliers)
    open_lanes = lanes.exists.copy()
    if not unlimited:
        open_lanes &= lanes.max_t > 0
    to_market = lanes.destination >= count
    wanted = required[np.maximum(lanes.destination - count, 0), lanes.material]
    open_lanes &= wanted | ~to_market[:, None]
    pool = np.zeros((count, len(case.years)), dtype=bool)
    mine = np.array([not name for name in case.suppliers["input"]], dtype=bool)
    for place, name in enumerate(case.suppliers["input"]):
        if name in case.pools:
            pool[place] = True if unlimited else case.pools[name][0] > 0
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
