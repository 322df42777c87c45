"""Plans that weigh disruptions told elsewhere: report, comparison, exports, notebook; what hangs on a guess, by hand."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Outcome
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook
from rich.console import Console
from test_report import Reader, frame

from models.case import Case, load_case
from models.disruptions import NOTHING
from optimizer import two_stage_views
from optimizer.console import money
from optimizer.export import export
from optimizer.notebook import plans_html
from optimizer.plan import Plan
from optimizer.report import report
from optimizer.run import optimize
from optimizer.run_folder import read_run
from optimizer.two_stage_guesses import find_guesses
from optimizer.two_stage_text import between, guess_sentence, worst_shortages

CASES = Path(__file__).parent / "cases"
PRICED = {"demand[material=lithium_chemicals].shortage_usd_per_t": 60000}
WEIGHED = {**PRICED, "risk.weight": 0.5, "risk.tail": 0.2}
HEAD = "scenario,probability,probability_low,probability_high,probability_basis,country,available_share\n"


def guessing(to: Path, rows: str, risk: str = "") -> Case:
    """The hand case of a tail that cuts a scenario in two, with these scenarios."""
    shutil.copytree(CASES / "two_stage_split_tail", to)
    (to / "tables/disruptions.csv").write_text(HEAD + rows, encoding="utf-8")
    text = (to / "case.toml").read_text(encoding="utf-8")
    (to / "case.toml").write_text(text.replace("tail = 0.2", f"tail = 0.2\n{risk}"), encoding="utf-8")
    return load_case(to)


def test_what_hangs_on_a_guess_by_hand(tmp_path: Path) -> None:
    """30 t from A: nothing 1700, bad 4400, mid 3050; expected 0.6 * 1700 + 0.1 * 4400 + 0.3 * 3050 = 2375.

    bad at 0.05: 0.05 less of 4400 - 1700: 2375 - 135 = 2240. At its high 0.9 only the 0.6 of "nothing happens" can
    come to it, so at 0.7: 2375 + 0.6 * 2700 = 3995.
    """
    plan = optimize(guessing(tmp_path / "case", "bad,0.1,0.05,0.9,guess,CHN,0\nmid,0.3,0.2,0.4,published,CHN,0.5\n"))
    assert plan.two_stage is not None
    found = plan.two_stage["guesses"]
    assert (found["guessed"], found["scenarios"], len(found["each"])) == (1, 2, 1)
    assert found["each"][0] == {
        "scenario": "bad", "probability": 0.1, "low": 0.05, "high": pytest.approx(0.7),
        "expected_at_low_usd": pytest.approx(2240), "expected_at_high_usd": pytest.approx(3995),
    }  # fmt: skip
    said = "1 of 2 probabilities is a guess; most hangs on bad: at 5% to 70%, the expected cost is 2,240 to 3,995 USD."
    assert guess_sentence(plan.two_stage) == said
    assert plan.to_json()["two_stage"]["guesses"] == found


def test_jointly_a_probability_is_in_many_outcomes_so_only_the_count_is_told(tmp_path: Path) -> None:
    rows = "bad,0.1,0.05,0.9,guess,CHN,0\nmid,0.3,0.2,0.4,guess,CHN,0.5\nnever,0,0,0.1,guess,CHN,0\n"
    plan = optimize(guessing(tmp_path / "case", rows, "joint = true"))
    assert plan.two_stage is not None and plan.two_stage["joint"]
    assert plan.two_stage["guesses"] == {"guessed": 2, "scenarios": 2, "each": []}
    assert guess_sentence(plan.two_stage) == "2 of 2 probabilities are guesses."


def test_nothing_is_said_where_no_probability_is_a_guess(tmp_path: Path) -> None:
    plan = optimize(guessing(tmp_path / "case", "bad,0.1,0.05,0.9,published,CHN,0\nmid,0.3,,,computed,CHN,0.5\n"))
    assert plan.two_stage is not None and guess_sentence(plan.two_stage) == ""
    assert guess_sentence({**plan.two_stage, "guesses": None}) == ""


@given(
    st.lists(st.tuples(st.floats(0.01, 0.3), st.floats(0, 1), st.floats(0, 1), st.floats(-1e9, 1e12)), min_size=1,
             max_size=3), st.floats(0, 1e12),
)  # fmt: skip
def test_the_expected_cost_at_low_and_high_is_the_mean_with_that_probability(
    small: Case, drawn: list[tuple[float, float, float, float]], calm: float
) -> None:
    """The mean is worked out anew with all probabilities, the rest to 1 going to "nothing happens"."""
    names = [f"s{place}" for place in range(len(drawn))]
    rows = [{**dict.fromkeys(small.tables["disruptions"].columns, ""), "scenario": name, "probability": p,
             "probability_low": p * low, "probability_high": p + (1 - p) * high, "probability_basis": "guess"}
            for name, (p, low, high, _) in zip(names, drawn, strict=True)]  # fmt: skip
    case = small.with_(tables={**small.tables, "disruptions": pd.DataFrame(rows)})
    p, usd = np.array([row[0] for row in drawn]), np.array([row[3] for row in drawn])

    def mean(chances: Any) -> float:
        return float(chances @ usd + (1 - chances.sum()) * calm)

    outcomes = pd.DataFrame({"outcome": [NOTHING, *names], "probability": [1 - p.sum(), *p], "total_usd": [calm, *usd]})
    found = find_guesses(case, outcomes)
    assert found["guessed"] == len(drawn)
    for item in found["each"]:
        at = names.index(item["scenario"])
        assert item["low"] == rows[at]["probability_low"]
        assert item["high"] == pytest.approx(min(rows[at]["probability_high"], 1 - p.sum() + p[at]))
        for end in ("low", "high"):
            moved = p.copy()
            moved[at] = item[end]
            assert item[f"expected_at_{end}_usd"] == pytest.approx(mean(moved), rel=1e-9, abs=1)
    spread = [abs(item["expected_at_high_usd"] - item["expected_at_low_usd"]) for item in found["each"]]
    assert spread == sorted(spread, reverse=True)


def test_two_amounts_have_their_unit_once() -> None:
    assert between(279e9, 302e9) == "279 to 302 billion"
    assert between(998e6, 1.5e9) == "998 million to 1.50 billion"
    assert between(2240, 3995) == "2,240 to 3,995"


# --- told elsewhere ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> Case:
    return load_case("small")


@pytest.fixture(scope="module")
def runs(small: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small case without and with disruptions weighed: expected 15.0 million, undisturbed 13.9 million USD."""
    folder = tmp_path_factory.mktemp("weighed")
    optimize(small, PRICED, out=folder / "plain")
    optimize(small, WEIGHED, out=folder / "weighed")
    return folder / "plain", folder / "weighed"


