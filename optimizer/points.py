"""Which points a sweep solves: grids and lists from --vary, samples over ranges; made block by block, never all at once."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

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
        if not low < high:
            raise _wrong("A..B goes upwards: B must be above A", text)
        return cls(key, low, high, tuple(np.linspace(low, high, count).tolist()))

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


class Points(Protocol):
    """Points by number: ``keys`` name the inputs, ``rows(start, stop)`` gives their values, nan = as the case has it."""

    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def ranges(self) -> dict[str, tuple[float, float]]: ...
    def __len__(self) -> int: ...
    def rows(self, start: int, stop: int) -> Floats: ...


@dataclass(frozen=True)
class Grid:
    """Every combination of the listed values; the last input moves fastest."""

    vary: tuple[Vary, ...]

    def __post_init__(self) -> None:
        if len(self) > MOST:
            raise CaseError([Problem("--vary", f"the grid has {len(self):,} points: at most {MOST:,}")])

    @property
    def keys(self) -> tuple[str, ...]:
        """The inputs."""
        return tuple(item.key for item in self.vary)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each input."""
        return {item.key: (item.low, item.high) for item in self.vary}

    def __len__(self) -> int:
        return math.prod(len(item.values) for item in self.vary)

    def rows(self, start: int, stop: int) -> Floats:
        """Values of points ``start`` to ``stop``; shape (points, inputs)."""
        sizes = [len(item.values) for item in self.vary]
        places = np.unravel_index(np.arange(start, stop), sizes)
        return np.stack([np.array(item.values)[at] for item, at in zip(self.vary, places, strict=True)], axis=1)


@dataclass(frozen=True)
class Sample:
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

    @property
    def keys(self) -> tuple[str, ...]:
        """The inputs."""
        return tuple(item.key for item in self.vary)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each input."""
        return {item.key: (item.low, item.high) for item in self.vary}

    def __len__(self) -> int:
        return self.size

    def rows(self, start: int, stop: int) -> Floats:
        """Values of points ``start`` to ``stop``; shape (points, inputs)."""
        low, high = (np.array([getattr(item, end) for item in self.vary]) for end in ("low", "high"))
        unit = self._sobol(start, stop) if self.method == "sobol" else self._latin()[start:stop]
        return np.minimum(low + unit * (high - low), high)

    def _latin(self) -> Floats:
        if "latin" not in self._made:
            from scipy.stats import qmc

            self._made["latin"] = qmc.LatinHypercube(len(self.vary), **_seeded(qmc, self.seed)).random(self.size)
        return np.asarray(self._made["latin"])

    def _sobol(self, start: int, stop: int) -> Floats:
        """The sequence goes on from where it stands; going back starts it anew."""
        from scipy.stats import qmc

        at = self._made.get("at", -1)
        if at < 0 or at > start:
            self._made["engine"], at = qmc.Sobol(len(self.vary), **_seeded(qmc, self.seed)), 0
        engine = self._made["engine"]
        if start > at:
            engine.fast_forward(start - at)
        self._made["at"] = stop
        with warnings.catch_warnings():  # it would rather have 2^n points; how many is the planner's choice
            warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
            found: Floats = engine.random(stop - start)
        return found


def _seeded(qmc: Any, seed: int) -> dict[str, Any]:
    """The seed under the name that this scipy has for it."""
    import inspect

    name = "rng" if "rng" in inspect.signature(qmc.Sobol.__init__).parameters else "seed"
    return {name: np.random.default_rng(seed)}
