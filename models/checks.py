"""Checks of a case across its tables: every problem is collected, none stops the next."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.disruption_checks import check_names, check_rows
from models.problems import Problems, nearest
from models.reading import checked_column
from models.rule_checks import check_rules
from models.tables import TABLES, columns
from models.year_checks import check_years

if TYPE_CHECKING:
    from models.case import Case


def check_case(case: Case, problems: Problems, recheck_cells: bool = False) -> None:
    """Everything that one table cannot say by itself; ``recheck_cells`` after changes were applied."""
    if recheck_cells:
        _cells(case, problems)
    _unique(case, problems)
    _references(case, problems)
    check_names(case, problems)
    _years(case, problems)
    sound = _sound(case, problems)
    if sound is None:
        return
    problems.partial = any(len(sound.tables[name]) < len(case.tables[name]) for name in TABLES)
    _materials(sound, problems)
    if any("in a circle" in problem.message for problem in problems.found):
        return
    _suppliers(sound, problems)
    for first, second, cell in sound.lanes.clashes:
        problems.add(
            _file("lanes"), f"contradicts row {first}: both match the same lane equally closely and give it another "
            f"{cell}; add a more specific row or make them agree", second, cell,
        )  # fmt: skip
    check_years(sound, problems)
    check_rows(sound, problems)
    check_rules(sound, problems)
    _risk(sound, problems)


def _risk(case: Case, problems: Problems) -> None:
    """Settings of [risk] that do nothing as they stand."""
    weight, table = case.settings.risk.weight, case.tables["disruptions"]
    if weight is None and case.raw.get("risk"):
        listed = ", ".join(case.raw["risk"])
        problems.warn(f"[risk] {listed} does nothing without a weight: disruptions are not weighed")
    elif weight is not None and not (table["probability"] > 0).any():
        problems.warn("[risk] weight: disruptions.csv lists nothing that can happen, so it changes nothing")


def _sound(case: Case, problems: Problems) -> Case | None:
    """The case without the rows that have a defect, so that the other checks can go on; None where too little."""
    if not problems.found:
        return case
    every = [(name, column) for name in TABLES for column in columns(name).values() if column.required]
    if any(problems.in_column(_file(n), c.name) and not _given(case.tables[n], c.name) for n, c in every):
        return None  # a whole column is missing
    tables = {}
    for name, frame in case.tables.items():
        wrong = problems.rows(_file(name))
        tables[name] = frame[~frame["row"].isin(wrong)]
    known = {"material": set(tables["materials"]["material"])}
    suppliers = tables["suppliers"]
    fed = suppliers["input"].isin(known["material"]) | (suppliers["input"] == "")
    tables["suppliers"] = suppliers[suppliers["material"].isin(known["material"]) & fed]
    known["supplier"] = set(tables["suppliers"]["supplier"])
    for name in ("supplier_years", "byproducts", "demand", "feedstock", "stock", "substitution"):
        for column, names in known.items():
            if column in tables[name]:
                tables[name] = tables[name][tables[name][column].isin(names)]
    lanes = tables["lanes"]
    tables["lanes"] = lanes[lanes["material"].isin(known["material"]) | (lanes["material"] == "")]
    if any(tables[name].empty for name in ("materials", "suppliers", "demand")):
        return None
    return case.with_(tables={name: frame.reset_index(drop=True) for name, frame in tables.items()})


def _file(table: str) -> str:
    return f"tables/{table}.csv"


def _given(frame: pd.DataFrame, column: str) -> bool:
    return bool((frame[column].notna() & (frame[column] != "")).any())


def _cells(case: Case, problems: Problems) -> None:
    for name in TABLES:
        frame = case.tables[name]
        for column in columns(name).values():
            if column.kind not in ("number", "year"):
                continue
            values = frame[column.name].to_numpy(dtype=float)
            given = np.flatnonzero(~np.isnan(values))
            cells = values[given].tolist() if column.kind == "number" else values[given].astype(int).tolist()
            for place in checked_column(name, column.name, cells):
                row = int(frame["row"].to_numpy()[given[place]])
                problems.add(_file(name), f"must be {column.allowed}", row, column.name, f"{cells[place]:g}")


def _unique(case: Case, problems: Problems) -> None:
    for name, row_class in TABLES.items():
        frame = case.tables[name]
        if not row_class.unique or frame.empty:
            continue
        keys = list(row_class.unique)
        filled = ~frame["row"].isin(problems.rows(_file(name)))
        for key in keys:
            if columns(name)[key].required:
                filled &= frame[key].notna() & (frame[key] != "")
        for place in np.flatnonzero(frame.duplicated(keys) & filled):
            row = frame.iloc[place]
            same = ((frame[keys] == row[keys]) | (frame[keys].isna() & row[keys].isna())).all(axis=1)
            first = int(frame.loc[same, "row"].iloc[0])
            shown = ", ".join(f"{row[key]:g}" if isinstance(row[key], float) else str(row[key]) for key in keys)
            what = "id" if len(keys) == 1 else "key"
            problems.add(_file(name), f"the same {what} stands in row {first}", row["row"], "+".join(keys), shown)


def _references(case: Case, problems: Problems) -> None:
    materials = set(case.tables["materials"]["material"])
    suppliers = set(case.tables["suppliers"]["supplier"])
    markets = {"home", *case.tables["demand"]["market"], *case.settings.market.countries}
    _known(case, problems, "suppliers", "material", materials, "materials.csv")
    _known(case, problems, "suppliers", "input", materials, "materials.csv")
    _known(case, problems, "byproducts", "supplier", suppliers, "suppliers.csv")
    _known(case, problems, "byproducts", "material", materials, "materials.csv")
    _known(case, problems, "supplier_years", "supplier", suppliers, "suppliers.csv")
    _known(case, problems, "lanes", "material", materials, "materials.csv")
    _known(case, problems, "demand", "material", materials, "materials.csv")
    _known(case, problems, "feedstock", "material", materials, "materials.csv")
    _known(case, problems, "stock", "material", materials, "materials.csv")
    _known(case, problems, "substitution", "material", materials, "materials.csv")
    blocs = {f"bloc:{name}" for name in case.bloc_names}
    for side, ids in (("origin", suppliers), ("destination", suppliers | markets)):
        lanes = case.tables["lanes"]
        plain = ~lanes[side].str.startswith("country:").astype(bool) & (lanes[side] != "*") & (lanes[side] != "")
        if problems.in_column(_file("suppliers"), "supplier"):
            continue
        for place in np.flatnonzero(plain & ~lanes[side].isin(ids | blocs)):
            name = lanes[side].iloc[place]
            what = "no supplier has this id" if side == "origin" else "no supplier or market has this id"
            if name.startswith("bloc:"):
                what, ids_shown = "no bloc of blocs.csv has this name", blocs
            else:
                ids_shown = ids
            problems.add(
                _file("lanes"), f"{what}; {nearest(name, sorted(ids_shown))}", lanes["row"].iloc[place], side, name
            )
    table = case.tables["suppliers"]
    for place in np.flatnonzero(table["supplier"].isin(markets)):
        problems.add(
            _file("suppliers"), "a market has this id too; a supplier and a market never share one",
            table["row"].iloc[place], "supplier", table["supplier"].iloc[place],
        )  # fmt: skip
    known_sources = set(case.tables["sources"]["id"])
    for name in TABLES:
        cited = {source for cell in case.tables[name]["source"].unique() for source in str(cell).split()}
        missing = sorted(cited - known_sources)
        if missing:
            shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            problems.warn(f"{_file(name)}: source ids that sources.csv does not have: {shown}")


def _known(case: Case, problems: Problems, table: str, column: str, known: set[str], where: str) -> None:
    frame = case.tables[table]
    if problems.in_column(_file(where.removesuffix(".csv")), column if column != "input" else "material"):
        return  # the ids themselves are wrong there: what refers to them may be right
    for place in np.flatnonzero((frame[column] != "") & ~frame[column].isin(known)):
        value = frame[column].iloc[place]
        message = f"not in {where}; {nearest(value, sorted(known))}"
        problems.add(_file(table), message, frame["row"].iloc[place], column, value)


def _years(case: Case, problems: Problems) -> None:
    for name in ("suppliers", "blocs", "lanes"):
        frame = case.tables[name]
        for place in np.flatnonzero(frame["from_year"] > frame["to_year"]):
            row = frame.iloc[place]
            problems.add(_file(name), f"is after to_year {row['to_year']:.0f}", row["row"], "from_year",
                         f"{row['from_year']:.0f}")  # fmt: skip


def _materials(case: Case, problems: Problems) -> None:
    materials = case.materials
    suppliers = case.tables["suppliers"]
    made = set(suppliers["material"]) | set(case.tables["byproducts"]["material"])
    for place in np.flatnonzero(case.tables["feedstock"]["material"].map(materials["stage"]) != "feedstock"):
        row = case.tables["feedstock"].iloc[place]
        problems.add(
            _file("feedstock"), "must be a material of stage feedstock", row["row"], "material", row["material"]
        )
    for place in np.flatnonzero(case.tables["demand"]["material"].map(materials["stage"]) == "feedstock"):
        row = case.tables["demand"].iloc[place]
        problems.add(_file("demand"), "no market requires a feedstock: it feeds recyclers", row["row"], "material",
                     row["material"])  # fmt: skip
    for _, row in materials[materials["stage"] == "feedstock"].iterrows():
        if (
            not problems.partial
            and row["material"] not in made
            and row["material"] not in set(case.tables["feedstock"]["material"])
        ):
            problems.add(_file("materials"), "this feedstock has neither rows in feedstock.csv nor a producer",
                         row["row"], "material", row["material"])  # fmt: skip
    if case.tables["demand"].empty and not problems.found:
        problems.add(_file("demand"), "no market requires anything: give at least one row")
    for material in sorted(set(case.tables["demand"]["material"]) - made):
        problems.warn(f"no supplier makes {material}, which a market requires")
    consumed = suppliers[(suppliers["input"] != "") & ~suppliers["input"].isin(made | set(case.pools))]
    for supplier, material in zip(consumed["supplier"], consumed["input"], strict=True):
        problems.warn(f"supplier {supplier}: nothing supplies its input {material}, so it cannot produce")
    for name in sorted(set(case.settings.market.countries) - set(case.markets) - {"home"}):
        problems.warn(f"[market.countries] {name}: demand.csv has no such market")
    _cycles(case, problems)


def _cycles(case: Case, problems: Problems) -> None:
    suppliers = case.tables["suppliers"]
    graph: dict[str, set[str]] = {}
    for material, needed in zip(suppliers["material"], suppliers["input"], strict=True):
        if needed:
            graph.setdefault(material, set()).add(needed)
    inputs = dict(zip(suppliers["supplier"], suppliers["input"], strict=True))
    mains = dict(zip(suppliers["supplier"], suppliers["material"], strict=True))
    table = case.tables["byproducts"]
    for supplier, material, row in zip(table["supplier"], table["material"], table["row"], strict=True):
        if material == mains[supplier]:
            problems.add(
                _file("byproducts"), f"{supplier} already makes it as its main material", row, "material", material
            )
        elif inputs[supplier] and material == inputs[supplier]:
            problems.add(_file("byproducts"), f"it is the input of {supplier} itself", row, "material", material)
        elif inputs[supplier]:
            graph.setdefault(material, set()).add(inputs[supplier])
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        chain = error.args[1]
        edges = set(zip(chain[1:], chain, strict=False)) | set(zip(chain, chain[1:], strict=False))
        rows = suppliers[
            [(out, needed) in edges or out == needed
             for out, needed in zip(suppliers["material"], suppliers["input"], strict=True)]
        ]  # fmt: skip
        row = int(rows["row"].iloc[0]) if len(rows) else None
        path = " -> ".join(chain)
        problems.add(_file("suppliers"), f"materials are made from each other in a circle: {path}", row, "input")


def _suppliers(case: Case, problems: Problems) -> None:
    table = case.suppliers
    capacity, minimum = case.by_year("capacity_t"), case.by_year("min_t")
    short = (minimum > capacity) & case.active
    for place, at in zip(*np.nonzero(short), strict=True):
        if short[place, :at].any():
            continue  # one message a supplier
        row, file = table.iloc[place], "suppliers"
        steps = case.tables["supplier_years"]
        stepped = steps[(steps["supplier"] == row["supplier"]) & (steps["year"] <= case.years[at])]
        stepped = stepped[stepped["min_t"].notna()].sort_values("year")
        line = row["row"]
        if len(stepped):
            file, line = "supplier_years", stepped["row"].iloc[-1]
        problems.add(
            _file(file), f"above capacity_t {capacity[place, at]:g} of {row['supplier']} in {case.years[at]}",
            line, "min_t", f"{minimum[place, at]:g}",
        )  # fmt: skip
    reach = capacity.max(axis=1) + table["max_expansion_t"].to_numpy()
    unreachable = (table["lot_t"] > 0) & (table["lot_t"].to_numpy() > reach)
    _warn_all(problems, table.loc[unreachable, "supplier"], "lot_t is above capacity, so it can never be used")
    away = (table["channel"] == "domestic") & (table["country"] != case.home)
    for name, country in zip(table.loc[away, "supplier"], table.loc[away, "country"], strict=True):
        problems.warn(f"supplier {name}: channel domestic, but it stands in {country}, not in {case.home}")
    feedstock = set(case.materials.index[case.materials["stage"] == "feedstock"])
    unfed = (table["channel"] == "recycling") & ~table["input"].isin(feedstock)
    _warn_all(problems, table.loc[unfed, "supplier"], "channel recycling, but its input is no feedstock")
    above = table.loc[table["recovery"] > 1, "supplier"]
    _warn_all(problems, above, "recovery is above 1 (more tonnes out than in)")
    input_mineral, input_stage = (table["input"].map(case.materials[key]) for key in ("mineral", "stage"))
    twice = (input_mineral == table["mineral"]) & (input_stage == table["stage"])
    _warn_all(problems, table.loc[twice, "supplier"],
              "input and output share mineral and stage, so its tonnes count twice there")  # fmt: skip
    lanes = case.tables["lanes"]
    for row in lanes.loc[lanes["duty_share"] > 1, "row"]:
        problems.warn(f"{_file('lanes')}:{row}: duty_share is above 1 (0.25 is 25%)")


def _warn_all(problems: Problems, suppliers: pd.Series, message: str) -> None:
    """One warning for all suppliers that share it."""
    names = list(suppliers)
    if names:
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        problems.warn(f"supplier{'s' if len(names) > 1 else ''} {shown}: {message}")
