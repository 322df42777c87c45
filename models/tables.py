"""The tables of a case: one row class each, with the type, unit, range and meaning of every column.

Everything that speaks of a column (the reader's checks and messages, ``oremix columns``, the blank
tables of ``oremix new``) is made from these classes. Sources: the column meanings are oremix's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.cells import (
    Allowed,
    Channel,
    CostBasis,
    Country,
    Endpoint,
    Id,
    NotNegative,
    Number,
    PaidBy,
    Positive,
    ProbabilityBasis,
    ScenarioName,
    Share,
    SourceId,
    SourceIds,
    Stage,
    Text,
    Year,
    YesNo,
)


class Row(BaseModel):
    """One record of a table; a column without a default must be there and filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    table: ClassVar[str]
    unique: ClassVar[tuple[str, ...]] = ()

    source: SourceIds = Field("", description="where the row comes from: ids of sources.csv")
    note: Text = Field("", description="free text, carried and never computed with")


class Material(Row):
    """A material at one stage of one mineral's chain."""

    table = "materials"
    unique = ("material",)

    material: Id = Field(description="id of the material")
    mineral: Id = Field(description="the mineral it belongs to; rules and reports group by it")
    stage: Stage = Field(description="feedstock (scrap, tailings), extraction, processing or manufacturing")
    basis: Text = Field("", description="what a tonne is, for example t Li content")
    price_usd_per_t: NotNegative = Field(
        0.0, description="reference price: base of ad valorem duty and of value shares"
    )


class Supplier(Row):
    """A mine, refinery, plant or recycler, or a country's sector taken as one."""

    table = "suppliers"
    unique = ("supplier",)

    supplier: Id = Field(description="id of the supplier")
    name: Text = Field("", description="what people read; default: the id")
    country: Country = Field(description="where it stands")
    controller: Country | Literal[""] = Field("", description="country of the controlling ownership; default: country")
    channel: Channel = Field(description="domestic, allied, recycling or incumbent")
    material: Id = Field(description="what it produces")
    input: Id | Literal[""] = Field("", description="material that it consumes; blank: none (a mine)")
    recovery: Positive = Field(1.0, description="t produced per t of input")
    capacity_t: NotNegative = Field(description="most that it can produce for this buyer in a year")
    incumbent_t: NotNegative = Field(0.0, description="what it sells to this buyer today (the status quo)")
    cost_usd_per_t: Number = Field(description="cost per t produced, without input, freight and duty")
    cost_basis: CostBasis = Field("", description="where the cost comes from")
    min_t: NotNegative = Field(
        0.0, description="contracted minimum: must be produced in each year in which it is active"
    )
    lot_t: NotNegative = Field(0.0, description="if used at all in a year, at least this much (integer)")
    fixed_usd_per_y: NotNegative = Field(0.0, description="paid in each year in which it is used at all (integer)")
    from_year: Year | None = Field(None, description="first year in which it can produce; default: always")
    to_year: Year | None = Field(None, description="last year in which it can produce; default: always")
    max_expansion_t: NotNegative = Field(0.0, description="most capacity that can be added, all years together")
    capex_usd_per_t: NotNegative = Field(0.0, description="capital per t of yearly capacity added, paid as an annuity")
    lead_years: NotNegative = Field(0.0, description="from the decision to the first year of use")
    open_usd: NotNegative = Field(
        0.0, description="lump of capital to open it, once, before any expansion, paid as an annuity (integer)"
    )
    life_years: Positive | None = Field(
        None, description="how long an expansion can be used; blank: to the end, with an annuity over 20 years"
    )
    ramp_years: NotNegative = Field(
        0.0, description="n: 1/(n+1) of an expansion is usable in its first year, as much more in each of n after it"
    )
    cost_of_capital: Share | None = Field(
        None, description="rate of its annuities (lower with a long-term offtake); blank: discount_rate"
    )
    credit_share: Share = Field(0.0, description="production credit: share of cost_usd_per_t that the public pays")
    credit_usd_per_t: NotNegative = Field(0.0, description="production credit per t produced, paid by the public")
    grant_share: Share = Field(
        0.0, description="investment grant: share of the annuities of what is decided that the public pays"
    )
    floor_usd_per_t: NotNegative | None = Field(
        None, description="price floor: its excess over price_usd_per_t of the material is paid per t produced"
    )
    floor_paid_by: PaidBy = Field("", description="who pays that difference: public or buyers")
    certified: YesNo = Field("no", description="yes where an independent responsible-sourcing scheme covers it")
    surge_share: Share = Field(0.0, description="share of its unused capacity that can be called on in a disruption")
    emissions_kgco2e_per_t: NotNegative = Field(0.0, description="emissions per t produced")


