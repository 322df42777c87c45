"""Sweeps: a grid or a sample of points, each solved from a warm engine, one row a point; killed, they resume."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd

from models.case import Case, load_case
from models.changes import Request, change
from models.problems import CaseError, Problem
from optimizer.plan import clean
from optimizer.point_ledger import Ledger
from optimizer.point_measures import Measure
from optimizer.point_running import Begin, Say, crew, no_progress, silent, solve_points
from optimizer.point_solving import Job, Solver
from optimizer.points import Design, Grid, Points, Sample, Vary, check_unique, uncertain
from optimizer.run_folder import unquoted, write_case, write_changes, write_document, write_whole

REQUEST = "request.json"
PART = "sweep.json.part"


@dataclass
class Sweep:
    """What a sweep found.

    ``table``: one row a point as in tables/points.csv: point, a column for each input (its KEY), status, reason, then
    the measures: objective_usd, ``cost_usd_per_y/YEAR``, ``share/MATERIAL/YEAR/channel/MEMBER`` (and country),
    ``hhi_country/MATERIAL/YEAR``, ``largest_share/...``, ``import_reliance/...``, ``shortage_t/...``; nan without a
    plan. ``summary``: least, mean and most of each measure. ``run``: the folder, "" where none was written.
    """

    inputs: tuple[str, ...]
    summary: pd.DataFrame
    document: dict[str, Any]
    folder: Path | None = None
    run: str = ""
    _table: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def table(self) -> pd.DataFrame:
        """Every point with every measure; read from the folder when first asked for."""
        if self._table is None:
            assert self.folder is not None
            self._table = read_points(self.folder / "tables" / "points.csv")
        return self._table

    @cached_property
    def points(self) -> pd.DataFrame:
        """One row a point: its inputs, status, objective_usd (discounted), cost of each year, reason."""
        costs = [name for name in self.table if str(name).startswith("cost_usd_per_y/")]
        return self.table[["point", *self.inputs, "status", "objective_usd", *costs, "reason"]]

    @cached_property
    def shares(self) -> pd.DataFrame:
        """Shares of what is delivered, tidy: point, material, year, by (channel, country), member, share; none is 0."""
        long = self._long(["share"])
        return long[long["value"] != 0].rename(columns={"value": "share"}).reset_index(drop=True)

    @cached_property
    def risk(self) -> pd.DataFrame:
        """hhi_country, largest_share, import_reliance and shortage_t of each point, material and year."""
        whats = ["hhi_country", "largest_share", "import_reliance", "shortage_t"]
        long = self._long(whats)
        keys = ["point", "material", "year"]
        wide = long.pivot_table(index=keys, columns="what", values="value", sort=False)
        return wide.reindex(columns=whats).reset_index().rename_axis(columns=None)

    def _long(self, whats: Sequence[str]) -> pd.DataFrame:
        """Chosen measures, a row each, of the points that have a plan."""
        names = [str(name) for name in self.table.columns[len(self.inputs) + 3 :]]
        chosen = [name for name in names if name.partition("/")[0] in whats]
        long = self.table[["point", *chosen]].melt("point", var_name="name").dropna(subset="value")
        parts = {name: Measure.named(name) for name in chosen}
        for column in ("what", "material", "year", "by", "member"):
            long[column] = long["name"].map({name: getattr(part, column) for name, part in parts.items()})
        keys = ["point", "what", "material", "year", "by", "member", "value"]
        long = long[keys].sort_values("point", kind="stable", ignore_index=True)
        return long if set(whats) != {"share"} else long.drop(columns="what")


def sweep(
    case: Case, vary: Mapping[str, Any] | None = None, *, sample: int | None = None, method: str = "sobol",
    seed: int = 0, changes: Mapping[str, Any] | Request | None = None, out: str | Path | None = None,
    write: bool = False, cluster: str | None = None, threads: int = 0,
) -> Sweep:  # fmt: skip
    """Solve a case at many points.

    ``vary``: KEY (as in ``--set``; ``*`` at its end for factors, ``+`` for additions) -> a list of values, (low, high,
    number of points), or (low, high) with ``sample``. Several lists make a grid, the last moving fastest. ``sample``:
    that many points drawn over ranges, which default to assumptions.csv; ``method`` sobol or latin, ``seed`` any whole
    number. ``changes``: as for ``optimize``. ``write`` (or ``out``) keeps the folder, which ``resume_sweep`` can go on
    with. ``cluster``: address of a Dask scheduler. ``threads``: 0 = ``[solve] threads`` of the case, or all cores.
    Raises ``CaseError`` for wrong input; a point without a plan is a row.
    """
    request = changes if isinstance(changes, Request) else Request(sets=changes or {})
    changed = change(case, request)
    given = [Vary.of(key, how) for key, how in (vary or {}).items()]
    points = points_of(changed, given, sample, method, seed)
    kept = write or out is not None
    scratch = Path(mkdtemp(prefix="oremix-")) if not kept else None
    try:
        folder, shown = begin(changed, points, Path(out) if out else scratch / "sweep" if scratch else None)
        found = go_on(folder, changed, points, shown, cluster=cluster, threads=threads, kept=kept)
        if scratch is not None:
            assert len(found.table) == len(points)  # read before its folder goes
            found.folder, found.run = None, ""
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return found


def resume_sweep(
    folder: str | Path, *, cluster: str | None = None, threads: int = 0, say: Say = silent,
    progress: Begin = no_progress,
) -> Sweep:  # fmt: skip
    """Go on with a sweep that was stopped or killed; everything but who solves it is as it was asked for.

    The rows are those that an unbroken sweep would have given, to the last digit. A sweep that is whole is read.
    Raises ``CaseError`` where the folder is not one of a sweep, its case was changed, or its version is another.
    """
    place = Path(folder)
    case, points = read_request(place, "sweep")
    if (place / "sweep.json").is_file():
        say("reading")
        return read_sweep(place)
    return go_on(place, case, points, str(folder), cluster=cluster, threads=threads, say=say, progress=progress)


def points_of(case: Case, vary: Sequence[Vary], sample: int | None, method: str = "sobol", seed: int = 0) -> Points:
    """The points that are asked for; raises ``CaseError`` where that does not hold together."""
    check_unique(vary)
    if sample is not None:
        return Sample(tuple(uncertain(case, vary)), sample, method, seed)
    if not vary:
        message = "what is to move? give --vary KEY=A..B/N (repeatable: a grid), or --sample N"
        raise CaseError([Problem("sweep", message)])
    ranges = [item.key for item in vary if not item.values]
    if ranges:
        message = "how many points? KEY=A..B/N, or --sample N to draw them"
        raise CaseError([Problem("--vary", message, value=key) for key in ranges])
    return Grid(tuple(vary))


def points_as_json(points: Points) -> dict[str, Any]:
    """What ``points_from_json`` reads."""
    found: dict[str, Any] = {"vary": [item.as_json() for item in points.vary]}
    if isinstance(points, Design):
        found.update(design=points.asked, seed=points.seed)
    elif isinstance(points, Sample):
        found.update(sample=points.size, method=points.method, seed=points.seed)
    return found


def points_from_json(given: Mapping[str, Any]) -> Points:
    """Points as written by ``points_as_json``."""
    vary = tuple(Vary.from_json(item) for item in given["vary"])
    if "design" in given:
        return Design(vary, int(given["design"]), int(given["seed"]))
    if "sample" in given:
        return Sample(vary, int(given["sample"]), str(given["method"]), int(given["seed"]))
    return Grid(vary)


def begin(case: Case, points: Points, out: Path | None, kind: str = "sweep", **more: Any) -> tuple[Path, str]:
    """Make the folder of a run over points: its case, changes and what is asked for; gives it, and its name."""
    names: list[str] = []

    def fill(folder: Path) -> None:
        write_case(case, folder / "case")
        write_changes([item.as_dict() for item in case.changes], folder / "changes.toml")
        (folder / "tables").mkdir()
        request = {
            "kind": kind,
            "oremix": version("oremix"),
            "fingerprint": case.fingerprint,
            "changes": clean([item.as_dict() for item in case.changes]),
            **points_as_json(points),
            **more,
        }
        write_document(folder / REQUEST, request)  # fmt: skip

    folder = write_whole(case.name, out, fill, lambda _, shown: names.append(shown), kind)
    return folder, names[-1]


def read_request(folder: Path, kind: str) -> tuple[Case, Points]:
    """The case and points of a folder made by ``begin``; raises ``CaseError`` where it cannot be gone on with."""
    try:
        request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
        points, made_by = points_from_json(request), str(request["oremix"])
        found, fingerprint = str(request["kind"]), str(request["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"not the folder of a {kind} ({error})"
        raise CaseError([Problem("--resume", message, value=str(folder))]) from error
    if found != kind:
        raise CaseError([Problem("--resume", f"is the folder of a {found}", value=str(folder))])
    if made_by != version("oremix"):
        message = f"was begun with oremix {made_by}, this is {version('oremix')}: its points would not be alike"
        raise CaseError([Problem("--resume", message, value=str(folder))])
    case = load_case(folder / "case")
    if case.fingerprint != fingerprint:
        raise CaseError([Problem("--resume", "its case was changed since", value=str(folder / "case"))])
    return case, points


def go_on(
    folder: Path, case: Case, points: Points, shown: str, *, cluster: str | None = None, threads: int = 0,
    kept: bool = True, say: Say = silent, progress: Begin = no_progress,
) -> Sweep:  # fmt: skip
    """Solve what is not solved yet, and finish the folder."""
    began = time.perf_counter()
    say("finding how the program depends on the inputs")
    job = Job(case, points.ranges)
    solver = Solver(job)
    prepared = time.perf_counter() - began
    part = folder / PART
    with Ledger(folder, points, solver.measures, part, parquet=kept) as ledger:
        ledger.open()
        earlier = ledger.done
        tick = progress(earlier, len(points))
        ledger.watchers.append(lambda first, values, block: tick(len(values)))
        wanted = threads or case.settings.solve.threads
        with crew(job, solver, len(points) - earlier, cluster, wanted) as hands:
            solve_points(points, earlier, len(points), hands, ledger.take)
        seconds = time.perf_counter() - began
        document = _document(case, points, solver, ledger, shown)
        document["about"] |= {
            "seconds": round(seconds, 3), "prepare_seconds": round(prepared, 3),
            "highs_seconds": round(ledger.summary.highs_seconds, 3),
            "solved_now": len(points) - earlier, "where": hands.where, "workers": hands.workers,
        }  # fmt: skip
        ledger.finish(document)
    summary = ledger.summary.table(ledger.measures)
    summary.to_csv(folder / "tables" / "summary.csv", index=False, lineterminator="\n")
    part.replace(folder / "sweep.json")
    return Sweep(points.keys, summary, document, folder, shown)


def _document(case: Case, points: Points, solver: Solver, ledger: Ledger, shown: str) -> dict[str, Any]:
    """What ``--json`` gives beside the rows."""
    status = ledger.summary.status
    inputs = []
    for item in points.vary:
        how = {"values": list(item.values)} if item.values else {}
        inputs.append({"input": item.key, "low": item.low, "high": item.high, **how})
    found = points_as_json(points)
    return {
        "case": case.name, "title": case.settings.title, "points": len(points), "inputs": inputs,
        "status": "ok", "counts": dict(sorted(status.items())), "sample": found.get("sample"),
        "method": found.get("method", "grid"), "seed": found.get("seed"),
        "changes": clean([item.as_dict() for item in case.changes]), "warnings": list(case.warnings), "run": shown,
        "about": {"oremix": version("oremix"), "fingerprint": case.fingerprint, "rebuilds": solver.what_if.rebuilds},
    }  # fmt: skip


def read_points(path: Path) -> pd.DataFrame:
    """tables/points.csv with numbers to their last digit."""
    parts = []
    for part in pd.read_csv(path, dtype=object, keep_default_na=False, chunksize=1000):  # texts weigh more than numbers
        numbers = [str(name) for name in part.columns if name not in ("point", "status", "reason")]
        exact = {name: part[name].replace("", "nan").astype("float64") for name in numbers}
        parts.append(pd.DataFrame({
            "point": part["point"].astype("int64"), **exact, "status": part["status"],
            "reason": np.array(unquoted(part["reason"]), dtype=object),
        })[list(part.columns)])  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def read_sweep(folder: str | Path) -> Sweep:
    """A finished sweep from its folder; raises ``CaseError`` where it is none."""
    place = Path(folder)
    try:
        with (place / "sweep.json").open(encoding="utf-8") as file:
            document = tail_of(file)
        summary = pd.read_csv(place / "tables" / "summary.csv", keep_default_na=False, dtype={"year": object})
        summary["year"] = pd.to_numeric(summary["year"]).astype("Int64")
        keys = tuple(str(item["input"]) for item in document["inputs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError([Problem(str(folder), f"not the folder of a sweep ({error})")]) from error
    document["run"] = str(folder)
    return Sweep(keys, summary, document, place, str(folder))


def tail_of(file: Any) -> dict[str, Any]:
    """What stands beside the rows of a sweep's document, without holding the rows in memory."""
    last = ""
    for line in file:
        last = line
    if not last.startswith("], "):
        raise ValueError("sweep.json is not as oremix writes it")
    found: dict[str, Any] = json.loads("{" + last[3:])
    return found


def counted(status: Mapping[str, int]) -> tuple[int, int]:
    """Points with a plan and points without."""
    counts = Counter(status)
    good = counts["optimal"] + counts["feasible"]
    return good, sum(counts.values()) - good
