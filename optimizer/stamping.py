"""One year formulated in Pyomo, stamped for every year: the whole program as arrays, without the whole model.

Years share their structure. Pyomo formulates one year that holds whatever any year holds (the template); its
compiled rows are repeated for each year that has them, and what differs from year to year (bounds, requirements,
pools, costs, big-M) is filled in from the layout's vectors. Rule rows are assembled from their own terms. A test
proves the arrays equal those that the whole model compiles to, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from models.build import linking_model, template_key, template_model
from models.capacity import used_at_most_t
from models.case import Flags, Floats
from models.costs import objective
from models.lanes import Ints
from models.layout import FAMILIES, LINKING, YEARLY, Layout
from models.rule_rows import RuleRow
from models.rules import LINEAR, switched_t
from models.trails import trail_system
from optimizer.program import Names, Program

_UNMET = ("unmet", None)


@dataclass(frozen=True)
class Template:
    """One year of a layout: whatever any of its years holds, and where each of its columns lies in each year.

    ``layout`` has year 0 only. ``columns``: whole column of each (year, template column), -1 where the year has none.
    """

    layout: Layout
    columns: Ints

    def entries(self, family: str, whole: Layout) -> Ints:
        """Whole entry of a family for each (year, template entry), -1 where the year has none."""
        start, size = self.layout.offsets[family], self.layout.sizes[family]
        part = self.columns[:, start : start + size]
        return np.where(part >= 0, part - whole.offsets[family], -1)


def _union(years: int, keys: Ints, year: Ints) -> tuple[Ints, Ints]:
    """First entry of each key, keys in the order in which they come, and the entry of each (year, key), -1 for none."""
    first = np.full(int(keys.max(initial=-1)) + 1, -1, dtype=np.int64)
    first[keys[::-1]] = np.arange(len(keys))[::-1]
    present = np.flatnonzero(first >= 0)
    present = present[np.argsort(first[present], kind="stable")]
    rank = np.full(len(first), -1, dtype=np.int64)
    rank[present] = np.arange(len(present))
    entry = np.full((years, len(present)), -1, dtype=np.int64)
    entry[year, rank[keys]] = np.arange(len(keys))
    return first[present], entry


def find_template(layout: Layout) -> Template:
    """The one year that stands for all years of the layout."""
    years = len(layout.case.years)
    chosen: dict[str, Ints] = {}
    found = []
    for family in YEARLY:
        first, entry = _union(years, layout.keys(family), layout.year_of(family))
        chosen[family] = first
        found.append(np.where(entry >= 0, entry + layout.offsets[family], -1))
    pair = layout.requirement_market * len(layout.case.materials) + layout.requirement_material
    requirement, _ = _union(years, pair, layout.requirement_year)
    pool, _ = _union(years, layout.pool_material, layout.pool_year)
    return Template(layout.one_year(chosen, requirement, pool), np.concatenate(found, axis=1))


def stamp(
    layout: Layout, rows: Sequence[RuleRow], compiler: Callable[[Any], Program],
    formulated: dict[bytes, Program] | None = None,
) -> Program:  # fmt: skip
    """The program of a layout and its rule rows; equal to compiling the whole model of ``models.build``.

    ``compiler`` turns a Pyomo model into arrays. Columns are those of the layout, in its order, then ``unmet``
    (fixed at 0: what rows without any column hold on to), then the switches of rules that count suppliers, or in
    the status quo the factors; there what is used is not asked (``used`` is fixed at 1). ``formulated`` keeps
    compiled templates from one call to the next.
    """
    template = find_template(layout)
    key = template_key(template.layout) if formulated is not None else b""
    one = (formulated or {}).get(key)
    if one is None:
        one = compiler(template_model(template.layout))
        if formulated is not None:
            formulated[key] = one
    blocks = _Blocks(layout)
    _stamp_families(blocks, layout, template, one)
    if layout.status_quo:
        _status_quo_factors(blocks, layout)
        return blocks.program()
    _linking(blocks, layout, compiler)
    _rule_rows(blocks, rows)
    _supplier_counts(blocks, layout, rows)
    _provenance(blocks, layout, rows)
    return blocks.program()


class _Blocks:
    """Rows and columns of a program while it is put together."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.width, self.height = layout, layout.width + 1, 0
        self.unmet = layout.width
        self.names: list[tuple[str, Any]] = [(family, np.arange(layout.sizes[family])) for family in FAMILIES]
        self.names.append((_UNMET[0], [_UNMET[1]]))
        self.more: list[tuple[Floats, Flags]] = []
        none = np.zeros(0, dtype=np.int64)
        self.parts: list[tuple[Ints, Ints, Floats]] = [(none, none, np.zeros(0))]
        self.limits: list[tuple[Floats, Floats]] = [(np.zeros(0), np.zeros(0))]
        self.rows: list[tuple[str, Any]] = []

    def add(self, family: str, indices: Any, terms: tuple[Ints, Ints, Floats], low: Floats, high: Floats) -> None:
        """A block of rows: terms as (row within the block, column, value)."""
        at, columns, values = terms
        self.parts.append((at + self.height, columns, values))
        self.limits.append((low, high))
        self.rows.append((family, indices))
        self.height += len(low)

    def columns(self, family: str, indices: Sequence[Any], upper: float, whole: bool) -> Ints:
        """New columns from 0 to ``upper``."""
        columns = np.arange(self.width, self.width + len(indices))
        self.names.append((family, list(indices)))
        self.width += len(indices)
        self.more.append((np.full(len(indices), upper), np.full(len(indices), whole)))
        return columns

    def program(self) -> Program:
        """Everything added, as one program."""
        layout, extra = self.layout, self.width - self.layout.width - 1
        at, columns, values = (np.concatenate([part[i] for part in self.parts]) for i in range(3))
        matrix = sparse.csc_array(sparse.coo_array((values, (at, columns)), shape=(self.height, self.width)))
        matrix.sum_duplicates()
        integer = np.zeros(self.unmet + 1, dtype=bool)
        lower, used = layout.lower_t, layout.columns("used")
        integer[used] = not layout.status_quo
        integer[layout.columns("opened")] = True
        if layout.status_quo and len(used):
            lower = lower.copy()
            lower[used] = 1.0
        return Program(
            matrix=matrix,
            row_lower=np.concatenate([low for low, _ in self.limits]),
            row_upper=np.concatenate([high for _, high in self.limits]),
            cost=np.concatenate([objective(layout), np.zeros(1 + extra)]),
            lower=np.concatenate([lower, np.zeros(1 + extra)]),
            upper=np.concatenate([layout.upper_t, [0.0], *(upper for upper, _ in self.more)]),
            integer=np.concatenate([integer, *(whole for _, whole in self.more)]),
            rows=Names(self.rows), names=Names(self.names),
        )  # fmt: skip


