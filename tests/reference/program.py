"""A mixed-integer linear program with share-squared rows, handed to scipy (HiGHS) and tightened by tangent cuts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_matrix, vstack

Expr = dict[int, float]
INF = float("inf")


def total(*terms: tuple[float, Expr]) -> Expr:
    out: Expr = {}
    for factor, expr in terms:
        for column, c in expr.items():
            out[column] = out.get(column, 0.0) + factor * c
    return out


@dataclass
class Squares:
    """sum over groups of weight * tonnes^2 <= most * all^2."""

    groups: list[tuple[float, Expr]]
    whole: Expr
    most: float
    parts: list[int]


@dataclass
class Program:
    cost: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    rows: list[tuple[Expr, float, float]] = field(default_factory=list)
    squares: list[Squares] = field(default_factory=list)

    def variable(self, low: float = 0.0, high: float = INF, integer: bool = False) -> Expr:
        self.cost.append(0.0)
        self.low.append(low)
        self.high.append(high)
        self.whole.append(int(integer))
        return {len(self.cost) - 1: 1.0}

    def switch(self, amount: Expr, most: float) -> Expr:
        """A 0-1 variable that must be 1 where the amount (never above `most`) is not 0."""
        on = self.variable(0.0, 1.0, integer=True)
        self.row(total((1.0, amount), (-most, on)), high=0.0)
        return on

    def row(self, expr: Expr, low: float = -INF, high: float = INF) -> None:
        self.rows.append((expr, low, high))

    def square(self, groups: list[tuple[float, Expr]], whole: Expr, most: float) -> None:
        groups = [(w, e) for w, e in groups if w > 0.0]
        if most == 0.0:
            for _, expr in groups:
                self.row(expr, high=0.0)
            return
        parts = [self.variable() for _ in groups]  # part >= weight * tonnes^2 / all
        self.row(total(*((1.0, p) for p in parts), (-most, whole)), high=0.0)
        self.squares.append(Squares(groups, whole, most, [next(iter(p)) for p in parts]))
        for at in (0.1, 0.3, 0.6, 1.0):
            for g in range(len(groups)):
                self._tangent(self.squares[-1], g, at)

    def _tangent(self, sq: Squares, g: int, at: float) -> None:
        """x^2 / T >= 2 at x - at^2 T, an equality where x / T = at."""
        weight, expr = sq.groups[g]
        self.row(total((2 * at * weight, expr), (-at * at * weight, sq.whole), (-1.0, {sq.parts[g]: 1.0})), high=0.0)

    # ---- solving
    def solve(self) -> np.ndarray | None:
        """The optimum, or None where there is none."""
        x = self._cut(relaxed=True)
        return x if x is None or not any(self.whole) else self._cut(relaxed=False)

    def _cut(self, relaxed: bool) -> np.ndarray | None:
        worst = 0.0
        for _ in range(400):
            x = self._linear(np.array(self.low), np.array(self.high)) if relaxed else self._integer()
            if x is None:
                return None
            worst = self._tighten(x)
            if worst <= 1e-9:
                return x
        if worst <= 1e-6:
            return x
        raise RuntimeError(f"tangent cuts did not converge: {worst}")

    def _tighten(self, x: np.ndarray) -> float:
        worst = 0.0
        for sq in self.squares:
            whole = value(sq.whole, x)
            if whole <= 1e-7:
                continue
            shares = [value(expr, x) / whole for _, expr in sq.groups]
            over = sum(w * a * a for (w, _), a in zip(sq.groups, shares, strict=True)) / sq.most - 1.0
            worst = max(worst, over)
            if over > 1e-9:
                for g, at in enumerate(shares):
                    if at > 1e-9:
                        self._tangent(sq, g, at)
        return worst

    def _matrix(self) -> tuple[csr_matrix, np.ndarray, np.ndarray]:
        i, j, v = [], [], []
        for n, (expr, _, _) in enumerate(self.rows):
            for column, c in expr.items():
                i.append(n)
                j.append(column)
                v.append(c)
        matrix = csr_matrix((v, (i, j)), shape=(len(self.rows), len(self.cost)))
        return matrix, np.array([r[1] for r in self.rows]), np.array([r[2] for r in self.rows])

    def _linear(self, low: np.ndarray, high: np.ndarray) -> np.ndarray | None:
        matrix, lo, hi = self._matrix()
        same, above, below = lo == hi, (lo != hi) & (hi < INF), (lo != hi) & (lo > -INF)
        tight = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}
        choices: list[Any] = [tight, {}, {"presolve": False}]
        for options in choices:
            found = linprog(  # type: ignore[call-overload]  # the stubs know no sparse matrices
                np.array(self.cost),
                A_ub=vstack([matrix[above], -matrix[below]]),
                b_ub=np.concatenate([hi[above], -lo[below]]),
                A_eq=matrix[same],
                b_eq=lo[same],
                bounds=np.column_stack([low, high]),
                method="highs",
                options=options,
            )
            if found.status == 0:
                return found.x
            if found.status == 2:
                return None
        raise RuntimeError(f"linprog: {found.status} {found.message}")

    def _integer(self) -> np.ndarray | None:
        """The integers by milp, then everything else once more with the integers held at whole numbers."""
        whole = np.array(self.whole, dtype=bool)
        for _ in range(50):
            matrix, lo, hi = self._matrix()
            for presolve in (True, False):
                found = milp(
                    self.cost,
                    integrality=np.array(self.whole),
                    bounds=Bounds(self.low, self.high),
                    constraints=LinearConstraint(matrix, lo, hi),
                    options={"mip_rel_gap": 1e-9, "presolve": presolve},
                )
                if found.status in (0, 2):
                    break
            if found.status == 2:
                return None
            if found.status != 0:
                raise RuntimeError(f"milp: {found.status} {found.message}")
            low, high = np.array(self.low), np.array(self.high)
            low[whole] = high[whole] = np.round(found.x[whole])
            x = self._linear(low, high)
            if x is not None:
                return x
            on = np.flatnonzero(whole)  # the choice lived on the solver's tolerance: never again
            signs = {int(c): (-1.0 if low[c] > 0.5 else 1.0) for c in on}
            self.row(signs, low=1.0 - sum(1 for c in on if low[c] > 0.5))
        raise RuntimeError("no whole-number plan survived its own rounding")


def value(expr: Expr, x: np.ndarray) -> float:
    return float(sum(c * x[column] for column, c in expr.items()))
