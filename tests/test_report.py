"""The report as a file: every section, numbers of the run folder, names as text, nothing from the network."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from analyses import ALL, write_analyses
from conftest import Outcome

from models.case import load_case
from models.changes import Request
from models.problems import CaseError
from optimizer import charts, summaries
from optimizer.console import money
from optimizer.export import case_of
from optimizer.plan import Plan
from optimizer.report import _script_json, page, report
from optimizer.report_blocks import Chart, Column, capital, counted, listed, shown, table_of
from optimizer.report_inputs import Inputs, Run, read_inputs
from optimizer.run import optimize
from optimizer.run_folder import read_run

SECTIONS = ["answer", "mix", "allocation", "flows", "concentration", "costs", "limits", "years", "stress", "ranges",
            "frontier", "sensitivity", "proof", "inputs", "mathematics"]  # fmt: skip
LARGEST = 8e6  # bytes
NASTY = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2">'


class Reader(HTMLParser):
    """What a report shows: sections with their texts, tables with shown texts and values, addresses."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: dict[str, str] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.values: dict[str, list[list[str]]] = {}
        self.addresses: list[str] = []
        self.scripts = 0
        self.loads: list[str] = []
        self._section = self._table = ""
        self._cell: list[str] | None = None
        self._value: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self._section = given["id"] or ""
            self.sections[self._section] = ""
        if tag == "div" and given.get("class") == "table":
            self._table = given["data-name"] or ""
            assert self._table not in self.tables, "two tables of one name"
            self.tables[self._table], self.values[self._table] = [], []
        if tag == "tr" and self._table:
            self.tables[self._table].append([])
            self.values[self._table].append([])
        if tag in ("td", "th") and self._table:
            self._cell, self._value = [], given.get("data-v")
        if tag == "a":
            self.addresses.append(given.get("href") or "")
        self.scripts += tag == "script"
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset", "data", "action")]

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None and self._table:
            text = "".join(self._cell).strip()
            self.tables[self._table][-1].append(text)
            self.values[self._table][-1].append(text if self._value is None else self._value)
            self._cell = None
        if tag == "table":
            self._table = ""
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._section:
            self.sections[self._section] += data
        if self._cell is not None:
            self._cell.append(data)


def frame(reader: Reader, name: str) -> pd.DataFrame:
    """A table of the report by its headers, with the values that sorting and CSV use."""
    head, *rows = reader.values[name]
    return pd.DataFrame(rows, columns=head)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    optimize(load_case("small"), out=folder / "base")
    tighter = Request(rules=[{"name": "hhi", "kind": "hhi", "max": 0.35}])
    optimize(load_case("small"), tighter, out=folder / "tighter")
    return folder / "base", folder / "tighter"


