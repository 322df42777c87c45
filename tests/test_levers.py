"""Policy levers: what each changes, recorded; effects computed by hand; clashes and unknown names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.case import Case, load_case
from models.changes import Request, change
from models.problems import CaseError
from optimizer.levers import BY_NAME, LEVERS, parse_lever, parse_levers
from optimizer.run import optimize

ROOT = Path(__file__).resolve().parents[1]
TABLES = {
    "materials": "material,mineral,stage,price_usd_per_t\nscrap,copperish,feedstock,\nmetal,copperish,processing,100\n"
    "anode,graphite,manufacturing,200\n",
    "suppliers": "supplier,country,channel,material,input,capacity_t,incumbent_t,cost_usd_per_t,min_t,max_expansion_t,"
    "capex_usd_per_t,lead_years,life_years,cost_of_capital,certified\n"
    "chn,CHN,incumbent,metal,,100,100,10,,,,,,,no\n"
    "per,PER,allied,metal,,50,,40,10,,,,,,yes\n"
    "usa,USA,domestic,metal,,40,,30,,60,50,4,10,0.1,no\n"
    "rec,USA,recycling,metal,scrap,50,,5,,,,,,,no\n"
    "ano,USA,domestic,anode,,20,,150,,,,,,,no\n",
    "supplier_years": "supplier,year,capacity_t\nchn,2028,120\nchn,2031,140\n",
    "demand": "material,year,required_t\nmetal,2025,100\nmetal,2031,100\nanode,2025,10\n",
    "feedstock": "material,year,available_t,collection_share\nscrap,2025,20,0.4\n",
    "lanes": "origin,destination,material,duty_share\ncountry:CHN,*,,0.1\n",
    "blocs": "bloc,country,from_year\nallied,PER,2020\nallied,USA,\nrivals,CHN,\n",
    "stock": "material,hold_usd_per_t_y\nmetal,1\n",
    "substitution": "material,year,step,max_share,usd_per_t\nmetal,2028,thrift,0.1,60\n",
}
TOML = """\
[horizon]
years = [2026, 2028, 2031]
price_base_year = 2025
[market]
home = "USA"
[scenarios.demand_high]
[[scenarios.demand_high.change]]
table = "demand"
where = { material = "metal" }
scale = { required_t = 1.2 }
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, write_case_to: Callable[..., Path]) -> Case:
    return load_case(write_case_to(tmp_path_factory.mktemp("levers") / "case", TABLES, TOML))


def pulled(case: Case, *levers: str, **more: Any) -> Case:
    return change(case, Request(levers=parse_levers(*levers), **more))


def values(case: Case, column: str, supplier: str) -> list[float]:
    return [float(v) for v in case.by_year(column)[case.supplier_position[supplier]]]


def problems(case: Case, *levers: str) -> str:
    with pytest.raises(CaseError) as caught:
        pulled(case, *levers)
    return "\n".join(str(problem) for problem in caught.value.problems)


# --- what each changes ---------------------------------------------------------------------------------------------


def test_45x_with_its_phase_down(case: Case) -> None:
    """10% to 2030, 75% of it in 2031; anode material a year earlier: half of it in 2031. Foreign plants get nothing."""
    new = pulled(case, "45x")
    assert values(new, "credit_share", "usa") == pytest.approx([0.1, 0.1, 0.075])
    assert values(new, "credit_share", "rec") == pytest.approx([0.1, 0.1, 0.075])
    assert values(new, "credit_share", "ano") == pytest.approx([0.1, 0.1, 0.05])
    assert values(new, "credit_share", "chn") == values(new, "credit_share", "per") == [0, 0, 0]
    later = pulled(case, "45x=20%", sets={"horizon.discount_rate": 0.05})
    assert values(later, "credit_share", "usa") == pytest.approx([0.2, 0.2, 0.15])


