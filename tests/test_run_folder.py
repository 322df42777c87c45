"""Run folders: what is in them, that they read back, that they are whole or not there."""

from __future__ import annotations

import json
import math
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

# Numbers that no short decimal gives, ids that look like numbers, every optional table, two markets.
TOML = """\
title = "odd numbers"
[horizon]
years = [2026, 2029]
discount_rate = 0.07
[market]
home = "USA"
countries = { japan = "JPN" }
[[rules]]
name = "cap"
kind = "each_share"
each = "supplier"
max = 0.77
[[rules]]
name = "spread"
kind = "hhi"
max = 0.9
to_year = 2027
[scenarios.dear]
[[scenarios.dear.change]]
table = "suppliers"
where = { country = "CHN" }
scale = { cost_usd_per_t = 1.3 }
"""
TABLES = {
    "materials": "material,mineral,stage,basis,price_usd_per_t,source,note\n001,lithium,feedstock,,,,\n1e3,lithium,extraction,,333.33,a,\n"
    'true,lithium,processing,"t Li, as metal",20000.1,a b,"said ""about"""\n',
    "suppliers": "supplier,name,country,controller,channel,material,input,recovery,capacity_t,incumbent_t,cost_usd_per_t,min_t,from_year,to_year,certified\n"
    "007,Bond,AUS,CHN,allied,1e3,,,2000,500,3000.3,,,,yes\n"
    "NA,,CHN,,incumbent,true,1e3,0.83,1000,400,4000.7,,,2040,\n"
    "None,,USA,,recycling,true,001,0.7,300,,6000.1,,,,\n"
    "nan,,CHL,,allied,true,,,700,300,12000,10.5,2020,,no\n",
    "supplier_years": "supplier,year,capacity_t,cost_usd_per_t\nnan,2028,650,12345.6\n",
    "byproducts": "supplier,material,t_per_t\nnan,1e3,0.05\n",
    "demand": "market,material,year,sector,required_t,shortage_usd_per_t\n,true,2026,NA,700.7,\n,true,2030,NA,900,\n,true,2026,,33.3,99999\njapan,true,2026,,111.1,\n",
    "feedstock": "material,year,available_t,cost_usd_per_t\n001,2026,100,2000\n001,2030,300,1500\n",
    "lanes": "origin,destination,material,freight_usd_per_t,duty_share,max_t\n*,*,,1000,,\ncountry:CHN,country:USA,,,0.25,\nnan,japan,,1,,55.5\n",
    "blocs": "bloc,country,from_year,to_year\ncovered,CHN,2020,\n",
    "risk": "country,indicator,value,year\nCHN,wgi,0.6,2024\nAUS,wgi,0.1,\n",
    "assumptions": "key,low,high,reason\nsuppliers[supplier=nan].cost_usd_per_t*,0.9,1.2,a guess\n",
    "sources": "id,citation,url,published,licence,how\na,Author,,,,read\nb,Other,,2024,,assumption\n",
}  # fmt: skip
CHANGED = ("--scenario", "dear", "--set", "rules.cap.max=0.7", "--set", "suppliers[supplier=nan].capacity_t*=0.9", "--max-country", "65%",
           "--demand-scale", "1.1")  # fmt: skip
PARTS = ["case", "changes.toml", "plan.json", "solver.log", "tables"]


@pytest.fixture
def odd(write_case: Callable[..., Path]) -> Path:
    return write_case(TABLES, TOML)


def plan_of(run: str | Path) -> Any:
    return json.loads((Path(run) / "plan.json").read_text(encoding="utf-8"))


def without_times(document: Any) -> Any:
    """A plan apart from what tells one run of it from another."""
    kept = {key: value for key, value in document.items() if key != "run"}
    return {**kept, "about": {key: value for key, value in kept["about"].items() if key != "seconds"}}


