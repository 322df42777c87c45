"""Section of the report on the years: capacity and its use, expansions, stock, requirement done without."""

from __future__ import annotations

import pandas as pd

from optimizer import charts, summaries
from optimizer.console import money, percent, plain, tonnes
from optimizer.report_blocks import Chart, Column, Section, Table, called, capital, counted, listed, table_of
from optimizer.report_inputs import Inputs, Run

Made = tuple[str, list[Table | Chart]]


def over_years(inputs: Inputs) -> Section:
    """Capacity, expansion and stock over the years; says plainly what a run has none of."""
    said, blocks = [_use_sentence(inputs)], [_capacity(inputs)]
    parts = {"expansion": (_expansion, "no capacity is added: capacities are as given for each year"),
             "stock": (_stock, "no stock is held"),
             "substitution": (_substitution, "nothing is done without")}  # fmt: skip
    for run in inputs.runs:
        lead = f"{called(run.name)}: " if inputs.several else ""
        suffix = f" of {run.name}" if inputs.several else ""
        for name, (make, none) in parts.items():
            found = run.plan.tables.get(name)
            if found is None or found.empty:
                said.append(capital(f"{none}.", lead))
                continue
            text, made = make(run, found, suffix)
            said.append(capital(text, lead))
            blocks += made
        may = run.plan.tables.get("projects")
        if may is not None and len(may):
            blocks.append(_projects(may, suffix))
    return Section("years", "Capacity and stock over the years", said, blocks)


def _use_sentence(inputs: Inputs) -> str:
    use = summaries.capacity_use(inputs.runs[0].plan)
    last = use[(use["year"] == inputs.years[-1]) & use["used_share"].notna()]
    if last.empty:
        return "There is no capacity to speak of."
    most = summaries.most(last, "used_share")
    return (
        f"In {inputs.years[-1]} the fullest stage is {plain(most['mineral'])} at {most['stage']}: "
        f"{percent(float(most['used_share']))} of its capacity is used."
    )


def _capacity(inputs: Inputs) -> Table | Chart:
    figures, parts = {}, []
    for run in inputs.runs:
        use = summaries.capacity_use(run.plan)
        use = use[use["year"].isin(inputs.years)].assign(run=run.name)
        parts.append(use)
        for (mineral, stage), mine in use.groupby(["mineral", "stage"], sort=False):
            key = f"{mineral}, {stage}|{run.name}" if inputs.several else f"{mineral}, {stage}"
            cells = [mine[name].tolist() for name in ("year", "produced_t", "own_t", "expansion_t")]
            figures[key] = charts.capacity(*cells)
    table = pd.concat(parts, ignore_index=True)
    what = table["mineral"] + ", " + table["stage"]
    keys = (what + "|" + table["run"]).tolist() if inputs.several else what.tolist()
    names = {"run": Column("run"), "mineral": Column("mineral"), "stage": Column("stage"),
             "year": Column("year", "year"), "produced_t": Column("made (t a year)", "t"),
             "own_t": Column("capacity as given (t a year)", "t"), "expansion_t": Column("added (t a year)", "t"),
             "capacity_t": Column("capacity (t a year)", "t"), "used_share": Column("used", "share")}  # fmt: skip
    choices = [("mineral and stage", list(dict.fromkeys(what)))]
    if inputs.several:
        choices.append(("run", [run.name for run in inputs.runs]))
    return Chart("capacity", "What is made, against what could be made", figures,
                 table_of("capacity", table, names, keys=keys), choices)  # fmt: skip


