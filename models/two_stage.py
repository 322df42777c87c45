"""The two-stage program in Pyomo: a copy of the network for every outcome, expected cost and CVaR in the objective.

This is the reference that the replicated arrays of optimizer/two_stage.py are proved against; it shares nothing between
outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pyomo.core import Block, ConcreteModel, Constraint, NonNegativeReals, Objective, Reals, Var
from pyomo.core.base.block import BlockData
from pyomo.core.expr.numeric_expr import LinearExpression

from models import capacity, network
from models.build import build
from models.case import Floats
from models.costs import delivered_objective, objective, purchase_objective
from models.layout import FAMILIES, Layout
from models.outcomes import Effects, find_effects, find_outcomes
from models.rule_rows import RuleRow

ANSWERS = ("production", "flow", "draw", "shortage", "drawn", "substituted")  # what a response chooses anew


def build_two_stage(layout: Layout, rows: Sequence[RuleRow] = ()) -> ConcreteModel:
    """The whole model with the objective of ``[risk]`` (MATHS.md, Weighing disruptions), in tonnes and USD.

    Rows of HHI rules are not in it: they hold through cuts. Raises ``ValueError`` where ``[risk]`` has no weight.
    """
    case = layout.case
    weight, tail = case.settings.risk.weight, case.settings.risk.tail
    if weight is None:
        raise ValueError("[risk] has no weight: there is nothing to weigh")
    model = build(layout, rows)
    outcomes = find_outcomes(case)
    effects = find_effects(case, outcomes)
    columns = [variable for family in FAMILIES for variable in getattr(model, family).values()]
    delivered = delivered_objective(layout)
    first = objective(layout) - delivered
    model.answer = Block(range(1, len(outcomes)))
    model.outcome_usd = Var(range(len(outcomes)), domain=Reals)
    model.value_at_risk = Var(domain=Reals)
    model.beyond = Var(range(len(outcomes)), domain=NonNegativeReals)
    paid = {0: _linear(delivered, columns)}
    for o in range(1, len(outcomes)):
        paid[o] = answer(model, model.answer[o], layout, effects, o)
    model.outcome_cost = Constraint(range(len(outcomes)), rule=lambda m, o: m.outcome_usd[o] == paid[o])
    model.beyond_value_at_risk = Constraint(
        range(len(outcomes)), rule=lambda m, o: m.beyond[o] >= m.outcome_usd[o] - m.value_at_risk
    )
    del model.cost
    p = [outcome.probability for outcome in outcomes]
    expected = sum(p[o] * model.outcome_usd[o] for o in range(len(outcomes)))
    worst = model.value_at_risk + sum(p[o] / tail * model.beyond[o] for o in range(len(outcomes)))
    model.cost = Objective(expr=_linear(first, columns) + (1 - weight) * expected + weight * worst)
    return model


def _linear(costs: Floats, variables: Sequence[object]) -> LinearExpression:
    return LinearExpression(constant=0.0, linear_coefs=costs.tolist(), linear_vars=list(variables))


def answer(model: BlockData, copy: BlockData, layout: Layout, effects: Effects, o: int) -> object:
    """The response to an outcome over all years; its discounted cost.

    What is put into stock is as planned (built_as_planned), what is drawn is free within draw_max_t, and stock stays
    between 0 and max_t; no minimum, lot or closing stock holds. Requirements, and what may be short or substituted of
    them, are times the demand multiple.
    """
    part = answer_layout(layout, effects, o)
    network.quantities(copy, part)
    most = part.stock_upper_t
    copy.stock = Var(range(part.sizes["stock"]), domain=NonNegativeReals,
                     bounds=lambda _, i: (0.0, None if np.isinf(most[i]) else float(most[i])))  # fmt: skip
    network.production_leaves(copy, part)
    network.inputs_arrive(copy, part)
    network.byproduct_made(copy, part)
    network.pool_available(copy, part)
    network.requirement_met(copy, part)
    capacity.stock_balance(copy, part)
    copy.built_as_planned = Constraint(range(part.sizes["built"]), rule=lambda _, i: copy.built[i] == model.built[i])
    answer_at_most(model, copy, layout, effects, o)
    multiple = effects.cost_multiple[o, layout.production_year, layout.production_supplier]
    costs = delivered_objective(layout)
    costs[layout.columns("production")] += (multiple - 1.0) * purchase_objective(layout)
    columns = [variable for family in ANSWERS for variable in getattr(copy, family).values()]
    return _linear(np.concatenate([costs[layout.columns(family)] for family in ANSWERS]), columns)


def answer_layout(layout: Layout, effects: Effects, o: int) -> Layout:
    """The layout of a response: no minimum, production limited by a row, requirements times the demand multiple."""
    free = np.full(layout.sizes["production"], np.inf)
    demand = effects.demand_multiple[o]
    return replace(
        layout, production_lower_t=np.zeros(len(free)), production_upper_t=free,
        requirement_t=layout.requirement_t * demand[layout.requirement_market, layout.requirement_material],
        shortage_upper_t=layout.shortage_upper_t * demand[layout.shortage_market, layout.shortage_material],
        substituted_upper_t=layout.substituted_upper_t * demand[
            layout.substituted_market, layout.substituted_material
        ],
    )  # fmt: skip


def answer_at_most(model: BlockData, copy: BlockData, layout: Layout, effects: Effects, o: int) -> None:
    """Each supplier makes at most a * (q + surge_share * (capacity - q)), capacity with usable expansions."""
    left = effects.available_share[o, layout.production_year, layout.production_supplier]
    surge = layout.case.suppliers["surge_share"].to_numpy(dtype=float)[layout.production_supplier]
    grown: dict[int, list[tuple[int, float]]] = {}
    for entry, expansion, part in zip(*(vector.tolist() for vector in layout.grown), strict=True):
        grown.setdefault(entry, []).append((expansion, part))

    def limit(_: BlockData, p: int) -> object:
        share, called = float(left[p]), float(surge[p])
        more = grown.get(p, [])
        used = LinearExpression(
            constant=0.0,
            linear_coefs=[1.0, -share * (1 - called), *(-share * called * part for _, part in more)],
            linear_vars=[copy.production[p], model.production[p], *(model.expansion[e] for e, _ in more)],
        )
        return (None, used, share * called * float(layout.production_capacity_t[p]))

    copy.answer_at_most = Constraint(range(layout.sizes["production"]), rule=limit)
