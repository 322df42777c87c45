"""Exports: every format holds the run's numbers, programs read back to the same optimum, text stays text."""

from __future__ import annotations

import csv
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Outcome
from python_calamine import CalamineWorkbook
from test_families import REGISTER

from models.case import load_case
from models.changes import Request
from models.problems import CaseError
from optimizer import export as exporting
from optimizer.analysis_folder import write_analysis
from optimizer.engine import EngineError
from optimizer.export import case_of, export, result_tables
from optimizer.model_files import Naming, optimum_of, unique, write_model
from optimizer.plan import Plan
from optimizer.run import optimize
from optimizer.run_folder import read_run

DATA = Path(__file__).parents[1] / "data"
NASTY = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "<script>alert(1)</script>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small case with a rule of each sort that matters to a program file, and names that are formulas."""
    folder = tmp_path_factory.mktemp("export") / "case"
    shutil.copytree(DATA / "small", folder)
    with (folder / "tables/suppliers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, name in zip(rows, NASTY, strict=False):
        row["name"] = name
    with (folder / "tables/suppliers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "base"
    optimize(load_case(folder), {"suppliers[supplier=aus_mine].cost_usd_per_t*": 1 / 3}, out=out)
    return out


def sheet_rows(book: CalamineWorkbook, name: str) -> list[list[Any]]:
    return book.get_sheet_by_name(name).to_python(skip_empty_area=False)


def test_the_workbook_holds_every_table_of_the_run_with_its_numbers(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "plan.xlsx")
    book = CalamineWorkbook.from_path(tmp_path / "plan.xlsx")
    plan = read_run(run)
    tables = result_tables(plan, case_of(plan))
    assert book.sheet_names == ["answer", "mix", "allocation", *tables]
    for name, table in tables.items():
        rows = sheet_rows(book, name)
        assert rows[0] == list(table.columns), name
        for place, record in enumerate(table.itertuples(index=False), 1):
            for got, wanted in zip(rows[place], record, strict=True):
                if isinstance(wanted, float):
                    assert (got == "" and np.isnan(wanted)) or got == pytest.approx(wanted, rel=1e-14, abs=0), name
                else:
                    assert got == wanted, name
        below = rows[1 + len(table) :]
        assert len(below) <= 1 and all(row[0] in ("", "total of the rows shown") for row in below)


def test_totals_are_formulas_and_equal_the_run(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "plan.xlsx")
    plan = read_run(run)
    costs = sheet_rows(CalamineWorkbook.from_path(tmp_path / "plan.xlsx"), "costs")
    assert costs[-1][3] == pytest.approx(sum(plan.cost_usd_per_y.values()), rel=1e-12)
    answer = sheet_rows(CalamineWorkbook.from_path(tmp_path / "plan.xlsx"), "answer")
    (total,) = [row for row in answer if str(row[0]).startswith("present value")]
    assert plan.status_quo is not None
    assert total[2:5] == pytest.approx(
        [plan.objective_usd, plan.status_quo["objective_usd"], plan.objective_usd - plan.status_quo["objective_usd"]]
    )
    with zipfile.ZipFile(tmp_path / "plan.xlsx") as package:
        parts = {name: package.read(name).decode() for name in package.namelist() if name.endswith(".xml")}
    formulas = re.findall(r"<f>(.*?)</f>", parts["xl/worksheets/sheet1.xml"])
    assert any(f.startswith("SUMPRODUCT(") for f in formulas) and "C4-D4" in formulas
    assert sum("SUBTOTAL(109," in text for text in parts.values()) >= 4
    assert len([name for name in parts if name.startswith("xl/charts/chart")]) == 2
    for name, text in parts.items():
        if re.fullmatch(r"xl/worksheets/sheet([2-9]|\d\d)\.xml", name):
            assert 'state="frozen"' in text and "<tablePart " in text, name
    assert all("<autoFilter " in text for name, text in parts.items() if name.startswith("xl/tables/"))


def test_injection_strings_stay_text_everywhere(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "plan.xlsx")
    with zipfile.ZipFile(tmp_path / "plan.xlsx") as package:
        sheets = [package.read(n).decode() for n in package.namelist() if n.startswith("xl/worksheets/sheet")]
    formulas = [formula for text in sheets for formula in re.findall(r"<f[^>]*>(.*?)</f>", text)]
    assert formulas and all(re.match(r"C\d+-D\d+$|SUMPRODUCT\(|SUBTOTAL\(109,", formula) for formula in formulas)
    book = CalamineWorkbook.from_path(tmp_path / "plan.xlsx")
    names = {row[1] for row in sheet_rows(book, "suppliers")[1:]}
    assert {"=1+1", "-2+3", "@SUM(A1)"} <= names
    export(run, tmp_path / "plan.csv")
    for path in (tmp_path / "plan.csv").glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                for cell in row:
                    assert cell[:1] not in ("=", "+", "@", "\t") and (cell[:1] != "-" or float(cell) < 0), (path, cell)


def test_the_csv_folder_holds_the_tables_to_the_last_digit(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "plan.csv")
    plan = read_run(run)
    for name, table in result_tables(plan, case_of(plan)).items():
        read = pd.read_csv(tmp_path / f"plan.csv/{name}.csv", keep_default_na=False, na_values=[""])
        assert list(read.columns) == list(table.columns), name
        for column in table.columns:
            if table[column].dtype.kind == "f":
                np.testing.assert_array_equal(read[column].to_numpy(dtype=float), table[column].to_numpy(), name)


def test_the_json_is_the_document_of_the_run_with_every_column(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "plan.json")
    document = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    stored = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    assert {k: document[k] for k in ("objective_usd", "cost_usd_per_y", "about")} == {
        k: stored[k] for k in ("objective_usd", "cost_usd_per_y", "about")
    }
    for place, row in enumerate(stored["flows"]):
        assert {key: document["flows"][place][key] for key in row} == row
    assert "freight_usd_per_y" in document["flows"][0]
    assert {row["name"] for row in document["suppliers"]} >= {"=1+1", "-2+3"}


def test_parquet_gives_the_same_tables(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed: uv run --with pyarrow pytest")
    export(run, tmp_path / "plan.parquet")
    plan = read_run(run)
    for name, table in result_tables(plan, case_of(plan)).items():
        read = pd.read_parquet(tmp_path / f"plan.parquet/{name}.parquet")
        assert list(read.columns) == list(table.columns)
        for column in table.select_dtypes("number"):
            np.testing.assert_array_equal(read[column].to_numpy(), table[column].to_numpy())


# --- LP and MPS ----------------------------------------------------------------------------------------------------

RULES: list[dict[str, Any]] = [
    {"name": "hhi", "kind": "hhi", "max": 0.35},
    {"name": "home-first", "kind": "share", "where": {"channel": "domestic"}, "min": 0.1},
    {"name": "money", "kind": "budget", "of": "premium", "max_usd_per_y": 1e6},
]
COUNTING = {"name": "four", "kind": "suppliers", "min": 4, "least_t": 30}


@pytest.mark.parametrize("ending", [".lp", ".mps"])
@pytest.mark.parametrize("rules", [[], RULES, [COUNTING], [*RULES, COUNTING]], ids=["none", "hhi", "whole", "both"])
def test_a_program_file_reads_back_to_the_same_optimum(
    tmp_path: Path, ending: str, rules: list[dict[str, Any]]
) -> None:
    plan = optimize(load_case("small"), Request(rules=rules, no_rules=bool(rules)), out=tmp_path / "run")
    assert plan.ok
    made = export(tmp_path / "run", tmp_path / f"model{ending}")
    assert made["reads_back_to_usd"] == pytest.approx(plan.objective_usd, rel=1e-6)
    assert optimum_of(tmp_path / f"model{ending}") == pytest.approx(plan.objective_usd, rel=1e-6)
    assert bool(made["hhi_cuts"]) == any(rule["kind"] == "hhi" for rule in rules)
    text = (tmp_path / f"model{ending}").read_text(encoding="utf-8")
    for name in ("production(aus_mine,2030)", "flow(chl_brine,home,lithium_chemicals,2030)", "draw(usa_recycler,2030)",
                 "production_leaves(aus_mine,2030)", "inputs_arrive(usa_refinery,2030)",
                 "requirement_met(home,lithium_chemicals,2030)", "pool_available(battery_scrap,2030)"):  # fmt: skip
        assert name in text, name
    if RULES[0] in rules:
        assert "rule_row(home_first,min,lithium,lithium_chemicals,2030)" in text
        assert "hhi_cut(hhi,max,lithium,lithium_chemicals,2030,1)" in text
    if COUNTING in rules:
        assert "counts(four,min,lithium,lithium_chemicals,2030,chl_brine)" in text
        assert "supplier_count(four,min,lithium,lithium_chemicals,2030)" in text


@pytest.mark.parametrize("name", sorted(set(REGISTER.values())))
def test_the_program_of_every_family_reads_back_and_is_named(name: str, tmp_path: Path) -> None:
    plan = optimize(load_case(Path(__file__).parent / "cases" / name), out=tmp_path / "run")
    made = export(tmp_path / "run", tmp_path / "model.lp")
    assert made["reads_back_to_usd"] == pytest.approx(plan.objective_usd, rel=1e-6, abs=1e-6)
    families = set(re.findall(r"\b([a-z_]+)\(", (tmp_path / "model.lp").read_text(encoding="utf-8")))
    assert len(families) > 3
    for family in families:  # what Naming does not know would be named by bare numbers
        assert hasattr(Naming, f"_{family}"), family


def test_the_status_quo_reads_back_too(tmp_path: Path) -> None:
    plan = optimize(load_case("small"), status_quo=True, out=tmp_path / "run")
    assert export(tmp_path / "run", tmp_path / "quo.lp")["reads_back_to_usd"] == pytest.approx(plan.objective_usd)
    text = (tmp_path / "quo.lp").read_text(encoding="utf-8")
    assert "status_quo_factor(chl_brine,2030)" in text and "factor(lithium_chemicals,2030)" in text


def test_a_relaxed_run_is_written_at_its_relaxed_limits(tmp_path: Path, oremix: Callable[..., Outcome]) -> None:
    assert oremix("optimize", "small", "--min-domestic", "60%", "--relax", "--out", "run", "--quiet").code == 0
    told = oremix("export", "run", "--to", "model.lp", "--json")
    assert told.document["reads_back_to_usd"] == pytest.approx(13_900_000)


def test_the_whole_bundled_case_reads_back(tmp_path: Path) -> None:
    plan = optimize(load_case("us"), {"horizon.discount_rate": 0.05}, out=tmp_path / "run")
    made = export(tmp_path / "run", tmp_path / "us.lp")
    assert made["reads_back_to_usd"] == pytest.approx(plan.objective_usd, rel=1e-6)


def test_another_optimum_is_our_fault_and_leaves_no_file(run: Path, tmp_path: Path) -> None:
    plan = read_run(run)
    assert plan.objective_usd is not None
    wrong = Plan(**{**vars(plan), "objective_usd": plan.objective_usd * 1.01})
    with pytest.raises(EngineError, match="reads back to"):
        write_model(wrong, tmp_path / "model.lp")
    assert not (tmp_path / "model.lp").exists()


def test_names_are_never_shared_and_never_too_long() -> None:
    named = unique(["a", "a", "a.2", "b" * 300, "b" * 300, "a"])
    assert len(set(named)) == len(named) == 6
    assert max(len(name) for name in named) <= 255 and named[0] == "a"


def test_the_tables_of_an_analysis_leave_too(tmp_path: Path) -> None:
    document = {"key": "rules.one_country.max", "points": [{"limit": 0.3, "objective_usd": 2.5}]}
    tables = {"points": pd.DataFrame({"limit": [0.3], "objective_usd": [2.5], "note": ["=1+1"]})}
    folder = write_analysis("frontier", document, tables, load_case("small"), tmp_path / "curve")
    export(folder, tmp_path / "curve.xlsx")
    rows = sheet_rows(CalamineWorkbook.from_path(tmp_path / "curve.xlsx"), "points")
    assert rows[:2] == [["limit", "objective_usd", "note"], [0.3, 2.5, "=1+1"]]
    export(folder, tmp_path / "curve.csv")
    assert (tmp_path / "curve.csv/points.csv").read_text(encoding="utf-8").splitlines()[1] == "0.3,2.5,'=1+1"
    export(folder, tmp_path / "curve.json")
    assert json.loads((tmp_path / "curve.json").read_text(encoding="utf-8"))["points"] == document["points"]
    with pytest.raises(CaseError, match="no program of its own"):
        export(folder, tmp_path / "curve.lp")


# --- what the command does with what it is given ---------------------------------------------------------------------


def test_an_unknown_ending_lists_the_endings(run: Path, oremix: Callable[..., Outcome]) -> None:
    told = oremix("export", run, "--to", "plan.xls")
    assert told.code == 2 and ".xlsx" in told.err and ".mps" in told.err


def test_what_is_there_is_only_replaced_with_force(run: Path, oremix: Callable[..., Outcome]) -> None:
    Path("plan.xlsx").write_text("notes of a planner", encoding="utf-8")
    assert oremix("export", run, "--to", "plan.xlsx").code == 2
    assert Path("plan.xlsx").read_text(encoding="utf-8") == "notes of a planner"
    assert oremix("export", run, "--to", "plan.xlsx", "--force").code == 0
    assert CalamineWorkbook.from_path("plan.xlsx").sheet_names[0] == "answer"
    Path("plan.csv").mkdir()
    Path("plan.csv/mine.txt").write_text("x", encoding="utf-8")
    assert oremix("export", run, "--to", "plan.csv").code == 2
    assert oremix("export", run, "--to", "plan.csv", "--force").code == 0
    assert not Path("plan.csv/mine.txt").exists() and Path("plan.csv/flows.csv").exists()


def test_a_failure_leaves_nothing_half_written(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(plan: Plan, path: Path) -> None:
        path.write_text("half", encoding="utf-8")
        raise RuntimeError("disk full")

    monkeypatch.setitem(exporting.FORMATS, ".json", broken)
    with pytest.raises(RuntimeError):
        export(run, tmp_path / "sub/plan.json")
    assert list((tmp_path / "sub").iterdir()) == []


def test_what_is_no_run_is_refused(tmp_path: Path, oremix: Callable[..., Outcome]) -> None:
    told = oremix("export", tmp_path, "--to", "plan.json")
    assert told.code == 2 and "not a run folder" in told.err


def test_without_pyarrow_the_message_says_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(Exception, match=r"pip install 'oremix\[parquet\]'"):
        export(run, tmp_path / "plan.parquet")


def test_the_path_is_printed_last(run: Path, oremix: Callable[..., Outcome]) -> None:
    assert oremix("export", run, "--to", "plan.xlsx").out.splitlines() == ["plan.xlsx"]
    told = oremix("export", run, "--to", "model.mps").out.splitlines()
    assert told[-1] == "model.mps" and "read back by HiGHS to the run's optimum" in told[-2]
