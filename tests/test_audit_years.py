"""The audit of what spans years: each wrong claim of expansions, stock, substitution and public cost is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from models.audit import Answer, audit
from models.case import Case, load_case
from optimizer.plan import Plan
from optimizer.run import optimize

TABLES = {
    "materials": "material,mineral,stage,price_usd_per_t\nmetal,metal,extraction,60\n",
    "demand": "material,year,required_t\nmetal,2026,100\n",
    "suppliers": (
        "supplier,country,channel,material,capacity_t,incumbent_t,cost_usd_per_t,max_expansion_t,capex_usd_per_t,"
        "open_usd,lead_years,life_years,ramp_years,grant_share,credit_share,floor_usd_per_t,floor_paid_by\n"
        "imports,CHN,incumbent,metal,1000,100,120,,,,,,,,,,\n"
        "mine,USA,domestic,metal,0,,50,30,100,500,1,10,1,0.2,,,\n"
        "plant,USA,domestic,metal,0,,70,20,10,,0,,,,,,\n"
        "smelter,USA,domestic,metal,15,,90,,,,,,,,0.1,80,public\n"
        "late,USA,domestic,metal,0,,1,50,1,,20,,,,,,\n"
    ),
    "supplier_years": "supplier,year,cost_usd_per_t,grant_share\nimports,2028,300,\nmine,2027,,0.5\n",
    "stock": "material,opening_t,max_t,build_max_t,draw_max_t,closing_min_t,hold_usd_per_t_y\nmetal,4,40,9,25,6,2\n",
    "substitution": "material,year,step,max_share,usd_per_t\nmetal,2027,thrift,0.05,30\nmetal,2028,thrift,0.1,40\n",
}
TOML = (
    '[horizon]\nyears = [2026, 2027, 2028]\ndiscount_rate = 0.05\n[market]\nhome = "USA"\n'
    '[[rules]]\nname = "cover"\nkind = "stock_days"\ndays = 10\n'
    '[[rules]]\nname = "purse"\nkind = "budget"\nof = "public"\nmax_usd_per_y = 5000\n'
    '[[rules]]\nname = "capital"\nkind = "budget"\nof = "capital"\nmax_usd_per_y = 5000\n'
)
Edit = Callable[[Answer], Answer]


def answer_of(plan: Plan, status_quo: bool = False) -> Answer:
    """What a plan claims, as the audit takes it."""
    assert plan.objective_usd is not None
    parts = ("suppliers", "flows", "shortage", "rules", "costs", "expansion", "stock", "substitution")
    tables: dict[str, Any] = {name: plan.tables[name] for name in parts}
    today = None if plan.status_quo is None else {("", "", y): v for y, v in plan.status_quo["cost_usd_per_y"].items()}
    return Answer(
        **tables, cost_usd_per_y=plan.cost_usd_per_y, public_usd_per_y=plan.public_usd_per_y,
        objective_usd=plan.objective_usd, status_quo=status_quo, status_quo_usd_per_y=today,
    )  # fmt: skip


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, write_case_to: Callable[..., Path]) -> Case:
    return load_case(write_case_to(tmp_path_factory.mktemp("years") / "case", TABLES, TOML))


@pytest.fixture(scope="module")
def right(case: Case) -> Answer:
    answer = answer_of(optimize(case))
    assert audit(case, answer) == []
    # every part is at work in it
    assert list(answer.expansion["supplier"]) == ["mine", "plant"]
    assert (answer.stock["built_t"] > 0).any() and (answer.stock["drawn_t"] > 0).any()
    assert len(answer.substitution) == 2 and answer.public_usd_per_y[2028] > 0
    return answer


def cell(part: str, row: int, **values: Any) -> Edit:
    def edit(answer: Answer) -> Answer:
        table: pd.DataFrame = getattr(answer, part).copy()
        for column, value in values.items():
            table.loc[row, column] = value
        changed: dict[str, Any] = {part: table}
        return replace(answer, **changed)

    return edit


def moved(part: str, row: int, column: str, by: float) -> Edit:
    return lambda answer: cell(part, row, **{column: getattr(answer, part)[column].iloc[row] + by})(answer)


def added(part: str, row: int, **values: Any) -> Edit:
    """A row once more, with some other values."""

    def edit(answer: Answer) -> Answer:
        table: pd.DataFrame = getattr(answer, part)
        changed: dict[str, Any] = {part: pd.concat([table, table.iloc[[row]].assign(**values)], ignore_index=True)}
        return replace(answer, **changed)

    return edit


def without(part: str, row: int) -> Edit:
    def edit(answer: Answer) -> Answer:
        changed: dict[str, Any] = {part: getattr(answer, part).drop(index=row).reset_index(drop=True)}
        return replace(answer, **changed)

    return edit


MINE, PLANT = 0, 1
WRONG: list[tuple[str, Edit]] = [
    ("expansion", cell("expansion", MINE, supplier="imports")),
    ("expansion", cell("expansion", MINE, year=2025)),
    ("expansion", cell("expansion", PLANT, t=-1.0)),
    ("expansion", added("expansion", MINE, supplier="nobody")),
    ("capacity", moved("expansion", MINE, "t", -1.0)),
    ("capacity", cell("expansion", MINE, year=2027)),
    ("expansion_limit", moved("expansion", PLANT, "t", 1.0)),
    ("expansion_limit", added("expansion", PLANT, t=0.5)),
    ("opening", cell("expansion", MINE, opened=False)),
    ("opening", added("expansion", MINE, t=0.0, year=2027)),
    ("annuity", moved("expansion", MINE, "usd_per_y", 1.0)),
    ("annuity", moved("expansion", MINE, "public_usd_per_y", 1.0)),
    ("stock_rows", without("stock", 1)),
    ("stock_rows", added("stock", 1)),
    ("stock_rows", added("stock", 1, year=2030)),
    ("stock_rows", added("stock", 1, material="ore")),
    ("stock_balance", moved("stock", 0, "end_t", 0.1)),
    ("stock_balance", moved("stock", 2, "drawn_t", -0.1)),
    ("stock_limit", cell("stock", 0, built_t=9.1)),
    ("stock_limit", cell("stock", 2, drawn_t=25.1)),
    ("stock_limit", cell("stock", 0, end_t=40.1)),
    ("stock_limit", cell("stock", 0, end_t=-0.1)),
    ("closing_stock", cell("stock", 2, end_t=5.9)),
    ("substitution", cell("substitution", 0, t=5.1)),
    ("substitution", cell("substitution", 0, t=-0.1)),
    ("substitution", cell("substitution", 0, step="other")),
    ("demand", moved("stock", 1, "built_t", 0.1)),
    ("demand", moved("substitution", 1, "t", -0.1)),
    ("rule_value", moved("stock", 0, "end_t", 1.0)),
    ("cost", moved("stock", 0, "end_t", 1.0)),
    ("public_cost", moved("costs", 0, "public_usd_per_y", 1.0)),
    ("public_year", lambda answer: replace(answer, public_usd_per_y={**answer.public_usd_per_y, 2028: 1.0})),
    ("public_year", lambda answer: replace(answer, public_usd_per_y={})),
]


@pytest.mark.parametrize(("check", "edit"), WRONG, ids=[f"{n}-{check}" for n, (check, _) in enumerate(WRONG)])
def test_each_wrong_claim_is_caught(check: str, edit: Edit, case: Case, right: Answer) -> None:
    assert check in {finding.check for finding in audit(case, edit(right))}


OTHER_TABLES = [
    ("suppliers", "mine", "capex_usd_per_t", 101, "annuity"),
    ("suppliers", "mine", "open_usd", 501, "annuity"),
    ("suppliers", "mine", "life_years", 11, "annuity"),
    ("suppliers", "mine", "cost_of_capital", 0.06, "annuity"),
    ("suppliers", "mine", "lead_years", 2, "capacity"),
    ("suppliers", "mine", "ramp_years", 2, "capacity"),
    ("suppliers", "mine", "life_years", 1, "capacity"),
    ("suppliers", "mine", "grant_share", 0.3, "public_cost"),
    ("suppliers", "plant", "max_expansion_t", 19, "expansion_limit"),
    ("suppliers", "smelter", "credit_share", 0.11, "public_cost"),
    ("suppliers", "smelter", "floor_usd_per_t", 81, "public_cost"),
    ("suppliers", "smelter", "floor_paid_by", "buyers", "cost"),
    ("stock", "metal", "opening_t", 5, "stock_balance"),
    ("stock", "metal", "hold_usd_per_t_y", 2.1, "cost"),
    ("stock", "metal", "closing_min_t", 7, "closing_stock"),
    ("substitution", "metal", "usd_per_t", 31, "cost"),
    ("substitution", "metal", "max_share", 0.04, "substitution"),
]


@pytest.mark.parametrize(("table", "name", "column", "value", "check"), OTHER_TABLES)
def test_the_same_plan_against_other_tables(
    table: str, name: str, column: str, value: Any, check: str, case: Case, right: Answer
) -> None:
    frame = case.tables[table].copy()
    key = "supplier" if table == "suppliers" else "material"
    frame.loc[frame[key] == name, column] = value
    other = case.with_(tables={**case.tables, table: frame})
    assert check in {finding.check for finding in audit(other, right)}


def test_going_on_as_today_moves_nothing(case: Case) -> None:
    plan = optimize(case, status_quo=True)
    assert plan.audit == []
    assert list(plan.tables["stock"]["end_t"]) == [4.0] * 3 and plan.tables["expansion"].empty
    # 100 t a year at 120, 300 from 2028; 4 t of stock held at 2
    assert plan.cost_usd_per_y == pytest.approx({2026: 12_008, 2027: 12_008, 2028: 30_008})
    answer = answer_of(plan, status_quo=True)
    for edit, check in (
        (moved("stock", 0, "built_t", 1.0), "stock_limit"), (moved("stock", 0, "drawn_t", 1.0), "stock_limit"),
    ):  # fmt: skip
        assert check in {finding.check for finding in audit(case, edit(answer))}
