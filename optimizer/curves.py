"""Curves of least cost over a limit: exact kinks from bases, traced where they are no straight lines, and sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.case import Floats
from models.lanes import Ints
from optimizer.engine import Engine, EngineError
from optimizer.trade_parts import Point, TradePart

JOINT = 1e-8  # of the limit: regions nearer than this touch
EVEN = 1e-9  # relative: slopes nearer than this are one
STEEP = 1e-4  # of the range of the limit: a jump is bracketed to this
PIVOT = 1e-9  # relative to the largest rate: slower ones are rounding


@dataclass(frozen=True)
class Curve:
    """Least cost over a limit: straight lines between knots. ``slopes``: to the right of each knot but the last."""

    limits: Floats
    values: Floats
    slopes: Floats

    def at(self, limits: Floats) -> Floats:
        """Its values at other limits within its ends."""
        return np.asarray(np.interp(limits, self.limits, self.values))

    def slope_at(self, limits: Floats) -> Floats:
        """Its slope to the right of limits."""
        place = np.clip(np.searchsorted(self.limits, limits, side="right") - 1, 0, len(self.slopes) - 1)
        return np.asarray(self.slopes[place])

    @classmethod
    def through(cls, limits: Sequence[float], values: Sequence[float]) -> Curve:
        """Straight lines through points."""
        at, found = np.asarray(limits, dtype=float), np.asarray(values, dtype=float)
        width = np.diff(at)
        return cls(at, found, np.diff(found) / np.where(width > 0, width, 1.0))


@dataclass
class _Region:
    """A range of the limit over which one basis is optimal: the cost is a straight line."""

    low: float
    high: float
    at: float
    value: float
    slope: float

    def line(self, limit: float) -> float:
        """The line's value."""
        return self.value + self.slope * (limit - self.at)


def reach(part: TradePart, point: Point) -> tuple[float, float]:
    """How far the limit can move down and up from the last point with its basis kept (the ratio test)."""
    engine = part.warm
    assert point.x is not None
    places, moved = part.rates
    basic, rates = _basis_rates(engine, places, moved)
    x = point.x / engine.column_unit
    value, (low, high) = np.append(x, np.asarray(engine.scaled_matrix @ x)), _bounds(engine)
    own = np.zeros(len(value))  # the limit of a row that does not bind moves as well
    own[len(x) + places] = moved / engine.row_unit[places]
    number = np.where(basic >= 0, basic, len(x) - 1 - basic)
    return _steps(rates - own[number], (value - low)[number], (high - value)[number])


def _basis_rates(engine: Engine, rows: Ints, rates: Floats) -> tuple[Ints, Floats]:
    """The basic columns (rows r as -1 - r) of the last run, and how fast each moves, scaled, where the limits of
    ``rows`` that bind move at ``rates`` (unscaled).
    """
    ok, basic = engine.highs.getBasicVariables()
    basic = np.asarray(basic, dtype=np.int64)
    moved = np.zeros(len(engine.row_unit))
    moved[rows] = rates / engine.row_unit[rows]
    moved[-1 - basic[basic < 0]] = 0.0
    status, found = engine.highs.getBasisSolve(moved)
    if min(int(ok), int(status)) < 0:
        raise EngineError("HiGHS has no basis to move along")
    return basic, np.where(basic < 0, -1.0, 1.0) * np.asarray(found)


def _bounds(engine: Engine) -> tuple[Floats, Floats]:
    """Lower and upper limits of every column, then of every row, scaled."""
    low, high = (np.append(c, r) for c, r in zip(engine.scaled_bounds, engine.scaled_rows, strict=True))
    return low, high


def _steps(rates: Floats, above: Floats, below: Floats) -> tuple[float, float]:
    """Steps down and up until the first value, moving at its rate, meets a bound."""
    small = PIVOT * max(1.0, float(np.abs(rates).max(initial=0.0)))
    rising, falling = rates > small, rates < -small
    room = np.maximum(below[rising], 0.0) / rates[rising], np.maximum(above[falling], 0.0) / -rates[falling]
    back = np.maximum(above[rising], 0.0) / rates[rising], np.maximum(below[falling], 0.0) / -rates[falling]
    up = min((float(part.min(initial=np.inf)) for part in room), default=np.inf)
    down = min((float(part.min(initial=np.inf)) for part in back), default=np.inf)
    return down, up


