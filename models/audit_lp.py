"""A small linear program for the audit, solved by scipy alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Lp:
    """min cost x, low <= A x <= high, 0 <= x <= upper. Costs and limits may be changed between two solves."""

    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    terms: list[tuple[int, int, float]] = field(default_factory=list)  # row, column, value
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def column(self, upper: float = np.inf, cost: float = 0.0) -> int:
        """Add a column; gives its number."""
        self.cost.append(cost)
        self.upper.append(upper)
        return len(self.cost) - 1

    def row(self, terms: Iterable[tuple[int, float]], low: float, high: float) -> int:
        """Add a row of (column, value); gives its number."""
        self.terms += [(len(self.low), column, value) for column, value in terms]
        self.low.append(low)
        self.high.append(high)
        return len(self.low) - 1

    def solve(self) -> Any:
        """scipy's result; ``None`` where nothing is feasible."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_matrix

        if not self.cost:
            return np.zeros(0) if all(low <= 0 <= high for low, high in zip(self.low, self.high, strict=True)) else None
        options: dict[str, Any] = {}
        if self.low:
            at, columns, values = zip(*self.terms, strict=True) if self.terms else ((), (), ())
            matrix = csr_matrix((values, (at, columns)), shape=(len(self.low), len(self.cost)))
            options["constraints"] = LinearConstraint(matrix, np.array(self.low), np.array(self.high))
        bounds = Bounds(np.zeros(len(self.cost)), np.array(self.upper))
        answer = milp(np.array(self.cost), bounds=bounds, **options)
        if answer.x is None and answer.status != 2:  # presolve may not know which of infeasible and unbounded it is
            answer = milp(np.array(self.cost), bounds=bounds, options={"presolve": False}, **options)
        if answer.status == 2:
            return None
        if answer.x is None:
            raise RuntimeError(f"the audit's own program could not be solved: {answer.message}")
        return answer.x
