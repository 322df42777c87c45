"""What can still be delivered after a loss: the network of one year and chain as a small warm program.

The rows are those of the plan's own program (production leaves, inputs arrive, by-products, pools); what a supplier
can make is a bound: a * (q + surge_share * (capacity - q)). Chains of minerals share nothing, nor do years, so each
is a part with an engine of its own, and a loss is solved only where it takes something away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from models.case import Case, Flags, Floats
from models.disruptions import Loss, Losses, available_share
from models.lanes import Ints
from models.layout import Layout
from models.responses import StockAtHand, stock_at_hand
from optimizer.engine import Engine, EngineError, Limits, Solution
from optimizer.program import Names, Program

KEPT = ("production_leaves", "inputs_arrive", "byproduct_made", "pool_available", "requirement_met")
_QUICK = Limits(seconds=60.0, threads=1, presolve=False)
_ACTIVE = 1e-7  # share of a requirement
ChainKey = tuple[int, int]  # chain of materials, position of the year


def material_chains(case: Case) -> Ints:
    """A number for each material: the same for all that suppliers link, as input, output or by-product."""
    code = {name: place for place, name in enumerate(case.materials["material"])}
    group = list(range(len(code)))

    def root(place: int) -> int:
        while group[place] != place:
            place = group[place]
        return place

    table, seconds = case.suppliers, case.tables["byproducts"]
    made = dict(zip(table["supplier"], table["material"], strict=True))
    links = [(used, out) for used, out in zip(table["input"], table["material"], strict=True) if used]
    links += [(made[s], m) for s, m in zip(seconds["supplier"], seconds["material"], strict=True)]
    for one, other in links:
        group[root(code[one])] = root(code[other])
    return np.array([root(place) for place in range(len(group))], dtype=np.int64)


@dataclass(frozen=True)
class Response:
    """How near a plan comes to what is asked after a loss, in one part.

    ``missing``: for each material of the part the share that is missing of what was asked, least in their sum.
    ``solution`` has the prices of ``engine``'s rows.
    """

    missing: Floats
    solution: Solution


class Chain:
    """One chain in one year: what it can deliver under given limits of production.

    ``production``, ``flow``, ``draw``: entries of the layout. ``required``: places in the layout's requirement
    vectors; ``materials``: the materials delivered; ``of_material``: which of them each requirement is of.
    ``stocked``: entries of the stock at hand that stand behind one of its requirements. ``by_row`` gives the program's
    matrix by rows, for all parts the same.
    """

    def __init__(
        self, layout: Layout, program: Program, key: ChainKey, columns: Ints, rows: Ints, stock: StockAtHand,
        by_row: Callable[[], sparse.csr_array],
    ) -> None:  # fmt: skip
        self.layout, self.key = layout, key
        self.columns = columns
        start = layout.offsets
        self.production = columns[columns < start["flow"]]
        self.supplier = layout.production_supplier[self.production]
        self.surge = layout.case.suppliers["surge_share"].to_numpy(dtype=float)[self.supplier]
        moved = columns[(columns >= start["flow"]) & (columns < start["draw"])]
        self.flow = moved - start["flow"]
        self.draw = columns[columns >= start["draw"]] - start["draw"]
        family = np.concatenate([np.full(len(listed), KEPT.index(name) if name in KEPT else -1)
                                 for name, listed in program.rows.blocks]) if len(rows) else np.zeros(0)  # fmt: skip
        served = family[rows] == KEPT.index("requirement_met")
        self.rows = np.concatenate([rows[~served], rows[served]])
        self.kept = int((~served).sum())
        index = [program.rows[place][1] for place in rows[served].tolist()]
        places = {(int(k), int(m), int(y)): place for place, (k, m, y) in enumerate(zip(
            layout.requirement_market, layout.requirement_material, layout.requirement_year, strict=True))}  # fmt: skip
        self.required = np.array([places[key] for key in index], dtype=np.int64)
        codes = layout.requirement_material[self.required]
        self.materials, of = np.unique(codes, return_inverse=True)
        self.of_material = of.astype(np.int64)
        self.required_t = layout.requirement_t[self.required]
        self.stocked = np.flatnonzero(np.isin(stock.requirement, self.required))
        order = np.argsort(self.required)
        self.stock_row = order[np.searchsorted(self.required[order], stock.requirement[self.stocked])]
        self._engine: Engine | None = None
        self._source, self._by_row = program, by_row
        self._asked = np.zeros(0)
        self._most = np.zeros(0)

    @property
    def engine(self) -> Engine:
        """The warm program: least sum of missing shares."""
        if self._engine is None:
            self._engine = self._load()
        return self._engine

    def _load(self) -> Engine:
        source, layout = self._source, self.layout
        inner = sparse.csc_array(self._by_row()[self.rows][:, self.columns])
        count, width, stocks = len(self.materials), len(self.columns), len(self.stocked)
        of = self.kept + np.arange(len(self.required))
        missing = sparse.coo_array((self.required_t, (of, self.of_material)), shape=(len(self.rows), count))
        stock = sparse.coo_array((np.ones(stocks), (self.kept + self.stock_row, np.arange(stocks))),
                                 shape=(len(self.rows), stocks))  # fmt: skip
        matrix = sparse.csc_array(sparse.hstack([inner, missing, stock]))
        row_lower, row_upper = source.row_lower[self.rows].copy(), source.row_upper[self.rows].copy()
        row_lower[self.kept :], row_upper[self.kept :] = 0.0, np.inf
        upper = source.upper[self.columns].copy()
        upper[: len(self.production)] = 0.0
        program = Program(
            matrix=matrix, row_lower=row_lower, row_upper=row_upper,
            cost=np.concatenate([np.zeros(width), np.ones(count), np.zeros(stocks)]),
            lower=np.zeros(width + count + stocks),
            upper=np.concatenate([upper, np.full(count, np.inf), np.zeros(stocks)]),
            integer=np.zeros(width + count + stocks, dtype=bool),
            rows=Names([("kept", range(self.kept)), ("served", range(len(self.required)))]),
            names=Names([("response", range(width)), ("missing", range(count)), ("from_stock", range(stocks))]),
        )  # fmt: skip
        scale = layout.scale_t
        stock_scale = scale[self.materials[self.of_material[self.stock_row]]]
        units = np.concatenate([scale[layout.column_material[self.columns]], np.ones(count), stock_scale])
        self._most = upper[: len(self.production)].copy()
        self._asked = np.zeros(len(self.required))
        return Engine(program, units)

    def ask(self, most_t: Floats, asked: Floats, stock_t: Floats, room: Floats | None = None) -> Response:
        """Least missing where each supplier makes at most ``most_t`` (by ``production``), of each requirement the share
        ``asked`` is wanted (by ``required``), and stock adds at most ``stock_t`` (by ``stocked``), all a year.
        ``room``: the most that may be missing of each material.
        """
        engine = self.engine
        changed = np.flatnonzero(most_t != self._most)
        if len(changed):
            engine.change_bounds(changed, np.zeros(len(changed)), most_t[changed])
            self._most = most_t.copy()
        if not np.array_equal(asked, self._asked):
            served = self.kept + np.arange(len(self.required))
            engine.change_limits(served, asked * self.required_t, np.full(len(served), np.inf))
            self._asked = asked.copy()
        missing = len(self.columns) + np.arange(len(self.materials))
        room = np.full(len(self.materials), np.inf) if room is None else room
        if not np.array_equal(room, engine.program.upper[missing]):
            engine.change_bounds(missing, np.zeros(len(missing)), room)
        stocks = missing[-1:] + 1 + np.arange(len(self.stocked)) if len(self.stocked) else missing[:0]
        if not np.array_equal(stock_t, engine.program.upper[stocks]):
            engine.change_bounds(stocks, np.zeros(len(stocks)), stock_t)
        solution = engine.solve(_QUICK)
        if not solution.has_plan:
            if np.isfinite(room).any():
                return self.ask(most_t, asked, stock_t)
            raise EngineError(f"a response was {solution.status}: with all of it missing it holds")
        return Response(np.maximum(solution.x[missing], 0.0), solution)

    def in_the_way(
        self, solution: Solution
    ) -> tuple[tuple[tuple[int, int, float], ...], tuple[tuple[int, float], ...]]:  # fmt: skip
        """What carries a price in a response beside production: pools (material, year, t) and lanes (flow, t)."""
        assert solution.prices is not None
        assert solution.reduced_costs is not None
        limit = self._source.row_upper[self.rows[: self.kept]]  # 0 for balances
        pools = []
        for row in np.flatnonzero(solution.prices[: self.kept] * limit < -_ACTIVE).tolist():
            material, year = self._source.rows[int(self.rows[row])][1]
            pools.append((int(material), int(year), float(limit[row])))
        first = len(self.production)
        most = self.layout.flow_upper_t[self.flow]
        worth = solution.reduced_costs[first : first + len(self.flow)] * np.where(np.isfinite(most), most, 0.0)
        full = np.flatnonzero(worth < -_ACTIVE).tolist()
        return tuple(pools), tuple((int(self.flow[f]), float(most[f])) for f in full)


class Chains:
    """The parts of a plan's program and which columns and rows each has.

    ``able``: production entries that can make anything in any response that will be asked for; the others, and what
    only they would move, are left out.
    """

    def __init__(self, layout: Layout, program: Program, able: Flags | None = None) -> None:
        self.layout, self.program = layout, program
        self.able = np.ones(layout.sizes["production"], dtype=bool) if able is None else able
        self.chain = material_chains(layout.case)
        self.stock = stock_at_hand(layout)
        self._made: dict[ChainKey, Chain] = {}

    @cached_property
    def _columns(self) -> dict[ChainKey, Ints]:
        layout = self.layout
        last = layout.offsets["shortage"]  # production, flows, draws come first
        chain, year = self.chain[layout.column_material[:last]], layout.column_year[:last]
        kept = np.flatnonzero(self._moves)
        return {key: kept[listed] for key, listed in _grouped(chain[kept], year[kept]).items()}

    @cached_property
    def _by_row(self) -> sparse.csr_array:
        """The program's matrix by rows, from which each part takes its own."""
        return sparse.csr_array(self.program.matrix)

    @cached_property
    def _moves(self) -> Flags:
        """Whether each production, flow and draw is of suppliers that can make anything."""
        layout, count = self.layout, len(self.layout.case.suppliers)
        able = np.zeros((count + len(layout.case.markets), len(layout.case.years)), dtype=bool)
        able[layout.production_supplier, layout.production_year] = self.able
        able[count:] = True
        flows = able[layout.flow_origin, layout.flow_year] & able[layout.flow_destination, layout.flow_year]
        return np.concatenate([self.able, flows, able[layout.draw_supplier, layout.draw_year]])

    @cached_property
    def _rows(self) -> dict[ChainKey, Ints]:
        layout, chains, years, places = self.layout, [], [], []
        start = 0
        for family, listed in self.program.rows.blocks:
            count = len(listed)
            if family in KEPT:
                if family in ("production_leaves", "inputs_arrive"):
                    entry = np.asarray(listed)
                elif family == "byproduct_made":
                    entry = np.array([entry for entry, _ in listed], dtype=np.int64)
                if family in ("requirement_met", "pool_available"):
                    named = np.array([index[-2:] for index in listed], dtype=np.int64).reshape(-1, 2)
                    material, year = named.T
                else:
                    material = layout.supplier_material[layout.production_supplier[entry]]
                    year = layout.production_year[entry]
                chains.append(self.chain[material])
                years.append(year)
                places.append(np.arange(start, start + count))
            start += count
        place = np.concatenate(places)
        # a row of suppliers that make nothing is empty
        filled = abs(self.program.matrix[:, : len(self._moves)]) @ self._moves.astype(float)
        asked = np.isin(place, [at for at, _ in self.program.rows.places("requirement_met")])
        kept = np.flatnonzero((filled[place] != 0) | asked)
        found = _grouped(np.concatenate(chains)[kept], np.concatenate(years)[kept])
        return {key: place[kept[listed]] for key, listed in found.items()}

    @property
    def keys(self) -> list[ChainKey]:
        """Every part that something is required of."""
        layout = self.layout
        chain = self.chain[layout.requirement_material]
        return sorted(set(zip(chain.tolist(), layout.requirement_year.tolist(), strict=True)))

    def at(self, key: ChainKey) -> Chain:
        """The part of a chain and a year; made when first asked for."""
        if key not in self._made:
            none = np.zeros(0, dtype=np.int64)
            self._made[key] = Chain(self.layout, self.program, key, self._columns.get(key, none),
                                   self._rows.get(key, none), self.stock, lambda: self._by_row)  # fmt: skip
        return self._made[key]


