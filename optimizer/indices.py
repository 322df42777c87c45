"""Sobol indices with bootstrap intervals, and rank correlations, by scipy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from models.case import Floats

RESAMPLES = 499
CONFIDENCE = 0.95


def sobol_indices(
    values: Floats, inputs: Sequence[str], outputs: Sequence[str], size: int, seed: int = 0
) -> pd.DataFrame:  # fmt: skip
    """First-order and total indices of every input for every output, largest total first within an output.

    ``values``: outputs at the points of the design, shape ((inputs + 2) * size, outputs): both base samples A and B,
    then A with one column from B, input by input (Saltelli 2010). ``confidence`` and ``confidence_first``: half the
    width of the 95 % percentile interval over ``RESAMPLES`` bootstrap samples of the points.
    """
    columns = ["input", "output", "first", "total", "confidence", "confidence_first"]
    if not outputs:
        return pd.DataFrame(columns=columns)
    from scipy import stats

    count, width = len(inputs), len(outputs)
    blocks = values.reshape(count + 2, size, width).transpose(0, 2, 1)  # (sample, output, point)

    def indices(chosen: Any) -> Floats:
        """First and total, shape (2, outputs, inputs), of the chosen points."""
        of_a, of_b, of_ab = (part[..., chosen] for part in (blocks[0], blocks[1], blocks[2:]))
        if width == 1:  # scipy drops axes of length one: give it two outputs
            of_a, of_b = (np.repeat(part, 2, axis=0) for part in (of_a, of_b))
            of_ab = np.repeat(of_ab, 2, axis=1)
        found = stats.sobol_indices(func={"f_A": of_a, "f_B": of_b, "f_AB": of_ab}, n=size)
        both = np.stack([np.reshape(part, (-1, count)) for part in (found.first_order, found.total_order)])
        return np.asarray(both[:, :width], dtype=float)

    first, total = indices(np.arange(size))
    spread = stats.bootstrap(
        (np.arange(size),), indices, vectorized=False, n_resamples=RESAMPLES, confidence_level=CONFIDENCE,
        method="percentile", **_seeded(stats.bootstrap, seed),
    ).confidence_interval  # fmt: skip
    half = (np.asarray(spread.high) - np.asarray(spread.low)) / 2
    table = pd.DataFrame({
        "input": np.tile(np.array(list(inputs), dtype=object), width),
        "output": np.repeat(np.array(list(outputs), dtype=object), count),
        "first": first.ravel(), "total": total.ravel(), "confidence": half[1].ravel(),
        "confidence_first": half[0].ravel(),
    })  # fmt: skip
    return _ranked(table, outputs, "total")


def rank_correlations(
    points: Floats, values: Floats, inputs: Sequence[str], outputs: Sequence[str]
) -> pd.DataFrame:  # fmt: skip
    """Spearman's rank correlation of every input with every output, largest first within an output.

    ``points``: shape (points, inputs); ``values``: shape (points, outputs). ``p_value``: that of no correlation.
    """
    columns = ["input", "output", "rank_correlation", "p_value", "samples"]
    if not outputs or len(points) < 3:
        return pd.DataFrame(columns=columns)
    from scipy import stats

    rows = []
    for place, output in enumerate(outputs):
        for number, name in enumerate(inputs):
            found = stats.spearmanr(points[:, number], values[:, place])
            rows.append((name, output, float(found.statistic), float(found.pvalue), len(points)))
    return _ranked(pd.DataFrame(rows, columns=columns), outputs, "rank_correlation")


def _ranked(table: pd.DataFrame, outputs: Sequence[str], by: str) -> pd.DataFrame:
    place = {name: number for number, name in enumerate(outputs)}
    ordered = table.assign(place=table["output"].map(place), size=-table[by].abs())
    return ordered.sort_values(["place", "size"], kind="stable", ignore_index=True)[list(table.columns)]


def _seeded(function: Any, seed: int) -> dict[str, Any]:
    """The seed under the name that this scipy has for it."""
    import inspect

    name = "rng" if "rng" in inspect.signature(function).parameters else "random_state"
    return {name: np.random.default_rng(seed)}
