"""Tonnes, shares and concentration of a plan by array operations: one computation for tables, sweeps and samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from models.case import Flags, Floats
from models.lanes import Ints
from models.layout import Layout

SMALLEST_T = 1e-6  # less is reported as 0
BY = ("channel", "country", "controller", "supplier")
SHARE_KEYS = ["mineral", "material", "stage", "year"]


@dataclass(frozen=True)
class Groups:
    """The members of one way of grouping (channel, country, ...) at every key, sorted by key and member.

    ``key``: number of the key; ``member``: its name; ``sums``: adds entries up, shape (groups, entries).
    """

    key: Ints
    member: npt.NDArray[np.object_]
    sums: sparse.csr_array


@dataclass(frozen=True)
class Mix:
    """What a plan's tonnes come to.

    ``t``: tonnes of each entry, 0 below 1e-6. ``share``: of all tonnes at its key. ``total``: tonnes of each key;
    where it is 0, ``hhi_country`` and ``import_reliance`` are nan.
    """

    t: Floats
    share: Floats
    total: Floats
    by_country: Floats
    hhi_country: Floats
    import_reliance: Floats

    @property
    def present(self) -> Flags:
        """Whether each key has tonnes."""
        return self.total > 0


class Tonnage:
    """How the columns of a layout add up to tonnes of each supplier at each key: mineral, material, stage and year.

    At ``delivered`` a key is a material: what suppliers deliver into the markets. At other stages it is a mineral:
    what is made of all its materials of that stage, by-products as far as they are taken; ``material`` is "" there.
    ``keys``: a frame of the keys, sorted. ``entry_key``, ``entry_supplier``: key and supplier of each entry.
    ``delivered``: leave the other stages out.
    """

    def __init__(self, layout: Layout, delivered: bool = False) -> None:
        self.layout = layout
        case, count = layout.case, len(layout.case.suppliers)
        materials = case.materials
        mineral = materials["mineral"].to_numpy(dtype=object)
        made_at = materials["stage"].to_numpy(dtype=object)
        name = materials["material"].to_numpy(dtype=object)
        flow = layout.columns("flow")
        into = np.flatnonzero(layout.flow_destination >= count)
        codes = layout.flow_material[into]
        parts = [_part(flow[into], layout.flow_origin[into], layout.flow_year[into], mineral[codes], name[codes],
                       "delivered")]  # fmt: skip
        if not delivered:
            codes = layout.supplier_material[layout.production_supplier]
            parts.append(_part(layout.columns("production"), layout.production_supplier, layout.production_year,
                               mineral[codes], "", made_at[codes]))  # fmt: skip
            second = np.flatnonzero(case.lanes.is_byproduct[layout.flow_lane])
            codes = layout.flow_material[second]
            parts.append(_part(flow[second], layout.flow_origin[second], layout.flow_year[second], mineral[codes], "",
                               made_at[codes]))  # fmt: skip
        every = pd.concat(parts, ignore_index=True)
        every["year"] = np.array(case.years)[every["year"].to_numpy(dtype=np.int64)]
        every["key"] = every.groupby(SHARE_KEYS, sort=True).ngroup()
        by_entry = every.groupby(["key", "supplier"], sort=True)
        every["entry"] = by_entry.ngroup()
        entries = every.drop_duplicates("entry").sort_values("entry", ignore_index=True)
        self.keys = every.drop_duplicates("key").sort_values("key", ignore_index=True)[SHARE_KEYS]
        self.entry_key = entries["key"].to_numpy(dtype=np.int64)
        self.entry_supplier = entries["supplier"].to_numpy(dtype=np.int64)
        self.columns = every["column"].to_numpy(dtype=np.int64)
        size = len(every)
        self._tonnes = sparse.csr_array(
            (np.ones(size), (every["entry"].to_numpy(dtype=np.int64), np.arange(size))), shape=(len(entries), size)
        )
        self._totals = _sums(self.entry_key, len(self.keys))
        self._groups: dict[str, Groups] = {}
        countries = self.groups("country")
        self._per_key = _sums(countries.key, len(self.keys))
        self._at_home = countries.member == case.home

    def groups(self, by: str) -> Groups:
        """The members of a grouping at every key."""
        if by not in self._groups:
            attribute = self.layout.case.suppliers[by].to_numpy(dtype=object)
            pairs = pd.DataFrame({"key": self.entry_key, "member": attribute[self.entry_supplier]})
            number = pairs.groupby(["key", "member"], sort=True).ngroup().to_numpy(dtype=np.int64)
            first = pairs.assign(number=number).drop_duplicates("number").sort_values("number")
            self._groups[by] = Groups(
                first["key"].to_numpy(dtype=np.int64), first["member"].to_numpy(dtype=object), _sums(number, len(first))
            )
        return self._groups[by]

    def measure(self, x: Floats) -> Mix:
        """The mix of a plan; ``x``: value of every column of the layout."""
        values = x[self.columns]
        t = self._tonnes @ np.where(values < SMALLEST_T, 0.0, values)
        t[t < SMALLEST_T] = 0.0
        total = np.asarray(self._totals @ t)
        share = t / np.where(total > 0, total, 1.0)[self.entry_key]
        by_country = np.asarray(self.groups("country").sums @ share)
        there = total > 0
        hhi = np.where(there, self._per_key @ by_country**2, np.nan)
        home = self._per_key @ np.where(self._at_home, by_country, 0.0)
        return Mix(t, share, total, by_country, hhi, np.where(there, np.maximum(1.0 - home, 0.0), np.nan))

    def share_table(self, mix: Mix) -> pd.DataFrame:
        """Share of each channel, country, controller and supplier with tonnes, at each stage."""
        parts = []
        for by in BY:
            groups = self.groups(by)
            t = np.asarray(groups.sums @ mix.t)
            kept = np.flatnonzero(t > 0)
            part = self.keys.iloc[groups.key[kept]].assign(
                by=by, member=groups.member[kept], share=np.asarray(groups.sums @ mix.share)[kept], t=t[kept]
            )
            parts.append(part)
        columns = ["mineral", "material", "stage", "by", "member", "year", "share", "t"]
        return pd.concat(parts, ignore_index=True)[columns].infer_objects()

    def risk_table(self, mix: Mix) -> pd.DataFrame:
        """HHI, largest country (by location, home included) and import reliance at each stage that has tonnes."""
        countries = self.groups("country")
        starts = np.searchsorted(countries.key, np.arange(len(self.keys)))
        kept = np.flatnonzero(mix.present)
        ends = [*starts[1:].tolist(), len(countries.key)]
        largest = [int(start + np.argmax(mix.by_country[start : ends[place]])) for place, start in enumerate(starts)]
        largest_at = np.array(largest, dtype=np.int64)[kept]
        return self.keys.iloc[kept].assign(
            hhi_country=mix.hhi_country[kept], largest_country=countries.member[largest_at],
            largest_share=mix.by_country[largest_at], import_reliance=mix.import_reliance[kept],
        ).reset_index(drop=True).infer_objects()  # fmt: skip


def _part(columns: Ints, supplier: Ints, year: Ints, mineral: Any, material: Any, stage: Any) -> pd.DataFrame:
    """Columns with the key and supplier that each counts for."""
    return pd.DataFrame({"column": columns, "supplier": supplier, "year": year, "mineral": mineral,
                         "material": material, "stage": stage})  # fmt: skip


def _sums(number: npt.NDArray[Any], rows: int) -> sparse.csr_array:
    """A matrix that adds up what has the same number; shape (rows, items)."""
    places = number.astype(np.int64)
    return sparse.csr_array((np.ones(len(places)), (places, np.arange(len(places)))), shape=(rows, len(places)))
