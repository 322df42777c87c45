"""Typer commands over many points: sweep and sensitivity, registered by optimizer/cli.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer import options as o

if TYPE_CHECKING:
    pass

_POINTS = "Points"
_WHO = "Who solves"
Vary = Annotated[
    list[str] | None,
    typer.Option("--vary", help="KEY=A..B/N, KEY=a,b,c, or KEY=A..B with --sample; KEY as in --set (repeatable).",
                 rich_help_panel=_POINTS),
]  # fmt: skip
Ranges = Annotated[
    list[str] | None,
    typer.Option("--vary", help="KEY=A..B: one more uncertain input, or another range for one (repeatable).",
                 rich_help_panel=_POINTS),
]  # fmt: skip
Method = Annotated[
    str, typer.Option("--method", help="How points are drawn: sobol or latin (hypercube).", rich_help_panel=_POINTS)
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Another seed draws other points.", rich_help_panel=_POINTS)]
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="FOLDER", help="Go on with one that was stopped or killed; all else is known.",
                 rich_help_panel=_WHO),
]  # fmt: skip
Cluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="A Dask scheduler, as tcp://host:8786 (extra: cluster).",
                 rich_help_panel=_WHO),
]  # fmt: skip


def sweep(
    context: typer.Context, case: o.CaseName = "us", vary: Vary = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, help="N points over the ranges of assumptions.csv and --vary.",
                     rich_help_panel=_POINTS),
    ] = None,
    method: Method = "sobol", seed: Seed = 0, resume: Resume = None, cluster: Cluster = None,
    minerals: o.Minerals = None, years: o.Years = None, scenarios: o.Scenarios = None, levers: o.Levers = None,
    sets: o.Sets = None, demand_scale: o.DemandScale = None, no_rules: o.NoRules = False,
    min_domestic: o.MinDomestic = None, min_allied: o.MinAllied = None, min_recycled: o.MinRecycled = None,
    max_incumbent: o.MaxIncumbent = None, max_country: o.MaxCountry = None, max_supplier: o.MaxSupplier = None,
    max_hhi: o.MaxHhi = None, bans: o.Bans = None, survive: o.Survive = None, stock_days: o.StockDays = None,
    risk_weight: o.RiskWeight = None, tail: o.Tail = None, joint: o.Joint = False,
    stage: o.StageName = "delivered",
    out: o.Out = None, show_year: o.Compare = None, json: o.Json = False, quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """The least-cost plan at many points: a table with one row a point, and what moves.

    An infeasible point is a row with its reason. Rows are kept as they come: a killed sweep goes on with --resume.

    Examples: `oremix sweep --mineral lithium --max-country 50% --vary rules.max-country.max=20%..100%/9`,
    `oremix sweep us --vary 'suppliers[country=CHN].capacity_t*=0,0.5,1' --scenario shortage_priced`,
    `oremix sweep us --sample 1000`
    """
    from optimizer import sweep_commands

    shares = {"min-domestic": min_domestic, "min-allied": min_allied, "min-recycled": min_recycled,
              "max-incumbent": max_incumbent, "max-country": max_country, "max-supplier": max_supplier,
              "max-hhi": max_hhi}  # fmt: skip
    if resume is not None:
        _alone(context)
        code = sweep_commands.resume_sweep(resume, cluster, show_year, json, quiet, verbose)
    else:
        rules = o.flag_rules(stage, shares, bans or [], stock_days, survive)
        request = o.request_of(minerals, years, scenarios, sets, demand_scale, no_rules, rules, levers,
                                (risk_weight, tail, joint))  # fmt: skip
        asked = sweep_commands.Asked(vary or [], sample, method, seed)
        code = sweep_commands.sweep(case, request, asked, cluster, out, show_year, json, quiet, verbose)
    raise typer.Exit(code)


def sensitivity(
    context: typer.Context, case: o.CaseName = "us", vary: Ranges = None,
    sample: Annotated[
        int,
        typer.Option("--sample", min=0, help="N of the Sobol indices, rounded up to a power of two; N (inputs + 2) "
                     "solves; 0: the tornado alone.", rich_help_panel=_POINTS),
    ] = 256,
    seed: Seed = 0,
    correlate: Annotated[
        bool,
        typer.Option("--correlate", help="Leave samples without a plan out, say how many, and give rank correlations.",
                     rich_help_panel=_POINTS),
    ] = False,
    resume: Resume = None, cluster: Cluster = None,
    minerals: o.Minerals = None, years: o.Years = None, scenarios: o.Scenarios = None, levers: o.Levers = None,
    sets: o.Sets = None, demand_scale: o.DemandScale = None, no_rules: o.NoRules = False,
    min_domestic: o.MinDomestic = None, min_allied: o.MinAllied = None, min_recycled: o.MinRecycled = None,
    max_incumbent: o.MaxIncumbent = None, max_country: o.MaxCountry = None, max_supplier: o.MaxSupplier = None,
    max_hhi: o.MaxHhi = None, bans: o.Bans = None, survive: o.Survive = None, stock_days: o.StockDays = None,
    risk_weight: o.RiskWeight = None, tail: o.Tail = None, joint: o.Joint = False,
    stage: o.StageName = "delivered",
    out: o.Out = None, show_year: o.Compare = None, json: o.Json = False, quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """Which inputs drive cost and mix: a tornado, and Sobol indices with confidence.

    The uncertain inputs are the rows of assumptions.csv, low to high, and --vary. The tornado moves one at a time; the
    indices move all together: how much of the variance each input explains alone (first) and with others (total).

    Examples: `oremix sensitivity us --scenario shortage_priced`, `oremix sensitivity mycase --sample 0`,
    `oremix sensitivity mycase --vary 'suppliers[country=CHL].cost_usd_per_t*=0.8..1.5'`
    """
    from optimizer import sweep_commands

    shares = {"min-domestic": min_domestic, "min-allied": min_allied, "min-recycled": min_recycled,
              "max-incumbent": max_incumbent, "max-country": max_country, "max-supplier": max_supplier,
              "max-hhi": max_hhi}  # fmt: skip
    if resume is not None:
        _alone(context)
        code = sweep_commands.resume_sensitivity(resume, correlate, cluster, show_year, json, quiet)
    else:
        rules = o.flag_rules(stage, shares, bans or [], stock_days, survive)
        request = o.request_of(minerals, years, scenarios, sets, demand_scale, no_rules, rules, levers,
                                (risk_weight, tail, joint))  # fmt: skip
        asked = sweep_commands.Asked(vary or [], sample, "sobol", seed, correlate)
        code = sweep_commands.sensitivity(case, request, asked, cluster, out, show_year, json, quiet, verbose)
    raise typer.Exit(code)


_WITH_RESUME = frozenset(("resume", "cluster", "correlate", "show_year", "json", "quiet", "verbose"))


def _alone(context: typer.Context) -> None:
    """With --resume, what is solved is known: nothing else may be given."""
    from models.problems import CaseError, Problem

    sources = {name: getattr(context.get_parameter_source(name), "name", "") for name in context.params}
    given = [name for name, source in sources.items() if source == "COMMANDLINE" and name not in _WITH_RESUME]
    if given:
        flags = {option.name: option.opts[-1] for option in context.command.params} | {"case": "CASE"}
        message = "goes on with what was asked for: give nothing else but --cluster, --show-year, --json, --quiet"
        raise CaseError([Problem("--resume", message, value=", ".join(str(flags[name]) for name in given))])


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(sweep)
    app.command()(sensitivity)