@pytest.mark.parametrize(
    ("year", "minerals", "anode"),
    [(2030, 1, 0.75), (2031, 0.75, 0.5), (2032, 0.5, 0.25), (2033, 0.25, 0), (2034, 0, 0)],
)
def test_45x_each_year_of_the_statute(case: Case, year: int, minerals: float, anode: float) -> None:
    raw = {**case.raw, "horizon": {**case.raw["horizon"], "years": [2026, year]}}
    settings = case.settings.model_copy(
        update={"horizon": case.settings.horizon.model_copy(update={"years": (2026, year)})}
    )
    new = pulled(case.with_(raw=raw, settings=settings), "45x")
    assert values(new, "credit_share", "usa")[1] == pytest.approx(0.1 * minerals)
    assert values(new, "credit_share", "ano")[1] == pytest.approx(0.1 * anode)


def test_45x_is_paid_by_the_public(case: Case) -> None:
    """Home makes all that it can once China is banned: 40 t at 30 USD, credit 0.1 * 30 * 40 = 120 USD a year, 90 in 2031;
    the recycler 20 t at 5 USD: 10, then 7.5; anode 10 t at 150 USD: 150, then half: 75."""
    plan = optimize(case, Request(levers=parse_levers("45x", "export_ban=CHN")))
    assert plan.status == "optimal" and plan.audit == []
    made = plan.tables["suppliers"].set_index(["supplier", "year"])["produced_t"]
    assert [made[name, 2026] for name in ("usa", "rec", "ano")] == pytest.approx([40, 20, 10])
    public = plan.tables["costs"].groupby("year")["public_usd_per_y"].sum()
    assert public[2026] == pytest.approx(120 + 10 + 150)
    assert public[2031] == pytest.approx(
        0.075 * (30 * made["usa", 2031] + 5 * made["rec", 2031]) + 0.05 * 150 * made["ano", 2031]
    )


def test_grant_offtake_permitting_lumpy(case: Case) -> None:
    new = pulled(case, "grant=30%@2028")
    assert values(new, "grant_share", "usa") == pytest.approx([0, 0.3, 0.3])
    assert values(new, "grant_share", "chn") == [0, 0, 0]
    table = pulled(case, "offtake=7%").suppliers.set_index("supplier")
    assert table.at["usa", "cost_of_capital"] == 0.07
    assert values(pulled(case, "permitting=50%"), "lead_years", "usa")[0] == 2
    table = pulled(case, "lumpy=40%").suppliers.set_index("supplier")
    assert table.at["usa", "open_usd"] == pytest.approx(0.4 * 50 * 60)
    assert table.at["usa", "capex_usd_per_t"] == pytest.approx(0.6 * 50)


def test_a_grant_lowers_cost_by_its_share_of_the_annuity(case: Case) -> None:
    """China banned: 40 t at home, 50 from Peru, 20 recycled (scrap): 110 t for 100. The expansion replaces Peru's 40 USD
    by 20 + annuity. With a grant of 100% its capital is free to the buyer."""
    base = Request(levers=parse_levers("export_ban=CHN"), years=[2026, 2031])
    granted = Request(levers=parse_levers("export_ban=CHN", "grant=100%"), years=[2026, 2031])
    plain, helped = optimize(case, base), optimize(case, granted)
    assert helped.status == "optimal" and helped.audit == []
    built = helped.tables["expansion"]
    assert built["public_usd_per_y"].sum() == pytest.approx(built["usd_per_y"].sum())
    assert plain.objective_usd is not None and helped.objective_usd is not None
    assert helped.objective_usd <= plain.objective_usd + 1e-6


def test_floor_is_paid_by_the_public(case: Case) -> None:
    new = pulled(case, "floor=usa:120@2028-2030")
    assert np.isnan(values(new, "floor_usd_per_t", "usa")[0])
    assert values(new, "floor_usd_per_t", "usa")[1] == 120
    assert values(new, "floor_usd_per_t", "usa")[2] == 0, "0 ends it"
    assert new.suppliers.set_index("supplier").at["usa", "floor_paid_by"] == "public"


