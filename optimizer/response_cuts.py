"""Responses as cuts: where copies of the network would make one program too large, each is solved by itself.

The cost Q of a copy's response is convex in the plan, so its tangent at a plan (from the prices of the response) holds
for every plan; where a plan leaves no response, the tangent of what would be missing is a row that shuts it out
(Van Slyke and Wets, SIAM Journal on Applied Mathematics 17, 1969). The program of the plan keeps a column for the cost
of each copy, cuts are added where it falls short, and it is solved again until none does: the same optimum as with all
copies in one program.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.case import Floats
from models.lanes import Ints
from models.rule_rows import Linear
from optimizer.engine import Engine, EngineError, Limits
from optimizer.program import Names, Program
from optimizer.response_copies import Network, Piece, Touch, matrix_of, together
from optimizer.threads import in_threads, workers
from optimizer.two_stage import TwoStage

CLOSE = 1e-8  # share of the objective that all copies together may be short of their cost
_QUICK = Limits(seconds=600.0, threads=1, presolve=False)


@dataclass(frozen=True)
class ResponseCut:
    """terms <= limit over the plan's columns and ``copy``: less than its cost it cannot be (-1: shuts a plan out)."""

    copy: int
    terms: Linear
    limit: float


@dataclass
class Responder:
    """One piece of the network, kept warm: its response to any copy's outcome under any plan.

    Slack columns (what is short of, or beyond, each requirement and stock) are open only where there is no response;
    columns of what is put into stock only to find the least that a response can cost under any plan.
    """

    network: Network
    piece: Piece
    touch: Touch
    seconds: float = 0.0
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        piece, network = self.piece, self.network
        first = _rows(self.touch, np.zeros(1, dtype=np.int64))
        inner, _ = network.copies(piece, first)
        stock = np.flatnonzero(np.isin(piece.rows, _stock_rows(network)))
        loose = np.concatenate([piece.required_row, stock])
        width, count = len(piece.columns), len(loose)
        scale = network.layout.scale_t[network.layout.column_material[piece.columns]]
        self.slack = width + np.arange(2 * count)
        slack = (np.tile(loose, 2), self.slack, np.repeat([1.0, -1.0], count))
        self.put_in, of = np.unique(piece.built[1], return_inverse=True)  # columns of the layout
        self.put = width + 2 * count + np.arange(len(self.put_in))
        put = (piece.built[0], self.put[of], piece.built[2])
        extra = 2 * count + len(self.put)
        low, high = network.limits(piece, first)
        program = Program(
            matrix_of(together([inner, slack, put]), (piece.height, width + extra)), low[0], high[0],
            np.concatenate([network.costs(piece, first)[0], np.zeros(extra)]), np.zeros(width + extra),
            np.concatenate([network.bounds(piece, first)[0], np.zeros(extra)]), np.zeros(width + extra, dtype=bool),
            Names([("response_row", range(piece.height))]), Names([("response", range(width + extra))]),
        )  # fmt: skip
        self.engine = Engine(program, np.concatenate([scale, np.full(extra, float(np.median(scale)))]))
        self.limits = network.limits(piece, self.touch)
        self.costs, self.bounds = network.costs(piece, self.touch), network.bounds(piece, self.touch)
        self.calls = network.calls(piece, self.touch)

    def ask(self, copy: int, x: Floats) -> tuple[float, Floats]:
        """Cost of the response (inf: there is none), and its tangent's slope: d cost (or d missing) / d column."""
        usd, slope = self._solve(copy, x)
        if not np.isfinite(usd):
            self._slack(True)
            _, slope = self._solve(copy, x, missing=True)
            self._slack(False)
        return usd, slope

    def missing(self, copy: int, x: Floats) -> float:
        """The least that is short or beyond, where there is no response."""
        self._slack(True)
        found, _ = self._solve(copy, x, missing=True)
        self._slack(False)
        return found

    def least(self, copy: int) -> float:
        """What the response costs at least, whatever the plan: every supplier planned at its most."""
        upper = self.network.layout.upper_t
        nothing = np.zeros(len(self.put))
        self.engine.change_bounds(self.put, nothing, upper[self.put_in])
        most = np.where(np.isfinite(upper), upper, 0.0)
        most[self.put_in] = 0.0
        usd, _ = self._solve(copy, most)
        self.engine.change_bounds(self.put, nothing, nothing)
        return usd

    def _slack(self, on: bool) -> None:
        self.engine.change_bounds(self.slack, np.zeros(len(self.slack)),
                                  np.full(len(self.slack), np.inf if on else 0.0))  # fmt: skip

    def _solve(self, copy: int, x: Floats, missing: bool = False) -> tuple[float, Floats]:
        piece, engine, width = self.piece, self.engine, len(self.piece.columns)
        own, more = self.calls
        shift = np.zeros(piece.height)
        for at, column, value in ((piece.built[0], piece.built[1], piece.built[2]),
                                  (own[0], own[1], own[2][copy]), (more[0], more[1], more[2][copy])):  # fmt: skip
            np.add.at(shift, at, value * x[column])
        low, high = self.limits[0][copy] - shift, self.limits[1][copy] - shift
        program = engine.program
        moved = np.flatnonzero((low != program.row_lower) | (high != program.row_upper))
        if len(moved):
            engine.change_limits(moved, low[moved], high[moved])
        cost = np.zeros(len(program.cost))
        cost[: width if not missing else 0] = self.costs[copy][: width if not missing else 0]
        cost[self.slack] = float(missing)
        moved = np.flatnonzero(cost != engine.program.cost)
        if len(moved):
            engine.change_costs(moved, cost[moved])
        upper = self.bounds[copy]
        moved = np.flatnonzero(upper != engine.program.upper[:width])
        if len(moved):
            engine.change_bounds(moved, np.zeros(len(moved)), upper[moved])
        solution = engine.solve(_QUICK)
        self.seconds += solution.seconds
        if solution.status == "infeasible":
            return np.inf, np.zeros(0)
        if not solution.has_plan or solution.prices is None:
            raise EngineError(f"a response was {solution.status}")
        price = solution.prices
        slope = np.zeros(self.network.layout.width)
        for at, column, value in ((piece.built[0], piece.built[1], piece.built[2]),
                                  (own[0], own[1], own[2][copy]), (more[0], more[1], more[2][copy])):  # fmt: skip
            np.add.at(slope, column, -price[at] * value)
        return float(solution.objective), slope


