"""The engine: a Pyomo model compiled once to arrays, scaled, solved by HiGHS, proved by duality.

The only file that touches highspy. Facts about both interfaces that it relies on: ``mixed_form`` gives rows
typed 1 (<=), 0, -1 (>=); HiGHS' clock adds up over solves, options stay set, so both are renewed each run.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import highspy
import numpy as np

from models.case import Flags, Floats
from models.lanes import Ints
from optimizer.lean_imports import without

# Pyomo answers the first import of scipy by importing scipy.stats too, which takes longer than our whole answer.
with without("scipy.stats", "scipy.spatial", "scipy.integrate"):
    from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler
    from scipy import sparse

if TYPE_CHECKING:
    from pyomo.core.base.block import BlockData

TOLERANCE = 1e-9
_STATUS = {
    highspy.HighsModelStatus.kOptimal: "optimal",
    highspy.HighsModelStatus.kModelEmpty: "optimal",
    highspy.HighsModelStatus.kInfeasible: "infeasible",
    highspy.HighsModelStatus.kUnboundedOrInfeasible: "infeasible",
    highspy.HighsModelStatus.kUnbounded: "unbounded",
    highspy.HighsModelStatus.kTimeLimit: "stopped",
    highspy.HighsModelStatus.kIterationLimit: "stopped",
    highspy.HighsModelStatus.kSolutionLimit: "stopped",
    highspy.HighsModelStatus.kInterrupt: "stopped",
}


class EngineError(RuntimeError):
    """The solver did something that it must not do (our fault: exit code 1)."""


@dataclass(frozen=True)
class Limits:
    """How long and how closely to solve; threads 0 = all."""

    seconds: float = 300.0
    gap: float = 1e-4
    threads: int = 0
    presolve: bool = True


@dataclass(frozen=True)
class Program:
    """min c x, row_lower <= A x <= row_upper, lower <= x <= upper; some x whole numbers.

    ``rows`` and ``names`` say which family and entry of the model each row and column is.
    """

    matrix: sparse.csc_array
    row_lower: Floats
    row_upper: Floats
    cost: Floats
    lower: Floats
    upper: Floats
    integer: Flags
    rows: tuple[tuple[str, Any], ...]
    names: tuple[tuple[str, Any], ...]

    def with_rows(
        self, terms: Sequence[tuple[Ints, Floats]], upper: Sequence[float], names: Sequence[tuple[str, Any]]
    ) -> Program:
        """The program with rows ``terms <= upper`` added at the end."""
        if not terms:
            return self
        lengths = [len(columns) for columns, _ in terms]
        added = sparse.csr_array(
            (np.concatenate([v for _, v in terms]), np.concatenate([c for c, _ in terms]),
             np.concatenate([[0], np.cumsum(lengths)])), shape=(len(terms), self.matrix.shape[1]),
        )  # fmt: skip
        return Program(
            sparse.csc_array(sparse.vstack([self.matrix, added])),
            np.concatenate([self.row_lower, np.full(len(terms), -np.inf)]),
            np.concatenate([self.row_upper, np.asarray(upper, dtype=float)]),
            self.cost, self.lower, self.upper, self.integer,
            self.rows + tuple(names), self.names,
        )  # fmt: skip


@dataclass(frozen=True)
class Certificate:
    """Proof of an LP optimum from the arrays alone (scaled): largest violations and relative duality gap."""

    primal_residual: float
    dual_residual: float
    duality_gap: float

    @property
    def holds(self) -> bool:
        """Whether all three are within 1e-6."""
        return max(self.primal_residual, self.dual_residual, self.duality_gap) <= 1e-6


@dataclass(frozen=True)
class Solution:
    """What a run gave: values, prices (d objective / d right-hand side) and reduced costs, unscaled."""

    status: str
    x: Floats
    prices: Floats | None
    reduced_costs: Floats | None
    objective: float
    gap: float
    iterations: int
    seconds: float
    certificate: Certificate | None = None
    bound: float = float("nan")

    @property
    def has_plan(self) -> bool:
        """Whether x is a plan (of no columns, where nothing is required)."""
        return self.status in ("optimal", "feasible")


@contextmanager
def collection(on: bool) -> Iterator[None]:
    """Garbage collection on or off inside: with millions of live model objects each pass costs more than it frees."""
    before = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if before else gc.disable)()


def compile_model(model: BlockData) -> Program:
    """A Pyomo model as arrays, in the model's own units."""
    with collection(on=False):
        return _compile(model)


