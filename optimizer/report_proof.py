"""Sections of the report on trust: how sure the plan is, its inputs, changes and sources, and the mathematics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pandas as pd

from models.case import Case
from models.tables import TABLES
from optimizer.console import percent, plain
from optimizer.coverage import coverage, sizes
from optimizer.plan import clean
from optimizer.report_blocks import Column, Section, Table, capital, counted, listed, table_of
from optimizer.report_inputs import Inputs, Run

HOW = ("read", "computed", "assumption")


def trust_sections(inputs: Inputs) -> Iterator[Section]:
    """The sections in their order."""
    yield proof(inputs)
    yield given(inputs)


def proof(inputs: Inputs) -> Section:
    """How sure: gap, certificate, audit, and how much of the inputs is assumed."""
    said, rows = [], []
    for run in inputs.runs:
        lead = f"{plain(run.name)}: " if inputs.several else ""
        text = _proof_sentence(run)
        said.append(capital(text, lead))
        rows += [[run.name, what, value] for what, value in _proof_rows(run)]
    blocks = [Table("proof", [Column("run"), Column("what"), Column("value")], rows)]
    case = inputs.runs[0].case
    basis = coverage(case)
    assumed = float(basis.loc[basis["cost_basis"].isin(["assumption", ""]), "share_of_cost"].sum())
    of_rows = float(basis.loc[basis["cost_basis"].isin(["assumption", ""]), "share_of_rows"].sum())
    said.append(
        f"{percent(assumed)} of today's spending, and {percent(of_rows)} of the suppliers, stand on costs that are "
        "assumed or whose origin is not given."
    )
    columns = {"cost_basis": Column("cost from"), "suppliers": Column("suppliers", "number"),
               "share_of_rows": Column("of suppliers", "share"),
               "share_of_cost": Column("of today's spending", "share")}  # fmt: skip
    basis = basis.assign(cost_basis=basis["cost_basis"].where(basis["cost_basis"] != "", "not given"))
    blocks += [table_of("where costs come from", basis, columns), traced(case)]
    return Section("proof", "How sure it is", said, blocks)


def _proof_sentence(run: Run) -> str:
    about, parts = run.plan.about, []
    certificate = about.get("certificate")
    if certificate is not None:
        parts.append(f"the optimum is proved by duality to {max(certificate.values()):.0e}")
    if run.plan.gap:
        parts.append(f"the plan is within {100 * run.plan.gap:.2g}% of the best possible")
    parts.append("an audit that knows nothing of the model found no mismatch" if not run.plan.audit
                 else f"THE AUDIT FOUND {len(run.plan.audit)} MISMATCHES: do not use this plan")  # fmt: skip
    if run.plan.status == "feasible":
        parts.append("solving was stopped before the best plan was proved")
    return f"{listed(parts)}."


def _proof_rows(run: Run) -> Iterator[tuple[str, str]]:
    about = run.plan.about
    yield "status", run.plan.status
    yield "gap", "" if run.plan.gap is None else f"{run.plan.gap:.3g}"
    for name, value in (about.get("certificate") or {}).items():
        yield f"certificate: {name}", f"{value:.1e}"
    yield "audit", "no mismatch" if not run.plan.audit else f"{len(run.plan.audit)} mismatches"
    for finding in run.plan.audit:
        yield f"audit: {finding.get('check')}", f"{finding.get('where')}: {finding.get('message')}"
    yield "prices of limits", str(about.get("prices") or "")
    program = [f"{about[key]:,} {key}" for key in ("rows", "columns", "nonzeros") if isinstance(about.get(key), int)]
    yield "program", ", ".join(program)
    yield "solved in", f"{(about.get('seconds') or {}).get('total', '')} s"
    yield "oremix", str(about.get("oremix"))
    yield "fingerprint of the case", str(about.get("fingerprint"))


def traced(case: Case) -> Table:
    """How the rows of each table say where they come from."""
    how = dict(zip(case.tables["sources"]["id"], case.tables["sources"]["how"], strict=True))
    rows = []
    for name in TABLES:
        table = case.tables[name]
        if name in ("sources", "assumptions") or table.empty:
            continue
        kinds = [{how.get(source, "") for source in str(cell).split()} for cell in table["source"]]
        counts = [sum(kind in found for found in kinds) for kind in HOW]
        rows.append([name, len(table), *counts, sum(not found for found in kinds)])
    columns = [Column("table"), Column("rows", "number"), *(Column(f"from a source {h}", "number") for h in HOW),
               Column("without a source", "number")]  # fmt: skip
    return Table("where rows come from", columns, rows, note="A row that names several sources counts under each.")


def given(inputs: Inputs) -> Section:
    """Inputs, changes, warnings and sources."""
    said, changes, notes = [], [], []
    for run in inputs.runs:
        lead = f"{plain(run.name)}: " if inputs.several else ""
        count = len(run.plan.changes)
        by = list(dict.fromkeys(str(item["by"]).partition(":")[0] for item in run.plan.changes))
        text = "the case was taken as it is"
        if count:
            text = f"{counted(count, 'change')} of the case, by {listed([plain(name) for name in by])}"
        said.append(capital(f"{text}.", lead))
        for item in run.plan.changes:
            changes.append([run.name, item["key"], _text(item["old"]), _text(item["new"]), item["by"]])
        notes += [[run.name, line] for line in run.plan.warnings]
    first = inputs.runs[0]
    horizon = first.case.settings.horizon
    said.append(
        f"Money is in US dollars of {horizon.price_base_year or 'the price base year'}, discounted at "
        f"{100 * horizon.discount_rate:.3g}% a year; tonnes are tonnes a year of each material's own basis."
    )
    sized = [[name, count] for name, count in sizes(first.case).items()]
    blocks = [
        Table("size of the case", [Column("part"), Column("count", "number")], sized),
        Table("changes", [Column("run"), Column("key"), Column("old"), Column("new"), Column("by")], changes),
        Table("warnings", [Column("run"), Column("warning")], notes),
        materials(first.case), assumptions(first.case), sources(inputs),
    ]  # fmt: skip
    return Section("inputs", "Inputs, changes and sources", said, [block for block in blocks if block.rows])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(clean(value))


def materials(case: Case) -> Table:
    """What a tonne of each material is."""
    names = {"mineral": Column("mineral"), "stage": Column("stage"), "material": Column("material"),
             "basis": Column("what a tonne is"), "price_usd_per_t": Column("reference price (USD per t)", "usd_t"),
             "source": Column("sources", "sources")}  # fmt: skip
    return table_of("materials", case.tables["materials"], names)


def assumptions(case: Case) -> Table:
    """What is uncertain, and how far."""
    names = {"key": Column("input"), "low": Column("low", "number"), "high": Column("high", "number"),
             "reason": Column("why"), "source": Column("sources", "sources")}  # fmt: skip
    return table_of("assumptions", case.tables["assumptions"], names)


def sources(inputs: Inputs) -> Table:
    """Every source of the cases with its citation, and how many rows point to it."""
    tables, used = [], dict[str, int]()
    for run in inputs.runs:
        tables.append(run.case.tables["sources"])
        for name in TABLES:
            for cell in run.case.tables[name]["source"]:
                for source in str(cell).split():
                    used[source] = used.get(source, 0) + (run is inputs.runs[0])
    table = pd.concat(tables, ignore_index=True).drop_duplicates("id", ignore_index=True)
    table = table.assign(rows=[used.get(source, 0) for source in table["id"]])
    names = {"id": Column("source", "source id"), "citation": Column("citation"), "url": Column("where", "link"),
             "published": Column("published"), "licence": Column("licence"), "how": Column("how"),
             "rows": Column("rows that use it", "number")}  # fmt: skip
    return table_of("sources", table, names)


_BLOCK = re.compile(r"^```math\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"\$([^$\n]+)\$")


def mathematics() -> Section:
    """models/MATHS.md as it ships with oremix, its formulas as MathML."""
    from latex2mathml.converter import convert
    from markdown_it import MarkdownIt

    kept: list[str] = []

    def block(match: re.Match[str]) -> str:
        kept.append(convert(match[1].strip(), display="block"))
        return f"\n\u2983{len(kept) - 1}\u2984\n"

    def inline(match: re.Match[str]) -> str:
        kept.append(convert(match[1].strip()))
        return f"\u2983{len(kept) - 1}\u2984"

    text = files("models").joinpath("MATHS.md").read_text(encoding="utf-8").partition("\n")[2]
    text = re.sub(r"^## Where each sentence lives\n.*?(?=^## )", "", text, flags=re.DOTALL | re.MULTILINE)  # the code's
    text = _INLINE.sub(inline, _BLOCK.sub(block, text))
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    html = re.sub("\u2983(\\d+)\u2984", lambda match: kept[int(match[1])], html)
    html = re.sub(r'<a href="#[^"]*">(.*?)</a>', r"\1", html)
    html = re.sub(r"<(/?)h(\d)", lambda match: f"<{match[1]}h{min(int(match[2]) + 1, 6)}", html)
    said = ["Every formula behind these numbers: what is decided, what it costs, and what must hold."]
    return Section("mathematics", "The mathematics", said, html=html)
