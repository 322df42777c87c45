"""``frontier``: a case and a limit in, the exact trade-off with the plan at each breakpoint out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from models.case import Case
from models.changes import Request, change
from optimizer.analysis_folder import write_analysis
from optimizer.engine import EngineError, Limits, collection
from optimizer.frontiers import WITHIN, Traced, trace
from optimizer.plan import Plan, clean, records
from optimizer.plans import Plans
from optimizer.run import Options, execute
from optimizer.trading import Trade, trade_of

Say = Callable[[str], None]
KEEP = 20  # run folders of breakpoints that are kept, if not said otherwise
AGREE = 1e-6  # relative: a kept plan, solved whole by the ordinary path, costs what the curve says


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass
class Frontier:
    """Least cost against a limit.

    ``points`` (one row each, the limit rising): limit, objective_usd (discounted), slope_usd (d objective / d limit to
    the right; NaN where no plan is there), slope_usd_per_point (the same for one percentage point of a share),
    breakpoint, run. ``moves``: at each point, as the limit rises, who enters, leaves, is at capacity or goes on at
    another pace (t per 1.00 of the limit). ``made``: tonnes of each supplier along the curve; between two limits of a
    supplier and year a straight line (where ``exact``). ``plans``: the plans kept, named by their limit.
    ``stops``: the tightest limit at which it costs nothing. ``ends_at``: who can go no tighter.
    """

    key: str
    unit: str
    bound: str
    status: str
    exact: bool
    why: str
    points: pd.DataFrame
    moves: pd.DataFrame
    made: pd.DataFrame
    plans: Plans
    breakpoints: list[float] = field(default_factory=list)
    feasible_from: float | None = None
    feasible_to: float | None = None
    stops: float | None = None
    ends_at: tuple[str, ...] = ()
    changes: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    failed: Plan | None = None
    run: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a plan at any limit."""
        return len(self.points) > 0

    def to_json(self) -> dict[str, Any]:
        """The document of ``--json`` and frontier.json."""
        document: dict[str, Any] = {
            "status": self.status, "key": self.key, "unit": self.unit, "bound": self.bound, "exact": self.exact,
            "why": self.why, "tolerance": 0.0 if self.exact else WITHIN, "points": self._points(),
            "breakpoints": self.breakpoints, "feasible_from": self.feasible_from, "feasible_to": self.feasible_to,
            "stops_mattering": self.stops, "ends_at": list(self.ends_at), "changes": clean(self.changes),
            "warnings": self.warnings, "about": clean(self.about), "run": self.run,
        }  # fmt: skip
        if self.failed is not None:
            document.update(conflict=clean(self.failed.conflict), repair=clean(self.failed.repair))
        return document

    def _points(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = clean(records(self.points))
        for row, limit in zip(found, self.points["limit"] if len(self.points) else (), strict=True):
            here = self.moves[self.moves["limit"] == limit] if len(self.moves) else self.moves
            for what in ("enters", "leaves"):
                kept = here[here["change"] == what] if len(here) else here
                row[what] = records(kept[["supplier", "material", "year"]]) if len(kept) else []
        return found


def frontier(
    case: Case, trade: str, changes: Mapping[str, Any] | Request | None = None, *, stage: str = "delivered",
    keep: int = KEEP, out: str | Path | None = None, write: bool = False,
) -> Frontier:  # fmt: skip
    """The trade-off of least cost against a limit: every breakpoint, the slopes, where it becomes infeasible.

    ``trade``: ``rules.NAME.max`` (any rule's limit), or a measure for all minerals alike: largest_country_share,
    domestic_share, recycled_share, incumbent_share, import_reliance, bloc_share:NAME, hhi_country (these at
    ``stage``), emissions. ``changes`` as for ``optimize``. ``keep``: at most so many plans are kept, those of the
    sharpest breakpoints. ``write`` (or ``out``) writes the folder. Raises ``CaseError`` for wrong input.
    """
    request = changes if isinstance(changes, Request) else Request(sets=changes or {})
    return run_frontier(case, request, trade, stage, keep, Path(out) if out else None, write or out is not None)


def run_frontier(
    case: Case, request: Request, trade: str, stage: str = "delivered", keep: int = KEEP, out: Path | None = None,
    write: bool = True, say: Say = _silent,
) -> Frontier:  # fmt: skip
    """Run one frontier, keep its plans, and write its folder."""
    case = change(case, request)
    asked = trade_of(case, trade, stage)
    settings = case.settings.solve
    with collection(on=False):
        traced = trace(asked, Limits(settings.seconds, settings.gap, settings.threads), settings.threads, say)
    found = _described(case, asked, traced)
    if not found.ok:
        say("looking for what cannot hold together")
        found.failed = execute(asked.case, Request(), Options(write=False))
        return found
    with TemporaryDirectory(prefix="oremix-") as scratch:
        _keep(found, asked, keep, Path(scratch) if write else None, say)
        if write:
            say("writing the folder")
            tables = {"points": found.points, "moves": found.moves, "made": found.made}
            document = found.to_json()
            write_analysis("frontier", document, tables, case, out, plans=found.plans.plans)
            found.run = document["run"]
            found.points["run"] = [row["run"] for row in document["points"]]
    return found


def _described(case: Case, trade: Trade, traced: Traced) -> Frontier:
    """What was traced, without plans yet."""
    points = traced.points.rename(columns={"kink": "breakpoint"}).assign(run="")
    if len(points) and trade.is_share:
        points.insert(3, "slope_usd_per_point", points["slope_usd"] / 100)
    status = "feasible" if traced.stopped and traced.status == "optimal" else traced.status
    found = Frontier(
        trade.key, trade.unit, trade.bound, status, traced.exact, traced.why, points, traced.moves, traced.made,
        Plans([], []), traced.breakpoints, traced.feasible_from, traced.feasible_to, traced.stops, traced.ends_at,
        [item.as_dict() for item in case.changes], list(case.warnings),
        {"case": case.name, "title": case.settings.title, "limit": trade.set_key, "fingerprint": case.fingerprint,
         "years": list(case.years), "price_base_year": case.settings.horizon.price_base_year,
         "solves": traced.solves, "parts": traced.parts},
    )  # fmt: skip
    if traced.stopped:
        found.warnings.append("some solves stopped at the time limit: their cost is the best found, not the least")
    if trade.open:
        found.warnings.append(f"every limit above {trade.said(traced.feasible_to or 0)} has a plan too: it has stopped "
                              "mattering there")  # fmt: skip
    return found


def _sharpest(found: Frontier, keep: int) -> list[int]:
    """The points whose plans are kept: the tight end and the sharpest breakpoints; all where they are few."""
    points = found.points
    last = len(points) - 1
    loose = last if found.bound == "max" else 0
    listed = [k for k in range(len(points)) if k != loose or last == 0]  # at the loose end nothing changes any more
    if len(listed) <= keep:
        return listed
    slope = points["slope_usd"].to_numpy()
    bend = {k: abs(slope[k] - slope[k - 1]) if k else float("inf") for k in listed}
    tight = 0 if found.bound == "max" else last
    bend[tight] = float("inf")
    return sorted(sorted(listed, key=lambda k: -bend[k])[:keep])


def _keep(found: Frontier, trade: Trade, keep: int, scratch: Path | None, say: Say) -> None:
    """Solve the whole case at the points kept, by the ordinary path with its audit."""
    chosen = _sharpest(found, keep)
    plans: list[Plan] = []
    limits: list[float] = []
    for number, k in enumerate(chosen, 1):
        limit, value = float(found.points["limit"][k]), float(found.points["objective_usd"][k])
        say(f"plan {number} of {len(chosen)}: {trade.said(limit)}")
        options = Options(out=None if scratch is None else scratch / str(number), write=scratch is not None)
        plan = execute(trade.case_at(limit), Request(), options)
        if plan.objective_usd is None and found.exact:
            raise EngineError(f"no plan at {trade.said(limit)}, where the curve has one")
        if plan.objective_usd is None:
            found.warnings.append(f"no plan could be kept at {trade.said(limit)}: {plan.status} there by a hair")
            continue
        close = AGREE if found.exact else 2 * WITHIN
        if abs(plan.objective_usd - value) > close * max(1.0, abs(value)):
            raise EngineError(f"the plan at {trade.said(limit)} costs {plan.objective_usd:g}, the curve says {value:g}")
        plans.append(plan)
        limits.append(limit)
        found.points.loc[k, "run"] = f"plans/{len(plans)}" if scratch is not None else ""
    found.plans = Plans(plans, [trade.said(limit) for limit in limits], pd.DataFrame({"limit": limits}))
    left = int(found.points["breakpoint"].sum()) + 1 - len(chosen)
    if left > 0:
        found.warnings.append(f"plans are kept of the {len(chosen)} sharpest breakpoints (--keep for more); "
                              "tables/made.csv has the tonnes at every one")  # fmt: skip
