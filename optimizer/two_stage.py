"""The two-stage program: the plan's own program with a response to every outcome, weighed by expectation and CVaR.

Objective (contract section 2): first-stage cost + (1 - w) * sum of p Q + w * CVaR of Q over the worst ``tail``, with
CVaR = min over v of v + 1 / tail * sum of p max(Q - v, 0) (Rockafellar and Uryasev, Journal of Risk 2, 2000). Q of
"nothing happens" is what the plan itself pays as delivered; Q of another outcome is that of its response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from models.case import Floats
from models.lanes import Ints
from models.layout import Layout
from models.outcomes import Effects, Outcome, find_effects, find_outcomes
from optimizer.engine import power_of_ten
from optimizer.program import Names, Program
from optimizer.response_copies import Network, Piece, Terms, Touch, different, matrix_of, together


@dataclass
class TwoStage:
    """The outcomes of a case and the copies of the network that answer them.

    ``program``: the plan's own, without responses. ``outcomes``: "nothing happens" first. ``copies``: a piece of the
    network and the different ways in which outcomes touch it; ``copy_of``: for each outcome but the first, and each
    piece, the copy that answers it (numbered through all pieces).
    """

    layout: Layout
    program: Program
    outcomes: Sequence[Outcome]
    effects: Effects

    @classmethod
    def of(cls, layout: Layout, program: Program) -> TwoStage:
        """The two-stage program of a case."""
        outcomes = find_outcomes(layout.case)
        return cls(layout, program, outcomes, find_effects(layout.case, outcomes))

    @cached_property
    def network(self) -> Network:
        """The pieces of the network."""
        return Network(self.layout, self.program)

    @cached_property
    def _answers(self) -> tuple[list[tuple[Piece, Touch]], Ints]:
        network, others = self.network, slice(1, None)
        effects = Effects(self.effects.available_share[others], self.effects.cost_multiple[others],
                          self.effects.demand_multiple[others])  # fmt: skip
        copies, of, start = [], [], 0
        for piece in network.pieces if len(self.outcomes) > 1 else ():
            touch, which = different(network.touches(piece, effects))
            copies.append((piece, touch))
            of.append(start + which)
            start += len(touch)
        return copies, np.array(of, dtype=np.int64).reshape(len(copies), len(self.outcomes) - 1).T

    @property
    def copies(self) -> list[tuple[Piece, Touch]]:
        """Pieces with the ways in which outcomes touch them."""
        return self._answers[0]

    @property
    def copy_of(self) -> Ints:
        """The copy of each (outcome but the first, piece)."""
        return self._answers[1]

    @cached_property
    def probability(self) -> Floats:
        """Probability of each outcome."""
        return np.array([outcome.probability for outcome in self.outcomes])

    @cached_property
    def weight(self) -> float:
        """Weight of the tail; 0 where the tail is everything."""
        risk = self.layout.case.settings.risk
        return float(risk.weight or 0.0) if risk.tail < 1 else 0.0

    @cached_property
    def copy_probability(self) -> Floats:
        """Probability of all outcomes that each copy answers."""
        each = np.repeat(self.probability[1:], self.copy_of.shape[1])
        return np.bincount(self.copy_of.ravel(), weights=each, minlength=self.count).astype(float)

    @property
    def height(self) -> int:
        """Rows of all copies together."""
        return sum(len(touch) * piece.height for piece, touch in self.copies)

    @property
    def count(self) -> int:
        """Number of copies."""
        return sum(len(touch) for _, touch in self.copies)

    def delivered_usd(self, x: Floats) -> float:
        """What the plan itself pays as delivered, discounted."""
        return float(self.network.delivered @ x)

    def first_stage_usd(self, x: Floats) -> float:
        """What is paid whatever happens, discounted: fixed charges, capital less grants, holding of stock."""
        return float(self.program.cost[: self.layout.width] @ x) - self.delivered_usd(x)

    def objective_usd(self, x: Floats, response_usd: Floats) -> float:
        """The number that is made least, from the response cost of every outcome."""
        expected = float(self.probability @ response_usd)
        worst = cvar(self.probability, response_usd, self.layout.case.settings.risk.tail)
        weight = float(self.layout.case.settings.risk.weight or 0.0)
        return self.first_stage_usd(x) + (1 - weight) * expected + weight * worst


def cvar(probability: Floats, usd: Floats, tail: float) -> float:
    """Mean of the worst ``tail`` of probability; the outcome at its edge counts with the part that is inside."""
    return float(tail_weights(probability, usd, tail) @ usd)


def tail_weights(probability: Floats, usd: Floats, tail: float) -> Floats:
    """The share that each outcome has in the worst ``tail`` of probability; they add up to 1."""
    order = np.argsort(-usd, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(probability[order])[:-1]])
    inside = np.clip(tail - before, 0.0, probability[order])
    found = np.zeros(len(usd))
    found[order] = inside / max(inside.sum(), 1e-300)
    return found


@dataclass
class Addition:
    """Columns and rows added to a program, put together block by block."""

    width: int
    height: int = 0

    def __post_init__(self) -> None:
        self.terms: list[Terms] = []
        self.columns: list[tuple[Floats, Floats, Floats]] = []  # lower, upper, cost
        self.rows: list[tuple[Floats, Floats]] = []
        self.names: list[tuple[str, Any]] = []
        self.row_names: list[tuple[str, Any]] = []

    def add_columns(self, family: str, indices: Any, lower: Floats, upper: Floats, cost: Floats) -> int:
        """New columns; the first of them."""
        start = self.width
        self.columns.append((lower, upper, cost))
        self.names.append((family, indices))
        self.width += len(lower)
        return start

    def add_rows(self, family: str, indices: Any, terms: Terms, low: Floats, high: Floats) -> None:
        """New rows: terms with rows from 0."""
        self.terms.append((terms[0] + self.height, terms[1], terms[2]))
        self.rows.append((low, high))
        self.row_names.append((family, indices))
        self.height += len(low)

    def to(self, program: Program, cost: Floats) -> Program:
        """The program with what was added; ``cost``: of the columns that it had."""
        added = matrix_of(together(self.terms), (self.height, self.width))
        wide = sparse.csc_array(
            (program.matrix.data, program.matrix.indices,
             np.concatenate([program.matrix.indptr, np.full(self.width - len(cost), program.matrix.nnz)])),
            shape=(program.matrix.shape[0], self.width),
        )  # fmt: skip
        matrix = sparse.csc_array(sparse.vstack([wide, added], format="csc"))
        matrix.sort_indices()
        lower, upper, own = (np.concatenate([part[i] for part in self.columns]) for i in range(3))
        return replace(
            program, matrix=matrix, cost=np.concatenate([cost, own]),
            row_lower=np.concatenate([program.row_lower, *(low for low, _ in self.rows)]),
            row_upper=np.concatenate([program.row_upper, *(high for _, high in self.rows)]),
            lower=np.concatenate([program.lower, lower]), upper=np.concatenate([program.upper, upper]),
            integer=np.concatenate([program.integer, np.zeros(len(own), dtype=bool)]),
            rows=program.rows + Names(self.row_names), names=program.names + Names(self.names),
        )  # fmt: skip


def add_copies(added: Addition, network: Network, copies: Sequence[tuple[Piece, Touch]], weight: Floats) -> list[int]:
    """Copies of pieces, costs times the weight of each copy; the first column of each piece's copies."""
    starts, before = [], 0
    for piece, touch in copies:
        number, width = len(touch), len(piece.columns)
        own = weight[before : before + number]
        upper = network.bounds(piece, touch).ravel()
        index = np.stack([np.repeat(before + np.arange(number), width), np.tile(piece.columns, number)], axis=1)
        cost = (network.costs(piece, touch) * own[:, None]).ravel()
        start = added.add_columns("response", index, np.zeros(len(upper)), upper, cost)
        inner, tied = network.copies(piece, touch)
        terms = together([(inner[0], inner[1] + start, inner[2]), tied])
        low, high = network.limits(piece, touch)
        of = np.repeat(before + np.arange(number), piece.height)
        rows = np.tile(np.concatenate([piece.rows, -1 - piece.production]), number)
        added.add_rows("response_row", np.stack([of, rows], axis=1), terms, low.ravel(), high.ravel())
        starts.append(start)
        before += number
    return starts