def _stamp_families(blocks: _Blocks, layout: Layout, template: Template, one: Program) -> None:
    """The template's rows for every year that has them."""
    years = len(layout.case.years)
    columns = _layout_columns(one, template.layout)
    coo = one.matrix.tocoo()
    known = np.pad(template.columns, ((0, 0), (0, 1)), constant_values=-1)  # nothing at all can be made: no columns
    place = known[:, np.maximum(columns[coo.col], 0)]
    inside = columns[coo.col] >= 0  # what holds on to ``unmet`` in the template may have columns elsewhere
    start = 0
    for family, indices in one.rows.blocks:
        count = len(indices)
        mine = (coo.row >= start) & (coo.row < start + count) & inside
        at, where, values = coo.row[mine].astype(np.int64) - start, place[:, mine], coo.data[mine]
        there, whole, low, high = _family_rows(
            family, indices, layout, template, one.row_lower[start : start + count],
            one.row_upper[start : start + count], at, where,
        )  # fmt: skip
        number = np.cumsum(there.ravel()).reshape(there.shape) - 1
        kept = (where >= 0) & there[:, at]
        data = np.broadcast_to(values, kept.shape)[kept]
        row = number[:, at][kept]
        column = where[kept]
        if family == "used_at_most":
            switch = layout.used_production[np.asarray(whole)]
            big = column >= layout.offsets["used"]
            data = data.copy()
            data[big] = -used_at_most_t(layout)[switch][row[big]]
        empty = np.flatnonzero(np.bincount(row, minlength=len(low)) == 0)  # a requirement that nothing can meet
        row, column = np.concatenate([row, empty]), np.concatenate([column, np.full(len(empty), blocks.unmet)])
        blocks.add(family, whole, (row, column, np.concatenate([data, np.ones(len(empty))])), low, high)
        start += count
    assert years


