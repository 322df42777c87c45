"""The command line's options, each declared once, and the request that they add up to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.changes import Request

_CASE = "What: the case"
_RULES = "Rules by flag (all minerals, delivered unless --stage)"
_CHANGE = "Changes"
_RUN = "Run"

CaseName = Annotated[
    str, typer.Argument(metavar="CASE", help="A case folder, its case.toml, a workbook (.xlsx), or us or small.")
]
RunName = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as printed by oremix optimize.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no warnings on stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More detail; tracebacks of errors.")]
Minerals = Annotated[
    list[str] | None,
    typer.Option("--mineral", "-m", help="Only this mineral and what it consumes (repeatable).", rich_help_panel=_CASE),
]
Years = Annotated[
    list[int] | None, typer.Option("--year", "-y", help="Only this horizon year (repeatable).", rich_help_panel=_CASE)
]
Scenarios = Annotated[
    list[str] | None,
    typer.Option("--scenario", "-s", help="A scenario of the case or a preset (repeatable).", rich_help_panel=_CHANGE),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="rules.NAME.max=0.5, suppliers[country=CHL].capacity_t*=0.8, KEY+=VALUE, KEY=VALUE.",
                 rich_help_panel=_CHANGE),
]  # fmt: skip
Levers = Annotated[
    list[str] | None,
    typer.Option("--lever", "-l", help="A policy lever: 45x, grant=30%, tariff=CHN:25%@2028; oremix levers lists them "
                 "(repeatable).", rich_help_panel=_CHANGE),
]  # fmt: skip
DemandScale = Annotated[
    float | None, typer.Option("--demand-scale", help="Multiply every requirement.", rich_help_panel=_CHANGE)
]
NoRules = Annotated[bool, typer.Option("--no-rules", help="Drop the case's own rules.", rich_help_panel=_CHANGE)]
MinDomestic = Annotated[str | None, typer.Option(help="Least domestic share, 0.3 or 30%.", rich_help_panel=_RULES)]
MinAllied = Annotated[str | None, typer.Option(help="Least allied share.", rich_help_panel=_RULES)]
MinRecycled = Annotated[str | None, typer.Option(help="Least recycled share.", rich_help_panel=_RULES)]
MaxIncumbent = Annotated[str | None, typer.Option(help="Most from incumbent suppliers.", rich_help_panel=_RULES)]
MaxCountry = Annotated[str | None, typer.Option(help="Most from any one foreign country.", rich_help_panel=_RULES)]
MaxSupplier = Annotated[str | None, typer.Option(help="Most from any one supplier.", rich_help_panel=_RULES)]
MaxHhi = Annotated[str | None, typer.Option(help="Highest HHI by country, 0 to 1.", rich_help_panel=_RULES)]
Survive = Annotated[
    str | None,
    typer.Option(help="Least share still served after the loss of any one country: 60%; or of something else: "
                 "'each supplier=60%'.", rich_help_panel=_RULES),
]  # fmt: skip
Bans = Annotated[
    list[str] | None, typer.Option("--ban", help="Nothing from this bloc (repeatable).", rich_help_panel=_RULES)
]
StockDays = Annotated[
    float | None,
    typer.Option(help="Least days of requirement in stock at the end of each year.", rich_help_panel=_RULES),
]
_WEIGH = "Disruptions in the objective"
RiskWeight = Annotated[
    str | None,
    typer.Option(metavar="W", help="Weigh what may happen (disruptions.csv): 0 expected cost alone, 1 the tail alone.",
                 rich_help_panel=_WEIGH),
]  # fmt: skip
Tail = Annotated[
    str | None,
    typer.Option(metavar="SHARE", help="Share of probability that counts as the worst (default 10%).",
                 rich_help_panel=_WEIGH),
]  # fmt: skip
Joint = Annotated[
    bool, typer.Option("--joint", help="Scenarios strike independently, several at once too.", rich_help_panel=_WEIGH)
]
StageName = Annotated[
    str,
    typer.Option("--stage", help="Where the rules by flag apply: delivered, extraction, ...", rich_help_panel=_RULES),
]
StatusQuo = Annotated[
    bool, typer.Option("--status-quo", help="Go on buying as today instead of planning.", rich_help_panel=_RUN)
]
Relax = Annotated[
    bool, typer.Option("--relax", help="Loosen rules that cannot hold, as little as possible.", rich_help_panel=_RUN)
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="The run folder to write (default runs/...).", rich_help_panel=_RUN)
]
Compare = Annotated[int | None, typer.Option("--show-year", help="Year that the tables show.", rich_help_panel=_RUN)]


def share(flag: str, text: str) -> float:
    """``0.3`` or ``30%`` as a fraction; raises ``CaseError`` for anything else."""
    from models.problems import CaseError, Problem

    try:
        value = float(text[:-1]) / 100 if text.strip().endswith("%") else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise CaseError([Problem(flag, "must be a share from 0 to 1, as 0.3 or 30%", None, "", text)])
    return value


def flag_rules(
    stage: str, shares: dict[str, str | None], bans: list[str], stock_days: float | None = None,
    survive: str | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """The rules that flags ask for, each named like its flag. ``stage`` is where shares and bans hold."""
    from models.problems import CaseError, Problem
    from models.rule_kinds import STAGE_NAMES

    rules: list[dict[str, Any]] = []
    problems = []
    if stage not in STAGE_NAMES:
        problems.append(Problem("--stage", "one of " + ", ".join(STAGE_NAMES), value=stage))
    for flag, text in shares.items():
        if text is None:
            continue
        try:
            value = share(f"--{flag}", text)
        except CaseError as error:
            problems += error.problems
            continue
        side, _, what = flag.partition("-")
        rule: dict[str, Any] = {"name": flag, "stage": stage}
        if what in ("country", "supplier"):
            rule |= {"kind": "each_share", "each": what, "max": value}
        elif what == "hhi":
            rule |= {"kind": "hhi", "max": value}
        else:
            channel = {"recycled": "recycling"}.get(what, what)
            rule |= {"kind": "share", "where": {"channel": channel}, side: value}
        rules.append(rule)
    if survive is not None:
        lose, _, text = survive.rpartition("=")
        try:
            serve = share("--survive", text)
        except CaseError as error:
            problems += error.problems
        else:
            rules.append({"name": "survive", "kind": "survive", "lose": lose.strip() or "each country", "serve": serve})
    if problems:
        raise CaseError(problems)
    if bans:
        rules.append({"name": "ban", "stage": stage, "kind": "ban", "where": {"bloc": list(bans)}})
    if stock_days is not None:
        rules.append({"name": "stock-days", "kind": "stock_days", "days": stock_days})
    return rules


def request_of(
    minerals: list[str] | None, years: list[int] | None, scenarios: list[str] | None, sets: list[str] | None,
    demand_scale: float | None, no_rules: bool, rules: list[dict[str, Any]], levers: list[str] | None = None,
    risk: tuple[str | None, str | None, bool] = (None, None, False),
) -> Request:  # fmt: skip
    """The request of the common flags. ``risk``: what --risk-weight, --tail and --joint say."""
    from models.changes import Request, parse_set
    from models.problems import CaseError, Problem
    from optimizer.levers import parse_levers

    if demand_scale is not None and not 0 <= demand_scale < 1e6:
        raise CaseError([Problem("--demand-scale", "must be a factor, 0 or more", value=str(demand_scale))])
    return Request(
        scenarios=scenarios or (), sets=[*_risk_sets(*risk), *(parse_set(text) for text in sets or ())], rules=rules,
        levers=parse_levers(*levers or ()), minerals=minerals or (), years=years or (), demand_scale=demand_scale,
        no_rules=no_rules,
    )  # fmt: skip


def _risk_sets(weight: str | None, tail: str | None, joint: bool) -> list[tuple[str, Any]]:
    """The settings of ``[risk]`` that flags ask for."""
    from models.problems import CaseError, Problem

    found: list[tuple[str, Any]] = [] if weight is None else [("risk.weight", share("--risk-weight", weight))]
    if tail is not None:
        value = share("--tail", tail)
        if not value:
            raise CaseError([Problem("--tail", "must be a share above 0, as 0.1 or 10%", value=tail)])
        found.append(("risk.tail", value))
    return [*found, ("risk.joint", True)] if joint else found
