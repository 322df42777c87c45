"""Explain a plan: what binds and what it costs, what is scarce, why a supplier is in or out. ``oremix explain``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.case import Case, load_case
from models.problems import CaseError, Problem, nearest
from optimizer.analysis_folder import write_analysis
from optimizer.limit_prices import LimitPrice, binding_rules, demands, price_of, quick_price_of, scarce
from optimizer.plan import Plan, clean, records
from optimizer.resolving import Resolved, resolve
from optimizer.run_folder import read_run
from optimizer.supplier_reasons import Reason, Suppliers

Say = Callable[[str], None]
SAME = 1e-6  # relative: the optimum found again is that of the run
# Columns of each table, in order; also where it is empty.
PRICES = (
    "rule", "kind", "bound", "stage", "mineral", "material", "member", "year", "value", "limit", "price_usd_per_y",
    "from", "to", "confirmed", "one_of_several", "below_usd_per_y", "above_usd_per_y", "from_ends", "to_ends",
    "curved", "denominator",
)  # fmt: skip
LIMITS = (
    "what", "kind", "name", "mineral", "material", "year", "limit", "price_usd_per_y", "from", "to", "confirmed",
    "one_of_several", "below_usd_per_y", "above_usd_per_y", "from_ends", "to_ends", "curved",
)  # fmt: skip
SUPPLIERS = (
    "supplier", "name", "mineral", "material", "year", "produced_t", "capacity_t", "cost_usd_per_t",
    "enters_below_usd_per_t", "leaves_above_usd_per_t", "gap_usd_per_t", "level_from_usd_per_t",
    "level_to_usd_per_t", "why", "instead", "instead_usd_per_t", "confirmed",
)  # fmt: skip
BUILD_UP = ("supplier", "year", "what", "item", "usd_per_t")
INSTEAD = ("supplier", "year", "who", "t_per_t", "usd_per_t")


@dataclass
class Explanation:
    """Why a plan is as it is, as tidy tables.

    ``prices``: the rule rows at their limit; USD a year for 1.00 of the limit, and the limits over which it holds.
    ``limits``: requirements and whatever is scarce; USD a year for one tonne. ``suppliers``: each in each year, why it
    makes what it makes, and the cost below which it would come in. ``build_up``: of those in the plan, what a tonne
    costs along its chain and what limits add to it. ``instead``: of those asked about, who else makes more or less
    for a tonne of it. ``notes``: what one should know of these figures.
    """

    case: str
    title: str
    of: str
    years: tuple[int, ...]
    objective_usd: float
    whole_numbers: bool
    prices: pd.DataFrame
    limits: pd.DataFrame
    suppliers: pd.DataFrame
    build_up: pd.DataFrame
    instead: pd.DataFrame
    asked: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    run: str = ""

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        return {name: getattr(self, name) for name in ("prices", "limits", "suppliers", "build_up", "instead")}

    def to_json(self) -> dict[str, Any]:
        """The document of ``--json`` and explain.json (contract 5)."""
        return {
            "run": self.run, "of": self.of, "case": self.case, "title": self.title, "years": list(self.years),
            "status": "ok", "objective_usd": self.objective_usd, "whole_numbers": self.whole_numbers,
            **{name: clean(records(table)) for name, table in self.tables.items()},
            "why_not": list(self.asked), "notes": self.notes, "about": clean(self.about),
        }  # fmt: skip


def explain(
    run: str | Path | Plan | Case, *, why_not: str | Sequence[str] = (), minerals: Sequence[str] = (),
    out: str | Path | None = None, write: bool = False, say: Say = lambda _: None,
) -> Explanation:  # fmt: skip
    """Why the plan of a run (its folder, the ``Plan`` read from it, or a ``Case`` to be solved) is as it is.

    ``why_not``: suppliers to look at closely, whether they are in the plan or not; then only they and the limits of
    their minerals are explained. ``minerals``: only these. ``out`` or ``write``: write the folder of the analysis
    (default ``runs/CASE-explain-DATE-TIME``). Raises ``CaseError`` for a run without a plan to explain.
    """
    plan, case = _read(run)
    asked = (why_not,) if isinstance(why_not, str) else tuple(why_not)
    kept = _minerals(case, asked, minerals)
    resolved = resolve(case, say)
    found = Explanation(
        case.name, case.settings.title, "" if plan is None else plan.run, case.years, resolved.objective_usd,
        resolved.solved.whole_numbers, *_explained(resolved, asked, kept, say), asked=asked,
    )  # fmt: skip
    found.notes = _notes(found, plan, any(row.kind == "survive" for row in resolved.rows))
    found.about = {
        "oremix": version("oremix"), "fingerprint": case.fingerprint, "parts": resolved.parts.count,
        "solves": sum(solver.solves for solver in resolved.solvers.values()),
        "weights": [float(weight) for weight in case.weights], "price_base_year": case.settings.horizon.price_base_year,
    }  # fmt: skip
    if write or out is not None:
        say("writing the folder")
        document = found.to_json()
        folder = write_analysis("explain", document, found.tables, case, Path(out) if out else None)
        found.run = str(document["run"]) or str(folder)
    return found


def _read(run: str | Path | Plan | Case) -> tuple[Plan | None, Case]:
    """The plan, if there is one already, and the case as it was run."""
    if isinstance(run, Case):
        return None, run
    plan = run if isinstance(run, Plan) else read_run(run)
    if not plan.run:
        raise CaseError([Problem("RUN", "the plan has no run folder: optimize(..., write=True), or give the case")])
    if plan.about.get("status_quo"):
        message = "goes on as today: nothing in it is chosen, so no limit has a price; explain a plan"
        raise CaseError([Problem(plan.run, message)])
    return plan, load_case(Path(plan.run) / "case")


def _minerals(case: Case, asked: Sequence[str], minerals: Sequence[str]) -> set[str]:
    """The minerals to explain; raises ``CaseError`` for a supplier or mineral that the case does not have."""
    known, names = set(case.materials["mineral"]), set(case.suppliers["supplier"])
    problems = [
        Problem("--why-not", f"no such supplier; {nearest(name, names)}", value=name)
        for name in asked if name not in names
    ] + [
        Problem("--mineral", f"no such mineral; {nearest(name, known)}", value=name)
        for name in minerals if name not in known
    ]  # fmt: skip
    if problems:
        raise CaseError(problems)
    if minerals:
        return set(minerals)
    if asked:
        return set(case.suppliers["mineral"][case.suppliers["supplier"].isin(asked)])
    return known


def _explained(
    resolved: Resolved, asked: Sequence[str], minerals: set[str], say: Say
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The five tables."""
    rules = [one for one in binding_rules(resolved) if one.about["mineral"] in {"", *minerals}]
    things = [(one, price_of) for one in demands(resolved)] + [(one, quick_price_of) for one in scarce(resolved)]
    things = [(one, how) for one, how in things if one.about["mineral"] in minerals]
    prices = []
    for number, one in enumerate(rules):
        _count(say, "what each rule costs", number, len(rules))
        prices.append(price_of(resolved, one))
    limits: list[LimitPrice] = []
    for number, (one, how) in enumerate(things):
        _count(say, "what each tonne is worth", number, len(things))
        limits.append(how(resolved, one))
    whole = Suppliers(resolved)
    reasons, swaps = _suppliers(resolved, whole, asked, minerals, say)
    lines = _build_ups(whole, reasons)
    return (
        _frame([price.record() for price in prices], PRICES), _frame([limit.record() for limit in limits], LIMITS),
        _frame([reason.record(resolved) for reason in reasons], SUPPLIERS), _frame(lines, BUILD_UP),
        _frame(swaps, INSTEAD),
    )  # fmt: skip


