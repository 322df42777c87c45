"""What would bring a supplier in that a lot or a fixed charge keeps out: asked with whole numbers, cost by cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optimizer.compiling import compile_model
from optimizer.cutting import Cutter
from optimizer.engine import Engine, Limits
from optimizer.part_solver import PartSolver
from optimizer.program import Program
from optimizer.resolving import Resolved
from optimizer.stamping import stamp

NEAR = 1e-4  # relative: just below and just above the cost at which a supplier comes in
STEPS = 30
SECONDS = 20.0  # for one supplier and year


def whole_program(resolved: Resolved) -> Program:
    """The program of the plan with its whole numbers free again."""
    return stamp(resolved.layout, resolved.rows, compile_model)


class Switched:
    """One part with its whole numbers, and one supplier in it that is not used."""

    def __init__(self, resolved: Resolved, whole: Program, label: int, column: int, switch: int, weight: float) -> None:
        self.solver: PartSolver = resolved.solver(label)
        part, self.weight = self.solver.part, weight
        self.place, self.switch = (int(resolved.local_columns(label, [at])[0]) for at in (column, switch))
        self.program = replace(
            part.program, row_upper=whole.row_upper[part.rows], lower=whole.lower[part.columns],
            upper=whole.upper[part.columns], integer=whole.integer[part.columns],
        )  # fmt: skip
        self.base_usd = resolved.here(label).usd
        self.limits = Limits(seconds=min(SECONDS, resolved.limits.seconds), gap=1e-9, threads=resolved.limits.threads)

    def enters(self) -> tuple[float, bool] | None:
        """How many USD a tonne dearer it is than what would bring it in, and whether that was confirmed by solving.

        None where no cost brings it in. Least cost with the supplier used is concave in its cost, with its tonnes as
        the slope, so Newton's steps from a cost at which it pays rise to the one at which it just does.
        """
        gap, found = 0.0, self._used(0.0)
        if found is None:
            return None
        for _ in range(STEPS):
            usd, made = found
            if usd <= self.base_usd:
                break
            short = usd - self.base_usd
            gap = max(2 * gap, 2 * short / (self.weight * made)) if made > 0 else max(2 * gap, 1.0)
            found = self._used(gap)
            if found is None:
                return None
        for _ in range(STEPS):
            usd, made = found
            if made <= 0 or gap <= 0:
                return None
            nearer = max(0.0, gap - (self.base_usd - usd) / (self.weight * made))
            if gap - nearer <= 1e-9 * max(1.0, gap):
                break
            gap = nearer
            found = self._used(gap)
            if found is None:
                return None
        near = NEAR * max(1.0, gap)
        below, above = (self._made(gap + way * near) for way in (1.0, -1.0))
        return gap, bool(below is not None and above is not None and below > 0 and above <= 0)

    def _used(self, gap: float) -> tuple[float, float] | None:
        """Least cost with the supplier used, and its tonnes, where it costs so much less."""
        program = self._cheaper(gap)
        program.lower[self.switch] = 1.0
        return self._solve(program)

    def _made(self, gap: float) -> float | None:
        """What it makes of its own accord where it costs so much less."""
        found = self._solve(self._cheaper(gap))
        return None if found is None else found[1]

    def _cheaper(self, gap: float) -> Program:
        cost, lower = self.program.cost.copy(), self.program.lower.copy()
        cost[self.place] -= gap * self.weight
        return replace(self.program, cost=cost, lower=lower)

    def _solve(self, program: Program) -> tuple[float, float] | None:
        solver = self.solver
        cutter = Cutter(solver.layout, solver.rows, solver.place, survival=solver.survival)
        _, solution = cutter.optimum(Engine(program, solver.unit), self.limits)
        if solution.status != "optimal":
            return None
        made = float(np.round(solution.x[self.place], 6))
        return float(program.cost @ solution.x), made
