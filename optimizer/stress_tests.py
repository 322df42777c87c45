"""What each loss does to a plan that is kept, and to one made knowing it: served, short, cost, and for how long.

With the plan kept, each supplier makes at most a * (q + surge_share * (capacity - q)), stock adds what it can over the
months of the loss, and everything is dispatched anew. A chain of minerals in a year is asked only where the loss takes
something from it that the plan uses (or could call on), once for each different way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from models.case import Case, Floats
from models.changes import Request, change
from models.disruptions import (
    Effect,
    Loss,
    Losses,
    available_share,
    find_losses,
    lost_names,
    parse_lose,
    scenario_effect,
)
from models.layout import Layout
from models.problems import Problems, nearest
from models.rule_rows import RuleRow, RuleRows
from optimizer.engine import Limits
from optimizer.kept_plan import KeptPlan
from optimizer.plan import Plan, clean, records
from optimizer.plan_values import layout_of_run, plan_columns
from optimizer.recourse import ChainKey
from optimizer.remaking import Remaking
from optimizer.run import Options, execute
from optimizer.run_folder import read_run
from optimizer.status_quo import find_status_quo
from optimizer.stress_hazards import expected_shortage, with_probabilities

Say = Callable[[str], None]
COLUMNS = ("lose", "months", "mineral", "material", "year", "served", "short_t", "kept_usd_per_y", "remade_usd_per_y",
           "regret_usd_per_y", "months_to_survive", "recover_year")  # fmt: skip
SINGLES = ("each country", "each controller", "each supplier")
DEFINITIONS = {
    "served": "largest share of the material's requirement that the kept plan can still deliver, by itself, at most 1",
    "short_t": "the rest of the requirement, t a year",
    "kept_usd_per_y": "undiscounted cost of the year with the plan kept and dispatched anew at least cost, fixed "
    "charges, capital and stock included; shortage at its price; null where demand without a price is missed",
    "remade_usd_per_y": "the same of the least-cost plan made knowing the loss, for the whole horizon; its rules hold "
    "(but survive rules), in a response they do not; null where there is none",
    "regret_usd_per_y": "kept less remade",
    "months_to_survive": "for how long stock makes up for the whole gap; null where there is none without stock",
    "probability": "of a scenario, a year, with its range and basis (published, computed, guess); blank for "
    "what is lost without one",
    "expected_short_t": "sum of probability times short_t over the scenarios tested, t a year, plan kept; low, high: "
    "with every probability at its low, its high; guessed: the part of scenarios whose probability is a guess",
    "recover_year": "first horizon year in which capacity that is there, or can be added by then if decided after the "
    "loss, can deliver all; null where none can",
}  # fmt: skip


@dataclass
class Stress:
    """A stress test: ``losses`` has a row for each loss, year and material (COLUMNS); ``ranked`` a row a loss, worst
    first. ``plan_usd_per_y``: cost of the plan without any loss. ``notes``: what is left out, in words. ``expected``:
    what the scenarios leave short on average, by material and year (``expected_shortage``).
    """

    case: Case
    months: float
    losses: pd.DataFrame
    ranked: pd.DataFrame
    plan_usd_per_y: dict[int, float]
    run: str = ""
    notes: list[str] = field(default_factory=list)
    expected: pd.DataFrame = field(default_factory=pd.DataFrame)
    about: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The document of ``--json`` and stress.json."""
        return {
            "losses": records(self.losses), "ranked": records(self.ranked), "expected": records(self.expected),
            "months": self.months,
            "plan_usd_per_y": {str(year): usd for year, usd in self.plan_usd_per_y.items()},
            "definitions": DEFINITIONS, "notes": self.notes, "about": clean(self.about), "run": self.run,
        }  # fmt: skip


def losses_of(case: Case, lose: Sequence[str], pairs: bool = False) -> list[Loss | Losses]:
    """The losses that are asked for; without any, all single ones and all scenarios of disruptions.csv."""
    asked = list(lose)
    if not asked:
        asked = [*SINGLES, *(f"scenario:{name}" for name in case.tables["disruptions"]["scenario"].unique())]
    found: dict[str, Loss | Losses] = {}
    for text in asked:
        for loss in find_losses(case, text):
            found[loss.name] = loss
    if pairs:
        countries = find_losses(case, "each country")
        for pair in combinations(countries, 2):
            found[Losses(pair).name] = Losses(pair)
    return list(found.values())


