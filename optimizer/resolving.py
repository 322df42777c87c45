"""A run solved again: the same plan with its prices, taken apart, each part warm in the solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from models.case import Case, Flags, Floats
from models.lanes import Ints
from models.layout import Layout, lay_out
from models.problems import CaseError, Problem
from models.rule_rows import RuleRow, RuleRows
from optimizer.case_limits import mineral_chains
from optimizer.engine import Limits, collection
from optimizer.formulating import refuse_large
from optimizer.limit_switches import Moved, moved_by_requirement
from optimizer.part_solver import PartSolver, Point
from optimizer.parts import Parts, cone_ties
from optimizer.program import Names, Program
from optimizer.risk_measures import risk_values
from optimizer.solving import Solved, column_units, rule_prices, solve
from optimizer.status_quo import find_status_quo, has_status_quo

# Rows that only say that what is not switched on does nothing: with the switch fixed on, they say nothing more.
SWITCHED = ("used_at_most", "counted_at_most")


@dataclass
class Resolved:
    """The optimum of a case with the prices of its linear program (whole numbers fixed where there are any).

    ``program``: without the tangents of HHI rows, which the parts keep for themselves. ``x``, ``prices``, ``reduced``:
    value and reduced cost of its columns, price of its rows (discounted USD a unit). ``rule_price``: d objective /
    d limit of each rule row.
    """

    solved: Solved
    program: Program
    unit: Floats
    x: Floats
    prices: Floats
    reduced: Floats
    rule_price: dict[int, float]
    limits: Limits
    solvers: dict[int, PartSolver] = field(default_factory=dict)
    _here: dict[int, Point] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """The layout of the plan."""
        return self.solved.layout

    @property
    def case(self) -> Case:
        """The case."""
        return self.solved.layout.case

    @property
    def rows(self) -> Sequence[RuleRow]:
        """The rule rows."""
        return self.solved.rows

    @property
    def objective_usd(self) -> float:
        """Discounted cost of the plan."""
        return float(self.program.cost @ self.x)

    @cached_property
    def parts(self) -> Parts:
        """The parts of the program."""
        fixed = [place for place, _ in self.program.names.places("unmet")]
        return Parts(self.program, [*cone_ties(self.rows), *_survive_ties(self.layout, self.rows)], fixed)

    @cached_property
    def requirement_moves(self) -> Moved:
        """Rule rows that a tonne more required moves."""
        return moved_by_requirement(self.layout, self.rows)

    @cached_property
    def row_place(self) -> dict[str, dict[Any, int]]:
        """Family -> index -> row of the program."""
        found: dict[str, dict[Any, int]] = {}
        for place, (family, index) in enumerate(self.program.rows):
            found.setdefault(family, {})[index] = place
        return found

    @cached_property
    def costs(self) -> Floats:
        """``cost_usd_per_t`` of each supplier in each year."""
        return self.case.by_year("cost_usd_per_t")

    @cached_property
    def capacities(self) -> Floats:
        """``capacity_t`` of each supplier in each year, 0 where it is not active."""
        return np.where(self.case.active, self.case.by_year("capacity_t"), 0.0)

    @cached_property
    def apart(self) -> dict[int, tuple[float, str]]:
        """Value of each provenance and survive row (each takes a program of its own), and its worst loss."""
        x = self.x[: self.layout.width]
        return risk_values(self.layout, list(self.rows), x, self.solved.survival).values

    def survives(self, label: int) -> bool:
        """Whether a part has to survive losses: there a limit counts in the responses to them too."""
        return self.solver(label).survives

    @cached_property
    def supported(self) -> Flags:
        """Whether a credit or a floor bends what buyers pay for each supplier in each year."""
        columns = (self.case.by_year(name) for name in ("credit_share", "credit_usd_per_t", "floor_usd_per_t"))
        return np.asarray(np.logical_or.reduce([np.nan_to_num(column) != 0 for column in columns]))

    def label_of(self, column: int) -> int:
        """The part of a column."""
        return int(self.parts.of_column[column])

    def solver(self, label: int) -> PartSolver:
        """A part, ready to be asked."""
        if label not in self.solvers:
            self.solvers[label] = PartSolver(
                self.layout, self.parts.part(label), self.unit, self.rows, self.solved.cuts, self.limits, self.program,
                self.solved.survive_cuts,
            )  # fmt: skip
        return self.solvers[label]

    def here(self, label: int) -> Point:
        """The optimum of a part as it stands."""
        if label not in self._here:
            solver = self.solver(label)
            x = self.x[solver.part.columns]
            self._here[label] = Point(0.0, float(solver.program.cost @ x), 0.0, x)
        return self._here[label]

    def local_rows(self, label: int, rows: Sequence[int]) -> Ints:
        """Rows of the program as rows of a part."""
        return np.searchsorted(self.solver(label).part.rows, np.asarray(rows, dtype=np.int64))

    def local_columns(self, label: int, columns: Sequence[int]) -> Ints:
        """Columns of the program as columns of a part."""
        return self.solver(label).part.place[np.asarray(columns, dtype=np.int64)]


def resolve(case: Case, say: Callable[[str], None] = lambda _: None) -> Resolved:
    """Solve a case as ``optimize`` does; raises ``CaseError`` where it has no plan any more."""
    settings = case.settings.solve
    limits = Limits(settings.seconds, settings.gap, settings.threads)
    with collection(on=False):
        premium = any(rule.kind == "budget" and rule.of == "premium" for rule in case.rules)
        quo = find_status_quo(case, limits) if premium and has_status_quo(case) else None
        layout = lay_out(case)
        rows = RuleRows(layout, quo.cost_usd_per_y() if quo is not None and quo.ok else {}).rows
        say("solving again")
        solved = solve(layout, rows, limits)
    if solved.two is not None:
        refuse_large(solved.two, "RUN", "each price")
    if not solved.has_plan or solved.solution is None or solved.solution.prices is None:
        message = f"the case of the run has no plan with prices in this version or time ({solved.status})"
        raise CaseError([Problem("RUN", message)])
    return _stripped(solved, limits)


def _survive_ties(layout: Layout, rows: Sequence[RuleRow]) -> list[Ints]:
    """The columns of each chain of minerals that a survive rule is about: its losses hold them together."""
    chain = mineral_chains(layout.case)
    of_column = np.array([chain[m] for m in layout.case.materials["mineral"]])[layout.column_material]
    named = dict.fromkeys(chain[row.mineral] for row in rows if row.kind == "survive")
    return [np.flatnonzero(of_column == name) for name in named]


def _stripped(solved: Solved, limits: Limits) -> Resolved:
    """Without the tangents, and with the switches that are on out of the way."""
    whole, solution = solved.engine.program, solved.solution
    assert solution is not None
    assert solution.prices is not None
    assert solution.reduced_costs is not None
    kept = np.array([family not in ("hhi_cut", "survive_cut") for family, _ in whole.rows], dtype=bool)
    places = np.flatnonzero(kept)
    program = replace(
        whole, matrix=whole.matrix[places], row_lower=whole.row_lower[places].copy(),
        row_upper=whole.row_upper[places].copy(), rows=_named(whole.rows, places),
    )  # fmt: skip
    program.matrix.sort_indices()
    if solved.whole_numbers:
        _switch_off(program)
    return Resolved(
        solved, program, column_units(program, solved.layout, np.arange(solved.layout.width)), solution.x,
        solution.prices[places], solution.reduced_costs, rule_prices(solved, solution), replace(limits, gap=0.0),
    )  # fmt: skip


def _named(names: Names, places: Ints) -> Names:
    """The names of some places, in blocks."""
    blocks = []
    for start, (family, indices) in zip(names.starts, names.blocks, strict=False):
        inside = places[(places >= start) & (places < start + len(indices))] - start
        if len(inside) == len(indices):
            blocks.append((family, indices))
        elif len(inside):
            blocks.append((family, [indices[i] for i in inside.tolist()]))
    return Names(blocks)


def _switch_off(program: Program) -> None:
    """Let go of the big-M rows whose switch is on."""
    matrix = program.matrix.tocsr()
    for family in SWITCHED:
        for place, _ in program.rows.places(family):
            part = slice(matrix.indptr[place], matrix.indptr[place + 1])
            columns, values = matrix.indices[part], matrix.data[part]
            on = (values < 0) & (program.lower[columns] >= 0.5)
            if on.any():
                program.row_upper[place] = np.inf
