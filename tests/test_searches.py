"""Integer programs searched part by part give what one search gives, with a gap and a bound that hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from models.case import load_case
from models.layout import lay_out
from models.rule_rows import RuleRows
from optimizer.compiling import compile_model
from optimizer.engine import Engine, Limits
from optimizer.program import Names, Program
from optimizer.searches import solve_by_parts
from optimizer.solving import column_units
from optimizer.stamping import stamp
from tests.bench.years import write_years_case
from tests.reference.cases import random_case


def _program(matrix: list[list[float]], low: list[float], cost: list[float], whole: list[bool]) -> Program:
    rows, width = len(matrix), len(cost)
    return Program(
        sparse.csc_array(np.array(matrix, dtype=float)), np.array(low, dtype=float), np.full(rows, np.inf),
        np.array(cost, dtype=float), np.zeros(width), np.full(width, 10.0), np.array(whole),
        Names.of([("row", i) for i in range(rows)]), Names.of([("column", i) for i in range(width)]),
    )  # fmt: skip


def _engine(program: Program) -> Engine:
    return Engine(program, np.ones(len(program.cost)))


def test_two_parts_and_what_is_linear() -> None:
    """a + b >= 2.5 of whole numbers at 3 and 4: 3 a, 9. 2 c >= 5: 3 c at 1, 3. d >= 1.5 at 2 (not whole): 3."""
    program = _program(
        [[1, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]], [2.5, 5, 1.5], [3, 4, 1, 2], [True, True, True, False]
    )
    found = solve_by_parts(_engine(program), Limits(gap=0.0))
    assert found.status == "optimal" and found.gap == 0.0
    assert list(found.x) == pytest.approx([3, 0, 3, 1.5])
    assert found.objective == pytest.approx(15) and found.bound == pytest.approx(15)


def test_a_fixed_column_ties_nothing_and_is_paid_for_once() -> None:
    program = _program([[1, 0, 1], [0, 1, 1]], [3.5, 4.5], [1, 1, 100], [True, True, False])
    program.lower[2] = program.upper[2] = 1.0
    found = solve_by_parts(_engine(program), Limits())
    assert list(found.x) == pytest.approx([3, 4, 1])
    assert found.objective == pytest.approx(107) and found.bound == pytest.approx(107)


def test_a_part_that_cannot_be_met() -> None:
    program = _program([[1, 0], [0, 1]], [2, 11], [1, 1], [True, True])
    assert solve_by_parts(_engine(program), Limits()).status == "infeasible"


def test_costs_that_cancel_are_within_the_gap_of_their_sum() -> None:
    """-1000 and 1001 make 1: a thousandth of each would be more than all of it."""
    random = np.random.default_rng(3)
    size = 12
    weights = random.integers(20, 90, size)
    block = np.zeros((2, 2 * size + 1))
    block[0, :size], block[1, size : 2 * size] = -weights, weights
    cost = [*(-weights * random.uniform(0.9, 1.1, size)), *(weights * random.uniform(0.9, 1.1, size)), 0.0]
    program = _program(block.tolist(), [-1003.3, 1003.3], cost, [True] * (2 * size) + [False])
    program.upper[:] = 3.0
    exact = _engine(program).solve(Limits(gap=0.0))
    found = solve_by_parts(_engine(program), Limits(gap=0.01))
    assert found.gap <= 0.01
    assert exact.objective <= found.objective + 1e-9
    assert found.bound <= exact.objective + 1e-9
    assert found.objective - exact.objective <= 0.01 * abs(found.objective) + 1e-9


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 6, 7])
def test_as_one_search(seed: int, tmp_path: Path) -> None:
    layout = lay_out(load_case(random_case(seed, tmp_path / "case", integers=True, growth=seed % 2 == 0, rules=0)))
    program = stamp(layout, RuleRows(layout).rows, compile_model)
    engine = Engine(program, column_units(program, layout, np.arange(layout.width)))
    parts, one = solve_by_parts(engine, Limits(gap=1e-7)), engine.solve(Limits(gap=1e-7))
    assert parts.status == one.status
    if one.has_plan:
        assert parts.objective == pytest.approx(one.objective, rel=1e-6)
        assert parts.bound <= parts.objective + 1e-6 * abs(parts.objective)
        assert program.cost @ parts.x == pytest.approx(parts.objective)


def test_stopped_early_it_says_how_close_it_is(tmp_path: Path) -> None:
    """Too little time for the gap: the point is one, and the bound is below what more time finds."""
    folder = write_years_case(tmp_path / "case", openings=8, minerals=2, suppliers=40, years=8, lump=0.95, scarce=0.5)
    layout = lay_out(load_case(folder))
    program = stamp(layout, [], compile_model)
    engine = Engine(program, column_units(program, layout, np.arange(layout.width)))
    short, long = (solve_by_parts(engine, Limits(gap=gap, seconds=30)) for gap in (0.05, 1e-4))
    assert short.has_plan and long.status == "optimal"
    assert short.bound <= long.objective <= short.objective + 1e-6 * abs(short.objective)
    nothing = solve_by_parts(engine, Limits(gap=0.0, seconds=1e-3))
    assert nothing.status in ("stopped", "feasible")
