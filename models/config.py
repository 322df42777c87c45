"""case.toml: the settings of a case, its rules and scenarios; frozen, unknown keys refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic import Strict as StrictType

from models.cells import ID_PATTERN, NAME_PATTERN, Country
from models.problems import Problems, nearest
from models.rule_kinds import (
    RULE_KINDS,
    RULES,
    Names,
    Rule,
    RuleYear,
    ShareLimit,
    Strict,
    as_tuple,
)


class Horizon(Strict):
    """The years solved together."""

    years: Annotated[tuple[RuleYear, ...], Field(min_length=1)]
    discount_rate: ShareLimit = 0.0
    price_base_year: RuleYear | None = None

    @field_validator("years")
    @classmethod
    def _increasing(cls, years: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in zip(years, years[1:], strict=False)):
            raise ValueError("must be strictly increasing")
        return years


class Market(Strict):
    """The home country and where other markets lie."""

    home: Country
    countries: dict[str, Country] = Field(default_factory=dict)


class Network(Strict):
    """Which lanes exist."""

    lanes: Literal["open", "listed"] = "open"


class Solve(Strict):
    """Limits of the solver."""

    seconds: Annotated[float, StrictType(), Field(gt=0, lt=1e9)] = 300.0
    gap: ShareLimit = 1e-4
    threads: Annotated[int, StrictType(), Field(ge=0, le=1024)] = 0


class Risk(Strict):
    """How disruptions weigh in the objective (contract section 2); off without a weight.

    ``weight`` 0 minds the expected cost alone, 1 the tail alone; ``tail`` is the share of probability that counts as
    the worst. ``joint``: scenarios strike independently, together too; ``samples`` and ``seed``: how many
    combinations are listed, or drawn where there are more.
    """

    weight: ShareLimit | None = None
    tail: Annotated[float, StrictType(), Field(gt=0, le=1)] = 0.1
    joint: Annotated[bool, StrictType()] = False
    samples: Annotated[int, StrictType(), Field(ge=1, le=100_000)] = 1000
    seed: Annotated[int, StrictType(), Field(ge=0)] = 0


class TableChange(Strict):
    """A change of table cells: set, scale or add numbers where columns match."""

    table: str
    where: dict[str, Any]
    set: dict[str, Any] | None = None
    scale: dict[str, float] | None = None
    add: dict[str, float] | None = None

    @model_validator(mode="after")
    def _one(self) -> TableChange:
        if sum(bool(part) for part in (self.set, self.scale, self.add)) != 1:
            raise ValueError("give exactly one of set, scale, add, with at least one column")
        return self


class Scenario(Strict):
    """A named list of changes; presets carry where they come from."""

    title: str = ""
    note: str = ""
    jurisdiction: str = ""
    status: str = ""
    effective: str = ""
    source: str = ""
    url: str = ""
    use: Names = ()
    set: dict[str, Any] = Field(default_factory=dict)
    change: tuple[TableChange, ...] = ()
    rules: tuple[dict[str, Any], ...] = ()

    _tuples = field_validator("use", mode="before")(as_tuple)


class Relaxed(Strict):
    """One row of a rule at another limit than the rule's own, as --relax leaves it in the case as run."""

    rule: str
    bound: Literal["min", "max"]
    mineral: str = ""
    material: str = ""
    member: str = ""
    year: RuleYear
    limit: Annotated[float, StrictType(), Field(gt=-1e15, lt=1e15)]


class Settings(Strict):
    """All of case.toml."""

    name: str = ""
    title: str = ""
    as_of: str = ""
    horizon: Horizon
    market: Market
    network: Network = Network()
    solve: Solve = Solve()
    risk: Risk = Risk()
    rules: tuple[Rule, ...] = ()
    relaxed: tuple[Relaxed, ...] = ()
    scenarios: dict[str, Scenario] = Field(default_factory=dict)


