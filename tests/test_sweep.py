"""Sweeps: points as independent solves give them, killed and resumed, in threads, processes and on a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.case import Case, load_case
from models.changes import Request
from models.layout import lay_out
from models.problems import CaseError
from optimizer import cli
from optimizer.engine import Limits
from optimizer.measures import tables_of
from optimizer.point_measures import Measure, Reader, measures_of
from optimizer.point_running import Crew, solve_points
from optimizer.point_solving import Block, Job, Solver, solve_packed
from optimizer.points import Grid, Sample, Vary
from optimizer.run import optimize
from optimizer.solving import solve
from optimizer.sweeps import points_of, read_sweep, resume_sweep, sweep
from optimizer.what_if import WhatIf
from tests.reference.cases import random_case

ROOT = Path(__file__).parents[1]
LIMIT, DEMAND, CHILE = "rules.one_country.max", "demand.required_t*", "suppliers[country=CHL].capacity_t*"


def run(*arguments: str) -> tuple[int, str]:
    """A command in this process: exit code and stdout."""
    out = StringIO()
    with redirect_stdout(out):
        code = cli.run(list(arguments))
    return code, out.getvalue()


# --- points ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("rules.x.max=0.2..1/9", "rules.x.max", (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        ("rules.x.max=20%..30%/2", "rules.x.max", (0.2, 0.3)),
        ("demand.required_t*=1.5..0.5/3", "demand.required_t*", (1.5, 1.0, 0.5)),
        ("suppliers[country=CHL,mineral=lithium].capacity_t+=-5,0, 5", None, (-5.0, 0.0, 5.0)),
        ("horizon.discount_rate=0.03", "horizon.discount_rate", (0.03,)),
        ("demand[material=a b.c].required_t=1e3..2e3/2", "demand[material=a b.c].required_t", (1000.0, 2000.0)),
    ],
)
def test_vary_says_which_points(text: str, key: str | None, values: tuple[float, ...]) -> None:
    found = Vary.parse(text)
    assert found.key == (key or "suppliers[country=CHL,mineral=lithium].capacity_t+")
    assert found.values == values
    assert (found.low, found.high) == (min(values), max(values))
    assert Vary.from_json(json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize(
    "text",
    ["a", "a=", "=1..2/3", "a=1..2/1", "a=1..2/x", "a=1..2/2.5", "a=1..1/3", "a=1,x", "a=nan", "a=1..inf/3", "a=2..1",
     "a=1..2/99999999"],
)  # fmt: skip
def test_vary_refuses_what_it_cannot_read(text: str) -> None:
    with pytest.raises(CaseError) as told:
        Vary.parse(text)
    assert told.value.problems[0].file == "--vary"


def test_a_grid_is_every_combination_the_last_input_moving_fastest() -> None:
    grid = Grid((Vary.parse("a=1,2"), Vary.parse("b=1..3/3")))
    assert len(grid) == 6
    expected = [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
    assert grid.rows(0, 6).tolist() == expected
    assert grid.rows(2, 5).tolist() == expected[2:5]
    with pytest.raises(CaseError, match="at most"):
        Grid(tuple(Vary.parse(f"{name}=0..1/1000") for name in "abcd"))


@pytest.mark.parametrize("method", ["sobol", "latin"])
def test_samples_are_repeatable_and_even(method: str) -> None:
    vary = (Vary("a", -1.0, 3.0), Vary("b", 10.0, 20.0))
    whole = Sample(vary, 64, method, seed=3).rows(0, 64)
    parts = Sample(vary, 64, method, seed=3)
    assert np.array_equal(np.concatenate([parts.rows(0, 5), parts.rows(5, 64)]), whole)
    assert np.array_equal(parts.rows(7, 9), whole[7:9])  # going back
    assert not np.array_equal(Sample(vary, 64, method, seed=4).rows(0, 64), whole)
    for place, (low, high) in enumerate(((-1.0, 3.0), (10.0, 20.0))):
        # both ways put one point into each 64th of every range
        cells = np.floor((whole[:, place] - low) / (high - low) * 64).astype(int)
        assert sorted(cells) == list(range(64))


def test_a_longer_sobol_sample_begins_with_the_shorter() -> None:
    vary = (Vary("a", 0.0, 1.0),)
    assert np.array_equal(Sample(vary, 100).rows(0, 100)[:37], Sample(vary, 37).rows(0, 37))


def test_what_is_asked_must_hold_together(tmp_path: Path) -> None:
    case = load_case("small")
    for vary, sample, words in (
        ([], None, "what is to move"), (["a=1..2"], None, "how many points"), ([], 5, "nothing is uncertain"),
        (["a=1,2"], 5, "draws from a range"), (["a=1,2", "a=1..2/3"], None, "twice"),
    ):  # fmt: skip
        with pytest.raises(CaseError, match=words):
            points_of(case, [Vary.parse(text) for text in vary], sample)
    folder = random_case(7, tmp_path / "case")
    (folder / "tables" / "assumptions.csv").write_text(
        "key,low,high\ndemand.required_t*,0.9,1.1\nsuppliers.capacity_t*,0.8,1.2\nmaterials.price_usd_per_t*,1,1\n"
    )
    ranges = points_of(load_case(folder), [Vary.parse("suppliers.capacity_t*=0.5..2")], 5).ranges
    assert ranges == {"demand.required_t*": (0.9, 1.1), "suppliers.capacity_t*": (0.5, 2.0)}  # a fixed one is left out


# --- points against independent solves ------------------------------------------------------------------------------


def _same_as_alone(case: Case, row: dict[str, Any], keys: tuple[str, ...]) -> None:
    """A row of a sweep against ``optimize`` of the case with those inputs set."""
    plan = optimize(case, {key: row[key] for key in keys})
    assert plan.status == row["status"]
    if not plan.ok:
        assert row["reason"]
        assert np.isnan(row["objective_usd"])
        return
    assert row["reason"] == ""
    assert row["objective_usd"] == pytest.approx(plan.objective_usd, rel=1e-9)
    shares, risk = plan.tables["shares"], plan.tables["risk"]
    shares = shares[shares["stage"] == "delivered"].set_index(["material", "year", "by", "member"])["share"]
    risk = risk[risk["stage"] == "delivered"].set_index(["material", "year"])
    short = plan.tables["shortage"].groupby(["material", "year"])["t"].sum()
    for name in row:
        measure = Measure.named(name) if "/" in name else None
        if measure is None:
            continue
        key = measure.material, measure.year
        if measure.what == "share":
            expected = shares.get((*key, measure.by, measure.member), 0.0) if key in risk.index else np.nan
        elif measure.what == "cost_usd_per_y":
            expected = plan.cost_usd_per_y[measure.year]
        elif measure.what == "shortage_t":
            expected = short.get(key, 0.0)
        else:
            expected = risk[measure.what].get(key, np.nan)
        assert row[name] == pytest.approx(expected, rel=1e-6, abs=1e-7, nan_ok=True), name


def test_every_point_of_a_grid_is_what_optimize_gives() -> None:
    """Two rows are known by hand (README): at 40 % of one country 13.1 million, without a limit that bites 12.9."""
    case = load_case("small")
    found = sweep(case, {LIMIT: [0.2, 0.4, 1.0], DEMAND: (0.8, 1.3, 3), CHILE: [0.5, 1]})
    table = found.table
    assert table[LIMIT].tolist() == [0.2] * 6 + [0.4] * 6 + [1.0] * 6
    assert table[CHILE].tolist() == [0.5, 1.0] * 9
    for row in table.to_dict("records"):
        _same_as_alone(case, row, found.inputs)
    assert set(table["status"]) == {"optimal", "infeasible"}
    by_hand = sweep(case, {LIMIT: [0.4, 1.0]}).points
    assert by_hand["objective_usd"].tolist() == pytest.approx([13.1e6, 12.9e6], rel=1e-12)


@pytest.mark.parametrize("seed", [309, 312, 319])
def test_every_point_of_a_sample_is_what_optimize_gives(seed: int, tmp_path: Path) -> None:
    case = load_case(random_case(seed, tmp_path / "case", rules=["share", "each_share"]))
    vary = {"suppliers.capacity_t*": (0.8, 1.4), "suppliers.cost_usd_per_t*": (0.8, 1.2), DEMAND: (0.6, 1.1)}
    found = sweep(case, vary, sample=4, method="latin", seed=seed)
    assert found.document["counts"] == {"optimal": 4}
    for row in found.table.to_dict("records"):
        _same_as_alone(case, row, found.inputs)


def test_the_tables_of_a_plan_and_a_row_are_one_computation() -> None:
    """The same solution through the tables of ``optimize`` and through a row of a sweep: equal to the last digit."""
    case = load_case("us")
    solved = solve(lay_out(case), [], Limits())
    measures = measures_of(case)
    cost = solved.engine.program.cost[: solved.layout.width]
    row = dict(zip(measures, Reader(solved.layout, measures).read(cost, solved.x).tolist(), strict=True))
    tables = tables_of(solved.layout, [], solved.x, None)
    seen = 0
    shares = tables["shares"]
    for item in shares[(shares["stage"] == "delivered") & shares["by"].isin(["channel", "country"])].to_dict("records"):
        assert row[Measure("share", item["material"], item["year"], item["by"], item["member"])] == item["share"]
        seen += 1
    for item in tables["risk"][tables["risk"]["stage"] == "delivered"].to_dict("records"):
        for what in ("hhi_country", "largest_share", "import_reliance"):
            assert row[Measure(what, item["material"], item["year"])] == item[what]
    assert seen == sum(1 for measure, value in row.items() if measure.what == "share" and value > 0)


def test_a_point_that_makes_the_case_wrong_is_a_row_that_says_so() -> None:
    """A share's min above its max, only at some points: both ends of each range by themselves are fine."""
    case = load_case("small")
    rules = [{"name": "chile", "kind": "share", "where": {"country": "CHL"}, "min": 0.1, "max": 0.9}]
    changes = Request(rules=rules)
    found = sweep(case, {"rules.chile.min": [0.1, 0.35], "rules.chile.max": [0.2, 0.9]}, changes=changes).points
    assert found["status"].tolist() == ["optimal", "optimal", "error", "optimal"]
    assert "rules.chile" in found["reason"][2]
    assert np.isnan(found["objective_usd"][2])


