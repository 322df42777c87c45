"""The reference reproduces the arithmetic of every hand-solved case, and its random cases are sound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .cases import random_case
from .kept import broken
from .read import read
from .solve import Answer, solve, status_quo

CASES = sorted(p.parent for p in (Path(__file__).parents[1] / "cases").glob("*/expected.json"))


def check(answer: Answer, expected: dict, years: list[int]) -> None:
    assert answer.status == expected.get("status", "optimal")
    if answer.status != "optimal":
        return
    assert answer.objective_usd == pytest.approx(expected["objective"], rel=expected.get("tolerance", 1e-6), abs=1e-6)
    for supplier, t in expected.get("produced", {}).items():
        assert answer.produced[supplier, years[0]] == pytest.approx(t, rel=1e-6, abs=1e-5), supplier
    for year, usd in expected.get("cost_usd_per_y", {}).items():
        assert answer.cost_usd_per_y[int(year)] == pytest.approx(usd, rel=1e-6, abs=1e-6)
    for year, usd in expected.get("public_usd_per_y", {}).items():
        assert answer.public_usd_per_y[int(year)] == pytest.approx(usd, rel=1e-6, abs=1e-6)
    for key, (t, _) in expected.get("expansion", {}).items():
        supplier, year = key.split()
        assert answer.expanded[supplier, int(year)] == pytest.approx(t)
    for key, (_, _, end) in expected.get("stock", {}).items():
        material, year = key.split()
        assert answer.stock["home", material, int(year)] == pytest.approx(end, abs=1e-9)


@pytest.mark.parametrize("folder", CASES, ids=lambda p: p.name)
def test_hand_solved(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    years = read(folder).years
    check(solve(folder), expected, years)
    if "status_quo" in expected:
        check(status_quo(folder), expected["status_quo"], years)


def test_no_incumbent_no_status_quo() -> None:
    folder = next(p for p in CASES if p.name == "share_min")
    assert status_quo(folder).status == "infeasible"


@pytest.mark.parametrize("seed", range(16))
def test_random(seed: int, tmp_path: Path) -> None:
    integers = seed % 3 == 0
    one = random_case(seed, tmp_path / "one", integers=integers)
    two = random_case(seed, tmp_path / "two", integers=integers)
    for path in sorted(p for p in one.rglob("*") if p.is_file()):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()
    free, ruled = solve(one, rules=False), solve(one)
    assert free.status in ("optimal", "infeasible")
    if ruled.objective_usd is not None:
        assert free.objective_usd is not None
        assert free.objective_usd <= ruled.objective_usd + 1e-6 * abs(ruled.objective_usd)
        balanced(one, ruled)
        assert broken(read(one), ruled, status_quo(one)) == []


def balanced(folder: Path, answer: Answer) -> None:
    """Nothing is lost on the way, in the answer's own figures."""
    case = read(folder)
    for year in case.years:
        for s in case.suppliers.values():
            made = answer.produced[s.id, year]
            sent = sum(t for (o, _, m, y), t in answer.flows.items() if (o, m, y) == (s.id, s.material, year))
            come = sum(t for (_, d, m, y), t in answer.flows.items() if (d, m, y) == (s.id, s.input, year))
            assert sent == pytest.approx(made, rel=1e-6, abs=1e-4)
            assert come * s.recovery == pytest.approx(made if s.input else 0.0, rel=1e-6, abs=1e-4)
        for market, material in dict.fromkeys((k, m) for k, m, _ in case.demand):
            come = sum(t for (_, d, m, y), t in answer.flows.items() if (d, m, y) == (market, material, year))
            short = answer.shortage.get((market, material, year), 0.0)
            assert come + short == pytest.approx(case.required(material, year, market), rel=1e-6, abs=1e-4)
