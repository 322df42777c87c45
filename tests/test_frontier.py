"""Frontiers: every breakpoint against independent solves, slopes against prices, ends where no plan is left."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.case import Case
from models.rule_kinds import LIMIT_KEYS
from optimizer import CaseError, Frontier, frontier, load_case, optimize, read_run
from optimizer.analysis_folder import read_analysis
from optimizer.frontiers import WITHIN
from optimizer.trading import trade_of
from tests.reference.cases import random_case

# Four suppliers of one metal, 100 t required: a USA 10 USD/t up to 30 t, b CHL 5 up to 60 t, c CHN 2 up to 100 t,
# d AUS 8 up to 40 t.
TOML = '[horizon]\nyears = [2030]\n[market]\nhome = "USA"\n'
TABLES = {
    "materials": "material,mineral,stage\nmetal,m,processing\n",
    "suppliers": "supplier,country,channel,material,capacity_t,cost_usd_per_t,emissions_kgco2e_per_t\n"
    "a,USA,domestic,metal,30,10,1\nb,CHL,allied,metal,60,5,2\nc,CHN,incumbent,metal,100,2,9\nd,AUS,allied,metal,40,8,3\n",
    "demand": "material,year,required_t\nmetal,2030,100\n",
}
FEW = settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def cost_at(case: Case, found: Frontier, limit: float) -> float | None:
    return optimize(trade_of(case, found.key).case_at(limit)).objective_usd


def line(found: Frontier, limit: float) -> float:
    return float(np.interp(limit, found.points["limit"], found.points["objective_usd"]))


@pytest.fixture
def four(write_case: Callable[..., Path]) -> Case:
    return load_case(write_case(TABLES, TOML))


def test_the_small_case_by_hand() -> None:
    """README: 40% costs 13.1 million, 30% 13.7; a point from 50 to 40% is 10 t of Chile (13,000) for China (15,000);
    from 40% to 20% also 10 t of China less, both for the US refinery (17,000): 10 * (4,000 + 2,000). At 20% home has
    200 recycled + 400 refined, Chile and China 200 each: no less can do.
    """
    found = frontier(load_case("small"), "rules.one_country.max")
    assert found.exact and found.why == ""
    points = found.points
    assert points["limit"].tolist() == pytest.approx([0.2, 0.4, 0.5, 1.0])
    assert points["objective_usd"].tolist() == pytest.approx([14.3e6, 13.1e6, 12.9e6, 12.9e6])
    assert points["slope_usd"].tolist() == pytest.approx([-6e6, -2e6, 0.0, 0.0])
    assert points["slope_usd_per_point"].tolist() == pytest.approx([-60_000, -20_000, 0.0, 0.0])
    assert found.breakpoints == pytest.approx([0.4, 0.5])
    assert (found.feasible_from, found.feasible_to, found.stops) == pytest.approx((0.2, 1.0, 0.5))
    assert found.ends_at == ("lithium 2030",)
    leaves = found.moves[found.moves["change"] == "leaves"]
    assert list(zip(leaves["limit"].round(9), leaves["supplier"], strict=True)) == [(0.4, "usa_refinery")]
    assert [plan.objective_usd for plan in found.plans] == pytest.approx([14.3e6, 13.1e6, 12.9e6])
    assert found.plans.names == ["20%", "40%", "50%"]
    assert all(plan.audit == [] for plan in found.plans)


def test_a_measure_by_hand(four: Case) -> None:
    """domestic_share: 1 t of a (10) for 1 t of c (2) each point, up to a's 30 t: 8 USD a point of 1 t."""
    found = frontier(four, "domestic_share")
    assert found.bound == "min"
    assert found.points["limit"].tolist() == pytest.approx([0.0, 0.3])
    assert found.points["objective_usd"].tolist() == pytest.approx([200.0, 440.0])
    assert found.points["slope_usd"].iloc[0] == pytest.approx(800.0)
    assert np.isnan(found.points["slope_usd"].iloc[1])
    assert (found.feasible_from, found.feasible_to) == pytest.approx((0.0, 0.3))


