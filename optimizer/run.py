"""The one path from a request to an audited plan: changes, case, model, engine, plan, audit, run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.audit import Answer, audit
from models.audit_two_stage import TwoStageClaims
from models.case import Case, Change
from models.changes import Request, change
from models.costs import cost_entries, objective
from models.layout import Layout, lay_out
from models.problems import CaseError, Problem
from models.rule_rows import RuleRow, RuleRows
from optimizer.engine import EngineError, Limits, collection
from optimizer.foresight import find_foresight
from optimizer.measures import tables_of
from optimizer.plan import Plan
from optimizer.plan_values import layout_of, plan_columns
from optimizer.program import Program
from optimizer.repair import Repair
from optimizer.resilience import resilience_table
from optimizer.risk_measures import risk_values
from optimizer.solving import Solved, loss_prices, solve
from optimizer.status_quo import StatusQuo, find_status_quo, has_status_quo
from optimizer.survive_repair import find_repair_with_losses
from optimizer.surviving import Survival
from optimizer.two_stage import TwoStage
from optimizer.two_stage_measures import Weighed, weigh
from optimizer.unanswered import find_unanswered

Say = Callable[[str], None]
# Rows of responses up to which one program with all of them is the quicker one.
MOST_ROWS = 400_000


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Options:
    """How to run: the status quo instead of a plan, loosening rules that cannot hold, where to write."""

    status_quo: bool = False
    relax: bool = False
    out: Path | None = None
    write: bool = True
    name: str = ""


def optimize(
    case: Case, changes: Mapping[str, Any] | Request | None = None, *, status_quo: bool = False, relax: bool = False,
    out: str | Path | None = None, write: bool = False,
) -> Plan:  # fmt: skip
    """The least-cost plan of a case that keeps its rules.

    ``changes``: a ``Request``, or a mapping of keys as in ``--set`` to values (``{"rules.domestic.min": 0.4}``).
    ``relax`` loosens rules that cannot hold by the smallest repair. ``write`` (or ``out``) writes the run folder.
    Returns a ``Plan``; ``plan.status`` tells where there is none. Raises ``CaseError`` for wrong input.
    """
    request = changes if isinstance(changes, Request) else Request(sets=changes or {})
    options = Options(status_quo, relax, Path(out) if out else None, write or out is not None)
    return execute(case, request, options)


def execute(case: Case, request: Request, options: Options, say: Say = _silent) -> Plan:
    """Run one request; the audit follows every solve, the run folder is written where there is a plan."""
    from optimizer.run_folder import write_run

    began = time.perf_counter()
    case = change(case, request)
    with TemporaryDirectory(prefix="oremix-") as temporary:
        log = Path(temporary) / "solver.log"
        with collection(on=False):
            plan, final = _plan(case, options, log, say)
        plan.about["seconds"]["total"] = round(time.perf_counter() - began, 4)
        if options.write and plan.ok:
            say("writing the run folder")
            write_run(plan, final, log, options.out)
    return plan


def _limits(case: Case) -> Limits:
    settings = case.settings.solve
    return Limits(settings.seconds, settings.gap, settings.threads)


def _plan(case: Case, options: Options, log: Path, say: Say) -> tuple[Plan, Case]:
    limits, quo = _limits(case), None
    plan = Plan(case.name, case.settings.title, "infeasible", case.years)
    plan.about = _about(case, options)
    plan.warnings = list(case.warnings)
    if has_status_quo(case):
        say("finding the status quo")
        quo = find_status_quo(case, limits)
    if options.status_quo:
        _as_today(plan, case, quo)
    else:
        case = _as_planned(plan, case, quo, options, limits, log, say)
    plan.changes = [item.as_dict() for item in case.changes]
    return plan, case


def _as_today(plan: Plan, case: Case, quo: StatusQuo | None) -> None:
    """Fill the plan with the status quo itself."""
    if quo is not None and quo.status == "stopped":
        plan.status = "stopped"
        return
    if quo is None or not quo.ok:
        missing = quo.missing if quo is not None else case.delivered_materials()
        named = ", ".join(missing)
        plan.warnings.append(f"there is no status quo: today's suppliers cannot make or deliver {named}")
        plan.conflict = [_conflict(case, material) for material in missing]
        return
    plan.status, plan.gap = "optimal", 0.0
    plan.tables = tables_of(quo.layout, [], quo.x, None)
    able = layout_of(case, status_quo=True)  # with all that a response may use beside what is bought today
    plan.tables["resilience"] = resilience_table(able, plan_columns(able, plan), plan.tables)
    _fill(plan, quo.layout, quo.x)
    plan.status_quo = _summary(quo)
    plan.about["certificate"] = None if quo.certificate is None else vars(quo.certificate)
    plan.warnings += _factor_notes(quo)
    plan.audit = _audited(plan, case, quo, status_quo=True)


def _conflict(case: Case, material: str) -> dict[str, Any]:
    mineral = case.materials["mineral"].get(material, "")
    return {"what": "demand", "name": "home", "mineral": mineral, "year": case.years[0], "material": material}


def _as_planned(
    plan: Plan, case: Case, quo: StatusQuo | None, options: Options, limits: Limits, log: Path, say: Say
) -> Case:
    """Fill the plan with the optimum, or with why there is none; gives the case with what was relaxed."""
    if quo is None or not quo.ok:
        named = "" if quo is None else f": {quo.why}"
        late = quo is not None and quo.status == "stopped"
        plan.warnings.append("no comparison with today" + (named if late else f": the case has no status quo{named}"))
        if any(rule.kind == "budget" and rule.of == "premium" for rule in case.rules):
            if late:
                plan.status = "stopped"
                return case
            message = "of = 'premium' compares with the status quo, and the case has none" + named
            raise CaseError([Problem("case.toml", message, None, "rules")])
    say("building the model")
    layout = lay_out(case)
    rows = _rows(layout, quo)
    say("solving")
    solved = solve(layout, rows, limits, log, most_rows=MOST_ROWS)
    if solved.status == "infeasible" and solved.two is not None and solve(layout, rows, limits, weighs=False).has_plan:
        say("looking for what cannot be answered")
        with collection(on=True):
            _unanswered(plan, solved.two, rows, limits)
    elif solved.status == "infeasible":
        say("looking for what cannot hold together")
        with collection(on=True):  # many models, one after the other
            repair = find_repair_with_losses(layout, rows, limits)
        plan.conflict, plan.repair = repair.conflict, repair.repair
        plan.warnings += repair.notes
        if options.relax and repair.relaxed:
            case = _relaxed(plan, case, repair)
            layout = lay_out(case)
            rows = _rows(layout, quo)
            solved = solve(layout, rows, limits, log, most_rows=MOST_ROWS)
            if not solved.has_plan:
                raise EngineError("no plan was found at the limits of the repair: a tolerance is in the way")
    plan.status = solved.status
    _describe(plan, solved, layout)
    if not solved.has_plan:
        return case
    plan.conflict, plan.repair = [], []
    say("auditing")
    plan.gap = solved.gap
    prices = loss_prices(solved, solved.solution) if solved.prices is not None and solved.solution else None
    weighed = None
    if solved.two is not None:
        say("weighing the outcomes")
        weighed = _weighed(plan, solved, limits)
    measure(plan, case, quo, layout, rows, solved.x, solved.prices, solved.survival, prices, weighed=weighed)
    return case


def _weighed(plan: Plan, solved: Solved, limits: Limits) -> Weighed:
    """The plan measured over its outcomes, and what knowing more would be worth."""
    assert solved.two is not None
    began = time.perf_counter()
    foresight = find_foresight(solved.two, solved.rows, replace(limits, threads=1))
    bound = solved.solution.bound if solved.solution is not None else float("nan")
    gap = max(0.0, solved.solution.objective - bound) if solved.solution is not None and isfinite(bound) else 0.0
    weighed = weigh(solved.two, solved.x, foresight, gap)
    plan.about["seconds"]["weigh"] = round(time.perf_counter() - began, 4)
    plan.about["responses"] = solved.two.count
    return weighed


def _unanswered(plan: Plan, two: TwoStage, rows: list[RuleRow], limits: Limits) -> None:
    """Say which requirements no plan could meet after some outcome."""
    found = find_unanswered(two, rows, limits)
    plan.repair = found
    plan.conflict = [{key: value for key, value in item.items() if key != "needed"} for item in found]
    if found:
        plan.warnings.append(
            "a plan is there, but not one that meets every requirement after every outcome: where a requirement may "
            "be missed, give it a price (demand.csv: shortage_usd_per_t)"
        )
    else:
        plan.warnings.append("which requirements are missed was not decided (time, or the solver's tolerance)")


def measure(
    plan: Plan, case: Case, quo: StatusQuo | None, layout: Layout, rows: list[RuleRow], x: Any,
    prices: dict[int, float] | None = None, survival: Survival | None = None,
    losses: dict[tuple[int, str], float] | None = None, program: Program | None = None, weighed: Weighed | None = None,
) -> None:  # fmt: skip
    """Fill a plan with everything measured at the values x of a layout, and audit it.

    ``prices`` of rule rows, and ``losses``: of each loss of a survive row; none where the plan has none.
    ``program``: one of the layout, where there is one already. ``weighed``: the plan over its outcomes, where they
    count.
    """
    apart = risk_values(layout, rows, x, survival, losses)
    plan.tables = tables_of(layout, rows, x, prices, apart.values, apart.survival, weighed)
    program = survival.program if program is None and survival is not None else program
    plan.tables["resilience"] = resilience_table(layout, x, plan.tables, program)
    _fill(plan, layout, x)
    if weighed is not None:
        plan.two_stage, plan.objective_usd = weighed.summary, weighed.objective_usd
    if quo is not None and quo.ok:
        plan.status_quo = _summary(quo)
    plan.audit = _audited(plan, case, quo, status_quo=False)


def _rows(layout: Layout, quo: StatusQuo | None) -> list[RuleRow]:
    today = quo.cost_usd_per_y() if quo is not None and quo.ok else {}
    return RuleRows(layout, today).rows


def _relaxed(plan: Plan, case: Case, repair: Repair) -> Case:
    """The case at the nearest limits that can be had; each is recorded and warned of."""
    assert repair.relaxed is not None
    log = list(case.changes)
    for item in repair.repair:
        member = f" {item['member']}" if item.get("member") else ""
        what = item["material"] or item["mineral"] or "everything"
        key = f"rules.{item['name']}.{item['bound']} [{what}{member} {item['year']}]"
        log.append(Change(key, item["limit"], item["needed"], "--relax"))
        plan.warnings.append(f"relaxed {key}: {item['limit']:.6g} -> {item['needed']:.6g}")
    limits = {**case.relaxed, **repair.relaxed}
    names = ("rule", "bound", "mineral", "material", "member", "year")
    listed = [{**dict(zip(names, key, strict=True)), "limit": limit} for key, limit in limits.items()]
    relaxed = case.with_(changes=tuple(log), relaxed=limits, raw={**case.raw, "relaxed": listed})
    plan.about["fingerprint"] = relaxed.fingerprint
    return relaxed


def _fill(plan: Plan, layout: Layout, x: Any) -> None:
    entries, years = cost_entries(layout), layout.case.years
    paid = entries.per_year(entries.usd_per_unit, x, len(years))
    public = entries.per_year(entries.public_usd_per_unit, x, len(years))
    plan.cost_usd_per_y = {year: float(usd) for year, usd in zip(years, paid, strict=True)}
    plan.public_usd_per_y = {year: float(usd) for year, usd in zip(years, public, strict=True)}
    plan.objective_usd = float(objective(layout) @ x)


def _summary(quo: StatusQuo) -> dict[str, Any]:
    years = quo.layout.case.years
    cost = quo.cost_usd_per_y()
    return {
        "objective_usd": quo.objective_usd(),
        "cost_usd_per_y": {year: cost["", "", year] for year in years},
        "factors": [
            {"material": material, "year": year, "factor": factor} for (material, year), factor in quo.factors.items()
        ],
        "tables": tables_of(quo.layout, [], quo.x, None),
    }


def _factor_notes(quo: StatusQuo) -> list[str]:
    """Which factors of the status quo are not 1, by material."""
    notes = []
    for material in dict.fromkeys(material for material, _ in quo.factors):
        found = {year: factor for (name, year), factor in quo.factors.items() if name == material}
        if any(abs(factor - 1) > 1e-6 for factor in found.values()):
            shown = ", ".join(f"{year}: {factor:.4g}" for year, factor in found.items())
            notes.append(f"status quo factor of {material} is not 1 ({shown})")
    return notes


def _about(case: Case, options: Options) -> dict[str, Any]:
    return {
        "status_quo": options.status_quo,
        "oremix": version("oremix"), "case": case.name, "as_of": case.settings.as_of,
        "fingerprint": case.fingerprint,
        "home": case.home, "years": list(case.years), "weights": [float(w) for w in case.weights],
        "price_base_year": case.settings.horizon.price_base_year,
        "minerals": list(dict.fromkeys(case.materials["mineral"])),
        "seconds": {},
    }  # fmt: skip


def _describe(plan: Plan, solved: Solved, layout: Layout) -> None:
    program = solved.engine.program
    plan.about.update(
        rows=program.matrix.shape[0], columns=program.matrix.shape[1], nonzeros=int(program.matrix.nnz),
        whole_numbers=solved.whole_numbers, bound_usd=_bound(solved), dropped_lanes=layout.dropped_lanes,
        hhi_cuts=len(solved.cuts), response_rounds=solved.rounds, survive_cuts=len(solved.survive_cuts),
        iterations=solved.iterations,
        certificate=None if solved.certificate is None else vars(solved.certificate),
        prices=_prices_note(solved),
    )  # fmt: skip
    plan.about["seconds"] = {name: round(value, 4) for name, value in solved.seconds.items()}


def _bound(solved: Solved) -> float | None:
    """What no plan can cost less than, where whole numbers leave a gap; discounted USD."""
    bound = solved.solution.bound if solved.solution is not None else float("nan")
    return bound if solved.has_plan and solved.whole_numbers and isfinite(bound) else None


def _prices_note(solved: Solved) -> str:
    """Where the prices come from, or why there are none."""
    if solved.prices is not None:
        return "of the linear program"
    return (
        "none: the plan has whole-number decisions, so a limit has no single price"
        if solved.has_plan
        else "none: no plan"
    )


def _audited(plan: Plan, case: Case, quo: StatusQuo | None, status_quo: bool) -> list[dict[str, Any]]:
    """What the independent audit finds wrong; empty where everything agrees."""
    tables = plan.tables
    shown = tables["rules"].assign(value=lambda t: t["value"].astype(float))
    today = None
    if quo is not None and quo.ok:
        today = quo.cost_usd_per_y()
    assert plan.objective_usd is not None
    answer = Answer(
        suppliers=tables["suppliers"], flows=tables["flows"], shortage=tables["shortage"], rules=shown,
        costs=tables["costs"], expansion=tables["expansion"], stock=tables["stock"],
        substitution=tables["substitution"], cost_usd_per_y=plan.cost_usd_per_y,
        public_usd_per_y=plan.public_usd_per_y, objective_usd=plan.objective_usd,
        status_quo=status_quo, status_quo_usd_per_y=today, two_stage=_claims(plan),
    )  # fmt: skip
    return [finding.as_dict() for finding in audit(case, answer)]


def _claims(plan: Plan) -> TwoStageClaims | None:
    """What a plan says of the outcomes; None where disruptions do not count."""
    two = plan.two_stage
    if two is None:
        return None
    table = plan.tables["outcomes"]
    scenarios = {
        name: (float(p), float(usd))
        for name, p, usd in zip(table["outcome"], table["probability"], table["response_usd"], strict=True)
    }
    return TwoStageClaims(
        two["risk_weight"], two["tail"], scenarios, two["first_stage_usd"], two["expected_usd"], two["cvar_usd"],
        two["worst_usd"], two["objective_usd"],
    )  # fmt: skip