@pytest.mark.parametrize(
    ("lever", "duties"),
    [("tariff=CHN:25%", (0.35, 0.35, 0.35)), ("tariff=CHN:25%@2028", (0.1, 0.35, 0.35)),
     ("tariff=rivals+copperish:25%@2028-2030", (0.1, 0.35, 0.1)), ("tariff=chn:25%@2031", (0.1, 0.1, 0.35))],
)  # fmt: skip
def test_tariff_adds_to_the_duty_in_its_years(case: Case, lever: str, duties: tuple[float, ...]) -> None:
    lanes = pulled(case, lever).lanes
    from_china = lanes.origin == case.supplier_position["chn"]
    assert from_china.sum() == 1
    assert lanes.duty_share[from_china][0] == pytest.approx(duties)
    assert (lanes.duty_share[~from_china] == 0).all()


def test_what_a_tariff_costs(case: Case) -> None:
    """No minimum from Peru, no recycling, no stock: China's 100 t at 10 + 10% of 100 = 20 each; 25% more is 45: home's 40 t
    at 30 come first, then China's 60 t at 45 (Peru 40 t at 40 before them)."""
    quiet = {"suppliers[supplier=per].min_t": 0, "suppliers[supplier=rec].capacity_t": 0,
             "suppliers[supplier=usa].max_expansion_t": 0}  # fmt: skip
    base = optimize(case, Request(sets=quiet, years=[2026]))
    dear = optimize(case, Request(sets=quiet, years=[2026], levers=parse_levers("tariff=CHN:25%")))
    anode = 10 * 150
    assert base.objective_usd == pytest.approx(100 * 20 + anode)
    assert dear.objective_usd == pytest.approx(40 * 30 + 50 * 40 + 10 * 45 + anode)
    assert dear.audit == []


def test_quota_and_ban_cut_contracts_and_later_steps(case: Case) -> None:
    new = pulled(case, "quota=CHN:50%@2028")
    assert values(new, "capacity_t", "chn") == [100, 60, 70]
    new = pulled(case, "quota=chn:50%@2028-2030")
    assert values(new, "capacity_t", "chn") == [100, 60, 140]
    new = pulled(case, "export_ban=rivals")
    assert values(new, "capacity_t", "chn") == [0, 0, 0]
    new = pulled(case, "export_ban=PER+copperish@2031")
    assert values(new, "capacity_t", "per") == [50, 50, 0] and values(new, "min_t", "per") == [10, 10, 0]
    new = pulled(case, "export_ban=usa")
    assert new.suppliers.set_index("supplier").at["usa", "max_expansion_t"] == 0


def test_recycling_raises_collection_where_it_is_lower(case: Case) -> None:
    """20 t stand for 40% of what arises: 60% is 30 t."""
    new = pulled(case, "recycling=60%")
    assert new.pools["scrap"][0] == pytest.approx([30, 30, 30])
    assert new.tables["feedstock"]["collection_share"].tolist() == [0.6]
    assert pulled(case, "recycling=30%").pools["scrap"][0] == pytest.approx([20, 20, 20])


def test_research_growth_and_demand(case: Case) -> None:
    assert pulled(case, "research=50%").tables["substitution"]["usd_per_t"].tolist() == [30]
    new = pulled(case, "growth=metal:2%")
    assert new.required["home", "metal", 2031] == pytest.approx(100 * 1.02**6)
    assert new.required["home", "anode", 2031] == 10
    assert pulled(case, "demand=high").required["home", "metal", 2026] == pytest.approx(120)


