"""A patched point is the rebuilt one: over every table column and rule limit; the engine keeps no trace of a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from models.case import Case, load_case
from models.layout import lay_out
from models.rule_kinds import LIMIT_KEYS
from models.rule_rows import RuleRows
from models.tables import TABLES, columns
from optimizer.compiling import compile_model
from optimizer.engine import Engine, EngineError, Limits
from optimizer.run import optimize
from optimizer.solving import column_units
from optimizer.stamping import stamp
from optimizer.what_if import Outcome, WhatIf
from tests.reference.cases import random_case

# Columns that enter the program as themselves, so that moving them is a patch; of the rest (recovery divides,
# years switch things on and off) each point is rebuilt.
PATCHED = {
    ("materials", "price_usd_per_t"), ("suppliers", "capacity_t"), ("suppliers", "cost_usd_per_t"),
    ("suppliers", "emissions_kgco2e_per_t"), ("suppliers", "min_t"), ("supplier_years", "capacity_t"),
    ("supplier_years", "cost_usd_per_t"), ("byproducts", "t_per_t"), ("lanes", "freight_usd_per_t"),
    ("lanes", "duty_share"), ("lanes", "max_t"), ("demand", "required_t"), ("demand", "shortage_usd_per_t"),
    ("feedstock", "available_t"), ("feedstock", "cost_usd_per_t"), ("risk", "value"),
}  # fmt: skip
LINEAR = ["share", "each_share", "hhi", "index", "ban", "budget", "emissions"]


def _free_of_premium(case: Case) -> bool:
    return not any(rule.kind == "budget" and rule.of == "premium" for rule in case.rules)


def _same(patched: Outcome, rebuilt: Outcome) -> None:
    assert patched.status == rebuilt.status, (patched.inputs, patched.reason, rebuilt.reason)
    if patched.ok:
        # HHI rows are kept to 1e-7 of their limit, each route by tangents of its own
        curved = any(row.kind == "hhi" for row in patched.rows)
        assert patched.objective_usd == pytest.approx(rebuilt.objective_usd, rel=2e-6 if curved else 1e-9)
    else:
        assert patched.reason


def _numbers(case: Case, table: str, kinds: tuple[str, ...]) -> list[str]:
    return [c.name for c in columns(table).values() if c.kind in kinds and case.tables[table][c.name].notna().any()]


@pytest.mark.parametrize("table", [name for name in TABLES if name not in ("assumptions", "sources", "blocs")])
def test_every_column_patched_is_rebuilt(table: str, tmp_path: Path) -> None:
    seen = set()
    for seed in (101, 103, 110, 118):
        case = load_case(random_case(seed, tmp_path / str(seed), rules=LINEAR))
        if not _free_of_premium(case):
            continue
        for column in _numbers(case, table, ("number",)):
            key = f"{table}.{column}*"
            what_if = WhatIf(case, {key: (0.7, 1.1)})
            if (table, column) in PATCHED:
                assert what_if.rebuilds == "", key
                seen.add((table, column))
            for factor in (0.7, 1.0, 0.93):
                outcome = what_if.at({key: factor})
                assert outcome.patched == (what_if.rebuilds == "")
                _same(outcome, what_if._rebuilt({key: factor}))
    assert seen == {item for item in PATCHED if item[0] == table}


@pytest.mark.parametrize("kind", LINEAR)
def test_every_rule_limit_patched_is_rebuilt(kind: str, tmp_path: Path) -> None:
    checked = 0
    for seed in range(120, 160):
        case = load_case(random_case(seed, tmp_path / str(seed), rules=[kind]))
        for rule in case.rules:
            for name in LIMIT_KEYS[rule.kind]:
                limit = getattr(rule, name)
                if limit is None or not _free_of_premium(case):
                    continue
                key = f"rules.{rule.name}.{name}"
                ends = (limit * 0.8, limit * 1.1 if kind in ("budget", "emissions", "index") else min(1.0, limit * 1.1))
                if rule.kind == "share" and rule.min is not None and rule.max is not None:
                    continue  # one may not pass the other
                what_if = WhatIf(case, {key: ends})
                assert what_if.rebuilds == ""
                for value in (ends[0], limit, sum(ends) / 2, ends[0]):
                    _same(what_if.at({key: value}), what_if._rebuilt({key: value}))
                checked += 1
        if checked >= 4:
            return
    assert kind == "ban"  # has no limit to move


@pytest.mark.parametrize("seed", [102, 104, 106])
def test_inputs_that_meet_in_one_number(seed: int, tmp_path: Path) -> None:
    """Capacity twice, cost twice, requirement with a share of it: products of inputs, patched and rebuilt alike."""
    case = load_case(random_case(seed, tmp_path / "case", rules=["share"]))
    channel = case.suppliers["channel"].iloc[0]
    country = case.suppliers.loc[case.suppliers["channel"] == channel, "country"].iloc[0]
    ranges = {
        f"suppliers[channel={channel}].capacity_t*": (0.6, 1.3),
        f"suppliers[country={country}].capacity_t*": (0.5, 1.2),
        f"suppliers[channel={channel}].cost_usd_per_t*": (0.6, 1.3),
        f"suppliers[country={country}].cost_usd_per_t*": (0.6, 1.3),
        "demand.required_t*": (0.8, 1.05),
    }
    what_if = WhatIf(case, ranges)
    assert what_if.rebuilds == ""
    assert any(len(term.inputs) == 2 for term in what_if.patches.terms)
    random = np.random.default_rng(seed)
    for _ in range(6):
        point = {key: float(random.uniform(*ends)) for key, ends in ranges.items()}
        _same(what_if.at(point), what_if._rebuilt(point))


def test_what_cannot_be_patched_is_rebuilt_and_says_why() -> None:
    small = load_case("small")
    assert "horizon.discount_rate" in WhatIf(_years(small), {"horizon.discount_rate": (0.0, 0.1)}).rebuilds
    assert "recovery" in WhatIf(small, {"suppliers[supplier=usa_refinery].recovery*": (0.5, 1.0)}).rebuilds
    whole = WhatIf(small, {"suppliers[country=CHL].lot_t": (0.0, 50.0)})
    assert whole.rebuilds or whole.patches


def _years(case: Case) -> Case:
    horizon = case.settings.horizon.model_copy(update={"years": (2030, 2032)})
    return case.with_(
        settings=case.settings.model_copy(update={"horizon": horizon}),
        raw={**case.raw, "horizon": {**case.raw["horizon"], "years": [2030, 2032]}},
    )


def test_a_rebuilt_discount_rate_is_right() -> None:
    what_if = WhatIf(_years(load_case("small")), {"horizon.discount_rate": (0.0, 0.1)})
    outcome = what_if.at({"horizon.discount_rate": 0.1})
    assert not outcome.patched
    plan = optimize(_years(load_case("small")), {"horizon.discount_rate": 0.1})
    assert outcome.objective_usd == pytest.approx(plan.objective_usd, rel=1e-9)
    assert outcome.cost_usd_per_y() == pytest.approx(plan.cost_usd_per_y)


@pytest.mark.parametrize("seed", [0, 3, 7, 11])
def test_whole_numbers(seed: int, tmp_path: Path) -> None:
    case = load_case(random_case(seed, tmp_path / "case", integers=True, rules=0))
    what_if = WhatIf(case, {"suppliers.cost_usd_per_t*": (0.9, 1.2), "suppliers.fixed_usd_per_y*": (0.5, 2.0)})
    for cost, fixed in ((0.9, 2.0), (1.1, 0.5)):
        point = {"suppliers.cost_usd_per_t*": cost, "suppliers.fixed_usd_per_y*": fixed}
        ours, theirs = what_if.at(point), what_if._rebuilt(point)
        assert ours.status == theirs.status
        if ours.ok:
            gap = case.settings.solve.gap
            assert ours.objective_usd == pytest.approx(theirs.objective_usd, rel=2 * gap + 1e-9)


def test_an_input_of_many_values_must_be_named() -> None:
    """Costs of `small` differ by supplier: set to one number they have no value of their own to fall back on."""
    case = load_case("small")
    what_if = WhatIf(
        case, {"suppliers[country=CHL].cost_usd_per_t": (9_000, 14_000), "suppliers.cost_usd_per_t": (1, 2)}
    )
    assert what_if.must_name == {"suppliers.cost_usd_per_t"}
    assert not what_if.at({}).patched
    assert what_if.at({}).objective_usd == pytest.approx(optimize(case).objective_usd)


def test_outside_its_range_a_point_is_rebuilt() -> None:
    what_if = WhatIf(load_case("small"), {"rules.one_country.max": (0.3, 0.5)})
    outcome = what_if.at({"rules.one_country.max": 0.6})
    assert not outcome.patched
    assert outcome.objective_usd == pytest.approx(
        optimize(load_case("small"), {"rules.one_country.max": 0.6}).objective_usd
    )


def test_gradient_by_hand() -> None:
    """small at 40%: 1 point more moves 10 t from 15,000 to 13,000: -2,000,000 per 1.00; 1% of demand is 10 t of 15,000
    and 4 t of China's place taken by Chile's rising cap."""
    what_if = WhatIf(load_case("small"), {"rules.one_country.max": (0.35, 0.45), "demand.required_t*": (0.99, 1.01)})
    outcome = what_if.at({"rules.one_country.max": 0.42, "demand.required_t*": 1.0})
    assert outcome.gradient["rules.one_country.max"] == pytest.approx(-2_000_000)
    step = 1e-3
    ends = [
        what_if.at({"rules.one_country.max": 0.42, "demand.required_t*": 1 + s}).objective_usd for s in (-step, step)
    ]
    assert outcome.gradient["demand.required_t*"] == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("kind", ["share", "each_share", "hhi", "index", "emissions"])
def test_gradients_lie_between_one_sided_differences(kind: str, tmp_path: Path) -> None:
    checked = 0
    for seed in range(200, 240):
        case = load_case(random_case(seed, tmp_path / str(seed), rules=[kind]))
        keys = [f"rules.{rule.name}.{name}" for rule in case.rules for name in LIMIT_KEYS[rule.kind]
                if getattr(rule, name) is not None]  # fmt: skip
        if not keys:
            continue
        limit = WhatIf(case, {keys[0]: (0.0, 0.0)}).start[keys[0]]
        most = min(limit * 1.05, 1.0) if limit <= 1 else limit * 1.05
        what_if = WhatIf(case, {keys[0]: (limit * 0.9, most), "suppliers.cost_usd_per_t*": (0.9, 1.1), "demand.required_t*": (0.97, 1.0)})  # fmt: skip
        if what_if.rebuilds:
            continue
        middle = {key: (a + b) / 2 for key, (a, b) in what_if.ranges.items()}
        here = what_if.at(middle)
        if not here.ok:
            continue
        gradient, value = here.gradient, here.objective_usd
        for key in what_if.ranges:
            size = 1e-4 * max(abs(middle[key]), 1e-2)
            left, right = (what_if.at({**middle, key: middle[key] + sign * size}) for sign in (-1.0, 1.0))
            slopes = sorted((other.objective_usd - value) / (sign * size)
                            for sign, other in ((-1.0, left), (1.0, right)) if other.ok)  # fmt: skip
            noise = 2e-6 * abs(value) / size * (kind == "hhi") + 1e-5 * max(map(abs, slopes)) + 1e-9 * abs(value) / size
            assert slopes[0] - noise <= gradient[key] <= slopes[-1] + noise
        checked += 1
        if checked == 4:
            return
    assert checked > 0


def test_an_infeasible_point_says_what_cannot_hold_and_is_left_behind() -> None:
    """At 10% from any foreign country `small` cannot be served: the rule and the demand are named."""
    what_if = WhatIf(load_case("small"), {"rules.one_country.max": (0.05, 0.5)})
    before = what_if.at({"rules.one_country.max": 0.4}).objective_usd
    impossible = what_if.at({"rules.one_country.max": 0.1})
    assert impossible.status == "infeasible"
    assert "rule one_country (lithium_chemicals" in impossible.reason
    assert "demand for lithium_chemicals 2030" in impossible.reason
    assert what_if.at({"rules.one_country.max": 0.4}).objective_usd == pytest.approx(before, rel=1e-12)


def test_forks_share_nothing_that_moves() -> None:
    what_if = WhatIf(load_case("small"), {"rules.one_country.max": (0.3, 0.5)})
    first = what_if.at({"rules.one_country.max": 0.3}).objective_usd
    other = what_if.fork()
    assert other.at({"rules.one_country.max": 0.5}).objective_usd < first
    assert what_if.at({"rules.one_country.max": 0.3}).objective_usd == pytest.approx(first, rel=1e-12)


# --- the engine -----------------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    layout = lay_out(load_case(random_case(101, tmp_path / "case", rules=0)))
    program = stamp(layout, RuleRows(layout).rows, compile_model)
    return Engine(program, column_units(program, layout, np.arange(layout.width)))


def test_clocks_add_up_but_each_run_has_its_own_time(engine: Engine) -> None:
    """HiGHS' clock runs on over all runs of an instance: a limit that the sum passes must not stop the next run."""
    engine.solve(Limits())
    spent = 0
    while engine.highs.getRunTime() < 0.05 and spent < 3000:
        engine.highs.clearSolver()
        engine.highs.run()
        spent += 1
    assert engine.highs.getRunTime() > 0.04
    engine.highs.clearSolver()
    assert engine.solve(Limits(seconds=0.04)).status == "optimal"


