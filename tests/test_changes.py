"""--set, scenarios, presets, filters and rules by flag: what they change, what they list, what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.case import Case, load_case
from models.changes import Request, change, parse_set
from models.presets import presets
from models.problems import CaseError

TABLES = {
    "materials": "material,mineral,stage,price_usd_per_t\nlith_ore,lithium,extraction,\nlith,lithium,processing,100\n"
    "nick,nickel,processing,50\nmagnet,magnets,manufacturing,\n",
    "suppliers": "supplier,country,channel,material,input,capacity_t,cost_usd_per_t\n"
    "a,CHN,incumbent,lith,lith_ore,100,10\nb,CHL,allied,lith,,150,12\nm,AUS,allied,lith_ore,,500,3\n"
    "n,IDN,incumbent,nick,,200,7\np,USA,domestic,magnet,nick,80,30\n",
    "supplier_years": "supplier,year,capacity_t,cost_usd_per_t\na,2030,40,\na,2035,60,14\nb,2035,170,\n",
    "demand": "material,year,required_t\nlith,2026,100\nlith,2035,160\nnick,2026,50\nmagnet,2026,20\n",
    "lanes": "origin,destination,material,freight_usd_per_t,duty_share\n*,*,lith,5,\n*,*,nick,6,\ncountry:CHN,*,,,0.1\n",
    "blocs": "bloc,country\ncovered,CHN\n",
}
TOML = """\
[horizon]
years = [2026, 2030, 2035]
discount_rate = 0.1
[market]
home = "USA"
[[rules]]
name = "cap"
kind = "each_share"
each = "country"
mineral = "lithium"
max = 0.9
[[rules]]
name = "nickel_only"
kind = "share"
mineral = "nickel"
where = { country = "IDN" }
max = 1.0
[[rules]]
name = "spread"
kind = "hhi"
max = 1.0
[[rules]]
name = "early"
kind = "hhi"
max = 0.99
to_year = 2027
[scenarios.half]
set = { "rules.cap.max" = 0.5 }
[scenarios.tight]
set = { "rules.cap.max*" = 0.4 }
[scenarios.dear]
[[scenarios.dear.change]]
table = "suppliers"
where = { country = "CHN" }
scale = { cost_usd_per_t = 2 }
[scenarios.dearer]
[[scenarios.dearer.change]]
table = "suppliers"
where = { material = "lith", channel = ["incumbent", "allied"] }
add = { cost_usd_per_t = 5 }
[scenarios.both]
use = ["half", "dear"]
[scenarios.clash]
use = ["half", "tight"]
[scenarios.clash_of_cells]
use = ["dear", "dearer"]
[scenarios.over_half]
use = ["half"]
set = { "rules.cap.max" = 0.7 }
[scenarios.over_over_half]
use = ["over_half"]
[scenarios.diamond]
use = ["both", "half"]
[scenarios.ring]
use = "ring_back"
[scenarios.ring_back]
use = "ring"
[scenarios.missing]
[[scenarios.missing.change]]
table = "suppliers"
where = { country = "PER" }
set = { capacity_t = 0 }
"""


@pytest.fixture
def case(write_case: Callable[..., Path]) -> Case:
    return load_case(write_case(TABLES, TOML))


def sets(*texts: str) -> Request:
    """--set TEXT --set TEXT ... as the command line reads them."""
    from optimizer.options import request_of

    return request_of(None, None, None, list(texts), None, False, [])


def by_year(case: Case, supplier: str, column: str) -> list[float]:
    return list(case.by_year(column)[case.supplier_position[supplier]])


def limit(case: Case, rule: str) -> float:
    return float(next(found.max for found in case.rules if found.name == rule))


def refused(case: Case, request: Request, *words: str) -> None:
    """The request is wrong input, and the message has the words."""
    with pytest.raises(CaseError) as error:
        change(case, request)
    assert all(word in str(error.value) for word in words), str(error.value)


# --set


@pytest.mark.parametrize(
    ("text", "max_share"),
    [("rules.cap.max=0.5", 0.5), ("rules.cap.max=50%", 0.5), ("rules.cap.max*=0.5", 0.45), ("rules.cap.max+=-0.2", 0.7),
     ("rules.cap.max = 0.5", 0.5)],
)  # fmt: skip
def test_set_on_a_rule(text: str, max_share: float, case: Case) -> None:
    changed = change(case, sets(text))
    assert limit(changed, "cap") == pytest.approx(max_share)
    assert limit(case, "cap") == 0.9, "the case itself stays as it is"
    (logged,) = changed.changes
    assert (logged.key, logged.old, logged.new) == ("rules.cap.max", 0.9, pytest.approx(max_share))


def test_set_switches_a_rule_off(case: Case) -> None:
    assert "cap" not in [rule.name for rule in change(case, sets("rules.cap.enabled=false")).rules]


@pytest.mark.parametrize(
    ("text", "read"),
    [("solve.seconds=7", lambda case: case.settings.solve.seconds == 7), ("solve.gap=1e-3", lambda case: case.settings.solve.gap == 1e-3),
     ("horizon.discount_rate=20%", lambda case: case.settings.horizon.discount_rate == 0.2),
     ("horizon.discount_rate+=0.1", lambda case: case.settings.horizon.discount_rate == 0.2),
     ("network.lanes=listed", lambda case: case.settings.network.lanes == "listed")],
)  # fmt: skip
def test_set_on_a_setting(text: str, read: Callable[[Case], bool], case: Case) -> None:
    assert read(change(case, sets(text)))


@pytest.mark.parametrize(
    ("text", "capacity"),
    [("suppliers[supplier=a].capacity_t=70", [70, 70, 70]), ("suppliers[supplier=a].capacity_t*=0.5", [50, 20, 30]),
     ("suppliers[supplier=a].capacity_t+=10", [110, 50, 70])],
)  # fmt: skip
def test_a_change_of_capacity_goes_on_in_supplier_years(text: str, capacity: list[float], case: Case) -> None:
    changed = change(case, sets(text))
    assert by_year(changed, "a", "capacity_t") == pytest.approx(capacity)
    assert by_year(changed, "a", "cost_usd_per_t") == [10, 10, 14], "the other columns stay"
    assert by_year(changed, "b", "capacity_t") == [150, 150, 170], "the other suppliers stay"


def test_a_cell_of_supplier_years_is_set_by_itself(case: Case) -> None:
    changed = change(case, sets("supplier_years[supplier=a,year=2030].capacity_t=45"))
    assert by_year(changed, "a", "capacity_t") == [100, 45, 60]


@pytest.mark.parametrize(
    ("text", "touched"),
    [("suppliers.capacity_t*=2", "abmnp"), ("suppliers[channel=allied].capacity_t*=2", "bm"), ("suppliers[channel=allied,material=lith].capacity_t*=2", "b"),
     ("suppliers[mineral=lithium].capacity_t*=2", "abm"), ("suppliers[mineral=lithium,stage=processing].capacity_t*=2", "ab"),
     ("suppliers[controller=CHN].capacity_t*=2", "a"), ("suppliers[cost_usd_per_t=7].capacity_t*=2", "n")],
)  # fmt: skip
def test_where_picks_the_rows_in_which_everything_holds(text: str, touched: str, case: Case) -> None:
    changed = change(case, sets(text))
    before, after = (
        dict(zip(c.suppliers["supplier"], c.suppliers["capacity_t"], strict=True)) for c in (case, changed)
    )
    assert {name for name in before if after[name] == 2 * before[name]} == set(touched)
    assert {name for name in before if after[name] == before[name]} == set("abmnp") - set(touched)


def test_mineral_and_stage_select_in_lanes_and_demand(case: Case) -> None:
    changed = change(case, sets("lanes[mineral=nickel].freight_usd_per_t=60", "demand[mineral=lithium,year=2035].required_t+=1",
                                "demand[stage=manufacturing].required_t*=2"))  # fmt: skip
    assert list(changed.tables["lanes"]["freight_usd_per_t"].iloc[:2]) == [5, 60]
    assert list(changed.tables["demand"]["required_t"]) == [100, 161, 50, 40]


def test_several_sets_are_applied_from_left_to_right(case: Case) -> None:
    changed = change(
        case,
        sets(
            "suppliers[supplier=n].capacity_t=100",
            "suppliers[supplier=n].capacity_t*=3",
            "suppliers[supplier=n].capacity_t+=1",
        ),
    )
    assert by_year(changed, "n", "capacity_t") == [301] * 3


@pytest.mark.parametrize(
    ("texts", "capacity"),
    [(("=100", "*=3", "=50"), 50), (("*=2", "*=3"), 1200), (("+=1", "+=2"), 203)],
    ids=["a later value wins", "two factors multiply", "two sums add up"],
)  # fmt: skip
def test_one_key_set_several_times(texts: tuple[str, ...], capacity: float, case: Case) -> None:
    changed = change(case, sets(*(f"suppliers[supplier=n].capacity_t{text}" for text in texts)))
    assert by_year(changed, "n", "capacity_t")[0] == pytest.approx(capacity)


@pytest.mark.parametrize(
    ("text", "words"),
    [("rules.cup.max=0.5", ("no such rule", "'cap'")), ("rules.cap.maxx=0.5", ("maxx", "'max'")), ("rules.cap.max=1.5", ("rules.cap.max", "1.5")),
     ("rules.cap.max=half", ("rules.cap.max", "half")), ("rules.cap.min*=2", ("rules.cap.min",)), ("rules.cap=0.5", ("rules.cap",)),
     ("suppliers[supplier=z].capacity_t=1", ("no row", "supplier=z")), ("suppliers[supplier=a,country=CHL].capacity_t=1", ("no row",)),
     ("suppliers[supplir=a].capacity_t=1", ("supplir", "'supplier'")), ("suppliers[a].capacity_t=1", ("column=value",)),
     ("suppliers[supplier=a].capacity=1", ("capacity", "'capacity_t'")), ("supplier.capacity_t=1", ("no such table", "'suppliers'")),
     ("suppliers[supplier=a].capacity_t=many", ("many",)), ("suppliers[supplier=a].capacity_t=-1", ("0 or more",)), ("suppliers[supplier=a].capacity_t*=-1", ("0 or more",)),
     ("suppliers[supplier=a].capacity_t=nan", ("capacity_t",)), ("suppliers[supplier=a].capacity_t=inf", ("capacity_t",)), ("suppliers[supplier=a].capacity_t*=1e300", ("1e12",)),
     ("suppliers[supplier=a].capacity_t=", ("capacity_t",)), ("suppliers[supplier=a].channel=friendly", ("channel",)), ("suppliers[supplier=a].channel*=2", ("number",)),
     ("suppliers[supplier=a].country=CHX", ("country",)), ("suppliers[supplier=b].capacity_t+=-160", ("capacity_t",)), ("supplier_years[year=soon].capacity_t=1", ("number",)),
     ("suppliers[supplier=a].supplier=z", ("supplier",)), ("solve.second=1", ("solve.seconds",)), ("solve.seconds=-1", ("solve.seconds",)), ("horizon.discount_rate=nan", ("discount_rate",)),
     ("blocs[mineral=lithium].from_year=2030", ("mineral",)), ("suppliers[supplier=a].min_t=101", ("min_t", "capacity_t"))],
    ids=lambda part: part if isinstance(part, str) else "",
)  # fmt: skip
def test_a_set_that_cannot_be_is_wrong_input(text: str, words: tuple[str, ...], case: Case) -> None:
    refused(case, sets(text), *words)


def test_a_step_in_supplier_years_may_not_become_negative(case: Case) -> None:
    """a: 100 t, 40 t from 2030: 50 t less leaves -10 t in 2030."""
    refused(case, sets("suppliers[supplier=a].capacity_t+=-50"), "supplier_years", "-10")


def test_a_change_that_changes_nothing_is_not_silent(case: Case) -> None:
    """The freight of the row is blank: there is nothing to multiply, and that is an error or at least warned of."""
    try:
        changed = change(case, sets("lanes[origin=country:CHN].freight_usd_per_t*=2"))
    except CaseError:
        return
    assert any("freight_usd_per_t" in warning for warning in changed.warnings)


@pytest.mark.parametrize("text", ["nonsense", "=3", "rules.cap.max", ""])
def test_a_set_without_a_key_or_a_value_is_wrong_input(text: str) -> None:
    with pytest.raises(CaseError):
        parse_set(text)


def test_every_changed_cell_is_logged_old_to_new(case: Case) -> None:
    changed = change(case, sets("suppliers[channel=allied].cost_usd_per_t*=2"))
    assert [(c.key, c.old, c.new, c.by) for c in changed.changes] == [
        ("suppliers[supplier=b].cost_usd_per_t", 12, 24, "--set"), ("suppliers[supplier=m].cost_usd_per_t", 3, 6, "--set"),
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "steps"), [("*=0.5", [(40, 20), (60, 30)]), ("=70", [(40, None), (60, None)])])
def test_what_changes_in_supplier_years_is_logged_too(text: str, steps: list[Any], case: Case) -> None:
    changed = change(case, sets(f"suppliers[supplier=a].capacity_t{text}"))
    assert [(c.old, c.new) for c in changed.changes if "supplier_years" in c.key] == steps


# Scenarios


def test_a_scenario_scales_and_goes_on_in_supplier_years(case: Case) -> None:
    changed = change(case, Request(scenarios=["dear"]))
    assert by_year(changed, "a", "cost_usd_per_t") == [20, 20, 28]
    assert {(c.old, c.new, c.by) for c in changed.changes if c.key.startswith("suppliers[")} == {
        (10, 20, "scenario dear")
    }


def test_where_takes_a_list(case: Case) -> None:
    changed = change(case, Request(scenarios=["dearer"]))
    assert by_year(changed, "a", "cost_usd_per_t") == [15, 15, 19] and by_year(changed, "b", "cost_usd_per_t")[0] == 17
    assert by_year(changed, "n", "cost_usd_per_t")[0] == 7


def test_use_combines_scenarios(case: Case) -> None:
    changed = change(case, Request(scenarios=["both"]))
    assert limit(changed, "cap") == 0.5 and by_year(changed, "a", "cost_usd_per_t")[0] == 20


@pytest.mark.parametrize(
    ("name", "words"),
    [("clash", ("half", "tight", "rules.cap.max")), ("clash_of_cells", ("dear", "dearer", "cost_usd_per_t", "supplier=a"))],
)  # fmt: skip
def test_scenarios_that_are_used_together_and_set_one_cell_clash(name: str, words: tuple[str, ...], case: Case) -> None:
    refused(case, Request(scenarios=[name]), *words)


def test_a_scenario_may_change_what_it_uses(case: Case) -> None:
    assert limit(change(case, Request(scenarios=["over_half"])), "cap") == 0.7


def test_using_a_scenario_is_the_same_as_naming_it(case: Case) -> None:
    """over_over_half only uses over_half, which holds by itself."""
    assert limit(change(case, Request(scenarios=["over_over_half"])), "cap") == 0.7


def test_what_is_used_twice_is_applied_once(case: Case) -> None:
    changed = change(case, Request(scenarios=["diamond"]))
    assert limit(changed, "cap") == 0.5 and by_year(changed, "a", "cost_usd_per_t")[0] == 20


@pytest.mark.parametrize(
    ("names", "max_share"), [(("half", "over_half"), 0.7), (("over_half", "half"), 0.5), (("half", "tight"), 0.2)]
)
def test_a_later_scenario_wins(names: tuple[str, ...], max_share: float, case: Case) -> None:
    assert limit(change(case, Request(scenarios=names)), "cap") == pytest.approx(max_share)


def test_set_wins_over_a_scenario(case: Case) -> None:
    changed = change(
        case,
        Request(scenarios=["half", "dear"], sets={"rules.cap.max": 0.8, "suppliers[supplier=a].cost_usd_per_t+": 1}),
    )
    assert limit(changed, "cap") == 0.8 and by_year(changed, "a", "cost_usd_per_t")[0] == 21
    assert [(c.old, c.new, c.by) for c in changed.changes if c.key == "rules.cap.max"] == [
        (0.9, 0.5, "scenario half"),
        (0.5, 0.8, "--set"),
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ring", ("ring", "ring_back")),
        ("missing", ("missing", "no row", "PER")),
        ("hafl", ("no such scenario", "'half'")),
    ],
)
def test_a_scenario_that_cannot_be_is_wrong_input(name: str, words: tuple[str, ...], case: Case) -> None:
    refused(case, Request(scenarios=[name]), *words)


def test_several_wrong_requests_are_named_at_once(case: Case) -> None:
    refused(
        case,
        Request(scenarios=["missing", "hafl"], sets={"rules.cup.max": 1, "suppliers.capacity": 1}),
        "PER",
        "'half'",
        "'cap'",
        "'capacity_t'",
    )


# Presets


@pytest.fixture(scope="module")
def bundled() -> dict[str, Case]:
    return {name: load_case(name) for name in ("small", "us")}


def listed(case: Case) -> set[str]:
    """Rules that the change log has, applied or left out."""
    return {c.key.removeprefix("rules.") for c in case.changes if c.key.startswith("rules.")}


@pytest.mark.parametrize("name", presets())
def test_every_preset_applies_to_us(name: str, bundled: dict[str, Case]) -> None:
    changed = change(bundled["us"], Request(scenarios=[name]))
    named = {rule["name"] for step in (name, *presets()[name].use) for rule in presets()[step].rules}
    assert named <= listed(changed), "each rule is there or listed as left out"
    applied = {rule.name for rule in changed.rules}
    for rule in named - applied:
        assert any(c.key == f"rules.{rule}" and c.new is None for c in changed.changes)


@pytest.mark.parametrize("name", presets())
def test_every_preset_applies_to_small_or_says_what_is_missing(name: str, bundled: dict[str, Case]) -> None:
    """Rules for minerals that are not there are left out and listed; a change that matches no row is an error."""
    if not presets()[name].change:
        changed = change(bundled["small"], Request(scenarios=[name]))
        assert {rule["name"] for rule in presets()[name].rules} <= listed(changed)
        return
    try:
        change(bundled["small"], Request(scenarios=[name]))
    except CaseError as error:
        assert all("no row of" in problem.message for problem in error.problems)


@pytest.mark.parametrize(
    ("name", "kept"),
    [("crma", {"crma_extraction", "crma_processing", "crma_recycling", "crma_single_extraction", "crma_single_processing", "crma_single_delivered"}),
     ("china_export_ban", set()), ("eu_battery_recycled", set()), ("us_4872_now", set()), ("single_country_50", {"single_country_50_delivered", "single_country_50_processing"})],
)  # fmt: skip
def test_preset_rules_that_small_has_nothing_for_are_left_out(
    name: str, kept: set[str], bundled: dict[str, Case]
) -> None:
    """small: lithium only, 2030 only; the battery rules begin in 2032. No supplier of spodumene in the USA: min 10% of
    extraction keeps its row and allows nothing, unless nothing at all is selected."""
    changed = change(bundled["small"], Request(scenarios=[name]))
    found = {rule.name for rule in changed.rules} - {"one_country"}
    assert found <= kept and (kept - found) <= {"crma_extraction"}
    for left in {rule["name"] for rule in presets()[name].rules} - found:
        assert any(c.key == f"rules.{left}" and c.new is None for c in changed.changes)


@pytest.mark.parametrize(
    "names",
    [("feoc", "feoc_every_stage"), ("crma", "crma"), ("single_country_50", "us_diversification", "uk_2035")],
    ids=" ".join,
)
def test_presets_go_together(names: tuple[str, ...], bundled: dict[str, Case]) -> None:
    """A later one wins; only what ``use`` combines can clash."""
    changed = change(bundled["us"], Request(scenarios=names))
    assert len({rule.name for rule in changed.rules}) == len(changed.rules)


def test_a_preset_is_an_option_of_the_command_line(oremix: Any) -> None:
    document = oremix("optimize", "small", "--scenario", "china_export_ban", "--json").document
    assert document["objective_usd"] == pytest.approx(13_100_000)
    assert [c["key"] for c in document["changes"] if c["new"] is None] == ["rules.china_export_ban_metals"]


# A part of the case


def test_mineral_keeps_what_it_consumes_upstream(case: Case) -> None:
    part = change(case, Request(minerals=["magnets"]))
    assert set(part.suppliers["supplier"]) == {"p", "n"}
    assert set(part.tables["demand"]["material"]) == {"magnet"}
    assert set(part.tables["materials"]["material"]) == {"magnet", "nick"}
    assert "lith" not in set(part.tables["lanes"]["material"])
    assert part.tables["supplier_years"].empty


def test_mineral_drops_rules_about_others_and_lists_them(case: Case) -> None:
    """Nickel is only a part of magnets here and no longer delivered, so a rule on its delivery is idle too."""
    part = change(case, Request(minerals=["magnets"]))
    assert {rule.name for rule in part.rules} == {"spread", "early"}
    assert {c.key for c in part.changes if c.key.startswith("rules.") and c.new is None} == {
        "rules.cap",
        "rules.nickel_only",
    }


def test_mineral_keeps_both_that_are_named(case: Case) -> None:
    part = change(case, Request(minerals=["magnets", "nickel"]))
    assert set(part.tables["demand"]["material"]) == {"magnet", "nick"}
    assert {rule.name for rule in part.rules} == {"nickel_only", "spread", "early"}


def test_mineral_goes_with_scenarios_and_sets_about_others(case: Case) -> None:
    part = change(case, Request(scenarios=["both"], sets={"rules.cap.max": 0.8}, minerals=["nickel"]))
    assert set(part.suppliers["supplier"]) == {"n"} and {rule.name for rule in part.rules} == {
        "nickel_only",
        "spread",
        "early",
    }


@pytest.mark.parametrize(
    ("years", "spans"),
    [((2026, 2030, 2035), ((0, 4), (4, 9), (9, 14))), ((2026, 2030), ((0, 4), (4, 8))), ((2026, 2035), ((0, 9), (9, 18))), ((2030,), ((0, 1),)),
     ((2035, 2030), ((0, 5), (5, 10)))],
)  # fmt: skip
def test_years_weigh_as_if_they_were_the_horizon(years: tuple[int, ...], spans: Any, case: Case) -> None:
    """A year stands for the years up to the next one kept, the last for as many as the one before it (1 if alone)."""
    part = change(case, Request(years=years))
    assert part.years == tuple(sorted(years))
    assert list(part.weights) == pytest.approx([sum(1.1**-t for t in range(first, last)) for first, last in spans])


def test_year_drops_rules_that_are_not_in_force_and_lists_them(case: Case) -> None:
    part = change(case, Request(years=[2035]))
    assert {rule.name for rule in part.rules} == {"cap", "nickel_only", "spread"}
    assert [c.key for c in part.changes if c.new is None] == ["rules.early"]


def test_year_interpolates_over_the_whole_series(case: Case) -> None:
    """Lithium: 100 t in 2026, 160 t in 2035; four of nine years on, 126.67 t in 2030."""
    part = change(case, Request(years=[2030]))
    assert part.required["home", "lith", 2030] == pytest.approx(100 + 60 * 4 / 9)
    assert by_year(part, "a", "capacity_t") == [40]


def test_no_rules_drops_the_case_s_own_and_lists_them(case: Case) -> None:
    free = change(case, Request(no_rules=True))
    assert free.rules == () and {c.key for c in free.changes} == {
        "rules.cap",
        "rules.nickel_only",
        "rules.spread",
        "rules.early",
    }


def test_no_rules_keeps_those_of_presets_and_flags(case: Case) -> None:
    from optimizer.options import flag_rules

    free = change(
        case,
        Request(no_rules=True, scenarios=["single_country_50"], rules=flag_rules("delivered", {"max-hhi": "0.8"}, [])),
    )
    assert {rule.name for rule in free.rules} == {
        "single_country_50_delivered",
        "single_country_50_processing",
        "max-hhi",
    }


def test_demand_scale_multiplies_every_requirement(case: Case) -> None:
    scaled = change(case, Request(demand_scale=1.5))
    assert list(scaled.tables["demand"]["required_t"]) == [150, 240, 75, 30]
    assert {(c.old, c.new) for c in scaled.changes} == {(100, 150), (160, 240), (50, 75), (20, 30)}


# Rules by flag, on the small case. By hand, USD per tonne delivered: recycled 9,500 (200 t), Chile 13,000 (500 t),
# China 15,000 (1000 t), the US refinery 17,000 (400 t); 1000 t are required. Its own rule: no foreign country above 40%.


@pytest.mark.parametrize(
    ("arguments", "usd"),
    [
        ((), 13_100_000), (("--no-rules",), 12_900_000),
        (("--max-country", "30%"), 13_700_000), (("--max-country", "0.3"), 13_700_000), (("--no-rules", "--max-country", "30%"), 13_700_000),
        (("--no-rules", "--min-domestic", "20%"), 13_300_000), (("--no-rules", "--min-domestic", "0.2"), 13_300_000),
        (("--no-rules", "--min-allied", "50%"), 12_900_000), (("--min-recycled", "20%"), 13_100_000),
        (("--no-rules", "--max-incumbent", "0"), 13_500_000), (("--no-rules", "--ban", "covered"), 13_500_000),
        (("--no-rules", "--max-supplier", "35%"), 13_400_000),
        (("--demand-scale", "0.5"), 6_000_000), (("--scenario", "export_ban"), 13_900_000),
        (("--scenario", "export_ban", "--set", "suppliers[supplier=chn_refinery].capacity_t=1000"), 13_100_000),
        (("--set", "rules.one_country.max=30%"), 13_700_000), (("--set", "rules.one_country.enabled=false"), 12_900_000),
        (("--set", "suppliers[country=CHN].cost_usd_per_t+=1000"), 13_500_000), (("--set", "lanes[origin=country:CHN].duty_share=0"), 11_100_000),
        (("--set", "feedstock.available_t*=0"), 14_600_000),
    ],
    ids=lambda part: " ".join(part) or "as it is" if isinstance(part, tuple) else "",
)  # fmt: skip
def test_what_it_costs_by_hand(arguments: tuple[str, ...], usd: float, oremix: Any) -> None:
    done = oremix("optimize", "small", *arguments, "--json")
    assert done.code == 0, done.out[:400]
    assert done.document["objective_usd"] == pytest.approx(usd, rel=1e-6)


@pytest.mark.parametrize(
    ("flag", "value", "kind", "bound", "rows"),
    [("min-domestic", "1%", "share", "min", 1), ("min-allied", "1%", "share", "min", 1), ("min-recycled", "1%", "share", "min", 1),
     ("max-incumbent", "90%", "share", "max", 1), ("max-country", "90%", "each_share", "max", 2), ("max-supplier", "90%", "each_share", "max", 4),
     ("max-hhi", "0.9", "hhi", "max", 1), ("ban", "covered", "ban", "max", 1)],
)  # fmt: skip
def test_rules_by_flag_are_named_like_the_flag(
    flag: str, value: str, kind: str, bound: str, rows: int, oremix: Any
) -> None:
    """Two foreign countries and four suppliers can deliver; home is not capped."""
    document = oremix("optimize", "small", "--no-rules", f"--{flag}", value, "--json").document
    found = document["rules"]
    assert {(row["rule"], row["kind"], row["bound"], row["stage"]) for row in found} == {
        (flag, kind, bound, "delivered")
    }
    assert len(found) == rows
    assert any(c["key"] == f"rules.{flag}" for c in document["changes"])


def test_rules_by_flag_hold_at_the_stage_asked_for(oremix: Any) -> None:
    document = oremix(
        "optimize", "small", "--no-rules", "--max-country", "90%", "--stage", "processing", "--json"
    ).document
    assert {row["stage"] for row in document["rules"]} == {"processing"}


def test_a_rule_of_the_case_named_like_a_flag_clashes(write_case: Callable[..., Path], oremix: Any) -> None:
    case = write_case(TABLES, TOML.replace('"cap"', '"max-country"').replace("rules.cap", "rules.max-country"))
    done = oremix("optimize", case, "--max-country", "50%", "--json")
    assert done.code == 2 and "max-country" in done.out
    assert oremix("optimize", case, "--max-supplier", "100%", "--set", "rules.early.enabled=false", "--json").code == 0
    assert oremix("optimize", case, "--max-country", "100%", "--no-rules", "--json").code == 0


def test_bans_add_up(write_case: Callable[..., Path], oremix: Any) -> None:
    case = write_case({**TABLES, "blocs": "bloc,country\ncovered,CHN\nfar,AUS\n"}, TOML)
    done = oremix("optimize", case, "--no-rules", "--ban", "covered", "--ban", "far", "--demand-scale", "0.5", "--json")
    assert done.code == 0
    assert all(row["produced_t"] == 0 for row in done.document["suppliers"] if row["supplier"] == "a")


def test_check_names_scenarios_that_cannot_be(write_case: Callable[..., Path], oremix: Any) -> None:
    done = oremix("check", write_case(TABLES, TOML), "--json")
    assert done.code == 2
    text = str(done.document["errors"])
    assert all(
        name in text for name in ("scenarios.clash", "scenarios.clash_of_cells", "scenarios.ring", "scenarios.missing")
    )
    assert "scenarios.half" not in text and "scenarios.both'" not in text
