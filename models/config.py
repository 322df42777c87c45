"""case.toml: the settings of a case, its rules and scenarios; frozen, unknown keys refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic import Strict as StrictType

from models.problems import Problems, nearest
from models.tables import ID_PATTERN, NAME_PATTERN, Country, countries

STAGE_NAMES = ("delivered", "feedstock", "extraction", "processing", "manufacturing")
LATER_RULES = {"provenance": "disruptions", "survive": "disruptions", "stock_days": "stockpiles"}
LATER_BUDGETS = {"capital": "expansion", "public": "policy levers"}


class Strict(BaseModel):
    """Base of every part of case.toml: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = tuple[str, ...]
ShareLimit = Annotated[float, StrictType(), Field(ge=0, le=1)]
Limit = Annotated[float, StrictType(), Field(ge=0, lt=1e12)]
Count = Annotated[int, StrictType(), Field(ge=0, lt=1e6)]
StageName = Literal["delivered", "feedstock", "extraction", "processing", "manufacturing"]
RuleName = Annotated[str, Field(pattern=rf"^{NAME_PATTERN.pattern}$", max_length=80)]
RuleYear = Annotated[int, StrictType(), Field(ge=1900, le=2500)]


class Where(Strict):
    """Which suppliers a rule selects; all keys given must hold."""

    channel: Names | None = None
    country: Names | None = None
    controller: Names | None = None
    bloc: Names | None = None
    controller_bloc: Names | None = None
    supplier: Names | None = None
    certified: bool | None = None

    _tuples = field_validator("channel", "country", "controller", "bloc", "controller_bloc", "supplier", mode="before")(
        _as_tuple
    )

    @field_validator("certified", mode="before")
    @classmethod
    def _yes_no(cls, value: Any) -> Any:
        if value not in ("yes", "no", True, False):
            raise ValueError("must be yes or no")
        return value in ("yes", True)

    @field_validator("channel")
    @classmethod
    def _channels(cls, value: Names | None) -> Names | None:
        for channel in value or ():
            if channel not in ("domestic", "allied", "recycling", "incumbent"):
                raise ValueError(f"{channel!r} is no channel: domestic, allied, recycling or incumbent")
        return value

    @field_validator("country", "controller")
    @classmethod
    def _countries(cls, value: Names | None) -> Names | None:
        for country in value or ():
            if country not in countries():
                raise ValueError(f"{country!r} is not an ISO 3166-1 alpha-3 country code")
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> Where:
        given = [key for key in type(self).model_fields if getattr(self, key) is not None]
        if not given or any(getattr(self, key) == () for key in given):
            raise ValueError("selects nothing: give at least one of " + ", ".join(type(self).model_fields))
        return self


class RuleBase(Strict):
    """Keys that every rule takes."""

    name: RuleName
    stage: StageName = "delivered"
    mineral: Names | None = None
    material: Names | None = None
    from_year: RuleYear | None = None
    to_year: RuleYear | None = None
    market: str | None = None
    enabled: bool = True

    _tuples = field_validator("mineral", "material", mode="before")(_as_tuple)

    @model_validator(mode="after")
    def _common(self) -> RuleBase:
        if self.market is not None and self.stage != "delivered":
            raise ValueError("market goes only with stage delivered")
        if self.mineral is not None and self.material is not None:
            raise ValueError("give mineral or material, not both")
        if self.from_year is not None and self.to_year is not None and self.from_year > self.to_year:
            raise ValueError("from_year is after to_year")
        return self


def _ordered(rule: Any) -> None:
    if rule.min is None and rule.max is None:
        raise ValueError("give min, max or both")
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        raise ValueError(f"min {rule.min:g} is above max {rule.max:g}")


class ShareRule(RuleBase):
    """min * T <= tonnes from the selected suppliers <= max * T."""

    kind: Literal["share"]
    where: Where
    min: ShareLimit | None = None
    max: ShareLimit | None = None
    of: Literal["supply", "requirement"] = "supply"

    @model_validator(mode="after")
    def _limits(self) -> ShareRule:
        _ordered(self)
        return self


class EachShareRule(RuleBase):
    """The same cap on every country, controller, supplier or channel."""

    kind: Literal["each_share"]
    each: Literal["country", "controller", "supplier", "channel"]
    max: ShareLimit
    except_: Names = Field((), alias="except")
    of: Literal["supply", "requirement"] = "supply"
    include_home: bool = False

    _tuples_except = field_validator("except_", mode="before")(_as_tuple)


