"""Policy levers: ``--lever NAME[=[WHO:]VALUE][@YEAR[-YEAR]]``, what each changes, and the list of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.problems import CaseError, Problem, nearest

if TYPE_CHECKING:
    from models.changes import Editor

_WRITTEN = re.compile(r"(?P<name>[A-Za-z0-9_]+)(=(?P<rest>[^@]*))?(@(?P<first>\d{4})(-(?P<last>\d{4}))?)?")


@dataclass(frozen=True)
class Lever:
    """One lever of the list: what people read of it, and where its action is.

    ``value``: what stands after ``=``, as shown; ``default``: used where nothing stands there ("" = must be given).
    ``unit``: a key of UNITS. ``action``: name of the function in ``optimizer.lever_actions``. ``dated``: whether it
    takes ``@YEAR``. ``who``: what may stand before the colon.
    """

    name: str
    value: str
    changes: str
    unit: str
    source: str
    action: str
    default: str = ""
    who: str = ""
    dated: bool = False


@dataclass(frozen=True)
class Pull:
    """A lever as asked for: whom it concerns, its value (in its unit; 0 for one without) or word, and its years."""

    lever: Lever
    text: str
    who: tuple[str, ...]
    value: float
    word: str
    first: int | None
    last: int | None

    @property
    def by(self) -> str:
        """How the change log names it."""
        return f"--lever {self.text}"

    def holds(self, year: int) -> bool:
        """Whether the lever holds in a year."""
        return (self.first is None or year >= self.first) and (self.last is None or year <= self.last)

    def apply(self, editor: Editor) -> list[Any]:
        """Change the case; the cells that were changed. What cannot be done is noted with the editor."""
        from optimizer import lever_actions

        action: Callable[[Editor, Pull], list[Any]] = getattr(lever_actions, self.lever.action)
        return action(editor, self)


_IRC = "Internal Revenue Code 45X(b)(1)(M) and (b)(3), 26 CFR 1.45X-4, Public Law 119-21 section 70514"
LEVERS = (
    Lever("45x", "10%", "pays that share of the cost of processing at home, and of anode material, as a public credit; "
          "minerals: 75% of it in 2031, 50% in 2032, 25% in 2033, none after; anode material a year earlier",
          "share of cost", _IRC, "credit_45x", "10%", "materials or suppliers"),
    Lever("grant", "30%", "pays that share of the capital of what is decided at home, as a public grant",
          "share of capital", "a parameter; US awards of 2022-26 paid about 10% to 50%", "grant", "30%",
          "countries, minerals, suppliers", dated=True),
    Lever("floor", "mp_separation:110000", "guarantees a price: its excess over the reference price is paid per tonne "
          "by the public", "USD per t", "as in the US agreement with MP Materials of July 2025: 110 USD/kg NdPr, "
          "10 years", "floor", "", "suppliers (needed)", dated=True),
    Lever("offtake", "7%", "lowers the cost of capital of what is decided at home: long-term contracts",
          "share a year", "a parameter", "offtake", "7%", "countries, minerals, suppliers"),
    Lever("permitting", "50%", "scales the lead time of what is decided at home", "share of today's lead time",
          "a parameter; the EU allows 27 months for mines, 15 for plants (Regulation (EU) 2024/1252)", "permitting",
          "50%", "countries, minerals, suppliers"),
    Lever("lumpy", "40%", "spends that share of the capital of each project as one lump: it is opened or not "
          "(integers)", "share of capital", "a parameter", "lumpy", "40%", "countries, minerals, suppliers"),
    Lever("tariff", "CHN:25%", "adds to the duty on imports from there", "share of the price",
          "a parameter; Section 301 and 232 of US trade law work so", "tariff", "",
          "countries or blocs (needed), minerals, materials", dated=True),
    Lever("export_ban", "CHN+gallium", "ends what suppliers there can sell, and their contracts", "none",
          "as China's notice 46 of 2024", "quota", "", "countries, blocs, minerals, suppliers (needed)", dated=True),
    Lever("quota", "COD+cobalt:50%", "scales what suppliers there can sell", "share of capacity",
          "as the DR Congo's cobalt quota of October 2025", "quota", "",
          "countries, blocs, minerals, suppliers (needed)", dated=True),
    Lever("recycling", "60%", "raises collection to that share of what arises, where it is lower",
          "share of what arises", "a parameter; the case states today's share (feedstock.csv collection_share)",
          "recycling", "60%", "minerals, feedstocks"),
    Lever("research", "50%", "cuts the cost of the demand-reduction steps of substitution.csv", "share of cost cut",
          "a parameter", "research", "50%", "minerals, materials"),
    Lever("growth", "1.5%", "adds that much a year to the growth of what is required, from the price base year on",
          "share a year", "a parameter", "growth", "", "minerals, materials"),
    Lever("join", "BRA", "takes a country into the bloc allied, its suppliers into the channel allied", "none",
          "a parameter", "join", "", "countries (needed), one bloc", dated=True),
    Lever("leave", "TUR", "takes a country out of the bloc allied, its suppliers into the channel incumbent", "none",
          "a parameter", "leave", "", "countries (needed), one bloc", dated=True),
    Lever("responsible", "30%", "at least that share of each material from certified suppliers, where there are any",
          "share of tonnes delivered", "schemes: suppliers.csv certified and note", "responsible", "30%",
          "minerals, materials", dated=True),
    Lever("stockpile", "60", "holds that many days of the requirement at year end", "days",
          "60 days as US Project Vault of February 2026", "stockpile", "60", "minerals, materials", dated=True),
    Lever("demand", "high", "applies the case's demand case of that name (scenario demand_NAME)", "none",
          "the case", "demand_case", ""),
)  # fmt: skip
BY_NAME = {lever.name: lever for lever in LEVERS}
SAID = {  # what people call them
    "alliance": "join", "ally": "join", "subsidy": "grant", "credit": "45x", "ira": "45x", "duty": "tariff",
    "ban": "export_ban", "embargo": "export_ban", "stock": "stockpile", "vault": "stockpile", "permits": "permitting",
    "certified": "responsible", "substitution": "research", "collection": "recycling", "contract": "offtake",
    "price_floor": "floor",
}  # fmt: skip
LARGER = ("tariff", "quota", "permitting")  # shares that may be above 1
WITHOUT_VALUE = ("export_ban", "join", "leave")  # only WHO stands after the sign


def parse_lever(text: str) -> Pull:
    """A lever as written; raises ``CaseError`` that names the nearest known lever or what is missing."""
    match = _WRITTEN.fullmatch(text.strip())
    name = match["name"] if match else re.split(r"[=@:]", text.strip(), maxsplit=1)[0]
    lever = BY_NAME.get(name.lower().replace("-", "_"))
    if lever is None:
        said = SAID.get(name.lower().replace("-", "_"))
        hint = f"did you mean {said!r}?" if said else nearest(name.lower(), BY_NAME)
        raise _wrong(f"no such lever; {hint}", text)
    if match is None:
        raise _wrong(f"write {_form(lever)}", text)
    if match["first"] and not lever.dated:
        raise _wrong(f"{lever.name} takes no year", text)
    first, last = (int(match[key]) if match[key] else None for key in ("first", "last"))
    if first is not None and last is not None and first > last:
        raise _wrong("its last year is before its first", text)
    rest = match["rest"]
    if lever.name in WITHOUT_VALUE:
        who, value = rest or "", ""
    elif rest and ":" in rest:
        who, _, value = rest.partition(":")
    else:
        who, value = "", rest or ""
    tokens = tuple(token.strip() for token in who.split("+") if token.strip())
    if "needed" in lever.who and not tokens:
        raise _wrong(f"say whom: {_form(lever)}", text)
    if tokens and not lever.who:
        raise _wrong(f"write {_form(lever)}", text)
    word = value.strip() or lever.default
    return Pull(lever, text.strip(), tokens, _value(lever, word, text), word, first, last)


def parse_levers(*texts: str) -> tuple[Pull, ...]:
    """Several levers as written, for ``Request(levers=...)``; raises ``CaseError`` with every problem."""
    found, problems = [], []
    for text in texts:
        try:
            found.append(parse_lever(text))
        except CaseError as error:
            problems += error.problems
    if problems:
        raise CaseError(problems)
    return tuple(found)


def lever_rows() -> list[dict[str, str]]:
    """What ``oremix levers`` lists: name, how to write it, what it changes, unit, whom it takes, source."""
    return [
        {
            "lever": lever.name,
            "write": _form(lever),
            "changes": lever.changes,
            "unit": "" if lever.unit == "none" else lever.unit,
            "who": lever.who,
            "source": lever.source,
        }
        for lever in LEVERS
    ]


def _form(lever: Lever) -> str:
    return f"{lever.name}={lever.value}" + ("[@YEAR]" if lever.dated else "")


def _wrong(message: str, text: str) -> CaseError:
    return CaseError([Problem("--lever", message, value=text)])


def _value(lever: Lever, text: str, written: str) -> float:
    """The value in its unit, 0 for a lever without; raises ``CaseError`` where it is none."""
    if lever.unit == "none":
        if lever.name == "demand" and not text:
            raise _wrong(f"write {_form(lever)}", written)
        return 0.0
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise _wrong(f"its value must be a number or a percentage: {_form(lever)}", written) from None
    most = 1.0 if lever.unit.startswith("share") and lever.name not in LARGER else 1e9
    least = -1.0 if lever.name == "growth" else 0.0
    if not least <= value <= most:
        allowed = f"from {least:g} to {most:g}" if most == 1 else f"{least:g} or more"
        raise _wrong(f"its value ({lever.unit}) must be {allowed}", written)
    return value
