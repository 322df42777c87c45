"""What ``--trade cost:KEY`` means: the limit that moves, the rule that holds it, and how far it can be set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.case import Case
from models.changes import Editor, Request, change
from models.config import check_rule
from models.problems import CaseError, Problem, nearest
from models.rule_kinds import LIMIT_KEYS

FLAG = "--trade"
# Each measure as the rule that limits it: kind, the key of its limit, and what it selects.
MEASURES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "largest_country_share": ("max", {"kind": "each_share", "each": "country", "include_home": True}),
    "domestic_share": ("min", {"kind": "share", "where": {"channel": "domestic"}}),
    "recycled_share": ("min", {"kind": "share", "where": {"channel": "recycling"}}),
    "incumbent_share": ("max", {"kind": "share", "where": {"channel": "incumbent"}}),
    "import_reliance": ("max", {"kind": "share"}),
    "bloc_share": ("max", {"kind": "share"}),
    "hhi_country": ("max", {"kind": "hhi", "by": "country"}),
    "emissions": ("max_kgco2e_per_t", {"kind": "emissions"}),
}
# As loose as case.toml takes it; a limit without an end of its own is traced as far as it matters.
_LOOSEST = {"max_usd_per_y": 9e14, "max_kgco2e_per_t": 9e11, "max": 9e11}
_UNITS = {"budget": "USD a year", "emissions": "kg CO2e per t", "index": "index", "suppliers": "suppliers",
          "stock_days": "days"}  # fmt: skip


@dataclass(frozen=True)
class Trade:
    """A limit against which least cost is traded.

    ``key`` is what was asked for (``rules.NAME.max`` or a measure), ``set_key`` the limit as ``--set`` takes it.
    ``bound``: max (a higher limit is looser) or min (a lower one is). ``lowest`` to ``highest``: what the limit can
    be set to; ``open`` where its loose end is no end of its own, ``whole`` where only whole numbers mean anything.
    ``case`` has the rule, at its loosest limit. ``unit`` is in words.
    """

    key: str
    set_key: str
    rule: str
    bound: str
    lowest: float
    highest: float
    unit: str
    case: Case
    open: bool = False
    whole: bool = False

    @property
    def loosest(self) -> float:
        """The loosest limit that can be set."""
        return self.highest if self.bound == "max" else self.lowest

    @property
    def tightest(self) -> float:
        """The tightest limit that can be set."""
        return self.lowest if self.bound == "max" else self.highest

    @property
    def is_share(self) -> bool:
        """Whether the limit is a share, so that it is told in per cent."""
        return self.unit == "share"

    def case_at(self, limit: float) -> Case:
        """The case at a limit."""
        return change(self.case, Request(sets={self.set_key: round(limit) if self.whole else limit}))

    def said(self, limit: float) -> str:
        """A limit in words."""
        if self.is_share:
            return f"{100 * limit:.4g}%"
        return f"{limit:,.0f} {self.unit}" if self.unit == "USD a year" else f"{limit:.4g} {self.unit}"


def trade_of(case: Case, text: str, stage: str = "delivered") -> Trade:
    """What ``cost:KEY`` (or KEY alone) trades; raises ``CaseError`` for a key that names no limit.

    A measure becomes a rule over all minerals of the case alike, at ``stage``.
    """
    head, colon, tail = text.partition(":")
    key = tail if colon and head == "cost" else text
    if (colon and head not in ("cost", "bloc_share")) or not key:
        raise _wrong("write cost:KEY: the cost is what is traded", text)
    if key.startswith("rules."):
        return _of_rule(case, key)
    name, _, bloc = key.partition(":")
    if name not in MEASURES:
        named = [f"rules.{rule.name}.{limit}" for rule in case.rules for limit in LIMIT_KEYS[rule.kind]]
        raise _wrong(
            f"neither a rule's limit nor a measure; {nearest(key, [*named, *MEASURES])}; measures: "
            + ", ".join([*(m for m in MEASURES if m != "bloc_share"), "bloc_share:NAME"]), key,
        )  # fmt: skip
    return _of_measure(case, key, name, bloc, stage)


def _of_measure(case: Case, key: str, name: str, bloc: str, stage: str) -> Trade:
    limit, chosen = MEASURES[name]
    rule = dict(chosen)
    if name == "bloc_share":
        if not bloc:
            raise _wrong(f"write bloc_share:NAME; blocs: {', '.join(sorted(case.bloc_names)) or 'none'}", key)
        rule["where"] = {"bloc": bloc}
    elif key != name:
        raise _wrong(f"{name} takes no name after a colon", key)
    if name == "import_reliance":
        abroad = sorted(set(case.suppliers["country"]) - {case.home})
        if not abroad:
            raise _wrong("no supplier is abroad: nothing is imported", key)
        rule["where"] = {"country": abroad}
    if name != "emissions":
        rule["stage"] = stage
    elif stage != "delivered":
        raise _wrong("emissions are of the whole chain: --stage does not go with it", key)
    base = re.sub(r"[^A-Za-z0-9_-]", "-", key)
    taken, rule["name"], count = {raw.get("name") for raw in case.raw.get("rules", [])}, base, 1
    while rule["name"] in taken:
        count += 1
        rule["name"] = f"{base}-{count}"
    rule[limit] = {"min": 0.0, "max": 1.0}.get(limit, _LOOSEST["max_kgco2e_per_t"])
    editor = Editor(case)
    if check_rule(rule, FLAG, editor.problems) is not None:
        editor.add_rule(rule, FLAG)
    return replace(_of_rule(editor.finish(), f"rules.{rule['name']}.{limit}"), key=key)


def _of_rule(case: Case, key: str) -> Trade:
    _, name, *rest = key.split(".")
    limit = ".".join(rest)
    rules = {rule.name: rule for rule in case.settings.rules}
    if name not in rules:
        raise _wrong(f"no such rule; {nearest(name, rules)}", key)
    rule = rules[name]
    allowed = LIMIT_KEYS[rule.kind]
    if limit not in allowed:
        can = f"one of {', '.join(f'rules.{name}.{a}' for a in allowed)}" if allowed else "it has no limit to move"
        raise _wrong(f"not a limit of a rule of kind {rule.kind}: {can}", key)
    if not rule.enabled:
        raise _wrong("the rule is not enabled", key)
    bound = "min" if limit in ("min", "days", "serve") else "max"
    lowest, highest, opened = _domain(case, rule, limit)
    raw = _without_relaxed(case, name)
    loosest = highest if bound == "max" else lowest
    whole = rule.kind == "suppliers"
    loose = change(raw, Request(sets={key: round(loosest) if whole else loosest}))
    loose = loose.with_(changes=case.changes)  # the limit moves: where it starts is no change of the case
    unit = "HHI" if rule.kind == "hhi" and rule.weight is None else _UNITS.get(rule.kind, "share")
    if rule.kind == "hhi" and rule.weight is not None:
        unit = "weighted HHI"
    return Trade(key, key, name, bound, lowest, highest, unit, loose, opened, whole)


def _domain(case: Case, rule: Any, limit: str) -> tuple[float, float, bool]:
    """Lowest and highest that the limit can be set to, and whether its loose end is no end of its own."""
    if rule.kind == "share":
        if limit == "min":
            return 0.0, 1.0 if rule.max is None else rule.max, False
        return 0.0 if rule.min is None else rule.min, 1.0, False
    if rule.kind in ("each_share", "survive", "provenance") or (rule.kind == "hhi" and rule.weight is None):
        return 0.0, 1.0, False
    if rule.kind == "stock_days":
        return 0.0, 1e9, False
    if rule.kind == "suppliers":
        every = float(len(case.suppliers))
        if limit == "min":
            return 0.0, every if rule.max is None else float(rule.max), False
        return 0.0 if rule.min is None else float(rule.min), every, False
    return (-_LOOSEST[limit] if rule.kind == "budget" else 0.0), _LOOSEST[limit], True


def _without_relaxed(case: Case, name: str) -> Case:
    """The case without what an earlier --relax put in place of this rule's own limit."""
    kept = {key: value for key, value in case.relaxed.items() if key[0] != name}
    if len(kept) == len(case.relaxed):
        return case
    listed = [item for item in case.raw.get("relaxed", []) if item.get("rule") != name]
    return case.with_(relaxed=kept, raw={**case.raw, "relaxed": listed})


def _wrong(message: str, value: str) -> CaseError:
    return CaseError([Problem(FLAG, message, value=value)])
