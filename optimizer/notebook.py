"""Plans in a notebook: a summary as HTML, and the report's charts as Plotly figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from optimizer import charts, sentences, summaries
from optimizer.console import money, percent, plain
from optimizer.plan import Plan
from optimizer.two_stage_text import guess_sentence, weighed_sentence, weighs, worth_sentences

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MEASURES = ("largest_share", "hhi_country", "import_reliance", *summaries.CHANNELS)


@dataclass(frozen=True)
class Plots:
    """The charts of one plan or of several by name; each gives a ``plotly.graph_objects.Figure``."""

    plans: Mapping[str, Plan]

    def _sides(self) -> dict[str, dict[str, pd.DataFrame]]:
        """Today (of the first plan that has it) and every plan that is one."""
        kept = {name: plan for name, plan in self.plans.items() if plan.ok}
        if not kept:
            raise ValueError("there is no plan to show: " + ", ".join(plan.status for plan in self.plans.values()))
        today = next((tables for plan in kept.values() if (tables := summaries.sides(plan).get("today"))), None)
        return ({} if today is None else {"today": today}) | {name: plan.tables for name, plan in kept.items()}

    def _year(self, year: int | None) -> int:
        years = sorted({y for plan in self.plans.values() for y in plan.years})
        if year is None:
            return years[-1]
        if year not in years:
            raise ValueError(f"{year} is not a year of the plan: {', '.join(map(str, years))}")
        return year

    def mix(self, year: int | None = None) -> Figure:
        """Share of each channel in what is delivered, today beside the plan. ``year``: default the last."""
        table = summaries.mix(self._sides())
        return _figure(charts.mix(table[table["year"] == self._year(year)]))

    def sankey(self, mineral: str | None = None, year: int | None = None, who: str | None = None) -> Figure:
        """Flows from countries through stages to markets, t a year.

        ``mineral``: default the one with the most suppliers; ``who``: default the (first) plan, "today" for going on
        as today. Raises ``ValueError`` for a name that there is not.
        """
        sides = self._sides()
        side = next(name for name in sides if name != "today") if who is None else who
        if side not in sides:
            raise ValueError(f"{who!r} is none of {', '.join(sides)}")
        table = summaries.links(sides[side])
        known = list(dict.fromkeys(table["mineral"]))
        if not known:
            raise ValueError("nothing flows in this plan")
        if mineral is None:
            made = sides[side]["suppliers"]
            mineral = str(made[made["produced_t"] > 0]["mineral"].value_counts().index[0])
        if mineral not in known:
            raise ValueError(f"nothing of {mineral!r} flows: the minerals are {', '.join(known)}")
        part = table[(table["mineral"] == mineral) & (table["year"] == self._year(year))]
        figure = charts.sankey(part)
        figure["layout"] |= {"title": {"text": charts.label(f"{mineral}, {self._year(year)}, {side}")}}
        figure["layout"]["margin"] |= {"t": 48}
        return _figure(figure)

    def frontier(
        self, of: Any = None, *, measure: str = "largest_share", material: str | None = None, year: int | None = None
    ) -> Figure:  # fmt: skip
        """Cost against a limit, or the plans' cost against a measure.

        ``of``: the document of ``oremix frontier`` (or its folder or file, or what ``frontier()`` gave): its curve,
        with each plan marked where its own limit of that rule is known. Without: each plan and today by ``measure``
        (one of largest_share, hhi_country, import_reliance, or the share of a channel) of ``material``, by default
        the highest of all delivered materials, in ``year`` (default the last).
        """
        if of is not None:
            return _figure(self._curve(_document(of)))
        if measure not in MEASURES:
            raise ValueError(f"{measure!r}: one of {', '.join(MEASURES)}")
        at = self._year(year)
        points: dict[str, tuple[float, float]] = {}
        for name, tables in self._sides().items():
            costs = _today_usd(self.plans) if name == "today" else self.plans[name].undisturbed_usd
            value = _measured(tables, measure, material, at)
            if costs is not None and value is not None:
                points[name] = value, costs
        if not points:
            raise ValueError(f"nothing of {material!r} is delivered in {at}")
        what = f"{measure.replace('_', ' ')}, {material or 'highest of all materials'}, {at}"
        return _figure(_scatter(points, what, share=measure != "hhi_country"))

    def _curve(self, document: Mapping[str, Any]) -> charts.Figure:
        key = str(document.get("key", "limit"))
        listed = sorted(document.get("points") or (), key=lambda point: point["limit"])
        x, y = [point["limit"] for point in listed], [point["objective_usd"] for point in listed]
        drawn = charts.lines({key: (x, y)}, key, "USD in all")
        rule = key.split(".")[1] if key.startswith("rules.") else ""
        marked: dict[str, tuple[float, float]] = {}
        for name, plan in self.plans.items():
            rules = plan.tables.get("rules")
            own = sorted(set(rules[rules["rule"] == rule]["limit"])) if rules is not None and rule else []
            if len(own) == 1 and plan.objective_usd is not None:
                marked[name] = own[0], plan.objective_usd
        drawn["data"] += _scatter(marked, key, share=False)["data"]
        return drawn


def _figure(drawn: charts.Figure) -> Figure:
    from plotly.graph_objects import Figure

    return Figure(drawn)


def _document(of: Any) -> Mapping[str, Any]:
    """A document of an analysis from itself, from its folder or file, or from an object that has one."""
    if isinstance(of, Mapping):
        return of
    if isinstance(of, (str, Path)):
        path = Path(of) / "frontier.json" if Path(of).is_dir() else Path(of)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    for name in ("document", "to_json"):
        if hasattr(of, name):
            given = getattr(of, name)
            return _document(given() if callable(given) else given)
    raise TypeError(f"{type(of).__name__} is not the document of a frontier, its folder or its file")


def _today_usd(plans: Mapping[str, Plan]) -> float | None:
    return next((float(plan.status_quo["objective_usd"]) for plan in plans.values() if plan.status_quo), None)


def _measured(tables: Mapping[str, pd.DataFrame], measure: str, material: str | None, year: int) -> float | None:
    """The measure of a material (or the highest of all) at delivery."""
    if measure in summaries.CHANNELS:
        table = summaries.mix({"plan": tables})
    else:
        table = tables["risk"][tables["risk"]["stage"] == "delivered"]
    table = table[table["year"] == year]
    if material is not None:
        table = table[table["material"] == material]
    return None if table.empty else float(table[measure].max())


def _scatter(points: Mapping[str, tuple[float, float]], x: str, share: bool) -> charts.Figure:
    paint = charts.colours(list(points))
    data = [
        {"type": "scatter", "mode": "markers+text", "name": charts.label(name), "x": [value], "y": [cost],
         "text": [charts.label(name)], "textposition": "top center", "marker": {"size": 12, "color": paint[name]},
         "hovertemplate": f"{charts.label(name)}: %{{x}}, {money(cost)} USD<extra></extra>", "showlegend": False}
        for name, (value, cost) in points.items()
    ]  # fmt: skip
    return charts.figure(data, 400, xaxis={"title": {"text": charts.label(x)}, "tickformat": ".0%" if share else ""},
                         yaxis={"title": {"text": "USD in all"}, "exponentformat": "B"})  # fmt: skip


def plan_html(plan: Plan) -> str:
    """The answer of a plan as HTML: its sentences, and the mix of each delivered material in the last year."""
    title = escape(plain(plan.title or plan.case))
    if not plan.ok:
        rows = pd.DataFrame(plan.conflict or [], columns=["what", "name", "mineral", "year"]).drop_duplicates()
        what = {"infeasible": "No plan can meet the rules and the demand together."}.get(plan.status, plan.status)
        return f"<h4>{title}</h4><p>{escape(what)}</p>{_table(rows) if len(rows) else ''}"
    found = summaries.headline(plan, str(plan.about.get("home", "")))
    said = [sentences.cost_sentence(plan), sentences.dependence_sentence(found), sentences.shortage_sentence(plan)]
    if plan.two_stage is not None and weighs(plan):
        said[1:1] = [weighed_sentence(plan.two_stage), *worth_sentences(plan.two_stage)]
        said += [line for line in [guess_sentence(plan.two_stage)] if line]
    if plan.audit:
        said.insert(0, f"THE AUDIT FOUND {len(plan.audit)} MISMATCHES: do not use this plan.")
    table = summaries.mix(summaries.sides(plan))
    table = table[table["year"] == plan.years[-1]].drop(columns=["mineral", "t"])
    for channel in summaries.CHANNELS:
        table[channel] = [percent(share) for share in table[channel]]
    lines = "".join(f"<p>{escape(line)}</p>" for line in said)
    return f"<h4>{title}</h4>{lines}{_table(table.rename(columns={'who': 'mix'}))}"


def plans_html(plans: Sequence[Plan], names: Sequence[str]) -> str:
    """Several plans as one table: status, cost in all and against the first, materials that hang on one country.

    The cost is that where nothing happens; plans that weigh disruptions have theirs over the outcomes beside it.
    """
    first = next((plan.undisturbed_usd for plan in plans if plan.ok), None)
    rows = []
    for name, plan in zip(names, plans, strict=True):
        row: dict[str, Any] = {"plan": plain(name), "status": plan.status}
        if (total := plan.undisturbed_usd) is not None and first is not None:
            found = summaries.headline(plan, str(plan.about.get("home", "")))
            row["USD in all"] = money(total)
            row["against the first"] = f"{100 * (total - first) / abs(first):+.2f}%" if first else ""
            if plan.two_stage is not None and weighs(plan):
                row["expected"], row["worst tail (CVaR)"], row["worst"] = (
                    money(plan.two_stage[key]) for key in ("expected_usd", "cvar_usd", "worst_usd")
                )
            row["more than half from one country"] = f"{found['dependent']} of {found['materials']}"
        rows.append(row)
    return _table(pd.DataFrame(rows).fillna(""))


def _table(table: pd.DataFrame) -> str:
    return str(table.to_html(index=False, escape=True, border=0))
