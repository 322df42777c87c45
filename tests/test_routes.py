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
from optimizer.compiling import compile_model
from optimizer.engine import Engine, Limits
from optimizer.program import Program
from optimizer.run import optimize
from optimizer.solving import solve
from optimizer.stamping import stamp
from optimizer.status_quo import find_status_quo, has_status_quo
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


def _by_layout(program: Program, rows: dict) -> dict:
    """Rows without the parts that say nothing: zero coefficients, and what holds on to ``unmet``."""
    return {name: ({c: v for c, v in terms.items() if c != ("unmet", None)}, low, high)
            for name, (terms, low, high) in rows.items()}  # fmt: skip


def _same_program(ours: Program, theirs: Program, fixed: tuple[str, ...] = ()) -> None:
    """Every row, column, bound and cost of two programs, by name (but for columns of families that are fixed)."""
    one, other = _by_layout(ours, _named_rows(ours)), _by_layout(theirs, _named_rows(theirs))
    assert one.keys() == other.keys()
    for name, (terms, low, high) in other.items():
        assert one[name][0] == pytest.approx(terms), name
        assert one[name][1:] == pytest.approx((low, high)), name
    columns = [{name: values for name, *values in zip(p.names, p.lower, p.upper, p.cost, p.integer, strict=True)}
               for p in (ours, theirs)]  # fmt: skip
    used, given = ({name for name in listed if name != ("unmet", None) and name[0] not in fixed}
                   for listed in (columns[1], columns[0]))  # fmt: skip
    assert used == given
    for name in used:
        assert columns[0][name] == pytest.approx(columns[1][name]), name


@pytest.mark.parametrize("integers", [False, True], ids=["linear", "integers"])
@pytest.mark.parametrize("seed", range(100, 125))
def test_stamped_arrays_equal_the_compiled_whole(seed: int, integers: bool, tmp_path: Path) -> None:
    """Row by row: one year stamped for all equals the whole model in Pyomo."""
    layout = lay_out(load_case(random_case(seed, tmp_path / "case", integers=integers)))
    quo = find_status_quo(layout.case, Limits()) if has_status_quo(layout.case) else None
    rows = RuleRows(layout, quo.cost_usd_per_y() if quo is not None and quo.ok else {}).rows
    _same_program(stamp(layout, rows, compile_model), compile_model(build(layout, rows)))


@pytest.mark.parametrize("name", ["us", "small"])
def test_stamped_arrays_equal_the_compiled_whole_of_a_bundled_case(name: str) -> None:
    layout = lay_out(load_case(name))
    rows = RuleRows(layout, {}).rows
    _same_program(stamp(layout, rows, compile_model), compile_model(build(layout, rows)))


@pytest.mark.parametrize("seed", range(100, 112))
def test_status_quo_arrays_equal_pyomo(seed: int, tmp_path: Path) -> None:
    """The status quo likewise; what is used is fixed there, a constant to Pyomo and a fixed column to us."""
    case = load_case(random_case(seed, tmp_path / "case"))
    assert has_status_quo(case)  # the generator makes incumbents in every case
    layout = lay_out(case, status_quo=True)
    _same_program(stamp(layout, [], compile_model), compile_model(build(layout)), fixed=("used",))


def test_one_thread_and_two(tmp_path: Path) -> None:
    folder = random_case(104, tmp_path / "case", integers=True)
    one, two = (optimize(load_case(folder), {"solve.threads": n}) for n in (1, 2))
    assert one.objective_usd == pytest.approx(two.objective_usd, rel=1e-6)
