"""The command line: help, exit codes, one JSON document, what goes where, and what a terminal shows."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COMMANDS = ("optimize", "check", "compare", "show", "columns", "presets", "levers", "new", "doctor")
# README.md, "The small case by hand".
SMALL_USD = 13_100_000.0
TOML = '[horizon]\nyears = [2030]\n[market]\nhome = "USA"\n'
TABLES = {
    "materials": "material,mineral,stage\nmetal,lithium,processing\n",
    "suppliers": "supplier,name,country,channel,material,capacity_t,cost_usd_per_t\n"
    "one,First,USA,domestic,metal,40,5\ntwo,Second,CHL,allied,metal,100,3\n",
    "demand": "material,year,required_t\nmetal,2030,100\n",
}


def plain(text: str) -> str:
    """Text without the colours that a terminal gets."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, flag: str, oremix: Any) -> None:
    done = oremix(command, flag)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"Examples?: ", done.out) and f"oremix {command}" in done.out
    assert all(option in done.out for option in ("--json", "--quiet", "--verbose", "-h"))


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_help_lists_every_command_and_exit_code(flag: str, oremix: Any) -> None:
    done = oremix(flag)
    assert done.code == 0
    assert all(command in done.out for command in COMMANDS)
    assert "Exit codes" in done.out


def test_the_version_is_printed(oremix: Any) -> None:
    done = oremix("--version")
    assert done.code == 0 and re.fullmatch(r"oremix \d+\.\d+\.\d+\S*\n", done.out)


def ended_early(status: str, keep: bool) -> Callable[..., Any]:
    """The solver as if its time had run out, with or without a plan."""
    from optimizer.solving import solve

    def short(*arguments: Any, **named: Any) -> Any:
        solved = solve(*arguments, **named)
        solved.status = status
        if not keep:
            solved.x, solved.prices = np.zeros(0), None
        return solved

    return short


def wrong_total(case: Any, answer: Any) -> Any:
    """The audit of an answer whose total is twice what it should be."""
    from models.audit import audit

    return audit(case, replace(answer, objective_usd=2 * answer.objective_usd))


def crash(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a bolt came loose")


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


ENDS: dict[str, tuple[dict[str, Callable[..., Any]], tuple[str, ...], int, str]] = {
    "a plan": ({}, ("optimize", "small"), 0, "optimal"),
    "the status quo": ({}, ("optimize", "small", "--status-quo"), 0, "optimal"),
    "a crash": ({"optimizer.run.solve": crash}, ("optimize", "small"), 1, "error"),
    "wrong input": ({}, ("optimize", "nowhere"), 2, "error"),
    "an unknown flag": ({}, ("optimize", "small", "--fly"), 2, "error"),
    "a flag without value": ({}, ("optimize", "small", "--set"), 2, "error"),
    "a flag with a wrong value": ({}, ("optimize", "small", "--year", "soon"), 2, "error"),
    "an unknown command": ({}, ("fly",), 2, "error"),
    "a missing argument": ({}, ("show",), 2, "error"),
    "an argument too many": ({}, ("doctor", "small"), 2, "error"),
    "no command": ({}, (), 2, "error"),
    "rules that cannot hold": ({}, ("optimize", "small", "--min-domestic", "90%"), 3, "infeasible"),
    "a status quo that is not there": ({}, ("optimize", "CASE", "--status-quo"), 3, "infeasible"),
    "stopped with a plan": ({"optimizer.run.solve": ended_early("feasible", True)}, ("optimize", "small"), 4, "feasible"),
    "stopped without a plan": ({"optimizer.run.solve": ended_early("stopped", False)}, ("optimize", "small"), 4, "stopped"),
    "interrupted": ({"optimizer.run.solve": interrupted}, ("optimize", "small"), 4, "stopped"),
    "an audit mismatch": ({"optimizer.run.audit": wrong_total}, ("optimize", "small"), 5, "optimal"),
}  # fmt: skip


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, oremix: Any, write_case: Any) -> Callable[..., Any]:
    """Run one of the ends above with more arguments."""

    def end(name: str, *more: str) -> Any:
        patches, arguments, _, _ = ENDS[name]
        for target, value in patches.items():
            monkeypatch.setattr(target, value)
        given = [str(write_case(TABLES, TOML)) if argument == "CASE" else argument for argument in arguments]
        return oremix(*given, *more)

    return end


