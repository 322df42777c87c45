"""Every limit of a case that could give way, as switches on the columns of one program.

The program holds whatever the case could use were its limits lifted: suppliers without capacity, closed lanes, empty
pools, requirements of 0. A limit holds while its columns are kept at their bounds, and is gone where they are let
loose; the program itself stays the same, so that thousands of questions can be asked of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from models.case import Case, Floats
from models.layout import Layout, extent, lay_out
from models.rule_rows import Linear, RuleRow, RuleRows
from models.rules import rule_terms
from optimizer.compiling import compile_model
from optimizer.engine import power_of_ten
from optimizer.program import Names, Program
from optimizer.solving import column_units
from optimizer.stamping import stamp

# A switch let through by more than its own limit must not be closed by a big M that was made from that limit.
LOOSER = 100.0
Switch = tuple[int, float, float]  # column, its upper bound while the limit holds, and without it


@dataclass(frozen=True)
class CaseLimit:
    """One limit of the case: a row of a rule, a requirement, a capacity, a pool, a minimum (or lot), a lane.

    ``switches`` hold it or let it go; ``reach``: what has to be least for it to give way as little as possible, a
    sum of columns; ``number``: the rule row, -1 for what is no rule. ``entry``: its entry of the layout.
    """

    what: str
    name: str
    mineral: str
    material: str
    year: int
    limit: float
    switches: tuple[Switch, ...]
    reach: tuple[tuple[int, float], ...]
    kind: str = ""
    bound: str = ""
    member: str = ""
    denominator: str = ""
    number: int = -1
    entry: int = -1

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
        """Rules first, then demand and what supply lacks."""
        first = {"rule": 0, "demand": 1, "minimum": 2, "capacity": 3, "feedstock": 4, "lane": 5}
        return self.mineral, self.year, first[self.what], self.name, self.material, self.member, self.bound


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


def case_program(layout: Layout, rows: Sequence[RuleRow]) -> CaseProgram:
    """The program of a layout's case with a switch for every limit.

    ``rows``: the rule rows of the same case, from which what a premium is measured against is taken.
    """
    case = layout.case
    today = {(row.mineral, row.material, row.year): -row.top.constant for row in rows if row.kind == "budget"}
    if not layout.status_quo:
        layout = lay_out(case, within=extent(case, lifted=True))
        rows = RuleRows(layout, today).rows
    nowhere = np.full_like(layout.production_upper_t, np.inf), np.full_like(layout.flow_upper_t, np.inf)
    open_layout = replace(layout, production_upper_t=nowhere[0], flow_upper_t=nowhere[1])
    program = _looser(stamp(open_layout, rows, compile_model))
    unit = column_units(program, layout, np.arange(layout.width))
    made = _Maker(layout, rows, program, unit, today)
    made.demands()
    made.rules()
    made.pools_and_lots()
    made.columns()
    return made.finish()


def _looser(program: Program) -> Program:
    """The program with larger big-Ms: what they were made from may give way."""
    wide = [place for family in ("used_at_most", "counted_at_most") for place, _ in program.rows.places(family)]
    if not wide:
        return program
    matrix = program.matrix.copy()
    column_of = np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
    big = np.isin(matrix.indices, wide) & program.integer[column_of]
    matrix.data[big] *= LOOSER
    return replace(program, matrix=matrix)


class _Maker:
    """Columns and limits while they are put together."""

    def __init__(
        self, layout: Layout, rows: Sequence[RuleRow], program: Program, unit: Floats,
        today: Mapping[tuple[str, str, int], float],
    ) -> None:  # fmt: skip
        self.layout, self.case, self.program, self.today = layout, layout.case, program, today
        self.rows = list(rows)
        self.row_unit = _row_unit(program, unit)
        self.height, self.width = program.matrix.shape
        self.units = list(unit)
        self.names: list[tuple[str, Any]] = []
        self.entries: list[tuple[int, int, float]] = []
        self.limits: list[CaseLimit] = []
        self.slack: dict[int, int] = {}
        self.minimums: list[tuple[int, float]] = []
        self.rule_place = {
            index: place for family in ("rule_row", "supplier_count") for place, index in program.rows.places(family)
        }
        self.suppliers = [str(name) for name in self.case.suppliers["supplier"]]
        self.materials = self.case.materials["material"].to_numpy()
        self.minerals = self.case.materials["mineral"].to_numpy()

    def column(self, family: str, index: Any, unit: float, terms: Sequence[tuple[int, float]]) -> int:
        """A new column, held at 0, with its coefficients in rows."""
        place = self.width + len(self.names)
        self.names.append((family, index))
        self.units.append(unit)
        self.entries += [(row, place, value) for row, value in terms]
        return place

    def demands(self) -> None:
        """A requirement may be more or less than it is; shares that are of it move along."""
        markets = list(self.case.markets)
        known = {index: place for place, index in self.program.rows.places("requirement_met")}
        moved = dict(self._moved_by_requirement())
        for place, (market, code, at) in enumerate(known):
            row, material, year = known[market, code, at], str(self.materials[code]), self.case.years[at]
            terms = [(row, -1.0)]
            changed = moved.get((markets[market], material, year), [])
            for number, top, base in changed:
                rule = self.rows[number]
                if number in self.rule_place:
                    terms.append((self.rule_place[number], top - rule.limit * base))
            scale = float(self.layout.scale_t[code])
            more = self.column("required_more", place, scale, terms)
            less = self.column("required_less", place, scale, [(at_row, -value) for at_row, value in terms])
            for number, top, base in changed:  # for tangents, and for what the rule measures
                rule = self.rows[number]
                self.rows[number] = replace(
                    rule, top=_and(rule.top, more, less, top), base=_and(rule.base, more, less, base)
                )
            required = float(self.program.row_upper[row])
            self.limits.append(CaseLimit(
                "demand", markets[market], str(self.minerals[code]), material, year, required,
                ((more, 0.0, np.inf), (less, 0.0, required)), ((more, 1.0), (less, 1.0)), entry=row,
            ))  # fmt: skip

    def _moved_by_requirement(self) -> Iterator[tuple[tuple[str, str, int], list[tuple[int, float, float]]]]:
        """(market, material, year) -> rule rows whose top or base a tonne more required moves, and by how much.

        Found by asking for the rows at one tonne more, for one market and material of each mineral at a time: a row
        is about one mineral.
        """
        case = self.case
        turn: dict[str, int] = {}
        turns: dict[int, list[tuple[str, str]]] = {}
        for market, listed in case.markets.items():
            for material in listed:
                mineral = str(case.materials["mineral"][material])
                turns.setdefault(turn.setdefault(mineral, 0), []).append((market, material))
                turn[mineral] += 1
        if not self.rows:
            return
        for pairs in turns.values():
            moved = case.with_(warnings=case.warnings)  # a copy that keeps what is worked out
            chosen = set(pairs)
            vars(moved)["required"] = {
                key: tonnes + ((key[0], key[1]) in chosen) for key, tonnes in case.required.items()
            }
            after = RuleRows(replace(self.layout, case=moved), self.today).rows
            by_mineral = {str(case.materials["mineral"][material]): (market, material) for market, material in pairs}
            found: dict[tuple[str, str, int], list[tuple[int, float, float]]] = {}
            for number, (old, new) in enumerate(zip(self.rows, after, strict=True)):
                top, base = new.top.constant - old.top.constant, new.base.constant - old.base.constant
                if top or base:
                    found.setdefault((*by_mineral[old.mineral], old.year), []).append((number, top, base))
            yield from found.items()

    def rules(self) -> None:
        """Each row of a rule may be missed by a slack in its own unit."""
        for number, row in enumerate(self.rows):
            if row.kind == "hhi":
                columns = row.base.columns if len(row.base.columns) else row.top.columns
                unit = float(np.asarray(self.units)[columns].max(initial=1.0))
                slack = self.slack[number] = self.column("missed", number, unit, [])
            elif number in self.rule_place:
                place = self.rule_place[number]
                sign = -1.0 if row.bound == "max" else 1.0
                slack = self.column("missed", number, float(self.row_unit[place]), [(place, sign)])
            else:
                continue
            self.limits.append(CaseLimit(
                "rule", row.rule, row.mineral, row.material, row.year, row.limit, ((slack, 0.0, np.inf),),
                ((slack, 1.0),), row.kind, row.bound, row.member, row.denominator, number,
            ))  # fmt: skip

    def pools_and_lots(self) -> None:
        """More feedstock than there is; a lot that need not be reached."""
        for place, (code, at) in self.program.rows.places("pool_available"):
            more = self.column("pool_more", place, float(self.layout.scale_t[code]), [(place, -1.0)])
            name = str(self.materials[code])
            self.limits.append(CaseLimit(
                "feedstock", name, str(self.minerals[code]), name, self.case.years[at],
                float(self.program.row_upper[place]), ((more, 0.0, np.inf),), ((more, 1.0),), entry=place,
            ))  # fmt: skip
        lots = self.case.suppliers["lot_t"].to_numpy(dtype=float)
        for place, index in self.program.rows.places("used_at_least"):
            entry = int(self.layout.used_production[index])
            lot = float(lots[self.layout.production_supplier[entry]])
            scale = float(self.layout.scale_t[self.layout.supplier_material[self.layout.production_supplier[entry]]])
            less = self.column("lot_less", place, scale, [(place, 1.0)])
            self.limits.append(replace(
                self._of_supplier("minimum", entry, lot, ((less, 0.0, lot),), ((less, 1.0),)), kind="lot",
            ))  # fmt: skip

    def columns(self) -> None:
        """Capacities and lane limits, bounds of columns that are there already; minimums, here rows."""
        layout = self.layout
        upper, lower = layout.production_upper_t, layout.production_lower_t
        for entry, (most, least) in enumerate(zip(upper.tolist(), lower.tolist(), strict=True)):
            column = layout.offsets["production"] + entry
            if np.isfinite(most):
                switches = ((column, most, np.inf),)
                self.limits.append(self._of_supplier("capacity", entry, most, switches, ((column, 1.0),)))
            if least > 0:
                place = self.height + len(self.minimums)
                self.minimums.append((entry, least))
                self.entries.append((place, column, 1.0))
                less = self.column("minimum_less", entry, float(self.units[column]), [(place, 1.0)])
                switches = ((less, 0.0, least),)
                self.limits.append(self._of_supplier("minimum", entry, least, switches, ((less, 1.0),)))
        names = [*self.suppliers, *self.case.markets]
        for flow in np.flatnonzero(np.isfinite(layout.flow_upper_t)).tolist():
            column, most = layout.offsets["flow"] + flow, float(layout.flow_upper_t[flow])
            code = layout.flow_material[flow]
            self.limits.append(CaseLimit(
                "lane", f"{names[layout.flow_origin[flow]]} -> {names[layout.flow_destination[flow]]}",
                str(self.minerals[code]), str(self.materials[code]), self.case.years[layout.flow_year[flow]], most,
                ((column, most, np.inf),), ((column, 1.0),), entry=flow,
            ))  # fmt: skip

    def _of_supplier(
        self, what: str, entry: int, limit: float, switches: tuple[Switch, ...], reach: tuple[tuple[int, float], ...]
    ) -> CaseLimit:
        supplier = int(self.layout.production_supplier[entry])
        code = int(self.layout.supplier_material[supplier])
        year = self.case.years[self.layout.production_year[entry]]
        return CaseLimit(what, self.suppliers[supplier], str(self.minerals[code]), str(self.materials[code]), year,
                         limit, switches, reach, entry=entry)  # fmt: skip

    def finish(self) -> CaseProgram:
        """Everything as one program with every limit held; without costs."""
        program, count = self.program, len(self.names)
        old = program.matrix.tocoo()
        listed = np.array(self.entries, dtype=float).reshape(-1, 3)
        matrix = sparse.csc_array(
            (np.concatenate([old.data, listed[:, 2]]),
             (np.concatenate([old.row, listed[:, 0].astype(np.int64)]),
              np.concatenate([old.col, listed[:, 1].astype(np.int64)]))),
            shape=(self.height + len(self.minimums), self.width + count),
        )  # fmt: skip
        matrix.sum_duplicates()
        nothing = np.zeros(count)
        lower = program.lower.copy()
        lower[self.layout.columns("production")] = 0.0
        bounds = np.concatenate([lower, nothing]), np.concatenate([program.upper, nothing])
        least = np.array([tonnes for _, tonnes in self.minimums])
        for limit in self.limits:
            for column, held, _ in limit.switches:
                bounds[1][column] = held
        whole = Program(
            matrix, np.concatenate([program.row_lower, least]),
            np.concatenate([program.row_upper, np.full(len(least), np.inf)]), np.zeros(self.width + count), *bounds,
            np.concatenate([program.integer, nothing > 0]),
            program.rows + Names([("minimum", [entry for entry, _ in self.minimums])]),
            program.names + Names.of(self.names),
        )  # fmt: skip
        self.limits.sort(key=lambda limit: limit.order)
        return CaseProgram(self.layout, self.rows, whole, np.array(self.units), self.limits, self.slack,
                           self.width)  # fmt: skip


def _and(terms: Linear, more: int, less: int, moved: float) -> Linear:
    """The terms with what a requirement that is more or less adds to them."""
    if not moved:
        return terms
    columns = np.append(terms.columns, [more, less]).astype(np.int64)
    return Linear(columns, np.append(terms.coefficients, [moved, -moved]), terms.constant)


def _row_unit(program: Program, unit: Floats) -> Floats:
    """The power of ten of the largest scaled coefficient of each row, as the engine will scale it."""
    matrix = program.matrix
    column_of = np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
    largest = np.zeros(matrix.shape[0])
    np.maximum.at(largest, matrix.indices, np.abs(matrix.data) * unit[column_of])
    return power_of_ten(largest)


def with_limit(program: Program, place: int, old: RuleRow, new: RuleRow) -> Program:
    """The program with a linear rule row at another limit: coefficients of its denominator, and its right side.

    Coefficients at 0 stay where they are, so that the shape does not change.
    """
    before, after = rule_terms(old), rule_terms(new)
    matrix, low, high = program.matrix.copy(), program.row_lower.copy(), program.row_upper.copy()
    for terms, sign in ((before, -1.0), (after, 1.0)):
        for column, value in zip(terms.columns.tolist(), terms.coefficients.tolist(), strict=True):
            if column >= 0 and value:
                start, end = matrix.indptr[column], matrix.indptr[column + 1]
                matrix.data[start + int(np.searchsorted(matrix.indices[start:end], place))] += sign * value
    side = high if new.bound == "max" else low
    side[place] = -after.constant
    return replace(program, matrix=matrix, row_lower=low, row_upper=high)


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
