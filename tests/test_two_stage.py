"""Plans that weigh disruptions: by hand, against a second implementation, Pyomo's whole model, and their limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.case import Case, load_case
from models.layout import lay_out
from models.outcomes import find_effects, find_outcomes
from models.rule_rows import RuleRows
from models.two_stage import build_two_stage
from optimizer.compiling import compile_model
from optimizer.engine import Engine, Limits
from optimizer.plan import Plan
from optimizer.run import optimize
from optimizer.solving import rule_prices, solve
from optimizer.status_quo import find_status_quo, has_status_quo
from optimizer.two_stage import cvar, tail_weights
from tests.reference import solve as reference
from tests.reference import two_stage as theirs
from tests.reference.cases import random_two_stage

HAND = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("two_stage_*/expected.json"))
MATERIALS = "material,mineral,stage\nmetal,cobalt,processing\n"


def _rows(case: Case) -> tuple[Any, Any]:
    quo = find_status_quo(case, Limits()) if has_status_quo(case) else None
    layout = lay_out(case)
    return layout, RuleRows(layout, quo.cost_usd_per_y() if quo is not None and quo.ok else {}).rows


@pytest.mark.parametrize("folder", HAND, ids=lambda path: path.name)
def test_hand_case_in_all_its_numbers(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    plan = optimize(load_case(folder))
    if "two_stage" not in expected:
        assert plan.two_stage is None
        assert plan.status == "infeasible"
        return
    assert plan.two_stage is not None
    named = {name: usd for name, usd in expected["two_stage"].items() if isinstance(usd, (int, float))}
    assert {name: plan.two_stage[name] for name in named} == pytest.approx(named, rel=1e-6, abs=1e-3)
    outcomes = plan.tables["outcomes"].set_index("outcome")["response_usd"]
    assert outcomes.to_dict() == pytest.approx(expected["two_stage"]["response_usd"], rel=1e-6, abs=1e-3)


def _agree(folder: Path) -> Plan:
    """The tool and the second implementation give the same status and objective; the audit is clean."""
    answer, plan = reference.solve(folder), optimize(load_case(folder))
    assert plan.status == answer.status
    assert plan.audit == []
    if answer.objective_usd is None:
        return plan
    near = 2e-4 if plan.about["whole_numbers"] else 1e-6
    assert plan.objective_usd == pytest.approx(answer.objective_usd, rel=near, abs=1e-6)
    assert plan.two_stage is not None
    for name in ("evpi_usd", "vss_usd", "ignoring_usd"):
        worth = plan.two_stage[name]
        assert worth is None or worth >= -plan.two_stage["gap_usd"], name
    return plan


@pytest.mark.parametrize("seed", range(14))
def test_second_implementation(seed: int, tmp_path: Path) -> None:
    plan = _agree(random_two_stage(seed, tmp_path / "case", most_suppliers=10))
    two = plan.two_stage
    if two is not None and two["evpi_usd"] is not None and not plan.about["whole_numbers"] and seed % 4 == 0:
        room = 2e-6 * max(1.0, abs(two["objective_usd"]))
        assert two["evpi_usd"] == pytest.approx(theirs.perfect_information(tmp_path / "case"), abs=room)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(2))
def test_second_implementation_at_length(block: int, tmp_path: Path) -> None:
    seeds = range(200 + 10 * block, 210 + 10 * block)
    found = [_agree(random_two_stage(seed, tmp_path / str(seed))).status for seed in seeds]
    assert "optimal" in found


@pytest.mark.parametrize("seed", [0, 2, 3, 6, 8])
def test_arrays_and_cuts_have_the_optimum_of_the_whole_model(seed: int, tmp_path: Path) -> None:
    """Pyomo's model shares nothing between outcomes; the arrays share copies; cuts ask each copy by itself."""
    folder = random_two_stage(seed, tmp_path / "case", rules=["share", "each_share"], integers=False)
    case = load_case(folder)
    layout, rows = _rows(case)
    arrays, cuts = solve(layout, rows, Limits()), solve(layout, rows, Limits(), most_rows=0)
    model = compile_model(build_two_stage(layout, rows))
    whole = Engine(model, np.ones(len(model.names))).solve(Limits())
    assert arrays.status == cuts.status == whole.status
    if not arrays.has_plan:
        return
    assert arrays.solution is not None
    assert cuts.solution is not None
    assert arrays.solution.objective == pytest.approx(whole.objective, rel=1e-8)
    assert cuts.solution.objective == pytest.approx(whole.objective, rel=1e-7)
    assert cuts.rounds > 0
    assert arrays.certificate is not None
    assert arrays.certificate.holds


