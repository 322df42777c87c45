"""Folders of analyses: they read back, name the plans kept, and are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from optimizer import CaseError, load_case, optimize, read_run
from optimizer.analysis_folder import read_analysis, write_analysis

TABLE = pd.DataFrame({
    "supplier": ["007", "nan"], "year": [2030, 2035], "t": [0.1 + 0.2, float("nan")], "kept": [True, False],
    "note": ["=1+1", "plain"],
})  # fmt: skip


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(work: Path, out: Path | None = None) -> tuple[Path, dict[str, Any]]:
    case = load_case("small")
    plans = [optimize(case, {"rules.one_country.max": limit}, out=work / f"scratch{limit}") for limit in (0.4, 0.5)]
    document: dict[str, Any] = {
        "key": "x",
        "points": [{"limit": 0.4, "run": "plans/1"}, {"limit": 0.5, "run": "plans/2"}],
    }
    folder = write_analysis("frontier", document, {"points": TABLE}, case, out, plans=plans)
    assert [plan.run for plan in plans] == [point["run"] for point in document["points"]]
    return folder, document


def test_the_folder_reads_back(work: Path) -> None:
    folder, document = written(work)
    assert folder.parent == work / "runs" and folder.name.startswith("small-frontier-")
    assert document["run"] == f"runs/{folder.name}"
    assert json.loads((folder / "frontier.json").read_text()) == document
    analysis = read_analysis(folder)
    assert analysis.kind == "frontier"
    assert [point["limit"] for point in analysis.document["points"]] == [0.4, 0.5]
    assert "'=1+1" in (folder / "tables" / "points.csv").read_text()  # no spreadsheet takes it for a formula
    pd.testing.assert_frame_equal(analysis.tables["points"], TABLE, check_dtype=False, check_exact=True)
    assert [plan.objective_usd for plan in analysis.plans()] == pytest.approx([13.1e6, 12.9e6])
    assert load_case(folder / "case").fingerprint == load_case("small").fingerprint


def test_the_plans_kept_are_run_folders_at_the_path_that_the_document_gives(work: Path) -> None:
    _, document = written(work)
    for number, point in enumerate(document["points"], 1):
        assert point["run"].endswith(f"/plans/{number}")
        assert read_run(point["run"]).run == point["run"]
        assert json.loads(Path(point["run"], "plan.json").read_text())["run"] == point["run"]


def test_a_folder_that_moved_names_its_plans_where_it_is(work: Path) -> None:
    folder, _ = written(work, work / "first")
    folder.rename(work / "second")
    analysis = read_analysis(work / "second" / "frontier.json")
    assert [Path(point["run"]) for point in analysis.document["points"]] == analysis.runs
    assert read_run(analysis.runs[1]).objective_usd == pytest.approx(12.9e6)


def test_a_folder_that_is_not_empty_is_left_alone(work: Path) -> None:
    (work / "there").mkdir()
    (work / "there" / "mine.txt").write_text("mine")
    with pytest.raises(CaseError, match="not empty"):
        written(work, work / "there")
    assert [path.name for path in (work / "there").iterdir()] == ["mine.txt"]


def test_nothing_is_left_where_writing_fails(work: Path) -> None:
    plan = optimize(load_case("small"), out=work / "scratch")
    document: dict[str, Any] = {"points": [{"limit": float("nan"), "run": "plans/1"}]}  # JSON has no NaN
    with pytest.raises(ValueError):
        write_analysis("frontier", document, {}, load_case("small"), work / "new", plans=[plan])
    assert sorted(path.name for path in work.iterdir()) == ["scratch"]
    assert plan.run == str(work / "scratch")


def test_another_folder_is_refused(work: Path) -> None:
    with pytest.raises(CaseError, match="not the folder of an analysis"):
        read_analysis(work)
    (work / "frontier.json").write_text("{")
    with pytest.raises(CaseError, match="not the folder of an analysis"):
        read_analysis(work)
