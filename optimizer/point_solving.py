"""Solves blocks of points: in this process by warm engines, one a thread, or in a worker that rebuilds them.

What a worker needs is the case, the inputs that move and the points; no model travels. Every point stands alone
(``WhatIf.alone``), so that a point gives the same numbers in whatever thread, process or order it is solved.
"""

from __future__ import annotations

import pickle
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version

import numpy as np

from models.case import Case, Floats
from models.problems import CaseError
from optimizer.engine import EngineError, Limits
from optimizer.point_measures import RowMaker, measures_of
from optimizer.what_if import Outcome, WhatIf


@dataclass(frozen=True)
class Job:
    """What is solved at every point: a case, its inputs with their ranges, in the order of a point's values.

    ``countries``: measure everything, else what a sensitivity analysis looks at.
    """

    case: Case
    ranges: Mapping[str, tuple[float, float]]
    countries: bool = True

    def packed(self) -> bytes:
        """For the way to a worker."""
        bare = replace(self, case=self.case.with_(tables=dict(self.case.tables), workbook=None))
        return zlib.compress(pickle.dumps((version("oremix"), bare)))


@dataclass(frozen=True)
class Block:
    """What a block of points gave, in their order.

    ``measures``: shape (points, measures), nan without a plan. ``highs_seconds``: time inside HiGHS' runs.
    """

    status: list[str]
    reason: list[str]
    measures: Floats
    seconds: float
    highs_seconds: float


class Solver:
    """Solves points of a job; may be called from several threads, each of which gets an engine of its own."""

    def __init__(self, job: Job) -> None:
        settings = job.case.settings.solve
        self.keys = tuple(job.ranges)
        try:
            self.what_if = WhatIf(job.case, job.ranges, Limits(settings.seconds, settings.gap, threads=1))
        except CaseError as error:
            raise CaseError([
                replace(problem, message=problem.message.replace("--set makes", "--vary makes"),
                        file="--vary" if problem.file == "--set" else problem.file)
                for problem in error.problems
            ]) from error  # fmt: skip
        self.measures = measures_of(job.case, job.countries)
        self._own = threading.local()
        self._preparing = threading.Lock()

    def solve(self, values: Floats) -> Block:
        """Solve points; ``values``: shape (points, inputs), nan = as the case has it."""
        if not hasattr(self._own, "what_if"):
            with self._preparing:  # the basis that all start from is found once
                self.what_if.prepare()
            self._own.what_if, self._own.rows = self.what_if.fork(), RowMaker(self.measures)
        began, highs = time.perf_counter(), 0.0
        status, reason, rows = [], [], []
        for point in values.tolist():
            inputs = {key: value for key, value in zip(self.keys, point, strict=True) if value == value}
            outcome = self._outcome(inputs)
            status.append(outcome.status if isinstance(outcome, Outcome) else "failed")
            reason.append(outcome.reason if isinstance(outcome, Outcome) else outcome)
            if isinstance(outcome, Outcome):
                rows.append(self._own.rows.row(outcome))
                highs += outcome.highs_seconds
            else:
                rows.append(np.full(len(self.measures), np.nan))
        return Block(status, reason, np.array(rows), time.perf_counter() - began, highs)

    def _outcome(self, inputs: Mapping[str, float]) -> Outcome | str:
        """The outcome of a point; where the solver does what it must not do, even on a new engine, what it said."""
        said = ""
        for _ in range(2):
            own: WhatIf = self._own.what_if
            try:
                return own.alone(inputs)
            except EngineError as error:
                self._own.what_if = self.what_if.fork()
                said = f"the solver failed: {error}"
        return said


_KEPT = 2  # solvers of earlier jobs that a worker keeps
_solvers: dict[str, Solver] = {}
_making = threading.Lock()


def solve_packed(packed: bytes, values: Floats) -> Block:
    """Solve points in a worker, which unpacks the job once and keeps it for its other blocks."""
    name = sha256(packed).hexdigest()
    with _making:
        solver = _solvers.pop(name, None)
        if solver is None:
            made_by, job = pickle.loads(zlib.decompress(packed))  # from our own client
            if made_by != version("oremix"):
                raise RuntimeError(f"the worker has oremix {version('oremix')}, the sweep comes from {made_by}")
            solver = Solver(job)
        while len(_solvers) >= _KEPT:
            _solvers.pop(next(iter(_solvers)))
        _solvers[name] = solver
    return solver.solve(values)
