"""Explanations: prices against finite differences on both sides, ranges against solves inside and outside, suppliers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.case import Case, load_case
from models.changes import Request, change
from models.layout import lay_out
from models.problems import CaseError
from models.rule_rows import RuleRows
from optimizer.analysis_folder import read_analysis
from optimizer.build_ups import BuildUps
from optimizer.engine import Limits
from optimizer.explaining import Explanation, explain
from optimizer.limit_prices import binding_rules, demands, price_of, scarce
from optimizer.resolving import resolve
from optimizer.run import optimize
from optimizer.solving import solve
from optimizer.supplier_reasons import Suppliers
from tests.reference.cases import random_case

CASES = Path(__file__).parent / "cases"
HEAD = "supplier,country,channel,material,capacity_t,cost_usd_per_t"
MATERIALS = "material,mineral,stage\nx,lithium,processing\n"
TOML = '[horizon]\nyears = [2030]\n[market]\nhome = "USA"\n'


def objective(case: Case) -> float | None:
    """Least cost of a whole case, solved from nothing."""
    layout = lay_out(case)
    solved = solve(layout, RuleRows(layout).rows, Limits(gap=1e-9))
    return float(solved.engine.program.cost[: layout.width] @ solved.x) if solved.has_plan else None


@pytest.fixture(scope="module")
def small() -> Explanation:
    return explain(load_case("small"))


@pytest.fixture
def case_of(write_case: Any) -> Any:
    def make(suppliers: str, demand: str, more: str = "", head: str = HEAD, name: str = "case", **tables: str) -> Case:
        tables = {"materials": MATERIALS, "suppliers": f"{head}\n{suppliers}",
                  "demand": f"material,year,required_t\n{demand}", **tables}  # fmt: skip
        return load_case(write_case(tables, TOML + more, name))

    return make


# --- by hand -----------------------------------------------------------------------------------------------------


def test_a_rule_at_a_kink_has_two_prices(small: Explanation) -> None:
    """40% of 1000 t. Looser: Chile (13,000) for China (15,000), up to its 500 t. Tighter: the refinery (17,000) for
    Chile, China being at its own cap.
    """
    chile, china = (small.prices.set_index("member").loc[member] for member in ("CHL", "CHN"))
    assert chile["price_usd_per_y"] == pytest.approx(-2_000_000)
    assert (chile["above_usd_per_y"], chile["below_usd_per_y"]) == pytest.approx((-2_000_000, -4_000_000))
    assert (chile["from"], chile["to"], chile["to_ends"]) == (0.4, pytest.approx(0.5), "free")
    assert chile["one_of_several"] and chile["confirmed"]
    # China: looser changes nothing; tighter puts the refinery (17,000) in the place of 15,000
    assert (china["above_usd_per_y"], china["below_usd_per_y"]) == pytest.approx((0.0, -2_000_000))


def test_the_price_is_that_of_the_plan(small: Explanation) -> None:
    plan = optimize(load_case("small")).tables["rules"].set_index("member")["price_usd_per_y"]
    assert dict(small.prices.set_index("member")["price_usd_per_y"]) == pytest.approx(dict(plan))


def test_a_tonne_of_demand_and_of_scrap(small: Explanation) -> None:
    """A tonne more: 0.4 t Chile (13,000), 0.4 t China (15,000), 0.2 t refinery (17,000): 14,600. A tonne less takes
    China's last 0.6 t and Chile's 0.4 t away: 14,200, until China is gone. Scrap: 0.8 t at 6000 + 1000 + 2500 for
    15,000 of China: 4,400 a tonne, up to the plant's 300 t; a tonne less brings the refinery in, 6,000.
    """
    limits = small.limits.set_index("name")
    home, scrap = limits.loc["home"], limits.loc["battery_scrap"]
    assert (home["below_usd_per_y"], home["above_usd_per_y"]) == pytest.approx((14_200, 14_600))
    assert home["from"] == pytest.approx(200 / 0.6)
    assert (scrap["above_usd_per_y"], scrap["below_usd_per_y"]) == pytest.approx((-4_400, -6_000))
    assert scrap["to"] == pytest.approx(375)


def test_what_brings_a_supplier_in(small: Explanation) -> None:
    """The refinery delivers at 17,000, China at 15,000: in below 11,000 - 2,000."""
    refinery = small.suppliers.set_index("supplier").loc["usa_refinery"]
    assert (refinery["produced_t"], refinery["enters_below_usd_per_t"]) == (0, pytest.approx(9_000))
    assert refinery["instead"] == "chn_refinery" and refinery["confirmed"]
    inside = small.suppliers[small.suppliers["produced_t"] > 0]
    assert inside["enters_below_usd_per_t"].isna().all()
    why = dict(zip(small.suppliers["supplier"], small.suppliers["why"], strict=True))
    assert why["chl_brine"] == "as much as rule one_country CHL lets it"
    assert why["usa_recycler"] == "as much as feedstock battery_scrap lets it"
    assert why["chn_refinery"] == "makes the last tonnes"


def test_a_tonne_built_up_along_its_chain(small: Explanation) -> None:
    lines = small.build_up[small.build_up["supplier"] == "chn_refinery"].set_index("item")["usd_per_t"]
    # 1.25 t of spodumene at 3,000; freight 1.25 * 1,000 + 1,000; duty 25% of 20,000
    assert dict(lines) == pytest.approx(
        {"own cost": 4000, "input from aus_mine": 3750, "freight": 2250, "duty": 5000, "worth at home": 15_000}
    )
    recycler = small.build_up[small.build_up["supplier"] == "usa_recycler"].set_index("item")["usd_per_t"]
    assert recycler["feedstock battery_scrap"] == pytest.approx(4_400 / 0.8)


def test_why_not_one_supplier() -> None:
    found = explain(load_case("small"), why_not="usa_refinery")
    assert list(found.suppliers["supplier"]) == ["usa_refinery"]
    assert found.instead["usd_per_t"].sum() == pytest.approx(2000)
    assert dict(zip(found.instead["who"], found.instead["t_per_t"], strict=True)) == pytest.approx(
        {"usa_refinery 2030": 1, "chn_refinery 2030": -1}
    )
    # one that is in: at which cost it would be out
    inside = explain(load_case("small"), why_not=["chl_brine"]).suppliers.iloc[0]
    assert inside["leaves_above_usd_per_t"] == pytest.approx(12_000 + 4_000)  # 17,000 instead of 13,000
    assert inside["confirmed"]


def test_whole_numbers_are_fixed_and_that_is_said(case_of: Any) -> None:
    """B costs 500 a year to use at all, and is used: one tonne more of A saves 20 - 10, as B's charge stays."""
    case = case_of("A,CHL,allied,x,60,10,\nB,CHL,allied,x,80,20,500\nC,CHL,allied,x,80,90,500\n", "x,2030,100\n",
                   head=f"{HEAD},fixed_usd_per_y")  # fmt: skip
    found = explain(case)
    assert found.whole_numbers and any("whole-number" in note for note in found.notes)
    limits = found.limits.set_index("name")
    assert limits.loc["A", "above_usd_per_y"] == pytest.approx(-10)
    assert limits.loc["A", "to"] == pytest.approx(100)
    outside = found.suppliers.set_index("supplier").loc["C"]
    assert np.isnan(outside["enters_below_usd_per_t"]) and "fixed charge" in outside["why"]


