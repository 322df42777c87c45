"""Run folders: a plan and everything needed to read it again, written whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pandas as pd
import tomli_w

from models.case import Case
from models.problems import CaseError, Problem
from models.tables import TABLES, columns
from optimizer.plan import JSON_TABLES, LATER_TABLES, RUN_TABLES, Plan, clean


def write_run(plan: Plan, case: Case, log: Path, out: Path | None) -> Path:
    """Write plan.json, tables/, case/, changes.toml and solver.log; the folder appears whole.

    ``out``: the folder to make (it must not hold anything yet); default ``runs/CASE-DATE-TIME``.
    """

    def fill(folder: Path) -> None:
        _fill(folder, plan, case, log)

    def name(folder: Path, shown: str) -> None:
        plan.run = shown
        write_document(folder / "plan.json", plan.to_json())

    try:
        return write_whole(case.name, out, fill, name)
    except BaseException:
        plan.run = ""
        raise


def write_whole(
    name: str, out: Path | None, fill: Callable[[Path], None], finish: Callable[[Path, str], None], kind: str = ""
) -> Path:
    """Make a folder that appears whole or not at all; gives where it is.

    ``fill`` writes into the folder under its temporary name; ``finish`` then writes what names the folder as
    people will read it, once more where another run took the name meanwhile. ``out``: the folder to make (it must
    not hold anything yet); default ``runs/NAME-KIND-DATE-TIME``, without ``kind`` ``runs/NAME-DATE-TIME``.
    """
    target = (out if out is not None else _free_name(Path("runs"), name, kind)).absolute()
    if out is not None and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CaseError([Problem("--out", "is there already and not empty: name a new folder", value=str(out))])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(mkdtemp(prefix=f".{target.name[:40]}-", dir=target.parent))
    except OSError as error:
        message = f"cannot be written: {error.strerror}"
        raise CaseError([Problem("--out", message, value=str(out or target.parent))]) from error
    try:
        temporary.chmod(0o755)
        fill(temporary)
        while True:
            finish(temporary, str(out) if out is not None else _shown(target))
            try:
                temporary.replace(target)
            except OSError:
                if out is not None or not target.exists():
                    raise
                target = _free_name(Path("runs"), name, kind).absolute()  # another run took the name: leave it alone
            else:
                return target
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_document(path: Path, document: dict[str, Any]) -> None:
    """One JSON document as a file."""
    path.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")


def _shown(target: Path) -> str:
    """The folder as a person reads it: from here where it is below, else in full."""
    here = Path.cwd()
    return str(target.relative_to(here)) if target.is_relative_to(here) else str(target)


def _fill(temporary: Path, plan: Plan, case: Case, log: Path) -> None:
    """Everything of a run folder but plan.json, which names the folder and so comes last."""
    write_case(case, temporary / "case")
    tables = dict(plan.tables)
    if plan.status_quo is not None:
        tables.update({f"status_quo_{name}": table for name, table in plan.status_quo["tables"].items()})
    write_tables(tables, temporary / "tables")
    write_changes(plan.changes, temporary / "changes.toml")
    if log.is_file():
        shutil.copyfile(log, temporary / "solver.log")
    else:
        (temporary / "solver.log").write_text("no solver log: the status quo alone was found\n", encoding="utf-8")


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Result tables as CSV files that no spreadsheet takes for formulas."""
    folder.mkdir()
    for name, table in tables.items():
        harmless(table).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def write_changes(changes: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Every change of the case, old -> new, as TOML."""
    path.write_text(tomli_w.dumps({"change": [_toml(dict(item)) for item in changes]}), encoding="utf-8")


_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell starts that a spreadsheet takes for a formula


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """The table with free text that no spreadsheet takes for a formula: a quote before = + - @ and tab."""
    return quoted(table, [name for name in ("name", "sector") if name in table])


def quoted(table: pd.DataFrame, texts: Sequence[str] | None = None) -> pd.DataFrame:
    """A quote before every text that a spreadsheet would take for a formula; ``texts``: the columns, default all."""
    if texts is None:
        texts = [name for name in table.columns if table[name].dtype.kind not in "iufb"]
    return table.assign(**{
        name: [f"'{cell}" if str(cell)[:1] in _FORMULA else cell for cell in table[name]]
        for name in texts
    })  # fmt: skip


def unquoted(cells: Iterable[str]) -> list[str]:
    """Texts of a table read back, without the quotes that ``quoted`` put before them."""
    return [cell[1:] if cell[:1] == "'" and cell[1:2] in _FORMULA else cell for cell in cells]


def _free_name(folder: Path, name: str, kind: str = "") -> Path:
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name)[:60] or "run"
    safe += f"-{kind}" if kind else ""
    stamp = datetime.now(tz=UTC).strftime("%Y%m%d-%H%M%S")
    target, count = folder / f"{safe}-{stamp}", 1
    while target.exists():
        count += 1
        target = folder / f"{safe}-{stamp}-{count}"
    return target


def write_case(case: Case, folder: Path) -> None:
    """The case as a folder that reads back to the same case (blank cells where a default applies)."""
    (folder / "tables").mkdir(parents=True)
    (folder / "case.toml").write_text(tomli_w.dumps(_toml(case.raw)), encoding="utf-8")
    for name in TABLES:
        table = case.tables[name]
        if len(table):
            _as_text(name, table).to_csv(folder / "tables" / f"{name}.csv", index=False, lineterminator="\n")


def _as_text(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table's own columns that hold anything, years as whole numbers."""
    kept = {}
    for column in columns(name).values():
        cells = table[column.name]
        if column.kind == "year":
            cells = cells.astype("Int64")
        if column.required or not (cells.isna() | (cells == "")).all():
            kept[column.name] = cells
    return pd.DataFrame(kept)


def _toml(value: Any) -> Any:
    """A value as TOML takes it: no nulls."""
    if isinstance(value, dict):
        return {key: _toml(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_toml(item) for item in value]
    return clean(value)


def read_run(folder: str | Path) -> Plan:
    """A plan from its run folder; raises ``CaseError`` where the folder is not one."""
    folder = Path(folder)
    path = folder / "plan.json" if folder.is_dir() else folder
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        plan = Plan(
            case=document["case"], title=document["title"], status=document["status"], years=tuple(document["years"]),
            objective_usd=document["objective_usd"],
            cost_usd_per_y={int(year): value for year, value in document["cost_usd_per_y"].items()},
            public_usd_per_y={int(year): value for year, value in document["public_usd_per_y"].items()},
            gap=document["gap"], changes=document["changes"], warnings=document["warnings"], about=document["about"],
            audit=document["audit"], run=str(path.parent),
        )  # fmt: skip
        plan.tables = _read_tables(path.parent / "tables")
        plan.two_stage = document.get("two_stage")
        quo = document["status_quo"]
        if quo is not None:
            quo["cost_usd_per_y"] = {int(year): value for year, value in quo["cost_usd_per_y"].items()}
            quo["tables"] = _read_tables(path.parent / "tables", "status_quo_")
            plan.status_quo = quo
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"not a run folder of oremix ({error}): give the folder that `oremix optimize` printed last"
        raise CaseError([Problem(str(folder), message)]) from error
    return plan


def _read_tables(folder: Path, prefix: str = "") -> dict[str, pd.DataFrame]:
    """The tables of a run; one that came with a later version than the run's is empty, with its columns."""
    found = {}
    for name in RUN_TABLES:
        path = folder / f"{prefix}{name}.csv"
        late = name in LATER_TABLES and not path.exists()
        found[name] = pd.DataFrame(columns=list(JSON_TABLES[name])) if late else read_table(path)
    return found


_TEXT = frozenset(
    ("supplier", "name", "country", "controller", "channel", "mineral", "material", "stage", "origin", "destination",
     "by", "member", "largest_country", "rule", "kind", "bound", "denominator", "market", "sector", "cost", "step",
     "lose", "largest_point", "worst_country", "outcome")
)  # fmt: skip


def read_table(path: Path) -> pd.DataFrame:
    """A result table with numbers to the last digit; an id that looks like a number stays an id."""
    table = pd.read_csv(path, dtype=object, keep_default_na=False)
    for name in ("name", "sector"):  # free text, written with a quote where it could be a formula
        if name in table:
            table[name] = unquoted(table[name])
    for name in table.columns.difference(list(_TEXT)):
        cells = table[name]
        if cells.isin(["True", "False"]).all():
            table[name] = cells == "True"
        elif name == "year":
            table[name] = cells.astype(int)
        else:
            table[name] = cells.replace("", "nan").astype(float)
    return table
