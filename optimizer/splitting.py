"""A case cut into parts that share no row and no rule: each is solved by itself, and their costs add up.

A chain of minerals in a year shares nothing with another year or chain unless a rule or a link over the years
ties them. What is asked of the whole (a trade-off, the room within a slack) is then asked of each part: many
small programs instead of one large one, and every kink of a curve has its chain and year.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.case import Floats
from models.lanes import Ints
from models.layout import Layout
from models.rule_rows import RuleRow
from models.rules import LINEAR
from optimizer import parts
from optimizer.program import Program

# Rules whose columns are known from their rows of the program, or from the row's groups; others hold by cuts that
# may reach anywhere, so that a program with one is a part of its own.
KNOWN = frozenset((*LINEAR, "hhi", "suppliers"))


@dataclass(frozen=True)
class Part:
    """Some columns and rows of a program.

    ``columns``: their numbers in the whole. ``place``: layout column -> column of this part, -1 where it has none.
    ``rules``: rule rows that hold in it, by their number in the whole. ``unit``: size of a scaled unit of each column.
    """

    program: Program
    columns: Ints
    place: Ints
    rules: tuple[int, ...]
    unit: Floats

    def years(self, layout: Layout) -> list[int]:
        """The horizon years of its columns."""
        own = np.flatnonzero(self.place >= 0)
        return [layout.case.years[at] for at in np.unique(layout.column_year[own]).tolist()]

    def minerals(self, layout: Layout) -> list[str]:
        """The minerals of its columns, in the order of the case."""
        own = np.flatnonzero(self.place >= 0)
        inside = set(np.unique(layout.column_material[own]).tolist())
        names = layout.case.materials["mineral"].tolist()
        return list(dict.fromkeys(name for code, name in enumerate(names) if code in inside))


def split(program: Program, layout: Layout, rows: Sequence[RuleRow], unit: Floats) -> list[Part]:
    """The parts of a program, each with at least one row or cost; one part where a rule may tie everything."""
    width = program.matrix.shape[1]
    ties = parts.cone_ties(rows)
    one = any(row.kind not in KNOWN for row in rows)
    if one:
        ties.append(np.arange(width))
    found = parts.Parts(program, ties, fixed=[layout.width])  # ``unmet``: what rows without any column hold on to
    rules: dict[int, list[int]] = {}
    if one:
        rules[int(found.of_column[0])] = list(range(len(rows)))
    for number, row in enumerate([] if one else rows):
        reached = [terms.columns for _, terms, _ in row.groups] + [row.base.columns]
        if row.kind not in LINEAR and any(map(len, reached)):
            rules.setdefault(int(found.of_column[np.concatenate(reached)[0]]), []).append(number)
    for family in ("rule_row", "supplier_count"):
        for place, number in [] if one else program.rows.places(family):
            listed = rules.setdefault(int(found.of_row[place]), [])
            if number not in listed:
                listed.append(number)
    made = []
    worth = np.bincount(found.of_column, weights=program.cost != 0, minlength=found.count)
    height = np.bincount(found.of_row, minlength=found.count)
    for label in np.flatnonzero((worth > 0) | (height > 0)).tolist():
        part = found.part(label)
        numbers = tuple(sorted(rules.get(label, ())))
        made.append(Part(part.program, part.columns, part.place[: layout.width], numbers, unit[part.columns]))
    return made
