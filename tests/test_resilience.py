"""Measures of resilience: hand cases, the same numbers as stress, bounds that hold, run folders, what is shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from models.case import Case, load_case
from models.problems import CaseError
from optimizer import views
from optimizer.kept_plan import KeptPlan
from optimizer.loss_bounds import LossBounds
from optimizer.measures import RESILIENCE
from optimizer.plan import Plan
from optimizer.plan_values import layout_of, plan_columns
from optimizer.resilience_views import resilience_compared
from optimizer.run import optimize
from optimizer.run_folder import read_run
from optimizer.stress_tests import stress, stress_plan
from tests.reference.cases import random_case

TOML = 'name = "one"\n[horizon]\nyears = [2030]\ndiscount_rate = 0.0\n[market]\nhome = "USA"\n'
TABLES = {
    "materials": "material,mineral,stage,price_usd_per_t\nmetal,metal,processing,50\n",
    "suppliers": "supplier,country,channel,material,capacity_t,cost_usd_per_t,surge_share\n"
    "A,CHN,incumbent,metal,60,10,0\nB,CAN,allied,metal,60,14,0\nC,USA,domestic,metal,100,20,0\n",
    "demand": "material,year,required_t,shortage_usd_per_t\nmetal,2030,100,100\n",
}  # the plan: 60 of A, 40 of B
CHAIN = {
    "materials": "material,mineral,stage\nore,metal,extraction\nmetal,metal,processing\n",
    "suppliers": "supplier,country,channel,material,input,recovery,capacity_t,cost_usd_per_t\n"
    "M,CHL,allied,ore,,,140,1\nN,AUS,allied,ore,,,60,1\n"
    "X,CHN,incumbent,metal,ore,0.5,60,10\nY,CAN,allied,metal,ore,0.5,40,10\n",
    "demand": "material,year,required_t\nmetal,2030,100\n",
}  # everything runs full: 140 + 60 of ore make 60 + 40 of metal


def _row(plan: Plan, stage: str = "delivered", **more: Any) -> dict[str, Any]:
    table = plan.tables["resilience"]
    kept = table[table["stage"] == stage]
    for name, value in more.items():
        kept = kept[kept[name] == value]
    (row,) = kept.to_dict("records")
    return row


@pytest.fixture
def planned(write_case: Callable[..., Path]) -> Callable[..., Plan]:
    """The plan of TABLES with some tables replaced."""

    def plan(more: dict[str, str] | None = None, base: dict[str, str] = TABLES, **options: Any) -> Plan:
        found = optimize(load_case(write_case(base | (more or {}), TOML)), **options)
        assert found.ok
        assert not found.audit
        return found

    return plan


def test_two_suppliers_by_hand(planned: Callable[..., Plan]) -> None:
    """60 of CHN, 40 of CAN, and C cannot be called on: CHN lost leaves 40 of 100. The same holds of the stage."""
    plan = planned()
    for stage in ("delivered", "processing"):
        row = _row(plan, stage)
        assert row["largest_country"] == row["worst_country"] == "CHN"
        assert row["largest_point"] == "A"
        assert [row[name] for name in ("serve_largest", "served_worst_country", "served_largest_point")] == (
            pytest.approx([0.4] * 3)
        )
    assert _row(plan)["days_cover"] == 0
    assert np.isnan(_row(plan, "processing")["days_cover"])


def test_surge_by_hand(planned: Callable[..., Plan]) -> None:
    """B can call on half of its 20 unused: CHN lost leaves 40 + 10. A has nothing unused: CAN lost leaves 60."""
    row = _row(planned({"suppliers": TABLES["suppliers"].replace("metal,60,14,0", "metal,60,14,0.5")}))
    assert row["serve_largest"] == pytest.approx(0.5)
    assert (row["largest_point"], row["served_largest_point"]) == ("A", pytest.approx(0.5))


def test_stock_by_hand(planned: Callable[..., Plan]) -> None:
    """10 t that the plan must keep are 10 t more in a year: 40 + 10; and 365 * 10 / 100 days. Draws of 4 t: 44."""
    stock = "material,opening_t,closing_min_t,max_t,draw_max_t\nmetal,10,10,10,"
    row = _row(planned({"stock": stock + "\n"}))
    assert row["serve_largest"] == pytest.approx(0.5)
    assert row["days_cover"] == pytest.approx(36.5)


def test_stock_adds_no_more_than_can_be_drawn(planned: Callable[..., Plan]) -> None:
    row = _row(planned({"stock": "material,opening_t,closing_min_t,max_t,draw_max_t\nmetal,10,10,10,4\n"}))
    assert row["serve_largest"] == pytest.approx(0.44)


def test_a_loss_upstream_by_hand(planned: Callable[..., Plan]) -> None:
    """CHL lost: 60 of ore make 30 of metal. CHN lost: 40. So CHN is largest of what is delivered, CHL is worst; of
    single points M is, and at the stage itself X.
    """
    plan = planned(base=CHAIN)
    delivered, ore, metal = (_row(plan, stage) for stage in ("delivered", "extraction", "processing"))
    assert (delivered["largest_country"], delivered["serve_largest"]) == ("CHN", pytest.approx(0.4))
    assert (delivered["worst_country"], delivered["served_worst_country"]) == ("CHL", pytest.approx(0.3))
    assert (delivered["largest_point"], delivered["served_largest_point"]) == ("M", pytest.approx(0.3))
    assert (ore["largest_country"], ore["serve_largest"]) == ("CHL", pytest.approx(0.3))
    assert (ore["largest_point"], ore["served_largest_point"]) == ("M", pytest.approx(0.3))
    assert (metal["largest_country"], metal["serve_largest"]) == ("CHN", pytest.approx(0.4))
    assert (metal["largest_point"], metal["served_largest_point"]) == ("X", pytest.approx(0.4))


def test_a_mineral_that_is_only_consumed_counts_by_what_it_goes_into(planned: Callable[..., Plan]) -> None:
    """The ore is a mineral of its own that no market requires: its row is about the metal of its chain."""
    row = _row(planned({"materials": CHAIN["materials"].replace("ore,metal", "ore,rock")}, base=CHAIN), "extraction")
    assert (row["mineral"], row["material"], row["serve_largest"]) == ("rock", "", pytest.approx(0.3))


def test_of_a_country_all_stages_are_lost(planned: Callable[..., Plan]) -> None:
    """X stands in CHL too, and Y's 40 would take 80 of ore: with the 60 of N it makes 30."""
    plan = planned({"suppliers": CHAIN["suppliers"].replace("X,CHN", "X,CHL")}, base=CHAIN)
    for stage in ("delivered", "extraction", "processing"):
        assert _row(plan, stage)["serve_largest"] == pytest.approx(0.3)
    assert _row(plan, "processing")["largest_point"] == "X"
    assert _row(plan, "processing")["served_largest_point"] == pytest.approx(0.4)


