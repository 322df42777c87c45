"""Writes case folders of a wanted number of flows, the same each time, for the benchmarks."""

from __future__ import annotations

from math import isqrt
from pathlib import Path

import numpy as np
import pandas as pd

COUNTRIES = ("USA", "CAN", "AUS", "CHL", "CHN", "COD", "IDN", "ZAF", "BRA", "JPN", "KOR", "FIN", "NOR", "PER", "ARG")


def write_case(folder: Path, flows: int, years: int = 4, minerals: int = 10, lanes: str = "open") -> Path:
    """A case of about ``flows`` flows over all years: mines x refineries x markets for each mineral.

    ``lanes`` = "listed" writes each lane as a row of its own instead of leaving all open.
    """
    random = np.random.default_rng(flows + years)
    each = max(4, isqrt(flows // (years * minerals)))
    tables = folder / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    materials, suppliers, demand, listed = [], [], [], []
    for m in range(minerals):
        name = f"m{m}"
        for stage, material in (("extraction", f"{name}_ore"), ("processing", f"{name}_metal")):
            materials.append((material, name, stage, 1000.0))
        mines = [f"{name}_mine{i}" for i in range(each)]
        plants = [f"{name}_plant{i}" for i in range(max(3, each - 3))]
        for made, used, group, cost in (
            (f"{name}_ore", "", mines, 100.0),
            (f"{name}_metal", f"{name}_ore", plants, 300.0),
        ):
            for i, supplier in enumerate(group):
                country = COUNTRIES[(i + m) % len(COUNTRIES)]
                channel = {"USA": "domestic", "CHN": "incumbent", "COD": "incumbent"}.get(country, "allied")
                suppliers.append((supplier, country, channel, made, used, 0.9 if used else "",
                                  round(float(random.uniform(80, 250)), 2), round(float(random.uniform(5, 50)), 2),
                                  round(float(cost * random.uniform(0.6, 1.6)), 2)))  # fmt: skip
        demand += [("home", f"{name}_metal", 2026, 30.0 * each), ("east", f"{name}_metal", 2026, 20.0 * each)]
        if lanes == "listed":
            freight = random.uniform(1, 20, len(mines) * len(plants) + 2 * len(plants)).round(2).tolist()
            pairs = [(a, b) for a in mines for b in plants] + [(b, k) for b in plants for k in ("home", "east")]
            listed += [(a, b, f) for (a, b), f in zip(pairs, freight, strict=True)]
    if lanes == "open":
        listed = [("*", "*", 10.0)] + [(f"country:{c}", "*", float(5 + i)) for i, c in enumerate(COUNTRIES)]
    frames = {
        "materials": (materials, ["material", "mineral", "stage", "price_usd_per_t"]),
        "suppliers": (suppliers, ["supplier", "country", "channel", "material", "input", "recovery", "capacity_t",
                                  "incumbent_t", "cost_usd_per_t"]),
        "demand": (demand, ["market", "material", "year", "required_t"]),
        "lanes": (listed, ["origin", "destination", "freight_usd_per_t"]),
    }  # fmt: skip
    for table, (rows, columns) in frames.items():
        pd.DataFrame(rows, columns=columns).to_csv(tables / f"{table}.csv", index=False)
    horizon = ", ".join(str(2026 + y) for y in range(years))
    (folder / "case.toml").write_text(
        f'name = "bench"\n[horizon]\nyears = [{horizon}]\ndiscount_rate = 0.05\n[market]\nhome = "USA"\n'
        f'[network]\nlanes = "{lanes}"\n[[rules]]\nname = "one_country"\nkind = "each_share"\neach = "country"\nmax = 0.5\n',
        encoding="utf-8",
    )
    return folder
