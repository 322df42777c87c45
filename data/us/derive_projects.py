"""Named projects of the US case: what can be built, when at the earliest, and at what capital."""

from data.us.derive_facts import HOME, YEARS, Facts, Row, Supplier, joined, number, tonnes

UNDECIDED = ("permitted", "proposed", "suspended")


def project(facts: Facts, r: Row) -> Supplier:
    """A row of projects.csv as a supplier; what is built or being built has a first year, the rest a lead time."""
    controller = r["controller"] or r["country"]
    s = Supplier(r["supplier"], r["name"], r["country"], controller, r["channel"], r["material"], r["input"])
    s.asked, s.status, s.to_year, s.at_price = r["incumbent"] or "0", r["status"], r["last_year"], r["at_price"]
    s.nameplate, s.capex_musd, s.kind = tonnes(r), float(r["capex_musd"] or 0), r["kind"]
    s.sources, s.note = r["source"].split(), joined(r["status"], r["note"])
    if s.input:
        chain = facts.chains[s.material]
        primary = chain["input"] == s.input
        s.recovery = float(chain["recovery"] if primary else facts.yields[s.input, s.material]["value"])
    if s.status == "construction":
        s.from_year = number(first_year(facts, s, r))
    if undecided(s):
        s.growth = {"lead_years": number(max(first_year(facts, s, r) - YEARS[0], facts.lead[s.kind]))}
    elif s.status in UNDECIDED and r["supplier"] not in {x["mine"] for x in facts.read("integrated")}:
        raise ValueError(f"{s.id}: {s.status}, so it needs a kind")
    return s


def undecided(s: Supplier) -> bool:
    """Whether the plan decides on it. The ore of an undecided plant is not decided apart: only that plant takes it."""
    return s.status in UNDECIDED and bool(s.kind)


def first_year(facts: Facts, s: Supplier, r: Row) -> float:
    """The company's year, or the assumed one, plus the slip that such projects have shown."""
    first = max(float(r["first_year"] or facts.assumed["first_year.proposed"]), YEARS[0])
    return first + facts.assumed[f"slip.{s.status}"]


def set_growth(facts: Facts, suppliers: list[Supplier]) -> None:
    """What can be added to each supplier, at what capital, for how long; nothing for most of them."""
    a = facts.assumed
    for s in suppliers:
        works = s.kind == "recycling" and s.asked == "auto"  # runs today and can grow with the scrap
        if not (undecided(s) or works):
            continue
        assert s.nameplate is not None
        price = facts.price[s.material]
        if s.capex_musd:
            s.capital = s.capex_musd * 1e6 / s.nameplate
        else:
            multiple = {"recycling": "capital.recycling", "restart": "capital.restart"}.get(s.kind, "capital.multiple")
            s.capital = a[multiple] * price
            s.sources = [*s.sources, "case_assumption"]
        share = a["expansion.recycling"] if works else a[f"usable.{s.status}"]
        share *= 1.0 if s.country == HOME else a["open_project"]
        contingency = 1.0 if works else a[f"contingency.{s.status}"]
        s.growth = {
            "max_expansion_t": number(s.nameplate * share),
            "capex_usd_per_t": number(s.capital * contingency),
            "lead_years": s.growth.get("lead_years") or number(facts.lead[s.kind]),
            "life_years": number(a["life.plant"]),
            "ramp_years": number(a.get(f"ramp.{s.kind}", a["ramp.other"])),
            "cost_of_capital": number(a["cost_of_capital"]),
        }


def without_capital(facts: Facts, s: Supplier, full: float, least: float) -> float:
    """A full cost per tonne less what its capital costs a year, but no less than the operating cost must be."""
    a = facts.assumed
    rate, years = a["cost_of_capital"], a["life.plant"]
    annuity = rate / (1 - (1 + rate) ** -years)
    return max(full - annuity * s.capital, a["operating.floor"] * least) if undecided(s) else full
