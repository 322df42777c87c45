"""Every number of a program as a function of the inputs that move: products of their changes, proved by compiling.

All numbers of a program (costs, bounds, limits, coefficients, and what HHI cones measure) stand in one vector v.
Each input enters affinely, several inputs that meet in one number as a product, so

    v(inputs) = v0 + sum over sets S of inputs that meet of (product over S of input - nominal) * D_S

with D_S from compiling at one further value of each input in S and subtracting (inclusion and exclusion). Two points
at which every input moves are compiled as well and must come out as predicted; where they do not, there is no patch,
and the reason is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod

import numpy as np
from scipy import sparse

from models.case import Floats
from models.lanes import Ints
from models.rule_rows import RuleRow
from optimizer.program import Program

SECTIONS = ("cost", "lower", "upper", "row_lower", "row_upper")
NOISE = 1e-13  # a relative difference below this is rounding
CLOSE = 1e-10  # how near, relatively, a predicted number must come
MEETING = 3  # most inputs that may meet in one number


class NotPatched(Exception):  # noqa: N818  # not an error: the points are rebuilt instead
    """Why the numbers of a program cannot be predicted."""


@dataclass(frozen=True)
class Compiled:
    """One compiled point: its program and its rule rows."""

    program: Program
    rows: Sequence[RuleRow]


@dataclass(frozen=True)
class Term:
    """How far the entries move for each unit of the product of these inputs' changes."""

    inputs: tuple[str, ...]
    entries: Ints
    values: Floats


class Shape:
    """What all points have in common: names, the pattern of the matrix, the HHI rows; and the way to the vector v."""

    def __init__(self, points: Sequence[Compiled]) -> None:
        first = points[0]
        self.rows, self.names = first.program.rows, first.program.names
        self.cones = [number for number, row in enumerate(first.rows) if row.kind == "hhi"]
        for point in points:
            self._same(first, point)
        self.height = first.program.matrix.shape[0]
        self.keys = np.unique(np.concatenate([self._places(point.program) for point in points]))
        sizes = [len(getattr(first.program, name)) for name in SECTIONS] + [len(self.keys)]
        sizes.append(sum(2 + len(first.rows[number].groups) for number in self.cones))
        ends = np.cumsum([0, *sizes])
        self.sections = {
            name: slice(int(start), int(end))
            for name, start, end in zip((*SECTIONS, "entries", "cones"), ends, ends[1:], strict=False)
        }
        self.length = int(ends[-1])

    def _same(self, first: Compiled, other: Compiled) -> None:
        one, two = first.program, other.program
        if one.matrix.shape != two.matrix.shape or (one.integer != two.integer).any():
            raise NotPatched("it changes which decisions or rules there are")
        if len(first.rows) != len(other.rows) or any(a.key != b.key for a, b in zip(first.rows, other.rows,
                                                                                     strict=False)):  # fmt: skip
            raise NotPatched("it changes which rules hold, and for whom")
        for number in self.cones:
            if len(first.rows[number].groups) != len(other.rows[number].groups):
                raise NotPatched("it changes who counts in an HHI")

    def _places(self, program: Program) -> Ints:
        matrix = program.matrix
        column = np.repeat(np.arange(matrix.shape[1], dtype=np.int64), np.diff(matrix.indptr))
        return column * matrix.shape[0] + matrix.indices

    def vector(self, point: Compiled) -> Floats:
        """All numbers of a point; shape (length,)."""
        program = point.program
        v = np.zeros(self.length)
        for name in SECTIONS:
            v[self.sections[name]] = getattr(program, name)
        entries = v[self.sections["entries"]]
        entries[np.searchsorted(self.keys, self._places(program))] = program.matrix.data
        numbers = []
        for number in self.cones:
            row = point.rows[number]
            numbers += [row.limit, row.base.constant, *(weight for _, _, weight in row.groups)]
        v[self.sections["cones"]] = numbers
        return v

    def program(self, v: Floats, like: Program) -> Program:
        """The program with the numbers v."""
        column, row = np.divmod(self.keys, self.height)
        width = like.matrix.shape[1]
        starts = np.searchsorted(column, np.arange(width + 1))
        matrix = sparse.csc_array((v[self.sections["entries"]].copy(), row, starts), shape=(self.height, width))
        cost, lower, upper, row_lower, row_upper = (v[self.sections[name]].copy() for name in SECTIONS)
        return replace(like, matrix=matrix, cost=cost, lower=lower, upper=upper, row_lower=row_lower,
                       row_upper=row_upper)  # fmt: skip

    def rule_rows(self, v: Floats, rows: Sequence[RuleRow]) -> list[RuleRow]:
        """The rule rows with what HHI cones measure at v."""
        made, numbers, at = list(rows), v[self.sections["cones"]], 0
        for number in self.cones:
            row = made[number]
            weights = numbers[at + 2 : at + 2 + len(row.groups)].tolist()
            groups = tuple((name, terms, w) for (name, terms, _), w in zip(row.groups, weights, strict=True))
            base = replace(row.base, constant=float(numbers[at + 1]))
            made[number] = replace(row, limit=float(numbers[at]), base=base, groups=groups)
            at += 2 + len(row.groups)
        return made


