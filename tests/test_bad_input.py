"""Whatever is wrong in a case: exit 2, what and where, all of it at once, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

TOML = """\
name = "metal"
[horizon]
years = [2026, 2030]
[market]
home = "USA"
"""
TABLES = {
    "materials": "material,mineral,stage,price_usd_per_t\n"
    "scrap,lithium,feedstock,\n"
    "ore,lithium,extraction,8000\n"
    "metal,lithium,processing,20000\n",
    "suppliers": "supplier,country,channel,material,input,recovery,capacity_t,cost_usd_per_t,min_t,from_year,to_year\n"
    "mine,AUS,allied,ore,,,2000,3000,,,\n"
    "plant,USA,domestic,metal,ore,0.8,800,11000,,,\n"
    "chinese,CHN,incumbent,metal,,,500,9000,,,\n"
    "recycler,USA,recycling,metal,scrap,0.8,300,6000,,,\n",
    "demand": "material,year,required_t\nmetal,2026,400\nmetal,2030,600\n",
    "feedstock": "material,year,available_t\nscrap,2026,250\n",
    "lanes": "origin,destination,material,freight_usd_per_t,duty_share,max_t\n"
    "*,*,,1000,,\n"
    "country:CHN,country:USA,,,0.25,\n",
    "blocs": "bloc,country,from_year,to_year\ncovered,CHN,,\n",
    "risk": "country,indicator,value\nAUS,wgi,0.1\nCHN,wgi,0.6\nUSA,wgi,0.2\n",
}
MAT, SUP, DEM, FEED, LANES, BLOCS, RISK, TOM = (
    *(f"tables/{name}.csv" for name in ("materials", "suppliers", "demand", "feedstock", "lanes", "blocs", "risk")),
    "case.toml",
)
MINE = "mine,AUS,allied,ore,,,2000,3000,,,"
PLANT = "plant,USA,domestic,metal,ore,0.8,800,11000,,,"


@dataclass(frozen=True)
class Found:
    """One problem as it has to be reported; "" and None are not looked at (row: see ``none``)."""

    file: str
    row: int | None = None
    column: str = ""
    value: str = ""
    says: tuple[str, ...] = ()

    def matches(self, error: dict[str, Any]) -> bool:
        return (
            error["file"] == self.file
            and (self.row is None or error["row"] == self.row)
            and self.column in error["column"]
            and (not self.value or error["value"] == self.value)
            and all(
                word.lower() in f"{error['message']} {error['column']} {error['value']}".lower() for word in self.says
            )
        )


@dataclass(frozen=True)
class Bad:
    """A way to spoil the case above, and what has to be said of it (exactly that, unless ``more``)."""

    name: str
    found: tuple[Found, ...]
    edits: tuple[tuple[str, str, str], ...] = ()
    tables: dict[str, str | bytes | None] = field(default_factory=dict)
    toml: str | bytes | None = TOML
    more: bool = False


def cell(name: str, table: str, old: str, new: str, *found: Found, more: bool = False) -> Bad:
    """One edit of one table."""
    return Bad(name, found, edits=((table, old, new),), more=more)


def rule(name: str, text: str, *found: Found, more: bool = False) -> Bad:
    """One rule added to case.toml."""
    return Bad(name, found, toml=f"{TOML}\n[[rules]]\n{text}\n", more=more)


def toml(name: str, old: str, new: str, *found: Found, more: bool = False) -> Bad:
    """One edit of case.toml."""
    assert old in TOML
    return Bad(name, found, toml=TOML.replace(old, new, 1), more=more)


FILES = (
    Bad("no case.toml", (Found(TOM, says=("missing",)),), toml=None),
    Bad("a required table missing", (Found(DEM, says=("missing",)),), tables={"demand": None}),
    Bad("an unknown table, nearest named", (Found("tables/suppliers_years.csv", says=("unknown table", "supplier_years")),),
        tables={"suppliers_years": "supplier,year\n"}),
    cell("a required column missing", "demand", "material,year,required_t\nmetal,2026,400\nmetal,2030,600",
         "material,year\nmetal,2026\nmetal,2030", Found(DEM, 1, "required_t", says=("missing",))),
    cell("an unknown column, nearest named", "demand", "required_t", "required_t,shortage_usd_per_tonne",
         Found(DEM, 1, "shortage_usd_per_tonne", says=("unknown column", "'shortage_usd_per_t'")), more=True),
    cell("a repeated column", "risk", "country,indicator,value\nAUS,wgi,0.1\nCHN,wgi,0.6\nUSA,wgi,0.2",
         "country,indicator,value,value\nAUS,wgi,0.1,1\nCHN,wgi,0.6,1\nUSA,wgi,0.2,1",
         Found(RISK, 1, "value", says=("twice",))),
    cell("a header of another case", "demand", "required_t", "Required_t",
         Found(DEM, 1, "Required_t", says=("unknown column", "'required_t'")),
         Found(DEM, 1, "required_t", says=("missing",))),
    cell("a row with too few cells", "demand", "metal,2030,600", "metal,2030", Found(DEM, 3, says=("2 cells", "3"))),
    cell("a row with too many cells", "demand", "metal,2030,600", "metal,2030,600,7", Found(DEM, 3, says=("4 cells", "3"))),
    Bad("an empty table file", (Found(DEM, says=("header",)),), tables={"demand": ""}),
    Bad("demand without a row", (Found(DEM, says=("at least one row",)),), tables={"demand": "material,year,required_t\n"}),
    Bad("latin-1 in a table", (Found(SUP, 4, says=("utf-8",)),),
        tables={"suppliers": TABLES["suppliers"].replace("chinese,", "chin\xe9se,").encode("latin-1")}, more=True),
    Bad("latin-1 in case.toml", (Found(TOM, 1, says=("utf-8",)),),
        toml=TOML.replace('"metal"', '"m\xe9tal"').encode("latin-1")),
    Bad("UTF-16 in a table", (Found(DEM, says=("utf-8",)),), tables={"demand": TABLES["demand"].encode("utf-16")}),
    Bad("a NUL byte", (Found(DEM, 3, says=("NUL",)),), tables={"demand": TABLES["demand"].replace("600", "6\x0000")}),
    cell("quotes that do not close", "demand", "metal,2030,600", '"metal,2030,600', Found(DEM, 3, says=("quotes",)),
         more=True),
    toml("not TOML, with the line", "years = [2026, 2030]", "years = [2026, 2030", Found(TOM, 4, says=("toml",))),
    toml("a key twice, with the line", 'home = "USA"', 'home = "USA"\nhome = "JPN"', Found(TOM, says=("toml",))),
)  # fmt: skip

CELLS = (
    cell("text in a number", "demand", "600", "many", Found(DEM, 3, "required_t", "many", ("number",))),
    cell("a thousands separator", "demand", "600", '"1,600"', Found(DEM, 3, "required_t", "1,600", ("thousands",))),
    cell("an underscore in a number", "demand", "600", "1_600", Found(DEM, 3, "required_t", "1_600", ("number",))),
    cell("a decimal comma", "demand", "600", '"0,6"', Found(DEM, 3, "required_t", "0,6", ("decimal point",))),
    cell("a per cent sign", "lanes", "0.25", "25%", Found(LANES, 3, "duty_share", "25%", ("number",))),
    cell("NaN", "demand", "600", "NaN", Found(DEM, 3, "required_t", "NaN", ("number",))),
    cell("inf", "demand", "600", "inf", Found(DEM, 3, "required_t", "inf", ("number",))),
    cell("1e999", "demand", "600", "1e999", Found(DEM, 3, "required_t", "1e999", ("1e12",))),
    cell("1e12 is too large", "demand", "600", "1e12", Found(DEM, 3, "required_t", "1e12", ("1e12",))),
    cell("a cost of -1e12", "suppliers", MINE, MINE.replace("3000", "-1e12"),
         Found(SUP, 2, "cost_usd_per_t", "-1e12", ("1e12",))),
    cell("a required cell blank", "demand", "600", "", Found(DEM, 3, "required_t", says=("needed",))),
    cell("negative capacity", "suppliers", MINE, MINE.replace("2000", "-2000"),
         Found(SUP, 2, "capacity_t", "-2000", ("0 or more",))),
    cell("negative demand", "demand", "600", "-600", Found(DEM, 3, "required_t", "-600", ("0 or more",))),
    cell("negative minimum", "suppliers", MINE, MINE.replace("3000,,", "3000,-1,"), Found(SUP, 2, "min_t", "-1", ("0 or more",))),
    cell("negative price", "materials", "8000", "-8000", Found(MAT, 3, "price_usd_per_t", "-8000", ("0 or more",))),
    cell("negative feedstock", "feedstock", "250", "-250", Found(FEED, 2, "available_t", "-250", ("0 or more",))),
    cell("negative duty", "lanes", "0.25", "-0.25", Found(LANES, 3, "duty_share", "-0.25", ("0 or more",))),
    cell("negative risk", "risk", "0.6", "-0.6", Found(RISK, 3, "value", "-0.6", ("0 or more",))),
    cell("recovery 0", "suppliers", PLANT, PLANT.replace("0.8", "0"), Found(SUP, 3, "recovery", "0", ("above 0",))),
    cell("negative recovery", "suppliers", PLANT, PLANT.replace("0.8", "-0.8"), Found(SUP, 3, "recovery", "-0.8", ("above 0",))),
    cell("an unknown country", "suppliers", MINE, MINE.replace("AUS", "AUZ"), Found(SUP, 2, "country", "AUZ", ("ISO 3166",))),
    cell("a lower-case country", "suppliers", MINE, MINE.replace("AUS", "aus"), Found(SUP, 2, "country", "aus", ("ISO 3166",))),
    cell("a two-letter country", "blocs", "CHN", "CN", Found(BLOCS, 2, "country", "CN", ("ISO 3166",)), more=True),
    cell("an unknown channel", "suppliers", MINE, MINE.replace("allied", "friendly"),
         Found(SUP, 2, "channel", "friendly", ("domestic", "allied", "recycling", "incumbent"))),
    cell("an unknown stage", "materials", "extraction", "mining",
         Found(MAT, 3, "stage", "mining", ("extraction", "processing", "manufacturing", "feedstock"))),
    cell("an unknown material of a supplier", "suppliers", MINE, MINE.replace(",ore,", ",oar,"),
         Found(SUP, 2, "material", "oar", ("materials.csv", "'ore'"))),
    cell("an unknown input", "suppliers", PLANT, PLANT.replace(",ore,", ",oar,"), Found(SUP, 3, "input", "oar", ("'ore'",))),
    cell("an unknown material in demand", "demand", "metal,2030", "metall,2030", Found(DEM, 3, "material", "metall", ("'metal'",))),
    cell("an unknown material in feedstock", "feedstock", "scrap,2026", "scraps,2026",
         Found(FEED, 2, "material", "scraps", ("'scrap'",)), more=True),
    cell("an unknown material on a lane", "lanes", "*,*,,", "*,*,oar,", Found(LANES, 2, "material", "oar", ("'ore'",))),
    Bad("an unknown supplier in supplier_years", (Found("tables/supplier_years.csv", 2, "supplier", "plunt", ("'plant'",)),),
        tables={"supplier_years": "supplier,year,capacity_t\nplunt,2030,1\n"}),
    Bad("an unknown supplier in byproducts", (Found("tables/byproducts.csv", 2, "supplier", "plunt", ("'plant'",)),),
        tables={"byproducts": "supplier,material,t_per_t\nplunt,ore,0.1\n"}),
    Bad("an unknown material in byproducts", (Found("tables/byproducts.csv", 2, "material", "oar", ("'ore'",)),),
        tables={"byproducts": "supplier,material,t_per_t\nchinese,oar,0.1\n"}),
    cell("a supplier id twice", "suppliers", "chinese,", "plant,", Found(SUP, 4, "supplier", "plant", ("row 3",))),
    cell("a material id twice", "materials", "ore,lithium", "metal,lithium", Found(MAT, 4, "material", "metal", ("row 3",)), more=True),
    Bad("a source id twice", (Found("tables/sources.csv", 3, "id", "a", ("row 2",)),),
        tables={"sources": "id,citation\na,x\na,y\n"}),
    Bad("a source id with a space", (Found("tables/sources.csv", 2, "id", "a b", ("space",)),),
        tables={"sources": "id,citation\na b,x\n"}),
    cell("a supplier named as a market", "suppliers", "chinese,", "home,", Found(SUP, 4, "supplier", "home", ("market",))),
    *(
        cell(f"bad id: {why}", "suppliers", "chinese,", f"{bad},", Found(SUP, 4, "supplier", bad, ("letters",)))
        for why, bad in (
            ("a formula", "=1+1"), ("a path", "../x"), ("two dots inside", "a..b"), ("a leading dash", "-x"), ("a slash", "a/b"),
            ("81 characters", "a" * 81), ("a leading @", "@x"), ("markup", "[red]x"), ("not ASCII", "lítio"),
        )
    ),
    cell("bad id of a material", "materials", "scrap,lithium,feedstock,\n", "scrap,lithium,feedstock,\n=1+1,lithium,extraction,\n",
         Found(MAT, 3, "material", "=1+1", ("letters",))),
    cell("bad id of a mineral", "materials", "scrap,lithium", "scrap,@lithium", Found(MAT, 2, "mineral", "@lithium", ("letters",))),
    cell("a year below 1900", "demand", "2026", "1899", Found(DEM, 2, "year", "1899", ("1900", "2500"))),
    cell("a year above 2500", "demand", "2030", "2501", Found(DEM, 3, "year", "2501", ("1900", "2500"))),
    cell("a year that is not whole", "demand", "2030", "2030.5", Found(DEM, 3, "year", "2030.5", ("whole",))),
    cell("from_year after to_year", "suppliers", MINE, "mine,AUS,allied,ore,,,2000,3000,,2031,2027",
         Found(SUP, 2, "from_year", "2031", ("to_year", "2027"))),
    cell("from_year after to_year in a bloc", "blocs", "CHN,,", "CHN,2031,2027", Found(BLOCS, 2, "from_year", "2031", ("2027",))),
    cell("min_t above capacity_t", "suppliers", PLANT, PLANT.replace("11000,", "11000,801"),
         Found(SUP, 3, "min_t", "801", ("capacity_t", "800"))),
    Bad("min_t above capacity_t by supplier_years", (Found(SUP, 3, "min_t", "700", ("600", "2030")),),
        edits=(("suppliers", PLANT, PLANT.replace("11000,", "11000,700")),),
        tables={"supplier_years": "supplier,year,capacity_t\nplant,2028,600\n"}),
    cell("a lane from an unknown supplier", "lanes", "country:CHN,", "chinesse,", Found(LANES, 3, "origin", "chinesse", ("'chinese'",))),
    cell("a lane from a market", "lanes", "country:CHN,", "home,", Found(LANES, 3, "origin", "home", ("supplier",))),
    cell("a lane to an unknown market", "lanes", "country:USA", "hume", Found(LANES, 3, "destination", "hume", ("'home'",))),
    cell("a lane from an unknown bloc", "lanes", "country:CHN,", "bloc:coverd,", Found(LANES, 3, "origin", "bloc:coverd", ("covered",))),
    cell("a lane from an unknown country", "lanes", "country:CHN,", "country:CHX,", Found(LANES, 3, "origin", "country:CHX", ("ISO3",))),
    cell("a lane from a lower-case country", "lanes", "country:CHN,", "country:chn,", Found(LANES, 3, "origin", "country:chn", ("ISO3",))),
    cell("two lane rows that contradict each other", "lanes", ",0.25,\n", ",0.25,\ncountry:CHN,country:USA,,,0.3,\n",
         Found(LANES, 4, "duty_share", says=("contradicts", "row 3"))),
    Bad("from_year after to_year on a lane", (Found(LANES, 2, "from_year", "2031", ("2027",)),),
        tables={"lanes": "origin,destination,duty_share,from_year,to_year\n*,*,0.1,2031,2027\n"}),
    Bad("two blocs that contradict each other on a lane", (Found(LANES, 5, "freight_usd_per_t", says=("contradicts", "row 4")),),
        tables={"blocs": "bloc,country\ncovered,CHN\nasian,CHN\n"},
        edits=(("lanes", ",0.25,\n", ",0.25,\nbloc:covered,*,,10,,\nbloc:asian,*,,20,,\n"),)),
    cell("a circular chain of materials", "suppliers", MINE, MINE.replace(",ore,,", ",ore,metal,"),
         Found(SUP, says=("ore", "metal", "->"))),
    cell("a supplier that eats what it makes", "suppliers", MINE, MINE.replace(",ore,,", ",ore,ore,"), Found(SUP, 2, says=("ore -> ore",))),
    Bad("a circle through a by-product", (Found(SUP, 2, says=("ore", "slag", "->")),),
        tables={"byproducts": "supplier,material,t_per_t\nplant,slag,0.1\n"},
        edits=(("materials", "ore,lithium", "slag,lithium,extraction,\nore,lithium"),
               ("suppliers", MINE, MINE.replace(",ore,,", ",ore,slag,")))),
    Bad("a by-product that is the main product", (Found("tables/byproducts.csv", 2, "material", "metal", ("main",)),),
        tables={"byproducts": "supplier,material,t_per_t\nplant,metal,0.1\n"}),
    Bad("a by-product that is the input", (Found("tables/byproducts.csv", 2, "material", "ore", ("input",)),),
        tables={"byproducts": "supplier,material,t_per_t\nplant,ore,0.1\n"}),
    cell("demand for a feedstock", "demand", "metal,2030,600\n", "metal,2030,600\nscrap,2030,5\n",
         Found(DEM, 4, "material", "scrap", ("feedstock",))),
    cell("feedstock of another stage", "feedstock", "scrap,2026,250\n", "scrap,2026,250\nore,2026,5\n",
         Found(FEED, 3, "material", "ore", ("feedstock",))),
    Bad("a feedstock without rows or producer", (Found(MAT, 2, "material", "scrap", ("feedstock.csv", "producer")),),
        tables={"feedstock": None}),
    cell("a demand key twice", "demand", "metal,2030,600", "metal,2026,600", Found(DEM, 3, says=("row 2",))),
    cell("a feedstock key twice", "feedstock", "scrap,2026,250\n", "scrap,2026,250\nscrap,2026,9\n", Found(FEED, 3, says=("row 2",))),
    Bad("a supplier_years key twice", (Found("tables/supplier_years.csv", 3, says=("row 2",)),),
        tables={"supplier_years": "supplier,year,capacity_t,min_t\nplant,2030,600,\nplant,2030,,5\n"}),
)  # fmt: skip

SHARE = 'name = "r"\nkind = "share"\nwhere = { channel = "domestic" }\n'
RULES = (
    rule("a share above 1", SHARE + "min = 1.2", Found(TOM, column="rules.r.min", value="1.2", says=("1",))),
    rule("a negative share", SHARE + "max = -0.1", Found(TOM, column="rules.r.max", value="-0.1", says=("0",))),
    rule("a share in per cent", SHARE + "max = 40", Found(TOM, column="rules.r.max", value="40")),
    rule("a share that is text", SHARE + 'max = "half"', Found(TOM, column="rules.r.max", value="half", says=("number",))),
    rule("a share that is nan", SHARE + "max = nan", Found(TOM, column="rules.r.max")),
    rule("a share rule without limit", SHARE, Found(TOM, column="rules.r", says=("min", "max"))),
    rule("min above max", SHARE + "min = 0.6\nmax = 0.5", Found(TOM, column="rules.r", says=("0.6", "0.5"))),
    rule("an HHI above 1", 'name = "r"\nkind = "hhi"\nmax = 2500', Found(TOM, column="rules.r", says=("2500", "1"))),
    rule("half a supplier", 'name = "r"\nkind = "suppliers"\nmin = 1.5', Found(TOM, column="rules.r.min", value="1.5")),
    rule("an unknown kind", 'name = "r"\nkind = "shares"\nmax = 0.5', Found(TOM, column="rules.r.kind", value="shares", says=("'share'",))),
    rule("no kind", 'name = "r"\nmax = 0.5', Found(TOM, column="rules.r.kind", says=("each_share",))),
    rule("no name", SHARE.split("\n", 1)[1] + "max = 0.5", Found(TOM, column="name", says=("needed",))),
    rule("a name with a space", SHARE.replace('"r"', '"my rule"') + "max = 0.5", Found(TOM, column="name", value="my rule")),
    rule("an unknown key in a rule, nearest named", SHARE + "maxx = 0.5\nmin = 0", Found(TOM, column="rules.r.maxx", says=("unknown key", "'max'"))),
    rule("an unknown key in where", 'name = "r"\nkind = "ban"\nwhere = { countries = "CHN" }',
         Found(TOM, column="rules.r.where.countries", says=("unknown key", "'country'")), more=True),
    rule("an unknown stage of a rule", SHARE + 'max = 0.5\nstage = "mining"', Found(TOM, column="rules.r.stage", value="mining")),
    rule("no where", 'name = "r"\nkind = "ban"', Found(TOM, column="rules.r.where", says=("needed",))),
    rule("an empty where", 'name = "r"\nkind = "ban"\nwhere = {}', Found(TOM, column="rules.r.where", says=("at least one",))),
    rule("an empty list in where", 'name = "r"\nkind = "ban"\nwhere = { country = [] }', Found(TOM, column="rules.r.where")),
    rule("an unknown country in a rule", 'name = "r"\nkind = "ban"\nwhere = { country = "CHX" }', Found(TOM, column="rules.r.where.country", says=("CHX",))),
    rule("an unknown channel in a rule", 'name = "r"\nkind = "ban"\nwhere = { channel = "home" }', Found(TOM, column="rules.r.where.channel", says=("home", "domestic"))),
    rule("a rule that matches nothing", 'name = "r"\nkind = "ban"\nwhere = { country = "PER" }', Found(TOM, column="rules.r", says=("matches nothing",))),
    rule("a rule at a stage without materials", SHARE + 'max = 0.5\nstage = "manufacturing"', Found(TOM, column="rules.r", says=("nothing",))),
    rule("a rule in force in no year", SHARE + "max = 0.5\nfrom_year = 2031", Found(TOM, column="rules.r", says=("2026", "2030"))),
    rule("a rule between the horizon years", SHARE + "max = 0.5\nfrom_year = 2027\nto_year = 2029", Found(TOM, column="rules.r", says=("2026", "2030"))),
    rule("a rule whose from_year is after to_year", SHARE + "max = 0.5\nfrom_year = 2030\nto_year = 2026", Found(TOM, column="rules.r", says=("from_year", "to_year"))),
    rule("an unknown bloc", 'name = "r"\nkind = "ban"\nwhere = { bloc = "coverd" }', Found(TOM, column="rules.r.where.bloc", value="coverd", says=("'covered'",))),
    rule("an unknown controller bloc", 'name = "r"\nkind = "ban"\nwhere = { controller_bloc = "coverd" }', Found(TOM, column="rules.r.where.controller_bloc", value="coverd", says=("'covered'",))),
    rule("an unknown supplier in a rule", 'name = "r"\nkind = "ban"\nwhere = { supplier = "plunt" }', Found(TOM, column="rules.r.where.supplier", value="plunt", says=("'plant'",))),
    rule("an unknown market in a rule", SHARE + 'max = 0.5\nmarket = "hme"', Found(TOM, column="rules.r.market", value="hme", says=("'home'",))),
    rule("a market at another stage", SHARE + 'max = 0.5\nmarket = "home"\nstage = "processing"', Found(TOM, column="rules.r", says=("delivered",))),
    rule("an unknown mineral in a rule", SHARE + 'max = 0.5\nmineral = "litium"', Found(TOM, column="rules.r.mineral", value="litium", says=("'lithium'",))),
    rule("an unknown material in a rule", SHARE + 'max = 0.5\nmaterial = "mettal"', Found(TOM, column="rules.r.material", value="mettal", says=("'metal'",))),
    rule("an unknown member in except", 'name = "r"\nkind = "each_share"\neach = "supplier"\nmax = 0.5\nexcept = "plunt"', Found(TOM, column="rules.r.except", value="plunt", says=("'plant'",))),
    rule("an unknown indicator", 'name = "r"\nkind = "index"\nindicator = "wgy"\nmax = 0.5', Found(TOM, column="rules.r.indicator", value="wgy", says=("'wgi'",))),
    rule("an unknown weight", 'name = "r"\nkind = "hhi"\nweight = "wgy"\nmax = 0.5', Found(TOM, column="rules.r.weight", value="wgy", says=("'wgi'",))),
    Bad("a country without a risk value", (Found(RISK, says=("CHN", "wgi")),), edits=(("risk", "CHN,wgi,0.6\n", ""),),
        toml=TOML + '[[rules]]\nname = "r"\nkind = "index"\nindicator = "wgi"\nmax = 0.5\n'),
    Bad("two rules of one name", (Found(TOM, value="r", says=("name",)),), toml=TOML + ("[[rules]]\n" + SHARE + "max = 0.9\n") * 2),
    rule("a premium budget without incumbents", 'name = "r"\nkind = "budget"\nof = "premium"\nmax_usd_per_y = 1e6', Found(TOM, column="rules.r", says=("incumbent_t",))),
    rule("a budget without its limit", 'name = "r"\nkind = "budget"', Found(TOM, column="rules.r.max_usd_per_y", says=("needed",))),
)  # fmt: skip

SETTINGS = (
    toml("years not increasing", "[2026, 2030]", "[2030, 2026]", Found(TOM, column="horizon.years", says=("increasing",))),
    toml("a year twice", "[2026, 2030]", "[2030, 2030]", Found(TOM, column="horizon.years", says=("increasing",))),
    toml("no years", "[2026, 2030]", "[]", Found(TOM, column="horizon.years")),
    toml("years missing", "years = [2026, 2030]\n", "", Found(TOM, column="horizon.years", says=("needed",))),
    toml("a horizon year out of range", "2030]", "2600]", Found(TOM, column="horizon.years", value="2600")),
    toml("home missing", 'home = "USA"\n', "", Found(TOM, column="market.home", says=("needed",))),
    toml("home is no country", '"USA"', '"US"', Found(TOM, column="market.home", value="US")),
    toml("market missing", '[market]\nhome = "USA"\n', "", Found(TOM, column="market", says=("needed",))),
    toml("an unknown section", "[market]", "[solver]\nseconds = 3\n[market]", Found(TOM, column="solver", says=("unknown key", "'solve'"))),
    toml("an unknown key at the top", "name", "nam", Found(TOM, column="nam", says=("unknown key", "'name'"))),
    toml("an unknown key in horizon", "[market]", "discount = 0.05\n[market]", Found(TOM, column="horizon.discount", says=("unknown key", "'discount_rate'"))),
    toml("an unknown key in market", 'home = "USA"', 'home = "USA"\nhomes = "USA"', Found(TOM, column="market.homes", says=("unknown key", "'home'"))),
    toml("an unknown key in solve", "[market]", "[solve]\nsecond = 3\n[market]", Found(TOM, column="solve.second", says=("unknown key", "'seconds'"))),
    toml("an unknown key in network", "[market]", "[network]\nlane = 3\n[market]", Found(TOM, column="network.lane", says=("unknown key", "'lanes'"))),
    toml("an unknown key in a scenario", "[market]", "[scenarios.x]\nsets = 3\n[market]", Found(TOM, column="scenarios.x.sets", says=("unknown key", "'set'"))),
    toml("an unknown key in a scenario's change", "[market]",
         '[[scenarios.x.change]]\ntable = "suppliers"\nwher = {}\nwhere = {}\nset = { capacity_t = 1 }\n[market]',
         Found(TOM, column="scenarios.x.change.0.wher", says=("unknown key", "'where'"))),
    toml("an unknown key in a scenario's rule", "[market]",
         '[[scenarios.x.rules]]\nname = "y"\nkind = "ban"\nwhere = { country = "CHN" }\nmaxx = 3\n[market]',
         Found(TOM, column="maxx", says=("unknown key",))),
    toml("a change with two operations", "[market]",
         '[[scenarios.x.change]]\ntable = "suppliers"\nwhere = {}\nset = { capacity_t = 1 }\nadd = { capacity_t = 1 }\n[market]',
         Found(TOM, column="scenarios.x", says=("one of set, scale, add",))),
    toml("a scenario name with a dot", "[market]", '[scenarios."a.b"]\ntitle = "x"\n[market]', Found(TOM, column="scenarios", says=("letters",))),
    toml("a discount rate above 1", "[market]", "discount_rate = 5\n[market]", Found(TOM, column="horizon.discount_rate", value="5")),
    toml("an unknown way to read lanes", "[market]", '[network]\nlanes = "closed"\n[market]', Found(TOM, column="network.lanes", value="closed", says=("open", "listed"))),
    toml("a time limit of 0", "[market]", "[solve]\nseconds = 0\n[market]", Found(TOM, column="solve.seconds")),
    toml("a market in no country", 'home = "USA"', 'home = "USA"\ncountries = { japan = "JAP" }', Found(TOM, column="market.countries.japan", value="JAP")),
    toml("home put elsewhere", 'home = "USA"', 'home = "USA"\ncountries = { home = "CHN" }', Found(TOM, column="market.countries", says=("home",))),
    rule("a share that is true", SHARE + "max = true", Found(TOM, column="rules.r.max", says=("number",))),
    toml("rules that are no list", 'name = "metal"', 'rules = 3', Found(TOM, column="rules", says=("[[rules]]",))),
)  # fmt: skip


def grown(name: str, columns: str, cells: str, *found: Found) -> Bad:
    """More columns of suppliers.csv, filled in for the mine (row 2) alone."""
    blank = "," * cells.count(",")
    rows = [f"{row},{columns if place == 0 else cells if row == MINE else blank}"
            for place, row in enumerate(TABLES["suppliers"].splitlines())]  # fmt: skip
    return Bad(name, found, tables={"suppliers": "\n".join(rows) + "\n"})


def added(name: str, table: str, text: str, *found: Found) -> Bad:
    """One more table."""
    return Bad(name, found, tables={table: text})


STOCK, SUBST = "tables/stock.csv", "tables/substitution.csv"
YEARS = (
    *(grown(f"a negative {column}", column, "-1", Found(SUP, 2, column, "-1", ("0 or more",)))
      for column in ("max_expansion_t", "capex_usd_per_t", "lead_years", "open_usd", "ramp_years", "credit_usd_per_t",
                     "floor_usd_per_t")),
    grown("a life of 0 years", "life_years", "0", Found(SUP, 2, "life_years", "0", ("above 0",))),
    *(grown(f"{column} in per cent", column, "5", Found(SUP, 2, column, "5", ("0 to 1",)))
      for column in ("cost_of_capital", "credit_share", "grant_share")),
    grown("a floor that nobody pays", "floor_usd_per_t", "9000", Found(SUP, 2, "floor_paid_by", says=("public or buyers",))),
    grown("a floor paid by another", "floor_usd_per_t,floor_paid_by", "9000,state", Found(SUP, 2, "floor_paid_by", "state", ("one of public, buyers",))),
    Bad("a floor without a reference price", (Found(SUP, 2, "floor_usd_per_t", "9000", ("price_usd_per_t of ore",)),),
        edits=(("materials", "8000", ""),), tables=grown("", "floor_usd_per_t,floor_paid_by", "9000,public").tables),
    added("a stock of an unknown material", "stock", "material\nsteel\n", Found(STOCK, 2, "material", "steel")),
    added("a stock of what is not required", "stock", "material\nore\n", Found(STOCK, 2, "material", "ore", ("does not require",))),
    added("a stock in a market without demand", "stock", "material,market\nmetal,japan\n", Found(STOCK, 2, "material", says=("japan",))),
    added("more in stock than it holds", "stock", "material,opening_t,max_t\nmetal,11,10\n", Found(STOCK, 2, "opening_t", "11", ("max_t 10",))),
    added("more to be left than it holds", "stock", "material,closing_min_t,max_t\nmetal,11,10\n", Found(STOCK, 2, "closing_min_t", "11", ("max_t 10",))),
    added("a stock twice", "stock", "material,market\nmetal,\nmetal,home\n", Found(STOCK, 3, says=("row 2",))),
    added("a negative stock", "stock", "material,opening_t\nmetal,-1\n", Found(STOCK, 2, "opening_t", "-1")),
    added("a step of an unknown material", "substitution", "material,year,step,max_share,usd_per_t\nsteel,2026,a,0.1,5\n", Found(SUBST, 2, "material", "steel")),
    added("a step of what is not required", "substitution", "material,year,step,max_share,usd_per_t\nore,2026,a,0.1,5\n", Found(SUBST, 2, "material", "ore")),
    added("steps above everything", "substitution", "material,year,step,max_share,usd_per_t\nmetal,2026,a,0.6,5\nmetal,2026,b,0.5,5\n",
          Found(SUBST, 3, "max_share", says=("1.1",))),
    added("a step twice", "substitution", "material,year,step,max_share,usd_per_t\nmetal,2026,a,0.6,5\nmetal,2026,a,0.5,5\n", Found(SUBST, 3, says=("row 2",))),
    added("a credit above 1 from a year on", "supplier_years", "supplier,year,credit_share\nmine,2026,2\n",
          Found("tables/supplier_years.csv", 2, "credit_share", "2")),
    rule("stock_days without stock", 'name = "r"\nkind = "stock_days"\ndays = 30', Found(TOM, column="rules.r", says=("no stock",))),
    rule("stock_days at a stage", 'name = "r"\nkind = "stock_days"\ndays = 30\nstage = "extraction"', Found(TOM, column="rules.r", says=("no stage",))),
    rule("negative days", 'name = "r"\nkind = "stock_days"\ndays = -3', Found(TOM, column="rules.r.days", value="-3")),
    rule("a budget of nothing known", 'name = "r"\nkind = "budget"\nof = "private"\nmax_usd_per_y = 1', Found(TOM, column="rules.r.of", value="private")),
)  # fmt: skip

DIS = "tables/disruptions.csv"
SURVIVE = 'name = "r"\nkind = "survive"\n'


def disruptions(name: str, text: str, *found: Found, more: bool = False) -> Bad:
    """The case with a disruptions.csv."""
    return Bad(name, found, tables={"disruptions": text}, more=more)


RISK_TABLE = (
    disruptions("a probability above 1", "scenario,probability,country,available_share\nx,1.2,CHN,0\n",
                Found(DIS, 2, "probability", "1.2", ("0", "1"))),
    disruptions("a share above 1", "scenario,probability,country,available_share\nx,0.2,CHN,50\n",
                Found(DIS, 2, "available_share", "50")),
    disruptions("a negative multiple", "scenario,probability,country,cost_multiple\nx,0.2,CHN,-1\n", Found(DIS, 2, "cost_multiple", "-1")),
    disruptions("no probability", "scenario,country\nx,CHN\n", Found(DIS, 1, "probability", says=("missing",))),
    disruptions("a scenario name with a space", "scenario,probability,country\nbig storm,0.2,CHN\n", Found(DIS, 2, "scenario", "big storm")),
    disruptions("two things hit in a row", "scenario,probability,country,channel,available_share\nx,0.2,CHN,allied,0\n",
                Found(DIS, 2, "channel", "allied", ("a row for each thing",))),
    disruptions("material and mineral", "scenario,probability,country,material,mineral,available_share\nx,0.2,CHN,ore,lithium,0\n",
                Found(DIS, 2, "mineral", "lithium", ("not both",))),
    disruptions("names that are not there", "scenario,probability,supplier,bloc,material,mineral,market,demand_multiple\n"
                "x,0.2,plan,,,,,\nx,0.2,,coverd,,,,\nx,0.2,,,oar,,,2\nx,0.2,,,,litium,,2\nx,0.2,,,,,japan,2\n",
                Found(DIS, 2, "supplier", "plan", ("'plant'",)), Found(DIS, 3, "bloc", "coverd", ("'covered'",)),
                Found(DIS, 4, "material", "oar", ("'ore'",)), Found(DIS, 5, "mineral", "litium", ("'lithium'",)),
                Found(DIS, 6, "market", "japan", ("home",))),
    disruptions("a probability that changes", "scenario,probability,country,available_share\nx,0.2,CHN,0\nx,0.3,AUS,0\n",
                Found(DIS, 3, "probability", "0.3", ("row 2", "0.2"))),
    disruptions("probabilities above 1 in all", "scenario,probability,country,available_share\nx,0.6,CHN,0\ny,0.5,AUS,0\n",
                Found(DIS, 3, "probability", "0.5", ("1.1",))),
    disruptions("a probability below its low", "scenario,probability,probability_low,country,available_share\nx,0.2,0.3,CHN,0\n",
                Found(DIS, 2, "probability_low", "0.3", ("0.2", "<="))),
    disruptions("a probability above its high", "scenario,probability,probability_high,country,available_share\nx,0.2,0.1,CHN,0\n",
                Found(DIS, 2, "probability_high", "0.1", ("0.2", "<="))),
    disruptions("a low that is no share", "scenario,probability,probability_low,country,available_share\nx,0.2,-1,CHN,0\n",
                Found(DIS, 2, "probability_low", "-1")),
    disruptions("a basis of nothing known", "scenario,probability,probability_basis,country,available_share\nx,0.2,hunch,CHN,0\n",
                Found(DIS, 2, "probability_basis", "hunch", ("published", "computed", "guess"))),
    disruptions("a range, a basis and a package that change",
                "scenario,probability,probability_low,probability_high,probability_basis,package,country,available_share\n"
                "x,0.2,0.1,0.3,guess,a,CHN,0\nx,0.2,,0.4,computed,,AUS,0\n",
                Found(DIS, 3, "probability_low", says=("0.1", "row 2")), Found(DIS, 3, "probability_high", "0.4", ("0.3", "row 2")),
                Found(DIS, 3, "probability_basis", "computed", ("guess",)), Found(DIS, 3, "package", says=("a", "row 2"))),
    cell("a surge share above 1", "suppliers", "to_year\nmine,AUS,allied,ore,,,2000,3000,,,", "to_year,surge_share\nmine,AUS,allied,ore,,,2000,3000,,,,2",
         Found(SUP, 2, "surge_share", "2"), more=True),
    rule("a loss of nothing known", SURVIVE + 'lose = "every country"\nserve = 0.8', Found(TOM, column="rules.r", says=("each country", "scenario:NAME"))),
    rule("a bloc to lose that is not there", SURVIVE + 'lose = "bloc:coverd"\nserve = 0.8', Found(TOM, column="rules.r.lose", value="coverd", says=("'covered'",))),
    rule("a country to lose that is none", SURVIVE + 'lose = "country:CHI"\nserve = 0.8', Found(TOM, column="rules.r.lose", value="CHI")),
    rule("a scenario to lose that is not there", SURVIVE + 'lose = "scenario:x"\nserve = 0.8', Found(TOM, column="rules.r.lose", value="x", says=("disruptions.csv",))),
    rule("serve above 1", SURVIVE + 'lose = "each country"\nserve = 1.5', Found(TOM, column="rules.r.serve", value="1.5")),
    rule("no serve", SURVIVE + 'lose = "each country"', Found(TOM, column="rules.r.serve", says=("needed",))),
    rule("no months", SURVIVE + 'lose = "each country"\nserve = 0.8\nmonths = 0', Found(TOM, column="rules.r.months", value="0")),
    rule("an exception to one country", SURVIVE + 'lose = "country:CHN"\nexcept = ["CHN"]\nserve = 0.8', Found(TOM, column="rules.r", says=("except",))),
    rule("an exception that is no member", SURVIVE + 'lose = "each supplier"\nexcept = ["plan"]\nserve = 0.8', Found(TOM, column="rules.r.except", value="plan", says=("'plant'",))),
    rule("everything spared", SURVIVE + 'lose = "each supplier"\nexcept = ["mine", "plant", "chinese", "recycler"]\nserve = 0.8',
         Found(TOM, column="rules.r.except", says=("nothing is left",))),
    rule("survive at a stage", SURVIVE + 'stage = "extraction"\nlose = "each country"\nserve = 0.8', Found(TOM, column="rules.r", says=("no stage",))),
    rule("provenance at a stage", 'name = "r"\nkind = "provenance"\nstage = "extraction"\nwhere = { country = "CHN" }', Found(TOM, column="rules.r", says=("no stage",))),
    rule("provenance of nobody", 'name = "r"\nkind = "provenance"\nwhere = { country = "JPN" }', Found(TOM, column="rules.r", says=("matches nothing",))),
    rule("provenance without a selection", 'name = "r"\nkind = "provenance"\nmax = 0.1', Found(TOM, column="rules.r.where", says=("needed",))),
    toml("a survive rule of a scenario", "[market]",
         '[[scenarios.x.rules]]\nname = "y"\nkind = "survive"\nlose = "each country"\nserve = 8\n[market]', Found(TOM, column="scenarios.x.rules.y.serve", value="8")),
)  # fmt: skip


def spoiled(bad: Bad) -> dict[str, str | bytes]:
    """The tables of the case with the defect in them."""
    tables: dict[str, Any] = dict(TABLES)
    for table, old, new in bad.edits:
        assert old in tables[table], f"nothing to spoil: {old!r}"
        tables[table] = tables[table].replace(old, new, 1)
    tables.update(bad.tables)
    return {name: text for name, text in tables.items() if text is not None}


@pytest.mark.parametrize("bad", [*FILES, *CELLS, *RULES, *SETTINGS, *YEARS, *RISK_TABLE], ids=lambda bad: bad.name)
def test_a_defect_is_named_and_nothing_is_written(bad: Bad, write_case: Callable[..., Path], oremix: Any) -> None:
    done = oremix("optimize", write_case(spoiled(bad), bad.toml), "--json")
    assert done.code == 2, done.out[:400]
    document = done.document
    assert document["status"] == "error" and document["objective_usd"] is None
    errors = document["errors"]
    assert all(set(error) == {"file", "row", "column", "value", "message"} for error in errors)
    for wanted in bad.found:
        assert any(wanted.matches(error) for error in errors), errors
    if not bad.more:
        assert len(errors) == len(bad.found), errors
    assert list(Path.cwd().iterdir()) == []
    assert done.err == ""


def test_the_sound_case_is_accepted(write_case: Callable[..., Path], oremix: Any) -> None:
    """Without the defects the case above solves: each test shows its own defect only."""
    done = oremix("optimize", write_case(TABLES, TOML), "--json")
    assert done.code == 0 and done.document["status"] == "optimal"


def test_people_read_file_row_column_on_stderr(write_case: Callable[..., Path], oremix: Any) -> None:
    tables = {**TABLES, "demand": TABLES["demand"].replace("600", "-600")}
    done = oremix("optimize", write_case(tables, TOML))
    assert (done.code, done.out) == (2, "")
    assert "tables/demand.csv:3:required_t" in done.err and "-600" in done.err and "0 or more" in done.err
    assert "Traceback" not in done.err


def places(errors: list[dict[str, Any]]) -> set[tuple[str, int | None, str]]:
    return {(error["file"], error["row"], error["column"]) for error in errors}


def test_problems_of_cells_and_rules_come_all_at_once(write_case: Callable[..., Path], oremix: Any) -> None:
    tables = dict(TABLES)
    tables["demand"] = "material,year,required_t\nmetal,1026,400\nmetal,2030,many\nmetal,2031\n"
    tables["suppliers"] = tables["suppliers"].replace("AUS", "aus").replace("2000", "-1").replace("0.8,300", "0,300")
    tables["stock"] = "stok\n"
    rules = '[[rules]]\nname = "a"\nkind = "hhi"\nmax = 3\n[[rules]]\nname = "b"\nkind = "hhi"\nmaxx = 3\n'
    done = oremix("check", write_case(tables, TOML + rules), "--json")
    assert done.code == 2
    assert places(done.document["errors"]) >= {
        (DEM, 2, "year"), (DEM, 3, "required_t"), (DEM, 4, ""), (SUP, 2, "country"), (SUP, 2, "capacity_t"),
        (SUP, 5, "recovery"), ("tables/stock.csv", 1, "stok"), (TOM, None, "rules.a"), (TOM, None, "rules.b.max"),
        (TOM, None, "rules.b.maxx"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("edits", "extra", "wanted"),
    [
        ((("lanes", "country:CHN,", "chinesse,"), ("demand", "metal,2030,600", "metal,2026,600")), "",
         {(LANES, 3, "origin"), (DEM, 3, "material+sector+year")}),
        ((("lanes", "country:CHN,", "chinesse,"),), '[[rules]]\nname = "r"\nkind = "ban"\nwhere = { bloc = "coverd" }\n',
         {(LANES, 3, "origin"), (TOM, None, "rules.r.where.bloc")}),
        ((("lanes", "country:CHN,", "chinesse,"),), "[solve]\nsecond = 3\n", {(LANES, 3, "origin"), (TOM, None, "solve.second")}),
        ((("demand", "600", "many"), ("suppliers", MINE, "mine,AUS,allied,ore,,,2000,3000,,2031,2027")), "",
         {(DEM, 3, "required_t"), (SUP, 2, "from_year")}),
        ((("lanes", "country:CHN,", "chinesse,"), ("suppliers", MINE, "mine,AUS,allied,ore,,,2000,3000,,2031,2027")), "",
         {(LANES, 3, "origin"), (SUP, 2, "from_year")}),
        ((("suppliers", PLANT, PLANT.replace("11000,", "11000,801")),), '[[rules]]\nname = "r"\nkind = "ban"\nwhere = { bloc = "coverd" }\n',
         {(SUP, 3, "min_t"), (TOM, None, "rules.r.where.bloc")}),
        ((("suppliers", PLANT, PLANT.replace("11000,", "11000,801")), ("lanes", ",0.25,\n", ",0.25,\ncountry:CHN,country:USA,,,0.3,\n")), "",
         {(SUP, 3, "min_t"), (LANES, 4, "duty_share")}),
    ],
    ids=["two references", "a reference and a rule", "a reference and a key", "a cell and a pair of years",
         "a reference and a pair of years", "a minimum and a rule", "a minimum and two lanes"],
)  # fmt: skip
def test_problems_of_different_kinds_come_at_once(
    edits: tuple[tuple[str, str, str], ...], extra: str, wanted: set[Any], write_case: Callable[..., Path], oremix: Any
) -> None:
    """Neither of the two depends on the other, so one run names both."""
    done = oremix("check", write_case(spoiled(Bad("", (), edits)), TOML + extra), "--json")
    found = {(file, row) for file, row, _ in places(done.document["errors"])}
    assert {(file, row) for file, row, _ in wanted} <= found, done.document["errors"]


def test_one_bad_cell_does_not_blame_sound_rows(write_case: Callable[..., Path], oremix: Any) -> None:
    """The row with the bad id is named; rows that refer to other, sound suppliers are not."""
    tables = {**TABLES, "supplier_years": "supplier,year,capacity_t\nplant,2030,900\nmine,2030,3000\n"}
    tables["suppliers"] = tables["suppliers"].replace("chinese,", "=1+1,")
    errors = oremix("check", write_case(tables, TOML), "--json").document["errors"]
    assert [(e["file"], e["row"]) for e in errors] == [(SUP, 4)]


def test_rows_are_counted_as_an_editor_counts_them(write_case: Callable[..., Path], oremix: Any) -> None:
    """Blank lines are skipped, but they are lines: the defect stands in line 6."""
    text = "material,year,required_t\n\nmetal,2026,400\n\n  \nmetal,2030,many\n"
    errors = oremix("check", write_case({**TABLES, "demand": text}, TOML), "--json").document["errors"]
    assert places(errors) == {(DEM, 6, "required_t")}


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("demand", b"\xef\xbb\xbf" + TABLES["demand"].encode()),
        ("demand", TABLES["demand"].replace("\n", "\r\n")),
        ("demand", TABLES["demand"].replace("\n", "\n\n")),
        ("demand", TABLES["demand"] + ",,\n , ,\n\n"),
        ("demand", TABLES["demand"].rstrip("\n")),
        ("demand", '"material","year","required_t"\n"metal","2026","400"\n"metal","2030","600"\n'),
        ("demand", "material,year,required_t,note\nmetal,2026,400,\nmetal,2030,600,\"as stated, page 3\"\n"),
        ("demand", "required_t,material,year\n400,metal,2026\n600,metal,2030\n"),
        ("demand", "material,year,required_t\nmetal,2026,0.4e3\nmetal,2030,+6E2\n"),
        ("demand", " material , year,required_t \n metal ,2026, 400\nmetal, 2030,600 \n"),
    ],
    ids=["BOM", "CRLF", "blank lines", "trailing blank rows", "no last newline", "quoted cells", "a quoted comma",
         "columns in another order", "exponents", "blanks around cells"],
)  # fmt: skip
def test_other_spellings_give_the_same_plan(
    table: str, text: str | bytes, write_case: Callable[..., Path], oremix: Any
) -> None:
    plain = oremix("optimize", write_case(TABLES, TOML, "plain"), "--json").document
    spelt = oremix("optimize", write_case({**TABLES, table: text}, TOML, "spelt"), "--json")
    assert spelt.code == 0, spelt.out
    assert spelt.document["objective_usd"] == plain["objective_usd"]
    assert spelt.document["flows"] == plain["flows"]


def test_case_toml_with_bom_and_crlf_is_read(write_case: Callable[..., Path], oremix: Any) -> None:
    assert oremix("check", write_case(TABLES, b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode())).code == 0


@pytest.mark.parametrize(
    ("table", "old", "new", "warned"),
    [
        ("suppliers", MINE, MINE.replace("3000", "-3000"), ()),
        ("lanes", "*,*,,1000", "*,*,,-1000", ()),
        ("lanes", "0.25", "1.5", ("duty_share", "above 1")),
        ("suppliers", PLANT, PLANT.replace("0.8", "1.1"), ("plant", "recovery", "above 1")),
        ("suppliers", MINE, MINE.replace("allied", "domestic"), ("mine", "domestic", "AUS")),
        ("suppliers", MINE, MINE.replace("allied", "recycling"), ("mine", "recycling", "feedstock")),
        ("suppliers", MINE, MINE.replace("AUS", "XKX"), ()),
        ("suppliers", PLANT, "plant,USA,domestic,metal,ore,0.8,800,11000,900,2027,2029", ()),
        ("suppliers", "chinese,", "a" * 80 + ",", ()),
        ("suppliers", "chinese,", "9 A_b.c+d-e,", ()),
        ("demand", "600", "999999999999", ()),
    ],
    ids=["negative cost", "negative freight", "duty above 1", "recovery above 1", "domestic away from home", "recycling without feedstock",
         "Kosovo", "min_t above capacity in no active year", "an id of 80 characters", "every character an id may have", "just below 1e12"],
)  # fmt: skip
def test_odd_but_allowed(
    table: str, old: str, new: str, warned: tuple[str, ...], write_case: Callable[..., Path], oremix: Any
) -> None:
    done = oremix("check", write_case(spoiled(Bad("", (), ((table, old, new),))), TOML), "--json")
    assert done.code == 0, done.out
    warnings = done.document["warnings"]
    if warned:
        assert any(all(word in warning for word in warned) for warning in warnings), warnings
    else:
        assert warnings == []


@pytest.mark.parametrize(
    ("columns", "cells", "warned"),
    [
        ("max_expansion_t,lead_years", "10,5", ("mine", "never becomes usable", "2031", "2030")),
        ("max_expansion_t,lead_years,life_years", "10,1,2", ("mine", "never becomes usable", "life of 2 years")),
        ("max_expansion_t,lead_years", "10,4", ()),
        ("capex_usd_per_t", "10", ("mine", "max_expansion_t", "nothing can be added")),
    ],
)
def test_expansions_that_give_nothing_are_warned_of(
    columns: str, cells: str, warned: tuple[str, ...], write_case: Callable[..., Path], oremix: Any
) -> None:
    tables = {**TABLES, **grown("", columns, cells).tables}
    done = oremix("optimize", write_case(tables, TOML), "--json")
    assert done.code == 0 and done.document["expansion"] == [] and done.document["audit"] == []
    said = [line for line in done.document["warnings"] if "never becomes" in line or "nothing can be added" in line]
    assert len(said) == bool(warned) and all(word in said[0] for word in warned)


def test_supplier_years_outside_the_horizon_are_allowed(write_case: Callable[..., Path], oremix: Any) -> None:
    """Below the minimum in 2031, after the horizon: nothing wrong in 2026 and 2030."""
    tables = {**TABLES, "supplier_years": "supplier,year,capacity_t,min_t\nplant,1990,,100\nplant,2031,1,\n"}
    assert oremix("check", write_case(tables, TOML)).code == 0


def test_a_lot_that_cannot_be_reached_is_warned_of(write_case: Callable[..., Path], oremix: Any) -> None:
    tables = {**TABLES, "suppliers": "supplier,country,channel,material,capacity_t,cost_usd_per_t,lot_t\n"
              "chinese,CHN,incumbent,metal,700,9000,\nplant,USA,domestic,metal,800,11000,801\n"}  # fmt: skip
    done = oremix("check", write_case(tables, TOML), "--json")
    assert done.code == 0 and any("plant" in w and "lot_t" in w for w in done.document["warnings"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("optimize", "nowhere"), ("check", "nowhere"), ("show", "nowhere"), ("compare", "nowhere", "nowhere"), ("compare", "nowhere"),
        ("columns", "supplier"), ("presets", "crme"), ("new", "x", "--from", "big"),
        ("optimize", "small", "--mineral", "litium"), ("optimize", "small", "--year", "2031"), ("optimize", "small", "--scenario", "export_bann"),
        ("optimize", "small", "--set", "rules.one_countri.max=0.5"), ("optimize", "small", "--set", "nonsense"),
        ("optimize", "small", "--ban", "coverd"), ("optimize", "small", "--max-country", "150%"), ("optimize", "small", "--max-country", "half"),
        ("optimize", "small", "--max-country", "nan"), ("optimize", "small", "--min-domestic", "-0.1"), ("optimize", "small", "--max-hhi", "2500"),
        ("optimize", "small", "--demand-scale", "-1"), ("optimize", "small", "--demand-scale", "nan"), ("optimize", "small", "--demand-scale", "inf"),
        ("optimize", "small", "--stage", "mining", "--max-country", "0.5"), ("optimize", "small", "--stage", "mining"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_arguments_are_input_errors(arguments: tuple[str, ...], oremix: Any) -> None:
    done = oremix(*arguments, "--json")
    assert done.code == 2, done.out[:300]
    assert done.document["errors"] and all(error["message"] for error in done.document["errors"])
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (("optimize", "small", "--mineral", "litium"), "lithium"), (("optimize", "small", "--scenario", "export_bann"), "export_ban"),
        (("optimize", "small", "--set", "rules.one_countri.max=0.5"), "one_country"), (("optimize", "small", "--ban", "coverd"), "covered"),
        (("optimize", "small", "--set", "supplier.capacity_t=1"), "suppliers"), (("optimize", "small", "--set", "suppliers.capacity=1"), "capacity_t"),
        (("columns", "supplier"), "suppliers"), (("presets", "crme"), "crma"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)  # fmt: skip
def test_the_nearest_name_is_offered(arguments: tuple[str, ...], nearest: str, oremix: Any) -> None:
    done = oremix(*arguments)
    assert done.code == 2 and done.out == "" and repr(nearest) in done.err


def test_a_year_to_show_that_is_not_there_writes_nothing(oremix: Any) -> None:
    done = oremix("optimize", "small", "--show-year", "1999")
    assert done.code == 2 and "1999" in done.err and "2030" in done.err
    assert list(Path.cwd().iterdir()) == []
