"""What a report is made from: run folders with their cases, and the documents of analyses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from models.case import Case, load_case
from models.problems import CaseError, Problem
from optimizer import summaries
from optimizer.analysis_folder import KINDS, Analysis, read_analysis
from optimizer.plan import Plan
from optimizer.run_folder import read_run


@dataclass(frozen=True)
class Run:
    """A run under its name in the report, with the case as run."""

    name: str
    plan: Plan
    case: Case


@dataclass(frozen=True)
class Inputs:
    """Everything of one report. Several runs are compared; the first is what the others are compared with."""

    runs: Sequence[Run]
    analyses: Sequence[Analysis]

    @property
    def several(self) -> bool:
        """Whether runs are compared."""
        return len(self.runs) > 1

    @cached_property
    def years(self) -> tuple[int, ...]:
        """Years that all runs have."""
        first = self.runs[0].plan.years if self.runs else ()
        return tuple(year for year in first if all(year in run.plan.years for run in self.runs))

    @cached_property
    def today(self) -> dict[str, pd.DataFrame] | None:
        """Tables of the status quo, where the runs have one and the same."""
        found = [summaries.sides(run.plan).get("today") for run in self.runs]
        if not found or found[0] is None or any(table is None for table in found):
            return None
        costs = [float(run.plan.status_quo["objective_usd"]) for run in self.runs if run.plan.status_quo is not None]
        same = all(abs(cost - costs[0]) <= 1e-9 * abs(costs[0]) for cost in costs)
        return found[0] if same else None

    @cached_property
    def sides(self) -> dict[str, dict[str, pd.DataFrame]]:
        """Name -> tables: today first where there is one, then each run; a run alone is "plan" (or "today")."""
        today = {} if self.today is None else {"today": self.today}
        return today | {run.name: run.plan.tables for run in self.runs}

    @cached_property
    def limits(self) -> dict[str, pd.DataFrame]:
        """Name of each run -> its limits on countries."""
        return {run.name: summaries.country_limits(run.plan, run.case) for run in self.runs}

    def of_kind(self, kind: str) -> list[Analysis]:
        """The analyses of a kind."""
        return [analysis for analysis in self.analyses if analysis.kind == kind]


def read_inputs(folders: Sequence[Path]) -> Inputs:
    """Runs and analyses of the folders given; raises ``CaseError`` naming every folder that is neither."""
    problems: list[Problem] = []
    paths: list[Path] = []
    analyses: list[Analysis] = []
    for folder in folders:
        if (folder / "plan.json").is_file():
            paths.append(folder)
        elif any((folder / f"{kind}.json").is_file() for kind in KINDS):
            try:
                analyses.append(read_analysis(folder))
            except CaseError as error:
                problems += error.problems
        else:
            documents = ", ".join(f"{kind}.json" for kind in KINDS)
            message = f"neither a run folder (plan.json) nor that of an analysis ({documents})"
            problems.append(Problem(str(folder), message))
    runs = []
    for name, folder in zip(_names(paths), paths, strict=True):
        try:
            plan = read_run(folder)
            runs.append(Run(name, plan, load_case(folder / "case")))
        except CaseError as error:
            problems += [Problem(str(folder), str(problem)) for problem in error.problems]
    if problems:
        raise CaseError(problems)
    if len(runs) == 1:
        own = "today" if runs[0].plan.about.get("status_quo") else "plan"
        runs = [Run(own, runs[0].plan, runs[0].case)]
    found = Inputs(runs, analyses)
    if runs and not found.years:
        raise CaseError([Problem("report", "the runs share no year: make a report of each by itself")])
    return found


def _names(folders: Sequence[Path]) -> list[str]:
    """A short name of each run: the folder's own, with a number where two are alike."""
    names = [folder.resolve().name.replace("|", "-") for folder in folders]  # | parts the choices of a chart
    names = [f"{name} (run)" if name in ("today", "plan") else name for name in names]
    return [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, 1)]
