"""The bundled US case: the tables follow from the facts, and today's picture agrees with the published one."""

from __future__ import annotations

import csv
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from data.us.derive import derive
from models.case import load_case
from models.changes import Request, change

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
    "vanadium": ["vanadium_refined"],
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
    moved = scenarios["projects_late"]["change"][0]["where"]["supplier"]
    assert set(moved) == {s["supplier"] for s in SUPPLIERS if s["from_year"]}


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
