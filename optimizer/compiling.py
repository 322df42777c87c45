"""A Pyomo model as arrays: the only file here that takes anything of Pyomo, its standard-form compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from optimizer.engine import collection
from optimizer.lean_imports import without
from optimizer.program import Names, Program

# Pyomo answers the first import of scipy by importing scipy.stats too, which takes longer than our whole answer.
with without("scipy.stats", "scipy.spatial", "scipy.integrate"):
    from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler
    from scipy import sparse

if TYPE_CHECKING:
    from pyomo.core.base.block import BlockData


def compile_model(model: BlockData) -> Program:
    """A Pyomo model as arrays, in the model's own units.

    ``mixed_form`` gives rows typed 1 (<=), 0 (=), -1 (>=).
    """
    with collection(on=False):
        return _compile(model)


def _compile(model: BlockData) -> Program:
    form = LinearStandardFormCompiler().write(model, mixed_form=True)
    rhs = np.asarray(form.rhs, dtype=float)
    kind = np.array([row.bound_type for row in form.rows], dtype=np.int64)
    families = {id(family): family for family in (variable.parent_component() for variable in form.columns)}
    places = {
        id(variable): (family.name, index)
        for family in families.values() for index, variable in family.items()
    }  # fmt: skip
    bounds = [variable.bounds for variable in form.columns]
    return Program(
        matrix=sparse.csc_array(form.A),
        row_lower=np.where(kind <= 0, rhs, -np.inf), row_upper=np.where(kind >= 0, rhs, np.inf),
        cost=np.asarray(form.c.todense(), dtype=float).ravel(),
        lower=np.array([-np.inf if low is None else low for low, _ in bounds]),
        upper=np.array([np.inf if high is None else high for _, high in bounds]),
        integer=np.array([variable.is_integer() for variable in form.columns], dtype=bool),
        rows=Names.of([(r.constraint.parent_component().name, r.constraint.index()) for r in form.rows]),
        names=Names.of([places[id(variable)] for variable in form.columns]),
    )  # fmt: skip
