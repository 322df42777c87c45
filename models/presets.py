"""The presets: scenarios that ship with oremix, each with source, dates and status."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from models.config import Scenario


@cache
def presets() -> dict[str, Scenario]:
    """Name -> preset, from data/presets/*.toml in the order of file names."""
    found: dict[str, Scenario] = {}
    folder = files("data").joinpath("presets")
    for path in sorted((p for p in folder.iterdir() if p.name.endswith(".toml")), key=lambda p: p.name):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        for name, raw in document["scenarios"].items():
            found[name] = Scenario.model_validate(raw)
    return found