@pytest.mark.parametrize("seed", [0, 3])
def test_prices_with_cuts_lie_where_moving_the_limit_says(seed: int, tmp_path: Path) -> None:
    """A rule's price is the slope of the weighed objective, whichever way the responses are solved."""
    folder = random_two_stage(seed, tmp_path / "case", rules=["share", "each_share"], integers=False)
    case = load_case(folder)
    layout, rows = _rows(case)
    solved = [solve(layout, rows, Limits(), most_rows=most) for most in (np.inf, 0)]
    if not solved[0].has_plan:
        return
    for one in solved:
        assert one.solution is not None
        for number, price in rule_prices(one, one.solution).items():
            row = rows[number]
            ends = []
            for step in (-1e-4, 1e-4):
                key = row.key
                moved = case.with_(relaxed={**case.relaxed, key: row.limit + step})
                again = solve(*_rows(moved), Limits())
                if again.solution is None or not again.has_plan:
                    ends.append(np.inf * step)
                    continue
                ends.append((again.solution.objective - one.solution.objective) / step)
            room = 1e-3 * max(1.0, *(abs(end) for end in ends if np.isfinite(end)))
            assert min(ends) - room <= price <= max(ends) + room


# ---- the tail


def test_the_tail_cuts_an_outcome_in_two() -> None:
    """Worst 10%: all of the 4% at 100 and 6 of the 10% at 50: (0.04 * 100 + 0.06 * 50) / 0.1 = 70."""
    p, usd = np.array([0.86, 0.04, 0.1]), np.array([10.0, 100.0, 50.0])
    assert cvar(p, usd, 0.1) == pytest.approx(70.0)
    assert tail_weights(p, usd, 0.1) == pytest.approx([0.0, 0.4, 0.6])
    assert cvar(p, usd, 1.0) == pytest.approx(0.86 * 10 + 0.04 * 100 + 0.1 * 50)
    assert cvar(p, usd, 1e-9) == pytest.approx(100.0)


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(-1e6, 1e6)), min_size=1, max_size=8), st.floats(0.01, 1))
def test_cvar_is_the_least_of_rockafellar_and_uryasev(outcomes: list[tuple[float, float]], tail: float) -> None:
    p = np.array([share for share, _ in outcomes])
    p /= p.sum()
    usd = np.array([value for _, value in outcomes])
    least = min(v + float(p @ np.maximum(usd - v, 0.0)) / tail for v in usd)
    assert cvar(p, usd, tail) == pytest.approx(least, rel=1e-9, abs=1e-6)
    assert float(p @ usd) - 1e-6 <= cvar(p, usd, tail) <= usd.max() + 1e-6


# ---- limits that must coincide


def _two(write_case: Callable[..., Path], risk: str, disruptions: str, name: str = "case", **more: str) -> Path:
    """100 t from cheap (10 USD, CHL) and dear (30 USD, AUS); a missing tonne costs 200."""
    tables = {
        "materials": MATERIALS,
        "suppliers": "supplier,country,channel,material,capacity_t,cost_usd_per_t,surge_share\n"
        "cheap,CHL,allied,metal,100,10,\ndear,AUS,allied,metal,100,30,\n",
        "demand": "material,year,required_t,shortage_usd_per_t\nmetal,2030,100,200\n",
        "disruptions": disruptions, **more,
    }  # fmt: skip
    toml = f'name = "two"\n[horizon]\nyears = [2030]\n[market]\nhome = "USA"\n{risk}'
    return write_case(tables, toml, name)


OUT = "scenario,probability,country,available_share\nout,0.2,CHL,0\n"


