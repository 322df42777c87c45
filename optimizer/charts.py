"""Charts as Plotly figures in plain dictionaries: one making for report and notebook, no Plotly needed to make them.

Plotly reads a little HTML in labels; every name of a case is escaped, so that it is shown as it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from models.cells import countries
from optimizer.console import money, plain
from optimizer.palette import CHANNEL_COLOURS, GREEN, GREY, PLAN, RUNS, TODAY, VERMILION, YELLOW
from optimizer.summaries import CHANNELS

Figure = dict[str, Any]
CLASS_COLOURS = {"must-have": GREEN, "can-have": PLAN, "must-avoid": GREY}


def label(text: object) -> str:
    """A name as a chart shows it, whatever is in it."""
    return escape(plain(text), quote=False)


def figure(data: list[dict[str, Any]], height: float, **layout: Any) -> Figure:
    """A figure in the look of all others: no background of its own, legend above, axes that make room."""
    base: dict[str, Any] = {
        "height": height, "margin": {"l": 8, "r": 12, "t": 36, "b": 40}, "font": {"size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "xaxis": {"automargin": True}, "yaxis": {"automargin": True},
    }  # fmt: skip
    for key, value in layout.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) and isinstance(value, dict) else value
    return {"data": data, "layout": base}


def colour_of(who: str, place: int) -> str:
    """Colour of a side: grey for today, then one for each run."""
    return TODAY if who == "today" else RUNS[place % len(RUNS)]


def colours(sides: Sequence[str]) -> dict[str, str]:
    """Colour of each side in their order."""
    runs = [who for who in sides if who != "today"]
    return {who: colour_of(who, runs.index(who) if who in runs else 0) for who in sides}


def mix(table: pd.DataFrame) -> Figure:
    """Channel shares of each delivered material, sides below each other; ``table``: one year of ``summaries.mix``."""
    materials = list(dict.fromkeys(table["material"]))
    sides = list(dict.fromkeys(table["who"]))
    data = []
    for place, who in enumerate(sides):
        mine = table[table["who"] == who].set_index("material").reindex(materials)
        for channel in CHANNELS:
            data.append({
                "type": "bar", "orientation": "h", "name": channel, "legendgroup": channel,
                "showlegend": place == 0, "offsetgroup": str(place), "y": [label(m) for m in materials],
                "x": mine[channel].fillna(0.0).tolist(), "customdata": [label(who)] * len(materials),
                "marker": {"color": CHANNEL_COLOURS[channel], "opacity": 0.55 if who == "today" else 1.0},
                "hovertemplate": f"%{{y}}, %{{customdata}}: {channel} %{{x:.1%}}<extra></extra>",
            })  # fmt: skip
    return figure(
        data, 60 + max(22, 13 * len(sides) + 8) * len(materials), barmode="stack", bargap=0.3,
        xaxis={"tickformat": ".0%", "range": [0, 1]}, yaxis={"autorange": "reversed", "ticksuffix": " "},
    )  # fmt: skip


def dumbbell(
    names: Sequence[str], values: Mapping[str, Sequence[float]], limits: Sequence[float | None], share: bool,
    texts: Mapping[str, Sequence[str]], limit_name: str = "limit",
) -> Figure:  # fmt: skip
    """A dot for each side on one line a name, and a bar where a limit stands."""
    rows = [label(name) for name in names]
    data: list[dict[str, Any]] = []
    lines: tuple[list[Any], list[Any]] = ([], [])
    for place, row in enumerate(rows):
        found = [side[place] for side in values.values() if side[place] == side[place]]
        if len(found) > 1:
            lines[0].extend([min(found), max(found), None])
            lines[1].extend([row, row, None])
    data.append({"type": "scatter", "mode": "lines", "x": lines[0], "y": lines[1], "hoverinfo": "skip",
                 "showlegend": False, "line": {"color": GREY, "width": 2}})  # fmt: skip
    paint = colours(list(values))
    figures = ".1%" if share else ".3f"
    for who, side in values.items():
        data.append({
            "type": "scatter", "mode": "markers", "name": label(who), "x": [_number(v) for v in side], "y": rows,
            "customdata": [label(text) for text in texts[who]],
            "marker": {"size": 11, "color": paint[who], "symbol": "circle-open" if who == "today" else "circle",
                       "line": {"width": 2, "color": paint[who]}},
            "hovertemplate": f"%{{y}}, {label(who)}: %{{x:{figures}}} %{{customdata}}<extra></extra>",
        })  # fmt: skip
    if any(limit is not None for limit in limits):
        data.append({
            "type": "scatter", "mode": "markers", "name": label(limit_name), "x": list(limits), "y": rows,
            "marker": {"size": 16, "color": VERMILION, "symbol": "line-ns-open", "line": {"width": 3}},
            "hovertemplate": f"%{{y}}: limit %{{x:{figures}}}<extra></extra>",
        })  # fmt: skip
    return figure(data, 90 + 24 * len(rows), xaxis={"tickformat": ".0%" if share else ".1f", "range": [-0.02, 1.03]},
                  yaxis={"autorange": "reversed", "ticksuffix": " "})  # fmt: skip


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


def stacked_years(parts: Mapping[str, Mapping[str, Sequence[float]]], years: Sequence[int]) -> Figure:
    """Cost families stacked by year, sides beside each other; parts: name -> side -> USD of each year."""
    shades = (PLAN, YELLOW, VERMILION, GREEN, "#CC79A7", "#56B4E9", GREY, "#7A5C99", "#B0A060")
    data = []
    for place, (name, by_side) in enumerate(parts.items()):
        for at, (who, values) in enumerate(by_side.items()):
            data.append({
                "type": "bar", "name": label(name), "legendgroup": label(name), "showlegend": at == 0,
                "offsetgroup": str(at), "x": [str(year) for year in years], "y": list(values),
                "customdata": [money(value) for value in values],
                "marker": {"color": shades[place % len(shades)], "opacity": 0.55 if who == "today" else 1.0},
                "hovertemplate": f"%{{x}}, {label(who)}: {label(name)} %{{customdata}} USD a year<extra></extra>",
            })  # fmt: skip
    return figure(data, 360, barmode="relative", bargap=0.25, xaxis={"type": "category"},
                  yaxis={"title": {"text": "USD a year"}, "exponentformat": "B"})  # fmt: skip


def differences(names: Sequence[str], values: Mapping[str, Sequence[float]]) -> Figure:
    """USD a year: bars to the left (less) and right (more), one a name and side."""
    paint = colours(list(values))
    data = [
        {
            "type": "bar", "orientation": "h", "name": label(who), "y": [label(name) for name in names],
            "x": list(side), "showlegend": len(values) > 1,
            "marker": {"color": [GREEN if v < 0 else VERMILION for v in side] if len(values) == 1 else paint[who]},
            "customdata": [money(value) for value in side],
            "hovertemplate": f"%{{y}}, {label(who)}: %{{customdata}} USD a year<extra></extra>",
        } for who, side in values.items()
    ]  # fmt: skip
    return figure(data, 70 + 20 * len(names) * max(1, len(values)), barmode="group", bargap=0.3,
                  xaxis={"title": {"text": "USD a year"}, "exponentformat": "B", "zeroline": True, "zerolinewidth": 2},
                  yaxis={"autorange": "reversed", "ticksuffix": " "})  # fmt: skip


def sankey(links: pd.DataFrame) -> Figure:
    """Bands from countries through stages to markets; ``links``: source, target, channel, t (``flows.links``)."""
    nodes = list(dict.fromkeys([*links["source"], *links["target"]]))
    place = {name: number for number, name in enumerate(nodes)}
    shade = [_transparent(CHANNEL_COLOURS.get(channel, GREY)) for channel in links["channel"]]
    data = [{
        "type": "sankey", "arrangement": "snap", "valueformat": ",.4~g", "valuesuffix": " t",
        "node": {"label": [label(name) for name in nodes], "pad": 14, "thickness": 14, "color": GREY,
                 "line": {"width": 0}},
        "link": {"source": [place[name] for name in links["source"]],
                 "target": [place[name] for name in links["target"]],
                 "value": links["t"].tolist(), "color": shade, "customdata": [label(c) for c in links["channel"]],
                 "hovertemplate": "%{source.label} to %{target.label}: %{value} (%{customdata})<extra></extra>"},
    }]  # fmt: skip
    widest = max(links["source"].nunique(), links["target"].nunique(), 4)
    return figure(data, 140 + 26 * widest, margin={"l": 4, "r": 4, "t": 16, "b": 16})


def _transparent(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.45)"


def capacity(years: Sequence[int], made: Sequence[float], own: Sequence[float], added: Sequence[float]) -> Figure:
    """What is made in each year against what could be made, with what expansions add."""
    x = [str(year) for year in years]
    top = [a + b for a, b in zip(own, added, strict=True)]
    able = [("with what is added", top, YELLOW)] if any(added) else []
    data: list[dict[str, Any]] = [
        {"type": "bar", "name": name, "x": x, "y": list(values), "marker": {"color": colour, "opacity": 0.35},
         "hovertemplate": f"%{{x}}: {name} %{{y:,.4~g}} t<extra></extra>"}
        for name, values, colour in (*able, ("could be made", own, GREY))
    ]  # fmt: skip
    data.append({"type": "bar", "name": "made", "x": x, "y": list(made), "marker": {"color": PLAN}, "width": 0.45,
                 "hovertemplate": "%{x}: made %{y:,.4~g} t<extra></extra>"})  # fmt: skip
    return figure(data, 300, barmode="overlay", xaxis={"type": "category"},
                  yaxis={"title": {"text": "t a year"}, "exponentformat": "B", "rangemode": "tozero"})  # fmt: skip


def lines(series: Mapping[str, tuple[Sequence[Any], Sequence[float | None]]], x: str, y: str, **layout: Any) -> Figure:
    """A line with a mark at every point for each series: name -> (x values, y values)."""
    paint = colours(list(series))
    data: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines+markers", "name": label(name), "x": list(points[0]), "y": list(points[1]),
         "line": {"color": paint[name], "width": 2}, "marker": {"size": 7}, "showlegend": len(series) > 1,
         "hovertemplate": f"{label(x)} %{{x}}: %{{y:,.6~g}}<extra>{label(name)}</extra>"}
        for name, points in series.items()
    ]  # fmt: skip
    axes: dict[str, Any] = {
        "xaxis": {"title": {"text": label(x)}},
        "yaxis": {"title": {"text": label(y)}, "exponentformat": "B"},
    }
    for key, value in layout.items():
        axes[key] = {**axes.get(key, {}), **value}
    return figure(data, 340, **axes)


def ranges(table: pd.DataFrame) -> Figure:
    """From least to most that near-optimal plans take of each member, and what the plan takes."""
    names = [label(member) for member in table["member"]]
    data: list[dict[str, Any]] = []
    for kind, colour in CLASS_COLOURS.items():
        mine = (table["class"] == kind).to_numpy()
        if not mine.any():
            continue
        part = table[mine]
        data.append({
            "type": "bar", "orientation": "h", "name": kind,
            "y": [name for name, own in zip(names, mine, strict=True) if own],
            "base": part["least_t"].tolist(), "x": (part["most_t"] - part["least_t"]).tolist(),
            "marker": {"color": colour, "opacity": 0.55},
            "customdata": [list(pair) for pair in zip(part["least_t"], part["most_t"], strict=True)],
            "hovertemplate": "%{y}: %{customdata[0]:,.4~g} to %{customdata[1]:,.4~g} t<extra></extra>",
        })  # fmt: skip
    data.append({
        "type": "scatter", "mode": "markers", "name": "this plan", "y": names, "x": table["plan_t"].tolist(),
        "marker": {"size": 9, "color": VERMILION, "symbol": "diamond"},
        "hovertemplate": "%{y}: plan %{x:,.4~g} t<extra></extra>",
    })  # fmt: skip
    ordered = {"autorange": "reversed", "ticksuffix": " ", "categoryorder": "array", "categoryarray": names}
    return figure(data, 90 + 22 * len(names), barmode="overlay", yaxis=ordered,
                  xaxis={"title": {"text": "t a year"}, "exponentformat": "B"})  # fmt: skip


def tornado(table: pd.DataFrame, base: float | None) -> Figure:
    """Cost at the low and high end of each input; ``table``: input, cost_low_usd, cost_high_usd, widest first."""
    names = [label(name) for name in table["input"]]
    middle = (table["cost_low_usd"].astype(float) + table["cost_high_usd"].astype(float)) / 2
    centre = middle if base is None else middle * 0.0 + base
    data = [
        {"type": "bar", "orientation": "h", "name": f"input at its {end}", "y": names,
         "x": (table[f"cost_{end}_usd"].astype(float) - centre).tolist(), "base": centre.tolist(),
         "marker": {"color": colour},
         "hovertemplate": f"%{{y}} {end}: %{{customdata}} USD<extra></extra>",
         "customdata": [money(value) for value in table[f"cost_{end}_usd"]]}
        for end, colour in (("low", PLAN), ("high", VERMILION))
    ]  # fmt: skip
    return figure(data, 100 + 24 * len(names), barmode="overlay",
                  xaxis={"title": {"text": "USD in all"}, "exponentformat": "B"},
                  yaxis={"autorange": "reversed", "ticksuffix": " "})  # fmt: skip


def bars(names: Sequence[str], values: Sequence[float], x: str, share: bool, colour: str = PLAN) -> Figure:
    """Plain bars, one a name."""
    data = [{"type": "bar", "orientation": "h", "y": [label(name) for name in names], "x": list(values),
             "marker": {"color": colour}, "showlegend": False,
             "hovertemplate": f"%{{y}}: %{{x:{'.1%' if share else ',.4~g'}}}<extra></extra>"}]  # fmt: skip
    return figure(data, 80 + 22 * len(names), xaxis={"title": {"text": x}, "tickformat": ".0%" if share else "~s"},
                  yaxis={"autorange": "reversed", "ticksuffix": " "}, margin={"t": 12})  # fmt: skip


def outcomes(table: pd.DataFrame) -> Figure:
    """What each outcome costs more, the dearest first; those in the worst tail stand out.

    ``table``: outcome, probability, tail_share, more_usd.
    """
    names = [f"{label(name)}, {100 * p:.3g}%" for name, p in zip(table["outcome"], table["probability"], strict=True)]
    data = [{
        "type": "bar", "orientation": "h", "y": names, "x": table["more_usd"].tolist(), "showlegend": False,
        "marker": {"color": [VERMILION if share > 0 else PLAN for share in table["tail_share"]]},
        "customdata": [money(value) for value in table["more_usd"]],
        "hovertemplate": "%{y}: %{customdata} USD<extra></extra>",
    }]  # fmt: skip
    return figure(data, 80 + 22 * len(names), margin={"t": 12}, yaxis={"autorange": "reversed", "ticksuffix": " "},
                  xaxis={"title": {"text": "USD in all, present value"}, "exponentformat": "B", "zeroline": True,
                         "zerolinewidth": 2})  # fmt: skip


def place_name(code: str) -> str:
    """A country by name where it is one."""
    return countries().get(code, code)
