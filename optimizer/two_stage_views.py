"""What a planner sees of a plan that weighs disruptions: what it costs on the mean, at worst, and what goes short."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.text import Text

from optimizer.console import money, percent, table, tonnes
from optimizer.plan import Plan
from optimizer.two_stage_text import (
    chance,
    dearest,
    guess_sentence,
    measures,
    named,
    over,
    weighs,
    worst_shortages,
    worth_sentences,
)

MOST = 8  # outcomes
_SHORT = 3  # materials named of each


def weighed(console: Console, plan: Plan) -> None:
    """Expected cost, CVaR, what knowing more would be worth, and the dearest outcomes; nothing where it is off."""
    two = plan.two_stage
    if two is None or not weighs(plan):
        return
    console.print()
    console.print(Text(f"Disruptions weighed over {over(two)}", style="bold"))
    base = float(two["undisturbed_usd"])
    rows: list[list[str | Text]] = [
        [words, money(two[key]), _more(two[key] - base) if key in ("expected_usd", "cvar_usd", "worst_usd") else ""]
        for words, key in measures(two)
    ]
    console.print(table(["USD in all, present value", ("cost", "right"), ("more", "right")], rows))
    for line in worth_sentences(two):
        console.print(Text(line))
    if guess_sentence(two):
        console.print(Text(guess_sentence(two), style="yellow"))
    _outcomes(console, plan)


def _outcomes(console: Console, plan: Plan) -> None:
    """The dearest outcomes: probability, what they cost more, and what goes short most."""
    listed, short = dearest(plan), worst_shortages(plan)
    names = plan.tables["suppliers"].drop_duplicates("material").set_index("material")["mineral"].to_dict()
    single = pd.Series(names).value_counts()
    rows: list[list[str | Text]] = []
    for row in listed.head(MOST).to_dict("records"):
        mine = short[short["outcome"] == row["outcome"]]
        said = [f"{names[m] if single.get(names.get(m, ''), 0) == 1 else m} {percent(float(share))}"
                for m, share in zip(mine["material"].head(_SHORT), mine["share"], strict=False)]  # fmt: skip
        more = f" +{len(mine) - _SHORT}" if len(mine) > _SHORT else ""
        rows.append([named(row["outcome"]), chance(row["probability"]), _more(row["more_usd"]),
                     ", ".join(said) + more or "-"])  # fmt: skip
    console.print()
    console.print(table(["outcome", ("chance", "right"), ("USD more", "right"), "short of, worst year"], rows))
    if len(listed) > MOST:
        console.print(Text(f"... and {len(listed) - MOST} more: oremix show RUN outcomes", style="dim"))


def compared(plans: Sequence[Plan]) -> list[list[str]]:
    """Rows of a comparison: expected, CVaR, worst, made least; blank for runs that weigh nothing; none if none does."""
    found = [plan.two_stage if weighs(plan) else None for plan in plans]
    tails = {percent(two["tail"]) for two in found if two is not None}
    rows = [("expected", "expected_usd"), (f"worst {tails.pop()} (CVaR)" if len(tails) == 1 else "CVaR", "cvar_usd"),
            ("worst", "worst_usd"), ("made least", "objective_usd")]  # fmt: skip
    if not any(found):
        return []
    listed = [[words, *("" if two is None else money(two[key]) for two in found)] for words, key in rows]
    if len({two["tail"] for two in found if two is not None}) > 1:
        listed.insert(1, ["CVaR of worst", *("" if two is None else percent(two["tail"]) for two in found)])
    return listed


def unanswered(console: Console, plan: Plan) -> None:
    """Which requirements no plan could meet after some outcome, and by how much at least, in the worst year."""
    console.print(Text("There is a plan, but none that meets every requirement after every outcome.", style="bold red"))
    found = pd.DataFrame(plan.repair)
    found["missing"] = 1.0 - found["needed"] / found["limit"]
    worst = found.loc[found.groupby(["member", "material", "name"], sort=False)["missing"].idxmax()]
    worst = worst.sort_values(["missing", "member", "material"], ascending=[False, True, True])
    several = worst["name"].nunique() > 1
    rows: list[list[str | Text]] = [
        [named(row["member"]), f"{row['material']} ({row['name']})" if several else row["material"],
         f"{tonnes(row['limit'])} t", percent(row["missing"]), str(row["year"])] for row in worst.to_dict("records")
    ]  # fmt: skip
    console.print()
    heads: list[str | tuple[str, str]] = ["after", "requirement", ("asked for", "right"), ("missing", "right"), "year"]
    console.print(table(heads, rows))
    console.print(Text("A requirement that may be missed has a price: shortage_usd_per_t in demand.csv."))


def _more(usd: float) -> str:
    return "0" if abs(usd) < 0.5 else f"{'+' if usd > 0 else ''}{money(usd)}"
