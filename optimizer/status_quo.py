"""Going on as today: what is bought now, scaled to requirement (contract 1.2)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from models.case import Case, Floats
from models.costs import cost_entries, cost_materials, objective
from models.layout import Layout, lay_out
from optimizer.certificate import Certificate
from optimizer.compiling import compile_model
from optimizer.cutting import spread
from optimizer.engine import Engine, Limits
from optimizer.repair import find_repair
from optimizer.solving import column_units, tie_break
from optimizer.stamping import stamp


@dataclass
class StatusQuo:
    """The status quo over its layout; ``missing`` names what nothing incumbent can make, if anything."""

    layout: Layout
    x: Floats
    factors: dict[tuple[str, int], float]
    missing: list[str] = field(default_factory=list)
    certificate: Certificate | None = None
    status: str = "optimal"

    @property
    def ok(self) -> bool:
        """Whether there is a status quo."""
        return self.status == "optimal"

    @property
    def why(self) -> str:
        """Why there is none."""
        if self.status == "stopped":
            return "it was not found in the time allowed"
        return "nothing incumbent makes " + ", ".join(self.missing)

    def objective_usd(self) -> float:
        """Discounted cost over the horizon."""
        return float(objective(self.layout) @ self.x)

    def cost_usd_per_y(self) -> dict[tuple[str, str, int], float]:
        """(mineral, material, year) -> undiscounted cost; "" stands for all."""
        case, entries = self.layout.case, cost_entries(self.layout)
        cost = entries.usd_per_unit * self.x[entries.columns]
        materials = cost_materials(self.layout)[entries.columns]
        found: dict[tuple[str, str, int], float] = {}
        for at, year in enumerate(case.years):
            inside = entries.year == at
            by_material = np.bincount(materials[inside], weights=cost[inside], minlength=len(case.materials))
            found["", "", year] = float(cost[inside].sum())
            for material, mineral, usd in zip(
                case.materials.index, case.materials["mineral"], by_material, strict=True
            ):
                found[mineral, material, year] = float(usd)
                found[mineral, "", year] = found.get((mineral, "", year), 0.0) + float(usd)
        return found


def has_status_quo(case: Case) -> bool:
    """Whether any supplier sells to this buyer today."""
    return bool((case.suppliers["incumbent_t"] > 0).any())


def find_status_quo(case: Case, limits: Limits) -> StatusQuo:
    """Production at incumbent_t times one factor per material and year, flows at least cost."""
    layout = lay_out(case, status_quo=True)
    program = stamp(layout, [], compile_model)
    columns = np.arange(layout.width)
    units = column_units(program, layout, columns)
    # ties show only where a material is both delivered and consumed: else every delivered tonne is given
    shown = set(case.delivered_materials()) & set(case.suppliers["input"])
    ties = tie_break(program, layout, columns) if shown else None
    solution = None
    production = _production(layout)
    if production is not None:  # what remains are transport problems, quickest without presolve
        fixed = replace(program, lower=program.lower.copy(), upper=program.upper.copy())
        fixed.lower[: len(production)] = fixed.upper[: len(production)] = production
        solution = Engine(fixed, units, None, ties).solve(replace(limits, presolve=False))
    if solution is None or not solution.has_plan:
        solution = Engine(program, units, None, ties).solve(limits)
    if solution.status == "stopped":
        return StatusQuo(layout, np.zeros(0), {}, status="stopped")
    if not solution.has_plan:
        missing = _not_incumbent(case)
        if not missing:
            missing = sorted({str(item["material"]) for item in find_repair(layout, [], limits).repair})
        return StatusQuo(layout, np.zeros(0), {}, missing, status="infeasible")
    x = spread(solution.x, columns)
    made = x[layout.columns("production")]
    x[layout.columns("used")] = made[layout.used_production] >= 1e-6
    x[layout.columns("stock")] = layout.stock_lower_t  # stays as it is, and is held
    materials = case.materials["material"].to_numpy()
    factors = {
        (str(materials[index[0]]), case.years[index[1]]): float(solution.x[column])
        for column, index in program.names.places("factor")
    }  # fmt: skip
    return StatusQuo(layout, x, factors, [], solution.certificate)


def _production(layout: Layout) -> Floats | None:
    """Production by the factors found from the market back; None where by-products or a pool beside a producer
    leave them open, or where something needed has no incumbent.
    """
    case = layout.case
    if case.lanes.is_byproduct[layout.flow_lane].any():
        return None
    count, years = len(case.materials), len(case.years)
    needed = np.zeros((count, years))
    for (_, name, year), tonnes in case.required.items():
        needed[layout.material_code[name], case.years.index(year)] += tonnes
    incumbent = case.suppliers["incumbent_t"].to_numpy(dtype=float)
    recovery = case.suppliers["recovery"].to_numpy(dtype=float)
    inputs = [layout.material_code.get(name, -1) for name in case.suppliers["input"]]
    pooled = {layout.material_code[name] for name in case.pools}
    makers: dict[int, list[int]] = {}
    for supplier in np.flatnonzero(incumbent > 0).tolist():
        makers.setdefault(int(layout.supplier_material[supplier]), []).append(supplier)
    produced = np.zeros((len(incumbent), years))
    for material in layout.downstream_first:
        if not needed[material].any():
            continue
        if material in pooled:
            if makers.get(material):
                return None
            continue
        total = sum(incumbent[supplier] for supplier in makers.get(material, ()))
        if total <= 0:
            return None
        for supplier in makers[material]:
            produced[supplier] = incumbent[supplier] * needed[material] / total
            if inputs[supplier] >= 0:
                needed[inputs[supplier]] += produced[supplier] / recovery[supplier]
    return np.asarray(produced[layout.production_supplier, layout.production_year])


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
