"""Exports of a run or an analysis by the ending of the file: workbook, CSV folder, JSON, Parquet folder, LP and MPS."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pandas as pd

from models.case import Case, load_case
from models.problems import CaseError, Problem, nearest
from optimizer.analysis_folder import KINDS, PLANS, Analysis, read_analysis
from optimizer.plan import JSON_TABLES, Plan, clean, records
from optimizer.run_folder import quoted, read_run
from optimizer.two_stage_text import guess_sentence, made_least, over

SOURCE_COLUMNS = ("id", "citation", "url", "published", "licence", "how")


def export(run: str | Path, to: str | Path, force: bool = False) -> dict[str, Any]:
    """Write a run, or the tables of an analysis, to the file or folder ``to``, by its ending; gives what was written.

    Nothing that is there is overwritten without ``force``; the file appears whole or not at all.
    Raises ``CaseError`` for an ending, run or place that will not do.
    """
    target = Path(to)
    ending = target.suffix.lower()
    if ending not in FORMATS:
        message = f"ends in one of {', '.join(FORMATS)}; {nearest(ending, FORMATS)}"
        raise CaseError([Problem("--to", message, value=str(to))])
    leaves = _what(Path(run), ending)
    _check_target(target, force)
    temporary = _beside(target)
    try:
        part = temporary / target.name
        told = leaves(part) or {}
        _put(part, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {"status": "ok", "run": str(run), "to": str(target), **told}


def _what(folder: Path, ending: str) -> Callable[[Path], dict[str, Any] | None]:
    """What writes the run (or the tables of an analysis) to a path."""
    if not (folder / "plan.json").is_file() and any((folder / f"{kind}.json").is_file() for kind in KINDS):
        if ending in (".lp", ".mps"):
            message = f"an analysis has no program of its own: name one of its runs, {folder}/{PLANS}/N"
            raise CaseError([Problem("--to", message, value=ending)])
        analysis = read_analysis(folder)
        return lambda path: _analysis(analysis, ending, path)
    plan = read_run(folder)
    return lambda path: FORMATS[ending](plan, path)


def _analysis(analysis: Analysis, ending: str, path: Path) -> dict[str, Any] | None:
    """The tables of an analysis, or its document as JSON."""
    if ending == ".json":
        text = json.dumps(clean(analysis.document), allow_nan=False, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        return None
    if ending == ".xlsx":
        from optimizer.export_workbook import write_tables

        write_tables(analysis.tables, path)
        return None
    return _folder(analysis.tables, ending, path)


def _check_target(target: Path, force: bool) -> None:
    if target.is_dir():
        if any(target.iterdir()) and not force:
            raise CaseError(
                [Problem("--to", "is there already and not empty (--force replaces it)", value=str(target))]
            )
    elif target.exists() and not force:
        raise CaseError([Problem("--to", "is there already (--force replaces it)", value=str(target))])


def _beside(target: Path) -> Path:
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        return Path(mkdtemp(prefix=".oremix-", dir=target.absolute().parent))
    except OSError as error:
        raise CaseError([Problem("--to", f"cannot be written: {error.strerror}", value=str(target))]) from error


def _put(part: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    elif target.exists() and part.is_dir():
        target.unlink()
    part.replace(target)


def case_of(plan: Plan) -> Case:
    """The case as run, from inside the run folder."""
    return load_case(Path(plan.run) / "case")


def result_tables(plan: Plan, case: Case) -> dict[str, pd.DataFrame]:
    """Every table of a run under its name: results, the same of today (``status_quo_*``), changes, sources, about."""
    tables = dict(plan.tables)
    if plan.status_quo is not None and not plan.about.get("status_quo"):
        kept = {name: table for name, table in plan.status_quo["tables"].items() if len(table) and name != "projects"}
        tables |= {f"status_quo_{name}": table for name, table in kept.items()}
    if plan.two_stage is not None:
        tables |= weighed_tables(plan.two_stage)
    tables["changes"] = pd.DataFrame(
        [{key: _said(value) for key, value in item.items()} for item in plan.changes],
        columns=["key", "old", "new", "by"],
    )
    tables["sources"] = case.tables["sources"][list(SOURCE_COLUMNS)]
    tables["about"] = pd.DataFrame(about_rows(plan, case), columns=["what", "value"])
    return tables


def weighed_tables(two: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The measures of a plan that weighs disruptions with their definitions, and what hangs on each guess."""
    names = [name for name in two["definitions"] if name.endswith("_usd")]
    rows = [(name, two[name], two["definitions"][name]) for name in names]
    found = {"two_stage": pd.DataFrame(rows, columns=["measure", "usd", "meaning"]).astype({"usd": float})}
    guessed = (two.get("guesses") or {}).get("each")
    return found | ({"guesses": pd.DataFrame(guessed)} if guessed else {})


