"""The whole program of a case: years stamped, rules, and responses to outcomes where the objective weighs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.layout import Layout
from models.problems import CaseError, Problem
from models.rule_rows import RuleRow
from optimizer.compiling import compile_model
from optimizer.program import Program
from optimizer.stamping import stamp
from optimizer.two_stage import TwoStage, with_costs, with_responses

# Rows of responses up to which a plan that weighs disruptions is taken apart by many solves: its parts are one program.
MOST_RESPONSE_ROWS = 3000


def refuse_large(two: TwoStage, place: str, what: str) -> None:
    """Raise ``CaseError`` where ``what`` (one of many) would be a solve of too large a whole."""
    if two.height > MOST_RESPONSE_ROWS:
        message = (
            f"{len(two.outcomes)} outcomes are weighed, which tie everything together: {what} would be a solve of the "
            "whole; take fewer minerals (--mineral), or leave --risk-weight out"
        )
        raise CaseError([Problem(place, message)])


def weighs_outcomes(layout: Layout) -> bool:
    """Whether disruptions are in the objective."""
    return layout.case.settings.risk.weight is not None and not layout.status_quo


def formulate(
    layout: Layout, rows: Sequence[RuleRow], formulated: dict[bytes, Program] | None = None, weighs: bool = True,
    most_rows: float = np.inf,
) -> tuple[Program, Program, TwoStage | None]:  # fmt: skip
    """The program that is solved, the plan's own part of it, and its outcomes (None where they do not count).

    Without outcomes the two programs are the same. ``formulated`` keeps compiled templates from call to call.
    ``weighs`` off: outcomes do not count. Responses of more than ``most_rows`` rows are left to cuts, where the
    program has no whole numbers.
    """
    own = stamp(layout, rows, compile_model, formulated)
    if not (weighs and weighs_outcomes(layout)):
        return own, own, None
    two = TwoStage.of(layout, own)
    if two.height > most_rows and not own.integer.any():
        return with_costs(two)[0], own, two
    return with_responses(two), own, two
