"""The whole model in Pyomo: the table of contents, one family after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pyomo.common.gc_manager import PauseGC
from pyomo.core import ConcreteModel, Objective, Var
from pyomo.core.expr.numeric_expr import LinearExpression

from models import capacity, network, risk, rules
from models.costs import objective
from models.layout import FAMILIES, YEARLY, Layout
from models.rule_rows import RuleRow


def build(
    layout: Layout, rows: Sequence[RuleRow] = (), cuts: Sequence[rules.Cut] = (),
    survive_cuts: Sequence[rules.SurviveCut] | None = None,
) -> ConcreteModel:  # fmt: skip
    """The sourcing model of MATHS.md over a layout, in tonnes and discounted USD.

    ``rows`` are the rules' rows; ``cuts`` the HHI tangents found so far (an HHI row holds only through them).
    ``survive_cuts``: those that stand for the copies of the network, one for each loss, that a survive rule means;
    None: the copies themselves.
    In the status quo, production is tied to ``incumbent_t`` and neither pools, lots nor rules hold.
    """
    with PauseGC():
        return _build(layout, rows, cuts, survive_cuts)


def _build(
    layout: Layout, rows: Sequence[RuleRow], cuts: Sequence[rules.Cut], survive_cuts: Sequence[rules.SurviveCut] | None
) -> ConcreteModel:
    model = ConcreteModel(name=layout.case.name)
    each_year(model, layout)
    linking(model, layout)
    columns = [variable for family in FAMILIES for variable in getattr(model, family).values()]
    if layout.status_quo:
        capacity.status_quo_factor(model, layout)
        model.used.fix(1)
    else:
        rules.rule_row(model, rows, columns)
        rules.hhi_cut(model, cuts, columns)
        rules.supplier_counts(model, layout, rows, columns)
        risk.provenance(model, layout, rows, columns)
        rules.survive_cut(model, survive_cuts or (), columns)
        if survive_cuts is None:
            risk.survive(model, layout, rows)
    model.cost = Objective(
        expr=LinearExpression(constant=0.0, linear_coefs=objective(layout).tolist(), linear_vars=columns)
    )
    return model


def template_model(layout: Layout) -> ConcreteModel:
    """The families of one year, without rules or costs: what stamping repeats for every year."""
    with PauseGC():
        model = ConcreteModel(name=layout.case.name)
        each_year(model, layout)
        model.cost = Objective(expr=LinearExpression(constant=0.0, linear_coefs=[0.0], linear_vars=[model.unmet]))
    return model


def template_key(layout: Layout) -> bytes:
    """What the rows of one year are made of: two layouts of one key have the same template.

    Bounds, requirements, pools, costs and big-M are not in it: stamping fills them in.
    """
    case = layout.case
    digest = hashlib.sha256()
    for name in ("recovery", "lot_t"):
        digest.update(case.suppliers[name].to_numpy(dtype=float).tobytes())
    digest.update(repr(sorted(case.byproducts.items())).encode())
    for family in YEARLY:
        digest.update(layout.keys(family).tobytes() + b"|")
    for part in (layout.requirement_market, layout.requirement_material, layout.pool_material):
        digest.update(part.tobytes() + b"|")
    return digest.digest()


def linking_model(layout: Layout) -> ConcreteModel:
    """The families that link years alone, over the quantities of a year that they hold: compiled apart."""
    with PauseGC():
        model = ConcreteModel(name=layout.case.name)
        model.production = Var(sorted(set(layout.grown[0].tolist())))
        model.built, model.drawn = Var(range(layout.sizes["built"])), Var(range(layout.sizes["drawn"]))
        model.unmet = Var()
        linking(model, layout)
        model.cost = Objective(expr=LinearExpression(constant=0.0, linear_coefs=[0.0], linear_vars=[model.unmet]))
    return model


def each_year(model: ConcreteModel, layout: Layout) -> None:
    """The families whose rows hold quantities of one year only: one year of them stands for all others."""
    network.quantities(model, layout)
    capacity.use(model, layout)
    network.production_leaves(model, layout)
    network.inputs_arrive(model, layout)
    network.byproduct_made(model, layout)
    network.requirement_met(model, layout)
    if not layout.status_quo:
        network.pool_available(model, layout)
        capacity.used_at_most(model, layout)
        capacity.used_at_least(model, layout)


def linking(model: ConcreteModel, layout: Layout) -> None:
    """The families that link years, or hold decisions of another year: expansion and stock."""
    capacity.decisions(model, layout)
    if not layout.status_quo:
        capacity.capacity_expanded(model, layout)
        capacity.expansion_limit(model, layout)
        capacity.opened_once(model, layout)
        capacity.stock_balance(model, layout)
        capacity.closing_stock(model, layout)