def test_what_cannot_be_patched_is_swept_all_the_same() -> None:
    case = load_case("small")
    found = sweep(case, {"suppliers[supplier=chn_refinery].recovery": [0.7, 0.8, 0.9], "horizon.discount_rate": [0.1]})
    assert "affine" in found.document["about"]["rebuilds"]
    for row in found.table.to_dict("records"):
        _same_as_alone(case, row, found.inputs)


def test_tidy_frames_hold_what_the_table_holds() -> None:
    found = sweep(load_case("small"), {LIMIT: [0.1, 0.4]})
    assert list(found.points.columns) == ["point", LIMIT, "status", "objective_usd", "cost_usd_per_y/2030", "reason"]
    shares = found.shares
    assert set(shares["point"]) == {1}  # the first has no plan
    channels = shares[shares["by"] == "channel"].set_index("member")["share"]
    assert channels.to_dict() == pytest.approx({"allied": 0.4, "recycling": 0.2, "incumbent": 0.4})
    assert shares[shares["by"] == "country"].set_index("member")["share"].sum() == pytest.approx(1.0)
    risk = found.risk.to_dict("records")
    assert risk == [{"point": 1, "material": "lithium_chemicals", "year": 2030, "hhi_country": pytest.approx(0.36),
                     "largest_share": pytest.approx(0.4), "import_reliance": pytest.approx(0.8),
                     "shortage_t": 0.0}]  # fmt: skip


