"""Sections of the report on the plan itself: the answer, the mix, who supplies, the flows, the concentration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from optimizer import charts, sentences, summaries
from optimizer.console import money, percent, plain, tonnes
from optimizer.plan import Plan
from optimizer.report_blocks import Card, Chart, Column, Section, Table, called, listed, table_of
from optimizer.report_inputs import Inputs, Run
from optimizer.two_stage_text import measures, over, weighed_sentence, weighs


def plan_sections(inputs: Inputs) -> Iterator[Section]:
    """The sections in their order."""
    yield answer(inputs)
    yield mix(inputs)
    yield allocation(inputs)
    yield flows(inputs)
    yield concentration(inputs)


def answer(inputs: Inputs) -> Section:
    """The answer in five numbers, or the runs side by side."""
    found = {run.name: summaries.headline(run.plan, run.case.home) for run in inputs.runs}
    table = _answers(inputs, found)
    first = inputs.runs[0]
    if inputs.several:
        return Section("answer", "The answer", list(_compared(inputs, found)), [table])
    plan, numbers = first.plan, found[first.name]
    said = [sentences.cost_sentence(plan), sentences.dependence_sentence(numbers), sentences.shortage_sentence(plan)]
    if plan.two_stage is not None and weighs(plan):
        said.insert(1, weighed_sentence(plan.two_stage))
    return Section("answer", "The answer", said, [table], _cards(plan, numbers))


def _compared(inputs: Inputs, found: dict[str, dict[str, Any]]) -> Iterator[str]:
    first = inputs.runs[0]
    for run in inputs.runs:
        numbers = found[run.name]
        total = numbers["total_usd"]
        calm = " where nothing happens" if weighs(run.plan) else ""  # the weighed cost is no cost of the other runs
        text = f"{plain(run.name)}: {money(total)} USD in all{calm} (present value {run.plan.years[0]})"
        if run is not first:
            text += f", {sentences.against(total, found[first.name]['total_usd'])} than {plain(first.name)}"
        two = run.plan.two_stage
        if two is not None and weighs(run.plan):
            text += f"; {money(two['expected_usd'])} expected over {over(two)}"
            text += f", {money(two['cvar_usd'])} in the worst {percent(two['tail'])} (CVaR)"
        text += f"; {numbers['dependent']} of {numbers['materials']} materials more than half from one foreign country"
        short = numbers["short_materials"]
        yield text + (f"; short of {listed(short)}." if short else "; nothing short.")


def _cards(plan: Plan, numbers: dict[str, Any]) -> list[Card]:
    """Five numbers: money in all and in the last year, dependence, shortage, limits; two more over the outcomes."""
    year, today = numbers["last_year"], "total_usd_today" in numbers

    def beside(value: float, name: str) -> str:
        return f"{sentences.against(value, numbers[name])} than today" if today else ""

    two = plan.two_stage if weighs(plan) else None
    calm, weighed = "", list[Card]()
    if two is not None:
        calm = ", where nothing happens"
        weighed = [
            Card(f"{money(two[key])} USD", words,
                 f"{sentences.against(two[key], two['undisturbed_usd'])} than undisturbed")
            for words, key in measures(two) if key in ("expected_usd", "cvar_usd")
        ]  # fmt: skip
    short = numbers["short_t"]
    rows, bound = numbers["rows"], numbers["at_limit"]
    return [
        Card(f"{money(numbers['total_usd'])} USD", f"present value of the whole horizon{calm}",
             beside(numbers["total_usd"], "total_usd_today")),
        *weighed,
        Card(f"{money(numbers['cost_usd_per_y'])} USD", f"in {year}",
             beside(numbers["cost_usd_per_y"], "cost_usd_per_y_today")),
        Card(f"{numbers['dependent']} of {numbers['materials']}", "materials more than half from one foreign country",
             f"today {numbers['dependent_today']} of {numbers['materials_today']}" if today else ""),
        Card("nothing" if not short else f"{tonnes(short)} t", "short of what is required, all years together",
             "" if not short else listed(numbers["short_materials"])),
        Card(f"{bound} of {rows}", "rows of rules at their limit",
             f"{numbers['priced']} with a price" if rows else "no rules"),
    ]  # fmt: skip


def _answers(inputs: Inputs, found: dict[str, dict[str, Any]]) -> Table:
    rows = []
    for run in inputs.runs:
        yearly = summaries.yearly_costs(run.plan)
        for item in yearly.to_dict("records"):
            paid = [item["plan"], item.get("today"), item.get("difference")]
            rows.append([run.name, item["year"], item["weight"], *paid])
        numbers = found[run.name]
        today = numbers.get("total_usd_today")
        total = numbers["total_usd"]
        rows.append([run.name, None, None, total, today, None if today is None else total - today])
    columns = [Column("run"), Column("year", "year"), Column("weight (years, discounted)", "number"),
               Column("cost (USD a year)", "usd"), Column("today (USD a year)", "usd"),
               Column("difference", "usd")]  # fmt: skip
    note = "Rows without a year: present value over the horizon, in USD; a year counts with its weight."
    if any(weighs(run.plan) for run in inputs.runs):
        note += " Of a run that weighs disruptions: where nothing happens."
    return Table("costs by year", columns, rows, note=note)


def _years(inputs: Inputs) -> list[str]:
    """Years that all runs have, the last first (that is what a planner asks about)."""
    return [str(year) for year in reversed(inputs.years)]


def mix(inputs: Inputs) -> Section:
    """Today -> plan by delivered material and channel."""
    table = summaries.mix(inputs.sides)
    table = table[table["year"].isin(inputs.years)]
    names = {"year": Column("year", "year"), "mineral": Column("mineral"), "material": Column("material"),
             "who": Column("mix"), **{c: Column(c, "share") for c in summaries.CHANNELS},
             "t": Column("delivered (t a year)", "t")}  # fmt: skip
    figures = {str(year): charts.mix(part) for year, part in table.groupby("year")}
    shown = table_of("mix by channel", table, names, keys=[str(year) for year in table["year"]])
    order = ["today (paler)" if who == "today" else plain(who) for who in inputs.sides]
    captions = dict.fromkeys(figures, f"In each group of bars, from the top: {', '.join(order)}." if order[1:] else "")
    chart = Chart("mix", "Share of each channel in what is delivered", figures, shown, [("year", _years(inputs))],
                  captions, _years(inputs)[0])  # fmt: skip
    said = sentences.mix_sentences(table, inputs.years[-1], list(inputs.sides))
    return Section("mix", "From today to the plan, by mineral and channel", said, [chart])


def allocation(inputs: Inputs) -> Section:
    """Who supplies how much, year by year: what the plan recommends."""
    blocks, said = [], []
    for run in inputs.runs:
        table = summaries.allocation(run.plan, run.case)
        columns = {
            "mineral": Column("mineral"), "stage": Column("stage"), "material": Column("material"),
            "name": Column("supplier"), "country": Column("country", "country"), "channel": Column("channel"),
            "incumbent_t": Column("sells today (t a year)", "t"),
            **{f"plan_{year}_t": Column(f"plan {year} (t a year)", "t") for year in run.plan.years},
            "cost_basis": Column("cost from"), "source": Column("sources", "sources"),
        }  # fmt: skip
        blocks.append(table_of(f"allocation{_of(inputs, run)}", table, columns))
        said.append(_allocation_sentence(run, table))
    return Section("allocation", "Who supplies how much", said, blocks)


def _allocation_sentence(run: Run, table: pd.DataFrame) -> str:
    year = run.plan.years[-1]
    now = table[table[f"plan_{year}_t"] > 0]
    fresh, left = now[now["incumbent_t"] == 0], table[(table["incumbent_t"] > 0) & (table[f"plan_{year}_t"] == 0)]
    return (
        f"In {year} {called(run.name)} uses {len(now)} suppliers in {now['country'].nunique()} countries; "
        f"{len(fresh)} of them sell nothing today, and {len(left)} of today's suppliers drop out."
    )


def _of(inputs: Inputs, run: Run) -> str:
    return f" of {run.name}" if inputs.several else ""


def flows(inputs: Inputs) -> Section:
    """Flow diagrams from countries through stages to markets, mineral by mineral."""
    table = pd.concat([summaries.links(t).assign(who=who) for who, t in inputs.sides.items()], ignore_index=True)
    table = table[table["year"].isin(inputs.years)]
    sides = [who for who in inputs.sides if who != "today"] + [who for who in inputs.sides if who == "today"]
    minerals = sorted(set(table["mineral"]))
    figures, captions = {}, {}
    for parts_of, part in table.groupby(["mineral", "year", "who"], sort=False):
        mineral, year, who = (str(name) for name in parts_of)
        key = f"{mineral}|{year}|{who}"
        figures[key] = charts.sankey(part)
        captions[key] = sentences.flow_caption(inputs.sides[who], mineral, int(year))
    names = {"mineral": Column("mineral"), "year": Column("year", "year"), "who": Column("mix"),
             "material": Column("material"), "source": Column("from"), "target": Column("to"),
             "channel": Column("channel"), "t": Column("t a year", "t")}  # fmt: skip
    keys = [f"{m}|{y}|{w}" for m, y, w in zip(table["mineral"], table["year"], table["who"], strict=True)]
    shown = table_of("flows", table, names, keys=keys, largest="t")
    choices = [("mineral", minerals), ("year", _years(inputs)), ("mix", sides)]
    narrowest = _narrowest(inputs)
    first = f"{narrowest['mineral']}|{_years(inputs)[0]}|{sides[0]}" if narrowest else ""
    if first not in figures:
        first = next(iter(figures), "")
    chart = Chart("flows", "Flows from countries through stages to markets, t a year", figures, shown, choices,
                  captions, first)  # fmt: skip
    said = ["Pick a mineral: each band is what one country sends to the next, as wide as its tonnes a year."]
    said.insert(0, _narrow_sentence(inputs, narrowest) if narrowest else "Nothing flows.")
    return Section("flows", "From mine to market", said, [chart])


def _narrowest(inputs: Inputs) -> dict[str, Any]:
    """Where along all chains the largest part comes from one foreign country, in the last year of the first run."""
    first = inputs.runs[0]
    risk = first.plan.tables["risk"]
    last = risk[(risk["year"] == inputs.years[-1])]
    foreign = last[last["largest_country"] != first.case.home]
    found = foreign if len(foreign) else last
    return summaries.most(found, "largest_share") if len(found) else {}


def _narrow_sentence(inputs: Inputs, worst: dict[str, Any]) -> str:
    where = "delivered" if worst["stage"] == "delivered" else f"at {worst['stage']}"
    what = plain(worst["material"] or worst["mineral"])
    at = charts.place_name(str(worst["largest_country"]))
    return (
        f"Along all chains in {inputs.years[-1]}, the narrowest point is {what} {where}: "
        f"{percent(float(worst['largest_share']))} from {at}."
    )


def concentration(inputs: Inputs) -> Section:
    """Largest share and HHI at every stage, today -> plan, against the limits."""
    table = summaries.concentration(inputs.sides, inputs.limits)
    table = table[table["year"].isin(inputs.years)].reset_index(drop=True)
    table["what"] = table["material"].where(table["material"] != "", table["mineral"])
    stages = [stage for stage in reversed(summaries.STAGES) if (table["stage"] == stage).any()]
    stages += sorted(set(table["stage"]) - set(stages))
    figures = {}
    measures = {
        "largest share of one country": ("largest_share", "largest_limit"),
        "HHI by country": ("hhi_country", "hhi_limit"),
    }
    for (stage, year), part in table.groupby(["stage", "year"], sort=False):
        for measure, (column, limit) in measures.items():
            figures[f"{measure}|{stage}|{year}"] = _dumbbell(inputs, part, column, limit)
    shown = _concentration_table(inputs, table)
    choices = [("measure", list(measures)), ("stage", stages), ("year", _years(inputs))]
    chart = Chart("concentration", "Largest country, or HHI, of each material: one dot a mix", figures, shown, choices,
                  first=f"{next(iter(measures))}|{stages[0]}|{_years(inputs)[0]}")  # fmt: skip
    said = []
    for run in inputs.runs:
        lines = sentences.concentration_sentences(
            table, inputs.years[-1], run.name, run.case.home, inputs.today is not None
        )
        said += [f"{plain(run.name)}: {line}" for line in lines] if inputs.several else lines
    return Section("concentration", "How concentrated it is", said, [chart])


def _concentration_table(inputs: Inputs, table: pd.DataFrame) -> Table:
    """The sides beside each other; below each other where runs are compared (it would be too wide for paper)."""
    measures = {"largest_country": ("largest country", "country"), "largest_share": ("its share", "share"),
                "hhi_country": ("HHI", "hhi"), "import_reliance": ("imported", "share"),
                "largest_limit": ("limit on one country", "share"), "hhi_limit": ("limit on HHI", "hhi")}  # fmt: skip
    given = [f"{name}_{who}" for who in inputs.sides for name in measures]
    given = [name for name in given if name in table and table[name].notna().any()]
    names = {"stage": Column("stage"), "what": Column("mineral or material"), "year": Column("year", "year")}
    if inputs.several:
        parts = []
        for who in inputs.sides:
            own = {f"{name}_{who}": name for name in measures if f"{name}_{who}" in given}
            parts.append(table[[*names, *own]].rename(columns=own).assign(who=who))
        table = pd.concat(parts, ignore_index=True)
        table = table[table["largest_country"].notna()]
        names["who"] = Column("mix")
        names |= {name: Column(*words) for name, words in measures.items() if name in table}
    else:
        for who in inputs.sides:
            for name, (text, kind) in measures.items():
                if f"{name}_{who}" in given:
                    names[f"{name}_{who}"] = Column(f"{text}, {who}", kind)
    keys = [f"*|{stage}|{year}" for stage, year in zip(table["stage"], table["year"], strict=True)]
    note = "HHI: sum of squared country shares, 1 = one country. Home counts in both."
    return table_of("concentration", table, names, keys=keys, note=note)


def _dumbbell(inputs: Inputs, part: pd.DataFrame, column: str, limit: str) -> charts.Figure:
    values = {who: part[f"{column}_{who}"].tolist() for who in inputs.sides}
    codes = {who: part[f"largest_country_{who}"] for who in inputs.sides}
    texts = {who: [charts.place_name(c) if isinstance(c, str) else "" for c in found] for who, found in codes.items()}
    last = inputs.runs[-1].name
    limits = part[f"{limit}_{last}"] if f"{limit}_{last}" in part else pd.Series([float("nan")] * len(part))
    listed_limits = [None if value != value else float(value) for value in limits]
    return charts.dumbbell(
        part["what"].tolist(),
        values,
        listed_limits,
        column == "largest_share",
        texts,
        f"limit in {last}" if inputs.several else "limit",
    )
