"""Changes of a case: scenarios and presets, --set, flag rules, filters; each recorded old -> new.

Order (contract section 3): flags and --set over scenarios (left to right, a later one wins) over case.toml.
Only scenarios combined by ``use`` clash when two set the same cell.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from models.assumptions import fit_assumptions
from models.case import STEPPED, Case, Change
from models.change_text import cell_text, number, plain, row_names
from models.change_text import parse_set as parse_set  # kept where it was
from models.checks import check_case
from models.config import Scenario, check_rule, parse_settings
from models.filters import fit_rules, keep_minerals, keep_years
from models.presets import presets
from models.problems import Problem, Problems, nearest
from models.reading import checked_value
from models.rule_kinds import LIMIT_KEYS
from models.tables import TABLES, columns

_TABLE_KEY = re.compile(r"(?P<table>[a-z_]+)(\[(?P<where>[^\]]*)\])?\.(?P<column>[a-z_0-9]+)")
_SETTINGS = {
    "horizon": ("discount_rate", "price_base_year"),
    "network": ("lanes",),
    "solve": ("seconds", "gap", "threads"),
    "risk": ("weight", "tail", "joint", "samples", "seed"),
}


def _is_setting(key: str) -> bool:
    """Whether a key is of case.toml: SECTION.NAME, where a table of that name (risk) has no such column."""
    section, _, name = key.partition(".")
    return section in _SETTINGS and "[" not in key and not (section in TABLES and name in columns(section))


class Lever(Protocol):
    """A policy lever as the editor sees it: its text as asked for, and what it does to a case."""

    @property
    def text(self) -> str:
        """The lever as written, for the log and for messages."""

    def apply(self, editor: Editor) -> list[Any]:
        """Change the case through the editor; the cells that were changed."""


@dataclass
class Request:
    """What a run changes in a case, as the command line or Python asks for it.

    ``sets``: KEY -> value, or pairs of them in the order in which they apply; a KEY that ends in ``*`` multiplies,
    in ``+`` adds. ``rules``: raw rules added by flags. ``levers``: policy levers (``optimizer.levers``); two that
    change the same cell are an error. ``minerals`` and ``years``: keep only those.
    """

    scenarios: Sequence[str] = ()
    sets: Mapping[str, Any] | Sequence[tuple[str, Any]] = ()
    rules: Sequence[dict[str, Any]] = ()
    levers: Sequence[Lever] = ()
    minerals: Sequence[str] = ()
    years: Sequence[int] = ()
    demand_scale: float | None = None
    no_rules: bool = False


class Editor:
    """A case being changed: raw settings and tables, the log, and every problem met."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.raw = copy.deepcopy(case.raw)
        self.raw.setdefault("rules", [])
        self.tables = {name: table.copy() for name, table in case.tables.items()}
        self.log: list[Change] = list(case.changes)
        self.problems = Problems()
        self.optional: set[str] = set()  # preset rules: dropped, and said so, where the case has nothing for them
        self.flags: set[str] = set()
        self._added: set[str] = set()  # rules that the scenario at work adds
        self._earlier: set[str] = set()  # rules that scenarios before it added

    def scenario(self, name: str) -> list[Any]:
        """Apply a scenario of the case, or a preset, with all that it uses; the cells that it sets over what stands."""
        self._earlier |= self._added
        self._added = set()
        return list(self._apply(name, (), {}))

    def _apply(self, name: str, path: tuple[str, ...], done: dict[str, dict[Any, str]]) -> dict[Any, str]:
        """Apply a scenario once: the cells that it and all it uses set, and which scenario set each."""
        if name in path:
            self.problem(f"scenarios.{name}.use", "uses itself: " + " -> ".join([*path, name]))
            return {}
        if name in done:
            return done[name]
        found = self._find(name)
        if found is None:
            return {}
        owners: dict[Any, str] = {}
        for used in found.use:
            for cell, owner in self._apply(used, (*path, name), done).items():
                if owners.get(cell, owner) != owner:
                    self.problem(
                        f"scenarios.{name}.use",
                        f"{owners[cell]!r} and {owner!r} both set {cell_text(cell)}: use one of them",
                    )
                owners[cell] = owner
        owners |= dict.fromkeys(self._apply_own(name, found), name)
        done[name] = owners
        return owners

    def _find(self, name: str) -> Scenario | None:
        own = self.case.settings.scenarios
        if name in own:
            return own[name]
        if name in presets():
            return presets()[name]
        self.problem("--scenario", f"no such scenario or preset; {nearest(name, [*own, *presets()])}", name)
        return None

    def _apply_own(self, name: str, scenario: Scenario) -> list[Any]:
        by = f"scenario {name}"
        cells: list[Any] = []
        for rule in scenario.rules:
            self.add_rule(dict(rule), by, optional=name not in self.case.settings.scenarios)
            cells.append(("rule", rule.get("name"), "kind"))
        for key, value in scenario.set.items():
            cells += self.set_key(key, value, by)
        for count, change in enumerate(scenario.change, 1):
            place = f"scenarios.{name}.change[{count}]"
            for operation in ("set", "scale", "add"):
                for column, value in (getattr(change, operation) or {}).items():
                    cells += self.change_cells(change.table, change.where, column, operation, value, by, place)
        return cells

    def add_rule(self, rule: dict[str, Any], by: str, optional: bool = False, flag: bool = False) -> None:
        """Add a rule; a name that is taken is an error, but a later scenario's rule replaces an earlier one's."""
        name = rule.get("name")
        taken = any(known.get("name") == name for known in self.raw["rules"])
        if taken and (flag or name not in self._earlier):
            self.problem(f"rules.{name}", f"{by} adds a rule of a name that another rule has")
            return
        self.raw["rules"] = [known for known in self.raw["rules"] if known.get("name") != name] + [rule]
        self._added.add(str(name))
        if optional:
            self.optional.add(str(name))
        if flag:
            self.flags.add(str(name))
        limits = {key: rule[key] for key in LIMIT_KEYS.get(str(rule.get("kind")), ()) if key in rule}
        self.log.append(
            Change(f"rules.{name}", "an earlier scenario's" if taken else None, limits or rule.get("kind"), by)
        )

    def set_key(self, key: str, value: Any, by: str) -> list[Any]:
        """Set, multiply (KEY*) or add to (KEY+) a rule's key, a setting, or table cells."""
        operation = {"*": "scale", "+": "add"}.get(key[-1:], "set")
        bare = key.rstrip("*+").strip() if operation != "set" else key.strip()
        parts = bare.split(".")
        if parts[0] == "rules":
            return self._set_rule(bare, operation, value, by)
        if _is_setting(bare):
            return self._set_setting(bare, operation, value, by)
        selection = self._selection(bare, key)
        if selection is None:
            return []
        table, where, column = selection
        return self.change_cells(table, where, column, operation, value, by, key)

    def _selection(self, bare: str, key: str) -> tuple[str, dict[str, Any], str] | None:
        """TABLE[column=value,...].COLUMN as a table, what selects its rows, and the column."""
        match = _TABLE_KEY.fullmatch(bare)
        if match is None:
            self.problem(key, "not a key: rules.NAME.KEY, SECTION.KEY or TABLE[column=value,...].COLUMN")
            return None
        where: dict[str, Any] = {}
        for pair in filter(None, (match["where"] or "").split(",")):
            column, equals, wanted = pair.partition("=")
            if not equals:
                self.problem(key, f"{pair!r} is not column=value")
                return None
            if column.strip() in where:
                self.problem(key, f"{column.strip()} stands twice in the brackets: all must hold")
                return None
            where[column.strip()] = wanted.strip()
        return match["table"], where, match["column"]

    def current(self, key: str) -> float | None:
        """The one number that stands where ``--set KEY`` would write; None where there is no one number."""
        parts = key.strip().split(".")
        value: Any = None
        if parts[0] == "rules":
            rules = [rule for rule in self.raw["rules"] if rule.get("name") == parts[1]]
            value = rules[0].get(parts[2]) if rules and len(parts) == 3 else None
        elif _is_setting(key.strip()):
            value = getattr(getattr(self.case.settings, parts[0]), parts[1], None)
        elif (selection := self._selection(key.strip(), key)) is not None and selection[0] in TABLES:
            table, where, column = selection
            kept = self._matching(table, where, key) if column in columns(table) else None
            if kept is None:
                return None
            frame = self.tables[table].loc[kept]
            steps = self.tables["supplier_years"]
            stepped = table == "suppliers" and column in STEPPED
            if stepped and (steps["supplier"].isin(set(frame["supplier"])) & steps[column].notna()).any():
                return None
            cells = frame[column].unique().tolist()
            value = cells[0] if len(cells) == 1 else None
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)
        return float(value) if number else None

    def _set_rule(self, key: str, operation: str, value: Any, by: str) -> list[Any]:
        _, name, *rest = key.split(".")
        rules = [rule for rule in self.raw["rules"] if rule.get("name") == name]
        if not rules or len(rest) != 1:
            names = [str(rule.get("name")) for rule in self.raw["rules"]]
            self.problem(key, "write rules.NAME.KEY" if rules else f"no such rule; {nearest(name, names)}", name)
            return []
        old = rules[0].get(rest[0])
        new = self._operate(key, operation, old, number(value))
        if new is None:
            return []
        rules[0][rest[0]] = new
        self.log.append(Change(key, old, new, by))
        return [("rule", name, rest[0])]

    def _set_setting(self, key: str, operation: str, value: Any, by: str) -> list[Any]:
        section, _, name = key.partition(".")
        if name not in _SETTINGS[section]:
            self.problem(key, f"can be set: {', '.join(f'{section}.{known}' for known in _SETTINGS[section])}")
            return []
        old = self.raw.get(section, {}).get(name, getattr(getattr(self.case.settings, section), name))
        new = self._operate(key, operation, old, number(value))
        if new is None:
            return []
        self.raw.setdefault(section, {})[name] = new
        self.log.append(Change(key, old, new, by))
        return [("setting", section, name)]

    def _operate(self, key: str, operation: str, old: Any, value: Any) -> Any:
        if operation == "set":
            return value
        if not isinstance(old, (int, float)) or not isinstance(value, (int, float)):
            self.problem(key, "can only multiply or add numbers that are there", str(old))
            return None
        return old * value if operation == "scale" else old + value

    def change_cells(
        self, table: str, where: Mapping[str, Any], column: str, operation: str, value: Any, by: str, place: str
    ) -> list[Any]:
        """Set, scale or add to the cells of a column in the rows that ``where`` matches."""
        if table not in TABLES:
            self.problem(place, f"no such table; {nearest(table, TABLES)}", table)
            return []
        if column not in columns(table) or columns(table)[column].kind in ("id", "ids", "endpoint"):
            changeable = [c.name for c in columns(table).values() if c.kind in ("number", "year", "choice", "country")]
            self.problem(place, f"{table} has no such column to change; {nearest(column, changeable)}", column)
            return []
        kept = self._matching(table, where, place)
        value = number(value)
        numeric = columns(table)[column].kind in ("number", "year")
        if kept is None:
            return []
        if operation != "set" and not (numeric and isinstance(value, (int, float))):
            self.problem(place, "scale and add take a number and a column of numbers", str(value))
            return []
        frame = self.tables[table]
        cells, changed, values = [], [], []
        places = np.flatnonzero(kept)
        olds, names = frame[column].iloc[places].tolist(), row_names(frame, table, places)
        for index, old, name in zip(places.tolist(), olds, names, strict=True):
            if operation != "set" and (old is None or np.isnan(old)):
                continue
            try:
                new = value if operation == "set" else old * value if operation == "scale" else old + value
                new = checked_value(table, column, float(new) if columns(table)[column].kind == "number" else new)
            except (ValueError, TypeError):
                row = frame["row"].iloc[index]
                self.problems.add(
                    f"tables/{table}.csv",
                    f"{by} makes it {new!s}: must be {columns(table)[column].allowed}",
                    row,
                    column,
                )
                continue
            changed.append(index)
            values.append(new)
            cells.append((table, name, column))
            self.log.append(Change(f"{table}[{name}].{column}", plain(old), plain(new), by))
        if changed:
            frame.loc[frame.index[changed], column] = values
        if not cells and not self.problems.found:
            self.problem(place, f"no {column} is given in the rows matched: nothing to {operation}; use set")
        if table == "suppliers" and column in STEPPED:
            self._later_steps(frame.loc[kept, "supplier"], column, operation, value, by)
        return cells

    @property
    def as_changed(self) -> Case:
        """The case as changed so far, not yet checked."""
        return self.case.with_(tables=dict(self.tables))

    def _later_steps(self, suppliers: pd.Series, column: str, operation: str, value: float, by: str) -> None:
        """A scale or add goes on in supplier_years; a set replaces the later values."""
        steps = self.tables["supplier_years"]
        later = np.flatnonzero(steps["supplier"].isin(set(suppliers)) & steps[column].notna())
        if not len(later):
            return
        olds, values = steps[column].iloc[later].tolist(), []
        for old, name in zip(olds, row_names(steps, "supplier_years", later), strict=True):
            new = np.nan if operation == "set" else old * value if operation == "scale" else old + value
            values.append(new)
            self.log.append(Change(f"supplier_years[{name}].{column}", old, plain(new), by))
        steps.loc[steps.index[later], column] = values

    def _matching(self, table: str, where: Mapping[str, Any], place: str) -> np.ndarray[Any, Any] | None:
        frame = self.tables[table]
        kept = np.ones(len(frame), dtype=bool)
        materials = self.tables["materials"].set_index("material")
        for column, wanted in where.items():
            values = [wanted] if not isinstance(wanted, (list, tuple)) else list(wanted)
            if column in ("mineral", "stage") and "material" in frame and column not in frame:
                cells = frame["material"].map(materials[column])
            elif column in columns(table):
                cells = frame[column]
            else:
                self.problem(place, f"{table} has no column to select by; {nearest(column, columns(table))}", column)
                return None
            if column in columns(table) and columns(table)[column].kind in ("number", "year"):
                try:
                    kept &= cells.isin([float(item) for item in values]).to_numpy()
                except ValueError:
                    self.problem(place, "must be a number", str(wanted))
                    return None
            elif column == "controller" and table == "suppliers":
                kept &= cells.where(cells != "", frame["country"]).isin([str(item) for item in values]).to_numpy()
            else:
                kept &= cells.isin([str(item) for item in values]).to_numpy()
        if not kept.any():
            shown = ", ".join(f"{column}={wanted}" for column, wanted in where.items())
            self.problem(place, f"no row of {table} has {shown}" if where else f"{table} has no rows")
            return None
        return kept

    def _by_flag(self, problem: Problem) -> Problem:
        """A problem of a rule that a flag made, told of the flag."""
        for name in self.flags:
            if problem.column == f"rules.{name}" or problem.column.startswith(f"rules.{name}."):
                return replace(problem, file=f"--{name}", column="")
        return problem

    def problem(self, place: str, message: str, value: str = "") -> None:
        """Note a defect of what was asked for; ``finish`` raises them all."""
        self.problems.found.append(Problem(place, message, None, "", value))

    def finish(self, check: bool = True) -> Case:
        """The changed case, checked as a whole; raises ``CaseError`` with every problem.

        ``check`` off: cells and rules are checked one by one, but not how they fit together.
        """
        self._raise(self.problems)
        settings = parse_settings(self.raw, "case.toml", self.problems)
        self._raise(self.problems)
        assert settings is not None
        case = self.case.with_(settings=settings, raw=self.raw, tables=self.tables, changes=tuple(self.log))
        if self.optional:
            case = fit_rules(case, "preset", self.optional)
        if not check:
            return case
        problems = Problems()
        check_case(case, problems, recheck_cells=True)
        problems.found = [self._by_flag(problem) for problem in problems.found]
        self._raise(problems)
        return case.with_(warnings=tuple(dict.fromkeys([*case.warnings, *problems.warnings])))

    def _raise(self, problems: Problems) -> None:
        """Raise every problem, told by sheet and cell where the case is a workbook."""
        workbook = self.case.workbook
        if workbook is not None:
            problems.found = [workbook.placed(problem) for problem in problems.found]
            problems.warnings = [workbook.worded(line) for line in problems.warnings]
        problems.raise_any()


