"""Where delivered tonnes passed: the touched share of each provenance row, and the least and most by country.

Tags are not unique: which customer gets the touched batches is free. The value of a row is that of one assignment
for all rows of the rule in a year, the one that touches least in all; least and most are each for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from models.case import Flags, Floats
from models.lanes import Ints
from models.layout import Layout
from models.rule_rows import Linear, RuleRow
from models.trails import Trail, find_trail, flows_of_year, touched_range, touched_terms, trail_groups
from optimizer.engine import Engine, Limits, Solution
from optimizer.plan import Plan
from optimizer.plan_values import layout_of_run, plan_columns
from optimizer.program import Names, Program

SMALLEST_T = 1e-6
# What balances may be off by, in tonnes and of each flow: of an optimum just found, and of a table of flows.
EXACT, TABLE = 1e-9, 1e-6
_QUICK = Limits(seconds=60.0, threads=1, presolve=False)


class _Tags:
    """The tags of a plan's flows in one year for one selection of suppliers, as a program over the tags alone."""

    def __init__(self, layout: Layout, x: Floats, touched: Flags, flows: Ints, slack: float) -> None:
        self.layout, self.x, self.slack = layout, x, slack
        moving = flows[x[layout.offsets["flow"] + flows] > (0.0 if slack < SMALLEST_T else SMALLEST_T)]
        self.trail: Trail = find_trail(layout, touched, moving, much=True)

    def part(self, passed: Linear) -> tuple[Ints, Floats, float]:
        """The touched tonnes of terms: tags, their coefficients, and what is touched whatever the tags are."""
        return touched_range(self.x, self.layout, self.trail, passed)

    def solve(self, cost: Floats, limited: Sequence[tuple[Ints, Floats, float]] = ()) -> Solution:
        """The tags of least ``cost`` with rows (tags, coefficients, limit) kept."""
        layout, x, count = self.layout, self.x, len(self.trail.tags)
        rows: list[Ints] = []
        columns: list[Ints] = []
        values: list[Floats] = []
        low: list[float] = []
        high: list[float] = []
        for family, _, terms, equal in self.trail.rows:
            if family == "touched_at_most":
                continue  # a bound here
            tags, coefficients, constant = self.part(terms)
            size = max(1.0, float(np.abs(terms.coefficients).max(initial=0.0)))
            room = self.slack * size * max(1.0, abs(constant))
            rows.append(np.full(len(tags), len(low)))
            columns.append(tags)
            values.append(coefficients)
            low.append(-constant - room if equal else -np.inf)
            high.append(room - constant)
        for tags, coefficients, limit in limited:
            rows.append(np.full(len(tags), len(low)))
            columns.append(tags)
            values.append(coefficients)
            low.append(-np.inf)
            high.append(limit)
        whole = np.concatenate(values) if values else np.zeros(0)
        at = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        column = np.concatenate(columns) if columns else np.zeros(0, dtype=np.int64)
        width = len(cost)
        t = x[layout.offsets["flow"] + self.trail.tags]
        matrix = sparse.csc_array(sparse.coo_array((whole, (at, column)), shape=(len(low), width)))
        upper = np.concatenate([t + self.slack * np.maximum(t, 1.0), np.full(width - count, np.inf)])
        units = np.concatenate([layout.scale_t[layout.flow_material[self.trail.tags]], np.ones(width - count)])
        program = Program(
            matrix, np.array(low), np.array(high), cost, np.zeros(width), upper, np.zeros(width, dtype=bool),
            Names([("tag_row", range(len(low)))]), Names([("tag", range(width))]),
        )  # fmt: skip
        return Engine(program, units).solve(_QUICK)


