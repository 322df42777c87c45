"""The rules in Pyomo: linear rows, HHI tangent cuts, and counts of suppliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from pyomo.core import Binary, Constraint, Var
from pyomo.core.base.block import BlockData
from pyomo.core.expr.numeric_expr import LinearExpression

from models.case import Floats
from models.layout import Layout
from models.rule_rows import Linear, RuleRow

LINEAR = ("share", "each_share", "index", "ban", "budget", "emissions", "stock_days")


@dataclass(frozen=True)
class Cut:
    """A tangent of an HHI cone: v . Q <= sqrt(max) * T, for one rule row (by its number)."""

    row: int
    terms: Linear


@dataclass(frozen=True)
class SurviveCut:
    """terms <= limit - sum of weight * (share that is given up): what a plan must keep to survive a loss.

    ``weights``: rule row -> weight of its ``serve`` in the limit; a larger serve makes the limit smaller.
    ``pools`` (material, year, tonnes) and ``lanes`` (flow, tonnes) stand in the way of serving more after the loss.
    """

    loss: str
    terms: Linear
    limit: float
    weights: Mapping[int, float]
    pools: tuple[tuple[int, int, float], ...] = ()
    lanes: tuple[tuple[int, float], ...] = ()


def rule_terms(row: RuleRow, unmet: int = -1) -> Linear:
    """top - limit * base of a linear rule row: <= 0 for bound max, >= 0 for min.

    A row without any column holds on to the column ``unmet``, which is fixed at 0; where it can be kept that
    way, its constant is 0.
    """
    constant = row.top.constant - row.limit * row.base.constant
    if not len(row.top.columns) and not len(row.base.columns):
        unmeetable = constant > 0 if row.bound == "max" else constant < 0
        return Linear(np.array([unmet]), np.ones(1), constant if unmeetable else 0.0)
    return Linear(
        np.concatenate([row.top.columns, row.base.columns]),
        np.concatenate([row.top.coefficients, -row.limit * row.base.coefficients]),
        constant,
    )


def tangent(row: RuleRow, number: int, x: Floats) -> Cut | None:
    """The tangent cut of an HHI row at ``x``; None where ``x`` keeps the rule to 1e-7 of its limit.

    sum w s^2 <= H is the cone ||(sqrt(w) Q)|| <= sqrt(H) T; with v = sqrt(w) Q / ||sqrt(w) Q|| every feasible
    plan keeps sum v sqrt(w) Q <= sqrt(H) T, and x does not. Exact in the limit of cuts (Kelley 1960).
    """
    base = row.base.value(x)
    tonnes = np.array([terms.value(x) for _, terms, _ in row.groups])
    roots = np.sqrt([weight for _, _, weight in row.groups])
    norm = float(np.linalg.norm(roots * tonnes))
    if norm**2 <= row.limit * base**2 * (1 + 1e-7) or norm <= 1e-9 * max(1.0, abs(base)):
        return None
    slopes = roots * roots * tonnes / norm
    columns = np.concatenate([terms.columns for _, terms, _ in row.groups] + [row.base.columns])
    coefficients = [terms.coefficients * slope for (_, terms, _), slope in zip(row.groups, slopes, strict=True)]
    root = sqrt(row.limit)
    return Cut(
        number,
        Linear(columns, np.concatenate([*coefficients, -root * row.base.coefficients]), -root * row.base.constant),
    )


def _expression(terms: Linear, columns: Sequence[object]) -> LinearExpression:
    """The terms over the model's variables; a column named twice is added up."""
    unique, inverse = np.unique(terms.columns, return_inverse=True)
    coefficients = np.bincount(inverse, weights=terms.coefficients, minlength=len(unique))
    return LinearExpression(
        constant=terms.constant, linear_coefs=coefficients.tolist(), linear_vars=[columns[c] for c in unique.tolist()]
    )


def rule_row(model: BlockData, rows: Sequence[RuleRow], columns: Sequence[object]) -> None:
    """share, each_share, index, ban, budget, emissions, stock_days: top <= max * base, top >= min * base."""
    known = [*columns, model.unmet]

    def hold(_: BlockData, r: int) -> object:
        terms = rule_terms(rows[r], unmet=len(columns))
        expression = _expression(Linear(terms.columns, terms.coefficients), known)
        if rows[r].bound == "max":
            return (None, expression, -terms.constant)
        return (-terms.constant, expression, None)

    model.rule_row = Constraint([r for r, row in enumerate(rows) if row.kind in LINEAR], rule=hold)


