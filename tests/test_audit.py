"""The audit agrees with a plan worked out by hand, and catches each thing in it that is made wrong."""

from __future__ import annotations

import ast
import csv
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models import audit as audit_module
from models import audit_facts, audit_lp, audit_risk, audit_rules, audit_two_stage, audit_years
from models.audit import CHECKS, Answer, audit
from models.audit_facts import Facts, Lanes
from models.case import Case, load_case
from tests.test_audit_two_stage import WRONG as WRONG_TWO_STAGE
from tests.test_audit_years import WRONG as WRONG_OVER_YEARS

pytestmark = pytest.mark.filterwarnings("error")

AUDIT_MODULES = (
    audit_module, audit_facts, audit_lp, audit_risk, audit_rules, audit_two_stage, audit_years,
)  # fmt: skip
Rows = list[dict[str, Any]]
Tables = dict[str, Rows]

TOML = """
name = "hand"
[horizon]
years = [2026, 2028]
discount_rate = 0.1
[market]
home = "USA"
countries = { japan = "JPN" }
"""

RULES = """
[[rules]]
name = "near"
kind = "share"
where = { channel = ["domestic", "recycling"] }
mineral = "lithium"
min = 0.3
max = 1.0

[[rules]]
name = "spread"
kind = "each_share"
each = "country"
mineral = "lithium"
max = 0.6

[[rules]]
name = "mixed"
kind = "hhi"
max = 1.0

[[rules]]
name = "calm"
kind = "index"
indicator = "wgi"
material = "salt"
max = 4.0

[[rules]]
name = "off"
kind = "ban"
stage = "processing"
where = { bloc = "east" }
to_year = 2027

[[rules]]
name = "purse"
kind = "budget"
max_usd_per_y = 5000

[[rules]]
name = "extra"
kind = "budget"
of = "premium"
mineral = "lithium"
max_usd_per_y = 600

[[rules]]
name = "clean"
kind = "emissions"
mineral = "lithium"
max_kgco2e_per_t = 6

[[rules]]
name = "many"
kind = "suppliers"
mineral = "lithium"
min = 2
max = 3
least_t = 4

[[rules]]
name = "asleep"
kind = "ban"
where = { country = "USA" }
enabled = false
"""


def base_tables() -> Tables:
    """A mine, a refinery with a by-product, a recycler, and an importer that starts in 2028."""
    return {
        "materials": [
            {"material": "scrap", "mineral": "lithium", "stage": "feedstock", "price_usd_per_t": 7},
            {"material": "ore", "mineral": "lithium", "stage": "extraction", "price_usd_per_t": 100},
            {"material": "salt", "mineral": "lithium", "stage": "processing", "price_usd_per_t": 1000},
            {"material": "cobalt", "mineral": "cobalt", "stage": "processing", "price_usd_per_t": 5000},
        ],
        "suppliers": [
            {"supplier": "mine", "country": "AUS", "controller": "CHN", "channel": "allied", "material": "ore",
             "capacity_t": 100, "cost_usd_per_t": 10, "min_t": 5, "fixed_usd_per_y": 50, "certified": "yes",
             "emissions_kgco2e_per_t": 2, "incumbent_t": 25},
            {"supplier": "refinery", "country": "USA", "channel": "domestic", "material": "salt", "input": "ore",
             "recovery": 0.5, "capacity_t": 50, "cost_usd_per_t": 20, "lot_t": 10,
             "emissions_kgco2e_per_t": 3, "incumbent_t": 10},
            {"supplier": "recycler", "country": "USA", "channel": "recycling", "material": "salt",
             "input": "scrap", "recovery": 0.8, "capacity_t": 8, "cost_usd_per_t": 30, "certified": "yes"},
            {"supplier": "importer", "country": "CHN", "channel": "incumbent", "material": "salt",
             "capacity_t": 30, "cost_usd_per_t": 6, "from_year": 2028, "incumbent_t": 30},
            {"supplier": "closed", "country": "CHL", "channel": "incumbent", "material": "salt",
             "capacity_t": 30, "cost_usd_per_t": 1, "to_year": 2025},
        ],
        "supplier_years": [
            {"supplier": "recycler", "year": 2027, "capacity_t": 16},
            {"supplier": "mine", "year": 2028, "cost_usd_per_t": 12},
            {"supplier": "mine", "year": 2020, "cost_usd_per_t": 10, "min_t": 6},
        ],
        "byproducts": [{"supplier": "refinery", "material": "cobalt", "t_per_t": 0.1}],
        "lanes": [
            {"origin": "*", "destination": "*", "freight_usd_per_t": 1},
            {"origin": "bloc:west", "destination": "*", "material": "ore", "freight_usd_per_t": 2},
            {"origin": "country:AUS", "destination": "refinery", "duty_share": 0.02, "max_t": 60},
            {"origin": "refinery", "destination": "country:JPN", "freight_usd_per_t": 4},
            {"origin": "country:CHN", "destination": "*", "material": "salt", "duty_share": 0.1},
            {"origin": "country:CHN", "destination": "home", "duty_share": 0.25},
        ],
        "demand": [
            {"market": "home", "material": "salt", "sector": "cars", "year": 2026, "required_t": 20},
            {"market": "home", "material": "salt", "sector": "cars", "year": 2030, "required_t": 40},
            {"market": "home", "material": "salt", "sector": "grid", "year": 2025, "required_t": 10,
             "shortage_usd_per_t": 500},
            {"market": "home", "material": "salt", "sector": "grid", "year": 2028, "required_t": 10,
             "shortage_usd_per_t": 600},
            {"market": "japan", "material": "salt", "sector": "", "year": 2027, "required_t": 4},
            {"market": "home", "material": "cobalt", "sector": "", "year": 2027, "required_t": 1},
        ],
        "feedstock": [
            {"material": "scrap", "year": 2020, "available_t": 4, "cost_usd_per_t": 3},
            {"material": "scrap", "year": 2030, "available_t": 14, "cost_usd_per_t": 3},
        ],
        "blocs": [
            {"bloc": "west", "country": "AUS"},
            {"bloc": "east", "country": "CHN"},
            {"bloc": "east", "country": "USA", "to_year": 2020},
        ],
        "risk": [
            {"country": "USA", "indicator": "wgi", "value": 1},
            {"country": "CHN", "indicator": "wgi", "value": 5, "year": 2020},
            {"country": "CHN", "indicator": "wgi", "value": 8, "year": 2028},
            {"country": "CHL", "indicator": "wgi", "value": 3},
            {"country": "AUS", "indicator": "wgi", "value": 2, "year": 2040},
        ],
    }  # fmt: skip