class SupplierYear(Row):
    """Values of a supplier that change from a year on (a step; a blank cell changes nothing)."""

    table = "supplier_years"
    unique = ("supplier", "year")

    supplier: Id = Field(description="id of the supplier")
    year: Year = Field(description="from this year on")
    capacity_t: NotNegative | None = Field(None, description="replaces capacity_t")
    cost_usd_per_t: Number | None = Field(None, description="replaces cost_usd_per_t")
    min_t: NotNegative | None = Field(None, description="replaces min_t")
    credit_share: Share | None = Field(None, description="replaces credit_share")
    credit_usd_per_t: NotNegative | None = Field(None, description="replaces credit_usd_per_t")
    grant_share: Share | None = Field(None, description="replaces grant_share, for what is decided from this year on")
    floor_usd_per_t: NotNegative | None = Field(None, description="replaces floor_usd_per_t; 0 ends it")


class Byproduct(Row):
    """A second material made with each tonne of a supplier's main one."""

    table = "byproducts"
    unique = ("supplier", "material")

    supplier: Id = Field(description="id of the supplier that makes it")
    material: Id = Field(description="the second material")
    t_per_t: NotNegative = Field(description="tonnes of it made with each tonne of the main material")


class Lane(Row):
    """What moving and importing costs, and how much a lane can carry."""

    table = "lanes"

    origin: Endpoint = Field(description="a supplier id, country:ISO3, bloc:NAME or *")
    destination: Endpoint = Field(description="a supplier id, a market id, country:ISO3, bloc:NAME or *")
    material: Id | Literal[""] = Field("", description="the material moved; blank: all")
    freight_usd_per_t: Number | None = Field(None, description="freight; 0 where no row gives it")
    duty_share: NotNegative | None = Field(
        None, description="ad valorem duty, of the material's price_usd_per_t; 0 where no row gives it"
    )
    max_t: NotNegative | None = Field(None, description="most that each matching lane can carry in a year; 0 closes it")
    from_year: Year | None = Field(
        None, description="first year in which the row holds; at equal rank a row with a year outranks one without"
    )
    to_year: Year | None = Field(None, description="last year in which the row holds; blank: always")


class Demand(Row):
    """What a market requires in a year; a series for each market, material and sector."""

    table = "demand"
    unique = ("market", "material", "sector", "year")

    market: Id = Field("home", description="the market")
    material: Id = Field(description="the material required")
    sector: Text = Field("", description="part of the market with a series of its own")
    year: Year = Field(description="year of the figure; linear between years, held at both ends")
    required_t: NotNegative = Field(description="tonnes required in the year")
    shortage_usd_per_t: NotNegative | None = Field(
        None, description="what a missing tonne costs; blank: demand must be met"
    )


class Feedstock(Row):
    """Scrap, tailings or end-of-life goods that can be collected."""

    table = "feedstock"
    unique = ("material", "year")

    material: Id = Field(description="a material of stage feedstock")
    year: Year = Field(description="year of the figure; linear between years, held at both ends")
    available_t: NotNegative = Field(description="most that all its recyclers together can draw in a year")
    cost_usd_per_t: Number = Field(0.0, description="collection cost per t drawn")
    collection_share: Share | None = Field(
        None, description="share of what arises that available_t stands for; the lever recycling raises it"
    )


class Stock(Row):
    """A stockpile of a material in a market."""

    table = "stock"
    unique = ("market", "material")

    material: Id = Field(description="a material that the market requires")
    market: Id = Field("home", description="the market that it serves")
    opening_t: NotNegative = Field(0.0, description="stock at the start of the first year, there free")
    max_t: NotNegative | None = Field(None, description="most that it can hold; blank: no limit")
    build_max_t: NotNegative | None = Field(None, description="most that can be put in, in a year; blank: no limit")
    draw_max_t: NotNegative | None = Field(None, description="most that can be drawn, in a year; blank: no limit")
    closing_min_t: NotNegative = Field(0.0, description="least stock at the end of the last horizon year")
    hold_usd_per_t_y: NotNegative = Field(
        0.0, description="holding cost, on the stock at the end of the horizon year, each calendar year"
    )
    opening_usd_per_t: NotNegative = Field(0.0, description="book value of the opening stock, for the report only")


class Substitution(Row):
    """A step by which research or redesign lowers what is required, at a cost."""

    table = "substitution"
    unique = ("material", "step", "year")

    material: Id = Field(description="the material that is substituted, in every market that requires it")
    year: Year = Field(description="from this year on, until a later row of the step; none before its first")
    step: Id = Field(description="name or number of the step; steps add up")
    max_share: Share = Field(description="most of the requirement that the step can do without")
    usd_per_t: Number = Field(description="cost per t of requirement done without")


class Bloc(Row):
    """A country's membership of a group of countries."""

    table = "blocs"

    bloc: Id = Field(description="name of the group")
    country: Country = Field(description="a member")
    from_year: Year | None = Field(None, description="first year of membership; blank: always")
    to_year: Year | None = Field(None, description="last year of membership; blank: always")


class Risk(Row):
    """A risk indicator of a country; higher is riskier."""

    table = "risk"
    unique = ("country", "indicator", "year")

    country: Country = Field(description="the country")
    indicator: Id = Field(description="name of the indicator")
    value: NotNegative = Field(description="its value; higher is riskier")
    year: Year | None = Field(None, description="year of the value; the latest at or before a year counts")


