"""Typer commands of what leaves the tool: export (and report), registered by optimizer/cli.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer import options as o


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
    app.command()(export)