@pytest.fixture(scope="module")
def plain(runs: tuple[Path, Path]) -> Plan:
    return read_run(runs[0])


@pytest.fixture(scope="module")
def weighed(runs: tuple[Path, Path]) -> Plan:
    return read_run(runs[1])


@pytest.fixture(scope="module")
def single(runs: tuple[Path, Path]) -> Reader:
    return Reader(report([runs[1]]).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def compared(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(report(runs, tmp_path_factory.mktemp("both") / "out.html").read_text(encoding="utf-8"))


def two_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "plan.json").read_text(encoding="utf-8"))["two_stage"]
    return found


def test_the_section_has_the_numbers_of_the_run(runs: tuple[Path, Path], single: Reader) -> None:
    two = two_of(runs[1])
    table = frame(single, "cost over the outcomes").set_index("measure")
    usd = table["USD, present value"].astype(float)
    named = {
        "where nothing happens": "undisturbed_usd", "expected": "expected_usd", "worst 20% (CVaR)": "cvar_usd",
        "worst: drought": "worst_usd", "made least: 50% expected + 50% worst": "objective_usd",
        "paid whatever happens": "first_stage_usd", "at the edge of the worst 20%": "value_at_risk_usd",
        "a plan that ignores disruptions costs more": "ignoring_usd", "how far these three may be off": "gap_usd",
        "a plan for the mean outcome costs more (VSS)": "vss_usd", "knowing beforehand saves (EVPI)": "evpi_usd",
    }  # fmt: skip
    assert dict(usd) == {words: two[key] for words, key in named.items()}
    for words, key in named.items():
        assert table.loc[words, "what it is"].lower() == two["definitions"][key].lower() + "."
    text = single.sections["weighed"]
    for words in (f"over 3 outcomes {money(two['expected_usd'])} expected", f"save {money(two['evpi_usd'])} USD (EVPI)",
                  f"would cost {money(two['ignoring_usd'])} USD more", "USD more (VSS)", guess_sentence(two)):  # fmt: skip
        assert words in text
    assert guess_sentence(two).startswith("2 of 2 probabilities are guesses; most hangs on drought: at 5% to 20%")


