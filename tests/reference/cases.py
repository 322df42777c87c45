"""Writes random but valid case folders that use every feature of the foundation in combination."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .random_risk import averse
from .random_rules import KINDS, RISK_KINDS, Drawn, draw_rules, to_toml
from .random_years import grow, year_rules

COUNTRIES = ["AUS", "CAN", "CHL", "CHN", "COD", "FIN", "IDN", "JPN", "KOR", "RUS", "USA", "ZAF"]
INCUMBENTS = ["CHN", "COD", "IDN", "RUS"]
FRIENDS, RIVALS, UNION = ["AUS", "CAN", "CHL", "KOR"], ["CHN", "RUS"], ["FIN", "ZAF"]
ORDER = ["feedstock", "extraction", "processing", "manufacturing"]
TABLES = [
    "materials",
    "suppliers",
    "supplier_years",
    "byproducts",
    "lanes",
    "demand",
    "feedstock",
    "stock",
    "substitution",
    "blocs",
    "risk",
    "disruptions",
    "sources",
]
Table = list[dict[str, Any]]


class Case:
    """A case in the making: the tables as lists of rows, written at the end."""

    def __init__(self, seed: int, most_suppliers: int, year_count: int | None) -> None:
        self.r = random.Random(seed)
        self.name = f"random-{seed}"
        self.most = most_suppliers
        start = self.r.choice([2026, 2028, 2030])
        self.years = [start]
        for _ in range((year_count or self.r.randint(2, 4)) - 1):
            self.years.append(self.years[-1] + self.r.choice([1, 2, 3, 5]))
        self.rate = self.r.choice([0.0, 0.03, 0.05, 0.1])
        self.listed = self.r.random() < 0.25
        self.markets = ["home"] + self.r.sample(["japan", "korea", "spot"], self.r.choice([0, 1, 1, 2]))
        self.tables: dict[str, Table] = {name: [] for name in TABLES}
        self.scale: dict[str, float] = {}  # tonnes that a mineral moves
        self.aversion: dict[str, float] = {}  # section [risk] of case.toml

    def some(self, low: float, high: float, digits: int = 2) -> float:
        return round(self.r.uniform(low, high), digits)

    def chance(self, p: float) -> bool:
        return self.r.random() < p

    # ---- materials and the chain
    def chains(self) -> None:
        minerals = self.r.sample(["lithium", "cobalt", "nickel", "ree", "graphite"], self.r.randint(2, 4))
        self.links: list[tuple[str, str]] = []  # (material, input)
        for mineral in minerals:
            self.scale[mineral] = 10 ** self.r.uniform(1.3, 3)
            self.material(mineral, "extraction", "ore")
            self.material(mineral, "processing", "metal")
            self.links += [(f"{mineral}-ore", ""), (f"{mineral}-metal", f"{mineral}-ore")]
            if self.chance(0.6):
                self.material(mineral, "feedstock", "scrap")
                self.links.append((f"{mineral}-metal", f"{mineral}-scrap"))
            if self.chance(0.25):
                self.material(mineral, "manufacturing", "part")
                self.links.append((f"{mineral}-part", f"{mineral}-metal"))
        if self.chance(0.5):  # a chain that crosses minerals
            fed = self.r.choice(minerals)
            self.scale["magnet"] = self.scale[fed] * self.r.uniform(0.2, 0.5)
            self.material("magnet", "manufacturing", "part")
            self.links.append(("magnet-part", f"{fed}-metal"))
        self.links.sort(key=lambda link: (self.rank(link[0]), link))

    def material(self, mineral: str, stage: str, suffix: str) -> None:
        price = self.some(10, 60) if self.chance(0.8) else None
        name = f"{mineral}-{suffix}"
        row = {"material": name, "mineral": mineral, "stage": stage, "basis": "t", "price_usd_per_t": price}
        self.tables["materials"].append(row)

    def of(self, material: str) -> dict[str, Any]:
        return next(m for m in self.tables["materials"] if m["material"] == material)

    def rank(self, material: str) -> int:
        stage = self.of(material)["stage"]
        return {"extraction": 0, "feedstock": 1, "processing": 2, "manufacturing": 3}[stage]

    # ---- suppliers
    def suppliers(self) -> None:
        counts = [self.r.randint(1, 4) for _ in self.links]
        while sum(counts) > self.most and max(counts) > 1:
            counts[counts.index(max(counts))] -= 1
        for (material, feed), count in zip(self.links, counts, strict=True):
            for i in range(count):
                self.supplier(material, feed, i, count)
        if self.chance(0.3) and any(m["stage"] == "feedstock" for m in self.tables["materials"]):
            scrap = self.r.choice([m["material"] for m in self.tables["materials"] if m["stage"] == "feedstock"])
            self.supplier(scrap, "", 0, 3)  # a collector that sells scrap by lane

    def supplier(self, material: str, feed: str, i: int, count: int) -> None:
        mineral, stage = self.of(material)["mineral"], self.of(material)["stage"]
        recycler = feed.endswith("scrap")
        country = "USA" if self.chance(0.25) else self.r.choice(COUNTRIES)
        channel = "allied"
        if recycler:
            channel = "recycling"
        elif country == "USA":
            channel = "domestic"
        elif country in INCUMBENTS:
            channel = "incumbent"
        size = self.scale[mineral] * {"feedstock": 0.5, "extraction": 2.2}.get(stage, 1.3)
        capacity = round(size * self.r.uniform(0.6, 2.0) / count * (0.4 if recycler else 1.0), 1) + 0.1
        row: dict[str, Any] = {
            "supplier": f"{material}{'-R' if recycler else '-'}{i + 1}",
            "name": f"{material} {country} {i + 1}",
            "country": country,
            "controller": self.r.choice(COUNTRIES) if self.chance(0.2) else None,
            "channel": channel,
            "material": material,
            "input": feed or None,
            "recovery": self.some(0.5, 1.0, 3) if feed and self.chance(0.8) else None,
            "capacity_t": capacity,
            "cost_usd_per_t": self.some(-1, 4) if stage == "feedstock" else self.some(3, 25),
            "cost_basis": self.r.choice(["published", "price", "premium", "assumption", None]),
            "incumbent_t": round(capacity * self.r.uniform(0.2, 1), 1)
            if (i == 0 or self.chance(0.4)) and stage != "feedstock"
            else None,
            "certified": self.r.choice(["yes", "no", None]),
            "emissions_kgco2e_per_t": self.some(0, 12) if self.chance(0.8) else None,
            "source": "s1" if self.chance(0.3) else None,
        }
        if self.chance(0.15) and count > 1:
            row["from_year" if self.chance(0.5) else "to_year"] = self.r.choice(self.years)
        if self.chance(0.12) and not recycler and stage != "feedstock":
            row["min_t"] = round(capacity * self.r.uniform(0.02, 0.15), 2)
        self.tables["suppliers"].append(row)
        if self.chance(0.25):
            self.steps(row)

    def steps(self, row: dict[str, Any]) -> None:
        span = range(self.years[0] - 2, self.years[-1] + 3)
        for year in sorted(self.r.sample(span, min(len(span), self.r.randint(1, 3)))):
            step = {
                "supplier": row["supplier"],
                "year": year,
                "capacity_t": round(row["capacity_t"] * self.r.uniform(0.4, 1.5), 1) if self.chance(0.5) else None,
                "cost_usd_per_t": round(row["cost_usd_per_t"] + self.r.uniform(-2, 6), 2) if self.chance(0.6) else None,
                "min_t": round(row["capacity_t"] * 0.05, 2) if "min_t" in row and self.chance(0.3) else None,
            }
            if all(step[c] is None for c in ("capacity_t", "cost_usd_per_t", "min_t")):
                step["cost_usd_per_t"] = row["cost_usd_per_t"]
            self.tables["supplier_years"].append(step)

    def integers(self) -> None:
        for row in self.tables["suppliers"]:
            if self.chance(0.3):
                row["fixed_usd_per_y"] = round(row["capacity_t"] * self.r.uniform(0.2, 4), 1)
            if self.chance(0.25):
                row["lot_t"] = round(max(row["capacity_t"] * self.r.uniform(0.1, 0.35), row.get("min_t") or 0.0), 2)

    def byproducts(self) -> None:
        """Of a material further down than the input (so no cycle), never the supplier's own."""
        for row in self.tables["suppliers"]:
            level = self.rank(row["input"]) if row["input"] else -1
            others = [
                m["material"]
                for m in self.tables["materials"]
                if m["material"] not in (row["material"], row["input"]) and self.rank(m["material"]) > level
            ]
            if others and self.of(row["material"])["stage"] != "feedstock" and self.chance(0.2):
                for material in self.r.sample(others, min(len(others), self.r.choice([1, 1, 2]))):
                    target, mine = (
                        self.scale[self.of(material)["mineral"]],
                        self.scale[self.of(row["material"])["mineral"]],
                    )
                    rate = round(self.r.uniform(0.05, 0.4) * min(1.0, target / mine), 4)
                    self.tables["byproducts"].append(
                        {"supplier": row["supplier"], "material": material, "t_per_t": rate}
                    )

    # ---- pools and demand
    def feedstocks(self) -> None:
        made = {b["material"] for b in self.tables["byproducts"]} | {s["material"] for s in self.tables["suppliers"]}
        for m in self.tables["materials"]:
            if m["stage"] != "feedstock":
                continue
            if m["material"] in made and self.chance(0.3):  # by lanes alone
                for s in self.tables["suppliers"]:
                    if s["input"] == m["material"]:
                        s["incumbent_t"] = None
                continue
            for year in sorted(self.r.sample(range(self.years[0] - 2, self.years[-1] + 4), self.r.randint(1, 3))):
                available = round(self.scale[m["mineral"]] * self.r.uniform(0.05, 0.6), 2)
                cost = self.some(0, 5) if self.chance(0.8) else None
                row = {"material": m["material"], "year": year, "available_t": available, "cost_usd_per_t": cost}
                self.tables["feedstock"].append(row)

    def demand(self) -> None:
        inputs = {s["input"] for s in self.tables["suppliers"]}
        self.delivered: list[str] = []
        for m in self.tables["materials"]:
            if m["stage"] == "feedstock" or (m["material"] in inputs and not self.chance(0.25)):
                continue
            self.delivered.append(m["material"])
            for market in self.markets:
                if market == "home" or self.chance(0.6):
                    self.requirement(m["material"], market)

    def requirement(self, material: str, market: str) -> None:
        size = self.scale[self.of(material)["mineral"]] * (1.0 if market == "home" else 0.3)
        sectors = self.r.choice([[""], [""], ["defence", "autos"], ["defence", "autos", ""]])
        for i, sector in enumerate(sectors):
            firm = self.chance(0.15)  # must be met, so it is kept small
            span = range(self.years[0] - 3, self.years[-1] + 5)
            for year in sorted(self.r.sample(span, self.r.randint(1, 3))):
                required = round(size * self.r.uniform(0.5, 1.2) / len(sectors) * (0.25 if firm else 1.0), 2)
                if market != "home" and i == 0 and self.chance(0.05):
                    required = 0.0
                price = None if firm else self.some(20, 60) if self.chance(0.2) else self.some(80, 300)
                row = {"material": material, "year": year, "required_t": required, "shortage_usd_per_t": price}
                row["market"] = market if market != "home" or self.chance(0.5) else None
                self.tables["demand"].append(row | {"sector": sector or None})

    # ---- lanes, blocs, risk
    def blocs(self) -> None:
        rows: list[tuple[str, str, int | None, int | None]] = [("friends", c, None, None) for c in FRIENDS[:3]]
        rows.append(("friends", FRIENDS[3], self.r.choice(self.years), None))
        rows += [("rivals", RIVALS[0], None, None), ("rivals", RIVALS[1], None, self.r.choice(self.years))]
        rows += [("union", UNION[0], None, None)]
        rows += [("union", UNION[1], self.years[0] - 5, self.years[0]), ("union", UNION[1], self.years[-1], None)]
        rows += [("inner", c, None, None) for c in FRIENDS[:2]]  # overlaps `friends`
        keys = ["bloc", "country", "from_year", "to_year"]
        self.tables["blocs"] = [dict(zip(keys, row, strict=True)) for row in rows]

    def risk(self) -> None:
        for indicator, top in (("wgi", 10.0), ("esg", 1.0)):
            for country in COUNTRIES:
                first, last = self.years[0], self.years[-1]
                years: list[int | None] = self.r.choice([[None], [first - 4], [last], [first - 1, last]])
                for year in years:
                    value = 0.0 if self.chance(0.05) else self.some(0.05 * top, top, 3)
                    self.tables["risk"].append(
                        {"country": country, "indicator": indicator, "value": value, "year": year}
                    )

    def lanes(self) -> None:
        suppliers = [s["supplier"] for s in self.tables["suppliers"]]
        asking = {row["market"] or "home" for row in self.tables["demand"]}
        takers = [s["supplier"] for s in self.tables["suppliers"] if s["input"]]
        takers += [market for market in self.markets if market in asking]
        materials = [m["material"] for m in self.tables["materials"]]
        blocs = ["bloc:friends", "bloc:rivals", "bloc:union"]
        places = [f"country:{c}" for c in COUNTRIES]
        seen: set[tuple[str, str, str | None]] = set()
        rows = self.tables["lanes"]
        dated = random.Random(f"{self.name} dated")

        def add(origin: str, destination: str, material: str | None, dense: float) -> None:
            if (origin, destination, material) in seen:
                return
            seen.add((origin, destination, material))
            near = origin != "*" and origin not in blocs
            cap = None
            if near and self.chance(0.2):
                mineral = self.of(material)["mineral"] if material else self.r.choice(list(self.scale))
                cap = 0.0 if self.chance(0.1) else round(self.scale[mineral] * self.r.uniform(0.1, 0.8), 2)
            row = {
                "origin": origin,
                "destination": destination,
                "material": material,
                "freight_usd_per_t": self.r.choice([0.0, self.some(-0.5, 6), self.some(0, 6)])
                if self.chance(dense)
                else None,
                "duty_share": self.r.choice([0.0, self.some(0, 0.35, 3)]) if self.chance(dense) else None,
                "max_t": cap,
            }
            rows.append(row)
            if dated.random() < 0.2:  # the same lanes again for some years: outranks the row without years
                since, until = dated.choice([(self.years[-1], None), (None, self.years[0]), (self.years[0] + 1, 2100)])
                duty = None if row["duty_share"] is None else round(dated.uniform(0, 0.5), 3)
                rows.append(row | {"duty_share": duty, "from_year": since, "to_year": until})
            if origin == "bloc:friends" and self.chance(0.3):  # a tie of equal values
                rows.append(row | {"origin": "bloc:inner"})

        if self.listed or self.chance(0.6):
            add("*", "*", None, 0.8)
        if self.listed and self.chance(0.7):  # then only some lanes: those of a material, a few of them by origin alone
            rows.clear()
            seen.clear()
            for material in materials:
                add("*", "*" if self.chance(0.8) else "country:USA", material, 0.7)
        for _ in range(self.r.randint(6, 26)):
            origin = self.r.choice([self.r.choice(suppliers), self.r.choice(places), self.r.choice(blocs), "*"])
            destination = self.r.choice(
                [self.r.choice(takers), self.r.choice(places), self.r.choice(blocs), "*", "home"]
            )
            add(origin, destination, self.r.choice(materials) if self.chance(0.4) else None, 0.55)

    # ---- disruption
    def disruptions(self) -> None:
        """Surge of some suppliers, and two scenarios."""
        for row in self.tables["suppliers"]:
            if self.chance(0.4):
                row["surge_share"] = self.some(0, 1)
        s = self.r.choice(self.tables["suppliers"])
        rows = [("storm", 0.2, {"country": s["country"]}), ("storm", 0.2, {"channel": self.r.choice(["allied", "domestic"])}),
                ("storm", 0.2, {"bloc": "union", "mineral": self.of(s["material"])["mineral"]}),
                ("squeeze", 0.1, {"controller": s["controller"] or s["country"]}),
                ("squeeze", 0.1, {"supplier": s["supplier"], "material": s["material"]})]  # fmt: skip
        for scenario, probability, hit in rows:
            self.tables["disruptions"].append({
                "scenario": scenario, "probability": probability, **dict.fromkeys(("country", "controller", "bloc",
                "supplier", "channel", "material", "mineral")), **hit, "available_share": self.some(0, 0.9),
                "cost_multiple": self.some(0.8, 3) if self.chance(0.6) else None,
                "demand_multiple": self.some(0.7, 1.4) if self.chance(0.3) else None,
            })  # fmt: skip

    # ---- out
    def write(self, folder: Path, rules: list[dict[str, Any]]) -> None:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        if any(s["source"] for s in self.tables["suppliers"]):
            self.tables["sources"] = [{"id": "s1", "citation": "A random source", "how": "assumption"}]
        mark = "\ufeff" if self.chance(0.1) else ""
        end = "\r\n" if self.chance(0.1) else "\n"
        for name, rows in self.tables.items():
            if not rows:
                continue
            columns = list(dict.fromkeys(c for row in rows for c in row))
            lines = [",".join(columns)]
            lines += [",".join("" if row.get(c) is None else str(row[c]) for c in columns) for row in rows]
            (folder / "tables" / f"{name}.csv").write_bytes((mark + end.join(lines) + end).encode())
        abroad = {"japan": "JPN", "korea": "KOR"}
        toml = f'name = "{self.name}"\ntitle = "Random case"\n[horizon]\nyears = {self.years}\n'
        toml += f'discount_rate = {self.rate}\nprice_base_year = 2025\n[market]\nhome = "USA"\n'
        if any(m in abroad for m in self.markets):
            toml += "[market.countries]\n" + "".join(f'{m} = "{abroad[m]}"\n' for m in self.markets if m in abroad)
        toml += '[network]\nlanes = "listed"\n' if self.listed else ""
        toml += "[solve]\nseconds = 120\ngap = 1e-7\n"
        if self.aversion:
            toml += "[risk]\n" + "".join(f"{key} = {value}\n" for key, value in self.aversion.items())
        (folder / "case.toml").write_text(toml + to_toml(rules), encoding="utf-8")


