"""The trade-off of least cost against a limit: every breakpoint, the slope between them, and where it ends.

The case is cut into parts that share nothing (a chain of minerals in a year); the limit holds in each alike. The cost
of a part is convex and piecewise linear in a limit that enters right-hand sides alone, and its kinks come from its
optimal bases; the curve of the case is the sum. Formulas: MATHS.md, section Frontier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from models.case import Case, Floats
from models.layout import Layout, lay_out
from models.rule_rows import Linear, RuleRow, RuleRows
from optimizer.curves import JOINT, Curve, counted_curve, exact_curve, thinned, total, traced_curve
from optimizer.engine import Engine, EngineError, Limits
from optimizer.formulating import formulate
from optimizer.measures import SMALLEST_T
from optimizer.solving import column_units, tie_break
from optimizer.splitting import Part, split
from optimizer.status_quo import find_status_quo, has_status_quo
from optimizer.threads import in_threads
from optimizer.tightest import tightest
from optimizer.trade_parts import SAME, TradePart
from optimizer.trading import Trade

Say = Callable[[str], None]
WITHIN = 1e-4  # of the cost: a traced curve is within this of its straight lines
SHARE_OF_RANGE = 1e-2  # and of this share of what it varies by, so that a flat one shows its shape
AGREE = 1e-7  # of the cost: a breakpoint solved anew agrees with its line


@dataclass
class Traced:
    """The curve of a case and the plans along it.

    ``status``: optimal, or infeasible where no limit has a plan. ``exact``: piecewise linear, every kink found; else
    traced, and ``why`` says so. ``points``: limit, objective_usd, slope_usd (d objective / d limit to the right, NaN
    where no plan is there) and kink. ``made``: the plan along the curve, tonnes of each supplier at its knots.
    ``moves``: what enters, leaves, or changes its pace at each point. ``stops``: where the limit stops mattering.
    """

    trade: Trade
    status: str
    exact: bool = True
    why: str = ""
    points: pd.DataFrame = field(default_factory=pd.DataFrame)
    made: pd.DataFrame = field(default_factory=pd.DataFrame)
    moves: pd.DataFrame = field(default_factory=pd.DataFrame)
    feasible_from: float | None = None
    feasible_to: float | None = None
    stops: float | None = None
    ends_at: tuple[str, ...] = ()
    solves: int = 0
    parts: int = 0
    stopped: bool = False

    @property
    def breakpoints(self) -> list[float]:
        """Limits at which the slope changes, the ends left out."""
        kinks = self.points[self.points["kink"]] if len(self.points) else self.points
        return [float(limit) for limit in kinks["limit"]] if len(kinks) else []


def trace(trade: Trade, limits: Limits, threads: int, say: Say) -> Traced:
    """The curve of a trade over all limits that have a plan."""
    say("building the model")
    layout, parts, constant = _parts(trade, replace(limits, threads=1))
    found = Traced(trade, "optimal", parts=len(parts))
    if constant is None:
        return replace(found, status="infeasible")
    moving = [part for part in parts if part.moves]
    found.exact = all(part.exact for part in moving) and not trade.whole
    found.why = _why(trade, moving)
    say(f"looking for the tightest limit in {len(moving)} parts")
    ends = list(in_threads(_ends, moving, threads))
    if any(end is None for end in ends):
        return replace(found, status="infeasible", solves=sum(part.solves for part in parts))
    low, high = _range(trade, [end for end in ends if end is not None])
    say("finding the breakpoints")
    curves = _curves(found, moving, low, high, constant, threads)
    whole = total(curves, constant, low, high, _same(low, high))
    if not found.exact and not trade.whole:
        whole = thinned(whole, 0.5 * _tolerance(whole))
    say("the plan at each breakpoint")
    knots = [np.clip(c.limits, low, high) if found.exact else whole.limits for c in curves]
    along = list(in_threads(_plans_along, list(zip(moving, knots, curves, [found.exact] * len(curves), strict=True)),
                            threads))  # fmt: skip
    if not found.exact and along:
        whole = Curve.through(whole.limits.tolist(), list(constant + np.sum([values for *_, values in along], axis=0)))
    found.made = _concat([made for made, _, _ in along])
    found.moves = _concat([moves for _, moves, _ in along])
    found.points = _points(whole, trade)
    found.feasible_from, found.feasible_to = low, high
    tight = low if trade.bound == "max" else high
    found.stops = _stops(whole, trade, [end[1] for end in ends if end is not None])
    found.ends_at = _what_ends(trade, tight, moving, ends, layout)
    found.solves = sum(part.solves for part in parts)
    found.stopped = any(part.stopped for part in parts)
    return found


def _parts(trade: Trade, limits: Limits) -> tuple[Layout, list[TradePart], float | None]:
    """The parts of the case, traded rows at 0, and the cost of those that the limit is not in (None: no plan)."""
    case = trade.case
    layout = lay_out(case)
    rows = [
        replace(row, limit=0.0) if _traded(row, trade) else row for row in RuleRows(layout, _today(case, limits)).rows
    ]
    made = _split(layout, rows, trade, limits)
    steady = {n: base for part in made for n, base in _steady(part, rows, trade).items()}
    if steady:
        rows = [replace(row, base=steady[n]) if n in steady else row for n, row in enumerate(rows)]
        made = _split(layout, rows, trade, limits)
    constant: float | None = 0.0
    for part in made:
        if not part.moves:
            point = part.free()
            constant = None if constant is None or not point.ok else constant + point.value
    return layout, made, constant


def _traded(row: RuleRow, trade: Trade) -> bool:
    return row.rule == trade.rule and row.bound == trade.bound


def _today(case: Case, limits: Limits) -> Mapping[tuple[str, str, int], float]:
    """The cost of the status quo, where a rule compares with it."""
    if not any(rule.kind == "budget" and rule.of == "premium" for rule in case.rules) or not has_status_quo(case):
        return {}
    quo = find_status_quo(case, limits)
    return quo.cost_usd_per_y() if quo.ok else {}


def _split(layout: Layout, rows: Sequence[RuleRow], trade: Trade, limits: Limits) -> list[TradePart]:
    program, _, _ = formulate(layout, rows)
    columns = np.arange(layout.width)
    unit, ties = column_units(program, layout, columns), tie_break(program, layout, columns)
    return [TradePart(part, layout, rows, trade, limits, ties[part.columns])
            for part in split(program, layout, rows, unit)]  # fmt: skip


def _steady(part: TradePart, rows: Sequence[RuleRow], trade: Trade) -> dict[int, Linear]:
    """Totals with columns that cannot vary all the same (least and most coincide), as constants.

    At a stage whose recoveries are equal, say, or where a shortage is never the only way out.
    """
    found: dict[int, Linear] = {}
    if part.whole or part.cones or part.lazy or not part.varying:
        return found
    program = replace(part.without_limit(), cost=np.zeros_like(part.part.program.cost))
    engine = Engine(program, part.part.unit)
    for n in part.part.rules:
        row = rows[n]
        if not _traded(row, trade) or not len(row.base.columns):
            continue
        place = part.part.place[row.base.columns]
        ends = []
        for sign in (1.0, -1.0):
            unique, inverse = np.unique(place, return_inverse=True)
            cost = np.zeros(len(part.part.unit))
            cost[unique] = sign * np.bincount(inverse, weights=row.base.coefficients, minlength=len(unique))
            engine.change_costs(np.arange(len(cost)), cost)
            solution = engine.solve(part.limits)
            if not solution.has_plan:
                return {}
            ends.append(sign * solution.objective + row.base.constant)
        if abs(ends[1] - ends[0]) <= SAME * max(1.0, abs(ends[0])):
            none = np.zeros(0)
            found[n] = Linear(none.astype(np.int64), none, ends[0])
    return found


def _ends(part: TradePart) -> tuple[float, float] | None:
    """The tightest limit that a part can keep and the limit at which it stops mattering; None without any plan."""
    if not part.trade.open and not part.at(part.trade.loosest).ok:
        return None
    tight = tightest(part)
    free = part.free()
    if tight is None or free.x is None:
        return None
    own = part.trade.loosest if part.lazy else part.value_of(free.x)
    return tight, part.trade.tightest if np.isnan(own) else own


def _range(trade: Trade, ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The range that is traced: from the tightest limit that all parts can keep to the loosest that can be set.

    Where the loose end is no end of its own (a budget), to where the limit stops mattering in the last part.
    """
    if trade.bound == "min":
        return trade.lowest, min((tight for tight, _ in ends), default=trade.highest)
    low = max((tight for tight, _ in ends), default=trade.lowest)
    high = trade.highest
    if trade.open:
        high = max([low, *(free for _, free in ends)])
    return low, high


