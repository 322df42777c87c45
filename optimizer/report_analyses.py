"""Sections of the report on analyses given beside the runs: stress, near-optimal ranges, frontier, sensitivity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from optimizer import charts, summaries
from optimizer.analysis_folder import Analysis
from optimizer.console import money, percent, plain
from optimizer.report_blocks import Chart, Column, Section, Table, counted, country, listed, table_of
from optimizer.report_inputs import Inputs, Run

Block = Table | Chart
Made = tuple[list[str], list[Block]]


def analysis_sections(inputs: Inputs) -> Iterator[Section]:
    """The sections in their order; each says plainly where nothing of its kind was given."""
    yield _section(inputs, "stress", "What a loss would do", {"stress": stress}, resilience(inputs))
    yield _section(inputs, "ranges", "How far it could be otherwise", {"alternatives": alternatives})
    yield _section(inputs, "frontier", "What a tighter limit costs", {"frontier": frontier})
    yield _section(inputs, "sensitivity", "Which inputs matter",
                   {"sensitivity": sensitivity, "sweep": sweep, "explain": explain})  # fmt: skip


def _section(
    inputs: Inputs, name: str, title: str, kinds: dict[str, Callable[[Analysis, str], Made]], more: Made = ([], [])
) -> Section:  # fmt: skip
    said, blocks = list(more[0]), list(more[1])
    for kind, make in kinds.items():
        found = inputs.of_kind(kind)
        for analysis in found:
            name_of = plain(analysis.folder.resolve().name)
            suffix = f" of {name_of}" if len(found) > 1 else ""
            lines, made = make(analysis, suffix)
            said += [f"{name_of}: {line}" for line in lines] if len(found) > 1 else lines
            blocks += made
    if not said and not blocks:
        commands = listed([f"oremix {kind}" for kind in kinds])
        makes = "makes a folder" if len(kinds) == 1 else "make folders"
        said.append(f"Not examined here: {commands} {makes} that oremix report takes beside the run.")
    return Section(name, title, said, blocks)


def resilience(inputs: Inputs) -> Made:
    """How each delivered material stands a loss, where the run measured it."""
    said: list[str] = []
    blocks: list[Block] = []
    for run in inputs.runs:
        lines, made = _survival(inputs, run)
        said += lines
        blocks += made
        found = run.plan.tables.get("resilience")
        if found is None or found.empty:
            continue
        last = found[(found["year"] == inputs.years[-1]) & (found["stage"] == "delivered")]
        if last["serve_largest"].notna().any():
            weak = summaries.least(last, "serve_largest")
            lead = f"{plain(run.name)}: " if inputs.several else ""
            what = plain(weak["material"] or weak["mineral"])
            said.append(
                f"{lead}In {inputs.years[-1]}, {what} stands the loss of its largest source worst: "
                f"{percent(float(weak['serve_largest']))} can still be served."
            )
        columns = {
            "mineral": Column("mineral"), "material": Column("material"), "stage": Column("stage"),
            "year": Column("year", "year"), "serve_largest": Column("served without the largest source", "share"),
            "days_cover": Column("days of cover", "number"),
            "expected_short_t": Column("expected shortage (t a year)", "t"),
            "largest_point": Column("largest single point"),
            "served_largest_point": Column("served without it", "share"),
        }  # fmt: skip
        suffix = f" of {run.name}" if inputs.several else ""
        blocks.append(table_of(f"resilience{suffix}", found, {k: v for k, v in columns.items() if k in found}))
    return said, blocks


def _survival(inputs: Inputs, run: Run) -> Made:
    """What a plan with survive rules still serves after each loss that they name."""
    table = run.plan.tables.get("survival")
    if table is None or table.empty:
        return [], []
    worst = summaries.least(table.assign(spare=table["served"] - table["serve"]), "spare")
    lead = f"{plain(run.name)}: " if inputs.several else ""
    said = (
        f"{lead}The rule {plain(worst['rule'])} asks that {percent(float(worst['serve']))} of "
        f"{plain(worst['material'])} be served after each loss; the closest is {_lost(worst['lose'])} "
        f"in {worst['year']}, with {percent(float(worst['served']))}."
    )
    columns = {
        "rule": Column("rule"), "mineral": Column("mineral"), "material": Column("material"),
        "year": Column("year", "year"), "lose": Column("lost"), "served": Column("still served", "share"),
        "serve": Column("asked for", "share"), "price_usd_per_y": Column("price (USD a year per 1.00 asked)", "usd"),
    }  # fmt: skip
    suffix = f" of {run.name}" if inputs.several else ""
    return [said], [table_of(f"survival{suffix}", table, {k: v for k, v in columns.items() if k in table})]


def _frame(rows: Any, columns: list[str]) -> pd.DataFrame:
    """Rows of a document as a frame that has the columns, whatever else is in it."""
    frame = pd.DataFrame(rows if isinstance(rows, list) else [])
    for name in columns:
        if name not in frame:
            frame[name] = None
    return frame


def _lost(name: object) -> str:
    kind, _, what = str(name).partition(":")
    return country(what) if kind == "country" else f"{kind} {what}".strip()


def stress(analysis: Analysis, suffix: str) -> Made:
    """Each loss: what can still be served, and what it costs with the kept and with a remade plan."""
    table = _frame(analysis.document.get("losses"), ["lose", "months", "material", "year", "served", "short_t",
                                                      "kept_usd_per_y", "remade_usd_per_y"])  # fmt: skip
    if table.empty:
        return ["The stress test lists no loss."], []
    table["served"] = table["served"].astype(float)
    names = {"lose": Column("lost"), "months": Column("months", "number"), "material": Column("material"),
             "year": Column("year", "year"), "served": Column("still served", "share"),
             "short_t": Column("missing (t)", "t"), "kept_usd_per_y": Column("cost, plan kept (USD a year)", "usd"),
             "remade_usd_per_y": Column("cost, plan remade (USD a year)", "usd")}  # fmt: skip
    worst = table.groupby("lose", sort=False)["served"].min().sort_values()
    row = summaries.least(table, "served")
    said = ["Every loss tested leaves every requirement served in full."]
    if row["served"] < 1:
        hurt = int((worst < 1 - 1e-9).sum())
        said = [
            (f"The worst loss is {_lost(row['lose'])} for {float(row['months'] or 12):.0f} months: "
             f"{percent(float(row['served']))} of {plain(row['material'])} can still be served in {int(row['year'])}."),
            f"{hurt} of {len(worst)} losses leave something short.",
        ]  # fmt: skip
    said += _expected(analysis)
    lost = [_lost(name) for name in worst.index[:40]]
    figure = charts.bars(lost, worst.tolist()[:40], "served of the worst hit material", True)
    return said, [Chart(f"stress{suffix}", "What can still be served of the worst hit material", {"": figure},
                        table_of(f"stress{suffix}", table, names))]  # fmt: skip


def _expected(analysis: Analysis) -> list[str]:
    """What the scenarios leave short on average, and how much of that hangs on guessed probabilities."""
    names = [f"{name}_short_usd" for name in ("expected", "low", "high", "guessed")]
    table = _frame(analysis.document.get("expected"), ["year", *names])
    if table.empty:
        return []
    sums = table.astype(dict.fromkeys(names, float)).groupby("year")[names].sum()
    year, usd = max(sums.iterrows(), key=lambda item: float(item[1]["expected_short_usd"]))
    if not usd["expected_short_usd"] > 0:
        return []
    low, high, guessed = (usd[f"{name}_short_usd"] for name in ("low", "high", "guessed"))
    said = (
        f"Over the scenarios, {money(usd['expected_short_usd'])} USD of material is short in {year} on average "
        f"({money(low)} to {money(high)} with every probability at its low or its high); "
        f"{percent(guessed / usd['expected_short_usd'])} of it hangs on guessed probabilities."
    )
    return [said]


def alternatives(analysis: Analysis, suffix: str) -> Made:
    """Ranges of near-optimal plans: must-have, can-have, must-avoid; and the named plans."""
    document = analysis.document
    keys = ["by", "member", "material", "year", "least_t", "most_t", "plan_t", "class"]
    table = _frame(document.get("ranges"), keys)
    slack = float(document.get("slack") or 0.0)
    said: list[str] = []
    blocks: list[Block] = []
    if len(table):
        own = table[table["by"] == "supplier"] if (table["by"] == "supplier").any() else table
        must = sorted(set(own.loc[own["class"] == "must-have", "member"]))
        never = sorted(set(own.loc[own["class"] == "must-avoid", "member"]))
        said.append(
            f"Every plan within {percent(slack)} of the least cost needs {listed([plain(m) for m in must])}; "
            f"none can use {listed([plain(m) for m in never])}."
        )
        table["material"] = table["material"].fillna("")
        figures, order = {}, []
        for (by, material, year), part in table.groupby(["by", "material", "year"], sort=False):
            key = f"{by}|{str(material) or 'all'}|{int(str(year))}"
            figures[key] = charts.ranges(part.sort_values("most_t", ascending=False).head(30))
            order.append(key.split("|"))
        choices = [(name, list(dict.fromkeys(key[at] for key in order)))
                   for at, name in enumerate(("by", "material", "year"))]  # fmt: skip
        names = {"by": Column("by"), "member": Column("member"), "material": Column("material"),
                 "year": Column("year", "year"), "least_t": Column("least (t a year)", "t"),
                 "most_t": Column("most (t a year)", "t"), "plan_t": Column("plan (t a year)", "t"),
                 "class": Column("class")}  # fmt: skip
        parts = zip(table["by"], table["material"], table["year"], strict=True)
        row_keys = [f"{by}|{material or 'all'}|{int(year)}" for by, material, year in parts]
        blocks.append(Chart(f"ranges{suffix}", f"Least and most within {percent(slack)} of the least cost", figures,
                            table_of(f"ranges{suffix}", table, names, keys=row_keys), choices))  # fmt: skip
    plans = _frame(document.get("plans"), ["name", "objective_usd"])
    if len(plans):
        said.append(f"{len(plans)} different plans within that cost: {listed([plain(n) for n in plans['name']], 6)}.")
        blocks.append(table_of(f"alternative plans{suffix}", plans, {
            "name": Column("plan"), "objective_usd": Column("cost in all (USD, present value)", "usd"),
        }))  # fmt: skip
    return said, blocks


def _is_share(key: str, values: list[float]) -> bool:
    return bool(values) and all(0 <= value <= 1 for value in values) and "hhi" not in key and "emission" not in key


def frontier(analysis: Analysis, suffix: str) -> Made:
    """The trade-off of cost against a limit: every breakpoint, the slopes, where it becomes infeasible."""
    document = analysis.document
    key = str(document.get("key", "limit"))
    table = _frame(document.get("points"), ["limit", "objective_usd", "slope_usd"])
    table = table.sort_values("limit", ignore_index=True)
    if table.empty:
        return [f"No plan exists at any limit of {plain(key)}."], []
    x, y = table["limit"].astype(float).tolist(), table["objective_usd"].astype(float).tolist()
    share = document["unit"] == "share" if "unit" in document else _is_share(key, x)

    def at(value: float) -> str:
        return percent(value) if share else f"{value:.4g}"

    cheap, dear = min(y), max(y)
    ends = (x[y.index(cheap)], x[y.index(dear)])
    more = f"costs {money(dear - cheap)} USD more: from {money(cheap)} to {money(dear)} USD in all"
    said = [f"Moving {plain(key)} from {at(ends[0])} to {at(ends[1])} {more}."]
    start, end = document.get("feasible_from"), document.get("feasible_to")
    if isinstance(start, float | int) and start > 0 and share:
        said.append(f"Below {at(float(start))} no plan exists.")
    if isinstance(end, float | int) and end < 1 and share:
        said.append(f"Above {at(float(end))} no plan exists.")
    idle = document.get("stops_mattering")
    if isinstance(idle, float | int) and x[0] < idle < x[-1]:
        said.append(f"Beyond {at(float(idle))} the limit no longer matters.")
    if document.get("exact") is False:
        near = float(document.get("tolerance") or 0.0)
        why = plain(document.get("why") or "")
        said.append(
            f"The curve is not made of straight lines; it is traced to {near:.0e} of cost{f': {why}' if why else '.'}"
        )
    slopes = table.assign(steep=table["slope_usd"].astype(float).abs())
    steep = summaries.most(slopes, "steep") if slopes["steep"].notna().any() else {"steep": 0.0}
    if steep["steep"]:
        unit, what = (0.01, "one percentage point") if share else (1.0, "one unit")
        said.append(f"It is steepest at {at(float(steep['limit']))}: {what} costs {money(steep['steep'] * unit)} USD.")
    figure = charts.lines({key: (x, y)}, key, "USD in all", xaxis={"tickformat": ".0%" if share else ""})
    breaks = {round(float(v), 12) for v in document.get("breakpoints") or []}
    table["breakpoint"] = [round(float(v), 12) in breaks for v in x]
    kind = "share" if share else "number"
    for end, label in (("enters", "comes in"), ("leaves", "drops out")):
        if end in table:  # who moves at the point, as the limit grows
            moved = [sorted({str(move["supplier"]) for move in moves or []}) for moves in table[end]]
            table[label] = [", ".join(names[:6]) + (", ..." if names[6:] else "") for names in moved]
    names = {"limit": Column(key, kind), "objective_usd": Column("cost in all (USD, present value)", "usd"),
             "slope_usd": Column("slope to the right (USD per 1.00)", "usd"),
             "breakpoint": Column("breakpoint", "yes"), "comes in": Column("comes in beyond"),
             "drops out": Column("drops out beyond")}  # fmt: skip
    shown = table_of(f"frontier{suffix}", table, {name: column for name, column in names.items() if name in table})
    return said, [Chart(f"frontier{suffix}", f"Least cost at each limit of {key}", {"": figure}, shown)]


def sensitivity(analysis: Analysis, suffix: str) -> Made:
    """Tornado and Sobol indices."""
    said: list[str] = []
    blocks: list[Block] = []
    swings = _frame(analysis.document.get("tornado"), ["input", "low", "high", "cost_low_usd", "cost_high_usd"])
    swings = swings[swings["cost_low_usd"].notna() & swings["cost_high_usd"].notna()]
    if len(swings):
        width = (swings["cost_high_usd"].astype(float) - swings["cost_low_usd"].astype(float)).abs()
        swings = swings.assign(swing_usd=width).sort_values("swing_usd", ascending=False, ignore_index=True)
        top = swings.iloc[0]
        swing = f"{money(float(top['swing_usd']))} USD from its low to its high"
        said.append(f"The input that moves cost most is {plain(top['input'])}: {swing}.")
        base = analysis.document.get("objective_usd")
        figure = charts.tornado(swings.head(20), float(base) if isinstance(base, float | int) else None)
        names = {"input": Column("input"), "low": Column("low", "number"), "high": Column("high", "number"),
                 "cost_low_usd": Column("cost at low (USD)", "usd"),
                 "cost_high_usd": Column("cost at high (USD)", "usd"),
                 "swing_usd": Column("swing (USD)", "usd")}  # fmt: skip
        blocks.append(Chart(f"tornado{suffix}", "Cost with one input at its low and at its high", {"": figure},
                            table_of(f"tornado{suffix}", swings, names)))  # fmt: skip
    sobol = _frame(analysis.document.get("sobol"), ["input", "output", "first", "total", "confidence"])
    if len(sobol):
        sobol = sobol.assign(total=sobol["total"].astype(float)).sort_values("total", ascending=False)
        outputs = list(dict.fromkeys(sobol["output"].astype(str)))
        figures = {o: charts.bars(p["input"].tolist()[:20], p["total"].tolist()[:20], "of the variance", True)
                   for o, p in sobol.groupby(sobol["output"].astype(str), sort=False)}  # fmt: skip
        names = {"output": Column("output"), "input": Column("input"), "first": Column("first order", "number"),
                 "total": Column("total", "number"),
                 "confidence": Column("confidence (plus or minus)", "number")}  # fmt: skip
        blocks.append(Chart(f"sobol{suffix}", "Share of the variance that each input explains (Sobol, total)", figures,
                            table_of(f"sobol{suffix}", sobol, names, keys=sobol["output"].astype(str).tolist()),
                            [("output", outputs)]))  # fmt: skip
    return said, blocks


def sweep(analysis: Analysis, suffix: str) -> Made:
    """One row a point: the inputs, status, cost; a line where one input moves."""
    rows = analysis.document.get("rows") or []
    if not rows:
        return ["The sweep has no points."], []
    keys = list(dict.fromkeys(key for row in rows for key in row.get("inputs") or {}))
    inputs = [row.get("inputs") or {} for row in rows]
    table = pd.DataFrame({f"in{at}": [values.get(key) for values in inputs] for at, key in enumerate(keys)})
    for name in ("status", "objective_usd", "reason"):
        table[name] = [row.get(name) for row in rows]
    cost = table["objective_usd"].astype(float)
    infeasible = int((table["status"] == "infeasible").sum())
    said = [f"None of the {len(table)} points has a plan."]
    if cost.notna().any():
        span = f"cost from {money(cost.min())} to {money(cost.max())} USD"
        said = [f"{len(table)} points: {span}; {infeasible} of them have no plan."]
    kinds = ["number" if table[f"in{at}"].dtype.kind in "iuf" else "text" for at in range(len(keys))]
    numeric = set(kinds) == {"number"}
    names = {**{f"in{at}": Column(key, kinds[at]) for at, key in enumerate(keys)},
             "status": Column("status"), "objective_usd": Column("cost in all (USD, present value)", "usd"),
             "reason": Column("why not")}  # fmt: skip
    shown = table_of(f"sweep{suffix}", table, names)
    if not numeric or len(keys) not in (1, 2):
        return said, [shown]
    lines = {}
    second = table["in1"] if len(keys) == 2 else pd.Series([""] * len(table))
    for value, part in table.groupby(second, sort=True):
        part = part.sort_values("in0")
        name = keys[0] if len(keys) == 1 else f"{keys[1]} = {value:g}"
        lines[name] = (
            part["in0"].tolist(),
            [None if v != v else float(v) for v in part["objective_usd"].astype(float)],
        )
    return said, [
        Chart(f"sweep{suffix}", "Cost at each point", {"": charts.lines(lines, keys[0], "USD in all")}, shown)
    ]


def explain(analysis: Analysis, suffix: str) -> Made:
    """Prices with the range over which they hold, confirmed by solving again; what would bring a supplier in."""
    prices = _frame(
        analysis.document.get("prices"), ["rule", "mineral", "year", "price_usd_per_y", "from", "to", "confirmed"]
    )
    said: list[str] = []
    blocks: list[Block] = []
    if len(prices):
        sure = int(prices["confirmed"].fillna(False).astype(bool).sum())
        said.append(f"{sure} of {len(prices)} prices of limits were confirmed by solving again.")
        names = {"rule": Column("rule"), "mineral": Column("mineral"), "material": Column("material"),
                 "member": Column("member"), "year": Column("year", "year"),
                 "price_usd_per_y": Column("price (USD a year per 1.00 of limit)", "usd"),
                 "from": Column("holds from", "number"),
                 "to": Column("holds to", "number"), "confirmed": Column("confirmed", "yes")}  # fmt: skip
        blocks.append(table_of(f"prices explained{suffix}", prices, {k: v for k, v in names.items() if k in prices}))
    near = _frame(analysis.document.get("suppliers"), ["supplier", "year", "produced_t", "enters_below_usd_per_t"])
    near = near[near["enters_below_usd_per_t"].notna()] if len(near) else near
    if len(near):
        out = int(near["supplier"].nunique())
        said.append(f"{counted(out, 'supplier')} would come in at a lower cost: the table says below which.")
        blocks.append(table_of(f"what would bring a supplier in{suffix}", near, {
            "supplier": Column("supplier"), "year": Column("year", "year"),
            "produced_t": Column("made (t a year)", "t"),
            "enters_below_usd_per_t": Column("comes in below (USD per t)", "usd_t"),
        }))  # fmt: skip
    return said, blocks
