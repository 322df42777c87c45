"""Near-optimal plans: the least and most of every supplier, country and channel at little more than least cost.

Least cost C plus a slack is a row of the program (cost <= C + slack * |C|); then each quantity is made as small and
as large as it can be, from the basis of the one before. Plans that differ most are chosen among vertices of that set.
Method: modelling to generate alternatives (Brill, Chang and Hopkins 1982, Management Science 28(3)).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from models.case import Case, Floats
from models.changes import Request, change
from models.lanes import Ints
from models.layout import Layout, lay_out
from models.rule_rows import RuleRow, RuleRows
from optimizer.analysis_folder import write_analysis
from optimizer.compiling import compile_model
from optimizer.cutting import Cutter
from optimizer.engine import Engine, EngineError, Limits, collection
from optimizer.formulating import refuse_large
from optimizer.measures import SMALLEST_T
from optimizer.plan import Plan, clean, records
from optimizer.plans import Plans
from optimizer.program import Program
from optimizer.run import Options, execute, measure
from optimizer.run_folder import write_run
from optimizer.solving import solve, without_idle
from optimizer.stamping import stamp
from optimizer.status_quo import StatusQuo, find_status_quo, has_status_quo
from optimizer.surviving import Survival
from optimizer.two_stage_measures import weigh

Say = Callable[[str], None]
BY = ("supplier", "country", "channel")
LEANING = 6  # countries, the largest of the plan, towards and away from which plans are sought


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass
class Alternatives:
    """What is left open at little more than least cost.

    ``ranges``: by, member, material, year, least_t, most_t, plan_t, class (must-have, can-have, must-avoid); tonnes a
    year of production of that material. ``plans``: the least-cost plan first, then plans that differ most from it
    and from one another, each within the slack and audited. ``failed``: the run that found no plan, where there is
    none.
    """

    slack: float
    status: str
    objective_usd: float | None = None
    ranges: pd.DataFrame = field(default_factory=pd.DataFrame)
    plans: Plans = field(default_factory=lambda: Plans([], []))
    differs: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    failed: Plan | None = None
    run: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a plan."""
        return self.failed is None

    def to_json(self) -> dict[str, Any]:
        """The document of ``--json`` and alternatives.json (contract section 5)."""
        document: dict[str, Any] = {
            "slack": self.slack, "status": self.status, "objective_usd": self.objective_usd,
            "ranges": records(self.ranges) if len(self.ranges) else [], "plans": self.plan_rows(),
            "warnings": self.warnings, "run": self.run,
        }  # fmt: skip
        if self.failed is not None:
            document.update(conflict=clean(self.failed.conflict), repair=clean(self.failed.repair))
        return document

    def plan_rows(self) -> list[dict[str, Any]]:
        """One row a plan: name, cost, how far from the least-cost one, run folder."""
        return [
            {"name": name, "objective_usd": plan.objective_usd, "differs": self.differs.get(name, 0.0), "run": plan.run}
            for name, plan in zip(self.plans.names, self.plans, strict=True)
        ]


def alternatives(
    case: Case, changes: Mapping[str, Any] | Request | None = None, *, slack: float = 0.05, plans: int = 3,
    out: str | Path | None = None, write: bool = False,
) -> Alternatives:  # fmt: skip
    """How much freedom there is within ``slack`` (a share of |least cost|), and ``plans`` plans that really differ.

    ``changes`` as for ``optimize``. ``write`` (or ``out``) keeps the folder of the analysis. Raises ``CaseError`` for
    wrong input.
    """
    request = changes if isinstance(changes, Request) else Request(sets=changes or {})
    return run_alternatives(case, request, slack, plans, Path(out) if out else None, write or out is not None)


