"""The documents say what the program does: names, tables, commands and their output are kept in step."""

from __future__ import annotations

import ast
import csv
import re
import shlex
import shutil
import stat
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from pyomo.core import ConcreteModel, Constraint, Objective, Var

from models.build import build
from models.case import Case, load_case
from models.costs import COSTS
from models.layout import lay_out
from models.presets import presets
from models.rule_kinds import RULE_KINDS
from models.rule_rows import RuleRows
from models.rules import SurviveCut, tangent
from optimizer import cli
from optimizer.reference import markdown_reference

ROOT = Path(__file__).parents[1]
MATHS = (ROOT / "models" / "MATHS.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


# --- MATHS.md: names ---------------------------------------------------------------------------------------------


def section(title: str) -> str:
    """The text of one ``## title`` of MATHS.md."""
    return MATHS.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def headings(title: str) -> list[str]:
    return re.findall(r"^### `(\w+)`$", section(title), flags=re.MULTILINE)


def table_names(text: str, column: int) -> list[str]:
    """The one name in `code type` in a column of a Markdown table."""
    cells = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    found = [re.findall(r"`(\w+)`", row[column]) for row in cells if len(row) > column]
    return [names[0] for names in found if names]


def add_columns(path: Path, where: str, cells: dict[str, dict[str, str]]) -> None:
    """Add columns to a table: ``cells`` maps the value in column ``where`` to what the new columns hold."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0]) + [name for new in cells.values() for name in new if name not in rows[0]]
    names = list(dict.fromkeys(names))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({**row, **cells.get(row[where], {})} for row in rows)


RULES = """
[[rules]]
name = "a"
kind = "share"
where = { channel = "incumbent" }
max = 0.9
[[rules]]
name = "b"
kind = "hhi"
max = 0.35
[[rules]]
name = "c"
kind = "index"
indicator = "risk"
max = 9
[[rules]]
name = "d"
kind = "ban"
where = { country = "CHN" }
[[rules]]
name = "e"
kind = "budget"
max_usd_per_y = 1e9
[[rules]]
name = "f"
kind = "emissions"
max_kgco2e_per_t = 1e6
[[rules]]
name = "g"
kind = "suppliers"
min = 1
max = 4
[[rules]]
name = "h"
kind = "stock_days"
days = 20
[[rules]]
name = "i"
kind = "provenance"
where = { country = "AUS" }
max = 0.9
[[rules]]
name = "j"
kind = "survive"
lose = "each country"
serve = 0.2
[scenarios.export_ban]"""


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The small case with a part of every kind: lots, fixed charges, by-products, shortage, every rule kind."""
    folder = tmp_path_factory.mktemp("docs") / "everything"
    shutil.copytree(ROOT / "data" / "small", folder)
    toml = folder / "case.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace("[scenarios.export_ban]", RULES, 1), encoding="utf-8")
    tables = folder / "tables"
    add_columns(tables / "suppliers.csv", "supplier", {
        "usa_refinery": {"lot_t": "50", "fixed_usd_per_y": "1000", "max_expansion_t": "100", "open_usd": "5"},
    })  # fmt: skip
    (tables / "stock.csv").write_text("material,closing_min_t\nlithium_chemicals,5\n", encoding="utf-8")
    (tables / "substitution.csv").write_text(
        "material,year,step,max_share,usd_per_t\nlithium_chemicals,2030,thrift,0.1,9000\n", encoding="utf-8"
    )
    add_columns(tables / "demand.csv", "material", {"lithium_chemicals": {"shortage_usd_per_t": "90000"}})
    (tables / "byproducts.csv").write_text(
        "supplier,material,t_per_t\naus_mine,lithium_chemicals,0.01\nusa_refinery,sodium,0.1\n", encoding="utf-8"
    )
    for name, row in (("materials", {"material": "sodium", "mineral": "sodium", "stage": "processing"}),
                      ("demand", {"material": "sodium", "year": "2030", "required_t": "1", "shortage_usd_per_t": "9"})):  # fmt: skip
        with (tables / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file))
        with (tables / f"{name}.csv").open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, header, restval="").writerow(row)
    risk = "".join(f"{country},risk,{value}\n" for country, value in (("AUS", 1), ("CHN", 5), ("USA", 1), ("CHL", 2)))
    (tables / "risk.csv").write_text("country,indicator,value\n" + risk, encoding="utf-8")
    return load_case(folder)


@pytest.fixture(scope="module")
def models(everything: Case) -> list[ConcreteModel]:
    """Its models: the plan, with an HHI cut in it, with copies for losses and with cuts for them; the status quo."""
    layout = lay_out(everything)
    rows = RuleRows(layout).rows
    assert {row.kind for row in rows} == set(RULE_KINDS), "the case must have a rule of every kind"
    curved = next(number for number, row in enumerate(rows) if row.kind == "hhi")
    point = np.zeros(layout.width)
    point[rows[curved].groups[0][1].columns] = 900.0
    cut = tangent(rows[curved], curved, point)
    assert cut is not None
    survive = SurviveCut("country:CHN", cut.terms, 0.0, {})
    return [
        build(layout, rows, [cut]), build(layout, rows, [cut], [survive]), build(lay_out(everything, status_quo=True))
    ]  # fmt: skip


def components(models: list[ConcreteModel], kind: type) -> set[str]:
    return {part.local_name for model in models for part in model.component_objects(kind)}


