"""Every hand-solved case comes out as by hand, and every constraint family has one that needs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.build import build
from models.case import load_case
from models.costs import COSTS
from models.layout import Layout, lay_out
from models.rule_rows import _KINDS, RuleRows
from optimizer.compiling import compile_model
from optimizer.engine import Engine, Limits
from optimizer.run import optimize
from optimizer.solving import solve
from optimizer.status_quo import find_status_quo, has_status_quo

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/expected.json"))

# Family -> a hand case whose optimum changes when the family is taken out of the model.
REGISTER = {
    "production_leaves": "chain",
    "inputs_arrive": "chain",
    "byproduct_made": "byproduct_sold",
    "pool_available": "chain",
    "requirement_met": "dantzig_transport",
    "used_at_most": "fixed_charge",
    "used_at_least": "lots",
    "rule_row": "share_min",
    "hhi_cut": "hhi_three",
    "counted_at_least": "suppliers_min",
    "counted_at_most": "suppliers_max",
    "supplier_count": "suppliers_max",
    "capacity_expanded": "expansion",
    "expansion_limit": "expansion",
    "opened_once": "expansion_twice",
    "stock_balance": "stock_carried",
    "closing_stock": "stock_carried",
    "touched_at_most": "provenance_market",
    "touched_passed_on": "provenance_share",
    "clean_byproduct": "provenance_byproduct",
    "provenance_row": "provenance_refined_abroad",
    "response_at_most": "survive_one_stage",
    "still_served": "survive_one_stage",
    "stock_counts": "survive_months",
    "survive_cut": "survive_one_stage",
}
RESPONSE = ("response_at_most", "still_served", "stock_counts")  # in the copy of the network for each loss


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_hand_case(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    plan = optimize(load_case(folder))
    assert plan.status == expected.get("status", "optimal"), expected["how"]
    assert plan.audit == []
    if plan.objective_usd is None:
        assert expected.get("objective") is None
        return
    tolerance = expected.get("tolerance", 1e-6)
    assert plan.objective_usd == pytest.approx(expected["objective"], rel=tolerance, abs=tolerance), expected["how"]
    made = plan.tables["suppliers"].set_index(["supplier", "year"])["produced_t"]
    for supplier, tonnes in expected.get("produced", {}).items():
        assert made[supplier, plan.years[0]] == pytest.approx(tonnes, rel=1e-6, abs=1e-5), supplier
    for year, usd in expected.get("cost_usd_per_y", {}).items():
        assert plan.cost_usd_per_y[int(year)] == pytest.approx(usd, rel=1e-6, abs=1e-6)
    for year, usd in expected.get("public_usd_per_y", {}).items():
        assert plan.public_usd_per_y[int(year)] == pytest.approx(usd, rel=1e-6, abs=1e-6)
    if "expansion" in expected:
        decided = plan.tables["expansion"].to_dict("records")
        found = {f"{row['supplier']} {row['year']}": [row["t"], row["usd_per_y"]] for row in decided}
        assert found == {name: pytest.approx(values) for name, values in expected["expansion"].items()}
    if "stock" in expected:
        listed = plan.tables["stock"].to_dict("records")
        moved = {f"{r['material']} {r['year']}": [r["built_t"], r["drawn_t"], r["end_t"]] for r in listed}
        assert moved == {name: pytest.approx(values) for name, values in expected["stock"].items()}
    assert plan.tables["costs"]["usd_per_y"].sum() == pytest.approx(sum(plan.cost_usd_per_y.values()))
    if "status_quo" in expected:
        today = optimize(load_case(folder), status_quo=True)
        assert today.objective_usd == pytest.approx(expected["status_quo"]["objective"], rel=1e-6)
        assert today.audit == []


def _layout(name: str) -> tuple[Layout, list]:
    layout = lay_out(load_case(Path(__file__).parent / "cases" / name))
    quo = find_status_quo(layout.case, Limits()) if has_status_quo(layout.case) else None
    return layout, RuleRows(layout, quo.cost_usd_per_y() if quo is not None and quo.ok else {}).rows


def _families() -> set[str]:
    from pyomo.core import Constraint

    layout, rows = _layout("survive_byproduct")
    return {component.local_name for component in build(layout, rows).component_objects(Constraint)}


def test_register_is_complete() -> None:
    assert _families() == set(REGISTER)


@pytest.mark.parametrize("family", sorted(REGISTER))
def test_family_matters(family: str) -> None:
    """Without the family the optimum is another one, so the hand case does test it."""
    layout, rows = _layout(REGISTER[family])
    whole = solve(layout, rows, Limits())
    assert whole.status == "optimal"
    cuts = whole.cuts if family == "hhi_cut" else []
    # cuts stand for the copies of the network: with both in the program neither would be needed
    model = build(layout, rows, cuts, whole.survive_cuts if family == "survive_cut" else None)
    parts = list(model.response.values()) if family in RESPONSE else [model]
    assert all(len(getattr(part, family)) > 0 for part in parts) and parts
    program = compile_model(model)
    with_family = Engine(program, program.cost * 0 + 1).solve(Limits())
    assert with_family.objective == pytest.approx(_cost(whole), rel=1e-6)
    for part in parts:
        part.del_component(family)
    program = compile_model(model)
    without = Engine(program, program.cost * 0 + 1).solve(Limits())
    assert without.status != "optimal" or without.objective < with_family.objective * (1 - 1e-6) - 1e-9


def _cost(solved) -> float:
    from models.costs import objective

    return float(objective(solved.layout) @ solved.x)


def test_status_quo_factor_matters() -> None:
    """Free of today's proportions, going on as today would buy from the cheapest alone: 930 by hand, less without."""
    folder = Path(__file__).parent / "cases" / "status_quo_chain"
    model = build(lay_out(load_case(folder), status_quo=True))
    program = compile_model(model)
    kept = Engine(program, program.cost * 0 + 1).solve(Limits())
    model.del_component("status_quo_factor")
    program = compile_model(model)
    free = Engine(program, program.cost * 0 + 1).solve(Limits())
    fixed = 100 + 70  # charges of what is used: constants of the status quo, in no column
    assert kept.objective + fixed == pytest.approx(930)
    assert free.objective < kept.objective - 1


def test_every_rule_kind_has_a_hand_case() -> None:
    used = {rule.kind for folder in CASES for rule in load_case(folder).rules}
    assert used == set(_KINDS)


def test_every_cost_family_has_a_hand_case() -> None:
    paid = set()
    for folder in CASES:
        plan = optimize(load_case(folder))
        if plan.ok:
            paid |= set(plan.tables["costs"]["cost"])
    assert paid == set(COSTS)