def test_off_without_a_weight(write_case: Callable[..., Path]) -> None:
    plan = optimize(load_case(_two(write_case, "", OUT)))
    assert plan.two_stage is None
    assert plan.objective_usd == pytest.approx(1000.0)  # all from cheap
    assert plan.to_json()["two_stage"] is None
    assert plan.tables["outcomes"].empty


def test_expected_cost_by_hand(write_case: Callable[..., Path]) -> None:
    """All from cheap: 0.8 * 1000 + 0.2 * 20,000 = 4800; all from dear: 3000 whatever happens. Ignoring costs 1800 more.

    Knowing: 0.8 * 1000 + 0.2 * 3000 = 1400, so EVPI = 1600.
    """
    plan = optimize(load_case(_two(write_case, "[risk]\nweight = 0.0\n", OUT)))
    two = plan.two_stage
    assert two is not None
    assert plan.objective_usd == pytest.approx(3000.0)
    assert plan.cost_usd_per_y[2030] == pytest.approx(3000.0)
    assert two["ignoring_usd"] == pytest.approx(1800.0, abs=1e-3)
    assert two["evpi_usd"] == pytest.approx(1600.0, abs=1e-3)


def test_rules_hold_for_the_plan_alone(write_case: Callable[..., Path]) -> None:
    """At most 40% from AUS in the plan. In the response nothing binds that: with surge 1, dear makes up for all.

    60 from cheap and 40 from dear: 1800; after the loss 100 from dear: 3000. 0.8 * 1800 + 0.2 * 3000 = 2040; all from
    cheap is cheaper still: 0.8 * 1000 + 0.2 * 3000 = 1400.
    """
    suppliers = (
        "supplier,country,channel,material,capacity_t,cost_usd_per_t,surge_share\n"
        "cheap,CHL,allied,metal,100,10,\ndear,AUS,allied,metal,100,30,1\n"
    )
    rule = '[risk]\nweight = 0.0\n[[rules]]\nname = "aus"\nkind = "share"\nwhere = {country = "AUS"}\nmax = 0.4\nmin = 0.4\n'
    plan = optimize(load_case(_two(write_case, rule, OUT, suppliers=suppliers)))
    assert plan.objective_usd == pytest.approx(2040.0)
    free = optimize(load_case(_two(write_case, "[risk]\nweight = 0.0\n", OUT, "free", suppliers=suppliers)))
    assert free.objective_usd == pytest.approx(1400.0)


