"""What each policy lever does to a case: recorded changes of its tables and rules, through the editor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from models.case import Case
from models.cells import countries
from models.problems import nearest
from models.row_edits import add_row, set_series

if TYPE_CHECKING:
    from models.changes import Editor
    from optimizer.levers import Pull

PHASES_45X = {
    "mineral": {2031: 0.75, 2032: 0.5, 2033: 0.25, 2034: 0.0},
    "anode": {2030: 0.75, 2031: 0.5, 2032: 0.25, 2033: 0.0},
}
ALLIED = "allied"
KINDS = ("country", "bloc", "mineral", "material", "supplier")


def whom(editor: Editor, pull: Pull, allowed: Iterable[str] = KINDS) -> dict[str, list[str]] | None:
    """The names before the colon by what they are; None, with a problem noted, where one is nothing of the case."""
    case = editor.as_changed
    known: dict[str, Iterable[str]] = {
        "country": countries(),
        "bloc": sorted(case.bloc_names),
        "mineral": list(dict.fromkeys(case.materials["mineral"])),
        "material": list(case.materials["material"]),
        "supplier": list(case.suppliers["supplier"]),
    }
    allowed = list(allowed)
    found: dict[str, list[str]] = {}
    for name in pull.who:
        kind = next((kind for kind in allowed if name in known[kind]), None)
        if kind is None and "country" in allowed and name.upper() in known["country"]:
            name, kind = name.upper(), "country"
        if kind is None:
            names = [item for kind in allowed if kind != "country" for item in known[kind]]
            editor.problem(
                "--lever", f"{name!r} is no {' or '.join(allowed)} of the case; {nearest(name, names)}", pull.text
            )
            return None
        found.setdefault(kind, []).append(name)
    return found


def suppliers_of(case: Case, who: dict[str, list[str]], year: int | None = None) -> np.ndarray[Any, Any]:
    """Which suppliers are meant: names of one kind are alternatives, kinds must all hold."""
    table = case.suppliers
    kept = np.ones(len(table), dtype=bool)
    places = {"country": "country", "mineral": "mineral", "material": "material", "supplier": "supplier"}
    for kind, names in who.items():
        if kind == "bloc":
            inside = {c for bloc in names for y in ([year] if year else case.years) for c in case.bloc_members(bloc, y)}
            kept &= table["country"].isin(inside).to_numpy()
        else:
            kept &= table[places[kind]].isin(names).to_numpy()
    return kept


def _none(editor: Editor, pull: Pull, what: str) -> list[Any]:
    editor.problem("--lever", f"changes nothing: the case has no {what}", pull.text)
    return []


def _deciding(editor: Editor, pull: Pull) -> tuple[Case, list[str]]:
    """The suppliers that can grow, at home unless countries, blocs or suppliers are named."""
    case = editor.as_changed
    who = whom(editor, pull)
    if who is None:
        return case, []
    kept = suppliers_of(case, who) & (case.suppliers["max_expansion_t"].to_numpy() > 0)
    if not {"country", "bloc", "supplier"} & set(who):
        kept &= (case.suppliers["country"] == case.home).to_numpy()
    names = list(case.suppliers.loc[kept, "supplier"])
    if not names:
        _none(editor, pull, "such supplier with max_expansion_t")
    return case, names


def _each_year(
    editor: Editor, case: Case, names: Iterable[str], column: str, pull: Pull, new: Callable[[float, int], float]
) -> list[Any]:  # fmt: skip
    """Change a column of suppliers in the years in which the lever holds; ``new(old value, year)``."""
    values = case.by_year(column)
    cells: list[Any] = []
    for name in names:
        old = values[case.supplier_position[name]]
        series = [new(v, y) if pull.holds(y) else v for v, y in zip(old, case.years, strict=True)]
        cells += set_series(editor, case, name, column, series, pull.by)
    return cells


def _set(
    editor: Editor, pull: Pull, table: str, where: dict[str, Any], column: str, operation: str, value: Any
) -> list[Any]:
    return editor.change_cells(table, where, column, operation, value, pull.by, "--lever")


def credit_45x(editor: Editor, pull: Pull) -> list[Any]:
    """credit_share of processors at home and of anode plants, with the phase-down of the year."""
    case, who = editor.as_changed, whom(editor, pull, ("mineral", "material", "supplier"))
    if who is None:
        return []
    table = case.suppliers
    anode = ((table["stage"] == "manufacturing") & (table["mineral"] == "graphite")).to_numpy()
    at_home = (table["country"] == case.home).to_numpy() & suppliers_of(case, who)
    cells: list[Any] = []
    for phase, kept in (("mineral", (table["stage"] == "processing").to_numpy()), ("anode", anode)):
        steps = PHASES_45X[phase]

        def credit(_: float, year: int, steps: dict[int, float] = steps) -> float:
            return pull.value * _phase(steps, year)

        cells += _each_year(editor, case, table.loc[kept & at_home, "supplier"], "credit_share", pull, credit)
    return cells or _none(editor, pull, "such processor at home")


def _phase(steps: dict[int, float], year: int) -> float:
    return min((share for since, share in steps.items() if year >= since), default=1.0)


def grant(editor: Editor, pull: Pull) -> list[Any]:
    """grant_share of what is decided in the years in which the lever holds."""
    case, names = _deciding(editor, pull)
    return _each_year(editor, case, names, "grant_share", pull, lambda _, year: pull.value)


def floor(editor: Editor, pull: Pull) -> list[Any]:
    """floor_usd_per_t, paid by the public."""
    case, who = editor.as_changed, whom(editor, pull, ("supplier", "material", "country"))
    if who is None:
        return []
    names = list(case.suppliers.loc[suppliers_of(case, who), "supplier"])
    if not names:
        return _none(editor, pull, "such supplier")
    cells = _set(editor, pull, "suppliers", {"supplier": names}, "floor_paid_by", "set", "public")
    case = editor.as_changed
    old = case.by_year("floor_usd_per_t")
    for name in names:
        series = [
            pull.value if pull.holds(y) else v
            for v, y in zip(old[case.supplier_position[name]], case.years, strict=True)
        ]
        for at in range(1, len(series)):  # a step cannot be blank: 0 ends a floor
            series[at] = 0.0 if np.isnan(series[at]) and not np.isnan(series[at - 1]) else series[at]
        cells += set_series(editor, case, name, "floor_usd_per_t", series, pull.by)
    return cells


def offtake(editor: Editor, pull: Pull) -> list[Any]:
    """cost_of_capital of what is decided, at most the value."""
    case, names = _deciding(editor, pull)
    rate = case.suppliers.set_index("supplier")["cost_of_capital"].fillna(case.settings.horizon.discount_rate)
    names = [name for name in names if rate[name] > pull.value]
    return _set(editor, pull, "suppliers", {"supplier": names}, "cost_of_capital", "set", pull.value) if names else []


def permitting(editor: Editor, pull: Pull) -> list[Any]:
    """lead_years of what is decided, scaled."""
    _, names = _deciding(editor, pull)
    return _set(editor, pull, "suppliers", {"supplier": names}, "lead_years", "scale", pull.value) if names else []


def lumpy(editor: Editor, pull: Pull) -> list[Any]:
    """open_usd: part of the capital of the whole expansion; the rest stays capital per tonne."""
    case, names = _deciding(editor, pull)
    table = case.suppliers
    capital = (table["capex_usd_per_t"] * table["max_expansion_t"]).to_numpy(dtype=float)
    cells: list[Any] = []
    for name in names:
        whole = float(capital[case.supplier_position[name]])
        if whole > 0:
            cells += _set(editor, pull, "suppliers", {"supplier": name}, "open_usd", "add", pull.value * whole)
            cells += _set(editor, pull, "suppliers", {"supplier": name}, "capex_usd_per_t", "scale", 1 - pull.value)
    return cells


def tariff(editor: Editor, pull: Pull) -> list[Any]:
    """duty_share of lanes from suppliers there to the home country, raised in the years in which the lever holds."""
    case, who = editor.as_changed, whom(editor, pull)
    if who is None:
        return []
    if not {"country", "bloc", "supplier"} & set(who):
        editor.problem("--lever", "say from where: a country, a bloc or a supplier", pull.text)
        return []
    lanes, table = case.lanes, case.suppliers
    goods = {kind: names for kind, names in who.items() if kind in ("mineral", "material")}
    sellers = {kind: names for kind, names in who.items() if kind not in goods}
    place = [*table["country"], *(case.market_country(market) for market in case.markets)]
    inside = np.array([country == case.home for country in place], dtype=bool)
    moved = case.materials.iloc[lanes.material]
    kept = suppliers_of(case, sellers)[lanes.origin] & inside[lanes.destination] & lanes.exists.any(axis=1)
    for kind, names in goods.items():
        kept &= moved[kind].isin(names).to_numpy()
    rows = case.tables["lanes"]
    ends = [*table["supplier"], *case.markets]
    named = set(rows.loc[rows["duty_share"].notna(), "destination"])
    cells: list[Any] = []
    done: set[tuple[str, str, str]] = set()
    for lane in np.flatnonzero(kept):
        end = ends[lanes.destination[lane]]
        target = end if end in named else f"country:{case.home}"  # as close as any row that gives it a duty
        key = (ends[lanes.origin[lane]], target, str(moved["material"].iloc[lane]))
        if key not in done:
            done.add(key)
            cells += _dated_duty(editor, case, pull, key, lanes.duty_share[lane].tolist())
    return cells or _none(editor, pull, "such lane to the home country")


def _dated_duty(
    editor: Editor, case: Case, pull: Pull, key: tuple[str, str, str], duty: tuple[float, ...]
) -> list[Any]:
    """Rows of lanes.csv with the raised duty, one for each run of years of equal duty."""
    new = [d + pull.value if pull.holds(y) else d for d, y in zip(duty, case.years, strict=True)]
    cells: list[Any] = []
    at = 0
    while at < len(new):
        end = at
        while end + 1 < len(new) and new[end + 1] == new[at]:
            end += 1
        if pull.holds(case.years[at]):
            until = case.years[end + 1] - 1 if end + 1 < len(new) else None
            row = {"origin": key[0], "destination": key[1], "material": key[2], "duty_share": new[at],
                   "from_year": case.years[at], "to_year": until}  # fmt: skip
            add_row(editor, "lanes", row, pull.by)
            cells.append(("lanes", ",".join(key), "duty_share"))
        at = end + 1
    return cells


def quota(editor: Editor, pull: Pull) -> list[Any]:
    """capacity_t times the value (a ban: 0) in the years in which the lever holds; contracts and growth as well.

    What can be added is cut in all years: nobody builds for a sale that is known to end.
    """
    case, who = editor.as_changed, whom(editor, pull)
    if who is None:
        return []
    names = list(case.suppliers.loc[suppliers_of(case, who), "supplier"])
    if not names:
        return _none(editor, pull, "such supplier")
    share = pull.value
    cells = _each_year(editor, case, names, "capacity_t", pull, lambda old, _: old * share)
    if share < 1:
        held = case.suppliers["supplier"].isin(names).to_numpy()
        bound = np.asarray((case.by_year("min_t") > 0).any(axis=1))
        contracts = list(case.suppliers.loc[held & bound, "supplier"])
        cells += _each_year(editor, case, contracts, "min_t", pull, lambda old, _: old * share)
        growing = list(case.suppliers.loc[held & (case.suppliers["max_expansion_t"] > 0).to_numpy(), "supplier"])
        if growing:
            cells += _set(editor, pull, "suppliers", {"supplier": growing}, "max_expansion_t", "scale", share)
    return cells or _none(editor, pull, "such capacity in these years")


def recycling(editor: Editor, pull: Pull) -> list[Any]:
    """available_t of each feedstock, raised to the collection share asked for."""
    case, who = editor.as_changed, whom(editor, pull, ("mineral", "material"))
    if who is None:
        return []
    table = case.tables["feedstock"]
    kept = np.ones(len(table), dtype=bool)
    for kind, names in who.items():
        kept &= table["material"].map(case.materials[kind]).isin(names).to_numpy()
    if not kept.any():
        return _none(editor, pull, "such feedstock")
    if table.loc[kept, "collection_share"].isna().all():
        return _none(editor, pull, "collection_share in feedstock.csv: it says which share available_t stands for")
    cells: list[Any] = []
    for material, share in table.loc[kept, ["material", "collection_share"]].drop_duplicates().itertuples(index=False):
        if share < pull.value:
            rows = table[kept & (table["material"] == material) & (table["collection_share"] == share)]
            where = {"material": material, "year": list(rows["year"])}
            cells += _set(editor, pull, "feedstock", where, "available_t", "scale", pull.value / share)
            cells += _set(editor, pull, "feedstock", where, "collection_share", "set", pull.value)
    return cells


def research(editor: Editor, pull: Pull) -> list[Any]:
    """usd_per_t of the steps of substitution.csv, cut by the value."""
    who = whom(editor, pull, ("mineral", "material"))
    if who is None:
        return []
    if editor.tables["substitution"].empty:
        return _none(editor, pull, "substitution.csv")
    return _set(editor, pull, "substitution", dict(who), "usd_per_t", "scale", 1 - pull.value)


def growth(editor: Editor, pull: Pull) -> list[Any]:
    """required_t times (1 + value) to the number of years since the price base year."""
    case, who = editor.as_changed, whom(editor, pull, ("mineral", "material"))
    if who is None:
        return []
    base = case.settings.horizon.price_base_year
    cells: list[Any] = []
    for year in sorted(set(case.tables["demand"]["year"])):
        if year > base:
            factor = (1 + pull.value) ** (year - base)
            cells += _set(editor, pull, "demand", {**who, "year": year}, "required_t", "scale", factor)
    return cells or _none(editor, pull, f"demand after {base}")


def join(editor: Editor, pull: Pull) -> list[Any]:
    """A row of blocs.csv for each country; without a year its incumbent suppliers become allied."""
    return _move(editor, pull, joining=True)


def leave(editor: Editor, pull: Pull) -> list[Any]:
    """to_year of the country's rows of blocs.csv; without a year its allied suppliers become incumbent."""
    return _move(editor, pull, joining=False)