def test_what_brings_one_in_against_its_fixed_charge(case_of: Any) -> None:
    """B has 40 t at 20 and 500 a year to use: 1300. C has 80 t and 500 too, and would make those 40: in below 20 . With 900 of its own: 40 c + 900 = 1300, in below 10."""
    rows = "A,CHL,allied,x,60,10,\nB,CHL,allied,x,80,20,500\nC,CHL,allied,x,80,90,{}\n"
    head = f"{HEAD},fixed_usd_per_y"
    for charge, cost in ((500, 20), (900, 10)):
        case = case_of(rows.format(charge), "x,2030,100\n", head=head, name=str(charge))
        found = explain(case, why_not="C").suppliers.iloc[0]
        assert found["enters_below_usd_per_t"] == pytest.approx(cost, rel=1e-6) and found["confirmed"]


def test_a_capacity_behind_its_switch_has_its_price(case_of: Any) -> None:
    """What a switched supplier can make is in its big M too: both move."""
    case = case_of("A,CHL,allied,x,60,10,1\nB,CHL,allied,x,80,20,0\n", "x,2030,100\n", head=f"{HEAD},fixed_usd_per_y")
    price = explain(case).limits.set_index("name").loc["A"]
    assert (price["price_usd_per_y"], price["to"]) == pytest.approx((-10, 100))


