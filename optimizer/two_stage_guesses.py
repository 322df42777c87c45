"""How far the expected cost of a plan that weighs disruptions hangs on probabilities that somebody guessed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from models.case import Case
from models.disruptions import NOTHING, hazards

GUESS = "guess"  # as probability_basis of disruptions.csv has it


def find_guesses(case: Case, outcomes: pd.DataFrame) -> dict[str, Any]:
    """How many probabilities are guesses, and what each of them moves.

    ``outcomes``: outcome, probability, total_usd of a plan that is kept. Gives ``scenarios``: with a probability above
    0; ``guessed``: those of them whose basis is a guess; ``each``: for every guessed one its probability, low and
    high, and the expected cost with its probability alone at either, the one that moves it most first. What it gains
    comes from "nothing happens", so high is at most the probability and all of that; what it loses goes there. The
    responses are those of the plan that is kept, so the expected cost is linear in each probability. ``each`` is empty
    with ``[risk] joint``, where a probability is in many outcomes.
    """
    known = hazards(case)
    known = known[known["probability"] > 0]
    guessed = known[known["basis"] == GUESS]
    found: dict[str, Any] = {"guessed": len(guessed), "scenarios": len(known), "each": []}
    if case.settings.risk.joint:
        return found
    expected = float((outcomes["probability"] * outcomes["total_usd"]).sum())
    usd = dict(zip(outcomes["outcome"], outcomes["total_usd"].astype(float), strict=True))
    room = float(outcomes.loc[outcomes["outcome"] == NOTHING, "probability"].sum())
    for row in guessed.to_dict("records"):
        p = float(row["probability"])
        more = usd[row["scenario"]] - usd[NOTHING]
        low, high = float(row["low"]), min(float(row["high"]), p + room)
        found["each"].append({
            "scenario": row["scenario"], "probability": p, "low": low, "high": high,
            "expected_at_low_usd": expected + (low - p) * more, "expected_at_high_usd": expected + (high - p) * more,
        })  # fmt: skip
    found["each"].sort(key=lambda item: -abs(item["expected_at_high_usd"] - item["expected_at_low_usd"]))
    return found
