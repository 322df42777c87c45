"""The tightest limit that a part of a case can keep: where a trade-off ends infeasible.

What the limit is on is a ratio top / base (a share, an index), or the norm of a cone over its total (HHI). The
tightest limit is the least (for max) over all plans of its largest ratio. Where no base can vary, one program finds
it: the rows top - L base <= w z with w = base, and the least z, which L moves by. Else, and with whole numbers, it
is found by halves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from models.case import Floats
from models.rules import tangent
from optimizer.cutting import Cutter, spread
from optimizer.engine import Engine, EngineError
from optimizer.program import Names, Program
from optimizer.trade_parts import Point, TradePart

HALVES, CONE_HALVES = 1e-10, 1e-6  # relative: how closely halves bracket it, without and with cones
STILL = 1e-12  # relative: a point that a cut moves by less is as near as it gets
CONE = 1e-8  # relative: how closely a cone is cut
ROUND = 9  # decimals of a limit; rounded to the loose side, so that a plan is there


def tightest(part: TradePart) -> float | None:
    """The tightest limit at which the part has a plan, a hair (1e-9) to the loose side; None where it has none at all.

    With whole numbers and cones to 1e-6 of the limit.
    """
    trade = part.trade
    if _point(part, trade.tightest).ok:
        return trade.tightest
    free = part.free()
    if free.x is None:
        return None
    if part.lazy:
        return _bisected(part, trade.loosest)
    start = part.value_of(free.x)
    if np.isnan(start):
        return trade.tightest
    start = min(max(start, trade.lowest), trade.highest)
    if part.whole or part.varying:
        return _bisected(part, start)
    found = part.value_of(_nearest(part, start, free.x))
    better = found < start if trade.bound == "max" else found > start
    return _surely(part, found if better else start)


def _point(part: TradePart, limit: float) -> Point:
    """The part at a limit; at the very edge, where HiGHS can be lost between plan and none, there is none."""
    try:
        return part.at(limit)
    except EngineError:
        part.forget()
        return Point(limit, "infeasible")


def _surely(part: TradePart, limit: float) -> float | None:
    """The limit rounded to the loose side, loosened as little as a plan needs."""
    trade = part.trade
    loose = 1.0 if trade.bound == "max" else -1.0
    scale = 10.0 ** np.floor(np.log10(max(abs(limit), 1.0)))
    for room in (0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5):
        step = 10.0**-ROUND * scale
        tried = limit + loose * room * scale
        tried = float(np.ceil(tried / step - 1e-6) * step if loose > 0 else np.floor(tried / step + 1e-6) * step)
        tried = float(f"{tried:.12g}")
        tried = min(max(tried, trade.lowest), trade.highest)
        if _point(part, tried).ok:
            return tried
    return None


def _nearest(part: TradePart, limit: float, x: Floats) -> Floats:
    """The plan of the least z, where every traded row may miss the limit by w z; w is the row's base at ``x``."""
    program, height = part.program_at(limit), part.part.program.matrix.shape[0]
    sign = -1.0 if part.trade.bound == "max" else 1.0
    weights = [max(abs(row.base.value(x)), 1e-6) for row in part.linear]
    column = np.zeros(height)
    column[[row.place for row in part.linear]] = sign * np.array(weights)
    whole = _with_column(program, column, abs(limit - part.trade.tightest) * 10 + 1)
    engine, cutter = part.engine(whole, ties=False), Cutter(part.layout, list(part.held), part.part.place)
    last = np.zeros(0)
    while True:
        solution = cutter.solve(engine, part.limits)
        if not solution.has_plan:
            raise EngineError(f"the tightest limit was not found: {solution.status}")
        still = len(last) and np.abs(solution.x - last).max() <= STILL * max(1.0, float(np.abs(last).max()))
        if not part.cones or still or not _cut(part, engine, limit, x, solution.x):
            return solution.x[: len(part.part.unit)]
        last = solution.x


def _with_column(program: Program, column: Floats, most: float) -> Program:
    """The program with one more column z, and z as its only cost."""
    matrix = sparse.csc_array(sparse.hstack([program.matrix, sparse.csc_array(column[:, None])]))
    return replace(
        program, matrix=matrix, cost=np.append(np.zeros_like(program.cost), 1.0),
        lower=np.append(program.lower, -most), upper=np.append(program.upper, np.inf),
        integer=np.append(program.integer, False), names=program.names + Names.of([("missed", 0)]),
    )  # fmt: skip


def _cut(part: TradePart, engine: Engine, limit: float, before: Floats, x: Floats) -> bool:
    """Add the tangents of the cones ||Q|| <= sqrt(L) T + w z that ``x`` breaks; False where it breaks none."""
    place, z = part.part.place, len(part.part.unit)
    wide, old = spread(x, place), spread(before, place)
    root, added = limit**0.5, 0
    for row in part.cones:
        weight = max(abs(row.base.value(old)), 1e-6)
        base = row.base.value(wide)
        reach = max(root * base + weight * x[z], 0.0) / base if base > 0 else 0.0
        found = tangent(replace(row, limit=max(reach**2, 1e-12) / (1 + 1e-7)), 0, wide)  # whatever breaks it at all
        if found is None:
            continue
        columns, values = found.terms.columns, found.terms.coefficients.copy()
        values[len(values) - len(row.base.columns) :] = -root * row.base.coefficients
        unique, inverse = np.unique(columns, return_inverse=True)
        summed = np.bincount(inverse, weights=values, minlength=len(unique)).astype(float)
        at = place[unique]
        terms = np.append(at[at >= 0], z), np.append(summed[at >= 0], -weight)
        over = float(terms[1] @ x[terms[0]]) - root * row.base.constant
        if over <= CONE * max(1.0, abs(base)):
            continue
        engine.add_rows([terms], [root * row.base.constant], [("hhi_cut", 0)])
        added += 1
    return added > 0


def _bisected(part: TradePart, loose: float) -> float:
    """Between the tightest limit that can be set (no plan) and one that has a plan, by halves."""
    trade, tight = part.trade, part.trade.tightest
    whole = trade.whole
    close = CONE_HALVES if part.cones or part.held or part.lazy else HALVES
    while abs(loose - tight) > (1.0 if whole else close * max(1.0, abs(loose))):
        middle = (loose + tight) / 2
        middle = float(np.floor(middle)) if whole else middle
        point = _point(part, middle)
        if point.x is None:
            tight = middle
            continue
        own = part.value_of(point.x)
        inside = min(loose, tight) <= own <= max(loose, tight)
        loose = own if inside and not whole else middle
    sure = _surely(part, loose)
    return loose if sure is None else sure
