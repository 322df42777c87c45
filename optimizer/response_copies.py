"""Copies of the network that respond to outcomes: the rows of the plan's own program, replicated as arrays.

A part of the network that shares nothing with the rest in a response (a chain of materials in a year; in all years
where stock links them) is copied once for each different way in which an outcome touches it, not once an outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from models.case import Floats
from models.costs import delivered_objective, purchase_objective
from models.lanes import Ints
from models.layout import Layout
from models.outcomes import Effects
from optimizer.program import Program
from optimizer.recourse import KEPT, material_chains

COPIED = ("production", "flow", "draw", "shortage", "drawn", "substituted", "stock")
ROWS = (*KEPT, "stock_balance")
Terms = tuple[Ints, Ints, Floats]  # row, column, value


@dataclass(frozen=True)
class Piece:
    """A part of the network that responds by itself: which columns and rows of the plan's program it copies.

    ``columns``: of the layout, production first. ``inner``: rows x columns; ``built``: (row of the piece, column of
    the layout, value): what is put into stock as planned. ``production``: entries; ``required``: places in the
    layout's requirement vectors, ``required_row``: their rows; ``shortage`` and ``substituted``: places in
    ``columns``, with the market and material of each.
    """

    columns: Ints
    rows: Ints
    inner: Terms
    built: Terms
    production: Ints
    required: Ints
    required_row: Ints
    lacking: Ints
    lacking_of: tuple[Ints, Ints]

    @property
    def height(self) -> int:
        """Rows of one copy: those of the program, and one for each production entry."""
        return len(self.rows) + len(self.production)


@dataclass(frozen=True)
class Touch:
    """How outcomes touch a piece, one row a copy: what is left of each production entry and the factor on its cost,
    the factor on each requirement and on what each may be short of or substituted.
    """

    left: Floats
    cost: Floats
    required: Floats
    lacking: Floats

    def __len__(self) -> int:
        return len(self.left)


class Network:
    """The pieces of a plan's program and the numbers that a response takes from it."""

    def __init__(self, layout: Layout, program: Program) -> None:
        self.layout, self.program = layout, program
        self.delivered, self.purchase = delivered_objective(layout), purchase_objective(layout)
        self.surge = layout.case.suppliers["surge_share"].to_numpy(dtype=float)[layout.production_supplier]
        production, expansion, part = layout.grown
        order = np.argsort(production, kind="stable")
        self.grown = production[order], layout.offsets["expansion"] + expansion[order], part[order]

    @cached_property
    def pieces(self) -> list[Piece]:
        """Every piece that something is required of."""
        layout, program, years = self.layout, self.program, len(self.layout.case.years)
        columns = np.sort(np.concatenate([layout.columns(family) for family in COPIED]))
        chain = material_chains(layout.case)
        of_material = chain[layout.column_material]
        stocked = np.isin(chain, chain[layout.stock_material])[layout.column_material]
        label = np.full(program.matrix.shape[1], -1, dtype=np.int64)
        label[columns] = of_material[columns] * years + np.where(stocked, 0, layout.column_year)[columns]
        rows = np.concatenate([np.arange(start, start + len(listed)) for start, (family, listed)
                               in zip(program.rows.starts, program.rows.blocks, strict=False) if family in ROWS]
                              or [np.zeros(0, dtype=np.int64)])  # fmt: skip
        coo = program.matrix.tocsr()[rows].tocoo()
        at, column = coo.row.astype(np.int64), coo.col.astype(np.int64)
        inner = label[column] >= 0
        of_row = np.full(len(rows), -1, dtype=np.int64)
        of_row[at[inner]] = label[column[inner]]
        built = np.isin(column, layout.columns("built"))
        requirement = {(int(k), int(m), int(y)): place for place, (k, m, y) in enumerate(zip(
            layout.requirement_market, layout.requirement_material, layout.requirement_year, strict=True))}  # fmt: skip
        asked = {row: requirement[index] for row, index in program.rows.places("requirement_met")}
        found = []
        own_columns, own_rows = _groups(label[columns], columns), _groups(of_row, np.arange(len(rows)))
        own_inner, own_built = _groups(of_row[at[inner]], np.flatnonzero(inner)), {}
        if built.any():
            own_built = _groups(of_row[at[built]], np.flatnonzero(built))
        none = np.zeros(0, dtype=np.int64)
        for name, listed in own_columns.items():
            here = own_rows.get(name, none)
            place = np.full(program.matrix.shape[1], -1, dtype=np.int64)
            place[listed] = np.arange(len(listed))
            row_at = np.full(len(rows), -1, dtype=np.int64)
            row_at[here] = np.arange(len(here))
            terms, link = own_inner.get(name, none), own_built.get(name, none)
            wanted = [(row_at[i], asked[int(rows[i])]) for i in here.tolist() if int(rows[i]) in asked]
            lacking, of = self._lacking(listed)
            found.append(Piece(
                listed, rows[here], (row_at[at[terms]], place[column[terms]], coo.data[terms]),
                (row_at[at[link]], column[link], coo.data[link]), listed[listed < layout.sizes["production"]],
                np.array([r for _, r in wanted], dtype=np.int64), np.array([i for i, _ in wanted], dtype=np.int64),
                lacking, of,
            ))  # fmt: skip
        return found

    def _lacking(self, columns: Ints) -> tuple[Ints, tuple[Ints, Ints]]:
        """Places in ``columns`` of shortage and substitution, and the market and material of each."""
        layout, places, markets, materials = self.layout, [], [], []
        for family, market, material in (
            ("shortage", layout.shortage_market, layout.shortage_material),
            ("substituted", layout.substituted_market, layout.substituted_material),
        ):
            start = layout.offsets[family]
            here = np.flatnonzero((columns >= start) & (columns < start + layout.sizes[family]))
            entry = columns[here] - start
            places.append(here)
            markets.append(market[entry])
            materials.append(material[entry])
        return np.concatenate(places), (np.concatenate(markets), np.concatenate(materials))

    def touches(self, piece: Piece, effects: Effects) -> Touch:
        """How each outcome touches a piece."""
        layout = self.layout
        at = layout.production_year[piece.production], layout.production_supplier[piece.production]
        asked = layout.requirement_market[piece.required], layout.requirement_material[piece.required]
        return Touch(effects.available_share[:, at[0], at[1]], effects.cost_multiple[:, at[0], at[1]],
                     effects.demand_multiple[:, asked[0], asked[1]],
                     effects.demand_multiple[:, piece.lacking_of[0], piece.lacking_of[1]])  # fmt: skip

    def costs(self, piece: Piece, touch: Touch) -> Floats:
        """Discounted USD of one unit of each column of each copy; shape (copies, columns)."""
        found = np.repeat(self.delivered[piece.columns][None], len(touch), axis=0)
        found[:, : len(piece.production)] += (touch.cost - 1.0) * self.purchase[piece.production]
        return found

    def bounds(self, piece: Piece, touch: Touch) -> Floats:
        """Most of each column of each copy; shape (copies, columns). Minimums do not hold."""
        most = self.program.upper[piece.columns].copy()
        most[: len(piece.production)] = np.inf  # what limits it is a row
        found = np.repeat(most[None], len(touch), axis=0)
        found[:, : len(piece.production)][touch.left == 0] = 0.0
        if len(piece.lacking):
            found[:, piece.lacking] *= touch.lacking
        return found

    def limits(self, piece: Piece, touch: Touch) -> tuple[Floats, Floats]:
        """Limits of the rows of each copy; shape (copies, height)."""
        program, count = self.program, len(piece.rows)
        low = np.full((len(touch), piece.height), -np.inf)
        high = np.empty_like(low)
        low[:, :count], high[:, :count] = program.row_lower[piece.rows], program.row_upper[piece.rows]
        low[:, piece.required_row] *= touch.required
        high[:, piece.required_row] *= touch.required
        capacity = self.layout.production_capacity_t[piece.production]
        high[:, count:] = touch.left * self.surge[piece.production] * capacity
        return low, high

    def calls(self, piece: Piece, touch: Touch) -> tuple[Terms, Terms]:
        """What ties a copy to the plan: -a * (1 - surge) of each production entry, -a * surge * part of each expansion
        usable for it; (row of the piece, column of the layout, value of each copy).
        """
        entry, expansion, part = self.grown
        count, production = len(piece.rows), piece.production
        own = count + np.arange(len(production)), production, -touch.left * (1.0 - self.surge[production])
        place = np.full(self.layout.sizes["production"], -1, dtype=np.int64)
        place[production] = np.arange(len(production))
        here = np.flatnonzero(place[entry] >= 0)
        at = place[entry[here]]
        more = count + at, expansion[here], -touch.left[:, at] * self.surge[entry[here]] * part[here]
        return own, more

    def copies(self, piece: Piece, touch: Touch) -> tuple[Terms, Terms]:
        """The rows of all copies of a piece, one after the other: terms on their own columns (numbered through), and on
        the columns of the plan.
        """
        number, width, height = len(touch), len(piece.columns), piece.height
        at, column, values = piece.inner
        production = len(piece.rows) + np.arange(len(piece.production))
        at, column = np.concatenate([at, production]), np.concatenate([column, np.arange(len(production))])
        values = np.concatenate([values, np.ones(len(production))])
        shift = np.arange(number)[:, None]
        inner = ((at + shift * height).ravel(), (column + shift * width).ravel(), np.tile(values, number))
        own, more = self.calls(piece, touch)
        links = [(piece.built[0], piece.built[1], np.repeat(piece.built[2][None], number, axis=0)), own, more]
        tied = tuple(np.concatenate(parts) for parts in zip(*(
            ((row + shift * height).ravel(), np.tile(where, number), value.ravel()) for row, where, value in links),
            strict=True))  # fmt: skip
        return inner, tied  # type: ignore[return-value]