def test_options_do_not_stick(engine: Engine) -> None:
    engine.solve(Limits(presolve=False, gap=0.5, threads=1))
    engine.solve(Limits())
    shown = {name: engine.highs.getOptionValue(name)[1] for name in ("presolve", "mip_rel_gap", "threads")}
    assert shown == {"presolve": "choose", "mip_rel_gap": 1e-4, "threads": 0}


def test_an_option_that_highs_does_not_know_is_an_error(engine: Engine) -> None:
    with pytest.raises(EngineError, match="no_such_option"):
        engine._option("no_such_option", 1)


def test_a_start_survives_changes_that_come_before_it(engine: Engine) -> None:
    """Given last, the optimal basis is where the next run begins: nothing is left to do. Given before a change of
    costs it is the engine's last basis all the same."""
    engine.solve(Limits())
    basis = engine.basis
    columns = np.arange(len(engine.program.cost))
    cost = engine.program.cost.copy()
    engine.change_costs(columns, -cost)
    assert engine.solve(Limits()).status == "optimal"
    engine.change_costs(columns, cost)
    engine.start(basis)
    again = engine.solve(Limits())
    assert again.iterations == 0
    assert again.certificate is not None
    assert again.certificate.holds


def test_changes_do_not_reach_the_program_that_was_given(engine: Engine) -> None:
    program = engine.program
    before = program.cost.copy(), program.upper.copy(), program.row_upper.copy(), program.matrix.data.copy()
    columns, rows = np.arange(3), np.arange(2)
    engine.change_costs(columns, np.full(3, 7.0))
    engine.change_bounds(columns, np.zeros(3), np.full(3, 5.0))
    engine.change_limits(rows, np.full(2, -1.0), np.full(2, 1.0))
    first = program.matrix.indices[:1], np.zeros(1, dtype=np.int64)
    engine.change_coefficients(*first, np.array([3.0]))
    assert [np.array_equal(a, b) for a, b in zip(
        before, (program.cost, program.upper, program.row_upper, program.matrix.data), strict=True
    )] == [True] * 4  # fmt: skip
    assert engine.program.matrix.data[0] == 3.0


