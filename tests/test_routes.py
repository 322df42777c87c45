"""Two routes to the same answer: the tool, a second implementation, Pyomo's own HiGHS, and rebuilt arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from models.build import build
from models.case import load_case
from models.layout import lay_out
from models.rule_rows import RuleRows
from optimizer.engine import Engine, Limits, Program, compile_model
from optimizer.run import optimize
from optimizer.solving import solve
from optimizer.status_quo import find_status_quo, has_status_quo, status_quo_program
from tests.reference import solve as reference
from tests.reference.cases import random_case


def _agree(folder: Path) -> str:
    """The tool and the second implementation give the same status and objective; the audit is clean."""
    theirs, ours = reference.solve(folder), optimize(load_case(folder))
    assert ours.status == theirs.status
    assert ours.audit == []
    if theirs.objective_usd is not None:
        assert ours.objective_usd == pytest.approx(theirs.objective_usd, rel=1e-6, abs=1e-6)
        # years share nothing, so each is least-cost by itself and not only their sum
        room = 1e-5 * sum(abs(usd) for usd in theirs.cost_usd_per_y.values())
        for year, usd in theirs.cost_usd_per_y.items():
            assert ours.cost_usd_per_y[year] == pytest.approx(usd, rel=1e-6, abs=room)
    today, now = reference.status_quo(folder), optimize(load_case(folder), status_quo=True)
    assert now.ok == (today.status == "optimal")
    if now.ok:
        assert now.objective_usd == pytest.approx(today.objective_usd, rel=1e-6, abs=1e-6)
        assert now.audit == []
    certificate = ours.about.get("certificate")
    if certificate is not None:
        assert max(certificate.values()) <= 1e-6
    return ours.status


@pytest.mark.parametrize("seed", range(100, 140))
def test_second_implementation(seed: int, tmp_path: Path) -> None:
    _agree(random_case(seed, tmp_path / "case"))


@pytest.mark.parametrize("seed", range(20))
def test_second_implementation_with_integers(seed: int, tmp_path: Path) -> None:
    _agree(random_case(seed, tmp_path / "case", integers=True))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(8))
def test_second_implementation_at_length(block: int, tmp_path: Path) -> None:
    found = [_agree(random_case(seed, tmp_path / str(seed))) for seed in range(2000 + 25 * block, 2025 + 25 * block)]
    assert {"optimal", "infeasible"} <= set(found)


def _pyomo_highs(folder: Path) -> tuple[float, float]:
    from pyomo.contrib.solver.solvers.highs import Highs
    from pyomo.core import value

    layout = lay_out(load_case(folder))
    quo = find_status_quo(layout.case, Limits()) if has_status_quo(layout.case) else None
    rows = RuleRows(layout, quo.cost_usd_per_y() if quo is not None and quo.ok else {}).rows
    ours = solve(layout, rows, Limits())
    model = build(layout, rows, ours.cuts)
    Highs().solve(model)
    from models.costs import objective

    return float(objective(layout) @ ours.x), value(model.cost)


@pytest.mark.parametrize("seed", [100, 101, 102, 105, 108, 110])
def test_pyomo_highs(seed: int, tmp_path: Path) -> None:
    """The whole model in Pyomo, solved by Pyomo's own interface, with the cuts that the engine found."""
    folder = random_case(seed, tmp_path / "case")
    if not optimize(load_case(folder)).ok:
        folder = random_case(seed, tmp_path / "free", rules=0)
    ours, theirs = _pyomo_highs(folder)
    assert ours == pytest.approx(theirs, rel=1e-6)


def _linprog(program: Program) -> float:
    """scipy's own HiGHS on the engine's arrays."""
    rows = [(program.matrix, program.row_upper), (-program.matrix, -program.row_lower)]
    kept = [(matrix.tocsr()[np.isfinite(limit)], limit[np.isfinite(limit)]) for matrix, limit in rows]
    from scipy import sparse

    answer = linprog(
        program.cost, A_ub=sparse.vstack([m for m, _ in kept]), b_ub=np.concatenate([b for _, b in kept]),
        bounds=list(zip(program.lower, program.upper, strict=True)),
    )  # fmt: skip
    assert answer.status == 0
    return float(answer.fun)


@pytest.mark.parametrize("seed", [100, 103, 105])
def test_scipy_on_the_same_arrays(seed: int, tmp_path: Path) -> None:
    layout = lay_out(load_case(random_case(seed, tmp_path / "case", rules=0)))
    program = compile_model(build(layout, []))
    ours = Engine(program, np.ones(len(program.cost))).solve(Limits())
    assert ours.objective == pytest.approx(_linprog(program), rel=1e-7)


def _named_rows(program: Program) -> dict:
    """Every row as {(family, index): ({column name: value}, lower, upper)}, columns too."""
    matrix = program.matrix.tocsr()
    rows = {}
    for number, name in enumerate(program.rows):
        part = slice(matrix.indptr[number], matrix.indptr[number + 1])
        terms = {program.names[c]: v for c, v in zip(matrix.indices[part], matrix.data[part], strict=True) if v}
        rows[name] = (terms, program.row_lower[number], program.row_upper[number])
    return rows


@pytest.mark.parametrize("seed", range(100, 112))
def test_status_quo_arrays_equal_pyomo(seed: int, tmp_path: Path) -> None:
    """Row by row: the arrays of the status quo are those that Pyomo's formulation compiles to."""
    case = load_case(random_case(seed, tmp_path / "case"))
    if not has_status_quo(case):
        pytest.fail("the generator makes incumbents in every case")
    layout = lay_out(case, status_quo=True)
    quick, whole = status_quo_program(layout), compile_model(build(layout))
    unmet = ("unmet", None)
    ours = {name: row for name, row in _named_rows(quick).items() if row[0]}
    theirs = {name: row for name, row in _named_rows(whole).items() if row[0] and unmet not in row[0]}
    assert ours.keys() == theirs.keys()
    for name, (terms, lower, upper) in theirs.items():
        assert ours[name][0] == pytest.approx(terms)
        assert ours[name][1:] == pytest.approx((lower, upper))
    cost = dict(zip(whole.names, whole.cost, strict=True))
    for name, value in zip(quick.names, quick.cost, strict=True):
        assert value == pytest.approx(cost.get(name, 0.0))


def test_one_thread_and_two(tmp_path: Path) -> None:
    folder = random_case(104, tmp_path / "case", integers=True)
    one, two = (optimize(load_case(folder), {"solve.threads": n}) for n in (1, 2))
    assert one.objective_usd == pytest.approx(two.objective_usd, rel=1e-6)
