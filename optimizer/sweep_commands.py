"""What sweep and sensitivity do, between the command line and the libraries: run, print, exit code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from models.problems import CaseError, Problem
from optimizer import console

if TYPE_CHECKING:
    from models.changes import Request
    from optimizer.sensitivities import NoPlan, Sensitivity
    from optimizer.sweeps import Sweep

INFEASIBLE, STOPPED = 3, 4


@dataclass(frozen=True)
class Asked:
    """The points as the command line asks for them."""

    vary: Sequence[str]
    sample: int | None
    method: str = "sobol"
    seed: int = 0
    correlate: bool = False


def sweep(
    name: str, request: Request, asked: Asked, cluster: str | None, out: Path | None, year: int | None,
    as_json: bool, quiet: bool, verbose: bool,
) -> int:  # fmt: skip
    """Solve at every point, keep the folder, print what moved."""
    with console.progress(quiet or as_json) as say:
        say("loading")
        from models.case import load_case
        from models.changes import change
        from optimizer import sweeps
        from optimizer.points import Vary

        say("reading the case")
        case = change(load_case(name), request)
        _check_year(year, case.years)
        points = sweeps.points_of(case, [Vary.parse(text) for text in asked.vary], asked.sample, asked.method,
                                  asked.seed)  # fmt: skip
        folder, shown = sweeps.begin(case, points, out)
    if not quiet:
        _notes(case.warnings, name, verbose)

    def go(progress: Any) -> Sweep:
        return sweeps.go_on(folder, case, points, shown, cluster=cluster, progress=progress)

    return _shown(go, folder, shown, "sweep", year, as_json, quiet, fresh=True)


def resume_sweep(
    folder: Path, cluster: str | None, year: int | None, as_json: bool, quiet: bool, verbose: bool
) -> int:  # fmt: skip
    """Go on with a sweep."""
    from optimizer import sweeps

    def go(progress: Any) -> Sweep:
        return sweeps.resume_sweep(folder, cluster=cluster, progress=progress)

    return _shown(go, folder, str(folder), "sweep", year, as_json, quiet)


def sensitivity(
    name: str, request: Request, asked: Asked, cluster: str | None, out: Path | None, year: int | None,
    as_json: bool, quiet: bool, verbose: bool,
) -> int:  # fmt: skip
    """Say how many points are solved, solve them, keep the folder, print what drives cost and mix."""
    with console.progress(quiet or as_json) as say:
        say("loading")
        from models.case import load_case
        from models.changes import change
        from optimizer import sensitivities, sweeps
        from optimizer.points import Vary

        say("reading the case")
        case = change(load_case(name), request)
        _check_year(year, case.years)
        points = sensitivities.design_of(case, [Vary.parse(text) for text in asked.vary], asked.sample or 0, asked.seed)
        folder, shown = sweeps.begin(case, points, out, "sensitivity")
    if not quiet:
        _notes(case.warnings, name, verbose)
        console.warn([points.words])

    def go(progress: Any) -> Sensitivity:
        return sensitivities.go_on(folder, case, points, shown, correlate=asked.correlate, year=year, cluster=cluster,
                                   progress=progress)  # fmt: skip

    return _shown(go, folder, shown, "sensitivity", year, as_json, quiet, fresh=True)


def resume_sensitivity(
    folder: Path, correlate: bool, cluster: str | None, year: int | None, as_json: bool, quiet: bool
) -> int:  # fmt: skip
    """Go on with a sensitivity analysis."""
    from optimizer import sensitivities

    def go(progress: Any) -> Sensitivity:
        return sensitivities.resume_sensitivity(folder, correlate=correlate, year=year, cluster=cluster,
                                                progress=progress)  # fmt: skip

    return _shown(go, folder, str(folder), "sensitivity", year, as_json, quiet)


def _shown(
    go: Callable[[Any], Sweep | Sensitivity], folder: Path, shown: str, kind: str, year: int | None, as_json: bool,
    quiet: bool, fresh: bool = False,
) -> int:  # fmt: skip
    """Run with a bar; say how to go on where it is stopped; print what was found."""
    from optimizer.sensitivities import NoPlan, Sensitivity

    try:
        with console.bar(kind, quiet) as progress:
            found = go(progress)
    except CaseError:
        if fresh and not _rows(folder):  # wrong input shows when the engine is made, or the cluster called
            shutil.rmtree(folder)
        raise
    except NoPlan as none:
        return _no_plan(none, shown, as_json)
    except KeyboardInterrupt:
        return _stopped(folder, shown, kind, as_json)
    if as_json:
        with (folder / f"{kind}.json").open(encoding="utf-8") as file:
            shutil.copyfileobj(file, sys.stdout)
    else:
        from optimizer import sensitivity_views, sweep_views

        screen = console.results()
        if isinstance(found, Sensitivity):
            sensitivity_views.sensitivity(screen, found)
        else:
            sweep_views.sweep(screen, found, year)
        screen.print(Text(shown), soft_wrap=True)
    if isinstance(found, Sensitivity):
        return 0
    status = found.document["counts"]
    if status.get("failed"):
        return 1
    return STOPPED if status.get("stopped") or status.get("feasible") else 0


def _no_plan(none: NoPlan, shown: str, as_json: bool) -> int:
    """Points without a plan where one is needed: which, why, and what can be done."""
    if as_json:
        from json import dumps

        from optimizer.plan import records

        error = {"file": "", "row": None, "column": "", "value": "", "message": str(none)}
        document = {"status": "infeasible", "objective_usd": None, "errors": [error],
                    "samples": records(none.samples), "run": shown}  # fmt: skip
        sys.stdout.write(dumps(document, allow_nan=False) + "\n")
    else:
        console.complain([str(none)])
    return INFEASIBLE


def _rows(folder: Path) -> int:
    """Points that a folder has."""
    points = folder / "tables" / "points.csv"
    if not points.exists():
        return 0
    with points.open("rb") as file:
        return max(0, sum(1 for _ in file) - 1)


def _stopped(folder: Path, shown: str, kind: str, as_json: bool) -> int:
    """What a stopped run has, and how it goes on."""
    message = f"stopped after {_rows(folder):,} points, which are kept: oremix {kind} --resume {shown}"
    if as_json:
        from json import dumps

        error = {"file": "", "row": None, "column": "", "value": "", "message": message}
        sys.stdout.write(dumps({"status": "stopped", "objective_usd": None, "errors": [error], "run": shown}) + "\n")
    else:
        console.complain([message])
    return STOPPED


def _notes(warnings: Sequence[str], name: str, verbose: bool) -> None:
    """Warnings of the case: in full on request, else how many."""
    if verbose:
        console.warn(warnings, most=100)
    elif warnings:
        count = f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}"
        console.warn([f"{count} about the case itself: oremix check {name}"])


def _check_year(year: int | None, years: Sequence[int]) -> None:
    if year is not None and year not in years:
        known = ", ".join(str(y) for y in years)
        raise CaseError([Problem("--show-year", f"not a year of the case: {known}", value=str(year))])
