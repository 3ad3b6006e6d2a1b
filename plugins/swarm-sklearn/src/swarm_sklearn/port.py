"""The model port for scikit-learn: reads and writes the tensors of an estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swarm.tensors import Candidate, ModelPort, Schema, Selection, TensorSpec, changed

if TYPE_CHECKING:
    from swarm.tensors import ModelState
    from swarm_sklearn.family import Family

_EVERYTHING = Selection()


class SklearnPort(ModelPort):
    """The tensors of an estimator, by the names of its attributes; ``selection`` selects those that take part.

    Values are copied in both directions. Those of an additive family are computed from its attributes, and back.
    """

    def __init__(self, family: Family, selection: Selection = _EVERYTHING) -> None:
        self._family = family
        self._selection = selection

    def schema(self) -> Schema:
        """The tensors that take part.

        Raises:
            ModelError: the selection does not match the estimator.
        """
        specs = [
            TensorSpec(name, tuple(values.shape), values.dtype.name, kind)
            for name, values, kind in self._family.tensors()
        ]
        self._selection.check([Candidate((spec.name,), spec.kind) for spec in specs])
        return Schema(tuple(spec for spec in specs if self._selection.takes(spec.name)))

    def read(self, into: ModelState) -> None:
        """Copy the values.

        Raises:
            ModelError: the estimator has other tensors than when training began.
        """
        self._require(into.schema)
        values = {name: values for name, values, _ in self._family.tensors()}
        for spec, array in into.arrays():
            np.copyto(array, values[spec.name], casting="no")

    def write(self, state: ModelState) -> None:
        """Set the attributes.

        Raises:
            ModelError: the estimator has other tensors than when training began.
        """
        self._require(state.schema)
        own = {name: values for name, values, _ in self._family.tensors()}
        self._family.assign(own | {spec.name: array for spec, array in state.arrays()})

    def _require(self, expected: Schema) -> None:
        difference = self.schema().difference(expected.of_model)
        if difference is not None:
            raise changed(difference)