def test_a_byproduct_is_lost_with_its_main_product(planned: Callable[..., Plan]) -> None:
    """M's ore brings 0.1 t of gem a t, 20 in all, of which the 8 t required are its only source. Without the refinery
    nobody takes the ore: the gem is gone too.
    """
    tables = {
        "materials": CHAIN["materials"] + "gem,gem,extraction\n",
        "suppliers": "supplier,country,channel,material,input,recovery,capacity_t,cost_usd_per_t\n"
        "M,CHL,allied,ore,,,200,1\nX,CHN,incumbent,metal,ore,0.5,100,10\n",
        "byproducts": "supplier,material,t_per_t\nM,gem,0.1\n",
        "demand": CHAIN["demand"] + "gem,2030,8\n",
    }
    plan = planned(tables, base=CHAIN)
    row = _row(plan, material="gem")
    assert (row["largest_country"], row["serve_largest"]) == ("CHL", pytest.approx(0))
    assert (row["worst_country"], row["served_worst_country"]) == ("CHL", pytest.approx(0))
    assert _row(plan, material="metal")["largest_point"] == "M"


def test_nobody_is_a_point_where_no_loss_takes_anything(planned: Callable[..., Plan]) -> None:
    """Both can make 100 and call on all of it."""
    suppliers = ("supplier,country,channel,material,capacity_t,min_t,cost_usd_per_t,surge_share\n"
                 "A,CHN,incumbent,metal,100,50,10,1\nB,CAN,allied,metal,100,50,10,1\n")  # fmt: skip
    row = _row(planned({"suppliers": suppliers}))
    assert (row["largest_point"], row["worst_country"]) == ("", "")
    assert row["serve_largest"] == row["served_largest_point"] == row["served_worst_country"] == 1


