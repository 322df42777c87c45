"""What each command does, between the command line and the libraries: run, print, exit code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from models.problems import CaseError, Problem, nearest
from optimizer import console

if TYPE_CHECKING:
    from models.changes import Request
    from models.config import Scenario

NARROW = 140  # below this, wide tables show their key columns only
EXIT = {"optimal": 0, "feasible": 4, "infeasible": 3, "unbounded": 3, "stopped": 4}


def _json(document: Any) -> None:
    sys.stdout.write(dumps(document, allow_nan=False) + "\n")


def optimize(
    name: str, request: Request, status_quo: bool, relax: bool, out: Path | None, year: int | None, as_json: bool,
    quiet: bool, verbose: bool,
) -> int:  # fmt: skip
    """Solve, audit, write the run folder and print the answer; the exit code says how it went."""
    with console.progress(quiet or as_json) as say:
        say("loading")
        from models.case import load_case
        from optimizer.run import Options, execute

        say("reading the case")
        case = load_case(name)
        _check_out(out)
        _check_year(year, request.years or case.years)
        plan = execute(case, request, Options(status_quo, relax, out), say)
    code = 5 if plan.audit else EXIT[plan.status]
    if as_json:
        _json(plan.to_json())
        return code
    from optimizer import views

    if not quiet:
        known = [] if verbose else list(case.warnings)
        console.warn([line for line in plan.warnings if line not in known], most=100 if verbose else 8)
        if known:
            count = f"{len(known)} warning{'s' if len(known) > 1 else ''}"
            console.warn([f"{count} about the case itself: oremix check {name}"])
    screen = console.results()
    if plan.ok:
        views.answer(screen, plan, year)
        screen.print(Text(plan.run), soft_wrap=True)
    elif plan.status == "infeasible":
        from optimizer.infeasible_views import infeasible

        infeasible(screen, plan, verbose)
    else:
        why = {
            "stopped": "stopped: no plan was found in the time allowed (more time: --set solve.seconds=600)",
            "unbounded": "unbounded: costs fall without end; check negative costs",
        }
        screen.print(Text(why[plan.status]))
    return code


def _check_year(year: int | None, years: Sequence[int]) -> None:
    if year is not None and year not in years:
        known = ", ".join(str(y) for y in years)
        raise CaseError([Problem("--show-year", f"not a year of the run: {known}", value=str(year))])


def _check_out(out: Path | None) -> None:
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CaseError([Problem("--out", "is there already and not empty: name a new folder", value=str(out))])


def check(name: str, request: Request, as_json: bool, quiet: bool) -> int:
    """Every problem of a case at once, its sizes, and how much of it is published."""
    from models.case import read_case
    from models.changes import Editor, change
    from optimizer.coverage import coverage, sizes

    case, problems = read_case(name)
    found = list(problems.found)
    if case is not None and not found:
        for scenario in case.settings.scenarios:
            try:
                editor = Editor(case)
                editor.scenario(scenario)
                editor.finish()
            except CaseError as error:
                found += [Problem(f"case.toml:scenarios.{scenario}", str(p)) for p in error.problems]
        if not found:
            case = change(case, request)
    if found:
        if as_json:
            _json({"status": "error", "objective_usd": None, "errors": [problem.as_dict() for problem in found]})
        else:
            console.complain([str(problem) for problem in found])
        return 2
    assert case is not None
    if as_json:
        _json({"status": "ok", "case": case.name, "sizes": sizes(case), "coverage": coverage(case).to_dict("records"),
               "warnings": list(case.warnings), "fingerprint": case.fingerprint})  # fmt: skip
        return 0
    screen = console.results()
    if not quiet:
        console.warn(case.warnings)
    screen.print(Text(f"{console.plain(case.settings.title or case.name)}: no problem found.", style="bold"))
    screen.print(console.table(["part", ("count", "right")], list(sizes(case).items())))
    counted = coverage(case)
    rows = [[row["cost_basis"] or "(not given)", row["suppliers"], console.percent(row["share_of_rows"]),
             console.percent(row["share_of_cost"])] for row in counted.to_dict("records")]  # fmt: skip
    screen.print()
    screen.print(console.table(["cost basis", ("suppliers", "right"), ("of rows", "right"),
                                ("of today's spending", "right")], rows))  # fmt: skip
    return 0


def compare(runs: Sequence[Path], year: int | None, as_json: bool) -> int:
    """Runs side by side."""
    from optimizer import views
    from optimizer.comparing import differences
    from optimizer.run_folder import read_run

    if len(runs) < 2:
        raise CaseError([Problem("compare", "give two or more run folders")])
    plans = [read_run(run) for run in runs]
    names = [run.name if [r.name for r in runs].count(run.name) == 1 else str(run) for run in runs]
    names = [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, 1)]
    if as_json:
        _json(differences(plans, names))
    else:
        views.comparison(console.results(), plans, names, year)
    return 0


def show(run: Path, name: str | None, year: int | None, as_json: bool, quiet: bool) -> int:
    """The answer of a run or an analysis, or one of its tables."""
    from optimizer.analysis_show import analysis_kind, show_analysis

    kind = analysis_kind(run)
    if kind is not None:
        return show_analysis(run, kind, name, year, as_json)
    import pandas as pd

    from optimizer import views
    from optimizer.plan import records
    from optimizer.run_folder import read_run

    plan = read_run(run)
    if name is None:
        if as_json:
            _json(plan.to_json())
        else:
            views.answer(console.results(), plan, year)
        return 0
    tables = dict(plan.tables)
    tables["changes"] = pd.DataFrame(plan.changes, columns=["key", "old", "new", "by"])
    if plan.status_quo is not None:
        tables.update({f"status_quo_{key}": table for key, table in plan.status_quo["tables"].items()})
    if name == "provenance":
        from optimizer.provenance import provenance_of_run

        tables[name] = provenance_of_run(run, plan)
    if name not in tables:
        raise CaseError([Problem("show", f"no such table; {nearest(name, [*tables, 'provenance'])}", value=name)])
    table = tables[name]
    if year is not None and "year" in table:
        table = table[table["year"] == views.shown_year(plan, year)]
    if as_json:
        _json({"run": str(run), "table": name, "rows": records(table)})
        return 0
    screen = console.results()
    if screen.width < NARROW and name.removeprefix("status_quo_") in views.KEY_COLUMNS:
        kept = [column for column in views.KEY_COLUMNS[name.removeprefix("status_quo_")] if column in table]
        left_out = [column for column in table.columns if column not in kept]
        table = table[kept]
        screen.print(Text(f"(a wider terminal, a pipe or --json also has: {', '.join(left_out)})", style="dim"))
    headers = [(column, "right") if table[column].dtype.kind in "if" else column for column in table.columns]
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    screen.print(console.table(headers, rows))
    if not rows:
        screen.print(Text(f"(no {name})"))
    return 0


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.6g}"
    return "" if value is None else str(value)


def columns(name: str | None, markdown: bool, as_json: bool) -> int:
    """The column dictionary."""
    from models.tables import TABLES
    from optimizer.reference import column_rows, markdown_reference

    if name is not None and name not in TABLES:
        raise CaseError([Problem("columns", f"no such table; {nearest(name, TABLES)}", value=name)])
    rows = column_rows(name)
    if as_json:
        _json({"columns": rows})
    elif markdown:
        sys.stdout.write(markdown_reference())
    else:
        screen = console.results()
        for table in [name] if name else TABLES:
            screen.print(Text(f"\n{table}.csv: {TABLES[table].__doc__}", style="bold"))
            listed = [[row["column"] + ("*" if row["required"] else ""), row["unit"], row["meaning"]]
                      for row in rows if row["table"] == table]  # fmt: skip
            screen.print(console.table(["column", "unit", "meaning (* required)"], listed))
    return 0


def presets(name: str | None, as_json: bool) -> int:
    """The presets, or one in full."""
    from models.presets import presets as known

    found = known()
    if name is not None and name not in found:
        raise CaseError([Problem("presets", f"no such preset; {nearest(name, found)}", value=name)])
    if as_json:
        chosen = {name: found[name]} if name else found
        _json({"presets": [{"name": key, **preset.model_dump(mode="json", exclude_defaults=True)}
                           for key, preset in chosen.items()]})  # fmt: skip
        return 0
    screen = console.results()
    if name is None:
        rows = [
            [key, Text(console.plain(preset.title)).append(f"\n{console.plain(_dated(preset))}", style="dim")]
            for key, preset in found.items()
        ]
        screen.print(console.table([("preset", "whole"), "what it is, its status and dates"], rows))
        screen.print(Text("\noremix presets NAME shows its rules and source; use with --scenario NAME"))
        return 0
    preset = found[name]
    for label in ("title", "jurisdiction", "status", "effective", "source", "url", "note"):
        if getattr(preset, label):
            screen.print(Text.assemble((f"{label}: ", "bold"), console.plain(getattr(preset, label))))
    if preset.use:
        screen.print(Text.assemble(("use: ", "bold"), ", ".join(preset.use)))
    for rule in preset.rules:
        keys = ", ".join(f"{key} = {value}" for key, value in rule.items() if key != "name")
        screen.print(Text.assemble((f"rule {rule['name']}: ", "bold"), console.plain(keys)))
    for change in preset.change:
        keys = ", ".join(f"{k} {getattr(change, k)}" for k in ("set", "scale", "add") if getattr(change, k))
        screen.print(Text.assemble(("change ", "bold"), console.plain(f"{change.table} where {change.where}: {keys}")))
    return 0


def levers(name: str | None, as_json: bool) -> int:
    """The policy levers, or one in full."""
    from optimizer.levers import lever_rows

    rows = lever_rows()
    names = [row["lever"] for row in rows]
    if name is not None and name not in names:
        raise CaseError([Problem("levers", f"no such lever; {nearest(name, names)}", value=name)])
    kept = [row for row in rows if name in (None, row["lever"])]
    if as_json:
        _json({"levers": kept})
        return 0
    screen = console.results()
    if name is None:
        listed = [[row["write"].removesuffix("[@YEAR]"),
                   Text(row["changes"]).append("\n" + "; ".join(filter(None, (
                       row["unit"], "takes @YEAR or @YEAR-YEAR" if row["write"].endswith("]") else ""))), style="dim")]
                  for row in kept]  # fmt: skip
        screen.print(console.table([("--lever", "whole"), "what it changes; its unit"], listed))
        screen.print(Text("\noremix levers NAME shows whom it takes and its source; --lever is repeatable"))
        return 0
    for label, text in kept[0].items():
        if text:
            screen.print(Text.assemble((f"{label}: ", "bold"), text))
    return 0


def _dated(preset: Scenario) -> str:
    """Jurisdiction, status and dates of a preset in one line."""
    dates = f"; dates: {preset.effective}" if preset.effective not in ("", "none") else ""
    return f"{preset.jurisdiction}: {preset.status}{dates}"


def new(folder: Path, source: str, excel: bool, as_json: bool) -> int:
    """A starter case: a bundled one, or any case, as a folder of CSV files or as a workbook."""
    from models.case import BUNDLED
    from models.sheets import is_workbook
    from optimizer.workbook import read_texts, write_folder, write_workbook

    if source not in BUNDLED and not Path(source).exists():
        message = f"one of {', '.join(BUNDLED)}, a case folder or a workbook"
        raise CaseError([Problem("--from", message, value=source)])
    alone = is_workbook(folder)  # FILE.xlsx itself, else FOLDER/case.xlsx
    if folder.exists() and (alone or not folder.is_dir() or any(folder.iterdir())):
        what = "file" if alone else "folder"
        raise CaseError([Problem("new", f"is there already and not empty: name a new {what}", value=str(folder))])
    texts = read_texts(source)
    named, folder = folder, folder.resolve()
    part = folder.with_name(f".{folder.name}-part")
    part.mkdir(parents=True)
    try:
        if alone or excel:
            write_workbook(texts, part / "case.xlsx")
        else:
            write_folder(texts, part)
        if folder.exists():
            folder.rmdir()
        (part / "case.xlsx" if alone else part).rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(part, ignore_errors=True)
    if as_json:
        _json({"status": "ok", "case": str(named)})
    else:
        what = "fill in its sheets" if alone else "fill in the sheets of case.xlsx" if excel else "edit tables/*.csv"
        advice = f"{named}: {what}, then oremix check {named}, oremix optimize {named}"
        console.results().print(Text(advice), soft_wrap=True)
    return 0


def doctor(as_json: bool) -> int:
    """Versions, and the hand-solved case."""
    from optimizer.doctoring import diagnose

    found = diagnose()
    if as_json:
        _json(found)
    else:
        screen = console.results()
        screen.print(console.table(["part", "version"], list(found["versions"].items())))
        for item in found["checks"]:
            style = "green" if item["ok"] else "bold red"
            screen.print(Text.assemble(("ok   " if item["ok"] else "FAIL ", style), console.plain(item["what"])))
    return 0 if found["status"] == "ok" else 1