def effects_of(case: Case, loss: Loss | Losses) -> list[Effect]:
    """What a loss does in each horizon year; only a scenario changes costs and requirements."""
    parts = loss.parts if isinstance(loss, Losses) else (loss,)
    if parts and parts[0].kind == "scenario":
        table = case.tables["disruptions"]
        if not (table.loc[table["scenario"] == parts[0].member, "bloc"] != "").any():
            return [scenario_effect(case, parts[0].member, case.years[0])] * len(case.years)
        return [scenario_effect(case, parts[0].member, year) for year in case.years]
    same = not any(part.kind == "bloc" for part in parts)  # membership of a bloc is that of the year
    nothing = np.ones(len(case.suppliers)), np.ones((len(case.markets), len(case.materials)))
    left = [available_share(case, loss, year) for year in case.years[: 1 if same else None]]
    return [Effect(left[0 if same else at], *nothing) for at in range(len(case.years))]


def stress_plan(
    layout: Layout, x: Floats, rows: Sequence[RuleRow], lose: Sequence[str] = (), months: float = 12.0,
    pairs: bool = False, say: Say = lambda _: None,
) -> Stress:  # fmt: skip
    """Test a plan (values of its layout's columns). ``rows``: the rules that a plan made knowing a loss keeps.

    Where losses are named, every material has a row; else only those whose chain loses something.
    """
    began, case = time.perf_counter(), layout.case
    settings = case.settings.solve
    kept = KeptPlan(layout, x, months)
    say("solving without any loss")
    remaking = Remaking(layout, rows, Limits(settings.seconds, settings.gap, settings.threads))
    notes = [] if remaking.ok else [f"no plan can be remade: without any loss the case is {remaking.status}"]
    test = _Test(kept, remaking)
    say("losing one after the other")
    listed = losses_of(case, lose, pairs)
    records = [record for loss in listed for record in test.rows(loss, bool(lose))]
    table = pd.DataFrame(records, columns=list(COLUMNS))
    order = with_probabilities(case, ranked(case, table))
    found = Stress(case, months, table, order, _plan_cost(kept, x), notes=notes)
    found.expected = expected_shortage(case, table)
    found.about = {"losses": len(listed), "seconds": round(time.perf_counter() - began, 3)}
    return found


def _plan_cost(kept: KeptPlan, x: Floats) -> dict[int, float]:
    costs, layout = kept.costs, kept.layout
    usd = costs.usd * x
    return {year: float(usd[layout.column_year == at].sum() + kept.sunk[at]) for at, year in enumerate(kept.case.years)}


