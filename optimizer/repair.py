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
from optimizer.case_limits import CaseLimit, CaseProgram, mineral_chains
from optimizer.conflicts import Block, Conflict, find_conflicts
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
    found = _Found(whole, mineral_chains(layout.case))
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

    def __init__(self, whole: CaseProgram, chain: Mapping[str, str]) -> None:
        self.whole, self.chain = whole, chain
        self.conflicts: list[Conflict] = []
        self.needed: list[tuple[CaseLimit, float]] = []
        self.rules_alone, self.open = True, False  # open: time ran out before an answer

    def block(self, limit: CaseLimit) -> Block | None:
        """The chain of minerals and the year of a limit; None where it is of all."""
        return None if limit.across or not limit.mineral else (self.chain[limit.mineral], limit.year)

    def mend(self, trial: Trial) -> None:
        """Add what is wrong with a part that has no plan."""
        needed = self._smallest(trial, [limit for limit in trial.own if limit.what == "rule"])
        if needed is None:
            self.rules_alone = False
            needed = self._smallest(trial, [limit for limit in trial.own if limit.what in GIVES_WAY])
        self.open |= needed is None
        needed = needed or {}
        self.needed += [(trial.own[number], value) for number, value in needed.items()]
        self.conflicts += find_conflicts(trial, self.block, needed)

    def _smallest(self, trial: Trial, soft: Sequence[CaseLimit]) -> dict[int, float] | None:
        """Place in ``trial.own`` -> value needed, of the smallest sum of changes; None where these are not enough."""
        cost: dict[int, float] = {}
        for limit in soft:
            for column, _ in limit.reach:
                cost[column] = self._weight(limit)
        answer = trial.least(cost, soft, trial.own)
        if not answer.there:
            return None
        broken = {}
        for number, limit in enumerate(trial.own):
            if any(limit is other for other in soft):
                value = self._broken(limit, trial.rows, answer.x)
                if value is not None:
                    broken[number] = loosened(limit, value)
        if any(
            limit.what == "rule" and self.whole.varies(limit.number) for limit in map(trial.own.__getitem__, broken)
        ):
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

    def _nearer(self, trial: Trial, broken: dict[int, float]) -> dict[int, float]:
        """Limits nearer to their own where the denominator varies: there the first repair need not be smallest.

        All limits of a block (chain of minerals and year) move together from the repair towards their own, by
        bisection, as far as a plan is there.
        """
        blocks = {number: self.block(trial.own[number]) for number in broken}
        sure = dict(broken)
        for block in dict.fromkeys(blocks.values()):
            mine = [number for number in broken if blocks[number] == block]
            near, far = 0.0, 1.0  # 1 = at the repair, 0 = at their own limits
            for _ in range(STEPS):
                middle = (near + far) / 2
                tried = {
                    number: own + middle * (broken[number] - own)
                    for number, own in ((number, trial.own[number].limit) for number in mine)
                }
                answer = trial.holds_at({**sure, **tried})
                if not answer.there:
                    near = middle
                    continue
                far = middle
                for number in mine:
                    limit = trial.own[number]
                    value = measured(limit, trial.rows, answer.x)
                    inside = min(limit.limit, tried[number]) <= value <= max(limit.limit, tried[number])
                    sure[number] = loosened(limit, value) if inside else tried[number]
        # at the very edge of a cone a point is inside by the solver's tolerance alone: then the first repair
        return sure if trial.holds_at(sure).there else broken

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
        if row.kind in ("index", "emissions"):
            return base * max(row.limit, 1e-6)
        return base

    def answer(self) -> Repair:
        """Everything found, in the order of minerals and years."""
        listed = [item for number, conflict in enumerate(self.conflicts, 1) for item in conflict.items(number)]
        self.needed.sort(key=lambda pair: pair[0].order)
        repairs = [{**limit.item(), "needed": needed} for limit, needed in self.needed]
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
        relaxed = {self.whole.rows[limit.number].key: needed for limit, needed in self.needed if limit.what == "rule"}
        return Repair(listed, repairs, relaxed if rules_alone else None, notes)
