"""The report in a real Chromium without a network: no error, tables that sort, CSV, print, phone, dark.

Skipped with a message where no Chromium is installed (`apt-get install chromium`; .ci/run does that where it can).
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from analyses import write_analyses
from playwright.sync_api import Browser, Page, Route, sync_playwright
from test_report import NASTY, SECTIONS, Reader

from models.case import load_case
from models.changes import Request
from optimizer.report import report
from optimizer.run import optimize

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
PAPER = 703  # px of an A4 page (210 mm) less 12 mm on each side, at 96 px an inch


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three runs, one that weighs disruptions, and every analysis, with names that would do harm if they were not text."""
    folder = tmp_path_factory.mktemp("browser")
    shutil.copytree(Path(__file__).parents[1] / "data/small", folder / "case")
    table = folder / "case/tables/suppliers.csv"
    text = table.read_text(encoding="utf-8").replace("Chilean brine", '"' + NASTY.replace('"', '""') + '"')
    table.write_text(text.replace("Chinese refinery", "=HYPERLINK(1)"), encoding="utf-8")
    case = load_case(folder / "case")
    optimize(case, out=folder / "base")
    optimize(case, Request(rules=[{"name": "hhi", "kind": "hhi", "max": 0.35}]), out=folder / "tighter")
    weighs = {"demand[material=lithium_chemicals].shortage_usd_per_t": 60000, "risk.weight": 0.5}
    optimize(case, weighs, out=folder / "weighed")
    folders = [folder / "base", folder / "tighter", folder / "weighed"]
    return report([*folders, *write_analyses(folder)], folder / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


DRAWN = "[...document.querySelectorAll('figure.chart')].every(figure => figure.dataset.drawn === 'yes')"


def until(page: Page, script: str) -> None:
    """Wait for a script to be true (the page's own policy forbids what Playwright's waiting evaluates)."""
    for _ in range(200):
        if page.evaluate(script):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {script}")


class Opened:
    """A report open in a window, with everything that went wrong on the way."""

    def __init__(self, browser: Browser, path: Path, width: int, **how: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **how)
        self.wrong: list[str] = []
        self.page: Page = self.context.new_page()
        self.context.route("**/*", self._only_the_file)
        self.page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.goto(path.as_uri())

    def _only_the_file(self, route: Route) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            self.wrong.append(f"asked the network for {route.request.url}")
            route.abort()

    def draw_all(self) -> None:
        """Come by every chart, as a reader does."""
        for figure in self.page.query_selector_all("figure.chart"):
            figure.scroll_into_view_if_needed()
        until(self.page, DRAWN)


@pytest.fixture(scope="module")
def wide(browser: Browser, path: Path) -> Iterator[Opened]:
    opened = Opened(browser, path, 1200, accept_downloads=True)
    opened.draw_all()
    yield opened
    opened.context.close()


def test_it_opens_without_network_and_without_an_error(wide: Opened) -> None:
    assert wide.wrong == []
    assert wide.page.evaluate("window.hacked") is None
    for name in [*SECTIONS, "weighed"]:
        assert wide.page.is_visible(f"section#{name} h2"), name


def test_every_chart_is_drawn(wide: Opened) -> None:
    for figure in wide.page.query_selector_all("figure.chart"):
        assert figure.query_selector(".plot svg.main-svg"), figure.get_attribute("data-chart")


def test_names_in_charts_are_text(wide: Opened) -> None:
    assert wide.page.evaluate("document.querySelectorAll('.plot img, .plot script').length") == 0
    assert "=HYPERLINK(1)" in wide.page.inner_text("figure[data-chart=ranges] .plot")


def column(page: Page, table: str, at: int) -> list[str]:
    script = """([name, at]) => [...document.querySelectorAll(`[data-name="${name}"] tbody tr`)].filter(r => !r.hidden)
        .map(r => r.cells[at].dataset.v ?? r.cells[at].textContent.trim())"""
    found: list[str] = page.evaluate(script, [table, at])
    return found


@pytest.mark.parametrize(("table", "at"), [("allocation of base", 6), ("stress", 5), ("frontier", 1)])
def test_tables_sort_by_number(wide: Opened, table: str, at: int) -> None:
    button = f'[data-name="{table}"] th:nth-child({at + 1}) button'
    before = column(wide.page, table, at)
    wide.page.click(button)
    up = column(wide.page, table, at)
    wide.page.click(button)
    down = column(wide.page, table, at)
    given = sorted((float(value) for value in before if value), reverse=True)
    assert [float(value) for value in up if value] == given[::-1]
    assert [float(value) for value in down if value] == given
    assert up[len(given) :] == down[len(given) :] == [""] * (len(before) - len(given))  # blanks stay last
    assert wide.page.get_attribute(f'[data-name="{table}"] th:nth-child({at + 1})', "aria-sort") == "descending"


def test_tables_sort_by_word_and_are_searched(wide: Opened) -> None:
    wide.page.click('[data-name="proof"] th:nth-child(2) button')
    words = column(wide.page, "proof", 1)
    assert words == sorted(words, key=str.lower)
    wide.page.fill('[data-name="proof"] .find', "certificate")
    assert set(column(wide.page, "proof", 1)) == {
        "certificate: primal_residual", "certificate: dual_residual", "certificate: duality_gap"
    }  # fmt: skip
    wide.page.fill('[data-name="proof"] .find', "")
    assert len(column(wide.page, "proof", 1)) == len(words)


def test_the_csv_of_every_table_is_the_table(wide: Opened) -> None:
    page = wide.page
    names = [box.get_attribute("data-name") or "" for box in page.query_selector_all(".table")]
    for number, name in enumerate(names):
        if number % 8 == 0:
            page.reload()  # Chromium gives ten downloads of one page, then asks
        with page.expect_download() as waiting:
            page.click(f'[data-name="{name}"] .csv')
        text = Path(waiting.value.path()).read_text(encoding="utf-8-sig")
        head, *rows = csv.reader(io.StringIO(text))
        assert head == [cell.inner_text().strip() for cell in page.query_selector_all(f'[data-name="{name}"] th')], name
        columns = [column(page, name, at) for at in range(len(head))]
        assert len(rows) == len(columns[0]), name
        for at, cells in enumerate(columns):
            for row, cell in zip(rows, cells, strict=True):
                quoted = cell[:1] in ("=", "@", "+") or (cell[:1] == "-" and not cell[1:2].isdigit())
                assert " ".join(row[at].split()) == " ".join((f"'{cell}" if quoted else cell).split()), (name, head[at])
        assert not any(cell.startswith(("=", "@", "+")) for row in rows for cell in row), name
        if name == "allocation of base":
            assert {NASTY, "'=HYPERLINK(1)"} <= {row[3] for row in rows}


def test_choices_change_chart_caption_and_table(wide: Opened) -> None:
    page, figure = wide.page, "figure[data-chart=flows]"
    page.select_option(f"{figure} select[data-at='2']", "today")
    assert set(column(page, "flows", 2)) == {"today"}
    assert "China (CHN), 80%" in page.inner_text(f"{figure} .caption")
    page.select_option(f"{figure} select[data-at='2']", "tighter")
    assert set(column(page, "flows", 2)) == {"tighter"}
    page.select_option(f"{figure} select[data-at='2']", "base")
    assert page.inner_text('[data-name="flows"] .count') == "5 rows"


def test_on_a_phone_nothing_goes_sideways(browser: Browser, path: Path) -> None:
    opened = Opened(browser, path, 375, is_mobile=True, has_touch=True, device_scale_factor=2)
    opened.draw_all()
    assert opened.wrong == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 375
    outside = opened.page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, .maths, svg'))
            .filter(e => e.getBoundingClientRect().right > 376 && e.getBoundingClientRect().width > 0)
            .map(e => e.tagName + '.' + e.className)"""
    )
    assert outside == []
    assert (
        opened.page.evaluate(
            "Math.max(...[...document.querySelectorAll('.plot svg')].map(s => s.getBoundingClientRect().right))"
        )
        <= 376
    )
    opened.context.close()


def test_dark_is_dark_and_can_be_read(browser: Browser, path: Path) -> None:
    opened = Opened(browser, path, 1200, color_scheme="dark")
    opened.draw_all()
    assert opened.wrong == []
    light = """(selector) => { const e = document.querySelector(selector), s = getComputedStyle(e);
        const rgb = (selector === 'body' ? s.backgroundColor : s.fill).match(/[\\d.]+/g).map(Number);
        return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] }"""
    assert opened.page.evaluate(light, "body") < 60
    assert opened.page.evaluate(light, ".plot .xtick text") > 160
    opened.page.emulate_media(color_scheme="light")
    until(opened.page, "getComputedStyle(document.querySelector('.plot .xtick text')).fill === 'rgb(27, 36, 48)'")
    assert opened.page.evaluate(light, "body") > 240
    opened.context.close()


def test_on_paper_nothing_is_cut_off(browser: Browser, path: Path) -> None:
    opened = Opened(browser, path, PAPER)
    opened.page.emulate_media(media="print")
    until(opened.page, DRAWN)
    found = opened.page.evaluate(
        """() => ({
            beyond: [...document.querySelectorAll('main *, header *')].filter(e => e.getBoundingClientRect().width > 0)
                .filter(e => !e.closest('svg') || e.classList.contains('main-svg'))
                .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className),
            clipped: [...document.querySelectorAll('.scroll')].filter(e => e.scrollHeight > e.clientHeight + 1
                || getComputedStyle(e).maxHeight !== 'none').length,
            tallest: Math.max(...[...document.querySelectorAll('.plot')].map(e => e.getBoundingClientRect().height)),
            tools: [...document.querySelectorAll('.csv, .find, nav')].filter(e => e.offsetParent !== null).length,
        })"""
    )
    assert found["beyond"] == []
    assert found["clipped"] == 0 and found["tools"] == 0
    assert found["tallest"] <= 1030  # an A4 page less its margins
    assert len(opened.page.pdf(format="A4", print_background=True)) > 20_000
    assert opened.wrong == []
    opened.context.close()


def test_what_the_browser_shows_is_what_the_file_says(wide: Opened, path: Path) -> None:
    reader = Reader(path.read_text(encoding="utf-8"))
    shown = [[cell.inner_text().strip() for cell in row.query_selector_all("td")]
             for row in wide.page.query_selector_all('[data-name="costs by year"] tbody tr')]  # fmt: skip
    assert shown == reader.tables["costs by year"][1:]