def _curves(found: Traced, moving: Sequence[TradePart], low: float, high: float, constant: float, threads: int
            ) -> list[Curve]:  # fmt: skip
    """The curve of each part."""
    if high - low <= _same(low, high):
        return [Curve(np.array([low]), np.array([part.at(low).value]), np.zeros(0)) for part in moving]
    if found.trade.whole:
        return list(in_threads(lambda part: counted_curve(part, low, high), moving, threads))
    if found.exact:
        return list(in_threads(lambda part: exact_curve(part, low, high), moving, threads))
    rises = [abs(part.at(low).value - part.at(high).value) for part in moving]
    ends = [constant + sum(part.at(limit).value for part in moving) for limit in (low, high)]
    allowed = 0.4 * _tolerance(Curve.through([low, high], ends))
    every = sum(rises) or 1.0

    def one(pair: tuple[TradePart, float]) -> Curve:
        part, rise = pair
        if part.exact:
            return exact_curve(part, low, high)
        return traced_curve(part, low, high, allowed * rise / every)

    return list(in_threads(one, list(zip(moving, rises, strict=True)), threads))


def _tolerance(curve: Curve) -> float:
    """What straight lines may miss, USD: 1e-4 of the cost, or 1e-2 of what it varies by where that is less."""
    size, span = np.abs(curve.values), float(np.ptp(curve.values))
    return float(max(min(WITHIN * size.min(), SHARE_OF_RANGE * span), 1e-3 * WITHIN * size.max()))


