"""What `oremix stress` does, between the command line and the libraries: run, print, exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from models.problems import CaseError, Problem
from optimizer import console

if TYPE_CHECKING:
    from models.case import Case
    from models.changes import Request

INFEASIBLE = {"infeasible": 3, "unbounded": 3, "stopped": 4}


def is_run(name: str) -> bool:
    """Whether a name is a run folder and not a case."""
    return (Path(name) / "plan.json").is_file()


def stress(
    name: str, request: Request | None, lose: Sequence[str], months: float, pairs: bool, out: Path | None,
    year: int | None, as_json: bool, quiet: bool, verbose: bool,
) -> int:  # fmt: skip
    """Test the plan of a case or a run, keep the folder, print the losses ranked. ``request``: None for a run."""
    with console.progress(quiet or as_json) as say:
        say("loading")
        from models.case import load_case
        from optimizer.stress_tests import NoPlan
        from optimizer.stress_tests import stress as test

        if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise CaseError([Problem("--out", "is there already and not empty: name a new folder", value=str(out))])
        what = Path(name) if request is None else load_case(name)
        if year is not None:
            _check_year(what, request, year)
        try:
            found = test(what, request, lose=lose, months=months, pairs=pairs, out=out, write=True, say=say)
        except NoPlan as none:
            plan = none.plan
            if as_json:
                sys.stdout.write(dumps(plan.to_json(), allow_nan=False) + "\n")
            else:
                from optimizer.infeasible_views import infeasible

                if plan.status == "infeasible":
                    infeasible(console.results(), plan, verbose)
                else:
                    console.results().print(Text(f"{plan.status}: there is no plan to lose anything of"))
            return INFEASIBLE.get(plan.status, 3)
    if as_json:
        sys.stdout.write(dumps(found.document(), allow_nan=False) + "\n")
        return 0
    from optimizer import stress_views

    screen = console.results()
    if quiet:
        found.notes.clear()
    stress_views.answer(screen, found, year, most=10_000 if verbose else stress_views.MOST)
    screen.print(Text(found.run), soft_wrap=True)
    return 0


def _check_year(what: Case | Path, request: Request | None, year: int) -> None:
    """The year to show is one that will be there: known before anything is solved."""
    from optimizer.run_folder import read_run

    years = read_run(what).years if isinstance(what, Path) else what.years
    kept = [known for known in years if request is None or not request.years or known in request.years]
    if year not in kept:
        known = ", ".join(str(y) for y in kept or years)
        raise CaseError([Problem("--show-year", f"not a year of the run: {known}", value=str(year))])