# --- alone: a point is the same whatever was solved before ------------------------------------------------------------


@pytest.mark.parametrize("curved", [False, True])
def test_points_alone_are_the_same_to_the_last_digit_in_any_order(curved: bool, tmp_path: Path) -> None:
    kinds = ["hhi", "share"] if curved else ["share", "each_share"]
    case = load_case(random_case(301 if curved else 306, tmp_path / "case", rules=kinds))
    ranges = {"suppliers.capacity_t*": (0.8, 1.4), "suppliers.cost_usd_per_t*": (0.8, 1.2), DEMAND: (0.6, 1.1)}
    what_if = WhatIf(case, ranges, Limits(threads=1))
    assert what_if.rebuilds == ""
    random = np.random.default_rng(5)
    points = [{key: float(random.uniform(*ends)) for key, ends in ranges.items()} for _ in range(12)]
    first = [what_if.alone(point) for point in points]
    assert sum(outcome.ok for outcome in first) > 6
    fork = what_if.fork()
    fork.at(points[5])
    again = [fork.alone(point) for point in reversed(points)][::-1]
    other = WhatIf(case, ranges, Limits(threads=1))
    with ThreadPoolExecutor(1) as pool:
        third = list(pool.map(other.alone, points))
    for one, two, three, point in zip(first, again, third, points, strict=True):
        assert one.status == two.status == three.status
        assert one.x.tobytes() == two.x.tobytes() == three.x.tobytes()
        assert one.reason == two.reason == three.reason
        if one.ok:
            assert one.objective_usd == pytest.approx(what_if.at(point).objective_usd, rel=2e-6 if curved else 1e-9)


