"""A sourcing case: checked tables and settings, and how they read in each horizon year."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.config import Settings, parse_settings, read_toml, usable_settings
from models.lanes import Lanes, find_lanes
from models.problems import CaseError, Problem, Problems
from models.reading import read_tables
from models.sheets import Workbook, is_workbook, read_workbook
from models.tables import TABLES, columns

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
BUNDLED = ("us", "small")
# Columns of suppliers that supplier_years can replace from a year on.
STEPPED = tuple(name for name, column in columns("supplier_years").items() if column.kind == "number")


@dataclass(frozen=True)
class Change:
    """One cell, rule or part of the case that differs from the case as read."""

    key: str
    old: Any
    new: Any
    by: str

    def as_dict(self) -> dict[str, Any]:
        """The keys that ``--json`` and changes.toml give."""
        return {"key": self.key, "old": self.old, "new": self.new, "by": self.by}


@dataclass(frozen=True)
class Case:
    """Validated tables and settings. Frozen: a change makes a new case.

    ``tables`` maps each table name to a frame with every column of its row class (defaults filled, NaN or
    "" where nothing is given) and ``row``, the line in the file. ``raw`` is case.toml as parsed. ``workbook``:
    where the tables stand in the workbook that the case was read from, None for a folder.
    """

    name: str
    settings: Settings
    raw: dict[str, Any]
    tables: Mapping[str, pd.DataFrame]
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    relaxed: Mapping[tuple[str, str, str, str, str, int], float] = field(default_factory=dict)
    workbook: Workbook | None = None

    @property
    def years(self) -> tuple[int, ...]:
        """The horizon years."""
        return self.settings.horizon.years

    @property
    def home(self) -> str:
        """ISO3 of the home country."""
        return self.settings.market.home

    @cached_property
    def spans(self) -> tuple[int, ...]:
        """Calendar years that each horizon year stands for; the last as many as the one before it."""
        years = self.years
        steps = [later - earlier for earlier, later in zip(years, years[1:], strict=False)]
        return (*steps, steps[-1] if steps else 1)

    @cached_property
    def weights(self) -> Floats:
        """Present value at the first horizon year of 1 USD a year over each span; shape (years,)."""
        rate = self.settings.horizon.discount_rate
        first = self.years[0]
        return np.array(
            [
                sum((1 + rate) ** -(year + t - first) for t in range(span))
                for year, span in zip(self.years, self.spans, strict=True)
            ]
        )

    @cached_property
    def materials(self) -> pd.DataFrame:
        """materials.csv indexed by material."""
        return self.tables["materials"].set_index("material", drop=False)

    @cached_property
    def suppliers(self) -> pd.DataFrame:
        """suppliers.csv with controller and name filled in, and the mineral and stage of what each makes."""
        table = self.tables["suppliers"].copy()
        table["controller"] = table["controller"].where(table["controller"] != "", table["country"])
        table["name"] = table["name"].where(table["name"] != "", table["supplier"])
        table["mineral"] = table["material"].map(self.materials["mineral"])
        table["stage"] = table["material"].map(self.materials["stage"])
        return table

    @cached_property
    def supplier_position(self) -> dict[str, int]:
        """Supplier id -> its row in ``suppliers``."""
        return {name: position for position, name in enumerate(self.suppliers["supplier"])}

    @cached_property
    def makers(self) -> dict[str, set[int]]:
        """Material -> positions of the suppliers that make it, as main material or by-product."""
        found: dict[str, set[int]] = {}
        table = self.suppliers
        for place, (supplier, material) in enumerate(zip(table["supplier"], table["material"], strict=True)):
            found.setdefault(material, set()).add(place)
            for second, _ in self.byproducts.get(supplier, ()):
                found.setdefault(second, set()).add(place)
        return found

    @cached_property
    def active(self) -> Flags:
        """Whether each supplier can produce in each year; shape (suppliers, years)."""
        years = np.array(self.years)
        start = self.suppliers["from_year"].fillna(-np.inf).to_numpy()[:, None]
        end = self.suppliers["to_year"].fillna(np.inf).to_numpy()[:, None]
        return np.asarray((start <= years) & (years <= end))

    def by_year(self, column: str) -> Floats:
        """A supplier column in each year with supplier_years stepped in; shape (suppliers, years)."""
        values = np.repeat(self.suppliers[column].to_numpy(dtype=float)[:, None], len(self.years), axis=1)
        if column in STEPPED:
            steps = self.tables["supplier_years"]
            steps = steps[steps[column].notna()].sort_values("year", kind="stable")
            for name, year, value in zip(steps["supplier"], steps["year"], steps[column], strict=True):
                position = self.supplier_position.get(name)
                if position is not None:
                    values[position, np.array(self.years) >= year] = value
        return values

    @cached_property
    def demand(self) -> pd.DataFrame:
        """One row a (market, material, sector, year): required_t interpolated, shortage_usd_per_t stepped.

        NaN in shortage_usd_per_t: that demand must be met.
        """
        parts = []
        for key, group in self.tables["demand"].groupby(["market", "material", "sector"], sort=True):
            group = group.sort_values("year")
            known, years = group["year"].to_numpy(dtype=float), np.array(self.years, dtype=float)
            required = np.interp(years, known, group["required_t"].to_numpy())
            latest = np.maximum(np.searchsorted(known, years, side="right") - 1, 0)
            price = group["shortage_usd_per_t"].to_numpy()[latest]
            market, material, sector = key
            parts.append(
                pd.DataFrame(
                    {
                        "market": market, "material": material, "sector": sector, "year": self.years,
                        "required_t": required, "shortage_usd_per_t": price,
                    }
                )
            )  # fmt: skip
        columns = ["market", "material", "sector", "year", "required_t", "shortage_usd_per_t"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    @cached_property
    def required(self) -> dict[tuple[str, str, int], float]:
        """(market, material, year) -> tonnes required, sectors added up."""
        sums = self.demand.groupby(["market", "material", "year"])["required_t"].sum()
        return {key: float(value) for key, value in sums.items()}  # type: ignore[misc]  # a three-level index

    @cached_property
    def markets(self) -> dict[str, list[str]]:
        """Market -> the materials that it requires, in order of materials.csv."""
        order = {material: place for place, material in enumerate(self.materials["material"])}
        found = self.tables["demand"].groupby("market")["material"].unique()
        return {str(market): sorted(found[market], key=order.__getitem__) for market in sorted(found.index)}

    def delivered_materials(self, market: str | None = None) -> list[str]:
        """Materials that some market (or the named one) requires, in order of materials.csv."""
        wanted = {m for name, listed in self.markets.items() if market in (None, name) for m in listed}
        return [material for material in self.materials["material"] if material in wanted]

    def market_country(self, market: str) -> str:
        """ISO3 of the country in which a market lies; "" where none is given."""
        return self.home if market == "home" else self.settings.market.countries.get(market, "")

    @cached_property
    def pools(self) -> dict[str, tuple[Floats, Floats]]:
        """Feedstock material -> (available_t, collection cost) in each year, interpolated like demand."""
        years = np.array(self.years, dtype=float)
        found = {}
        for material, group in self.tables["feedstock"].groupby("material", sort=True):
            group = group.sort_values("year")
            known = group["year"].to_numpy(dtype=float)
            found[str(material)] = (
                np.interp(years, known, group["available_t"].to_numpy()),
                np.interp(years, known, group["cost_usd_per_t"].to_numpy()),
            )
        return found

    @cached_property
    def stock(self) -> pd.DataFrame:
        """stock.csv in the order of markets and materials, blank limits as infinity."""
        table = self.tables["stock"].sort_values(["market", "material"], ignore_index=True)
        limits = ["max_t", "build_max_t", "draw_max_t"]
        return table.assign(**{name: table[name].fillna(np.inf) for name in limits})

    @cached_property
    def substitution(self) -> pd.DataFrame:
        """One row a (material, step, horizon year): max_share and usd_per_t of the latest row until then (else 0)."""
        found: dict[str, list[Any]] = {name: [] for name in ("material", "step", "year", "max_share", "usd_per_t")}
        for (material, step), group in self.tables["substitution"].groupby(["material", "step"], sort=True):
            group = group.sort_values("year")
            latest = np.searchsorted(group["year"].to_numpy(dtype=float), self.years, side="right") - 1
            found["material"] += [material] * len(self.years)
            found["step"] += [step] * len(self.years)
            found["year"] += self.years
            for name in ("max_share", "usd_per_t"):
                cells = group[name].to_numpy(dtype=float)[np.maximum(latest, 0)]
                found[name] += np.where(latest >= 0, cells, 0.0).tolist()
        return pd.DataFrame(found)

    @cached_property
    def byproducts(self) -> dict[str, list[tuple[str, float]]]:
        """Supplier -> its (by-product material, t per t of the main one)."""
        found: dict[str, list[tuple[str, float]]] = {}
        table = self.tables["byproducts"]
        for supplier, material, ratio in zip(table["supplier"], table["material"], table["t_per_t"], strict=True):
            found.setdefault(supplier, []).append((material, float(ratio)))
        return found

    @cached_property
    def lanes(self) -> Lanes:
        """Every lane with its freight, duty and limit in each year."""
        return find_lanes(self)

    @cached_property
    def bloc_names(self) -> set[str]:
        """Names of the blocs in blocs.csv."""
        return set(self.tables["blocs"]["bloc"])

    @cached_property
    def _memberships(self) -> dict[str, list[tuple[str, float, float]]]:
        """Bloc -> (country, first year, last year) of each row of blocs.csv."""
        table = self.tables["blocs"]
        first, last = table["from_year"].fillna(-np.inf), table["to_year"].fillna(np.inf)
        found: dict[str, list[tuple[str, float, float]]] = {}
        for bloc, *row in zip(table["bloc"], table["country"], first, last, strict=True):
            found.setdefault(bloc, []).append((row[0], float(row[1]), float(row[2])))
        return found

    def bloc_members(self, bloc: str, year: int) -> set[str]:
        """Countries in the bloc in that year."""
        return {country for country, first, last in self._memberships.get(bloc, ()) if first <= year <= last}

    def risk(self, indicator: str, year: int) -> dict[str, float]:
        """Country -> value: the latest at or before the year, else the earliest; a blank year is the earliest."""
        table = self.tables["risk"]
        table = table[table["indicator"] == indicator]
        found: dict[str, float] = {}
        for country, group in table.groupby("country"):
            years = group["year"].fillna(-np.inf).to_numpy()
            order = np.argsort(years, kind="stable")
            place = max(int(np.searchsorted(years[order], year, side="right")) - 1, 0)
            found[str(country)] = float(group["value"].to_numpy()[order][place])
        return found

    @property
    def rules(self) -> tuple[Any, ...]:
        """The enabled rules."""
        return tuple(rule for rule in self.settings.rules if rule.enabled)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that is computed with: same fingerprint, same plan."""
        digest = hashlib.sha256()
        raw = {key: value for key, value in self.raw.items() if key not in ("scenarios", "title", "name")}
        digest.update(json.dumps(raw, sort_keys=True, default=str).encode())
        digest.update(repr(sorted(self.relaxed.items())).encode())
        for name in TABLES:
            kept = self.tables[name].drop(columns=["row", "source", "note"], errors="ignore")
            digest.update(kept.to_csv(index=False).encode())
        return digest.hexdigest()[:16]

    def with_(self, **parts: Any) -> Case:
        """A copy with some parts replaced; what was worked out already is kept where nothing of it can change."""
        made = replace(self, **parts)
        if parts.keys() <= {"warnings", "changes"}:
            fields = type(self).__dataclass_fields__
            vars(made).update({name: value for name, value in vars(self).items() if name not in fields})
        return made


