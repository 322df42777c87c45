"""Typer command about disruption: stress, registered by optimizer/cli.py."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer import options as o

_LOSS = "What is lost"
What = Annotated[
    str, typer.Argument(metavar="[CASE or RUN]", help="A case (its least-cost plan is tested), or a run folder.")
]
Lose = Annotated[
    list[str] | None,
    typer.Option("--lose", help="each country, each controller, each supplier, country:CHN, bloc:NAME, scenario:NAME "
                 "(repeatable; none: all of them, and every scenario).", rich_help_panel=_LOSS),
]  # fmt: skip
Months = Annotated[float, typer.Option("--months", help="How long it lasts.", rich_help_panel=_LOSS)]
Pairs = Annotated[bool, typer.Option("--pairs", help="Pairs of countries too.", rich_help_panel=_LOSS)]


def stress(
    context: typer.Context, case: What = "us", lose: Lose = None, months: Months = 12.0, pairs: Pairs = False,
    minerals: o.Minerals = None, years: o.Years = None, scenarios: o.Scenarios = None, levers: o.Levers = None,
    sets: o.Sets = None, demand_scale: o.DemandScale = None, no_rules: o.NoRules = False,
    min_domestic: o.MinDomestic = None, min_allied: o.MinAllied = None, min_recycled: o.MinRecycled = None,
    max_incumbent: o.MaxIncumbent = None, max_country: o.MaxCountry = None, max_supplier: o.MaxSupplier = None,
    max_hhi: o.MaxHhi = None, bans: o.Bans = None, survive: o.Survive = None, stock_days: o.StockDays = None,
    risk_weight: o.RiskWeight = None, tail: o.Tail = None, joint: o.Joint = False,
    stage: o.StageName = "delivered", out: o.Out = None, show_year: o.Compare = None, json: o.Json = False,
    quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """What each loss does to the plan that is kept, and to one made knowing it; worst first.

    Without --lose: every country, controller, supplier and scenario of disruptions.csv.

    Examples: `oremix stress us --scenario shortage_priced`, `oremix stress runs/us-20261121-120000 --pairs`,
    `oremix stress us --mineral cobalt --lose country:COD --months 6`
    """
    from optimizer import stress_commands

    request = None
    if stress_commands.is_run(case):
        _of_a_run(context)
    else:
        shares = {"min-domestic": min_domestic, "min-allied": min_allied, "min-recycled": min_recycled,
                  "max-incumbent": max_incumbent, "max-country": max_country, "max-supplier": max_supplier,
                  "max-hhi": max_hhi}  # fmt: skip
        rules = o.flag_rules(stage, shares, bans or [], stock_days, survive)
        request = o.request_of(minerals, years, scenarios, sets, demand_scale, no_rules, rules, levers,
                                (risk_weight, tail, joint))  # fmt: skip
    raise typer.Exit(
        stress_commands.stress(case, request, lose or [], months, pairs, out, show_year, json, quiet, verbose)
    )


_WITH_RUN = frozenset(("case", "lose", "months", "pairs", "out", "show_year", "json", "quiet", "verbose"))


def _of_a_run(context: typer.Context) -> None:
    """A run is tested as it is: what changes a case cannot be given with it."""
    from models.problems import CaseError, Problem

    sources = {name: getattr(context.get_parameter_source(name), "name", "") for name in context.params}
    given = [name for name, source in sources.items() if source == "COMMANDLINE" and name not in _WITH_RUN]
    if given:
        flags = {option.name: option.opts[-1] for option in context.command.params}
        listed = ", ".join(str(flags[name]) for name in given)
        raise CaseError([Problem("stress", "a run is tested as it is: change the case instead", value=listed)])


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(stress)