def test_an_expansion_is_worth_what_it_saves(case_of: Any) -> None:
    """A at 10 + capital of 5 a year beats B at 20 for 50 of 100 t; what limits it is max_expansion_t: 5 a tonne."""
    case = case_of("A,CHL,allied,x,0,10,50,100,20\nB,CHL,allied,x,100,20,,,\n", "x,2030,100\n",
                   head=f"{HEAD},max_expansion_t,capex_usd_per_t,life_years")  # fmt: skip
    limits = explain(case).limits
    one = limits[(limits["what"] == "capacity") & (limits["kind"] == "expansion")].iloc[0]
    assert (one["price_usd_per_y"], one["to"]) == pytest.approx((-5, 100))


def test_a_credit_is_in_the_cost_that_brings_one_in(case_of: Any) -> None:
    """Buyers pay (1 - 0.2) of B's cost: 24 of 30 against 20 of A; in below 25."""
    case = case_of("A,CHL,allied,x,100,20,\nB,CHL,allied,x,100,30,0.2\n", "x,2030,100\n", head=f"{HEAD},credit_share")
    outside = explain(case).suppliers.set_index("supplier").loc["B"]
    assert outside["enters_below_usd_per_t"] == pytest.approx(25) and outside["confirmed"]


def test_reasons_for_suppliers_that_cannot(case_of: Any) -> None:
    rule = '[[rules]]\nname="no"\nkind="ban"\nwhere={country="CHN"}\n'
    found = explain(case_of(
        "A,CHL,allied,x,100,20,\nB,CHN,incumbent,x,100,10,\nC,CHL,allied,x,0,10,\nD,CHL,allied,x,50,10,2035\n",
        "x,2030,100\n", rule, head=f"{HEAD},from_year",
    ))  # fmt: skip
    why = dict(zip(found.suppliers["supplier"], found.suppliers["why"], strict=True))
    assert why["C"] == "no capacity" and why["D"] == "not there before 2035"
    assert found.suppliers.set_index("supplier").loc["B", "enters_below_usd_per_t"] != 0
    assert why["B"] == "rule no forbids it"


# --- random cases: against the whole case solved anew ---------------------------------------------------------------


def explained(tmp_path: Path, seeds: range, **how: Any) -> Iterator[tuple[Case, Any]]:
    for seed in seeds:
        case = load_case(random_case(seed, tmp_path / str(seed), years=2, most_suppliers=16, **how))
        if any(rule.kind == "budget" and rule.of == "premium" for rule in case.rules):
            continue  # what the status quo costs is asked for elsewhere
        case = change(case, Request(years=[case.years[0]]))
        try:
            yield case, resolve(case)
        except CaseError:
            continue  # no plan


def at_limit(case: Case, about: dict[str, Any], limit: float) -> float | None:
    key = tuple(about[name] for name in ("rule", "bound", "mineral", "material", "member", "year"))
    return objective(case.with_(relaxed={**case.relaxed, key: limit}))


def close(value: float, promised: float, base: float, step: float) -> bool:
    return abs(value - promised) <= 1e-6 * abs(promised - base) + 2e-9 * abs(base) + 1e-9 * abs(step)


