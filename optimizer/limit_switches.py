"""The program of a case with a switch for every limit.

It holds whatever the case could use were its limits lifted: suppliers without capacity, closed lanes, empty pools,
requirements of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from models.case import Floats
from models.existing import extent
from models.layout import Layout, lay_out
from models.rule_rows import Linear, RuleRow, RuleRows
from optimizer.case_limits import CaseLimit, CaseProgram, Switch
from optimizer.compiling import compile_model
from optimizer.engine import power_of_ten
from optimizer.program import Names, Program
from optimizer.solving import column_units
from optimizer.stamping import stamp

# A switch let through by more than its own limit must not be closed by a big M that was made from that limit.
LOOSER = 100.0


def case_program(layout: Layout, rows: Sequence[RuleRow]) -> CaseProgram:
    """The program of a layout's case with a switch for every limit.

    ``rows``: the rule rows of the same case, from which what a premium is measured against is taken.
    """
    case = layout.case
    if not layout.status_quo:
        layout = lay_out(case, within=extent(case, lifted=True))
        rows = RuleRows(layout, premium_base(rows)).rows
    open_layout = replace(
        layout, production_upper_t=np.full_like(layout.production_upper_t, np.inf),
        flow_upper_t=np.full_like(layout.flow_upper_t, np.inf), opened_upper=np.ones_like(layout.opened_upper),
        expansion_upper_t=np.full_like(layout.expansion_upper_t, np.inf),
    )  # fmt: skip
    program = _looser(stamp(open_layout, rows, compile_model))
    unit = column_units(program, layout, np.arange(layout.width))
    made = _Maker(layout, rows, program, unit)
    made.demands()
    made.rules()
    made.pools_and_lots()
    made.suppliers()
    made.lanes()
    made.expansions()
    made.stock()
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
        self, layout: Layout, rows: Sequence[RuleRow], program: Program, unit: Floats
    ) -> None:  # fmt: skip
        self.layout, self.case, self.program = layout, layout.case, program
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
            index: place
            for family in ("rule_row", "supplier_count", "provenance_row")
            for place, index in program.rows.places(family)
        }
        for place, number in program.rows.places("provenance_row"):
            self.rows[number] = _traced(program, place, self.rows[number])
        self.names_of_suppliers = [str(name) for name in self.case.suppliers["supplier"]]
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
        moved = moved_by_requirement(self.layout, self.rows)
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
                ((more, 0.0, np.inf), (less, 0.0, required)), ((more, 1.0), (less, -1.0)), required,
            ))  # fmt: skip

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
                ((slack, 1.0),), 0.0, row.kind, row.bound, row.member, row.denominator, number,
            ))  # fmt: skip

    def pools_and_lots(self) -> None:
        """More feedstock than there is; a lot that need not be reached."""
        for place, (code, at) in self.program.rows.places("pool_available"):
            name = str(self.materials[code])
            more = self._past("more", place, -1.0, float(self.layout.scale_t[code]))
            available = float(self.program.row_upper[place])
            self.limits.append(CaseLimit(
                "feedstock", name, str(self.minerals[code]), name, self.case.years[at], available,
                ((more, 0.0, np.inf),), ((more, 1.0),), available,
            ))  # fmt: skip
        lots = self.case.suppliers["lot_t"].to_numpy(dtype=float)
        for place, index in self.program.rows.places("used_at_least"):
            entry = int(self.layout.used_production[index])
            lot = float(lots[self.layout.production_supplier[entry]])
            self._of_supplier("minimum", entry, lot, self._past("less", place, 1.0, self._scale_of(entry)), "lot")

    def suppliers(self) -> None:
        """Capacities: bounds of columns that are there already, or the row that expansions add to. Minimums as rows."""
        layout = self.layout
        expanded = {index: place for place, index in self.program.rows.places("capacity_expanded")}
        for entry, most in enumerate(layout.production_capacity_t.tolist()):
            if entry in expanded:
                more = self._past("more", expanded[entry], -1.0, self._scale_of(entry))
                self._of_supplier("capacity", entry, most, more)
            elif np.isfinite(most):
                self._of_supplier("capacity", entry, most, layout.offsets["production"] + entry, direct=True)
        for entry in np.flatnonzero(layout.production_lower_t > 0).tolist():
            least = float(layout.production_lower_t[entry])
            place = self._row("minimum", entry, layout.offsets["production"] + entry, least)
            self._of_supplier("minimum", entry, least, self._past("less", place, 1.0, self._scale_of(entry)))

    def lanes(self) -> None:
        """Lane limits: bounds of columns that are there already."""
        layout = self.layout
        names = [*self.names_of_suppliers, *self.case.markets]
        for flow in np.flatnonzero(np.isfinite(layout.flow_upper_t)).tolist():
            name = f"{names[layout.flow_origin[flow]]} -> {names[layout.flow_destination[flow]]}"
            self._quantity("lane", name, int(layout.flow_material[flow]), int(layout.flow_year[flow]),
                           layout.offsets["flow"] + flow, float(layout.flow_upper_t[flow]))  # fmt: skip

    def expansions(self) -> None:
        """What a supplier can expand by, over all years."""
        layout = self.layout
        rows: dict[int, list[int]] = {}
        for place, (supplier, _) in self.program.rows.places("expansion_limit"):
            rows.setdefault(supplier, []).append(place)
        for supplier, places in rows.items():
            code = int(layout.supplier_material[supplier])
            more = self.column("past", (supplier, "more"), float(layout.scale_t[code]), [(p, -1.0) for p in places])
            most = float(layout.growth.limit_t[supplier])
            self.limits.append(CaseLimit(
                "capacity", self.names_of_suppliers[supplier], str(self.minerals[code]), str(self.materials[code]),
                self.case.years[0], most, ((more, 0.0, np.inf),), ((more, 1.0),), most, "expansion", across=True,
            ))  # fmt: skip

    def stock(self) -> None:
        """What can be in stock, be put into it and drawn from it; what must be there in the end."""
        layout = self.layout
        for family in ("stock", "built", "drawn"):
            place, year, most = (getattr(layout, f"{family}_{name}") for name in ("place", "year", "upper_t"))
            for entry in np.flatnonzero(np.isfinite(most)).tolist() if not layout.status_quo else ():
                at = int(place[entry])
                self._quantity("capacity", self._stockpile(at), int(layout.stock_material[at]), int(year[entry]),
                               layout.offsets[family] + entry, float(most[entry]), family)  # fmt: skip
        least = self.case.stock["closing_min_t"].tolist()
        for row, index in self.program.rows.places("closing_stock"):
            place = int(layout.stock_place[index])
            code = int(layout.stock_material[place])
            less = self._past("less", row, 1.0, float(layout.scale_t[code]))
            self.limits.append(CaseLimit(
                "minimum", self._stockpile(place), str(self.minerals[code]), str(self.materials[code]),
                self.case.years[-1], float(least[place]), ((less, 0.0, float(least[place])),), ((less, -1.0),),
                float(least[place]), "closing stock", across=True,
            ))  # fmt: skip

    def _stockpile(self, place: int) -> str:
        market, material = (self.case.stock[name].iloc[place] for name in ("market", "material"))
        return f"stock of {material} at {market}"

    def _past(self, way: str, row: int, coefficient: float, scale: float) -> int:
        """A column by which a row can be passed."""
        return self.column("past", (row, way), scale, [(row, coefficient)])

    def _row(self, family: str, index: int, column: int, least: float) -> int:
        """A new row: at least so much of a column."""
        place = self.height + len(self.minimums)
        self.minimums.append((index, least))
        self.entries.append((place, column, 1.0))
        return place

    def _scale_of(self, entry: int) -> float:
        return float(self.layout.scale_t[self.layout.supplier_material[self.layout.production_supplier[entry]]])

    def _quantity(
        self, what: str, name: str, code: int, at: int, column: int, most: float, kind: str = ""
    ) -> None:  # fmt: skip
        """A limit that is the upper bound of a column."""
        self.limits.append(CaseLimit(
            what, name, str(self.minerals[code]), str(self.materials[code]), self.case.years[at], most,
            ((column, most, np.inf),), ((column, 1.0),), 0.0, kind, direct=True,
        ))  # fmt: skip

    def _of_supplier(
        self, what: str, entry: int, limit: float, column: int, kind: str = "", direct: bool = False
    ) -> None:  # fmt: skip
        """A capacity, or a minimum or lot, of a supplier in a year."""
        supplier = int(self.layout.production_supplier[entry])
        code, year = int(self.layout.supplier_material[supplier]), self.case.years[self.layout.production_year[entry]]
        more = what == "capacity"
        switch: Switch = (column, limit, np.inf) if direct else (column, 0.0, np.inf if more else limit)
        self.limits.append(CaseLimit(
            what, self.names_of_suppliers[supplier], str(self.minerals[code]), str(self.materials[code]), year, limit,
            (switch,), ((column, 1.0 if more else -1.0),), 0.0 if direct else limit, kind, direct=direct,
        ))  # fmt: skip

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


def _traced(program: Program, place: int, row: RuleRow) -> RuleRow:
    """A provenance row whose top is the touched tonnes delivered, over the program's columns (tags among them)."""
    by_row = program.matrix.tocsr()[[place]]
    touched = dict(zip(by_row.indices.tolist(), by_row.data.tolist(), strict=True))
    for column, value in zip(row.base.columns.tolist(), row.base.coefficients.tolist(), strict=True):
        touched[column] = touched.get(column, 0.0) + row.limit * value
    kept = [(column, value) for column, value in touched.items() if value]
    top = Linear(np.array([c for c, _ in kept], dtype=np.int64), np.array([v for _, v in kept], dtype=float))
    return replace(row, top=top, traced=True)


