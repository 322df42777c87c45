"""The proof of a linear program's optimum from its arrays alone, by strong duality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    cost: Floats, bounds: tuple[Floats, Floats], limits: tuple[Floats, Floats], x: Floats, activity: Floats,
    dual: Floats, reduced: Floats,
) -> Certificate:  # fmt: skip
    """How far the point and the prices are from proving each other optimal; every array in the same units.

    ``activity`` is A x, ``reduced`` is c - A'y. A price above 0 leans on the lower limit, one below 0 on the upper.
    """
    primal, residual, value = 0.0, 0.0, 0.0
    for at, price, (low, high) in ((activity, dual, limits), (x, reduced, bounds)):
        if not len(at):
            continue
        primal = max(primal, float((low - at).max()), float((at - high).max()))
        bound = np.where(price > 0, low, high)
        loose = np.isinf(bound)
        bound[loose] = 0.0
        value += float(price @ bound)
        residual = max(residual, float(np.abs(price[loose]).max(initial=0.0)))
    objective = float(cost @ x)
    return Certificate(primal, residual, abs(objective - value) / max(1.0, abs(objective)))
