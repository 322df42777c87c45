"""Hazards: where every probability comes from, what is short on average, and that what hangs on a guess says so."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.us.derive_hazards import lost_share, year_multiple
from models.case import Case, load_case
from models.changes import Request, change
from models.disruptions import Targets, hazards, scenario_effect
from models.layout import lay_out
from models.rule_rows import RuleRows
from optimizer import report_analyses
from optimizer.analysis_folder import read_analysis
from optimizer.engine import Limits
from optimizer.remaking import Remaking
from optimizer.run import optimize
from optimizer.stress_tests import effects_of, losses_of, stress
from tests.reference.cases import random_case
from tests.test_stress import TABLES, TOML

US = Path(__file__).resolve().parents[1] / "data" / "us"
HEAD = "scenario,probability,probability_low,probability_high,probability_basis,package,supplier,available_share\n"


@pytest.fixture(scope="module")
def us() -> Case:
    return load_case("us")


def _facts(name: str) -> list[dict[str, str]]:
    with (US / "facts" / f"{name}.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_every_scenario_of_us_says_where_its_probability_comes_from(us: Case) -> None:
    table, known = hazards(us), set(us.tables["sources"]["id"])
    assert len(table) >= 30
    for row in table.to_dict("records"):
        assert row["source"] and set(row["source"].split()) <= known, row
        assert row["basis"] in ("published", "computed", "guess"), row
        assert row["package"], row
        assert row["low"] <= row["probability"] <= row["high"], row
    assert table["probability"].sum() <= 1
    assert us.tables["disruptions"]["source"].str.len().gt(0).all()
    assert not [line for line in us.warnings if "disruptions" in line]


def test_a_guess_is_marked_as_one(us: Case) -> None:
    """A probability above 0 that rests on nothing but the case's own assumption is a guess."""
    table = hazards(us)
    facts = {row["scenario"]: row for row in _facts("hazards")}
    for row in table.to_dict("records"):
        if row["probability"] > 0 and facts[row["scenario"]]["how"] == "assumption":
            assert row["basis"] == "guess", row["scenario"]
        if row["probability"] == 0:
            assert "counted in" in facts[row["scenario"]]["note"]
            covered = facts[row["scenario"]]["note"].rpartition("counted in ")[2]
            assert float(facts[covered]["probability"]) > 0, row["scenario"]
            assert facts[covered]["package"] == row["package"]


def test_a_package_hits_several_minerals_at_once_and_allies_and_home_fail_too(us: Case) -> None:
    targets, hit = Targets(us), defaultdict(set)
    minerals: dict[str, set[str]] = defaultdict(set)
    for row in us.tables["disruptions"].to_dict("records"):
        if row["available_share"] < 1:
            lost = us.suppliers[targets.hits(row, 2030)]
            assert len(lost), row
            hit[row["scenario"]] |= set(lost["channel"])
            minerals[row["scenario"]] |= set(lost["mineral"])
    assert minerals["china_licensing"] == {"gallium", "germanium", "graphite", "antimony", "tungsten", "rare_earths"}
    likely = hazards(us).set_index("scenario")["probability"]
    assert {"allied", "domestic"} <= {channel for name, found in hit.items() if likely[name] > 0 for channel in found}
    assert {"australia_outage", "canada_outage", "norway_outage", "japan_outage", "mountain_pass_outage"} <= set(hit)
    assert "allied" in hit["china_ban_and_japan_outage"] and "incumbent" in hit["china_ban_and_japan_outage"]


def test_shares_and_prices_follow_from_the_events(us: Case) -> None:
    """Licences: 0.1 for 3 months and 0.7 for 9 leave (0.3 + 6.3) / 12 = 0.55. The DR Congo's stop: 8 of 12 months, 1.6
    times for 8: 1.4. Platinum strike: 0.40 of the world is 0.40 * 163 / 120 of South Africa, for 5 months.
    """
    assert lost_share("0.9x3 0.3x9") == pytest.approx(0.45)
    assert year_multiple({"price_multiple": "1.6", "price_months": "8"}) == pytest.approx(1.4)
    at = us.supplier_position
    stop = scenario_effect(us, "drc_stop_2025", 2028)
    assert stop.available_share[at["cod_cobalt_cmoc"]] == pytest.approx(1 / 3, abs=1e-3)
    assert stop.cost_multiple[at["cod_cobalt_cmoc"]] == 1  # the price rises outside the source
    assert stop.cost_multiple[at["nikkelverk_cobalt"]] == pytest.approx(1.4)
    assert stop.cost_multiple[at["usa_cobalt_scrap"]] == pytest.approx(1.4)
    assert stop.cost_multiple[at["mountain_pass"]] == 1
    strike = scenario_effect(us, "platinum_strike_2014", 2028)
    assert strike.available_share[at["implats_pt_mines"]] == pytest.approx(1 - 0.40 * 163 / 120 * 5 / 12, abs=1e-3)
    licences = scenario_effect(us, "china_licensing", 2028)
    assert licences.available_share[at["chn_tungsten_apt"]] == pytest.approx(0.55)
    assert licences.available_share[at["chn_tin_refined"]] == 1  # no licence for tin


