"""Prices equal finite differences, or lie between the one-sided ones at a kink; the certificate proves optima."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.case import Case, load_case
from models.layout import lay_out
from models.rule_rows import RuleRow, RuleRows
from optimizer.engine import Engine, Limits
from optimizer.run import optimize
from optimizer.solving import solve
from optimizer.status_quo import find_status_quo, has_status_quo
from tests.reference.cases import random_case

STEP = 1e-5


def _objective(case: Case) -> float | None:
    return optimize(case).objective_usd


def _rows(case: Case) -> list[RuleRow]:
    quo = find_status_quo(case, Limits()) if has_status_quo(case) else None
    return RuleRows(lay_out(case), quo.cost_usd_per_y() if quo is not None and quo.ok else {}).rows


def test_share_price_by_hand() -> None:
    """small: 40% -> 41% moves 10 t from China (15,000) to Chile (13,000): 20,000 USD a point, 2,000,000 per 1.00."""
    plan = optimize(load_case("small"))
    rules = plan.tables["rules"].set_index("member")
    assert rules.loc["CHL", "price_usd_per_y"] == pytest.approx(-2_000_000)
    assert rules.loc["CHL", "value"] == pytest.approx(0.4)
    assert bool(rules.loc["CHL", "binding"])
    # China stands at 40% too, but what limits it is Chile's cap: looser for China alone changes nothing.
    assert rules.loc["CHN", "price_usd_per_y"] == pytest.approx(0.0)


def test_price_is_divided_by_the_weight_of_the_year() -> None:
    """The same rule in a horizon of 2030, 2035 (5 years each, 5% a year) has the same price a year."""
    case = load_case("small")
    longer = optimize(_with_years(case, (2030, 2035)))
    assert longer.about["weights"][0] == pytest.approx(sum(1.05**-t for t in range(5)))
    for year in (2030, 2035):
        table = longer.tables["rules"].set_index(["member", "year"])
        assert table.loc[("CHL", year), "price_usd_per_y"] == pytest.approx(-2_000_000)


def _with_years(case: Case, years: tuple[int, ...]) -> Case:
    horizon = case.settings.horizon.model_copy(update={"years": years})
    return case.with_(
        settings=case.settings.model_copy(update={"horizon": horizon}),
        raw={**case.raw, "horizon": {**case.raw["horizon"], "years": list(years)}},
    )


KINDS = ["share", "each_share", "hhi", "index", "ban", "budget", "emissions"]


@pytest.mark.parametrize("kind", KINDS)
def test_prices_lie_between_one_sided_differences(kind: str, tmp_path: Path) -> None:
    """Over random cases: at least one binding row of each kind that can bind, each price checked on both sides."""
    checked = 0
    for seed in range(300, 345):
        case = load_case(random_case(seed, tmp_path / str(seed), rules=[kind]))
        plan = optimize(case)
        if plan.status != "optimal":
            continue
        table = plan.tables["rules"]
        bound = table[table["binding"].astype(bool)].head(3)
        weights = dict(zip(case.years, case.weights, strict=True))
        for row in bound.to_dict("records"):
            key = tuple(row[name] for name in ("rule", "bound", "mineral", "material", "member", "year"))
            size = STEP * max(abs(row["limit"]), 1e-2 if kind != "ban" else 1.0)
            assert plan.objective_usd is not None
            slopes = []
            for sign in (-1.0, 1.0):
                moved = _objective(case.with_(relaxed={key: row["limit"] + sign * size}))
                slopes.append(
                    None if moved is None else sign * (moved - plan.objective_usd) / size / weights[row["year"]]
                )
            price = row["price_usd_per_y"]
            noise = 3e-8 * abs(plan.objective_usd) / size + 2e-2 * abs(price) * (kind == "hhi") + 1e-6 * abs(price)
            left, right = slopes
            # convex in the limit: the slope to the left is at most the price, the slope to the right at least
            assert left is None or left <= price + noise
            assert right is None or price <= right + noise
            checked += 1
        if checked >= 6:
            return
    # a budget over the whole case only decides feasibility where years are independent
    assert checked > 0 or kind == "budget"


def test_certificate_refuses_a_wrong_optimum(tmp_path: Path) -> None:
    """The certificate is computed from the arrays: prices that are off by a little do not pass it."""
    layout = lay_out(load_case(random_case(101, tmp_path / "case", rules=0)))
    solved = solve(layout, [], Limits())
    assert solved.certificate is not None and solved.certificate.holds
    engine = Engine(solved.engine.program, solved.engine.column_unit)
    engine.solve(Limits())
    scaled = np.array(engine.highs.getSolution().col_value)
    dual = np.array(engine.highs.getSolution().row_dual)
    assert engine._certify(scaled, dual)[0].holds
    assert not engine._certify(scaled, dual * 1.01)[0].holds
    assert not engine._certify(scaled * 1.01, dual)[0].holds


def test_whole_numbers_have_no_price() -> None:
    folder = Path(__file__).parent / "cases" / "suppliers_max"
    plan = optimize(load_case(folder))
    assert plan.tables["rules"]["price_usd_per_y"].isna().all()
    assert "whole-number" in plan.about["prices"]


def test_relaxed_limit_replaces_one_row_only() -> None:
    case = load_case("small")
    [chl] = [row for row in _rows(case) if row.member == "CHL"]
    loose = case.with_(relaxed={chl.key: 0.5})
    assert {row.member: row.limit for row in _rows(loose)} == {"CHL": 0.5, "CHN": 0.4}
    # 500 from Chile at 13,000, 300 from China at 15,000, 200 recycled at 9,500
    assert _objective(loose) == pytest.approx(500 * 13_000 + 300 * 15_000 + 200 * 9_500)