def test_the_tables_of_outcomes_are_those_of_the_run(runs: tuple[Path, Path], single: Reader, weighed: Plan) -> None:
    with (runs[1] / "tables/outcomes.csv").open(encoding="utf-8", newline="") as file:
        stored = {row["outcome"]: row for row in csv.DictReader(file)}
    shown = frame(single, "outcomes").set_index("outcome")
    assert list(shown.index) == ["drought", "china_stop", NOTHING]  # the dearest first
    for label, key in (("probability", "probability"), ("share of the worst tail", "tail_share"),
                       ("cost of the response (USD)", "response_usd"), ("cost in all (USD)", "total_usd"),
                       ("more than where nothing happens (USD)", "more_usd"),
                       ("cost of what is short (USD)", "shortage_usd")):  # fmt: skip
        assert {name: float(value) for name, value in shown[label].items()} == {
            name: float(row[key]) for name, row in stored.items()
        }
    [short] = frame(single, "short in each outcome").to_dict("records")
    [wanted] = weighed.tables["outcome_shortage"].to_dict("records")
    assert (short["outcome"], short["material"], int(short["worst year"])) == ("drought", "lithium_chemicals", 2030)
    assert float(short["short (t a year)"]) == wanted["short_t"] == pytest.approx(200)
    assert float(short["short of what is required"]) == pytest.approx(0.2)
    guesses = frame(single, "probabilities that are guesses")
    each = two_of(runs[1])["guesses"]["each"]
    assert [float(value) for value in guesses["expected cost at high (USD)"]] == [
        e["expected_at_high_usd"] for e in each
    ]
    assert guesses["scenario"].tolist() == [item["scenario"] for item in each]


def test_the_weighed_number_is_never_set_against_today(single: Reader, weighed: Plan) -> None:
    assert weighed.objective_usd is not None and weighed.status_quo is not None and weighed.two_stage is not None
    calm, today = weighed.two_stage["undisturbed_usd"], weighed.status_quo["objective_usd"]
    assert weighed.undisturbed_usd == calm != weighed.objective_usd
    last = frame(single, "costs by year").iloc[-1]
    assert float(last["cost (USD a year)"]) == calm and float(last["difference"]) == calm - today
    text = single.sections["answer"]
    assert "where nothing happens (present value 2030), 700,000 less (4.8%) than going on as today" in text
    assert "13.9 million USDpresent value of the whole horizon, where nothing happens" in text.replace("\n", "")
    assert money(weighed.objective_usd) not in text
    assert "Where nothing happens, everything that is required is delivered." in text


def test_side_by_side_what_every_run_has_is_compared(compared: Reader, plain: Plan, weighed: Plan) -> None:
    assert plain.objective_usd is not None and weighed.undisturbed_usd is not None
    text = compared.sections["answer"]
    assert f"{money(weighed.undisturbed_usd - plain.objective_usd)} more" in text and "than plain" in text
    assert "15.0 million expected over 3 outcomes, 19.2 million in the worst 20% (CVaR)" in text
    assert "weighed: 13.9 million USD in all where nothing happens; over 3 outcomes" in compared.sections["weighed"]
    assert (
        "cost over the outcomes of weighed" in compared.tables
        and "cost over the outcomes of plain" not in compared.tables
    )


def test_a_run_that_weighs_nothing_has_no_such_section(runs: tuple[Path, Path], tmp_path: Path) -> None:
    assert "weighed" not in Reader(report([runs[0]], tmp_path / "out.html").read_text(encoding="utf-8")).sections


def test_compare_gives_the_outcomes_of_runs_that_weigh_them(
    runs: tuple[Path, Path], oremix: Callable[..., Outcome], plain: Plan, weighed: Plan
) -> None:
    two = two_of(runs[1])
    first, second = oremix("compare", *runs, "--json").document["runs"]
    for key in ("risk_weight", "tail", "expected_usd", "cvar_usd", "worst_usd", "worst_outcome"):
        assert first[key] is None and second[key] == two[key]
    assert first["undisturbed_usd"] == first["objective_usd"] == plain.objective_usd
    assert second["undisturbed_usd"] == two["undisturbed_usd"] and second["objective_usd"] == two["objective_usd"]
    assert second["difference_usd"] == two["undisturbed_usd"] - plain.objective_usd
    lines = [line.split() for line in oremix("compare", *runs).out.splitlines()]
    rows = {line[0]: line[1:] for line in lines if line}
    assert rows["undisturbed"] == ["13.1", "million", "13.9", "million"]
    assert rows["expected"] == ["15.0", "million"]  # blank where nothing is weighed
    assert ["worst", "20%", "(CVaR)", "19.2", "million"] in lines and ["worst", "23.3", "million"] in lines
    assert ["made", "least", "17.1", "million"] in lines
    assert (
        "objective" in oremix("compare", runs[0], runs[0]).out and "CVaR" not in oremix("compare", runs[0], runs[0]).out
    )


