"""Differences between runs, as numbers: cost, mix, risk and rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optimizer.plan import Plan, clean, records
from optimizer.resilience_views import resilience_differences

OF_OUTCOMES = ("risk_weight", "tail", "expected_usd", "cvar_usd", "worst_usd", "worst_outcome")


def differences(plans: Sequence[Plan], names: Sequence[str]) -> dict[str, Any]:
    """Each run's cost, that over the outcomes where it weighs disruptions (else None); and by material and year the
    channel shares, HHI, largest share and resilience of every run; what is built: tonnes a year that each supplier
    adds, over all decisions. ``difference_usd``: to the first run, of ``undisturbed_usd``, the cost where nothing
    happens, which every run has.
    """
    keys = ["mineral", "material", "stage", "year"]
    mixes, risks, rules, built = [], [], [], []
    for name, plan in zip(names, plans, strict=True):
        shares = plan.tables["shares"]
        mixes.append(shares[shares["by"] == "channel"].set_index([*keys, "member"])["share"].rename(name))
        risk = plan.tables["risk"].set_index(keys)
        risks.append(
            risk[["hhi_country", "largest_country", "largest_share", "import_reliance"]].add_suffix(f"@{name}")
        )
        built.append(plan.tables["expansion"].groupby("supplier")["t"].sum().rename(name))
        listed = plan.tables["rules"].set_index(["rule", "bound", "mineral", "material", "member", "year"])
        rules.append(listed[["value", "limit", "price_usd_per_y"]].add_suffix(f"@{name}"))
    import pandas as pd

    first = plans[0].undisturbed_usd
    return {
        "runs": [
            {"run": name, "case": plan.case, "status": plan.status, "objective_usd": plan.objective_usd,
             "cost_usd_per_y": {str(y): v for y, v in plan.cost_usd_per_y.items()},
             "public_usd_per_y": {str(y): v for y, v in plan.public_usd_per_y.items()},
             "undisturbed_usd": plan.undisturbed_usd,
             **{key: (plan.two_stage or {}).get(key) for key in OF_OUTCOMES},
             "difference_usd": None if first is None or plan.undisturbed_usd is None else plan.undisturbed_usd - first,
             "changes": clean(plan.changes)}
            for name, plan in zip(names, plans, strict=True)
        ],
        "channel_shares": records(pd.concat(mixes, axis=1).fillna(0.0).reset_index()),
        "risk": records(pd.concat(risks, axis=1).reset_index()),
        "resilience": records(resilience_differences(plans, names)),
        "built": records(pd.concat(built, axis=1).fillna(0.0).rename_axis("supplier").reset_index()),
        "rules": records(pd.concat(rules, axis=1).reset_index()),
    }  # fmt: skip
