"""What a planner sees: the answer of a plan, and comparisons, as rich renderables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from optimizer.console import money, percent, plain, table, tonnes
from optimizer.plan import Plan
from optimizer.resilience_views import resilience, resilience_compared
from optimizer.sentences import cost_sentence
from optimizer.terminal_charts import against_first, against_today
from optimizer.two_stage_text import weighs
from optimizer.two_stage_views import compared, weighed
from optimizer.year_views import build_up, built_compared, cost_rows

CHANNELS = (
    ("domestic", "d", "green"),
    ("allied", "a", "cyan"),
    ("recycling", "r", "yellow"),
    ("incumbent", "i", "red"),
)
_CELLS = 10
# What a narrow terminal shows of the wide tables.
KEY_COLUMNS = {
    "suppliers": ("supplier", "material", "year", "produced_t", "capacity_t"),
    "flows": ("origin", "destination", "material", "year", "t"),
    "rules": ("rule", "bound", "material", "member", "year", "value", "limit", "price_usd_per_y"),
    "shares": ("material", "stage", "by", "member", "year", "share"),
    "risk": ("mineral", "material", "stage", "year", "hhi_country", "largest_country", "largest_share"),
    "capacity": ("supplier", "material", "year", "own_t", "expansion_t", "produced_t", "used_share"),
    "projects": ("supplier", "decided", "usable_from", "t", "capital_usd", "usd_per_y"),
    "expansion": ("supplier", "year", "t", "opened", "usable_from", "usd_per_y", "public_usd_per_y"),
    "stock": ("market", "material", "year", "built_t", "drawn_t", "end_t", "days"),
    "provenance": ("material", "year", "country", "least_t", "most_t", "most_share"),
    "outcomes": ("outcome", "probability", "tail_share", "total_usd", "more_usd"),
    "outcome_shortage": ("outcome", "material", "year", "required_t", "short_t"),
    "survival": ("rule", "material", "year", "lose", "served", "serve"),
    "resilience": ("mineral", "material", "stage", "year", "serve_largest", "largest_country", "largest_point"),
}


def mix_bar(shares: dict[str, float], cells: int = _CELLS) -> Text:
    """Channel shares as letters of a fixed number of cells: ddaaaarrii; the largest remainders round up."""
    exact = [(shares.get(name, 0.0) * cells, letter, colour) for name, letter, colour in CHANNELS]
    counts = [int(value) for value, _, _ in exact]
    for place in sorted(range(len(exact)), key=lambda i: counts[i] - exact[i][0])[: max(0, cells - sum(counts))]:
        if sum(shares.values()) > 0 and exact[place][0] > counts[place]:
            counts[place] += 1
    bar = Text()
    for count, (_, letter, colour) in zip(counts, exact, strict=True):
        bar.append(letter * count, style=colour)
    return bar + Text("." * (cells - len(bar)))


def shown_year(plan: Plan, wanted: int | None) -> int:
    """The year that tables show: the one asked for, else the last of the horizon."""
    if wanted is None:
        return plan.years[-1]
    if wanted not in plan.years:
        from models.problems import CaseError, Problem

        known = ", ".join(str(year) for year in plan.years)
        raise CaseError([Problem("--show-year", f"not a year of the run: {known}", None, "", str(wanted))])
    return wanted


def answer(console: Console, plan: Plan, year: int | None) -> None:
    """The answer first: cost against today, then each mineral, what binds, what is short."""
    at = shown_year(plan, year)
    _headline(console, plan)
    _costs(console, plan)
    _minerals(console, plan, at)
    build_up(console, plan, lambda year: {name: mix_bar(mix) for name, mix in _mix(plan.tables, year).items()})
    resilience(console, plan, at)
    against_today(console, plan, at)
    weighed(console, plan)
    _binding(console, plan)
    _short(console, plan)
    _proof(console, plan)


def _headline(console: Console, plan: Plan) -> None:
    as_of = plan.about.get("as_of")
    title = plain(plan.title or plan.case) + (f", as of {plain(as_of)}" if as_of else "")
    console.print(Text(title, style="bold"))
    console.print(Text(cost_sentence(plan)))


def _costs(console: Console, plan: Plan) -> None:
    label = "today" if plan.about.get("status_quo") else "plan"
    rows = [[label, *(money(plan.cost_usd_per_y[year]) for year in plan.years)]]
    costs = plan.tables["costs"]
    short = costs[costs["cost"] == "shortage"].groupby("year")["usd_per_y"].sum()
    if len(short):
        rows.append(["of it short", *(money(float(short.get(year, 0.0))) for year in plan.years)])
    rows[1:1] = cost_rows(plan)
    if plan.status_quo is not None and not plan.about.get("status_quo"):
        today = plan.status_quo["cost_usd_per_y"]
        rows.append(["today", *(money(today[year]) for year in plan.years)])
        rows.append(["difference", *(f"{money(plan.cost_usd_per_y[y] - today[y])}" for y in plan.years)])
    console.print()
    console.print(table(["USD a year", *((str(year), "right") for year in plan.years)], rows))


def _delivered(tables: dict[str, pd.DataFrame], name: str, year: int) -> pd.DataFrame:
    frame = tables[name]
    return frame[(frame["stage"] == "delivered") & (frame["year"] == year)]


def _mix(tables: dict[str, pd.DataFrame], year: int) -> dict[str, dict[str, float]]:
    frame = _delivered(tables, "shares", year)
    frame = frame[frame["by"] == "channel"]
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for material, member, share in zip(frame["material"], frame["member"], frame["share"], strict=True):
        found[material][member] = share
    return found


def _minerals(console: Console, plan: Plan, year: int) -> None:
    risk = _delivered(plan.tables, "risk", year).set_index("material")
    mix = _mix(plan.tables, year)
    quo = None if plan.about.get("status_quo") or plan.status_quo is None else plan.status_quo["tables"]
    old_mix = {} if quo is None else _mix(quo, year)
    old_risk = pd.DataFrame() if quo is None else _delivered(quo, "risk", year).set_index("material")
    binding = plan.tables["rules"]
    binding = binding[binding["binding"].astype(bool) & (binding["year"] == year)]
    by_material: dict[str, list[str]] = defaultdict(list)
    for rule, mineral, material in zip(binding["rule"], binding["mineral"], binding["material"], strict=True):
        key = material or mineral
        if rule not in by_material[key]:
            by_material[key].append(rule)
    rows = []
    missing = _missing(plan, year)
    minerals = dict(zip(plan.tables["suppliers"]["material"], plan.tables["suppliers"]["mineral"], strict=True))
    single = pd.Series([minerals.get(m, "") for m in risk.index]).value_counts()
    for material in risk.index:
        now, old = risk.loc[material], old_risk.loc[material] if material in old_risk.index else None
        mineral = now["mineral"]
        bound = by_material.get(material, []) + [r for r in by_material.get(mineral, []) if mineral != material]
        rows.append([
            mineral if single.get(mineral, 0) == 1 else material,
            _pair(mix_bar(old_mix[material]) if material in old_mix else None, mix_bar(mix.get(material, {}))),
            _largest(old, now),
            _pair(None if old is None else Text(_hhi(old["hhi_country"])), Text(_hhi(now["hhi_country"]))),
            _pair(None if old is None else Text(f"{100 * old['import_reliance']:.0f}"),
                  Text(percent(now["import_reliance"]))),
            _said_of(list(dict.fromkeys(bound)), missing.get(material, 0.0), console.width),
        ])  # fmt: skip
    arrow = "" if quo is None else "today -> "
    console.print()
    mixed = "mix today" if plan.about.get("status_quo") else f"mix {arrow}plan"
    heads = [f"delivered {year}", mixed, "largest", "HHI", "imported", "binding"]
    console.print(table([(head, "whole") for head in heads], rows))
    legend = Text("mix: each letter a tenth; ")
    for name, letter, colour in CHANNELS:
        legend.append(f"{letter} {name}  ", style=colour)
    console.print(legend)


def _missing(plan: Plan, year: int) -> dict[str, float]:
    """Material -> share of its requirement that is short in the year."""
    shortage, shares = plan.tables["shortage"], _delivered(plan.tables, "shares", year)
    short = shortage[shortage["year"] == year].groupby("material")["t"].sum()
    arrived = shares[shares["by"] == "channel"].groupby("material")["t"].sum()
    return {str(material): t / (t + arrived.get(material, 0.0)) for material, t in short.items()}


def _said_of(rules: list[str], missing: float, width: int) -> str:
    """What part is missing, and the rules that bind: by name where there is room, else by number."""
    said = [f"{_part(missing)} short"] if missing else []
    if rules and width >= 100:
        said.append(", ".join(rules))
    elif rules and not missing:
        said.append(rules[0] if len(rules) == 1 and len(rules[0]) <= 8 else f"{len(rules)} bind")
    return ", ".join(said) or "-"


def _part(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else percent(share)


def _pair(old: Text | None, now: Text) -> Text:
    return now if old is None else old + Text(">") + now


def _hhi(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else "1.0"


def _largest(old: Any, now: Any) -> Text:
    new = f"{now['largest_country']} {percent(now['largest_share'])}"
    if old is None:
        return Text(new)
    if old["largest_country"] == now["largest_country"]:
        return Text(f"{now['largest_country']} {100 * old['largest_share']:.0f}>{percent(now['largest_share'])}")
    return Text(f"{old['largest_country']} {100 * old['largest_share']:.0f}>{new}")


def _binding(console: Console, plan: Plan, most: int = 8) -> None:
    rules = plan.tables["rules"]
    if rules.empty:
        return
    bound = rules[rules["binding"].astype(bool)]
    bound = bound.assign(price_usd_per_y=bound["price_usd_per_y"].astype(float))  # whole numbers: no price at all
    console.print()
    count = rules["rule"].nunique()
    lines = f"{len(rules)} row{'s' if len(rules) > 1 else ''}"
    priced = bound[bound["price_usd_per_y"].notna() & (bound["price_usd_per_y"].abs() > 0.5)]
    held = f"{count} rule{'s' if count > 1 else ''} in {lines}, all kept; {len(bound)} at the limit"
    console.print(Text(held + (f", {len(priced)} of them with a price." if len(bound) else ".")))
    denominators(console, rules.to_dict("records"))
    if priced.empty:
        return
    shares = priced["kind"].isin(IN_SHARES)
    size = priced["price_usd_per_y"].abs()
    priced = priced.assign(shares=shares, size=size).sort_values(["shares", "size"], ascending=False)
    rows = []
    for row in priced.head(most).to_dict("records"):
        price = abs(row["price_usd_per_y"]) / (100 if row["kind"] in IN_SHARES else 1)
        what = f"{row['material'] or row['mineral'] or 'everything'} {row['member']}".strip()
        per = PER.get(row["kind"], "point")
        saves = "looser" if (row["price_usd_per_y"] < 0) == (row["bound"] == "max") else "tighter"
        rows.append(
            [row["rule"], what, row["year"], f"{row['bound']} {limit_text(row)}", money(price), f"{per} {saves}"]
        )
    heads = [("year", "whole"), ("limit", "whole"), ("USD a year", "right"), ("saved per", "whole")]
    console.print(table(["what limits it", "where", *heads], rows))
    if len(priced) > most:
        console.print(Text(f"... and {len(priced) - most} more: oremix show RUN rules"))


def denominators(console: Console, rows: Sequence[Mapping[Any, Any]]) -> None:
    """What each rule's shares are of: a share says nothing without its denominator."""
    named: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        rule, words = str(row.get("rule") or row["name"]), str(row.get("denominator") or "")
        if words and rule not in named[words]:
            named[words].append(rule)
    for words, names in named.items():
        of = "of " if names and words not in _PLAIN else "in "
        console.print(Text(f"{', '.join(plain(name) for name in names)}: {of}{words}", style="dim"))


