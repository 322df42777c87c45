"""Typer command of explanations, registered by optimizer/cli.py."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer import options as o


def explain(
    run: o.RunName,
    why_not: Annotated[
        list[str] | None,
        typer.Option("--why-not", metavar="SUPPLIER", help="Why this supplier is out, or in (repeatable)."),
    ] = None,
    minerals: Annotated[
        list[str] | None, typer.Option("--mineral", "-m", help="Only this mineral (repeatable).")
    ] = None,
    show_year: o.Compare = None, out: o.Out = None, json: o.Json = False, quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """Why a plan is as it is: what each limit costs and how far that holds, what is scarce, what brings a supplier in.

    The run is solved again; every price is confirmed by solving at the end of its range.

    Examples: `oremix explain runs/a`, `oremix explain runs/a --why-not usa_refinery`,
    `oremix explain runs/a --mineral lithium --verbose`
    """
    from optimizer import explain_commands

    raise typer.Exit(explain_commands.explain(run, why_not or [], minerals or [], show_year, out, json, quiet, verbose))


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(explain)
