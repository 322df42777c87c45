"""Documents of analyses as contract section 5 fixes them, by hand: what `oremix report` takes beside runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FRONTIER: dict[str, Any] = {
    "key": "rules.one_country.max", "feasible_from": 0.2, "feasible_to": 1.0, "breakpoints": [0.3, 0.4],
    "points": [
        {"limit": 0.2, "objective_usd": 15_000_000.0, "slope_usd": -13_000_000.0},
        {"limit": 0.3, "objective_usd": 13_700_000.0, "slope_usd": -6_000_000.0},
        {"limit": 0.4, "objective_usd": 13_100_000.0, "slope_usd": -2_000_000.0},
        {"limit": 0.5, "objective_usd": 12_900_000.0, "slope_usd": 0.0},
    ],
}  # fmt: skip
ALTERNATIVES: dict[str, Any] = {
    "slack": 0.05, "objective_usd": 13_100_000.0,
    "ranges": [
        {"by": by, "member": member, "material": "lithium_chemicals", "year": 2030, "least_t": least, "most_t": most,
         "plan_t": plan, "class": kind}
        for by, member, least, most, plan, kind in (
            ("supplier", "chl_brine", 350.0, 400.0, 400.0, "must-have"),
            ("supplier", "usa_refinery", 0.0, 300.0, 0.0, "can-have"),
            ("supplier", "=HYPERLINK(1)", 0.0, 0.0, 0.0, "must-avoid"),
            ("country", "CHL", 350.0, 400.0, 400.0, "must-have"),
        )
    ],
    "plans": [{"name": "least cost", "objective_usd": 13_100_000.0, "run": "plans/1"},
              {"name": "most domestic", "objective_usd": 13_700_000.0, "run": "plans/2"}],
}  # fmt: skip
STRESS: dict[str, Any] = {
    "losses": [
        {"lose": "country:CHN", "months": 12, "material": "lithium_chemicals", "year": 2030, "served": 0.62,
         "short_t": 380.0, "kept_usd_per_y": None, "remade_usd_per_y": 14_900_000.0},
        {"lose": "country:CHL", "months": 12, "material": "lithium_chemicals", "year": 2030, "served": 1.0,
         "short_t": 0.0, "kept_usd_per_y": 14_200_000.0, "remade_usd_per_y": 14_000_000.0},
    ]
}  # fmt: skip
SENSITIVITY: dict[str, Any] = {
    "tornado": [
        {"input": "suppliers[country=CHL].capacity_t*", "low": 0.8, "high": 1.2, "cost_low_usd": 13_400_000.0, "cost_high_usd": 12_900_000.0},
        {"input": "demand[material=lithium_chemicals].required_t*", "low": 0.9, "high": 1.3, "cost_low_usd": 11_600_000.0, "cost_high_usd": 17_600_000.0},
    ],
    "sobol": [
        {"input": "demand[material=lithium_chemicals].required_t*", "output": "objective_usd", "first": 0.8, "total": 0.83, "confidence": 0.04},
        {"input": "suppliers[country=CHL].capacity_t*", "output": "objective_usd", "first": 0.1, "total": 0.12, "confidence": 0.03},
    ],
}  # fmt: skip
SWEEP: dict[str, Any] = {
    "rows": [
        {"inputs": {"rules.one_country.max": 0.1}, "status": "infeasible", "objective_usd": None, "shares": {}, "reason": "demand"},
        {"inputs": {"rules.one_country.max": 0.3}, "status": "optimal", "objective_usd": 13_700_000.0, "shares": {}, "reason": ""},
        {"inputs": {"rules.one_country.max": 0.5}, "status": "optimal", "objective_usd": 12_900_000.0, "shares": {}, "reason": ""},
    ]
}  # fmt: skip
EXPLAIN: dict[str, Any] = {
    "prices": [{"rule": "one_country", "mineral": "lithium", "year": 2030, "price_usd_per_y": -2_000_000.0,
                "from": 0.35, "to": 0.5, "confirmed": True}],
    "suppliers": [{"supplier": "usa_refinery", "year": 2030, "produced_t": 0.0, "enters_below_usd_per_t": 9_000.0},
                  {"supplier": "chl_brine", "year": 2030, "produced_t": 400.0, "enters_below_usd_per_t": None}],
}  # fmt: skip
ALL = {"frontier": FRONTIER, "alternatives": ALTERNATIVES, "stress": STRESS, "sensitivity": SENSITIVITY,
       "sweep": SWEEP, "explain": EXPLAIN}  # fmt: skip


def write_analyses(folder: Path) -> list[Path]:
    """A folder for each analysis, as its command would leave it."""
    made = []
    for kind, document in ALL.items():
        path = folder / f"small-{kind}-20261121-120000"
        path.mkdir(parents=True)
        (path / f"{kind}.json").write_text(json.dumps(document), encoding="utf-8")
        made.append(path)
    return made
