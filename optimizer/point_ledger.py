"""The file of solved points, appended as they come so that a killed run loses nothing; beside it JSON and Parquet."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from models.case import Floats
from models.problems import CaseError, Problem
from optimizer.plan import clean
from optimizer.point_measures import Measure
from optimizer.point_solving import Block
from optimizer.point_text import Writer, number_text
from optimizer.points import Points
from optimizer.run_folder import quoted, unquoted

SYNC_SECONDS = 2.0  # how often the file is forced to the disk, against a failing machine; a kill needs none
_CHUNK = 256  # rows read back at once
_PARQUET_CELLS = 2_000_000  # numbers gathered before they are written


@dataclass
class Summary:
    """Least, mean and most of every measure over the points that have a plan; shape (measures,)."""

    count: Floats
    least: Floats
    total: Floats
    most: Floats
    status: Counter[str] = field(default_factory=Counter)
    highs_seconds: float = 0.0

    @classmethod
    def of(cls, size: int) -> Summary:
        """Of nothing yet."""
        return cls(np.zeros(size), np.full(size, np.inf), np.zeros(size), np.full(size, -np.inf))

    def add(self, block: Block) -> None:
        """Count a block in."""
        self.status.update(block.status)
        self.highs_seconds += block.highs_seconds
        there = ~np.isnan(block.measures)
        self.count += there.sum(axis=0)
        self.total += np.where(there, block.measures, 0.0).sum(axis=0)
        self.least = np.minimum(self.least, np.where(there, block.measures, np.inf).min(axis=0, initial=np.inf))
        self.most = np.maximum(self.most, np.where(there, block.measures, -np.inf).max(axis=0, initial=-np.inf))

    def table(self, measures: Sequence[Measure]) -> pd.DataFrame:
        """One row a measure that any plan has: least, mean and most over the plans."""
        kept = np.flatnonzero(self.count > 0)
        chosen = [measures[place] for place in kept.tolist()]
        return pd.DataFrame({
            "measure": [m.what for m in chosen], "material": [m.material for m in chosen],
            "year": [m.year or None for m in chosen], "by": [m.by for m in chosen],
            "member": [m.member for m in chosen], "plans": self.count[kept].astype(int), "least": self.least[kept],
            "mean": self.total[kept] / self.count[kept], "most": self.most[kept],
        }).astype({"year": "Int64"})  # fmt: skip


class Ledger:
    """The rows of the points of one run: point, inputs, status, reason, measures; in the order of the points.

    ``folder``: where ``tables/points.csv`` stands; rows that are there are kept and only the rest is asked for.
    ``document``: write the rows as JSON too (``document``, to be finished by the caller); ``parquet``: as Parquet.
    Opening raises ``CaseError`` where the file is not of these points, or another process is at work in it.
    """

    def __init__(self, folder: Path, points: Points, measures: Sequence[Measure], document: Path | None = None,
                 parquet: bool = False) -> None:  # fmt: skip
        self.path = folder / "tables" / "points.csv"
        self.points, self.measures, self.document = points, list(measures), document
        self.header = ["point", *points.keys, "status", "reason", *(measure.name for measure in measures)]
        self.summary = Summary.of(len(self.measures))
        self._writer = Writer(self.measures)
        self.done = 0
        self._file: Any = None
        self._json: IO[str] | None = None
        self.watchers: list[Callable[[int, Floats, Block], None]] = []
        self._with_parquet = parquet
        self._parquet: _Parquet | None = None
        self._synced = time.monotonic()

    def __enter__(self) -> Ledger:
        return self

    def open(self) -> None:
        """Take the file, and count in what it has; watchers see that too."""
        self._file = self.path.open("r+b" if self.path.exists() else "w+b", buffering=0)
        self._lock()
        if self.document is not None:
            self._json = self.document.open("w", encoding="utf-8")
            self._json.write('{"rows": [')
        if self._with_parquet:
            self._parquet = _Parquet.at(self.path.with_suffix(".parquet.part"), self.header, len(self.points.keys))
        self._read_back()

    def __exit__(self, *_: object) -> None:
        if self._file is None or self._file.closed:
            return
        os.fsync(self._file.fileno())
        self._file.close()
        if self._json is not None:
            self._json.close()
        if self._parquet is not None:
            self._parquet.close()

    def _lock(self) -> None:
        """One process at a time; the lock goes with the process, however it ends."""
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            message = "another process is solving its points"
            raise CaseError([Problem("--resume", message, value=str(self.path.parent.parent))]) from error

    def _read_back(self) -> None:
        """Cut off a row that was not written whole, and count in what is there."""
        size = self.path.stat().st_size
        whole, step = 0, 65_536
        for end in range(size, 0, -step):
            start = max(0, end - step)
            self._file.seek(start)
            place = self._file.read(end - start).rfind(b"\n")
            if place >= 0:
                whole = start + place + 1
                break
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._file.write(_line(self.header))
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            if next(rows) != self.header:
                raise self._foreign("its columns are not those of this version or case")
            for values, block in self._blocks(rows):
                expected = self.points.rows(self.done, self.done + len(values))
                if not np.array_equal(values, expected, equal_nan=True):
                    raise self._foreign(f"row {self.done} ff. are not its points")
                self._count(self.done, values, block, [document for _, document in self._writer.rows(block.measures)])

    def _foreign(self, why: str) -> CaseError:
        return CaseError([Problem(str(self.path), f"cannot be gone on with: {why}")])

    def _blocks(self, rows: Iterator[list[str]]) -> Iterator[tuple[Floats, Block]]:
        inputs = len(self.points.keys)
        expected = self.done
        while part := [row for _, row in zip(range(_CHUNK), rows, strict=False)]:
            if [row[0] for row in part] != [str(expected + at) for at in range(len(part))]:
                raise self._foreign(f"its points are not numbered through from {expected}")
            expected += len(part)
            numbers = np.array([[float(cell or "nan") for cell in (*row[1 : 1 + inputs], *row[3 + inputs :])]
                                for row in part])  # fmt: skip
            status, reason = ([row[at + inputs] for row in part] for at in (1, 2))
            yield numbers[:, :inputs], Block(status, unquoted(reason), numbers[:, inputs:], 0.0, 0.0)

    def take(self, first: int, values: Floats, block: Block) -> None:
        """Append the points from number ``first`` on."""
        rows = list(self._writer.rows(block.measures))
        lines = []
        reasons = quoted(pd.DataFrame({"reason": block.reason}))["reason"] if any(block.reason) else block.reason
        each = zip(values.tolist(), block.status, reasons, rows, strict=True)
        for number, (inputs, status, reason, (measures, _)) in enumerate(each, first):
            text = _line([" ".join(reason.split())])[:-1].decode() if reason else ""
            lines.append(",".join([str(number), *map(number_text, inputs), status, text, *measures]))
        self._file.write(("\n".join(lines) + "\n").encode())
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()
        self._count(first, values, block, [document for _, document in rows])

    def _count(self, first: int, values: Floats, block: Block, documents: Sequence[str]) -> None:
        """Everything beside the file itself: sums, JSON, Parquet, and who else wants to know."""
        self.done = first + len(values)
        self.summary.add(block)
        if self._json is not None:
            each = zip(values.tolist(), block.status, block.reason, documents, strict=True)
            for number, (inputs, status, reason, document) in enumerate(each, first):
                head = {
                    "point": number, "inputs": {k: v for k, v in zip(self.points.keys, inputs, strict=True) if v == v},
                    "status": status, "reason": reason,
                }  # fmt: skip
                self._json.write(f"{',' if number else ''}\n{json.dumps(head)[:-1]}, {document}}}")
        if self._parquet is not None:
            self._parquet.add(first, values, block)
        for watch in self.watchers:
            watch(first, values, block)

    def finish(self, rest: dict[str, Any]) -> None:
        """Close the JSON document with what stands beside its rows, and give the Parquet file its name."""
        if self._json is not None:
            ends = json.dumps(clean(rest), allow_nan=False)
            self._json.write("\n], " + ends[1:] + "\n")
        if self._parquet is not None:
            self._parquet.close()
            self._parquet.path.replace(self.path.with_suffix(".parquet"))
            self._parquet = None


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


class _Parquet:
    """Rows gathered and written in groups."""

    def __init__(self, path: Path, schema: Any, writer: Any, inputs: int) -> None:
        self.path, self.schema, self.writer, self.inputs = path, schema, writer, inputs
        self.waiting: list[tuple[int, Floats, Block]] = []
        self.rows = 0

    @classmethod
    def at(cls, path: Path, header: Sequence[str], inputs: int) -> _Parquet | None:
        """A file with these columns; None where pyarrow is not installed."""
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            return None
        kinds = {"point": pa.int64(), "status": pa.string(), "reason": pa.string()}
        schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in header])
        return cls(path, schema, parquet.ParquetWriter(path, schema, write_statistics=False), inputs)

    def add(self, first: int, values: Floats, block: Block) -> None:
        """Gather a block; written once there is enough."""
        self.waiting.append((first, values, block))
        self.rows += len(values)
        if self.rows * len(self.schema) > _PARQUET_CELLS:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa

        if not self.rows:
            return
        values = np.concatenate([v for _, v, _ in self.waiting])
        measures = np.concatenate([block.measures for _, _, block in self.waiting])
        first = self.waiting[0][0]
        status = [word for _, _, block in self.waiting for word in block.status]
        reason = [word for _, _, block in self.waiting for word in block.reason]
        columns = [np.arange(first, first + self.rows), *values.T, status, reason, *measures.T]
        arrays = [
            pa.array(column, type=field.type, from_pandas=True)
            for column, field in zip(columns, self.schema, strict=True)
        ]
        self.writer.write_table(pa.Table.from_arrays(arrays, schema=self.schema))
        self.waiting, self.rows = [], 0

    def close(self) -> None:
        """Write what is left."""
        self._write()
        self.writer.close()
