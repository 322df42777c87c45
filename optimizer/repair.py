"""Why no plan can meet the rules, and the smallest change that would make one possible."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.case import Floats
from models.layout import Layout
from models.rule_rows import RuleRow
from optimizer.case_limits import CaseLimit, CaseProgram
from optimizer.conflicts import Block, Conflict, find_conflicts, nearest
from optimizer.engine import Limits
from optimizer.limit_switches import case_program
from optimizer.parts import Parts, cone_ties
from optimizer.trials import Trial, loosened, measured

HARD = 1e3  # one per cent of demand or of a contract weighs as much as 1000 per cent of a rule's limit
# A repair with whole numbers is good enough within this of the smallest; so is all that is found in this time.
GAP, SECONDS = 1e-3, 20.0
STEPS = 14  # halvings in the search for a nearer limit
OPEN = "(time, or the solver's tolerance)"
GIVES_WAY = ("rule", "demand", "minimum")


@dataclass(frozen=True)
class Repair:
    """What cannot hold together, and what would have to give way by how much.

    ``conflict`` and ``repair`` as in contract 4.1. ``relaxed``: rule rows and the limits that they need, None where
    rules alone cannot mend it. ``notes``: what is not proved, in words.
    """

    conflict: list[dict[str, Any]]
    repair: list[dict[str, Any]]
    relaxed: dict[tuple[str, str, str, str, str, int], float] | None
    notes: list[str] = field(default_factory=list)


def find_repair(layout: Layout, rows: Sequence[RuleRow], limits: Limits) -> Repair:
    """Loosen rules alone where that is enough; else demand and contracted minimums (and lots) too.

    Each part of the case that shares nothing with another is looked at by itself. The repair is smallest in the
    sum over rows of the change of each limit, in its own units (shares), or relative to it (index, emissions, budget).
    """
    whole = case_program(layout, rows)
    unmet = [place for place, _ in whole.program.names.places("unmet")]
    parts = Parts(whole.program, cone_ties(whole.rows, whole.slack), unmet)
    ends = time.perf_counter() + max(1.0, min(limits.seconds, SECONDS))
    found = _Found(whole)
    of_part: dict[int, list[CaseLimit]] = {}
    for limit in whole.limits:
        of_part.setdefault(int(parts.of_column[limit.switches[0][0]]), []).append(limit)
    for label, own in of_part.items():
        trial = Trial(whole, parts.part(label), replace(limits, gap=max(limits.gap, GAP)), ends, own)
        there = trial.ask(trial.own).there
        if there is False:
            found.mend(trial)
        found.open |= there is None
    return found.answer()


class _Found:
    """Conflicts and repairs of one part after the other."""

    def __init__(self, whole: CaseProgram) -> None:
        self.whole = whole
        self.conflicts: list[Conflict] = []
        self.needed: dict[CaseLimit, float] = {}
        self.rules_alone, self.open = True, False  # open: time ran out before an answer

    def block(self, limit: CaseLimit) -> Block | None:
        """The mineral and the year of a limit; None where it is of all."""
        return None if limit.across or not limit.mineral else (limit.mineral, limit.year)

    def mend(self, trial: Trial) -> None:
        """Add what is wrong with a part that has no plan."""
        needed = self._smallest(trial, ("rule",))
        if needed is None:
            self.rules_alone = False
            needed = self._smallest(trial, GIVES_WAY)
        self.open |= needed is None
        self.needed |= needed or {}
        self.conflicts += find_conflicts(trial, self.block, needed or {})

    def _smallest(self, trial: Trial, soft: Sequence[str]) -> dict[CaseLimit, float] | None:
        """The values needed, of the smallest sum of changes of limits of some kinds; None where these do not do."""
        answer = trial.least({limit: self._weight(limit) for limit in trial.own if limit.what in soft}, trial.own)
        if not answer.there:
            return None
        broken = {}
        for limit in trial.own:
            value = self._broken(limit, trial.rows, answer.x) if limit.what in soft else None
            if value is not None:
                broken[limit] = loosened(limit, value)
        if any(self.whole.varies(limit.number) for limit in broken if limit.what == "rule"):
            broken = self._nearer(trial, broken)
        return broken

    def _broken(self, limit: CaseLimit, rows: Sequence[RuleRow], x: Floats) -> float | None:
        """What the point needs of a limit; None where it keeps it."""
        value = measured(limit, rows, x)
        if limit.what == "rule":
            over = value - limit.limit if limit.bound == "max" else limit.limit - value
            room = 1e-6 * max(abs(limit.limit), 1e-3)
        else:
            over, room = abs(value - limit.limit), 1e-6 * max(1.0, limit.limit)
        return None if np.isnan(value) or over <= room else value

    def _nearer(self, trial: Trial, broken: dict[CaseLimit, float]) -> dict[CaseLimit, float]:
        """Limits nearer to their own where the denominator varies: there the first repair need not be smallest.

        All limits of a block (mineral and year) move together from the repair towards their own, by
        bisection, as far as a plan is there; one that is alone in its block, to the nearest that can be.
        """
        blocks: dict[Block | None, list[CaseLimit]] = {}
        for limit in broken:
            blocks.setdefault(self.block(limit), []).append(limit)
        sure = dict(broken)
        for mine in blocks.values():
            if len(mine) == 1:
                others = {limit: value for limit, value in sure.items() if limit is not mine[0]}
                needed = nearest(trial.at(others), mine[0])
                sure[mine[0]] = sure[mine[0]] if needed is None else needed
                continue
            self._halve(trial, mine, broken, sure)
        # at the very edge of a cone a point is inside by the solver's tolerance alone: then the first repair
        return sure if trial.at(sure).ask(trial.own).there else broken

    def _halve(
        self, trial: Trial, mine: Sequence[CaseLimit], broken: Mapping[CaseLimit, float], sure: dict[CaseLimit, float]
    ) -> None:  # fmt: skip
        """Move limits together towards their own; ``sure`` takes the nearest values at which there is a plan."""
        near, far = 0.0, 1.0  # 1 = at the repair, 0 = at their own limits
        for _ in range(STEPS):
            middle = (near + far) / 2
            tried = {limit: limit.limit + middle * (broken[limit] - limit.limit) for limit in mine}
            answer = trial.at({**sure, **tried}).ask(trial.own)
            if not answer.there:
                near = middle
                continue
            far = middle
            for limit in mine:
                value = measured(limit, trial.rows, answer.x)
                inside = min(limit.limit, tried[limit]) <= value <= max(limit.limit, tried[limit])
                sure[limit] = loosened(limit, value) if inside else tried[limit]

    def _weight(self, limit: CaseLimit) -> float:
        """Cost of one unit of what a limit gives way: relative to it, or to what its share is of."""
        if limit.what != "rule":
            return HARD / max(limit.limit, 1e-6)
        return 1.0 if limit.kind == "suppliers" else 1.0 / self._worth(self.whole.rows[limit.number])

    def _worth(self, row: RuleRow) -> float:
        """Slack in the row's own units that one unit of its limit is worth."""
        base, layout = row.base.constant, self.whole.layout
        if row.kind == "budget":
            return max(abs(row.limit), 1.0)
        if base <= 0 or row.kind == "ban":
            at = layout.case.years.index(row.year)
            columns = row.base.columns[row.base.columns < layout.width]
            codes = np.unique(layout.column_material[columns if len(columns) else row.top.columns])
            base = max(float(layout.need_t[codes, at].sum()), 1e-6)
        if row.kind in ("index", "emissions", "stock_days"):
            return base * max(row.limit, 1e-6)
        return base

    def answer(self) -> Repair:
        """Everything found, in the order of minerals and years."""
        listed = [item for number, conflict in enumerate(self.conflicts, 1) for item in conflict.items(number)]
        ordered = sorted(self.needed.items(), key=lambda pair: pair[0].order)
        repairs = [{**limit.item(), "needed": needed} for limit, needed in ordered]
        notes = []
        if not self.conflicts and not self.open:
            notes.append("every part of the case has a plan within the solver's tolerance: loosen a limit by a hair")
        if any(not conflict.proved for conflict in self.conflicts):
            notes.append(f"of some limits of a conflict it was not decided whether they are needed in it {OPEN}")
        if self.open:
            notes.append(
                "not every part of the case was decided (time, or the solver's tolerance): there may be more to repair"
            )
        rules_alone = self.rules_alone and bool(repairs) and not self.open
        relaxed = {self.whole.rows[limit.number].key: needed for limit, needed in ordered if limit.what == "rule"}
        return Repair(listed, repairs, relaxed if rules_alone else None, notes)