def _expansion(run: Run, found: pd.DataFrame, suffix: str) -> Made:
    """New capacity: what is decided when, from when it can be used, and its yearly charge."""
    named = dict(zip(run.case.suppliers["supplier"], run.case.suppliers["name"], strict=True))
    last = run.plan.years[-1]
    costs = run.plan.tables["costs"]
    charged = float(costs[(costs["cost"] == "capital") & (costs["year"] == last)]["usd_per_y"].sum())
    added = found.groupby("supplier")["t"].sum().sort_values(ascending=False)
    most = [f"{plain(named.get(who, who))} ({tonnes(float(t))} t a year)" for who, t in added.items()]
    many = f"{counted(len(added), 'supplier')} {'adds' if len(added) == 1 else 'add'} capacity"
    text = f"{many}, the most {listed(most, 3)}; capital costs {money(charged)} USD in {last}."
    columns = {"mineral": Column("mineral"), "name": Column("supplier"), "year": Column("decided in", "year"),
               "t": Column("capacity added (t a year)", "t"), "usable_from": Column("usable from", "year"),
               "usable_to": Column("usable to", "year"), "capital_usd": Column("capital (USD)", "usd"),
               "usd_per_y": Column("annuity (USD a year)", "usd"),
               "public_usd_per_y": Column("of it public (USD a year)", "usd")}  # fmt: skip
    table = found.assign(name=[named.get(who, who) for who in found["supplier"]])
    return text, [table_of(f"expansion{suffix}", table, {k: v for k, v in columns.items() if k in table})]


def _projects(may: pd.DataFrame, suffix: str) -> Table:
    """Every supplier that may grow, and what is decided."""
    columns = {"mineral": Column("mineral"), "name": Column("supplier"), "country": Column("country", "country"),
               "channel": Column("channel"), "max_expansion_t": Column("may add (t a year)", "t"),
               "lead_years": Column("lead time (years)", "number"), "decided": Column("decided in", "year"),
               "t": Column("adds (t a year)", "t")}  # fmt: skip
    note = "Blank in decided in: it may grow, and the plan does not need it."
    return table_of(f"projects{suffix}", may, columns, note=note)


def _stock(run: Run, found: pd.DataFrame, suffix: str) -> Made:
    """Stock at the end of each year, and what is put in and drawn, of the materials that ever have any."""
    last = run.plan.years[-1]
    moves = found[["built_t", "drawn_t", "end_t"]].abs().sum(axis=1).groupby(found["material"]).transform("sum") > 0
    if not moves.any():
        return "stock may be held, and none is.", []
    kept, series = found[moves], {}
    for (material, market), mine in kept.groupby(["material", "market"], sort=False):
        name = str(material) if market == "home" else f"{material}, {market}"
        series[name] = ([str(year) for year in mine["year"]], mine["end_t"].tolist())
    most = kept.groupby("material")["end_t"].max().sort_values(ascending=False)
    held = listed([f"{plain(material)} (up to {tonnes(float(t))} t)" for material, t in most.items() if t > 0], 3)
    left = int((kept[kept["year"] == last].groupby("material")["end_t"].sum() > 0).sum())
    text = f"stock is held of {held}; {f'of {left} of them' if left else 'none'} is left at the end of {last}."
    columns = {"material": Column("material"), "market": Column("market"), "year": Column("year", "year"),
               "built_t": Column("put in (t a year)", "t"), "drawn_t": Column("drawn (t a year)", "t"),
               "end_t": Column("at the end (t)", "t"), "days": Column("days of the requirement", "number"),
               "hold_usd_per_y": Column("holding (USD a year)", "usd"),
               "book_usd": Column("opening stock at book value (USD)", "usd")}  # fmt: skip
    shown = table_of(f"stock{suffix}", kept, {k: v for k, v in columns.items() if k in kept})
    figures = {"": charts.lines(series, "year", "t", xaxis={"type": "category"})}
    return text, [Chart(f"stock{suffix}", "Stock at the end of each year, t", figures, shown)]


def _substitution(run: Run, found: pd.DataFrame, suffix: str) -> Made:
    """Requirement done without, and what that costs."""
    last = found[found["year"] == run.plan.years[-1]].groupby("material")["t"].sum().sort_values(ascending=False)
    most = [f"{plain(material)} ({tonnes(float(t))} t a year)" for material, t in last.items()]
    text = f"in {run.plan.years[-1]} the plan does without {listed(most, 3)}." if most else "substitution ends before."
    columns = {"material": Column("material"), "market": Column("market"), "step": Column("step"),
               "year": Column("year", "year"), "t": Column("done without (t a year)", "t"),
               "usd_per_t": Column("at (USD per t)", "usd_t")}  # fmt: skip
    return text, [table_of(f"substitution{suffix}", found, columns)]
