"""What the command explain does, between the command line and the libraries: run, print, exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path

from rich.text import Text

from models.problems import CaseError, Problem
from optimizer import console


def explain(
    run: Path, why_not: Sequence[str], minerals: Sequence[str], year: int | None, out: Path | None, as_json: bool,
    quiet: bool, verbose: bool,
) -> int:  # fmt: skip
    """Explain a run, write the folder, print the answer and its path last."""
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CaseError([Problem("--out", "is there already and not empty: name a new folder", value=str(out))])
    with console.progress(quiet or as_json) as say:
        say("loading")
        from optimizer.explaining import explain as explained
        from optimizer.run_folder import read_run
        from optimizer.views import shown_year

        at = shown_year(read_run(run), year)
        found = explained(run, why_not=why_not, minerals=minerals, out=out, write=True, say=say)
    if as_json:
        sys.stdout.write(dumps(found.to_json(), allow_nan=False) + "\n")
        return 0
    from optimizer.explain_views import explanation

    screen = console.results()
    explanation(screen, found, at, verbose)
    if len(found.years) > 1 and not quiet:
        others = ", ".join(str(y) for y in found.years if y != at)
        screen.print(Text(f"other years: --show-year ({others}), or the tables", style="dim"))
    screen.print(Text(found.run), soft_wrap=True)
    return 0