@pytest.mark.parametrize("more", [(), CHANGED, ("--status-quo",)], ids=["as it is", "changed", "status quo"])
def test_a_run_folder_holds_everything(more: tuple[str, ...], odd: Path, oremix: Any) -> None:
    done = oremix("optimize", odd, "--out", "run", *more, "--json")
    assert done.code == 0, done.out[:500]
    assert sorted(os.listdir("run")) == PARTS
    assert os.listdir() == ["run"], "and nothing is left beside it"
    assert sorted(os.listdir("run/case/tables")) == sorted(f"{name}.csv" for name in TABLES)
    assert Path("run/solver.log").stat().st_size > 0
    log = tomllib.loads(Path("run/changes.toml").read_text(encoding="utf-8"))["change"]
    assert [item["key"] for item in log] == [item["key"] for item in done.document["changes"]]
    for stored, told in zip(log, done.document["changes"], strict=True):
        assert stored == {key: value for key, value in told.items() if value is not None}


@pytest.mark.parametrize("more", [(), CHANGED, ("--status-quo",)], ids=["as it is", "changed", "status quo"])
def test_plan_json_is_the_document(more: tuple[str, ...], odd: Path, oremix: Any) -> None:
    told = oremix("optimize", odd, "--out", "run", *more, "--json").document
    stored = plan_of("run")
    assert told.pop("run") == "run"
    stored.pop("run", None)
    assert stored == told


def test_the_tables_hold_the_plan(odd: Path, oremix: Any) -> None:
    document = oremix("optimize", odd, "--out", "run", "--json").document
    for name in ("suppliers", "flows", "shares", "risk", "rules", "shortage"):
        table = pd.read_csv(f"run/tables/{name}.csv", dtype=str, keep_default_na=False)
        assert len(table) == len(document[name]), name
        for row, told in zip(table.to_dict("records"), document[name], strict=True):
            for key, value in told.items():
                cell = row[key]
                if isinstance(value, (bool, str)):
                    assert cell == str(value), (name, key)
                elif value is None:
                    assert cell == "", (name, key)
                else:
                    assert float(cell) == pytest.approx(value, rel=1e-15), (name, key)


def test_units_stand_in_the_column_names(odd: Path, oremix: Any) -> None:
    oremix("optimize", odd, "--out", "run")
    assert {"produced_t"} <= set(pd.read_csv("run/tables/suppliers.csv").columns)
    assert {"t"} <= set(pd.read_csv("run/tables/flows.csv").columns)
    assert {"price_usd_per_y"} <= set(pd.read_csv("run/tables/rules.csv").columns)


@pytest.mark.parametrize(
    "more",
    [(), CHANGED, ("--year", "2029"), ("--no-rules",), ("--mineral", "lithium"), ("--set", "solve.seconds=100")],
    ids=["as it is", "changed", "one year", "no rules", "one mineral", "a setting"],
)  # fmt: skip
def test_the_case_as_run_reads_back_and_gives_the_same_plan(more: tuple[str, ...], odd: Path, oremix: Any) -> None:
    first = oremix("optimize", odd, "--out", "run", *more, "--json")
    assert first.code == 0, first.out[:500]
    again = oremix("optimize", "run/case", "--out", "again", "--json")
    assert again.code == 0, again.out[:500]
    one, two = without_times(first.document), without_times(again.document)
    assert one["about"]["fingerprint"] == two["about"]["fingerprint"]
    for key in (
        "objective_usd",
        "cost_usd_per_y",
        "suppliers",
        "flows",
        "shares",
        "risk",
        "rules",
        "shortage",
        "costs",
        "status_quo",
    ):
        assert one[key] == two[key], key
    for name in os.listdir("run/case/tables"):
        assert Path("run/case/tables", name).read_bytes() == Path("again/case/tables", name).read_bytes()


