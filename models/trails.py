"""Provenance as tagged flows: which part of each flow passed through selected suppliers, as linear rows.

Contract section 2, `provenance`: everything from a selected supplier is touched; any other's touched output is its
recovery times the touched input, assigned freely among its customers (batches kept apart); by-products carry the
tag of their batch; pools are clean. The model adds these rows, and the report asks them for the least and the most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.case import Flags, Floats
from models.lanes import Ints
from models.layout import Layout
from models.rule_rows import Linear, RuleRow

FAMILIES = ("touched_at_most", "touched_passed_on", "clean_byproduct", "provenance_row")


@dataclass(frozen=True)
class Trail:
    """Tags of one year for one selection of suppliers.

    ``tags``: flow entry of each tag column (tonnes of the flow that are touched). ``part``: for each flow entry its
    tag as a column: the flow's own column where all of it is touched, ``layout.width`` + tag number where it has
    a tag, -1 where it is clean. ``rows``: (family, index, terms, equal) with terms over layout columns and tags
    (numbered from ``layout.width``); each row is terms <= 0, or = 0 where ``equal``. That no more by-product is touched
    than comes of touched batches (touched_byproduct) binds only where much is to be touched: rules are about little.
    """

    tags: Ints
    part: Ints
    rows: tuple[tuple[str, tuple[int, ...], Linear, bool], ...]


def reached(layout: Layout, touched: Flags, flows: Ints) -> Flags:
    """Suppliers that something from a selected one can reach along the flows, themselves not selected."""
    count = len(touched)
    origin, destination = layout.flow_origin[flows], layout.flow_destination[flows]
    inner = destination < count
    origin, destination = origin[inner], destination[inner]
    found = np.zeros(count, dtype=bool)
    while True:
        more = found.copy()
        more[destination[(touched | found)[origin]]] = True
        more &= ~touched
        if (more == found).all():
            return found
        found = more


def find_trail(layout: Layout, touched: Flags, flows: Ints, much: bool = False) -> Trail:
    """The tags of these flows (of one year) where ``touched`` says which suppliers are selected.

    ``much``: with the rows that bind only where the most that can be touched is asked for.
    """
    case, count = layout.case, len(layout.case.suppliers)
    passing = reached(layout, touched, flows)
    origin, destination = layout.flow_origin[flows], layout.flow_destination[flows]
    tagged = passing[origin]
    tags = flows[tagged]
    part = np.full(layout.sizes["flow"], -1, dtype=np.int64)
    whole = flows[touched[origin]]
    part[whole] = layout.offsets["flow"] + whole
    part[tags] = layout.width + np.arange(len(tags))
    second = layout.case.lanes.is_byproduct[layout.flow_lane[flows]]
    out: dict[int, list[int]] = defaultdict(list)
    beside: dict[tuple[int, int], list[int]] = defaultdict(list)
    into: dict[int, list[int]] = defaultdict(list)
    for flow, start, end, extra in zip(flows.tolist(), origin.tolist(), destination.tolist(), second.tolist(),
                                       strict=True):  # fmt: skip
        if passing[start] and extra:
            beside[start, int(layout.flow_material[flow])].append(flow)
        elif passing[start]:
            out[start].append(flow)
        if end < count and passing[end] and part[flow] >= 0:
            into[end].append(flow)
    rows: list[tuple[str, tuple[int, ...], Linear, bool]] = []
    start_flow = layout.offsets["flow"]
    for flow in tags.tolist():
        terms = _linear([(part[flow], 1.0), (start_flow + flow, -1.0)])
        rows.append(("touched_at_most", (flow,), terms, False))
    recovery = case.suppliers["recovery"].to_numpy(dtype=float)
    for supplier in np.flatnonzero(passing).tolist():
        terms = _linear([(part[f], 1.0) for f in out[supplier]]
                        + [(part[f], -float(recovery[supplier])) for f in into[supplier]])  # fmt: skip
        rows.append(("touched_passed_on", (supplier,), terms, True))
    names = case.suppliers["supplier"].to_numpy()
    for (supplier, material), taken in beside.items():
        ratio = dict(case.byproducts[names[supplier]])[case.materials.index[material]]
        touched_terms = [(part[f], 1.0) for f in taken] + [(part[f], -ratio) for f in out[supplier]]
        clean = [(start_flow + f, 1.0) for f in taken] + [(start_flow + f, -ratio) for f in out[supplier]]
        if much:
            rows.append(("touched_byproduct", (supplier, material), _linear(touched_terms), False))
        rows.append(("clean_byproduct", (supplier, material),
                     _linear(clean + [(column, -value) for column, value in touched_terms]), False))  # fmt: skip
    return Trail(tags, part, tuple(rows))


def _linear(terms: Sequence[tuple[int, float]]) -> Linear:
    return Linear(np.array([column for column, _ in terms], dtype=np.int64), np.array([value for _, value in terms]))


@dataclass(frozen=True)
class TrailRow:
    """A row of the tag system: terms over layout columns and tags (from ``layout.width`` on), low to high."""

    family: str
    index: tuple[int, ...] | int
    terms: Linear
    low: float
    high: float


def trail_groups(rows: Sequence[RuleRow]) -> dict[tuple[str, int], list[int]]:
    """(rule, year) -> numbers of its provenance rows: one assignment of tags for all of them."""
    groups: dict[tuple[str, int], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row.kind == "provenance":
            groups[row.rule, row.year].append(number)
    return groups


def flows_of_year(layout: Layout, year: int) -> Ints:
    """Flow entries of a calendar year of the horizon."""
    return np.flatnonzero(layout.flow_year == layout.case.years.index(year))


def trail_system(layout: Layout, rows: Sequence[RuleRow]) -> tuple[list[tuple[int, int]], list[TrailRow]]:
    """All tags, as (group, flow entry), and all rows of the provenance rules; a group is a rule in a year.

    Tags are numbered from ``layout.width`` on, over all groups; a row without any column has -1, a column fixed at 0.
    """
    tags: list[tuple[int, int]] = []
    found: list[TrailRow] = []
    for group, ((_, year), numbers) in enumerate(trail_groups(rows).items()):
        touched = rows[numbers[0]].touched
        assert touched is not None
        trail = find_trail(layout, touched, flows_of_year(layout, year))
        shift = len(tags)
        tags += [(group, flow) for flow in trail.tags.tolist()]
        for family, index, terms, equal in trail.rows:
            moved = Linear(_shifted(terms.columns, layout.width, shift), terms.coefficients)
            found.append(TrailRow(family, (group, *index), moved, 0.0 if equal else -np.inf, 0.0))
        for number in numbers:
            row = rows[number]
            passed = _shifted(touched_terms(layout, trail, row).columns, layout.width, shift)
            base = row.base
            terms = Linear(np.concatenate([passed, base.columns]),
                           np.concatenate([np.ones(len(passed)), -row.limit * base.coefficients]))  # fmt: skip
            if not len(terms.columns):
                terms = Linear(np.array([-1]), np.ones(1))
            found.append(TrailRow("provenance_row", number, terms, -np.inf, row.limit * base.constant))
    return tags, found


def _shifted(columns: Ints, width: int, shift: int) -> Ints:
    return np.where(columns >= width, columns + shift, columns)


def touched_terms(layout: Layout, trail: Trail, row: RuleRow) -> Linear:
    """The touched tonnes of what a provenance row delivers."""
    passed = trail.part[row.top.columns - layout.offsets["flow"]]
    passed = passed[passed >= 0]
    return Linear(passed, np.ones(len(passed)))


def touched_range(x: Floats, layout: Layout, trail: Trail, passed: Linear) -> tuple[Ints, Floats, float]:
    """The part of ``passed`` that is fixed by the flows, and the tags that are free: columns, values, constant."""
    own = passed.columns < layout.width
    return (
        passed.columns[~own] - layout.width,
        passed.coefficients[~own],
        float(passed.coefficients[own] @ x[passed.columns[own]]),
    )
