"""Derive the tables of the US case from its facts: facts/*.csv in, tables/*.csv out."""

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = "USA"
BASE_YEAR = 2025
YEARS = (2026, 2028, 2030, 2035)
OPEN = 1e9  # a lane limit that never binds: reopens one lane of a closed origin

Row = dict[str, str]


@dataclass
class Supplier:
    """One row of suppliers.csv while it is being put together."""

    id: str
    name: str
    country: str
    controller: str
    channel: str
    material: str
    input: str
    recovery: float = 1.0
    output: float | None = None  # national output that is its own, where known
    nameplate: float | None = None  # its own published size: a named plant or project
    status: str = "operating"
    from_year: str = ""
    to_year: str = ""
    capex_musd: float = 0.0
    at_price: str = ""
    incumbent: float = 0.0
    asked: str = ""  # incumbent as the facts ask for it: a number or "auto"
    capacity: dict[int, float] = field(default_factory=dict)
    cost: float = 0.0
    basis: str = ""
    sources: list[str] = field(default_factory=list)
    note: str = ""


class Facts:
    """The fact tables and the small look-ups made from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chains = {r["material"]: r for r in self.read("chains")}
        self.assumed = {r["name"]: float(r["value"]) for r in self.read("assumptions")}
        self.names = {r["iso3"]: r["name"] for r in read_csv(HERE.parent / "countries.csv")}
        self.allied = {r["country"] for r in self.read("blocs") if r["bloc"] == "allied"}
        self.controlled = {(r["material"], r["country"]): r for r in self.read("export_controls")}
        self.costs = {r["supplier"]: r for r in self.read("costs")}
        self.yields = {(r["input"], r["material"]): r for r in self.read("yields")}
        self.imports = {(r["material"], r["country"]): float(r["value"]) for r in self.read("import_shares")}
        self.price = self._prices()
        self.balance: dict[tuple[str, str], float] = defaultdict(float)
        for r in self.read("us_balance"):
            self.balance[r["material"], r["item"]] += tonnes(r)

    def read(self, name: str) -> list[Row]:
        return read_csv(self.folder / f"{name}.csv")

    def _prices(self) -> dict[str, float]:
        rows = self.read("prices")
        price = {r["material"]: float(r["value"]) * float(r["to_usd_per_t"]) for r in rows if not r["share_of"]}
        for r in rows:
            if r["share_of"]:
                price[r["material"]] = float(r["value"]) * price[r["share_of"]]
        return price

    def channel(self, country: str) -> str:
        return "domestic" if country == HOME else "allied" if country in self.allied else "incumbent"


def read_csv(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8-sig") as handle:
        return list(csv.DictReader(handle))


def tonnes(row: Row) -> float:
    return float(row["value"]) * float(row["to_t"] or 1)


def grouped(rows: list[Row], *columns: str) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for r in rows:
        groups[tuple(r[c] for c in columns)].append(r)
    return groups


def unique(items: list[str]) -> list[str]:
    return list(dict.fromkeys(x for item in items for x in item.split()))


def joined(*parts: str) -> str:
    return "; ".join(x for x in parts if x)


def number(value: float | str | None, digits: int = 5) -> str:
    """Fixed formatting: `digits` significant digits, no exponent."""
    if value is None or isinstance(value, str):
        return value or ""
    return format(Decimal(f"{value:.{digits}g}"), "f")


def build_suppliers(facts: Facts) -> list[Supplier]:
    """Country sectors (split into named parts where the facts name them) and projects."""
    made = grouped(facts.read("production"), "material", "country")
    bought = grouped(facts.read("import_shares"), "material", "country")
    routes = grouped(facts.read("routes"), "material", "country")
    suppliers: list[Supplier] = []
    for material, chain in facts.chains.items():
        for key in sorted(k for k in {*made, *bought} if k[0] == material):
            country = key[1]
            sources = unique([r["source"] for r in (*made.get(key, []), *bought.get(key, []))])
            parts = list(routes[key])
            rest = 1.0 - sum(float(r["share"]) for r in parts)
            if rest > 1e-9:
                name, sector = f"{facts.names[country]}, {chain['label']}", f"{country.lower()}_{material}"
                row = {"supplier": sector, "name": name, "controller": country, "share": str(rest)}
                parts.append({**row, "input": "", "last_year": "", "source": "", "note": ""})
            for part in parts:
                feed, channel = "" if part["input"] == "none" else chain["input"], facts.channel(country)
                s = Supplier(part["supplier"], part["name"], country, part["controller"], channel, material, feed)
                s.recovery = float(chain["recovery"]) if feed else 1.0
                s.output = float(part["share"]) * sum(tonnes(r) for r in made[key]) if key in made else None
                s.asked, s.sources, s.note = part["share"], unique([*sources, part["source"]]), part["note"]
                s.to_year = part["last_year"]
                suppliers.append(s)
    return [*suppliers, *(project(facts, r) for r in facts.read("projects"))]


def project(facts: Facts, r: Row) -> Supplier:
    controller = r["controller"] or r["country"]
    s = Supplier(r["supplier"], r["name"], r["country"], controller, r["channel"], r["material"], r["input"])
    s.asked, s.status, s.to_year, s.at_price = r["incumbent"] or "0", r["status"], r["last_year"], r["at_price"]
    s.nameplate, s.capex_musd = tonnes(r), float(r["capex_musd"] or 0)
    s.sources, s.note = r["source"].split(), joined(r["status"], r["note"])
    if s.input:
        chain = facts.chains[s.material]
        primary = chain["input"] == s.input
        s.recovery = float(chain["recovery"] if primary else facts.yields[s.input, s.material]["value"])
    if s.status not in ("operating", "ramping"):
        first = max(float(r["first_year"] or facts.assumed["first_year.proposed"]), YEARS[0])
        s.from_year = number(first + facts.assumed[f"slip.{s.status}"])
    return s


def set_incumbents(facts: Facts, suppliers: list[Supplier]) -> None:
    """Today's tonnes: the US balance at the market, then up the chain, ore by ore."""
    routes = grouped(facts.read("ore_sources"), "material", "refiner")
    for material in downstream_first(facts):
        here = [s for s in suppliers if s.material == material]
        get = facts.balance.__getitem__
        primary, secondary, need = (get((material, i)) for i in ("primary", "secondary", "requirement"))
        sold: dict[str, float] = defaultdict(float)
        if need:
            shares = {c: share for (m, c), share in facts.imports.items() if m == material}
            total = sum(shares.values())
            for country, share in shares.items():
                sold[country] += (need - primary - secondary) * share / total
            sold[HOME] += primary
        own: dict[str, float] = defaultdict(float)
        for s in here:
            if s.channel != "recycling":
                size = s.nameplate if s.asked == "auto" and s.nameplate else 0.0
                own[s.country] += size if s.output is None else s.output
        for refiner, wanted in needs(suppliers, material).items():
            for source, t in source_ore(facts, material, refiner, wanted, own, routes[material, refiner]).items():
                sold[source] += t
        for s in here:
            today = secondary if s.channel == "recycling" else sold[s.country]
            if s.nameplate is None:
                s.incumbent = today * float(s.asked)
            else:
                s.incumbent = today if s.asked == "auto" else float(s.asked)
        for country, t in sold.items():  # what a country sells today must be booked on its suppliers, to the tonne
            booked = sum(s.incumbent for s in here if s.country == country and s.channel != "recycling")
            if abs(booked - t) > 1e-6 * max(1.0, t):
                raise ValueError(f"{material}: {country} sells {t:.0f} t, its suppliers are booked for {booked:.0f} t")