@pytest.mark.parametrize("kind", ["share", "each_share", "index", "ban", "emissions"])
def test_a_price_holds_over_its_range_and_not_beyond(kind: str, tmp_path: Path) -> None:
    """Inside the range the whole case costs what the price says, just outside it does not; at a kink both sides do."""
    checked = kinks = 0
    for case, resolved in explained(tmp_path, range(300, 345), rules=[kind, kind]):
        base, weight = resolved.objective_usd, float(case.weights[0])
        for asked in list(binding_rules(resolved))[:4]:
            found = price_of(resolved, asked)
            assert found.confirmed
            for way, end, ends, side in (
                (-1, found.low, found.low_ends, found.below), (1, found.high, found.high_ends, found.above),
            ):  # fmt: skip
                width = end - found.limit
                if abs(width) > 1e-7 and np.isfinite(width):
                    for part in (0.5, 0.999):
                        value = at_limit(case, asked.about, found.limit + part * width)
                        promised = base + weight * found.price * part * width
                        near = 0.011 * abs(promised - base) if found.curved else 0.0
                        assert value is not None
                        assert close(value, promised, base, width) or abs(value - promised) <= near, asked.about
                    outside = at_limit(case, asked.about, end + 0.05 * width)
                    if ends == "no plan":
                        assert outside is None
                    elif ends in ("price", "free") and not found.curved and abs(width) > 1e-3 * found.limit:
                        promised = base + weight * found.price * 1.05 * width
                        assert outside is None or abs(outside - promised) > 1e-11 * abs(base), asked.about
                    checked += 1
                elif side is not None and found.several:  # a kink: the slope on this side is another
                    step = 1e-6 * max(abs(found.limit), 1e-3) * way
                    value = at_limit(case, asked.about, found.limit + step)
                    if value is not None and abs(weight * side * step) > 1e-7 * abs(base):
                        assert (value - base) / step / weight == pytest.approx(side, rel=1e-2)
                        kinks += 1
        if checked >= 5:
            break
    assert checked >= 2


def test_an_hhi_price_holds_to_a_hundredth(tmp_path: Path) -> None:
    checked = 0
    for case, resolved in explained(tmp_path, range(400, 440), rules=["hhi"]):
        for asked in binding_rules(resolved):
            found = price_of(resolved, asked)
            if abs(found.price) < 1 or found.several:
                continue
            assert found.confirmed and found.low <= found.limit <= found.high
            for end in (found.low, found.high):
                width = end - found.limit
                if abs(width) < 1e-6 or not np.isfinite(width):
                    continue
                value = at_limit(case, asked.about, end)
                assert value is not None
                promised = float(case.weights[0]) * found.price * width
                assert value - resolved.objective_usd == pytest.approx(promised, rel=0.011)
                checked += 1
        if checked >= 4:
            return
    assert checked >= 2


def test_the_range_of_the_basis_lies_within(tmp_path: Path) -> None:
    """HiGHS' ranging of a rule row is a range over which its price holds; ours is the whole of it."""
    checked = 0
    for _, resolved in explained(tmp_path, range(300, 330), rules=["each_share", "share"]):
        for asked in binding_rules(resolved):
            ranges = resolved.solver(asked.label).ranges()
            if ranges is None or asked.parameter.bent or abs(asked.price or 0.0) < 1e-6:
                continue
            found, solver = price_of(resolved, asked), resolved.solver(asked.label)
            [place], [step] = asked.parameter.rows
            high = float(solver.program.row_upper[place])
            right = high if np.isfinite(high) else float(solver.program.row_lower[place])
            ends = sorted((float(side[place]) - right) / step for side in (ranges.row_low, ranges.row_high))
            room = 1e-6 * max(1.0, found.limit)
            assert found.low - room <= max(found.limit + ends[0], 0.0), asked.about
            assert found.high + room >= min(found.limit + ends[1], asked.parameter.most), asked.about
            checked += 1
        if checked >= 4:
            return
    assert checked >= 3


