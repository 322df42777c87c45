"""Which points a sweep solves: grids and lists from --vary, samples over ranges; made block by block."""

from __future__ import annotations

import math
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from models.case import Case, Floats
from models.problems import CaseError, Problem

METHODS = ("sobol", "latin")
MOST = 10_000_000  # points in one sweep: more is a typing error
_VARY = re.compile(r"(?P<key>[A-Za-z0-9_.-]+?(\[[^\]]*\])?(\.[A-Za-z0-9_]+)?[*+]?)\s*=(?P<values>[^=]*)")
_RANGE = re.compile(r"(?P<low>[^/]+?)\.\.(?P<high>[^/]+?)(/(?P<count>[^/]+))?")


@dataclass(frozen=True)
class Vary:
    """One input that moves: listed values, or a range from ``low`` to ``high`` to draw from (``values`` empty)."""

    key: str
    low: float
    high: float
    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, key: str, how: Any) -> Vary:
        """From what Python gives: (low, high) is a range, (low, high, N) a whole number N of points, a list values."""
        if isinstance(how, tuple) and len(how) == 2:
            return cls._range(key, _finite(how[0], key), _finite(how[1], key), f"{how[0]}..{how[1]}")
        if isinstance(how, tuple) and len(how) == 3 and isinstance(how[2], int):
            low, high = _finite(how[0], key), _finite(how[1], key)
            return cls._grid(key, low, high, how[2], f"{low:g}..{high:g}/{how[2]}")
        if isinstance(how, (str, bytes)) or not isinstance(how, Sequence | np.ndarray):
            message = "give (low, high), (low, high, number of points) or a list of values"
            raise CaseError([Problem("vary", message, None, key, str(how))])
        return cls._list(key, [_finite(value, key) for value in how])

    @classmethod
    def parse(cls, text: str) -> Vary:
        """``KEY=A..B/N``, ``KEY=a,b,c`` or ``KEY=A..B``; KEY as in --set, with * for factors and + for additions."""
        match = _VARY.fullmatch(text.strip())
        if match is None or not match["values"].strip():
            raise _wrong("write KEY=A..B/N, KEY=a,b,c, or KEY=A..B with --sample", text)
        key, values = match["key"], match["values"].strip()
        bounds = _RANGE.fullmatch(values)
        if bounds is None:
            return cls._list(key, [_number(part, text) for part in values.split(",")])
        low, high = _number(bounds["low"], text), _number(bounds["high"], text)
        if bounds["count"] is None:
            return cls._range(key, low, high, text)
        if not re.fullmatch(r"\d{1,8}", bounds["count"].strip()):
            raise _wrong("N in A..B/N is a whole number of points, 2 or more", text)
        return cls._grid(key, low, high, int(bounds["count"]), text)

    @classmethod
    def _range(cls, key: str, low: float, high: float, text: str) -> Vary:
        if not low < high:
            raise _wrong("A..B goes upwards: B must be above A", text)
        return cls(key, low, high)

    @classmethod
    def _grid(cls, key: str, low: float, high: float, count: int, text: str) -> Vary:
        if not 2 <= count <= MOST:
            raise _wrong("N in A..B/N is a whole number of points, 2 or more", text)
        if low == high:
            raise _wrong("A and B are the same: one value is KEY=A", text)
        first, last = Fraction(repr(low)), Fraction(repr(high))  # so that 0.2..1/9 has 0.3, not 0.30000000000000004
        steps = range(count)
        return cls(
            key,
            min(low, high),
            max(low, high),
            tuple(float(first + (last - first) * step / (count - 1)) for step in steps),
        )

    @classmethod
    def _list(cls, key: str, values: Sequence[float]) -> Vary:
        if not values:
            raise _wrong("no values are listed", key)
        return cls(key, min(values), max(values), tuple(values))

    def as_json(self) -> dict[str, Any]:
        """What ``from_json`` reads."""
        return {"key": self.key, "low": self.low, "high": self.high, "values": list(self.values)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Vary:
        """One input as written by ``as_json``."""
        return cls(str(given["key"]), float(given["low"]), float(given["high"]), tuple(map(float, given["values"])))


def _wrong(message: str, text: str) -> CaseError:
    return CaseError([Problem("--vary", message, value=text)])


def _number(text: str, whole: str) -> float:
    """A finite number; 30% is 0.3."""
    part = text.strip()
    try:
        value = float(part[:-1]) / 100 if part.endswith("%") else float(part)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _wrong(f"{part!r} is not a number", whole)
    return value


def _finite(value: Any, key: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise CaseError([Problem("vary", "must be a number", None, key, str(value))])
    return number


def uncertain(case: Case, vary: Sequence[Vary]) -> list[Vary]:
    """The ranges to draw from: assumptions.csv, then ``vary``, which adds or replaces.

    Raises ``CaseError`` where there is none.
    """
    table = case.tables["assumptions"]
    found = {
        str(key): Vary(str(key), float(low), float(high))
        for key, low, high in zip(table["key"], table["low"], table["high"], strict=True) if low < high
    }  # fmt: skip
    for item in vary:
        if item.values:
            message = "a sample draws from a range: KEY=A..B without /N or a list"
            raise CaseError([Problem("--vary", message, value=item.key)])
        found[item.key] = item
    if not found:
        message = "nothing is uncertain: give --vary KEY=A..B, or rows of tables/assumptions.csv"
        raise CaseError([Problem("--sample", message, value=case.name)])
    return list(found.values())


def check_unique(vary: Sequence[Vary]) -> None:
    """Each input once."""
    keys = [item.key for item in vary]
    twice = [Problem("--vary", "is varied twice", value=key) for key in dict.fromkeys(keys) if keys.count(key) > 1]
    if twice:
        raise CaseError(twice)


class Points(ABC):
    """Points by number. ``vary``: the inputs that move, in the order of a point's values."""

    vary: tuple[Vary, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The inputs."""
        return tuple(item.key for item in self.vary)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each input."""
        return {item.key: (item.low, item.high) for item in self.vary}

    @abstractmethod
    def __len__(self) -> int:
        """How many points."""

    @abstractmethod
    def rows(self, start: int, stop: int) -> Floats:
        """Values of points ``start`` to ``stop``; shape (points, inputs), nan = as the case has it."""


@dataclass(frozen=True)
class Grid(Points):
    """Every combination of the listed values; the last input moves fastest."""

    vary: tuple[Vary, ...]

    def __post_init__(self) -> None:
        if len(self) > MOST:
            raise CaseError([Problem("--vary", f"the grid has {len(self):,} points: at most {MOST:,}")])

    def __len__(self) -> int:
        """The product of the lengths of the lists."""
        return math.prod(len(item.values) for item in self.vary)

    def rows(self, start: int, stop: int) -> Floats:
        """Values of points ``start`` to ``stop``; shape (points, inputs)."""
        sizes = [len(item.values) for item in self.vary]
        places = np.unravel_index(np.arange(start, stop), sizes)
        return np.stack([np.array(item.values)[at] for item, at in zip(self.vary, places, strict=True)], axis=1)


@dataclass(frozen=True)
class Sample(Points):
    """Points drawn uniformly and independently over ranges, by a scrambled Sobol sequence or a Latin hypercube.

    ``size`` points; the same ``seed`` gives the same points. Of a Sobol sequence a longer sample begins with the
    shorter one; a Latin hypercube is laid out for its size and is held in memory as a whole.
    """

    vary: tuple[Vary, ...]
    size: int
    method: str = "sobol"
    seed: int = 0
    _made: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise CaseError([Problem("--method", f"one of {', '.join(METHODS)}", value=self.method)])
        if not 1 <= self.size <= MOST:
            raise CaseError([Problem("--sample", f"a whole number from 1 to {MOST:,}", value=str(self.size))])

    def __len__(self) -> int:
        """The size of the sample."""
        return self.size

    def rows(self, start: int, stop: int) -> Floats:
        """Values of points ``start`` to ``stop``; shape (points, inputs)."""
        low, high = (np.array([getattr(item, end) for item in self.vary]) for end in ("low", "high"))
        unit = self._sobol(start, stop) if self.method == "sobol" else self._latin()[start:stop]
        found: Floats = np.minimum(low + unit * (high - low), high)
        return found

    def _latin(self) -> Floats:
        if "latin" not in self._made:
            from scipy.stats import qmc

            self._made["latin"] = qmc.LatinHypercube(len(self.vary), **seeded(self.seed)).random(self.size)
        return np.asarray(self._made["latin"])

    def _sobol(self, start: int, stop: int) -> Floats:
        """The sequence goes on from where it stands; going back starts it anew."""
        from scipy.stats import qmc

        at = self._made.get("at", -1)
        if at < 0 or at > start:
            self._made["engine"], at = qmc.Sobol(len(self.vary), **seeded(self.seed)), 0
        engine = self._made["engine"]
        if start > at:
            engine.fast_forward(start - at)
        self._made["at"] = stop
        with warnings.catch_warnings():  # it would rather have 2^n points; how many is the planner's choice
            warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
            found: Floats = engine.random(stop - start)
        return found


@dataclass(frozen=True)
class Design(Points):
    """The points of a sensitivity analysis.

    Point 0 is the case itself. Then the tornado: each input at its low, then at its high, all others as the case has
    them. Then, for Sobol indices, base samples A and B of ``size`` points each (the first and the second half of the
    columns of one scrambled Sobol sequence), and for each input a copy of A with that input's column from B.
    ``size`` is rounded up to a power of two, which the balance of the sequence needs; 0 leaves these out.
    """

    vary: tuple[Vary, ...]
    asked: int
    seed: int = 0
    _made: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.asked == 1 or not 0 <= self.asked <= MOST:
            message = f"a whole number from 2 to {MOST:,}, or 0 for the tornado alone"
            raise CaseError([Problem("--sample", message, value=str(self.asked))])

    @property
    def size(self) -> int:
        """Points in each base sample."""
        return 1 << (self.asked - 1).bit_length() if self.asked else 0

    @property
    def tornado_stop(self) -> int:
        """The number after the last point of the tornado."""
        return 1 + 2 * len(self.vary)

    @property
    def base_stop(self) -> int:
        """The number after the last point of the base samples."""
        return self.tornado_stop + 2 * self.size

    @property
    def words(self) -> str:
        """How many points are solved, said beforehand."""
        count = len(self.vary)
        tornado = f"the case and 2 x {count} for the tornado"
        rounded = f" ({self.asked} rounded up to a power of two)" if self.size != self.asked else ""
        sobol = f", {self.size} x ({count} + 2) for the Sobol indices{rounded}" if self.size else ""
        return f"{len(self):,} points to solve: {tornado}{sobol}"

    def __len__(self) -> int:
        """N (inputs + 2) + 2 inputs + 1."""
        return self.base_stop + len(self.vary) * self.size

    def rows(self, start: int, stop: int) -> Floats:
        """Values of points ``start`` to ``stop``; shape (points, inputs)."""
        count = len(self.vary)
        low, high = (np.array([getattr(item, end) for item in self.vary]) for end in ("low", "high"))
        found = np.full((stop - start, count), np.nan)
        for place, number in enumerate(range(start, stop)):
            if 0 < number < self.tornado_stop:
                moved, end = divmod(number - 1, 2)
                found[place, moved] = (low, high)[end][moved]
            elif number >= self.tornado_stop:
                sample, at = divmod(number - self.tornado_stop, self.size)
                row = self._base()[at]
                unit = row[count:] if sample == 1 else row[:count].copy()
                if sample > 1:
                    unit[sample - 2] = row[count + sample - 2]
                found[place] = np.minimum(low + unit * (high - low), high)
        return found

    def _base(self) -> Floats:
        """Samples A and B side by side, in units of the ranges; shape (size, 2 inputs)."""
        if "base" not in self._made:
            from scipy.stats import qmc

            engine = qmc.Sobol(2 * len(self.vary), bits=64, **seeded(self.seed))
            self._made["base"] = engine.random(self.size)
        base: Floats = self._made["base"]
        return base


def seeded(seed: int) -> dict[str, Any]:
    """The seed of a sequence of scipy's, under the name that this scipy has for it."""
    import inspect

    from scipy.stats import qmc

    name = "rng" if "rng" in inspect.signature(qmc.Sobol.__init__).parameters else "seed"
    return {name: np.random.default_rng(seed)}