def write_case(folder: Path, tables: Tables, toml: str) -> Case:
    (folder / "tables").mkdir(parents=True)
    (folder / "case.toml").write_text(toml, encoding="utf-8")
    for name, rows in tables.items():
        header = list(dict.fromkeys(column for row in rows for column in row))
        with (folder / "tables" / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, header, restval="")
            writer.writeheader()
            writer.writerows(rows)
    return load_case(folder)


def frame(columns: str, rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


def paid(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Costs that buyers pay alone."""
    return frame("cost mineral year usd_per_y", rows).assign(public_usd_per_y=0.0)


NOTHING_OVER_YEARS: dict[str, Any] = {
    "expansion": frame("supplier year t opened usd_per_y public_usd_per_y", []),
    "stock": frame("market material year built_t drawn_t end_t", []),
    "substitution": frame("market material step year t", []),
    "public_usd_per_y": {2026: 0.0, 2028: 0.0},
}
RULE_COLUMNS = "rule kind bound mineral material member year value limit"
NEAR, FAR = 29.6 / 44, 14.4 / 44  # 2028: refinery and recycler, importer


def right_answer() -> Answer:
    """Worked out by hand from the tables above."""
    rules = [
        ("near", "share", "min", "lithium", "salt", "", 2026, 1.0, 0.3),
        ("near", "share", "max", "lithium", "salt", "", 2026, 1.0, 1.0),
        ("near", "share", "min", "lithium", "salt", "", 2028, NEAR, 0.3),
        ("near", "share", "max", "lithium", "salt", "", 2028, NEAR, 1.0),
        ("spread", "each_share", "max", "lithium", "salt", "CHN", 2026, 0.0, 0.6),
        ("spread", "each_share", "max", "lithium", "salt", "CHN", 2028, FAR, 0.6),
        ("mixed", "hhi", "max", "lithium", "salt", "", 2026, 1.0, 1.0),
        ("mixed", "hhi", "max", "lithium", "salt", "", 2028, NEAR**2 + FAR**2, 1.0),
        ("mixed", "hhi", "max", "cobalt", "cobalt", "", 2026, 1.0, 1.0),
        ("mixed", "hhi", "max", "cobalt", "cobalt", "", 2028, 1.0, 1.0),
        ("calm", "index", "max", "lithium", "salt", "", 2026, 1.0, 4.0),
        ("calm", "index", "max", "lithium", "salt", "", 2028, NEAR + 8 * FAR, 4.0),
        ("off", "ban", "max", "lithium", "", "", 2026, 0.0, 0.0),
        ("off", "ban", "max", "cobalt", "", "", 2026, 0.0, 0.0),
        ("purse", "budget", "max", "", "", "", 2026, 2066.0, 5000.0),
        ("purse", "budget", "max", "", "", "", 2028, 4545.4, 5000.0),
        ("extra", "budget", "max", "lithium", "", "", 2026, 65.0, 600.0),
        ("extra", "budget", "max", "lithium", "", "", 2028, 544.4, 600.0),
        ("clean", "emissions", "max", "lithium", "", "", 2026, 175 / 33, 6.0),
        ("clean", "emissions", "max", "lithium", "", "", 2028, 140 / 44, 6.0),
        ("many", "suppliers", "min", "lithium", "salt", "", 2026, 2.0, 2.0),
        ("many", "suppliers", "max", "lithium", "salt", "", 2026, 2.0, 3.0),
        ("many", "suppliers", "min", "lithium", "salt", "", 2028, 3.0, 2.0),
        ("many", "suppliers", "max", "lithium", "salt", "", 2028, 3.0, 3.0),
    ]
    return Answer(
        suppliers=frame("supplier year produced_t", [
            ("mine", 2026, 50.0), ("mine", 2028, 40.0), ("refinery", 2026, 25.0), ("refinery", 2028, 20.0),
            ("recycler", 2026, 8.0), ("recycler", 2028, 9.6), ("importer", 2026, 0.0), ("importer", 2028, 14.4),
            ("closed", 2026, 0.0), ("closed", 2028, 0.0),
        ]),
        flows=frame("origin destination material year t", [
            ("mine", "refinery", "ore", 2026, 50.0), ("feedstock:scrap", "recycler", "scrap", 2026, 10.0),
            ("refinery", "home", "salt", 2026, 21.0), ("refinery", "japan", "salt", 2026, 4.0),
            ("recycler", "home", "salt", 2026, 8.0), ("refinery", "home", "cobalt", 2026, 1.0),
            ("mine", "refinery", "ore", 2028, 40.0), ("feedstock:scrap", "recycler", "scrap", 2028, 12.0),
            ("refinery", "home", "salt", 2028, 20.0), ("recycler", "home", "salt", 2028, 9.6),
            ("importer", "home", "salt", 2028, 10.4), ("importer", "japan", "salt", 2028, 4.0),
            ("refinery", "home", "cobalt", 2028, 1.0),
        ]),
        shortage=frame("market material sector year t", [("home", "salt", "grid", 2026, 1.0)]),
        rules=frame(RULE_COLUMNS, rules),
        costs=paid([
            ("production", "lithium", 2026, 1240.0), ("fixed", "lithium", 2026, 50.0),
            ("freight", "lithium", 2026, 145.0), ("duty", "lithium", 2026, 100.0),
            ("collection", "lithium", 2026, 30.0), ("shortage", "lithium", 2026, 500.0),
            ("freight", "cobalt", 2026, 1.0), ("duty", "cobalt", 2026, 0.0),
            ("production", "lithium", 2028, 1254.4), ("fixed", "lithium", 2028, 50.0),
            ("freight", "lithium", 2028, 124.0), ("duty", "lithium", 2028, 3080.0),
            ("collection", "lithium", 2028, 36.0), ("freight", "cobalt", 2028, 1.0),
        ]),
        **NOTHING_OVER_YEARS,
        cost_usd_per_y={2026: 2066.0, 2028: 4545.4},
        objective_usd=2066.0 * (1 + 1 / 1.1) + 4545.4 * (1 / 1.21 + 1 / 1.331),
        status_quo_usd_per_y={
            ("", "", 2026): 0.0, ("", "", 2028): 0.0, ("lithium", "", 2026): 2000.0, ("lithium", "", 2028): 4000.0,
        },
    )  # fmt: skip


def today_answer() -> Answer:
    """Going on as today: refinery and importer at 10 : 30, above capacity, too early and closed lanes all the same."""
    return Answer(
        suppliers=frame("supplier year produced_t", [
            ("mine", 2026, 17.0), ("mine", 2028, 22.0), ("refinery", 2026, 8.5), ("refinery", 2028, 11.0),
            ("importer", 2026, 25.5), ("importer", 2028, 33.0),
            *((name, year, 0.0) for name in ("recycler", "closed") for year in (2026, 2028)),
        ]),
        flows=frame("origin destination material year t", [
            ("mine", "refinery", "ore", 2026, 17.0), ("mine", "refinery", "ore", 2028, 22.0),
            ("refinery", "home", "salt", 2026, 4.5), ("refinery", "japan", "salt", 2026, 4.0),
            ("importer", "home", "salt", 2026, 25.5), ("refinery", "home", "salt", 2028, 7.0),
            ("refinery", "japan", "salt", 2028, 4.0), ("importer", "home", "salt", 2028, 33.0),
            ("refinery", "home", "cobalt", 2026, 0.85), ("refinery", "home", "cobalt", 2028, 1.0),
        ]),
        shortage=frame("market material sector year t", []),
        rules=frame(RULE_COLUMNS, []),
        costs=paid([
            ("production", "lithium", 2026, 170.0 + 170.0 + 153.0), ("fixed", "lithium", 2026, 50.0),
            ("freight", "lithium", 2026, 34.0 + 4.5 + 16.0 + 25.5), ("freight", "cobalt", 2026, 0.85),
            ("duty", "lithium", 2026, 34.0 + 6375.0),
            ("production", "lithium", 2028, 264.0 + 220.0 + 198.0), ("fixed", "lithium", 2028, 50.0),
            ("freight", "lithium", 2028, 44.0 + 7.0 + 16.0 + 33.0), ("freight", "cobalt", 2028, 1.0),
            ("duty", "lithium", 2028, 44.0 + 8250.0),
        ]),
        **NOTHING_OVER_YEARS,
        cost_usd_per_y={2026: 7032.85, 2028: 9127.0},
        objective_usd=7032.85 * (1 + 1 / 1.1) + 9127.0 * (1 / 1.21 + 1 / 1.331),
        status_quo=True,
    )  # fmt: skip


def today_tables() -> Tables:
    """As ``base_tables``; the market takes 0.85 t of cobalt in 2026, all that comes with 8.5 t of salt."""
    tables = base_tables()
    tables["demand"][-1] |= {"year": 2026, "required_t": 0.85}
    tables["demand"].append({"material": "cobalt", "market": "home", "sector": "", "year": 2028, "required_t": 1})
    tables["lanes"].append({"origin": "importer", "destination": "home", "max_t": 0})
    return tables


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return write_case(tmp_path_factory.mktemp("hand") / "case", base_tables(), TOML + RULES)


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return write_case(tmp_path_factory.mktemp("today") / "case", today_tables(), TOML + RULES)


def checks(case: Case, answer: Answer) -> set[str]:
    return {finding.check for finding in audit(case, answer)}


# --- ways to make an answer wrong -------------------------------------------------------------------------------

Edit = Callable[[Answer], Answer]


def with_part(answer: Answer, part: str, table: pd.DataFrame) -> Answer:
    parts: dict[str, Any] = {part: table}
    return replace(answer, **parts)


def cell(part: str, row: Mapping[str, Any], **values: Any) -> Edit:
    """Other values in the one row of a frame that matches."""

    def edit(answer: Answer) -> Answer:
        table: pd.DataFrame = getattr(answer, part).copy()
        chosen = np.ones(len(table), dtype=bool)
        for column, value in row.items():
            chosen &= (table[column] == value).to_numpy()
        assert chosen.sum() == 1
        for column, value in values.items():
            table.loc[chosen, column] = value
        return with_part(answer, part, table)

    return edit


def without(part: str, **row: Any) -> Edit:
    def edit(answer: Answer) -> Answer:
        table: pd.DataFrame = getattr(answer, part)
        kept = np.zeros(len(table), dtype=bool)
        for column, value in row.items():
            kept |= (table[column] != value).to_numpy()
        assert len(table) - kept.sum() == 1
        return with_part(answer, part, table[kept])

    return edit


def added(part: str, *row: Any) -> Edit:
    def edit(answer: Answer) -> Answer:
        table: pd.DataFrame = getattr(answer, part)
        more = frame(" ".join(table.columns), [*table.itertuples(index=False, name=None), row])
        return with_part(answer, part, more)

    return edit


def field(**values: Any) -> Edit:
    return lambda answer: replace(answer, **values)


def both(*edits: Edit) -> Edit:
    def edit(answer: Answer) -> Answer:
        for one in edits:
            answer = one(answer)
        return answer

    return edit


def made(supplier: str, year: int, tonnes: float) -> Edit:
    return cell("suppliers", {"supplier": supplier, "year": year}, produced_t=tonnes)


def flow(origin: str, destination: str, material: str, year: int, tonnes: float) -> Edit:
    row = {"origin": origin, "destination": destination, "material": material, "year": year}
    return cell("flows", row, t=tonnes)


def rule(name: str, year: int, bound: str = "max", mineral: str = "lithium", **values: float) -> Edit:
    return cell("rules", {"rule": name, "year": year, "bound": bound, "mineral": mineral}, **values)


WRONG: list[tuple[str, Edit]] = [
    ("supplier_rows", without("suppliers", supplier="closed", year=2028)),
    ("supplier_rows", added("suppliers", "closed", 2028, 0.0)),
    ("supplier_rows", added("suppliers", "closed", 2030, 0.0)),
    ("supplier_rows", added("suppliers", "nobody", 2028, 0.0)),
    ("produced", made("importer", 2026, -0.1)),
    ("produced", made("importer", 2028, math.nan)),
    ("produced", made("importer", 2028, math.inf)),
    ("capacity", made("recycler", 2026, 8.1)),
    ("capacity", made("recycler", 2028, 16.1)),
    ("active", made("importer", 2026, 0.1)),
    ("active", made("closed", 2028, 0.1)),
    ("minimum", made("mine", 2026, 5.9)),
    ("lot", made("refinery", 2028, 9.9)),
    ("flow", flow("recycler", "home", "salt", 2026, -1.0)),
    ("flow", flow("recycler", "home", "salt", 2026, math.nan)),
    ("lane", added("flows", "mine", "home", "salt", 2026, 0.1)),
    ("lane", added("flows", "mine", "home", "ore", 2026, 0.1)),
    ("lane", added("flows", "mine", "recycler", "ore", 2026, 0.1)),
    ("lane", added("flows", "importer", "mars", "salt", 2026, 0.1)),
    ("lane", added("flows", "nobody", "home", "salt", 2026, 0.1)),
    ("lane", added("flows", "refinery", "japan", "cobalt", 2026, 0.1)),
    ("lane", added("flows", "refinery", "home", "salt", 2027, 0.1)),
    ("lane", added("flows", "feedstock:scrap", "refinery", "scrap", 2026, 0.1)),
    ("lane", added("flows", "feedstock:ore", "refinery", "ore", 2026, 0.1)),
    ("lane", added("flows", "feedstock:salt", "home", "salt", 2026, 0.1)),
    ("lane", added("flows", "refinery", "refinery", "ore", 2026, 0.1)),
    ("lane_limit", flow("mine", "refinery", "ore", 2026, 60.1)),
    ("output", flow("mine", "refinery", "ore", 2026, 50.1)),
    ("output", made("mine", 2028, 40.1)),
    ("byproduct", flow("refinery", "home", "cobalt", 2028, 2.1)),
    ("input", flow("mine", "refinery", "ore", 2028, 39.9)),
    ("input", flow("feedstock:scrap", "recycler", "scrap", 2028, 11.9)),
    ("pool", flow("feedstock:scrap", "recycler", "scrap", 2026, 10.1)),
    ("demand", flow("importer", "japan", "salt", 2028, 4.1)),
    ("demand", cell("shortage", {"year": 2026}, t=0.9)),
    ("shortage", cell("shortage", {"year": 2026}, sector="cars")),
    ("shortage", cell("shortage", {"year": 2026}, sector="boats")),
    ("shortage", cell("shortage", {"year": 2026}, t=10.1)),
    ("shortage", cell("shortage", {"year": 2026}, t=-0.1)),
    ("shortage", cell("shortage", {"year": 2026}, year=2027)),
    *(
        ("cost", cell("costs", {"cost": family, "mineral": "lithium", "year": 2026}, usd_per_y=usd))
        for family, usd in (("production", 1240.1), ("freight", 144.9), ("duty", 100.1), ("collection", 30.1),
                            ("fixed", 0.0), ("shortage", 499.9))
    ),
    ("cost", cell("costs", {"cost": "freight", "mineral": "cobalt", "year": 2026}, mineral="lithium")),
    ("cost", without("costs", cost="freight", mineral="cobalt", year=2028)),
    ("cost", added("costs", "capital", "lithium", 2028, 5.0, 0.0)),
    ("cost", added("costs", "freight", "lithium", 2027, 5.0, 0.0)),
    ("year_cost", field(cost_usd_per_y={2026: 2066.1, 2028: 4545.4})),
    ("year_cost", field(cost_usd_per_y={2026: 2066.0})),
    ("year_cost", field(cost_usd_per_y={2026: 2066.0, 2028: 4545.4, 2030: 1.0})),
    ("objective", field(objective_usd=2066.0 + 4545.4)),
    ("objective", field(objective_usd=math.nan)),
    ("rule_rows", without("rules", rule="many", bound="min", year=2028)),
    ("rule_rows", without("rules", rule="spread", year=2028)),
    ("rule_rows", added("rules", "spread", "each_share", "max", "lithium", "salt", "USA", 2028, NEAR, 0.6)),
    ("rule_rows", added("rules", "spread", "each_share", "max", "lithium", "salt", "AUS", 2028, 0.0, 0.6)),
    ("rule_rows", added("rules", "purse", "budget", "max", "", "", "", 2028, 4545.4, 5000.0)),
    ("rule_rows", added("rules", "off", "ban", "max", "lithium", "", "", 2028, 0.0, 0.0)),
    ("rule_rows", added("rules", "asleep", "ban", "max", "lithium", "salt", "", 2026, 33.0, 0.0)),
    ("rule_rows", cell("rules", {"rule": "clean", "year": 2026}, kind="index")),
    ("rule_rows", cell("rules", {"rule": "clean", "year": 2026}, material="salt")),
    ("rule_limit", rule("near", 2026, limit=0.99)),
    ("rule_limit", rule("off", 2026, limit=0.1)),
    ("rule_limit", rule("purse", 2026, mineral="", limit=math.nan)),
    ("rule_value", rule("near", 2028, value=NEAR + 1e-4)),
    ("rule_value", rule("spread", 2028, value=NEAR)),
    ("rule_value", rule("mixed", 2028, value=0.5)),
    ("rule_value", rule("calm", 2028, value=NEAR + 5 * FAR)),
    ("rule_value", rule("off", 2026, value=1.0)),
    ("rule_value", rule("purse", 2026, mineral="", value=2066.1)),
    ("rule_value", rule("extra", 2026, value=2065.0)),
    ("rule_value", rule("clean", 2026, value=75 / 33)),
    ("rule_value", rule("many", 2028, value=2.0)),
    ("rule_value", rule("many", 2028, "min", value=math.nan)),
    ("rule_value", field(status_quo_usd_per_y=None)),
    ("rule_holds", field(status_quo_usd_per_y={("lithium", "", 2026): 1464.0, ("lithium", "", 2028): 4000.0})),
    ("rule_holds", both(made("refinery", 2026, 50.0), made("mine", 2026, 100.0))),
]  # fmt: skip

WRONG_TODAY: list[tuple[str, Edit]] = [
    ("status_quo", both(made("refinery", 2026, 8.0), made("importer", 2026, 26.0))),
    ("status_quo", made("recycler", 2028, 1.0)),
    ("shortage", added("shortage", "home", "salt", "grid", 2028, 1.0)),
    ("supplier_rows", without("suppliers", supplier="closed", year=2026)),
    ("produced", made("closed", 2026, -1.0)),
    ("lane", added("flows", "mine", "home", "salt", 2026, 0.1)),
    ("byproduct", flow("refinery", "home", "cobalt", 2026, 0.9)),
    ("input", flow("mine", "refinery", "ore", 2026, 18.0)),
    ("output", flow("mine", "refinery", "ore", 2026, 18.0)),
    ("demand", flow("importer", "home", "salt", 2026, 25.0)),
    ("cost", cell("costs", {"cost": "fixed", "year": 2026}, usd_per_y=0.0)),
    ("year_cost", field(cost_usd_per_y={2026: 0.0, 2028: 9127.0})),
    ("objective", field(objective_usd=0.0)),
]


def test_hand_plan_has_no_finding(case: Case) -> None:
    assert audit(case, right_answer()) == []


def test_going_on_as_today_has_no_finding(today: Case) -> None:
    assert audit(today, today_answer()) == []


@pytest.mark.parametrize(("check", "edit"), WRONG, ids=[f"{n}-{check}" for n, (check, _) in enumerate(WRONG)])
def test_each_wrong_claim_is_caught(case: Case, check: str, edit: Edit) -> None:
    assert check in checks(case, edit(right_answer()))


@pytest.mark.parametrize(
    ("check", "edit"), WRONG_TODAY, ids=[f"{n}-{check}" for n, (check, _) in enumerate(WRONG_TODAY)]
)
def test_each_wrong_claim_of_going_on_as_today_is_caught(today: Case, check: str, edit: Edit) -> None:
    assert check in checks(today, edit(today_answer()))


def noted_checks() -> set[str]:
    """The names that the modules pass to a recording method."""
    found: set[str] = set()
    for module in AUDIT_MODULES:
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if node.func.attr in ("note", "same", "at_most", "at_least") and isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


def test_every_check_has_a_wrong_claim_that_it_catches() -> None:
    assert set(CHECKS) == {check for check, _ in WRONG + WRONG_TODAY + WRONG_OVER_YEARS + WRONG_TWO_STAGE}
    assert set(CHECKS) == noted_checks()


# --- the same plan, read against other tables ----------------------------------------------------------------------


def changed(table: str, at: int, **values: Any) -> Callable[[Tables], None]:
    return lambda tables: tables[table][at].update(values)


def more(table: str, **row: Any) -> Callable[[Tables], None]:
    return lambda tables: tables[table].append(row)


NO_RULES: list[tuple[Callable[[Tables], None], set[str]]] = [
    (changed("suppliers", 2, capacity_t=7.9), {"capacity"}),
    (more("supplier_years", supplier="importer", year=2028, capacity_t=14), {"capacity"}),
    (changed("suppliers", 3, from_year=2029), {"active"}),
    (more("supplier_years", supplier="mine", year=2027, min_t=40.1), {"minimum"}),
    (more("supplier_years", supplier="mine", year=2027, min_t=40), set()),
    (changed("suppliers", 1, lot_t=20.1), {"lot"}),
    (changed("suppliers", 1, lot_t=20), set()),
    (changed("lanes", 2, max_t=49.9), {"lane_limit"}),
    (more("lanes", origin="importer", destination="japan", max_t=0), {"lane_limit"}),
    (more("lanes", origin="importer", destination="*", max_t=0), {"lane_limit"}),
    (changed("byproducts", 0, t_per_t=0.049), {"byproduct"}),
    (changed("suppliers", 1, recovery=0.51), {"input"}),
    (changed("feedstock", 1, available_t=13.9), {"pool"}),
    (changed("demand", 1, required_t=40.1), {"demand"}),
    (changed("demand", 4, required_t=4.1), {"demand"}),
    (changed("demand", 2, shortage_usd_per_t=""), {"shortage", "cost", "year_cost", "objective"}),
    (changed("demand", 2, shortage_usd_per_t=501), {"cost", "year_cost", "objective"}),
    (changed("feedstock", 0, cost_usd_per_t=3.1), {"cost", "year_cost", "objective"}),
    (changed("supplier_years", 1, cost_usd_per_t=12.1), {"cost", "year_cost", "objective"}),
    (changed("suppliers", 1, fixed_usd_per_y=1), {"cost", "year_cost", "objective"}),
    (changed("suppliers", 4, fixed_usd_per_y=1), set()),
    (changed("materials", 1, price_usd_per_t=101), {"cost", "year_cost", "objective"}),
    (changed("lanes", 0, freight_usd_per_t=1.1), {"cost", "year_cost", "objective"}),
    (more("lanes", origin="importer", destination="bloc:east", freight_usd_per_t=9), set()),
]


@pytest.mark.parametrize(("change", "expected"), NO_RULES, ids=range(len(NO_RULES)))
def test_another_table_is_caught_by_its_own_check_alone(
    tmp_path: Path, change: Callable[[Tables], None], expected: set[str]
) -> None:
    tables = base_tables()
    change(tables)
    answer = replace(right_answer(), rules=frame(RULE_COLUMNS, []))
    assert checks(write_case(tmp_path / "case", tables, TOML), answer) == expected


def test_listed_lanes_need_a_row_that_matches(tmp_path: Path) -> None:
    tables = base_tables()
    tables["lanes"][0] = {"origin": "country:USA", "destination": "home", "material": "salt", "freight_usd_per_t": 1}
    toml = TOML + '[network]\nlanes = "listed"\n'
    answer = replace(right_answer(), rules=frame(RULE_COLUMNS, []))
    found = [
        finding for finding in audit(write_case(tmp_path / "case", tables, toml), answer) if finding.check == "lane"
    ]
    assert {finding.where for finding in found} == {f"refinery -> home cobalt {year}" for year in (2026, 2028)}


def test_discounting_covers_the_years_that_each_stands_for(tmp_path: Path) -> None:
    uneven = write_case(tmp_path / "uneven", base_tables(), TOML.replace("[2026, 2028]", "[2026, 2027, 2030]"))
    first, second, last = Facts(uneven).weights()
    assert first == pytest.approx(1.0)
    assert second == pytest.approx(1.1**-1 + 1.1**-2 + 1.1**-3)
    assert last == pytest.approx(1.1**-4 + 1.1**-5 + 1.1**-6)
    assert Facts(write_case(tmp_path / "one", base_tables(), TOML.replace(", 2028]", "]"))).weights() == [1.0]


LANE_ROWS: list[tuple[tuple[str, str, str], tuple[str, str, str]]] = [  # the more specific one first
    (("importer", "*", ""), ("country:CHN", "home", "salt")),
    (("country:CHN", "*", ""), ("bloc:east", "home", "salt")),
    (("bloc:east", "*", ""), ("*", "home", "salt")),
    (("*", "home", ""), ("*", "country:USA", "salt")),
    (("*", "country:USA", ""), ("*", "bloc:north", "salt")),
    (("*", "bloc:north", ""), ("*", "*", "salt")),
    (("*", "*", "salt"), ("*", "*", "")),
    (("bloc:far", "home", ""), ("bloc:east", "country:USA", "salt")),
]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("winner", "loser"), LANE_ROWS, ids=range(len(LANE_ROWS)))
def test_each_cell_comes_from_the_most_specific_row(
    tmp_path: Path, winner: tuple[str, str, str], loser: tuple[str, str, str], turned: bool
) -> None:
    tables = base_tables()
    keys = ("origin", "destination", "material")
    rows: Rows = [dict(zip(keys, winner, strict=True)) | {"freight_usd_per_t": 0, "max_t": 3},
                  dict(zip(keys, loser, strict=True)) | {"freight_usd_per_t": 8, "duty_share": 0.5}]  # fmt: skip
    tables["lanes"] = rows[::-1] if turned else rows
    tables["blocs"] += [{"bloc": "north", "country": "USA"}, {"bloc": "far", "country": "CHN"}]
    lanes = Lanes(Facts(write_case(tmp_path / "case", tables, TOML)))
    assert lanes.cells("importer", "home", "salt", 2028) == (True, 0.0, 0.5, 3.0)


def test_rows_of_one_lane_add_up_what_they_give(tmp_path: Path) -> None:
    tables = base_tables()
    key = {"origin": "importer", "destination": "home", "material": ""}
    tables["lanes"] = [key | {"freight_usd_per_t": 0}, key | {"duty_share": 0.5}, key | {"max_t": 3}]
    lanes = Lanes(Facts(write_case(tmp_path / "case", tables, TOML)))
    assert lanes.cells("importer", "home", "salt", 2028) == (True, 0.0, 0.5, 3.0)
    assert lanes.cells("refinery", "home", "salt", 2028)[:3] == (False, 0.0, 0.0)


def test_blocs_of_a_lane_are_those_of_the_year(tmp_path: Path) -> None:
    tables = base_tables()
    tables["lanes"] = [{"origin": "bloc:east", "destination": "*", "duty_share": 0.5}]
    tables["blocs"] = [{"bloc": "east", "country": "CHN", "from_year": 2027, "to_year": 2028}]
    lanes = Lanes(Facts(write_case(tmp_path / "case", tables, TOML)))
    assert [lanes.cells("importer", "home", "salt", year)[0] for year in (2026, 2027, 2028, 2029)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_a_row_with_a_year_outranks_one_without_while_it_holds(tmp_path: Path) -> None:
    tables = base_tables()
    key = {"origin": "country:CHN", "destination": "*", "material": ""}
    late = {"duty_share": 0.4, "from_year": 2027, "to_year": 2028}
    tables["lanes"] = [key | late, key | {"duty_share": 0.1, "max_t": 3}]
    lanes = Lanes(Facts(write_case(tmp_path / "case", tables, TOML)))
    assert [lanes.cells("importer", "home", "salt", year)[2] for year in (2026, 2027, 2028, 2029)] == [
        0.1, 0.4, 0.4, 0.1,
    ]  # fmt: skip
    assert lanes.cells("importer", "home", "salt", 2028)[3] == 3.0
    tables["lanes"][1]["origin"] = "importer"  # an id outranks a country, whatever the years
    lanes = Lanes(Facts(write_case(tmp_path / "id", tables, TOML)))
    assert lanes.cells("importer", "home", "salt", 2028)[2] == 0.1


# --- rules, kind by kind -------------------------------------------------------------------------------------------

DUE = "mineral material member year value"
KINDS: list[tuple[str, list[tuple[Any, ...]], tuple[str, float, bool], float]] = [
    # keys without the limit, rows due, (key of the limit, one that holds, whether it is a max), one that does not hold
    ('kind = "share"\nwhere = {country = "CHN"}\nmaterial = "salt"',
     [("lithium", "salt", "", 2026, 0.0), ("lithium", "salt", "", 2028, FAR)], ("max", FAR, True), 0.3),
    ('kind = "share"\nwhere = {country = "USA"}\nmarket = "japan"',
     [("lithium", "salt", "", 2026, 1.0), ("lithium", "salt", "", 2028, 0.0)], ("min", 0.0, False), 0.1),
    ('kind = "share"\nwhere = {channel = "recycling"}\nof = "requirement"\nmaterial = "salt"',
     [("lithium", "salt", "", 2026, 8 / 34), ("lithium", "salt", "", 2028, 9.6 / 44)], ("min", 9.6 / 44, False), 0.23),
    ('kind = "share"\nwhere = {certified = "yes", controller_bloc = "east"}\nstage = "extraction"',
     [("lithium", "", "", 2026, 1.0), ("lithium", "", "", 2028, 1.0)], ("max", 1.0, True), 0.9),
    ('kind = "share"\nwhere = {controller = "CHN"}\nof = "requirement"\nstage = "extraction"',
     [("lithium", "", "", 2026, 50 / 34), ("lithium", "", "", 2028, 40 / 44)], ("min", 0.9, False), 0.95),
    ('kind = "share"\nwhere = {supplier = "refinery"}\nstage = "processing"',
     [("lithium", "", "", 2026, 25 / 33), ("lithium", "", "", 2028, 20 / 44),
      ("cobalt", "", "", 2026, 1.0), ("cobalt", "", "", 2028, 1.0)], ("min", 20 / 44, False), 0.5),
    ('kind = "share"\nwhere = {certified = false}\nmaterial = ["salt", "scrap"]\nstage = "processing"',
     [("lithium", "salt", "", 2026, 25 / 33), ("lithium", "salt", "", 2028, 34.4 / 44)],
     ("max", 34.4 / 44, True), 0.77),
    ('kind = "each_share"\neach = "supplier"\nexcept = "refinery"\nmineral = "lithium"\nfrom_year = 2027',
     [("lithium", "salt", "recycler", 2028, 9.6 / 44), ("lithium", "salt", "importer", 2028, FAR),
      ("lithium", "salt", "closed", 2028, 0.0)], ("max", FAR, True), 0.3),
    (('kind = "each_share"\neach = "country"\nof = "requirement"\ninclude_home = true\nto_year = 2027\n'
     'mineral = "lithium"'),
     [("lithium", "salt", "USA", 2026, 33 / 34), ("lithium", "salt", "CHN", 2026, 0.0)], ("max", 33 / 34, True), 0.9),
    ('kind = "each_share"\neach = "controller"\nmaterial = "salt"\nto_year = 2027',
     [("lithium", "salt", "USA", 2026, 1.0)], ("max", 1.0, True), 0.9),
    ('kind = "each_share"\neach = "channel"\nstage = "processing"\nmineral = "lithium"\nfrom_year = 2028',
     [("lithium", "", "domestic", 2028, 20 / 44), ("lithium", "", "recycling", 2028, 9.6 / 44),
      ("lithium", "", "incumbent", 2028, FAR)], ("max", 20 / 44, True), 0.45),
    ('kind = "hhi"\nby = "supplier"\nmaterial = "salt"\nto_year = 2026',
     [("lithium", "salt", "", 2026, (25 / 33) ** 2 + (8 / 33) ** 2)],
     ("max", (25 / 33) ** 2 + (8 / 33) ** 2, True), 0.6),
    ('kind = "hhi"\nweight = "wgi"\nmaterial = "salt"',
     [("lithium", "salt", "", 2026, 1.0), ("lithium", "salt", "", 2028, NEAR**2 + 8 * FAR**2)],
     ("max", NEAR**2 + 8 * FAR**2, True), 1.2),
    ('kind = "hhi"\nby = "controller"\nweight = "wgi"\nstage = "extraction"\nto_year = 2027',
     [("lithium", "", "", 2026, 5.0)], ("max", 5.0, True), 4.9),
    ('kind = "index"\nindicator = "wgi"\nstage = "extraction"',
     [("lithium", "", "", 2026, 2.0), ("lithium", "", "", 2028, 2.0)], ("max", 2.0, True), 1.9),
    ('kind = "budget"\nmineral = ["lithium", "cobalt"]\nto_year = 2027',
     [("lithium", "", "", 2026, 2065.0), ("cobalt", "", "", 2026, 1.0)], ("max_usd_per_y", 2065.0, True), 2064.0),
    ('kind = "emissions"\nto_year = 2027',
     [("lithium", "", "", 2026, 175 / 33), ("cobalt", "", "", 2026, 0.0)], ("max_kgco2e_per_t", 175 / 33, True), 5.3),
    ('kind = "suppliers"\nwhere = {country = "USA"}\nstage = "processing"\nmineral = "lithium"\nleast_t = 9',
     [("lithium", "", "", 2026, 1.0), ("lithium", "", "", 2028, 2.0)], ("min", 1, False), 2),
    ('kind = "suppliers"\nmaterial = "salt"\nleast_t = 9',
     [("lithium", "salt", "", 2026, 2.0), ("lithium", "salt", "", 2028, 3.0)], ("max", 3, True), 2),
]  # fmt: skip


def kind_answer(kind: str, due: list[tuple[Any, ...]], is_max: bool, limit: float) -> Answer:
    name = kind.split('"')[1]
    rows = [("one", name, "max" if is_max else "min", *row, limit) for row in due]
    return replace(right_answer(), rules=frame(RULE_COLUMNS, rows))


@pytest.mark.parametrize(("keys", "due", "good", "bad"), KINDS, ids=range(len(KINDS)))
def test_each_kind_of_rule_has_its_rows_values_and_limits(
    tmp_path: Path, keys: str, due: list[tuple[Any, ...]], good: tuple[str, float, bool], bad: float
) -> None:
    key, limit, is_max = good
    toml = TOML + f'[[rules]]\nname = "one"\n{keys}\n'
    case = write_case(tmp_path / "good", base_tables(), f"{toml}{key} = {limit!r}\n")
    answer = kind_answer(keys, due, is_max, limit)
    assert audit(case, answer) == []
    for place, row in enumerate(due):
        if row[2] != "closed" and row[-1] != 0:  # every row of these is due, with that value
            fewer = replace(answer, rules=answer.rules.drop(index=place))
            assert [(f.check, f.claimed, f.expected) for f in audit(case, fewer)] == [("rule_rows", 0.0, 1.0)]
        values = answer.rules.copy()
        values.loc[place, "value"] = row[-1] + 0.01
        assert checks(case, replace(answer, rules=values)) == {"rule_value"}
    tight = write_case(tmp_path / "bad", base_tables(), f"{toml}{key} = {bad!r}\n")
    assert checks(tight, kind_answer(keys, due, is_max, bad)) == {"rule_holds"}
    assert checks(tight, answer) == {"rule_holds", "rule_limit"}


def test_ban_counts_the_stage_in_the_years_of_the_bloc(tmp_path: Path) -> None:
    toml = TOML + '[[rules]]\nname = "one"\nkind = "ban"\nwhere = {bloc = "east"}\nmineral = "lithium"\n'
    case = write_case(tmp_path / "case", base_tables(), toml)
    rows = [
        ("one", "ban", "max", "lithium", "salt", "", 2026, 0.0, 0.0),
        ("one", "ban", "max", "lithium", "salt", "", 2028, 14.4, 0.0),
    ]
    (finding,) = audit(case, replace(right_answer(), rules=frame(RULE_COLUMNS, rows)))
    assert (finding.check, finding.claimed, finding.expected) == ("rule_holds", 14.4, 0.0)


def test_a_count_at_the_very_edge_is_taken_either_way(tmp_path: Path) -> None:
    keys = 'kind = "suppliers"\nmaterial = "salt"\nto_year = 2026\nmin = 1\nleast_t = 8\n'  # the recycler has 8 t
    case = write_case(tmp_path / "case", base_tables(), f'{TOML}[[rules]]\nname = "one"\n{keys}')
    for count, expected in ((0.0, {"rule_value"}), (1.0, set()), (2.0, set()), (3.0, {"rule_value"})):
        answer = kind_answer(keys, [("lithium", "salt", "", 2026, count)], False, 1.0)
        assert checks(case, answer) == expected


@pytest.mark.parametrize(
    "keys", ['kind = "share"\nwhere = {supplier = "mine"}', 'kind = "each_share"\neach = "country"']
)
def test_a_share_of_no_requirement_allows_nothing(tmp_path: Path, keys: str) -> None:
    tables = base_tables()
    tables["materials"][1]["mineral"] = "rock"  # no market requires anything of it
    rules = f'[[rules]]\nname = "one"\n{keys}\nof = "requirement"\nstage = "extraction"\nmax = 0.9\n'
    found = audit(write_case(tmp_path / "case", tables, TOML + rules), right_answer())
    assert {finding.where.split()[3] for finding in found if finding.check == "rule_holds"} == {"rock"}


def test_a_relaxed_limit_replaces_that_of_the_rule(case: Case) -> None:
    key = ("many", "max", "lithium", "salt", "", 2028)
    relaxed = case.with_(relaxed={key: 5.0})
    assert checks(relaxed, right_answer()) == {"rule_limit"}
    assert audit(relaxed, rule("many", 2028, limit=5.0)(right_answer())) == []
    tighter = case.with_(relaxed={key: 2.0})
    assert checks(tighter, rule("many", 2028, limit=2.0)(right_answer())) == {"rule_holds"}


IDLE = """
[[rules]]
name = "of-supply"
kind = "share"
where = { supplier = "refinery" }
material = "cobalt"
min = 0.5
[[rules]]
name = "of-requirement"
kind = "share"
of = "requirement"
where = { supplier = "refinery" }
material = "cobalt"
min = 0.5
[[rules]]
name = "mixed"
kind = "hhi"
material = "cobalt"
max = 0.5
[[rules]]
name = "calm"
kind = "index"
indicator = "wgi"
material = "cobalt"
max = 0.5
"""


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_a_row_of_supply_holds_where_nothing_flows(tmp_path: Path, value: float) -> None:
    tables = base_tables()
    tables["demand"][-1] |= {"shortage_usd_per_t": 10}
    case = write_case(tmp_path / "case", tables, TOML.replace("[2026, 2028]", "[2026]") + IDLE)
    right = right_answer()
    kinds = {"of-supply": "share", "of-requirement": "share", "mixed": "hhi", "calm": "index"}
    rows = [(name, kind, "min" if kind == "share" else "max", "cobalt", "cobalt", "", 2026,
             0.0 if name == "of-requirement" else value, 0.5) for name, kind in kinds.items()]  # fmt: skip
    costs = right.costs[(right.costs["year"] == 2026) & (right.costs["mineral"] == "lithium")]
    answer = replace(
        right,
        suppliers=right.suppliers[right.suppliers["year"] == 2026],
        flows=right.flows[(right.flows["year"] == 2026) & (right.flows["material"] != "cobalt")],
        shortage=frame(
            "market material sector year t", [("home", "salt", "grid", 2026, 1.0), ("home", "cobalt", "", 2026, 1.0)]
        ),
        rules=frame(RULE_COLUMNS, rows),
        costs=pd.concat([costs, paid([("shortage", "cobalt", 2026, 10.0)])]),
        cost_usd_per_y={2026: 2075.0},
        public_usd_per_y={2026: 0.0},
        objective_usd=2075.0,
    )
    (finding,) = audit(case, answer)
    assert (finding.check, finding.where) == ("rule_holds", "of-requirement share min cobalt cobalt 2026")
    claimed = answer.rules.assign(value=[0.7, 0.0, 0.7, 0.7])
    assert [f.check for f in audit(case, replace(answer, rules=claimed))].count("rule_value") == 3


def test_tolerance_is_a_millionth(case: Case) -> None:
    near = both(made("recycler", 2026, 8.0 + 7e-6), flow("feedstock:scrap", "recycler", "scrap", 2026, 10.0 + 9e-6))
    assert audit(case, near(right_answer())) == []
    assert checks(case, made("recycler", 2026, 8.0 + 9e-6)(right_answer())) >= {"capacity", "output"}


def test_finding_is_valid_json(case: Case) -> None:
    found = audit(case, field(status_quo_usd_per_y=None)(right_answer()))
    assert found
    for finding in found:
        assert list(finding.as_dict()) == ["check", "where", "claimed", "expected", "message"]
        json.dumps(finding.as_dict(), allow_nan=False)
        assert finding.message


def test_the_audit_knows_nothing_of_the_model() -> None:
    allowed = {
        "models.audit_facts",
        "models.audit_lp",
        "models.audit_risk",
        "models.audit_rules",
        "models.audit_two_stage",
        "models.audit_years",
        "models.audit",
        "models.case",
    }
    for module in AUDIT_MODULES:
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                ours = name.split(".")[0] in ("models", "optimizer", "data", "pyomo", "highspy")
                assert not ours or name in allowed, name
