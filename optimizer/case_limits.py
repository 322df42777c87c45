"""Every limit of a case that could give way, as switches on the columns of one program.

A limit holds while its switches are at their bounds, and is gone where they are let loose; the program itself stays
the same, so that thousands of questions can be asked of it. ``optimizer.limit_switches`` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.case import Case, Floats
from models.layout import Layout
from models.rule_rows import RuleRow
from models.rules import rule_terms
from optimizer.program import Program

Switch = tuple[int, float, float]  # column, its upper bound while the limit holds, and without it


@dataclass(frozen=True, eq=False)
class CaseLimit:
    """One limit of the case: a row of a rule, a requirement, a capacity, a pool, a minimum, a lane.

    ``kind``: of a rule its kind; else what else it may be: a lot or closing stock (minimums); what can be expanded,
    be in stock, be put into it or drawn from it in a year (capacities). ``switches`` hold it or let it go.
    ``reach``: the columns by which it gives way, as little as possible; its value at a point is ``start`` plus their
    sum with these signs. ``number``: the rule row, -1 for what is no rule. ``across``: not of one year alone.
    ``direct``: its switch is the quantity itself, and not a way past its limit.
    """

    what: str
    name: str
    mineral: str
    material: str
    year: int
    limit: float
    switches: tuple[Switch, ...]
    reach: tuple[tuple[int, float], ...]
    start: float = 0.0
    kind: str = ""
    bound: str = ""
    member: str = ""
    denominator: str = ""
    number: int = -1
    across: bool = False
    direct: bool = False

    def item(self) -> dict[str, Any]:
        """The limit as ``conflict`` and ``repair`` name it (contract 4.1)."""
        found = {
            "what": self.what, "name": self.name, "mineral": self.mineral, "year": self.year, "limit": self.limit,
            "material": self.material,
        }  # fmt: skip
        if self.what == "rule":
            found |= {"kind": self.kind, "bound": self.bound, "member": self.member, "denominator": self.denominator}
        elif self.kind:
            found["kind"] = self.kind
        return found

    @property
    def order(self) -> tuple[Any, ...]:
        """By mineral and year; rules first, then demand and what supply lacks."""
        return self.mineral, self.year, *self.rank

    @property
    def rank(self) -> tuple[Any, ...]:
        """Within a set: rules first, then demand and what supply lacks."""
        first = {"rule": 0, "demand": 1, "minimum": 2, "capacity": 3, "feedstock": 4, "lane": 5}
        return (
            first[self.what],
            self.kind if self.what != "rule" else "",
            self.name,
            self.material,
            self.member,
            self.bound,
        )


@dataclass
class CaseProgram:
    """The program of a case in which every limit has its switches; at first all hold.

    ``rows``: the rule rows over its columns (a requirement that gives way moves their denominators with it).
    ``slack``: the column that lets each HHI row through. ``width``: columns of the case itself, before the switches.
    """

    layout: Layout
    rows: Sequence[RuleRow]
    program: Program
    unit: Floats
    limits: list[CaseLimit]
    slack: Mapping[int, int]
    width: int

    def varies(self, number: int) -> bool:
        """Whether the denominator of a rule row varies though every requirement stays."""
        return bool((self.rows[number].base.columns < self.width).any())


def set_limit(program: Program, place: int, old: RuleRow, new: RuleRow) -> None:
    """Put a linear rule row of a program of one's own at another limit: its denominator's coefficients, right side."""
    matrix, before, after = program.matrix, rule_terms(old), rule_terms(new)
    for terms, sign in ((before, -1.0), (after, 1.0)):
        for column, value in zip(terms.columns.tolist(), terms.coefficients.tolist(), strict=True):
            if column >= 0 and value:
                start, end = matrix.indptr[column], matrix.indptr[column + 1]
                matrix.data[start + int(np.searchsorted(matrix.indices[start:end], place))] += sign * value
    (program.row_upper if new.bound == "max" else program.row_lower)[place] = -after.constant


def mineral_chains(case: Case) -> dict[str, str]:
    """Mineral -> a name for all minerals that suppliers link it with."""
    group = {str(mineral): str(mineral) for mineral in case.materials["mineral"]}
    of_mineral = case.materials["mineral"]
    table, seconds = case.suppliers, case.tables["byproducts"]
    makes = table.set_index("supplier")["mineral"]
    links = [(of_mineral[used], made) for used, made in zip(table["input"], table["mineral"], strict=True) if used]
    links += list(zip(seconds["supplier"].map(makes), seconds["material"].map(of_mineral), strict=True))
    for one, other in links:
        if group[one] != group[other]:
            merged = group[other]
            group = {mineral: group[one] if at == merged else at for mineral, at in group.items()}
    return group
