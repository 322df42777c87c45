"""The program of a run as an .lp or .mps file, named as in MATHS.md, and proof that it reads back to its optimum."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.build import build
from models.case import Case, load_case
from models.layout import Layout, lay_out
from models.problems import CaseError, Problem
from models.rule_rows import RuleRow, RuleRows
from models.rules import Cut, SurviveCut
from models.trails import trail_groups
from optimizer.compiling import compile_model
from optimizer.engine import EngineError, Limits, plain_highs
from optimizer.formulating import formulate, weighs_outcomes
from optimizer.plan import Plan
from optimizer.program import Program
from optimizer.solving import solve
from optimizer.status_quo import find_status_quo

_LONGEST = 250  # characters of a name; the LP format takes 255
_TAKEN = re.compile(r"[^A-Za-z0-9_.]")


@dataclass(frozen=True)
class ModelFile:
    """What was written: its size, and the optimum that HiGHS finds in the file (None: not within the time)."""

    rows: int
    columns: int
    cuts: int
    objective_usd: float | None


def write_model(plan: Plan, path: Path) -> ModelFile:
    """Write the program of a run, rebuilt from the case inside its folder, cuts of HHI and survive rules included.

    The file is read again and solved; an optimum other than the run's raises ``EngineError`` and leaves no file.
    """
    case = load_case(Path(plan.run) / "case")
    quo = bool(plan.about.get("status_quo"))
    layout = lay_out(case, status_quo=quo)
    rows, cuts, losses = ([], [], []) if quo else _rules(case, layout)
    program = _whole(layout, rows, cuts, losses)
    naming = Naming(layout, rows, cuts, losses, program)
    about = f"oremix {plan.about.get('oremix')}, case {plan.about.get('fingerprint')}; USD, t a year; names: MATHS.md"
    _write(program, unique(naming.columns(program)), unique(naming.rows_of(program)), path)
    _head(path, about)
    found = optimum_of(path, case.settings.solve.seconds, case.settings.solve.gap)
    if found is None or plan.status != "optimal":
        return ModelFile(*program.matrix.shape, len(cuts) + len(losses), None)
    near = 1e-6 + (case.settings.solve.gap if program.integer.any() else 0.0)
    assert plan.objective_usd is not None
    if not abs(found - plan.objective_usd) <= near * max(1.0, abs(plan.objective_usd)):
        path.unlink(missing_ok=True)
        raise EngineError(f"the file reads back to {found:.10g} USD; the run has {plan.objective_usd:.10g}")
    return ModelFile(*program.matrix.shape, len(cuts) + len(losses), found)


def _whole(
    layout: Layout, rows: Sequence[RuleRow], cuts: Sequence[Cut], losses: Sequence[SurviveCut]
) -> Program:  # fmt: skip
    """The whole program as the formulation compiles; with responses to outcomes, where disruptions are weighed."""
    if not weighs_outcomes(layout):
        return compile_model(build(layout, rows, cuts, losses))
    program, _, _ = formulate(layout, rows)
    every = [cut.terms for cut in cuts] + [cut.terms for cut in losses]
    terms = [(linear.columns, linear.coefficients) for linear in every]
    limits = [-cut.terms.constant for cut in cuts] + [cut.limit for cut in losses]
    names = [("hhi_cut", n) for n in range(len(cuts))] + [("survive_cut", n) for n in range(len(losses))]
    return program.with_rows(terms, limits, names)


def _write(program: Program, columns: Sequence[str], rows: Sequence[str], path: Path) -> None:
    highs = plain_highs(program)
    for place, name in enumerate(columns):
        highs.passColName(place, name)
    for place, name in enumerate(rows):
        highs.passRowName(place, name)
    if highs.writeModel(str(path)).name != "kOk":
        raise EngineError(f"HiGHS could not write {path.name} with the model's names")


def _head(path: Path, about: str) -> None:
    """A first line that says what the file is, as a comment of its format."""
    mark = "*" if path.suffix.lower() == ".mps" else "\\"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{mark} {about}\n{text}", encoding="utf-8")


def optimum_of(path: Path, seconds: float = 300.0, gap: float = 1e-4) -> float | None:
    """The optimum of an .lp or .mps file, NaN where it has none, None where it was not found in the time."""
    highs = plain_highs()
    highs.setOptionValue("time_limit", seconds)
    highs.setOptionValue("mip_rel_gap", gap)
    if highs.readModel(str(path)).name == "kError":
        raise EngineError(f"HiGHS cannot read {path.name} again")
    highs.run()
    status = highs.getModelStatus().name
    if status in ("kOptimal", "kModelEmpty"):
        return float(highs.getInfo().objective_function_value)
    return None if status in ("kTimeLimit", "kIterationLimit", "kInterrupt") else float("nan")


def _rules(case: Case, layout: Layout) -> tuple[Sequence[RuleRow], list[Cut], list[SurviveCut]]:
    """The rows of the rules, and the cuts that solving needs for HHI and survive rules."""
    limits = Limits(case.settings.solve.seconds, case.settings.solve.gap, case.settings.solve.threads)
    today: dict[Any, float] = {}
    if any(rule.kind == "budget" and rule.of == "premium" for rule in case.rules):
        today = find_status_quo(case, limits).cost_usd_per_y()
    rows = RuleRows(layout, today).rows
    if not any(row.kind in ("hhi", "survive") for row in rows):
        return rows, [], []
    solved = solve(layout, rows, limits)
    if not solved.has_plan:
        message = f"its case is {solved.status} now: the cuts of its rules cannot be found"
        raise CaseError([Problem("export", message)])
    return rows, solved.cuts, solved.survive_cuts


class Naming:
    """Readable names of columns and rows: the family of MATHS.md and what the entry is, flow(origin,home,...)."""

    def __init__(
        self, layout: Layout, rows: Sequence[RuleRow], cuts: Sequence[Cut], losses: Sequence[SurviveCut] = (),
        program: Program | None = None,
    ) -> None:  # fmt: skip
        self.program = program
        self.layout, self.rules, self.cuts, self.losses = layout, rows, cuts, losses
        self.trails = list(trail_groups(rows))
        case = layout.case
        self.suppliers = case.suppliers["supplier"].tolist()
        self.places = [*self.suppliers, *case.markets]
        self.materials = case.materials["material"].tolist()
        self.years = case.years

    def columns(self, program: Program) -> Iterable[str]:
        """A name for each column."""
        return (self._name(family, index) for family, index in program.names)

    def rows_of(self, program: Program) -> Iterable[str]:
        """A name for each row."""
        return (self._name(family, index) for family, index in program.rows)

    def _name(self, family: str, index: Any) -> str:
        parts = getattr(self, f"_{family}", None)
        listed = parts(index) if parts is not None else index if isinstance(index, tuple) else (index,)
        said = [_TAKEN.sub("_", str(part)) for part in listed if part is not None and part != ""]
        return f"{family}({','.join(said)})" if said else family

    def _production(self, p: int) -> tuple[Any, ...]:
        layout = self.layout
        return self.suppliers[layout.production_supplier[p]], self.years[layout.production_year[p]]

    _production_leaves = _inputs_arrive = _status_quo_factor = _production

    def _flow(self, f: int) -> tuple[Any, ...]:
        layout = self.layout
        return (self.places[layout.flow_origin[f]], self.places[layout.flow_destination[f]],
                self.materials[layout.flow_material[f]], self.years[layout.flow_year[f]])  # fmt: skip

    def _draw(self, d: int) -> tuple[Any, ...]:
        return self.suppliers[self.layout.draw_supplier[d]], self.years[self.layout.draw_year[d]]

    def _shortage(self, z: int) -> tuple[Any, ...]:
        row = self.layout.case.demand.iloc[self.layout.shortage_demand[z]]
        return row["market"], row["sector"], row["material"], row["year"]

    def _used(self, u: int) -> tuple[Any, ...]:
        return self._production(self.layout.used_production[u])

    _used_at_most = _used_at_least = _used

    def _pile(self, place: int, year: int) -> tuple[Any, ...]:
        pile = self.layout.case.stock.iloc[place]
        return pile["market"], pile["material"], self.years[year]

    def _built(self, i: int) -> tuple[Any, ...]:
        return self._pile(self.layout.built_place[i], self.layout.built_year[i])

    def _drawn(self, i: int) -> tuple[Any, ...]:
        return self._pile(self.layout.drawn_place[i], self.layout.drawn_year[i])

    def _stock(self, i: int) -> tuple[Any, ...]:
        return self._pile(self.layout.stock_place[i], self.layout.stock_year[i])

    _stock_balance = _closing_stock = _stock

    def _substituted(self, i: int) -> tuple[Any, ...]:
        step = self.layout.case.substitution.iloc[self.layout.substituted_step[i]]
        market = self.places[len(self.suppliers) + self.layout.substituted_market[i]]
        return market, step["material"], step["step"], self.years[self.layout.substituted_year[i]]

    def _expansion(self, e: int) -> tuple[Any, ...]:
        return self.suppliers[self.layout.expansion_supplier[e]], self.years[self.layout.expansion_year[e]]

    def _opened(self, i: int) -> tuple[Any, ...]:
        return self.suppliers[self.layout.opened_supplier[i]], self.years[self.layout.opened_year[i]]

    def _capacity_expanded(self, p: int) -> tuple[Any, ...]:
        return self._production(p)

    def _expansion_limit(self, index: tuple[int, int]) -> tuple[Any, ...]:
        return self._expansion(index[1])

    def _opened_once(self, supplier: int) -> tuple[Any, ...]:
        return (self.suppliers[supplier],)

    def _byproduct_made(self, index: tuple[int, int]) -> tuple[Any, ...]:
        supplier, year = self._production(index[0])
        return supplier, self.materials[index[1]], year

    def _pool_available(self, index: tuple[int, int]) -> tuple[Any, ...]:
        return self.materials[index[0]], self.years[index[1]]

    _factor = _pool_available

    def _requirement_met(self, index: tuple[int, int, int]) -> tuple[Any, ...]:
        market, material, year = index
        return self.places[len(self.suppliers) + market], self.materials[material], self.years[year]

    def _rule_row(self, r: int) -> tuple[Any, ...]:
        row = self.rules[r]
        return row.rule, row.bound, row.mineral, row.material, row.member, row.year

    _supplier_count = _rule_row

    def _response(self, index: tuple[int, int]) -> tuple[Any, ...]:
        """Copy of the network, and what it chooses there."""
        copy, column = index
        family = next(name for name, start in reversed(self.layout.offsets.items()) if start <= column)
        return copy + 1, self._name(family, column - self.layout.offsets[family])

    def _response_row(self, index: tuple[int, int]) -> tuple[Any, ...]:
        copy, row = index
        if row < 0:
            return copy + 1, "response_at_most", *self._production(-1 - row)
        assert self.program is not None
        return copy + 1, self._name(*self.program.rows[row])

    def _hhi_cut(self, number: int) -> tuple[Any, ...]:
        return *self._rule_row(self.cuts[number].row), number + 1

    def _survive_cut(self, number: int) -> tuple[Any, ...]:
        cut = self.losses[number]
        first = self.rules[min(cut.weights)]
        return first.rule, cut.loss, first.material, first.year, number + 1

    _provenance_row = _rule_row

    def _touched(self, index: tuple[int, int]) -> tuple[Any, ...]:
        return self.trails[index[0]][0], *self._flow(index[1])

    _touched_at_most = _touched

    def _touched_passed_on(self, index: tuple[int, int]) -> tuple[Any, ...]:
        rule, year = self.trails[index[0]]
        return rule, self.suppliers[index[1]], year

    def _clean_byproduct(self, index: tuple[int, int, int]) -> tuple[Any, ...]:
        rule, year = self.trails[index[0]]
        return rule, self.suppliers[index[1]], self.materials[index[2]], year

    def _counts(self, index: tuple[int, int]) -> tuple[Any, ...]:
        number, place = index
        return *self._rule_row(number), self.suppliers[self.rules[number].counted[place][0]]

    _counted_at_least = _counted_at_most = _counts


def unique(names: Iterable[str]) -> list[str]:
    """The names, none of them too long for the format, none twice."""
    found: dict[str, None] = {}
    for name in names:
        short, count = name[:_LONGEST], 1
        while short in found:
            count += 1
            short = f"{name[: _LONGEST - 8]}.{count}"
        found[short] = None
    return list(found)
