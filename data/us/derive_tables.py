"""The tables of the US case from the facts and the finished suppliers, one function a table."""

from collections import defaultdict

from data.us.derive_facts import (
    BASE_YEAR,
    OPEN,
    YEARS,
    Facts,
    Row,
    Supplier,
    grouped,
    interpolate,
    joined,
    number,
    ratio,
    tonnes,
    unique,
)

GROWTH = ("max_expansion_t", "capex_usd_per_t", "lead_years", "life_years", "ramp_years", "cost_of_capital")


def materials_table(facts: Facts) -> list[Row]:
    priced = {r["material"]: r["source"] for r in facts.read("prices")}
    return [
        {
            "material": m, "mineral": r["mineral"], "stage": r["stage"], "basis": r["basis"],
            "price_usd_per_t": number(facts.price[m]), "source": priced[m],
        }
        for m, r in facts.chains.items()
    ]  # fmt: skip


def suppliers_table(facts: Facts, suppliers: list[Supplier]) -> list[Row]:
    return [
        {
            "supplier": s.id, "name": s.name, "country": s.country, "controller": s.controller, "channel": s.channel,
            "material": s.material, "input": s.input, "recovery": number(s.recovery) if s.input else "",
            "capacity_t": number(s.capacity[YEARS[0]]), "incumbent_t": number(s.incumbent),
            "cost_usd_per_t": number(s.cost), "cost_basis": s.basis, "from_year": s.from_year, "to_year": s.to_year,
            **{column: s.growth.get(column, "") for column in GROWTH},
            "certified": "yes" if s.id in facts.certified else "",
            "source": " ".join(unique([*s.sources, *scheme(facts, s, "source")])),
            "note": joined(s.note, *scheme(facts, s, "scheme")),
        }
        for s in suppliers
    ]  # fmt: skip


def scheme(facts: Facts, s: Supplier, column: str) -> list[str]:
    """A cell of the responsible-sourcing scheme that covers a supplier, if any."""
    return [facts.certified[s.id][column]] if s.id in facts.certified else []


def byproducts_table(facts: Facts) -> list[Row]:
    return [
        {"supplier": r["supplier"], "material": r["material"], "t_per_t": number(ratio(r)), "source": r["source"],
         "note": r["note"]}
        for r in facts.read("byproducts")
    ]  # fmt: skip


def stock_table(facts: Facts) -> list[Row]:
    """A stock of each delivered material, empty at the start: what lies about today is told in the note.

    Working stock of industry keeps plants running and the defense stockpile may not be sold for economic reasons;
    opened free of charge, a least-cost plan would use both up. Presets open them, with the rule that keeps them.
    """
    held = grouped(facts.read("stock"), "material")
    needed: dict[str, float] = defaultdict(float)
    for r in demand_table(facts):
        if r["market"] == "home":
            needed[r["material"]] = max(needed[r["material"]], float(r["required_t"]))
    days = facts.assumed["stock.most_days"]
    about = f"holding cost {100 * facts.assumed['hold.share']:g} % of the price, at most {days:g} days (assumptions)"
    rows: list[Row] = []
    for material in (m for m, r in facts.chains.items() if r["delivered"] == "yes"):
        here = held.get((material,), [])
        told = [f"{number(tonnes(r), 4)} t in the {r['kind']}, {r['year']}" for r in here]
        rows.append({
            "material": material, "market": "home", "max_t": number(needed[material] * days / 365),
            "hold_usd_per_t_y": number(facts.price[material] * facts.assumed["hold.share"], 3),
            "source": " ".join(unique(["case_assumption", *[r["source"] for r in here]])),
            "note": joined(about, *told),
        })  # fmt: skip
    return rows


def substitution_table(facts: Facts) -> list[Row]:
    return [
        {
            "material": r["material"], "year": r["year"], "step": r["step"], "max_share": r["value"],
            "usd_per_t": number(facts.price[r["material"]] * float(r["cost_multiple"])),
            "source": " ".join(unique([r["source"], "case_assumption"])), "note": r["note"],
        }
        for r in facts.read("substitution")
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
    collected = {r["material"]: r["value"] for r in facts.read("collection")}
    rows: list[Row] = []
    for material, parts in series.items():
        for year in sorted({y for part in parts.values() for y in part}):
            available = sum(interpolate(part, year) for part in parts.values())
            row = {"material": material, "year": str(year), "available_t": number(available)}
            row["collection_share"] = collected[material]
            cited = " ".join(unique(sources[material]))
            rows.append({**row, "cost_usd_per_t": number(facts.price[material]), "source": cited})
    return rows


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