def _compile(model: BlockData) -> Program:
    form = LinearStandardFormCompiler().write(model, mixed_form=True)
    rhs = np.asarray(form.rhs, dtype=float)
    kind = np.array([row.bound_type for row in form.rows], dtype=np.int64)
    families = {id(family): family for family in (variable.parent_component() for variable in form.columns)}
    places = {
        id(variable): (family.local_name, index)
        for family in families.values() for index, variable in family.items()
    }  # fmt: skip
    bounds = [variable.bounds for variable in form.columns]
    return Program(
        matrix=sparse.csc_array(form.A),
        row_lower=np.where(kind <= 0, rhs, -np.inf), row_upper=np.where(kind >= 0, rhs, np.inf),
        cost=np.asarray(form.c.todense(), dtype=float).ravel(),
        lower=np.array([-np.inf if low is None else low for low, _ in bounds]),
        upper=np.array([np.inf if high is None else high for _, high in bounds]),
        integer=np.array([variable.is_integer() for variable in form.columns], dtype=bool),
        rows=tuple((r.constraint.parent_component().local_name, r.constraint.index()) for r in form.rows),
        names=tuple(places[id(variable)] for variable in form.columns),
    )  # fmt: skip


def _power(values: Floats) -> Floats:
    """The power of ten at or below each value; 1 for 0."""
    return np.asarray(10.0 ** np.floor(np.log10(np.where(values > 0, values, 1.0))))


