"""Shares and concentration by array operations: against sums made row by row from the flows, and thresholds."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from models.case import Case, load_case
from models.layout import lay_out
from optimizer.engine import Limits
from optimizer.measures import tables_of
from optimizer.solving import solve
from optimizer.status_quo import find_status_quo
from optimizer.tonnage import SMALLEST_T, Tonnage
from tests.reference.cases import random_case


def _by_hand(case: Case, tables: dict) -> dict:
    """(mineral, material, stage, year) -> supplier -> t, from the tables of suppliers and flows, row by row."""
    mineral = dict(zip(case.materials["material"], case.materials["mineral"], strict=True))
    stage = dict(zip(case.materials["material"], case.materials["stage"], strict=True))
    found: dict = defaultdict(lambda: defaultdict(float))
    for row in tables["flows"].to_dict("records"):
        if row["destination"] in case.markets:
            found[mineral[row["material"]], row["material"], "delivered", row["year"]][row["origin"]] += row["t"]
        if row["byproduct"]:
            key = mineral[row["material"]], "", stage[row["material"]], row["year"]
            found[key][row["origin"]] += row["t"]
    for row in tables["suppliers"].to_dict("records"):
        if row["produced_t"] > 0:
            found[row["mineral"], "", row["stage"], row["year"]][row["supplier"]] += row["produced_t"]
    return found


@pytest.mark.parametrize("name", ["small", "us", 101, 105, 123, 126])
def test_shares_are_those_of_the_flows(name: str | int, tmp_path: Path) -> None:
    case = load_case(name if isinstance(name, str) else random_case(name, tmp_path / "case", rules=["share"]))
    quo = find_status_quo(case, Limits()) if name == "us" else None
    solved = solve(lay_out(case), [], Limits())
    assert solved.has_plan
    for layout, x in [(solved.layout, solved.x)] + ([(quo.layout, quo.x)] if quo else []):
        tables = tables_of(layout, [], x, None)
        expected = _by_hand(case, tables)
        who = case.suppliers.set_index("supplier")
        seen = set()
        for by in ("channel", "country", "controller", "supplier"):
            sums: dict = defaultdict(float)
            for key, tonnes in expected.items():
                for supplier, t in tonnes.items():
                    sums[key, supplier if by == "supplier" else who[by][supplier]] += t / sum(tonnes.values())
            table = tables["shares"][tables["shares"]["by"] == by]
            assert len(table) == len(sums)
            for row in table.to_dict("records"):
                key = row["mineral"], row["material"], row["stage"], row["year"]
                assert row["share"] == pytest.approx(sums[key, row["member"]], rel=1e-12)
                seen.add(key)
        risk = tables["risk"]
        assert seen == set(zip(risk["mineral"], risk["material"], risk["stage"], risk["year"], strict=True))
        for row in risk.to_dict("records"):
            tonnes = expected[row["mineral"], row["material"], row["stage"], row["year"]]
            countries: dict = defaultdict(float)
            for supplier, t in tonnes.items():
                countries[who["country"][supplier]] += t / sum(tonnes.values())
            assert row["hhi_country"] == pytest.approx(sum(s**2 for s in countries.values()), rel=1e-12)
            assert row["largest_share"] == pytest.approx(max(countries.values()), rel=1e-12)
            assert countries[row["largest_country"]] == pytest.approx(row["largest_share"], rel=1e-12)
            assert row["import_reliance"] == pytest.approx(1 - countries.get(case.home, 0.0), abs=1e-12)


def test_less_than_a_millionth_of_a_tonne_is_nothing() -> None:
    """Two lanes into the market: one carries 3 t, the other just under the threshold, then just above it."""
    case = load_case("small")
    layout = lay_out(case)
    tonnage = Tonnage(layout, delivered=True)
    into = layout.columns("flow")[layout.flow_destination >= len(case.suppliers)]
    for little, members in ((SMALLEST_T * 0.99, 1), (SMALLEST_T * 1.01, 2)):
        x = np.zeros(layout.width)
        x[into[:2]] = 3.0, little
        mix = tonnage.measure(x)
        assert np.count_nonzero(mix.share) == members
        assert mix.share.sum() == pytest.approx(1.0, abs=1e-15)
    nothing = tonnage.measure(np.zeros(layout.width))
    assert np.isnan(nothing.hhi_country).all()
    assert np.isnan(nothing.import_reliance).all()
    assert tonnage.share_table(nothing).empty
    assert tonnage.risk_table(nothing).empty


def test_delivered_alone_is_the_delivered_part_of_all_to_the_last_digit() -> None:
    case = load_case("us")
    solved = solve(lay_out(case), [], Limits())
    whole, part = Tonnage(solved.layout), Tonnage(solved.layout, delivered=True)
    every = whole.share_table(whole.measure(solved.x))
    delivered = part.share_table(part.measure(solved.x))
    expected = every[every["stage"] == "delivered"].reset_index(drop=True)
    assert delivered.equals(expected)
    risk, alone = whole.risk_table(whole.measure(solved.x)), part.risk_table(part.measure(solved.x))
    assert alone.equals(risk[risk["stage"] == "delivered"].reset_index(drop=True))
