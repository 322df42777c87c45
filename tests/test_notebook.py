"""Plans in a notebook and in the terminal: the same numbers as charts, HTML and text."""

from __future__ import annotations

import io
import runpy
from pathlib import Path

import pytest
from analyses import FRONTIER, write_analyses
from rich.console import Console

from models.case import load_case
from models.changes import Request
from optimizer import summaries, terminal_charts, views
from optimizer.notebook import plans_html
from optimizer.plan import Plan
from optimizer.plans import Plans
from optimizer.run import optimize

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def plan() -> Plan:
    return optimize(load_case("small"))


@pytest.fixture(scope="module")
def tighter() -> Plan:
    return optimize(load_case("small"), {"rules.one_country.max": 0.3})


def test_the_mix_is_that_of_the_plan(plan: Plan) -> None:
    figure = plan.plot.mix()
    drawn = {(bar.customdata[0], bar.name): bar.x[0] for bar in figure.data}
    shares = plan.shares(by="channel")[2030].droplevel(["mineral", "material"])
    assert {channel: drawn["plan", channel] for channel in shares.index} == dict(shares)
    assert drawn["today", "incumbent"] == pytest.approx(0.8)


def test_the_bands_are_the_flows(plan: Plan) -> None:
    link = plan.plot.sankey("lithium", 2030).data[0].link
    assert sum(link.value) == pytest.approx(plan.tables["flows"]["t"].sum())
    today = plan.plot.sankey(who="today").data[0]
    assert "China, refining" in today.node.label and sum(today.link.value) == pytest.approx(1000 + 1000)


def test_the_curve_has_the_points_and_marks_the_plan(plan: Plan, tmp_path: Path) -> None:
    for of in (FRONTIER, write_analyses(tmp_path)[0], tmp_path / "small-frontier-20261121-120000/frontier.json"):
        curve, mark = plan.plot.frontier(of).data
        assert list(curve.x) == [0.2, 0.3, 0.4, 0.5] and curve.y[2] == 13_100_000
        assert (list(mark.x), list(mark.y)) == ([0.4], [plan.objective_usd])
    with pytest.raises(TypeError, match="not the document of a frontier"):
        plan.plot.frontier(3)


def test_plans_against_a_measure(plan: Plan, tighter: Plan) -> None:
    plots = Plans([plan, tighter], ["base", "tighter"]).plot
    points = {trace.name: (trace.x[0], trace.y[0]) for trace in plots.frontier(measure="hhi_country").data}
    # shares 0.4, 0.4, 0.2 and 0.3, 0.3, 0.4 (README, by hand)
    assert points["base"] == (pytest.approx(0.36), plan.objective_usd)
    assert points["tighter"] == (pytest.approx(0.34), tighter.objective_usd)
    assert points["today"][0] == pytest.approx(0.68)
    domestic = plots.frontier(measure="domestic", material="lithium_chemicals", year=2030).data
    assert {trace.name: trace.x[0] for trace in domestic}["tighter"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "wrong",
    [lambda p: p.mix(1999), lambda p: p.sankey("gold"), lambda p: p.sankey(who="nobody"), lambda p: p.frontier(measure="x"),
     lambda p: p.frontier(material="gold")],
)  # fmt: skip
def test_what_there_is_not_is_told(plan: Plan, wrong: object) -> None:
    with pytest.raises(ValueError, match=r"not a year|nothing of|is none of|one of"):
        wrong(plan.plot)  # type: ignore[operator]


def test_a_plan_shows_its_answer_as_html(plan: Plan) -> None:
    text = plan._repr_html_()
    assert "13.1 million USD in all" in text and "lithium_chemicals" in text and "<table" in text


def test_html_has_names_as_text(plan: Plan) -> None:
    nasty = Plan(**{**vars(plan), "title": "<img src=x onerror=alert(1)>"})
    assert "<img" not in nasty._repr_html_() and "&lt;img" in nasty._repr_html_()


def test_no_plan_says_why_as_html() -> None:
    none = optimize(
        load_case("small"),
        Request(rules=[{"name": "d", "kind": "share", "where": {"channel": "domestic"}, "min": 0.6}]),
    )
    text = none._repr_html_()
    assert "No plan can meet the rules" in text and "usa_refinery" in text
    with pytest.raises(ValueError, match="there is no plan to show: infeasible"):
        none.plot.mix()


