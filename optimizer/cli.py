"""The command line: Typer commands without logic; one printer, one place for errors and exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from optimizer import cli_alternatives, cli_explain, cli_frontier, cli_reports, cli_risk, cli_sweep
from optimizer import options as o

app = typer.Typer(
    name="oremix", no_args_is_help=True, add_completion=False, rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False,
    help="""Least-cost sourcing of critical minerals under limits on concentration and security.

Start with `oremix optimize`, then `oremix optimize --mineral lithium --max-country 50%`.

Exit codes: 0 done, 1 our fault, 2 wrong input, 3 no plan can meet the rules, 4 stopped early, 5 audit mismatch.""",
)  # fmt: skip

USAGE: type[Exception] = typer.BadParameter.__bases__[0]  # click's UsageError, wherever this typer keeps it


INTERRUPTED = 130  # what typer makes of Ctrl-C


@app.command()
def optimize(
    case: o.CaseName = "us", minerals: o.Minerals = None, years: o.Years = None, scenarios: o.Scenarios = None,
    levers: o.Levers = None, sets: o.Sets = None, demand_scale: o.DemandScale = None, no_rules: o.NoRules = False,
    min_domestic: o.MinDomestic = None, min_allied: o.MinAllied = None, min_recycled: o.MinRecycled = None,
    max_incumbent: o.MaxIncumbent = None, max_country: o.MaxCountry = None, max_supplier: o.MaxSupplier = None,
    max_hhi: o.MaxHhi = None, bans: o.Bans = None, survive: o.Survive = None, stock_days: o.StockDays = None,
    risk_weight: o.RiskWeight = None, tail: o.Tail = None, joint: o.Joint = False,
    stage: o.StageName = "delivered",
    status_quo: o.StatusQuo = False, relax: o.Relax = False, out: o.Out = None, show_year: o.Compare = None,
    json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """The least-cost plan that keeps the rules; prints the answer and writes a run folder.

    Examples: `oremix optimize`, `oremix optimize us --scenario crma --relax`,
    `oremix optimize mycase --set rules.domestic.min=0.4 --json`
    """
    from optimizer import commands

    shares = {"min-domestic": min_domestic, "min-allied": min_allied, "min-recycled": min_recycled,
              "max-incumbent": max_incumbent, "max-country": max_country, "max-supplier": max_supplier,
              "max-hhi": max_hhi}  # fmt: skip
    rules = o.flag_rules(stage, shares, bans or [], stock_days, survive)
    request = o.request_of(minerals, years, scenarios, sets, demand_scale, no_rules, rules, levers,
                                (risk_weight, tail, joint))  # fmt: skip
    raise typer.Exit(commands.optimize(case, request, status_quo, relax, out, show_year, json, quiet, verbose))


@app.command()
def check(
    case: o.CaseName = "us", minerals: o.Minerals = None, years: o.Years = None, scenarios: o.Scenarios = None,
    levers: o.Levers = None, sets: o.Sets = None, demand_scale: o.DemandScale = None, no_rules: o.NoRules = False,
    risk_weight: o.RiskWeight = None, tail: o.Tail = None, joint: o.Joint = False,
    json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """Read every table, list every problem, sizes and coverage; nothing is solved or written.

    Example: `oremix check mycase`
    """
    from optimizer import commands

    request = o.request_of(minerals, years, scenarios, sets, demand_scale, no_rules, [], levers,
                           (risk_weight, tail, joint))  # fmt: skip
    raise typer.Exit(commands.check(case, request, json, quiet))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Two or more run folders.")],
    show_year: o.Compare = None, json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """Cost, mix, risk and rule differences of runs, side by side.

    Example: `oremix compare runs/a runs/b`
    """
    from optimizer import commands

    raise typer.Exit(commands.compare(runs, show_year, json))


@app.command()
def show(
    run: o.RunName,
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="Table to show; none: the answer.")] = None,
    show_year: o.Compare = None, json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """The answer of a run again, or one of its result tables.

    Example: `oremix show runs/us-20261121-120000 rules`
    """
    from optimizer import commands

    raise typer.Exit(commands.show(run, table, show_year, json, quiet))


@app.command()
def columns(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="One table; none: all.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown, as in models/COLUMNS.md.")] = False,
    json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """The column dictionary: what each column of each table means, its unit and range.

    Example: `oremix columns suppliers`
    """
    from optimizer import commands

    raise typer.Exit(commands.columns(table, markdown, json))


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One preset in full; none: the list.")] = None,
    json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """The presets: policy rules as scenarios, each with its source, dates and status.

    Example: `oremix presets crma`, then `oremix optimize --scenario crma --relax`
    """
    from optimizer import commands

    raise typer.Exit(commands.presets(name, json))


@app.command()
def levers(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One lever in full; none: the list.")] = None,
    json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """The policy levers: what each changes, its unit and source.

    Example: `oremix levers`, then `oremix optimize --lever 45x --lever recycling=60%`
    """
    from optimizer import commands

    raise typer.Exit(commands.levers(name, json))


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder (or FILE.xlsx) to make.")],
    source: Annotated[
        str, typer.Option("--from", help="Case to start from: small, us, a case folder or a workbook.")
    ] = "small",
    excel: Annotated[bool, typer.Option("--excel", help="As a workbook, FOLDER/case.xlsx.")] = False,
    json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False,
) -> None:  # fmt: skip
    """A starter case to make your own, as CSV files or as a workbook; also turns one into the other.

    Examples: `oremix new mycase`, `oremix new mycase.xlsx`, `oremix new asfolder --from mycase.xlsx`
    """
    from optimizer import commands

    raise typer.Exit(commands.new(folder, source, excel, json))


@app.command()
def doctor(json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False) -> None:
    """Versions, and a self-test on the case solved by hand.

    Example: `oremix doctor`
    """
    from optimizer import commands

    raise typer.Exit(commands.doctor(json))


cli_reports.register(app)
cli_sweep.register(app)
cli_alternatives.register(app)
cli_frontier.register(app)
cli_explain.register(app)
cli_risk.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"oremix {version('oremix')}")
        raise typer.Exit


@app.callback()
def _global(
    shown: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options that stand before the command."""


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit code; every error becomes a message or a JSON document."""
    as_json = "--json" in arguments
    verbose = "--verbose" in arguments or "-v" in arguments
    try:
        code = app(arguments, standalone_mode=False)
        code = code if isinstance(code, int) else 0
    except typer.Exit as leave:
        code = leave.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except SystemExit:  # click's way to say that the reader of stdout left early
        return 0
    except USAGE as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        if not as_json:
            error.show() if hasattr(error, "show") else sys.stderr.write(message + "\n")
        return _failed(as_json, "error", [{"message": message}], 2, say=False)
    except Exception as error:  # the one place where an error ends: with a message, and with the traceback on request
        if type(error).__name__ == "CaseError":
            problems: Any = getattr(error, "problems", [])
            return _failed(as_json, "error", [problem.as_dict() for problem in problems], 2, problems)
        if verbose:
            import traceback

            traceback.print_exc()
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        message += "" if verbose else " (run again with --verbose for the details, and please report it)"
        return _failed(as_json, "error", [{"message": message}], 1)
    if code == INTERRUPTED:
        return _failed(as_json, "stopped", [{"message": "stopped by the user: nothing was written"}], 4)
    return code


def _failed(as_json: bool, status: str, errors: list[dict[str, Any]], code: int, problems: Any = None,
            say: bool = True) -> int:  # fmt: skip
    keys = ("file", "row", "column", "value", "message")
    if as_json:
        from json import dumps

        listed = [{**{key: error.get(key, None if key == "row" else "") for key in keys}, **error} for error in errors]
        document = {"status": status, "objective_usd": None, "errors": listed}
        sys.stdout.write(dumps(document) + "\n")
    elif say:
        from optimizer.console import complain

        complain([str(problem) for problem in problems or []] or [str(error["message"]) for error in errors])
    return code


def main() -> None:
    """Entry point of the console script.

    HiGHS' integer search prints a line of its own now and then, past every option: what C code writes to
    stdout goes to stderr, so that stdout holds our results (or the one JSON document) and nothing else.
    """
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="backslashreplace") as ours:
        os.dup2(2, 1)
        sys.stdout = ours
        code = run(sys.argv[1:])
    sys.stdout = sys.__stdout__
    sys.exit(code)


if __name__ == "__main__":
    main()
