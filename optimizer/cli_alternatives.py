"""The Typer command alternatives, registered by optimizer/cli.py."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer import options as o

_WHAT = "What to examine"
Slack = Annotated[
    str, typer.Option("--slack", help="How much more than least cost may be spent: 5% or 0.05.", rich_help_panel=_WHAT)
]
Wanted = Annotated[
    int, typer.Option("--plans", min=0, help="How many plans that really differ are kept.", rich_help_panel=_WHAT)
]


def alternatives(
    case: o.CaseName = "us", slack: Slack = "5%", plans: Wanted = 3, minerals: o.Minerals = None, years: o.Years = None,
    scenarios: o.Scenarios = None, levers: o.Levers = None, sets: o.Sets = None, demand_scale: o.DemandScale = None,
    no_rules: o.NoRules = False, min_domestic: o.MinDomestic = None, min_allied: o.MinAllied = None,
    min_recycled: o.MinRecycled = None, max_incumbent: o.MaxIncumbent = None, max_country: o.MaxCountry = None,
    max_supplier: o.MaxSupplier = None, max_hhi: o.MaxHhi = None, bans: o.Bans = None, survive: o.Survive = None,
    stock_days: o.StockDays = None, risk_weight: o.RiskWeight = None, tail: o.Tail = None, joint: o.Joint = False,
    stage: o.StageName = "delivered", out: o.Out = None, show_year: o.Compare = None, json: o.Json = False,
    quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """What is left open at little more than least cost: the least and most of everything, and plans that differ.

    Must-have: in every plan within the slack. Must-avoid: in none. Can-have: in some. The plans kept are run folders
    for `oremix compare`.

    Examples: `oremix alternatives small`, `oremix alternatives us --mineral lithium --slack 10%`
    """
    from optimizer import alternatives_commands

    shares = {"min-domestic": min_domestic, "min-allied": min_allied, "min-recycled": min_recycled,
              "max-incumbent": max_incumbent, "max-country": max_country, "max-supplier": max_supplier,
              "max-hhi": max_hhi}  # fmt: skip
    rules = o.flag_rules(stage, shares, bans or [], stock_days, survive)
    request = o.request_of(minerals, years, scenarios, sets, demand_scale, no_rules, rules, levers,
                                (risk_weight, tail, joint))  # fmt: skip
    spare = o.share("--slack", slack)
    code = alternatives_commands.alternatives(case, request, spare, plans, out, show_year, json, quiet, verbose)
    raise typer.Exit(code)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(alternatives)
