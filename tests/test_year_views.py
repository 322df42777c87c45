"""The years on the command line: what is built, stock, capital, the mix of each year, tables and flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TABLES = {
    "materials": "material,mineral,stage,price_usd_per_t\nmetal,metal,extraction,60\n",
    "demand": "material,year,required_t\nmetal,2026,100\n",
    "suppliers": (
        "supplier,name,country,channel,material,capacity_t,incumbent_t,cost_usd_per_t,max_expansion_t,capex_usd_per_t,"
        "open_usd,lead_years,life_years,credit_share\n"
        "imports,,CHN,incumbent,metal,1000,100,50,,,,,,\n"
        "mine,Old mine,USA,domestic,metal,0,,10,60,200,1000,4,10,0.1\n"
        "dear,,USA,domestic,metal,0,,60,60,200,,4,10,\n"
        "never,,USA,domestic,metal,0,,1,60,200,,40,,\n"
    ),
    "stock": "material,opening_t,hold_usd_per_t_y\nmetal,5,1\n",
}
TOML = 'name = "years"\n[horizon]\nyears = [2026, 2030, 2035]\ndiscount_rate = 0.05\n[market]\nhome = "USA"\n'
ANNUITY = (60 * 200 + 1000) * 0.05 / (1 - 1.05**-10)


@pytest.fixture
def folder(write_case: Callable[..., Path]) -> Path:
    return write_case(TABLES, TOML)


def test_the_answer_shows_the_build_up(folder: Path, oremix: Any) -> None:
    done = oremix("optimize", folder, "--out", "run")
    assert done.code == 0
    assert "of it capital" in done.out and "public pays" in done.out
    (line,) = (line for line in done.out.splitlines() if line.startswith("mine "))
    assert line.split() == ["mine", "metal", "60", "2026", "2030", "13,000", f"{ANNUITY:,.0f}"]
    assert "1 of 3 possible projects, capital 13,000 USD" in done.out
    (line,) = (
        line for line in done.out.splitlines() if line.startswith("metal ") and "iiii" in line and ">" not in line
    )
    assert line.split() == ["metal", "iiiiiiiiii", "ddddddiiii", "ddddddiiii"]
    assert "oremix check" in done.err
    assert (
        "supplier never: its expansion never becomes usable (ready in 2066 at the earliest"
        in oremix("check", folder).err
    )


def test_the_document_has_the_years(folder: Path, oremix: Any) -> None:
    document = oremix("optimize", folder, "--stock-days", 18.25, "--out", "run", "--json").document
    assert [(row["supplier"], row["year"]) for row in document["expansion"]] == [("mine", 2026)]
    (row,) = document["expansion"]
    assert row["t"] == pytest.approx(60) and row["usd_per_y"] == pytest.approx(ANNUITY)
    assert (row["opened"], row["usable_from"], row["usable_to"]) == (True, 2030, 2039)
    # 18.25 days of 100 t a year are the 5 t that are there
    assert [(row["year"], row["end_t"], row["days"]) for row in document["stock"]] == [
        (year, pytest.approx(5), pytest.approx(18.25)) for year in (2026, 2030, 2035)
    ]
    (rule, *_) = document["rules"]
    assert (rule["rule"], rule["kind"], rule["bound"], rule["member"], rule["limit"]) == (
        "stock-days", "stock_days", "min", "home", 18.25)  # fmt: skip
    assert document["public_usd_per_y"] == pytest.approx({"2026": 0, "2030": 60, "2035": 60})
    assert {row["cost"]: row["public_usd_per_y"] for row in document["costs"] if row["year"] == 2030}["credit"] == 60


def test_tables_of_the_years(folder: Path, oremix: Any) -> None:
    oremix("optimize", folder, "--out", "run")
    rows = {row["supplier"]: row for row in oremix("show", "run", "projects", "--json").document["rows"]}
    assert set(rows) == {"mine", "dear", "never"}
    assert (rows["mine"]["name"], rows["mine"]["decided"], rows["mine"]["capital_usd"]) == ("Old mine", 2026, 13_000)
    assert rows["dear"]["decided"] is None and rows["dear"]["t"] == 0
    rows = oremix("show", "run", "capacity", "--json").document["rows"]
    mine = {row["year"]: row for row in rows if row["supplier"] == "mine"}
    assert set(mine) == {2030, 2035}
    assert (mine[2030]["own_t"], mine[2030]["expansion_t"], mine[2030]["used_share"]) == pytest.approx((0, 60, 1))
    assert [row["end_t"] for row in oremix("show", "run", "stock", "--json").document["rows"]][-1] == 0
    for table in ("projects", "capacity", "stock", "expansion", "substitution"):
        assert oremix("show", "run", table).code == 0


def test_stock_days_without_stock(folder: Path, oremix: Any) -> None:
    (folder / "tables" / "stock.csv").unlink()
    done = oremix("optimize", folder, "--stock-days", 30)
    assert done.code == 2 and "--stock-days" in done.err and "no stock" in done.err


def test_stock_that_cannot_be_built_is_explained(folder: Path, oremix: Any) -> None:
    (folder / "tables" / "stock.csv").write_text("material,max_t\nmetal,10\n", encoding="utf-8")
    done = oremix("optimize", folder, "--stock-days", 73, "--json")
    assert done.code == 3
    assert {(item["name"], item["year"]) for item in done.document["repair"]} == {
        ("stock-days", year) for year in (2026, 2030, 2035)
    }
    assert done.document["repair"][0]["needed"] == pytest.approx(36.5, rel=1e-6)
    assert ("capacity", "stock of metal at home") in {(i["what"], i["name"]) for i in done.document["conflict"]}
    relaxed = oremix("optimize", folder, "--stock-days", 73, "--relax", "--json")
    assert relaxed.code == 0
    assert [row["end_t"] for row in relaxed.document["stock"]] == pytest.approx([10] * 3)


def test_a_closing_stock_that_cannot_be_reached_is_a_minimum(folder: Path, oremix: Any) -> None:
    text = "material,closing_min_t,build_max_t\nmetal,100,1\n"
    (folder / "tables" / "stock.csv").write_text(text, encoding="utf-8")
    done = oremix("optimize", folder, "--json")
    assert done.code == 3
    (item,) = done.document["repair"]
    # one tonne a year over 4 + 5 + 5 years
    assert (item["what"], item["name"], item["year"], item["limit"]) == (
        "minimum", "stock of metal at home", 2035, 100)  # fmt: skip
    assert item["needed"] == pytest.approx(14)


def test_runs_are_compared_by_what_is_built(folder: Path, oremix: Any) -> None:
    oremix("optimize", folder, "--out", "built")
    oremix("optimize", folder, "--set", "suppliers[supplier=mine].max_expansion_t=0", "--out", "none")
    done = oremix("compare", "built", "none")
    (line,) = (line for line in done.out.splitlines() if line.startswith("mine "))
    assert line.split() == ["mine", "60", "-"]
    assert "public 2030" in done.out
    document = oremix("compare", "built", "none", "--json").document
    assert document["built"] == [{"supplier": "mine", "built": pytest.approx(60), "none": 0.0}]
    assert document["runs"][0]["public_usd_per_y"]["2030"] == pytest.approx(60)


def test_part_of_a_case_keeps_its_stock_and_steps(folder: Path, oremix: Any) -> None:
    tables = folder / "tables"
    with (tables / "materials.csv").open("a", encoding="utf-8") as file:
        file.write("salt,salt,extraction,5\n")
    with (tables / "demand.csv").open("a", encoding="utf-8") as file:
        file.write("salt,2026,7\n")
    with (tables / "suppliers.csv").open("a", encoding="utf-8") as file:
        file.write("pond,,USA,domestic,salt,9,7,3,,,,,,\n")
    (tables / "stock.csv").write_text("material,opening_t\nmetal,5\nsalt,2\n", encoding="utf-8")
    (tables / "substitution.csv").write_text(
        "material,year,step,max_share,usd_per_t\nsalt,2026,a,0.1,1\nmetal,2026,a,0.1,1\n", encoding="utf-8"
    )
    sizes = oremix("check", folder, "--json").document["sizes"]
    assert [sizes[key] for key in ("suppliers that may grow", "stockpiles", "steps of substitution")] == [3, 2, 2]
    document = oremix("optimize", folder, "--mineral", "salt", "--year", 2030, "--json").document
    assert (
        {row["material"] for row in document["stock"]}
        == {row["material"] for row in document["substitution"]}
        == {"salt"}
    )
    # 0.7 t done without at 1, 2 t of stock in the one year, the rest made at 3
    assert document["objective_usd"] == pytest.approx(0.7 + 4.3 * 3)