def _same(low: float, high: float) -> float:
    """Limits nearer than this are one."""
    return 2 * JOINT * (1.0 if high - low <= 1 else max(1.0, abs(low), abs(high)))


Along = tuple[pd.DataFrame, pd.DataFrame, Floats]


def _plans_along(item: tuple[TradePart, Floats, Curve, bool]) -> Along:
    """The part's plan at its knots: tonnes made, what moves at each, and the cost there."""
    part, knots, curve, exact = item
    layout = part.layout
    made_at, values = [], []
    for limit in knots.tolist():
        point = part.inside(limit, float(knots[0] if part.trade.bound == "max" else knots[-1]))
        assert point.x is not None
        line = float(curve.at(np.array([limit]))[0])
        if exact and abs(point.value - line) > AGREE * max(1.0, abs(line)):
            raise EngineError(f"the plan at {limit:g} costs {point.value:g}, its line says {line:g}")
        values.append(point.value)
        made_at.append(point.x)
    own = np.flatnonzero(part.part.place[layout.columns("production")] >= 0)
    table = layout.case.suppliers
    x = np.array([point[part.part.place[layout.columns("production")[own]]] for point in made_at])
    x = np.where(x < SMALLEST_T, 0.0, x).reshape(len(knots), len(own))
    names = pd.DataFrame({
        "mineral": table["mineral"].to_numpy()[layout.production_supplier[own]],
        "year": np.array(layout.case.years)[layout.production_year[own]],
        "supplier": table["supplier"].to_numpy()[layout.production_supplier[own]],
        "material": table["material"].to_numpy()[layout.production_supplier[own]],
    })  # fmt: skip
    ever = np.flatnonzero((x > 0).any(axis=0))
    made = pd.concat([names.iloc[ever].assign(limit=limit, produced_t=x[k, ever]) for k, limit in enumerate(knots)])
    full = layout.production_upper_t[own]
    return made, _moves(names, knots, x, full), np.array(values)