def downstream_first(facts: Facts) -> list[str]:
    order: list[str] = []
    rest = [m for m, r in facts.chains.items() if r["stage"] != "feedstock"]
    while rest:
        ready = [m for m in rest if all(facts.chains[x]["input"] != m for x in rest if x != m)]
        order += ready
        rest = [m for m in rest if m not in ready]
    return order


def needs(suppliers: list[Supplier], material: str) -> dict[str, float]:
    """Tonnes of a material that today's sales of its users take, by country of the user."""
    wanted: dict[str, float] = defaultdict(float)
    for s in suppliers:
        if s.input == material and s.incumbent > 0:
            wanted[s.country] += s.incumbent / s.recovery
    return dict(sorted(wanted.items()))


def source_ore(
    facts: Facts, material: str, refiner: str, wanted: float, own: dict[str, float], routes: list[Row]
) -> dict[str, float]:
    """Named routes first, then its own mines, then the world's traded output in proportion."""
    taken: dict[str, float] = defaultdict(float)
    left = wanted
    for r in routes:
        t = min(left, wanted * float(r["share"]))
        taken[r["ore"]] += t
        left -= t
    t = min(left, own.get(refiner, 0.0))
    taken[refiner] += t
    left -= t
    if left > 1e-9:
        traded: dict[str, float] = defaultdict(float)
        for r in facts.read("production"):
            if r["material"] == material and r["traded"] != "no" and r["country"] != refiner:
                traded[r["country"]] += tonnes(r)
        total = sum(traded.values())
        for country, output in traded.items():
            taken[country] += left * output / total
    return {c: t for c, t in taken.items() if t > 0}


