"""Plans as values: tidy tables and measures, or why there is none; no solver object inside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from optimizer.notebook import Plots

# Keys of the JSON document and the columns that it gives of each table (contract 4.1; more are welcome).
JSON_TABLES = {
    "suppliers": ("supplier", "year", "produced_t"),
    "flows": ("origin", "destination", "material", "year", "t"),
    "shares": ("mineral", "material", "stage", "by", "member", "year", "share"),
    "risk": ("mineral", "material", "stage", "year", "hhi_country", "largest_country", "largest_share",
             "import_reliance"),
    "rules": ("rule", "kind", "bound", "stage", "mineral", "material", "member", "year", "value", "limit", "binding",
              "price_usd_per_y", "denominator"),
    "survival": ("rule", "mineral", "material", "year", "lose", "served", "serve", "price_usd_per_y"),
    "resilience": ("mineral", "material", "stage", "year", "serve_largest", "largest_country", "days_cover",
                   "expected_short_t", "largest_point", "served_largest_point", "worst_country",
                   "served_worst_country"),
    "shortage": ("market", "sector", "material", "year", "t"),
    "costs": ("cost", "mineral", "year", "usd_per_y", "public_usd_per_y"),
    "expansion": ("supplier", "year", "t", "usd_per_y", "opened", "usable_from", "usable_to", "capital_usd",
                  "public_usd_per_y"),
    "stock": ("market", "material", "year", "built_t", "drawn_t", "end_t", "days"),
    "substitution": ("market", "material", "step", "year", "t"),
    "outcomes": ("outcome", "probability", "tail_share", "response_usd", "total_usd", "more_usd", "shortage_usd"),
    "outcome_shortage": ("outcome", "probability", "mineral", "material", "year", "required_t", "short_t"),
}  # fmt: skip
# Tables of a run folder: those, and what they add up to.
RUN_TABLES = (*JSON_TABLES, "projects", "capacity")
LATER_TABLES = ("survival", "resilience")  # a run folder of an earlier version may be without them


@dataclass
class Plan:
    """A plan and everything measured on it, or a ``status`` without one.

    ``tables``: those of RUN_TABLES (long, units in the column names). ``status_quo``: the same tables for going on as
    today (``resilience`` is empty there: it is measured on plans, and on the status quo where that is the plan), None
    where the case has none. ``two_stage``: the measures of a plan that weighs disruptions (``two_stage_measures``),
    else None. Money is undiscounted USD a year except ``objective_usd``, the discounted sum (or what ``two_stage``
    defines). ``cost_usd_per_y`` is what buyers pay, ``public_usd_per_y`` what the public pays beside it.
    """

    case: str
    title: str
    status: str
    years: tuple[int, ...] = ()
    objective_usd: float | None = None
    cost_usd_per_y: dict[int, float] = field(default_factory=dict)
    public_usd_per_y: dict[int, float] = field(default_factory=dict)
    gap: float | None = None
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    status_quo: dict[str, Any] | None = None
    two_stage: dict[str, Any] | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    audit: list[dict[str, Any]] = field(default_factory=list)
    conflict: list[dict[str, Any]] = field(default_factory=list)
    repair: list[dict[str, Any]] = field(default_factory=list)
    run: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a plan."""
        return self.objective_usd is not None

    @property
    def undisturbed_usd(self) -> float | None:
        """Discounted cost where nothing happens: what is compared with today, and with plans that weigh nothing."""
        return self.objective_usd if self.two_stage is None else float(self.two_stage["undisturbed_usd"])

    def shares(self, by: str = "channel", stage: str = "delivered") -> pd.DataFrame:
        """Shares at a stage by channel, country, controller or supplier: one row a material, a column a year."""
        if by not in ("channel", "country", "controller", "supplier"):
            raise ValueError(f"by = {by!r}: give channel, country, controller or supplier")
        table = self.tables["shares"]
        kept = table[(table["by"] == by) & (table["stage"] == stage)]
        keys = ["mineral", "material", "member"]
        return kept.pivot_table(index=keys, columns="year", values="share", fill_value=0.0)

    def cost(self, by: str = "cost") -> pd.DataFrame:
        """Undiscounted USD a year by cost family, mineral, or supplier (its own production cost), a column a year."""
        if by == "supplier":
            made = self.tables["suppliers"].assign(usd_per_y=lambda t: t["produced_t"] * t["cost_usd_per_t"])
            return made[made["produced_t"] > 0].pivot_table(index="supplier", columns="year", values="usd_per_y",
                                                            aggfunc="sum", fill_value=0.0)  # fmt: skip
        if by not in ("cost", "mineral"):
            raise ValueError(f"by = {by!r}: give cost, mineral or supplier")
        table = self.tables["costs"]
        return table.pivot_table(index=by, columns="year", values="usd_per_y", aggfunc="sum", fill_value=0.0)

    @property
    def plot(self) -> Plots:
        """Charts as Plotly figures: ``plot.mix()``, ``plot.sankey()``, ``plot.frontier()``."""
        from optimizer.notebook import Plots

        return Plots({"plan": self})

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from optimizer.notebook import plan_html

        return plan_html(self)

    def to_json(self) -> dict[str, Any]:
        """The document of ``--json`` and plan.json."""
        document: dict[str, Any] = {
            "status": self.status, "objective_usd": self.objective_usd,
            "cost_usd_per_y": {str(year): value for year, value in self.cost_usd_per_y.items()},
            "public_usd_per_y": {str(year): value for year, value in self.public_usd_per_y.items()},
            "gap": self.gap, "audit": self.audit, "run": self.run, "case": self.case, "title": self.title,
            "years": list(self.years),
        }  # fmt: skip
        for name, columns in JSON_TABLES.items():
            table = self.tables.get(name)
            document[name] = [] if table is None else records(table[list(columns)])
        document["two_stage"] = clean(self.two_stage)
        document["status_quo"] = None if self.status_quo is None else self._status_quo_json()
        document.update(changes=clean(self.changes), warnings=self.warnings, about=clean(self.about))
        if not self.ok:
            document.update(conflict=clean(self.conflict), repair=clean(self.repair))
        return document

    def _status_quo_json(self) -> dict[str, Any]:
        assert self.status_quo is not None
        kept = {key: value for key, value in self.status_quo.items() if key != "tables"}
        kept["cost_usd_per_y"] = {str(year): value for year, value in self.status_quo["cost_usd_per_y"].items()}
        for name in ("shares", "risk"):
            kept[name] = records(self.status_quo["tables"][name][list(JSON_TABLES[name])])
        return kept


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of plain Python values; NaN and infinity as null."""
    columns: list[list[Any]] = []
    for name in table.columns:
        cells = table[name]
        values = cells.tolist()
        if cells.dtype.kind == "f":
            finite = np.isfinite(cells.to_numpy())
            values = values if finite.all() else [v if ok else None for v, ok in zip(values, finite, strict=True)]
        elif cells.dtype.kind not in "iub":
            values = [clean(value) if isinstance(value, float) else value for value in values]
        columns.append(values)
    names = list(table.columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def clean(value: Any) -> Any:
    """A value as JSON takes it: NaN and infinity become null, numpy scalars plain numbers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return clean(value.item())
    return value