# --- the folder: killed, resumed, in any number of threads --------------------------------------------------------


def _files(folder: Path) -> tuple[bytes, list[Any]]:
    """The points as CSV and as JSON."""
    document = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    return (folder / "tables" / "points.csv").read_bytes(), document["rows"]


def _alike(one: Path, two: Path) -> None:
    (csv, rows), (csv2, rows2) = _files(one), _files(two)
    assert csv == csv2
    assert rows == rows2


VARY = {LIMIT: (0.15, 1.0), DEMAND: (0.7, 1.4), CHILE: (0.5, 1.5)}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 points, solved in one go by one thread."""
    folder = tmp_path_factory.mktemp("sweep") / "unbroken"
    found = sweep(load_case("small"), VARY, sample=600, out=folder, threads=1)
    assert found.run == str(folder)
    return folder


def test_the_folder_holds_every_point_twice_alike(unbroken: Path) -> None:
    csv, rows = _files(unbroken)
    table = read_sweep(unbroken).table
    assert csv.count(b"\n") == 601
    assert [row["point"] for row in rows] == table["point"].tolist() == list(range(600))
    assert sum(row["status"] == "infeasible" for row in rows) > 5
    for row, line in zip(rows, table.to_dict("records"), strict=True):
        assert row["inputs"] == {key: line[key] for key in VARY}
        assert row["status"] == line["status"]
        assert row["reason"] == line["reason"]
        assert bool(row["reason"]) == (row["status"] == "infeasible")
        if row["status"] == "optimal":
            assert row["objective_usd"] == line["objective_usd"]
            shares = row["shares"]["lithium_chemicals"]["2030"]
            for by in ("channel", "country"):
                assert sum(shares[by].values()) == pytest.approx(1.0)
                for member, share in shares[by].items():
                    assert share == line[f"share/lithium_chemicals/2030/{by}/{member}"]
        else:
            assert row["objective_usd"] is None
            assert row["shares"] == {}
    summary = read_sweep(unbroken).summary.set_index("measure")
    cost = table["objective_usd"]
    assert summary.loc["objective_usd", "least"] == cost.min()
    assert summary.loc["objective_usd", "most"] == cost.max()
    assert summary.loc["objective_usd", "mean"] == pytest.approx(cost.mean(), rel=1e-12)
    assert summary.loc["objective_usd", "plans"] == cost.notna().sum()


def test_two_threads_give_the_rows_of_one(unbroken: Path, tmp_path: Path) -> None:
    sweep(load_case("small"), VARY, sample=600, out=tmp_path / "two", threads=2)
    _alike(unbroken, tmp_path / "two")


@pytest.mark.parametrize("torn", [b"", b"77,0.3", b'123,0.5,1.2,0.9,infeasible,"cannot hold, tog'])
def test_a_sweep_cut_anywhere_goes_on_to_the_same_rows(unbroken: Path, tmp_path: Path, torn: bytes) -> None:
    """As a kill leaves it: some whole rows, then half of one; JSON in any state."""
    folder = tmp_path / "cut"
    sweep(load_case("small"), VARY, sample=600, out=folder)
    rows = (folder / "tables" / "points.csv").read_bytes().splitlines(keepends=True)
    (folder / "tables" / "points.csv").write_bytes(b"".join(rows[:124]) + torn)
    (folder / "sweep.json").unlink()
    (folder / "sweep.json.part").write_text('{"rows": [\n{"point": 0, "inp')
    before = (folder / "tables" / "points.csv").stat().st_ino
    found = resume_sweep(folder)
    assert found.document["about"]["solved_now"] == 600 - 123
    assert (folder / "tables" / "points.csv").stat().st_ino == before  # appended to, not written anew
    _alike(unbroken, folder)
    assert resume_sweep(folder).document["points"] == 600  # of a whole one nothing is solved again


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "optimizer.cli", *arguments]


def test_kill_minus_nine_loses_nothing(unbroken: Path, tmp_path: Path) -> None:
    """The real process killed by SIGKILL in the middle; then resumed to the end by the command line."""
    folder, points = tmp_path / "killed", tmp_path / "killed" / "tables" / "points.csv"
    vary = [part for key, ends in VARY.items() for part in ("--vary", f"{key}={ends[0]}..{ends[1]}")]
    command = _command("sweep", "small", *vary, "--sample", "600", "--out", str(folder), "-q")
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    ends = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < ends:
        if points.exists() and points.read_bytes().count(b"\n") > 20:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
    rows = points.read_bytes().count(b"\n") - 1
    assert 20 <= rows < 600
    assert not (folder / "sweep.json").exists()
    last = subprocess.run(_command("sweep", "--resume", str(folder), "--json"), cwd=ROOT, capture_output=True,
                          text=True)  # fmt: skip
    assert last.returncode == 0, last.stderr
    assert last.stderr == ""
    assert json.loads(last.stdout)["about"]["solved_now"] == 600 - rows
    _alike(unbroken, folder)


def test_one_process_at_a_time(unbroken: Path, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    folder = tmp_path / "busy"
    sweep(load_case("small"), {LIMIT: [0.3, 0.4]}, out=folder)
    (folder / "sweep.json").unlink()
    with (folder / "tables" / "points.csv").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CaseError, match="another process"):
            resume_sweep(folder)
    assert resume_sweep(folder).document["points"] == 2


def test_resume_refuses_what_it_cannot_go_on_with(tmp_path: Path) -> None:
    case = load_case("small")

    def stopped(name: str) -> Path:
        sweep(case, {LIMIT: [0.3, 0.4, 0.5]}, out=tmp_path / name)
        (tmp_path / name / "sweep.json").unlink()
        return tmp_path / name

    with pytest.raises(CaseError, match="not the folder of a sweep"):
        resume_sweep(tmp_path)
    changed = stopped("changed")
    path = changed / "case" / "tables" / "demand.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("1000", "1100"), encoding="utf-8")
    with pytest.raises(CaseError, match="changed since"):
        resume_sweep(changed)
    older = stopped("older")
    request = json.loads((older / "request.json").read_text(encoding="utf-8"))
    (older / "request.json").write_text(json.dumps({**request, "oremix": "0.0.1"}), encoding="utf-8")
    with pytest.raises(CaseError, match=r"begun with oremix 0\.0\.1"):
        resume_sweep(older)
    for name, old, new, words in (
        ("renumbered", b"\n1,", b"\n7,", "numbered through"), ("other", b"\n0,0.3,", b"\n0,0.31,", "not its points"),
        ("columns", b"hhi_country", b"hhi_nation", "its columns"),
    ):  # fmt: skip
        folder = stopped(name)
        path = folder / "tables" / "points.csv"
        path.write_bytes(path.read_bytes().replace(old, new, 1))
        with pytest.raises(CaseError, match=words):
            resume_sweep(folder)


# --- executors -----------------------------------------------------------------------------------------------------


def test_blocks_come_back_in_order_and_never_too_many_at_once() -> None:
    """Late blocks wait for early ones; at most four for each worker are under way."""
    grid, waiting, most = Grid((Vary.parse("a=0..999/1000"),)), [0], [0]

    def solve_slowly(values: np.ndarray[Any, Any]) -> Block:
        time.sleep(0.001 if int(values[0, 0]) % 2 else 0.004)
        return Block(["optimal"] * len(values), [""] * len(values), values * 2.0, 0.0005 * len(values), 0.0)

    taken: list[float] = []

    class Counting(ThreadPoolExecutor):
        def submit(self, work: Any, *arguments: Any) -> Any:
            waiting[0] += 1
            most[0] = max(most[0], waiting[0])
            return super().submit(work, *arguments)

    def take(first: int, values: Any, block: Block) -> None:
        waiting[0] -= 1
        assert first == len(taken)
        taken.extend(block.measures[:, 0].tolist())

    with Counting(3) as pool:
        solve_points(grid, 0, 1000, Crew(pool, solve_slowly, 3, 0.01), take)
    assert taken == [2.0 * number for number in range(1000)]
    assert most[0] <= 12


def test_a_worker_gives_the_rows_of_this_process() -> None:
    """A job packed, unpacked and rebuilt: the same numbers to the last digit, infeasible points included."""
    points = Sample((Vary(LIMIT, 0.1, 1.0), Vary(DEMAND, 0.7, 1.4)), 40)
    job = Job(load_case("small"), points.ranges)
    values = points.rows(0, 40)
    here, there = Solver(job).solve(values), solve_packed(job.packed(), values)
    assert here.status == there.status
    assert set(here.status) == {"optimal", "infeasible"}
    assert here.reason == there.reason
    assert here.measures.tobytes() == there.measures.tobytes()


def test_rebuilt_points_are_spread_over_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recovery divides, so every point is built anew, which Python does: the points go to two processes."""
    monkeypatch.setattr("optimizer.point_running.WORTH", 4)
    case = load_case("small")
    vary = {"suppliers[supplier=chn_refinery].recovery": (0.5, 0.9, 8)}
    two = sweep(case, vary, threads=2, out=tmp_path / "two")
    assert two.document["about"]["where"] == "processes"
    one = sweep(case, vary, threads=1, out=tmp_path / "one")
    assert one.document["about"]["where"] == "threads"
    assert _files(tmp_path / "one")[0] == _files(tmp_path / "two")[0]