def set_capacities(facts: Facts, suppliers: list[Supplier]) -> None:
    """What the US can buy: its own plants whole, others by today's sales and the open share."""
    a = facts.assumed
    for s in suppliers:
        control = facts.controlled.get((s.material, s.country))
        for year in YEARS:
            if s.nameplate is not None:
                usable = a.get(f"usable.{s.status}.{year}", a[f"usable.{s.status}"])
                if s.channel == "recycling" and s.asked == "auto":
                    usable = a[f"headroom.recycling.{year}"]
                elif s.country != HOME and s.status != "operating":
                    usable *= a["open_project"]
                s.capacity[year] = max(s.nameplate * usable, s.incumbent)
            elif control:
                s.capacity[year] = s.incumbent * a["headroom.controlled"]
            else:
                headroom = a.get(f"headroom.{s.material}", a[f"headroom.{s.channel}"])
                grown = s.incumbent * (headroom + a[f"headroom.step.{year}"])
                s.capacity[year] = max(grown, (s.output or 0.0) * a[f"open_share.{s.channel}.{year}"])
                if s.output is not None:
                    s.capacity[year] = min(s.capacity[year], max(s.incumbent, s.output * a["ceiling.sector"]))


def set_costs(facts: Facts, suppliers: list[Supplier]) -> None:
    """Published cost first, else the price (today's sellers), else a premium over it."""
    a = facts.assumed
    total: dict[tuple[str, str], float] = defaultdict(float)
    for s in suppliers:
        total[s.material, "world"] += s.incumbent
        total[s.material, s.country] += s.incumbent
    for s in suppliers:
        price, stage = facts.price[s.material], facts.chains[s.material]["stage"]
        own_stage = price - (facts.price[s.input] / s.recovery if s.input else 0.0)
        undecided = s.nameplate if s.status in ("permitted", "proposed", "suspended") else None
        capital = a["capital.charge"] * s.capex_musd * 1e6 / undecided if undecided else 0.0
        published = facts.costs.get(s.id)
        if published:
            cost = float(published["value"]) * float(published["to_usd_per_t"]) - float(published["less"])
            s.cost = cost * float(published["part"]) * a[f"deflator.{published['year']}"] + capital
            s.basis = "assumption" if published["how"] == "assumption" else "published"
            s.sources = unique([*s.sources, published["source"]])
            s.note = joined(s.note, f"cost: {published['note']}", "capital charge added" if capital else "")
        elif s.channel == "recycling":
            treatment = price * a["recycling.margin"] - facts.price[s.input] / s.recovery
            newcomer = 1.0 if s.incumbent > 0 else a["recycling.newcomer"]
            s.cost = treatment * (1 + a[f"premium.recycling.{stage}"]) * newcomer
            s.basis = "assumption"
        elif s.incumbent > 0:
            today = total[s.material, s.country] / total[s.material, "world"]
            imported = facts.imports.get((s.material, s.country), 100 * today) / 100
            share = 1.0 if s.channel == "domestic" else imported
            s.cost, s.basis = own_stage * (1 - a["discount.revealed"] * share), "price"
        elif s.at_price:
            s.cost, s.basis = own_stage, "price"
            s.note = joined(s.note, f"taken at the market price: {s.at_price}")
        else:
            s.cost, s.basis = own_stage * (1 + a[f"premium.{s.channel}.{stage}"]) + capital, "premium"