def test_the_case_as_run_of_a_relaxed_plan_gives_the_same_plan(oremix: Any) -> None:
    """small, at least 90% domestic: the nearest is 40%. The case as run is the one that was solved."""
    first = oremix("optimize", "small", "--min-domestic", "90%", "--relax", "--out", "run", "--json")
    assert first.code == 0
    again = oremix("optimize", "run/case", "--json")
    assert again.code == 0, again.out[:300]
    assert again.document["objective_usd"] == pytest.approx(first.document["objective_usd"])


def test_the_case_as_run_keeps_sources_and_notes(odd: Path, oremix: Any) -> None:
    oremix("optimize", odd, "--out", "run")
    cells = pd.read_csv("run/case/tables/materials.csv", dtype=str, keep_default_na=False)
    assert (
        list(cells["source"]) == ["", "a", "a b"]
        and cells["note"].iloc[2] == 'said "about"'
        and cells["basis"].iloc[2] == "t Li, as metal"
    )


def test_the_fingerprint_tells_cases_apart(odd: Path, oremix: Any) -> None:
    def fingerprint(*more: str) -> str:
        return str(oremix("check", odd, *more, "--json").document["fingerprint"])

    assert fingerprint() == fingerprint()
    others = [
        fingerprint("--set", text)
        for text in ("rules.cap.max=0.76", "suppliers[supplier=007].cost_usd_per_t=3000.31", "horizon.discount_rate=0")
    ]
    assert len({fingerprint(), *others}) == 4


def test_same_case_same_version_same_plan(odd: Path, oremix: Any) -> None:
    for name in ("one", "two"):
        assert oremix("optimize", odd, *CHANGED, "--out", name).code == 0
    one, two = plan_of("one"), plan_of("two")
    assert without_times(one) == without_times(two)
    files = sorted(path.relative_to("one") for path in Path("one").rglob("*") if path.is_file())
    assert files == sorted(path.relative_to("two") for path in Path("two").rglob("*") if path.is_file())
    for file in files:
        if file.name not in ("plan.json", "solver.log"):
            assert (Path("one") / file).read_bytes() == (Path("two") / file).read_bytes(), file


def test_the_order_of_rows_does_not_change_the_plan(odd: Path, write_case: Callable[..., Path], oremix: Any) -> None:
    def turned(text: str) -> str:
        header, *rows = text.splitlines()
        return "\n".join([header, *reversed(rows)]) + "\n"

    other = write_case({name: turned(text) for name, text in TABLES.items()}, TOML, "turned")
    one, two = (oremix("optimize", case, "--json").document for case in (odd, other))
    assert one["objective_usd"] == pytest.approx(two["objective_usd"], rel=1e-9)
    assert {(f["origin"], f["destination"], f["year"]): pytest.approx(f["t"], rel=1e-6) for f in one["flows"]} == {
        (f["origin"], f["destination"], f["year"]): f["t"] for f in two["flows"]
    }


