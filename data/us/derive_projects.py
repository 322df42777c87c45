"""Named projects of the US case: what can be built, when at the earliest, and at what capital."""

from data.us.derive_facts import YEARS, Facts, Row, Supplier, joined, number, tonnes


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