def test_what_the_plan_is_short_of_is_not_a_loss(planned: Callable[..., Plan]) -> None:
    """90 can be made, 10 are paid for as short: 90 % without any loss, and 30 of 100 without A and without CHN."""
    suppliers = TABLES["suppliers"].replace("C,USA,domestic,metal,100,20,0\n", "").replace("metal,60,14", "metal,30,14")
    row = _row(planned({"suppliers": suppliers}))
    assert row["serve_largest"] == pytest.approx(0.3)
    assert (row["largest_point"], row["served_largest_point"]) == ("A", pytest.approx(0.3))


SCENARIOS = (
    "scenario,probability,supplier,material,available_share,demand_multiple\nflood,0.1,A,,0.5,\nboom,0.2,,metal,,1.2\n"
)


def test_expected_shortage_by_hand(planned: Callable[..., Plan]) -> None:
    """flood: 30 of A are gone. boom: 120 are asked for, 100 are made. 0.1 * 30 + 0.2 * 20 = 7 t a year."""
    plan = planned({"disruptions": SCENARIOS})
    assert _row(plan)["expected_short_t"] == pytest.approx(7)
    assert np.isnan(_row(plan, "processing")["expected_short_t"])


def test_expected_shortage_counts_what_the_plan_is_short_of(planned: Callable[..., Plan]) -> None:
    """90 can be made: 10 short where nothing happens, 40 in the flood, 30 in the boom: 0.7 * 10 + 0.1 * 40 + 0.2 * 30."""
    suppliers = TABLES["suppliers"].replace("C,USA,domestic,metal,100,20,0\n", "").replace("metal,60,14", "metal,30,14")
    plan = planned({"suppliers": suppliers, "disruptions": SCENARIOS})
    assert plan.tables["shortage"]["t"].tolist() == pytest.approx([10])
    assert _row(plan)["expected_short_t"] == pytest.approx(17)


def test_what_is_done_without_is_not_short(planned: Callable[..., Plan]) -> None:
    """10 t are done without at less than B's cost, so the plan is 60 + 30. The flood leaves 30 + 30 of 90 asked for; in
    the boom 110 are asked for and 90 made: 0.1 * 30 + 0.2 * 20.
    """
    plan = planned({"disruptions": SCENARIOS,
                    "substitution": "material,year,step,max_share,usd_per_t\nmetal,2030,one,0.1,1\n"})  # fmt: skip
    assert plan.tables["substitution"]["t"].tolist() == pytest.approx([10])
    assert _row(plan)["expected_short_t"] == pytest.approx(7)


def test_without_scenarios_there_is_no_expected_shortage(planned: Callable[..., Plan]) -> None:
    document = planned().to_json()
    assert [row["expected_short_t"] for row in document["resilience"]] == [None, None]
    assert [row["days_cover"] for row in document["resilience"]] == [None, 0]  # processing, delivered
    assert tuple(document["resilience"][0]) == RESILIENCE


def _cases(seed: int, folder: Path) -> Case:
    rules: Any = ["survive"] if seed % 3 == 0 else 1
    return load_case(random_case(seed, folder, rules=rules, growth=bool(seed % 2), integers=seed % 4 == 1,
                                 disruptions=True))  # fmt: skip