def _grouped(chain: Ints, year: Ints) -> dict[ChainKey, Ints]:
    order = np.lexsort((year, chain))
    pairs = np.stack([chain[order], year[order]], axis=1)
    first = np.concatenate([[True], (pairs[1:] != pairs[:-1]).any(axis=1)])[: len(pairs)]
    starts = np.flatnonzero(first).tolist()
    ends = [*starts[1:], len(order)]
    return {(int(pairs[a][0]), int(pairs[a][1])): np.sort(order[a:b]) for a, b in zip(starts, ends, strict=True)}


class LossTable:
    """What each loss leaves of every supplier, by year; worked out once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._known: dict[tuple[Loss | Losses, int], Floats] = {}

    def left(self, loss: Loss | Losses, at: int) -> Floats:
        """Share left of each supplier in a horizon year (by position); shape (suppliers,)."""
        if (loss, at) not in self._known:
            self._known[loss, at] = available_share(self.case, loss, self.case.years[at])
        return self._known[loss, at]


def most_t(part: Chain, left: Floats, made_t: Floats, capacity_t: Floats) -> Floats:
    """a * (q + surge_share * (capacity - q)) of each production entry of a part, t a year."""
    made = np.maximum(made_t[part.production], 0.0)
    return np.asarray(left[part.supplier] * (made + part.surge * np.maximum(capacity_t[part.production] - made, 0.0)))


def shares_asked(part: Chain, asked: Mapping[int, float], markets: Iterable[int]) -> Floats:
    """The share asked of each requirement of a part: of these materials in these markets, else 0."""
    inside = np.isin(part.layout.requirement_market[part.required], list(markets))
    shares = np.array([asked.get(int(code), 0.0) for code in part.materials])
    return np.asarray(np.where(inside, shares[part.of_material], 0.0))