def test_prices_rise_for_all_others_of_the_mineral_and_for_nobody_who_is_hit(us: Case) -> None:
    for scenario in hazards(us)["scenario"]:
        effect = scenario_effect(us, scenario, 2028)
        assert not ((effect.available_share < 1) & (effect.cost_multiple != 1)).any(), scenario
        assert (effect.demand_multiple == 1).all()
    ban = scenario_effect(us, "china_full_ban", 2028)
    others = (us.suppliers["mineral"] == "antimony") & (us.suppliers["country"] != "CHN")
    assert (ban.cost_multiple[others.to_numpy()] == 2.5).all()


def test_a_part_of_the_case_keeps_the_hazards_of_its_minerals(us: Case) -> None:
    part = change(us, Request(minerals=["zinc"]))
    assert set(hazards(part)["scenario"]) == {
        "japan_outage",
        "china_ban_and_japan_outage",
    }  # Japan's works, all minerals
    assert not [line for line in part.warnings if "disruptions" in line]
    rare = change(us, Request(minerals=["rare_earths"]))
    assert set(rare.tables["disruptions"]["mineral"]) <= {"", "rare_earths"}
    assert "gemco_2024" not in set(hazards(rare)["scenario"])


def test_probabilities_of_japan_follow_from_the_published_loss() -> None:
    """USGS: 0.015 to 0.033 of output a year; a loss of half a year: 0.03 to 0.066. South Africa: 2 events in 18.9 years."""
    facts = {row["scenario"]: row for row in _facts("hazards")}
    assert float(facts["japan_outage"]["low"]) == pytest.approx(0.015 / 0.5)
    assert float(facts["japan_outage"]["high"]) == pytest.approx(0.033 / 0.5)
    for column, events in (("low", 1), ("probability", 2), ("high", 3)):
        assert float(facts["south_africa_outage"][column]) == pytest.approx(1 - math.exp(-events / 18.9), abs=0.005)


EXPECTED = (
    "storm,0.1,0.05,0.3,guess,weather,A,0.5\n"  # 30 t short of 100
    "fire,0.2,0.1,0.2,published,fire,B,0\n"  # 40 t short
    "test,0,0,0,computed,fire,A,0\n"  # not likely, so not in the sum
    "calm,0.3,,,,,C,0\n"  # nothing of C is used
)


def test_expected_shortage_by_hand(write_case: Callable[..., Path]) -> None:
    """A 60, B 40, surge of B 10 where A fails. Storm: 30 + 40 + surge of half of 20 unused, 20 short; fire: 40 short.
    Expected 0.1 * 20 + 0.2 * 40 = 10 t; low 0.05 * 20 + 0.1 * 40 = 5; high 0.3 * 20 + 0.2 * 40 = 14; guessed 2. 50 USD/t.
    """
    found = stress(load_case(write_case(TABLES | {"disruptions": HEAD + EXPECTED}, TOML)))
    row = found.expected.iloc[0]
    assert len(found.expected) == 1
    assert [row[f"{name}_short_t"] for name in ("expected", "low", "high", "guessed")] == pytest.approx([10, 5, 14, 2])
    assert row["guessed_short_usd"] == pytest.approx(100)
    ranked = {item["lose"]: item for item in found.document()["ranked"]}
    assert (ranked["scenario:storm"]["probability"], ranked["scenario:storm"]["probability_basis"]) == (0.1, "guess")
    assert ranked["country:CHN"]["probability"] is None
    assert found.document()["expected"][0]["expected_short_t"] == pytest.approx(10)


def test_a_range_that_is_not_given_is_the_probability(write_case: Callable[..., Path]) -> None:
    case = load_case(
        write_case(TABLES | {"disruptions": "scenario,probability,supplier,available_share\nx,0.2,A,0\n"}, TOML)
    )
    row = hazards(case).iloc[0]
    assert (row["low"], row["high"], row["basis"], row["package"], row["source"]) == (0.2, 0.2, "", "", "")


