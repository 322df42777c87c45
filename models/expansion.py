"""Capacity that can be added: when each decision is usable, and what its capital costs a year. Contract 1.3.

Numbers only: the layout makes columns of the decisions, ``models.capacity`` the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.case import Case, Flags, Floats

WRITTEN_OFF_YEARS = 20.0  # years of the annuity where life_years is blank
_HAIR = 1e-9  # years: a lead time that was scaled is rarely whole to the last digit


@dataclass(frozen=True)
class Growth:
    """What a tonne that a supplier decides in one horizon year gives and costs in another.

    ``limit_t``: most of all decisions together, shape (suppliers,). ``usable``: part of what is decided in year a
    that can be used in year y, shape (suppliers, a, y), 0 where none. ``owed``: whether its annuity is owed, same
    shape. ``annuity``: yearly payment per USD of capital, shape (suppliers,). ``grant``: share of the annuity that
    the public pays, by year of decision, shape (suppliers, a).
    """

    limit_t: Floats
    capex_usd_per_t: Floats
    open_usd: Floats
    annuity: Floats
    grant: Floats
    owed: Flags
    usable: Floats


def annuity(rate: Floats, years: Floats) -> Floats:
    """Yearly payment per USD that pays it back with interest: r / (1 - (1 + r)^-n), or 1 / n where r = 0."""
    safe = np.where(rate > 0, rate, 1.0)
    return np.asarray(np.where(rate > 0, safe / -np.expm1(-years * np.log1p(safe)), 1.0 / years))


def find_growth(case: Case) -> Growth:
    """How every supplier can grow; those with no ``max_expansion_t`` by 0 t.

    Decided in year a: usable in the horizon years from a + lead_years, for life_years (blank: to the end). A part
    (k + 1) / (n + 1) only, k < n = ramp_years calendar years after the first usable one; the annuity is in full.
    """
    table = case.suppliers
    lead, life, ramp, limit, capex, opening = (
        table[name].to_numpy(dtype=float)
        for name in ("lead_years", "life_years", "ramp_years", "max_expansion_t", "capex_usd_per_t", "open_usd")
    )
    rate = table["cost_of_capital"].fillna(case.settings.horizon.discount_rate).to_numpy(dtype=float)
    years = np.array(case.years, dtype=float)
    start = (years[None, :] + lead[:, None])[:, :, None]
    end = start + np.where(np.isnan(life), np.inf, life)[:, None, None]
    owed = (start <= years + _HAIR) & (years < end - _HAIR) & (limit > 0)[:, None, None]
    since, length = years - np.ceil(start - _HAIR), ramp[:, None, None]
    part = np.where(since < length, (since + 1) / (length + 1), 1.0)
    return Growth(
        limit_t=limit, capex_usd_per_t=capex, open_usd=opening,
        annuity=annuity(rate, np.where(np.isnan(life), WRITTEN_OFF_YEARS, life)),
        grant=case.by_year("grant_share"), owed=owed, usable=np.where(owed, part, 0.0),
    )  # fmt: skip
