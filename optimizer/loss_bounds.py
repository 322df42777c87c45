"""What a kept plan still serves after one loss, in one chain and year: solved only where two bounds differ.

From below: the plan's own flows, each cut down to what its origin can still make, and the stock can be delivered.
From above: no more than the makers of a material can make, and the stock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from models.case import Floats
from optimizer.kept_plan import KeptPlan, least_missing
from optimizer.recourse import ChainKey

SAME = 1e-9  # shares that differ by less are the same
_ROUNDING = 1e-15
_ROUNDS = 100  # far more than any chain is long; where by-products lead back into it, no bound is known then


class LossBounds:
    """One chain in one year of a kept plan, and what is served of each material that it delivers (by place).

    ``who``: for each kind of loss (supplier, country) the name of every supplier of the case.
    ``required_t``: of each material, all markets together.
    """

    def __init__(self, kept: KeptPlan, key: ChainKey, who: Mapping[str, Any]) -> None:
        self.kept, self.key = kept, key
        self.chain = chain = kept.chains.at(key)
        self.required_t = np.bincount(chain.of_material, weights=chain.required_t, minlength=len(chain.materials))
        self._who = {kind: names[chain.supplier] for kind, names in who.items()}  # of each production entry
        self._full = kept.limits(chain, np.ones(len(kept.case.suppliers)))
        stock = kept.stock_t[chain.stocked]
        self._stock = np.bincount(chain.stock_row, weights=stock, minlength=len(chain.required))
        self._can_make, self._behind = self._makers()
        self._nothing = [least_missing(t) for t in self.required_t.tolist()]
        self._share: dict[tuple[int, str, str], float] = {}
        self._low: dict[str, dict[str, Floats]] = {}
        self._trace()

    def _trace(self) -> None:
        """Where the plan's tonnes come from: as shares of what each supplier takes in, and as tonnes of what each
        market gets; by-products apart. Lanes and pools are cut to their limits, which the status quo need not keep.
        """
        kept, chain, layout = self.kept, self.chain, self.kept.layout
        suppliers, count = len(kept.case.suppliers), len(chain.supplier)
        place = np.full(suppliers, -1)
        place[chain.supplier] = np.arange(count)
        flow_t = np.maximum(kept.x[layout.offsets["flow"] + chain.flow], 0.0)
        drawn_t = np.maximum(kept.x[layout.offsets["draw"] + chain.draw], 0.0)
        origin, to = place[layout.flow_origin[chain.flow]], layout.flow_destination[chain.flow]
        inner = to < suppliers
        into, user = place[to[inner]], place[layout.draw_supplier[chain.draw]]
        taken = np.bincount(into, weights=flow_t[inner], minlength=count) + np.bincount(
            user, weights=drawn_t, minlength=count
        )
        self._fed = taken > 0
        taken = np.where(self._fed, taken, 1.0)
        flow_t = np.minimum(flow_t, layout.flow_upper_t[chain.flow])
        self._pool = np.bincount(user, weights=drawn_t * self._of_pools(drawn_t), minlength=count) / taken
        second = kept.case.lanes.is_byproduct[layout.flow_lane[chain.flow]]
        # columns: what each supplier makes, then its by-products
        of = origin + np.where(second, count, 0)
        self._from = sparse.csr_array((flow_t[inner] / taken[into], (into, of[inner])), shape=(count, 2 * count))
        number = {(int(k), int(m)): row for row, (k, m) in enumerate(zip(
            layout.requirement_market[chain.required], layout.requirement_material[chain.required], strict=True,
        ))}  # fmt: skip
        outer = np.flatnonzero(~inner)
        ends = zip((to[outer] - suppliers).tolist(), layout.flow_material[chain.flow[outer]].tolist(), strict=True)
        row = np.array([number.get(end, -1) for end in ends], dtype=np.int64)
        asked = outer[row >= 0]
        self._into = sparse.csr_array(
            (flow_t[asked], (row[row >= 0], of[asked])), shape=(len(chain.required), 2 * count)
        )
        # by-products come only with a main product that somebody takes
        self._second = np.zeros(count, dtype=bool)
        self._second[origin[second & (flow_t > 0)]] = True
        made = np.where(kept.made[chain.production] > 0, kept.made[chain.production], 1.0)
        within, beyond = ~second & inner, ~second & ~inner
        self._onward = sparse.csr_array(
            (flow_t[within] / made[origin[within]], (origin[within], place[to[within]])), shape=(count, count)
        )
        self._sold = np.bincount(origin[beyond], weights=flow_t[beyond], minlength=count) / made

    def _of_pools(self, drawn_t: Floats) -> Floats:
        """The share of each draw that its pool has room for."""
        layout, at = self.kept.layout, self.key[1]
        most = np.zeros(len(self.kept.case.materials))
        mine = layout.pool_year == at
        most[layout.pool_material[mine]] = layout.pool_t[mine]
        pool = layout.draw_material[self.chain.draw]
        used = np.bincount(pool, weights=drawn_t, minlength=len(most))
        return np.asarray(np.divide(np.minimum(most, used), used, out=np.ones(len(most)), where=used > 0)[pool])

    def _makers(self) -> tuple[Floats, Floats]:
        """For each material the share of its requirement that a tonne of each supplier, with its by-products, can be
        (materials, production entries), and that the stock can be (materials,).
        """
        chain, case = self.chain, self.kept.case
        required = np.where(self.required_t > 0, self.required_t, np.inf)
        made = self.kept.layout.supplier_material[chain.supplier]
        tonnes = (made[None, :] == chain.materials[:, None]).astype(float)
        place = {case.materials.index[code]: p for p, code in enumerate(chain.materials.tolist())}
        for entry, name in enumerate(self._who["supplier"]):
            for material, ratio in case.byproducts.get(name, ()):
                if material in place:
                    tonnes[place[material], entry] += ratio
        stock = np.bincount(chain.of_material, weights=self._stock, minlength=len(chain.materials))
        return tonnes / required[:, None], stock / required

    def members(self, kind: str) -> Mapping[str, Floats]:
        """Whom the plan uses, or could call on, in this chain -> a share that is surely served of each material after
        its loss.
        """
        if kind not in self._low:
            who = self._who[kind]
            names = sorted(set(who[self._full > 0]))
            left = np.array([np.where(who == name, 0.0, 1.0) for name in names]).reshape(len(names), len(who))
            self._low[kind] = dict(zip(names, self._least(left), strict=True))
        return self._low[kind]

    def _least(self, left: Floats) -> Floats:
        """A share that can be served of each material where ``left`` (losses, production entries) is left of what each
        supplier makes. Shape (losses, materials).

        Each supplier makes at most the share of the plan's production that is left of it, and for which inputs
        arrive; a flow is the plan's, times the share that its origin makes and the part of what arrives that its
        destination uses. Where nobody takes the main product any more there is no by-product of it either.
        """
        count = left.shape[0]
        second = np.ones((left.shape[1], count))  # share of the plan's by-products
        for _ in range(_ROUNDS):
            made, arrives = self._made(left.T, second)
            less = np.where(self._second[:, None], np.minimum(second, self._leaves(made, arrives)), second)
            if (less >= second - _ROUNDING).all():
                break
            second = less
        else:
            return np.zeros((count, len(self.chain.materials)))
        required = self.chain.required_t[:, None]
        served = self._into @ np.concatenate([made, second]) + self._stock[:, None]
        share = np.divide(served, required, out=np.ones((len(required), count)),
                          where=required > 0)  # fmt: skip
        found = np.ones((len(self.chain.materials), count))
        np.minimum.at(found, self.chain.of_material, share)
        return found.T

    def _made(self, left: Floats, second: Floats) -> tuple[Floats, Floats]:
        """Shares of the plan's production that can be made, and of the plan's inputs that arrive."""
        made = left
        while True:  # at most as often as a chain is long
            arrives = self._from @ np.concatenate([made, second]) + self._pool[:, None]
            less = np.where(self._fed[:, None], np.minimum(made, arrives), made)
            if (less >= made - _ROUNDING).all():
                return less, arrives
            made = less

    def _leaves(self, made: Floats, arrives: Floats) -> Floats:
        """Shares of the plan's production that leave, as main product."""
        if not self._second.any():
            return made
        leaves = made
        while True:  # at most as often as a chain is long
            used = np.divide(leaves, arrives, out=np.zeros_like(made), where=arrives > 0)
            less = made * (self._onward @ used + self._sold[:, None])
            if (less >= leaves - _ROUNDING).all():
                return less
            leaves = less

    def served(self, place: int, kind: str, member: str) -> float:
        """The largest share of a material's requirement that is served after the loss of a member, at most 1."""
        if member not in self.members(kind):
            return self.undisturbed(place)
        known = place, kind, member
        if known not in self._share:
            left = np.where(self._who[kind] == member, 0.0, 1.0)
            self._share[known] = self._between(place, left, float(self.members(kind)[member][place]))
        return self._share[known]

    def undisturbed(self, place: int) -> float:
        """The largest share that is served without any loss."""
        known = place, "", ""
        if known not in self._share:
            left = np.ones(len(self.chain.supplier))
            self._share[known] = self._between(place, left, float(self._least(left[None, :])[0, place]))
        return self._share[known]

    def _between(self, place: int, left: Floats, low: float) -> float:
        """The share itself, from where it surely is."""
        if 1.0 - low <= self._nothing[place]:
            return 1.0
        limits = self._full * left
        if self._can_make[place] @ limits + self._behind[place] <= low + SAME:
            return low
        return self.kept.served(self.key, limits, place)

    def short_t(self, place: int, scenario: str, without_t: Floats) -> float:
        """Tonnes a year that a scenario of disruptions.csv leaves short of what it asks for.

        ``without_t``: what the plan does without, t a year (markets, materials, years).
        """
        kept, chain, layout = self.kept, self.chain, self.kept.layout
        effect = kept.scenario_effects.at(scenario, self.key[1])
        at = layout.requirement_market[chain.required], layout.requirement_material[chain.required]
        required = np.where(chain.required_t > 0, chain.required_t, 1.0)
        asked = np.maximum(effect.demand_multiple[at] - without_t[(*at, self.key[1])] / required, 0.0)
        limits = self._full * effect.available_share[chain.supplier]
        return (1.0 - kept.served(self.key, limits, place, asked=asked)) * float(self.required_t[place])