_PLAIN = (
    "tonnes",
    "suppliers",
    "USD a year",
    "USD a year above the status quo",
    "days of requirement",
    "kg CO2e per t delivered",
)
IN_SHARES = ("share", "each_share", "hhi", "provenance", "survive")
PER = {
    "hhi": "0.01 HHI",
    "ban": "tonne",
    "budget": "dollar",
    "emissions": "kg/t",
    "index": "1.00",
    "suppliers": "one",
    "stock_days": "day",
}
_UNIT = {"stock_days": " days", "ban": " t", "budget": " USD", "emissions": " kg/t"}


def limit_text(row: Mapping[Any, Any], key: str = "limit") -> str:
    """A limit in the unit of its kind of rule."""
    if row["kind"] in ("share", "each_share", "provenance", "survive"):
        return f"{100 * row[key]:.4g}%"
    figure = f"{row[key]:.4g}" if abs(row[key]) < 1e4 else money(float(row[key]))
    return figure + _UNIT.get(row["kind"], "")


def _short(console: Console, plan: Plan) -> None:
    short = plan.tables["shortage"]
    if short.empty:
        if not plan.about.get("status_quo"):
            console.print(Text("Nothing is short where nothing happens." if weighs(plan) else "Nothing is short."))
        return
    console.print()
    rows = []
    keys = ["market", "material", "year"]
    grouped = short.groupby(keys, as_index=False).agg({"t": "sum", "required_t": "sum"})
    for row in grouped.to_dict("records"):
        rows.append([row["market"], row["material"], row["year"], tonnes(row["t"]), tonnes(row["required_t"]),
                     _part(row["t"] / row["required_t"])])  # fmt: skip
    console.print(table(["short at", "material", "year", ("t missing", "right"), ("of t", "right"),
                         ("share", "right")], rows))  # fmt: skip


