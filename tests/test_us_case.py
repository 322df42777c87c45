"""The bundled US case: the tables follow from the facts, and today's picture agrees with the published one."""

from __future__ import annotations

import csv
import re
import statistics
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from data.us.derive import derive
from models.case import load_case
from models.changes import Request, change
from models.presets import presets

US = Path(__file__).resolve().parents[1] / "data" / "us"
FACTS, TABLES = US / "facts", US / "tables"
Row = dict[str, str]


def rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


MATERIALS = {r["material"]: r for r in rows(TABLES / "materials.csv")}
SUPPLIERS = rows(TABLES / "suppliers.csv")


def test_derivation_reproduces_the_tables(tmp_path: Path) -> None:
    derive(FACTS, tmp_path)
    made = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert made == {p.name: p.read_bytes() for p in TABLES.iterdir()}


def test_every_fact_cites_a_known_source() -> None:
    known = {r["id"] for name in ("sources", "policy_sources") for r in rows(FACTS / f"{name}.csv")}
    for path in sorted(FACTS.glob("*.csv")):
        for line, row in enumerate(rows(path), start=2):
            if "source" in row:
                cited = row["source"].split()
                assert cited, f"{path.name}:{line}: no source"
                assert set(cited) <= known, f"{path.name}:{line}: {row['source']!r}"
                assert row["how"] in ("read", "computed", "assumption"), f"{path.name}:{line}: how {row['how']!r}"


def test_every_assumption_has_a_range_and_a_reason() -> None:
    for row in rows(FACTS / "assumptions.csv"):
        low, value, high = (float(row[c]) for c in ("low", "value", "high"))
        assert low <= value <= high, row["name"]
        assert row["reason"], row["name"]


def test_every_supplier_says_where_its_cost_comes_from() -> None:
    assert 250 <= len(SUPPLIERS) <= 450
    for row in SUPPLIERS:
        assert row["cost_basis"] in ("published", "price", "premium", "assumption"), row["supplier"]
        assert float(row["cost_usd_per_t"]) > 0, row["supplier"]
        assert row["source"], row["supplier"]


def selected(table: list[Row], where: str) -> list[Row]:
    """Rows that a KEY of --set selects: col=value pairs; mineral and stage are those of the material."""
    keep = table
    for pair in where.split(","):
        column, value = pair.split("=")
        if column in ("mineral", "stage"):
            keep = [r for r in keep if MATERIALS[r["material"]][column] == value]
        else:
            keep = [r for r in keep if r[column] == value]
    return keep


def test_every_key_of_the_assumptions_matches_rows() -> None:
    for row in rows(TABLES / "assumptions.csv"):
        key = re.fullmatch(r"([a-z_]+)\[(.+)\]\.([a-z_]+)\*", row["key"])
        assert key, row["key"]
        table = rows(TABLES / f"{key[1]}.csv")
        assert key[3] in table[0], row["key"]
        assert selected(table, key[2]), row["key"]


def delivered_today(material: str) -> tuple[float, dict[str, float]]:
    """Requirement, and tonnes by country left for the market once each country has fed its own users."""
    required = sum(
        float(r["required_t"]) for r in rows(TABLES / "demand.csv") if r["material"] == material and r["year"] == "2025"
    )
    left: dict[str, float] = defaultdict(float)
    for s in SUPPLIERS:
        if s["material"] == material:
            left[s["country"]] += float(s["incumbent_t"])
        if s["input"] == material:
            left[s["country"]] -= float(s["incumbent_t"]) / float(s["recovery"])
    return required, left


