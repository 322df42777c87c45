"""What may happen to a plan: scenarios of disruptions.csv by themselves or together, their probability and effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

from models.case import Case, Floats
from models.disruptions import NOTHING, Effect, Targets, probabilities


@dataclass(frozen=True)
class Outcome:
    """Scenarios that strike together (none: ``NOTHING``), for the whole horizon, with their probability."""

    scenarios: tuple[str, ...]
    probability: float

    @property
    def name(self) -> str:
        """The names of the scenarios joined by +."""
        return "+".join(self.scenarios) or NOTHING


def find_outcomes(case: Case) -> list[Outcome]:
    """The outcomes over which ``[risk]`` weighs a plan, ``NOTHING`` first; their probabilities add up to 1.

    As disruptions.csv stands, scenarios exclude each other and nothing happens with the rest to 1. With ``joint``
    they strike independently, several at once too, but scenarios of one ``package`` share one cause: the less
    likely come only with the likelier (one number drawn for the package, below each one's probability). All
    combinations are listed where they are at most ``samples``, else so many are drawn, seeded. Combinations
    without any probability are left out.
    """
    risk = case.settings.risk
    if not risk.joint:
        found = [Outcome(() if name == NOTHING else (name,), p) for name, p in probabilities(case).items()]
    else:
        found = _joint(case, risk.samples, risk.seed)
    nothing = next((outcome for outcome in found if not outcome.scenarios), Outcome((), 0.0))
    return [nothing, *(outcome for outcome in found if outcome.scenarios and outcome.probability > 0)]


def _joint(case: Case, samples: int, seed: int) -> list[Outcome]:
    order = {name: place for place, name in enumerate(probabilities(case))}
    causes = _packages(case)
    if prod(len(listed) + 1 for listed in causes) <= samples:
        levels = [_levels(listed) for listed in causes]
        drawn = ((tuple(name for part, _ in combination for name in part), prod(p for _, p in combination))
                 for combination in product(*levels))  # fmt: skip
        return [Outcome(tuple(sorted(names, key=order.__getitem__)), p) for names, p in drawn]
    u = np.random.default_rng(seed).random((samples, len(causes)))
    struck = [np.array([u[:, c] < p for _, p in listed]) for c, listed in enumerate(causes)]
    names = [name for listed in causes for name, _ in listed]
    rows = np.concatenate(struck).T
    counted = Counter(map(tuple, rows.tolist()))
    return [
        Outcome(tuple(sorted((name for name, hit in zip(names, row, strict=True) if hit), key=order.__getitem__)),
                count / samples) for row, count in counted.items()
    ]  # fmt: skip


def _packages(case: Case) -> list[list[tuple[str, float]]]:
    """Scenarios with their probability by common cause, the likeliest of each first."""
    table = case.tables["disruptions"].drop_duplicates("scenario")
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for name, package, p in zip(table["scenario"], table["package"], table["probability"], strict=True):
        found.setdefault(("package", package) if package else ("scenario", name), []).append((name, float(p)))
    return [sorted(listed, key=lambda pair: -pair[1]) for listed in found.values()]


def _levels(listed: Sequence[tuple[str, float]]) -> list[tuple[tuple[str, ...], float]]:
    """How far a package strikes: nothing, its likeliest scenario, the two likeliest, ... with their probability."""
    chances = [1.0, *(p for _, p in listed), 0.0]
    return [(tuple(name for name, _ in listed[:count]), chances[count] - chances[count + 1])
            for count in range(len(listed) + 1)]  # fmt: skip


@dataclass(frozen=True)
class Effects:
    """What each outcome does: ``available_share`` and ``cost_multiple`` of shape (outcomes, years, suppliers),
    ``demand_multiple`` of shape (outcomes, markets, materials).
    """

    available_share: Floats
    cost_multiple: Floats
    demand_multiple: Floats

    def weighed(self, probability: Floats) -> Effects:
        """The mean effect, as one outcome."""
        share, cost, demand = (np.tensordot(probability, part, axes=1)[None] for part in (
            self.available_share, self.cost_multiple, self.demand_multiple))  # fmt: skip
        return Effects(share, cost, demand)


def find_effects(case: Case, outcomes: Iterable[Outcome]) -> Effects:
    """The effect of each outcome. Several rows on one supplier: the least share, the greatest cost multiple; demand
    multiples multiply.
    """
    table, listed = case.tables["disruptions"], list(outcomes)
    suppliers, markets, targets = case.suppliers, list(case.markets), Targets(case)
    rows = table.to_dict("records")
    # bool (rows, years, suppliers), (rows, markets, materials)
    struck = np.array([[targets.hits(row, year) for year in case.years] for row in rows]).reshape(
        len(rows), len(case.years), len(suppliers))  # fmt: skip
    about = [targets.named(row) for row in rows]
    of: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        of.setdefault(row["scenario"], []).append(place)
    share = np.ones((len(listed), len(case.years), len(suppliers)))
    cost = np.ones_like(share)
    demand = np.ones((len(listed), len(markets), len(case.materials)))
    for o, outcome in enumerate(listed):
        greatest = np.full(share.shape[1:], -np.inf)
        for place in (place for name in outcome.scenarios for place in of[name]):
            row, hit = rows[place], struck[place]
            share[o][hit] = np.minimum(share[o][hit], row["available_share"])
            greatest[hit] = np.maximum(greatest[hit], row["cost_multiple"])
            if row["demand_multiple"] != 1:
                at: npt.NDArray[np.bool_] = np.array([row["market"] in ("", market) for market in markets], dtype=bool)
                demand[o][np.ix_(at, about[place])] *= row["demand_multiple"]
        cost[o] = np.where(np.isfinite(greatest), greatest, 1.0)
    return Effects(share, cost, demand)


class ScenarioEffects:
    """What each scenario of disruptions.csv does by itself; worked out once for all of them and all years."""

    def __init__(self, case: Case) -> None:
        names = [name for name in probabilities(case) if name != NOTHING]
        self._place = {name: place for place, name in enumerate(names)}
        self._effects = find_effects(case, [Outcome((name,), 0.0) for name in names])

    def at(self, scenario: str, year: int) -> Effect:
        """The effect of a scenario in a horizon year (by position)."""
        place, found = self._place[scenario], self._effects
        return Effect(found.available_share[place, year], found.cost_multiple[place, year],
                      found.demand_multiple[place])  # fmt: skip