@pytest.fixture(scope="module")
def moved(write_case_to: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs in another place, without the case that they were made from."""
    from optimizer import Request, load_case, optimize

    away = tmp_path_factory.mktemp("away")
    home = write_case_to(tmp_path_factory.mktemp("home") / "case", TABLES, TOML)
    request = Request(scenarios=["dear"], sets={"rules.cap.max": 0.7}, demand_scale=1.1,
                      rules=[{"name": "max-country", "kind": "each_share", "each": "country", "max": 0.65}])  # fmt: skip
    for name, changes in (("one", Request()), ("two", request)):
        assert optimize(load_case(home), changes, out=home / name).ok
        shutil.move(home / name, away / name)
    shutil.rmtree(home)
    return away / "one", away / "two"


def same(one: Any, two: Any) -> bool:
    """Equal, numbers to the last digit or two (a table is text)."""
    if isinstance(one, dict) and isinstance(two, dict):
        return set(one) == set(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-14)
    return type(one) is type(two) and bool(one == two)


def test_show_needs_only_the_folder(moved: tuple[Path, Path], oremix: Any) -> None:
    for run in moved:
        shown = oremix("show", run, "--json").document
        stored = plan_of(run)
        assert shown.pop("run") and stored.pop("run")
        for key in stored:
            assert same(shown[key], stored[key]), key
        assert "odd numbers" in oremix("show", run).out


def test_show_gives_numbers_to_the_last_digit(moved: tuple[Path, Path], oremix: Any) -> None:
    shown, stored = oremix("show", moved[0], "--json").document, plan_of(moved[0])
    assert [row["t"] for row in shown["flows"]] == [row["t"] for row in stored["flows"]]
    assert [row["value"] for row in shown["rules"]] == [row["value"] for row in stored["rules"]]


@pytest.mark.parametrize(
    "table", ["suppliers", "flows", "shares", "risk", "rules", "shortage", "costs", "changes", "status_quo_flows"]
)
def test_show_gives_each_table(table: str, moved: tuple[Path, Path], oremix: Any) -> None:
    assert oremix("show", moved[1], table).code == 0
    rows = oremix("show", moved[1], table, "--json").document["rows"]
    stored = plan_of(moved[1]).get(table)
    if stored is not None:
        assert len(rows) == len(stored)


def test_ids_that_look_like_numbers_stay_ids(moved: tuple[Path, Path], oremix: Any) -> None:
    rows = oremix("show", moved[0], "suppliers", "--json").document["rows"]
    assert {row["supplier"] for row in rows} == {"007", "NA", "None", "nan"}
    assert {row["material"] for row in rows} == {"1e3", "true"}
    flows = oremix("show", moved[0], "flows", "--json").document["rows"]
    assert {"feedstock:001"} <= {row["origin"] for row in flows}


def test_compare_needs_only_the_folders(moved: tuple[Path, Path], oremix: Any) -> None:
    document = oremix("compare", *moved, "--json").document
    costs = [plan_of(run)["objective_usd"] for run in moved]
    assert [run["objective_usd"] for run in document["runs"]] == costs
    assert document["runs"][1]["difference_usd"] == pytest.approx(costs[1] - costs[0])
    assert "max-country" in oremix("compare", *moved).out


def test_compare_of_runs_with_other_years(odd: Path, oremix: Any) -> None:
    for name, more in (("one", ("--year", "2026")), ("two", ("--year", "2029"))):
        assert oremix("optimize", odd, *more, "--out", name).code == 0
    assert oremix("compare", "one", "two").code == 0
    assert oremix("compare", "one", "two", "--json").code == 0


@pytest.mark.parametrize("spoil", ["plan.json", "tables/flows.csv", "plan.json cut", "plan.json of another kind"])
def test_a_folder_that_is_no_run_is_wrong_input(spoil: str, oremix: Any) -> None:
    oremix("optimize", "small", "--out", "run")
    path = Path("run") / spoil.split()[0]
    if spoil.endswith(("json", "csv")):
        path.unlink()
    else:
        path.write_text(path.read_text()[:100] if "cut" in spoil else "[1, 2]")
    done = oremix("show", "run", "--json")
    assert done.code == 2 and "run" in str(done.document["errors"])


# Where it is written


def test_the_default_is_a_folder_of_its_own_under_runs(oremix: Any) -> None:
    runs = [oremix("optimize", "small", "--json").document["run"] for _ in range(3)]
    assert len(set(runs)) == 3 and sorted(os.listdir("runs")) == sorted(Path(run).name for run in runs)
    assert all(Path(run).name.startswith("small-") and sorted(os.listdir(run)) == PARTS for run in runs)


def test_out_may_be_new_deep_or_empty(oremix: Any) -> None:
    Path("empty").mkdir()
    for out in ("new", "deep/er/est", "empty", "with space é"):
        assert oremix("optimize", "small", "--out", out, "--json").document["run"] == out
        assert sorted(os.listdir(out)) == PARTS


def test_out_that_holds_something_is_left_alone(oremix: Any) -> None:
    Path("full").mkdir()
    Path("full/notes.txt").write_text("keep")
    Path("file").write_text("keep")
    for out in ("full", "file", "full/notes.txt"):
        done = oremix("optimize", "small", "--out", out, "--json")
        assert done.code == 2 and out in str(done.document["errors"])
    assert sorted(path.as_posix() for path in Path().rglob("*")) == ["file", "full", "full/notes.txt"]
    assert Path("full/notes.txt").read_text() == Path("file").read_text() == "keep"


def test_a_second_run_does_not_overwrite_the_first(oremix: Any) -> None:
    assert oremix("optimize", "small", "--out", "run").code == 0
    before = Path("run/plan.json").read_bytes()
    assert oremix("optimize", "small", "--no-rules", "--out", "run").code == 2
    assert Path("run/plan.json").read_bytes() == before


@pytest.mark.parametrize("out", [(), ("--out", "run"), ("--out", "empty")], ids=["runs", "new", "empty"])
@pytest.mark.parametrize(
    "broken",
    ["pandas.DataFrame.to_csv", "optimizer.run_folder.write_case", "tomli_w.dumps", "shutil.copyfile", "os.replace"],
)
def test_nothing_is_left_half_written(
    broken: str, out: tuple[str, ...], oremix: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    Path("empty").mkdir()
    monkeypatch.setattr(broken, full)
    done = oremix("optimize", "small", *out, "--json")
    assert done.code != 0 and "No space left" in str(done.document["errors"])
    left = {path.as_posix() for path in Path().rglob("*")} - {"runs", "empty"}
    assert left == set()


def test_a_place_that_cannot_be_written_is_wrong_input(oremix: Any) -> None:
    Path("file").write_text("")
    done = oremix("optimize", "small", "--out", "file/run", "--json")
    assert done.code == 2, done.out[:300]
    assert "file" in str(done.document["errors"])


def test_no_plan_no_run_folder(oremix: Any) -> None:
    done = oremix("optimize", "small", "--min-domestic", "90%", "--out", "run", "--json")
    assert done.code == 3 and os.listdir() == []


def test_python_writes_only_when_asked(oremix: Any) -> None:
    from optimizer import load_case, optimize, read_run

    plan = optimize(load_case("small"))
    assert plan.objective_usd == pytest.approx(13_100_000) and os.listdir() == []
    kept = optimize(load_case("small"), changes={"rules.one_country.max": 0.3}, out="run")
    assert kept.objective_usd == pytest.approx(13_700_000) and os.listdir() == ["run"]
    assert read_run("run").objective_usd == kept.objective_usd
    assert plan.shares(by="channel").to_dict()[2030] == pytest.approx(
        {("lithium", "lithium_chemicals", "allied"): 0.4, ("lithium", "lithium_chemicals", "incumbent"): 0.4,
         ("lithium", "lithium_chemicals", "recycling"): 0.2}, abs=1e-6)  # fmt: skip
    assert plan.audit == []


def test_a_status_quo_run_is_shown_as_one(oremix: Any) -> None:
    made = oremix("optimize", "small", "--status-quo", "--out", "run").out
    shown = oremix("show", "run").out
    assert shown.splitlines()[1] == made.splitlines()[1]


def test_two_runs_in_one_second_are_both_kept(oremix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process takes the name between the choice of it and the writing."""
    from optimizer import run_folder

    write = run_folder.write_case

    def meanwhile(case: Any, folder: Path) -> None:
        taken = folder.parent.parent / folder.parent.name.lstrip(".").rpartition("-")[0]
        taken.mkdir()
        (taken / "plan.json").write_text("of another")
        write(case, folder)

    monkeypatch.setattr(run_folder, "write_case", meanwhile)
    done = oremix("optimize", "small", "--json")
    assert done.code == 0, done.out[:300]
    assert len(os.listdir("runs")) == 2