def run_alternatives(
    case: Case, request: Request, slack: float, wanted: int, out: Path | None, write: bool, say: Say = _silent
) -> Alternatives:
    """The least-cost plan, the ranges within the slack, the plans that differ most; the folder of all that."""
    say("finding the least-cost plan")
    best = execute(case, request, Options(write=False))
    if not best.ok:
        return Alternatives(slack, best.status, warnings=list(best.warnings), failed=best)
    case = change(case, request)
    settings = case.settings.solve
    limits = Limits(settings.seconds, settings.gap, settings.threads)
    with collection(on=False):
        near = _Near(case, slack, limits)
    found = Alternatives(slack, best.status, best.objective_usd, warnings=[*best.warnings, *near.notes])
    found.ranges = near.ranges(say)
    say("seeking plans that differ")
    chosen = near.different(wanted)
    kept, names = [best], ["least cost"]
    for name, x in chosen:
        plan = Plan(case.name, case.settings.title, "feasible", case.years)
        plan.about = {**best.about, "certificate": None, "prices": "none: the plan is not the one of least cost",
                      "alternative": name, "slack": slack}  # fmt: skip
        plan.changes = [item.as_dict() for item in case.changes]
        survival = Survival(near.layout, near.rows, near.stamped) if near.survives else None
        weighed = None if near.two is None else weigh(near.two, x)
        own = near.stamped if near.two is None else near.two.program
        measure(plan, case, near.quo, near.layout, near.rows, x, survival=survival, program=own, weighed=weighed)
        assert plan.objective_usd is not None
        plan.gap = max(0.0, plan.objective_usd - near.least) / max(abs(near.least), 1e-9)
        kept.append(plan)
        names.append(name)
    found.plans = Plans(kept, names)
    found.differs = dict(zip(found.plans.names, [0.0, *(near.distance(near.x, x) for _, x in chosen)], strict=True))
    if write:
        say("writing the folder")
        _write(found, case, out)
    return found


def _write(found: Alternatives, case: Case, out: Path | None) -> None:
    with TemporaryDirectory(prefix="oremix-") as scratch:
        for number, plan in enumerate(found.plans, 1):
            write_run(plan, case, Path(scratch) / "none", Path(scratch) / str(number))
        document = found.to_json()
        for number, row in enumerate(document["plans"], 1):
            row["run"] = f"plans/{number}"
        tables = {"ranges": found.ranges, "plans": pd.DataFrame(found.plan_rows()).drop(columns="run")}
        folder = write_analysis("alternatives", document, tables, case, out, plans=list(found.plans))
    found.run = str(document.get("run", folder))