def with_responses(two: TwoStage) -> Program:
    """The program of the plan with a response to every outcome, and its risk-weighed objective."""
    network, w = two.network, two.weight
    cost = _plan_cost(two)
    added = Addition(len(cost))
    starts = add_copies(added, network, two.copies, (1.0 - w) * two.copy_probability)
    if w > 0:
        terms, at = [], 0
        for (piece, touch), start in zip(two.copies, starts, strict=True):
            usd = network.costs(piece, touch)
            number, width = usd.shape
            row = np.repeat(at + np.arange(number), width)
            terms.append((row, start + np.arange(number * width), usd.ravel()))
            at += number
        first = _costs(added, two, np.zeros(two.count + 1), np.arange(two.count + 1), terms)
        _tail(added, two, first)
    return added.to(two.program, cost) if added.columns else replace(two.program, cost=cost)


def with_costs(two: TwoStage) -> tuple[Program, int]:
    """The program of the plan with a column for the cost of each copy alone (cuts say how much that is at least), and
    the first of these columns.
    """
    w = two.weight
    cost = _plan_cost(two)
    added = Addition(len(cost))
    first = _costs(added, two, (1.0 - w) * np.append(two.copy_probability, 0.0), np.array([two.count]), [])
    if w > 0:
        _tail(added, two, first)
    return added.to(two.program, cost), first