def test_the_largest_country_counts_home_and_every_country(four: Case) -> None:
    """c alone (200) at 100%. Below, b (5) replaces c: 3 USD a t, down to 60 b? No: b is capped as well, at 50% both
    have 50. Below 50% d (8) replaces b and c: to 40% (d 20). Below 40% d is capped too; a (10) replaces b, c, d at
    once, 3 t for each t of the cap, until a's 30 t are spent: 3 * limit + 30 = 100, limit 23.33%... but d then has
    23.3 and all keep it; at 33.3% b = c = d = 33.3 and a enters.
    """
    found = frontier(four, "largest_country_share")
    assert found.points["limit"].tolist() == pytest.approx([0.25, 1 / 3, 0.5, 1.0])
    # 25%: 25 each: 250 + 125 + 50 + 200; 33.3%: (5 + 2 + 8) * 33.33; 50%: 250 + 100; 100%: 200
    assert found.points["objective_usd"].tolist() == pytest.approx([625.0, 500.0, 350.0, 200.0])


def test_import_reliance_and_incumbents(four: Case) -> None:
    """Imports down to 70%: a for c at 8 USD a t. Incumbent c to 0: 60 b, 40 d = 620; the first 60 t cost 3 each."""
    imports = frontier(four, "import_reliance")
    assert imports.points[["limit", "objective_usd"]].to_numpy() == pytest.approx(
        np.array([[0.7, 440.0], [1.0, 200.0]])
    )
    incumbent = frontier(four, "incumbent_share")
    assert incumbent.points["limit"].tolist() == pytest.approx([0.0, 0.4, 1.0])
    assert incumbent.points["objective_usd"].tolist() == pytest.approx([620.0, 380.0, 200.0])


def test_emissions_have_no_loose_end_of_their_own(four: Case) -> None:
    """c alone: 9 kg. b saves 7 kg for 3 USD (0.43 USD a kg) up to 60 t: 4.8 kg at 380. Then a (8 kg, 8 USD) and d
    (6 kg, 6 USD) for c are equal at 1 USD a kg: c to 0 with 40 of them. Last, a for b: 1 kg for 5 USD.
    """
    found = frontier(four, "emissions")
    assert found.unit == "kg CO2e per t"
    assert found.feasible_to == found.stops == pytest.approx(9.0)
    assert "has stopped" in " ".join(found.warnings)
    assert line(found, 4.8) == pytest.approx(380.0)
    for limit in (found.feasible_from, 2.2, 3.0, 6.0):
        assert limit is not None
        assert cost_at(four, found, limit) == pytest.approx(line(found, limit))


def test_hhi_is_traced_as_closely_as_it_says(write_case: Callable[..., Path]) -> None:
    """b and c alone, with HHI s^2 + (1 - s)^2: cost 200 + 300 s for the share s of b."""
    lines = TABLES["suppliers"].splitlines()
    case = load_case(write_case({**TABLES, "suppliers": "\n".join([lines[0], lines[2], lines[3], ""])}, TOML))
    found = frontier(case, "hhi_country", keep=1)
    assert not found.exact
    assert "HHI" in found.why
    assert found.feasible_from == pytest.approx(0.5, abs=1e-6)
    for limit in np.linspace(0.501, 1.0, 40).tolist():
        cost = 200 + 300 * (1 - (2 * limit - 1) ** 0.5) / 2
        assert abs(line(found, limit) - cost) <= WITHIN * cost


def test_a_count_of_suppliers_has_a_point_for_each_whole_number(four: Case) -> None:
    raw = {
        **four.raw,
        "rules": [
            {"name": "few", "kind": "suppliers", "max": 4},
            {"name": "cap", "kind": "each_share", "each": "supplier", "max": 0.5},
        ],
    }
    case = load_case_with(four, raw)
    found = frontier(case, "rules.few.max")
    assert found.points["limit"].tolist() == [2.0, 3.0, 4.0]
    assert not found.exact
    for limit in (2, 3, 4):
        assert optimize(case, {"rules.few.max": limit}).objective_usd == pytest.approx(line(found, limit), rel=1e-4)


def load_case_with(case: Case, raw: dict[str, Any]) -> Case:
    from models.config import parse_settings
    from models.problems import Problems

    problems = Problems()
    parsed = parse_settings(raw, "case.toml", problems)
    assert parsed is not None, problems.found
    return case.with_(raw=raw, settings=parsed)