@pytest.mark.parametrize("name", ENDS)
def test_exit_codes(name: str, ended: Any) -> None:
    done = ended(name)
    assert done.code == ENDS[name][2]
    assert "Traceback" not in done.out + done.err
    if done.code in (1, 2) and name != "no command":  # which prints the help
        assert done.out == "" and done.err != ""


@pytest.mark.parametrize("name", ENDS)
def test_json_is_one_document_for_every_exit_code(name: str, ended: Any) -> None:
    done = ended(name, "--json")
    assert done.code == ENDS[name][2]
    document = done.document
    assert document["status"] == ENDS[name][3]
    assert done.err == ""
    if document["status"] == "error":
        assert document["objective_usd"] is None
        assert document["errors"] and all(
            set(error) == {"file", "row", "column", "value", "message"} for error in document["errors"]
        )
    if document["status"] in ("infeasible", "stopped"):
        assert document["objective_usd"] is None
    if done.code in (2, 3) or document["status"] == "stopped":
        assert list(Path.cwd().iterdir()) == []


def test_a_traceback_comes_only_when_asked_for(ended: Any) -> None:
    shown = ended("a crash", "--verbose")
    assert shown.code == 1 and "Traceback" in shown.err and "a bolt came loose" in shown.err and shown.out == ""


def test_a_traceback_never_spoils_the_document(ended: Any) -> None:
    done = ended("a crash", "--verbose", "--json")
    assert done.code == 1 and "a bolt came loose" in done.document["errors"][0]["message"]


def test_an_infeasible_document_says_what_and_what_would_do(ended: Any) -> None:
    """Domestic is the refinery alone, 400 of 1000 t: 90% cannot be had, 40% can."""
    document = ended("rules that cannot hold", "--json").document
    assert {"what", "name", "mineral", "year"} <= set(document["conflict"][0])
    repair = [item for item in document["repair"] if item["name"] == "min-domestic"]
    assert len(repair) == 1
    assert repair[0]["limit"] == pytest.approx(0.9) and repair[0]["needed"] == pytest.approx(0.4)


def test_an_infeasible_answer_is_for_people_too(ended: Any) -> None:
    done = ended("rules that cannot hold")
    assert "min-domestic" in done.out and "90%" in done.out and "40.0%" in done.out and "--relax" in done.out


def test_relax_gives_the_nearest_plan(oremix: Any) -> None:
    done = oremix("optimize", "small", "--min-domestic", "90%", "--relax", "--json")
    document = done.document
    assert done.code == 0 and document["status"] == "optimal"
    assert any("min-domestic" in c["key"] and c["new"] == pytest.approx(0.4) for c in document["changes"])
    assert any("min-domestic" in warning for warning in document["warnings"])


