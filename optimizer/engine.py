"""The engine: a program scaled, kept warm in HiGHS, patched, solved and proved by duality.

The only file that touches highspy. Facts about its interface that it relies on: HiGHS' clock adds up over
solves and options stay set, so both are renewed each run; a start is dropped by any later change, so changes
come first; what a run gave is copied out before the next.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import highspy
import numpy as np
from scipy import sparse

from models.case import Floats
from models.lanes import Ints
from optimizer.certificate import Certificate, certify
from optimizer.program import Name, Program

TOLERANCE = 1e-9
CLOSED = 5e-10  # relative duality gap at which a point counts as the optimum itself
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

# How to run, one after the other, where HiGHS is lost (costs 1e8 apart, an old basis); the audit has its own tolerance.
_WAYS: tuple[dict[str, Any], ...] = (
    {}, {"presolve": "on"}, {"presolve": "off"}, {"presolve": "off", "simplex_strategy": 4},
    {"primal_feasibility_tolerance": 1e-7, "dual_feasibility_tolerance": 1e-7, "simplex_strategy": 1},
)  # fmt: skip


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


def power_of_ten(values: Floats) -> Floats:
    """The power of ten at or below each value; 1 for 0."""
    return np.asarray(10.0 ** np.floor(np.log10(np.where(values > 0, values, 1.0))))


class _Scheduler(threading.local):
    """HiGHS' scheduler of this thread keeps the first number of threads that it was asked for."""

    threads: int | None = None


_greeting = threading.Lock()
_greeted = False


def _new_highs() -> highspy.Highs:
    """An instance of HiGHS; the banner that the first one of a process prints (from 1.16 on) goes nowhere."""
    global _greeted  # noqa: PLW0603  # the banner comes once a process, whatever the thread
    with _greeting:
        if _greeted:
            return highspy.Highs()
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 1)
            return highspy.Highs()
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nowhere)
            _greeted = True


def plain_highs(program: Program | None = None) -> Any:
    """A quiet instance of HiGHS of its own, with a program in the model's own units where one is given."""
    highs = _new_highs()
    highs.setOptionValue("output_flag", False)
    if program is not None:
        highs.setOptionValue("small_matrix_value", 1e-12)
        matrix = program.matrix
        highs.passModel(
            matrix.shape[1], matrix.shape[0], matrix.nnz, int(highspy.MatrixFormat.kColwise),
            int(highspy.ObjSense.kMinimize), 0.0, program.cost, program.lower, program.upper, program.row_lower,
            program.row_upper, matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data,
            program.integer.astype(np.int32),
        )  # fmt: skip
    return highs


@dataclass(frozen=True)
class Ranges:
    """How far each number of an LP can move with the optimal basis kept; model's units, nan where not known.

    Least and most of the binding side of each row's limit, of each column's cost, of the bound where it stands.
    """

    row_low: Floats
    row_high: Floats
    cost_low: Floats
    cost_high: Floats
    column_low: Floats
    column_high: Floats