def _region(part: TradePart, limit: float, low: float, high: float) -> _Region:
    point = part.inside(limit, low if part.trade.bound == "max" else high, anew=True)
    down, up = reach(part, point)
    return _Region(max(low, limit - down), min(high, limit + up), limit, point.value, point.slope)


def exact_curve(part: TradePart, low: float, high: float) -> Curve:
    """Every kink of a convex piecewise linear curve, from the regions of its optimal bases.

    Between two regions that do not touch, the lines' intersection is solved next; a region found is joined to a
    neighbour with its slope, and regions that touch at another slope are a kink. Nothing is missed: by convexity the
    curve is straight between two regions of one slope.
    """
    tiny = JOINT * max(1.0, abs(low), abs(high)) if high - low > 1 else JOINT
    first, last = _region(part, low, low, high), _region(part, high, low, high)
    done, waiting = [first], [last]
    halve = False
    while waiting:
        left, right = done[-1], waiting[-1]
        gap = right.low - left.high
        if _even(left.slope, right.slope):
            done[-1] = _Region(left.low, right.high, left.at, left.value, left.slope)
            waiting.pop()
            continue
        if gap <= tiny:
            done.append(waiting.pop())
            continue
        meet = left.at + (right.line(left.at) - left.value) / (left.slope - right.slope)
        inside = left.high < meet < right.low
        found = _region(part, meet if inside and not halve else (left.high + right.low) / 2, left.high, right.low)
        if _even(found.slope, left.slope):
            halve = found.high - left.high < gap / 4
            left.high = found.high
        elif _even(found.slope, right.slope):
            halve = right.low - found.low < gap / 4
            right.low = found.low
        else:
            halve = False
            waiting.append(found)
    return _joined(done, low, high)


def _even(one: float, other: float) -> bool:
    return abs(one - other) <= EVEN * max(abs(one), abs(other), 1e-3)


def _joined(regions: Sequence[_Region], low: float, high: float) -> Curve:
    """The knots between regions that touch, where their lines meet."""
    limits, values = [low], [regions[0].line(low)]
    for left, right in zip(regions, regions[1:], strict=False):
        meet = left.at + (right.line(left.at) - left.value) / (left.slope - right.slope)
        place = meet if left.high - JOINT <= meet <= right.low + JOINT else (left.high + right.low) / 2
        limits.append(float(f"{place:.12g}"))
        values.append(left.line(place))
    limits.append(high)
    values.append(regions[-1].line(high))
    return Curve(np.array(limits), np.array(values), np.array([region.slope for region in regions]))


def traced_curve(part: TradePart, low: float, high: float, tolerance: float) -> Curve:
    """Points so close that straight lines between them are within ``tolerance`` (USD) of the curve.

    Where the curve is convex, the tangents at two points bound it from below, and so prove it. Else each piece is
    tried at its middle and quarters; a jump is bracketed to 1e-4 of the range.
    """
    points: dict[float, Point] = {}
    tight = low if part.trade.bound == "max" else high

    def at(limit: float) -> Point:
        if limit not in points:
            point = part.inside(limit, tight)
            points[limit] = point
            own = part.value_of(point.x) if point.x is not None else float("nan")
            if part.whole and low <= own <= high and own not in points and abs(own - limit) > STEEP * (high - low):
                points[own] = Point(own, point.status, point.value, point.slope, point.x)  # flat from its own value on
        return points[limit]

    at(low), at(high)
    waiting = [(low, high)]
    least = (STEEP if not part.convex else JOINT) * (high - low)
    while waiting:
        a, b = waiting.pop()
        left, right = at(a), at(b)
        between = sorted(limit for limit in points if a < limit < b)
        if between:
            waiting += list(zip([a, *between], [*between, b], strict=True))
            continue
        middle = _next(left, right, tolerance, part.convex)
        if middle is None or b - a <= least:
            continue
        if part.convex or abs(at(middle).value - (left.value + right.value) / 2) > tolerance / 2:
            at(middle)
            waiting += [(a, middle), (middle, b)]
            continue
        quarters = (a + middle) / 2, (middle + b) / 2
        chords = (3 * left.value + right.value) / 4, (left.value + 3 * right.value) / 4
        if any(abs(at(q).value - chord) > tolerance / 2 for q, chord in zip(quarters, chords, strict=True)):
            waiting += [(a, middle), (middle, b)]
    limits = sorted(points)
    return Curve.through(limits, _monotone([points[limit].value for limit in limits], part.trade.bound))


