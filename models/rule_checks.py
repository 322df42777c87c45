"""Checks of the rules against the tables, and which suppliers a rule selects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from models.cells import countries
from models.disruptions import EACH, find_losses, lost_names, parse_lose
from models.problems import Problems, nearest
from models.rule_kinds import RULES, Where

if TYPE_CHECKING:
    from models.case import Case, Flags


def selected(case: Case, where: Where | None, year: int) -> Flags:
    """Which suppliers ``where`` selects in the year (blocs: membership of that year); shape (suppliers,)."""
    table = case.suppliers
    kept = np.ones(len(table), dtype=bool)
    if where is None:
        return kept
    for key in ("channel", "country", "controller", "supplier"):
        wanted = getattr(where, key)
        if wanted is not None:
            kept &= table[key].isin(wanted).to_numpy()
    for key, column in (("bloc", "country"), ("controller_bloc", "controller")):
        blocs = getattr(where, key)
        if blocs is not None:
            members = set().union(*(case.bloc_members(bloc, year) for bloc in blocs))
            kept &= table[column].isin(members).to_numpy()
    if where.certified is not None:
        kept &= (table["certified"] == ("yes" if where.certified else "no")).to_numpy()
    return kept


def years_in_force(case: Case, rule: Any) -> list[int]:
    """The horizon years in which the rule holds."""
    start = rule.from_year if rule.from_year is not None else -1
    end = rule.to_year if rule.to_year is not None else 9999
    return [year for year in case.years if start <= year <= end]


def rule_subjects(case: Case, rule: Any) -> list[tuple[str, str]]:
    """The (mineral, material) of each row of a tonnage rule in a year; material "" = the whole mineral.

    At ``delivered``: each delivered material selected. At another stage: each mineral selected that has a
    material of the stage, or each of the materials named that are of the stage.
    """
    minerals = None if rule.mineral is None else set(rule.mineral)
    named = None if rule.material is None else set(rule.material)
    of_mineral = case.materials["mineral"]
    if rule.stage == "delivered":
        return [
            (of_mineral[material], material)
            for material in case.delivered_materials(rule.market)
            if (minerals is None or of_mineral[material] in minerals) and (named is None or material in named)
        ]
    at_stage = case.materials[case.materials["stage"] == rule.stage]
    if named is not None:
        return [(of_mineral[m], m) for m in at_stage["material"] if m in named]
    found = dict.fromkeys(m for m in at_stage["mineral"] if minerals is None or m in minerals)
    return [(mineral, "") for mineral in found]


def stocked_subjects(case: Case, rule: Any) -> list[tuple[int, str, str]]:
    """(row of ``case.stock``, market, material) of each row of a stock rule in a year."""
    of_mineral = case.materials["mineral"]
    return [
        (place, market, material)
        for place, (market, material) in enumerate(zip(case.stock["market"], case.stock["material"], strict=True))
        if rule.market in (None, market)
        and (rule.mineral is None or of_mineral[material] in rule.mineral)
        and (rule.material is None or material in rule.material)
    ]


def makers(case: Case, mineral: str, material: str, stage: str) -> set[int]:
    """Suppliers (positions) that make the material, or any material of the mineral at the stage."""
    found = case.makers
    if material:
        return found.get(material, set())
    table = case.materials
    listed = table.index[(table["mineral"] == mineral) & (table["stage"] == stage)]
    return set().union(*(found.get(m, set()) for m in listed)) if len(listed) else set()


def upstream(case: Case, material: str) -> set[int]:
    """Suppliers (positions) through which a tonne of the material can pass: its makers, and those of what they use."""
    inputs = case.suppliers["input"].to_numpy()
    found: set[int] = set()
    waiting = [material]
    while waiting:
        more = case.makers.get(waiting.pop(), set()) - found
        found |= more
        waiting += sorted({str(inputs[place]) for place in more if inputs[place]})
    return found


def check_rules(case: Case, problems: Problems) -> None:
    """Names that exist, suppliers that are selected, years in force, indicators that are there."""
    for rule in case.rules:
        place = f"rules.{rule.name}"
        before = len(problems.found)
        _names(case, rule, place, problems)
        if len(problems.found) > before:
            continue
        if not years_in_force(case, rule):
            problems.add("case.toml", f"in force in none of the horizon years {_shown(case.years)}", None, place)
        elif rule.kind == "budget":
            _check_budget(case, rule, place, problems)
        elif rule.kind == "stock_days":
            if not stocked_subjects(case, rule) and not problems.partial:
                problems.add("case.toml", "matches nothing: stock.csv has no stock that it names", None, place)
        elif rule.kind in ("emissions", "survive"):
            if not rule_subjects(case, rule):
                problems.add("case.toml", "matches nothing: no market requires what it names", None, place)
        else:
            _check_selection(case, rule, place, problems)


def _shown(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _names(case: Case, rule: Any, place: str, problems: Problems) -> None:
    known: dict[str, Iterable[str]] = {
        "mineral": dict.fromkeys(case.materials["mineral"]), "material": case.materials["material"],
    }  # fmt: skip
    for key, names in known.items():
        for name in getattr(rule, key) or ():
            _check_name(name, names, f"{place}.{key}", key, problems)
    if rule.market is not None:
        _check_name(rule.market, case.markets, f"{place}.market", "market with demand", problems)
    where = getattr(rule, "where", None)
    if where is not None:
        for key in ("bloc", "controller_bloc"):
            for name in getattr(where, key) or ():
                _check_name(name, sorted(case.bloc_names), f"{place}.where.{key}", "bloc of blocs.csv", problems)
        for name in where.supplier or ():
            _check_name(name, list(case.suppliers["supplier"]), f"{place}.where.supplier", "supplier", problems)
    for key in ("indicator", "weight"):
        name = getattr(rule, key, None)
        if name is not None:
            indicators = dict.fromkeys(case.tables["risk"]["indicator"])
            _check_name(name, indicators, f"{place}.{key}", "indicator of risk.csv", problems)
    if rule.kind == "each_share":
        members = dict.fromkeys(case.suppliers[rule.each]) if rule.each != "channel" else (
            "domestic", "allied", "recycling", "incumbent")  # fmt: skip
        if rule.each in ("country", "controller"):
            members = dict.fromkeys([*members, *countries()])
        for name in rule.except_:
            _check_name(name, members, f"{place}.except", rule.each, problems)
    if rule.kind == "survive":
        _lost_names(case, rule, place, problems)


def _lost_names(case: Case, rule: Any, place: str, problems: Problems) -> None:
    """What a survive rule loses, and what it spares, exists; a loss that takes nobody is warned of."""
    kind, member = parse_lose(rule.lose, rule.except_)
    table = case.suppliers
    known = lost_names(case)
    words = {"bloc": "bloc of blocs.csv", "scenario": "scenario of disruptions.csv"}
    if kind != "each":
        _check_name(member, known[kind], f"{place}.lose", words.get(kind, kind), problems)
        lost = table[kind] == member if kind in EACH else None
        if lost is not None and not lost.any() and not problems.partial:
            problems.warn(f"rule {rule.name}: no supplier of the case is lost with {rule.lose}")
    for name in rule.except_:
        of = member if kind == "each" else "country"
        _check_name(name, known[of], f"{place}.except", of, problems)
    if not find_losses(case, rule.lose, rule.except_) and not problems.partial:
        problems.add("case.toml", f"except spares every {member}: nothing is left to lose", None, f"{place}.except")


def _check_name(name: str, known: Iterable[str], place: str, what: str, problems: Problems) -> None:
    known = list(known)
    if name not in known:
        problems.add("case.toml", f"no such {what}; {nearest(name, known)}", None, place, name)


def _check_budget(case: Case, rule: Any, place: str, problems: Problems) -> None:
    if rule.of == "premium" and not (case.suppliers["incumbent_t"] > 0).any():
        problems.add(
            "case.toml", "of = 'premium' compares with the status quo, and no supplier has incumbent_t", None, place
        )


def _check_selection(case: Case, rule: Any, place: str, problems: Problems) -> None:
    subjects = rule_subjects(case, rule)
    where = getattr(rule, "where", None)
    flags = [selected(case, where, year) for year in years_in_force(case, rule)]
    chosen = {int(position) for flag in flags for position in np.flatnonzero(flag)}
    reached = {subject: makers(case, *subject, rule.stage) & chosen for subject in subjects}
    if rule.kind == "provenance":
        reached = {subject: upstream(case, subject[1]) & chosen for subject in subjects}
    if not any(reached.values()) and not problems.partial:
        what = "supplier that it selects makes anything at" if subjects else "material is at"
        where_to = f"stage {rule.stage}" if rule.kind != "provenance" else "any stage of what is delivered"
        problems.add("case.toml", f"matches nothing: no {what} {where_to}", None, place)
        return
    floor = getattr(rule, "min", None)
    empty = [material or mineral for (mineral, material), found in reached.items() if not found]
    if rule.kind in ("share", "suppliers") and floor and empty:
        problems.warn(f"rule {rule.name}: selects no supplier of {_shown(empty)}, so its min allows nothing there")
    if getattr(rule, "of", "") == "requirement" and rule.stage != "delivered":
        uneven = (case.suppliers["recovery"] != 1) & (case.suppliers["input"] != "")
        minerals = {mineral for mineral, _ in subjects} & set(case.suppliers.loc[uneven, "mineral"])
        if minerals:
            problems.warn(
                f"rule {rule.name}: shares of the delivered requirement at stage {rule.stage} mix two bases "
                f"(recoveries differ from 1) for {_shown(sorted(minerals))}"
            )
    indicator = getattr(rule, "indicator", None) or getattr(rule, "weight", None)
    if indicator:
        positions = sorted(set().union(*reached.values()))
        column = "controller" if getattr(rule, "by", "") == "controller" else "country"
        supplying = set(case.suppliers[column].to_numpy()[positions])
        missing = sorted(supplying - set(case.risk(indicator, case.years[0])))
        if missing and not problems.partial:
            problems.add("tables/risk.csv", f"rule {rule.name} needs a value of {indicator!r} for {_shown(missing)}, "
                         "which can supply what it weighs", None, "country")  # fmt: skip


def fit_rule(case: Case, raw: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """A raw rule cut to the minerals, materials, suppliers and markets that the case has; None with the reason
    where nothing is left for it to hold on to. For presets (written for any case) and parts of a case.
    """
    rule = dict(raw)
    known = {
        "mineral": set(case.materials["mineral"]), "material": set(case.materials["material"]),
    }  # fmt: skip
    for key, names in known.items():
        if key in rule:
            given = [rule[key]] if isinstance(rule[key], str) else list(rule[key])
            left = [name for name in given if name in names]
            if not left:
                return None, f"the case has no {key} {_shown(given)}"
            rule[key] = left
    if "market" in rule and rule["market"] not in case.markets:
        return None, f"the case has no market {rule['market']}"
    where = dict(rule.get("where") or {})
    if "supplier" in where:
        given = [where["supplier"]] if isinstance(where["supplier"], str) else list(where["supplier"])
        where["supplier"] = [name for name in given if name in case.supplier_position]
        if not where["supplier"]:
            return None, "none of its suppliers is there"
        rule["where"] = where
    losing = str(rule.get("lose", ""))
    gone = {"supplier": case.supplier_position, "scenario": set(case.tables["disruptions"]["scenario"])}
    kind, _, member = losing.partition(":")
    if kind in gone and member not in gone[kind]:
        return None, f"the case has nothing to lose with {losing}"
    if "supplier" in (rule.get("each"), losing.removeprefix("each ")) and "except" in rule:
        given = [rule["except"]] if isinstance(rule["except"], str) else list(rule["except"])
        rule["except"] = [name for name in given if name in case.supplier_position]
    parsed = RULES.validate_python(rule)
    if not parsed.enabled:
        return rule, ""
    if not years_in_force(case, parsed):
        return None, "it is in force in none of the horizon years"
    problems = Problems()
    check_rules(case.with_(settings=case.settings.model_copy(update={"rules": (parsed,)})), problems)
    if any("matches nothing" in problem.message for problem in problems.found):
        return None, "it selects nothing here"
    return rule, ""
