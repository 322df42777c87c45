"""Values of the rules that take a program of their own (provenance, survive), and what each loss leaves."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from models.case import Floats
from models.layout import Layout
from models.rule_rows import RuleRow
from optimizer.measures import SURVIVAL
from optimizer.provenance import touched_shares
from optimizer.surviving import Survival


@dataclass(frozen=True)
class RiskValues:
    """``values``: row number -> value and member (the loss that leaves least, "" for provenance). ``survival``: for
    each row of a survive rule and each loss that matters, what is still served and what it costs.
    """

    values: dict[int, tuple[float, str]] = field(default_factory=dict)
    survival: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SURVIVAL)))


def risk_values(
    layout: Layout, rows: list[RuleRow], x: Floats, survival: Survival | None,
    prices: dict[tuple[int, str], float] | None = None,
) -> RiskValues:  # fmt: skip
    """Values of the provenance and survive rows of a plan. ``prices``: (row, loss) -> d objective / d serve."""
    values = {number: (share, "") for number, share in touched_shares(layout, rows, x).items()}
    weights = dict(zip(layout.case.years, layout.case.weights, strict=True))
    records = []
    for served in survival.served(x) if survival is not None else ():
        row, price = rows[served.row], None
        if prices is not None:
            price = prices.get((served.row, served.loss.name), 0.0) / weights[row.year]
        share = min(max(served.share, 0.0), 1.0)
        records.append((row.rule, row.mineral, row.material, row.year, served.loss.name, share, row.limit, price))
        if served.row not in values or share < values[served.row][0] - 1e-9:
            values[served.row] = (share, served.loss.name)
    return RiskValues(values, pd.DataFrame(records, columns=list(SURVIVAL)))