def materials_table(facts: Facts) -> list[Row]:
    priced = {r["material"]: r["source"] for r in facts.read("prices")}
    return [
        {
            "material": m, "mineral": r["mineral"], "stage": r["stage"], "basis": r["basis"],
            "price_usd_per_t": number(facts.price[m]), "source": priced[m],
        }
        for m, r in facts.chains.items()
    ]  # fmt: skip


def suppliers_table(suppliers: list[Supplier]) -> list[Row]:
    return [
        {
            "supplier": s.id, "name": s.name, "country": s.country, "controller": s.controller, "channel": s.channel,
            "material": s.material, "input": s.input, "recovery": number(s.recovery) if s.input else "",
            "capacity_t": number(s.capacity[YEARS[0]]), "incumbent_t": number(s.incumbent),
            "cost_usd_per_t": number(s.cost), "cost_basis": s.basis, "from_year": s.from_year, "to_year": s.to_year,
            "source": " ".join(s.sources), "note": s.note,
        }
        for s in suppliers
    ]  # fmt: skip


def supplier_years_table(suppliers: list[Supplier]) -> list[Row]:
    """Only the years in which the capacity changes."""
    rows: list[Row] = []
    for s in suppliers:
        last = number(s.capacity[YEARS[0]])
        for year in YEARS[1:]:
            now = number(s.capacity[year])
            if now != last:
                rows.append({"supplier": s.id, "year": str(year), "capacity_t": now})
                last = now
    return rows


def demand_table(facts: Facts) -> list[Row]:
    rows: list[Row] = []
    source = {r["material"]: r["source"] for r in facts.read("us_balance") if r["item"] == "requirement"}
    for material in (m for m, r in facts.chains.items() if r["delivered"] == "yes"):
        growth = 1 + facts.assumed[f"growth.{material}"]
        defence = facts.assumed.get(f"defence.{material}", 0.0)
        for market, share in (("home", 1 - defence), ("defence", defence)):
            for year in (BASE_YEAR, *YEARS):
                required = facts.balance[material, "requirement"] * growth ** (year - BASE_YEAR) * share
                cited = [source[material], *(["case_assumption"] if year != BASE_YEAR or defence else [])]
                if required:
                    row = {"material": material, "year": str(year), "market": market, "required_t": number(required)}
                    rows.append({**row, "source": " ".join(unique(cited))})
    return rows


def feedstock_table(facts: Facts) -> list[Row]:
    """Several sources of one scrap are interpolated to common years and added up."""
    series: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    sources: dict[str, list[str]] = defaultdict(list)
    for r in facts.read("recycling"):
        series[r["material"]][r["note"]][int(r["year"])] = tonnes(r)
        sources[r["material"]].append(r["source"])
    rows: list[Row] = []
    for material, parts in series.items():
        for year in sorted({y for part in parts.values() for y in part}):
            available = sum(interpolate(part, year) for part in parts.values())
            row = {"material": material, "year": str(year), "available_t": number(available)}
            cited = " ".join(unique(sources[material]))
            rows.append({**row, "cost_usd_per_t": number(facts.price[material]), "source": cited})
    return rows


def interpolate(points: dict[int, float], year: int) -> float:
    years = sorted(points)
    if year <= years[0] or year >= years[-1]:
        return points[years[0] if year <= years[0] else years[-1]]
    low, high = max(y for y in years if y <= year), min(y for y in years if y >= year)
    return points[low] if low == high else points[low] + (points[high] - points[low]) * (year - low) / (high - low)


