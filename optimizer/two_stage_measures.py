"""What a plan that weighs disruptions costs, outcome by outcome, and what knowing more would be worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.case import Floats
from optimizer.kept_responses import Responses, respond
from optimizer.tonnage import SMALLEST_T
from optimizer.two_stage import TwoStage, cvar, tail_weights
from optimizer.two_stage_guesses import find_guesses

if TYPE_CHECKING:
    from optimizer.foresight import Foresight

OUTCOMES = ("outcome", "probability", "tail_share", "response_usd", "total_usd", "more_usd", "shortage_usd")
OUTCOME_SHORTAGE = ("outcome", "probability", "mineral", "material", "year", "required_t", "short_t")
DEFINITIONS = {
    "first_stage_usd": "paid whatever happens: fixed charges, capital less grants, holding of stock; like everything "
    "here discounted, over the whole horizon",
    "undisturbed_usd": "total cost of the plan where nothing happens (first stage included, like every total)",
    "expected_usd": "mean of the total cost of the outcomes, weighed with their probabilities",
    "cvar_usd": "mean total cost over the worst tail of probability; the outcome at its edge counts in part",
    "value_at_risk_usd": "total cost at the edge of that tail",
    "worst_usd": "total cost of the dearest outcome",
    "objective_usd": "(1 - risk weight) * expected + risk weight * cvar: what the plan makes least",
    "evpi_usd": "what knowing the outcome beforehand would save: the objective less that of plans each made knowing "
    "its outcome",
    "vss_usd": "what weighing the outcomes saves against a plan made for their mean, kept and answered outcome by "
    "outcome; null where that plan would miss requirements without a price",
    "ignoring_usd": "the same against the least-cost plan made as if nothing could happen",
    "gap_usd": "how far evpi, vss and ignoring may be off, where whole numbers leave a gap",
    "guesses": "scenarios with a probability above 0, those guessed, and of each guessed one the expected cost of this "
    "plan with its probability alone at its low and high, nothing happening the less or more often; none of that where "
    "scenarios strike jointly",
}


@dataclass(frozen=True)
class Weighed:
    """The measures of a plan over its outcomes: ``summary`` as in DEFINITIONS (None where it is off), and two tables:
    a row an outcome; a row for each outcome, material and year in which something is short.
    """

    summary: dict[str, Any] | None
    outcomes: pd.DataFrame
    shortage: pd.DataFrame

    @property
    def objective_usd(self) -> float:
        """What the plan makes least."""
        assert self.summary is not None
        return float(self.summary["objective_usd"])


def nothing_weighed() -> Weighed:
    """Where disruptions do not count."""
    return Weighed(None, pd.DataFrame(columns=list(OUTCOMES)), pd.DataFrame(columns=list(OUTCOME_SHORTAGE)))


def weigh(two: TwoStage, x: Floats, foresight: Foresight | None = None, gap_usd: float = 0.0) -> Weighed:
    """Measure a plan (values of its layout's columns) over its outcomes. ``gap_usd``: how far its own objective may
    be above the least.
    """
    x = x[: two.layout.width]
    found = respond(two, x)
    risk, p, first = two.layout.case.settings.risk, two.probability, two.first_stage_usd(x)
    total = first + found.usd
    share = tail_weights(p, found.usd, risk.tail)
    weight = float(risk.weight or 0.0)
    expected, worst = float(p @ total), cvar(p, total, risk.tail)
    objective = (1 - weight) * expected + weight * worst
    likely = np.flatnonzero(p > 0)
    dearest = int(likely[np.argmax(total[likely])])
    tail = np.flatnonzero(share > 0)
    summary: dict[str, Any] = {
        "risk_weight": weight, "tail": risk.tail, "joint": risk.joint, "outcomes": len(p), "objective_usd": objective,
        "first_stage_usd": first, "undisturbed_usd": float(total[0]), "expected_usd": expected, "cvar_usd": worst,
        "value_at_risk_usd": float(total[tail].min()), "worst_usd": float(total[dearest]),
        "worst_outcome": two.outcomes[dearest].name, "evpi_usd": None, "vss_usd": None, "ignoring_usd": None,
        "gap_usd": gap_usd, "guesses": {}, "notes": [], "definitions": DEFINITIONS,
    }  # fmt: skip
    if foresight is not None:
        room = 1e-6 * abs(objective) + gap_usd + foresight.gap_usd
        for name, value, sign in (("evpi_usd", foresight.perfect_usd, -1.0), ("vss_usd", foresight.mean_usd, 1.0),
                                  ("ignoring_usd", foresight.ignoring_usd, 1.0)):  # fmt: skip
            if value is not None:
                more = sign * (value - objective)
                summary[name] = 0.0 if -room <= more <= 0 else more  # a plan is right to the solver's tolerance
        summary["gap_usd"] += foresight.gap_usd
        summary["notes"] = list(foresight.notes)
    names = [outcome.name for outcome in two.outcomes]
    table = pd.DataFrame({
        "outcome": names, "probability": p, "tail_share": share, "response_usd": found.usd, "total_usd": total,
        "more_usd": total - total[0], "shortage_usd": _shortage_usd(two, x, found),
    }, columns=list(OUTCOMES))  # fmt: skip
    summary["guesses"] = find_guesses(two.layout.case, table)
    return Weighed(summary, table, _shortages(two, x, found))


def _shortage_usd(two: TwoStage, x: Floats, found: Responses) -> Floats:
    """Discounted cost of what is short in each outcome."""
    network, start = two.network, two.layout.offsets["shortage"]
    end = start + two.layout.sizes["shortage"]
    each = [np.zeros(0)]
    for (piece, _), values in zip(two.copies, found.values, strict=True):
        inside = (piece.columns >= start) & (piece.columns < end)
        each.append(values[:, inside] @ network.delivered[piece.columns[inside]])
    own = float(network.delivered[start:end] @ x[start:end])
    return np.concatenate([[own], np.concatenate(each)[two.copy_of].sum(axis=1)])


def _shortages(two: TwoStage, x: Floats, found: Responses) -> pd.DataFrame:
    """Tonnes a year short in each outcome, by material and year, markets and sectors together."""
    layout, case = two.layout, two.layout.case
    start, size, years = layout.offsets["shortage"], layout.sizes["shortage"], len(case.years)
    key = layout.shortage_material * years + layout.shortage_year  # of each shortage
    short = np.zeros((len(two.outcomes), len(case.materials) * years))
    np.add.at(short[0], key, x[start : start + size])
    before = 0
    for number, ((piece, touch), values) in enumerate(zip(two.copies, found.values, strict=True)):
        inside = np.flatnonzero((piece.columns >= start) & (piece.columns < start + size))
        each = np.zeros((len(touch), short.shape[1]))
        np.add.at(each.T, key[piece.columns[inside] - start], np.nan_to_num(values[:, inside]).T)
        short[1:] += each[two.copy_of[:, number] - before]
        before += len(touch)
    required = np.zeros_like(short)
    asked = layout.requirement_material * years + layout.requirement_year
    each_t = layout.requirement_t * two.effects.demand_multiple[:, layout.requirement_market,
                                                                layout.requirement_material]  # fmt: skip
    np.add.at(required.T, asked, each_t.T)
    outcome, at = np.nonzero(short >= SMALLEST_T)
    code, year = np.divmod(at, years)
    return pd.DataFrame({
        "outcome": np.array([o.name for o in two.outcomes], dtype=object)[outcome],
        "probability": two.probability[outcome],
        "mineral": case.materials["mineral"].to_numpy()[code], "material": case.materials["material"].to_numpy()[code],
        "year": np.array(case.years)[year], "required_t": required[outcome, at], "short_t": short[outcome, at],
    }, columns=list(OUTCOME_SHORTAGE))  # fmt: skip