Moved = dict[tuple[str, str, int], list[tuple[int, float, float]]]


def moved_by_requirement(layout: Layout, rows: Sequence[RuleRow]) -> Moved:
    """(market, material, year) -> rule rows whose top or base a tonne more required moves, and by how much.

    Found by asking for the rows at one tonne more, for one market and material of each mineral at a time: a row is
    about one mineral.
    """
    case = layout.case
    turn: dict[str, int] = {}
    turns: dict[int, list[tuple[str, str]]] = {}
    for market, listed in case.markets.items():
        for material in listed:
            mineral = str(case.materials["mineral"][material])
            turns.setdefault(turn.setdefault(mineral, 0), []).append((market, material))
            turn[mineral] += 1
    found: Moved = {}
    for pairs in turns.values() if rows else ():
        moved = case.with_(warnings=case.warnings)  # a copy that keeps what is worked out
        vars(moved)["required"] = {
            key: tonnes + ((key[0], key[1]) in pairs) for key, tonnes in case.required.items()
        }  # fmt: skip
        after = RuleRows(replace(layout, case=moved), premium_base(rows)).rows
        by_mineral = {str(case.materials["mineral"][material]): (market, material) for market, material in pairs}
        for number, (old, new) in enumerate(zip(rows, after, strict=True)):
            top, base = new.top.constant - old.top.constant, new.base.constant - old.base.constant
            if top or base:
                found.setdefault((*by_mineral[old.mineral], old.year), []).append((number, top, base))
    return found


def premium_base(rows: Sequence[RuleRow]) -> dict[tuple[str, str, int], float]:
    """What the premium budgets among the rows are measured against: (mineral, material, year) -> USD a year."""
    return {(row.mineral, row.material, row.year): -row.top.constant for row in rows if row.kind == "budget"}


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
