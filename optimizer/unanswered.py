"""Where some outcome has no response whatever the plan: which requirements without a price would be missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.rule_rows import RuleRow
from optimizer.cutting import Cutter
from optimizer.engine import Engine, Limits
from optimizer.solving import column_units
from optimizer.surviving import Survival
from optimizer.two_stage import Addition, TwoStage, add_copies

_UNIT = 0.01  # of a missing share: a percentage point


def find_unanswered(two: TwoStage, rows: Sequence[RuleRow], limits: Limits) -> list[dict[str, Any]]:
    """The requirements that would be missed after some outcome, by the least sum of missing shares over all copies.

    One entry for each outcome and requirement: what "demand", name (market), mineral, material, year, member
    (the outcome), ``limit`` (t required then) and ``needed`` (t that can be delivered). Empty where undecided.
    """
    layout, network, own = two.layout, two.network, two.program
    added = Addition(len(own.cost))
    add_copies(added, network, two.copies, np.zeros(two.count))
    row, before, places = 0, 0, []
    for number, (piece, touch) in enumerate(two.copies):
        for copy in range(len(touch)):
            for i, at in enumerate(piece.required_row.tolist()):
                places.append((number, before + copy, i, row + copy * piece.height + at))
        row += len(touch) * piece.height
        before += len(touch)
    asked = np.array([
        layout.requirement_t[two.copies[n][0].required[i]] * _touch_of(two, n, copy, i) for n, copy, i, _ in places
    ])  # fmt: skip
    kept = np.flatnonzero(asked > 0)
    missing = added.add_columns("missing", np.arange(len(kept)), np.zeros(len(kept)), np.ones(len(kept)),
                                np.ones(len(kept)))  # fmt: skip
    rows_at = np.array([places[k][3] for k in kept.tolist()], dtype=np.int64)
    added.terms.append((rows_at, missing + np.arange(len(kept)), asked[kept]))
    program = added.to(own, np.zeros(len(own.cost)))
    columns = np.arange(layout.width)
    units = column_units(program, layout, columns)
    units[missing : missing + len(kept)] = _UNIT
    cutter = Cutter(layout, rows, columns, survival=Survival(layout, rows, own))
    _, solution = cutter.optimum(Engine(program, units), limits)
    if not solution.has_plan:
        return []
    share = solution.x[missing : missing + len(kept)]
    case, found = layout.case, []
    markets = list(case.markets)
    for k, lost in zip(kept.tolist(), share.tolist(), strict=True):
        if lost <= 1e-7:
            continue
        number, copy, i, _ = places[k]
        r = int(two.copies[number][0].required[i])
        material = str(case.materials["material"].iloc[layout.requirement_material[r]])
        for o in np.flatnonzero(two.copy_of[:, number] == copy).tolist():
            found.append({
                "what": "demand", "kind": "outcome", "name": markets[layout.requirement_market[r]],
                "mineral": str(case.materials["mineral"].iloc[layout.requirement_material[r]]), "material": material,
                "year": case.years[layout.requirement_year[r]], "member": two.outcomes[o + 1].name,
                "limit": float(asked[k]), "needed": float(asked[k] * (1 - lost)),
            })  # fmt: skip
    return found


def _touch_of(two: TwoStage, number: int, copy: int, requirement: int) -> float:
    before = sum(len(touch) for _, touch in two.copies[:number])
    return float(two.copies[number][1].required[copy - before, requirement])
