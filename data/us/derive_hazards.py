"""Disruption scenarios of the US case: from events and hazards to shares left over a year and prices elsewhere."""

from collections.abc import Iterator

from data.us.derive_facts import Facts, Row, Supplier, grouped, joined, number, tonnes, unique

MONTHS = 12
CHANNELS = ("domestic", "recycling", "allied", "incumbent")


def disruptions_table(facts: Facts, suppliers: list[Supplier]) -> list[Row]:
    """A row for each thing hit, then rows for those who are not hit and sell at the higher price.

    A scenario whose sellers are not in the case has rows about the price alone.
    """
    hits = grouped(facts.read("hazard_hits"), "scenario")
    rows: list[Row] = []
    for hazard in facts.read("hazards"):
        here = hits[(hazard["scenario"],)]
        head = {column: hazard[column] for column in ("scenario", "probability", "months")}
        head |= {f"probability_{column}": hazard[column] for column in ("low", "high", "basis")}
        head["package"] = hazard["package"]
        made = [*lost_rows(facts, suppliers, here), *price_rows(facts, suppliers, here)]
        if not made:
            raise ValueError(f"hazard {hazard['scenario']} does nothing in this case")
        for place, row in enumerate(made):
            source = " ".join(unique([hazard["source"], row["source"]]))
            note = joined(hazard["note"] if place == 0 else "", row["note"])
            rows.append({**head, **row, "source": source, "note": note})
    return rows


def lost_rows(facts: Facts, suppliers: list[Supplier], hits: list[Row]) -> Iterator[Row]:
    """What is left over the year of each thing hit."""
    for hit in hits:
        if not hit["lost"]:
            continue
        if not any(is_hit(facts, s, hit) for s in suppliers):
            raise ValueError(f"hazard {hit['scenario']}: no supplier is {hit['selector']} {hit['member']}")
        left = 1 - lost_share(hit["lost"], world_share(facts, hit)) + 0.0
        yield {
            hit["selector"]: hit["member"], "material": hit["material"], "mineral": hit["mineral"],
            "available_share": number(round(left, 3)), "source": hit["source"], "note": hit["note"],
        }  # fmt: skip


def lost_share(lost: str, world_share: float = 1.0) -> float:
    """Share of a year's output lost: ``0.9x3 0.3x9`` is 0.9 for 3 months, then 0.3 for 9, of 12.

    ``world_share``: where the shares lost are of the world, the part of it that those hit make.
    """
    parts = [part.split("x") for part in lost.split()]
    return sum(min(float(share) / world_share, 1.0) * float(months) for share, months in parts) / MONTHS


def world_share(facts: Facts, hit: Row) -> float:
    """The country's part of the world's output of the material that ``of`` names; 1 where it names none."""
    made = {r["country"]: tonnes(r) for r in facts.read("production") if r["material"] == hit["of"]}
    return made[hit["member"]] / sum(made.values()) if hit["of"] else 1.0


def price_rows(facts: Facts, suppliers: list[Supplier], hits: list[Row]) -> Iterator[Row]:
    """What everyone not hit asks, on average over the year, by channel, else by country, else by supplier."""
    rises: dict[tuple[str, str], list[Row]] = grouped(hits, "price_material", "price_mineral")  # type: ignore[assignment]
    for (material, mineral), rows in rises.items():
        multiple = max((year_multiple(hit) for hit in rows), default=1.0)
        if multiple == 1:
            continue
        dearer = [s for s in suppliers if about(facts, s, material, mineral)]
        others = [s for s in dearer if not any(is_hit(facts, s, hit) for hit in hits)]
        price = {"material": material, "mineral": mineral, "cost_multiple": number(round(multiple, 3))}
        sources = " ".join(unique([hit["source"] for hit in rows]))
        for selector, member in covering(dearer, others):
            yield {**price, selector: member, "source": sources, "note": "not hit, sells at the higher price"}


def year_multiple(hit: Row) -> float:
    """A price multiple that lasts some months, as an average over twelve."""
    if not hit["price_multiple"]:
        return 1.0
    return 1 + (float(hit["price_multiple"]) - 1) * min(float(hit["price_months"]), MONTHS) / MONTHS


def covering(everyone: list[Supplier], wanted: list[Supplier]) -> Iterator[tuple[str, str]]:
    """Few selectors that take all of ``wanted`` and nobody else of ``everyone``."""
    names = {s.id for s in wanted}
    for channel in CHANNELS:
        inside = [s for s in everyone if s.channel == channel]
        if inside and all(s.id in names for s in inside):
            yield "channel", channel
            continue
        for country in sorted({s.country for s in inside}):
            # a country may have recyclers too: a country row would take them with it
            there = [s for s in everyone if s.country == country]
            if all(s.id in names for s in there):
                yield "country", country
            else:
                yield from (("supplier", s.id) for s in inside if s.country == country and s.id in names)


def about(facts: Facts, s: Supplier, material: str, mineral: str) -> bool:
    """Whether a supplier makes the material or mineral; nothing named: any."""
    return material in ("", s.material) and mineral in ("", facts.chains[s.material]["mineral"])


def is_hit(facts: Facts, s: Supplier, hit: Row) -> bool:
    """Whether a thing hit is this supplier."""
    named = {"country": s.country, "supplier": s.id, "channel": s.channel}
    return named[hit["selector"]] == hit["member"] and about(facts, s, hit["material"], hit["mineral"])
