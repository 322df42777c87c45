"""One input of ``us`` changed and solved again: a patch, the same by hand on highspy, and a rebuild through Pyomo.

uv run pytest tests/bench/test_warm.py -n 0 --benchmark-only --benchmark-columns=median,rounds
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pytest

from models.build import build
from models.case import Case, load_case
from models.layout import lay_out
from models.rule_rows import RuleRows
from optimizer.engine import Limits
from optimizer.what_if import WhatIf

KEY = "suppliers[country=CHL].capacity_t*"
VALUES = (0.82, 1.17, 0.9, 1.05, 0.97, 1.13, 0.86, 1.01)
ONE = Limits(threads=1)


@pytest.fixture(scope="module")
def us() -> Case:
    return load_case("us")


def patched(us: Case) -> Callable[[float], float | None]:
    what_if = WhatIf(us, {KEY: (0.8, 1.2)}, ONE)
    return lambda value: what_if.at({KEY: value}).objective_usd


def by_hand(us: Case) -> Callable[[float], float | None]:
    """The same arrays, costs as they are; the same bounds changed, the values read."""
    import highspy

    patches = WhatIf(us, {KEY: (0.8, 1.2)}, ONE).patches
    assert patches is not None
    p, shape = patches.base.program, patches.shape
    m, width = p.matrix, len(p.cost)
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.passModel(
        width, m.shape[0], m.nnz, 1, 1, 0.0, p.cost, p.lower, p.upper, p.row_lower, p.row_upper,
        m.indptr.astype(np.int32), m.indices.astype(np.int32), m.data, np.zeros(width, dtype=np.int32),
    )  # fmt: skip
    section = shape.sections["upper"]
    columns = (patches.entries - section.start).astype(np.int32)
    assert ((patches.entries >= section.start) & (patches.entries < section.stop)).all()

    def change(value: float) -> float:
        highs.changeColsBounds(len(columns), columns, p.lower[columns], p.upper[columns] * value)
        highs.run()
        x = np.array(highs.getSolution().col_value)
        return float(p.cost @ x)

    return change


def rebuilt(us: Case) -> Callable[[float], float | None]:
    """The whole model built and solved with Pyomo's own HiGHS interface."""
    from pyomo.contrib.solver.solvers.highs import Highs
    from pyomo.core import value as value_of

    what_if = WhatIf(us, {KEY: (0.8, 1.2)}, ONE)

    def change(value: float) -> float:
        layout = lay_out(what_if.case_at({KEY: value}))
        model = build(layout, RuleRows(layout).rows)
        Highs().solve(model)
        return float(value_of(model.cost))

    return change


@pytest.mark.parametrize("route", [patched, by_hand, rebuilt], ids=lambda route: route.__name__)
def test_one_input_changed(route: Callable[[Case], Callable[[float], float | None]], us: Case, benchmark: Any) -> None:
    change = route(us)
    first = change(VALUES[0])
    values: Iterator[float] = cycle(VALUES[1:])
    benchmark.group = "one input changed"
    rounds = 3 if route is rebuilt else 200
    benchmark.pedantic(lambda: change(next(values)), rounds=rounds, iterations=1)
    assert first == pytest.approx(WhatIf(us, {KEY: (0.8, 1.2)}, ONE).at({KEY: VALUES[0]}).objective_usd, rel=1e-7)