def _layout_columns(one: Program, layout: Layout) -> Ints:
    """Layout column of each program column, -1 for ``unmet``."""
    parts = []
    for family, indices in one.names.blocks:
        known = family in FAMILIES
        parts.append(layout.offsets[family] + np.asarray(indices) if known else np.full(len(indices), -1))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _family_rows(
    family: str, indices: Any, layout: Layout, template: Template, low: Floats, high: Floats, at: Ints, where: Ints
) -> tuple[Flags, Any, Floats, Floats]:
    """Which (year, template row) the whole has, the index of each in the whole, and its limits."""
    years, count = len(layout.case.years), len(indices)
    if family in ("requirement_met", "pool_available"):
        required = family == "requirement_met"
        keys = (layout.requirement_market, layout.requirement_material) if required else (layout.pool_material,)
        year, tonnes = (
            (layout.requirement_year, layout.requirement_t) if required else (layout.pool_year, layout.pool_t)
        )
        known = {tuple(index[:-1]): place for place, index in enumerate(indices)}
        place = np.array([known[key] for key in zip(*(k.tolist() for k in keys), strict=True)], dtype=np.int64)
        t = np.full((years, count), np.nan)
        t[year, place] = tonnes
        there = ~np.isnan(t)
        pairs = zip(*(a.tolist() for a in np.nonzero(there)), strict=True)
        least = t[there] if required else np.full(there.sum(), -np.inf)
        return there, [(*indices[r][:-1], y) for y, r in pairs], least, t[there]
    base = "used" if family.startswith("used_") else "production"
    entry = template.entries(base, layout)
    if family == "byproduct_made":
        maker = entry[:, [p for p, _ in indices]]
        there = np.zeros((years, count), dtype=bool)
        flows = where >= layout.offsets["flow"]
        for y in range(years):
            there[y, at[flows[y]]] = True
        second = np.broadcast_to(np.array([m for _, m in indices]), maker.shape)
        whole: Any = list(zip(maker[there].tolist(), second[there].tolist(), strict=True))
    else:
        maker = entry[:, np.asarray(indices)]
        there = maker >= 0
        whole = maker[there]
    return there, whole, np.broadcast_to(low, there.shape)[there], np.broadcast_to(high, there.shape)[there]


def _linking(blocks: _Blocks, layout: Layout, compiler: Callable[[Any], Program]) -> None:
    """The rows that link years (expansion, stock), compiled once for the whole horizon."""
    if not any(layout.sizes[family] for family in LINKING):
        return
    whole = compiler(linking_model(layout))
    columns, coo, start = _layout_columns(whole, layout), whole.matrix.tocoo(), 0
    for family, indices in whole.rows.blocks:
        end = start + len(indices)
        mine = (coo.row >= start) & (coo.row < end)
        terms = coo.row[mine].astype(np.int64) - start, columns[coo.col[mine]], coo.data[mine]
        blocks.add(family, indices, terms, whole.row_lower[start:end], whole.row_upper[start:end])
        start = end


def _rule_rows(blocks: _Blocks, rows: Sequence[RuleRow]) -> None:
    """share, each_share, index, ban, budget, emissions: top - limit * base against 0."""
    chosen = [number for number, row in enumerate(rows) if row.kind in LINEAR]
    if not chosen:
        return
    tops, bases = [rows[number].top for number in chosen], [rows[number].base for number in chosen]
    limit = np.array([rows[number].limit for number in chosen])
    most = np.array([rows[number].bound == "max" for number in chosen])
    above, below = ([len(side.columns) for side in sides] for sides in (tops, bases))
    number = np.arange(len(chosen))
    right = limit * np.array([base.constant for base in bases]) - np.array([top.constant for top in tops])
    bare = np.flatnonzero(np.add(above, below) == 0)  # keeps what it can be kept at, and breaks where it cannot
    kept = np.where(most[bare], right[bare] >= 0, right[bare] <= 0)
    right[bare[kept]] = 0.0
    at = np.concatenate([np.repeat(number, above), np.repeat(number, below), bare])
    columns = [side.columns for side in (*tops, *bases)] + [np.full(len(bare), blocks.unmet)]
    values = [top.coefficients for top in tops]
    values += [np.concatenate([base.coefficients for base in bases]) * -np.repeat(limit, below), np.ones(len(bare))]
    blocks.add("rule_row", np.array(chosen), (at, np.concatenate(columns), np.concatenate(values)),
               np.where(most, -np.inf, right), np.where(most, right, np.inf))  # fmt: skip