def test_a_tail_of_one_is_the_expected_cost_and_a_weight_of_nothing(tmp_path: Path) -> None:
    for seed in (0, 2, 4):
        case = load_case(random_two_stage(seed, tmp_path / str(seed), integers=False, most_suppliers=8))
        expected = optimize(case, {"risk.weight": 0.0}).objective_usd
        whole = optimize(case, {"risk.weight": 0.7, "risk.tail": 1.0}).objective_usd
        assert whole == pytest.approx(expected, rel=1e-7) if expected is not None else whole is None


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(300, 380))
def test_more_weight_never_makes_it_cheaper_and_knowing_is_worth_something(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """CVaR is at least the expected cost, so the objective rises with its weight; EVPI and VSS are at least 0."""
    folder = random_two_stage(seed, tmp_path_factory.mktemp("risk") / "case", integers=False, rules=0, most_suppliers=7)
    case = load_case(folder)
    plans = [optimize(case, {"risk.weight": weight}) for weight in (0.0, 0.5, 1.0)]
    costs = [plan.objective_usd for plan in plans]
    if costs[0] is None:
        return
    room = 1e-6 * max(1.0, abs(costs[0]))
    assert costs[0] <= costs[1] + room <= costs[2] + 2 * room  # type: ignore[operator]
    for plan in plans:
        assert plan.two_stage is not None
        assert plan.two_stage["evpi_usd"] >= 0
        assert plan.two_stage["ignoring_usd"] is None or plan.two_stage["ignoring_usd"] >= 0
        assert plan.two_stage["vss_usd"] is None or plan.two_stage["vss_usd"] >= 0


# ---- scenarios that strike together


def _joint(write_case: Callable[..., Path], packages: tuple[str, str, str], more: str = "") -> Case:
    rows = "".join(
        f"{name},{p},{country},{share},{package}\n" for (name, p, country, share), package in zip(
            (("mild", 0.3, "CHL", 0.5), ("hard", 0.1, "CHL", 0.0), ("other", 0.2, "AUS", 0.0)), packages, strict=True)
    )  # fmt: skip
    table = "scenario,probability,country,available_share,package\n" + rows
    return load_case(_two(write_case, f"[risk]\nweight = 0.0\njoint = true\n{more}", table))


def test_independent_scenarios_multiply(write_case: Callable[..., Path]) -> None:
    """Nothing: 0.7 * 0.9 * 0.8 = 0.504; mild and hard: 0.3 * 0.1 * 0.8 = 0.024; all three: 0.006."""
    found = {outcome.scenarios: outcome.probability for outcome in find_outcomes(_joint(write_case, ("", "", "")))}
    assert len(found) == 8
    assert found[()] == pytest.approx(0.504)
    assert found["mild", "hard"] == pytest.approx(0.024)
    assert found["mild", "hard", "other"] == pytest.approx(0.006)
    assert sum(found.values()) == pytest.approx(1.0)


def test_a_package_has_one_cause(write_case: Callable[..., Path]) -> None:
    """hard comes only with mild: nothing of the two 0.7, mild alone 0.2, both 0.1; other is independent of them."""
    case = _joint(write_case, ("chile", "chile", ""))
    found = {outcome.scenarios: outcome.probability for outcome in find_outcomes(case)}
    assert found == pytest.approx({
        (): 0.7 * 0.8, ("other",): 0.7 * 0.2, ("mild",): 0.2 * 0.8, ("mild", "other"): 0.2 * 0.2,
        ("mild", "hard"): 0.1 * 0.8, ("mild", "hard", "other"): 0.1 * 0.2,
    })  # fmt: skip
    for name, p in (("mild", 0.3), ("hard", 0.1), ("other", 0.2)):  # each keeps its own probability
        assert sum(q for names, q in found.items() if name in names) == pytest.approx(p)
    effects = find_effects(case, find_outcomes(case))
    at = [outcome.scenarios for outcome in find_outcomes(case)].index(("mild", "hard", "other"))
    assert effects.available_share[at].tolist() == [[0.0, 0.0]]  # the least share of the rows


def test_too_many_combinations_are_drawn_and_seeded(write_case: Callable[..., Path]) -> None:
    case = _joint(write_case, ("", "", ""), "samples = 7\nseed = 3\n")
    found, again = find_outcomes(case), find_outcomes(case)
    assert found == again
    assert sum(outcome.probability for outcome in found) == pytest.approx(1.0)
    assert all((7 * outcome.probability) % 1 == pytest.approx(0.0, abs=1e-9) for outcome in found)
    plan = optimize(case)
    assert plan.audit == []


def test_joint_plans_are_audited(write_case: Callable[..., Path]) -> None:
    """dear for all: lost with probability 0.2, then 20,000; cheap for all: 10 a tonne, mild 50 t short, hard all short.

    Of cheap q, dear 100 - q; a tonne of cheap costs 10 and is lost for 0.1 + 0.2 / 2 = 0.2 (mild with hard counts as
    hard): expected 8 + 0.2 * 200 = 48 with the package; a tonne of dear 0.8 * 30 + 0.2 * 200 = 64. So all from cheap.
    """
    plan = optimize(_joint(write_case, ("chile", "chile", "")))
    assert plan.objective_usd == pytest.approx(4800.0)
    assert plan.audit == []
    assert plan.two_stage is not None
    assert plan.two_stage["outcomes"] == 6


# ---- the command line


def test_flags_and_document(oremix: Callable[..., Any], write_case: Callable[..., Path]) -> None:
    folder = _two(write_case, "", OUT)
    found = oremix("optimize", folder, "--risk-weight", "50%", "--tail", "20%", "--json", "--out", "run")
    assert found.code == 0
    two = found.document["two_stage"]
    assert (two["risk_weight"], two["tail"], two["outcomes"]) == (0.5, 0.2, 2)
    assert found.document["objective_usd"] == two["objective_usd"] == pytest.approx(3000.0)
    assert {row["outcome"]: row["probability"] for row in found.document["outcomes"]} == {
        "nothing happens": 0.8, "out": 0.2,
    }  # fmt: skip
    shown = oremix("show", "run", "--json").document
    assert shown["two_stage"] == two
    text = oremix("show", "run").out
    assert "Disruptions weighed over 2 outcomes" in text
    assert "with disruptions weighed: 3,000 USD in all where nothing happens" in text.replace("\n", " ")
    assert oremix("show", "run", "outcomes").code == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [(("--risk-weight", "2"), "must be a share"), (("--risk-weight", "0.5", "--tail", "0"), "above 0"),
     (("--set", "risk.tail=2"), "less than or equal to 1"), (("--set", "risk.nonsense=1"), "can be set")],
)  # fmt: skip
def test_wrong_weights(
    oremix: Callable[..., Any], write_case: Callable[..., Path], flags: tuple[str, ...], said: str
) -> None:
    found = oremix("optimize", _two(write_case, "", OUT), *flags)
    assert found.code == 2
    assert said in found.err


