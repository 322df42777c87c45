"""The rule kinds as they stand in case.toml: frozen, unknown keys refused; their meaning is in MATHS.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic import Strict as StrictType

from models.cells import NAME_PATTERN, countries
from models.disruptions import parse_lose

STAGE_NAMES = ("delivered", "feedstock", "extraction", "processing", "manufacturing")


class Strict(BaseModel):
    """Base of every part of case.toml: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


def as_tuple(value: Any) -> Any:
    """One name or a list of them, as a tuple."""
    if isinstance(value, str):
        return (value,)
    return tuple(dict.fromkeys(value)) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


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
        as_tuple
    )

    @field_validator("certified", mode="before")
    @classmethod
    def _yes_no(cls, value: Any) -> Any:
        if value not in ("yes", "no") and not isinstance(value, bool):
            raise ValueError("must be yes or no")
        return value == "yes" or value is True

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
    enabled: Annotated[bool, StrictType()] = True

    _tuples = field_validator("mineral", "material", mode="before")(as_tuple)

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

    _tuples_except = field_validator("except_", mode="before")(as_tuple)


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


class StockDaysRule(RuleBase):
    """Stock at the end of the year covers so many days of requirement, in each market with stock."""

    kind: Literal["stock_days"]
    days: Limit

    @model_validator(mode="after")
    def _limits(self) -> StockDaysRule:
        if self.stage != "delivered":
            raise ValueError("a rule of kind stock_days takes no stage: it covers what markets require")
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


class ProvenanceRule(RuleBase):
    """The share of delivered tonnes that passed through a selected supplier at any stage is at most max."""

    kind: Literal["provenance"]
    where: Where
    max: ShareLimit = 0.0

    @model_validator(mode="after")
    def _limits(self) -> ProvenanceRule:
        if self.stage != "delivered":
            raise ValueError("a rule of kind provenance takes no stage: it follows delivered tonnes through every one")
        return self


class SurviveRule(RuleBase):
    """After each loss, at least serve of the requirement can still be delivered by re-dispatch."""

    kind: Literal["survive"]
    lose: str
    except_: Names = Field((), alias="except")
    serve: ShareLimit
    months: Annotated[float, StrictType(), Field(gt=0, le=1200)] = 12.0

    _tuples_except = field_validator("except_", mode="before")(as_tuple)

    @model_validator(mode="after")
    def _limits(self) -> SurviveRule:
        if self.stage != "delivered":
            raise ValueError("a rule of kind survive takes no stage: it is about what can still be delivered")
        parse_lose(self.lose, self.except_)
        return self


Rule = Annotated[
    ShareRule
    | EachShareRule
    | HhiRule
    | IndexRule
    | BanRule
    | BudgetRule
    | EmissionsRule
    | SuppliersRule
    | StockDaysRule
    | ProvenanceRule
    | SurviveRule,
    Field(discriminator="kind"),
]
RULES: TypeAdapter[Any] = TypeAdapter(Rule)
RULE_KINDS = {
    "share": ShareRule, "each_share": EachShareRule, "hhi": HhiRule, "index": IndexRule, "ban": BanRule,
    "budget": BudgetRule, "emissions": EmissionsRule, "suppliers": SuppliersRule, "stock_days": StockDaysRule,
    "provenance": ProvenanceRule, "survive": SurviveRule,
}  # fmt: skip
# The key that holds a rule's limit, for --set rules.NAME.max and for `repair`.
LIMIT_KEYS = {
    "share": ("min", "max"), "each_share": ("max",), "hhi": ("max",), "index": ("max",), "ban": (),
    "budget": ("max_usd_per_y",), "emissions": ("max_kgco2e_per_t",), "suppliers": ("min", "max"),
    "stock_days": ("days",),
    "provenance": ("max",), "survive": ("serve",),
}  # fmt: skip
