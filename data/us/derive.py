"""Derive the tables of the US case from its facts: facts/*.csv in, tables/*.csv out."""

import csv
from collections import defaultdict
from pathlib import Path

from data.us.derive_facts import HERE, HOME, YEARS, Facts, Row, Supplier, grouped, joined, ratio, tonnes, unique
from data.us.derive_hazards import disruptions_table
from data.us.derive_projects import project, set_growth, undecided, without_capital
from data.us.derive_tables import (
    byproducts_table,
    demand_table,
    feedstock_table,
    lanes_table,
    materials_table,
    stock_table,
    substitution_table,
    supplier_years_table,
    suppliers_table,
)


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


def set_incumbents(facts: Facts, suppliers: list[Supplier]) -> None:
    """Today's tonnes: the US balance at the market, then up the chain, ore by ore."""
    routes = grouped(facts.read("ore_sources"), "material", "refiner")
    promised: dict[tuple[str, str], float] = {}
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
        for host, t_per_t in hosts(facts, suppliers, material):
            own[host.country] += (host.nameplate or 0.0) * t_per_t if host.asked == "auto" else 0.0
        for refiner, wanted in needs(suppliers, material).items():
            for source, t in source_ore(facts, material, refiner, wanted, own, routes[material, refiner]).items():
                sold[source] += t
        for s in here:
            today = secondary if s.channel == "recycling" else sold[s.country]
            if s.nameplate is None:
                s.incumbent = today * float(s.asked)
            else:
                s.incumbent = today if s.asked == "auto" else float(s.asked)
        promised |= {(material, country): t for country, t in sold.items()}
    check_booked(facts, suppliers, promised)


def hosts(facts: Facts, suppliers: list[Supplier], material: str) -> list[tuple[Supplier, float]]:
    """The suppliers that make a material beside their own, with tonnes of it per tonne."""
    rows = {s: r for (s, made), r in facts.hosted.items() if made == material}
    return [(s, ratio(rows[s.id])) for s in suppliers if s.id in rows]


def check_booked(facts: Facts, suppliers: list[Supplier], promised: dict[tuple[str, str], float]) -> None:
    """What a country sells today must be booked on its suppliers, to the tonne; by-products may fill the rest."""
    for (material, country), t in promised.items():
        here = [s for s in suppliers if s.material == material and s.country == country and s.channel != "recycling"]
        booked, room = sum(s.incumbent for s in here), 1e-6 * max(1.0, t)
        beside = sum(s.incumbent * r for s, r in hosts(facts, suppliers, material) if s.country == country)
        if booked > t + room or booked + beside < t - room:
            raise ValueError(f"{material}: {country} sells {t:.2f} t, its suppliers are booked for {booked:.2f} t")


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
            if undecided(s):
                s.capacity[year] = 0.0
            elif s.nameplate is not None:
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
        published = facts.costs.get(s.id)
        if published:
            cost = float(published["value"]) * float(published["to_usd_per_t"]) - float(published["less"])
            cost *= float(published["part"]) * a[f"deflator.{published['year']}"]
            s.cost = without_capital(facts, s, cost, own_stage) if published["capital"] else cost
            s.basis = "assumption" if published["how"] == "assumption" else "published"
            s.sources = unique([*s.sources, published["source"]])
            s.note = joined(s.note, f"cost: {published['note']}")
        elif s.channel == "recycling":
            treatment = price * a["recycling.margin"] - facts.price[s.input] / s.recovery
            newcomer = 1.0 if s.incumbent > 0 else a["recycling.newcomer"]
            full = treatment * (1 + a[f"premium.recycling.{stage}"]) * newcomer
            s.cost = without_capital(facts, s, full, treatment)
            s.basis = "assumption"
        elif s.incumbent > 0:
            today = total[s.material, s.country] / total[s.material, "world"]
            imported = facts.imports.get((s.material, s.country), 100 * today) / 100
            share = 1.0 if s.channel == "domestic" else imported
            s.cost, s.basis = own_stage * (1 - a["discount.revealed"] * share), "price"
        elif s.at_price:
            s.cost, s.basis = without_capital(facts, s, own_stage, own_stage), "price"
            s.note = joined(s.note, f"taken at the market price: {s.at_price}")
        else:
            full = own_stage * (1 + a[f"premium.{s.channel}.{stage}"])
            s.cost, s.basis = without_capital(facts, s, full, own_stage), "premium"


COLUMNS = {  # of the tables that leave out columns of the facts, or whose rows differ
    "lanes": "origin destination material freight_usd_per_t duty_share max_t source note",
    "blocs": "bloc country from_year to_year source note",
    "risk": "country indicator value year source note",
    "assumptions": "key low high reason",
    "disruptions": "scenario probability probability_low probability_high probability_basis package country supplier "
    "channel material mineral available_share cost_multiple months source note",
    "sources": "id citation url published licence how",
}


def derive(facts_folder: Path, tables: Path) -> None:
    """Read the facts, write every table; a table appears whole or not at all."""
    facts = Facts(facts_folder)
    suppliers = build_suppliers(facts)
    set_incumbents(facts, suppliers)
    set_capacities(facts, suppliers)
    set_growth(facts, suppliers)
    set_costs(facts, suppliers)
    suppliers = [s for s in suppliers if max(s.capacity.values()) > 0 or s.growth]
    sources = {r["id"]: r for r in [*facts.read("sources"), *facts.read("policy_sources")]}
    out: dict[str, list[Row]] = {
        "materials": materials_table(facts),
        "suppliers": suppliers_table(facts, suppliers),
        "supplier_years": supplier_years_table(suppliers),
        "lanes": lanes_table(facts, suppliers),
        "demand": demand_table(facts),
        "feedstock": feedstock_table(facts),
        "byproducts": byproducts_table(facts),
        "stock": stock_table(facts),
        "substitution": substitution_table(facts),
        "blocs": facts.read("blocs"),
        "risk": facts.read("country_risk"),
        "disruptions": disruptions_table(facts, suppliers),
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