def _suppliers(
    resolved: Resolved, whole: Suppliers, asked: Sequence[str], minerals: set[str], say: Say
) -> tuple[list[Reason], list[dict[str, Any]]]:
    """Why each supplier (or each asked about) is in or out, year by year; and who makes up for those asked about."""
    case = resolved.case
    names, of = case.suppliers["supplier"].tolist(), case.suppliers["mineral"].tolist()
    wanted = [place for place, name in enumerate(names) if (name in asked if asked else of[place] in minerals)]
    keys = [(supplier, at) for supplier in wanted for at in range(len(case.years))]
    reasons, swaps = [], []
    for number, (supplier, at) in enumerate(keys):
        _count(say, "why each supplier is in or out", number, len(keys))
        reason = whole.reason(supplier, at, closely=bool(asked))
        reasons.append(reason)
        if asked:
            swaps += [
                {"supplier": names[supplier], "year": case.years[at], "who": who, "t_per_t": t, "usd_per_t": usd}
                for who, t, usd in whole.exchange(reason)
            ]
    return reasons, swaps


def _build_ups(whole: Suppliers, reasons: Sequence[Reason]) -> list[dict[str, Any]]:
    """The build-up of every supplier that is in."""
    builder, case = whole.builder, whole.case
    names = case.suppliers["supplier"].tolist()
    return [
        {"supplier": names[reason.supplier], "year": case.years[reason.at], "what": item.what, "item": item.name,
         "usd_per_t": item.usd_per_t}
        for reason in reasons if reason.produced_t > 0 for item in builder.build_up(reason.supplier, reason.at)
    ]  # fmt: skip


def _count(say: Say, what: str, number: int, of: int) -> None:
    if number % 20 == 0:
        say(f"{what} ({number} of {of})")


def _frame(rows: list[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A table with its columns in order; a range without end is infinite, what is not known is missing."""
    table = pd.DataFrame(rows, columns=list(columns))
    for name in table.columns:
        if table[name].dtype == object and any(isinstance(v, float) or v is None for v in table[name]):
            numbers = [np.nan if v is None else v for v in table[name]]
            if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in numbers):
                table[name] = np.array(numbers, dtype=float)
    return table


def _notes(found: Explanation, plan: Plan | None, survives: bool) -> list[str]:
    """What one should know of the figures."""
    notes = []
    if found.whole_numbers:
        notes.append(
            "the plan has whole-number decisions (lots, fixed charges, openings, counted suppliers): prices are those "
            "of the linear program with these fixed as they are"
        )
    if plan is not None and plan.objective_usd is not None:
        was, now = plan.objective_usd, found.objective_usd
        near = SAME + (plan.gap or 0.0) * found.whole_numbers
        if abs(now - was) > near * max(1.0, abs(was)):
            made = plan.about.get("oremix")
            notes.append(f"solved again the case costs {now:.10g} USD, the run {was:.10g} (made by oremix {made})")
    if survives:
        notes.append(
            "where losses must be survived, no price of a tonne of demand, capacity, lane or feedstock is given: each "
            "counts in the responses to the losses as well"
        )
    doubtful = int((~found.prices["confirmed"].astype(bool)).sum() + (~found.limits["confirmed"].astype(bool)).sum())
    if doubtful:
        notes.append(f"{doubtful} prices were not confirmed by solving again: see the column confirmed")
    return notes
