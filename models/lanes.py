"""Which lanes join producers to consumers, and what each costs and carries in each year.

Contract section 1, lanes.csv: each of freight, duty and max_t is taken by itself from the most specific
row that gives it; specificity is ranked by origin, then destination (id > country > bloc > *), then
material (named > blank), then date (a row with from_year or to_year > one that always holds).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from models.case import Case, Flags, Floats

Ints = npt.NDArray[np.int64]
CELLS = ("freight_usd_per_t", "duty_share", "max_t")
_DEFAULTS = {"freight_usd_per_t": 0.0, "duty_share": 0.0, "max_t": np.inf}
_KINDS = {"*": 0, "bloc": 1, "country": 2, "id": 3}


@dataclass(frozen=True)
class Lanes:
    """All lanes of a case; one entry a lane, year columns in horizon order.

    ``destination`` counts suppliers first, then markets: market j is ``suppliers + j``.
    """

    origin: Ints
    destination: Ints
    material: Ints
    is_byproduct: Flags
    exists: Flags
    freight_usd_per_t: Floats
    duty_share: Floats
    max_t: Floats
    clashes: tuple[tuple[int, int, str], ...]

    def __len__(self) -> int:
        return len(self.origin)


@dataclass(frozen=True)
class _Side:
    """One side of the lane rows: what kind of name stands there and its code within that kind."""

    kind: Ints
    code: Ints


def find_lanes(case: Case) -> Lanes:
    """Every lane of the case with its cells by year, and the pairs of rows that contradict each other."""
    suppliers, markets = case.suppliers, list(case.markets)
    named = [e for side in ("origin", "destination") for e in case.tables["lanes"][side].unique()]
    every = [*suppliers["country"], *(case.market_country(m) for m in markets)]
    every += [e.removeprefix("country:") for e in named if e.startswith("country:")]
    countries = {name: code for code, name in enumerate(dict.fromkeys(every))}
    blocs = {name: code for code, name in enumerate(sorted(case.bloc_names))}
    materials = {name: code for code, name in enumerate(case.materials["material"])}
    nodes = dict(case.supplier_position)
    nodes.update({market: len(suppliers) + place for place, market in enumerate(markets)})
    node_country = np.array(
        [countries[c] for c in suppliers["country"]]
        + [countries[case.market_country(m)] if case.market_country(m) else -1 for m in markets], dtype=np.int64,
    )  # fmt: skip
    rows = case.tables["lanes"]
    origins = _side(rows["origin"], nodes, countries, blocs)
    destinations = _side(rows["destination"], nodes, countries, blocs)
    of_material = np.array([materials.get(m, -1) for m in rows["material"]], dtype=np.int64)
    first, last = (rows[column].to_numpy(dtype=float) for column in ("from_year", "to_year"))
    dated = ~(np.isnan(first) & np.isnan(last))
    listed = case.settings.network.lanes == "listed"
    only_ids = listed and bool(((origins.kind == 3) & (destinations.kind == 3)).all())
    origin, destination, material, second = _candidates(
        case, materials, nodes, (origins, destinations) if only_ids else None
    )

    years = case.years
    shape = (len(origin), len(years))
    exists = np.full(shape, not listed)
    cells = {cell: np.full(shape, _DEFAULTS[cell]) for cell in CELLS}
    clashes: set[tuple[int, int, str]] = set()
    done: dict[tuple[object, ...], int] = {}
    for at, year in enumerate(years):
        members = tuple(
            frozenset(countries[c] for c in case.bloc_members(bloc, year) if c in countries) for bloc in blocs
        )
        in_force = ~(first > year) & ~(last < year)
        seen = (members, in_force.tobytes())
        if seen in done:  # same blocs and rows as in an earlier year: same cells
            for array in (exists, *cells.values()):
                array[:, at] = array[:, done[seen]]
            continue
        done[seen] = at
        matcher = _Matcher(
            origin, destination, material, node_country, members, origins, destinations, of_material, dated, in_force
        )
        if listed:
            exists[:, at] = matcher.matched()
        for cell in CELLS:
            values, pairs = matcher.cell(rows[cell].to_numpy(), _DEFAULTS[cell])
            cells[cell][:, at] = values
            numbers = rows["row"].to_numpy()
            clashes |= {(int(numbers[a]), int(numbers[b]), cell) for a, b in pairs}
    return Lanes(
        origin, destination, material, second, exists, cells["freight_usd_per_t"], cells["duty_share"], cells["max_t"],
        tuple(sorted(clashes)),
    )  # fmt: skip


def _side(names: pd.Series, nodes: dict[str, int], countries: dict[str, int], blocs: dict[str, int]) -> _Side:
    found: list[tuple[int, int]] = []
    for name in names:
        prefix, colon, rest = name.partition(":")
        if name == "*":
            found.append((0, 0))
        elif colon and prefix == "bloc":
            found.append((1, blocs.get(rest, -2)))
        elif colon:
            found.append((2, countries.get(rest, -2)))
        else:
            found.append((3, nodes.get(name, -2)))
    pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
    return _Side(pairs[:, 0], pairs[:, 1])


def _candidates(
    case: Case, materials: dict[str, int], nodes: dict[str, int], listed: tuple[_Side, _Side] | None
) -> tuple[Ints, Ints, Ints, Flags]:
    """Producer x consumer of each material, or just the listed pairs; no lane from a supplier to itself."""
    outputs = [(place, materials[m], False) for place, m in enumerate(case.suppliers["material"])]
    outputs += [(nodes[supplier], materials[m], True) for supplier, made in case.byproducts.items() for m, _ in made]
    consumers = [(place, materials[m]) for place, m in enumerate(case.suppliers["input"]) if m]
    consumers += [(nodes[market], materials[m]) for market, wanted in case.markets.items() for m in wanted]
    made = pd.DataFrame(outputs, columns=["origin", "material", "second"])
    used = pd.DataFrame(consumers, columns=["destination", "material"])
    if listed is None:
        pairs = made.merge(used, on="material")
    else:
        sides = pd.DataFrame({"origin": listed[0].code, "destination": listed[1].code}).drop_duplicates()
        pairs = sides.merge(made, on="origin").merge(used, on=["destination", "material"])
    pairs = pairs[pairs["origin"] != pairs["destination"]].sort_values(["material", "origin", "destination"])
    return (
        pairs["origin"].to_numpy(dtype=np.int64),
        pairs["destination"].to_numpy(dtype=np.int64),
        pairs["material"].to_numpy(dtype=np.int64),
        pairs["second"].to_numpy(dtype=bool),
    )


@dataclass
class _Matcher:
    """Joins lane rows to lanes in one year."""

    origin: Ints
    destination: Ints
    material: Ints
    node_country: Ints
    members: tuple[frozenset[int], ...]
    origins: _Side
    destinations: _Side
    of_material: Ints
    dated: Flags
    in_force: Flags

    def _groups(self, rows: Ints) -> Iterator[tuple[Ints, int]]:
        """The rows that can be joined together, with their rank, the least specific first."""
        rank = self.origins.kind * 16 + self.destinations.kind * 4 + (self.of_material >= 0) * 2 + self.dated
        for value in np.unique(rank[rows]):
            chosen = rows[rank[rows] == value]
            split = np.zeros(len(chosen), dtype=np.int64)
            for side in (self.origins, self.destinations):
                if side.kind[chosen[0]] == 1:  # each bloc by itself: a country may be in several
                    split = split * (len(self.members) + 1) + side.code[chosen] + 1
            for part in np.unique(split):
                yield chosen[split == part], int(value)

    def _join(self, rows: Ints) -> tuple[Ints, Ints, Ints]:
        """A key for each row and each lane, equal where they match, and the lanes that can match at all."""
        first = rows[0]
        lane_key = np.zeros(len(self.origin), dtype=np.int64)
        row_key = np.zeros(len(rows), dtype=np.int64)
        possible = np.ones(len(self.origin), dtype=bool)
        size = max(len(self.node_country), int(self.node_country.max(initial=0)) + 2) + 2
        for side, lane_side in ((self.origins, self.origin), (self.destinations, self.destination)):
            kind = side.kind[first]
            if kind == 1:
                inside = np.isin(self.node_country, list(self.members[side.code[first]]))
                possible &= inside[lane_side]
            elif kind in (2, 3):
                key = self.node_country[lane_side] if kind == 2 else lane_side
                possible &= key >= 0
                lane_key = lane_key * size + key
                row_key = row_key * size + side.code[rows]
        if self.of_material[first] >= 0:
            top = int(max(self.of_material.max(initial=0), self.material.max(initial=0))) + 1
            lane_key = lane_key * top + self.material
            row_key = row_key * top + self.of_material[rows]
        return row_key, lane_key, np.flatnonzero(possible)

    def matched(self) -> Flags:
        """Whether any row matches each lane."""
        found = np.zeros(len(self.origin), dtype=bool)
        for rows, _ in self._groups(np.flatnonzero(self.in_force)):
            row_key, lane_key, possible = self._join(rows)
            found[possible[np.isin(lane_key[possible], row_key)]] = True
        return found

    def cell(self, given: Floats, default: float) -> tuple[Floats, set[tuple[int, int]]]:
        """The cell's value on each lane, and pairs of rows of equal rank that give a lane two values."""
        count = len(self.origin)
        value, rank = np.full(count, default), np.full(count, -1, dtype=np.int64)
        who, clash = np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64)
        for rows, level in self._groups(np.flatnonzero(~np.isnan(given) & self.in_force)):
            row_key, lane_key, possible = self._join(rows)
            order = np.lexsort((rows, row_key))
            keys, starts, counts = np.unique(row_key[order], return_index=True, return_counts=True)
            first = rows[order][starts]
            other = np.full(len(keys), -1, dtype=np.int64)
            for place in np.flatnonzero(counts > 1):
                same = rows[order][starts[place] : starts[place] + counts[place]]
                differs = same[given[same] != given[same[0]]]
                if len(differs):
                    other[place] = differs[0]
            at = np.searchsorted(keys, lane_key[possible])
            hit = at < len(keys)
            hit[hit] = keys[at[hit]] == lane_key[possible][hit]
            lanes, at = possible[hit], at[hit]
            fresh = rank[lanes] < level
            again = (rank[lanes] == level) & (value[lanes] != given[first[at]])
            clash[lanes[again]] = first[at[again]]
            lanes, at = lanes[fresh], at[fresh]
            value[lanes], rank[lanes] = given[first[at]], level
            who[lanes], clash[lanes] = first[at], other[at]
        wrong = clash >= 0
        return value, {(min(a, b), max(a, b)) for a, b in zip(who[wrong], clash[wrong], strict=True)}