def find_case(name: str | Path) -> Path:
    """The folder or workbook of a case: a folder, its case.toml, a workbook, or the name of a bundled case.

    A folder with case.xlsx and no case.toml stands for that workbook.
    """
    path = Path(name)
    if path.is_file() and (path.name == "case.toml" or is_workbook(path)):
        return path.parent if path.name == "case.toml" else path
    if path.is_dir():
        inside = path / "case.xlsx"
        return inside if inside.is_file() and not (path / "case.toml").exists() else path
    if str(name) in BUNDLED:
        with as_file(files("data").joinpath(str(name))) as folder:
            return Path(folder)
    message = f"no such case: give a folder with case.toml, a workbook (.xlsx), or one of {', '.join(BUNDLED)}"
    raise CaseError([Problem(str(name), message)])


def read_case(name: str | Path) -> tuple[Case | None, Problems]:
    """The case with every problem found; None where it cannot even be put together."""
    problems, workbook = Problems(), None
    place = find_case(name)
    if place.is_file():
        raw, tables, workbook = read_workbook(place, problems)
    else:
        raw, tables = read_toml(place / "case.toml", "case.toml", problems), read_tables(place, problems)
        if (place / "case.xlsx").exists():
            problems.warn("case.xlsx lies beside case.toml and was not read: name the workbook itself to read it")
    case = _checked(place, raw, tables, workbook, problems)
    if workbook is not None:
        problems.found = [workbook.placed(problem) for problem in problems.found]
    return case, problems