def test_every_constraint_of_the_model_has_its_heading(models: list[ConcreteModel]) -> None:
    assert set(headings("Constraints")) == components(models, Constraint)
    assert len(headings("Constraints")) == len(set(headings("Constraints")))


def test_no_constraint_family_is_left_out_of_that_case(models: list[ConcreteModel]) -> None:
    rows = {part.local_name for model in models for part in model.component_objects(Constraint) if len(part)}
    assert rows == components(models, Constraint)


def test_every_variable_of_the_model_has_its_row(models: list[ConcreteModel]) -> None:
    assert set(table_names(section("Variables"), 1)) == components(models, Var)


def test_the_objective_has_its_name_and_every_cost(models: list[ConcreteModel]) -> None:
    assert components(models, Objective) == {"cost"}
    assert "(Pyomo name `cost`)" in section("Objective")
    assert tuple(table_names(section("Objective"), 0)) == COSTS


def test_every_rule_kind_has_its_heading() -> None:
    assert headings("Rules") == list(RULE_KINDS)


def test_every_rule_kind_is_in_the_readme() -> None:
    rules = README.split("\n## Rules\n", 1)[1].split("\n## ", 1)[0]
    assert table_names(rules, 0) == list(RULE_KINDS)


def defined(path: Path) -> set[str]:
    """Names that a source file defines: functions, methods, classes, constants."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_every_room_named_is_there() -> None:
    rooms = section("Where each sentence lives")
    named = re.findall(r"`(\w+/\w+\.py)`((?: ?,? ?`\w+`)+)", rooms)
    assert len(named) > 25
    for file, names in named:
        missing = set(re.findall(r"`(\w+)`", names)) - defined(ROOT / file)
        assert not missing, f"{file} does not define {sorted(missing)}"


# --- COLUMNS.md, presets, files ----------------------------------------------------------------------------------


def test_the_column_reference_is_the_one_that_the_row_classes_make() -> None:
    written = (ROOT / "models" / "COLUMNS.md").read_text(encoding="utf-8")
    assert written == markdown_reference(), "run: oremix columns --markdown > models/COLUMNS.md"


def test_every_preset_is_listed_in_the_readme_of_the_presets() -> None:
    text = (ROOT / "data" / "presets" / "README.md").read_text(encoding="utf-8")
    listed = [line for line in text.splitlines() if line.startswith("| `")]
    named = {name for line in listed for name in re.findall(r"`(\w+)`", line.strip("|").split("|")[0])}
    assert named == set(presets())


def test_what_ci_runs_is_what_the_readme_promises() -> None:
    promised = re.search(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    assert promised is not None
    commands = promised[1].split("\n")[:-1]
    assert commands == ["pip install -q uv && uv run oremix optimize", "pip install -q uv && uv run pytest"]
    for part in ("pip install -q uv", "uv run oremix optimize", "uv run pytest"):
        assert re.search(rf"^[^#]*{re.escape(part)}", CI, flags=re.MULTILINE), f".ci/run does not call {part}"
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize(
    "name", ["README.md", "CHANGELOG.md", "models/MATHS.md", "models/COLUMNS.md", "data/presets/README.md"]
)
def test_links_to_files_lead_somewhere(name: str) -> None:
    path = ROOT / name
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#][^)]*)\)", text):
        if "://" not in target:
            assert (path.parent / target.partition("#")[0]).exists(), f"{name}: {target}"


# --- README.md: blocks run ---------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Each ``$ command`` of a console block with the output shown below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def steady(text: str) -> list[str]:
    """Lines without what differs from run to run: times, duality gaps, spaces at the end."""
    text = re.sub(r"\d+e[+-]\d+(?=; audit)", "GAP", text)
    text = re.sub(r"\b[\d.]+ s\.", "TIME", text)
    return [line.rstrip() for line in text.strip().splitlines()]


def test_the_console_blocks_of_the_readme_run_and_show_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, ran = 0, 0
    for block in blocks("console"):
        listed = list(steps(block))
        for place, (command, shown) in enumerate(listed):
            program, *arguments = shlex.split(command)
            if command == "echo $?":
                assert shown.strip() == str(code), command
                continue
            assert program == "oremix", command
            code = cli.run(arguments)
            told = capsys.readouterr()
            assert steady(told.err + told.out) == steady(shown), command
            expects_failure = place + 1 < len(listed) and listed[place + 1][0] == "echo $?"
            assert expects_failure or code == 0, command
            ran += 1
    assert ran >= 10


def test_the_python_block_of_the_readme_runs_and_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = re.findall(r"^```python\n(.*?)^```\n+```text\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    assert len(found) == len(blocks("python")) == 1
    for code, shown in found:
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), {})  # noqa: S102
        assert [line.split() for line in printed.getvalue().strip().splitlines()] == [
            line.split() for line in shown.strip().splitlines()
        ]


def test_the_toml_block_of_the_readme_is_a_rule() -> None:
    import tomllib

    from models.config import check_rule
    from models.problems import Problems

    problems = Problems()
    for block in blocks("toml"):
        for rule in tomllib.loads(block)["rules"]:
            assert check_rule(rule, "README.md", problems) is not None, problems.found


def test_every_command_is_in_the_readme() -> None:
    names = {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    told = README.split("\n## Commands and exit codes\n", 1)[1].split("\n## ", 1)[0]
    assert names == set(re.findall(r"`oremix (\w+)", told))