def _farther(ends: tuple[float, float], nominal: float) -> float:
    """The end that is farther from the nominal value."""
    return max(ends, key=lambda end: abs(end - nominal))


class Patches:
    """The numbers of a program as a function of its inputs; raises ``NotPatched`` where they are not predictable.

    ``nominal``: input -> its value in the case itself. ``ends``: input -> (lowest, highest). ``compiled``: compiles
    the program with these inputs set (the others at their nominal value).
    """

    def __init__(
        self, nominal: Mapping[str, float], ends: Mapping[str, tuple[float, float]],
        compiled: Callable[[Mapping[str, float]], Compiled],
    ) -> None:  # fmt: skip
        self.nominal = dict(nominal)
        self.base = compiled({})
        probe = {key: _farther(pair, self.nominal[key]) for key, pair in ends.items()}
        moving = [key for key in probe if probe[key] != self.nominal[key]]
        singles = {key: compiled({key: probe[key]}) for key in moving}
        self.shape = Shape([self.base, *singles.values()])
        self.v0 = self.shape.vector(self.base)
        steps = {key: probe[key] - self.nominal[key] for key in moving}
        known: dict[tuple[str, ...], Floats] = {
            (key,): self._difference(key, self.shape.vector(point), self.v0) for key, point in singles.items()
        }
        touched = {key: np.flatnonzero(difference) for (key,), difference in known.items()}
        for size in range(2, MEETING + 1):
            for group in combinations(moving, size):
                if any(part not in known for part in combinations(group, size - 1)):
                    continue
                met = touched[group[0]]
                for key in group[1:]:
                    met = np.intersect1d(met, touched[key], assume_unique=True)
                if len(met):
                    together = self.shape.vector(compiled({key: probe[key] for key in group}))
                    predicted = self.v0.copy()
                    for part in (part for s in range(1, size) for part in combinations(group, s)):
                        predicted += known.get(part, 0.0)
                    known[group] = self._difference(" with ".join(group), together, predicted)
        self.terms = [
            Term(group, entries, difference[entries] / prod(steps[key] for key in group))
            for group, difference in known.items() if len(entries := np.flatnonzero(difference))
        ]  # fmt: skip
        place_of = {key: place for place, key in enumerate(self.nominal)}
        self._factors = np.full((len(self.terms), MEETING), len(self.nominal), dtype=np.int64)  # padded: times 1
        for row, term in enumerate(self.terms):
            self._factors[row, : len(term.inputs)] = [place_of[key] for key in term.inputs]
        every = [term.entries for term in self.terms] or [np.zeros(0, dtype=np.int64)]
        self.entries = np.unique(np.concatenate(every))
        edges = {name: np.searchsorted(self.entries, [s.start, s.stop]) for name, s in self.shape.sections.items()}
        # section -> which of ``entries`` lie in it, and where they lie there
        self.parts = {
            name: (slice(int(a), int(b)), self.entries[a:b] - self.shape.sections[name].start)
            for name, (a, b) in edges.items() if b > a
        }  # fmt: skip
        place = [np.searchsorted(self.entries, term.entries) for term in self.terms]
        self.directions = sparse.csr_array(
            (np.concatenate([term.values for term in self.terms] or [np.zeros(0)]),
             (np.concatenate([*place, np.zeros(0, dtype=np.int64)]),
              np.repeat(np.arange(len(self.terms)), [len(term.entries) for term in self.terms]))),
            shape=(len(self.entries), len(self.terms)),
        )  # fmt: skip
        self._prove(ends, moving, compiled)

    def _difference(self, key: str, there: Floats, predicted: Floats) -> Floats:
        """What is there beyond what was predicted, without rounding; 0 where both are infinite."""
        if (np.isinf(there) != np.isinf(self.v0)).any():
            raise NotPatched(f"{key} makes a limit come and go")
        finite = np.isfinite(there)
        difference = np.zeros(len(there))
        difference[finite] = there[finite] - predicted[finite]
        size = np.maximum(np.abs(there), np.abs(self.v0))
        difference[np.abs(difference) <= NOISE * np.where(finite, size, 0.0)] = 0.0
        return difference

    def _prove(
        self, ends: Mapping[str, tuple[float, float]], moving: Sequence[str],
        compiled: Callable[[Mapping[str, float]], Compiled],
    ) -> None:  # fmt: skip
        """Compile at two points at which every input moves, and compare; then find which input is to blame."""
        if not moving:
            return
        random = np.random.default_rng(20261128)
        inside = {key: ends[key][0] + float(random.uniform(0.2, 0.8)) * (ends[key][1] - ends[key][0]) for key in moving}
        other = {key: next(end for end in reversed(ends[key]) if end != self.nominal[key]) for key in moving}
        if all(self._agrees(point, compiled(point)) for point in (inside, other)):
            return
        for key in moving:
            if not self._agrees({key: inside[key]}, compiled({key: inside[key]})):
                raise NotPatched(f"{key} does not enter the program affinely")
        raise NotPatched(f"more than {MEETING} inputs meet in one number, or not as a product: {', '.join(moving)}")

    def _agrees(self, inputs: Mapping[str, float], there: Compiled) -> bool:
        self.shape._same(self.base, there)
        if len(np.setdiff1d(self.shape._places(there.program), self.shape.keys)):
            return False
        known, predicted = self.shape.vector(there), self.v0.copy()
        predicted[self.entries] = self.values(inputs)
        finite = np.isfinite(known)
        if (known[~finite] != predicted[~finite]).any():
            return False
        room = CLOSE * np.maximum(np.abs(known[finite]), np.abs(self.v0[finite]))
        return bool((np.abs(known[finite] - predicted[finite]) <= room).all())

    def products(self, inputs: Mapping[str, float]) -> Floats:
        """The product of changes of each term; shape (terms,)."""
        moved = np.ones(len(self.nominal) + 1)
        for place, (key, nominal) in enumerate(self.nominal.items()):
            moved[place] = float(inputs.get(key, nominal)) - nominal
        return np.asarray(moved[self._factors].prod(axis=1))

    def values(self, inputs: Mapping[str, float]) -> Floats:
        """The numbers at ``entries`` for these inputs; those not named are at their nominal value."""
        return np.asarray(self.v0[self.entries] + self.directions @ self.products(inputs))

    def gradient(self, inputs: Mapping[str, float], worth: Floats) -> dict[str, float]:
        """d objective / d input, from d objective / d number of each of ``entries``."""
        moved = {key: float(value) - self.nominal[key] for key, value in inputs.items()}
        each = np.asarray(self.directions.T @ worth, dtype=float)
        found = dict.fromkeys(inputs, 0.0)
        for term, value in zip(self.terms, each, strict=True):
            for key in term.inputs:
                if key in found:
                    others = [moved.get(other, 0.0) for other in term.inputs if other != key]
                    found[key] += float(value) * float(np.prod(others))
        return found
