"""A linear program as arrays: what the engine solves, with the model's name of every row and column."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from models.case import Flags, Floats
from models.lanes import Ints

Name = tuple[str, Any]


class Names(Sequence[Name]):
    """(family, index) of each row or column, kept as one block of indices for each run of a family.

    A million names as tuples would take longer to make than the program takes to stamp. An index is a number, or
    (from a block of several columns) a tuple of numbers.
    """

    def __init__(self, blocks: Sequence[tuple[str, Any]] = ()) -> None:
        self.blocks = [(family, indices) for family, indices in blocks if len(indices)]
        ends = np.cumsum([len(indices) for _, indices in self.blocks])
        self.starts: list[int] = [0, *(int(end) for end in ends)]

    @classmethod
    def of(cls, listed: Sequence[Name]) -> Names:
        """Names given one by one."""
        blocks: list[tuple[str, list[Any]]] = []
        for family, index in listed:
            if not blocks or blocks[-1][0] != family:
                blocks.append((family, []))
            blocks[-1][1].append(index)
        return cls(blocks)

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        place = int(place) % len(self)
        block = bisect_right(self.starts, place) - 1
        family, indices = self.blocks[block]
        return family, _plain(indices[place - self.starts[block]])

    def __iter__(self) -> Iterator[Name]:
        for family, indices in self.blocks:
            for index in indices.tolist() if isinstance(indices, np.ndarray) else indices:
                yield family, tuple(index) if isinstance(index, list) else index

    def __add__(self, other: Names) -> Names:
        return Names([*self.blocks, *other.blocks])

    def places(self, family: str) -> Iterator[tuple[int, Any]]:
        """(place, index) of every name of a family."""
        for start, (name, indices) in zip(self.starts, self.blocks, strict=False):
            if name == family:
                for place, index in enumerate(indices, start):
                    yield place, _plain(index)


def _plain(index: Any) -> Any:
    """An index as Python has it: a number, or a tuple of numbers."""
    if isinstance(index, np.ndarray):
        return tuple(index.tolist())
    return index.item() if isinstance(index, np.integer) else index


@dataclass(frozen=True)
class Program:
    """min c x, row_lower <= A x <= row_upper, lower <= x <= upper; some x whole numbers.

    ``rows`` and ``names`` say which family and entry of the model each row and column is.
    """

    matrix: sparse.csc_array
    row_lower: Floats
    row_upper: Floats
    cost: Floats
    lower: Floats
    upper: Floats
    integer: Flags
    rows: Names
    names: Names

    def with_rows(self, terms: Sequence[tuple[Ints, Floats]], upper: Sequence[float], names: Sequence[Name]) -> Program:
        """The program with rows ``terms <= upper`` added at the end."""
        if not terms:
            return self
        lengths = [len(columns) for columns, _ in terms]
        added = sparse.csr_array(
            (np.concatenate([v for _, v in terms]), np.concatenate([c for c, _ in terms]),
             np.concatenate([[0], np.cumsum(lengths)])), shape=(len(terms), self.matrix.shape[1]),
        )  # fmt: skip
        matrix = sparse.csc_array(sparse.vstack([self.matrix, added]))
        matrix.sort_indices()
        return replace(
            self,
            matrix=matrix,
            row_lower=np.concatenate([self.row_lower, np.full(len(terms), -np.inf)]),
            row_upper=np.concatenate([self.row_upper, np.asarray(upper, dtype=float)]),
            rows=self.rows + Names.of(names),
        )