@dataclass
class Engine:
    """One program in HiGHS, kept warm: change costs or add rows, and solve again from the last basis.

    ``tie_break`` is a tiny extra cost that settles which of several equal optima is given: it is in the first run,
    and the run that gives values, prices and the certificate has the true costs again.
    ``column_unit`` is the size of one scaled unit of each column (tonnes of its material's scale); money and
    rows are scaled from it.
    """

    program: Program
    column_unit: Floats
    log: Path | None = None
    tie_break: Floats | None = None
    _threads: ClassVar[int | None] = None
    highs: highspy.Highs = field(init=False)

    def __post_init__(self) -> None:
        self._load()

    def _load(self) -> None:
        program = self.program
        scaled = program.matrix.multiply(self.column_unit[None, :]).tocsr()
        largest = abs(scaled).max(axis=1).toarray().ravel() if scaled.shape[0] else np.zeros(0)
        self.row_unit = _power(largest)
        cost = program.cost * self.column_unit
        present = np.abs(cost[cost != 0])
        self.money_unit = float(_power(np.array([np.median(present)]))[0]) if len(present) else 1.0
        self.scaled_cost = cost / self.money_unit
        self.scaled_matrix = sparse.csc_array(scaled.multiply(1.0 / self.row_unit[:, None]))
        self.scaled_rows = program.row_lower / self.row_unit, program.row_upper / self.row_unit
        self.scaled_bounds = program.lower / self.column_unit, program.upper / self.column_unit
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = program.matrix.shape
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = self.scaled_cost, *self.scaled_bounds
        lp.row_lower_, lp.row_upper_ = self.scaled_rows
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = self.scaled_matrix.indptr
        lp.a_matrix_.index_ = self.scaled_matrix.indices
        lp.a_matrix_.value_ = self.scaled_matrix.data
        if program.integer.any():
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            lp.integrality_ = [kinds[int(whole)] for whole in program.integer]
        self.highs = highspy.Highs()
        self._quiet()
        if self.highs.passModel(lp) == highspy.HighsStatus.kError:
            raise EngineError("HiGHS refused the model")

    def _costs(self, scaled: Floats) -> None:
        """Give HiGHS these (scaled) costs; the basis stays."""
        if (
            self.highs.changeColsCost(len(scaled), np.arange(len(scaled), dtype=np.int32), scaled)
            != highspy.HighsStatus.kOk
        ):
            raise EngineError("HiGHS refused costs")

    def _quiet(self) -> None:
        """Nothing on the console; the log goes to a file where one is asked for."""
        self._option("log_to_console", False)
        self._option("output_flag", self.log is not None)
        if self.log is not None:
            self._option("log_file", str(self.log))

    def _option(self, name: str, value: Any) -> None:
        if self.highs.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise EngineError(f"HiGHS refused the option {name} = {value}")

    def solve(self, limits: Limits) -> Solution:
        """Solve from the last basis; raises ``EngineError`` for a status that should not happen."""
        highs = self.highs
        highs.resetOptions()
        self._quiet()
        for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance", "mip_feasibility_tolerance"):
            self._option(name, TOLERANCE)
        self._option("presolve", "choose" if limits.presolve else "off")
        self._option("mip_rel_gap", limits.gap)
        self._option("mip_abs_gap", 0.0)
        if Engine._threads not in (None, limits.threads):
            highspy.Highs.resetGlobalScheduler(True)  # HiGHS' one scheduler keeps the first number of threads
        Engine._threads = limits.threads
        self._option("threads", limits.threads)
        self._option("random_seed", 0)
        began = highs.getRunTime()
        self._option("time_limit", began + limits.seconds)
        if self.tie_break is not None and not self.program.integer.any():
            self._costs(self.scaled_cost + self.tie_break * self.column_unit / self.money_unit)
            highs.run()
            self._costs(self.scaled_cost)  # the basis stays: a few steps, if any
            self._option("presolve", "off")
        highs.run()
        if highs.getModelStatus() not in _STATUS:  # lost in the numbers of an old basis: once more from nothing
            highs.clearSolver()
            self._option("presolve", "on")
            self._option("time_limit", highs.getRunTime() + limits.seconds)
            highs.run()
        status = _STATUS.get(highs.getModelStatus())
        if status is None:
            raise EngineError(f"HiGHS stopped with {highs.modelStatusToString(highs.getModelStatus())}")
        info, seconds = highs.getInfo(), highs.getRunTime() - began
        whole = bool(self.program.integer.any())
        nothing = Solution(status, np.zeros(0), None, None, float("nan"), float("inf"), 0, seconds)
        feasible = info.primal_solution_status == int(highspy.SolutionStatus.kSolutionStatusFeasible)
        if status in ("infeasible", "unbounded") or (status == "stopped" and not (whole and feasible)):
            return nothing
        solution = highs.getSolution()
        scaled = np.array(solution.col_value)
        x = scaled * self.column_unit
        objective = float(self.program.cost @ x)
        if whole:
            return Solution("feasible" if status == "stopped" else status, x, None, None, objective,
                            float(info.mip_gap), int(info.mip_node_count), seconds,
                            bound=float(info.mip_dual_bound) * self.money_unit)  # fmt: skip
        dual = np.array(solution.row_dual)
        certificate = self._certify(scaled, dual)
        prices = dual * self.money_unit / self.row_unit
        reduced = (self.program.cost - self.program.matrix.T @ prices) if len(x) else np.zeros(0)
        return Solution(status, x, prices, reduced, objective, 0.0, int(info.simplex_iteration_count), seconds,
                        certificate)  # fmt: skip

    def _certify(self, x: Floats, dual: Floats) -> Certificate:
        lower, upper = self.scaled_bounds
        row_lower, row_upper = self.scaled_rows
        activity = self.scaled_matrix @ x
        over = [row_lower - activity, activity - row_upper, lower - x, x - upper]
        primal = max((float(part.max(initial=0.0)) for part in over), default=0.0)
        reduced = self.scaled_cost - self.scaled_matrix.T @ dual
        residual, value = 0.0, 0.0
        for price, low, high in ((dual, row_lower, row_upper), (reduced, lower, upper)):
            for part, bound in ((np.maximum(price, 0.0), low), (np.minimum(price, 0.0), high)):
                bounded = np.isfinite(bound)
                value += float(part[bounded] @ bound[bounded])
                residual = max(residual, float(np.abs(part[~bounded]).max(initial=0.0)))
        objective = float(self.scaled_cost @ x)
        return Certificate(primal, residual, abs(objective - value) / max(1.0, abs(objective)))

    def add_rows(
        self, terms: Sequence[tuple[Ints, Floats]], upper: Sequence[float], names: Sequence[tuple[str, Any]]
    ) -> None:
        """Add rows ``terms <= upper`` (unscaled); the basis is kept."""
        start = self.program.matrix.shape[0]
        self.program = self.program.with_rows(terms, upper, names)
        added = sparse.csr_array(self.program.matrix)[start:].multiply(self.column_unit[None, :]).tocsr()
        units = _power(abs(added).max(axis=1).toarray().ravel())
        added = sparse.csr_array(added.multiply(1.0 / units[:, None]))
        self.row_unit = np.concatenate([self.row_unit, units])
        self.scaled_matrix = sparse.csc_array(sparse.vstack([self.scaled_matrix, added]))
        limits = np.asarray(upper, dtype=float) / units
        low, high = self.scaled_rows
        self.scaled_rows = np.concatenate([low, np.full(len(limits), -np.inf)]), np.concatenate([high, limits])
        status = self.highs.addRows(
            len(limits), np.full(len(limits), -np.inf), limits, added.nnz, added.indptr[:-1], added.indices, added.data
        )
        if status == highspy.HighsStatus.kError:
            raise EngineError("HiGHS refused added rows")

    def fixed(self, x: Floats) -> Engine:
        """The program with its whole-number columns fixed at (rounded) ``x``: an LP, with prices."""
        program, whole = self.program, self.program.integer
        rounded = np.round(x)
        lower, upper = np.where(whole, rounded, program.lower), np.where(whole, rounded, program.upper)
        program = replace(program, lower=lower, upper=upper, integer=np.zeros_like(whole))
        return Engine(program, self.column_unit, self.log, self.tie_break)

    def relaxed(self) -> Engine:
        """The program without its whole-number conditions: an LP."""
        program = replace(self.program, integer=np.zeros_like(self.program.integer))
        return Engine(program, self.column_unit, self.log, self.tie_break)

    def branch(self, whole: Ints, value: Floats, closed: Ints) -> Engine:
        """The program with some whole-number columns at a value, and some columns held at 0."""
        lower, upper = self.program.lower.copy(), self.program.upper.copy()
        lower[whole], upper[whole] = value, value
        upper[closed] = 0.0
        return Engine(replace(self.program, lower=lower, upper=upper), self.column_unit, self.log, self.tie_break)

    def elastic(
        self, slack_weight: Mapping[int, float], bound_weight: Mapping[int, float], free_weight: Sequence[float] = ()
    ) -> ElasticEngine:
        """The program in which the rows and lower bounds named may be missed, each unit at its weight.

        ``free_weight``: further slack columns that stand in no row yet (for rows added later).
        """
        return ElasticEngine.of(self, slack_weight, bound_weight, free_weight)


