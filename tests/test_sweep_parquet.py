"""The points of a sweep as Parquet, where pyarrow is there: those of the CSV, also after a kill."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from models.case import load_case
from optimizer.sweeps import read_sweep, resume_sweep, sweep

pytest.importorskip("pyarrow")

VARY = {"rules.one_country.max": (0.1, 1.0), "demand.required_t*": (0.7, 1.4)}


def test_parquet_holds_what_the_csv_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.point_ledger._PARQUET_CELLS", 500)  # so that there are several groups of rows
    folder = tmp_path / "out"
    table = sweep(load_case("small"), VARY, sample=150, out=folder).table
    path = folder / "tables" / "points.parquet"
    whole = pd.read_parquet(path)
    assert list(whole.columns) == list(table.columns)
    for name in table.columns:
        if table[name].dtype.kind in "if":
            assert whole[name].dtype == table[name].dtype
            assert whole[name].equals(table[name]), name
        else:
            assert whole[name].tolist() == table[name].tolist()
    # as a kill leaves it: some rows, the Parquet file half written under its temporary name
    rows = (folder / "tables" / "points.csv").read_bytes().splitlines(keepends=True)
    (folder / "tables" / "points.csv").write_bytes(b"".join(rows[:70]) + b"69,0.")
    (folder / "sweep.json").unlink()
    path.rename(path.with_suffix(".parquet.part"))
    path.with_suffix(".parquet.part").write_bytes(b"PAR1 and no more")
    resume_sweep(folder)
    pd.testing.assert_frame_equal(pd.read_parquet(path), whole, check_exact=True)
    assert not path.with_suffix(".parquet.part").exists()
    assert read_sweep(folder).table.equals(table)