def test_the_document_has_the_keys_that_are_promised(oremix: Any) -> None:
    document = oremix("optimize", "small", "--json").document
    assert document["objective_usd"] == pytest.approx(SMALL_USD, rel=1e-6)
    assert document["cost_usd_per_y"] == {"2030": pytest.approx(SMALL_USD, rel=1e-6)}
    assert document["audit"] == [] and document["expansion"] == document["stock"] == []
    assert [row["stage"] for row in document["resilience"]] == [row["stage"] for row in document["risk"]]
    assert {"gap", "run", "changes", "warnings", "about", "shortage"} <= set(document)
    promised = {
        "suppliers": {"supplier", "year", "produced_t"},
        "flows": {"origin", "destination", "material", "year", "t"},
        "shares": {"mineral", "material", "stage", "by", "member", "year", "share"},
        "risk": {"mineral", "material", "stage", "year", "hhi_country", "largest_country", "largest_share", "import_reliance"},
        "rules": {"rule", "kind", "bound", "mineral", "material", "member", "year", "value", "limit", "binding", "price_usd_per_y"},
    }  # fmt: skip
    for name, keys in promised.items():
        assert document[name] and all(keys <= set(row) for row in document[name]), name
    assert {row["supplier"] for row in document["suppliers"]} == {
        "aus_mine", "chn_refinery", "usa_refinery", "chl_brine", "usa_recycler",
    }  # fmt: skip
    flows = {(row["origin"], row["destination"]): row["t"] for row in document["flows"]}
    assert flows == {
        ("feedstock:battery_scrap", "usa_recycler"): pytest.approx(250),
        ("usa_recycler", "home"): pytest.approx(200), ("chl_brine", "home"): pytest.approx(400),
        ("chn_refinery", "home"): pytest.approx(400), ("aus_mine", "chn_refinery"): pytest.approx(500),
    }  # fmt: skip
    assert {row["by"] for row in document["shares"]} == {"channel", "country", "controller", "supplier"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the small case: as it is, and without its rule."""
    from optimizer import Request, load_case, optimize

    folder = tmp_path_factory.mktemp("made")
    for name, request in (("one", Request()), ("two", Request(no_rules=True))):
        assert optimize(load_case("small"), request, out=folder / name).ok
    return folder


@pytest.fixture
def ran(made: Path, oremix: Any) -> tuple[str, str]:
    """The two runs in the folder of the test."""
    shutil.copytree(made, ".", dirs_exist_ok=True)
    return "one", "two"


CALLS = {
    "optimize": ("optimize", "small"), "check": ("check", "small"), "compare": ("compare", "one", "two"), "show": ("show", "one"),
    "show a table": ("show", "one", "rules"), "columns": ("columns",), "columns of one": ("columns", "suppliers"),
    "presets": ("presets",), "one preset": ("presets", "crma"), "new": ("new", "mine"), "new us": ("new", "mine", "--from", "us"),
    "doctor": ("doctor",),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_every_command_speaks_to_people_and_to_programs(name: str, ran: Any, oremix: Any) -> None:
    said = oremix(*CALLS[name])
    assert said.code == 0 and said.out.strip() and said.err == ""
    assert not said.out.startswith("{") and "\x1b" not in said.out
    if name.startswith("new"):
        assert oremix("check", "mine").code == 0
        assert oremix(*CALLS[name], "--json").code == 2, "it is there already"
        return
    machine = oremix(*CALLS[name], "--json")
    assert machine.code == 0 and machine.err == ""
    assert isinstance(machine.document, dict)


@pytest.mark.parametrize("name", ["check", "compare", "show", "columns", "presets", "doctor"])
def test_only_optimize_and_new_write(name: str, ran: Any, oremix: Any) -> None:
    before = sorted(Path.cwd().rglob("*"))
    assert oremix(*CALLS[name]).code == 0
    assert sorted(Path.cwd().rglob("*")) == before


def test_the_answer_comes_first_and_the_run_folder_last(oremix: Any) -> None:
    done = oremix("optimize", "small")
    lines = done.out.splitlines()
    assert "13.1 million" in lines[1]
    assert (Path(lines[-1]) / "plan.json").is_file()
    assert "CHL" in done.out or "CHN" in done.out
    assert "one_country" in done.out


def test_warnings_go_to_stderr_and_quiet_keeps_them_out(oremix: Any, write_case: Any) -> None:
    case = write_case({**TABLES, "suppliers": TABLES["suppliers"].replace("USA", "AUS")}, TOML)
    loud, quiet = oremix("optimize", case), oremix("optimize", case, "--quiet")
    assert "1 warning about the case itself" in loud.err and "note" not in loud.out
    assert "domestic" in oremix("check", case).err and "domestic" in oremix("optimize", case, "--verbose").err
    assert quiet.err == "" and quiet.code == 0
    assert quiet.out.splitlines()[:-1] != [] and Path(quiet.out.splitlines()[-1]).is_dir()


def test_the_numbers_of_a_comparison(ran: Any, oremix: Any) -> None:
    """Without the rule 100 t move from China at 15,000 to Chile at 13,000 USD: 0.2 million less."""
    runs = {run["run"]: run for run in oremix("compare", *ran, "--json").document["runs"]}
    assert runs["one"]["objective_usd"] == pytest.approx(SMALL_USD)
    assert runs["two"]["difference_usd"] == pytest.approx(-200_000)
    said = oremix("compare", *ran).out
    assert "one_country" in said and "-1.53%" in said


def test_a_run_compared_with_itself_does_not_differ(ran: Any, oremix: Any) -> None:
    done = oremix("compare", "one", "one", "--json")
    assert done.code == 0
    assert [run["difference_usd"] for run in done.document["runs"]] == [0.0, 0.0]


def test_runs_in_folders_of_one_name_are_told_apart(ran: Any, oremix: Any) -> None:
    assert oremix("optimize", "small", "--out", "other/one", "--quiet").code == 0
    done = oremix("compare", "one", "other/one", "--json")
    assert done.code == 0 and len({run["run"] for run in done.document["runs"]}) == 2


@pytest.mark.parametrize("arguments", [("new", "."), ("optimize", "small", "--out", ".")], ids=" ".join)
def test_the_folder_one_stands_in_is_a_folder(arguments: tuple[str, ...], oremix: Any) -> None:
    """An empty folder may be filled or refused, but it is not our fault that it is called '.'."""
    assert oremix(*arguments).code in (0, 2)


def test_new_makes_the_bundled_case(oremix: Any) -> None:
    assert oremix("new", "mine").code == 0
    assert oremix("optimize", "mine", "--json").document["objective_usd"] == pytest.approx(SMALL_USD)
    assert oremix("optimize", "mine/case.toml", "--json").document["objective_usd"] == pytest.approx(SMALL_USD)


def test_new_leaves_what_is_there_alone(oremix: Any) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep")
    done = oremix("new", "mine")
    assert done.code == 2 and os.listdir("mine") == ["notes.txt"] and os.listdir() == ["mine"]


def test_doctor_tells_versions_and_whether_the_hand_case_holds(oremix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    document = oremix("doctor", "--json").document
    assert document["status"] == "ok" and {"python", "oremix", "pyomo", "highspy"} <= set(document["versions"])
    monkeypatch.setattr("optimizer.doctoring.SMALL_OBJECTIVE_USD", 1.0)
    assert oremix("doctor").code == 1


def test_columns_tell_unit_and_what_is_required(oremix: Any) -> None:
    rows = {row["column"]: row for row in oremix("columns", "suppliers", "--json").document["columns"]}
    assert rows["capacity_t"]["required"] and not rows["input"]["required"]
    assert rows["capacity_t"]["unit"] == "t per year" and rows["cost_usd_per_t"]["unit"] == "USD per t"


def test_presets_have_source_dates_and_status(oremix: Any) -> None:
    listed = oremix("presets", "--json").document["presets"]
    assert {"crma", "uk_2035", "korea_2030", "us_4872_now", "feoc", "ira_30d", "section_301", "us_diversification"} <= {
        preset["name"] for preset in listed
    }
    for preset in listed:
        assert preset["title"] and preset["source"] and preset["effective"] and preset["status"], preset["name"]


def test_show_year_picks_the_year(oremix: Any, write_case: Any) -> None:
    case = write_case(
        {**TABLES, "demand": "material,year,required_t\nmetal,2030,100\nmetal,2040,50\n"},
        TOML.replace("2030", "2030, 2040"),
    )
    assert oremix("optimize", case, "--out", "run").code == 0
    assert "delivered 2030" in oremix("show", "run", "--show-year", "2030").out
    rows = oremix("show", "run", "suppliers", "--show-year", "2030", "--json").document["rows"]
    assert {row["year"] for row in rows} == {2030}
    assert oremix("show", "run", "--show-year", "2035").code == 2


# Names that a case may carry and that must stay mere text.

NASTY = {
    "markup": "[red]boo[/red]", "a broken tag": "[/]", "a colour": "\x1b[31mboo\x1b[0m", "a title": "\x1b]0;boo\x07x", "C1 control": "a\x9b31mboo",
    "a return": "real\rfake", "a bell": "a\x07b", "backspaces": "abc\x08\x08d", "a delete": "a\x7fb", "a formula": "=cmd|' /C calc'!A0",
    "plus": "+1+2", "minus": "-2+3", "at": "@SUM(1)", "tab": "\t=1+1", "emoji code": ":bomb:", "quotes": 'a "b", c', "not ASCII": "钨 Кобальт é",
    "a line break": "one\ntwo",
}  # fmt: skip


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def nasty_made(write_case_to: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case with each of the names as a supplier's name, as a demand's sector and in the title, and its run."""
    from optimizer import load_case, optimize

    folder = tmp_path_factory.mktemp("nasty")
    suppliers, demand = TABLES["suppliers"], "material,year,required_t,sector,shortage_usd_per_t\n"
    for number, name in enumerate(NASTY.values()):
        suppliers += f"n{number},{quoted(name)},CHL,allied,metal,1,4\n"
        demand += f"metal,2030,15,{quoted(name)},900\n"
    title = json.dumps(" ".join(NASTY.values())).replace("\x7f", "\\u007f")
    case = write_case_to(
        folder / "case", {**TABLES, "suppliers": suppliers, "demand": demand}, f"title = {title}\n{TOML}"
    )
    assert optimize(load_case(case), out=folder / "run").ok
    return folder


@pytest.fixture
def nasty(nasty_made: Path, oremix: Any) -> Path:
    """The case above; its run is ``run`` in the folder of the test."""
    shutil.copytree(nasty_made / "run", "run")
    return nasty_made / "case"


@pytest.mark.parametrize(
    "arguments",
    [("optimize", "CASE"), ("check", "CASE"), ("show", "run"), ("show", "run", "suppliers"), ("show", "run", "shortage"), ("compare", "run", "run")],
    ids=" ".join,
)  # fmt: skip
def test_names_are_shown_as_mere_text(arguments: tuple[str, ...], nasty: Path, oremix: Any) -> None:
    done = oremix(*(str(nasty) if argument == "CASE" else argument for argument in arguments))
    assert done.code == 0
    shown = done.out + done.err
    assert {character for character in shown if unicodedata.category(character) == "Cc"} - {"\n"} == set()
    if arguments[-1] in ("suppliers", "CASE"):
        for name in NASTY.values():
            if not any(unicodedata.category(character) == "Cc" for character in name):
                assert name in shown


def formulas(folder: Path) -> list[str]:
    """Cells of a folder's tables that a spreadsheet would take for a formula; a signed number is none."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for cell in (cell for row in csv.reader(file) for cell in row):
                if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not re.fullmatch(r"-[\d.]+(e[+-]?\d+)?", cell):
                    found.append(f"{path.name}: {cell}")
    return found


def test_names_never_start_a_formula_in_a_table(nasty: Path) -> None:
    assert formulas(Path("run/tables")) == []


def test_names_come_back_unchanged(nasty: Path, oremix: Any) -> None:
    """The case as run reads back to the same case, whatever its texts hold."""
    again = oremix("check", "run/case", "--json")
    assert again.code == 0, again.out[:500]
    assert (
        again.document["fingerprint"]
        == json.loads(Path("run/plan.json").read_text(encoding="utf-8"))["about"]["fingerprint"]
    )


@pytest.mark.parametrize(
    "name", ["../../escape", "/abs", "a/b", "..", ".", "", "con", "x" * 300], ids=lambda name: repr(name[:12])
)
def test_a_case_name_never_becomes_a_path(name: str, write_case: Any, oremix: Any, tmp_path: Path) -> None:
    case = write_case(TABLES, f"name = {json.dumps(name)}\n" + TOML)
    before = {path for path in tmp_path.rglob("*") if "work" not in path.parts}
    done = oremix("optimize", case, "--json")
    assert done.code == 0, done.out
    assert {path for path in tmp_path.rglob("*") if "work" not in path.parts} == before
    assert os.listdir() == ["runs"] and len(os.listdir("runs")) == 1
    assert Path(done.document["run"]).resolve().parent == Path("runs").resolve()


# What is seen in a terminal of 80 columns, and in a pipe.


@pytest.mark.parametrize(
    "arguments",
    [("optimize", "small"), ("show", "one"), ("show", "one", "rules"), ("show", "one", "suppliers"), ("compare", "one", "two"),
     ("columns",), ("presets",), ("presets", "crma"), ("doctor",), ("check", "small"), ("optimize", "small", "--min-domestic", "0.9")],
    ids=" ".join,
)  # fmt: skip
def test_80_columns_are_enough(
    arguments: tuple[str, ...], ran: Any, oremix: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = plain(oremix(*arguments).out).splitlines()
    path = {lines[-1]} if arguments[0] == "optimize" else set()
    assert [line for line in lines if len(line) > 80 and line not in path] == []
    assert not any("…" in line for line in lines)


def long_case(write_case: Any) -> Path:
    tables = {
        **TABLES,
        "materials": f"material,mineral,stage\n{'m' * 80},lithium,processing\n",
        "suppliers": "supplier,name,country,channel,material,capacity_t,cost_usd_per_t\n"
        f"{'s' * 80},{'N' * 300},USA,domestic,{'m' * 80},400,5\n",
        "demand": f"material,year,required_t\n{'m' * 80},2030,100\n",
    }  # fmt: skip
    return Path(write_case(tables, TOML))


def test_nothing_is_cut_in_a_pipe(write_case: Any, oremix: Any) -> None:
    assert oremix("optimize", long_case(write_case), "--out", "run").code == 0
    out = oremix("show", "run", "suppliers").out
    assert "s" * 80 in out and "m" * 80 in out and "N" * 300 in out
    assert "m" * 80 in oremix("show", "run", "flows").out and "…" not in out


def test_nothing_is_lost_in_a_terminal(write_case: Any, oremix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long for a line: folded, each letter still there; columns that find no room are named."""
    assert oremix("optimize", long_case(write_case), "--out", "run").code == 0
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = plain(oremix("show", "run", "suppliers").out)
    assert out.count("s" * 10) >= 1 and "name" in out.splitlines()[0] and out.count("…") == 0
    monkeypatch.setenv("COLUMNS", "200")
    assert plain(oremix("show", "run", "suppliers").out).count("N") == 300


def call(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "optimizer.cli", *arguments], cwd=cwd, capture_output=True, text=True, encoding="utf-8",
        env={**os.environ, **environment}, check=False, timeout=120,
    )  # fmt: skip