def test_what_does_nothing_is_said(oremix: Callable[..., Any], write_case: Callable[..., Path]) -> None:
    folder = _two(write_case, "", OUT)
    assert "does nothing without a weight" in oremix("optimize", folder, "--tail", "20%").err
    empty = _two(write_case, "", "scenario,probability,country,available_share\n", "empty")
    found = oremix("optimize", empty, "--risk-weight", "0.5")
    assert found.code == 0
    assert "changes nothing" in found.err.replace("\n", " ")


def test_unpriced_demand_is_named_with_its_outcome(oremix: Callable[..., Any], write_case: Callable[..., Path]) -> None:
    """Without dear, nothing can deliver the 100 t after the loss of CHL, whatever the plan."""
    suppliers = "supplier,country,channel,material,capacity_t,cost_usd_per_t\ncheap,CHL,allied,metal,100,10\n"
    folder = _two(write_case, "", OUT, suppliers=suppliers, demand="material,year,required_t\nmetal,2030,100\n")
    found = oremix("optimize", folder, "--risk-weight", "0.5", "--json")
    assert found.code == 3
    item = found.document["repair"][0]
    assert (item["what"], item["member"], item["year"], item["limit"]) == ("demand", "out", 2030, 100.0)
    assert item["needed"] == pytest.approx(0.0, abs=1e-6)
    text = oremix("optimize", folder, "--risk-weight", "0.5").out
    assert "none that meets every requirement after every outcome" in text
    assert "100%" in text
    assert oremix("optimize", folder).code == 0


def test_a_model_file_holds_the_responses(oremix: Callable[..., Any], write_case: Callable[..., Path]) -> None:
    oremix("optimize", _two(write_case, "", OUT), "--risk-weight", "0.5", "--out", "run")
    found = oremix("export", "run", "--to", "two.lp")
    assert found.code == 0  # it was read back to the run's optimum
    assert "response(1,production" in Path("two.lp").read_text(encoding="utf-8")


# ---- the analyses


def test_sweep_frontier_and_alternatives_weigh_too(tmp_path: Path, write_case: Callable[..., Path]) -> None:
    from optimizer import alternatives, frontier, sweep

    rule = '[risk]\nweight = 0.3\n[[rules]]\nname = "aus"\nkind = "share"\nwhere = {country = "AUS"}\nmax = 0.6\n'
    case = load_case(_two(write_case, rule, OUT))
    own = optimize(case).objective_usd
    tight = optimize(case, {"rules.aus.max": 0.2}).objective_usd
    points = sweep(case, vary={"rules.aus.max": [0.6, 0.2]}).points
    assert points["objective_usd"].tolist() == pytest.approx([own, tight])
    curve = frontier(case, trade="cost:rules.aus.max")
    ends = {point["limit"]: point["objective_usd"] for point in curve.to_json()["points"]}
    assert ends[0.0] == pytest.approx(optimize(case, {"rules.aus.max": 0.0}).objective_usd)
    near = alternatives(case, slack=0.05)
    assert near.objective_usd == pytest.approx(own)
    for plan in near.plans:
        assert plan.objective_usd is not None
        assert plan.objective_usd <= 1.05 * own * (1 + 1e-6)  # type: ignore[operator]
        assert plan.audit == []