@pytest.mark.slow
def test_a_cluster_gives_the_rows_of_this_machine_and_outlives_a_worker(unbroken: Path, tmp_path: Path) -> None:
    """Two worker processes; one is killed by SIGKILL while it has work, and the rows are those of one thread here."""
    distributed = pytest.importorskip("distributed")
    folder, points = tmp_path / "cluster", tmp_path / "cluster" / "tables" / "points.csv"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50,
        host="127.0.0.1",
    ) as cluster, distributed.Client(cluster) as client, ThreadPoolExecutor(1) as here:  # fmt: skip
        pids = client.run(os.getpid)
        assert len(pids) == 2
        running = here.submit(sweep, load_case("small"), VARY, sample=600, out=folder,
                              cluster=cluster.scheduler_address)  # fmt: skip
        ends = time.monotonic() + 60
        while (points.read_bytes().count(b"\n") if points.exists() else 0) < 10 and time.monotonic() < ends:
            time.sleep(0.002)
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        found = running.result(timeout=120)
        assert points.read_bytes().count(b"\n") >= 10
    assert found.document["about"]["where"] == "cluster"
    assert found.document["about"]["workers"] == 2
    _alike(unbroken, folder)


def test_no_cluster_there_is_wrong_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    code, out = run("sweep", "small", "--vary", f"{LIMIT}=0.3,0.4", "--cluster", "nonsense://x", "--json")
    assert code == 2
    assert json.loads(out)["errors"][0]["file"] == "--cluster"
    assert not list((tmp_path / "runs").iterdir())