def change(case: Case, request: Request, check: bool = True) -> Case:
    """The case as the request wants it: a new ``Case`` with its change log; raises ``CaseError``.

    ``check`` off: without the checks of how everything fits together, for values between others that were checked.
    """
    if request.years:
        case = keep_years(case, request.years)
    if request.no_rules and case.settings.rules:
        dropped = [Change(f"rules.{rule.name}", "in the case", None, "--no-rules") for rule in case.settings.rules]
        case = case.with_(
            raw={**case.raw, "rules": []}, settings=case.settings.model_copy(update={"rules": ()}),
            changes=(*case.changes, *dropped),
        )  # fmt: skip
    touched = bool(
        request.scenarios or request.levers or request.sets or request.rules or request.demand_scale is not None
    )
    if touched:
        editor = Editor(case)
        for name in request.scenarios:
            editor.scenario(name)
        _pull(editor, request.levers)
        pairs = request.sets.items() if isinstance(request.sets, Mapping) else request.sets
        for key, value in pairs:
            editor.set_key(key, value, "--set")
        if request.demand_scale is not None:
            editor.change_cells("demand", {}, "required_t", "scale", request.demand_scale, "--demand-scale",
                                "--demand-scale")  # fmt: skip
        for rule in request.rules:
            if check_rule(rule, f"--{rule['name']}", editor.problems) is not None:
                editor.add_rule(rule, f"--{rule['name']}", flag=True)
        case = editor.finish(check)
    if request.minerals:
        case = keep_minerals(case, request.minerals)
    filters = [flag for flag, given in (("--mineral", request.minerals), ("--no-rules", request.no_rules)) if given]
    return fit_assumptions(case, ", ".join(filters)) if filters else case


def current_value(case: Case, key: str) -> float | None:
    """What the case has where ``--set KEY`` would write: 1 for a factor (KEY*), 0 for an addition (KEY+).

    None where it has no one number there: cells that differ or are blank, or steps that setting would replace.
    """
    if key[-1:] in ("*", "+"):
        return 1.0 if key.endswith("*") else 0.0
    return Editor(case).current(key)


def _pull(editor: Editor, levers: Sequence[Lever]) -> None:
    """Apply the levers one after the other; two that change one cell clash, whatever they do to it."""
    owners: dict[Any, str] = {}
    for lever in levers:
        for cell in lever.apply(editor):
            if owners.setdefault(cell, lever.text) != lever.text:
                message = f"{owners[cell]!r} changes {cell_text(cell)} too: use one of them"
                editor.problem("--lever", message, lever.text)
                break
