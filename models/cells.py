"""What a cell may hold: the types of columns (ids, countries, numbers, choices), each with its words for people.

Country codes are ISO 3166-1 alpha-3.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,79}")
NAME_PATTERN = re.compile(r"[A-Za-z0-9_-]+")
NUMERAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
LARGEST = 1e12


@cache
def countries() -> dict[str, str]:
    """ISO 3166-1 alpha-3 code -> English short name, with XKX for Kosovo."""
    text = files("data").joinpath("countries.csv").read_text(encoding="utf-8")
    return {row["iso3"]: row["name"] for row in csv.DictReader(text.splitlines())}


def _identifier(text: str) -> str:
    if not ID_PATTERN.fullmatch(text) or ".." in text:
        raise ValueError("not an id")
    return text


def _country(text: str) -> str:
    if text not in countries():
        raise ValueError("not a country")
    return text


def _numeral(value: Any) -> Any:
    if isinstance(value, str) and not NUMERAL.fullmatch(value):
        raise ValueError("not a number")
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


def _endpoint(text: str) -> str:
    if text == "*":
        return text
    kind, colon, rest = text.partition(":")
    if colon and kind == "country":
        _country(rest)
    elif colon and kind == "bloc":
        _identifier(rest)
    else:
        _identifier(text)
    return text


def _source_ids(text: str) -> str:
    return " ".join(text.split())


@dataclass(frozen=True)
class Allowed:
    """What a cell may hold, in words for messages and for the column reference."""

    words: str
    kind: str = "number"


_IN_ID = "letters, digits, space and _ . + -, starting with a letter or digit, up to 80, no '..'"

Id = Annotated[str, AfterValidator(_identifier), Allowed(_IN_ID, "id")]
Country = Annotated[str, AfterValidator(_country), Allowed("an ISO 3166-1 alpha-3 country code (or XKX)", "country")]
Endpoint = Annotated[
    str,
    AfterValidator(_endpoint),
    Allowed("a supplier id, a market id, country:ISO3, bloc:NAME or *", "endpoint"),
]
Text = Annotated[str, Allowed("text", "text")]
SourceIds = Annotated[str, AfterValidator(_source_ids), Allowed("ids of sources.csv, separated by spaces", "ids")]
ScenarioName = Annotated[
    str, Field(pattern=rf"^{NAME_PATTERN.pattern}$", max_length=80), Allowed("letters, digits, _ and -, up to 80", "id")
]
SourceId = Annotated[str, Field(pattern=r"^\S+$"), Allowed("an id without spaces", "id")]
_Number = Annotated[float, BeforeValidator(_numeral), Field(allow_inf_nan=False, gt=-LARGEST, lt=LARGEST)]
_PLAIN = "decimal point, no thousands separator, below 1e12"
Number = Annotated[_Number, Allowed(f"a number ({_PLAIN}); may be negative")]
NotNegative = Annotated[_Number, Field(ge=0), Allowed(f"a number, 0 or more ({_PLAIN})")]
Positive = Annotated[_Number, Field(gt=0), Allowed(f"a number above 0 ({_PLAIN})")]
Year = Annotated[
    int, BeforeValidator(_numeral), Field(ge=1900, le=2500), Allowed("a whole year from 1900 to 2500", "year")
]
Stage = Annotated[
    Literal["feedstock", "extraction", "processing", "manufacturing"],
    Allowed("one of feedstock, extraction, processing, manufacturing", "choice"),
]
Channel = Annotated[
    Literal["domestic", "allied", "recycling", "incumbent"],
    Allowed("one of domestic, allied, recycling, incumbent", "choice"),
]
CostBasis = Annotated[
    Literal["published", "price", "premium", "assumption", ""],
    Allowed("one of published, price, premium, assumption, or blank", "choice"),
]
YesNo = Annotated[Literal["yes", "no"], Allowed("yes or no", "choice")]
Share = Annotated[_Number, Field(ge=0, le=1), Allowed("a share from 0 to 1")]
PaidBy = Annotated[Literal["public", "buyers", ""], Allowed("one of public, buyers, or blank", "choice")]
ProbabilityBasis = Annotated[
    Literal["published", "computed", "guess", ""], Allowed("one of published, computed, guess, or blank", "choice")
]
