"""What the command alternatives does: solve, keep the folder, print what is left open."""

from __future__ import annotations

import sys
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from models.problems import CaseError, Problem
from optimizer import console

if TYPE_CHECKING:
    import pandas as pd

    from models.changes import Request
    from optimizer.near_optimal import Alternatives

_STOPPED = {"infeasible": 3, "unbounded": 3}
_MOST = 12  # members named in one line


def alternatives(
    name: str, request: Request, slack: float, wanted: int, out: Path | None, year: int | None, as_json: bool,
    quiet: bool, verbose: bool,
) -> int:  # fmt: skip
    """The ranges and the plans; the exit code says how it went."""
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CaseError([Problem("--out", "is there already and not empty: name a new folder", value=str(out))])
    with console.progress(quiet or as_json) as say:
        say("loading")
        from models.case import load_case
        from optimizer.near_optimal import run_alternatives

        say("reading the case")
        case = load_case(name)
        if year is not None and year not in (request.years or case.years):
            known = ", ".join(str(y) for y in request.years or case.years)
            raise CaseError([Problem("--show-year", f"not a year of the run: {known}", value=str(year))])
        found = run_alternatives(case, request, slack, wanted, out, True, say)
    code = 5 if any(plan.audit for plan in found.plans) else 0
    if not found.ok:
        code = _STOPPED.get(found.status, 4)
    if as_json:
        sys.stdout.write(dumps(found.to_json(), allow_nan=False) + "\n")
        return code
    if not quiet:
        notes = [line for line in found.warnings if line not in case.warnings or verbose]
        console.warn(notes, most=100 if verbose else 8)
        hidden = 0 if verbose else len(case.warnings)
        if hidden:
            console.warn([f"{hidden} warning{'s' if hidden > 1 else ''} about the case itself: oremix check {name}"])
    screen = console.results()
    if found.failed is not None:
        from optimizer.infeasible_views import infeasible

        if found.status == "infeasible":
            infeasible(screen, found.failed, verbose)
        else:
            screen.print(Text(f"No least-cost plan was found: {found.status}."))
        return code
    _show(screen, found, year)
    screen.print(Text(found.run), soft_wrap=True)
    return code


def _show(screen: Console, found: Alternatives, year: int | None) -> None:
    """The answer first: how much is open, channel by channel; who is in every plan; the plans that differ."""
    best = found.plans[0]
    at = year or best.years[-1]
    assert found.objective_usd is not None
    most = found.objective_usd + found.slack * abs(found.objective_usd)
    percent = f"{100 * found.slack:g}%"
    title = best.title or best.case
    screen.print(Text(console.plain(title), style="bold"))
    screen.print(Text(
        f"Within {percent} of least cost ({console.money(found.objective_usd)} to {console.money(most)} USD in all), "
        f"what each channel can supply:"
    ))  # fmt: skip
    table = found.ranges[found.ranges["year"] == at]
    channels = table[table["by"] == "channel"]
    total = channels.groupby("material", sort=False)["plan_t"].sum()
    names = ["domestic", "allied", "recycling", "incumbent"]
    rows = []
    for material, part in channels.groupby("material", sort=False):
        known = part.set_index("member")
        made = float(total[material]) or float(part["most_t"].sum())
        if not made:
            continue
        rows.append([material, *(_range(known, name, made) for name in names)])
    screen.print()
    screen.print(console.table([f"% made {at}", *((name, "right") for name in names)], rows))
    screen.print(Text("least-most in % of what the least-cost plan makes; in brackets what that plan has", style="dim"))
    for what, words in (("must-have", "in every such plan"), ("must-avoid", "in none")):
        suppliers = table[(table["by"] == "supplier") & (table["class"] == what)]["member"].tolist()
        if what == "must-avoid":  # who has no capacity at all says nothing
            suppliers = suppliers[:_MOST] if len(suppliers) <= _MOST else []
        if suppliers:
            listed = ", ".join(suppliers[:_MOST]) + (f" and {len(suppliers) - _MOST} more"
                                                     if len(suppliers) > _MOST else "")  # fmt: skip
            screen.print(Text.assemble((f"{what} ", "bold"), f"({words}): {listed}"))
    counts = found.ranges[found.ranges["by"] == "supplier"]["class"].value_counts()
    said = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("must-have", "can-have", "must-avoid"))
    screen.print(Text(f"suppliers and years: {said} (tables/ranges.csv)"))
    screen.print()
    rows = []
    for row, plan in zip(found.plan_rows(), found.plans, strict=True):
        more = (float(row["objective_usd"]) - found.objective_usd) / max(abs(found.objective_usd), 1e-9)
        shares = plan.tables["shares"]
        shares = shares[(shares["stage"] == "delivered") & (shares["by"] == "channel") & (shares["year"] == at)]
        materials = max(1, shares["material"].nunique())
        mean = (shares.groupby("member")["share"].sum() / materials).to_dict()
        mix = [console.percent(mean.get(name, 0.0)) for name in names]
        rows.append([row["name"], f"{100 * more:+.1f}%", console.percent(row["differs"]), *mix])
    heads = [("cost", "right"), ("differs", "right"), *((name, "right") for name in names)]
    screen.print(console.table(["plan", *heads], rows))
    screen.print(Text(f"differs: share of deliveries from elsewhere than in the least-cost plan; channels: mean over "
                      f"materials in {at}", style="dim"))  # fmt: skip
    if len(found.plans) > 1:
        screen.print(Text(f"side by side: oremix compare {found.run}/plans/*"))


def _range(known: pd.DataFrame, name: str, made: float) -> str:
    """``10-40 (20)`` of a channel, in per cent; blank where nobody could."""
    if name not in known.index:
        return ""
    ends = known.loc[[name], ["least_t", "most_t", "plan_t"]].to_numpy(dtype=float)[0]
    least, most, plan = (100 * ends / made).tolist()
    return f"{least:.0f}-{most:.0f} ({plan:.0f})"
