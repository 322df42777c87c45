"""Section of the report on runs that weigh disruptions: what they cost over the outcomes, and what goes short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from optimizer import charts, sentences
from optimizer.console import money, percent, plain
from optimizer.report_blocks import Chart, Column, Section, Table, capital, table_of
from optimizer.report_inputs import Inputs, Run
from optimizer.two_stage_text import (
    dearest,
    guess_sentence,
    measures,
    over,
    weighs,
    worst_shortages,
    worth_sentences,
    worths,
)

_BARS = 25  # outcomes drawn; the table has them all
_MORE = ("expected_usd", "cvar_usd", "value_at_risk_usd", "worst_usd")  # are compared with where nothing happens


def disruptions(inputs: Inputs) -> Iterator[Section]:
    """The section, where a run weighs disruptions."""
    runs = [run for run in inputs.runs if weighs(run.plan)]
    if runs:
        said = [line for run in runs for line in _said(inputs, run)]
        yield Section("weighed", "Disruptions weighed", said, list(_blocks(inputs, runs)))


def _said(inputs: Inputs, run: Run) -> Iterator[str]:
    two = run.plan.two_stage
    assert two is not None
    lead = f"{plain(run.name)}: " if inputs.several else ""
    base = float(two["undisturbed_usd"])
    yield capital(
        f"{money(base)} USD in all where nothing happens; over {over(two)} {money(two['expected_usd'])} expected, "
        f"{money(two['cvar_usd'])} on the mean of the worst {percent(two['tail'])} (CVaR).", lead,
    )  # fmt: skip
    worst = dearest(run.plan).iloc[0]
    yield capital(
        f"the dearest, {plain(worst['outcome'])}, costs {sentences.against(two['worst_usd'], base)} than where nothing "
        f"happens.", lead,
    )  # fmt: skip
    for line in [*worth_sentences(two), guess_sentence(two)]:
        if line:
            yield f"{lead}{line}"


def _blocks(inputs: Inputs, runs: Sequence[Run]) -> Iterator[Table | Chart]:
    for run in runs:
        suffix = f" of {run.name}" if inputs.several else ""
        yield _measures(run, f"cost over the outcomes{suffix}")
    yield _outcomes(inputs, runs)
    for run in runs:
        suffix = f" of {run.name}" if inputs.several else ""
        yield _short(run, f"short in each outcome{suffix}")
        if _guessed(run):
            yield _guesses(run, f"probabilities that are guesses{suffix}")


def _measures(run: Run, name: str) -> Table:
    two = run.plan.two_stage
    assert two is not None
    base, rows = float(two["undisturbed_usd"]), list[list[Any]]()
    for words, key in [*measures(two), *worths(two)]:
        if two[key] is not None:
            more = two[key] - base if key in _MORE else None
            rows.append([words, two[key], more, capital(str(two["definitions"][key])) + "."])
    columns = [Column("measure"), Column("USD, present value", "usd"),
               Column("more than where nothing happens (USD)", "usd"), Column("what it is")]  # fmt: skip
    note = (
        "What the plan makes least cannot be compared with today or with a plan that weighs nothing: of those, the "
        "cost is known only where nothing happens."
    )
    return Table(name, columns, rows, note=note)


def _outcomes(inputs: Inputs, runs: Sequence[Run]) -> Chart:
    """The dearest outcomes as bars, and all of them as a table."""
    figures, captions, parts = {}, {}, []
    for run in runs:
        table = dearest(run.plan)
        key = run.name if inputs.several else ""
        drawn = table[table["more_usd"] != 0].head(_BARS)
        figures[key] = charts.outcomes(drawn)
        tail = percent((run.plan.two_stage or {})["tail"])
        left = f"; the {_BARS} dearest of {len(table)}" if len(drawn) < len(table) - 1 else ""
        captions[key] = f"Orange bars are in the worst {tail} of probability, wholly or in part{left}."
        parts.append(table.assign(run=run.name))
    names = {**({"run": Column("run")} if inputs.several else {}), "outcome": Column("outcome"),
             "probability": Column("probability", "share"),
             "tail_share": Column("share of the worst tail", "share"),
             "response_usd": Column("cost of the response (USD)", "usd"),
             "total_usd": Column("cost in all (USD)", "usd"),
             "more_usd": Column("more than where nothing happens (USD)", "usd"),
             "shortage_usd": Column("cost of what is short (USD)", "usd")}  # fmt: skip
    found = pd.concat(parts, ignore_index=True)
    shown = table_of("outcomes", found, names, keys=found["run"].tolist() if inputs.several else (),
                     note="Present value over the whole horizon.", largest="more_usd")  # fmt: skip
    choices = [("run", [run.name for run in runs])] if inputs.several else []
    return Chart("outcomes", "What each outcome costs more than where nothing happens", figures, shown, choices,
                 captions)  # fmt: skip


def _short(run: Run, name: str) -> Table:
    columns = {"outcome": Column("outcome"), "probability": Column("probability", "share"),
               "mineral": Column("mineral"), "material": Column("material"), "year": Column("worst year", "year"),
               "required_t": Column("required (t a year)", "t"), "short_t": Column("short (t a year)", "t"),
               "share": Column("short of what is required", "share")}  # fmt: skip
    note = "Of each outcome and material the year with the largest share short; all years: tables/outcome_shortage.csv."
    return table_of(name, worst_shortages(run.plan), columns, note=note, largest="share")


def _guessed(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ((run.plan.two_stage or {}).get("guesses") or {}).get("each") or []
    return found


def _guesses(run: Run, name: str) -> Table:
    columns = {"scenario": Column("scenario"), "probability": Column("probability", "share"),
               "low": Column("low", "share"), "high": Column("high", "share"),
               "expected_at_low_usd": Column("expected cost at low (USD)", "usd"),
               "expected_at_high_usd": Column("expected cost at high (USD)", "usd")}  # fmt: skip
    note = (
        "Each probability moved by itself, nothing happening the more or less often, the plan and its responses as "
        "they are; high is at most what that leaves."
    )
    return table_of(name, pd.DataFrame(_guessed(run)), columns, note=note)