class Disruption(Row):
    """One thing that a disruption scenario hits; a scenario may have several rows."""

    table = "disruptions"

    scenario: ScenarioName = Field(description="name of the scenario; its rows happen together")
    probability: Share = Field(
        description="probability of the scenario, the same on each of its rows; the rest, to 1, is nothing happens"
    )
    probability_low: Share | None = Field(None, description="least that the probability may be; blank: not said")
    probability_high: Share | None = Field(None, description="most that the probability may be; blank: not said")
    probability_basis: ProbabilityBasis = Field(
        "", description="where the probability comes from: published, computed or guess; blank: not said"
    )
    package: Id | Literal[""] = Field(
        "", description="what causes it: scenarios of one package share one cause; the same on each row of a scenario"
    )
    country: Country | Literal[""] = Field("", description="hits the suppliers that stand there")
    controller: Country | Literal[""] = Field("", description="hits the suppliers that it controls")
    bloc: Id | Literal[""] = Field("", description="hits the suppliers in its member countries of the year")
    supplier: Id | Literal[""] = Field("", description="hits this supplier")
    channel: Channel | Literal[""] = Field("", description="hits the suppliers of this channel")
    material: Id | Literal[""] = Field("", description="hits only this material; blank: all")
    mineral: Id | Literal[""] = Field("", description="hits only this mineral; blank: all")
    available_share: Share = Field(1.0, description="share of production that is left, over the year")
    cost_multiple: NotNegative = Field(1.0, description="factor on cost_usd_per_t")
    demand_multiple: NotNegative = Field(1.0, description="factor on required_t")
    market: Id | Literal[""] = Field("", description="market whose requirement demand_multiple changes; blank: all")
    months: Text = Field("", description="how long it lasts: text for people, the share is over the year already")


class Assumption(Row):
    """An uncertain input and its range."""

    table = "assumptions"
    unique = ("key",)

    key: Text = Field(description="the input, as in --set; a key ending in * takes factors")
    low: Number = Field(description="lowest value or factor")
    high: Number = Field(description="highest value or factor")
    reason: Text = Field("", description="why this range")


class Source(Row):
    """A publication, computation or assumption that rows point to."""

    table = "sources"
    unique = ("id",)

    id: SourceId = Field(description="id used in the source columns")
    citation: Text = Field(description="author, title, year, place in the document")
    url: Text = Field("", description="where it can be read")
    published: Text = Field("", description="date of publication")
    licence: Text = Field("", description="licence of the figures")
    how: Literal["read", "computed", "assumption", ""] = Field(
        "", description="read, computed or assumption: how the figures were obtained"
    )


TABLES: dict[str, type[Row]] = {
    row.table: row
    for row in (
        Material, Supplier, SupplierYear, Byproduct, Lane, Demand, Feedstock, Stock, Substitution, Bloc, Risk,
        Disruption, Assumption, Source,
    )
}  # fmt: skip
REQUIRED_TABLES = ("materials", "suppliers", "demand")


@dataclass(frozen=True)
class Column:
    """One column as the reader and the column reference see it."""

    table: str
    name: str
    annotation: Any
    required: bool
    default: Any
    meaning: str
    allowed: str
    kind: str

    @property
    def unit(self) -> str:
        """The unit that the name states, in words; blank where it has none."""
        if self.table == "stock" and self.name in ("opening_t", "max_t", "closing_min_t"):
            return "t"
        return unit_of(self.name)


@cache
def columns(table: str) -> dict[str, Column]:
    """The columns of a table in their order: its own first, then source and note."""
    row = TABLES[table]
    own = [name for name in row.model_fields if name not in ("source", "note")]
    found = {}
    for name in [*own, "source", "note"]:
        field = row.model_fields[name]
        allowed = _allowed(field.annotation, field.metadata)
        found[name] = Column(
            table, name, Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation,
            field.is_required(), None if field.is_required() else field.default, field.description or "",
            allowed.words, allowed.kind,
        )  # fmt: skip
    return found


def _allowed(annotation: Any, metadata: Any) -> Allowed:
    for item in (*metadata, *getattr(annotation, "__metadata__", ())):
        if isinstance(item, Allowed):
            return item
    for part in getattr(annotation, "__args__", ()):
        found = _allowed(part, ())
        if found.words:
            return Allowed(found.words + ", or blank", found.kind)
    values = getattr(annotation, "__args__", ())
    if values and all(isinstance(value, str) for value in values):
        return Allowed("one of " + ", ".join(value or "blank" for value in values), "choice")
    return Allowed("", "text")


_UNITS = (
    ("_kgco2e_per_t", "kg CO2e per t"), ("_usd_per_t", "USD per t"), ("_usd_per_y", "USD per year"),
    ("usd_per_t_y", "USD per t and year"), ("usd_per_t", "USD per t"), ("t_per_t", "t per t"), ("_share", "share"),
    ("_years", "years"), ("cost_of_capital", "share"), ("_usd", "USD"), ("_t", "t per year"), ("year", "year"),
)  # fmt: skip


def unit_of(name: str) -> str:
    """The unit stated by a column name, in words: ``capacity_t`` -> ``t per year``."""
    if name == "recovery":
        return "t per t"
    return next((unit for ending, unit in _UNITS if name.endswith(ending)), "")