# mineral -> delivered materials that USGS weighs together
COMPARED = {
    "lithium": ["lithium_chemicals"], "cobalt": ["cobalt_refined"], "nickel": ["nickel_refined"],
    "graphite": ["graphite_flake"], "manganese": ["manganese_ore", "manganese_alloys"],
    "gallium": ["gallium_refined"], "germanium": ["germanium_refined"], "rare_earths": ["ndpr_oxide"],
    "tungsten": ["tungsten_apt"], "antimony": ["antimony_refined"], "titanium": ["titanium_sponge"],
    "platinum": ["platinum_refined"], "palladium": ["palladium_refined"], "tin": ["tin_refined"],
    "vanadium": ["vanadium_refined"], "alumina": ["alumina"], "zinc": ["zinc_refined"],
}  # fmt: skip
LEADING = {
    "lithium": "CHL",
    "cobalt": "NOR",
    "nickel": "CAN",
    "graphite": "CHN",
    "manganese": "GAB",
    "gallium": "CAN",
    "germanium": "BEL",
    "rare_earths": "CHN",
    "tungsten": "CHN",
    "antimony": "CHN",
    "titanium": "JPN",
    "platinum": "ZAF",
    "palladium": "ZAF",
    "tin": "PER",
    "vanadium": "CAN",
    "alumina": "BRA",
    "zinc": "CAN",
}  # fmt: skip  USGS Mineral Commodity Summaries 2026, import sources 2021-24


@pytest.mark.parametrize("mineral", COMPARED)
def test_today_agrees_with_net_import_reliance(mineral: str) -> None:
    published = [r for r in rows(FACTS / "us_balance.csv") if r["mineral"] == mineral and r["item"].startswith("nir")]
    required, home = 0.0, 0.0
    for material in COMPARED[mineral]:
        need, left = delivered_today(material)
        required, home = required + need, home + max(left["USA"], 0.0)
    reliance = 100 * (1 - home / required)
    want = float(published[0]["value"])
    if published[0]["item"] == "nir_above":
        assert reliance >= want
    else:
        assert abs(reliance - want) <= 5


def test_today_has_the_published_leading_import_source() -> None:
    hits = 0
    for mineral, country in LEADING.items():
        foreign: dict[str, float] = defaultdict(float)
        for material in COMPARED[mineral]:
            for origin, t in delivered_today(material)[1].items():
                foreign[origin] += t if origin != "USA" else 0.0
        hits += max(foreign, key=lambda c: foreign[c]) == country
    assert hits >= 12


def test_every_scenario_applies() -> None:
    case = load_case("us")
    for name in case.raw["scenarios"]:
        assert change(case, Request(scenarios=[name])).changes, name


def test_shortage_prices_of_the_scenarios_follow_the_assumption() -> None:
    assumed = {r["name"]: r["value"] for r in rows(FACTS / "assumptions.csv")}
    scenarios = tomllib.loads((US / "case.toml").read_text(encoding="utf-8"))["scenarios"]
    seen = 0
    for scenario in scenarios.values():
        for step in scenario.get("change", []):
            if price := step.get("set", {}).get("shortage_usd_per_t"):
                defence = step["where"].get("market") == "defence"
                multiple = float(assumed["shortage.multiple.defence" if defence else "shortage.multiple"])
                reference = float(MATERIALS[step["where"]["material"]]["price_usd_per_t"])
                assert price == pytest.approx(multiple * reference, rel=1e-3)
                seen += 1
    assert seen


def test_the_scenario_of_late_projects_moves_every_project() -> None:
    scenarios = tomllib.loads((US / "case.toml").read_text(encoding="utf-8"))["scenarios"]
    built, undecided = (set(step["where"]["supplier"]) for step in scenarios["projects_late"]["change"])
    assert built == {s["supplier"] for s in SUPPLIERS if s["from_year"]}
    assert undecided == {s["supplier"] for s in SUPPLIERS if s["max_expansion_t"] and float(s["capacity_t"]) == 0}


def assumed() -> dict[str, float]:
    return {r["name"]: float(r["value"]) for r in rows(FACTS / "assumptions.csv")}


def test_contingency_is_the_median_of_published_overruns() -> None:
    ratios = [float(r["after"]) / float(r["before"]) for r in rows(FACTS / "overruns.csv")]
    assert len(ratios) >= 7
    assert round(statistics.median(ratios), 1) == assumed()["contingency.proposed"]
    assert assumed()["contingency.permitted"] <= assumed()["contingency.proposed"]