def test_what_a_tonne_is_worth(tmp_path: Path) -> None:
    """Capacities and demands: the price is the difference that a whole case with a little more or less makes."""
    checked = {"capacity": 0, "demand": 0}
    for case, resolved in explained(tmp_path, range(500, 530), rules=2):
        base, weight = resolved.objective_usd, float(case.weights[0])
        for asked in [*list(scarce(resolved))[:3], *list(demands(resolved))[:2]]:
            what, name = asked.about["what"], asked.about["name"]
            sectors = case.tables["demand"][case.tables["demand"]["material"] == asked.about["material"]]
            if what not in checked or (what == "demand" and sectors["sector"].nunique() > 1):
                continue
            found = price_of(resolved, asked)
            for sign, side in ((-1, found.below), (1, found.above)):
                step = sign * 1e-4 * max(found.limit, 1e-3)
                if side is None:
                    continue
                value = objective(more_of(case, what, name, asked.about["material"], found.limit, step))
                if value is None:
                    continue
                room = 1e-8 * abs(base) / abs(step) / weight + 2e-3 * abs(side)
                assert (value - base) / step / weight == pytest.approx(side, abs=room), asked.about
                checked[what] += 1
        if min(checked.values()) >= 4:
            return
    assert min(checked.values()) >= 3


def more_of(case: Case, what: str, name: str, material: str, limit: float, step: float) -> Case:
    """The case with a step more of a capacity or a demand."""
    tables = dict(case.tables)
    if what == "demand":
        table = tables["demand"]
        mine = (table["market"] == name) & (table["material"] == material)
        tables["demand"] = table.assign(
            required_t=table["required_t"].where(~mine, table["required_t"] * (1 + step / limit))
        )
    else:
        table, steps = tables["suppliers"], tables["supplier_years"]
        tables["suppliers"] = table.assign(
            capacity_t=table["capacity_t"].where(table["supplier"] != name, limit + step)
        )
        tables["supplier_years"] = steps.assign(capacity_t=steps["capacity_t"].where(steps["supplier"] != name))
    return case.with_(tables=tables)


def test_suppliers_come_in_below_and_stay_out_above(tmp_path: Path) -> None:
    """The cost named, in the whole case: just below, the supplier makes something; just above, nothing."""
    checked = 0
    for case, resolved in explained(tmp_path, range(600, 620), rules=2):
        whole, names = Suppliers(resolved), case.suppliers["supplier"].tolist()
        for supplier, name in enumerate(names):
            reason = whole.reason(supplier, 0)
            if reason.enters_below is None or (reason.instead_usd_per_t or 0.0) < 1e-3 or checked >= 5:
                continue
            assert reason.confirmed
            near = 1e-3 * max(1.0, abs(reason.instead_usd_per_t or 0.0))
            for cost, inside in ((reason.enters_below - near, True), (reason.enters_below + near, False)):
                other = change(case, Request(sets={f"suppliers[supplier={name}].cost_usd_per_t": cost}))
                layout = lay_out(other)
                made = solve(layout, RuleRows(layout).rows, Limits()).x[layout.columns("production")]
                assert (made[layout.production_supplier == supplier].sum() > 1e-6) == inside, (case.name, name)
            checked += 1
        if checked >= 5:
            return
    assert checked >= 3


def test_the_lines_of_a_tonne_add_up_to_what_it_is_worth(tmp_path: Path) -> None:
    """Costs along the chain, rule prices and what is scarce: together the price at the place of delivery, always."""
    seen = set()
    for case, resolved in explained(tmp_path, range(300, 312), rules=3):
        builder = BuildUps(resolved)
        for supplier, at in zip(*np.nonzero(builder.entry >= 0), strict=True):
            if resolved.x[builder.entry[supplier, at]] < 1e-6:
                continue
            lines = builder.build_up(int(supplier), int(at))
            total = sum(line.usd_per_t for line in lines[:-1])
            assert total == pytest.approx(lines[-1].usd_per_t, rel=1e-6, abs=1e-5), (case.name, lines)
            seen |= {line.what for line in lines}
    assert {"cost", "rule", "scarce", "value"} <= seen