def _said(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(clean(value))


def about_rows(plan: Plan, case: Case) -> list[tuple[str, str]]:
    """Where the numbers come from: case, version, proof, warnings; texts."""
    about = plan.about
    certificate = about.get("certificate")
    money = f"present value in {plan.years[0]}, US dollars of {about.get('price_base_year')}"
    rows = [
        ("case", plan.title or plan.case), ("as of", str(about.get("as_of") or "")), ("run", plan.run),
        ("status", plan.status), ("objective_usd", repr(plan.objective_usd)),
        ("what objective_usd is", f"{_weighed_as(plan)}{money}"),
        ("home", case.home), ("years", ", ".join(str(year) for year in plan.years)),
        ("weights of the years", ", ".join(f"{weight!r}" for weight in about.get("weights", []))),
        ("discount_rate", repr(case.settings.horizon.discount_rate)),
        ("oremix", str(about.get("oremix"))), ("fingerprint of the case", str(about.get("fingerprint"))),
        ("audit", "no mismatch" if not plan.audit else f"{len(plan.audit)} mismatches: do not use this plan"),
        ("gap", repr(plan.gap)),
        ("proof", "" if certificate is None else f"duality: residuals and gap within {max(certificate.values()):.0e}"),
        ("prices of limits", str(about.get("prices") or "")),
        ("changes of the case", str(len(plan.changes))),
    ]  # fmt: skip
    two = plan.two_stage
    if two is not None:
        rows += [
            ("risk weight", repr(two["risk_weight"])), ("worst tail of probability", repr(two["tail"])),
            ("scenarios strike jointly", "yes" if two["joint"] else "no"), ("outcomes", str(two["outcomes"])),
            ("worst outcome", two["worst_outcome"]), ("guessed probabilities", guess_sentence(two)),
            *(("note on the outcomes", note) for note in two["notes"]),
        ]  # fmt: skip
    return rows + [("warning", line) for line in plan.warnings]


def _weighed_as(plan: Plan) -> str:
    """How the outcomes are weighed in the objective of a plan; nothing where they are not."""
    two = plan.two_stage
    return "" if two is None else f"{made_least(two)}, over {over(two)} (undisturbed_usd: where nothing happens); "


def _workbook(plan: Plan, path: Path) -> None:
    from optimizer.export_workbook import write_workbook

    write_workbook(plan, case_of(plan), path)


def _csv(plan: Plan, folder: Path) -> dict[str, Any]:
    return _folder(result_tables(plan, case_of(plan)), ".csv", folder)


def _parquet(plan: Plan, folder: Path) -> dict[str, Any]:
    return _folder(result_tables(plan, case_of(plan)), ".parquet", folder)


def _folder(tables: Mapping[str, pd.DataFrame], ending: str, folder: Path) -> dict[str, Any]:
    """A file for each table."""
    if ending == ".parquet" and find_spec("pyarrow") is None:
        message = "Parquet needs pyarrow: pip install 'oremix[parquet]'"
        raise CaseError([Problem("--to", message, value=folder.name)])
    folder.mkdir()
    for name, table in tables.items():
        if ending == ".csv":
            quoted(table).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        else:
            table.to_parquet(folder / f"{name}.parquet", index=False, engine="pyarrow")
    return {"tables": list(tables)}


def _json(plan: Plan, path: Path) -> None:
    """The document of ``oremix optimize --json`` with every column of every table."""
    document = plan.to_json()
    for name in JSON_TABLES:
        if name in plan.tables:
            document[name] = records(plan.tables[name])
    path.write_text(json.dumps(document, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _model(plan: Plan, path: Path) -> dict[str, Any]:
    from optimizer.model_files import write_model

    made = write_model(plan, path)
    return {"rows": made.rows, "columns": made.columns, "hhi_cuts": made.cuts, "reads_back_to_usd": made.objective_usd}


FORMATS: dict[str, Callable[[Plan, Path], dict[str, Any] | None]] = {
    ".xlsx": _workbook, ".csv": _csv, ".json": _json, ".parquet": _parquet, ".lp": _model, ".mps": _model,
}  # fmt: skip
