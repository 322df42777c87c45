"""The program in which named rows and lower bounds may be missed at a price: how near a plan can come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from optimizer.engine import Engine, power_of_ten
from optimizer.program import Names, Program


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
        unit += [float(power_of_ten(np.array([1.0 / weight]))[0]) / 100 for weight in free_weight]
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
            np.concatenate([program.integer, extra > 0]), Names.of(rows),
            program.names + Names([("slack", range(len(cost)))]),
        )  # fmt: skip
        return cls(Engine(whole, np.concatenate([engine.column_unit, unit])), free)
