"""Conflicts: really conflicting, none of their limits too many, and each value named really enough.

Checked twice: by hand, and on random cases rebuilt through the tables with only the limits of a set in force.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.case import Case, load_case
from models.changes import Request, change
from models.layout import lay_out
from models.rule_rows import RuleRow, RuleRows
from optimizer.engine import Limits
from optimizer.plan import Plan
from optimizer.run import optimize
from optimizer.solving import solve
from tests.reference.cases import random_case

CASES = Path(__file__).parent / "cases"
FAR = 1e5  # no limit at all, in the sizes of these cases
Item = Mapping[str, Any]


def named(plan: Plan) -> dict[tuple[str, str, str], Any]:
    """(what, name, member) -> the value that would do, None where none does; of a plan with one set."""
    assert plan.status == "infeasible" and {item["set"] for item in plan.conflict} == {1}
    return {(item["what"], item["name"], item.get("member", "")): item["needed"] for item in plan.conflict}


def rule(**keys: Any) -> Request:
    return Request(rules=[{"name": "wish", **keys}], no_rules=True)


# --- by hand -----------------------------------------------------------------------------------------------------


def test_a_share_its_demand_and_the_capacity_behind_it() -> None:
    """small: the refinery is all that is domestic: 400 of 1000 t. 0.6 d <= 400 at d = 666.7; 600 t would do."""
    found = named(optimize(load_case("small"), rule(kind="share", where={"channel": "domestic"}, min=0.6)))
    assert found == pytest.approx(
        {("rule", "wish", ""): 0.4, ("demand", "home", ""): 400 / 0.6, ("capacity", "usa_refinery", ""): 600}, rel=1e-6
    )


def test_a_rule_that_is_not_needed_is_not_named() -> None:
    """The price of the elastic optimum alone named it: incumbents are below 90% anyhow."""
    rules = [
        {"name": "wish", "kind": "share", "where": {"channel": "domestic"}, "min": 0.6},
        {"name": "easy", "kind": "share", "where": {"channel": "incumbent"}, "max": 0.9},
        {"name": "idle", "kind": "each_share", "each": "supplier", "max": 0.7},
    ]
    found = named(optimize(load_case("small"), Request(rules=rules)))
    assert {name for what, name, _ in found if what == "rule"} == {"wish"}


def test_feedstock_and_not_the_plant() -> None:
    """250 t of scrap make 200 t; the plant could make 300. More scrap alone ends at the plant: 300 < 400."""
    found = named(optimize(load_case("small"), rule(kind="share", where={"channel": "recycling"}, min=0.4)))
    assert found[("feedstock", "battery_scrap", "")] is None
    assert found[("rule", "wish", "")] == pytest.approx(0.2, rel=1e-6)
    assert found[("demand", "home", "")] == pytest.approx(500, rel=1e-6)
    assert len(found) == 3
    found = named(optimize(load_case("small"), rule(kind="share", where={"channel": "recycling"}, min=0.25)))
    assert found[("feedstock", "battery_scrap", "")] == pytest.approx(250 / 0.8, rel=1e-6)


def test_an_hhi_cone() -> None:
    """Three countries deliver (600, 500 and 1000 t of 1000 may come): the least HHI is 1/3, whatever the demand."""
    found = named(optimize(load_case("small"), rule(kind="hhi", max=0.3)))
    assert found == {("rule", "wish", ""): pytest.approx(1 / 3, rel=1e-5), ("demand", "home", ""): pytest.approx(0)}


def test_capacities_and_demand_without_any_rule() -> None:
    """60 + 39 t for 100."""
    found = named(optimize(load_case(CASES / "infeasible_capacity")))
    assert found == pytest.approx(
        {("demand", "home", ""): 99, ("capacity", "A", ""): 61, ("capacity", "B", ""): 40}, rel=1e-6
    )


def test_a_ban_against_a_contract() -> None:
    found = named(optimize(load_case(CASES / "ban_min_t")))
    assert found == {("rule", "no-chn", ""): pytest.approx(20), ("minimum", "A", ""): pytest.approx(0)}


def test_more_suppliers_than_there_are() -> None:
    """Whole numbers: four deliver; demand of any size does not make them five."""
    assert named(optimize(load_case("small"), rule(kind="suppliers", min=5))) == {("rule", "wish", ""): 4}


HEAD = "supplier,country,channel,material,capacity_t,cost_usd_per_t"
MATERIALS = "material,mineral,stage\nx,lithium,processing\n"
TOML = '[horizon]\nyears = [2030]\n[market]\nhome = "USA"\n'


@pytest.fixture
def case_of(write_case: Any) -> Any:
    def make(suppliers: str, demand: str, more: str = "", head: str = HEAD, **tables: str) -> Case:
        tables = {"materials": MATERIALS, "suppliers": f"{head}\n{suppliers}",
                  "demand": f"material,year,required_t\n{demand}", **tables}  # fmt: skip
        return load_case(write_case(tables, TOML + more))

    return make


def test_lots_between_which_the_demand_falls(case_of: Any) -> None:
    """A makes 60 or nothing, B from 50 to 80 or nothing: 60, 50 to 80, or 110 and more, and never 100."""
    case = case_of("A,CHL,allied,x,60,1,60\nB,CHL,allied,x,80,2,50\n", "x,2030,100\n", head=f"{HEAD},lot_t")
    found = named(optimize(case))
    assert found == pytest.approx(
        {("minimum", "A", ""): 50, ("minimum", "B", ""): 40, ("demand", "home", ""): 110, ("capacity", "A", ""): 100,
         ("capacity", "B", ""): 100}, rel=1e-6
    )  # fmt: skip


def test_a_contract_above_what_is_wanted(case_of: Any) -> None:
    """A contract of 50 for a market of 10: 50 would have to be wanted, or 10 contracted."""
    case = case_of("A,CHL,allied,x,60,1,50\n", "x,2030,10\n", head=f"{HEAD},min_t")
    assert named(optimize(case)) == pytest.approx({("minimum", "A", ""): 10, ("demand", "home", ""): 50}, rel=1e-6)


def test_a_closed_lane_and_a_plant_of_nothing(case_of: Any) -> None:
    """What the case cannot use at all is named too: a lane of 0 t, a capacity of 0 t."""
    lanes = "origin,destination,max_t\nA,home,0\n"
    case = case_of("A,CHL,allied,x,60,1\nB,CHN,incumbent,x,0,1\n", "x,2030,50\n", lanes=lanes)
    assert named(optimize(case)) == pytest.approx(
        {("lane", "A -> home", ""): 50, ("capacity", "B", ""): 50, ("demand", "home", ""): 0}, rel=1e-6
    )


def test_what_can_be_expanded_is_a_limit(case_of: Any) -> None:
    """10 t now and 20 t more for 50: 30 now, or 40 more, would do."""
    case = case_of("A,CHL,allied,x,10,1,20,0\n", "x,2030,50\n", head=f"{HEAD},max_expansion_t,lead_years")
    plan = optimize(case)
    found = {(item["what"], item.get("kind", "")): item["needed"] for item in plan.conflict}
    assert found == pytest.approx({("demand", ""): 30, ("capacity", ""): 30, ("capacity", "expansion"): 40}, rel=1e-6)


def test_a_stockpile_that_cannot_be_filled(case_of: Any) -> None:
    """20 t are to be there in the end; 3 t a year can be put in, for one year."""
    stock = "material,build_max_t,closing_min_t\nx,3,20\n"
    plan = optimize(case_of("A,CHL,allied,x,100,1\n", "x,2030,50\n", stock=stock))
    found = {(item["what"], item.get("kind", "")): item["needed"] for item in plan.conflict}
    assert found == pytest.approx({("minimum", "closing stock"): 3, ("capacity", "built"): 20}, rel=1e-6)
    assert [(item["what"], item["kind"], item["needed"]) for item in plan.repair] == [
        ("minimum", "closing stock", pytest.approx(3, rel=1e-6))
    ]


def test_two_sets_of_two_minerals_under_one_budget(case_of: Any) -> None:
    """A budget over everything ties the minerals together; each still has a set of its own."""
    case = case_of(
        "A,CHL,allied,x,60,1\nB,CHL,allied,z,60,1\n", "x,2030,100\nz,2030,70\n",
        '[[rules]]\nname = "money"\nkind = "budget"\nmax_usd_per_y = 1e6\n',
        materials=MATERIALS + "z,gallium,processing\n",
    )  # fmt: skip
    plan = optimize(case)
    sets = {(item["set"], item["mineral"]): item["needed"] for item in plan.conflict if item["what"] == "capacity"}
    assert len({number for number, _ in sets}) == 2
    assert {mineral: needed for (_, mineral), needed in sets.items()} == pytest.approx(
        {"lithium": 100, "gallium": 70}, rel=1e-6
    )
    assert not any(item["what"] == "rule" for item in plan.conflict)
    assert all(item["alone"] for item in plan.conflict)


def test_a_second_set_in_the_way_is_said(case_of: Any) -> None:
    """Two rules of one mineral cannot hold, each for itself: neither alone makes a plan possible."""
    rules = [
        {"name": "one", "kind": "share", "where": {"supplier": "A"}, "min": 0.9},
        {"name": "two", "kind": "suppliers", "min": 3},
    ]
    plan = optimize(case_of("A,CHL,allied,x,60,1\nB,CHN,incumbent,x,60,1\n", "x,2030,100\n"), Request(rules=rules))
    assert {item["name"]: item["needed"] for item in plan.repair} == {"one": pytest.approx(0.6), "two": 2}
    assert {item["set"] for item in plan.conflict} == {1}
    assert not any(item["alone"] for item in plan.conflict)
    [item] = [item for item in plan.conflict if item["what"] == "rule"]
    assert item["needed"] == pytest.approx(0.6 if item["name"] == "one" else 2)


# --- random cases, through the tables ----------------------------------------------------------------------------


def _rows(case: Case) -> list[RuleRow]:
    return RuleRows(lay_out(case)).rows


def _key(item: Item) -> tuple[Any, ...]:
    return tuple(item[key] for key in ("name", "bound", "mineral", "material", "member", "year"))


def only(case: Case, items: Sequence[Item], minerals: frozenset[str] = frozenset(), short: bool = True) -> Case:
    """The case with only these limits in force: every other one far away, any other demand met as far as one likes.

    A demand of these ``minerals`` is what it is, and may be ``short``, or is 0 if it may not.
    """
    held = {(item["what"], item["name"], item["material"], item["year"]) for item in items}
    rules = {_key(item) for item in items if item["what"] == "rule"}
    suppliers, steps = case.tables["suppliers"].copy(), []
    capacity, minimum, cost = (case.by_year(column) for column in ("capacity_t", "min_t", "cost_usd_per_t"))
    for s, name in enumerate(suppliers["supplier"]):
        material = suppliers["material"].iloc[s]
        for at, year in enumerate(case.years):
            least = minimum[s, at] if ("minimum", name, material, year) in held else 0.0
            most = capacity[s, at] if ("capacity", name, material, year) in held else FAR
            steps.append({"supplier": name, "year": year, "capacity_t": most, "min_t": least,
                          "cost_usd_per_t": cost[s, at]})  # fmt: skip
    suppliers = suppliers.assign(min_t=0.0, capacity_t=FAR, lot_t=0.0)
    table = case.tables["supplier_years"].iloc[:0].reindex(range(len(steps)))
    for column in steps[0]:
        table[column] = [step[column] for step in steps]
    demand = case.tables["demand"]
    free = [
        any(("demand", market, material, year) not in held for year in case.years)
        for market, material in zip(demand["market"], demand["material"], strict=True)
    ]
    demand = demand.assign(shortage_usd_per_t=np.where(free, 0.0, demand["shortage_usd_per_t"]))
    kept = demand["material"].map(case.materials["mineral"]).isin(minerals)
    required = np.where(kept, demand["required_t"] if short else 0.0, FAR)
    demand = demand.assign(required_t=np.where(free, required, demand["required_t"]))
    loose = case.with_(tables={**case.tables, "suppliers": suppliers, "supplier_years": table, "demand": demand})
    names = [*suppliers["supplier"], *case.markets]
    most = np.full_like(loose.lanes.max_t, np.inf)
    for lane in range(len(most)):
        material = case.materials["material"].iloc[case.lanes.material[lane]]
        label = f"{names[case.lanes.origin[lane]]} -> {names[case.lanes.destination[lane]]}"
        for at, year in enumerate(case.years):
            if ("lane", label, material, year) in held:
                most[lane, at] = case.lanes.max_t[lane, at]
    pools = {
        material: (np.array([available[at] if ("feedstock", material, material, year) in held else FAR
                             for at, year in enumerate(case.years)]), cost)
        for material, (available, cost) in case.pools.items()
    }  # fmt: skip
    known = {"lanes": replace(loose.lanes, max_t=most), "pools": pools}
    vars(loose).update(known)
    size = {"budget": 1e13, "suppliers": 1e6}  # a budget is in USD
    far = {
        row.key: size.get(row.kind, FAR) if row.bound == "max" else 0.0
        for row in _rows(loose) if row.key not in rules
    }  # fmt: skip
    loose = loose.with_(relaxed={**loose.relaxed, **far})
    vars(loose).update(known)
    return loose


def there(case: Case, items: Sequence[Item]) -> bool:
    """Whether there is a plan with only these limits.

    A share of the requirement does not see that it may be short: there it is also tried at what it is, and at 0.
    """
    names = {rule.name for rule in case.rules if getattr(rule, "of", "") == "requirement"}
    minerals = frozenset(item["mineral"] for item in items if item["name"] in names)
    tried = [only(case, items, minerals, short) for short in ((True, False) if minerals else (True,))]
    return any(status(one) == "optimal" for one in tried)


def status(case: Case) -> str:
    layout = lay_out(case)
    return solve(layout, RuleRows(layout).rows, Limits(gap=1e-7)).status


def infeasible_cases(folder: Path, seeds: Sequence[int], **how: Any) -> Iterator[tuple[Case, Plan]]:
    for seed in seeds:
        case = load_case(random_case(seed, folder / str(seed), years=2, most_suppliers=14, **how))
        case = change(case, Request(years=[case.years[-1]]))
        if any(rule.kind == "budget" and rule.of == "premium" for rule in case.rules):
            continue  # what the status quo costs is not the same in the loosened case
        plan = optimize(case)
        if plan.status == "infeasible":
            yield case, plan
        shutil.rmtree(folder / str(seed))


def moved(case: Case, item: Item, value: float) -> Case | None:
    """The case with one limit at another value, the rest as it is; None where tables cannot say it."""
    name, material, at = item["name"], item["material"], case.years.index(item["year"])
    if item["what"] == "rule":
        return case.with_(relaxed={**case.relaxed, _key(item): value})
    if item["what"] == "demand":
        demand = case.tables["demand"]
        mine = (demand["market"] == name) & (demand["material"] == material)
        if demand[mine]["sector"].nunique() > 1 or item["limit"] == 0:
            return None
        scaled = demand["required_t"].where(~mine, demand["required_t"] * value / item["limit"])
        return case.with_(tables={**case.tables, "demand": demand.assign(required_t=scaled)})
    if item["what"] in ("capacity", "minimum"):
        column = {"lot": "lot_t"}.get(
            item.get("kind", ""), {"capacity": "capacity_t", "minimum": "min_t"}[item["what"]]
        )
        suppliers, steps = case.tables["suppliers"], case.tables["supplier_years"]
        kept = suppliers[column].where(suppliers["supplier"] != name, value)
        if column in steps:
            steps = steps.assign(**{column: steps[column].where(steps["supplier"] != name)})
        return case.with_(
            tables={**case.tables, "suppliers": suppliers.assign(**{column: kept}), "supplier_years": steps}
        )
    changed = case.with_(warnings=case.warnings)
    if item["what"] == "feedstock":
        available, cost = case.pools[name]
        vars(changed)["pools"] = {**case.pools, name: (np.full_like(available, value), cost)}
    else:
        names = [*case.suppliers["supplier"], *case.markets]
        lanes, most = case.lanes, case.lanes.max_t.copy()
        for lane in np.flatnonzero(lanes.material == list(case.materials["material"]).index(material)):
            if f"{names[lanes.origin[lane]]} -> {names[lanes.destination[lane]]}" == name:
                most[lane, at] = value
        vars(changed)["lanes"] = replace(lanes, max_t=most)
    return changed


def agrees(case: Case, plan: Plan, seen: dict[str, int]) -> None:
    """Every set of a plan is what it says; ``seen`` counts what was checked."""
    sets = sorted({item["set"] for item in plan.conflict})
    for number in sets:
        items = [item for item in plan.conflict if item["set"] == number]
        if any(item["what"] == "minimum" for item in items):
            continue  # a lot, or a demand that may grow, cannot be written in tables
        assert not there(case, items), case.name
        for left_out in items:
            assert there(case, [item for item in items if item is not left_out]), (case.name, left_out)
            seen[f"set with {left_out['what']}"] = seen.get(f"set with {left_out['what']}", 0) + 1
    for item in plan.conflict if len(sets) == 1 else ():
        enough = moved(case, item, item["needed"]) if item["alone"] else None
        if enough is None:
            continue
        assert status(enough) == "optimal", (case.name, item)
        step = 1e-3 * (item["limit"] - item["needed"])
        if item.get("kind") == "suppliers":
            step = 1 if item["bound"] == "min" else -1
        nearer = moved(case, item, item["needed"] + step)
        assert nearer is not None
        assert status(nearer) == "infeasible", (case.name, item)
        seen[f"value of {item['what']}"] = seen.get(f"value of {item['what']}", 0) + 1


# Cases with sets of several kinds; should the random cases change, others follow.
LINEAR = (1033, 1059, 1060, 1069, 1080, 1119, 1128, 1111, *range(1000, 1100))
WHOLE = (1213, 1239, 1240, 1260, 1276, 1287, 1281, *range(1200, 1300))


@pytest.mark.parametrize(("integers", "seeds", "most"), [(False, LINEAR, 8), (True, WHOLE, 6)], ids=["lp", "integers"])
def test_sets_are_irreducible_and_values_the_nearest(
    integers: bool, seeds: Sequence[int], most: int, tmp_path: Path
) -> None:
    """A case with the limits of a set alone has no plan, and has one with any of them far away; with one limit at the
    value named there is a plan, all else as it is, and a little nearer there is none.
    """
    seen: dict[str, int] = {}
    for count, (case, plan) in enumerate(infeasible_cases(tmp_path, seeds, integers=integers, rules=3), 1):
        agrees(case, plan, seen)
        if count == most:
            break
    assert seen["set with rule"] >= 4 and seen["set with demand"] >= 3 and seen["value of rule"] >= 3