def _proof(console: Console, plan: Plan) -> None:
    seconds = plan.about.get("seconds", {}).get("total")
    certificate = plan.about.get("certificate")
    parts = []
    whole, bound = plan.about.get("whole_numbers"), plan.about.get("bound_usd")
    if plan.status == "feasible" and bound is not None:
        parts.append(f"stopped before the search was done: no plan costs less than {money(bound)} USD")
    if certificate is not None:
        what = "with its whole numbers as they are, optimum" if whole else "optimum"
        parts.append(f"{what} proved by duality to {max(certificate.values()):.0e}")
    if plan.gap:
        parts.append(f"within {100 * plan.gap:.2g}% of the best possible")
    parts.append("audit: no mismatch" if not plan.audit else f"AUDIT: {len(plan.audit)} mismatches")
    if seconds is not None:
        parts.append(f"{seconds:.1f} s")
    console.print()
    if plan.changes:
        count = len(plan.changes)
        console.print(Text(f"{count} change{'s' if count > 1 else ''} of the case applied: oremix show RUN changes"))
    console.print(Text("; ".join(parts) + ".", style="dim" if not plan.audit else "bold red"))
    for finding in plan.audit[:5]:
        console.print(Text(f"  {plain(finding['check'])}: {plain(finding['where'])}: {plain(finding['message'])}"))