def test_ranges_hold_just_inside_and_end_just_outside(engine: Engine) -> None:
    """Within a cost's range the plan stays; beyond it another plan is better (unless the range has no end)."""
    here = engine.solve(Limits())
    ranges = engine.ranges(Limits())
    moved = 0
    for column in np.flatnonzero(here.x > 1e-3)[:12].tolist():
        low, high = ranges.cost_low[column], ranges.cost_high[column]
        cost = engine.program.cost[column]
        assert low <= cost + 1e-6 * abs(cost)
        assert high >= cost - 1e-6 * abs(cost)
        for end in (low, high):
            if not np.isfinite(end) or abs(end) > 1e12 or abs(end - cost) < 1e-3:
                continue
            for beyond, same in ((0.98, True), (1.05, False)):
                there = cost + beyond * (end - cost)
                engine.change_costs(np.array([column]), np.array([there]))
                solution = engine.solve(Limits())
                kept = here.objective + (there - cost) * here.x[column]
                if same:
                    assert solution.objective == pytest.approx(kept, rel=1e-9)
                else:
                    assert solution.objective <= kept + 1e-9 * abs(kept)
                    moved += solution.objective < kept - 1e-9 * abs(kept)
            engine.change_costs(np.array([column]), np.array([cost]))
            engine.solve(Limits())
    assert moved > 0


def test_small_copy(tmp_path: Path) -> None:
    """A case changed on disk between two what-ifs is read anew: nothing is remembered by name."""
    folder = tmp_path / "mine"
    shutil.copytree(Path(__file__).parents[1] / "data" / "small", folder)
    one = WhatIf(load_case(folder), {"rules.one_country.max": (0.3, 0.5)}).at({"rules.one_country.max": 0.4})
    table = (folder / "tables" / "demand.csv").read_text(encoding="utf-8")
    (folder / "tables" / "demand.csv").write_text(table.replace("1000", "900"), encoding="utf-8")
    two = WhatIf(load_case(folder), {"rules.one_country.max": (0.3, 0.5)}).at({"rules.one_country.max": 0.4})
    assert two.objective_usd < one.objective_usd