@dataclass
class ElasticEngine:
    """Smallest total violation of the soft rows and lower bounds, everything else held."""

    engine: Engine
    free_columns: tuple[int, ...]

    @classmethod
    def of(
        cls, engine: Engine, slack_weight: Mapping[int, float], bound_weight: Mapping[int, float],
        free_weight: Sequence[float],
    ) -> ElasticEngine:  # fmt: skip
        """Adds a column for each side on which a soft row can be missed, and a row for each soft bound."""
        program = engine.program
        width = program.matrix.shape[1]
        entries: list[tuple[int, int, float]] = []
        cost: list[float] = []
        unit: list[float] = []
        for row, weight in slack_weight.items():
            for sign, limit in ((1.0, program.row_lower[row]), (-1.0, program.row_upper[row])):
                if np.isfinite(limit):
                    entries.append((row, width + len(cost), sign))
                    cost.append(weight)
                    unit.append(float(engine.row_unit[row]))
        lower = program.lower.copy()
        row_lower, row_upper = list(program.row_lower), list(program.row_upper)
        rows = list(program.rows)
        for column, weight in bound_weight.items():
            entries += [(len(rows), column, 1.0), (len(rows), width + len(cost), 1.0)]
            row_lower.append(lower[column])
            row_upper.append(np.inf)
            rows.append(("minimum", program.names[column][1]))
            lower[column] = 0.0
            cost.append(weight)
            unit.append(float(engine.column_unit[column]))
        free = tuple(range(width + len(cost), width + len(cost) + len(free_weight)))
        cost += list(free_weight)
        unit += [float(_power(np.array([1.0 / weight]))[0]) / 100 for weight in free_weight]
        listed = np.array(entries, dtype=float).reshape(-1, 3)
        at, columns = listed[:, 0].astype(np.int64), listed[:, 1].astype(np.int64)
        shape = (len(rows), width + len(cost))
        old = program.matrix.tocoo()
        added = sparse.csc_array(
            (np.concatenate([old.data, listed[:, 2]]),
             (np.concatenate([old.row, at]), np.concatenate([old.col, columns]))), shape=shape,
        )  # fmt: skip
        extra = np.zeros(len(cost))
        whole = Program(
            added, np.array(row_lower), np.array(row_upper), np.concatenate([np.zeros(width), cost]),
            np.concatenate([lower, extra]), np.concatenate([program.upper, extra + np.inf]),
            np.concatenate([program.integer, extra > 0]), tuple(rows),
            program.names + tuple(("slack", i) for i in range(len(cost))),
        )  # fmt: skip
        return cls(Engine(whole, np.concatenate([engine.column_unit, unit])), free)
