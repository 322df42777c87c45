"""What is wrong with a case, collected and raised all at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Problem:
    """One defect: where it stands, the value found, and what is allowed there.

    ``cell``: where it stands in a sheet (D12); then ``file`` names workbook and sheet.
    """

    file: str
    message: str
    row: int | None = None
    column: str = ""
    value: str = ""
    cell: str = ""

    def __str__(self) -> str:
        parts = (f"{self.file}!{self.cell}", self.column) if self.cell else (self.file, self.row, self.column)
        place = ":".join(str(part) for part in parts if part not in (None, ""))
        found = f" {_shown(self.value)}:" if self.value != "" else ""
        return f"{place}:{found} {self.message}"

    def as_dict(self) -> dict[str, object]:
        """The keys that ``--json`` gives for a defect."""
        keys = asdict(self)
        listed = ("file", "row", "column", "value", "message", *(("cell",) if self.cell else ()))
        return {key: keys[key] for key in listed}


def _shown(value: str) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:76] + "...'"


class CaseError(Exception):
    """The case or the request is wrong; carries every problem found (exit code 2)."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Problems:
    """A list of defects that is raised in one go."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.warnings: list[str] = []
        self.partial = False  # rows were left out of later checks, so "nothing there" may not be the case's fault

    def add(self, file: str, message: str, row: int | None = None, column: str = "", value: object = "") -> None:
        """Record one defect; nothing is raised yet."""
        self.found.append(Problem(file, message, None if row is None else int(row), column, str(value)))

    def rows(self, file: str) -> set[int]:
        """The rows of a file in which a defect was found."""
        return {problem.row for problem in self.found if problem.file == file and problem.row is not None}

    def in_column(self, file: str, column: str) -> bool:
        """Whether a defect was found in the column."""
        return any(problem.file == file and problem.column == column for problem in self.found)

    def warn(self, message: str) -> None:
        """Record a warning: odd, but the case can be solved."""
        if message not in self.warnings:
            self.warnings.append(message)

    def raise_any(self) -> None:
        """Raise ``CaseError`` with all defects found so far, if there are any."""
        if self.found:
            raise CaseError(self.found)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest known name, or lists what is known."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(known[:40]) + (", ..." if len(known) > 40 else "")
    return f"known: {shown}" if known else "there are none"