@pytest.mark.parametrize(("seed", "status_quo"), [(3, False), (16, False), (16, True)])
def test_stress_finds_the_same(seed: int, status_quo: bool, tmp_path: Path) -> None:
    """Losses that rows name, and every scenario, with rules, by-products, surge and several markets."""
    case = _cases(seed, tmp_path / "case")
    plan = optimize(case, status_quo=status_quo)
    layout = layout_of(case, status_quo)
    table = plan.tables["resilience"]
    rows = table[(table["stage"] == "delivered") & table["serve_largest"].notna()]
    kinds = {"largest_country": "country", "worst_country": "country", "largest_point": "supplier"}
    lose = {f"{kind}:{name}" for column, kind in kinds.items() for name in rows[column] if name}
    scenarios = [f"scenario:{name}" for name in case.tables["disruptions"]["scenario"].unique()]
    found = stress_plan(layout, plan_columns(layout, plan), [], [*sorted(lose)[:5], *scenarios])
    losses = found.losses.set_index(["material", "year", "lose"])
    served, short = losses["served"].to_dict(), losses["short_t"].to_dict()
    chances = case.tables["disruptions"].drop_duplicates("scenario").set_index("scenario")["probability"]
    plain = (case.tables["disruptions"]["demand_multiple"] == 1).all() and plan.tables["substitution"].empty
    paid = plan.tables["shortage"].groupby(["material", "year"])["t"].sum().to_dict()
    compared = 0
    for row in rows.to_dict("records"):
        at = row["material"], row["year"]
        for column, kind in kinds.items():
            left = served.get((*at, f"{kind}:{row[column]}"))
            if left is not None:
                share = row["serve_largest" if column == "largest_country" else f"served_{column}"]
                assert share == pytest.approx(left, abs=1e-7)
                compared += 1
        if plain:
            expected = sum(p * short[(*at, f"scenario:{name}")] for name, p in chances.items())
            expected += (1 - chances.sum()) * paid.get(at, 0.0)
            assert row["expected_short_t"] == pytest.approx(expected, abs=1e-4, rel=1e-6)
    assert compared


@pytest.mark.parametrize(("seed", "status_quo"), [(3, False), (16, False), (31, False), (9, False), (16, True)])
def test_every_row_against_every_loss(seed: int, status_quo: bool, tmp_path: Path) -> None:
    """Each loss solved: a row is the least over its materials, of the losses of who stands at its stage."""
    case = _cases(seed, tmp_path / "case")
    plan = optimize(case, status_quo=status_quo)
    layout = layout_of(case, status_quo)
    kept = KeptPlan(layout, plan_columns(layout, plan))
    minerals, known = case.materials["mineral"], {}

    def served(material: str, at: int, kind: str, member: str) -> float:
        if (material, at, kind, member) not in known:
            code = layout.material_code[material]
            key = int(kept.chains.chain[code]), at
            chain = kept.chains.at(key)
            limits = kept.limits(chain, np.where(case.suppliers[kind] == member, 0.0, 1.0))
            known[material, at, kind, member] = kept.served(key, limits, int(np.searchsorted(chain.materials, code)))
        return known[material, at, kind, member]

    shares, compared = plan.tables["shares"], 0
    required = {(name, year) for (_, name, year), t in case.required.items() if t > 0}
    for row in plan.tables["resilience"].to_dict("records"):
        at, year, delivered = case.years.index(row["year"]), row["year"], row["stage"] == "delivered"
        asked = [row["material"]] if delivered else [m for m in minerals.index if minerals[m] == row["mineral"]]
        asked = [material for material in asked if (material, year) in required]
        if not asked:
            continue  # only in a chain of another mineral: a hand case
        compared += 1
        there = shares[
            (shares["stage"] == row["stage"]) & (shares["mineral"] == row["mineral"]) & (shares["year"] == year)
        ]
        for kind, column in (("country", "worst_country"), ("supplier", "largest_point")):
            members = set(case.suppliers[kind] if delivered else there.loc[there["by"] == kind, "member"])
            left = {member: min(served(m, at, kind, member) for m in asked) for member in members}
            nobody = min(served(m, at, kind, "") for m in asked)
            assert row[f"served_{column}"] == pytest.approx(min(nobody, *left.values()), abs=1e-7)
            assert bool(row[column]) == (min(left.values()) < nobody - 1e-7)
            assert not row[column] or left[row[column]] == pytest.approx(min(left.values()), abs=1e-7)
        largest = min(served(m, at, "country", row["largest_country"]) for m in asked)
        assert row["serve_largest"] == pytest.approx(largest, abs=1e-7)
    assert compared


