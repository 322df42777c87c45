"""Benchmarks: sizes x phases (read, build, compile, load, solve, plan, write), and the whole of ``optimize us``.

    uv run pytest tests/bench -n 0 --benchmark-only
    uv run pytest tests/bench -n 0 --benchmark-only -k "100000 or us" --benchmark-columns=median,rounds

The usual test run skips them; nothing here asserts a time. Ratios within one run say more than seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.build import build
from models.case import Case, load_case
from models.layout import Layout, lay_out
from models.rule_rows import RuleRow, RuleRows
from optimizer.compiling import compile_model
from optimizer.engine import Engine, Limits
from optimizer.measures import tables_of
from optimizer.plan import Plan
from optimizer.run import Options, execute
from optimizer.run_folder import write_run
from optimizer.solving import Solved, column_units, program_columns, solve
from optimizer.status_quo import find_status_quo
from tests.bench.cases import write_case

SIZES = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS = {1_000: 10, 10_000: 5, 100_000: 3, 1_000_000: 1}
Bench = Callable[[Callable[[], Any]], Any]


class Part:
    """A case of one size and what each phase needs of the one before; made once, when first asked for."""

    def __init__(self, folder: Path, flows: int) -> None:
        self.folder = write_case(folder, flows)
        self._made: dict[str, Any] = {}

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @property
    def case(self) -> Case:
        return self._once("case", lambda: load_case(self.folder))

    @property
    def layout(self) -> Layout:
        return self._once("layout", lambda: lay_out(self.case))

    @property
    def rows(self) -> list[RuleRow]:
        return self._once("rows", lambda: RuleRows(self.layout).rows)

    @property
    def engine(self) -> Engine:
        program = compile_model(build(self.layout, self.rows))
        columns = program_columns(program, self.layout)
        return Engine(program, column_units(program, self.layout, columns))

    @property
    def solved(self) -> Solved:
        return self._once("solved", lambda: solve(self.layout, self.rows, Limits()))


@pytest.fixture(scope="module", params=SIZES, ids=str)
def part(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Part:
    return Part(tmp_path_factory.mktemp(f"flows{request.param}"), request.param)


@pytest.fixture
def timed(benchmark: Any, request: pytest.FixtureRequest) -> Bench:
    """Run a phase as often as its size allows, grouped by size."""
    size = request.node.callspec.params.get("part", 0)
    benchmark.group = f"{size} flows"

    def run(phase: Callable[[], Any], setup: Callable[[], Any] | None = None) -> Any:
        return benchmark.pedantic(phase, setup=setup, rounds=ROUNDS.get(size, 3), iterations=1)

    return run


def test_read(part: Part, timed: Bench) -> None:
    """CSV and TOML to a checked case, lanes with their cells included."""
    timed(lambda: load_case(part.folder))


def test_status_quo(part: Part, timed: Bench) -> None:
    """The yardstick that every plan is compared with."""
    timed(lambda: find_status_quo(part.case, Limits()))


def test_lay_out(part: Part, timed: Bench) -> None:
    """Quantities and rule rows as vectors."""
    timed(lambda: RuleRows(lay_out(part.case)))


def test_build(part: Part, timed: Bench) -> None:
    """The whole model in Pyomo."""
    layout, rows = part.layout, part.rows
    timed(lambda: build(layout, rows))


def test_compile(part: Part, timed: Bench) -> None:
    """Pyomo's model to arrays."""
    model = build(part.layout, part.rows)
    timed(lambda: compile_model(model))


def test_load(part: Part, timed: Bench) -> None:
    """Arrays, scaled, into HiGHS."""
    engine = part.engine
    timed(lambda: Engine(engine.program, engine.column_unit))


def test_solve(part: Part, timed: Bench) -> None:
    """HiGHS' own run and the certificate, from nothing."""
    program, unit = part.engine.program, part.engine.column_unit
    timed(lambda engine: engine.solve(Limits()), setup=lambda: ((Engine(program, unit),), {}))


def test_plan(part: Part, timed: Bench) -> None:
    """Values to tidy tables."""
    solved = part.solved
    timed(lambda: tables_of(part.layout, part.rows, solved.x, solved.prices))


def test_write(part: Part, timed: Bench, tmp_path: Path) -> None:
    """The run folder."""
    plan = Plan("bench", "", "optimal", part.case.years, objective_usd=1.0)
    plan.tables = tables_of(part.layout, part.rows, part.solved.x, part.solved.prices)
    numbers = iter(range(1000))
    timed(lambda: write_run(plan, part.case, tmp_path / "none", tmp_path / str(next(numbers))))


def test_tables_to_audited_plan(part: Part, timed: Bench) -> None:
    """Everything but writing: tables to an audited plan, status quo and comparison included."""
    from models.changes import Request

    plan = timed(lambda: execute(load_case(part.folder), Request(), Options(write=False)))
    assert plan.audit == []


def _fresh(*arguments: str, cwd: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize("what", ["imports", "optimize us", "-h"])
def test_the_command_line(what: str, benchmark: Any, tmp_path: Path) -> None:
    """Whole processes: ``optimize us`` against importing pyomo.environ and pandas, in one run."""
    benchmark.group = "processes"
    imports = ("-c", "import pyomo.environ, pandas")
    arguments = imports if what == "imports" else ("-m", "optimizer.cli", *what.split())
    benchmark.pedantic(lambda: _fresh(*arguments, cwd=tmp_path), rounds=3, iterations=1, warmup_rounds=1)
