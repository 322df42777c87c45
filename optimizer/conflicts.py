"""What cannot hold together: the smallest sets of limits without a plan, and what each of them would have to be.

A set is irreducible: there is no plan with its limits held and every other limit of the case let go, and there is
one as soon as any one of them is let go too. Found by deletion (Chinneck and Dravnieks 1991): limits are let go one
after the other for good where there is still no plan; what the solver's dual ray does not need goes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.rule_rows import RuleRow
from optimizer.case_limits import CaseLimit
from optimizer.trials import Answer, Trial, loosened, measured

Block = tuple[str, int]  # a chain of minerals and a year
NEAR = 1e-7  # relative width at which a limit that is searched for is near enough
# In which order limits are let go: what explains least goes first.
_SUPPLY_STAYS = {"rule": 0, "lane": 1, "capacity": 2, "feedstock": 3, "minimum": 4, "demand": 5}
_RULES_STAY = {"lane": 0, "capacity": 1, "feedstock": 2, "minimum": 3, "rule": 4, "demand": 5}


@dataclass
class Conflict:
    """One irreducible set, and by place the value of each of its limits at which there would be a plan.

    ``alone``: whether moving that one limit is enough. Where it is not, another set stands in the way: then the value
    is that with what the smallest repair does outside of this set; None where there is none. ``proved``: False where
    it was not decided of every limit whether it is needed in the set.
    """

    limits: list[CaseLimit]
    proved: bool = True
    needed: list[float | None] = field(default_factory=list)
    alone: list[bool] = field(default_factory=list)

    def items(self, number: int) -> list[dict[str, Any]]:
        """Its limits as ``conflict`` lists them; ``set`` tells the sets apart."""
        return [
            {**limit.item(), "needed": needed, "alone": alone, "set": number}
            for limit, needed, alone in zip(self.limits, self.needed, self.alone, strict=True)
        ]


def find_conflicts(
    trial: Trial, block: Callable[[CaseLimit], Block | None], repaired: Mapping[int, float]
) -> list[Conflict]:
    """The conflicts of a part without a plan: one for each block (chain of minerals and year) that has its own.

    ``block``: of a limit; None where it is of all (a budget over everything, what can be expanded over the years).
    ``repaired``: the smallest repair of the part, place in ``trial.own`` -> value.

    Where rows tie the blocks of a part together (a budget over everything), a set is looked for in what the blocks
    of the sets before it leave.
    """
    found: list[Conflict] = []
    left = list(trial.own)
    while left:
        limits, proved = _irreducible(trial, left)
        if not limits:
            break
        found.append(Conflict(limits, proved))
        taken = {block(limit) for limit in limits} - {None}
        left = [limit for limit in left if block(limit) not in taken]
        if trial.ask(left).there is not False:
            break
    for conflict in found:
        others = {block(limit) for other in found if other is not conflict for limit in other.limits}
        others -= {None, *(block(limit) for limit in conflict.limits)}
        held = [limit for limit in trial.own if block(limit) not in others]
        inside = {id(limit) for limit in conflict.limits}
        outside = {number: value for number, value in repaired.items() if id(trial.own[number]) not in inside}
        for limit in conflict.limits:
            needed = nearest(trial, limit, held)
            conflict.alone.append(needed is not None)
            if needed is None and outside:
                needed = nearest(trial, limit, held, outside)
            conflict.needed.append(needed)
    return found


def _irreducible(trial: Trial, limits: Sequence[CaseLimit]) -> tuple[list[CaseLimit], bool]:
    """The smaller of two irreducible sets: one that rather keeps rules, one that rather keeps limits of supply."""
    if trial.integer:
        relaxed = trial.relaxed()
        start = list(limits)
        if relaxed.ask(limits).there is False:
            start = _irreducible(relaxed, limits)[0]
        return _deleted(trial, start, _SUPPLY_STAYS)
    tried = []
    for order in (_SUPPLY_STAYS, _RULES_STAY):
        if trial.ask(limits).there is not False:
            break
        tried.append(_deleted(trial, _needed_by_proof(trial, limits, order), order))
    return min(tried, key=lambda one: (not one[1], len(one[0])), default=([], True))


def _needed_by_proof(trial: Trial, held: Sequence[CaseLimit], order: Mapping[str, int]) -> list[CaseLimit]:
    """What the proof needs of limits just found to conflict, checked by a solve."""
    fewer = trial.proof(held)
    if len(fewer) == len(held) or trial.ask(fewer).there is not False:
        return list(held)
    return fewer


def _deleted(trial: Trial, limits: Sequence[CaseLimit], order: Mapping[str, int]) -> tuple[list[CaseLimit], bool]:
    """Deletion: groups of limits at once while that works, halved where it does not, down to single ones."""
    kept = list(limits)
    waiting = sorted(kept, key=lambda limit: (order[limit.what], limit.order))
    proved, size = True, max(1, len(waiting) // 4)
    while waiting:
        group = waiting[:size]
        names = {id(limit) for limit in group}
        rest = [limit for limit in kept if id(limit) not in names]
        there = trial.ask(rest).there
        if there is False:
            kept = _needed_by_proof(trial, rest, order)
            alive = {id(limit) for limit in kept}
            waiting = [limit for limit in waiting if id(limit) in alive]
            size = min(2 * size, max(1, len(waiting)))
        elif len(group) > 1:
            size = (len(group) + 1) // 2
        else:
            proved &= there is True
            waiting = waiting[1:]
    return sorted(kept, key=lambda limit: limit.order), proved


def nearest(
    trial: Trial, limit: CaseLimit, held: Sequence[CaseLimit], values: Mapping[int, float] | None = None
) -> float | None:
    """The nearest value of one limit at which there is a plan with all others held, checked by a solve at it.

    ``values``: place in ``trial.own`` -> the value at which another limit holds.
    """
    others = dict(values or {})
    answer = trial.least({column: 1.0 for column, _ in limit.reach}, [limit], held, others)
    if not answer.there:
        return None
    number = next(place for place, own in enumerate(trial.own) if own is limit)
    value = measured(limit, trial.rows, answer.x)
    if value != value:  # nothing flows, so the rule does not speak: no number does that
        return None

    def at(tried: float) -> Answer:
        return trial.holds_at({**others, number: tried}, held)

    if limit.what == "rule" and trial.whole.varies(limit.number):
        value = _halved(limit, trial.rows, value, at)
    for loose in (loosened(limit, value), loosened(limit, loosened(limit, value))):
        if at(loose).there:
            return loose
    return None


def _halved(limit: CaseLimit, rows: Sequence[RuleRow], reached: float, at: Callable[[float], Answer]) -> float:
    """The nearest limit of a rule whose denominator varies, between its own (no plan) and one reached by a plan."""
    near, far = limit.limit, reached
    while abs(far - near) > NEAR * max(abs(far), 1e-3):
        middle = (near + far) / 2
        answer = at(middle)
        if answer.there:
            value = measured(limit, rows, answer.x)
            inside = value == value and min(near, middle) <= value <= max(near, middle)
            far = value if inside else middle
        else:
            near = middle
    return far