@pytest.mark.parametrize("seed", [9, 10, 16, 31, 53, 58])
def test_what_is_surely_served_is(seed: int, tmp_path: Path) -> None:
    """The bounds that spare solves, against the solves: also where a loss downstream ends a by-product upstream."""
    case = load_case(random_case(seed, tmp_path / "case", rules=0))
    plan = optimize(case)
    layout = layout_of(case, False)
    kept = KeptPlan(layout, plan_columns(layout, plan))
    who = {kind: case.suppliers[kind].to_numpy(dtype=object) for kind in ("supplier", "country")}
    compared = 0
    for key in kept.chains.keys:
        bounds = LossBounds(kept, key, who)
        for kind, names in who.items():
            for member, low in bounds.members(kind).items():
                limits = kept.limits(bounds.chain, np.where(names == member, 0.0, 1.0))
                for place in np.flatnonzero(bounds.required_t > 0).tolist():
                    exact = kept.served(key, limits, place)
                    assert low[place] <= exact + 1e-7
                    assert bounds.served(place, kind, member) == pytest.approx(exact, abs=1e-7)
                    compared += 1
    assert compared


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(capacities=st.lists(st.integers(1, 50), min_size=2, max_size=5))
def test_without_surge_and_stock_what_is_left_is_the_rest(
    capacities: list[int], write_case_to: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One stage, one market: 1 less the largest share."""
    countries = ["CHN", "CAN", "USA", "CHL", "CHN"]
    rows = [f"S{n},{country},allied,metal,{t},{10 + n}\n"
            for n, (country, t) in enumerate(zip(countries, capacities, strict=False))]  # fmt: skip
    head = "supplier,country,channel,material,capacity_t,cost_usd_per_t\n"
    required = max(1, round(0.8 * sum(capacities)))
    tables = TABLES | {"suppliers": head + "".join(rows).replace("USA,allied", "USA,domestic"),
                       "demand": f"material,year,required_t\nmetal,2030,{required}\n"}  # fmt: skip
    plan = optimize(load_case(write_case_to(tmp_path_factory.mktemp("case"), tables, TOML)))
    largest = plan.tables["risk"].set_index("stage")["largest_share"]
    for stage in ("delivered", "processing"):
        row = _row(plan, stage)
        assert 0 <= row["serve_largest"] <= 1
        assert row["serve_largest"] == pytest.approx(1 - largest[stage], abs=1e-7)
        assert row["served_worst_country"] <= row["serve_largest"] + 1e-9


def test_the_status_quo_is_measured_as_it_can_respond(planned: Callable[..., Plan], tmp_path: Path) -> None:
    """Bought today: 80 of A (above its capacity), 20 of B. CHN lost leaves 20, and what B can call on: 0.5 * 40."""
    suppliers = ("supplier,country,channel,material,capacity_t,incumbent_t,cost_usd_per_t,surge_share\n"
                 "A,CHN,incumbent,metal,60,80,10,0\nB,CAN,allied,metal,60,20,14,0.5\n")  # fmt: skip
    plan = planned({"suppliers": suppliers}, status_quo=True, out=tmp_path / "run")
    assert _row(plan)["serve_largest"] == pytest.approx(0.4)
    losses = stress(tmp_path / "run", lose=["country:CHN"]).losses
    assert losses["served"].tolist() == pytest.approx([0.4])
    assert plan.status_quo is not None
    assert plan.status_quo["tables"]["resilience"].empty


def test_a_run_folder_gives_it_back(planned: Callable[..., Plan], tmp_path: Path) -> None:
    plan = planned({"disruptions": SCENARIOS}, base=TABLES, out=tmp_path / "run")
    again = read_run(tmp_path / "run")
    pd.testing.assert_frame_equal(again.tables["resilience"], plan.tables["resilience"], check_dtype=False)
    assert again.to_json()["resilience"] == plan.to_json()["resilience"]


def test_a_run_of_an_earlier_version_is_read(planned: Callable[..., Plan], oremix: Any, tmp_path: Path) -> None:
    suppliers = TABLES["suppliers"].replace("cost_usd_per_t,", "cost_usd_per_t,incumbent_t,").replace(",0\n", ",50,0\n")
    planned({"suppliers": suppliers}, out=tmp_path / "run")
    for name in ("resilience", "survival"):
        (tmp_path / "run" / "tables" / f"{name}.csv").unlink()
        (tmp_path / "run" / "tables" / f"status_quo_{name}.csv").unlink()
    plan = read_run(tmp_path / "run")
    assert tuple(plan.tables["resilience"].columns) == RESILIENCE
    assert plan.tables["resilience"].empty
    assert plan.tables["survival"].empty
    assert plan.to_json()["resilience"] == []
    assert oremix("show", tmp_path / "run").code == 0
    assert oremix("show", tmp_path / "run", "resilience").code == 0
    assert oremix("compare", tmp_path / "run", tmp_path / "run", "--json").document["resilience"] == []
    (tmp_path / "run" / "tables" / "suppliers.csv").unlink()
    with pytest.raises(CaseError):
        read_run(tmp_path / "run")


def _printed(what: Callable[[Console], None], width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, highlight=False, emoji=False, markup=False)
    what(console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_answer_shows_it_in_80_columns(planned: Callable[..., Plan]) -> None:
    plan = planned({"disruptions": SCENARIOS,
                    "stock": "material,opening_t,closing_min_t,max_t\nmetal,10,10,10\n"})  # fmt: skip
    shown = _printed(lambda console: views.answer(console, plan, 2030))
    (line,) = [line.split() for line in shown.splitlines() if line.startswith("metal") and "CHN 50%" in line]
    assert line == ["metal", "CHN", "50%", "A", "50%", "36", "4"]  # flood: 30 - 10; boom: 20 - 10: 0.1 * 20 + 0.2 * 10
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80


def test_a_country_that_is_worse_than_the_largest_is_named(planned: Callable[..., Plan]) -> None:
    shown = _printed(lambda console: views.answer(console, planned(base=CHAIN), 2030))
    assert "Worse than the loss of the largest: metal without CHL 30%." in shown


def test_commands(oremix: Any, write_case: Callable[..., Path]) -> None:
    folder = write_case(CHAIN, TOML)
    document = oremix("optimize", folder, "--out", "one", "--json").document
    assert {row["stage"]: row["serve_largest"] for row in document["resilience"]} == pytest.approx(
        {"delivered": 0.4, "extraction": 0.3, "processing": 0.4}
    )
    rows = oremix("show", "one", "resilience", "--json").document["rows"]
    assert rows == document["resilience"]
    assert "largest_point" in oremix("show", "one", "resilience").out


def test_runs_are_compared(oremix: Any, write_case: Callable[..., Path]) -> None:
    """At most half of one country: 50 of A and 50 of B, so 50 % instead of 40 %."""
    folder = write_case(TABLES, TOML)
    oremix("optimize", folder, "--out", "free")
    oremix("optimize", folder, "--max-country", "50%", "--out", "half")
    rows = oremix("compare", "free", "half", "--json").document["resilience"]
    (row,) = [row for row in rows if row["stage"] == "delivered"]
    assert (row["serve_largest@free"], row["serve_largest@half"]) == (pytest.approx(0.4), pytest.approx(0.5))
    shown = oremix("compare", "free", "half").out
    (line,) = [line for line in shown.splitlines() if line.startswith("metal") and "40%" in line]
    assert line.split()[1:3] == ["CHN", "40%"]
    assert "50%" in line
    shutil.copytree("free", "again")
    plans = [read_run("free"), read_run("again")]
    assert _printed(lambda console: resilience_compared(console, plans, ["a", "b"], 2030)) == ""