def _move(editor: Editor, pull: Pull, *, joining: bool) -> list[Any]:
    case, who = editor.as_changed, whom(editor, pull, ("country", "bloc"))
    if who is None:
        return []
    moved, blocs = who.get("country", []), who.get("bloc", [ALLIED])
    if not moved or len(blocs) > 1:
        editor.problem("--lever", "say which country, and at most one bloc: join=BRA, join=BRA+club", pull.text)
        return []
    bloc = blocs[0]
    if bloc not in case.bloc_names and not joining:
        return _none(editor, pull, f"bloc {bloc!r}; {nearest(bloc, sorted(case.bloc_names))}")
    cells: list[Any] = []
    for country in moved:
        if joining:
            row = {"bloc": bloc, "country": country, "from_year": pull.first, "to_year": pull.last}
            add_row(editor, "blocs", row, pull.by)
            cells.append(("blocs", country, bloc))
        else:
            cells += _out(editor, pull, bloc, country)
    if bloc == ALLIED and pull.first is None:
        old, new = ("incumbent", "allied") if joining else ("allied", "incumbent")
        table = case.suppliers
        there = table.loc[table["country"].isin(moved) & (table["channel"] == old), "supplier"]
        if len(there):
            cells += _set(editor, pull, "suppliers", {"supplier": list(there)}, "channel", "set", new)
    return cells


