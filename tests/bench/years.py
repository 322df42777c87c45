"""Writes a case of many years in which every supplier may grow, the same each time, for the benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tests.bench.cases import COUNTRIES


def write_years_case(
    folder: Path, openings: int = 0, minerals: int = 15, suppliers: int = 400, years: int = 15, seed: int = 1,
    stock: bool = True, lump: float = 0.5, scarce: float = 1.0, gap: float = 1e-3, seconds: float = 60.0,
) -> Path:  # fmt: skip
    """Mines and refineries of each mineral, demand that grows by 4% a year, all expansions continuous.

    ``openings``: so many suppliers, spread over the minerals, have to be opened with a lump first: one yes or no for
    each of them and each year, and ``lump`` of their capital is due with it. New projects start at no capacity;
    ``scarce`` scales what is there already.
    """
    random = np.random.default_rng(seed)
    tables = folder / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    each = suppliers // minerals
    materials, rows, demand, held = [], [], [], []
    for m in range(minerals):
        name, scale = f"m{m}", float(10 ** random.uniform(2, 5))
        materials += [(f"{name}_ore", name, "extraction", 1000.0), (f"{name}_metal", name, "processing", 5000.0)]
        count = each + (1 if m < suppliers - each * minerals else 0)
        for i in range(count):
            plant = i % 2 == 1
            country = COUNTRIES[(i // 2 + m) % len(COUNTRIES)]
            channel = {"USA": "domestic", "CHN": "incumbent", "COD": "incumbent"}.get(country, "allied")
            new = i >= count - 8
            capacity = 0.0 if new else scarce * scale * float(random.uniform(0.05, 0.35))
            rows.append({
                "supplier": f"{name}_{'plant' if plant else 'mine'}{i}", "country": country, "channel": channel,
                "material": f"{name}_{'metal' if plant else 'ore'}", "input": f"{name}_ore" if plant else "",
                "recovery": 0.9 if plant else "", "capacity_t": round(capacity, 2),
                "incumbent_t": round(capacity * float(random.uniform(0.1, 0.9)), 2),
                "cost_usd_per_t": round(float(random.uniform(1500, 4000) if plant else random.uniform(300, 1500)), 2),
                "max_expansion_t": round(scale * float(random.uniform(0.1, 0.6)), 2),
                "capex_usd_per_t": round(float(random.uniform(1000, 12000)), 2),
                "lead_years": int(random.integers(1, 8)), "life_years": int(random.choice([10, 20, 25])),
                "ramp_years": int(random.integers(0, 4)), "open_usd": np.nan,
                "cost_of_capital": round(float(random.uniform(0.04, 0.12)), 3),
            })  # fmt: skip
        demand += [(f"{name}_metal", 2026 + y, round(scale * 1.04**y, 2), 20000.0) for y in (0, 5, 10, 14)]
        held.append((f"{name}_metal", round(scale * 0.5, 2), 50.0))
    table = pd.DataFrame(rows)
    fresh = table.index[table["capacity_t"] == 0][: minerals * 8]
    for place in fresh[np.linspace(0, len(fresh) - 1, openings).astype(int)] if openings else []:
        capital = table["max_expansion_t"][place] * table["capex_usd_per_t"][place]
        table.loc[place, "open_usd"] = round(lump * capital, 2)
        table.loc[place, "capex_usd_per_t"] *= 1 - lump
    pd.DataFrame(materials, columns=["material", "mineral", "stage", "price_usd_per_t"]).to_csv(
        tables / "materials.csv", index=False
    )
    table.to_csv(tables / "suppliers.csv", index=False)
    columns = ["material", "year", "required_t", "shortage_usd_per_t"]
    pd.DataFrame(demand, columns=columns).to_csv(tables / "demand.csv", index=False)
    pd.DataFrame([("*", "*", 30.0)], columns=["origin", "destination", "freight_usd_per_t"]).to_csv(
        tables / "lanes.csv", index=False
    )
    if stock:
        pd.DataFrame(held, columns=["material", "max_t", "hold_usd_per_t_y"]).to_csv(tables / "stock.csv", index=False)
    horizon = ", ".join(str(2026 + y) for y in range(years))
    (folder / "case.toml").write_text(
        f'name = "years"\n[horizon]\nyears = [{horizon}]\ndiscount_rate = 0.05\n[market]\nhome = "USA"\n'
        f"[solve]\nseconds = {seconds}\ngap = {gap}\n"
        '[[rules]]\nname = "one_country"\nkind = "each_share"\neach = "country"\nmax = 0.5\n',
        encoding="utf-8",
    )
    return folder
