"""What a response to a loss may call on: capacity with what is usable of expansions, and stock. Numbers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.case import Floats
from models.lanes import Ints
from models.layout import Layout


@dataclass(frozen=True)
class StockAtHand:
    """The stock that stands behind requirements at the start of their year; one entry for each that has any.

    ``requirement``: place in the layout's requirement vectors. ``column``: the stock at the end of the year before as
    a layout column, -1 in the first year, when ``opening_t`` is there. ``draw_max_t``: most in a year, t.
    """

    requirement: Ints
    column: Ints
    opening_t: Floats
    draw_max_t: Floats

    def start_t(self, x: Floats) -> Floats:
        """Tonnes at the start of the year, at the columns' values."""
        return np.where(self.column >= 0, x[np.maximum(self.column, 0)], self.opening_t)

    def counts_t(self, x: Floats, months: float) -> Floats:
        """Tonnes a year that stock adds while a loss of so many months lasts: min(start * 12 / months, draw_max)."""
        return np.minimum(np.maximum(self.start_t(x), 0.0) * 12.0 / months, self.draw_max_t)


def stock_at_hand(layout: Layout) -> StockAtHand:
    """The stock behind each requirement, in the order of the requirements."""
    case = layout.case
    places = {(int(k), int(m)): place for place, (k, m) in enumerate(
        zip(layout.stock_market, layout.stock_material, strict=True))}  # fmt: skip
    entry = {(int(place), int(year)): number for number, (place, year) in enumerate(
        zip(layout.stock_place, layout.stock_year, strict=True))}  # fmt: skip
    found = []
    for r, (k, m, y) in enumerate(zip(layout.requirement_market.tolist(), layout.requirement_material.tolist(),
                                      layout.requirement_year.tolist(), strict=True)):  # fmt: skip
        if (k, m) in places:
            place = places[k, m]
            before = entry.get((place, y - 1), -1)
            found.append((r, layout.offsets["stock"] + before if before >= 0 else -1, place))
    requirement, column, place_of = np.array(found, dtype=np.int64).reshape(-1, 3).T
    opening, most = (case.stock[name].to_numpy(dtype=float)[place_of] for name in ("opening_t", "draw_max_t"))
    return StockAtHand(requirement, column, opening, most)


def surge_capacity_t(layout: Layout, x: Floats) -> Floats:
    """Capacity of each production entry with what is usable of expansions in its year, t a year."""
    production, expansion, part = layout.grown
    capacity = layout.production_capacity_t.copy()
    np.add.at(capacity, production, part * np.maximum(x[layout.offsets["expansion"] + expansion], 0.0))
    return capacity