def lanes_table(facts: Facts, suppliers: list[Supplier]) -> list[Row]:
    """Duties, freight, closed exports, and short hauls inside each country."""
    rows: dict[tuple[str, str, str], Row] = {}

    def put(origin: str, destination: str, material: str, column: str, value: str, source: str, note: str = "") -> None:
        key = {"origin": origin, "destination": destination, "material": material}
        row = rows.setdefault((origin, destination, material), {**key, "source": "", "note": ""})
        row[column], row["source"] = value, " ".join(unique([row["source"], source]))
        row["note"] = joined(row["note"], note)

    def put_all(names: list[str], column: str) -> None:
        for r in (r for name in names for r in facts.read(name)):
            if not r["material"] or r["material"] in facts.chains:
                since = f"from {r['valid_from']}" if r.get("valid_from") else ""
                put(r["origin"], r["destination"], r["material"], column, r[column], r["source"], since)

    put_all(["freight", "freight_more"], "freight_usd_per_t")
    for country in sorted({s.country for s in suppliers}):
        here = f"country:{country}"
        if (here, here, "") not in rows:
            put(here, here, "", "freight_usd_per_t", number(facts.assumed["freight.home"]), "case_assumption")
    put_all(["duties"], "duty_share")
    ids = {s.id for s in suppliers}
    for r in facts.read("closed_exports"):
        friends = r["open_to"].split() if r["origin"] in ids else [r["origin"], *r["open_to"].split()]
        origin, *friends = [x if x in ids else f"country:{x}" for x in (r["origin"], *friends)]
        put(origin, "*", r["material"], "max_t", "0", r["source"], r["note"])
        for friend in friends:
            put(origin, friend, r["material"], "max_t", number(OPEN), r["source"], "open")
    material = {s.id: s.material for s in suppliers}
    for r in facts.read("integrated"):
        ore = material[r["mine"]]
        put(r["mine"], "*", ore, "max_t", "0", r["source"], r["note"])
        put("*", r["plant"], ore, "max_t", "0", r["source"], r["note"])
        put(r["mine"], r["plant"], ore, "max_t", number(OPEN), r["source"], "open")
        put(r["mine"], r["plant"], ore, "freight_usd_per_t", "0", r["source"])
    return list(rows.values())


COLUMNS = {  # of the tables that leave out columns of the facts, or whose rows differ
    "lanes": "origin destination material freight_usd_per_t duty_share max_t source note",
    "blocs": "bloc country from_year to_year source note",
    "risk": "country indicator value year source note",
    "assumptions": "key low high reason",
    "sources": "id citation url published licence how",
}


def derive(facts_folder: Path, tables: Path) -> None:
    """Read the facts, write every table; a table appears whole or not at all."""
    facts = Facts(facts_folder)
    suppliers = build_suppliers(facts)
    set_incumbents(facts, suppliers)
    set_capacities(facts, suppliers)
    set_costs(facts, suppliers)
    suppliers = [s for s in suppliers if max(s.capacity.values()) > 0]
    sources = {r["id"]: r for r in [*facts.read("sources"), *facts.read("policy_sources")]}
    out: dict[str, list[Row]] = {
        "materials": materials_table(facts),
        "suppliers": suppliers_table(suppliers),
        "supplier_years": supplier_years_table(suppliers),
        "lanes": lanes_table(facts, suppliers),
        "demand": demand_table(facts),
        "feedstock": feedstock_table(facts),
        "blocs": facts.read("blocs"),
        "risk": facts.read("country_risk"),
        "assumptions": [{"key": r["name"], **r} for r in facts.read("assumptions") if "[" in r["name"]],
        "sources": list(sources.values()),
    }
    tables.mkdir(parents=True, exist_ok=True)
    for name, rows in out.items():
        columns = COLUMNS[name].split() if name in COLUMNS else list(rows[0])
        partial = tables / f".{name}.csv.part"
        with partial.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, columns, extrasaction="ignore", restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(tables / f"{name}.csv")


if __name__ == "__main__":
    derive(HERE / "facts", HERE / "tables")
