"""Printing: one console for results (stdout), one for progress and messages (stderr)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 4096  # wide enough that no table is ever cut when it is not a terminal that reads it


def results() -> Console:
    """The console for results: as wide as the terminal, whole when piped."""
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else PIPED_WIDTH, highlight=False, emoji=False,
                   markup=False, soft_wrap=False)  # fmt: skip


def messages() -> Console:
    """The console for progress and messages."""
    return Console(file=sys.stderr, highlight=False, emoji=False, markup=False,
                   width=None if sys.stderr.isatty() else PIPED_WIDTH)  # fmt: skip


def plain(value: object) -> str:
    """Text of a case as it may be shown: no control codes, one line."""
    return "".join(c for c in " ".join(str(value).split()) if c.isprintable())


def complain(lines: Sequence[str]) -> None:
    """Errors on stderr, one a line."""
    console = messages()
    count = len(lines)
    if count > 1:
        console.print(Text(f"{count} problems:", style="bold red"))
    for line in lines:
        console.print(Text.assemble(("- " if count > 1 else "error: ", "bold red"), plain(line)), overflow="fold")


def warn(lines: Sequence[str], most: int = 8) -> None:
    """Warnings on stderr; a long list is cut, and says so."""
    console = messages()
    if not most:
        return
    for line in lines[:most]:
        console.print(Text.assemble(("note: ", "yellow"), plain(line)), overflow="fold")
    if len(lines) > most:
        console.print(Text(f"note: ... and {len(lines) - most} more notes (in plan.json: warnings)", style="yellow"))


def table(headers: Sequence[str | tuple[str, str]], rows: Sequence[Sequence[Any]], title: str = "") -> Table:
    """A table; a header is a text (left, folded where the terminal is narrow), or (text, how): "right" and
    "whole" are never folded.
    """
    made = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False,
                 padding=(0, 1, 0, 0), header_style="bold", show_edge=False)  # fmt: skip
    cells = [[cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row] for row in rows]
    pairs = [header if isinstance(header, tuple) else (header, "left") for header in headers]
    widest = [max([len(text), *(row[place].cell_len for row in cells)]) for place, (text, _) in enumerate(pairs)]
    for size, (text, how) in zip(widest, pairs, strict=True):
        made.add_column(
            Text(text), justify="right" if how == "right" else "left", no_wrap=how != "left", overflow="fold",
            min_width=None if how == "left" else size,
        )  # fmt: skip
    for row in cells:
        made.add_row(*row)
    return made


@contextmanager
def progress(quiet: bool) -> Iterator[Any]:
    """A function that says what is going on: on stderr after a second, silent where that is no terminal."""
    console = messages()
    if quiet or not console.is_terminal:
        yield lambda text: None
        return
    status = console.status("starting ...")
    shown = Timer(1.0, status.start)
    shown.daemon = True
    shown.start()
    try:
        yield lambda text: status.update(f"{text} ...")
    finally:
        shown.cancel()
        status.stop()


@contextmanager
def bar(what: str, quiet: bool) -> Iterator[Any]:
    """A function (done, total) that shows a bar with rate and time left on stderr and gives what counts it on.

    Nothing is shown where stderr is no terminal.
    """
    console = messages()
    if quiet or not console.is_terminal:
        yield lambda done, total: lambda count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(compact=True), console=console, transient=True,
    ) as shown:  # fmt: skip
        task = shown.add_task("preparing", total=None, rate="")

        def begin(done: int, total: int) -> Any:
            shown.reset(task, description=what, total=total, completed=done)

            def count(points: int) -> None:
                speed = shown.tasks[0].finished_speed or shown.tasks[0].speed
                words = f"{speed:,.0f} a second" if speed and speed >= 10 else f"{speed:.2g} a second" if speed else ""
                shown.update(task, advance=points, rate=words)

            return count

        yield begin


def money(usd: float) -> str:
    """USD in words: 12.3 billion, 4.56 million, 789."""
    for size, unit in ((1e9, " billion"), (1e6, " million")):
        if abs(usd) >= size * 0.9995:
            figure = f"{usd / size:#.3g}".rstrip(".") if abs(usd) < 999.5 * size else f"{usd / size:,.0f}"
            return figure + unit
    return f"{usd:,.0f}" if abs(usd) >= 100 or usd == 0 else f"{usd:,.3g}"


def tonnes(t: float) -> str:
    """Tonnes with as many digits as they are worth."""
    return f"{t:,.0f}" if abs(t) >= 100 else f"{t:,.3g}"


def percent(share: float | None) -> str:
    """A share in per cent."""
    return "-" if share is None or share != share else f"{100 * share:.0f}%"