def test_a_lot_makes_the_curve_jump(write_case: Callable[..., Path]) -> None:
    """a is used with 20 t or not at all: the first point of a domestic share costs 20 * 8 at once, and then nothing
    more up to 20%.
    """
    tables = {**TABLES, "suppliers": "supplier,country,channel,material,capacity_t,cost_usd_per_t,lot_t\n"
              "a,USA,domestic,metal,30,10,20\nc,CHN,incumbent,metal,100,2,\n"}  # fmt: skip
    found = frontier(load_case(write_case(tables, TOML)), "domestic_share")
    assert not found.exact and "jump" in found.why
    assert line(found, 0.0) == pytest.approx(200.0)
    assert [line(found, limit) for limit in (0.01, 0.1, 0.2)] == pytest.approx([360.0] * 3, rel=1e-4)
    assert line(found, 0.3) == pytest.approx(440.0)


def test_a_total_that_varies_is_traced(write_case: Callable[..., Path]) -> None:
    """Demand may go short at 9 USD/t: the domestic share is of what is delivered."""
    tables = {**TABLES, "demand": "material,year,required_t,shortage_usd_per_t\nmetal,2030,100,9\n"}
    case = load_case(write_case(tables, TOML))
    found = frontier(case, "domestic_share")
    assert not found.exact and "total" in found.why
    assert found.feasible_to == 1.0
    for limit in np.linspace(0.0, 1.0, 12).tolist():
        cost = cost_at(case, found, limit)
        assert cost is not None and abs(line(found, limit) - cost) <= WITHIN * cost


def test_a_stage_whose_total_cannot_vary_is_exact(write_case: Callable[..., Path]) -> None:
    """At the stage of the metal itself everything made is delivered: the total is the requirement, whatever the mix."""
    case = load_case(write_case(TABLES, TOML))
    staged = frontier(case, "largest_country_share", stage="processing")
    assert staged.exact
    assert staged.points["limit"].tolist() == pytest.approx([0.25, 1 / 3, 0.5, 1.0])


@FEW
@given(st.integers(0, 200))
def test_random_curves_against_independent_solves(seed: int) -> None:
    """On random cases and limits: the line equals a whole solve at random limits, at the ends and the breakpoints; just
    beyond the tight end there is no plan; the slope is that of the line; an exact curve is convex.
    """
    draw = random.Random(seed)
    with TemporaryDirectory() as folder:
        kinds = [["share"], ["each_share"], ["index", "share"], ["emissions"], ["budget"]][seed % 5]
        case = load_case(random_case(seed, Path(folder) / "case", rules=kinds, years=2, most_suppliers=8))
    keys = [f"rules.{rule.name}.{key}" for rule in case.rules for key in LIMIT_KEYS[rule.kind]]
    key = draw.choice([*keys, "largest_country_share"])
    trade = trade_of(case, key)
    found = frontier(case, key, keep=1)
    if not found.ok:
        assert not optimize(trade.case).ok
        return
    low, high = found.feasible_from, found.feasible_to
    assert low is not None and high is not None
    near = [draw.uniform(low, high), low, high, *found.breakpoints[:2]]
    for limit in {round(limit) for limit in near} if trade.whole else near:
        cost = cost_at(case, found, limit)
        assert cost is not None
        close = 1e-6 if found.exact else WITHIN
        assert line(found, limit) == pytest.approx(cost, rel=close, abs=1e-6)
    tight = low if trade.bound == "max" else high
    beyond = tight - 1e-4 * max(1.0, abs(tight)) * (1 if trade.bound == "max" else -1)
    if trade.lowest <= beyond <= trade.highest and not trade.whole:
        assert cost_at(case, found, beyond) is None
    slopes = found.points["slope_usd"].to_numpy()[:-1]
    lines = np.diff(found.points["objective_usd"]) / np.diff(found.points["limit"])
    assert slopes == pytest.approx(lines, rel=1e-4, abs=1e-6 * float(np.abs(found.points["objective_usd"]).max()))
    if found.exact and len(slopes) > 1:
        assert (np.diff(slopes) > 0).all()


