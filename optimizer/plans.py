"""Several plans as one value: their tidy tables with the plan's name in front, and the same measures as one plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd

from optimizer.plan import Plan

if TYPE_CHECKING:
    from optimizer.notebook import Plots


class Plans(Sequence[Plan]):
    """Plans by name, in order; ``plans["most domestic"]`` and ``plans[0]`` are both a ``Plan``.

    ``inputs``: a row for each plan of what was varied to get it (a column each); may be empty. Measures are those of
    ``Plan``, with a column for each plan and year. Names are made unique by a number.
    """

    def __init__(self, plans: Sequence[Plan], names: Sequence[str], inputs: pd.DataFrame | None = None) -> None:
        if len(plans) != len(names):
            raise ValueError(f"{len(plans)} plans and {len(names)} names")
        self.plans = list(plans)
        self.names: list[str] = []
        for name in names:
            count = sum(known == name or known.startswith(f"{name} (") for known in self.names)
            self.names.append(f"{name} ({count + 1})" if count else name)
        table = pd.DataFrame(index=range(len(plans))) if inputs is None else inputs.reset_index(drop=True)
        if len(table) != len(plans):
            raise ValueError(f"{len(plans)} plans and {len(table)} rows of inputs")
        self.inputs = table.set_axis(pd.Index(self.names, name="plan"), axis=0)

    def __len__(self) -> int:
        return len(self.plans)

    def __iter__(self) -> Iterator[Plan]:
        return iter(self.plans)

    @overload
    def __getitem__(self, place: int | str) -> Plan: ...
    @overload
    def __getitem__(self, place: slice) -> Plans: ...
    def __getitem__(self, place: int | str | slice) -> Plan | Plans:
        """A plan by its place or name, or some of them."""
        if isinstance(place, slice):
            return Plans(self.plans[place], self.names[place], self.inputs.iloc[place])
        if isinstance(place, str):
            if place not in self.names:
                raise KeyError(f"{place!r}: the plans are {', '.join(self.names)}")
            place = self.names.index(place)
        return self.plans[place]

    def __repr__(self) -> str:
        return f"Plans({', '.join(self.names)})"

    @property
    def plot(self) -> Plots:
        """Charts as Plotly figures, the plans beside each other: ``mix()``, ``sankey(who=NAME)``, ``frontier()``."""
        from optimizer.notebook import Plots

        return Plots(dict(zip(self.names, self.plans, strict=True)))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from optimizer.notebook import plans_html

        return plans_html(self.plans, self.names)

    @property
    def costs(self) -> pd.DataFrame:
        """One row a plan: its inputs, status, objective_usd (discounted) and its run folder ("" where not written)."""
        costs = [np.nan if plan.objective_usd is None else plan.objective_usd for plan in self.plans]
        found = {"status": [p.status for p in self.plans], "objective_usd": costs, "run": [p.run for p in self.plans]}
        return self.inputs.assign(**{name: pd.Series(cells, self.inputs.index) for name, cells in found.items()})

    def table(self, name: str) -> pd.DataFrame:
        """A result table (suppliers, flows, shares, risk, rules, shortage, costs) of all plans, ``plan`` in front."""
        parts = [
            plan.tables[name].assign(plan=own) for own, plan in zip(self.names, self.plans, strict=True) if plan.ok
        ]
        if not parts:
            return pd.DataFrame({"plan": []})
        table = pd.concat(parts, ignore_index=True)
        return table[["plan", *(column for column in table.columns if column != "plan")]]

    def shares(self, by: str = "channel", stage: str = "delivered") -> pd.DataFrame:
        """Shares as ``Plan.shares`` gives them, a column for each plan and year."""
        return self._side_by_side(lambda plan: plan.shares(by, stage))

    def cost(self, by: str = "cost") -> pd.DataFrame:
        """Undiscounted USD a year as ``Plan.cost`` gives it, a column for each plan and year."""
        return self._side_by_side(lambda plan: plan.cost(by))

    def _side_by_side(self, measure: Any) -> pd.DataFrame:
        found = {name: measure(plan) for name, plan in zip(self.names, self.plans, strict=True) if plan.ok}
        if not found:
            return pd.DataFrame()
        table: pd.DataFrame = pd.concat(found, axis=1, names=["plan"]).fillna(0.0).sort_index()
        return table