def hhi_cut(model: BlockData, cuts: Sequence[Cut], columns: Sequence[object]) -> None:
    """hhi: tangents of the cone, as many as the solving needed (none to begin with)."""

    def hold(_: BlockData, i: int) -> object:
        terms = cuts[i].terms
        return (None, _expression(Linear(terms.columns, terms.coefficients), columns), -terms.constant)

    model.hhi_cut = Constraint(range(len(cuts)), rule=hold)


def survive_cut(model: BlockData, cuts: Sequence[SurviveCut], columns: Sequence[object]) -> None:
    """survive: tangents of what is least missing after each loss, as many as the solving needed."""

    def hold(_: BlockData, i: int) -> object:
        return (None, _expression(cuts[i].terms, columns), cuts[i].limit)

    model.survive_cut = Constraint(range(len(cuts)), rule=hold)


def supplier_counts(model: BlockData, layout: Layout, rows: Sequence[RuleRow], columns: Sequence[object]) -> None:
    """suppliers: b = 0 or 1 for each that may count; max: t <= M b, sum b <= max; min: t >= least b, sum b >= min.

    M is the smaller of what the supplier's columns can carry and what the chain can use, in tonnes.
    """
    counting = [r for r, row in enumerate(rows) if row.kind == "suppliers"]
    keys = [(r, i) for r in counting for i in range(len(rows[r].counted))]
    model.counts = Var(keys, domain=Binary)

    def least(_: BlockData, r: int, i: int) -> object:
        tonnes = _expression(rows[r].counted[i][1], columns)
        return (0.0, tonnes - switched_t(layout, rows[r], i) * model.counts[r, i], None)

    def most(_: BlockData, r: int, i: int) -> object:
        tonnes = _expression(rows[r].counted[i][1], columns)
        return (None, tonnes - switched_t(layout, rows[r], i) * model.counts[r, i], 0.0)

    def enough(_: BlockData, r: int) -> object:
        counted = [model.counts[r, i] for i in range(len(rows[r].counted))] or [model.unmet]
        total = LinearExpression(constant=0.0, linear_coefs=[1.0] * len(counted), linear_vars=counted)
        return (rows[r].limit, total, None) if rows[r].bound == "min" else (None, total, rows[r].limit)

    model.counted_at_least = Constraint([k for k in keys if rows[k[0]].bound == "min"], rule=least)
    model.counted_at_most = Constraint([k for k in keys if rows[k[0]].bound == "max"], rule=most)
    model.supplier_count = Constraint(counting, rule=enough)


def switched_t(layout: Layout, row: RuleRow, counted: int) -> float:
    """What the switch of a counted supplier stands for: with bound min the least tonnes that count, else M."""
    terms = row.counted[counted][1]
    if row.bound == "max":
        at = layout.case.years.index(row.year)
        need = sum(layout.need_t[m, at] for m in np.unique(layout.column_material[terms.columns]))
        return float(min(need, _carried(layout, terms)))
    scale_t = float(layout.scale_t[layout.column_material[terms.columns]].max(initial=0.0))
    floor = max(row.least_t, 2e-6)  # above what counts as nothing
    if floor < 1e-6 * scale_t:  # and above the solver's tolerance, where it is next to nothing
        floor = min(floor + 1e-8 * scale_t, max(floor, _carried(layout, terms)))
    return floor


def _carried(layout: Layout, terms: Linear) -> float:
    """Most that the columns (production or flows of one supplier in one year) can add up to, t."""
    flows = terms.columns - layout.offsets["flow"]
    total = 0.0
    for column, flow in zip(terms.columns.tolist(), flows.tolist(), strict=True):
        bound = float(layout.upper_t[column])
        if 0 <= flow < layout.sizes["flow"]:
            at = (layout.production_supplier == layout.flow_origin[flow]) & (
                layout.production_year == layout.flow_year[flow]
            )
            made = float(layout.production_upper_t[at].sum())
            lane = layout.flow_lane[flow]
            if layout.case.lanes.is_byproduct[lane]:
                names = layout.case.suppliers["supplier"].to_numpy()
                ratios = dict(layout.case.byproducts[names[layout.flow_origin[flow]]])
                made *= ratios[layout.case.materials.index[layout.flow_material[flow]]]
            bound = min(bound, made)
        total += bound
    return total