def touched_shares(layout: Layout, rows: Sequence[RuleRow], x: Floats) -> dict[int, float]:
    """Provenance row (by number) -> share of its delivered tonnes that is touched; NaN where nothing is delivered.

    One assignment for all rows of a rule in a year: the least above the limits (nothing where the rule holds),
    then the least touched, both as sums over the rows of shares.
    """
    found: dict[int, float] = {}
    for (_, year), numbers in trail_groups(rows).items():
        first = rows[numbers[0]].touched
        assert first is not None
        tags = _Tags(layout, x, first, flows_of_year(layout, year), EXACT)
        base = {n: rows[n].base.value(x) for n in numbers}
        flowing = [n for n in numbers if base[n] > SMALLEST_T]
        found.update({n: float("nan") for n in numbers if n not in flowing})
        parts = {n: tags.part(touched_terms(layout, tags.trail, rows[n])) for n in flowing}
        count = len(tags.trail.tags)
        cost = np.zeros(count)
        for n in flowing:
            cost[parts[n][0]] += parts[n][1] / base[n]
        room = {n: rows[n].limit * base[n] + EXACT * max(1.0, base[n]) - parts[n][2] for n in flowing}
        solution = tags.solve(cost, [(*parts[n][:2], room[n]) for n in flowing])
        if not solution.has_plan:  # the rule is broken: by how much at least, then the least touched
            more = np.concatenate([np.zeros(count), np.ones(len(flowing))])
            soft = [(np.append(parts[n][0], count + i), np.append(parts[n][1], -base[n]), room[n])
                    for i, n in enumerate(flowing)]  # fmt: skip
            over = tags.solve(more, soft).x[count:]
            solution = tags.solve(cost, [(*parts[n][:2], room[n] + (over[i] + 1e-9) * base[n])
                                         for i, n in enumerate(flowing)])  # fmt: skip
        for n in flowing:
            tagged, values, constant = parts[n]
            found[n] = (constant + float(values @ solution.x[tagged])) / base[n]
    return found


def provenance_of_run(folder: Path, plan: Plan) -> pd.DataFrame:
    """``provenance_table`` of a run folder, from its tables and the case as run."""
    layout = layout_of_run(folder, plan)
    return provenance_table(layout, plan_columns(layout, plan))


def provenance_table(layout: Layout, x: Floats) -> pd.DataFrame:
    """For each delivered material, year and country: the least and the most tonnes that passed through suppliers
    there at any stage, and as shares of what is delivered.
    """
    case = layout.case
    country = case.suppliers["country"].to_numpy()
    count = len(case.suppliers)
    to_market = layout.flow_destination >= count
    records = []
    for at, year in enumerate(case.years):
        flows = np.flatnonzero((layout.flow_year == at) & (x[layout.columns("flow")] >= SMALLEST_T))
        if not len(flows):
            continue
        sold = flows[to_market[flows]]
        codes = np.unique(layout.flow_material[sold])
        total = {int(m): float(x[layout.offsets["flow"] + sold[layout.flow_material[sold] == m]].sum()) for m in codes}
        for name in sorted(set(country[layout.flow_origin[flows]])):
            tags = _Tags(layout, x, country == name, flows, TABLE)
            for m, tonnes in total.items():
                mine = layout.offsets["flow"] + sold[layout.flow_material[sold] == m]
                row = Linear(mine, np.ones(len(mine)))
                passed = tags.trail.part[row.columns - layout.offsets["flow"]]
                tag, values, constant = tags.part(Linear(passed[passed >= 0], np.ones(int((passed >= 0).sum()))))
                if not len(tag) and constant < SMALLEST_T:
                    continue
                least = most = constant
                if len(tag):
                    cost = np.zeros(len(tags.trail.tags))
                    cost[tag] = values
                    least += max(0.0, tags.solve(cost).objective)
                    most += -tags.solve(-cost).objective
                most = min(most, tonnes)
                if most < SMALLEST_T:
                    continue
                material = case.materials.index[m]
                records.append({
                    "mineral": case.materials.loc[material, "mineral"], "material": material, "year": year,
                    "country": name, "least_t": least, "most_t": most, "least_share": min(1.0, least / tonnes),
                    "most_share": min(1.0, most / tonnes),
                })  # fmt: skip
    columns = ["mineral", "material", "year", "country", "least_t", "most_t", "least_share", "most_share"]
    table = pd.DataFrame(records, columns=columns)
    order = {material: place for place, material in enumerate(case.materials["material"])}
    return table.sort_values(["material", "year", "most_t", "country"], ascending=[True, True, False, True],
                             key=lambda c: c.map(order) if c.name == "material" else c, ignore_index=True)  # fmt: skip
