"""The cheapest responses of a plan that is kept, to every outcome: each copy of a piece solved with the plan fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.case import Flags, Floats
from optimizer.engine import Engine, EngineError, Limits
from optimizer.program import Names, Program
from optimizer.response_copies import Piece, Touch, matrix_of
from optimizer.two_stage import TwoStage

_QUICK = Limits(seconds=600.0, threads=1)
_ROOM = 5e-9  # share of a requirement (or of its material's scale) by which a plan may fail it: the solver's tolerance


@dataclass(frozen=True)
class Responses:
    """What each outcome costs where a plan is kept.

    ``usd``: discounted cost of each outcome's response, that of "nothing happens" first (as the plan delivers itself);
    inf where a requirement without a price would be missed. ``copy_usd``: of each copy. ``values``: for each piece the
    columns of its copies, shape (copies, columns); nan in those that would miss a requirement.
    """

    usd: Floats
    copy_usd: Floats
    values: list[Floats]

    @property
    def met(self) -> bool:
        """Whether every outcome has a response."""
        return bool(np.isfinite(self.usd).all())


def respond(two: TwoStage, x: Floats) -> Responses:
    """The cheapest responses where the plan has the values ``x`` (of its layout's columns)."""
    network, values, paid = two.network, [], []
    x = np.maximum(x[: two.layout.width], 0.0)
    for piece, touch in two.copies:
        program, units = _fixed(two, piece, touch, x)
        found = _solved(program, units, len(touch))
        values.append(found)
        paid.append((found * network.costs(piece, touch)).sum(axis=1))
    each = np.concatenate(paid) if paid else np.zeros(0)
    each = np.where(np.isnan(each), np.inf, each)
    usd = np.concatenate([[two.delivered_usd(x)], each[two.copy_of].sum(axis=1)])
    return Responses(usd, each, values)


def _fixed(two: TwoStage, piece: Piece, touch: Touch, x: Floats) -> tuple[Program, Floats]:
    """The copies of a piece with the plan as it stands; a plan's values leave room for the solver's tolerance."""
    network, layout = two.network, two.layout
    inner, tied = network.copies(piece, touch)
    height, width = len(touch) * piece.height, len(touch) * len(piece.columns)
    given = np.bincount(tied[0], weights=tied[2] * x[tied[1]], minlength=height).astype(float)
    low, high = network.limits(piece, touch)
    scale = layout.scale_t[layout.requirement_material[piece.required]]
    low[:, piece.required_row] -= _ROOM * np.maximum(low[:, piece.required_row], scale)
    upper = network.bounds(piece, touch)
    stock = (piece.columns >= layout.offsets["stock"]) & (piece.columns < layout.offsets["expansion"])
    upper[:, stock] *= 1.0 + _ROOM
    program = Program(
        matrix_of(inner, (height, width)), low.ravel() - given, high.ravel() - given,
        network.costs(piece, touch).ravel(), np.zeros(width), upper.ravel(), np.zeros(width, dtype=bool),
        Names([("response_row", range(height))]), Names([("response", range(width))]),
    )  # fmt: skip
    return program, np.tile(layout.scale_t[layout.column_material[piece.columns]], len(touch))


def _solved(program: Program, units: Floats, count: int) -> Floats:
    """Values of the columns of every copy; nan where a copy has no answer."""
    width = len(units) // max(count, 1)
    solution = Engine(program, units).solve(_QUICK)
    if solution.has_plan:
        return solution.x.reshape(count, width)
    if solution.status != "infeasible":
        raise EngineError(f"the responses were {solution.status}")
    if count == 1:
        return np.full((1, width), np.nan)
    half = count // 2
    return np.concatenate([
        _solved(*_part(program, units, count, slice(0, half)), half),
        _solved(*_part(program, units, count, slice(half, count)), count - half),
    ])  # fmt: skip


def _part(program: Program, units: Floats, count: int, kept: slice) -> tuple[Program, Floats]:
    """Some of the copies."""
    height, width = program.matrix.shape[0] // count, len(units) // count
    rows, columns = slice(kept.start * height, kept.stop * height), slice(kept.start * width, kept.stop * width)
    matrix = program.matrix[:, columns][rows]
    matrix.sort_indices()
    return Program(
        matrix, program.row_lower[rows], program.row_upper[rows], program.cost[columns], program.lower[columns],
        program.upper[columns], program.integer[columns], Names([("response_row", range(matrix.shape[0]))]),
        Names([("response", range(matrix.shape[1]))]),
    ), units[columns]  # fmt: skip


def unanswered(two: TwoStage, found: Responses) -> Flags:
    """Which (outcome but the first, piece) would miss a requirement without a price."""
    return np.isinf(found.copy_usd)[two.copy_of]