def test_as_a_program_of_its_own(tmp_path: Path) -> None:
    done = call("optimize", "small", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["objective_usd"] == pytest.approx(SMALL_USD)
    wrong = call("optimize", "small", "--fly", "--json", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (2, "") and json.loads(wrong.stdout)["status"] == "error"


def test_a_reader_that_leaves_early_is_no_fault(tmp_path: Path) -> None:
    """oremix columns | head -1"""
    with subprocess.Popen([sys.executable, "-m", "optimizer.cli", "columns", "--json"], cwd=tmp_path,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert said == "" and process.returncode in (0, 141, -13)


@pytest.mark.skipif(sys.platform == "win32", reason="no pty")
def test_in_a_real_terminal(tmp_path: Path) -> None:
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 80, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen([sys.executable, "-m", "optimizer.cli", "optimize", "small"], cwd=tmp_path, stdin=theirs, stdout=theirs,
                               stderr=theirs, env={**environment, "TERM": "xterm-256color"})  # fmt: skip
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert process.wait(60) == 0
    lines = plain(text.decode()).replace("\r\n", "\n").splitlines()
    lines = [line.rpartition("\r")[2] for line in lines]
    assert any("13.1 million" in line for line in lines)
    assert max(len(line) for line in lines) <= 80
    assert (tmp_path / lines[-1] / "plan.json").is_file()


def test_a_terminal_without_unicode_still_gets_its_answer(write_case: Any, tmp_path: Path) -> None:
    case = write_case(TABLES, f'title = "{NASTY["not ASCII"]}"\n' + TOML)
    done = call("check", str(case), cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "more", [(), ("--status-quo",), ("--min-domestic", "0.9"), ("--no-rules", "--max-hhi", "0.35")],
    ids=["a plan", "the status quo", "rules that cannot hold", "an HHI"],
)  # fmt: skip
def test_no_time_at_all_is_stopped_early(more: tuple[str, ...], oremix: Any) -> None:
    """A real limit, not a pretended one: with or without a plan, nothing may be claimed that was not proved."""
    done = oremix("optimize", "small", "--set", "solve.seconds=1e-9", *more, "--json")
    document = done.document
    assert (done.code, document["status"]) in (
        (4, "stopped"), (4, "feasible"), (0, "optimal"), (3, "infeasible"),
    ), document.get("errors")  # fmt: skip
    if document["status"] == "infeasible":  # proved without a step, and explained all the same
        assert document["repair"] and document["conflict"]
    if done.code == 4 and document["status"] == "stopped":
        assert document["objective_usd"] is None and not Path("runs").exists()


def test_check_of_us_tells_sizes_and_coverage(oremix: Any) -> None:
    document = oremix("check", "us", "--json").document
    assert document["status"] == "ok" and document["sizes"]["minerals"] == 17  # 15, and two hosts
    assert document["sizes"]["suppliers"] >= 250
    assert sum(row["share_of_rows"] for row in document["coverage"]) == pytest.approx(1)
    assert {"published", "price", "assumption"} <= {row["cost_basis"] for row in document["coverage"]}