class _Test:
    """One loss after the other over a kept plan."""

    def __init__(self, kept: KeptPlan, remaking: Remaking) -> None:
        self.kept, self.remaking = kept, remaking
        self.case, self.layout = kept.case, kept.layout
        self.by_year: dict[int, list[ChainKey]] = {}
        for key in kept.chains.keys:
            self.by_year.setdefault(key[1], []).append(key)
        chain = kept.chains.chain[self.layout.supplier_material]  # of each supplier
        self.chain_of_supplier = chain
        nothing = effects_of(self.case, Losses(()))
        self.base = {
            key: kept.cheapest(key, kept.limits(kept.chains.at(key), nothing[key[1]].available_share), nothing[key[1]])
            for key in kept.chains.keys
        }
        self.undisturbed = {at: set(keys) for at, keys in self.by_year.items()}
        self.materials = self.case.materials["material"].to_numpy()
        self.minerals = self.case.materials["mineral"].to_numpy()

    def rows(self, loss: Loss | Losses, everything: bool) -> Iterable[tuple[Any, ...]]:
        """The rows of one loss."""
        kept, case = self.kept, self.case
        if isinstance(loss, Losses) and not self._together(loss):
            return
        effects = effects_of(case, loss)
        left = [effect.available_share for effect in effects]
        remade = self.remaking.without(effects) if self.remaking.ok else None
        for at, year in enumerate(case.years):
            hit = self._hit(effects[at], at)
            limits = {key: kept.limits(kept.chains.at(key), left[at]) for key in hit}
            costs = [kept.cheapest(key, limits[key], effects[at]) for key in hit]
            others = self.undisturbed[at] - {key: self.base[key] for key in hit}.keys()
            costs += [self.base[key] for key in others]
            total = None
            if not any(cost is None for cost in costs):
                total = float(kept.sunk[at]) + sum(cost for cost in costs if cost is not None)
            again = None if remade is None else float(remade[at])
            regret = None if total is None or again is None else total - again
            for key in self.by_year.get(at, ()) if everything else hit:
                if key not in limits:
                    limits[key] = kept.limits(kept.chains.at(key), left[at])
                yield from ((loss.name, kept.months, *row, total, again, regret, *lasts)
                            for *row, lasts in self._materials(key, limits[key], left, year))  # fmt: skip

    def _hit(self, effect: Effect, at: int) -> list[ChainKey]:
        """The chains of a year from which a loss takes something, or which it makes dearer or asks more of."""
        lost = (effect.available_share < 1) | (effect.cost_multiple != 1)
        touched = set(self.chain_of_supplier[lost].tolist())
        code = np.flatnonzero((effect.demand_multiple != 1).any(axis=0))
        touched |= set(self.kept.chains.chain[code].tolist())
        return [key for key in self.by_year.get(at, ()) if key[0] in touched]

    def _materials(self, key: ChainKey, limits: Floats, left: list[Floats], year: int) -> Iterable[tuple[Any, ...]]:
        """mineral, material, year, served, short_t, (months to survive, year of recovery) of a chain's materials."""
        kept, chain = self.kept, self.kept.chains.at(key)
        for place, code in enumerate(chain.materials.tolist()):
            required = float(chain.required_t[chain.of_material == place].sum())
            if required > 0:
                served = kept.served(key, limits, place)
                lasts = kept.months_to_survive(key, limits, place)
                recover = float(year) if served >= 1 else kept.recover_year(key, left, place)
                yield (self.minerals[code], self.materials[code], year, served, (1.0 - served) * required,
                       (lasts, recover))  # fmt: skip

    def _together(self, loss: Losses) -> bool:
        """Whether the parts of a pair meet in a chain that uses or could call on both: else it is the two by itself."""
        layout, kept = self.layout, self.kept
        hit = [available_share(self.case, part, year) < 1 for part in loss.parts for year in self.case.years[:1]]
        chain = kept.chains.chain[layout.supplier_material[layout.production_supplier]]
        used = kept.able
        met = [
            {(int(c), int(y)) for c, y in zip(chain[used & mine[layout.production_supplier]],
                                              layout.production_year[used & mine[layout.production_supplier]],
                                              strict=True)} for mine in hit
        ]  # fmt: skip
        return bool(set.intersection(*met)) if met else False


def ranked(case: Case, table: pd.DataFrame) -> pd.DataFrame:
    """The losses, worst first: by what is short, at reference prices in its worst year; then by what it costs more.

    ``served``, ``material``, ``year``, ``months_to_survive``, ``recover_year``: of the material hit worst.
    ``short_usd_per_y``: value of all that is short in the worst year, at price_usd_per_t (blank where a material that
    is short has none: such losses follow those that have one). ``kept_usd_per_y`` and ``regret_usd_per_y``: the
    highest of any year; blank where demand without a price is missed.
    """
    columns = ["lose", "served", "material", "year", "short_usd_per_y", "kept_usd_per_y", "regret_usd_per_y",
               "months_to_survive", "recover_year"]  # fmt: skip
    if table.empty:
        return pd.DataFrame(columns=columns)
    prices = case.materials.set_index("material")["price_usd_per_t"]
    price = prices.where(prices > 0).to_dict()
    value = (table["short_t"] * table["material"].map(price)).mask(table["short_t"] <= 0, 0.0)
    keys = [table["lose"], table["year"]]
    by_year = value.groupby(keys, sort=False).sum().mask(value.isna().groupby(keys, sort=False).any())
    worst = table.loc[table.groupby("lose", sort=False)["served"].idxmin()].set_index("lose")
    found = worst[["served", "material", "year", "months_to_survive", "recover_year"]].copy()
    found["short_usd_per_y"] = _highest(by_year, by_year.index.get_level_values("lose"))
    for name in ("kept_usd_per_y", "regret_usd_per_y"):
        found[name] = _highest(table[name].astype(float), table["lose"])
    found = found.reset_index()
    found["missing"], found["hurts"] = 1.0 - found["served"], found["served"] < 1
    found["worth"] = found["short_usd_per_y"].fillna(0.0)
    order = ["hurts", "worth", "missing", "kept_usd_per_y", "lose"]
    found = found.sort_values(order, ascending=[False, False, False, False, True], ignore_index=True)
    return found[columns]