def _checked(
    place: Path, raw: dict[str, Any] | None, tables: dict[str, pd.DataFrame], workbook: Workbook | None,
    problems: Problems,
) -> Case | None:  # fmt: skip
    """The case of a document and tables with its problems collected; None where it cannot be put together."""
    from models.assumptions import check_assumptions
    from models.checks import check_case

    settings = parse_settings(raw, "case.toml", problems) if raw is not None else None
    if settings is None and raw is not None:
        settings = usable_settings(raw)
    if raw is None or settings is None:
        return None
    limits: dict[tuple[str, str, str, str, str, int], float] = {}
    for item in settings.relaxed:
        limits[item.rule, item.bound, item.mineral, item.material, item.member, item.year] = item.limit
    named = settings.name or (place.resolve().name if workbook is None else place.stem)
    case = Case(named, settings, raw, tables, relaxed=limits, workbook=workbook)
    check_case(case, problems)
    if not problems.found:
        check_assumptions(case, problems)
    warnings = problems.warnings if workbook is None else [workbook.worded(line) for line in problems.warnings]
    return case.with_(warnings=tuple(warnings))


def load_case(name: str | Path = "us") -> Case:
    """Read a case folder, a case.toml, a workbook or a bundled case; raises ``CaseError`` with every problem found."""
    case, problems = read_case(name)
    problems.raise_any()
    assert case is not None  # without problems there is a case
    return case
