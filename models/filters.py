"""A part of a case: some minerals with what they consume upstream, or some horizon years."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from models.case import Case, Change
from models.checks import check_case
from models.config import parse_settings
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
    return _fitted(part, "--year")


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
    tables["feedstock"] = _rows(tables["feedstock"], tables["feedstock"]["material"].isin(materials))
    markets = {"home", *tables["demand"]["market"]}
    lost_markets = set(demand["market"]) - markets
    raw = copy.deepcopy(case.raw)
    placed = raw["market"].get("countries", {})
    raw["market"]["countries"] = {name: country for name, country in placed.items() if name not in lost_markets}
    lanes = tables["lanes"]
    named = lanes["material"].isin(materials) | (lanes["material"] == "")
    ends = ~lanes["origin"].isin(gone) & ~lanes["destination"].isin(gone | lost_markets)
    tables["lanes"] = _rows(lanes, named & ends)
    log = Change("minerals", known, [name for name in known if name in set(of_mineral[list(materials)])], "--mineral")
    if tables["demand"].empty:
        raise CaseError([Problem("--mineral", "no market requires any of them", None, "", ", ".join(minerals))])
    part = case.with_(raw=raw, tables=tables, changes=(*case.changes, log))
    return _fitted(part, "--mineral")


def _rows(table: Any, kept: Any) -> Any:
    return table[kept.astype(bool)].reset_index(drop=True)


def _fitted(case: Case, by: str) -> Case:
    """Rules cut to what the part still has; those about nothing in it are dropped and listed."""
    rules, log = [], list(case.changes)
    for raw in case.raw.get("rules", []):
        fitted, reason = fit_rule(case, raw)
        if fitted is None:
            log.append(Change(f"rules.{raw['name']}", "in the case", None, f"{by}: {reason}"))
        else:
            rules.append(fitted)
    changed = {**case.raw, "rules": rules}
    problems = Problems()
    settings = parse_settings(changed, "case.toml", problems)
    problems.raise_any()
    assert settings is not None
    part = case.with_(raw=changed, settings=settings, changes=tuple(log))
    problems = Problems()
    check_case(part, problems)
    problems.raise_any()
    return part.with_(warnings=tuple(problems.warnings))
