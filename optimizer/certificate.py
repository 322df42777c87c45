"""The proof of a linear program's optimum from its arrays alone, by strong duality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.case import Floats


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


def certify(
    matrix: sparse.csc_array, cost: Floats, bounds: tuple[Floats, Floats], limits: tuple[Floats, Floats], x: Floats,
    dual: Floats,
) -> Certificate:  # fmt: skip
    """How far the point and the prices are from proving each other optimal; every array in the same units."""
    lower, upper = bounds
    row_lower, row_upper = limits
    activity = matrix @ x
    over = [row_lower - activity, activity - row_upper, lower - x, x - upper]
    primal = max((float(part.max(initial=0.0)) for part in over), default=0.0)
    reduced = cost - matrix.T @ dual
    residual, value = 0.0, 0.0
    for price, low, high in ((dual, row_lower, row_upper), (reduced, lower, upper)):
        for part, bound in ((np.maximum(price, 0.0), low), (np.minimum(price, 0.0), high)):
            bounded = np.isfinite(bound)
            value += float(part[bounded] @ bound[bounded])
            residual = max(residual, float(np.abs(part[~bounded]).max(initial=0.0)))
    objective = float(cost @ x)
    return Certificate(primal, residual, abs(objective - value) / max(1.0, abs(objective)))
