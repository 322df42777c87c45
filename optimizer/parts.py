"""A program taken apart: rows and columns that share nothing with the rest are a part that can be solved by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from models.case import Floats
from models.lanes import Ints
from models.rule_rows import RuleRow
from optimizer.program import Names, Program


@dataclass(frozen=True)
class Part:
    """One part: its program, and which rows and columns of the whole these are.

    ``place``: column of the part for each column of the whole, -1 elsewhere.
    """

    program: Program
    rows: Ints
    columns: Ints
    place: Ints

    def spread(self, x: Floats) -> Floats:
        """Values of the part as values of the whole, 0 elsewhere."""
        found = np.zeros(len(self.place))
        found[self.columns] = x
        return found


class Parts:
    """The parts of a program; ``of_column`` and ``of_row`` say in which part each lies.

    ``ties``: columns that belong together though no row says so (the groups of an HHI row). Columns fixed at 0 tie
    nothing.
    """

    def __init__(self, program: Program, ties: Iterable[Ints] = (), fixed: Sequence[int] = ()) -> None:
        self.program = program
        height, width = program.matrix.shape
        coo = program.matrix.tocoo()
        binds = np.ones(width, dtype=bool)
        binds[list(fixed)] = False
        kept = binds[coo.col]
        ends = [(coo.row[kept].astype(np.int64), height + coo.col[kept].astype(np.int64))]
        ends += [(np.full(len(tie), height + tie[0]), height + tie) for tie in ties if len(tie)]
        left, right = (np.concatenate([pair[i] for pair in ends]) for i in range(2))
        graph = sparse.coo_array((np.ones(len(left)), (left, right)), shape=(height + width, height + width))
        self.count, label = connected_components(graph, directed=False)
        self.of_row, self.of_column = label[:height], label[height:]
        self.by_row = program.matrix.tocsr()

    def part(self, *labels: int) -> Part:
        """The part of a label (or of several together), with every column that its rows name."""
        program = self.program
        rows = np.flatnonzero(np.isin(self.of_row, labels))
        own = np.isin(self.of_column, labels)
        by_row = self.by_row[rows]
        own[by_row.indices] = True  # with the columns fixed at 0 that its rows hold on to
        columns = np.flatnonzero(own)
        matrix = sparse.csc_array(by_row[:, columns])
        matrix.sort_indices()
        place = np.full(len(own), -1, dtype=np.int64)
        place[columns] = np.arange(len(columns))
        return Part(
            Program(
                matrix, program.row_lower[rows], program.row_upper[rows], program.cost[columns],
                program.lower[columns], program.upper[columns], program.integer[columns],
                Names.of([program.rows[row] for row in rows.tolist()]),
                Names.of([program.names[column] for column in columns.tolist()]),
            ),
            rows, columns, place,
        )  # fmt: skip


def cone_ties(rows: Sequence[RuleRow], slack: Mapping[int, int] | None = None) -> list[Ints]:
    """The columns that each HHI row holds together; ``slack``: the column that lets each of them through, if any."""
    return [
        np.concatenate([
            *(terms.columns for _, terms, _ in row.groups), row.base.columns,
            np.array([slack[number]] if slack else [], dtype=np.int64),
        ])
        for number, row in enumerate(rows) if row.kind == "hhi"
    ]  # fmt: skip
