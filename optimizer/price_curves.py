"""How the least cost moves with one number of a case: its price, the range over which that holds, and both sides.

The least cost of a linear program is a convex, piecewise straight line in any right side, so a piece is found from its
tangents: where the line through the optimum meets the tangent at a point beyond its end lies nearer to the end, and
after a few steps it is the end, whatever basis the solver stopped at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optimizer.part_solver import CUT, Parameter, PartSolver, Point

SAME = 1e-6  # relative difference below which two prices are one
EXACT = 1e-11  # of the cost: what the solver leaves open (its points come from a basis; 1e-16 is usual)
WITHIN = 0.01  # where the line is curved, a price holds as far as it stays within this of itself
STEPS = 60
NEARBY = 1e-3  # relative: a first step
TINY = 1e-9  # relative: no distance at all
NO_PRICE = 1e-9  # USD a unit: no price at all


@dataclass(frozen=True)
class Side:
    """What lies on one side: the price there, as far as where the price asked about holds, and why it ends there.

    ``ends``: ``price`` (another price begins), ``no plan``, ``free`` (the limit no longer binds), ``limit`` (what the
    number can sensibly be). ``price`` is nan where nothing lies on that side.
    """

    price: float
    end: float
    ends: str
    curved: bool = False


def look(solver: PartSolver, parameter: Parameter, here: Point, price: float, way: float) -> Side:
    """What lies on one side (``way`` +1 or -1) of a parameter's value, seen from the optimum there and its price."""
    if solver.cuts:  # tangents of an HHI row stand for a curve
        return _look_along(solver, parameter, here, price, way)
    if not parameter.bent:
        return _look_straight(solver, parameter, here, price, way)
    (number, limit, _), row = parameter.bent[0], solver.rows[parameter.bent[0][0]]
    base = solver.base_of(row, here.x)
    if row.kind in CUT or not limit or not base:
        return _look_along(solver, parameter, here, price, way)
    # as though the denominator stayed as it is, then solved with the denominator as it will be
    place = np.array([solver.rule_place[number]])
    steady = Parameter(parameter.at, rows=(place, np.array([base])), least=parameter.least, most=parameter.most)
    side = _look_straight(solver, steady, here, price, way)
    distance = abs(side.end - here.at)
    if distance <= TINY * max(abs(here.at), 1e-6) or not np.isfinite(distance):
        near = solver.at(parameter, here.at + way * NEARBY * max(abs(here.at), 1e-3))
        fits = near is None or not np.isfinite(side.price) or straight(here, side.price, near)
        return side if fits and np.isfinite(distance) else _look_along(solver, parameter, here, price, way)

    def at(far: float) -> Point | None:
        return solver.at(parameter, here.at + way * far)

    half, end, beyond = (at(part * distance) for part in (0.5, 1.0, 1.01))
    holds = all(point is not None and straight(here, price, point) for point in (half, end))
    if not holds or (beyond is not None and straight(here, price, beyond)):
        return _look_along(solver, parameter, here, price, way)
    if side.ends == "no plan" and beyond is not None:  # there is one, with another denominator
        return _along_line(at, here, price, way, distance, 1.01 * distance)
    return side


def _look_straight(solver: PartSolver, parameter: Parameter, here: Point, price: float, way: float) -> Side:
    """The same where the cost is made of straight pieces: from what lies beyond, tangent by tangent."""
    edge, ends = (parameter.most if way > 0 else parameter.least), "limit"
    far = solver.reach(parameter, way)
    if way * far < way * edge:
        edge, ends = far, "no plan"
    if way * (edge - here.at) <= TINY * max(abs(here.at), 1e-6):
        return Side(float("nan"), here.at, ends)
    if not np.isfinite(far) and parameter.removable:
        free = solver.at(parameter, far)
        if free is not None:
            if abs(free.usd - here.usd) <= _room(here, free):  # it costs nothing however far one goes
                return Side(0.0, edge if abs(price) <= NO_PRICE else here.at, "free")
            if way * price < 0 and way * (here.at + (free.usd - here.usd) / price - edge) < 0:
                edge, ends = here.at + (free.usd - here.usd) / price, "free"
    point = solver.at(parameter, edge) or solver.at(parameter, edge - 1e-7 * (edge - here.at))
    if point is None:
        return Side(float("nan"), here.at, "no plan")
    return _by_tangents(solver, parameter, here, price, point, ends)


def _room(*points: Point) -> float:
    """What two costs may differ by and still be the same to the solver."""
    return EXACT * max(1.0, *(abs(point.usd) for point in points))


def straight(here: Point, price: float, point: Point) -> bool:
    """Whether a point lies on the line of a price."""
    room = _room(here, point) + SAME * 0.1 * abs(price * (point.at - here.at))
    return abs(point.usd - here.usd - price * (point.at - here.at)) <= room


