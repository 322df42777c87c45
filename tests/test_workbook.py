"""Cases from a workbook: nothing is lost on the way there and back, and problems are named by sheet and cell."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xlsxwriter
from conftest import Outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from models.case import load_case, read_case
from models.problems import CaseError
from models.sheets import column_letters, column_number
from models.tables import TABLES, columns
from optimizer import workbook
from optimizer.workbook import CaseTexts, read_texts, write_folder, write_workbook

TOML = """name = "t"  # a comment stays
[horizon]
years = [2030]
[market]
home = "USA"
"""
SMALL: dict[str, list[list[Any]]] = {
    "materials": [["material", "mineral", "stage"], ["ore", "lithium", "extraction"]],
    "suppliers": [
        ["supplier", "country", "channel", "material", "capacity_t", "cost_usd_per_t"],
        ["mine", "USA", "domestic", "ore", 100, 10.5],
    ],
    "demand": [["material", "year", "required_t"], ["ore", 2030, 40]],
}


def make(path: Path, sheets: dict[str, list[list[Any]]], toml: str | None = TOML) -> Path:
    """A workbook written cell by cell with plain values, as a person would have it."""
    with xlsxwriter.Workbook(path, {"strings_to_formulas": False}) as book:
        if toml is not None:
            book.add_worksheet("case").write_column(0, 0, toml.splitlines())
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for place, row in enumerate(rows):
                for at, cell in enumerate(row):
                    if callable(cell):
                        cell(sheet, place, at)
                    elif cell is not None:
                        sheet.write(place, at, cell)
    return path


def changed(table: str, row: int, column: str, cell: Any) -> dict[str, list[list[Any]]]:
    sheets = {name: [list(line) for line in lines] for name, lines in SMALL.items()}
    sheets[table][row - 1][sheets[table][0].index(column)] = cell
    return sheets


def cells_of(folder: Path) -> dict[str, list[dict[str, str | float]]]:
    """Every cell of a case folder that is not blank; numbers as numbers."""
    found = {}
    for path in sorted((folder / "tables").glob("*.csv")):
        known = columns(path.stem)
        with path.open(encoding="utf-8-sig", newline="") as file:
            found[path.stem] = [
                {
                    name: float(cell) if known[name].kind in ("number", "year") else cell.strip()
                    for name, cell in row.items()
                    if cell.strip()
                }
                for row in csv.DictReader(file)
            ]
    return found


@pytest.mark.parametrize("name", ["small", "us"])
def test_a_bundled_case_comes_back_from_a_workbook_cell_by_cell(name: str, tmp_path: Path) -> None:
    data = Path(__file__).parents[1] / "data" / name
    write_workbook(read_texts(name), tmp_path / "book.xlsx")
    write_folder(read_texts(tmp_path / "book.xlsx"), tmp_path / "back")
    assert cells_of(tmp_path / "back") == cells_of(data)
    assert (tmp_path / "back/case.toml").read_text(encoding="utf-8") == (data / "case.toml").read_text(encoding="utf-8")
    assert load_case(tmp_path / "book.xlsx").fingerprint == load_case(name).fingerprint


# Any text that a CSV cell can hold; \r alone becomes \n in every reader, noncharacters are not XML.
TEXTS = st.text(st.characters(exclude_characters="\0\r\ufffe\uffff", exclude_categories=["Cs"]), max_size=30)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e11, max_value=1e11)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=TEXTS,
    note=TEXTS,
    cost=NUMBERS,
    capacity=NUMBERS.map(abs),
    identifier=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,9}", fullmatch=True),
)
def test_any_text_and_number_comes_back_to_the_last_digit(
    tmp_path: Path, name: str, note: str, cost: float, capacity: float, identifier: str
) -> None:
    identifier = identifier.replace("..", "_") if identifier != "home" else "mine"
    header = ["supplier", "name", "country", "channel", "material", "capacity_t", "cost_usd_per_t", "note"]
    record = [identifier, name, "USA", "domestic", "ore", repr(capacity), repr(cost), note]
    texts = CaseTexts(
        TOML,
        {
            "materials": [["material", "mineral", "stage"], ["ore", "lithium", "extraction"]],
            "suppliers": [header, record],
            "demand": [["material", "year", "required_t"], ["ore", "2030", "0"]],
        },
    )
    book = tmp_path / "any.xlsx"
    write_workbook(texts, book)
    case, _ = read_case(book)
    assert case is not None
    row = case.tables["suppliers"].iloc[0]
    assert (row["capacity_t"], row["cost_usd_per_t"]) == (capacity, cost)
    assert (row["supplier"], row["name"], row["note"]) == (identifier, name.strip(), note.strip())
    assert read_texts(book).toml == TOML


def test_every_table_has_a_sheet_with_its_columns_lists_and_comments(
    tmp_path: Path, oremix: Callable[..., Outcome]
) -> None:
    assert oremix("new", "mine", "--excel").code == 0
    book = CalamineWorkbook.from_path("mine/case.xlsx")
    assert book.sheet_names == ["about", "case", *TABLES, "lists"]
    for table in TABLES:
        assert book.get_sheet_by_name(table).to_python()[0] == list(columns(table))
    import zipfile

    with zipfile.ZipFile("mine/case.xlsx") as package:
        sheet = package.read(f"xl/worksheets/sheet{3 + list(TABLES).index('suppliers')}.xml").decode()
        comments = package.read(f"xl/comments{1 + list(TABLES).index('suppliers')}.xml").decode()
    listed = re.findall(r"<dataValidation [^>]*>.*?</dataValidation>", sheet)
    assert any('"domestic,allied,recycling,incumbent"' in one.replace("&quot;", '"') for one in listed)
    assert any("lists!$A$2" in one for one in listed) and any("materials!$A$2" in one for one in listed)
    for column in columns("suppliers").values():
        assert column.meaning[1:] in comments.replace("&gt;", ">"), column.name
    assert comments.count("Unit: t per year") >= 3


def test_a_workbook_is_checked_and_solved_like_its_folder(oremix: Callable[..., Outcome]) -> None:
    assert oremix("new", "mine.xlsx").code == 0
    assert oremix("check", "mine.xlsx").code == 0
    plan = oremix("optimize", "mine.xlsx", "--out", "run", "--json").document
    assert plan["objective_usd"] == pytest.approx(13_100_000, rel=1e-9)
    assert oremix("optimize", "run/case", "--json").document["objective_usd"] == plan["objective_usd"]


def test_a_folder_with_a_workbook_alone_stands_for_it(oremix: Callable[..., Outcome]) -> None:
    assert oremix("new", "mine", "--excel").code == 0
    assert oremix("check", "mine").code == 0
    assert oremix("new", "folder", "--from", "mine").code == 0
    assert load_case("folder").fingerprint == load_case("small").fingerprint
    Path("mine/case.xlsx").rename("folder/case.xlsx")
    both = oremix("check", "folder")
    assert both.code == 0 and "case.xlsx lies beside case.toml and was not read" in both.err


def test_nothing_that_is_there_is_overwritten(oremix: Callable[..., Outcome]) -> None:
    Path("mine.xlsx").write_text("precious", encoding="utf-8")
    told = oremix("new", "mine.xlsx")
    assert told.code == 2 and "is there already" in told.err
    assert Path("mine.xlsx").read_text(encoding="utf-8") == "precious"
    assert oremix("new", "x", "--from", "nowhere").code == 2
    assert [path.name for path in Path().iterdir()] == ["mine.xlsx"]


# --- problems ------------------------------------------------------------------------------------------------------


def problems_of(path: Path) -> list[str]:
    _, problems = read_case(path)
    return [str(problem) for problem in problems.found]


def error(sheet: Any, row: int, at: int) -> None:
    sheet.write_formula(row, at, "=1/0", None, "#DIV/0!")


@pytest.mark.parametrize(
    ("table", "row", "column", "cell", "told"),
    [
        ("suppliers", 2, "capacity_t", "lots", "book.xlsx:suppliers!E2:capacity_t: 'lots': must be a number"),
        ("suppliers", 2, "capacity_t", None, "book.xlsx:suppliers!E2:capacity_t: a value is needed"),
        ("suppliers", 2, "capacity_t", error, "book.xlsx:suppliers!E2:capacity_t: the cell holds an error, #DIV/0!"),
        ("suppliers", 2, "country", "US", "book.xlsx:suppliers!B2:country: 'US': must be an ISO 3166-1"),
        ("suppliers", 2, "material", "oar", "book.xlsx:suppliers!D2:material: 'oar': not in sheet materials"),
        ("suppliers", 1, "capacity_t", "capacity", "book.xlsx:suppliers!E1:capacity: unknown column; did you mean 'capacity_t'?"),
        ("demand", 2, "year", 2030.5, "book.xlsx:demand!B2:year: '2030.5': must be a whole year"),
        ("demand", 2, "required_t", True, "book.xlsx:demand!C2:required_t: 'TRUE': must be a number"),
    ],
)  # fmt: skip
def test_each_problem_names_sheet_and_cell(
    tmp_path: Path, table: str, row: int, column: str, cell: Any, told: str
) -> None:
    listed = problems_of(make(tmp_path / "book.xlsx", changed(table, row, column, cell)))
    assert any(line.startswith(told) for line in listed), listed


def test_an_error_in_a_cell_that_may_be_blank_is_not_taken_for_the_default(tmp_path: Path) -> None:
    sheets = changed("suppliers", 2, "capacity_t", 100)
    sheets["suppliers"][0].append("recovery")
    sheets["suppliers"][1].append(error)
    listed = problems_of(make(tmp_path / "book.xlsx", sheets))
    assert listed == ["book.xlsx:suppliers!G2:recovery: the cell holds an error, #DIV/0!"]


def test_all_problems_come_at_once_and_rules_name_the_sheet_case(tmp_path: Path) -> None:
    sheets = changed("suppliers", 2, "capacity_t", "lots")
    sheets["supplier"] = [["supplier"], ["x"]]
    del sheets["demand"]
    toml = TOML + '[[rules]]\nname = "r"\nkind = "ban"\nwhere = { country = "CHN" }\nmaxx = 3\n'
    listed = problems_of(make(tmp_path / "book.xlsx", sheets, toml))
    assert any(line.startswith("book.xlsx:suppliers!E2") for line in listed)
    assert any(line.startswith("book.xlsx:supplier: unknown table; did you mean 'suppliers'?") for line in listed)
    assert any(line.startswith("book.xlsx:demand: this sheet is missing") for line in listed)
    assert any(line.startswith("book.xlsx:case:rules.r.maxx: unknown key") for line in listed)


def test_a_line_that_is_not_toml_is_named_by_its_cell(tmp_path: Path) -> None:
    listed = problems_of(make(tmp_path / "book.xlsx", SMALL, TOML + "what is this\n"))
    assert any(line.startswith("book.xlsx:case!A6: not valid TOML") for line in listed), listed


def test_a_workbook_without_the_sheet_case_says_so(tmp_path: Path) -> None:
    listed = problems_of(make(tmp_path / "book.xlsx", SMALL, None))
    assert any("book.xlsx:case: this sheet is missing" in line for line in listed)


def test_sheets_for_people_are_not_read(tmp_path: Path) -> None:
    path = make(tmp_path / "book.xlsx", {**SMALL, "notes": [["anything"]], "_scratch": [[error]], "About": [["x"]]})
    assert problems_of(path) == []


def test_problems_found_after_a_change_name_the_sheet_too(tmp_path: Path, oremix: Callable[..., Outcome]) -> None:
    path = make(tmp_path / "book.xlsx", SMALL)
    told = oremix("optimize", path, "--set", "suppliers[supplier=mine].capacity_t*=-1", "--json")
    assert told.code == 2
    (found,) = told.document["errors"]
    assert (found["file"], found["cell"], found["row"]) == ("book.xlsx:suppliers", "E2", 2)


def test_a_formula_that_was_never_computed_is_told(tmp_path: Path) -> None:
    import zipfile

    path = make(
        tmp_path / "book.xlsx", changed("suppliers", 2, "capacity_t", lambda s, r, c: s.write_formula(r, c, "=99+1"))
    )
    bare = tmp_path / "bare.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bare, "w") as new:
        for part in old.namelist():
            new.writestr(part, old.read(part).replace(b"<f>99+1</f><v>0</v>", b"<f>99+1</f>"))
    assert any("suppliers!E2:capacity_t: a formula that was never computed" in line for line in problems_of(bare))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_workbook_is_one_clear_message(
    tmp_path: Path, content: bytes, oremix: Callable[..., Outcome]
) -> None:
    path = tmp_path / "book.xlsx"
    path.write_bytes(content)
    told = oremix("check", path)
    assert told.code == 2 and "not a workbook that can be read" in told.err


def test_without_calamine_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "book.xlsx", SMALL)
    monkeypatch.setitem(__import__("sys").modules, "python_calamine", None)
    with pytest.raises(CaseError, match=r"pip install 'oremix\[excel\]'"):
        read_case(path)


def test_a_text_too_long_for_a_cell_is_refused_not_dropped(tmp_path: Path) -> None:
    texts = read_texts("small")
    with pytest.raises(CaseError, match=r"case!A1: longer than a cell"):
        write_workbook(CaseTexts("#" * (workbook.LONGEST_CELL + 1), texts.tables), tmp_path / "x.xlsx")


@pytest.mark.parametrize(
    ("letters", "number"), [("A", 0), ("Z", 25), ("AA", 26), ("AZ", 51), ("ZZ", 701), ("XFD", 16383)]
)
def test_letters_of_columns(letters: str, number: int) -> None:
    assert column_letters(number) == letters
    assert column_number(letters) == number


def test_injection_strings_stay_text_in_the_template(tmp_path: Path) -> None:
    sheets = changed("suppliers", 2, "capacity_t", 100)
    sheets["suppliers"][0].append("name")
    sheets["suppliers"][1].append(lambda s, r, c: s.write_string(r, c, "=cmd|' /C calc'!A0"))
    write_workbook(read_texts(make(tmp_path / "book.xlsx", sheets)), tmp_path / "out.xlsx")
    import zipfile

    with zipfile.ZipFile(tmp_path / "out.xlsx") as package:
        parts = [
            package.read(name).decode()
            for name in package.namelist()
            if "worksheets/sheet" in name and "rels" not in name
        ]
    assert not any("<f>" in part for part in parts)
    case, _ = read_case(tmp_path / "out.xlsx")
    assert case is not None
    assert isinstance(case.tables["suppliers"], pd.DataFrame)
    assert case.tables["suppliers"]["name"].tolist() == ["=cmd|' /C calc'!A0"]
