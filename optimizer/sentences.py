"""What a planner would say aloud of a plan, made from its numbers; the terminal and the report say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from optimizer import summaries
from optimizer.console import money, percent, plain, tonnes
from optimizer.plan import Plan
from optimizer.report_blocks import called, country, listed
from optimizer.two_stage_text import weighs


def cost_sentence(plan: Plan) -> str:
    """What the plan costs in all, and against going on as today."""
    word = {"optimal": "Least-cost plan", "feasible": "Best plan found so far"}.get(plan.status, plan.status)
    if plan.about.get("status_quo"):
        word = "Going on as today"
    usd, weighs = plan.undisturbed_usd, ""
    assert usd is not None
    if plan.two_stage is not None:  # today's cost is one where nothing happens
        word, weighs = f"{word} with disruptions weighed", " where nothing happens"
    text = f"{word}: {money(usd)} USD in all{weighs} (present value {plan.years[0]})"
    if plan.status_quo is not None and not plan.about.get("status_quo"):
        text += f", {against(usd, plan.status_quo['objective_usd'])} than going on as today"
    return text + "."


def against(value: float, base: float) -> str:
    """How much more or less: 2.60 billion less (1.2%)."""
    difference = value - base
    share = f" ({100 * abs(difference) / abs(base):.1f}%)" if base else ""
    return f"{money(abs(difference))} {'less' if difference < 0 else 'more'}{share}"


def dependence_sentence(found: Mapping[str, Any]) -> str:
    """How many materials hang on one foreign country."""
    if not found["materials"]:
        return f"In {found['last_year']} nothing is delivered."
    today = f" (today {found['dependent_today']})" if "dependent_today" in found else ""
    return (
        f"In {found['last_year']}, {found['dependent']} of {found['materials']} delivered materials"
        f"{today} come more than half from one foreign country."
    )


def shortage_sentence(plan: Plan) -> str:
    """Whether anything that is required is missing."""
    short = plan.tables["shortage"]
    if short.empty:
        calm = "Where nothing happens, everything" if weighs(plan) else "Everything"
        return f"{calm} that is required is delivered."
    found = short.groupby(["material", "year"], as_index=False)[["t", "required_t"]].sum()
    worst = summaries.most(found.assign(part=found["t"] / found["required_t"]), "part")
    materials = listed(sorted(set(short["material"])))
    return (
        f"Not everything is delivered: {materials} run short, worst {worst['material']} in {worst['year']:.0f} "
        f"({tonnes(float(worst['t']))} t, {percent(float(worst['part']))} of what is required)."
    )


def mix_sentences(table: pd.DataFrame, year: int, sides: Sequence[str]) -> list[str]:
    """How the channels move between the first side and each other one in a year."""
    mine = table[table["year"] == year]
    wide = {who: mine[mine["who"] == who].set_index("material") for who in sides}
    first, *others = sides
    if not others:
        found = wide[first]
        main = found[list(summaries.CHANNELS)].idxmax(axis=1).value_counts()
        parts = [f"{channel} suppliers in {count}" for channel, count in main.items()]
        return [f"In {year}, of {len(found)} delivered materials the largest part comes from {listed(parts)}."]
    said = []
    for who in others:
        for channel in ("incumbent", "domestic"):
            change = (wide[who][channel] - wide[first][channel]).dropna()
            if len(change) == 1:
                material = str(change.index[0])
                before, after = wide[first][channel][material], wide[who][channel][material]
                moved = f"{percent(float(before))} to {percent(float(after))}"
                goes = f"goes from {moved}" if abs(after - before) > 0.005 else f"stays at {percent(float(after))}"
                lead = f"From {called(first)} to {called(who)} in {year}"
                said.append(f"{lead}, the {channel} share of {plain(material)} {goes}.")
                continue
            down, up = int((change < -0.005).sum()), int((change > 0.005).sum())
            text = f"From {called(first)} to {called(who)} in {year}, the {channel} share falls in {down} "
            text += f"and rises in {up} of {len(change)} materials"
            if len(change) and abs(change).max() > 0.005:
                most = str(abs(change).idxmax())
                before, after = wide[first][channel][most], wide[who][channel][most]
                text += f", most in {plain(most)} ({percent(float(before))} to {percent(float(after))})"
            said.append(text + ".")
    return said


def concentration_sentences(table: pd.DataFrame, year: int, who: str, home: str, today: bool) -> list[str]:
    """The largest dependence on one foreign country at delivery, and how HHI moves."""
    mine = table[(table["stage"] == "delivered") & (table["year"] == year)]
    foreign = mine[(mine[f"largest_country_{who}"] != home) & mine[f"largest_share_{who}"].notna()]
    said = []
    if foreign.empty:
        said.append(f"In {year}, no delivered material has a foreign country as its largest source.")
    else:
        worst = summaries.most(foreign, f"largest_share_{who}")
        at = country(str(worst[f"largest_country_{who}"]))
        text = f"In {year}, the largest dependence on one foreign country is {plain(worst['material'])} on {at}"
        text += f": {percent(float(worst[f'largest_share_{who}']))} of what is delivered"
        if today and worst["largest_share_today"] == worst["largest_share_today"]:
            before = country(str(worst["largest_country_today"]))
            text += f" (today {percent(float(worst['largest_share_today']))} from {before})"
        said.append(text + ".")
    if today:
        change = mine[f"hhi_country_{who}"] - mine["hhi_country_today"]
        down, up = int((change < -0.0005).sum()), int((change > 0.0005).sum())
        said.append(f"Against today the HHI by country falls in {down} and rises in {up} of {len(mine)} materials.")
    limits = mine[mine[f"largest_limit_{who}"].notna()] if f"largest_limit_{who}" in mine else mine[:0]
    if len(limits):
        tight = float(limits[f"largest_limit_{who}"].min())
        said.append(f"The tightest limit on one country is {percent(tight)} of what is delivered.")
    return said


def flow_caption(tables: Mapping[str, pd.DataFrame], mineral: str, year: int) -> str:
    """Where a mineral comes from, stage by stage: how many countries, and the largest."""
    risk, shares = tables["risk"], tables["shares"]
    risk = risk[(risk["mineral"] == mineral) & (risk["year"] == year)]
    shares = shares[(shares["mineral"] == mineral) & (shares["year"] == year) & (shares["by"] == "country")]
    words = {
        "extraction": "mined in",
        "processing": "refined in",
        "manufacturing": "made in",
        "delivered": "delivered from",
    }
    said = []
    for stage, word in words.items():
        for row in risk[risk["stage"] == stage].to_dict("records"):
            mine = shares[(shares["stage"] == stage) & (shares["material"] == row["material"])]
            count = len(mine)
            what = f"{plain(row['material'])} " if row["material"] else ""
            many = f"{count} countries" if count > 1 else "1 country"
            most = f"most {country(str(row['largest_country']))}" if count > 1 else country(str(row["largest_country"]))
            said.append(f"{what}{word} {many} ({most}, {percent(row['largest_share'])})")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if text else f"Nothing of {plain(mineral)} is made or delivered in {year}."


def cost_sentences(table: pd.DataFrame, year: int, who: str) -> list[str]:
    """What the cost of a year is made of; ``table``: ``summaries.costs``."""
    mine = table[table["year"] == year].set_index("cost")[who]
    total = float(mine.sum())
    parts = [f"{percent(value / total)} {name}" for name, value in mine.sort_values(ascending=False).items()
             if total and abs(value / total) >= 0.005]  # fmt: skip
    made = f": {listed(parts, 6)}" if parts else ""
    return [f"In {year} {called(who)} costs {money(total)} USD{made}."]


def mineral_cost_sentence(table: pd.DataFrame, year: int, base: str, who: str) -> str:
    """Which minerals cost less, and which more, than the base."""
    mine = table[table["year"] == year].set_index("mineral")
    change = mine[who] - mine[base]
    less, more = change[change < -0.5].sort_values(), change[change > 0.5].sort_values(ascending=False)
    parts = []
    for word, found in (("less is paid for", less), ("more for", more)):
        if len(found):
            named = [f"{plain(name)} ({money(abs(float(value)))})" for name, value in found.items()]
            parts.append(f"{word} {listed(named, 3)}")
    return f"Against {base} in {year}, {', '.join(parts)}." if parts else f"Against {base}, no mineral's cost changes."
