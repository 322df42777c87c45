"""A part of a case: some minerals with what they consume upstream, or some horizon years."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pandas as pd

from models.case import Case, Change
from models.checks import check_case
from models.config import parse_settings
from models.disruptions import Targets
from models.problems import CaseError, Problem, Problems, nearest
from models.rule_checks import fit_rule


def keep_years(case: Case, years: Sequence[int]) -> Case:
    """The case with only these horizon years; weights as if they were the horizon."""
    unknown = sorted(set(years) - set(case.years))
    if unknown:
        known = ", ".join(str(year) for year in case.years)
        raise CaseError(
            [Problem("--year", f"not a horizon year of the case: {known}", None, "", str(y)) for y in unknown]
        )
    kept = tuple(year for year in case.years if year in set(years))
    horizon = {**case.raw["horizon"], "years": list(kept)}
    settings = case.settings.model_copy(update={"horizon": case.settings.horizon.model_copy(update={"years": kept})})
    log = Change("horizon.years", list(case.years), list(kept), "--year")
    part = case.with_(raw={**case.raw, "horizon": horizon}, settings=settings, changes=(*case.changes, log))
    return _checked(part, "--year")


def keep_minerals(case: Case, minerals: Sequence[str]) -> Case:
    """The case with only these minerals and what they consume upstream.

    Demand is kept for the minerals named, and for the host mineral of a by-product that they need (the host
    is only made if it can be sold). Rules about other minerals are dropped and listed.
    """
    known = list(dict.fromkeys(case.materials["mineral"]))
    unknown = [mineral for mineral in dict.fromkeys(minerals) if mineral not in known]
    if unknown:
        raise CaseError(
            [Problem("--mineral", f"no such mineral; {nearest(name, known)}", None, "", name) for name in unknown]
        )
    wanted = set(minerals)
    of_mineral = case.materials["mineral"]
    table = case.tables["suppliers"]
    materials = set(of_mineral.index[of_mineral.isin(wanted)])
    while True:
        more = set(table.loc[table["material"].isin(materials) & (table["input"] != ""), "input"])
        hosts = case.tables["byproducts"]
        making = set(hosts.loc[hosts["material"].isin(materials), "supplier"])
        host_minerals = set(table.loc[table["supplier"].isin(making), "material"].map(of_mineral)) - wanted
        wanted |= host_minerals
        more |= set(of_mineral.index[of_mineral.isin(host_minerals)])
        if more <= materials:
            break
        materials |= more
    suppliers = set(table.loc[table["material"].isin(materials), "supplier"])
    gone = set(table["supplier"]) - suppliers
    tables = dict(case.tables)
    tables["materials"] = _rows(tables["materials"], tables["materials"]["material"].isin(materials))
    tables["suppliers"] = _rows(table, table["supplier"].isin(suppliers))
    tables["supplier_years"] = _rows(tables["supplier_years"], tables["supplier_years"]["supplier"].isin(suppliers))
    seconds = tables["byproducts"]
    tables["byproducts"] = _rows(seconds, seconds["supplier"].isin(suppliers) & seconds["material"].isin(materials))
    demand = tables["demand"]
    tables["demand"] = _rows(demand, demand["material"].map(of_mineral).isin(wanted))
    for name in ("feedstock", "substitution"):
        tables[name] = _rows(tables[name], tables[name]["material"].isin(materials))
    required = set(zip(tables["demand"]["market"], tables["demand"]["material"], strict=True))
    stock = tables["stock"]
    kept = [key in required for key in zip(stock["market"], stock["material"], strict=True)]
    tables["stock"] = _rows(stock, pd.Series(kept, index=stock.index, dtype=bool))
    markets = {"home", *tables["demand"]["market"]}
    lost_markets = set(demand["market"]) - markets
    raw = copy.deepcopy(case.raw)
    placed = raw["market"].get("countries", {})
    raw["market"]["countries"] = {name: country for name, country in placed.items() if name not in lost_markets}
    lanes = tables["lanes"]
    named = lanes["material"].isin(materials) | (lanes["material"] == "")
    ends = ~lanes["origin"].isin(gone) & ~lanes["destination"].isin(gone | lost_markets)
    tables["lanes"] = _rows(lanes, named & ends)
    tables["disruptions"] = _still_hit(case, tables, lost_markets)
    log = Change("minerals", known, [name for name in known if name in set(of_mineral[list(materials)])], "--mineral")
    if tables["demand"].empty:
        raise CaseError([Problem("--mineral", "no market requires any of them", None, "", ", ".join(minerals))])
    part = case.with_(raw=raw, tables=tables, changes=(*case.changes, log))
    if not tables["disruptions"].empty:
        part = part.with_(tables=tables | {"disruptions": _hitting(part)})
    return _checked(part, "--mineral")


def _still_hit(case: Case, tables: dict[str, Any], lost_markets: set[str]) -> Any:
    """The rows of disruptions.csv that name nothing which is gone; a scenario without any is "nothing happens"."""
    table = case.tables["disruptions"]
    kept = ~table["market"].isin(lost_markets)
    for column, names in (("supplier", tables["suppliers"]), ("material", tables["materials"]),
                          ("mineral", tables["materials"])):  # fmt: skip
        kept &= (table[column] == "") | table[column].isin(set(names[column]))
    return _rows(table, kept)


def _hitting(case: Case) -> Any:
    """The rows of disruptions.csv that still hit a supplier, or change what a market requires."""
    table, targets = case.tables["disruptions"], Targets(case)
    kept = [row["demand_multiple"] != 1 or targets.hits_any(row) for row in table.to_dict("records")]
    return _rows(table, pd.Series(kept, index=table.index, dtype=bool))


def _rows(table: Any, kept: Any) -> Any:
    return table[kept.astype(bool)].reset_index(drop=True)


def fit_rules(case: Case, why: str, names: set[str] | None = None) -> Case:
    """The case with its rules (or those named) cut to what it has; a rule about nothing in it is dropped.

    Each one dropped is a change and, where it was just added by a preset, a warning.
    """
    rules, log, notes = [], list(case.changes), list(case.warnings)
    for raw in case.raw.get("rules", []):
        name = str(raw["name"])
        fitted, reason = fit_rule(case, raw) if names is None or name in names else (raw, "")
        if fitted is not None:
            rules.append(fitted)
            continue
        if names is not None:
            log = [item for item in log if item.key != f"rules.{name}"]
            notes.append(f"{why} rule {name} is left out: {reason}")
        log.append(Change(f"rules.{name}", "in the case" if names is None else "preset", None, f"{why}: {reason}"))
    changed = {**case.raw, "rules": rules}
    problems = Problems()
    settings = parse_settings(changed, "case.toml", problems)
    problems.raise_any()
    assert settings is not None
    return case.with_(raw=changed, settings=settings, changes=tuple(log), warnings=tuple(notes))


def _checked(case: Case, why: str) -> Case:
    """A part of a case with its rules fitted and everything checked again."""
    part = fit_rules(case, why)
    problems = Problems()
    check_case(part, problems)
    problems.raise_any()
    return part.with_(warnings=tuple(problems.warnings))
