"""Measures of points as text, for CSV and JSON alike; what is as in the point before is not written anew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np

from models.case import Floats
from optimizer.point_measures import Measure

_RISK = frozenset(("hhi_country", "largest_share", "import_reliance"))


def number_text(value: float) -> str:
    """A number to its last digit; blank where there is none."""
    return repr(value) if value == value else ""


class Writer:
    """Rows of measures as texts and as JSON, one after the other.

    Measures of a material stand together (``measures_of``), so that a material whose numbers are those of the point
    before keeps its part of the document.
    """

    def __init__(self, measures: Sequence[Measure]) -> None:
        self.measures = list(measures)
        materials = list(dict.fromkeys(measure.material for measure in measures))
        self._block_of = np.array([materials.index(measure.material) for measure in measures], dtype=np.int64)
        prefix = [json.dumps(m.member if m.what == "share" else m.what) + ": " for m in measures]
        self._blocks = [
            [(place, self.measures[place].what, self.measures[place].year, self.measures[place].by, prefix[place])
             for place in np.flatnonzero(self._block_of == block).tolist()]
            for block in range(len(materials))
        ]  # fmt: skip
        self._materials = materials
        self._names = [json.dumps(material) for material in materials]
        self._bits = np.zeros(len(measures), dtype=np.int64)
        self._texts = ["0.0"] * len(measures)
        self._parts = [self._part(block) for block in range(len(materials))]

    def rows(self, measures: Floats) -> Iterator[tuple[list[str], str]]:
        """The cells of every row, and what stands between the braces of its JSON; shape (points, measures)."""
        for row in np.ascontiguousarray(measures, dtype=float):
            bits = row.view(np.int64)  # nan is not nan, but its bits are
            changed = np.flatnonzero(bits != self._bits)
            self._texts = self._texts.copy()
            for place, value in zip(changed.tolist(), row[changed].tolist(), strict=True):
                self._texts[place] = number_text(value)
            self._bits = bits
            for block in np.unique(self._block_of[changed]).tolist():
                self._parts[block] = self._part(block)
            yield self._texts, self._document()

    def _document(self) -> str:
        """Cost first, then shares, risk and shortage by material and year."""
        head = [part for name, part in zip(self._materials, self._parts, strict=True) if not name]
        written = [part for parts in head for part in parts]
        for at, what in enumerate(("shares", "risk", "shortage_t")):
            inner = [
                f"{name}: {{{part[at]}}}"
                for material, name, part in zip(self._materials, self._names, self._parts, strict=True)
                if material and part[at]
            ]  # fmt: skip
            written.append(f'"{what}": {{{", ".join(inner)}}}')
        return ", ".join(written)

    def _part(self, block: int) -> tuple[str, ...]:
        """What a material adds to shares, risk and shortage; of no material: objective and cost of each year.

        Shares and shortages that are 0 are left out, and whatever there is none of.
        """
        shares: dict[int, dict[str, list[str]]] = {}
        risk: dict[int, list[str]] = {}
        plain: dict[int, list[str]] = {}
        objective, texts = "null", self._texts
        for place, what, year, by, prefix in self._blocks[block]:
            text = texts[place]
            if not text:
                continue
            if what == "share":
                if text != "0.0":
                    shares.setdefault(year, {}).setdefault(by, []).append(prefix + text)
            elif what in _RISK:
                risk.setdefault(year, []).append(prefix + text)
            elif what == "objective_usd":
                objective = text
            elif text != "0.0" or what == "cost_usd_per_y":
                plain.setdefault(year, []).append(text)
        years = ", ".join(f'"{year}": {texts[0]}' for year, texts in plain.items())
        if not self._materials[block]:
            return f'"objective_usd": {objective}', f'"cost_usd_per_y": {{{years}}}'
        mixes = []
        for year, groups in shares.items():
            inner = ", ".join(f'"{by}": {{{", ".join(members)}}}' for by, members in groups.items())
            mixes.append(f'"{year}": {{{inner}}}')
        risks = ", ".join(f'"{year}": {{{", ".join(parts)}}}' for year, parts in risk.items())
        return ", ".join(mixes), risks, years
