"""A model on its way from rank 0 to the other processes of its site, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from swarm.ranks.group import ProcessGroup
from swarm.tensors.state import Array, ModelState, Schema, TensorKind, TensorSpec, numpy_dtype

Arrays = Iterator[tuple[TensorSpec, Array]]


class ArrivingModel(ModelState):
    """A model whose arrays can be read once each, in the order of the schema; each is received when it is read.

    So a process has one tensor of it at a time, not the whole model.
    """

    __slots__ = ("_arriving",)

    def __init__(self, schema: Schema, arriving: Arrays) -> None:
        super().__init__(schema, {}, [])
        self._arriving = arriving

    def arrays(self) -> Arrays:
        """The tensors that have not been read yet."""
        return self._arriving

    def of_model(self) -> ModelState:
        """The tensors of the model, to be read before those of its optimizers."""
        schema = self.schema.of_model
        return ArrivingModel(schema, islice(self._arriving, len(schema.tensors)))


def send(group: ProcessGroup, model: ModelState) -> None:
    """Rank 0: send all arrays of a model, or of an update of one.

    Raises:
        RanksError: a process is gone.
    """
    if group.size == 1:
        return  # the arrays may have to be put together
    for _, array in model.arrays():
        group.share(np.ascontiguousarray(array))


def receive(group: ProcessGroup, schema: Schema, *, wide: bool = False) -> ArrivingModel:
    """The other ranks: the model that rank 0 sends. All of its arrays must be read.

    Args:
        group: of the site.
        schema: of the model.
        wide: whether weights of half precision arrive in float32, as in an update.
    """

    def arrays() -> Arrays:
        for spec in schema.tensors:
            half = wide and spec.kind is TensorKind.WEIGHT and spec.dtype in ("float16", "bfloat16")
            array = np.empty(spec.shape, np.float32 if half else numpy_dtype(spec.dtype))
            group.share(array)
            yield spec, array

    return ArrivingModel(schema, arrays())