def test_stress_says_what_hangs_on_a_guess(oremix: Callable[..., Any], write_case: Callable[..., Path]) -> None:
    folder = str(write_case(TABLES | {"disruptions": HEAD + EXPECTED}, TOML))
    shown = oremix("stress", folder)
    assert shown.code == 0
    assert "Probability is a guess: storm." in shown.out
    line = next(line for line in shown.out.splitlines() if line.startswith("2030 "))
    assert line.split() == ["2030", "500", "250", "700", "20%"]  # USD: 10, 5, 14 t at 50; 2 of 10 guessed
    rows = {line.split()[1]: line.split() for line in shown.out.splitlines() if "%" in line and len(line.split()) > 3}
    assert rows["storm"][-3:] == ["10%", "5-30%", "guess"]
    assert rows["test"][-1] == "test"  # no chance of its own, so no basis either


def test_the_report_says_what_hangs_on_a_guess(write_case: Callable[..., Path], tmp_path: Path) -> None:
    stress(load_case(write_case(TABLES | {"disruptions": HEAD + EXPECTED}, TOML)), out=tmp_path / "stress")
    said, _ = report_analyses.stress(read_analysis(tmp_path / "stress"), "")
    assert any("500 USD" in line and "250 to 700" in line and "20% of it hangs on guessed" in line for line in said)


def test_wrong_questions_are_told_before_anything_is_solved(
    oremix: Callable[..., Any], write_case: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import optimizer.stress_tests

    folder = str(write_case(TABLES, TOML))
    monkeypatch.setattr(optimizer.stress_tests, "execute", lambda *_: pytest.fail("solved first"))
    wrong = oremix("stress", folder, "--show-year", "2029")
    assert wrong.code == 2 and "--show-year" in wrong.err and "2030" in wrong.err
    assert oremix("stress", folder, "--lose", "country:CAM").code == 2


def test_a_material_without_a_price_is_not_worth_nothing(write_case: Callable[..., Path]) -> None:
    tables = TABLES | {"materials": "material,mineral,stage\nmetal,metal,processing\n"}
    ranked = stress(load_case(write_case(tables, TOML)), lose=["each country"]).ranked
    assert ranked["lose"].tolist() == ["country:CHN", "country:CAN", "country:USA"]
    assert ranked["short_usd_per_y"].isna().tolist() == [True, True, False]


@pytest.mark.parametrize("seed", [1, 3, 101, 104, 109, 121, 133])
def test_remade_part_by_part_is_remade_whole(seed: int, tmp_path: Path) -> None:
    """A scenario's shares and prices on warm parts, against the whole program stamped and solved anew."""
    case = load_case(random_case(seed, tmp_path / "case", rules=["share"] if seed % 2 else 0, growth=seed > 120))
    if not optimize(case).ok:
        pytest.skip("no plan")
    layout = lay_out(case)
    remaking = Remaking(layout, RuleRows(layout).rows, Limits(60, 1e-6, 1))
    names = case.suppliers["supplier"].tolist()
    rng = np.random.default_rng(seed)
    compared = 0
    for _ in range(4):
        rows = [
            {"scenario": "x", "probability": 0.1, "supplier": name, "available_share": rng.choice([0.0, 0.3, 1.0]),
             "cost_multiple": rng.choice([1.0, 1.5, 0.8])} for name in rng.choice(names, 4, replace=False)
        ]  # fmt: skip
        effects = _effects(case, rows)
        parts, whole = remaking.without(effects), remaking._anew(effects)
        assert (parts is None) == (whole is None)
        if parts is not None and whole is not None:
            weights = case.weights
            assert float(parts @ weights) == pytest.approx(float(whole @ weights), rel=1e-6, abs=1e-2)
            compared += 1
    assert compared


def _effects(case: Case, rows: list[dict[str, Any]]) -> Any:
    from models.disruptions import Effect

    share, cost = np.ones(len(case.suppliers)), np.ones(len(case.suppliers))
    for row in rows:
        at = case.supplier_position[row["supplier"]]
        share[at], cost[at] = row["available_share"], row["cost_multiple"]
    return [Effect(share, cost, np.ones((len(case.markets), len(case.materials))))] * len(case.years)


def test_every_event_is_a_loss_that_stress_tests(us: Case) -> None:
    names = {loss.name for loss in losses_of(us, [])}
    assert {f"scenario:{name}" for name in hazards(us)["scenario"]} <= names
    assert {"scenario:gemco_2024", "scenario:us_ban_2024", "scenario:shaba_1978"} <= names
    one = next(loss for loss in losses_of(us, ["scenario:gemco_2024"]))
    assert effects_of(us, one)[0].available_share[us.supplier_position["gemco"]] == 0
