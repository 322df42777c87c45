"""oremix: least-cost sourcing of critical minerals under limits on concentration and security.

``from optimizer import load_case, optimize``; names are loaded when first used, so that the command line
starts quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.case import load_case
    from models.changes import Request
    from models.problems import CaseError
    from optimizer.explaining import Explanation, explain
    from optimizer.near_optimal import Alternatives, alternatives
    from optimizer.plan import Plan
    from optimizer.plans import Plans
    from optimizer.run import optimize
    from optimizer.run_folder import read_run
    from optimizer.sensitivities import read_sensitivity, resume_sensitivity, sensitivity
    from optimizer.stress_tests import stress
    from optimizer.sweeps import read_sweep, resume_sweep, sweep
    from optimizer.tradeoff import Frontier, frontier

_HOMES = {
    "Alternatives": "optimizer.near_optimal", "alternatives": "optimizer.near_optimal",
    "load_case": "models.case", "Request": "models.changes", "CaseError": "models.problems",
    "Plan": "optimizer.plan", "Plans": "optimizer.plans", "optimize": "optimizer.run",
    "read_run": "optimizer.run_folder", "sweep": "optimizer.sweeps", "resume_sweep": "optimizer.sweeps",
    "read_sweep": "optimizer.sweeps", "sensitivity": "optimizer.sensitivities",
    "resume_sensitivity": "optimizer.sensitivities", "read_sensitivity": "optimizer.sensitivities",
    "Frontier": "optimizer.tradeoff",
    "frontier": "optimizer.tradeoff", "explain": "optimizer.explaining", "Explanation": "optimizer.explaining",
    "stress": "optimizer.stress_tests",
}  # fmt: skip
__all__ = ["Alternatives", "CaseError", "Explanation", "Frontier", "Plan", "Plans", "Request", "alternatives",
           "explain", "frontier", "load_case", "optimize", "read_run", "read_sensitivity", "read_sweep",
           "resume_sensitivity", "resume_sweep", "sensitivity", "stress", "sweep"]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