def _plan_cost(two: TwoStage) -> Floats:
    """Costs of the plan's own columns: the first stage in full, what is delivered as far as nothing happens."""
    cost = two.program.cost.copy()
    cost[: two.layout.width] -= (1.0 - (1.0 - two.weight) * two.probability[0]) * two.network.delivered
    return cost


def _costs(added: Addition, two: TwoStage, cost: Floats, rows: Ints, terms: list[Terms]) -> int:
    """A column for the cost of each copy, and of the plan as delivered (the last); ``terms`` say what each of ``rows``
    adds up to. The first column.
    """
    count, network = two.count, two.network
    free = np.full(count + 1, -np.inf)
    first = added.add_columns("response_cost", np.arange(count + 1), free, -free, cost)
    paid = np.flatnonzero(network.delivered)
    terms = [
        *terms,
        (np.full(len(paid), count), paid, network.delivered[paid]),
        (rows, first + rows, -np.ones(len(rows))),
    ]
    at, column, value = together(terms)
    some, zero = value != 0, np.zeros(len(rows))
    place = np.searchsorted(rows, at[some])
    added.add_rows("response_cost", rows, (place, column[some], value[some]), zero, zero)
    return first


def _tail(added: Addition, two: TwoStage, first: int) -> None:
    """What each outcome costs beyond v, and v: columns and rows of CVaR over the costs of copies from ``first``."""
    count, w, tail = two.count, two.weight, two.layout.case.settings.risk.tail
    # outcomes that the same copies answer are one
    answered, of = np.unique(two.copy_of, axis=0, return_inverse=True)
    shared = np.bincount(of.ravel(), weights=two.probability[1:], minlength=len(answered))
    number = len(answered) + 1
    chance: Floats = np.append(shared, two.probability[0]).astype(float)
    v = added.add_columns("value_at_risk", [0], np.array([-np.inf]), np.array([np.inf]), np.array([w]))
    beyond = added.add_columns("beyond", np.arange(number), np.zeros(number), np.full(number, np.inf),
                               w * chance / tail)  # fmt: skip
    rows = [(np.arange(number), beyond + np.arange(number), np.ones(number)),
            (np.arange(number), np.full(number, v), np.ones(number)),
            (np.repeat(np.arange(number - 1), answered.shape[1]), first + answered.ravel(),
             np.full(answered.size, -1.0)),
            (np.array([number - 1]), np.array([first + count]), np.array([-1.0]))]  # fmt: skip
    added.add_rows("beyond", np.arange(number), together(rows), np.zeros(number), np.full(number, np.inf))


def response_units(program: Program, layout: Layout, units: Floats) -> None:
    """Fill in the size of one scaled unit of the columns of responses (``units``: of all, changed in place)."""
    scale = layout.scale_t[layout.column_material]
    money: list[tuple[int, int]] = []
    costs = slice(0, 0)
    for start, (family, indices) in zip(program.names.starts, program.names.blocks, strict=False):
        if family == "response":
            units[start : start + len(indices)] = scale[np.asarray(indices)[:, 1]]
        elif family == "response_cost":
            costs = slice(start, start + len(indices))
        elif family in ("value_at_risk", "beyond"):
            money.append((start, start + len(indices)))
    if costs.stop == costs.start:
        return
    rows = [slice(start, start + len(listed)) for start, (family, listed)
            in zip(program.rows.starts, program.rows.blocks, strict=False) if family == "response_cost"]  # fmt: skip
    inside = program.matrix.tocsr()[rows[0]].tocsc()[:, : costs.start]
    largest = abs(inside.multiply(units[None, : costs.start])).max(axis=1).toarray().ravel()
    every = rows[0].stop - rows[0].start == costs.stop - costs.start
    units[costs] = power_of_ten(largest if every else np.full(costs.stop - costs.start, largest.max(initial=1.0)))
    for start, end in money:
        units[start:end] = units[costs].max(initial=1.0)
