"""The house keeps its shape: which package may import which, who touches Pyomo and HiGHS, how long files are."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("data", "models", "optimizer")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST = 450

# Pyomo is for the formulation. One file takes its compiler, and the types of what it compiles; one takes HiGHS.
FORMULATION = {f"models/{name}.py" for name in ("build", "network", "capacity", "risk", "rules", "two_stage")}
ENGINE, COMPILER = "optimizer/engine.py", "optimizer/compiling.py"
COMPILER_TAKES = {"LinearStandardFormCompiler", "BlockData"}
# The audit works everything out anew: it may know none of these.
AUDIT = (
    "models/audit.py", "models/audit_facts.py", "models/audit_lp.py", "models/audit_risk.py", "models/audit_rules.py",
    "models/audit_two_stage.py", "models/audit_years.py",
)  # fmt: skip
UNKNOWN_TO_AUDIT = {
    f"models.{name}"
    for name in (
        "network",
        "layout",
        "lanes",
        "rules",
        "rule_rows",
        "rule_checks",
        "capacity",
        "costs",
        "build",
        "existing",
        "expansion",
        "year_checks",
        "disruptions",
        "trails",
        "risk",
        "two_stage",
        "outcomes",
    )
}
HEAVY = ("pandas", "pyomo", "highspy", "pydantic", "numpy", "scipy")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path, *, typing: bool = True) -> list[tuple[str, str]]:
    """(module, name) of every import in a file, inside functions too; name "" for ``import module``.

    ``typing=False`` leaves out what stands under ``if TYPE_CHECKING``.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not typing:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                node.body = [ast.Pass()]
    found: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


def modules(path: Path, *, typing: bool = True) -> set[str]:
    """Modules that a file imports; ``from models import rules`` counts as models.rules."""
    found = set()
    for module, name in imports(path, typing=typing):
        inner = f"{module}.{name}"
        is_file = bool(name) and (ROOT / inner.replace(".", "/")).with_suffix(".py").is_file()
        found.add(inner if is_file else module)
    return found


def tops(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in modules(path)}


def test_there_are_sources() -> None:
    assert len(SOURCES) > 30


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    allowed = {"data": {"data"}, "models": {"models"}, "optimizer": {"models", "optimizer"}}
    package = name_of(path).partition("/")[0]
    assert tops(path) & set(PACKAGES) <= allowed[package]
    assert "tests" not in tops(path)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_formulation_and_the_compiler_import_pyomo(path: Path) -> None:
    taken = {(module, name) for module, name in imports(path) if module.partition(".")[0] == "pyomo"}
    if name_of(path) == COMPILER:
        assert {name for _, name in taken} <= COMPILER_TAKES
    elif name_of(path) not in FORMULATION:
        assert not taken


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_engine_imports_highspy(path: Path) -> None:
    assert ("highspy" in tops(path)) == (name_of(path) == ENGINE)


def test_the_formulation_is_all_there() -> None:
    assert {name_of(path) for path in SOURCES if "pyomo" in tops(path)} == FORMULATION | {COMPILER}


@pytest.mark.parametrize("name", AUDIT)
def test_the_audit_knows_nothing_of_the_model(name: str) -> None:
    path = ROOT / name
    assert not tops(path) & {"pyomo", "highspy", "optimizer"}
    assert not modules(path) & UNKNOWN_TO_AUDIT
    # What it does import of models may not bring the formulation in by a back door.
    own = {module for module in modules(path, typing=False) if module.startswith("models.")}
    assert own <= {f"models.{Path(part).stem}" for part in AUDIT}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_file_says_its_one_job_first_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if not text:
        assert path.name == "__init__.py"
        return
    assert text.startswith('"""'), "the first line is a docstring"
    assert ast.get_docstring(ast.parse(text))
    lines = len(text.splitlines())
    assert lines <= LONGEST, f"{lines} lines"


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh Python has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("module", ["optimizer", "optimizer.cli"])
def test_importing_the_command_line_loads_nothing_heavy(module: str) -> None:
    assert not loaded_by(f"import {module}") & set(HEAVY)


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_by("from optimizer.cli import run\nassert run(['-h']) == 0") & set(HEAVY)


def test_help_of_a_command_loads_nothing_heavy_of_ours() -> None:
    own = set(HEAVY) - {"pydantic"}  # newer Typer reads options with pydantic
    assert not loaded_by("from optimizer.cli import run\nassert run(['optimize', '-h']) == 0") & own


def test_the_audit_runs_without_pyomo_and_highs() -> None:
    assert not loaded_by("import models.audit") & {"pyomo", "highspy"}
