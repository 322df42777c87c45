"""Edges found by attacking the contract: nothing required, trace tonnages, leaks through big-M, odd denominators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.case import Case, load_case
from models.changes import Request
from models.problems import CaseError
from optimizer.run import optimize

TOML = '[horizon]\nyears = [2030]\n[market]\nhome = "USA"\n'
MATERIALS = "material,mineral,stage\nx,li,processing\n"
HEAD = "supplier,country,channel,material,capacity_t,cost_usd_per_t"


@pytest.fixture
def case_of(write_case: Callable[..., Path]) -> Callable[..., Case]:
    """A case of one material x from supplier rows, demand and rules."""

    def make(suppliers: str, demand: object, rules: str = "", materials: str = MATERIALS, **tables: str) -> Case:
        wanted = demand if isinstance(demand, str) else f"material,year,required_t\nx,2030,{demand}\n"
        text = suppliers if suppliers.startswith("supplier,") else f"{HEAD}\n{suppliers}"
        return load_case(
            write_case({"materials": materials, "suppliers": text, "demand": wanted, **tables}, TOML + rules)
        )

    return make


def test_nothing_required_is_a_plan_of_nothing(case_of: Any) -> None:
    plan = optimize(case_of("A,CHN,allied,x,100,10\n", 0))
    assert (plan.status, plan.objective_usd, plan.audit) == ("optimal", 0.0, [])
    assert list(plan.tables["suppliers"]["produced_t"]) == [0.0]
    assert plan.tables["risk"].empty and plan.cost_usd_per_y == {2030: 0.0}


@pytest.mark.parametrize("tonnes", [0.002, 0.02, 1.0, 1e6])
def test_an_hhi_that_cannot_hold_at_any_size(tonnes: float, case_of: Any) -> None:
    """Two countries: the least HHI is 1/2."""
    rule = '[[rules]]\nname="h"\nkind="hhi"\nmax=0.35\n'
    case = case_of("A,CHN,allied,x,1e7,10\nB,CHL,allied,x,1e7,20\n", tonnes, rule)
    plan = optimize(case)
    assert plan.status == "infeasible"
    assert plan.repair[0]["needed"] == pytest.approx(0.5, rel=1e-4)
    relaxed = optimize(case, relax=True)
    assert relaxed.status == "optimal" and relaxed.audit == []
    assert relaxed.objective_usd == pytest.approx(15 * tonnes, rel=1e-3)


def test_a_trace_mineral_beside_a_bulk_one(case_of: Any) -> None:
    rule = '[[rules]]\nname="h"\nkind="hhi"\nmax=0.4\n'
    plan = optimize(case_of(
        "A,CHN,allied,x,1e6,1\nB,CHL,allied,x,1e6,2\nC,CHN,allied,z,1,1\nD,CHL,allied,z,1,2\n",
        "material,year,required_t\nx,2030,1e5\nz,2030,0.01\n", rule, MATERIALS + "z,ga,processing\n",
    ))  # fmt: skip
    assert plan.status == "infeasible"
    assert {item["material"]: item["needed"] for item in plan.repair} == pytest.approx({"x": 0.5, "z": 0.5}, rel=1e-4)


LEAKS = {
    # A is 0.01 t short of what is required; B may not give it without its charge of 1,000,000
    "fixed_usd_per_y": ("A,CHN,allied,x,9999999.99,1,\nB,CHL,allied,x,1e8,2,1e6\n", 9_999_999.99 + 0.02 + 1e6),
    # nor less than its lot of 50
    "lot_t": ("A,CHN,allied,x,9999999.99,1,\nB,CHL,allied,x,1e8,2,50\n", 9_999_950.0 + 100.0),
}


@pytest.mark.parametrize("column", LEAKS)
def test_no_leak_through_a_big_m(column: str, case_of: Any) -> None:
    rows, cost = LEAKS[column]
    plan = optimize(case_of(f"{HEAD},{column}\n{rows}", 1e7), {"solve.gap": 1e-9})
    assert plan.status == "optimal" and plan.audit == []
    assert plan.objective_usd == pytest.approx(cost, rel=1e-9)


def test_no_leak_past_a_number_of_suppliers(case_of: Any) -> None:
    """One supplier only: A cannot alone, so B does it all at 2."""
    rule = '[[rules]]\nname="n"\nkind="suppliers"\nmax=1\n'
    plan = optimize(case_of("A,CHN,allied,x,9999999.99,1\nB,CHL,allied,x,1e8,2\n", 1e7, rule))
    assert plan.audit == [] and plan.objective_usd == pytest.approx(2e7, rel=1e-9)


@pytest.mark.parametrize(("demand", "least"), [(100, 0), (100, 100), (1e7, 1e-4), (1e9, 0.01), (100, 50)])
def test_a_number_of_suppliers_that_count(demand: float, least: float, case_of: Any) -> None:
    rule = f'[[rules]]\nname="n"\nkind="suppliers"\nmin=2\nleast_t={least}\n'
    plan = optimize(case_of(f"A,CHN,allied,x,{demand},1\nB,CHL,allied,x,{demand},2\n", demand, rule))
    if least * 2 > demand:
        assert plan.status == "infeasible"
    else:
        assert plan.status == "optimal" and plan.audit == []
        assert plan.objective_usd == pytest.approx(demand + max(least, 0.0), rel=1e-6)


def test_production_below_what_is_reported_is_not_paid_for(case_of: Any) -> None:
    plan = optimize(case_of(f"{HEAD},fixed_usd_per_y\nA,CHN,allied,x,1,1,100\n", 5e-7))
    assert plan.audit == []


CHAIN = """supplier,country,channel,material,input,recovery,capacity_t,cost_usd_per_t,lot_t
C1,CHN,incumbent,orea,,,50,1,
A1,AUS,allied,orea,,,10,1,
C2,CHN,incumbent,oreb,,,60,1,
A2,AUS,allied,oreb,,,60,1,
R1,USA,domestic,x,orea,1,60,1,60
R2,USA,domestic,x,oreb,0.5,60,1,60
"""
ORES = "material,mineral,stage\norea,li,extraction\noreb,li,extraction\nx,li,processing\n"


def test_the_smallest_repair_where_the_denominator_varies(case_of: Any) -> None:
    """R1 needs 50 of 60 t of ore from China, R2 60 of 120: the nearest limit is 0.5, not 5/6."""
    rule = '[[rules]]\nname="c"\nkind="share"\nwhere={country="CHN"}\nmax=0.1\nstage="extraction"\n'
    case = case_of(CHAIN, 60, rule, ORES)
    plan = optimize(case)
    assert plan.repair[0]["needed"] == pytest.approx(0.5, abs=1e-3)
    relaxed = optimize(case, relax=True)
    assert relaxed.objective_usd == pytest.approx(180) and relaxed.audit == []


def test_the_smallest_hhi_where_the_denominator_varies(case_of: Any) -> None:
    rule = '[[rules]]\nname="c"\nkind="hhi"\nmax=0.1\nstage="extraction"\n'
    suppliers = CHAIN.replace("orea", "ore").replace("oreb", "ore").replace(",60\n", ",\n")
    lanes = "origin,destination\nC1,R1\nA1,R1\nC2,R2\nA2,R2\nR1,home\nR2,home\n"
    case = case_of(
        suppliers, 60, '[network]\nlanes="listed"\n' + rule,
        "material,mineral,stage\nore,li,extraction\nx,li,processing\n", lanes=lanes,
    )  # fmt: skip
    assert optimize(case).repair[0]["needed"] == pytest.approx(0.5, abs=2e-3)
    assert optimize(case, relax=True).audit == []


def test_a_mineral_named_twice_counts_once(case_of: Any) -> None:
    rule = '[[rules]]\nname="b"\nkind="budget"\nmineral=["li","li"]\nmax_usd_per_y=5000\n'
    plan = optimize(case_of("A,CHN,allied,x,100,10\n", 10, rule))
    assert plan.audit == [] and len(plan.tables["rules"]) == 1


def test_a_preset_rule_that_finds_nothing_is_told_of(case_of: Any) -> None:
    plan = optimize(case_of("A,CHN,incumbent,x,100,1\nB,CHL,allied,x,100,2\n", 10), Request(scenarios=["crma"]))
    assert any("crma_recycling" in warning for warning in plan.warnings)
    assert [item["key"] for item in plan.changes].count("rules.crma_recycling") == 1


def test_a_conflict_is_never_empty(case_of: Any) -> None:
    rule = '[[rules]]\nname="b"\nkind="ban"\nwhere={channel="allied"}\n'
    demand = "material,year,required_t,shortage_usd_per_t\nx,2030,62,\nz,2030,20,400\n"
    plan = optimize(case_of("A,CAN,allied,x,94,8\n", demand, rule, MATERIALS + "z,co,processing\n"))
    assert plan.repair[0]["needed"] == pytest.approx(62, rel=1e-6)
    assert {item["what"] for item in plan.conflict} >= {"rule", "demand"}


@pytest.mark.parametrize(
    ("row", "words"),
    [("foo,1,2", "not a key"), ("suppliers[supplier=A].cost,1,2", "no such column"), ("lane.max_t,1,2", "no such table"),
     ("suppliers[supplier=B].capacity_t*,0.5,2", "no row"), ("suppliers.capacity_t*,2,0.5", "above high")],
)  # fmt: skip
def test_assumptions_are_checked(row: str, words: str, case_of: Any) -> None:
    with pytest.raises(CaseError) as error:
        case_of("A,CHN,allied,x,100,10\n", 10, assumptions=f"key,low,high\n{row}\n")
    assert words in str(error.value) and "assumptions.csv:2" in str(error.value)


def test_a_column_twice_in_the_brackets(case_of: Any) -> None:
    case = case_of("A,CHN,allied,x,100,10\nB,CHL,allied,x,100,10\n", 10)
    with pytest.raises(CaseError, match="stands twice"):
        optimize(case, {"suppliers[country=CHN,country=CHL].capacity_t": 5})


def test_an_hhi_that_one_supplier_can_never_keep_leaves_all_short(case_of: Any) -> None:
    """Of no tonnes there is no share: nothing flows but the solver's tolerance, and that breaks no rule."""
    rule = '[[rules]]\nname="h"\nkind="hhi"\nmax=0.9997\n'
    plan = optimize(
        case_of("A,CHN,allied,x,700,10\n", "material,year,required_t,shortage_usd_per_t\nx,2030,668,20\n", rule)
    )
    assert plan.status == "optimal" and plan.audit == []
    assert plan.objective_usd == pytest.approx(668 * 20)