def _highest(numbers: pd.Series[float], by: Any) -> pd.Series[float]:
    """The highest of each group; blank where one of it is blank."""
    return numbers.groupby(by, sort=False).max().mask(numbers.isna().groupby(by, sort=False).any())


def shortfall_by_mineral(table: pd.DataFrame, year: int, lose: Sequence[str]) -> pd.DataFrame:
    """Loss (rows, in this order) x mineral: the largest share of a requirement of it that is missing in the year."""
    kept = table[(table["year"] == year) & table["lose"].isin(set(lose))]
    worst = kept.pivot_table(index="lose", columns="mineral", values="served", aggfunc="min")
    return (1.0 - worst).reindex(list(lose))


def stress(
    what: Case | str | Path, changes: Mapping[str, Any] | Request | None = None, *, lose: Sequence[str] = (),
    months: float = 12.0, pairs: bool = False, out: str | Path | None = None, write: bool = False,
    say: Say = lambda _: None,
) -> Stress:  # fmt: skip
    """What losses do to a plan: that of a run folder, or the least-cost plan of a case (with ``changes``).

    ``lose``: as in a survive rule (``each country``, ``country:CHN``, ``scenario:NAME``, ...); none: every country,
    controller, supplier and scenario. ``pairs``: pairs of countries too. ``write`` (or ``out``) writes a folder with
    stress.json and tables. Raises ``CaseError`` for wrong input, ``NoPlan`` where the case has no plan.
    """
    from optimizer.analysis_folder import write_analysis

    with TemporaryDirectory(prefix="oremix-") as temporary:
        if isinstance(what, Case):
            folder, plans = Path(temporary) / "plan", []
            request = changes if isinstance(changes, Request) else Request(sets=changes or {})
            if lose or months != 12:  # wrong names are told before anything is solved
                _check(change(what, request), lose, months)
            plan = execute(what, request, Options(out=folder), say)
            if not plan.ok:
                raise NoPlan(plan)
            plans = [plan]
        else:
            folder, plans = Path(what), []
            plan = read_run(folder)
        layout = layout_of_run(folder, plan)
        _check(layout.case, lose, months)
        found = stress_plan(layout, plan_columns(layout, plan), _rows(layout), lose, months, pairs, say)
        found.about |= {"case": plan.case, "title": plan.title, "plan": plan.run if not plans else "plans/1"}
        if write or out is not None:
            tables = {"losses": found.losses, "ranked": found.ranked, "expected": found.expected}
            place = write_analysis("stress", found.document(), tables, layout.case, Path(out) if out else None,
                                   plans=plans)  # fmt: skip
            found.run = str(place) if out is None else str(out)
    return found


class NoPlan(Exception):  # noqa: N818  # an outcome, not a fault
    """The case has no plan that losses could be tested on; ``plan`` says why."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(f"the case has no plan: {plan.status}")
        self.plan = plan


def _rows(layout: Layout) -> list[RuleRow]:
    """The rows of the case's rules; a premium is over its status quo."""
    case, today = layout.case, {}
    if any(rule.kind == "budget" and rule.of == "premium" for rule in case.rules):
        settings = case.settings.solve
        quo = find_status_quo(case, Limits(settings.seconds, settings.gap, settings.threads))
        today = quo.cost_usd_per_y() if quo.ok else {}
    return RuleRows(layout, today).rows


def _check(case: Case, lose: Sequence[str], months: float) -> None:
    """What is to be lost exists; raises ``CaseError`` with every problem."""
    problems = Problems()
    if not 0 < months <= 1200:
        problems.add("--months", "must be a number of months above 0, up to 1200", value=f"{months:g}")
    for text in lose:
        try:
            kind, member = parse_lose(text)
        except ValueError as error:
            problems.add("--lose", str(error), value=text)
            continue
        known = lost_names(case)
        if kind != "each" and member not in known[kind]:
            problems.add("--lose", f"no such {kind}; {nearest(member, known[kind])}", value=text)
    problems.raise_any()