@pytest.fixture(scope="module")
def single(runs: tuple[Path, Path]) -> Reader:
    return Reader(report([runs[0]]).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def compared(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp("compared")
    return Reader(report([*runs, *write_analyses(folder)], folder / "out.html").read_text(encoding="utf-8"))


def test_every_section_is_there_and_opens_with_a_sentence(single: Reader, compared: Reader) -> None:
    for reader in (single, compared):
        assert list(reader.sections) == SECTIONS
        for name, text in reader.sections.items():
            said = text.strip().splitlines()
            assert len(said) > 1 and said[1].strip().endswith("."), name


def test_what_was_not_examined_is_said(single: Reader, compared: Reader) -> None:
    for name, command in (("ranges", "oremix alternatives"), ("frontier", "oremix frontier")):
        assert f"Not examined here: {command}" in single.sections[name]
        assert "Not examined here" not in compared.sections[name]
    assert "In 2030, lithium_chemicals stands the loss of its largest source worst" in single.sections["stress"]


def test_the_numbers_are_those_of_the_run_folder(runs: tuple[Path, Path], single: Reader) -> None:
    plan = read_run(runs[0])
    assert plan.objective_usd is not None and plan.status_quo is not None
    costs = frame(single, "costs by year")
    assert [float(v) for v in costs["cost (USD a year)"]] == [plan.cost_usd_per_y[2030], plan.objective_usd]
    assert float(costs["today (USD a year)"].iloc[-1]) == plan.status_quo["objective_usd"]
    assert f"{money(plan.objective_usd)} USD in all" in single.sections["answer"]
    mix = frame(single, "mix by channel")
    shares = plan.tables["shares"]
    shares = shares[(shares["by"] == "channel") & (shares["stage"] == "delivered")].set_index("member")["share"]
    mine = mix[mix["mix"] == "plan"].iloc[0]
    for channel in summaries.CHANNELS:
        assert float(mine[channel]) == shares.get(channel, 0.0)
    risk = plan.tables["risk"].set_index("stage").loc["delivered"]
    row = frame(single, "concentration").set_index("stage").loc["delivered"]
    assert float(row["HHI, plan"]) == risk["hhi_country"]
    assert float(row["its share, plan"]) == risk["largest_share"]
    assert float(row["limit on one country, plan"]) == 0.4
    built = frame(single, "cost build-up")
    family = plan.tables["costs"].set_index("cost")["usd_per_y"]
    assert {c: float(v) for c, v in zip(built["cost"], built["plan (USD a year)"], strict=True)} == dict(family)
    made = frame(single, "allocation").set_index("supplier")
    produced = plan.tables["suppliers"].set_index("name")["produced_t"]
    for name, value in made["plan 2030 (t a year)"].items():
        assert float(value) == produced[name]
    flows = frame(single, "flows")
    assert flows[flows["mix"] == "plan"]["t a year"].astype(float).sum() == pytest.approx(
        plan.tables["flows"]["t"].sum()
    )


def test_what_a_rule_costs_is_the_price_by_hand(single: Reader) -> None:
    # README: one percentage point more from Chile in place of China saves 10 t x (15,000 - 13,000) = 20,000 USD.
    row = frame(single, "cost of each rule").iloc[0]
    assert (row["rule"], float(row["saved per unit looser (USD, present value)"])) == (
        "one_country",
        pytest.approx(20_000),
    )
    assert "one percentage point looser saves 20,000 USD a year" in single.sections["limits"]


def test_runs_are_compared_with_the_first(runs: tuple[Path, Path], compared: Reader) -> None:
    first, second = (read_run(run) for run in runs)
    assert first.objective_usd is not None and second.objective_usd is not None
    text = compared.sections["answer"]
    assert f"tighter: {money(second.objective_usd)} USD in all" in text
    assert f"{money(second.objective_usd - first.objective_usd)} more" in text and "than base" in text
    assert set(frame(compared, "mix by channel")["mix"]) == {"today", "base", "tighter"}
    hhi = frame(compared, "concentration")
    own = hhi[(hhi["mix"] == "tighter") & (hhi["stage"] == "delivered")].iloc[0]
    assert float(own["limit on HHI"]) == 0.35 and float(own["HHI"]) <= 0.35 * (1 + 1e-6)
    assert {"allocation of base", "allocation of tighter"} <= set(compared.tables)


def test_the_analyses_are_shown_with_their_numbers(compared: Reader) -> None:
    losses = frame(compared, "stress")
    assert losses["still served"].astype(float).tolist() == [row["served"] for row in ALL["stress"]["losses"]]
    assert losses["cost, plan kept (USD a year)"].iloc[0] == ""  # unpriced demand is missed
    assert "The worst loss is China (CHN) for 12 months: 62% of lithium_chemicals" in compared.sections["stress"]
    ranges = frame(compared, "ranges")
    assert ranges["most (t a year)"].astype(float).tolist() == [row["most_t"] for row in ALL["alternatives"]["ranges"]]
    assert "needs chl_brine; none can use =HYPERLINK(1)" in compared.sections["ranges"]
    curve = frame(compared, "frontier")
    assert curve["breakpoint"].tolist() == ["", "yes", "yes", ""]
    assert "from 50% to 20% costs 2.10 million USD more" in compared.sections["frontier"]
    assert "Below 20% no plan exists" in compared.sections["frontier"]
    assert "one percentage point costs 130,000 USD" in compared.sections["frontier"]
    tornado = frame(compared, "tornado")
    assert float(tornado["swing (USD)"].iloc[0]) == 6_000_000
    assert "1 of them have no plan" in compared.sections["sensitivity"]
    assert "1 of 1 prices of limits were confirmed" in compared.sections["sensitivity"]


def test_more_keys_of_a_frontier_are_shown(tmp_path: Path) -> None:
    more = {
        **ALL["frontier"],
        "unit": "share",
        "exact": False,
        "tolerance": 1e-4,
        "why": "the rule is an HHI.",
        "stops_mattering": 0.45,
    }
    more["points"] = [{**point, "enters": [], "leaves": [{"supplier": "usa_refinery"}]} for point in more["points"]]
    (tmp_path / "f").mkdir()
    (tmp_path / "f/frontier.json").write_text(json.dumps(more), encoding="utf-8")
    reader = Reader(report([tmp_path / "f"], tmp_path / "f.html").read_text(encoding="utf-8"))
    assert "Beyond 45% the limit no longer matters" in reader.sections["frontier"]
    assert "traced to 1e-04 of cost: the rule is an HHI." in reader.sections["frontier"]
    assert frame(reader, "frontier")["drops out beyond"].tolist() == ["usa_refinery"] * 4


def test_analyses_alone_make_a_report(tmp_path: Path) -> None:
    reader = Reader(report(write_analyses(tmp_path), tmp_path / "a.html").read_text(encoding="utf-8"))
    assert list(reader.sections) == ["stress", "ranges", "frontier", "sensitivity", "mathematics"]


def test_nothing_comes_from_the_network(single: Reader, runs: tuple[Path, Path]) -> None:
    assert single.loads == [] and single.scripts == 3
    assert all(address.startswith("#") for address in single.addresses)
    text = (runs[0] / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text and "connect-src 'none'" in text
    assert not re.search(r"<link\b", text) and "@import" not in text.split("<script")[0]


def test_a_source_is_linked_only_where_it_is_an_address(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[1] / "data/small", tmp_path / "case")
    (tmp_path / "case/tables/sources.csv").write_text(
        "id,citation,url\ngood,A report,https://example.org/a?b=1&c=2\nbad,Another,javascript:alert(1)\n",
        encoding="utf-8",
    )
    optimize(load_case(tmp_path / "case"), out=tmp_path / "run")
    reader = Reader(report([tmp_path / "run"]).read_text(encoding="utf-8"))
    outside = [address for address in reader.addresses if not address.startswith("#")]
    assert outside == ["https://example.org/a?b=1&c=2"]
    assert reader.tables["sources"][2][:3] == ["bad", "Another", "javascript:alert(1)"]


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[1] / "data/small", tmp_path / "case")
    table = tmp_path / "case/tables/suppliers.csv"
    table.write_text(
        table.read_text(encoding="utf-8").replace("Chilean brine", f'"{NASTY.replace(chr(34), chr(34) * 2)}"'),
        encoding="utf-8",
    )
    toml = tmp_path / "case/case.toml"
    toml.write_text(
        toml.read_text(encoding="utf-8").replace("Five suppliers", f"{NASTY}".replace('"', '\\"')), encoding="utf-8"
    )
    optimize(load_case(tmp_path / "case"), out=tmp_path / "run")
    text = report([tmp_path / "run"]).read_text(encoding="utf-8")
    reader = Reader(text)
    assert reader.scripts == 3 and reader.loads == []
    assert "<script>window.hacked" not in text and "<img" not in text.split("plotly.js v")[0]
    assert any(NASTY in row for row in reader.tables["allocation"])
    assert (
        html.escape(NASTY, quote=False).split("&")[1][:3] == "lt;" and 'onerror="' not in text.split("plotly.js v")[0]
    )


def test_script_data_cannot_end_the_script() -> None:
    text = str(_script_json({"a": "</script><!--\u2028", "b": float("nan")}))
    assert "<" not in text and json.loads(text) == {"a": "</script><!--\u2028", "b": None}


def test_chart_labels_show_html_as_it_is_written() -> None:
    assert charts.label("<b>x</b> & y\n") == "&lt;b&gt;x&lt;/b&gt; &amp; y"


def test_every_figure_is_one_that_plotly_takes(runs: tuple[Path, Path], tmp_path: Path) -> None:
    from optimizer.report import sections

    inputs = read_inputs([*runs, *write_analyses(tmp_path)])
    found = [block for section in sections(inputs) for block in section.blocks if isinstance(block, Chart)]
    assert len(found) >= 12
    for chart in found:
        assert chart.figures, chart.name
        for figure in chart.figures.values():
            go.Figure(figure)  # raises for a property that there is not
        keys = [name for name, _ in chart.choices]
        first = "|".join(chart.chosen)
        assert first in chart.figures and len(chart.chosen) == len(keys)
        for label, options in chart.choices:
            assert len(set(options)) == len(options) > 0, label


def section_of(case: str, folder: Path) -> tuple[Plan, Reader]:
    """The report of one of the hand cases."""
    plan = optimize(load_case(Path(__file__).parent / "cases" / case), out=folder / case)
    assert plan.ok
    return plan, Reader(page(read_inputs([folder / case])))


def test_expansion_is_shown_with_when_and_what_it_costs(tmp_path: Path) -> None:
    plan, reader = section_of("expansion", tmp_path)
    table, decided = frame(reader, "expansion"), plan.tables["expansion"]
    assert table["capacity added (t a year)"].astype(float).tolist() == decided["t"].tolist()
    assert table["annuity (USD a year)"].astype(float).tolist() == decided["usd_per_y"].tolist()
    assert len(frame(reader, "projects")) == len(plan.tables["projects"])
    used = frame(reader, "capacity")
    assert used["added (t a year)"].astype(float).sum() == pytest.approx(plan.tables["capacity"]["expansion_t"].sum())
    assert "add" in reader.sections["years"] and "capital costs" in reader.sections["years"]


def test_stock_is_shown_year_by_year(tmp_path: Path) -> None:
    plan, reader = section_of("stock_carried", tmp_path)
    table = frame(reader, "stock")
    assert table["at the end (t)"].astype(float).tolist() == plan.tables["stock"]["end_t"].tolist()
    assert "Stock is held of" in reader.sections["years"]


def test_what_the_public_pays_stands_apart(tmp_path: Path) -> None:
    plan, reader = section_of("public_cost", tmp_path)
    table = frame(reader, "what the public pays")
    assert table["plan (USD a year)"].astype(float).sum() == pytest.approx(sum(plan.public_usd_per_y.values()))
    last = plan.years[-1]
    assert f"the public pays {money(plan.public_usd_per_y[last])} USD" in reader.sections["costs"]


def test_substitution_is_shown(tmp_path: Path) -> None:
    plan, reader = section_of("substitution", tmp_path)
    assert frame(reader, "substitution")["done without (t a year)"].astype(float).sum() == pytest.approx(
        plan.tables["substitution"]["t"].sum()
    )
    assert "the plan does without" in reader.sections["years"]


def test_what_is_served_after_each_loss_is_shown(tmp_path: Path) -> None:
    plan, reader = section_of("survive_upstream", tmp_path)
    table = frame(reader, "survival")
    assert table["still served"].astype(float).tolist() == plan.tables["survival"]["served"].tolist()
    assert (
        "asks that 35% of metal be served after each loss; the closest is China (CHN) in 2030, with 35%"
        in reader.sections["stress"]
    )
    assert "Not examined here" not in reader.sections["stress"]


def test_a_plan_without_prices_says_why(tmp_path: Path) -> None:
    plan, reader = section_of("suppliers_max", tmp_path)
    assert "Limits have no price here" in reader.sections["limits"]
    assert "USD in all" in plan._repr_html_()  # the plan as it comes, with None for each price


def test_resilience_is_shown_where_a_run_has_it(runs: tuple[Path, Path]) -> None:
    plan = read_run(runs[0])
    plan.tables["resilience"] = pd.DataFrame({
        "mineral": ["lithium"], "material": ["lithium_chemicals"], "stage": ["delivered"], "year": [2030],
        "serve_largest": [0.6], "days_cover": [9.1], "expected_short_t": [12.5], "largest_point": ["CHL"],
    })  # fmt: skip
    reader = Reader(page(Inputs([Run("plan", plan, case_of(plan))], [])))
    assert "stands the loss of its largest source worst: 60%" in reader.sections["stress"]
    assert float(frame(reader, "resilience")["days of cover"].iloc[0]) == 9.1


def test_a_run_without_them_says_so(single: Reader) -> None:
    assert "No capacity is added" in single.sections["years"] and "No stock is held" in single.sections["years"]


@pytest.mark.parametrize("kind", ["today alone", "without today", "without rules", "with shortage", "with nothing"])
def test_runs_of_every_sort_make_a_report(kind: str, tmp_path: Path) -> None:
    case, request, quo = load_case("small"), Request(), kind == "today alone"
    if kind == "without rules":
        request = Request(no_rules=True)
    if kind == "without today":
        request = Request(
            sets={"suppliers[incumbent_t=800].incumbent_t": 0, "suppliers[incumbent_t=200].incumbent_t": 0}
        )
    if kind == "with shortage":
        request = Request(sets={"demand.shortage_usd_per_t": 10_000})
    if kind == "with nothing":  # all of it is short, and nothing flows
        request = Request(sets={"demand.shortage_usd_per_t": 5_000})
    plan = optimize(case, request, status_quo=quo, out=tmp_path / "run")
    assert plan.ok
    reader = Reader(report([tmp_path / "run"]).read_text(encoding="utf-8"))
    assert list(reader.sections) == SECTIONS
    if kind == "with shortage":
        assert "run short, worst lithium_chemicals" in reader.sections["answer"]
    if kind == "without rules":
        assert "No rule is in force" in reader.sections["limits"]
    if kind == "today alone":
        assert "Going on as today" in reader.sections["answer"]


def test_the_whole_bundled_case_is_small_enough_to_mail(tmp_path: Path) -> None:
    plan = optimize(load_case("us"), {"horizon.discount_rate": 0.05}, out=tmp_path / "us")
    path = report([tmp_path / "us"])
    assert path.stat().st_size < LARGEST
    reader = Reader(path.read_text(encoding="utf-8"))
    assert list(reader.sections) == SECTIONS
    assert len(reader.tables["sources"]) - 1 == len(case_of(plan).tables["sources"])
    assert "the optimum is proved by duality" in reader.sections["proof"].lower().replace("the optimum", "the optimum")


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_writes_beside_the_run_and_again(runs: tuple[Path, Path], oremix: Callable[..., Outcome]) -> None:
    run = shutil.copytree(runs[0], "run")
    assert oremix("report", run).out.splitlines() == ["run/report.html"]
    told = oremix("report", run, "--json").document  # a report of ours is replaced
    assert told["report"] == "run/report.html" and told["bytes"] == Path("run/report.html").stat().st_size


def test_a_file_that_is_no_report_is_left_alone(runs: tuple[Path, Path], oremix: Callable[..., Outcome]) -> None:
    Path("mine.html").write_text("<p>mine", encoding="utf-8")
    told = oremix("report", runs[0], "--out", "mine.html")
    assert told.code == 2 and "is no report of oremix" in told.err
    assert Path("mine.html").read_text(encoding="utf-8") == "<p>mine"
    assert oremix("report", runs[0], "--out", "mine.pdf").code == 2


def test_all_folders_that_will_not_do_are_named_at_once(
    runs: tuple[Path, Path], oremix: Callable[..., Outcome]
) -> None:
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/frontier.json").write_text("{", encoding="utf-8")
    told = oremix("report", runs[0], "empty", "broken", "nowhere")
    assert told.code == 2
    for word in (
        "3 problems",
        "empty: neither a run folder",
        "nowhere: neither",
        "broken: not the folder of an analysis",
    ):
        assert word in told.err, word
    assert not Path("report.html").exists()


def test_open_shows_it_in_the_browser(
    runs: tuple[Path, Path], oremix: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert oremix("report", runs[0], "--out", "r.html", "--open").code == 0
    assert opened == [Path("r.html").resolve().as_uri()]


def test_runs_that_share_no_year_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = shutil.copytree(runs[0], tmp_path / "other")
    document = json.loads((other / "plan.json").read_text(encoding="utf-8"))
    document |= {"years": [2040], "cost_usd_per_y": {"2040": 1.0}}
    (other / "plan.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(CaseError, match="share no year"):
        read_inputs([runs[0], other])


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("share", 0.1234, "12.3%"), ("usd", -1234.5, "\u22121,234"), ("usd", 0.5, "0.50"), ("t", 19.25, "19.2"),
        ("t", 123456.7, "123,457"), ("year", 2030.0, "2030"), ("hhi", 0.35, "0.350"), ("yes", True, "yes"),
        ("yes", False, ""), ("number", None, ""), ("t", float("nan"), ""), ("country", "CHL", "Chile (CHL)"),
        ("text", "a\nb\x07", "a b"),
    ],
)  # fmt: skip
def test_cells_are_shown_as_planners_read_them(kind: str, value: Any, text: str) -> None:
    assert shown(Column("x", kind), value)[0] == text


def test_a_very_long_table_is_cut_to_its_largest_rows_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.report_blocks.MOST_ROWS", 2)
    long = pd.DataFrame({"t": [1.0, 5.0, -7.0, 2.0]})
    table = table_of("x", long, {"t": Column("t", "t")}, keys=list("abcd"), largest="t")
    assert [row[0] for row in table.rows] == [5.0, -7.0] and table.keys == ["b", "c"]
    assert "2 largest of 4 rows" in table.note


def test_words() -> None:
    assert listed([]) == "none" and listed(["a"]) == "a" and listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdef"), 2) == "a, b and 4 more"
    assert counted(1, "rule") == "1 rule" and counted(2, "rule") == "2 rules"
    assert capital("abc") == "Abc" and capital("abc", "run: ") == "run: abc"
