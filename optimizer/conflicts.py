"""What cannot hold together: the smallest sets of limits without a plan, and what each of them would have to be.

A set is irreducible: there is no plan with its limits held and every other limit of the case let go, and there is
one as soon as any one of them is let go too. Found by deletion (Chinneck and Dravnieks 1991): limits are let go one
after the other for good where there is still no plan; what the solver's dual ray does not need goes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optimizer.case_limits import CaseLimit
from optimizer.trials import Trial, loosened, measured

Block = tuple[str, int]  # a mineral and a year
LONG = 10  # limits from which on a set over several blocks is given for one block alone
SHORT = 3  # limits up to which no smaller set is looked for
NEAR = 1e-7  # relative width at which a limit that is searched for is near enough
# In which order limits are let go: what explains least goes first.
_SUPPLY_STAYS = {"rule": 0, "lane": 1, "capacity": 2, "feedstock": 3, "minimum": 4, "demand": 5}
_RULES_STAY = {"lane": 0, "capacity": 1, "feedstock": 2, "minimum": 3, "rule": 4, "demand": 5}


@dataclass
class Conflict:
    """One irreducible set, and by place the value of each of its limits at which there would be a plan.

    ``alone``: whether moving that one limit is enough. Where it is not, another set stands in the way: then the value
    is that with what the smallest repair does outside of this set; None where there is none. ``proved``: False where
    it was not decided of every limit whether it is needed in the set. ``given``: whether the set conflicts only given
    all limits of other minerals and years as they are (with what has to give there).
    """

    limits: list[CaseLimit]
    proved: bool = True
    given: bool = False
    needed: list[float | None] = field(default_factory=list)
    alone: list[bool] = field(default_factory=list)

    def items(self, number: int) -> list[dict[str, Any]]:
        """Its limits as ``conflict`` lists them; ``set`` tells the sets apart."""
        return [
            {**limit.item(), "needed": needed, "alone": alone, "set": number, "given": self.given}
            for limit, needed, alone in zip(self.limits, self.needed, self.alone, strict=True)
        ]


def find_conflicts(
    trial: Trial, block: Callable[[CaseLimit], Block | None], repaired: Mapping[CaseLimit, float]
) -> list[Conflict]:
    """The conflicts of a part without a plan: one for each block (mineral and year) that has its own.

    ``block``: of a limit; None where it is of all (a budget over everything, what can be expanded over the years).
    ``repaired``: the smallest repair of the part. Where something ties the blocks of a part together (a budget, stock),
    a set is looked for in what is left when all that has to give in the blocks of the sets before it is let go. Where
    it would be long (with all capacity of earlier years let go, stock could be built up then), only the limits of one
    block are listed, given all others.
    """
    found: list[Conflict] = []
    left, seen = list(trial.own), set[Block | None]()
    while left and trial.ask(left).there is False:
        limits, proved = _irreducible(trial, left)
        blocks = {block(limit) for limit in limits} - {None}
        fresh = {block(limit) for limit in limits if limit in repaired} - seen - {None}
        conflict = Conflict(limits, proved)
        if len(limits) > LONG and len(blocks) > 1 and fresh:
            one = next(block(limit) for limit in limits if block(limit) in fresh)
            conflict, blocks = _given(trial, one, block, repaired) or conflict, {one}
        if not blocks or not blocks <= seen:
            found.append(conflict)
        seen |= blocks
        giving = {limit for limit in repaired if block(limit) in blocks or limit in conflict.limits}
        rest = [limit for limit in left if limit not in giving]
        # without a repair to go by, whole blocks are let go
        left, before = rest if len(rest) < len(left) else [x for x in left if block(x) not in blocks], len(left)
        if len(left) == before:
            break
    for conflict in found:
        own = {block(limit) for limit in conflict.limits if limit in repaired}
        _values(trial, conflict, own or {block(limit) for limit in conflict.limits}, block, repaired)
    return found


def _given(
    trial: Trial, one: Block | None, block: Callable[[CaseLimit], Block | None], repaired: Mapping[CaseLimit, float]
) -> Conflict | None:  # fmt: skip
    """The set of one block, given all limits of other blocks with what has to give there; None where it has none."""
    mended = trial.at({limit: value for limit, value in repaired.items() if block(limit) != one})
    mine = [limit for limit in mended.own if block(limit) == one]
    others = [limit for limit in mended.own if block(limit) != one]
    if mended.ask(mended.own).there is not False:
        return None
    limits, proved = _irreducible(mended, mine, others)
    return Conflict(limits, proved, given=True)


def _values(
    trial: Trial, conflict: Conflict, blocks: set[Block | None], block: Callable[[CaseLimit], Block | None],
    repaired: Mapping[CaseLimit, float],
) -> None:  # fmt: skip
    """What each limit of a conflict would have to be, with what has to give in other blocks given."""
    inside = set(conflict.limits)
    elsewhere = {limit: value for limit, value in repaired.items() if block(limit) not in (None, *blocks)}
    outside = {limit: value for limit, value in repaired.items() if limit not in inside}
    mended = trial.at(elsewhere)
    more = trial.at(outside) if len(outside) > len(elsewhere) else None
    for limit in conflict.limits:
        needed = nearest(mended, limit)
        conflict.alone.append(needed is not None)
        if needed is None and more is not None:
            needed = nearest(more, limit)
        conflict.needed.append(needed)


def _irreducible(
    trial: Trial, limits: Sequence[CaseLimit], always: Sequence[CaseLimit] = ()
) -> tuple[list[CaseLimit], bool]:  # fmt: skip
    """The smaller of two irreducible sets: one that rather keeps rules, one that rather keeps limits of supply.

    Among ``limits``; those of ``always`` are held throughout. Also whether each was shown to be needed.
    """
    if trial.integer:
        relaxed = trial.relaxed()
        start = list(limits)
        if relaxed.ask([*limits, *always]).there is False:
            start = _irreducible(relaxed, limits, always)[0]
        return _deleted(trial, start, _SUPPLY_STAYS, always)
    tried = []
    for order in (_SUPPLY_STAYS, _RULES_STAY):
        if trial.ask([*limits, *always]).there is not False:
            break
        tried.append(_deleted(trial, _needed_by_proof(trial, limits, always), order, always))
        if len(tried[0][0]) <= SHORT:
            break
    return min(tried, key=lambda one: (not one[1], len(one[0])), default=([], True))


def _needed_by_proof(trial: Trial, held: Sequence[CaseLimit], always: Sequence[CaseLimit]) -> list[CaseLimit]:
    """What the proof needs of limits just found to conflict, checked by a solve."""
    fewer = trial.proof(held)
    if len(fewer) == len(held) or trial.ask([*fewer, *always]).there is not False:
        return list(held)
    return fewer


def _deleted(
    trial: Trial, limits: Sequence[CaseLimit], order: Mapping[str, int], always: Sequence[CaseLimit]
) -> tuple[list[CaseLimit], bool]:  # fmt: skip
    """Deletion: groups of limits at once while that works, halved where it does not, down to single ones."""
    kept = list(limits)
    waiting = sorted(kept, key=lambda limit: (order[limit.what], limit.order))
    proved, size = True, max(1, len(waiting) // 4)
    while waiting:
        group = waiting[:size]
        rest = [limit for limit in kept if limit not in group]
        there = trial.ask([*rest, *always]).there
        if there is False:
            kept = _needed_by_proof(trial, rest, always)
            waiting = [limit for limit in waiting if limit in kept]
            size = min(2 * size, max(1, len(waiting)))
        elif len(group) > 1:
            size = (len(group) + 1) // 2
        else:
            proved &= there is True
            waiting = waiting[1:]
    return sorted(kept, key=lambda limit: (limit.rank, limit.order)), proved


def nearest(trial: Trial, limit: CaseLimit) -> float | None:
    """The nearest value of one limit at which there is a plan with all others held, checked by a solve at it."""
    answer = trial.least({limit: 1.0}, trial.own)
    if not answer.there:
        return None
    value = measured(limit, trial.rows, answer.x)
    if value != value:  # nothing flows, so the rule does not speak: no number does that
        return None
    if limit.what == "rule" and trial.whole.varies(limit.number):
        value = (_halved if limit.kind == "hhi" else _closer)(trial, limit, value)
    for loose in (loosened(limit, value), loosened(limit, loosened(limit, value))):
        if trial.at({limit: loose}).ask(trial.own).there:
            return loose
    return None


def _closer(trial: Trial, limit: CaseLimit, reached: float) -> float:
    """The nearest limit of a linear rule whose denominator varies: the least of a ratio (Dinkelbach 1967).

    From a limit that some plan keeps, the plan that keeps it by most gives the next; it ends at the limit that none
    keeps by more.
    """
    for _ in range(20):
        moved = trial.at({limit: reached})
        answer = moved.least({limit: 1.0}, trial.own, both_ways=True)
        value = measured(limit, moved.rows, answer.x) if answer.there else reached
        nearer = value < reached if limit.bound == "max" else value > reached
        if not nearer or abs(value - reached) <= NEAR * 0.01 * max(abs(reached), 1e-3):
            return reached if not nearer else value
        reached = value
    return reached


def _halved(trial: Trial, limit: CaseLimit, reached: float) -> float:
    """The nearest HHI where the denominator varies, between its own (no plan) and one reached by a plan."""
    near, far = limit.limit, reached
    while abs(far - near) > NEAR * max(abs(far), 1e-3):
        middle = (near + far) / 2
        answer = trial.at({limit: middle}).ask(trial.own)
        if answer.there:
            value = measured(limit, trial.rows, answer.x)
            inside = value == value and min(near, middle) <= value <= max(near, middle)
            far = value if inside else middle
        else:
            near = middle
    return far