def _rows(touch: Touch, at: Ints) -> Touch:
    return Touch(touch.left[at], touch.cost[at], touch.required[at], touch.lacking[at])


def _stock_rows(network: Network) -> Ints:
    program = network.program
    return np.array([place for place, _ in program.rows.places("stock_balance")], dtype=np.int64)


@dataclass
class ResponseCuts:
    """The copies of a two-stage program as cuts of the plan's program.

    ``first``: the program's column for the cost of copy 0. ``rounds``: how often all copies were asked. ``wall``:
    seconds spent on that.
    """

    two: TwoStage
    first: int
    rounds: int = 0

    def __post_init__(self) -> None:
        threads = workers(self.two.layout.case.settings.solve.threads)
        self.responders: list[Responder] = []
        self.starts = [0]
        for piece, touch in self.two.copies:
            for part in np.array_split(np.arange(len(touch)), min(threads, len(touch))):
                self.responders.append(Responder(self.two.network, piece, _rows(touch, part)))
                self.starts.append(self.starts[-1] + len(part))
        self.threads, self.wall = threads, 0.0

        w, tail = self.two.weight, self.two.layout.case.settings.risk.tail
        chance = self.two.copy_probability
        self.weight: Floats = (1.0 - w) * chance + w * np.minimum(chance / tail, 1.0)  # of a copy's cost, at most

    def least(self) -> Floats:
        """What the response of each copy costs at least under any plan."""

        def ask(responder: Responder) -> list[float]:
            return [responder.least(copy) for copy in range(len(responder.touch))]

        found = [usd for part in in_threads(ask, self.responders, self.threads) for usd in part]
        usd = np.array(found)
        return np.where(np.isfinite(usd), usd - 1e-6 * np.abs(usd), 0.0)  # inf: no plan has a response

    def cuts(self, x: Floats, paid: Floats | None = None, objective: float = 0.0) -> list[ResponseCut]:
        """The rows that a plan breaks, which counts ``paid`` for each copy; none where it is close enough.

        Of every copy, where nothing is counted yet.
        """
        began = time.perf_counter()
        x = np.maximum(x, 0.0)

        def ask(number: int) -> list[tuple[float, Floats]]:
            responder = self.responders[number]
            return [responder.ask(copy, x) for copy in range(len(responder.touch))]

        answers = [answer for part in in_threads(ask, range(len(self.responders)), self.threads) for answer in part]
        usd = np.array([value for value, _ in answers])
        finite = np.isfinite(usd)
        short = np.where(finite, np.maximum(usd - paid, 0.0) if paid is not None else np.inf, np.inf)
        self.rounds += 1
        self.wall += time.perf_counter() - began
        if paid is not None and finite.all() and float(self.weight @ short) <= CLOSE * max(1.0, abs(objective)):
            return []
        least = CLOSE / 10 * max(1.0, abs(objective)) / max(len(usd), 1)
        found = []
        for copy in np.flatnonzero(np.isinf(short) | (self.weight * np.minimum(short, 1e300) > least)).tolist():
            value, slope = answers[copy]
            columns = np.flatnonzero(slope)
            at = float(slope[columns] @ x[columns])
            if finite[copy]:
                found.append(ResponseCut(copy, Linear(columns, slope[columns]), at - value))
            else:
                number = int(np.searchsorted(self.starts, copy, side="right")) - 1
                lost = self.responders[number].missing(copy - self.starts[number], x)
                found.append(ResponseCut(-1, Linear(columns, slope[columns]), at - lost))
        return found


def rows_of(cuts: Sequence[ResponseCut], columns: Ints, first: int) -> tuple[list[tuple[Ints, Floats]], list[float]]:
    """Cuts as rows of a program: terms and upper limits; ``first``: its column for the cost of copy 0."""
    terms, limits = [], []
    for cut in cuts:
        places, values = columns[cut.terms.columns], cut.terms.coefficients
        if cut.copy >= 0:
            places, values = np.append(places, first + cut.copy), np.append(values, -1.0)
        terms.append((places.astype(np.int64), values))
        limits.append(cut.limit)
    return terms, limits
