"""Near-optimal plans: ranges by hand and by brute force, plans that are audited, different and within the slack."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog

from models.case import load_case
from models.layout import lay_out
from models.rule_rows import RuleRows
from optimizer import alternatives
from optimizer.analysis_folder import read_analysis
from optimizer.compiling import compile_model
from optimizer.engine import Limits
from optimizer.run import optimize
from optimizer.run_folder import read_run
from optimizer.stamping import stamp
from optimizer.status_quo import find_status_quo, has_status_quo
from tests.reference.cases import random_case

# A tonne delivered costs: recycler 6,000 + 2,000 / 0.8 + 1,000 = 9,500; Chile 13,000; China 15,000; US 17,000.
# Least cost 200 x 9,500 + 400 x 13,000 + 400 x 15,000 = 13.1 million; 5% of it is 655,000.
BY_HAND = {
    "usa_refinery": (0.0, 655_000 / 2_000),  # in China's place
    "chn_refinery": (400 - 655_000 / 2_000, 400.0),
    "chl_brine": (400 - 655_000 / 4_000, 400.0),  # the US refinery in its place
    "usa_recycler": (200 - 655_000 / 7_500, 200.0),
}


def test_ranges_by_hand() -> None:
    found = alternatives(load_case("small"), slack=0.05)
    assert found.objective_usd == pytest.approx(13_100_000)
    suppliers = found.ranges[found.ranges["by"] == "supplier"].set_index("member")
    for name, (least, most) in BY_HAND.items():
        assert suppliers.loc[name, ["least_t", "most_t"]].tolist() == pytest.approx([least, most], abs=1e-5), name
    assert suppliers.loc["usa_refinery", "class"] == "can-have"
    assert suppliers.loc["chl_brine", "class"] == "must-have"
    domestic = found.ranges[(found.ranges["by"] == "channel") & (found.ranges["member"] == "domestic")]
    assert domestic["most_t"].tolist() == pytest.approx([327.5])


def test_no_slack_is_the_plan_itself() -> None:
    """`small` has one least-cost plan, so within 0% everything is where it is."""
    ranges = alternatives(load_case("small"), slack=0.0, plans=2).ranges
    assert ranges["least_t"].to_numpy() == pytest.approx(ranges["plan_t"].to_numpy(), abs=1e-4)
    assert ranges["most_t"].to_numpy() == pytest.approx(ranges["plan_t"].to_numpy(), abs=1e-4)


def _brute(folder: Path, slack: float) -> dict[tuple[str, int], tuple[float, float]]:
    """Least and most of every supplier by scipy, each from nothing, at a cost row of its own."""
    layout = lay_out(load_case(folder))
    case = layout.case
    program = stamp(layout, RuleRows(layout).rows, compile_model)
    matrix = program.matrix.tocsr()
    rows = [(matrix, program.row_upper), (-matrix, -program.row_lower)]
    kept = [(m[np.isfinite(limit)], limit[np.isfinite(limit)]) for m, limit in rows]
    most = sparse.vstack([m for m, _ in kept]), np.concatenate([limit for _, limit in kept])
    bounds = list(zip(program.lower, program.upper, strict=True))
    best = linprog(program.cost, A_ub=most[0], b_ub=most[1], bounds=bounds)
    if best.status != 0:
        return {}
    limit = best.fun + slack * abs(best.fun)
    within = sparse.vstack([most[0], sparse.csr_array(program.cost[None, :])]), np.append(most[1], limit)
    found = {}
    for column in range(layout.sizes["production"]):
        aim = np.zeros(len(program.cost))
        aim[column] = 1.0
        ends = [sign * linprog(sign * aim, A_ub=within[0], b_ub=within[1], bounds=bounds).fun for sign in (1, -1)]
        key = case.suppliers["supplier"].iloc[layout.production_supplier[column]]
        found[key, case.years[layout.production_year[column]]] = tuple(ends)
    return found


@pytest.mark.parametrize("seed", [101, 104, 109])
def test_ranges_against_brute_force(seed: int, tmp_path: Path) -> None:
    folder = random_case(seed, tmp_path / "case", rules=["share", "each_share"], years=2)
    brute = _brute(folder, 0.03)
    found = alternatives(load_case(folder), slack=0.03)
    assert found.ok == bool(brute)
    table = found.ranges[found.ranges["by"] == "supplier"] if found.ok else []
    for row in table.to_dict("records") if found.ok else ():
        least, most = brute.get((row["member"], row["year"]), (0.0, 0.0))
        assert row["least_t"] == pytest.approx(least, abs=1e-4, rel=1e-5), row
        assert row["most_t"] == pytest.approx(most, abs=1e-4, rel=1e-5), row


@pytest.mark.parametrize(("seed", "kinds"), [(101, ["hhi"]), (103, ["share"]), (2, 0), (4, 0)])
def test_plans_are_audited_different_and_within_the_slack(seed: int, kinds: object, tmp_path: Path) -> None:
    case = load_case(random_case(seed, tmp_path / "case", rules=kinds, integers=kinds == 0))
    found = alternatives(case, slack=0.1)
    if not found.ok:
        assert optimize(case).status == found.status
        return
    assert any("whole-number" in note for note in found.warnings) == (found.plans[0].about["whole_numbers"] is True)
    limit = found.objective_usd + 0.1 * abs(found.objective_usd)
    columns = found.ranges[found.ranges["by"] == "supplier"].set_index(["member", "year"])
    for plan in found.plans:
        assert plan.audit == []
        assert plan.objective_usd <= limit + 1e-6 * abs(limit)
        made = plan.tables["suppliers"].set_index(["supplier", "year"])["produced_t"]
        ends = columns.loc[made.index]
        room = 1e-4 + 1e-6 * made.abs()
        assert (made >= ends["least_t"] - room).all()
        assert (made <= ends["most_t"] + room).all()
    assert all(value > 1e-6 for name, value in found.differs.items() if name != "least cost")


def test_a_premium_is_over_the_same_status_quo(tmp_path: Path) -> None:
    """A budget over today's cost holds in every plan kept, as the audit finds it."""
    folder = Path(__file__).parent / "cases" / "budget_premium"
    case = load_case(folder)
    assert has_status_quo(case)
    found = alternatives(case, slack=0.05)
    assert found.ok
    assert find_status_quo(case, Limits()).ok
    assert all(plan.audit == [] for plan in found.plans)


