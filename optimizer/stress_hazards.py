"""What is short on average over the scenarios of disruptions.csv: expected, its range, and what hangs on guesses."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.case import Case
from models.disruptions import hazards

COLUMNS = ("mineral", "material", "year", "expected_short_t", "low_short_t", "high_short_t", "guessed_short_t",
           "expected_short_usd", "low_short_usd", "high_short_usd", "guessed_short_usd")  # fmt: skip
_WEIGHTS = {"expected": "probability", "low": "low", "high": "high", "guessed": "guessed"}


def with_probabilities(case: Case, ranked: pd.DataFrame) -> pd.DataFrame:
    """The ranked losses with probability (blank where a loss has none), its range and its basis."""
    known = {f"scenario:{row['scenario']}": row for row in hazards(case).to_dict("records")}
    of = [known.get(name, {}) for name in ranked["lose"]]
    found = ranked.copy()
    for column, name in (("probability", "probability"), ("probability_low", "low"), ("probability_high", "high")):
        found[column] = np.array([row.get(name, np.nan) for row in of], dtype=float)
    found["probability_basis"] = [str(row.get("basis", "")) for row in of]
    return found


def expected_shortage(case: Case, losses: pd.DataFrame) -> pd.DataFrame:
    """What is short in a year on average: the sum of probability times short over the scenarios among the losses.

    One row for each material and year that a scenario with a probability leaves short (COLUMNS). ``low`` and ``high``:
    with each probability at its own low and high; ``guessed``: the part of ``expected`` of scenarios whose probability
    is a guess. USD at price_usd_per_t, blank where there
    is none. Of the plan kept; one scenario a year, as disruptions.csv has it.
    """
    known = hazards(case)
    known["guessed"] = known["probability"].where(known["basis"] == "guess", 0.0)
    rows = losses[losses["lose"].str.startswith("scenario:") & (losses["short_t"] > 0)]
    rows = rows.assign(scenario=rows["lose"].str.removeprefix("scenario:")).merge(known, on="scenario")
    rows = rows[rows["high"] > 0]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    for name, weight in _WEIGHTS.items():
        rows[f"{name}_short_t"] = rows[weight].astype(float) * rows["short_t"]
    sums = [f"{name}_short_t" for name in _WEIGHTS]
    found = rows.groupby(["mineral", "material", "year"], sort=False)[sums].sum().reset_index()
    prices = case.materials.set_index("material")["price_usd_per_t"]
    price = found["material"].map(prices.where(prices > 0))
    for name in _WEIGHTS:
        found[f"{name}_short_usd"] = found[f"{name}_short_t"] * price
    return found[list(COLUMNS)].sort_values(["year", "mineral", "material"], ignore_index=True)
