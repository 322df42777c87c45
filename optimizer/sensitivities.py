"""Which inputs drive cost and mix: a tornado (one input at a time) and Sobol indices (all together)."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd

from models.case import Case
from models.changes import Request, change, current_value
from models.problems import CaseError, Problem
from optimizer.indices import rank_correlations, sobol_indices
from optimizer.plan import clean, records
from optimizer.point_ledger import Ledger
from optimizer.point_measures import Measure
from optimizer.point_running import Begin, Say, crew, no_progress, silent, solve_points
from optimizer.point_solving import Block, Job, Solver
from optimizer.points import Design, Vary, check_unique, uncertain
from optimizer.run_folder import quoted, write_document
from optimizer.sweeps import begin, read_request

DEFAULT_SAMPLE = 256
_NAMED = 20  # samples without a plan that the message names


class NoPlan(Exception):  # noqa: N818  # not wrong input: the case has no plan somewhere
    """Points without a plan where one is needed: ``samples`` has point, inputs, status and reason of each."""

    def __init__(self, message: str, samples: pd.DataFrame, run: str) -> None:
        super().__init__(message)
        self.samples, self.run = samples, run


@dataclass
class Sensitivity:
    """What drives cost and mix.

    ``tornado``: one row for each input and output, with the output at the input's low and high and in the case itself
    (``base``), largest swing of cost first; nan where there is no plan, and ``reason_low``, ``reason_high`` say why.
    ``sobol``: first-order and total index of each input for each output that varies, with half the width of their 95 %
    intervals; empty where samples were left out: then ``correlations`` has Spearman's rank correlations instead, and
    ``left_out`` how many of how many. Outputs are named like the columns of a sweep.
    """

    tornado: pd.DataFrame
    sobol: pd.DataFrame
    correlations: pd.DataFrame
    document: dict[str, Any]
    left_out: tuple[int, int] = (0, 0)
    run: str = ""
    folder: Path | None = field(default=None, repr=False)


def sensitivity(
    case: Case, vary: Mapping[str, Any] | None = None, *, sample: int = DEFAULT_SAMPLE, seed: int = 0,
    changes: Mapping[str, Any] | Request | None = None, correlate: bool = False, year: int | None = None,
    out: str | Path | None = None, write: bool = False, cluster: str | None = None, threads: int = 0,
) -> Sensitivity:  # fmt: skip
    """Tornado and Sobol indices of cost, and of channel shares and HHI of what is delivered in one ``year`` (the last).

    Inputs: assumptions.csv, with ``vary`` (KEY -> (low, high)) added or replacing. ``sample``: N of the Sobol indices,
    rounded up to a power of two; N (inputs + 2) + 2 inputs + 1 points are solved; 0 leaves the indices out.
    ``correlate``: where samples have no plan, leave them out and give rank correlations. Other arguments as in
    ``sweep``. Raises ``CaseError`` for wrong input, ``NoPlan`` where the case or (without ``correlate``) a sample has
    no plan.
    """
    request = changes if isinstance(changes, Request) else Request(sets=changes or {})
    changed = change(case, request)
    points = design_of(changed, [Vary.of(key, how) for key, how in (vary or {}).items()], sample, seed)
    kept = write or out is not None
    scratch = Path(mkdtemp(prefix="oremix-")) if not kept else None
    try:
        folder, shown = begin(changed, points, Path(out) if out else scratch / "points" if scratch else None,
                              "sensitivity")  # fmt: skip
        found = go_on(folder, changed, points, shown if kept else "", correlate=correlate, year=year, cluster=cluster,
                      threads=threads, kept=kept)  # fmt: skip
        if scratch is not None:
            found.folder = None
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return found


def design_of(case: Case, vary: Sequence[Vary], sample: int, seed: int = 0) -> Design:
    """The points of a sensitivity analysis; raises ``CaseError`` where nothing is uncertain."""
    check_unique(vary)
    return Design(tuple(uncertain(case, vary)), sample, seed)


def resume_sensitivity(
    folder: str | Path, *, correlate: bool = False, year: int | None = None, cluster: str | None = None,
    threads: int = 0, say: Say = silent, progress: Begin = no_progress,
) -> Sensitivity:  # fmt: skip
    """Go on with an analysis that was stopped, killed, or ended at samples without a plan; nothing is solved twice."""
    case, points = read_request(Path(folder), "sensitivity")
    assert isinstance(points, Design)
    return go_on(Path(folder), case, points, str(folder), correlate=correlate, year=year, cluster=cluster,
                 threads=threads, say=say, progress=progress)  # fmt: skip


def go_on(
    folder: Path, case: Case, points: Design, shown: str, *, correlate: bool = False, year: int | None = None,
    cluster: str | None = None, threads: int = 0, kept: bool = True, say: Say = silent, progress: Begin = no_progress,
) -> Sensitivity:  # fmt: skip
    """Solve what is not solved yet: first the case, the tornado and both base samples, then the rest of the design
    where every sample has a plan; then work out the indices and finish the folder.
    """
    began = time.perf_counter()
    at = case.years[-1] if year is None else year
    if at not in case.years:
        known = ", ".join(str(y) for y in case.years)
        raise CaseError([Problem("--show-year", f"not a year of the case: {known}", value=str(at))])
    say("finding how the program depends on the inputs")
    job = Job(case, points.ranges, countries=False)
    solver = Solver(job)
    seen = _Seen(points, solver.measures, at)
    with Ledger(folder, points, solver.measures, parquet=kept) as ledger, ExitStack() as stack:
        ledger.watchers.append(seen.take)
        ledger.open()
        total, tick = len(points), progress(ledger.done, len(points))
        ledger.watchers.append(lambda first, values, block: tick(len(values)))
        hands = stack.enter_context(crew(job, solver, total - ledger.done, cluster,
                                         threads or case.settings.solve.threads))  # fmt: skip
        for stop in (1, points.base_stop, total):
            solve_points(points, ledger.done, max(stop, ledger.done), hands, ledger.take)
            without = seen.without(0, 1) if stop == 1 else seen.without(points.tornado_stop, stop)
            if stop == 1 and len(without):
                message = "the case itself has no plan, so that nothing can be compared with it"
                raise NoPlan(f"{message}: {without['reason'].iloc[0]}", without, shown)
            if len(without):
                break
        solved = ledger.done
        ledger.finish({})
    if len(without) and not correlate:
        raise NoPlan(_no_plan(without, solved - points.tornado_stop, shown), without, shown)
    say("working out the indices")
    found = _worked_out(case, points, seen, at, shown, solved)
    found.folder = folder
    found.document["about"] = {
        "oremix": version("oremix"), "fingerprint": case.fingerprint, "rebuilds": solver.what_if.rebuilds,
        "seconds": round(time.perf_counter() - began, 3), "highs_seconds": round(ledger.summary.highs_seconds, 3),
        "where": hands.where, "workers": hands.workers,
    }  # fmt: skip
    tables = {"tornado": found.tornado, "sobol": found.sobol, "correlations": found.correlations}
    for name, table in tables.items():
        if len(table):
            quoted(table).to_csv(folder / "tables" / f"{name}.csv", index=False, lineterminator="\n")
    write_document(folder / "sensitivity.json", found.document)
    return found


class _Seen:
    """What the points gave, in memory: chosen outputs, status and reason of each."""

    def __init__(self, points: Design, measures: Sequence[Measure], year: int) -> None:
        self.points = points
        chosen = [place for place, m in enumerate(measures) if m.year in (0, year)]
        self.chosen = np.array(chosen, dtype=np.int64)
        self.names = [measures[place].name for place in chosen]
        self.values = np.full((len(points), len(chosen)), np.nan)
        self.ok = np.zeros(len(points), dtype=bool)
        self.why: dict[int, tuple[str, str]] = {}

    def take(self, first: int, values: Any, block: Block) -> None:
        """Keep a block."""
        places = slice(first, first + len(values))
        self.values[places] = block.measures[:, self.chosen]
        for number, (status, reason) in enumerate(zip(block.status, block.reason, strict=True), first):
            self.ok[number] = status in ("optimal", "feasible")
            if not self.ok[number]:
                self.why[number] = status, reason

    def without(self, start: int, stop: int) -> pd.DataFrame:
        """The points from ``start`` to ``stop`` that have no plan: point, inputs, status, reason."""
        numbers = [number for number in self.why if start <= number < stop]
        rows = [self.points.rows(number, number + 1)[0] for number in numbers]
        table = pd.DataFrame(rows, columns=list(self.points.keys), index=range(len(numbers)))
        table.insert(0, "point", numbers)
        return table.assign(status=[self.why[n][0] for n in numbers], reason=[self.why[n][1] for n in numbers])


def _no_plan(without: pd.DataFrame, solved: int, shown: str) -> str:
    """The message that names the samples without a plan and says what can be done."""
    listed = [
        f"point {row['point']} ({row['status']}: {row['reason']})" for row in without.head(_NAMED).to_dict("records")
    ]
    more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
    goes_on = f"oremix sensitivity --resume {shown} --correlate" if shown else "correlate=True"
    return (
        f"{len(without)} of {solved} samples have no plan, and a variance without them would mislead: "
        f"{'; '.join(listed)}{more}. Price what may be short (shortage_usd_per_t), narrow the ranges, "
        f"or leave these samples out and see rank correlations: {goes_on}"
    )


def _worked_out(case: Case, points: Design, seen: _Seen, year: int, shown: str, solved: int) -> Sensitivity:
    tornado = _tornado(case, points, seen)
    base, stop = points.tornado_stop, points.base_stop
    none = pd.DataFrame()
    sobol, correlations, left_out, undefined = none, none, (0, 0), []
    if points.size:
        samples = seen.values[base:solved]
        good = seen.ok[base:solved]
        whole = bool(good.all())
        of = stop - base if not whole else solved - base
        within = samples[:of][good[:of]]
        undefined = [name for name, bad in zip(seen.names, np.isnan(within).any(axis=0), strict=True) if bad]
        moves = _moving(within)
        names = [name for name, move in zip(seen.names, moves, strict=True) if move]
        if whole:
            sobol = sobol_indices(samples[:, moves], points.keys, names, points.size, points.seed)
        else:  # the two base samples are independent draws; the rest of the design is not
            inputs = points.rows(base, stop)[good[:of]]
            correlations = rank_correlations(inputs, within[:, moves], points.keys, names)
            left_out = int((~good[:of]).sum()), of
    document = {
        "case": case.name, "title": case.settings.title, "status": "optimal", "year": year,
        "objective_usd": float(seen.values[0, 0]),
        "inputs": [{"input": v.key, "low": v.low, "high": v.high, "nominal": current_value(case, v.key)}
                   for v in points.vary],
        "sample": points.size, "seed": points.seed, "solves": solved,
        "tornado": _cost_rows(tornado), "sobol": records(sobol), "correlations": records(correlations),
        "left_out": {"samples": left_out[0], "of": left_out[1],
                     "share": left_out[0] / left_out[1] if left_out[1] else 0.0},
        "undefined": undefined, "swings": records(tornado),
        "changes": clean([item.as_dict() for item in case.changes]), "warnings": list(case.warnings), "run": shown,
    }  # fmt: skip
    return Sensitivity(tornado, sobol, correlations, clean(document), left_out, shown)


def _moving(values: Any) -> Any:
    """Which outputs vary by more than rounding, and have a value everywhere."""
    if not len(values):
        return np.zeros(values.shape[1], dtype=bool)
    size = np.maximum(np.abs(values).max(axis=0), 1e-9)
    return ~np.isnan(values).any(axis=0) & (np.ptp(values, axis=0) > 1e-9 * size)


def _tornado(case: Case, points: Design, seen: _Seen) -> pd.DataFrame:
    """Every output at the low and the high of every input; outputs that never move are left out."""
    lows, highs = (np.arange(start, points.tornado_stop, 2) for start in (1, 2))
    rows = []
    ends = seen.values[: points.tornado_stop]
    moved = np.nanmax(ends, axis=0, initial=-np.inf) > np.nanmin(ends, axis=0, initial=np.inf)
    moved[0] = True  # cost is always shown
    for place, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        item = points.vary[place]
        for output in np.flatnonzero(moved).tolist():
            base, at_low, at_high = (float(seen.values[number, output]) for number in (0, low, high))
            known = [value for value in (base, at_low, at_high) if value == value]
            rows.append({
                "input": item.key, "output": seen.names[output], "low": item.low, "high": item.high,
                "nominal": current_value(case, item.key), "base": base, "at_low": at_low, "at_high": at_high,
                "swing": max(known) - min(known) if known else np.nan,
                "reason_low": seen.why.get(low, ("", ""))[1], "reason_high": seen.why.get(high, ("", ""))[1],
            })  # fmt: skip
    table = pd.DataFrame(rows)
    cost = table[table["output"] == "objective_usd"]
    # an end without a plan matters more than any swing
    order = (cost["swing"].where(cost[["at_low", "at_high"]].notna().all(axis=1), np.inf)).sort_values(
        ascending=False, kind="stable").index  # fmt: skip
    rank = {key: number for number, key in enumerate(cost["input"][order])}
    place_of = {name: number for number, name in enumerate(seen.names)}
    return table.sort_values(["output", "input"], key=lambda c: c.map(place_of if c.name == "output" else rank),
                             ignore_index=True)  # fmt: skip


def _cost_rows(tornado: pd.DataFrame) -> list[dict[str, Any]]:
    """The tornado of cost as ``--json`` gives it."""
    cost = tornado[tornado["output"] == "objective_usd"]
    names = {"at_low": "cost_low_usd", "at_high": "cost_high_usd", "swing": "swing_usd"}
    kept = [
        "input",
        "low",
        "high",
        "cost_low_usd",
        "cost_high_usd",
        "nominal",
        "swing_usd",
        "reason_low",
        "reason_high",
    ]
    return records(cost.rename(columns=names)[kept])


def read_sensitivity(folder: str | Path) -> Sensitivity:
    """A finished analysis from its folder; raises ``CaseError`` where it is none."""
    place = Path(folder)
    try:
        document = json.loads((place / "sensitivity.json").read_text(encoding="utf-8"))
        tornado, sobol, correlations = (pd.DataFrame(document[name]) for name in ("swings", "sobol", "correlations"))
        left_out = int(document["left_out"]["samples"]), int(document["left_out"]["of"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError([Problem(str(folder), f"not the folder of a sensitivity analysis ({error})")]) from error
    document["run"] = str(folder)
    numbers = ["nominal", "base", "at_low", "at_high", "swing"]
    tornado = tornado.astype(dict.fromkeys(numbers, "float64"))
    return Sensitivity(tornado, sobol, correlations, document, left_out, str(folder), place)