@dataclass
class Engine:
    """One program in HiGHS, kept warm: change its numbers or add rows, and solve again from the last basis.

    ``tie_break`` is a tiny extra cost that settles which of several equal optima is given. HiGHS works with it; the
    point is then proved optimal at the true costs by duality from its basis, and where that fails, HiGHS goes on
    at the true costs. Values, prices and the certificate are those of the true costs.
    ``column_unit`` is the size of one scaled unit of each column (tonnes of its material's scale); money and
    rows are scaled from it.
    """

    program: Program
    column_unit: Floats
    log: Path | None = None
    tie_break: Floats | None = None
    _scheduler: ClassVar[_Scheduler] = _Scheduler()
    highs: Any = field(init=False)  # highspy's own stubs miss half of its calls
    whole: bool = field(init=False)

    def __post_init__(self) -> None:
        self.whole = bool(self.program.integer.any())
        self._owned = False
        self._load()

    def _load(self) -> None:
        program = self.program
        matrix = program.matrix
        self.column_of = np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
        data = matrix.data * self.column_unit[self.column_of]
        largest = np.zeros(matrix.shape[0])
        np.maximum.at(largest, matrix.indices, np.abs(data))
        self.row_unit = power_of_ten(largest)
        cost = program.cost * self.column_unit
        present = np.abs(cost[cost != 0])
        self.money_unit = float(power_of_ten(np.array([np.median(present)]))[0]) if len(present) else 1.0
        self.scaled_cost = cost / self.money_unit
        self._ties = np.zeros(0)
        if self.tie_break is not None and not self.whole:
            self._ties = self.tie_break * self.column_unit / self.money_unit
        data /= self.row_unit[matrix.indices]
        self.scaled_matrix = sparse.csc_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
        self._transposed = self.scaled_matrix.T  # a view: changes in place show in it
        self.scaled_rows = program.row_lower / self.row_unit, program.row_upper / self.row_unit
        self.scaled_bounds = program.lower / self.column_unit, program.upper / self.column_unit
        self.highs = _new_highs()
        self._quiet()
        self.given = self.scaled_cost + self._ties if len(self._ties) else self.scaled_cost
        self._must(self.highs.passModel(
            matrix.shape[1], matrix.shape[0], matrix.nnz, int(highspy.MatrixFormat.kColwise),
            int(highspy.ObjSense.kMinimize), 0.0, self.given, *self.scaled_bounds, *self.scaled_rows,
            matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), data, program.integer.astype(np.int32),
        ), "the model")  # fmt: skip

    def _must(self, status: highspy.HighsStatus, what: str) -> None:
        if status == highspy.HighsStatus.kError:
            raise EngineError(f"HiGHS refused {what}")

    def _give(self, costs: Floats) -> None:
        """Give HiGHS these (scaled) costs where it has others; the basis stays."""
        changed = np.flatnonzero(costs != self.given).astype(np.int32)
        if len(changed):
            self._must(self.highs.changeColsCost(len(changed), changed, costs[changed]), "costs")
        self.given = costs

    def _quiet(self) -> None:
        """Nothing on the console; the log goes to a file where one is asked for."""
        self._option("log_to_console", False)
        self._option("output_flag", self.log is not None)
        if self.log is not None:
            self._option("log_file", str(self.log))

    def _option(self, name: str, value: Any) -> None:
        if self.highs.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise EngineError(f"HiGHS refused the option {name} = {value}")

    def _options(self, limits: Limits) -> None:
        """Every option anew: what an earlier run set would stay."""
        self.highs.resetOptions()
        self._quiet()
        for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance", "mip_feasibility_tolerance"):
            self._option(name, TOLERANCE)
        self._option("presolve", "choose" if limits.presolve else "off")
        self._option("mip_rel_gap", limits.gap)
        self._option("mip_abs_gap", 0.0)
        if Engine._scheduler.threads not in (None, limits.threads):
            highspy.Highs.resetGlobalScheduler(True)
        Engine._scheduler.threads = limits.threads
        self._option("threads", limits.threads)
        self._option("random_seed", 0)

    def solve(self, limits: Limits) -> Solution:
        """Solve from the last basis; raises ``EngineError`` for a status that should not happen."""
        highs = self.highs
        self._options(limits)
        began = highs.getRunTime()
        self._give(self.scaled_cost + self._ties if len(self._ties) else self.scaled_cost)
        status, proof = self._run(limits), None
        if len(self._ties) and status == "optimal":
            proof = self._proof()
            if proof is None:  # the tie-break led past the optimum: on from its basis at the true costs
                self._give(self.scaled_cost)
                self._option("presolve", "off")
                status = self._run(limits)
        seconds = highs.getRunTime() - began
        nothing = Solution(status, np.zeros(0), None, None, float("nan"), float("inf"), 0, seconds)
        if status in ("infeasible", "unbounded") or (status == "stopped" and not self.whole):
            return nothing
        if self.whole:
            info = highs.getInfo()
            if info.primal_solution_status != int(highspy.SolutionStatus.kSolutionStatusFeasible):
                return nothing
            x = np.array(highs.getSolution().col_value) * self.column_unit
            return Solution("feasible" if status == "stopped" else status, x, None, None,
                            float(self.program.cost @ x), float(info.mip_gap), int(info.mip_node_count), seconds,
                            bound=float(info.mip_dual_bound) * self.money_unit)  # fmt: skip
        if proof is None:
            solution = highs.getSolution()
            scaled, dual = np.array(solution.col_value), np.array(solution.row_dual)
            certificate, reduced = self._certify(scaled, dual)
        else:
            scaled, dual, certificate, reduced = proof
        x = scaled * self.column_unit
        prices = dual * (self.money_unit / self.row_unit)
        reduced = reduced * (self.money_unit / self.column_unit)
        return Solution(status, x, prices, reduced, float(self.program.cost @ x), 0.0,
                        int(highs.getInfoValue("simplex_iteration_count")[1]), seconds, certificate)  # fmt: skip

    def _run(self, limits: Limits) -> str:
        """One run; where it is lost in the numbers of an old basis, or in presolve, once more from nothing."""
        highs = self.highs
        for options in _WAYS:
            if options:
                highs.clearSolver()
            for name, value in options.items():
                self._option(name, value)
            self._option("time_limit", highs.getRunTime() + limits.seconds)
            highs.run()
            if highs.getModelStatus() in _STATUS:
                return _STATUS[highs.getModelStatus()]
        raise EngineError(f"HiGHS stopped with {highs.modelStatusToString(highs.getModelStatus())}")

    def _proof(self) -> tuple[Floats, Floats, Certificate, Floats] | None:
        """The point, prices of the true costs from its basis, their certificate and reduced costs; None where that
        does not prove the point.
        """
        ok, basic = self.highs.getBasicVariables()
        if ok != highspy.HighsStatus.kOk:
            return None
        basic = np.asarray(basic, dtype=np.int64)
        ok, dual = self.highs.getBasisTransposeSolve(np.where(basic >= 0, self.scaled_cost[np.maximum(basic, 0)], 0.0))
        if ok != highspy.HighsStatus.kOk:
            return None
        scaled, dual = np.array(self.highs.getSolution().col_value, dtype=float), np.asarray(dual)
        certificate, reduced = self._certify(scaled, dual)
        closed = max(certificate.dual_residual, certificate.duality_gap) <= CLOSED
        return (scaled, dual, certificate, reduced) if closed else None

    def _certify(self, x: Floats, dual: Floats) -> tuple[Certificate, Floats]:
        """The certificate of a point and its (scaled) reduced costs."""
        reduced = self.scaled_cost - np.asarray(self._transposed @ dual)
        activity = np.asarray(self.scaled_matrix @ x)
        return certify(self.scaled_cost, self.scaled_bounds, self.scaled_rows, x, activity, dual, reduced), reduced

    def ranges(self, limits: Limits) -> Ranges:
        """Ranging at the optimum last found; raises ``EngineError`` where there is none or whole numbers are in it."""
        self._give(self.scaled_cost)
        self._options(replace(limits, presolve=False))
        self.highs.run()
        ok, found = self.highs.getRanging()
        if ok != highspy.HighsStatus.kOk or not found.valid:
            raise EngineError("HiGHS gave no ranges: the program has no optimal basis")
        rows, money, width = self.row_unit, self.money_unit / self.column_unit, len(self.column_unit)
        return Ranges(  # of costs HiGHS lists columns, then rows
            np.array(found.row_bound_dn.value_) * rows, np.array(found.row_bound_up.value_) * rows,
            np.array(found.col_cost_dn.value_)[:width] * money, np.array(found.col_cost_up.value_)[:width] * money,
            np.array(found.col_bound_dn.value_)[:width] * self.column_unit,
            np.array(found.col_bound_up.value_)[:width] * self.column_unit,
        )  # fmt: skip

    def ray(self, limits: Limits) -> Floats | None:
        """A dual ray of a program found infeasible: weights of rows that prove it; None where HiGHS has none."""
        if self.whole:
            return None
        for presolve in (None, "off"):
            if presolve is not None:  # presolve found it: once more by simplex alone, which leaves a ray
                self._options(replace(limits, presolve=False))
                self.highs.clearSolver()
                self._run(limits)
            ok, there, ray = self.highs.getDualRay()
            if ok == highspy.HighsStatus.kOk and there:
                return np.asarray(ray) / self.row_unit
        return None

    @property
    def basis(self) -> Any:
        """The basis of the last run, to be given back by ``start``."""
        return self.highs.getBasis()

    def start(self, basis: Any) -> None:
        """Start the next run from a basis, as if nothing had run before; comes after every change."""
        self.highs.clearSolver()
        self._must(self.highs.setBasis(basis), "a basis")

    def _own(self) -> None:
        """Numbers of the program that may be changed in place, shared with nobody."""
        if self._owned:
            return
        p = self.program
        matrix = sparse.csc_array((p.matrix.data.copy(), p.matrix.indices, p.matrix.indptr), shape=p.matrix.shape)
        self.program = replace(
            p, matrix=matrix, row_lower=p.row_lower.copy(), row_upper=p.row_upper.copy(), cost=p.cost.copy(),
            lower=p.lower.copy(), upper=p.upper.copy(),
        )  # fmt: skip
        self._owned = True

    def change_costs(self, columns: Ints, cost: Floats) -> None:
        """New costs of these columns; the basis stays."""
        self._own()
        self.program.cost[columns] = cost
        scaled = self.scaled_cost.copy()
        scaled[columns] = cost * self.column_unit[columns] / self.money_unit
        self.scaled_cost = scaled  # given with the next run

    def change_bounds(self, columns: Ints, lower: Floats, upper: Floats) -> None:
        """New bounds of these columns; the basis stays."""
        self._own()
        self.program.lower[columns], self.program.upper[columns] = lower, upper
        low, high = lower / self.column_unit[columns], upper / self.column_unit[columns]
        self.scaled_bounds[0][columns], self.scaled_bounds[1][columns] = low, high
        self._must(self.highs.changeColsBounds(len(columns), columns.astype(np.int32), low, high), "bounds")

    def change_limits(self, rows: Ints, lower: Floats, upper: Floats) -> None:
        """New limits of these rows; the basis stays."""
        self._own()
        self.program.row_lower[rows], self.program.row_upper[rows] = lower, upper
        low, high = lower / self.row_unit[rows], upper / self.row_unit[rows]
        self.scaled_rows[0][rows], self.scaled_rows[1][rows] = low, high
        self._must(self.highs.changeRowsBounds(len(rows), rows.astype(np.int32), low, high), "limits")

    def change_coefficients(self, rows: Ints, columns: Ints, values: Floats) -> None:
        """New coefficients at (row, column), where there is one already; the basis stays."""
        self._own()
        matrix = self.program.matrix
        starts, ends = matrix.indptr[columns].tolist(), matrix.indptr[columns + 1].tolist()
        entries = np.array([
            start + int(np.searchsorted(matrix.indices[start:end], row))
            for start, end, row in zip(starts, ends, rows.tolist(), strict=True)
        ], dtype=np.int64)  # fmt: skip
        matrix.data[entries] = values
        scaled = values * self.column_unit[columns] / self.row_unit[rows]
        self.scaled_matrix.data[entries] = scaled
        for row, column, value in zip(rows.tolist(), columns.tolist(), scaled.tolist(), strict=True):
            self._must(self.highs.changeCoeff(row, column, value), "a coefficient")

    def add_rows(self, terms: Sequence[tuple[Ints, Floats]], upper: Sequence[float], names: Sequence[Name]) -> None:
        """Add rows ``terms <= upper`` (unscaled); the basis is kept."""
        start = self.program.matrix.shape[0]
        self.program = self.program.with_rows(terms, upper, names)
        matrix = self.program.matrix
        added = sparse.csr_array(matrix)[start:].multiply(self.column_unit[None, :]).tocsr()
        units = power_of_ten(abs(added).max(axis=1).toarray().ravel())
        added = sparse.csr_array(added.multiply(1.0 / units[:, None]))
        self.row_unit = np.concatenate([self.row_unit, units])
        self.column_of = np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
        data = matrix.data * self.column_unit[self.column_of] / self.row_unit[matrix.indices]
        self.scaled_matrix = sparse.csc_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
        self._transposed = self.scaled_matrix.T
        limits = np.asarray(upper, dtype=float) / units
        low, high = self.scaled_rows
        self.scaled_rows = np.concatenate([low, np.full(len(limits), -np.inf)]), np.concatenate([high, limits])
        self._must(self.highs.addRows(
            len(limits), np.full(len(limits), -np.inf), limits, added.nnz, added.indptr[:-1], added.indices, added.data
        ), "added rows")  # fmt: skip

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