def counted_curve(part: TradePart, low: float, high: float) -> Curve:
    """The cost at each whole number of the limit."""
    limits = np.arange(round(low), round(high) + 1).astype(float).tolist()
    points = [part.inside(limit, limit) for limit in limits]
    return Curve.through(limits, _monotone([point.value for point in points], part.trade.bound))


def _next(left: Point, right: Point, tolerance: float, convex: bool) -> float | None:
    """Where to solve next between two points; None where the straight line is near enough."""
    width = right.limit - left.limit
    if abs(right.value - left.value) <= tolerance:  # the cost only rises as the limit tightens
        return None
    if not convex:
        return (left.limit + right.limit) / 2
    bend = right.slope - left.slope
    if not np.isfinite(bend) or bend <= 0:
        chord = (right.value - left.value) / width
        straight = max(abs(left.slope - chord), abs(right.slope - chord)) * width <= tolerance
        return None if straight else (left.limit + right.limit) / 2
    meet = left.limit + (right.value - left.value - right.slope * width) / (left.slope - right.slope)
    meet = min(max(meet, left.limit), right.limit)
    below = left.value + left.slope * (meet - left.limit)
    chord = left.value + (right.value - left.value) * (meet - left.limit) / width
    if chord - below <= tolerance:
        return None
    edge = width / 8
    return min(max(meet, left.limit + edge), right.limit - edge)


def _monotone(values: Sequence[float], bound: str) -> list[float]:
    """A plan of a tighter limit keeps a looser one: whole numbers are solved to a gap, and may miss it there."""
    found = np.asarray(values)
    least = np.minimum.accumulate(found) if bound == "max" else np.minimum.accumulate(found[::-1])[::-1]
    return [float(value) for value in least]


def total(curves: Sequence[Curve], constant: float, low: float, high: float, same: float) -> Curve:
    """The sum of curves over one range; knots nearer than ``same`` are one."""
    every = np.unique(np.concatenate([np.array([low, high]), *(curve.limits for curve in curves)]))
    kept = [low]
    for limit in every:
        if limit - kept[-1] > same and high - limit > same:
            kept.append(float(limit))
    limits = np.array([*kept, high] if high > low else [low])
    values, slopes = np.full(len(limits), constant), np.zeros(max(len(limits) - 1, 0))
    middle = (limits[1:] + limits[:-1]) / 2
    for curve in curves:
        values += curve.at(limits)
        slopes += curve.slope_at(middle)
    return Curve(limits, values, slopes)


def thinned(curve: Curve, tolerance: float) -> Curve:
    """As few of the knots as straight lines within ``tolerance`` need (Douglas and Peucker 1973)."""
    kept, waiting = {0, len(curve.limits) - 1}, [(0, len(curve.limits) - 1)]
    while waiting:
        a, b = waiting.pop()
        if b - a < 2:
            continue
        inner = slice(a + 1, b)
        line = np.interp(curve.limits[inner], curve.limits[[a, b]], curve.values[[a, b]])
        away = np.abs(curve.values[inner] - line)
        worst = int(np.argmax(away))
        if away[worst] > tolerance:
            middle = a + 1 + worst
            kept.add(middle)
            waiting += [(a, middle), (middle, b)]
    places = sorted(kept)
    return Curve.through(curve.limits[places].tolist(), curve.values[places].tolist())