def read_toml(path: Path, file: str, problems: Problems) -> dict[str, Any] | None:
    """The parsed TOML file, or None with the reason recorded."""
    try:
        return parse_toml(path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"), file, problems)
    except FileNotFoundError:
        problems.add(file, "the file is missing: a case is a folder with case.toml and tables/")
    except UnicodeDecodeError as error:
        problems.add(file, "not UTF-8 text", error.object[: error.start].count(b"\n") + 1)
    return None


def parse_toml(text: str, file: str, problems: Problems) -> dict[str, Any] | None:
    """The document of a TOML text, or None with the reason recorded."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        line = text.rpartition("(at line ")[2].partition(",")[0]
        problems.add(file, f"not valid TOML: {text}", int(line) if line.isdigit() else None)
    return None


def parse_settings(raw: dict[str, Any], file: str, problems: Problems) -> Settings | None:
    """Settings from the raw document of case.toml; None where anything is wrong, all of it recorded."""
    before = len(problems.found)
    _check_rules(raw.get("rules", []), file, problems)
    scenarios = raw.get("scenarios", {})
    for name, scenario in scenarios.items() if isinstance(scenarios, dict) else ():
        if not NAME_PATTERN.fullmatch(name):
            problems.add(file, "a scenario name has letters, digits, _ and - only", None, f"scenarios.{name}")
        rules = scenario.get("rules", []) if isinstance(scenario, dict) else []
        _check_rules(rules, file, problems, f"scenarios.{name}.")
    market = raw.get("market", {})
    markets = market.get("countries", {}) if isinstance(market, dict) else {}
    for name in markets if isinstance(markets, dict) else {}:
        if name == "home":
            problems.add(file, "the market home lies in [market] home: name only other markets here", None,
                         "market.countries.home")  # fmt: skip
        elif not ID_PATTERN.fullmatch(name) or ".." in name:
            problems.add(file, "not a market id", None, "market.countries", name)
    broken = len(problems.found) > before
    try:
        settings = Settings.model_validate({**raw, "rules": [] if broken else raw.get("rules", [])})
    except ValidationError as error:
        for item in error.errors(include_url=False):
            _report(item, raw, file, problems)
        return None
    return None if broken else settings


def usable_settings(raw: dict[str, Any]) -> Settings | None:
    """What can be read of a broken case.toml, so that the tables can still be checked; None where too little."""
    kept = {key: value for key, value in raw.items() if key in Settings.model_fields}
    rules = kept.get("rules", [])
    kept["rules"] = [rule for rule in rules if _valid(rule)] if isinstance(rules, list) else []
    for _ in range(20):
        try:
            return Settings.model_validate(kept)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                kept = _without(kept, list(item["loc"]))
    return None


def _valid(rule: Any) -> bool:
    try:
        RULES.validate_python(rule)
    except ValidationError:
        return False
    return True


def _without(document: Any, place: list[Any]) -> Any:
    """A copy of the document without what stands at the place (or the nearest thing around it)."""
    if isinstance(document, dict) and place and place[0] in document:
        inner = document[place[0]]
        rest = {key: value for key, value in document.items() if key != place[0]}
        deeper = len(place) > 1 and isinstance(inner, dict) and place[1] in inner
        return {**rest, place[0]: _without(inner, place[1:])} if deeper else rest
    return document


def _check_rules(rules: Any, file: str, problems: Problems, prefix: str = "") -> None:
    """Each rule by itself, so that one wrong rule does not hide the next; names are unique."""
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        problems.add(file, "rules are written as [[rules]]", None, f"{prefix}rules")
        return
    seen: set[str] = set()
    for number, rule in enumerate(rules, 1):
        check_rule(rule, file, problems, number, prefix)
        name = rule.get("name")
        if isinstance(name, str):
            if name in seen:
                problems.add(file, "another rule has this name", None, f"{prefix}rules", name)
            seen.add(name)


def check_rule(rule: dict[str, Any], file: str, problems: Problems, number: int = 0, prefix: str = "") -> Any:
    """One rule as its class, or None with each problem recorded."""
    place = prefix + (f"rules.{rule['name']}" if isinstance(rule.get("name"), str) else f"rules[{number}]")
    kind = rule.get("kind")
    try:
        return RULES.validate_python(rule)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            _report(item, rule, file, problems, place, kind)
        return None


def _report(item: Any, raw: Any, file: str, problems: Problems, prefix: str = "", kind: str | None = None) -> None:
    """One pydantic error as a problem with its place in the document."""
    where = [part for part in item["loc"] if part != kind and part not in ("function-after", "tagged-union")]
    place = ".".join([prefix, *(str(part) for part in where)] if prefix else [str(part) for part in where])
    value = item.get("input", "")
    shown = "" if isinstance(value, (dict, list, tuple)) else value
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        known = _known_keys(where[:-1], kind)
        problems.add(file, f"unknown key; {nearest(str(where[-1]), known)}", None, place)
    elif item["type"] == "missing":
        problems.add(file, "this key is needed", None, place)
    elif item["type"].startswith("union_tag"):
        tag = raw.get("kind", "") if isinstance(raw, dict) else ""
        hint = nearest(str(tag), RULE_KINDS)
        problems.add(file, f"the kind of a rule is one of {', '.join(RULE_KINDS)}; {hint}", None, f"{place}.kind", tag)
    else:
        problems.add(file, message[:1].lower() + message[1:], None, place, shown)


def _known_keys(where: list[Any], kind: str | None) -> list[str]:
    model: Any = RULE_KINDS.get(kind or "", Settings)
    for part in where:
        inside = model.model_fields[part].annotation if model is not None and part in model.model_fields else None
        if inside is not None:
            model = next(iter(_models(inside)), None)
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The parts of case.toml named in an annotation, also inside a dictionary, tuple or union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]
