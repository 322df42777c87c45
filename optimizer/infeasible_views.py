"""What a planner sees where there is no plan: the nearest limits that can be had, and what cannot hold together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from optimizer.console import plain, table, tonnes
from optimizer.plan import Plan
from optimizer.two_stage_views import unanswered
from optimizer.views import denominators, limit_text

MOST_ROWS = 12  # with more than that, sets are told by names alone unless more is asked for
MOST_SETS = 14
Item = dict[str, Any]
WORDS = {
    "rule": "rule", "demand": "demand at", "minimum": "minimum of", "capacity": "capacity of",
    "feedstock": "feedstock", "lane": "lane", "lot": "lot of", "closing stock": "least at the end in",
    "expansion": "expansion of", "stock": "most in", "built": "most put a year into", "drawn": "most drawn a year from",
}  # fmt: skip


def infeasible(console: Console, plan: Plan, verbose: bool = False) -> None:
    """Why there is no plan: what would have to give, and what cannot hold together."""
    if plan.about.get("status_quo"):
        console.print(
            Text("There is no status quo: nothing that is bought today makes what is required.", style="bold")
        )
        for item in plan.conflict:
            console.print(Text(f"  {plain(item['material'])}: no supplier has incumbent_t that could grow to it"))
        return
    rules_alone = bool(plan.repair) and all(item["what"] == "rule" for item in plan.repair)
    if any(item.get("kind") == "outcome" for item in plan.repair):
        unanswered(console, plan)
        return
    console.print(Text("No plan can meet the rules and the demand together.", style="bold red"))
    _repairs(console, plan)
    _conflicts(console, plan, verbose)
    if rules_alone:
        console.print()
        console.print(Text("--relax gives the plan at the nearest limits."))


def _repairs(console: Console, plan: Plan) -> None:
    """The smallest repair, a row for each limit and a column for each year."""
    groups: dict[tuple[Any, ...], list[Item]] = defaultdict(list)
    for item in plan.repair:
        groups[_subject(item)].append(item)
    rows = []
    for items in groups.values():
        by_year = {item["year"]: item for item in items}
        cells = [_value(by_year[year], "needed") if year in by_year else "ok" for year in plan.years]
        first = items[0]
        where = " ".join(filter(None, (first["material"] or first["mineral"] or "everything", first.get("member"))))
        rows.append([_label(first), where, _from_to(items), *cells])
    if rows:
        console.print()
        heads = [(str(year), "right") for year in plan.years]
        console.print(table(["what has to give", "where", ("limit", "right"), *heads], rows,
                            title="Nearest limits that can be had"))  # fmt: skip
        denominators(console, [item for item in plan.repair if item["what"] == "rule"])


def _subject(item: Item) -> tuple[Any, ...]:
    """What an item is about, whatever its year."""
    return tuple(item.get(key, "") for key in ("what", "kind", "name", "bound", "mineral", "material", "member"))


def _label(item: Item) -> str:
    """A limit in a few words."""
    if item["what"] == "rule":
        return f"{item['name']} {item['bound']}"
    return f"{_word(item)} {item['name']}"


def _value(item: Item, key: str = "limit") -> str:
    """A limit, or what it would have to be, in the unit of its kind."""
    if item[key] is None:
        return "none"
    if item["what"] != "rule":
        return f"{tonnes(float(item[key]))} t"
    if key == "needed" and item["kind"] in ("share", "each_share", "provenance", "survive"):
        return f"{100 * item['needed']:.1f}%"
    return limit_text(item, key)


def _from_to(items: Sequence[Item]) -> str:
    ordered = sorted(items, key=lambda item: float(item["limit"]))
    shown = [_value(item) for item in (ordered[0], ordered[-1])]
    return shown[0] if shown[0] == shown[1] else " to ".join(shown)


def _conflicts(console: Console, plan: Plan, verbose: bool) -> None:
    """The sets, years with the same set together: with values where there are few, else by names."""
    sets: dict[int, list[Item]] = defaultdict(list)
    for item in plan.conflict:
        sets[item.get("set", 0)].append(item)
    if not sets:
        return
    console.print()
    if verbose or sum(len(items) for items in sets.values()) <= MOST_ROWS:
        _with_values(console, plan.years, list(sets.values()))
        return
    alike: dict[tuple[Any, ...], list[list[Item]]] = defaultdict(list)
    for items in sets.values():
        alike[tuple(_subject(item) for item in items)].append(items)
    console.print(Text("What cannot hold together", style="bold"))
    for listed in list(alike.values())[:MOST_SETS]:
        items = listed[0]
        where = plain(items[0]["mineral"] or "all")
        console.print(Text(f"  {where}{_years(listed, plan.years)}: {plain('; '.join(_named(items)))}"))
    left = len(alike) - MOST_SETS
    more = f"{left} more sets, and " if left > 0 else ""
    console.print(Text(f"{more}what each limit would have to be: --verbose, or --json", style="dim"))


def _word(item: Item) -> str:
    return WORDS[item["what"] if item["what"] == "rule" else item.get("kind") or item["what"]]


def _years(listed: Sequence[Sequence[Item]], years: Sequence[int]) -> str:
    """The years of sets that are alike; nothing where it is every year."""
    mine = sorted(items[0]["year"] for items in listed)
    return "" if len(mine) == len(years) else " " + ", ".join(str(year) for year in mine)


def _named(items: Sequence[Item]) -> list[str]:
    """The limits of a set, those of a kind together."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for item in items:
        name = " ".join(filter(None, (str(item["name"]), item.get("member"))))
        word = _word(item)
        if name not in kinds[word]:
            kinds[word].append(name)
    return [
        f"{word} {', '.join(names[:4])}" + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        for word, names in kinds.items()
    ]


def _with_values(console: Console, years: Sequence[int], sets: Sequence[list[Item]]) -> None:
    """Each limit of each set with the value of it at which there would be a plan."""
    rows: list[list[Any]] = []
    for items in sets:
        if rows:
            rows.append(["", "", ""])
        named = items[0]["mineral"] or "all"
        rows.append([Text(plain(f"{named} {items[0]['year']}" if len(years) > 1 else named), style="bold"), "", ""])
        for item in items:
            starred = item["needed"] is not None and not item["alone"]
            rows.append(
                [Text(f"  {plain(_in_full(item))}"), _value(item), _value(item, "needed") + ("*" if starred else "")]
            )
    heads = [("limit", "right"), ("would have to be", "right")]
    console.print(table(["cannot hold together", *heads], rows))
    none = any(item["needed"] is None for items in sets for item in items)
    said = "Each by itself, all else as it is, would do" + ("; none: no value of it does." if none else ".")
    console.print(Text(said, style="dim"))
    if any(item.get("given") for items in sets for item in items):
        console.print(
            Text("A set of one year: given all else in other years, with what has to give there.", style="dim")
        )
    if any(item["needed"] is not None and not item["alone"] for items in sets for item in items):
        console.print(Text("* with what else has to give above: by itself it would not do.", style="dim"))


def _in_full(item: Item) -> str:
    """A limit with what it is about."""
    about = item.get("member") or (item["material"] if item["what"] in ("rule", "demand") else "")
    about = "" if about == item["mineral"] else about
    if item["what"] == "rule":
        return " ".join(filter(None, ("rule", item["name"], item["bound"], about)))
    return f"{_word(item)} {item['name']}" + (f", {about}" if about else "")
