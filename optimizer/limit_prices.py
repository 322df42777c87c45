"""What each limit of a plan costs: rules that bind, requirements, and whatever is scarce, each with its range."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.case import Floats
from models.rules import LINEAR
from optimizer.part_solver import Parameter, Point, Steps
from optimizer.price_curves import NEARBY, SAME, Side, look, straight
from optimizer.resolving import Resolved

BINDS = 1e-6  # relative distance from its limit at which a row counts as at it (as in the tables of a plan)
# USD a year for a unit of a limit below which it is no price; a share has 1.00 as its unit, what is scarce a tonne.
WORTH = 1e-6
NOTHING = 1.0  # USD a year for 1.00 of a limit, or a tonne: a millionth of it is the solver's noise
MOST_DEMAND = 10.0  # times what is required: as far as a price of demand is followed
Say = Callable[[str], None]


@dataclass
class LimitPrice:
    """One limit with its price, range and both sides, in USD a year (of the limit's year) for a unit of it.

    ``about``: what it is (keys of the tables). ``several``: at a kink, where the price is one of several: ``below``
    is what holds to the left of the limit, ``above`` to the right (None: nothing lies there). ``low``, ``high``: the
    limit over which ``price`` holds; ``low_ends``, ``high_ends``: why it ends there. ``curved``: the cost bends, so
    the price holds to 1% only. ``confirmed``: whether solving again at the ends of the range gave the cost that the
    price promised (at a kink: whether it lies between the prices of both sides).
    """

    about: dict[str, Any]
    limit: float
    price: float
    below: float | None
    above: float | None
    low: float
    high: float
    low_ends: str
    high_ends: str
    several: bool
    curved: bool
    confirmed: bool

    def record(self) -> dict[str, Any]:
        """As a row of ``prices`` or ``limits`` (contract 5; more keys are welcome)."""
        return {
            **self.about, "limit": self.limit, "price_usd_per_y": self.price, "from": self.low, "to": self.high,
            "from_ends": self.low_ends, "to_ends": self.high_ends, "confirmed": self.confirmed,
            "one_of_several": self.several, "below_usd_per_y": self.below, "above_usd_per_y": self.above,
            "curved": self.curved,
        }  # fmt: skip


@dataclass
class Asked:
    """A limit to be priced: what it is, its part, what moves with it, its price as the plan has it (None: ask)."""

    about: dict[str, Any]
    label: int
    parameter: Parameter
    weight: float
    price: float | None = None
    key: tuple[Any, ...] = field(default=())


def price_of(resolved: Resolved, asked: Asked) -> LimitPrice:
    """The price of one limit by solving again on both sides of it."""
    solver, weight, parameter = resolved.solver(asked.label), asked.weight, asked.parameter
    base = resolved.here(asked.label)
    here = Point(parameter.at, base.usd, 0.0, base.x)
    price = asked.price
    if price is None:
        found = solver.at(parameter, parameter.at)
        price = 0.0 if found is None else found.price
    left, right = (look(solver, parameter, here, price, way) for way in (-1.0, 1.0))
    several = any(_differs(side, price) for side in (left, right))
    return LimitPrice(
        asked.about, parameter.at, price / weight, _side(left, weight), _side(right, weight), left.end, right.end,
        left.ends, right.ends, several, left.curved or right.curved, _confirmed(left, right, price, several),
    )  # fmt: skip


def quick_price_of(resolved: Resolved, asked: Asked) -> LimitPrice:
    """The price of what is scarce over the range of the basis (HiGHS ranging), confirmed by one solve at its end.

    Where the basis is degenerate or the part is curved: as ``price_of`` does.
    """
    solver, parameter, weight = resolved.solver(asked.label), asked.parameter, asked.weight
    ranges, price = solver.ranges(), asked.price
    if ranges is None or price is None or parameter.bent or len(parameter.rows[0]) + len(parameter.upper[0]) > 1:
        return price_of(resolved, asked)
    if len(parameter.rows[0]) == 1:
        place = int(parameter.rows[0][0])
        row = float(solver.program.row_upper[place])
        row = row if np.isfinite(row) else float(solver.program.row_lower[place])
        low, high = (parameter.at + float(side[place]) - row for side in (ranges.row_low, ranges.row_high))
    else:
        [place] = (parameter.upper[0] if len(parameter.upper[0]) else parameter.lower[0]).tolist()
        low, high = float(ranges.column_low[place]), float(ranges.column_high[place])
    near = NEARBY * max(abs(parameter.at), 1e-6)
    end = high if np.isfinite(high) else low
    if not (low < parameter.at - near and high > parameter.at + near) or not np.isfinite(end):
        return price_of(resolved, asked)
    base = resolved.here(asked.label)
    point = solver.at(parameter, end)
    if point is None or not straight(Point(parameter.at, base.usd, 0.0, base.x), price, point):
        return price_of(resolved, asked)
    each = price / weight
    return LimitPrice(asked.about, parameter.at, each, each, each, max(low, parameter.least), high, "basis", "basis",
                      False, False, True)  # fmt: skip


def _differs(side: Side, price: float) -> bool:
    near = SAME * max(abs(price), abs(side.price), NOTHING)
    return bool(np.isfinite(side.price)) and abs(side.price - price) > near


def _confirmed(left: Side, right: Side, price: float, several: bool) -> bool:
    """Every end of a range was solved at, and lay on the price's line; at a kink the sides enclose the price."""
    if not several:
        return True
    room = 1e-5 * max(abs(price), *(abs(s.price) for s in (left, right) if np.isfinite(s.price)))
    below = not np.isfinite(left.price) or left.price <= price + room
    above = not np.isfinite(right.price) or price <= right.price + room
    return below and above


def _side(side: Side, weight: float) -> float | None:
    return side.price / weight if np.isfinite(side.price) else None


def binding_rules(resolved: Resolved) -> Iterator[Asked]:
    """The rule rows that stand at their limit."""
    layout, x = resolved.layout, resolved.x
    weights = dict(zip(layout.case.years, layout.case.weights, strict=True))
    places = resolved.row_place.get("rule_row", {}) | resolved.row_place.get("provenance_row", {})
    for number, row in enumerate(resolved.rows):
        value, member = resolved.apart.get(number) or (row.value(x[: layout.width]), row.member)
        if not abs(value - row.limit) <= BINDS * max(abs(row.limit), 1e-3) or row.kind == "suppliers":
            continue
        most = 1.0 if row.kind in ("share", "each_share", "provenance", "survive") else np.inf
        about = {
            "rule": row.rule, "kind": row.kind, "bound": row.bound, "stage": row.stage, "mineral": row.mineral,
            "material": row.material, "member": member, "year": row.year, "value": value,
            "denominator": row.denominator,
        }  # fmt: skip
        label = _label(resolved, number)
        if label is None:
            continue
        if (row.kind in LINEAR or row.kind == "provenance") and not len(row.base.columns):
            place = resolved.local_rows(label, [places[number]])
            parameter = Parameter(row.limit, rows=(place, np.array([row.base.constant])), most=most)
        else:
            parameter = Parameter(row.limit, bent=((number, 1.0, 0.0),), most=most)
        yield Asked(about, label, parameter, float(weights[row.year]), resolved.rule_price.get(number, 0.0))


def _label(resolved: Resolved, number: int) -> int | None:
    """The part in which a rule row lies; None for one that is about nothing."""
    row, layout = resolved.rows[number], resolved.layout
    if row.kind != "survive":
        columns = np.concatenate([row.top.columns, row.base.columns])
        return resolved.label_of(int(columns[0])) if len(columns) else None
    code, at = layout.material_code[row.material], layout.case.years.index(row.year)
    flows = np.flatnonzero((layout.flow_material == code) & (layout.flow_year == at))
    return resolved.label_of(layout.offsets["flow"] + int(flows[0])) if len(flows) else None


def demands(resolved: Resolved) -> Iterator[Asked]:
    """Every requirement: what one tonne more of it costs, with all that moves with it."""
    case, program = resolved.case, resolved.program
    markets, materials = list(case.markets), case.materials["material"].to_numpy()
    rule_places = resolved.row_place.get("rule_row", {})
    for index, place in resolved.row_place.get("requirement_met", {}).items():
        market, code, at = index
        required = float(program.row_upper[place])
        if required <= 0:
            continue
        material, year = str(materials[code]), case.years[at]
        rows, steps, bent = [place], [1.0], []
        for number, top, base in resolved.requirement_moves.get((markets[market], material, year), []):
            row = resolved.rows[number]
            if row.kind == "hhi":
                bent.append((number, 0.0, base))
            elif number in rule_places:
                rows.append(rule_places[number])
                steps.append(row.limit * base - top)
        label = int(resolved.parts.of_row[place])
        if resolved.survives(label):
            continue
        columns, shares = _with_requirement(resolved, market, code, at, required)
        parameter = Parameter(
            required, rows=(resolved.local_rows(label, rows), np.array(steps)),
            upper=(resolved.local_columns(label, columns), np.array(shares)), bent=tuple(bent),
            most=MOST_DEMAND * required, removable=False,
        )  # fmt: skip
        about = _thing("demand", markets[market], case.materials["mineral"].iloc[code], material, year)
        yield Asked(about, label, parameter, float(case.weights[at]))


def _with_requirement(
    resolved: Resolved, market: int, code: int, at: int, required: float
) -> tuple[list[int], list[float]]:
    """Bounds that are a part of a requirement: what its sectors may be short of, what can be done without."""
    layout = resolved.layout
    columns, shares = [], []
    for family, markets, codes in (
        ("shortage", layout.shortage_market, layout.shortage_material),
        ("substituted", layout.substituted_market, layout.substituted_material),
    ):
        mine = np.flatnonzero((markets == market) & (codes == code) & (layout.year_of(family) == at))
        for entry in mine.tolist():
            column = layout.offsets[family] + entry
            columns.append(column)
            shares.append(float(layout.upper_t[column]) / required)
    return columns, shares


def scarce(resolved: Resolved) -> Iterator[Asked]:
    """Capacities, lanes, pools, contracts and stocks at their limit that have a price.

    Not where losses are to be survived, but for contracts and lots: there a limit counts in the responses as well.
    """
    for asked in _scarce(resolved):
        if asked.about["what"] == "minimum" or not resolved.survives(asked.label):
            yield asked


def _scarce(resolved: Resolved) -> Iterator[Asked]:
    layout, case = resolved.layout, resolved.case
    lots = case.suppliers["lot_t"].to_numpy(dtype=float)
    least, most = resolved.program.lower, resolved.program.upper
    expanded = resolved.row_place.get("capacity_expanded", {})
    for p in range(layout.sizes["production"]):
        column = layout.offsets["production"] + p
        weight = float(case.weights[layout.production_year[p]])
        if p in expanded:  # what it can make stands in the row, and with all of its expansion in the bound
            asked = _together(resolved, [expanded[p]], [column], np.ones(1), np.ones(1), weight)
            if abs(asked.price or 0.0) > WORTH * weight:
                at = float(resolved.program.row_upper[expanded[p]])
                yield replace(
                    asked, about=_supplier(resolved, "capacity", p), parameter=replace(asked.parameter, at=at)
                )
        elif resolved.reduced[column] < -WORTH * weight and np.isfinite(most[column]):
            yield _of_column(resolved, _supplier(resolved, "capacity", p), column, weight, upper=True)
        if resolved.reduced[column] > WORTH * weight and least[column] > 0:
            yield _of_column(resolved, _supplier(resolved, "minimum", p), column, weight, upper=False)
    names = [*case.suppliers["supplier"], *case.markets]
    materials, minerals = (case.materials[name].to_numpy() for name in ("material", "mineral"))
    for f in range(layout.sizes["flow"]):
        column = layout.offsets["flow"] + f
        weight, code = float(case.weights[layout.flow_year[f]]), int(layout.flow_material[f])
        if resolved.reduced[column] < -WORTH * weight and np.isfinite(most[column]):
            name = f"{names[layout.flow_origin[f]]} -> {names[layout.flow_destination[f]]}"
            about = _thing("lane", name, minerals[code], materials[code], case.years[layout.flow_year[f]])
            yield _of_column(resolved, about, column, weight, upper=True)
    for index, place in resolved.row_place.get("pool_available", {}).items():
        code, at = index
        weight = float(case.weights[at])
        if abs(resolved.prices[place]) > WORTH * weight:
            about = _thing("feedstock", materials[code], minerals[code], materials[code], case.years[at])
            yield _of_row(resolved, about, place, weight)
    for index, place in resolved.row_place.get("used_at_least", {}).items():
        p = int(layout.used_production[index])
        weight = float(case.weights[layout.production_year[p]])
        if abs(resolved.prices[place]) > WORTH * weight:
            about = _supplier(resolved, "minimum", p) | {"kind": "lot"}
            yield _of_row(resolved, about, place, weight, float(lots[layout.production_supplier[p]]))
    yield from _over_years(resolved)


def _over_years(resolved: Resolved) -> Iterator[Asked]:
    """What can be expanded over the years, and stocks: prices in USD of present value for limits of no one year."""
    layout, case = resolved.layout, resolved.case
    materials, minerals = (case.materials[name].to_numpy() for name in ("material", "mineral"))
    supplier_names = [str(name) for name in case.suppliers["supplier"]]
    expanding: dict[int, list[int]] = {}
    for (supplier, _), place in resolved.row_place.get("expansion_limit", {}).items():
        expanding.setdefault(supplier, []).append(place)
    for supplier, rows in expanding.items():
        asked = _expansion(resolved, supplier, rows)
        if abs(asked.price or 0.0) > WORTH:
            code = int(layout.supplier_material[supplier])
            about = _thing("capacity", supplier_names[supplier], minerals[code], materials[code], case.years[0])
            yield replace(asked, about=about | {"kind": "expansion"})
    for family in ("stock", "built", "drawn"):
        places = getattr(layout, f"{family}_place")
        for entry, at in enumerate(layout.year_of(family).tolist()):
            column, stock = layout.offsets[family] + entry, int(places[entry])
            weight = 1.0 if family == "stock" else float(case.weights[at])
            if resolved.reduced[column] < -WORTH * weight and np.isfinite(resolved.program.upper[column]):
                about = _stock(resolved, "capacity", stock, at) | {"kind": family}
                yield _of_column(resolved, about, column, weight, upper=True)
    for index, place in resolved.row_place.get("closing_stock", {}).items():
        if abs(resolved.prices[place]) > WORTH:
            stock = int(layout.stock_place[index])
            about = _stock(resolved, "minimum", stock, len(case.years) - 1) | {"kind": "closing stock"}
            yield _of_row(resolved, about, place, 1.0)


def _expansion(resolved: Resolved, supplier: int, rows: list[int]) -> Asked:
    """What a supplier can expand by: the rows over its decisions, the bound of each, and what it can make with all."""
    layout, growth = resolved.layout, resolved.layout.growth
    opened = layout.opened_supplier == supplier
    on = resolved.x[layout.columns("opened")][opened]
    steps = []
    for place in rows:
        _, (_, last) = resolved.program.rows[place]
        until = layout.opened_year[opened] <= layout.expansion_year[last]
        steps.append(float(np.round(on[until]).sum()) if opened.any() else 1.0)
    decisions = layout.columns("expansion")[layout.expansion_supplier == supplier]
    made = np.flatnonzero(layout.production_supplier == supplier)
    parts = growth.usable[supplier].max(axis=0)[layout.production_year[made]]
    columns = [*decisions.tolist(), *(layout.offsets["production"] + made).tolist()]
    each = np.concatenate([np.ones(len(decisions)), parts])
    asked = _together(resolved, rows, columns, np.array(steps), each, 1.0)
    return replace(asked, parameter=replace(asked.parameter, at=float(growth.limit_t[supplier])))


def _together(
    resolved: Resolved, rows: list[int], columns: list[int], row_steps: Floats, column_steps: Floats, weight: float
) -> Asked:
    """Right sides and upper bounds that are one number of the case."""
    label = int(resolved.parts.of_row[rows[0]])
    price = float(resolved.prices[rows] @ row_steps)
    price += float(np.minimum(resolved.reduced[columns], 0.0) @ column_steps)
    parameter = Parameter(
        0.0, rows=(resolved.local_rows(label, rows), row_steps),
        upper=(resolved.local_columns(label, columns), column_steps),
    )  # fmt: skip
    return Asked({}, label, parameter, weight, price)


def _thing(what: str, name: str, mineral: str, material: str, year: int) -> dict[str, Any]:
    return {"what": what, "kind": "", "name": str(name), "mineral": str(mineral), "material": str(material),
            "year": int(year)}  # fmt: skip


def _supplier(resolved: Resolved, what: str, p: int) -> dict[str, Any]:
    layout, case = resolved.layout, resolved.case
    supplier = case.suppliers.iloc[layout.production_supplier[p]]
    return _thing(what, supplier["supplier"], supplier["mineral"], supplier["material"],
                  case.years[layout.production_year[p]])  # fmt: skip


def _stock(resolved: Resolved, what: str, place: int, at: int) -> dict[str, Any]:
    case = resolved.case
    market, material = (str(case.stock[name].iloc[place]) for name in ("market", "material"))
    name = f"stock of {material} at {market}"
    return _thing(what, name, case.materials["mineral"][material], material, case.years[at])


def _of_row(resolved: Resolved, about: dict[str, Any], place: int, weight: float, at: float | None = None) -> Asked:
    """A limit that is the right side of a row (``at``: its value where the row's right side is not it)."""
    label = int(resolved.parts.of_row[place])
    low, high = resolved.program.row_lower[place], resolved.program.row_upper[place]
    value = float(high if np.isfinite(high) else low) if at is None else at
    steps: Steps = (resolved.local_rows(label, [place]), np.ones(1))
    return Asked(about, label, Parameter(value, rows=steps), weight, float(resolved.prices[place]))


def _of_column(resolved: Resolved, about: dict[str, Any], column: int, weight: float, upper: bool) -> Asked:
    """A limit that is the bound of a column."""
    label = resolved.label_of(column)
    steps: Steps = (resolved.local_columns(label, [column]), np.ones(1))
    bound = float((resolved.program.upper if upper else resolved.program.lower)[column])
    parameter = Parameter(bound, upper=steps) if upper else Parameter(bound, lower=steps)
    return Asked(about, label, parameter, weight, float(resolved.reduced[column]))