# --- the command line ----------------------------------------------------------------------------------------------


def test_the_command_gives_rows_and_keeps_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out = run("sweep", "small", "--vary", f"{LIMIT}=0.1,0.4", "--json")
    assert code == 0
    document = json.loads(out)
    assert [row["inputs"] for row in document["rows"]] == [{LIMIT: 0.1}, {LIMIT: 0.4}]
    first, second = document["rows"]
    assert (first["status"], first["objective_usd"], first["shares"]) == ("infeasible", None, {})
    assert "one_country" in first["reason"]
    assert second["objective_usd"] == pytest.approx(13.1e6)
    folder = tmp_path / document["run"]
    assert folder.parent == tmp_path / "runs"
    assert folder.name.startswith("small-sweep-")
    assert json.loads((folder / "sweep.json").read_text(encoding="utf-8")) == document
    assert {path.name for path in folder.iterdir()} == {"case", "changes.toml", "request.json", "sweep.json", "tables"}
    names = {path.name for path in (folder / "tables").iterdir()}
    assert names - {"points.parquet"} == {"points.csv", "summary.csv"}
    assert load_case(folder / "case").fingerprint == load_case("small").fingerprint


def test_the_answer_in_words(tmp_path: Path) -> None:
    code, out = run("sweep", "small", "--vary", f"{LIMIT}=0.1,0.4,1", "--out", str(tmp_path / "words"), "-q")
    assert code == 0
    assert "3 points of a grid over 1 input: 2 with a plan, 1 without." in out
    assert "Cost: 12.900 million to 13.100 million USD in all" in out
    assert "infeasible: cannot hold together" in out
    assert out.splitlines()[-1] == str(tmp_path / "words")


