"""One self-contained HTML page from runs and analyses: reads, builds the sections, fills the template, writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from models.problems import CaseError, Problem
from optimizer.plan import clean
from optimizer.report_analyses import analysis_sections
from optimizer.report_blocks import Chart, Section
from optimizer.report_disruptions import disruptions
from optimizer.report_inputs import Inputs, read_inputs
from optimizer.report_money import money_sections
from optimizer.report_plan import plan_sections
from optimizer.report_proof import mathematics, trust_sections
from optimizer.report_years import over_years

MADE_BY = '<meta name="generator" content="oremix'


def report(folders: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write the report of run and analysis folders; gives its path.

    ``out``: default report.html in the first folder. A file that is there is replaced only if it is a report of
    oremix. Raises ``CaseError`` for folders that are neither, and for a place that will not do.
    """
    paths = [Path(folder) for folder in folders]
    if not paths:
        raise CaseError([Problem("report", "give one or more run folders")])
    target = paths[0] / "report.html" if out is None else Path(out)
    if target.suffix.lower() not in (".html", ".htm"):
        raise CaseError([Problem("--out", "the report is one file that ends in .html", value=str(target))])
    _check(target)
    _write(page(read_inputs(paths)), target)
    return target


def _check(target: Path) -> None:
    if not target.exists():
        return
    head = ""
    if target.is_file():
        with target.open(encoding="utf-8", errors="replace") as file:
            head = file.read(2000)
    if MADE_BY not in head:
        message = "is there already and is no report of oremix: name another file"
        raise CaseError([Problem("--out", message, value=str(target))])


def _write(text: str, target: Path) -> None:
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        folder = target.absolute().parent
        with NamedTemporaryFile("w", encoding="utf-8", dir=folder, prefix=".report-", delete=False) as file:
            file.write(text)
        part = Path(file.name)
        part.chmod(0o644)
        part.replace(target)
    except OSError as error:
        raise CaseError([Problem("--out", f"cannot be written: {error.strerror}", value=str(target))]) from error


def sections(inputs: Inputs) -> Iterator[Section]:
    """Every section of the page in its order."""
    if inputs.runs:
        yield from plan_sections(inputs)
        yield from money_sections(inputs)
        yield over_years(inputs)
        yield from disruptions(inputs)
    yield from analysis_sections(inputs)
    if inputs.runs:
        yield from trust_sections(inputs)
    yield mathematics()


def page(inputs: Inputs) -> str:
    """The whole page as text."""
    listed = list(sections(inputs))
    charts = {
        block.name: {"figures": block.figures, "captions": block.captions}
        for section in listed for block in section.blocks if isinstance(block, Chart)
    }  # fmt: skip
    first = inputs.runs[0].plan if inputs.runs else None
    title = "Analyses" if first is None else first.title or first.case
    filled = _template().render(
        title=title, subtitle=_subtitle(inputs), sections=listed, is_chart=lambda block: isinstance(block, Chart),
        data=_script_json(charts), plotly=Markup(_plotly()), style=Markup(_part("report.css")),
        script=Markup(_part("report.js")), html=Markup, version=_version(),
    )  # fmt: skip
    return str(filled)


def _subtitle(inputs: Inputs) -> str:
    parts = []
    if inputs.runs:
        about = inputs.runs[0].plan.about
        if about.get("as_of"):
            parts.append(f"as of {about['as_of']}")
        years = inputs.runs[0].plan.years
        parts.append(f"{years[0]} to {years[-1]}" if len(years) > 1 else str(years[0]))
        parts.append("home " + inputs.runs[0].case.home)
    if inputs.several:
        parts.append("runs: " + ", ".join(run.name for run in inputs.runs))
    if inputs.analyses:
        parts.append("with " + ", ".join(analysis.folder.resolve().name for analysis in inputs.analyses))
    return "; ".join(parts)


def _script_json(document: Any) -> Markup:
    """JSON that can stand inside a script element whatever names it holds."""
    text = json.dumps(clean(document), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


def _part(name: str) -> str:
    return files("optimizer").joinpath("page", name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    """Jinja with escaping everywhere: a name from a case is text, whatever stands in it."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_part("report.html.j2"))


def _plotly() -> str:
    """The script of Plotly as its package carries it, once a page."""
    return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")


def _version() -> str:
    from importlib.metadata import version

    return version("oremix")
