"""What `oremix report` and `oremix export` do, between the command line and the libraries: run, print, exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

from rich.text import Text

from optimizer import console


def _told(document: dict[str, Any], as_json: bool, path: str, notes: list[str]) -> int:
    """The document, or the path last and what is worth knowing before it."""
    if as_json:
        sys.stdout.write(dumps(document, allow_nan=False) + "\n")
        return 0
    screen = console.results()
    for note in notes:
        screen.print(Text(note), soft_wrap=True)
    screen.print(Text(path), soft_wrap=True)
    return 0


def report(runs: Sequence[Path], out: Path | None, shown: bool, as_json: bool, quiet: bool) -> int:
    """Write the report, open it where asked; the path is printed last."""
    from optimizer.report import report as write

    with console.progress(quiet or as_json) as say:
        say("writing the report")
        path = write(runs, out)
    if shown:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    size = path.stat().st_size
    document = {"status": "ok", "runs": [str(run) for run in runs], "report": str(path), "bytes": size}
    return _told(document, as_json, str(path), [])


def export(run: Path, to: Path, force: bool, as_json: bool, quiet: bool) -> int:
    """Write the run to the file that its ending names; the path is printed last."""
    from optimizer.export import export as write

    with console.progress(quiet or as_json) as say:
        say("writing")
        made = write(run, to, force)
    notes = []
    if "rows" in made:
        cuts = f", {made['hhi_cuts']} cuts" if made["hhi_cuts"] else ""
        notes.append(f"{made['rows']:,} rows, {made['columns']:,} columns{cuts}; tonnes a year and USD")
        optimum = made["reads_back_to_usd"]
        notes.append(
            "read back, but its optimum was not proved in the time allowed" if optimum is None
            else f"read back by HiGHS to the run's optimum, {optimum:,.0f} USD"
        )  # fmt: skip
    return _told(made, as_json, str(to), notes)