@pytest.mark.parametrize("name", ["survive_upstream", "survive_bloc", "provenance_share", "provenance_refined_abroad"])
def test_rules_with_programs_of_their_own_have_prices_too(name: str) -> None:
    """The price of a survive or provenance row lies between what a little less and a little more of it cost."""
    case = load_case(CASES / name)
    resolved = resolve(case)
    asked = [one for one in binding_rules(resolved) if one.about["kind"] in ("survive", "provenance")]
    assert asked
    for one in asked:
        found, about = price_of(resolved, one), {**one.about, "member": ""}
        assert found.confirmed
        for sign, side in ((-1, found.below), (1, found.above)):
            step = 1e-4 * sign
            value = at_limit(case, about, found.limit + step) if 0 <= found.limit + step <= 1 else None
            if value is not None and side is not None:
                weight = float(case.weights[case.years.index(about["year"])])
                assert (value - resolved.objective_usd) / step / weight == pytest.approx(side, rel=1e-3, abs=1e-3)


def test_parts_solved_alone_are_the_whole(tmp_path: Path) -> None:
    for _, resolved in explained(tmp_path, range(300, 306), rules=2):
        labels = set(resolved.parts.of_column.tolist())
        alone = sum(resolved.solver(label).solve().objective for label in labels)
        assert alone == pytest.approx(resolved.objective_usd, rel=1e-9)


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def base(oremix: Any) -> Any:
    assert oremix("optimize", "small", "--out", "base", "-q").code == 0
    return oremix


def test_the_document_and_the_folder(base: Any) -> None:
    document = base("explain", "base", "--json", "--out", "why").document
    assert {"rule", "mineral", "year", "price_usd_per_y", "from", "to", "confirmed"} <= set(document["prices"][0])
    assert {"supplier", "year", "produced_t", "enters_below_usd_per_t"} <= set(document["suppliers"][0])
    assert len(document["suppliers"]) == 5 and document["run"] == "why" and document["of"] == "base"
    analysis = read_analysis("why")
    assert analysis.kind == "explain" and analysis.document["prices"] == document["prices"]
    assert set(analysis.tables) == {"prices", "limits", "suppliers", "build_up", "instead"}
    assert (Path("why") / "case" / "case.toml").is_file()


def test_the_answer_fits_a_narrow_terminal(base: Any) -> None:
    shown = base("explain", "base", "-q").out
    assert "20,000" in shown and "40,000" in shown and "40-50%" in shown and "usa_refinery" in shown
    assert shown.splitlines()[-1].startswith("runs/small-explain-")
    story = base("explain", "base", "--why-not", "usa_refinery", "-q").out
    assert "2,000 USD a tonne too dear" in story and "together" in story


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("nowhere",), "not a run folder"), (("base", "--why-not", "usa_refinry"), "usa_refinery"),
     (("base", "--mineral", "lithum"), "lithium"), (("base", "--show-year", "2031"), "2030")],
)  # fmt: skip
def test_wrong_input_is_told(arguments: tuple[str, ...], said: str, base: Any) -> None:
    done = base("explain", *arguments)
    assert done.code == 2 and said in done.err


def test_the_status_quo_has_nothing_to_explain(oremix: Any) -> None:
    assert oremix("optimize", "small", "--status-quo", "--out", "today", "-q").code == 0
    done = oremix("explain", "today")
    assert done.code == 2 and "as today" in done.err


def test_a_relaxed_run_is_explained_as_it_ran(oremix: Any) -> None:
    assert oremix("optimize", "small", "--min-domestic", "60%", "--relax", "--out", "near", "-q").code == 0
    document = oremix("explain", "near", "--json").document
    limit = next(row for row in document["prices"] if row["rule"] == "min-domestic")
    assert limit["limit"] == pytest.approx(0.4, abs=1e-7) and limit["to"] == pytest.approx(0.4, abs=1e-7)
    assert limit["to_ends"] == "no plan"
    assert limit["below_usd_per_y"] == pytest.approx(2_000_000, rel=1e-3)
