"""Shared fixtures: a case folder from texts, and the command line run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Outcome:
    """What one command line gave: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """stdout as the one JSON document that it has to be."""
        return json.loads(self.out)


@pytest.fixture(scope="session")
def write_case_to() -> Callable[..., Path]:
    """Write a case folder from {table: CSV text or bytes} and the text or bytes of case.toml."""

    def write(folder: Path, tables: Mapping[str, str | bytes], toml: str | bytes | None) -> Path:
        texts = {f"tables/{table}.csv": text for table, text in tables.items()}
        if toml is not None:
            texts["case.toml"] = toml
        (folder / "tables").mkdir(parents=True)
        for file, text in texts.items():
            (folder / file).write_bytes(text.encode() if isinstance(text, str) else text)
        return folder

    return write


@pytest.fixture
def write_case(write_case_to: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """``write_case_to`` a folder of this test's own: write_case(tables, toml, name)."""

    def write(tables: Mapping[str, str | bytes], toml: str | bytes | None, name: str = "case") -> Path:
        return write_case_to(tmp_path / name, tables, toml)

    return write


@pytest.fixture
def oremix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run one command line in this process, in an empty folder of its own."""
    from optimizer.cli import run

    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return Outcome(code, shown.out, shown.err)

    return call
