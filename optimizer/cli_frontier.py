"""Typer commands of trade-offs: frontier and alternatives, registered by optimizer/cli.py."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer import options as o

_WHAT = "What to examine"
Trade = Annotated[
    str,
    typer.Option("--trade", metavar="cost:KEY", rich_help_panel=_WHAT,
                 help="KEY: rules.NAME.max (any rule's limit), or largest_country_share, domestic_share, "
                 "recycled_share, incumbent_share, import_reliance, bloc_share:NAME, hhi_country, emissions."),
]  # fmt: skip
Keep = Annotated[
    int,
    typer.Option("--keep", min=0, help="At most so many plans as run folders: the sharpest breakpoints.",
                 rich_help_panel=_WHAT),
]  # fmt: skip


def frontier(
    case: o.CaseName = "us", trade: Trade = ..., keep: Keep = 20, minerals: o.Minerals = None, years: o.Years = None,  # type: ignore[assignment]
    scenarios: o.Scenarios = None, levers: o.Levers = None, sets: o.Sets = None, demand_scale: o.DemandScale = None,
    no_rules: o.NoRules = False, min_domestic: o.MinDomestic = None, min_allied: o.MinAllied = None,
    min_recycled: o.MinRecycled = None, max_incumbent: o.MaxIncumbent = None, max_country: o.MaxCountry = None,
    max_supplier: o.MaxSupplier = None, max_hhi: o.MaxHhi = None, bans: o.Bans = None, survive: o.Survive = None,
    stock_days: o.StockDays = None, risk_weight: o.RiskWeight = None, tail: o.Tail = None, joint: o.Joint = False,
    stage: o.StageName = "delivered", out: o.Out = None, json: o.Json = False, quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """What a limit costs, exactly: least cost over all its values, every breakpoint, where no plan is left.

    The limit is that of a rule, or of a measure for all minerals alike (at --stage). The plan at each breakpoint is
    kept.

    Examples: `oremix frontier small --trade cost:rules.one_country.max`,
    `oremix frontier us --mineral lithium --trade cost:domestic_share`
    """
    from optimizer import frontier_commands

    shares = {"min-domestic": min_domestic, "min-allied": min_allied, "min-recycled": min_recycled,
              "max-incumbent": max_incumbent, "max-country": max_country, "max-supplier": max_supplier,
              "max-hhi": max_hhi}  # fmt: skip
    rules = o.flag_rules(stage, shares, bans or [], stock_days, survive)
    request = o.request_of(minerals, years, scenarios, sets, demand_scale, no_rules, rules, levers,
                                (risk_weight, tail, joint))  # fmt: skip
    raise typer.Exit(frontier_commands.frontier(case, request, trade, stage, keep, out, json, quiet, verbose))


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(frontier)