class _Near:
    """The near-optimal set of a case: its program with the cost row, and the engines that move in it."""

    def __init__(self, case: Case, slack: float, limits: Limits) -> None:
        self.case, self.limits, self.notes = case, replace(limits, threads=1), list[str]()
        quo = find_status_quo(case, limits) if has_status_quo(case) else None
        self.quo: StatusQuo | None = quo
        self.layout: Layout = lay_out(case)
        self.rows: list[RuleRow] = RuleRows(
            self.layout, quo.cost_usd_per_y() if quo is not None and quo.ok else {}
        ).rows
        solved = solve(self.layout, self.rows, limits)
        if not solved.has_plan:
            raise EngineError("the least-cost plan was there a moment ago")
        engine = solved.engine
        if engine.whole:
            assert solved.solution is not None
            engine = engine.fixed(solved.solution.x)
        if solved.whole_numbers:
            self.notes.append(
                "whole-number decisions (lots, fixed charges, openings, counts) stay as in the least-cost plan: "
                "ranges and plans are those within that choice"
            )
        self.x, self.units = solved.x, engine.column_unit
        self.survives = any(row.kind == "survive" for row in self.rows)
        self.two = solved.two
        if solved.two is not None:
            refuse_large(solved.two, "alternatives", "each end of a range")
        self.stamped = stamp(self.layout, self.rows, compile_model) if self.survives else engine.program
        self.least = float(engine.program.cost[: self.layout.width] @ self.x)
        if self.two is not None and solved.solution is not None:  # responses are in it
            self.least = solved.solution.objective
        cost = np.flatnonzero(engine.program.cost)
        most = self.least + slack * abs(self.least)
        self.cost = engine.program.cost
        self.program: Program = engine.program.with_rows(
            [(cost, engine.program.cost[cost])] if len(cost) else [], [most] if len(cost) else [], [("near_optimal", 0)]
        )
        self.entry = np.full((len(case.suppliers), len(case.years)), -1, dtype=np.int64)
        self.entry[self.layout.production_supplier, self.layout.production_year] = self.layout.columns("production")
        self._share_base()

    # --- ranges ---------------------------------------------------------------------------------------------------

    def ranges(self, say: Say) -> pd.DataFrame:
        """Least and most of every supplier, and of every country and channel by material, in every year."""
        table, years = self.case.suppliers, self.case.years
        rows: list[dict[str, Any]] = []
        groups: list[Ints] = []
        for by in BY:
            for (material, member), part in table.groupby(["material", by], sort=True):
                places = np.array([self.case.supplier_position[name] for name in part["supplier"]])
                for at, year in enumerate(years):
                    columns = self.entry[places, at]
                    rows.append({"by": by, "member": str(member), "material": str(material), "year": year})
                    groups.append(columns[columns >= 0])
        least, most = self._extremes(groups, say)
        found = pd.DataFrame(rows)
        found["least_t"], found["most_t"] = least, most
        found["plan_t"] = [_tonnes(float(self.x[columns].sum())) for columns in groups]
        found["class"] = np.where(found["least_t"] > SMALLEST_T, "must-have",
                                  np.where(found["most_t"] <= SMALLEST_T, "must-avoid", "can-have"))  # fmt: skip
        return found

    def _extremes(self, groups: Sequence[Ints], say: Say) -> tuple[Floats, Floats]:
        """Least and most of the sum of each group's columns; what is at its bound already is not solved for."""
        ends = np.array([[float(self.x[columns].sum())] * 2 for columns in groups]).reshape(-1, 2)
        lower, upper = self.program.lower, self.program.upper
        work = []
        known: dict[tuple[bytes, int], list[int]] = {}
        for number, columns in enumerate(groups):
            for side, bound in ((0, float(lower[columns].sum())), (1, float(upper[columns].sum()))):
                if not len(columns) or abs(ends[number, side] - bound) <= 1e-9 * max(1.0, abs(bound)):
                    continue
                key = (np.sort(columns).tobytes(), side)  # a country of one supplier is that supplier
                if key not in known:
                    work.append((columns, side, key))
                known.setdefault(key, []).append(number)
        for done, ((_, side, key), value) in enumerate(self._solved(work), 1):
            for number in known[key]:
                plan = float(self.x[groups[number]].sum())
                ends[number, side] = min(plan, value) if side == 0 else max(plan, value)
            if done % 20 == 0:
                say(f"ranges: {done} of {len(work)} solves")
        least = np.array([_tonnes(value) for value in ends[:, 0].tolist()])
        most = np.array([_tonnes(value) for value in ends[:, 1].tolist()])
        return least, most

    def _solved(self, work: Sequence[Any]) -> Iterator[tuple[Any, float]]:
        """The value of each extreme, over all cores: an engine for each thread, each from its own last basis."""
        count = max(1, min(len(work), _cores(self.case.settings.solve.threads)))
        blocks = [work[start::count] for start in range(count)]

        def do(block: Sequence[Any]) -> list[tuple[Any, float]]:
            mover = _Mover(self)
            return [(item, mover.extreme(item[0], item[1])) for item in block]

        step = 40
        with ThreadPoolExecutor(count) as pool:
            parts = [block[start : start + step] for block in blocks for start in range(0, len(block), step)]
            for found in pool.map(do, parts):
                yield from found

    # --- plans that differ ------------------------------------------------------------------------------------------

    def _share_base(self) -> None:
        """Shares of requirement by material, year, country and channel: what makes two plans different."""
        layout, case = self.layout, self.case
        flows = np.flatnonzero(layout.flow_destination >= len(case.suppliers))
        material, year, origin = layout.flow_material[flows], layout.flow_year[flows], layout.flow_origin[flows]
        total = np.zeros((len(case.materials), len(case.years)))
        np.add.at(total, (layout.requirement_material, layout.requirement_year), layout.requirement_t)
        kept = total[material, year] > 0
        self.flows = layout.offsets["flow"] + flows[kept]
        material, year, origin = material[kept], year[kept], origin[kept]
        self.weight = 1.0 / total[material, year]
        self.subjects = max(1, int((total > 0).sum()))
        table = case.suppliers
        self.channel = table["channel"].to_numpy()[origin]
        self.country = table["country"].to_numpy()[origin]
        keys = pd.DataFrame({"m": material, "y": year, "c": self.country, "h": self.channel})
        self.cell = keys.groupby(["m", "y", "c", "h"], sort=False).ngroup().to_numpy()

    def cells(self, x: Floats) -> Floats:
        """Share of each cell at x."""
        count = int(self.cell.max(initial=-1)) + 1
        return np.bincount(self.cell, weights=x[self.flows] * self.weight, minlength=count).astype(float)

    def distance(self, one: Floats, other: Floats) -> float:
        """Share of what is delivered that comes from elsewhere, on average over materials and years; 0 to 1."""
        return float(np.abs(self.cells(one) - self.cells(other)).sum() / 2 / self.subjects)

    def _lean(self, x: Floats) -> str:
        """What a plan has most more of than the least-cost one: "more allied", "more AUS"."""
        moved = (x - self.x)[self.flows] * self.weight
        sums = pd.concat([pd.Series(moved).groupby(names).sum() for names in (self.channel, self.country)])
        return f"more {sums.idxmax()}"

    def different(self, wanted: int) -> list[tuple[str, Floats]]:
        """Plans as far as can be from the least-cost one and from one another (greedy, farthest first), each a
        vertex of the near-optimal set, named by what it leans on.
        """
        if wanted <= 0 or not len(self.flows):
            return []
        mover = _Mover(self)
        candidates: list[tuple[str, Floats]] = []
        base = pd.Series(self.x[self.flows] * self.weight)
        countries = base.groupby(self.country).sum().sort_values(ascending=False).index[:LEANING]
        leaning = [("channel", name) for name in ("domestic", "allied", "recycling", "incumbent")]
        leaning += [("country", name) for name in countries]
        for by, name in leaning:
            mine = (self.channel if by == "channel" else self.country) == name
            if not mine.any():
                continue
            for sign, word in ((-1.0, "most"), (1.0, "least")):
                x = mover.towards(self.flows[mine], sign * self.weight[mine])
                if x is not None:
                    candidates.append((f"{word} {name}", x))
        used = self.cells(self.x)
        for _ in range(wanted + 1):  # away from whatever was used so far (hop, skip, jump)
            x = mover.towards(self.flows, used[self.cell] * self.weight)
            if x is None:
                break
            candidates.append((self._lean(x), x))
            used = used + self.cells(x)
        chosen: list[tuple[str, Floats]] = []
        against = [self.x]
        while candidates and len(chosen) < wanted:
            far = [min(self.distance(x, other) for other in against) for _, x in candidates]
            best = int(np.argmax(far))
            if far[best] < 1e-6:
                break
            chosen.append(candidates.pop(best))
            against.append(chosen[-1][1])
        return chosen


