"""Typer commands of what leaves the tool: report and export, registered by optimizer/cli.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer import options as o


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders; also folders of frontier, stress, ...")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="FILE.html (default: report.html in the first folder).")
    ] = None,
    shown: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """One HTML file for the meeting: the answer, mix, flows, concentration, costs, limits, proof and sources.

    It needs no network, and reads on a phone and on paper. Several runs are compared; folders of `frontier`,
    `alternatives`, `stress`, `sensitivity`, `sweep` and `explain` add their sections.

    Examples: `oremix report runs/a`, `oremix report runs/a runs/b runs/us-frontier-... --out meeting.html --open`
    """
    from optimizer import leaving

    raise typer.Exit(leaving.report(runs, out, shown, json, quiet))


def export(
    run: o.RunName,
    to: Annotated[Path, typer.Option("--to", help="FILE.xlsx, .json, .lp or .mps; FOLDER.csv or .parquet.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what is there already.")] = False,
    json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """A run as a workbook, CSV files, JSON, Parquet, or the program itself (LP, MPS), by the ending of FILE.

    Examples: `oremix export runs/a --to plan.xlsx`, `oremix export runs/a --to plan.csv`, `--to model.lp`
    """
    from optimizer import leaving

    raise typer.Exit(leaving.export(run, to, force, json, quiet))


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(report)
    app.command()(export)
