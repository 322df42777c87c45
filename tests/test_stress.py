"""Stress tests: hand cases of losses with the plan kept and remade, two routes, properties, the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from models.case import Case, load_case
from models.changes import Request
from models.layout import lay_out
from models.problems import CaseError
from models.rule_rows import RuleRows
from optimizer.plan_values import plan_columns
from optimizer.run import optimize
from optimizer.stress_tests import COLUMNS, NoPlan, Stress, effects_of, losses_of, stress, stress_plan
from tests.reference.cases import random_case

TOML = 'name = "one"\n[horizon]\nyears = [2030]\ndiscount_rate = 0.0\n[market]\nhome = "USA"\n'
TABLES = {
    "materials": "material,mineral,stage,price_usd_per_t\nmetal,metal,processing,50\n",
    "suppliers": "supplier,country,channel,material,capacity_t,cost_usd_per_t,surge_share\n"
    "A,CHN,incumbent,metal,60,10,0\nB,CAN,allied,metal,60,14,0.5\nC,USA,domestic,metal,100,20,0\n",
    "demand": "material,year,required_t,shortage_usd_per_t\nmetal,2030,100,100\n",
}  # the plan: 60 of A, 40 of B: 600 + 560 = 1160


def _rows(found: Stress) -> dict[str, dict[str, Any]]:
    return {row["lose"]: row for row in found.losses.to_dict("records")}


def test_each_country_by_hand(write_case: Callable[..., Path]) -> None:
    """CHN lost: B surges to 40 + 0.5 * 20 = 50, C has no surge: 50 * 14 + 50 short * 100 = 5,700 kept; remade 60 * 14 +
    40 * 20 = 1,640. CAN lost: A makes its 60: 600 + 4,000; remade 600 + 40 * 20. USA: nothing of it is used.
    """
    found = stress(load_case(write_case(TABLES, TOML)), lose=["each country"])
    assert tuple(found.losses.columns) == COLUMNS
    assert found.plan_usd_per_y == pytest.approx({2030: 1160})
    rows = _rows(found)
    for country, served, kept, remade in (("CHN", 0.5, 5700, 1640), ("CAN", 0.6, 4600, 1400), ("USA", 1, 1160, 1160)):
        row = rows[f"country:{country}"]
        assert row["served"] == pytest.approx(served)
        assert row["short_t"] == pytest.approx(100 * (1 - served), abs=1e-6)
        assert row["kept_usd_per_y"] == pytest.approx(kept)
        assert row["remade_usd_per_y"] == pytest.approx(remade)
        assert row["regret_usd_per_y"] == pytest.approx(kept - remade, abs=1e-3)
        assert row["recover_year"] == 2030  # two countries can always make 100 of metal
    assert found.ranked["lose"].tolist() == ["country:CHN", "country:CAN", "country:USA"]
    assert found.ranked["short_usd_per_y"].tolist() == pytest.approx([50 * 50, 40 * 50, 0])


def test_pairs_by_hand(write_case: Callable[..., Path]) -> None:
    """CHN and CAN lost: nothing of the plan is left; C alone could make 100. CHN and USA: as CHN in the kept plan, but
    a plan made knowing it has B's 60 only: 60 * 14 + 40 short * 100. CAN and USA: A's 60.
    """
    rows = _rows(stress(load_case(write_case(TABLES, TOML)), lose=["country:CHN"], pairs=True))
    both = rows["country:CAN+country:CHN" if "country:CAN+country:CHN" in rows else "country:CHN+country:CAN"]
    assert both["served"] == pytest.approx(0)
    assert both["kept_usd_per_y"] == pytest.approx(100 * 100)
    assert both["remade_usd_per_y"] == pytest.approx(100 * 20)
    assert set(rows) == {"country:CHN", both["lose"]}  # the plan buys nothing of USA, nor can it call on C


def test_a_pair_counts_where_one_of_it_only_surges(write_case: Callable[..., Path]) -> None:
    """C can surge half of its 100 when CHN is lost, and cannot when USA is lost with it."""
    tables = TABLES | {"suppliers": TABLES["suppliers"].replace("metal,100,20,0", "metal,100,20,0.4")}
    rows = _rows(stress(load_case(write_case(tables, TOML)), lose=["country:CHN"], pairs=True))
    served = {frozenset(part[-3:] for part in lose.split("+")): row["served"] for lose, row in rows.items()}
    assert served[frozenset({"CHN"})] == pytest.approx(0.9)  # 50 + 40
    assert served[frozenset({"CHN", "USA"})] == pytest.approx(0.5)


def test_shortage_without_a_price_costs_nothing_that_is_known(write_case: Callable[..., Path]) -> None:
    tables = TABLES | {"demand": "material,year,required_t\nmetal,2030,100\n"}
    row = _rows(stress(load_case(write_case(tables, TOML)), lose=["country:CHN"]))["country:CHN"]
    assert row["served"] == pytest.approx(0.5)
    assert pd.isna(row["kept_usd_per_y"])
    assert pd.isna(row["regret_usd_per_y"])
    assert row["remade_usd_per_y"] == pytest.approx(1640)


@pytest.mark.parametrize(("months", "served"), [(12, 0.6), (3, 0.9), (1, 1.0)])
def test_stock_by_hand(months: float, served: float, write_case: Callable[..., Path]) -> None:
    """10 t that must stay in the plan: over m months 10 * 12/m t a year. The gap without it is 50: 2.4 months."""
    tables = TABLES | {"stock": "material,opening_t,closing_min_t,max_t\nmetal,10,10,10\n"}
    row = _rows(stress(load_case(write_case(tables, TOML)), lose=["country:CHN"], months=months))["country:CHN"]
    assert row["months"] == months
    assert row["served"] == pytest.approx(served)
    assert row["months_to_survive"] == pytest.approx(2.4)


def test_a_scenario_changes_cost_and_demand(write_case: Callable[..., Path]) -> None:
    """Half of A (30), B 50 % dearer (21): 30 * 10 + 50 * 21 + 20 short * 100; remade knowing it: 30 * 10 + 70 * 20."""
    storm = "scenario,probability,supplier,available_share,cost_multiple\nstorm,0.1,A,0.5,\nstorm,0.1,B,,1.5\n"
    found = stress(load_case(write_case(TABLES | {"disruptions": storm}, TOML)))
    row = _rows(found)["scenario:storm"]
    assert row["served"] == pytest.approx(0.8)
    assert row["kept_usd_per_y"] == pytest.approx(300 + 1050 + 2000)
    assert row["remade_usd_per_y"] == pytest.approx(300 + 1400)


def test_recovery_waits_for_capacity_that_can_be_added(write_case: Callable[..., Path]) -> None:
    """CHN lost in 2030: B and C make 70 then; D can be there by 2035 and then all is served again."""
    tables = {
        "materials": TABLES["materials"],
        "suppliers": "supplier,country,channel,material,from_year,capacity_t,cost_usd_per_t\nA,CHN,incumbent,metal,,100,10\n"
        "B,CAN,allied,metal,,70,14\nD,USA,domestic,metal,2035,100,20\n",
        "demand": "material,year,required_t\nmetal,2030,100\nmetal,2035,100\n",
    }
    found = stress(load_case(write_case(tables, TOML.replace("[2030]", "[2030, 2035]"))), lose=["country:CHN"])
    assert found.losses.set_index("year")["recover_year"].to_dict() == {2030: 2035, 2035: 2035}


def _without(case: Case, country: str) -> Case:
    """The case in which suppliers of a country have neither capacity nor contracts."""
    lost = case.suppliers.loc[case.suppliers["country"] == country, "supplier"]
    tables = dict(case.tables)
    for name in ("suppliers", "supplier_years"):
        table = tables[name].copy()
        for column in {"capacity_t", "min_t"} & set(table.columns):
            table.loc[table["supplier"].isin(lost) & table[column].notna(), column] = 0.0
        tables[name] = table
    return case.with_(tables=tables)


@pytest.mark.parametrize("seed", [101, 104, 109])
def test_remade_is_the_case_without_what_is_lost(seed: int, tmp_path: Path) -> None:
    """Warm, part by part, against a whole new solve of the case with capacity 0."""
    case = load_case(random_case(seed, tmp_path / "case", rules=["share", "ban"] if seed % 2 else 0))
    assert optimize(case).ok
    found = stress(case, lose=["each country"])
    compared = 0
    for country in case.suppliers["country"].unique()[:4]:
        rows = found.losses[found.losses["lose"] == f"country:{country}"]
        again = optimize(_without(case, country))
        for row in rows.to_dict("records"):
            if not again.ok:
                assert pd.isna(row["remade_usd_per_y"])
            else:
                assert row["remade_usd_per_y"] == pytest.approx(again.cost_usd_per_y[row["year"]], rel=1e-6, abs=1e-3)
            compared += 1
    assert compared


@pytest.mark.parametrize("seed", [121, 125, 133, 136])
def test_a_plan_that_has_to_survive_does(seed: int, tmp_path: Path) -> None:
    """What a survive rule secures for its materials together, the stress test finds for each by itself, or more."""
    case = load_case(random_case(seed, tmp_path / "case", rules=["survive"], growth=True))
    layout = lay_out(case)
    plan = optimize(case)
    assert plan.ok
    tested = 0
    for row in RuleRows(layout).rows:
        if row.kind != "survive":
            continue
        names = [loss.name for loss in row.losses]
        found = stress_plan(layout, plan_columns(layout, plan), [], names, row.months)
        mine = found.losses["material"] == row.material if row.material else found.losses["mineral"] == row.mineral
        kept = found.losses[(found.losses["year"] == row.year) & mine]
        tested += len(kept)
        assert (kept["served"] >= row.limit - 1e-6).all()
    assert tested


def test_a_run_is_tested_as_the_case_it_holds(write_case: Callable[..., Path], tmp_path: Path) -> None:
    from optimizer.run import Options, execute

    case = load_case(write_case(TABLES, TOML))
    execute(case, Request(), Options(out=tmp_path / "run"))
    of_run, of_case = stress(tmp_path / "run"), stress(case)
    pd.testing.assert_frame_equal(of_run.losses, of_case.losses)
    assert set(of_run.losses["lose"]) >= {"country:CHN", "controller:CHN", "supplier:A"}


def test_wrong_input(write_case: Callable[..., Path]) -> None:
    case = load_case(write_case(TABLES, TOML))
    with pytest.raises(CaseError) as raised:
        stress(case, lose=["country:CAM", "nothing", "scenario:storm"], months=0)
    assert len(raised.value.problems) == 4


def test_no_plan(write_case: Callable[..., Path]) -> None:
    case = load_case(write_case(TABLES | {"demand": "material,year,required_t\nmetal,2030,1000\n"}, TOML))
    with pytest.raises(NoPlan):
        stress(case)


def test_losses_without_a_name_are_all(write_case: Callable[..., Path]) -> None:
    case: Case = load_case(write_case(TABLES, TOML))
    names = [loss.name for loss in losses_of(case, [])]
    assert len(names) == len(set(names)) == 3 + 3 + 3
    assert [effect.available_share.min() for effect in effects_of(case, losses_of(case, ["country:CHN"])[0])] == [0]


def test_command(oremix: Callable[..., Any], write_case: Callable[..., Path], tmp_path: Path) -> None:
    folder = str(write_case(TABLES, TOML))
    shown = oremix("stress", folder, "--lose", "each country", "--out", str(tmp_path / "kept"))
    assert shown.code == 0
    assert "served" in shown.out
    document = oremix("stress", folder, "--lose", "country:CHN", "--json", "--out", str(tmp_path / "other")).document
    assert {"lose", "months", "material", "year", "served", "short_t", "kept_usd_per_y", "remade_usd_per_y"} <= set(
        document["losses"][0]
    )
    assert (tmp_path / "kept" / "stress.json").is_file()
    assert (tmp_path / "kept" / "tables" / "losses.csv").is_file()
    again = oremix("stress", str(tmp_path / "kept" / "plans" / "1"), "--lose", "country:CHN", "--json")
    assert again.document["losses"][0]["served"] == pytest.approx(0.5)
    assert oremix("stress", str(tmp_path / "kept" / "plans" / "1"), "--no-rules").code == 2
    assert oremix("stress", folder, "--demand-scale", "100").code == 0  # shortage has a price