def test_several_plans_draw_and_show_themselves(plan: Plan, tighter: Plan) -> None:
    plans = Plans([plan, tighter], ["base", "<b>"])
    assert {bar.customdata[0] for bar in plans.plot.mix().data} == {"today", "base", "&lt;b&gt;"}
    assert sum(plans.plot.sankey(who="<b>").data[0].link.value) == pytest.approx(tighter.tables["flows"]["t"].sum())
    text = plans._repr_html_()
    assert text == plans_html([plan, tighter], ["base", "<b>"])
    assert "+4.58%" in text and "13.7 million" in text and "&lt;b&gt;" in text


def test_plans_are_found_by_place_and_name_and_lie_side_by_side(plan: Plan, tighter: Plan) -> None:
    plans = Plans([plan, tighter, plan], ["base", "tighter", "base"])
    assert plans.names == ["base", "tighter", "base (2)"] and len(plans[:2]) == 2
    assert plans["tighter"] is plans[1] is tighter
    assert plans.costs["objective_usd"].tolist() == [plan.objective_usd, tighter.objective_usd, plan.objective_usd]
    shares = plans.shares(by="country").loc[("lithium", "lithium_chemicals", "USA")]
    assert shares["tighter", 2030] == pytest.approx(0.4) and shares["base", 2030] == pytest.approx(0.2)
    assert set(plans.table("flows")["plan"]) == set(plans.names)
    with pytest.raises(KeyError, match="the plans are base, tighter"):
        plans["nobody"]
    with pytest.raises(ValueError, match="2 plans and 1 names"):
        Plans([plan, plan], ["one"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path))
    assert "at most 30% from one country: 13,700,000 USD" in capsys.readouterr().out
    assert (tmp_path / "meeting.html").is_file() and (tmp_path / "plan.xlsx").is_file()


# --- terminal -------------------------------------------------------------------------------------------------------


def console(width: int, terminal: bool = True, encoding: str = "utf-8") -> tuple[Console, io.TextIOWrapper]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    return Console(file=stream, force_terminal=terminal, width=width, color_system=None, legacy_windows=False), stream


def text_of(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)  # type: ignore[attr-defined]  # a BytesIO


ROWS = [("nickel", -4e6), ("tin", -1e6), ("graphite", 2e6)]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_bars_are_as_long_as_their_numbers(width: int) -> None:
    screen, stream = console(width)
    terminal_charts.difference_bars(screen, "a against b", ROWS)
    lines = text_of(stream).splitlines()
    assert lines[1].strip() == "a against b" and all(len(line) <= width for line in lines)
    bars = {line.split()[0]: line.count("█") + line.count("▉") for line in lines[2:]}
    assert bars["nickel"] == max(bars.values()) >= 5
    assert bars["graphite"] == pytest.approx(bars["nickel"] / 2, abs=1) and bars["tin"] < bars["graphite"]
    assert lines[2].endswith("-4.00 million") and lines[4].endswith("+2.00 million")


@pytest.mark.parametrize(
    ("width", "terminal", "encoding"), [(80, False, "utf-8"), (80, True, "ascii"), (40, True, "utf-8")]
)
def test_nothing_is_drawn_into_a_pipe_or_where_it_cannot_be_seen(width: int, terminal: bool, encoding: str) -> None:
    screen, stream = console(width, terminal, encoding)
    terminal_charts.difference_bars(screen, "a against b", ROWS)
    assert text_of(stream) == ""


def test_the_answer_and_the_comparison_draw_what_moved() -> None:
    case, request = load_case("us"), {"minerals": ("tin", "nickel", "cobalt"), "years": (2030,)}
    base = optimize(case, Request(**request))
    dearer = {"suppliers[channel=incumbent].cost_usd_per_t*": 1.2}
    other = optimize(case, Request(**request, sets=dearer))
    screen, stream = console(100)
    views.answer(screen, base, None)
    text = text_of(stream)
    assert "More or less than today in 2030, USD a year" in text
    costs = summaries.costs(summaries.sides(base), "mineral").set_index("mineral")
    largest = (costs["plan"] - costs["today"]).abs().idxmax()
    drawn = text.split("USD a year\n")[-1]
    assert str(largest) in drawn
    screen, stream = console(100)
    views.comparison(screen, [base, other], ["a", "b"], None)
    assert "b against a in 2030, USD a year" in text_of(stream)
