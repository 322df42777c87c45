"""How the views of a stress test write losses, shares served and money."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from optimizer.console import money, percent, plain

if TYPE_CHECKING:
    from optimizer.stress_tests import Stress

SHADES = ((0.5, "bold white on red"), (0.2, "bold red"), (0.05, "yellow"), (0.0005, ""))
WIDE = 100  # columns of a terminal from which tables show more


def shade(missing: float) -> str:
    """The style of a share that is missing."""
    return next((style for least, style in SHADES if missing >= least), "")


def served(share: float) -> str:
    """A share served in per cent, never rounded up to all."""
    return "<100%" if 0.995 <= share < 1 else percent(share)


def hit_worst(row: Mapping[Any, Any], names: Mapping[str, str]) -> str:
    """What a ranked loss hits worst; ``shared`` where each material could be served, but not all of them at once."""
    if row["served"] < 1:
        return names[row["material"]]
    return "shared" if pd.isna(row["kept_usd_per_y"]) else "-"


SHARED = "shared: each material could be served by itself, not all at once, as several draw on one."


def worst_hit(found: Stress) -> dict[str, str]:
    """Material -> how a table calls it: its mineral, where only one material of that is required."""
    minerals = found.case.materials.set_index("material")["mineral"]
    required = sorted(set(found.case.delivered_materials()))
    several = minerals[required].value_counts()
    return {name: str(minerals[name]) if several[minerals[name]] == 1 else name for name in required}


def lost_name(lose: str) -> str:
    """country:CHN as CHN, controller:CHN as CHN-owned; a pair with +."""
    parts = [part.partition(":") for part in lose.split("+")]
    said = [f"{plain(name)}-owned" if kind == "controller" else plain(name) for kind, _, name in parts]
    return " + ".join(said)


def usd(value: Any, blank: str = "none") -> str:
    """Money in words, or what stands for none."""
    return blank if pd.isna(value) else money(float(value))
