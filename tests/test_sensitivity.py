"""Tornado and Sobol indices against known and hand-computed ones; samples without a plan are named or left out."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from models.case import load_case
from models.problems import CaseError
from optimizer import cli
from optimizer.indices import rank_correlations, sobol_indices
from optimizer.points import Design, Vary
from optimizer.run import optimize
from optimizer.sensitivities import NoPlan, resume_sensitivity, sensitivity

COST_A, COST_B = "suppliers[supplier=a].cost_usd_per_t*", "suppliers[supplier=b].cost_usd_per_t*"
CAPACITY, DEMAND = "suppliers[supplier=a].capacity_t*", "demand[material=ore].required_t*"


def write(folder: Path, *, second: bool = False, assumptions: str = "", price: str = "") -> Path:
    """One or two minerals, each made by a home supplier and an ally.

    Of ``ore`` 100 t are required: a (USA) and b (AUS) make it at 50 USD a tonne, 1,000 t each. With ``second``,
    b makes 100 t of ``sand`` at 20 USD a tonne instead, and nobody else. No freight, no discounting.
    """
    tables = folder / "tables"
    tables.mkdir(parents=True)
    (folder / "case.toml").write_text(
        'name = "two"\n[horizon]\nyears = [2030]\ndiscount_rate = 0\n[market]\nhome = "USA"\n', encoding="utf-8"
    )
    (tables / "materials.csv").write_text(
        "material,mineral,stage\nore,iron,extraction\n" + "sand,silicon,extraction\n" * second, encoding="utf-8"
    )
    material, cost = ("sand", 20) if second else ("ore", 50)
    (tables / "suppliers.csv").write_text(
        "supplier,country,channel,material,capacity_t,cost_usd_per_t\na,USA,domestic,ore,1000,50\n"
        f"b,AUS,allied,{material},1000,{cost}\n",
        encoding="utf-8",
    )
    (tables / "demand.csv").write_text(
        f"material,year,required_t,shortage_usd_per_t\nore,2030,100,{price}\n" + "sand,2030,100,\n" * second,
        encoding="utf-8",
    )
    if assumptions:
        (tables / "assumptions.csv").write_text(f"key,low,high\n{assumptions}\n", encoding="utf-8")
    return folder


def of(found: object, output: str) -> dict[str, dict[str, float]]:
    """Indices of an output: input -> first, total, confidence."""
    table = found.sobol  # type: ignore[attr-defined]
    return table[table["output"] == output].set_index("input")[["first", "total", "confidence"]].to_dict("index")


# --- indices -----------------------------------------------------------------------------------------------------


def test_the_indices_of_a_known_function() -> None:
    """Ishigami's function sin a + 7 sin^2 b + 0.1 c^4 sin a over (-pi, pi): published first 0.3139, 0.4424, 0 and
    total 0.5576, 0.4424, 0.2437 (Ishigami and Homma 1990).
    """
    design = Design(tuple(Vary(name, -np.pi, np.pi) for name in "abc"), 4000, seed=1)
    assert design.size == 4096
    x = design.rows(design.tornado_stop, len(design))
    y = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    found = sobol_indices(np.stack([y, x[:, 1]], axis=1), "abc", ["y", "b alone"], design.size)
    y_of = found[found["output"] == "y"].set_index("input")
    first, total = (0.3139, 0.4424, 0.0), (0.5576, 0.4424, 0.2437)
    for name, one, both in zip("abc", first, total, strict=True):
        assert y_of.loc[name, "first"] == pytest.approx(one, abs=0.03)
        assert y_of.loc[name, "total"] == pytest.approx(both, abs=0.03)
        assert abs(y_of.loc[name, "total"] - both) <= 2 * y_of.loc[name, "confidence"]
    assert (y_of["confidence"] < 0.06).all()
    assert list(y_of.index) == ["a", "b", "c"]  # largest total first
    alone = found[found["output"] == "b alone"].set_index("input")["total"]
    assert alone.to_dict() == pytest.approx({"b": 1.0, "a": 0.0, "c": 0.0}, abs=0.01)


@pytest.mark.parametrize("count", [1, 2])
def test_one_output_and_one_input_too(count: int) -> None:
    design = Design(tuple(Vary(name, 0.0, 1.0) for name in "ab"[:count]), 256)
    x = design.rows(design.tornado_stop, len(design))
    found = sobol_indices(x.sum(axis=1, keepdims=True), "ab"[:count], ["sum"], design.size)
    assert found["total"].tolist() == pytest.approx([1 / count] * count, abs=0.02)
    assert sobol_indices(np.zeros((len(x), 0)), "ab"[:count], [], design.size).empty


def test_the_design_is_the_case_the_tornado_and_the_three_samples() -> None:
    design = Design((Vary("a", 1.0, 3.0), Vary("b", 10.0, 20.0)), 5)
    assert (design.size, len(design)) == (8, 1 + 4 + 8 * 4)
    assert "37 points to solve: the case and 2 x 2 for the tornado, 8 x (2 + 2)" in design.words
    assert "(5 rounded up to a power of two)" in design.words
    head = design.rows(0, 5)
    assert np.array_equal(
        head, [[np.nan, np.nan], [1, np.nan], [3, np.nan], [np.nan, 10], [np.nan, 20]], equal_nan=True
    )
    a, b, one, two = (design.rows(5 + 8 * part, 13 + 8 * part) for part in range(4))
    assert np.array_equal(one, np.stack([b[:, 0], a[:, 1]], axis=1))
    assert np.array_equal(two, np.stack([a[:, 0], b[:, 1]], axis=1))
    assert not np.array_equal(a, b)
    assert np.array_equal(design.rows(3, 30), np.concatenate([head[3:], a, b, one, two])[: 30 - 3], equal_nan=True)
    assert len(Design(design.vary, 0)) == 5
    with pytest.raises(CaseError, match="from 2"):
        Design(design.vary, 1)


# --- cases computed by hand ----------------------------------------------------------------------------------------


def test_an_additive_case_by_hand(tmp_path: Path) -> None:
    """Cost = 100 t x 50 USD x A + 100 t x 20 USD x B; A from 0.8 to 1.2, B from 0.5 to 1.5: 5,000 A + 2,000 B.

    Variances: 5,000^2 x 0.4^2 / 12 = 333,333 and 2,000^2 x 1^2 / 12 = 333,333: half each, alone and with others.
    Capacity never binds: 0. Tornado: 7,000 in the case; A 6,000 to 8,000, B 6,000 to 8,000.
    """
    case = load_case(write(tmp_path / "case", second=True))
    vary = {COST_A: (0.8, 1.2), COST_B: (0.5, 1.5), CAPACITY: (0.5, 2)}
    found = sensitivity(case, vary, sample=1000)
    indices = of(found, "objective_usd")
    for key, expected in ((COST_A, 0.5), (COST_B, 0.5), (CAPACITY, 0.0)):
        assert indices[key]["first"] == pytest.approx(expected, abs=0.02)
        assert indices[key]["total"] == pytest.approx(expected, abs=0.02)
        assert indices[key]["confidence"] < 0.06
    assert set(found.sobol["output"]) == {"objective_usd"}  # no mix moves: no index is made up for it
    tornado = found.tornado.set_index("input")
    assert set(tornado["output"]) == {"objective_usd"}
    assert tornado["base"].tolist() == pytest.approx([7000.0] * 3)
    for key, low, high in ((COST_A, 6000, 8000), (COST_B, 6000, 8000), (CAPACITY, 7000, 7000)):
        assert tornado.loc[key, ["at_low", "at_high"]].tolist() == pytest.approx([low, high])
    assert found.tornado["input"].tolist()[-1] == CAPACITY  # ranked by swing
    assert found.document["solves"] == 1 + 6 + 1024 * 5
    assert found.left_out == (0, 0)


def test_a_product_by_hand(tmp_path: Path) -> None:
    """Cost = 5,000 D A with both from 0.5 to 1.5 (mean 1, variance v = 1/12; b is never cheaper).

    Variance of D A: (1 + v)^2 - 1 = 2 v + v^2. First: v / (2 v + v^2) = 1 / (2 + v) = 0.48; total: 0.52.
    """
    case = load_case(write(tmp_path / "case"))
    found = sensitivity(case, {DEMAND: (0.5, 1.5), COST_A: (0.5, 1.5)}, sample=1024,
                        changes={COST_B: 10})  # fmt: skip
    v = 1 / 12
    for numbers in of(found, "objective_usd").values():
        assert numbers["first"] == pytest.approx(1 / (2 + v), abs=0.02)
        assert numbers["total"] == pytest.approx((1 + v) / (2 + v), abs=0.02)


def test_a_mix_by_hand(tmp_path: Path) -> None:
    """All ore comes from the cheaper of a and b, whose costs are 50 A and 50 B, A and B from 0.5 to 1.5.

    Domestic share = 1 where A < B, else 0: variance 1/4; given A its mean is the part of B above it, variance 1/12:
    first = (1/12) / (1/4) = 1/3, total = 1 - 1/3 = 2/3, for both. HHI is always 1: no index.
    Cost = 5,000 min(A, B): in units of the range, E[min | A] = A - A^2/2 has variance 1/45 (E = 1/3, E of its square
    = 1/3 - 1/4 + 1/20 = 2/15, less 1/9), min itself 1/18: first = 2/5, total = 3/5.
    """
    case = load_case(write(tmp_path / "case", assumptions=f"{COST_A},0.5,1.5\n{COST_B},0.9,1.1"))
    found = sensitivity(case, {COST_B: (0.5, 1.5)}, sample=1024)  # --vary replaces a row of the table
    assert [item["low"] for item in found.document["inputs"]] == [0.5, 0.5]
    for output, first, total in (("share/ore/2030/channel/domestic", 1 / 3, 2 / 3), ("objective_usd", 0.4, 0.6)):
        indices = of(found, output)
        assert set(indices) == {COST_A, COST_B}
        for numbers in indices.values():
            assert numbers["first"] == pytest.approx(first, abs=0.04)
            assert numbers["total"] == pytest.approx(total, abs=0.04)
    assert set(found.sobol["output"]) == {"objective_usd", "share/ore/2030/channel/domestic",
                                          "share/ore/2030/channel/allied"}  # fmt: skip


def test_the_same_question_has_the_same_answer(tmp_path: Path) -> None:
    """Bootstrap intervals included; another seed draws other points."""
    case = load_case(write(tmp_path / "case"))
    vary = {COST_A: (0.5, 1.5), COST_B: (0.5, 1.5)}
    one, two, other = (sensitivity(case, vary, sample=16, threads=threads, seed=seed)
                       for threads, seed in ((1, 0), (2, 0), (2, 1)))  # fmt: skip
    assert one.sobol.equals(two.sobol)
    assert not one.sobol.equals(other.sobol)


def test_the_tornado_is_what_optimize_gives() -> None:
    case = load_case("small")
    vary = {"rules.one_country.max": (0.3, 1.0), "demand.required_t*": (0.8, 1.3), "horizon.discount_rate": (0.03, 0.07),
            "lanes.duty_share*": (0, 2)}  # fmt: skip
    found = sensitivity(case, vary, sample=0)
    assert found.sobol.empty
    base = optimize(case)
    plans = {(key, end): optimize(case, {key: value}) for key, ends in vary.items()
             for end, value in zip(("low", "high"), ends, strict=True)}  # fmt: skip
    for row in found.tornado.to_dict("records"):
        for end in ("low", "high"):
            plan = plans[row["input"], end]
            shares = plan.tables["shares"]
            shares = shares[(shares["stage"] == "delivered") & (shares["by"] == "channel")].set_index("member")["share"]
            risk = plan.tables["risk"]
            expected = {
                "objective_usd": plan.objective_usd,
                "hhi_country/lithium_chemicals/2030": float(risk[risk["stage"] == "delivered"]["hhi_country"].iloc[0]),
            }
            name = row["output"].rpartition("/")[2]
            value = expected.get(row["output"], float(shares.get(name, 0.0)))
            assert row[f"at_{end}"] == pytest.approx(value, rel=1e-9, abs=1e-9)
        if row["output"] == "objective_usd":
            assert row["base"] == pytest.approx(base.objective_usd)
    cost = found.tornado[found.tornado["output"] == "objective_usd"]
    assert cost["swing"].is_monotonic_decreasing
    assert cost.set_index("input")["nominal"].to_dict() == {
        "rules.one_country.max": 0.4, "demand.required_t*": 1.0, "horizon.discount_rate": 0.05, "lanes.duty_share*": 1.0
    }  # fmt: skip


# --- no plan ---------------------------------------------------------------------------------------------------------


def test_samples_without_a_plan_are_named_never_counted_as_zero(tmp_path: Path) -> None:
    """a and b make 60 to 140 t each: together too little for 100 t only where both are low; demand must be met."""
    low = "suppliers[supplier=a].capacity_t", "suppliers[supplier=b].capacity_t"
    case = load_case(write(tmp_path / "case"))
    vary = {low[0]: (20, 140), low[1]: (20, 140), COST_A: (0.9, 1.1)}
    with pytest.raises(NoPlan) as told:
        sensitivity(case, vary, sample=64, changes=dict.fromkeys(low, 100.0), out=tmp_path / "out")
    samples = told.value.samples
    short = samples[low[0]] + samples[low[1]] < 100
    assert short.all()
    assert (samples["status"] == "infeasible").all()
    assert f"{len(samples)} of 128 samples have no plan" in str(told.value)
    assert f"point {samples['point'].iloc[0]} (infeasible: " in str(told.value)
    design = Design(tuple(Vary(key, *ends) for key, ends in vary.items()), 64)
    drawn = design.rows(design.tornado_stop, design.base_stop)
    expected = np.flatnonzero(drawn[:, 0] + drawn[:, 1] < 100) + design.tornado_stop
    assert samples["point"].tolist() == expected.tolist()  # every one, and no other
    # nothing of what was solved is lost: the same folder goes on with them left out
    found = resume_sensitivity(tmp_path / "out", correlate=True)
    assert found.sobol.empty
    assert found.left_out == (len(samples), 128)
    assert found.document["left_out"]["share"] == pytest.approx(len(samples) / 128)
    assert found.document["about"]["highs_seconds"] == 0.0
    assert found.correlations.iloc[0][["output", "input"]].tolist() == ["objective_usd", COST_A]
    assert 0.8 < found.correlations["rank_correlation"].iloc[0] < 1
    assert (found.correlations["samples"] == 128 - len(samples)).all()


def test_rank_correlations_by_hand() -> None:
    """Ranks 1 2 3 4 against 1 2 4 3: 1 - 6 x (0 + 0 + 1 + 1) / (4 x 15) = 0.8; against themselves squared: 1."""
    points = np.array([[1.0], [2.0], [3.0], [4.0]])
    values = np.array([[10.0, 1.0], [20.0, 4.0], [40.0, 9.0], [30.0, 16.0]])
    found = rank_correlations(points, values, ["a"], ["y", "squares"]).set_index("output")["rank_correlation"]
    assert found.to_dict() == pytest.approx({"y": 0.8, "squares": 1.0})


def test_an_end_without_a_plan_is_shown_first_and_says_why(tmp_path: Path) -> None:
    low = "suppliers[supplier=a].capacity_t"
    case = load_case(write(tmp_path / "case", second=True))
    found = sensitivity(case, {COST_A: (0.5, 2.0), low: (50, 200)}, sample=0)
    first = found.tornado.iloc[0]
    assert first["input"] == low
    assert np.isnan(first["at_low"])
    assert "demand for ore 2030" in first["reason_low"]
    row = found.document["tornado"][0]
    assert (row["input"], row["cost_low_usd"], row["cost_high_usd"]) == (low, None, pytest.approx(7000.0))


def test_a_case_without_a_plan_has_no_sensitivity(tmp_path: Path) -> None:
    case = load_case(write(tmp_path / "case"))
    with pytest.raises(NoPlan, match="the case itself has no plan"):
        sensitivity(case, {COST_A: (0.5, 2)}, sample=8, changes={"demand.required_t": 5000})


def test_a_share_of_nothing_has_no_index(tmp_path: Path) -> None:
    """A missing tonne costs 60 USD: where a and b both cost more, nothing is delivered, and its shares are of nothing."""
    case = load_case(write(tmp_path / "case", price="60"))
    found = sensitivity(case, {COST_A: (0.5, 2.0), COST_B: (0.5, 2.0)}, sample=64)
    assert "share/ore/2030/channel/domestic" in found.document["undefined"]
    assert set(found.sobol["output"]) == {"objective_usd"}


# --- the command -------------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    with redirect_stdout(out):
        code = cli.run(list(arguments))
    return code, out.getvalue()


def test_the_command_says_how_many_points_and_gives_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "case", assumptions=f"{COST_A},0.5,1.5\n{COST_B},0.5,1.5")
    monkeypatch.chdir(tmp_path)
    code, out = run("sensitivity", str(folder), "--sample", "30", "--json")
    assert code == 0
    assert "133 points to solve: the case and 2 x 2 for the tornado, 32 x (2 + 2)" in capsys.readouterr().err
    document = json.loads(out)
    assert {"input", "low", "high", "cost_low_usd", "cost_high_usd"} <= set(document["tornado"][0])
    assert {"input", "output", "first", "total", "confidence"} <= set(document["sobol"][0])
    assert document["sobol"][0]["output"] == "objective_usd"
    kept = tmp_path / document["run"]
    assert kept.name.startswith("two-sensitivity-")
    assert json.loads((kept / "sensitivity.json").read_text(encoding="utf-8")) == document
    names = {path.name for path in (kept / "tables").iterdir()}
    assert names - {"points.parquet"} == {"points.csv", "tornado.csv", "sobol.csv"}
    code, words = run("sensitivity", "--resume", str(kept), "-q")
    assert code == 0
    assert "One input at its low, then at its high" in words
    assert "Share of the variance of cost (Sobol, N = 32)" in words
    assert "ore domestic" in words
    shown = run("show", str(kept))[1].splitlines()
    assert shown[:-1] == words.splitlines()[:-1]  # but for the last line, which says where
    assert run("show", str(kept), "tornado")[0] == 0


def test_the_command_without_a_plan_is_exit_three(tmp_path: Path) -> None:
    key = "suppliers.capacity_t"
    folder = write(tmp_path / "case", assumptions=f"{key},20,140")
    code, out = run("sensitivity", str(folder), "--sample", "8", "--out", str(tmp_path / "out"), "--json")
    assert code == 3
    document = json.loads(out)
    assert document["status"] == "infeasible"
    assert document["objective_usd"] is None
    assert all(sample[key] < 50 for sample in document["samples"])
    assert f"--resume {tmp_path / 'out'} --correlate" in document["errors"][0]["message"]
    code, out = run("sensitivity", "--resume", str(tmp_path / "out"), "--correlate")
    assert code == 0
    assert f"{len(document['samples'])} of 16 samples" in out
    assert "are left out: no Sobol indices" in out


def test_nothing_uncertain_is_wrong_input(tmp_path: Path) -> None:
    code, out = run("sensitivity", "small", "--json")
    assert code == 2
    assert "nothing is uncertain" in json.loads(out)["errors"][0]["message"]
