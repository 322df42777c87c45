"""Draws random rules for a random case: valid by the contract, sometimes impossible to keep."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

KINDS = ["share", "each_share", "hhi", "index", "ban", "budget", "emissions", "suppliers"]
RISK_KINDS = ["provenance", "survive"]  # drawn only where a case asks for them by name
Rule = dict[str, Any]


@dataclass
class Drawn:
    """What the rules of a case may speak of."""

    r: random.Random
    tables: dict[str, list[dict[str, Any]]]
    years: list[int]
    delivered: list[str]
    scale: dict[str, float]
    listed: bool

    def chance(self, p: float) -> bool:
        return self.r.random() < p

    def some(self, low: float, high: float) -> float:
        return round(self.r.uniform(low, high), 3)

    def stage_of(self, material: str) -> str:
        return next(m["stage"] for m in self.tables["materials"] if m["material"] == material)

    def mineral_of(self, material: str) -> str:
        return next(m["mineral"] for m in self.tables["materials"] if m["material"] == material)


def draw_rules(d: Drawn, kinds: list[str]) -> list[Rule]:
    rules = []
    for i, kind in enumerate(kinds):
        rule: Rule = {"name": f"{kind}-{i + 1}", "kind": kind}
        pool = scope(d, rule) if kind not in ("budget", "emissions", *RISK_KINDS) else []
        DRAW[kind](d, rule, pool)
        if d.chance(0.25):
            rule["from_year"] = d.r.choice(d.years[:-1]) + d.r.choice([0, 1])
        if d.chance(0.2):
            rule["to_year"] = max(d.r.choice(d.years), min(y for y in d.years if y >= rule.get("from_year", 0)))
        if d.chance(0.05):
            rule["enabled"] = False
        rules.append(rule)
    return rules


def scope(d: Drawn, rule: Rule) -> list[dict[str, Any]]:
    """Choose stage and materials; give back the suppliers whose main product a row of the rule is about."""
    suppliers = d.tables["suppliers"]
    if d.chance(0.65):
        meant = [m for m in d.delivered if any(s["material"] == m for s in suppliers)]
        if d.chance(0.1):
            rule["stage"] = "delivered"
    else:
        rule["stage"] = d.r.choice(["extraction", "processing", "processing", "manufacturing"])
        meant = [s["material"] for s in suppliers if d.stage_of(s["material"]) == rule["stage"]]
        if not meant:
            rule["stage"] = "processing"
            meant = [s["material"] for s in suppliers if d.stage_of(s["material"]) == "processing"]
    pick = d.r.choice(meant)
    how = d.r.choice(["all", "mineral", "mineral", "minerals", "material"])
    if how == "mineral":
        rule["mineral"] = d.mineral_of(pick)
    elif how == "minerals":
        rule["mineral"] = sorted({d.mineral_of(pick), d.mineral_of(d.r.choice(meant))})
    elif how == "material":
        rule["material"] = pick if d.chance(0.5) else sorted({pick, d.r.choice(meant)})
    if rule.get("stage", "delivered") == "delivered" and d.chance(0.2):
        rule["market"] = d.r.choice(
            sorted({r["market"] or "home" for r in d.tables["demand"] if r["material"] == pick})
        )
    return [s for s in suppliers if s["material"] == pick]


def basis(d: Drawn, rule: Rule) -> None:
    """`of` requirement only where every row has something required."""
    if not d.chance(0.35):
        return
    if rule.get("stage", "delivered") != "delivered":
        required = {d.mineral_of(m) for m in d.delivered}
        named = rule.get("mineral", rule.get("material"))
        if named is None:
            return
        named = named if isinstance(named, list) else [named]
        minerals = {d.mineral_of(n) for n in named} if "material" in rule else set(named)
        if not minerals <= required:
            return
    rule["of"] = d.r.choice(["requirement", "requirement", "supply"])


def where(d: Drawn, pool: list[dict[str, Any]], keys: list[str]) -> Rule:
    """A selection that holds at least one of the pool in every year."""
    s = d.r.choice(pool)
    controller = s["controller"] or s["country"]
    always = {b["country"]: b["bloc"] for b in d.tables["blocs"] if b["from_year"] is None and b["to_year"] is None}
    for _ in range(20):
        key = d.r.choice(keys)
        if key == "bloc" and s["country"] in always:
            return {"bloc": always[s["country"]]}
        if key == "controller_bloc" and controller in always:
            return {"controller_bloc": always[controller]}
        if key == "certified" and s["certified"] == "yes":
            return {"certified": "yes"}
        if key == "both":
            return {"channel": s["channel"], "controller": [controller, "CHN"]}
        if key in ("channel", "country", "supplier"):
            return {key: s[key] if d.chance(0.6) else sorted({s[key], d.r.choice(pool)[key]})}
        if key == "controller":
            return {key: controller}
    return {"country": s["country"]}


ALL = ["channel", "country", "controller", "bloc", "controller_bloc", "supplier", "certified", "both"]


def share(d: Drawn, rule: Rule, pool: list[dict[str, Any]]) -> None:
    rule["where"] = where(d, pool, ALL)
    basis(d, rule)
    if d.chance(0.6):
        rule["max"] = d.some(0.1, 0.8)
    if "max" not in rule or d.chance(0.2):
        rule["min"] = d.some(0.02, 0.35 if "max" not in rule else rule["max"] / 2)


def each_share(d: Drawn, rule: Rule, pool: list[dict[str, Any]]) -> None:
    rule["each"] = d.r.choice(["country", "country", "controller", "supplier", "channel"])
    rule["max"] = d.some(0.2, 0.8)
    basis(d, rule)
    if d.chance(0.3):
        s = d.r.choice(pool)
        member = {"controller": s["controller"] or s["country"]}.get(rule["each"], s.get(rule["each"]))
        rule["except"] = [member]
    if rule["each"] == "country" and d.chance(0.3):
        rule["include_home"] = True


def hhi(d: Drawn, rule: Rule, pool: list[dict[str, Any]]) -> None:
    if d.chance(0.7):
        rule["by"] = d.r.choice(["country", "controller", "supplier"])
    rule["max"] = d.some(0.25, 0.85)
    if d.chance(0.35):
        rule["weight"] = d.r.choice(["wgi", "esg"])
        rule["max"] = round(rule["max"] * (4.0 if rule["weight"] == "wgi" else 0.5), 3)


def index(d: Drawn, rule: Rule, pool: list[dict[str, Any]]) -> None:
    rule["indicator"] = d.r.choice(["wgi", "esg"])
    rule["max"] = d.some(3.5, 8) if rule["indicator"] == "wgi" else d.some(0.35, 0.8)


def ban(d: Drawn, rule: Rule, pool: list[dict[str, Any]]) -> None:
    rule["where"] = where(d, pool, ["country", "controller", "bloc", "controller_bloc", "supplier", "both"])


def suppliers(d: Drawn, rule: Rule, pool: list[dict[str, Any]]) -> None:
    if d.chance(0.5):
        rule["max"] = d.r.randint(1, 4)
    else:
        rule["min"] = d.r.randint(1, 2)
        if d.chance(0.5):
            rule["least_t"] = d.some(0.5, 5)
    if d.chance(0.4):
        rule["where"] = where(d, pool, ALL)


def budget(d: Drawn, rule: Rule, pool: list[dict[str, Any]]) -> None:
    if d.chance(0.3) and not d.listed:
        rule["of"] = "premium"
        rule["max_usd_per_y"] = round(sum(d.scale.values()) * d.r.uniform(-5, 60), 1)
        if rule["max_usd_per_y"] < 0:
            rule["max_usd_per_y"] = 0.0
        return
    if d.chance(0.2):
        rule["of"] = "all"
    fed = [s["input"] for s in d.tables["suppliers"] if d.mineral_of(s["material"]) == "magnet"]
    if fed and d.chance(
        0.6
    ):  # where a chain leaves the mineral, its own cost can be lowered by going short of the other
        rule["mineral"] = d.mineral_of(fed[0])
        rule["max_usd_per_y"] = round(d.scale[rule["mineral"]] * d.r.uniform(4, 45), 1)
    elif d.chance(0.6):
        mineral = d.r.choice(sorted(d.scale))
        rule["mineral"] = mineral if d.chance(0.6) else sorted({mineral, d.r.choice(sorted(d.scale))})
        named = rule["mineral"] if isinstance(rule["mineral"], list) else [rule["mineral"]]
        rule["max_usd_per_y"] = round(max(d.scale[m] for m in named) * d.r.uniform(15, 90), 1)
    else:
        rule["max_usd_per_y"] = round(sum(d.scale.values()) * d.r.uniform(25, 120), 1)


def emissions(d: Drawn, rule: Rule, pool: list[dict[str, Any]]) -> None:
    rule["max_kgco2e_per_t"] = d.some(6, 25)
    if d.chance(0.5):
        rule["mineral"] = d.mineral_of(d.r.choice(d.delivered))


def about(d: Drawn, rule: Rule) -> str:
    """Which delivered materials a rule of the whole chain is about; one of them."""
    pick = d.r.choice(d.delivered)
    how = d.r.choice(["all", "mineral", "material"])
    if how != "all":
        rule[how] = d.mineral_of(pick) if how == "mineral" else pick
    if d.chance(0.2):
        rule["market"] = "home"
    return pick


def provenance(d: Drawn, rule: Rule, pool: list[dict[str, Any]]) -> None:
    pick, chain = about(d, rule), []
    waiting = [pick]
    while waiting:
        made = waiting.pop()
        chain += [s for s in d.tables["suppliers"] if s["material"] == made]
        waiting += sorted({s["input"] for s in d.tables["suppliers"] if s["material"] == made and s["input"]})
    rule["where"] = where(d, chain or d.tables["suppliers"], ["country", "controller", "bloc", "supplier", "channel"])
    if d.chance(0.8):
        rule["max"] = d.some(0.0, 0.7)


def survive(d: Drawn, rule: Rule, pool: list[dict[str, Any]]) -> None:
    about(d, rule)
    s = d.r.choice(d.tables["suppliers"])
    rule["lose"] = d.r.choice(["each country", "each controller", "each supplier", "bloc:friends",
                               f"country:{s['country']}", "scenario:storm"])  # fmt: skip
    rule["serve"] = d.some(0.05, 0.5)
    if d.chance(0.5):
        rule["months"] = d.r.choice([1, 3, 6, 18])
    if rule["lose"].startswith("each") and d.chance(0.4):
        by = rule["lose"].removeprefix("each ")
        rule["except"] = [s[by] or s["country"]]
    if rule["lose"].startswith("bloc") and d.chance(0.4):
        rule["except"] = ["AUS"]


DRAW = {
    "provenance": provenance,
    "survive": survive,
    "share": share,
    "each_share": each_share,
    "hhi": hhi,
    "index": index,
    "ban": ban,
    "suppliers": suppliers,
    "budget": budget,
    "emissions": emissions,
}


def to_toml(rules: list[Rule]) -> str:
    def text(v: Any) -> str:
        if isinstance(v, dict):
            return "{ " + ", ".join(f"{k} = {text(x)}" for k, x in v.items()) + " }"
        return json.dumps(v)

    return "".join("[[rules]]\n" + "".join(f"{k} = {text(v)}\n" for k, v in rule.items()) for rule in rules)