def test_a_country_joins_or_leaves(case: Case) -> None:
    joined = pulled(case, "join=CHN")
    assert "CHN" in joined.bloc_members("allied", 2026)
    assert joined.suppliers.set_index("supplier").at["chn", "channel"] == "allied"
    dated = pulled(case, "join=CHN@2028")
    assert ["CHN" in dated.bloc_members("allied", year) for year in case.years] == [False, True, True]
    assert dated.suppliers.set_index("supplier").at["chn", "channel"] == "incumbent", "a channel has no date"
    left = pulled(case, "leave=PER")
    assert not any("PER" in left.bloc_members("allied", year) for year in case.years)
    assert left.suppliers.set_index("supplier").at["per", "channel"] == "incumbent"
    late = pulled(case, "leave=PER@2031")
    assert ["PER" in late.bloc_members("allied", year) for year in case.years] == [True, True, False]
    other = pulled(case, "leave=CHN+rivals")
    assert not other.bloc_members("rivals", 2026)


def test_responsible_and_stockpile_are_rules(case: Case) -> None:
    """Certified: Peru alone, so anode has no row; 30% of 100 t is 30 t from there."""
    plan = optimize(case, Request(levers=parse_levers("responsible=30%@2028", "stockpile=73@2028")))
    assert plan.status == "optimal" and plan.audit == []
    rules = plan.tables["rules"].query("rule == 'lever-responsible'")
    assert set(rules["material"]) == {"metal"} and set(rules["year"]) == {2028, 2031}
    flows = plan.tables["flows"].query("origin == 'per' and year == 2028")
    delivered = plan.tables["flows"].query("destination == 'home' and material == 'metal' and year == 2028")["t"].sum()
    assert flows["t"].sum() >= 0.3 * delivered - 1e-6
    stock = plan.tables["stock"].query("year == 2028").set_index("material")["end_t"]
    assert stock["metal"] >= 20 - 1e-6 and stock["anode"] >= 2 - 1e-6, "73 days are a fifth of the year's requirement"


# --- recorded, ordered, refused ------------------------------------------------------------------------------------


def test_each_change_is_recorded_old_and_new(case: Case) -> None:
    new = pulled(case, "recycling=60%", "permitting=50%", "tariff=CHN:25%@2028")
    log = {item.key: (item.old, item.new, item.by) for item in new.changes}
    assert log["feedstock[material=scrap,year=2025].available_t"] == (20, pytest.approx(30), "--lever recycling=60%")
    assert log["suppliers[supplier=usa].lead_years"] == (4, 2, "--lever permitting=50%")
    row = log["lanes[origin=chn,destination=country:USA,material=metal]"]
    assert row[0] is None and row[1]["duty_share"] == pytest.approx(0.35) and row[1]["from_year"] == 2028


def test_a_set_has_the_last_word_and_a_scenario_comes_first(case: Case) -> None:
    new = pulled(case, "permitting=50%", sets={"suppliers[supplier=usa].lead_years": 7})
    assert new.suppliers.set_index("supplier").at["usa", "lead_years"] == 7
    new = pulled(case, "growth=2%", scenarios=["demand_high"])
    assert new.required["home", "metal", 2031] == pytest.approx(120 * 1.02**6)


@pytest.mark.parametrize(
    "levers",
    [("45x", "45x=20%"), ("tariff=CHN:25%", "tariff=CHN:50%@2028"), ("quota=CHN:50%", "export_ban=CHN"),
     ("recycling=60%", "recycling=80%"), ("permitting=50%", "permitting=usa:70%"), ("responsible=10%", "responsible=20%"),
     ("growth=1%", "demand=high"), ("join=CHN", "leave=CHN")],
    ids=" ".join,
)  # fmt: skip
def test_two_levers_on_one_cell_clash(case: Case, levers: tuple[str, ...]) -> None:
    told = problems(case, *levers)
    assert "use one of them" in told or "another rule has" in told
    assert levers[0] in told or levers[1] in told


def test_levers_that_go_together(case: Case) -> None:
    new = pulled(case, "45x", "grant", "offtake", "recycling=60%", "tariff=CHN:25%@2028", "growth=1%", "research")
    assert new.warnings is not None and len(new.changes) >= 10


