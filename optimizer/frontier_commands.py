"""What the commands frontier and alternatives do, between the command line and the libraries."""

from __future__ import annotations

import sys
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from models.problems import CaseError, Problem
from optimizer import console

if TYPE_CHECKING:
    from models.changes import Request

STOPPED = {"optimal": 0, "feasible": 4, "infeasible": 3, "stopped": 4, "unbounded": 3}


def _write_json(document: Any) -> None:
    sys.stdout.write(dumps(document, allow_nan=False) + "\n")


def _free(out: Path | None) -> None:
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CaseError([Problem("--out", "is there already and not empty: name a new folder", value=str(out))])


def frontier(
    name: str, request: Request, trade: str, stage: str, keep: int, out: Path | None, as_json: bool, quiet: bool,
    verbose: bool,
) -> int:  # fmt: skip
    """Trace the trade-off, keep its plans, print it; the exit code says how it went."""
    _free(out)
    with console.progress(quiet or as_json) as say:
        say("loading")
        from models.case import load_case
        from optimizer.tradeoff import run_frontier

        say("reading the case")
        case = load_case(name)
        found = run_frontier(case, request, trade, stage, keep, out, True, say)
    code = 5 if any(plan.audit for plan in found.plans) else STOPPED[found.status]
    if as_json:
        _write_json(found.to_json())
        return code
    _notes(found.warnings, case.warnings, name, quiet, verbose)
    screen = console.results()
    if not found.ok:
        from optimizer.infeasible_views import infeasible

        assert found.failed is not None
        if found.failed.status != "infeasible":
            screen.print(Text(f"No plan was found without the limit: {found.failed.status}.", style="bold red"))
        else:
            screen.print(Text("At no limit is there a plan: something else is in the way.", style="bold"))
            infeasible(screen, found.failed, verbose)
        return code
    from optimizer import views_frontier

    views_frontier.frontier(screen, found)
    screen.print(
        Text(f"\n{len(found.plans)} plans kept and audited: oremix compare {found.run}/plans/*"), soft_wrap=True
    )
    screen.print(Text(found.run), soft_wrap=True)
    return code


def _notes(warnings: Any, own: Any, name: str, quiet: bool, verbose: bool) -> None:
    """Warnings on stderr, those about the case itself counted."""
    if quiet:
        return
    known = [] if verbose else list(own)
    console.warn([line for line in warnings if line not in known], most=100 if verbose else 8)
    if known:
        console.warn(
            [f"{len(known)} warning{'s' if len(known) > 1 else ''} about the case itself: oremix check {name}"]
        )