def _groups(labels: Ints, values: Ints) -> dict[int, Ints]:
    """Values by label, in their order; those of label -1 left out."""
    order = np.argsort(labels, kind="stable")
    names, first = np.unique(labels[order], return_index=True)
    parts = np.split(values[order], first[1:])
    return {int(name): part for name, part in zip(names.tolist(), parts, strict=True) if name >= 0}


def different(touch: Touch) -> tuple[Touch, Ints]:
    """The touches that differ, and which of them each outcome has."""
    parts = (touch.left, touch.cost, touch.required, touch.lacking)
    whole = np.ascontiguousarray(np.concatenate(parts, axis=1))
    if not whole.shape[1]:
        return Touch(*(part[:1] for part in parts)), np.zeros(len(touch), dtype=np.int64)
    keys = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()
    _, first, of = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    kept = first[order]
    return Touch(*(part[kept] for part in parts)), rank[of.ravel()]


def together(parts: Sequence[Terms]) -> Terms:
    """Terms of several blocks as one."""
    none = np.zeros(0, dtype=np.int64)
    rows, columns, values = zip(*parts, strict=True) if parts else ((none,), (none,), (np.zeros(0),))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)


def matrix_of(terms: Terms, shape: tuple[int, int]) -> sparse.csc_array:
    """Terms as a matrix, sorted."""
    rows, columns, values = terms
    found = sparse.csc_array(sparse.coo_array((values, (rows, columns)), shape=shape))
    found.sort_indices()
    return found