@pytest.mark.parametrize(
    ("lever", "says"),
    [("45y", "'45x'"), ("recyclin=60%", "'recycling'"), ("tarif=CHN:25%", "'tariff'"), ("nonsense", "known"), ("alliance=BRA", "'join'"),
     ("recycling=many", "number"), ("recycling=160%", "from 0 to 1"), ("grant=-1", "from 0 to 1"), ("tariff=25%", "say whom"),
     ("quota=CHN", "say whom"), ("growth", "number"), ("45x=10%@2030", "takes no year"), ("tariff=CHN:25%@2031-2028", "before"),
     ("tariff=CHN:25%@soon", "write tariff"), ("join", "say whom"), ("floor=usa:lots", "number"), ("demand", "write demand")],
)  # fmt: skip
def test_a_lever_that_cannot_be_read_says_what_is_meant(lever: str, says: str) -> None:
    with pytest.raises(CaseError) as caught:
        parse_lever(lever)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("lever", "says"),
    [("tariff=CHM:25%", "CHM"), ("export_ban=copperis", "'copperish'"), ("tariff=copperish:25%", "from where"),
     ("tariff=KOR:25%", "changes nothing"), ("grant=chn:30%", "changes nothing"), ("demand=hihg", "'high'"),
     ("recycling=graphite:60%", "changes nothing"), ("leave=BRA", "BRA"), ("join=copperish", "copperish"),
     ("responsible=graphite:10%", "changes nothing"), ("floor=usaa:100", "'usa'")],
)  # fmt: skip
def test_a_lever_about_nothing_in_the_case_says_so(case: Case, lever: str, says: str) -> None:
    told = problems(case, lever)
    assert says in told and lever in told


def test_several_wrong_levers_are_told_at_once() -> None:
    with pytest.raises(CaseError) as caught:
        parse_levers("45y", "growth", "grant")
    assert len(caught.value.problems) == 2


# --- the command line and the list ---------------------------------------------------------------------------------


def test_levers_on_the_command_line(oremix: Any, tmp_path: Path, write_case: Any) -> None:
    folder = write_case(TABLES, TOML)
    document = oremix("optimize", folder, "--lever", "45x", "--lever", "recycling=60%", "--json").document
    assert document["status"] == "optimal"
    assert {item["by"] for item in document["changes"]} == {"--lever 45x", "--lever recycling=60%"}
    assert oremix("check", folder, "-l", "permitting", "--json").document["status"] == "ok"
    wrong = oremix("optimize", folder, "--lever", "45y", "--json")
    assert wrong.code == 2 and "'45x'" in wrong.document["errors"][0]["message"]
    assert oremix("optimize", folder, "--lever", "45y").code == 2


def test_an_answer_with_openings_prints_though_its_rules_have_no_price(oremix: Any, write_case: Any) -> None:
    """One lump of capital: integers, so a limit that binds has no price; the answer is printed all the same."""
    shown = oremix(
        "optimize", write_case(TABLES, TOML), "--lever", "lumpy=40%", "--min-allied", "40%", "-q", "-m", "copperish"
    )
    assert shown.code == 0, shown.err
    assert "at the limit" in shown.out


def test_the_list_of_levers(oremix: Any) -> None:
    listed = oremix("levers", "--json").document["levers"]
    assert [row["lever"] for row in listed] == [lever.name for lever in LEVERS] == list(BY_NAME)
    assert all(row["changes"] and row["source"] and row["write"].startswith(row["lever"]) for row in listed)
    assert oremix("levers").code == 0 and "recycling=60%" in oremix("levers").out
    assert "60%" in oremix("levers", "recycling").out
    assert oremix("levers", "recyclng").code == 2


def test_every_lever_of_the_list_can_be_written_as_shown(case: Case) -> None:
    for row in LEVERS:
        parse_lever(f"{row.name}={row.value}" + ("@2028" if row.dated else ""))


def test_the_readme_has_one_row_for_each_lever() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| lever |") :]
    table = table[: table.index("\n\n")]
    assert re.findall(r"^\| `([a-z0-9_]+)", table, flags=re.MULTILINE) == list(BY_NAME)