def _out(editor: Editor, pull: Pull, bloc: str, country: str) -> list[Any]:
    """End a membership before the lever's first year (before the horizon where none is given)."""
    table = editor.tables["blocs"]
    inside = (table["bloc"] == bloc) & (table["country"] == country)
    if not inside.any():
        return _none(editor, pull, f"{country} in the bloc {bloc}")
    last = (pull.first or editor.case.years[0]) - 1
    where = {"bloc": bloc, "country": country}
    late = inside & (table["from_year"] > last)
    if late.any():  # a membership that would only begin later never does
        _set(editor, pull, "blocs", where, "from_year", "set", last)
    return _set(editor, pull, "blocs", where, "to_year", "set", last)


def _delivered(case: Case, who: dict[str, list[str]]) -> list[str]:
    """Materials that a market requires, of those meant."""
    found = case.materials.loc[case.delivered_materials()]
    for kind, names in who.items():
        found = found[found[kind].isin(names)]
    return list(found["material"])


def responsible(editor: Editor, pull: Pull) -> list[Any]:
    """A share rule: a floor on certified supply of each delivered material that a certified supplier makes."""
    case, who = editor.as_changed, whom(editor, pull, ("mineral", "material"))
    if who is None:
        return []
    certified = set(case.suppliers.loc[case.suppliers["certified"] == "yes", "material"])
    materials = [material for material in _delivered(case, who) if material in certified]
    if not materials:
        return _none(editor, pull, "certified supplier of a delivered material")
    rule = {"name": "lever-responsible", "kind": "share", "where": {"certified": "yes"}, "min": pull.value,
            "material": materials}  # fmt: skip
    return _rule(editor, pull, rule)


