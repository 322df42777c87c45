"""What a planner sees of a plan that weighs disruptions: what it costs on the mean, at worst, and what goes short."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.text import Text

from optimizer.console import money, percent, plain, table, tonnes
from optimizer.plan import Plan

MOST = 8  # outcomes
_SHORT = 3  # materials named of each


def weighed(console: Console, plan: Plan) -> None:
    """Expected cost, CVaR, what knowing more would be worth, and the dearest outcomes; nothing where it is off."""
    two = plan.two_stage
    if two is None or two["outcomes"] < 2:
        return
    tail = percent(two["tail"])
    console.print()
    joint = ", several at once too" if two["joint"] else ""
    console.print(Text(f"Disruptions weighed over {two['outcomes']} outcomes{joint}", style="bold"))
    base = float(two["undisturbed_usd"])
    rows: list[list[str | Text]] = [
        ["where nothing happens", money(base), ""],
        ["expected", money(two["expected_usd"]), _more(two["expected_usd"] - base)],
        [f"worst {tail} (CVaR)", money(two["cvar_usd"]), _more(two["cvar_usd"] - base)],
        [f"worst: {_named(two['worst_outcome'])}", money(two["worst_usd"]), _more(two["worst_usd"] - base)],
        [f"made least: {_weights(two['risk_weight'], tail)}", money(two["objective_usd"]), ""],
    ]  # fmt: skip
    console.print(table(["USD in all, present value", ("cost", "right"), ("more", "right")], rows))
    _worth(console, plan)
    _outcomes(console, plan)


def _weights(weight: float, tail: str) -> str:
    if weight in (0.0, 1.0):
        return f"the worst {tail}" if weight else "expected"
    return f"{percent(1 - weight)} expected + {percent(weight)} worst"


def _worth(console: Console, plan: Plan) -> None:
    """EVPI, VSS and the price of ignoring disruptions in a line each."""
    two = plan.two_stage
    assert two is not None
    lines = []
    if two["ignoring_usd"] is not None:
        lines.append(f"A plan made as if nothing could happen would cost {money(two['ignoring_usd'])} USD more.")
    if two["vss_usd"] is not None:
        lines.append(f"A plan made for the mean outcome would cost {money(two['vss_usd'])} USD more (VSS).")
    if two["evpi_usd"] is not None:
        lines.append(f"Knowing beforehand what happens would save {money(two['evpi_usd'])} USD (EVPI).")
    lines += [f"{note[:1].upper()}{note[1:]}." for note in two["notes"]]
    for line in lines:
        console.print(Text(plain(line)))


def _outcomes(console: Console, plan: Plan) -> None:
    """The dearest outcomes: probability, what they cost more, and what goes short most."""
    listed = plan.tables["outcomes"]
    listed = listed[listed["probability"] > 0].sort_values(["more_usd", "outcome"], ascending=[False, True])
    short = plan.tables["outcome_shortage"]
    names = plan.tables["suppliers"].drop_duplicates("material").set_index("material")["mineral"].to_dict()
    single = pd.Series(names).value_counts()
    rows: list[list[str | Text]] = []
    for row in listed.head(MOST).to_dict("records"):
        mine = short[short["outcome"] == row["outcome"]]
        share = (mine["short_t"] / mine["required_t"]).groupby(mine["material"]).max().sort_values(ascending=False)
        said = [f"{names[m] if single.get(names.get(m, ''), 0) == 1 else m} {percent(float(value))}"
                for m, value in share.head(_SHORT).items()]  # fmt: skip
        more = f" +{len(share) - _SHORT}" if len(share) > _SHORT else ""
        rows.append([_named(row["outcome"]), _chance(row["probability"]), _more(row["more_usd"]),
                     ", ".join(said) + more or "-"])  # fmt: skip
    console.print()
    console.print(table(["outcome", ("chance", "right"), ("USD more", "right"), "short of, worst year"], rows))
    if len(listed) > MOST:
        console.print(Text(f"... and {len(listed) - MOST} more: oremix show RUN outcomes", style="dim"))


def unanswered(console: Console, plan: Plan) -> None:
    """Which requirements no plan could meet after some outcome, and by how much at least, in the worst year."""
    console.print(Text("There is a plan, but none that meets every requirement after every outcome.", style="bold red"))
    found = pd.DataFrame(plan.repair)
    found["missing"] = 1.0 - found["needed"] / found["limit"]
    worst = found.loc[found.groupby(["member", "material", "name"], sort=False)["missing"].idxmax()]
    worst = worst.sort_values(["missing", "member", "material"], ascending=[False, True, True])
    several = worst["name"].nunique() > 1
    rows: list[list[str | Text]] = [
        [_named(row["member"]), f"{row['material']} ({row['name']})" if several else row["material"],
         f"{tonnes(row['limit'])} t", percent(row["missing"]), str(row["year"])] for row in worst.to_dict("records")
    ]  # fmt: skip
    console.print()
    heads: list[str | tuple[str, str]] = ["after", "requirement", ("asked for", "right"), ("missing", "right"), "year"]
    console.print(table(heads, rows))
    console.print(Text("A requirement that may be missed has a price: shortage_usd_per_t in demand.csv."))


def _chance(share: float) -> str:
    return f"{100 * share:.3g}%"


def _named(outcome: str) -> str:
    return plain(outcome).replace("+", " + ")


def _more(usd: float) -> str:
    return "0" if abs(usd) < 0.5 else f"{'+' if usd > 0 else ''}{money(usd)}"