def test_command_line(oremix: Callable) -> None:
    done = oremix("alternatives", "small", "--slack", "5%", "--json", "--out", "found")
    assert done.code == 0
    document = done.document
    assert document["slack"] == 0.05
    assert set(document["ranges"][0]) == {"by", "member", "material", "year", "least_t", "most_t", "plan_t", "class"}
    assert document["plans"][0]["name"] == "least cost"
    for row in document["plans"]:
        assert read_run(row["run"]).objective_usd == pytest.approx(row["objective_usd"])
    kept = read_analysis("found")
    assert kept.document == json.loads(Path("found/alternatives.json").read_text(encoding="utf-8"))
    assert len(kept.tables["ranges"]) == len(document["ranges"])
    compared = oremix("compare", *(row["run"] for row in document["plans"]))
    assert compared.code == 0
    text = oremix("alternatives", "small", "--out", "again").out
    assert "must-have" in text
    assert text.splitlines()[-1] == "again"


def test_wrong_slack_and_impossible_rules(oremix: Callable) -> None:
    assert oremix("alternatives", "small", "--slack", "lots").code == 2
    done = oremix("alternatives", "small", "--max-country", "5%", "--set", "rules.one_country.max=0.05", "--json")
    assert done.code == 3
    assert done.document["status"] == "infeasible"
    assert done.document["conflict"]
    assert done.document["plans"] == []
