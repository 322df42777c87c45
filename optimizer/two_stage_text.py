"""What a planner would say aloud of a plan that weighs disruptions; terminal, report and exports say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from optimizer.console import money, percent, plain
from optimizer.plan import Plan

Summary = Mapping[str, Any]  # ``Plan.two_stage``


def weighs(plan: Plan) -> bool:
    """Whether the plan weighs disruptions: there is more than one outcome."""
    return plan.two_stage is not None and plan.two_stage["outcomes"] > 1


def measures(two: Summary) -> list[tuple[str, str]]:
    """The costs in words, each with its key in the summary: undisturbed, expected, CVaR, worst, made least."""
    tail = percent(two["tail"])
    return [
        ("where nothing happens", "undisturbed_usd"), ("expected", "expected_usd"),
        (f"worst {tail} (CVaR)", "cvar_usd"),
        (f"worst: {named(two['worst_outcome'])}", "worst_usd"), (f"made least: {made_least(two)}", "objective_usd"),
    ]  # fmt: skip


def worths(two: Summary) -> list[tuple[str, str]]:
    """The other figures in USD in words, each with its key in the summary."""
    return [
        ("paid whatever happens", "first_stage_usd"),
        (f"at the edge of the worst {percent(two['tail'])}", "value_at_risk_usd"),
        ("a plan that ignores disruptions costs more", "ignoring_usd"),
        ("a plan for the mean outcome costs more (VSS)", "vss_usd"),
        ("knowing beforehand saves (EVPI)", "evpi_usd"), ("how far these three may be off", "gap_usd"),
    ]  # fmt: skip


def made_least(two: Summary) -> str:
    """What the plan makes least: 50% expected + 50% worst."""
    weight = float(two["risk_weight"])
    if weight in (0.0, 1.0):
        return f"the worst {percent(two['tail'])}" if weight else "expected"
    return f"{percent(1 - weight)} expected + {percent(weight)} worst"


def over(two: Summary) -> str:
    """Over how many outcomes: 21 outcomes."""
    return f"{two['outcomes']} outcomes{', several at once too' if two['joint'] else ''}"


def weighed_sentence(two: Summary) -> str:
    """The costs over the outcomes in one sentence."""
    return (
        f"Weighed over {over(two)} it costs {money(two['expected_usd'])} USD expected, "
        f"{money(two['cvar_usd'])} on the mean of the worst {percent(two['tail'])} (CVaR), and "
        f"{money(two['worst_usd'])} at worst ({named(two['worst_outcome'])})."
    )


def worth_sentences(two: Summary) -> list[str]:
    """The price of ignoring disruptions, VSS and EVPI in a sentence each, then what could not be told and why."""
    lines = []
    if two["ignoring_usd"] is not None:
        lines.append(f"A plan made as if nothing could happen would cost {money(two['ignoring_usd'])} USD more.")
    if two["vss_usd"] is not None:
        lines.append(f"A plan made for the mean outcome would cost {money(two['vss_usd'])} USD more (VSS).")
    if two["evpi_usd"] is not None:
        lines.append(f"Knowing beforehand what happens would save {money(two['evpi_usd'])} USD (EVPI).")
    return lines + [f"{plain(note)[:1].upper()}{plain(note)[1:]}." for note in two["notes"]]


def guess_sentence(two: Summary) -> str:
    """How many probabilities are guesses, and the one that moves the expected cost most; "" where none is."""
    found = two.get("guesses") or {"guessed": 0}
    if not found["guessed"]:
        return ""
    count, number = found["guessed"], found["scenarios"]
    text = f"{count} of {number} probabilities {'is a guess' if count == 1 else 'are guesses'}"
    most = next(iter(found["each"]), None)
    if most is None or abs(most["expected_at_high_usd"] - most["expected_at_low_usd"]) < 0.5:
        return f"{text}."
    return (
        f"{text}; most hangs on {named(most['scenario'])}: at {chance(most['low'])} to {chance(most['high'])}, the "
        f"expected cost is {between(most['expected_at_low_usd'], most['expected_at_high_usd'])} USD."
    )


def between(low: float, high: float) -> str:
    """Two amounts with the unit once where it is the same: 279 to 302 billion."""
    first, last = money(low), money(high)
    number, _, unit = first.partition(" ")
    return f"{number if unit and unit == last.partition(' ')[2] else first} to {last}"


def worst_shortages(plan: Plan) -> pd.DataFrame:
    """What each outcome leaves short, in the year with the largest share short of each material, most first.

    Columns of ``outcome_shortage``, and ``share`` of what is required.
    """
    short = plan.tables["outcome_shortage"]
    short = short.assign(share=short["short_t"] / short["required_t"])
    worst = short.loc[short.groupby(["outcome", "material"], sort=False)["share"].idxmax()] if len(short) else short
    order = {name: place for place, name in enumerate(dearest(plan)["outcome"])}
    return worst.sort_values(["outcome", "share", "material"], ascending=[True, False, True], ignore_index=True,
                             key=lambda c: c.map(order) if c.name == "outcome" else c)  # fmt: skip


def dearest(plan: Plan) -> pd.DataFrame:
    """The outcomes that can happen, those first that cost most more than where nothing happens."""
    listed = plan.tables["outcomes"]
    order = ["more_usd", "outcome"]
    return listed[listed["probability"] > 0].sort_values(order, ascending=[False, True], ignore_index=True)


def chance(share: float) -> str:
    """A probability in per cent, with three digits at most."""
    return f"{100 * share:.3g}%"


def named(outcome: str) -> str:
    """An outcome in words: its scenarios joined by +."""
    return plain(outcome).replace("+", " + ")