def _moves(names: pd.DataFrame, knots: Floats, x: Floats, full: Floats) -> pd.DataFrame:
    """What changes at each knot as the limit rises: who enters, leaves, is full, or goes on at another pace."""
    if len(knots) < 2:
        return pd.DataFrame()
    pace = np.diff(x, axis=0) / np.diff(knots)[:, None]
    span, size = knots[-1] - knots[0], np.maximum(np.abs(x).max(axis=0), SMALLEST_T)
    pace = np.where(np.abs(pace) * span > 1e-6 * size, pace, 0.0)  # less is rounding
    parts = []
    for k, limit in enumerate(knots.tolist()):
        before = pace[k - 1] if k else np.zeros(x.shape[1])
        after = pace[k] if k < len(pace) else np.zeros(x.shape[1])
        changed = np.flatnonzero(np.abs(after - before) * span > 1e-6 * size)
        what = np.where((x[k] <= 0) & (after > 0), "enters", np.where((x[k] <= 0) & (before < 0), "leaves", np.where(
            (x[k] >= full * (1 - 1e-9)) & ((before > 0) | (after < 0)), "at capacity", "other pace")))  # fmt: skip
        parts.append(names.iloc[changed].assign(
            limit=limit, change=what[changed], t=x[k, changed], t_per_limit_before=before[changed],
            t_per_limit_after=after[changed],
        ))  # fmt: skip
    return pd.concat(parts)


def _concat(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    kept = [table for table in tables if len(table)]
    if not kept:
        return pd.DataFrame()
    table = pd.concat(kept, ignore_index=True)
    table = table[["limit", *(name for name in table.columns if name != "limit")]]
    return table.sort_values(["limit", "mineral", "year", "supplier"], ignore_index=True)


def _points(curve: Curve, trade: Trade) -> pd.DataFrame:
    span = float(curve.limits[-1] - curve.limits[0]) or 1.0
    rounding = 1e-13 * float(np.abs(curve.values).max(initial=0.0)) / span
    slopes = np.where(np.abs(curve.slopes) <= rounding, 0.0, curve.slopes)
    slopes = np.append(slopes, 0.0 if trade.bound == "max" else np.nan)
    kink = np.zeros(len(curve.limits), dtype=bool)
    kink[1:-1] = True
    return pd.DataFrame({
        "limit": curve.limits, "objective_usd": curve.values, "slope_usd": slopes + 0.0, "kink": kink,
    })  # fmt: skip


def _stops(curve: Curve, trade: Trade, free: Sequence[float]) -> float | None:
    """The tightest limit known at which the cost is what it is without the limit.

    Of the curve, or what the plan without the limit keeps by itself (``free``, of each part).
    """
    loose = curve.values[-1] if trade.bound == "max" else curve.values[0]
    kept = curve.limits[np.abs(curve.values - loose) <= 1e-9 * max(1.0, abs(loose))]
    low, high = float(curve.limits[0]), float(curve.limits[-1])
    if trade.bound == "max":
        return min(float(kept.min()), max(max(free, default=low), low))
    return max(float(kept.max()), min(min(free, default=high), high))


def _what_ends(trade: Trade, tight: float, moving: Sequence[TradePart], ends: Sequence[Any], layout: Layout
               ) -> tuple[str, ...]:  # fmt: skip
    """The minerals and years that can go no tighter."""
    if tight == trade.tightest:
        return ()
    return tuple(_name(part.part, layout) for part, end in zip(moving, ends, strict=True)
                 if abs(end[0] - tight) <= 1e-6 * max(1.0, abs(tight)))  # fmt: skip


def _name(part: Part, layout: Layout) -> str:
    years = part.years(layout)
    return f"{', '.join(part.minerals(layout))} {', '.join(str(year) for year in years)}"


def _why(trade: Trade, moving: Sequence[TradePart]) -> str:
    """Why the curve is traced and not exact; "" where it is exact."""
    if trade.whole:
        return "the limit is a whole number: between two of them there is nothing"
    reasons = []
    if any(part.cones for part in moving):
        reasons.append("an HHI limit bends the curve")
    elif any(part.held for part in moving):
        reasons.append("an HHI rule of the case bends the curve")
    if any(part.lazy for part in moving):
        reasons.append("survive and provenance rules are kept by cuts of the whole case")
    if any(part.varying for part in moving):
        reasons.append("the limit multiplies a total that itself varies")
    if any(part.whole for part in moving):
        reasons.append("whole-number decisions make it jump")
    if not reasons:
        return ""
    return " and ".join(reasons) + f": traced until straight lines are within {WITHIN:g} of the cost"