def test_every_undecided_project_pays_its_capital_and_waits() -> None:
    """Capital as published (or assumed) times the contingency; lead time at least that of its kind of plant."""
    named = {r["supplier"]: r for r in rows(FACTS / "projects.csv")}
    lead = {r["kind"]: r for r in rows(FACTS / "lead_times.csv")}
    for row in lead.values():
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"]), row["kind"]
    grows = [s for s in SUPPLIERS if s["max_expansion_t"]]
    for s in grows:
        fact = named[s["supplier"]]
        assert float(s["lead_years"]) >= float(lead[fact["kind"]]["value"]), s["supplier"]
        assert float(s["max_expansion_t"]) <= float(fact["value"]) * float(fact["to_t"]) * (1 + 1e-4), s["supplier"]
        assert 0 < float(s["cost_of_capital"]) < 0.2 and float(s["life_years"]) >= 15
        if fact["capex_musd"] and fact["status"] in ("permitted", "proposed", "suspended"):
            published = float(fact["capex_musd"]) * 1e6 / (float(fact["value"]) * float(fact["to_t"]))
            contingency = assumed()[f"contingency.{fact['status']}"]
            assert float(s["capex_usd_per_t"]) == pytest.approx(published * contingency, rel=1e-4), s["supplier"]
    undecided = {
        r["supplier"] for r in named.values() if r["status"] in ("permitted", "proposed", "suspended") and r["kind"]
    }
    assert undecided <= {s["supplier"] for s in grows}, "no undecided project comes free"


def test_byproducts_follow_their_hosts() -> None:
    """Gallium with alumina, germanium with zinc, cobalt with nickel, platinum with palladium."""
    made = {s["supplier"]: s["material"] for s in SUPPLIERS}
    pairs = {(MATERIALS[r["material"]]["mineral"], made[r["supplier"]]) for r in rows(TABLES / "byproducts.csv")}
    assert {("gallium", "alumina"), ("germanium", "zinc_refined"), ("cobalt", "nickel_raw"),
            ("platinum", "palladium_raw")} <= pairs  # fmt: skip
    liquor = next(r for r in rows(TABLES / "byproducts.csv") if r["supplier"] == "gramercy_alumina")
    assert float(liquor["t_per_t"]) == pytest.approx(50 / 1_000_000)  # 50 t of gallium with a million t of alumina


def test_presets_of_stock_agree_with_the_facts() -> None:
    for name, kind in (("us_industry_stock", "industry"), ("us_nds", "defense stockpile")):
        held = {
            r["material"]: float(r["value"]) * float(r["to_t"]) for r in rows(FACTS / "stock.csv") if r["kind"] == kind
        }
        given = {step.where["material"]: step.add["opening_t"] for step in presets()[name].change if step.add}
        assert given == {material: pytest.approx(t) for material, t in held.items()}
    required = {
        r["material"]: float(r["required_t"])
        for r in rows(TABLES / "demand.csv") if (r["market"], r["year"]) == ("home", "2026")
    }  # fmt: skip
    opened = {
        step.where["material"]: step.add["opening_t"] for step in presets()["us_industry_stock"].change if step.add
    }
    for rule in presets()["us_industry_stock"].rules:
        days = opened[rule["material"]] / required[rule["material"]] * 365
        assert days - 1 < rule["days"] <= days, rule["name"]


def test_steps_of_substitution_cost_more_than_the_market() -> None:
    for row in rows(TABLES / "substitution.csv"):
        assert float(row["usd_per_t"]) > float(MATERIALS[row["material"]]["price_usd_per_t"])
    for row in rows(FACTS / "substitution.csv"):
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])


def test_certified_suppliers_name_their_scheme() -> None:
    schemes = {r["supplier"]: r["scheme"] for r in rows(FACTS / "certified.csv")}
    marked = {s["supplier"]: s["note"] for s in SUPPLIERS if s["certified"] == "yes"}
    assert set(marked) == set(schemes)
    assert all(schemes[name] in note for name, note in marked.items())


def test_what_may_not_enter_stays_out() -> None:
    lanes = {(r["origin"], r["destination"], r["material"]): r["max_t"] for r in rows(TABLES / "lanes.csv")}
    for origin, material in (
        ("country:RUS", "nickel_refined"),
        ("country:RUS", "nickel_raw"),
        ("country:CUB", "cobalt_raw"),
        ("bell_bay", "manganese_alloys"),
    ):
        assert lanes[origin, "*", material] == "0"
        assert (origin, "country:USA", material) not in lanes
    assert not [s for s in SUPPLIERS if "fort_saskatchewan" in s["supplier"]]
