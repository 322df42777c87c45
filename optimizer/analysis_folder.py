"""Folders of analyses: the document, its tables, the case and the plans kept; written whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from models.case import Case
from models.problems import CaseError, Problem
from optimizer.plan import Plan
from optimizer.run_folder import quoted, read_run, unquoted, write_case, write_changes, write_document, write_whole

KINDS = ("frontier", "alternatives", "sweep", "sensitivity", "explain", "stress")
PLANS = "plans"
# Columns that hold text even where every cell of them could be read as a number (the id of a supplier may be 007).
_TEXT = frozenset((
    "supplier", "name", "country", "controller", "channel", "mineral", "material", "stage", "origin", "destination",
    "by", "member", "largest_country", "rule", "kind", "bound", "denominator", "market", "sector", "cost", "class",
    "status", "reason", "key", "input", "output", "run", "plan", "what", "lose", "note", "probability_basis",
))  # fmt: skip


@dataclass
class Analysis:
    """A folder of an analysis as read back.

    ``kind``: frontier, alternatives, ... . ``document``: what ``--json`` gave. ``tables``: its tidy tables by name.
    ``runs``: the run folders of the plans kept, in order (``read_run`` reads one).
    """

    kind: str
    document: dict[str, Any]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    runs: list[Path] = field(default_factory=list)
    folder: Path = Path()

    def plans(self) -> list[Plan]:
        """Every plan kept, read from its run folder."""
        return [read_run(folder) for folder in self.runs]


def write_analysis(
    kind: str, document: dict[str, Any], tables: Mapping[str, pd.DataFrame], case: Case, out: Path | None, *,
    plans: Sequence[Plan] = (), files: Sequence[Path] = (),
) -> Path:  # fmt: skip
    """Write KIND.json, tables/, case/, changes.toml and plans/N/; the folder appears whole. Gives where it is.

    ``out``: the folder to make (it must not hold anything yet); default ``runs/CASE-KIND-DATE-TIME``.
    ``plans``: plans whose run folders (``plan.run``, in a scratch place of the caller's) move to ``plans/1``,
    ``plans/2``, ...; each is told its new name. ``files``: more files that move into the folder as they are.
    In the document, ``run`` becomes the folder's name, and a ``run`` of ``plans/N`` in any row of it a path that
    ``oremix compare`` takes.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no analysis: {', '.join(KINDS)}")
    scratch = [Path(plan.run) for plan in plans]

    def fill(folder: Path) -> None:
        write_case(case, folder / "case")
        write_changes([item.as_dict() for item in case.changes], folder / "changes.toml")
        (folder / "tables").mkdir()
        for name, table in tables.items():
            quoted(table).to_csv(folder / "tables" / f"{name}.csv", index=False, lineterminator="\n")
        if plans:
            (folder / PLANS).mkdir()
        for number, run in enumerate(scratch, 1):
            shutil.copytree(run, folder / PLANS / str(number))
        for file in files:
            shutil.copyfile(file, folder / file.name)

    def name(folder: Path, shown: str) -> None:
        for number, plan in enumerate(plans, 1):
            plan.run = f"{shown}/{PLANS}/{number}"
            write_document(folder / PLANS / str(number) / "plan.json", plan.to_json())
        document.update(_placed({**document, "run": shown}, shown))
        write_document(folder / f"{kind}.json", document)

    try:
        return write_whole(case.name, out, fill, name, kind)
    except BaseException:
        for plan, run in zip(plans, scratch, strict=True):
            plan.run = str(run)
        raise


def read_analysis(folder: str | Path) -> Analysis:
    """An analysis from its folder (or its KIND.json); raises ``CaseError`` where the folder is not one."""
    given = Path(folder)
    place = given.parent if given.is_file() else given
    kind = next((kind for kind in KINDS if (place / f"{kind}.json").is_file()), None)
    if kind is None:
        message = f"not the folder of an analysis: none of {', '.join(f'{kind}.json' for kind in KINDS)} is in it"
        raise CaseError([Problem(str(folder), message)])
    try:
        document = json.loads((place / f"{kind}.json").read_text(encoding="utf-8"))
        document = _placed({**document, "run": str(place)}, str(place))
        tables = {path.stem: _read(path) for path in sorted((place / "tables").glob("*.csv"))}
    except (OSError, ValueError, TypeError) as error:
        raise CaseError([Problem(str(folder), f"not the folder of an analysis of oremix ({error})")]) from error
    runs = sorted((path for path in (place / PLANS).glob("*") if path.name.isdigit()), key=lambda path: int(path.name))
    return Analysis(kind, document, tables, runs, place)


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """One table of an analysis; the others, and the document, may be large."""
    return _read(folder / "tables" / f"{name}.csv")


def _placed(value: Any, shown: str) -> Any:
    """The document with every ``run`` that names a plan kept as a path from here."""
    if isinstance(value, list):
        return [_placed(item, shown) for item in value]
    if not isinstance(value, dict):
        return value
    placed = {key: _placed(item, shown) for key, item in value.items()}
    parts = str(placed.get("run", "")).rpartition(f"{PLANS}/")
    if parts[1] and parts[2].isdigit():
        placed["run"] = f"{shown}/{PLANS}/{parts[2]}"
    return placed


def _read(path: Path) -> pd.DataFrame:
    """A table with numbers to the last digit; a column of ids stays text."""
    table = pd.read_csv(path, dtype=object, keep_default_na=False)
    table = table.assign(**{str(name): unquoted(table[name]) for name in table})
    for name in table.columns.difference(list(_TEXT)):
        cells = table[name]
        if len(cells) and cells.isin(["True", "False"]).all():
            table[name] = cells == "True"
            continue
        try:
            numbers = cells.replace("", "nan").astype(float)
        except ValueError:
            continue
        whole = name == "year" and numbers.notna().all()
        table[name] = numbers.astype(int) if whole else numbers
    return table