def test_the_tails_of_two_runs_are_told_apart(weighed: Plan, plain: Plan) -> None:
    assert weighed.two_stage is not None
    other = Plan(**{**vars(weighed), "two_stage": {**weighed.two_stage, "tail": 0.05}})
    rows = two_stage_views.compared([plain, weighed, other])
    assert [row[0] for row in rows] == ["expected", "CVaR of worst", "CVaR", "worst", "made least"]
    assert rows[1][1:] == ["", "20%", "5%"]
    assert two_stage_views.compared([plain, plain]) == []


def test_exports_hold_the_measures(runs: tuple[Path, Path], tmp_path: Path) -> None:
    two = two_of(runs[1])
    export(runs[1], tmp_path / "plan.xlsx")
    book = CalamineWorkbook.from_path(tmp_path / "plan.xlsx")
    answer = {row[0]: row for row in book.get_sheet_by_name("answer").to_python()}
    for words, key in (("expected", "expected_usd"), ("worst 20% (CVaR)", "cvar_usd"), ("worst: drought", "worst_usd"),
                       ("where nothing happens", "undisturbed_usd"), ("knowing beforehand saves (EVPI)", "evpi_usd"),
                       ("made least: 50% expected + 50% worst", "objective_usd")):  # fmt: skip
        assert answer[words][2] == pytest.approx(two[key], rel=1e-14)
    assert answer["present value in 2030 (USD)"][2] == pytest.approx(two["undisturbed_usd"], rel=1e-12)
    assert guess_sentence(two) in answer
    export(runs[1], tmp_path / "plan.csv")
    read = {name: pd.read_csv(tmp_path / f"plan.csv/{name}.csv") for name in
            ("two_stage", "guesses", "outcomes", "outcome_shortage", "about")}  # fmt: skip
    usd = dict(zip(read["two_stage"]["measure"], read["two_stage"]["usd"], strict=True))
    assert usd == {key: two[key] for key in usd} and "cvar_usd" in usd and "gap_usd" in usd
    assert read["guesses"].to_dict("records") == two["guesses"]["each"]
    assert read["outcomes"]["outcome"].tolist() == [NOTHING, "china_stop", "drought"]
    about = dict(zip(read["about"]["what"], read["about"]["value"], strict=True))
    assert about["what objective_usd is"].startswith("50% expected + 50% worst, over 3 outcomes")
    assert about["worst tail of probability"] == "0.2" and about["worst outcome"] == "drought"
    names = [sheet for sheet in book.sheet_names if sheet in read]
    assert sorted(names) == sorted(read)
    export(runs[0], tmp_path / "plain.csv")
    assert not (tmp_path / "plain.csv/two_stage.csv").exists()


def test_a_notebook_shows_the_measures(plain: Plan, weighed: Plan) -> None:
    text = weighed._repr_html_()
    assert (
        "Weighed over 3 outcomes it costs 15.0 million USD expected, 19.2 million on the mean of the worst 20%" in text
    )
    assert "USD (EVPI)" in text and "most hangs on drought" in text and "Weighed over" not in plain._repr_html_()
    table = plans_html([plain, weighed], ["plain", "weighed"])
    assert "13.9 million" in table and "15.0 million" in table and "17.1 million" not in table
    assert weighed.plot.frontier().data[1].y[0] == weighed.undisturbed_usd


def test_the_answer_in_the_terminal_tells_the_guesses(weighed: Plan, plain: Plan) -> None:
    screen = Console(width=80, record=True, color_system=None)
    two_stage_views.weighed(screen, weighed)
    text = screen.export_text()
    assert "2 of 2 probabilities are guesses; most hangs on drought: at 5% to 20%, the" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    two_stage_views.weighed(screen, plain)
    assert screen.export_text() == ""


def test_the_year_in_which_most_of_a_material_is_short(weighed: Plan) -> None:
    """Of 100 t, 10 and 30 short in two years; of 1,000 t 200: 30% in 2035 before 20%, outcome by outcome."""
    short = pd.DataFrame({
        "outcome": ["china_stop", "drought", "drought", "drought"], "probability": [0.05, 0.1, 0.1, 0.1],
        "mineral": ["m"] * 4, "material": ["a", "a", "a", "b"], "year": [2030, 2030, 2035, 2030],
        "required_t": [100.0, 100.0, 100.0, 1000.0], "short_t": [50.0, 10.0, 30.0, 200.0],
    })  # fmt: skip
    plan = Plan(**{**vars(weighed), "tables": {**weighed.tables, "outcome_shortage": short}})
    found = worst_shortages(plan)[["outcome", "material", "year", "share"]].to_numpy().tolist()
    assert found == [["drought", "a", 2035, 0.3], ["drought", "b", 2030, 0.2], ["china_stop", "a", 2030, 0.5]]