class _Mover:
    """An engine in the near-optimal set: what is minimised changes, the set stays."""

    def __init__(self, near: _Near) -> None:
        self.near = near
        self.engine = Engine(near.program, near.units)
        survival = Survival(near.layout, near.rows, near.stamped) if near.survives else None
        self.cutter = Cutter(near.layout, near.rows, np.arange(near.layout.width), survival=survival)
        self.every = np.arange(len(near.program.cost))
        self.given = near.program.cost.copy()

    def _minimise(self, columns: Ints, weights: Floats) -> Floats | None:
        wanted = np.zeros(len(self.every))
        np.add.at(wanted, columns, weights)
        moved = np.flatnonzero(wanted != self.given)
        self.engine.change_costs(moved, wanted[moved])
        self.given = wanted
        solution = self.cutter.solve(self.engine, self.near.limits)
        if not solution.has_plan:
            if solution.status == "stopped":
                return None
            raise EngineError(f"the near-optimal set was found {solution.status}")
        return solution.x

    def extreme(self, columns: Ints, side: int) -> float:
        """Least (0) or most (1) of the sum of columns, t; the plan's own where time ran out."""
        unit = self.engine.money_unit / float(np.median(self.near.units[columns]))
        x = self._minimise(columns, np.full(len(columns), unit if side == 0 else -unit))
        return float((self.near.x if x is None else x)[columns].sum())

    def towards(self, columns: Ints, weights: Floats) -> Floats | None:
        """The vertex of least weighted sum, as values of the layout."""
        x = self._minimise(columns, weights * self.engine.money_unit * 100)
        return None if x is None else without_idle(x[: self.near.layout.width], self.near.layout)


def _tonnes(value: float) -> float:
    return value if abs(value) >= SMALLEST_T else 0.0


def _cores(threads: int) -> int:
    """Threads to use: as the case asks, or one for each core that this process may use."""
    if threads:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
