"""The self-test: versions, and the small case solved by hand."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PARTS = ("oremix", "pyomo", "highspy", "numpy", "scipy", "pandas", "pydantic", "typer", "rich", "tomli-w",
         "xlsxwriter", "plotly", "jinja2")  # fmt: skip
# README.md, "The small case by hand": 200 recycled * 9,500 + 400 * 13,000 + 400 * 15,000 USD.
SMALL_OBJECTIVE_USD = 13_100_000.0


def diagnose() -> dict[str, Any]:
    """Versions of what the answer depends on, and whether the small case comes out as by hand."""
    from models.case import load_case
    from optimizer.run import optimize

    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for part in PARTS:
        try:
            versions[part] = version(part)
        except PackageNotFoundError:
            versions[part] = "missing"
    checks = []
    plan = optimize(load_case("small"))
    got = plan.objective_usd or 0.0
    right = abs(got - SMALL_OBJECTIVE_USD) <= 1e-6 * SMALL_OBJECTIVE_USD
    checks.append({"what": f"small case: {got:,.0f} USD, by hand {SMALL_OBJECTIVE_USD:,.0f}", "ok": right})
    certificate = plan.about.get("certificate") or {"duality_gap": 1.0}
    checks.append({"what": f"duality gap {certificate['duality_gap']:.0e}", "ok": certificate["duality_gap"] <= 1e-6})
    checks.append({"what": "audit finds no mismatch", "ok": not plan.audit})
    status = "ok" if all(item["ok"] for item in checks) else "failed"
    return {"status": status, "versions": versions, "checks": checks}