def test_slopes_are_the_prices_of_the_plans() -> None:
    """Between breakpoints the price of the rule (all its rows) is the slope."""
    case = load_case("small")
    found = frontier(case, "rules.one_country.max")
    for limit, slope in ((0.3, -6e6), (0.45, -2e6), (0.7, 0.0)):
        rules = optimize(case, {"rules.one_country.max": limit}).tables["rules"]
        assert rules["price_usd_per_y"].sum() == pytest.approx(slope, abs=1e-6)
        place = int(np.searchsorted(found.points["limit"], limit)) - 1
        assert found.points["slope_usd"].iloc[place] == pytest.approx(slope, abs=1e-6)


def test_the_folder_keeps_the_plan_at_each_breakpoint(tmp_path: Path) -> None:
    found = frontier(load_case("small"), "rules.one_country.max", out=tmp_path / "out")
    analysis = read_analysis(tmp_path / "out")
    assert analysis.document == found.to_json()
    kept = {point["limit"]: point["run"] for point in analysis.document["points"] if point["run"]}
    assert sorted(kept) == pytest.approx([0.2, 0.4, 0.5])
    for point in analysis.document["points"][:3]:
        assert read_run(point["run"]).objective_usd == pytest.approx(point["objective_usd"])
    made = analysis.tables["made"]
    assert made[made["limit"] == 0.2].set_index("supplier")["produced_t"]["usa_refinery"] == pytest.approx(400)
    fewer = frontier(load_case("small"), "rules.one_country.max", keep=1)
    assert fewer.plans.names == ["20%"]


def test_where_no_limit_has_a_plan_the_conflict_is_told(four: Case) -> None:
    found = frontier(four, "import_reliance", {"demand.required_t": 900})
    assert not found.ok and found.status == "infeasible"
    document = found.to_json()
    assert document["points"] == [] and document["feasible_from"] is None and document["conflict"]


@pytest.mark.parametrize(
    ("trade", "message"),
    [
        ("cost:rules.nothing.max", "no such rule"),
        ("cost:rules.one_country.min", "not a limit of a rule of kind each_share"),
        ("cost:nonsense", "neither a rule's limit nor a measure"),
        ("risk:hhi_country", "write cost:KEY"),
        ("cost:bloc_share", "write bloc_share:NAME"),
        ("cost:bloc_share:nowhere", "no such bloc"),
        ("cost:hhi_country:x", "takes no name"),
    ],
)
def test_wrong_trades_are_told(trade: str, message: str) -> None:
    with pytest.raises(CaseError, match=message):
        frontier(load_case("small"), trade)


def test_the_command(oremix: Any) -> None:
    done = oremix("frontier", "small", "--trade", "cost:rules.one_country.max", "--json", "--out", "out")
    assert done.code == 0
    document = done.document
    assert document["key"] == "rules.one_country.max"
    assert document["breakpoints"] == pytest.approx([0.4, 0.5])
    assert document["points"][1]["leaves"] == [
        {"supplier": "usa_refinery", "material": "lithium_chemicals", "year": 2030}
    ]
    assert document["run"] == "out"
    shown = oremix("frontier", "small", "--trade", "cost:rules.one_country.max")
    assert shown.code == 0
    assert "there is no plan: lithium 2030 can go no further" in shown.out
    assert "-60,000" in shown.out
    assert oremix("compare", *(f"out/plans/{n}" for n in (1, 2, 3))).code == 0


def test_the_command_refuses_and_explains(oremix: Any) -> None:
    assert oremix("frontier", "small").code == 2
    assert oremix("frontier", "small", "--trade", "cost:rules.no.max", "--json").code == 2
    none = oremix("frontier", "small", "--trade", "cost:import_reliance", "--min-domestic", "60%", "--json")
    assert none.code == 3
    assert none.document["status"] == "infeasible" and none.document["points"] == []


@pytest.mark.parametrize(
    ("name", "key"), [("survive_one_stage", "rules.n1.serve"), ("provenance_share", "rules.clean.max")]
)
def test_limits_that_hold_by_cuts_are_traced(name: str, key: str) -> None:
    """survive and provenance: the whole case is solved at each limit; lines and ends agree with whole solves."""
    case = load_case(Path(__file__).parent / "cases" / name)
    found = frontier(case, key, keep=1)
    assert not found.exact and "cuts" in found.why
    assert found.feasible_from is not None and found.feasible_to is not None
    for limit in np.linspace(found.feasible_from, found.feasible_to, 6).tolist():
        cost = cost_at(case, found, limit)
        assert cost is not None and abs(line(found, limit) - cost) <= WITHIN * cost