def slope_at_start(solver: PartSolver, parameter: Parameter, here: Point, point: Point) -> float:
    """The price just beyond ``here``, from a point a step further: nearer by halves where a kink lies between."""
    for _ in range(STEPS // 3):
        if point.usd - point.price * (point.at - here.at) >= here.usd - _room(here, point):
            break
        nearer = solver.at(parameter, here.at + (point.at - here.at) / 4)
        if nearer is None:
            break
        point = nearer
    return point.price


def _by_tangents(solver: PartSolver, parameter: Parameter, here: Point, price: float, point: Point, ends: str) -> Side:
    """From a point beyond, tangent by tangent, to the end of the straight piece that begins here."""
    for _ in range(STEPS):
        width = point.at - here.at
        if straight(here, price, point):
            return Side(price, point.at, ends)
        if point.usd - point.price * width >= here.usd - _room(here, point):  # one straight piece from here to there
            return Side((point.usd - here.usd) / width, here.at, "price")
        if abs(price - point.price) <= SAME * abs(price):
            return Side(price, point.at, ends)
        meet = (point.usd - point.price * width - here.usd) / (price - point.price)
        if abs(meet) <= TINY * max(abs(here.at), abs(width)) or not 0 < meet / width < 1:
            break
        found = solver.at(parameter, here.at + meet)
        if found is None:
            break
        point, ends = found, "price"
    return Side(point.price, here.at, "price")


def _look_along(solver: PartSolver, parameter: Parameter, here: Point, price: float, way: float) -> Side:
    """The same where the cost need not be convex in the number, or is curved: step by step.

    A straight piece is followed to its end; along a curve the price holds as far as it stays within 1% of itself.
    """
    room = abs((parameter.most if way > 0 else parameter.least) - here.at)
    step = min(NEARBY * max(abs(here.at), 1e-3), room)
    if step <= TINY * max(abs(here.at), 1e-6):
        return Side(float("nan"), here.at, "limit")

    def at(distance: float) -> Point | None:
        return solver.at(parameter, here.at + way * distance)

    first = at(step)
    if first is None:  # as near as can be told
        step *= NEARBY
        first = at(step)
        if first is None:
            return Side(float("nan"), here.at, "no plan")
    if straight(here, price, first):
        return _along_line(at, here, price, way, step, room)
    near = at(NEARBY * step)
    if near is not None and straight(here, price, near) and abs(near.price - price) <= SAME * abs(price):
        return _along_line(at, here, price, way, NEARBY * step, room)  # it ends within the first step
    return _along_curve(at, here, price, way, first, room)


def _along_line(at: Callable[[float], Point | None], here: Point, price: float, way: float, good: float,
                room: float) -> Side:  # fmt: skip
    """The end of a straight piece: twice as far until it is passed, then by halves."""
    bad, ends = 0.0, "limit"
    while not bad and good < room:
        point = at(min(2 * good, room))
        if point is not None and straight(here, price, point):
            good = min(2 * good, room)
        else:
            bad, ends = min(2 * good, room), "no plan" if point is None else "price"
    while bad and bad - good > SAME * bad:
        point = at((good + bad) / 2)
        if point is not None and straight(here, price, point):
            good = (good + bad) / 2
        else:
            bad, ends = (good + bad) / 2, "no plan" if point is None else "price"
    return Side(price, here.at + way * good, ends)


def _along_curve(at: Callable[[float], Point | None], here: Point, price: float, way: float, first: Point,
                 room: float) -> Side:  # fmt: skip
    """As far as the price stays within 1% of itself, found by the secant of its change; a jump of it is a kink."""
    step = abs(first.at - here.at)
    good, bad, ends = 0.0, 0.0, "price"
    point: Point | None = first
    for _ in range(STEPS // 4):
        off = np.inf if point is None else abs(point.price - price) / max(abs(price), NO_PRICE)
        if off <= WITHIN:
            good, ends = step, "limit" if step >= room else "price"
        else:
            bad, ends = step, "no plan" if point is None else "price"
        if good >= room or (off <= WITHIN and off >= 0.8 * WITHIN) or (bad and bad - good <= 0.05 * bad):
            break
        aim = step * 0.9 * WITHIN / off if np.isfinite(off) and off > 0 else 2 * step if not bad else 0.0
        low, high = max(good, 1e-3 * step), min(bad, room) if bad else min(room, 20 * step)
        step = aim if low < aim < high else (low + high) / 2
        if step < TINY * max(abs(here.at), 1e-3):
            break
        point = at(step)
    if good:
        return Side(price, here.at + way * good, ends, curved=True)
    return Side(first.price if point is None else point.price, here.at, "price")
