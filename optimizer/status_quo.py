"""Going on as today: what is bought now, scaled to requirement (contract 1.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.build import build
from models.case import Case, Floats
from models.costs import cost_materials, objective, usd_per_unit
from models.layout import Layout, lay_out
from optimizer.engine import Certificate, Engine, Limits, compile_model
from optimizer.repair import find_repair
from optimizer.solving import column_units, program_columns, spread, tie_break


@dataclass
class StatusQuo:
    """The status quo over its layout; ``missing`` names what nothing incumbent can make, if anything."""

    layout: Layout
    x: Floats
    factors: dict[tuple[str, int], float]
    missing: list[str]
    conflict: list[dict[str, Any]]
    certificate: Certificate | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a status quo."""
        return not self.missing

    def objective_usd(self) -> float:
        """Discounted cost over the horizon."""
        return float(objective(self.layout) @ self.x)

    def cost_usd_per_y(self) -> dict[tuple[str, str, int], float]:
        """(mineral, material, year) -> undiscounted cost; "" stands for all."""
        cost = usd_per_unit(self.layout) * self.x
        case, materials = self.layout.case, cost_materials(self.layout)
        found: dict[tuple[str, str, int], float] = {}
        for at, year in enumerate(case.years):
            inside = self.layout.column_year == at
            by_material = np.bincount(materials[inside], weights=cost[inside], minlength=len(case.materials))
            found["", "", year] = float(cost[inside].sum())
            for material, mineral, usd in zip(case.materials.index, case.materials["mineral"], by_material, strict=True):
                found[mineral, material, year] = float(usd)
                found[mineral, "", year] = found.get((mineral, "", year), 0.0) + float(usd)
        return found


def has_status_quo(case: Case) -> bool:
    """Whether any supplier sells to this buyer today."""
    return bool((case.suppliers["incumbent_t"] > 0).any())


def find_status_quo(case: Case, limits: Limits) -> StatusQuo:
    """Production at incumbent_t times one factor per material and year, flows at least cost."""
    layout = lay_out(case, status_quo=True)
    program = compile_model(build(layout))
    columns = program_columns(program, layout)
    engine = Engine(program, column_units(program, layout, columns), tie_break(program, layout, columns))
    solution = engine.solve(limits)
    if not solution.has_plan:
        repair = find_repair(layout, [], limits)
        missing = _not_incumbent(case) or sorted({str(item["material"]) for item in repair.repair})
        return StatusQuo(layout, np.zeros(0), {}, missing, repair.repair)
    x = spread(solution.x, columns)
    made = x[layout.columns("production")]
    used = layout.columns("used")
    x[used] = made[layout.used_production] >= 1e-6
    materials = case.materials["material"].to_numpy()
    factors = {}
    for column, (family, index) in enumerate(program.names):
        if family == "factor":
            material, at = index
            factors[str(materials[material]), case.years[at]] = float(solution.x[column])
    return StatusQuo(layout, x, factors, [], [], solution.certificate)


def _not_incumbent(case: Case) -> list[str]:
    """Materials that today's chain needs and nobody sells to this buyer today."""
    incumbent = case.suppliers["incumbent_t"].to_numpy() > 0
    inputs = case.suppliers["input"].to_numpy()
    waiting = [m for m in case.delivered_materials() if any(case.required[k] > 0 for k in case.required if k[1] == m)]
    seen, missing = set(waiting), []
    while waiting:
        material = waiting.pop()
        makers = [s for s in case.makers.get(material, ()) if incumbent[s]]
        if not makers:
            missing.append(material)
        for needed in {inputs[s] for s in makers if inputs[s] and inputs[s] not in case.pools} - seen:
            seen.add(needed)
            waiting.append(needed)
    return sorted(missing)