def _supplier_counts(blocks: _Blocks, layout: Layout, rows: Sequence[RuleRow]) -> None:
    """suppliers: the switch of each that may count, what ties it to tonnes, and their number."""
    counting = [number for number, row in enumerate(rows) if row.kind == "suppliers"]
    keys = [(number, i) for number in counting for i in range(len(rows[number].counted))]
    switches = dict(zip(keys, blocks.columns("counts", keys, 1.0, True).tolist(), strict=True))
    for family, bound in (("counted_at_least", "min"), ("counted_at_most", "max")):
        mine = [key for key in keys if rows[key[0]].bound == bound]
        at, columns, values = [], [], []
        for place, (number, i) in enumerate(mine):
            terms = rows[number].counted[i][1]
            at.append(np.full(len(terms.columns) + 1, place))
            columns.append(np.append(terms.columns, switches[number, i]))
            values.append(np.append(terms.coefficients, -switched_t(layout, rows[number], i)))
        if mine:
            flat = np.concatenate(at), np.concatenate(columns).astype(np.int64), np.concatenate(values)
            zero, none = np.zeros(len(mine)), np.full(len(mine), np.inf)
            blocks.add(family, mine, flat, *((zero, none) if bound == "min" else (-none, zero)))
    for number in counting:
        row = rows[number]
        counted = [switches[number, i] for i in range(len(row.counted))] or [blocks.unmet]
        flat = np.zeros(len(counted), dtype=np.int64), np.array(counted), np.ones(len(counted))
        limit = np.array([row.limit])
        none = np.array([np.inf])
        blocks.add("supplier_count", [number], flat, *((limit, none) if row.bound == "min" else (-none, limit)))


def _provenance(blocks: _Blocks, layout: Layout, rows: Sequence[RuleRow]) -> None:
    """provenance: a column for the touched part of each flow, and the rows that tie it to the flows."""
    tags, found = trail_system(layout, rows)
    columns = blocks.columns("touched", tags, np.inf, False)
    for family in dict.fromkeys(row.family for row in found):
        mine = [row for row in found if row.family == family]
        place = np.concatenate([row.terms.columns for row in mine])
        tagged = place >= layout.width
        place = np.where(place < 0, blocks.unmet, place)
        place[tagged] = columns[place[tagged] - layout.width]
        at = np.repeat(np.arange(len(mine)), [len(row.terms.columns) for row in mine])
        values = np.concatenate([row.terms.coefficients for row in mine])
        blocks.add(family, [row.index for row in mine], (at, place, values),
                   np.array([row.low for row in mine]), np.array([row.high for row in mine]))  # fmt: skip


def _status_quo_factors(blocks: _Blocks, layout: Layout) -> None:
    """Status quo: production = incumbent_t * factor, one factor for each material and year."""
    incumbent = layout.case.suppliers["incumbent_t"].to_numpy(dtype=float)[layout.production_supplier]
    keys = layout.supplier_material[layout.production_supplier] * len(layout.case.years) + layout.production_year
    factors, factor_of = np.unique(keys, return_inverse=True)
    named = [divmod(int(key), len(layout.case.years)) for key in factors]
    columns, numbers = blocks.columns("factor", named, np.inf, False), np.arange(len(keys))
    terms = (np.tile(numbers, 2), np.concatenate([layout.columns("production"), columns[factor_of]]),
             np.concatenate([np.ones(len(keys)), -incumbent]))  # fmt: skip
    blocks.add("status_quo_factor", numbers, terms, np.zeros(len(keys)), np.zeros(len(keys)))