def stockpile(editor: Editor, pull: Pull) -> list[Any]:
    """A stock_days rule, with a stock where the home market has none of what it requires, and room for the days."""
    case, who = editor.as_changed, whom(editor, pull, ("mineral", "material"))
    if who is None:
        return []
    materials = [material for material in _delivered(case, who) if material in case.markets.get("home", ())]
    held = case.tables["stock"]
    room = {m: t for m, k, t in zip(held["material"], held["market"], held["max_t"], strict=True) if k == "home"}
    cells: list[Any] = []
    for material in materials:
        needed = max(case.required["home", material, year] for year in case.years) * pull.value / 365
        if material not in room:
            add_row(editor, "stock", {"material": material, "market": "home"}, pull.by)
        elif room[material] < needed:
            cells += _set(editor, pull, "stock", {"material": material, "market": "home"}, "max_t", "set", needed)
    rule = {
        "name": "lever-stockpile",
        "kind": "stock_days",
        "days": pull.value,
        "material": materials,
        "market": "home",
    }
    return cells + _rule(editor, pull, rule)


def _rule(editor: Editor, pull: Pull, rule: dict[str, Any]) -> list[Any]:
    years = {"from_year": pull.first, "to_year": pull.last}
    editor.add_rule({**rule, **{key: year for key, year in years.items() if year is not None}}, pull.by)
    return [("rule", rule["name"], "kind")]


def demand_case(editor: Editor, pull: Pull) -> list[Any]:
    """The scenario demand_NAME of the case."""
    scenarios = editor.case.settings.scenarios
    if f"demand_{pull.word}" not in scenarios:
        known = [name.removeprefix("demand_") for name in scenarios if name.startswith("demand_")]
        message = f"the case has no demand case {pull.word!r}; {nearest(pull.word, known)}"
        editor.problem("--lever", message, pull.text)
        return []
    return editor.scenario(f"demand_{pull.word}")