def test_a_finished_sweep_is_shown_again(unbroken: Path) -> None:
    code, words = run("show", str(unbroken))
    assert code == 0
    assert "600 points sampled (sobol, seed 0) over 3 inputs" in words
    assert "tables: points, summary" in words
    code, out = run("show", str(unbroken), "points", "--json")
    assert code == 0
    assert [row["point"] for row in json.loads(out)["rows"]] == list(range(600))
    assert run("show", str(unbroken), "--json")[1] == (unbroken / "sweep.json").read_text(encoding="utf-8")
    assert run("show", str(unbroken), "nothing")[0] == 2
    assert "objective_usd" in run("show", str(unbroken), "summary")[1]


def test_wrong_input_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("--vary", "rules.nothing.max=0,1"), ("--vary", f"{LIMIT}=0.5,1.5"), ("--vary", "demand.required_t=x"), (),
        ("--sample", "8"), ("--vary", f"{LIMIT}=0.1..1", "--sample", "8", "--method", "random"),
        ("--vary", f"{LIMIT}=0.1,1", "--show-year", "1999"),
    ):  # fmt: skip
        code, out = run("sweep", "small", *arguments, "--json")
        assert code == 2, arguments
        assert json.loads(out)["errors"]
    assert not list(tmp_path.rglob("request.json"))


def test_a_resume_that_fails_takes_nothing_away(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    sweep(load_case("small"), {LIMIT: [0.3]}, out=folder)
    (folder / "sweep.json").unlink()
    (folder / "tables" / "points.csv").unlink()
    demand = folder / "case" / "tables" / "demand.csv"
    demand.write_text(demand.read_text(encoding="utf-8").replace("1000", "900"), encoding="utf-8")
    assert run("sweep", "--resume", str(folder), "--json")[0] == 2
    assert demand.exists()


def test_resume_takes_nothing_else(unbroken: Path) -> None:
    code, out = run("sweep", "small", "--resume", str(unbroken), "--sample", "5", "--json")
    assert code == 2
    assert json.loads(out)["errors"][0]["value"] == "--sample, CASE"
    assert run("sweep", "--resume", str(unbroken), "-q")[0] == 0


def test_stopped_by_the_user_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while points are solved: exit 4, and the rows so far are kept."""
    from optimizer import point_running, sweeps

    def interrupted(points: Any, start: int, stop: int, crew: Any, take: Any) -> None:
        point_running.solve_points(points, start, 2, crew, take)
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeps, "solve_points", interrupted)
    folder = tmp_path / "stopped"
    code, out = run("sweep", "small", "--vary", f"{LIMIT}=0.2..1/5", "--out", str(folder), "--json")
    assert code == 4
    document = json.loads(out)
    assert document["status"] == "stopped"
    assert f"after 2 points, which are kept: oremix sweep --resume {folder}" in document["errors"][0]["message"]
    monkeypatch.undo()
    found = resume_sweep(folder)
    assert found.document["about"]["solved_now"] == 3
    assert len(found.points) == 5