def comparison(console: Console, plans: Sequence[Plan], names: Sequence[str], year: int | None) -> None:
    """Runs side by side: cost, then mix and risk of each material, then the rules that differ."""
    shared = [y for y in plans[0].years if all(y in plan.years for plan in plans)]
    at = year if year in shared else (shared[-1] if shared else None)
    rows = [["made with", *(_made_with(plan) for plan in plans)]]
    total = [float(plan.undisturbed_usd or 0.0) for plan in plans]
    over = compared(plans)
    rows.append(["undisturbed" if over else "objective", *(money(usd) for usd in total)])
    rows += over
    rows += [[str(y), *(money(plan.cost_usd_per_y[y]) if y in plan.cost_usd_per_y else "-" for plan in plans)]
             for y in dict.fromkeys(y for plan in plans for y in plan.years)]  # fmt: skip
    for y in dict.fromkeys(y for plan in plans for y in plan.years):
        paid = [plan.public_usd_per_y.get(y, 0.0) for plan in plans]
        if any(paid):
            rows.append([f"public {y}", *(money(usd) for usd in paid)])
    rows.append(["vs first", *(_change(usd, total[0]) for usd in total)])
    heads = [(plain(name), "right") for name in names]
    console.print(table(["USD", *heads], rows))
    if over:
        console.print(Text("vs first compares the cost where nothing happens (undisturbed)", style="dim"))
    if at is None:
        console.print(Text("the runs have no year in common, so mixes are not compared"))
        return
    risks = [_delivered(plan.tables, "risk", at).set_index("material") for plan in plans]
    mixes = [_mix(plan.tables, at) for plan in plans]
    materials = list(dict.fromkeys(material for risk in risks for material in risk.index))
    mixed: list[list[Text]] = []
    for material in materials:
        cells = []
        for risk, mix in zip(risks, mixes, strict=True):
            if material in risk.index:
                now = risk.loc[material]
                cells.append(
                    mix_bar(mix.get(material, {}))
                    + Text(f" {now['largest_country']} {percent(now['largest_share'])} {_hhi(now['hhi_country'])}")
                )
            else:
                cells.append(Text("-"))
        mixed.append([Text(material), *cells])
    console.print()
    console.print(table([f"delivered {at}", *(plain(name) for name in names)], mixed))
    console.print(
        Text("mix (each letter a tenth: d domestic, a allied, r recycling, i incumbent), largest country, HHI")
    )
    resilience_compared(console, plans, names, at)
    built_compared(console, plans, names)
    against_first(console, dict(zip(names, plans, strict=True)), at)
    listed = [sorted(set(plan.tables["rules"]["rule"])) for plan in plans]
    if any(rules != listed[0] for rules in listed):
        every = list(dict.fromkeys(rule for rules in listed for rule in rules))
        differing = [rule for rule in every if not all(rule in rules for rules in listed)]
        rows = [[rule, *("yes" if rule in rules else "-" for rules in listed)] for rule in differing]
        console.print()
        console.print(table(["rules only in some", *(plain(name) for name in names)], rows))


def _made_with(plan: Plan) -> str:
    """What was changed in the case, by whom: scenario crma, --relax."""
    said = ["--status-quo"] if plan.about.get("status_quo") else []
    said += [str(item["by"]).removeprefix("scenario ").partition(":")[0] for item in plan.changes]
    return ", ".join(plain(word) for word in dict.fromkeys(said) if word != "left out") or "the case as it is"


def _change(value: float, first: float) -> str:
    return f"{100 * (value - first) / abs(first):+.2f}%" if first else "-"