class HhiRule(RuleBase):
    """Sum over groups of weight * share^2 <= max."""

    kind: Literal["hhi"]
    by: Literal["country", "controller", "supplier"] = "country"
    max: Limit
    weight: str | None = None

    @model_validator(mode="after")
    def _limits(self) -> HhiRule:
        if self.weight is None and self.max > 1:
            raise ValueError(f"max {self.max:g} is above 1: an HHI here is a sum of squared fractions, 0 to 1")
        return self


class IndexRule(RuleBase):
    """Sum of share * indicator value <= max."""

    kind: Literal["index"]
    indicator: str
    max: Limit


class BanRule(RuleBase):
    """Nothing from the selected suppliers at the stage."""

    kind: Literal["ban"]
    where: Where


def _whole_chain(rule: Any, kind: str) -> None:
    if rule.stage != "delivered" or rule.market is not None:
        raise ValueError(f"a rule of kind {kind} takes no stage or market: it covers the whole chain")


class BudgetRule(RuleBase):
    """Cost of a year, in all or for each mineral (or material) named, at most max_usd_per_y."""

    kind: Literal["budget"]
    max_usd_per_y: Annotated[float, StrictType(), Field(gt=-1e15, lt=1e15)]
    of: Literal["all", "premium", "capital", "public"] = "all"

    @model_validator(mode="after")
    def _limits(self) -> BudgetRule:
        _whole_chain(self, "budget")
        if self.of in LATER_BUDGETS:
            raise ValueError(f"of = {self.of!r}: this version of oremix has no {LATER_BUDGETS[self.of]} yet")
        return self


class EmissionsRule(RuleBase):
    """Emissions of all stages per delivered tonne of the mineral."""

    kind: Literal["emissions"]
    max_kgco2e_per_t: Limit

    @model_validator(mode="after")
    def _limits(self) -> EmissionsRule:
        _whole_chain(self, "emissions")
        if self.material is not None:
            raise ValueError("a rule of kind emissions takes mineral, not material: it counts every stage")
        return self


class SuppliersRule(RuleBase):
    """The number of suppliers with tonnes at the stage."""

    kind: Literal["suppliers"]
    where: Where | None = None
    min: Count | None = None
    max: Count | None = None
    least_t: Limit = 1.0

    @model_validator(mode="after")
    def _limits(self) -> SuppliersRule:
        _ordered(self)
        return self


Rule = Annotated[
    ShareRule | EachShareRule | HhiRule | IndexRule | BanRule | BudgetRule | EmissionsRule | SuppliersRule,
    Field(discriminator="kind"),
]
RULES: TypeAdapter[Any] = TypeAdapter(Rule)
RULE_KINDS = {
    "share": ShareRule, "each_share": EachShareRule, "hhi": HhiRule, "index": IndexRule, "ban": BanRule,
    "budget": BudgetRule, "emissions": EmissionsRule, "suppliers": SuppliersRule,
}  # fmt: skip
# The key that holds a rule's limit, for --set rules.NAME.max and for `repair`.
LIMIT_KEYS = {
    "share": ("min", "max"), "each_share": ("max",), "hhi": ("max",), "index": ("max",), "ban": (),
    "budget": ("max_usd_per_y",), "emissions": ("max_kgco2e_per_t",), "suppliers": ("min", "max"),
}  # fmt: skip


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

    _tuples = field_validator("use", mode="before")(_as_tuple)


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
    rules: tuple[Rule, ...] = ()
    relaxed: tuple[Relaxed, ...] = ()
    scenarios: dict[str, Scenario] = Field(default_factory=dict)


def read_toml(path: Path, file: str, problems: Problems) -> dict[str, Any] | None:
    """The parsed TOML file, or None with the reason recorded."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    except FileNotFoundError:
        problems.add(file, "the file is missing: a case is a folder with case.toml and tables/")
    except UnicodeDecodeError as error:
        problems.add(file, "not UTF-8 text", error.object[: error.start].count(b"\n") + 1)
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
    if kind in LATER_RULES:
        problems.add(file, f"this version of oremix has no {LATER_RULES[kind]} yet", None, f"{place}.kind", kind)
        return None
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
        hint = nearest(str(tag), [*RULE_KINDS, *LATER_RULES])
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
