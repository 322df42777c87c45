"""What a kept plan remembers of its responses is what each would be if it were asked anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.case import load_case
from models.layout import lay_out
from models.rule_rows import RuleRows
from optimizer.engine import Limits
from optimizer.kept_plan import KeptPlan, _share
from optimizer.solving import solve
from optimizer.stress_tests import effects_of, losses_of

CASES = ("survive_byproduct", "survive_one_stage", "survive_months", "provenance_byproduct", "chain", "small")


def kept(folder: str | Path) -> KeptPlan:
    layout = lay_out(load_case(folder))
    found = solve(layout, RuleRows(layout).rows, Limits())
    assert found.has_plan
    return KeptPlan(layout, found.x)


@pytest.mark.parametrize("name", CASES)
def test_what_is_remembered_is_what_is_found_anew(name: str) -> None:
    """After every single loss, for every material: also where only a supplier of another material is hit."""
    folder = Path(__file__).parent / "cases" / name
    plan = kept(folder if folder.exists() else name)
    asked = 0
    for loss in losses_of(plan.case, ()):
        effects = effects_of(plan.case, loss)
        for key in plan.chains.keys:
            chain = plan.chains.at(key)
            limits = plan.limits(chain, effects[key[1]].available_share)
            for place in range(len(chain.materials)):
                anew = _share(chain, limits, place, plan.stock_t[chain.stocked])
                assert plan.served(key, limits, place) == pytest.approx(anew, abs=1e-7), (loss.name, key, place)
                asked += 1
    assert asked > len(plan._served) > 0


def test_the_main_product_must_go_somewhere(tmp_path: Path) -> None:
    """A mine gives ore, which only the smelter takes, and beside it 0.1 t of rare metal a tonne. Without the smelter
    there is no ore, and so no rare metal; the other smelter's metal has nothing to do with it.
    """
    tables = tmp_path / "tables"
    tables.mkdir()
    pd.DataFrame([("ore", "m", "extraction"), ("metal", "m", "processing"), ("rare", "m", "processing"),
                  ("other_ore", "m", "extraction"), ("other", "m", "processing")],
                 columns=["material", "mineral", "stage"]).to_csv(tables / "materials.csv", index=False)  # fmt: skip
    pd.DataFrame([("mine", "AUS", "ore", "", None, 100.0), ("smelter", "CAN", "metal", "ore", 1.0, 100.0),
                  ("other_mine", "PER", "other_ore", "", None, 100.0),
                  ("other_smelter", "CHL", "other", "other_ore", 1.0, 100.0)],
                 columns=["supplier", "country", "material", "input", "recovery", "capacity_t"],
                 ).assign(channel="allied", cost_usd_per_t=1.0).to_csv(tables / "suppliers.csv", index=False)  # fmt: skip
    pd.DataFrame([("mine", "rare", 0.1)], columns=["supplier", "material", "t_per_t"]).to_csv(
        tables / "byproducts.csv", index=False
    )
    pd.DataFrame([("metal", 2026, 50.0), ("rare", 2026, 5.0), ("other", 2026, 50.0)],
                 columns=["material", "year", "required_t"]).to_csv(tables / "demand.csv", index=False)  # fmt: skip
    pd.DataFrame([("*", "*", 1.0)], columns=["origin", "destination", "freight_usd_per_t"]).to_csv(
        tables / "lanes.csv", index=False
    )
    (tmp_path / "case.toml").write_text(
        'name = "led"\n[horizon]\nyears = [2026]\n[market]\nhome = "USA"\n[network]\nlanes = "open"\n', encoding="utf-8"
    )
    plan = kept(tmp_path)
    code = plan.layout.material_code
    served = {}
    for name in ("mine", "smelter", "other_smelter"):
        key = next(key for key in plan.chains.keys if code["rare"] in plan.chains.at(key).materials)
        chain = plan.chains.at(key)
        place = int(np.flatnonzero(chain.materials == code["rare"])[0])
        left = (plan.case.suppliers["supplier"] != name).to_numpy(dtype=float)
        served[name] = plan.served(key, plan.limits(chain, left), place)
    assert served == pytest.approx({"mine": 0.0, "smelter": 0.0, "other_smelter": 1.0})