def random_case(
    seed: int,
    folder: Path | str,
    *,
    rules: Sequence[str] | int | None = None,
    integers: bool = False,
    years: int | None = None,
    most_suppliers: int = 26,
    growth: bool = False,
    spacing: int | None = None,
    disruptions: bool = False,
    risk: bool = False,
) -> Path:
    """Write the case of `seed`. `rules`: kinds to use, one each; or how many of any kind; None = 0 to 4 of any kind.

    Without `integers` there are neither lots nor fixed charges nor rules of kind `suppliers`. `growth`: expansions
    (with `integers` some to be opened), stock, substitution, supports, and rules about them. `spacing`: so many
    years from each horizon year to the next. Kinds `provenance` and `survive` (or `disruptions`) bring surge and
    scenarios with them. ``risk``: two to four scenarios, and a section [risk] that weighs them.
    """
    folder = Path(folder)
    case = Case(seed, most_suppliers, years)
    if spacing is not None:
        case.years = [case.years[0] + spacing * i for i in range(len(case.years))]
    for step in (
        case.chains,
        case.suppliers,
        case.byproducts,
        case.feedstocks,
        case.demand,
        case.blocs,
        case.risk,
        case.lanes,
    ):
        step()
    if integers:
        case.integers()
    kinds: list[str]
    if rules is None or isinstance(rules, int):
        open_to = [k for k in KINDS if integers or k != "suppliers"]
        kinds = [case.r.choice(open_to) for _ in range(case.r.randint(0, 4) if rules is None else rules)]
    else:
        kinds = list(rules)
    if any(kind in RISK_KINDS for kind in kinds) or disruptions:
        case.disruptions()
    drawn = Drawn(case.r, case.tables, case.years, case.delivered, case.scale, case.listed)
    listed = draw_rules(drawn, kinds)
    if growth:
        grow(case, integers, today=any(rule.get("of") == "premium" for rule in listed))
        listed += [] if rules == 0 else year_rules(case)
    if risk:
        averse(case)
    case.write(folder, listed)
    return folder


def random_two_stage(
    seed: int,
    folder: Path | str,
    *,
    rules: Sequence[str] | int | None = None,
    integers: bool | None = None,
    growth: bool | None = None,
    years: int | None = None,
    most_suppliers: int = 18,
) -> Path:
    """A random case with scenarios and a section [risk]; what is None is chosen by the seed.

    One in six has integers (and is kept small), half have expansion and stock, a third no rules, the rest one or two.
    """
    integers = seed % 6 == 5 if integers is None else integers
    return random_case(
        seed,
        folder,
        rules=seed % 3 if rules is None else rules,
        integers=integers,
        years=years or (2 if integers else None),
        most_suppliers=min(most_suppliers, 12) if integers else most_suppliers,
        growth=seed % 2 == 1 if growth is None else growth,
        risk=True,
    )
