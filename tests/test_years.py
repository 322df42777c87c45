"""Years: limits that must coincide, a second implementation, the horizon split in two, and properties."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.build import build
from models.case import Case, load_case
from models.changes import Request
from models.layout import lay_out
from models.rule_rows import RuleRows
from optimizer.compiling import compile_model
from optimizer.engine import Limits
from optimizer.plan import Plan
from optimizer.run import optimize
from optimizer.stamping import stamp
from optimizer.status_quo import find_status_quo
from tests.reference import solve as reference
from tests.reference.cases import random_case
from tests.test_routes import _same_program

PLAIN = settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 400)


def _case(seed: int, **kinds: Any) -> Case:
    with TemporaryDirectory() as folder:
        return load_case(random_case(seed, Path(folder) / "case", growth=True, **kinds))


def _with(case: Case, **tables: pd.DataFrame) -> Case:
    return case.with_(tables={**case.tables, **tables})


def _cost(case: Case, request: Request | None = None) -> float:
    plan = optimize(case, request)
    assert plan.audit == []
    return np.inf if plan.objective_usd is None else plan.objective_usd


def _same(a: float, b: float) -> bool:
    return a == b or abs(a - b) <= 1e-6 * max(1.0, abs(a))


# --- two routes ---------------------------------------------------------------------------------------------------


def _agree(folder: Path) -> str:
    theirs, ours = reference.solve(folder), optimize(load_case(folder))
    assert (ours.status, ours.audit) == (theirs.status, [])
    if theirs.objective_usd is not None:
        assert ours.objective_usd == pytest.approx(theirs.objective_usd, rel=1e-6, abs=1e-6)
    today, now = reference.status_quo(folder), optimize(load_case(folder), status_quo=True)
    assert now.ok == (today.status == "optimal")
    if now.ok:
        assert now.objective_usd == pytest.approx(today.objective_usd, rel=1e-6, abs=1e-6)
        assert now.audit == []
    return ours.status


@pytest.mark.parametrize("seed", range(14))
def test_second_implementation(seed: int, tmp_path: Path) -> None:
    _agree(random_case(seed, tmp_path / "case", growth=True))


@pytest.mark.parametrize("seed", range(10, 16))
def test_second_implementation_with_openings(seed: int, tmp_path: Path) -> None:
    _agree(random_case(seed, tmp_path / "case", growth=True, integers=True))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(8))
def test_second_implementation_at_length(block: int, tmp_path: Path) -> None:
    seeds = range(3000 + 25 * block, 3025 + 25 * block)
    found = [_agree(random_case(s, tmp_path / str(s), growth=True, integers=s % 3 == 0)) for s in seeds]
    assert {"optimal", "infeasible"} <= set(found)


@pytest.mark.parametrize("seed", range(8))
def test_stamped_arrays_equal_the_compiled_whole(seed: int) -> None:
    layout = lay_out(_case(seed, integers=seed % 2 == 0))
    quo = find_status_quo(layout.case, Limits())
    rows = RuleRows(layout, quo.cost_usd_per_y() if quo.ok else {}).rows
    _same_program(stamp(layout, rows, compile_model), compile_model(build(layout, rows)))
    today = lay_out(layout.case, status_quo=True)
    fixed = ("used", "stock")  # constants: to Pyomo a column only where it costs something
    _same_program(stamp(today, [], compile_model), compile_model(build(today)), fixed)


# --- limits that coincide -----------------------------------------------------------------------------------------


@PLAIN
@given(SEEDS)
def test_no_expansion_stock_or_support_is_the_foundation(seed: int) -> None:
    case = _case(seed, rules=0)
    plain = {
        "suppliers": case.tables["suppliers"].assign(
            max_expansion_t=0.0, credit_share=0.0, credit_usd_per_t=0.0, floor_usd_per_t=np.nan
        ),
        "supplier_years": case.tables["supplier_years"].assign(credit_share=np.nan),
        "stock": case.tables["stock"].iloc[:0], "substitution": case.tables["substitution"].iloc[:0],
    }  # fmt: skip
    none = _with(case, **plain)
    bare = none.tables["suppliers"].assign(capex_usd_per_t=0.0, open_usd=0.0, lead_years=0.0, life_years=np.nan)
    assert _same(_cost(none), _cost(_with(none, suppliers=bare)))
    closed = case.tables["stock"].assign(opening_t=0.0, closing_min_t=0.0, build_max_t=0.0)
    assert _same(_cost(none), _cost(_with(none, stock=closed)))


@PLAIN
@given(SEEDS, st.floats(0.1, 2.0))
def test_no_lead_and_no_cost_is_more_capacity(seed: int, factor: float) -> None:
    case = _case(seed, rules=0)
    table = case.tables["suppliers"]
    more = table["capacity_t"] * factor + 1.0
    free = table.assign(
        max_expansion_t=more, capex_usd_per_t=0.0, open_usd=0.0, lead_years=0.0, life_years=np.nan, ramp_years=0.0
    )
    steps = case.tables["supplier_years"]
    by_name = dict(zip(table["supplier"], more, strict=True))
    large = _with(
        case, suppliers=table.assign(max_expansion_t=0.0, capacity_t=table["capacity_t"] + more),
        supplier_years=steps.assign(capacity_t=steps["capacity_t"] + steps["supplier"].map(by_name)),
    )  # fmt: skip
    assert _same(_cost(_with(case, suppliers=free)), _cost(large))


def test_stock_with_no_cost_smooths_exactly(write_case: Callable[..., Path]) -> None:
    """Demand of 40, 160, 100 and 100 t from a mine of 100 t a year at 10, and a dear one at 90: nothing dear is needed."""
    tables = {
        "materials": "material,mineral,stage\nmetal,metal,extraction\n",
        "demand": "material,year,required_t\nmetal,2026,40\nmetal,2027,160\nmetal,2028,100\nmetal,2029,100\n",
        "suppliers": "supplier,country,channel,material,capacity_t,cost_usd_per_t\nmine,AUS,allied,metal,100,10\n"
        "dear,CHN,incumbent,metal,1000,90\n",
        "stock": "material\nmetal\n",
    }
    case = load_case(write_case(tables, '[horizon]\nyears = [2026, 2027, 2028, 2029]\n[market]\nhome = "USA"\n'))
    plan = optimize(case)
    assert plan.objective_usd == pytest.approx(4 * 100 * 10)
    made = plan.tables["suppliers"].set_index(["supplier", "year"])["produced_t"]
    assert [made["mine", year] for year in case.years] == pytest.approx([100] * 4)
    assert list(plan.tables["stock"]["end_t"]) == pytest.approx([60, 0, 0, 0], abs=1e-6)


# --- the horizon split in two -------------------------------------------------------------------------------------


def _decisions(plan: Plan, years: tuple[int, ...]) -> pd.DataFrame:
    table = plan.tables["expansion"]
    return table[table["year"].isin(years)]


def _in_place(case: Case, decided: pd.DataFrame, years: tuple[int, ...]) -> tuple[Case, dict[int, float]]:
    """The case over some years with what was decided in place as capacity, and the annuities owed for it by year."""
    from models.expansion import find_growth

    growth, names = find_growth(case), list(case.suppliers["supplier"])
    steps, capacity = [], case.by_year("capacity_t")
    owed = dict.fromkeys(years, 0.0)
    added = np.zeros_like(capacity)
    table = case.tables["suppliers"].copy()
    for row in decided.to_dict("records"):
        place, at = names.index(row["supplier"]), case.years.index(row["year"])
        added[place] += growth.usable[place, at] * row["t"]
        table.loc[place, "max_expansion_t"] = max(0.0, table.loc[place, "max_expansion_t"] - row["t"])
        if row["opened"]:
            table.loc[place, "open_usd"] = 0.0
        for year in years:
            if growth.owed[place, at, case.years.index(year)]:
                owed[year] += row["usd_per_y"] - row["public_usd_per_y"]
    for place in np.flatnonzero(added.any(axis=1)):
        for year in years:
            at = case.years.index(year)
            steps.append({"supplier": names[place], "year": year, "capacity_t": capacity[place, at] + added[place, at]})
    before = case.tables["supplier_years"]
    if steps:
        changed = {(s["supplier"], s["year"]) for s in steps}
        kept = before[[key not in changed for key in zip(before["supplier"], before["year"], strict=True)]]
        same = before[[key in changed for key in zip(before["supplier"], before["year"], strict=True)]]
        new = pd.DataFrame(steps).merge(same.drop(columns="capacity_t"), on=["supplier", "year"], how="left")
        before = pd.concat([kept, new.reindex(columns=before.columns)], ignore_index=True)
        before[["source", "note"]] = before[["source", "note"]].fillna("")
    horizon = case.settings.horizon.model_copy(update={"years": years})
    part = _with(case, suppliers=table, supplier_years=before)
    return part.with_(settings=part.settings.model_copy(update={"horizon": horizon})), owed


@PLAIN
@given(SEEDS, st.booleans())
def test_the_horizon_split_in_two_equals_the_whole(seed: int, integers: bool) -> None:
    """Evenly spaced years, two in each part: each part solved by itself, with what the other leaves it, adds up."""
    case = _case(seed, rules=0, years=4, spacing=1 + seed % 3, integers=integers)
    whole = optimize(case)
    if not whole.ok:
        return
    first, second = case.years[:2], case.years[2:]
    stock = whole.tables["stock"].set_index(["market", "material", "year"])["end_t"]
    table = case.tables["stock"]
    carried = [stock[market, material, first[-1]] for market, material in
               zip(table["market"], table["material"], strict=True)]  # fmt: skip
    early = _decisions(whole, first)
    one, owed_one = _in_place(case, early, first)
    # what is decided is in place, and nothing else is decided; what is carried over stays in stock
    one = _with(one, suppliers=one.tables["suppliers"].assign(max_expansion_t=0.0),
                stock=table.assign(closing_min_t=carried))  # fmt: skip
    two, owed_two = _in_place(case, early, second)
    two = _with(two, stock=table.assign(opening_t=carried))
    rate = case.settings.horizon.discount_rate
    total = 0.0
    for part, owed in ((one, owed_one), (two, owed_two)):
        plan = optimize(part)
        assert plan.ok and plan.audit == []
        annuities = sum(weight * owed[year] for weight, year in zip(part.weights, part.years, strict=True))
        total += (plan.objective_usd + annuities) * (1 + rate) ** (case.years[0] - part.years[0])
    assert total == pytest.approx(whole.objective_usd, rel=1e-6, abs=1e-4)


# --- properties ---------------------------------------------------------------------------------------------------


@PLAIN
@given(SEEDS, st.integers(0, 3), st.integers(0, 6))
def test_a_longer_lead_never_costs_less(seed: int, lead: int, more: int) -> None:
    """With life_years blank, on evenly spaced years, without ramp-up and dated grants.

    On uneven years it can: with 2026, 2030 and 2031, a lead of 5 pays for 2031 alone, one of 4 for 2030 too.
    """
    case = _case(seed, rules=0, spacing=1 + seed % 3)
    table = case.tables["suppliers"].assign(life_years=np.nan, ramp_years=0.0)
    steps = case.tables["supplier_years"].assign(grant_share=np.nan)
    short, long = (
        _cost(_with(case, suppliers=table.assign(lead_years=float(years)), supplier_years=steps))
        for years in (lead, lead + more)
    )
    assert short <= long * (1 + 1e-6) + 1e-6


@PLAIN
@given(SEEDS, st.sampled_from(["all", "capital", "public"]), st.floats(0.01, 1.2), st.floats(1.0, 3.0))
def test_a_larger_budget_never_costs_more(seed: int, of: str, share: float, factor: float) -> None:
    case = _case(seed, rules=0)
    free = optimize(case)
    if not free.ok:
        return
    costs = free.tables["costs"]
    parts = {
        "all": max(free.cost_usd_per_y.values()), "public": max(free.public_usd_per_y.values()),
        "capital": costs[costs["cost"] == "capital"].groupby("year")["usd_per_y"].sum().max(),
    }  # fmt: skip
    usd = share * float(np.nan_to_num(parts[of])) + 1.0
    tight, wide = (
        _cost(case, Request(rules=[{"name": "purse", "kind": "budget", "of": of, "max_usd_per_y": limit}]))
        for limit in (usd, usd * factor if usd > 0 else usd)
    )
    assert wide <= tight + 1e-6 * abs(tight) + 1e-6


@PLAIN
@given(SEEDS)
def test_order_of_rows_does_not_matter(seed: int) -> None:
    case = _case(seed)
    mixed = {name: t.sample(frac=1, random_state=seed).reset_index(drop=True) for name, t in case.tables.items()}
    a, b = optimize(case), optimize(case.with_(tables=mixed))
    assert a.status == b.status
    if a.ok:
        assert a.objective_usd == pytest.approx(b.objective_usd, rel=1e-9)
        for name in ("expansion", "stock"):
            pd.testing.assert_frame_equal(a.tables[name], b.tables[name], check_exact=False, rtol=1e-6, atol=1e-4)


@PLAIN
@given(SEEDS, st.sampled_from([1e-3, 1e3]))
def test_tonnes_and_kilotonnes_agree(seed: int, factor: float) -> None:
    case = _case(seed)
    tonnes = ("capacity_t", "incumbent_t", "min_t", "lot_t", "required_t", "available_t", "max_t", "max_expansion_t",
              "opening_t", "build_max_t", "draw_max_t", "closing_min_t")  # fmt: skip
    tables = {}
    for name, frame in case.tables.items():
        frame = frame.copy()
        for column in frame.columns:
            if column in tonnes:
                frame[column] = frame[column] * factor
            elif column.endswith(("usd_per_t", "usd_per_t_y")):
                frame[column] = frame[column] / factor
        tables[name] = frame
    assert _same(_cost(case.with_(tables=tables)), _cost(case))


# --- prices by hand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("stock_days", 12.0),  # a day more is a tonne more, made at 10 and held at 2
        ("budget_public", -28 / 50),  # a dollar more buys a fiftieth of a tonne of B at 60 in place of one at 88
        ("budget_capital", -31 / 10),  # and a tenth of a tonne of D at 57 in place of one at 88
    ],
)
def test_prices_of_the_rules_over_years(name: str, price: float) -> None:
    plan = optimize(load_case(Path(__file__).parent / "cases" / name))
    (row,) = plan.tables["rules"].to_dict("records")
    assert row["binding"] and row["price_usd_per_y"] == pytest.approx(price)
