"""The two-stage reference reproduces every hand-solved case, and agrees with itself on random ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from . import two_stage
from .cases import random_two_stage
from .read import read
from .solve import solve
from .test_reference import check

CASES = sorted(p.parent for p in (Path(__file__).parents[1] / "cases").glob("two_stage_*/expected.json"))


def test_there_are_cases() -> None:
    assert len(CASES) > 8


@pytest.mark.parametrize("folder", CASES, ids=lambda p: p.name)
def test_hand_solved(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    answer = solve(folder)
    check(answer, expected, read(folder).years)
    if answer.status == "infeasible":
        return
    claims, found = expected["two_stage"], answer.two_stage
    assert found is not None
    assert found.response_usd == pytest.approx(claims["response_usd"])
    for name in ("first_stage_usd", "expected_usd", "cvar_usd", "worst_usd"):
        assert getattr(found, name) == pytest.approx(claims[name], abs=1e-4), name
    if "evpi_usd" in claims:
        assert two_stage.perfect_information(folder) == pytest.approx(claims["evpi_usd"], abs=1e-4)
        assert two_stage.stochastic_solution(folder) == pytest.approx(claims["vss_usd"], abs=1e-4)


@pytest.mark.parametrize(
    ("tail", "usd"),
    [(0.05, 30.0), (0.1, 30.0), (0.2, 25.0), (0.4, 22.5), (0.5, 20.0), (1.0, 15.0)],
)
def test_cvar_by_hand(tail: float, usd: float) -> None:
    """30 at 0.1, 20 at 0.3, 10 at 0.6: a tail of 0.2 is 0.1 of each of the first two, of 0.5 a fifth at 10."""
    costs = {"bad": 30.0, "mid": 20.0, "calm": 10.0}
    assert two_stage.cvar(costs, {"bad": 0.1, "mid": 0.3, "calm": 0.6}, tail) == pytest.approx(usd)


@pytest.mark.parametrize("seed", range(12))
def test_random(seed: int, tmp_path: Path) -> None:
    one = random_two_stage(seed, tmp_path / "one")
    two = random_two_stage(seed, tmp_path / "two")
    for path in sorted(p for p in one.rglob("*") if p.is_file()):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()
    answer = solve(one)
    if answer.status == "infeasible":
        return
    found = answer.two_stage
    assert found is not None
    assert answer.objective_usd is not None
    # Each response by itself, in place of what the whole program says of it.
    measured = (1.0 - found.weight) * found.expected_usd + found.weight * found.cvar_usd
    size = max(abs(answer.objective_usd), abs(found.worst_usd))
    assert measured == pytest.approx(answer.objective_usd, abs=1e-6 * size)
    assert found.expected_usd <= found.cvar_usd + 1e-9 * size
    assert two_stage.perfect_information(one) >= -1e-6 * size
    assert two_stage.stochastic_solution(one) >= -1e-6 * size


def test_a_dearer_tail_and_a_greater_weight_cost_more(tmp_path: Path) -> None:
    folder = random_two_stage(3, tmp_path / "case", rules=0)
    case = read(folder)
    every = two_stage.scenarios(case)
    values = [two_stage.extensive(case, every, *setting).objective_usd
              for setting in ((0.0, 0.1), (0.4, 1.0), (0.4, 0.5), (0.4, 0.1), (0.8, 0.1), (1.0, 0.1))]  # fmt: skip
    assert all(value is not None for value in values)
    assert values[0] == pytest.approx(values[1])
    for less, more in zip(values[1:], values[2:], strict=False):
        assert less <= more * (1 + 1e-9)
    assert values[0] < values[-1]
