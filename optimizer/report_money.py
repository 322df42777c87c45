"""Sections of the report on money and limits: what the plan is paid for, and what each rule costs."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from optimizer import charts, sentences, summaries
from optimizer.console import money, plain
from optimizer.report_blocks import Chart, Column, Section, Table, called, counted, table_of
from optimizer.report_inputs import Inputs, Run
from optimizer.views import PER, limit_text

_MOST = 200  # rows of one list; the run folder has them all


def money_sections(inputs: Inputs) -> Iterator[Section]:
    """The sections in their order."""
    yield costs(inputs)
    yield limits(inputs)


def costs(inputs: Inputs) -> Section:
    """What the cost is made of, and which minerals cost more or less than the first side."""
    years, sides = inputs.years, list(inputs.sides)
    by_cost = summaries.costs(inputs.sides)
    by_cost = by_cost[by_cost["year"].isin(years)]
    parts = {}
    for name, mine in by_cost.groupby("cost", sort=False):
        by_year = mine.set_index("year").reindex(years).fillna(dict.fromkeys(sides, 0.0))
        parts[str(name)] = {who: by_year[who].tolist() for who in sides}
    names = {"cost": Column("cost"), "year": Column("year", "year"),
             **{who: Column(f"{who} (USD a year)", "usd") for who in sides}}  # fmt: skip
    order = ["today (paler)" if who == "today" else plain(who) for who in sides]
    captions = {"": f"In each group of bars, from the left: {', '.join(order)}." if order[1:] else ""}
    figures, shown = {"": charts.stacked_years(parts, years)}, table_of("cost build-up", by_cost, names)
    blocks: list[Table | Chart] = [
        Chart("cost build-up", "Cost of each year by what is paid for", figures, shown, captions=captions)
    ]
    said = [line for run in inputs.runs for line in sentences.cost_sentences(by_cost, years[-1], run.name)]
    by_mineral = summaries.costs(inputs.sides, "mineral")
    by_mineral = by_mineral[by_mineral["year"].isin(years)]
    paid, table = _public(inputs)
    said += paid
    blocks += table
    base, *others = sides
    if others:
        said += [sentences.mineral_cost_sentence(by_mineral, years[-1], base, who) for who in others]
        blocks.append(_by_mineral(inputs, by_mineral, base, others))
    else:
        mineral = {
            "mineral": Column("mineral"),
            "year": Column("year", "year"),
            base: Column(f"{base} (USD a year)", "usd"),
        }
        blocks.append(Chart("cost by mineral", "Cost by mineral", _mineral_bars(by_mineral, base),
                            table_of("cost by mineral", by_mineral, mineral, keys=[str(y) for y in by_mineral["year"]]),
                            [("year", [str(y) for y in reversed(years)])], first=str(years[-1])))  # fmt: skip
    return Section("costs", "What it costs", said, blocks)


def _public(inputs: Inputs) -> tuple[list[str], list[Table | Chart]]:
    """What the public pays beside the buyers, where any run has credits, grants or price floors."""
    said: list[str] = []
    year, paid = inputs.years[-1], {}
    for run in inputs.runs:
        usd = run.plan.public_usd_per_y
        if any(usd.values()):
            said.append(
                f"Beside what buyers pay, the public pays {money(usd[year])} USD for {called(run.name)} in {year} "
                "(credits, grants, price floors)."
            )
            paid[run.name] = run.plan.tables
    if not paid:
        return [], []
    table = summaries.costs(paid, "cost", "public_usd_per_y")
    table = table[table["year"].isin(inputs.years) & (table[list(paid)] != 0).any(axis=1)]
    names = {"cost": Column("paid for"), "year": Column("year", "year"),
             **{who: Column(f"{who} (USD a year)", "usd") for who in paid}}  # fmt: skip
    return said, [table_of("what the public pays", table, names)]


def _mineral_bars(table: pd.DataFrame, who: str) -> dict[str, charts.Figure]:
    found = {}
    for year, mine in table.groupby("year"):
        mine = mine.sort_values(who, ascending=False)
        found[str(year)] = charts.bars(mine["mineral"].tolist(), mine[who].tolist(), "USD a year", False)
    return found


def _by_mineral(inputs: Inputs, table: pd.DataFrame, base: str, others: list[str]) -> Chart:
    """Difference to the base, mineral by mineral."""
    table = table.assign(**{f"{who}_less": table[who] - table[base] for who in others})
    figures = {}
    for year, mine in table.groupby("year"):
        moved = mine[(mine[[f"{who}_less" for who in others]].abs() > 0.5).any(axis=1)]
        moved = moved.sort_values(f"{others[-1]}_less")
        values = {who: moved[f"{who}_less"].tolist() for who in others}
        figures[str(year)] = charts.differences(moved["mineral"].tolist(), values)
    names = {"mineral": Column("mineral"), "year": Column("year", "year"),
             **{who: Column(f"{who} (USD a year)", "usd") for who in inputs.sides},
             **{f"{who}_less": Column(f"{who} less {base}", "usd") for who in others}}  # fmt: skip
    shown = table_of("cost by mineral", table, names, keys=[str(year) for year in table["year"]])
    return Chart("cost by mineral", f"More or less than {base}, by mineral", figures, shown,
                 [("year", [str(year) for year in reversed(inputs.years)])], first=str(inputs.years[-1]))  # fmt: skip


def limits(inputs: Inputs) -> Section:
    """What limits the plan: each rule with what it costs at the margin, and suppliers that are full."""
    said, blocks = [], []
    for run in inputs.runs:
        suffix = f" of {run.name}" if inputs.several else ""
        found, priced = summaries.rule_costs(run.plan), summaries.priced_limits(run.plan)
        text = _limits_sentence(run, found, priced)
        said.append(f"{called(run.name)}: {text}" if inputs.several else text)
        blocks.append(table_of(f"cost of each rule{suffix}", found, {
            "rule": Column("rule"), "kind": Column("kind"), "bound": Column("bound"), "stage": Column("stage"),
            "denominator": Column("of"), "rows": Column("rows", "number"), "at_limit": Column("at the limit", "number"),
            "saves_usd": Column("saved per unit looser (USD, present value)", "usd"),
            "unit": Column("unit"),
        }, note="First order: the prices of its rows added up, each year with its weight."))  # fmt: skip
        if len(priced):
            blocks.append(_priced(f"limits with a price{suffix}", priced))
        full = summaries.full_suppliers(run.plan, inputs.years[-1])
        names = {"mineral": Column("mineral"), "stage": Column("stage"), "name": Column("supplier"),
                 "country": Column("country", "country"), "channel": Column("channel"),
                 "produced_t": Column(f"made in {inputs.years[-1]} (t a year)", "t")}  # fmt: skip
        blocks.append(table_of(f"suppliers at capacity{suffix}", full, names))
    return Section("limits", "What limits it, and what each rule costs", said, blocks)


def _priced(name: str, priced: pd.DataFrame) -> Table:
    rows = []
    for row in priced.head(_MOST).to_dict("records"):
        where = f"{row['material'] or row['mineral'] or 'everything'} {row['member']}".strip()
        unit = PER.get(str(row["kind"]), "percentage point")
        rows.append([row["rule"], where, row["stage"], row["year"], f"{row['bound']} {limit_text(row)}",
                     row["saves_usd_per_y"], unit, row["price_usd_per_y"]])  # fmt: skip
    columns = [Column("rule"), Column("where"), Column("stage"), Column("year", "year"), Column("limit"),
               Column("saved per unit looser (USD a year)", "usd"), Column("unit"),
               Column("price (USD a year per 1.00 of limit)", "usd")]  # fmt: skip
    cut = f" The {_MOST} dearest of {len(priced)}." if len(priced) > _MOST else ""
    return Table(name, columns, rows, note=f"Prices hold near the plan, one limit moved at a time.{cut}")


def _limits_sentence(run: Run, found: pd.DataFrame, priced: pd.DataFrame) -> str:
    rules = run.plan.tables["rules"]
    if rules.empty:
        return "No rule is in force: capacity, demand and cost alone make this plan."
    sizes = f"{counted(found['rule'].nunique(), 'rule')} in {counted(len(rules), 'row')}"
    text = f"{sizes}, all kept; {int(rules['binding'].sum())} at the limit."
    if rules["price_usd_per_y"].isna().all():
        return f"{text} Limits have no price here: {plain(run.plan.about.get('prices', ''))}."
    if priced.empty:
        return f"{text} None has a price: loosening any one of them saves nothing."
    row = priced.iloc[0].to_dict()
    where = f"{row['material'] or row['mineral'] or 'everything'} {row['member']}".strip()
    kind = str(row["kind"])
    unit = "one percentage point" if kind in summaries.PER_POINT else f"one {PER.get(kind, 'unit')}"
    unit = "0.01 of HHI" if kind == "hhi" else unit
    text += f" The dearest is {plain(row['rule'])} for {plain(where)} in {row['year']}: {unit} looser saves"
    return f"{text} {money(float(row['saves_usd_per_y']))} USD a year."
