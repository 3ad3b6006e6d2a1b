"""The model port for Keras: reads and writes the variables of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from swarm.errors import ModelError
from swarm.tensors import Candidate, ModelPort, Schema, Selection, SpectralNorm, TensorKind, TensorSpec, changed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from swarm.tensors import ModelState

_EVERYTHING = Selection()


def values_of(variable: Any) -> NDArray[np.generic]:
    """A variable's values, possibly as a view of its memory."""
    values: NDArray[np.generic] = keras.ops.convert_to_numpy(variable.value)
    return values


def view_of(variable: Any) -> NDArray[np.generic]:
    """A variable's values as a view of its memory where the backend has one on the CPU, else as a copy.

    They are valid until the variable changes; of TensorFlow and JAX even longer, as those write into other memory then.
    """
    value, backend = variable.value, keras.backend.backend()
    if backend == "torch":
        value = value.detach()
        if value.device.type != "cpu" or "bfloat16" in str(value.dtype):  # NumPy has no view of the latter
            return values_of(variable)
        values: NDArray[np.generic] = value.numpy()
        return values
    return np.asarray(value.read_value() if backend == "tensorflow" else value)


def attach_state(model: Any) -> None:
    """Copy the state of a running ``fit`` into the model's variables.

    On JAX the trainer keeps the state of an epoch separately, and reads it from the variables again after this call.
    So later assignments to the variables take effect. Other backends need nothing.
    """
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


class KerasPort(ModelPort):
    """``model.weights`` in their order, for every backend.

    Weights and BatchNormalization statistics are distinguished by the layer they belong to, never by name or by
    ``trainable``: a frozen kernel is a weight, unless it contains infinities, as a mask does. Other variables are
    module state. Metrics, seed generators and the variables of a ``Normalization`` layer are not shared: such a layer
    is the peer's own preprocessing, compiled into its train function. ``selection`` selects the variables that take
    part by ``variable.path``.

    A complex variable is represented by a real tensor; the last dimension is the real and the imaginary part.

    Variables are looked up on every call. While training waits for a round their memory is borrowed, where the backend
    shows it. What is assigned is a copy: JAX donates the buffers of a step to the next one, and may use the memory of
    an assigned array for the variable.
    """

    def __init__(self, model: Any, selection: Selection = _EVERYTHING) -> None:
        self._model = model
        self._selection = selection

    def schema(self) -> Schema:
        """The tensors that take part; dtypes are those of the values (JAX may hold a float64 variable as float32).

        Raises:
            ModelError: the model is not built, or the selection does not match it.
        """
        attach_state(self._model)
        kinds, normalizing = _kinds(self._model), _normalizing(self._model)
        specs = tuple(
            self._spec(variable, kinds.get(id(variable)), normalizes=id(variable) in normalizing)
            for variable in self._shareable()
        )
        if not specs:
            raise ModelError(
                f"the Keras model {self._model.name!r} has no weights yet: build it, or call it on one batch, before"
                " on_train_begin()"
            )
        self._selection.check([Candidate((spec.name,), spec.kind) for spec in specs])
        schema = Schema(tuple(spec for spec in specs if self._selection.takes(spec.name)))
        return Schema(schema.tensors, tuple(self._spectral()))

    def _spectral(self) -> Iterator[SpectralNorm]:
        """The kernels under ``SpectralNormalization`` that take part together with their vectors.

        That layer stores its normalised kernel; the last axis of the kernel is the rows.
        """
        places = {id(variable): index for index, variable in enumerate(self._variables())}
        for layer in layers_of(self._model):
            if isinstance(layer, keras.layers.SpectralNormalization) and layer.built:
                weight, left = places.get(id(layer.kernel)), places.get(id(layer.vector_u))
                if weight is not None and left is not None:
                    yield SpectralNorm(weight, len(layer.kernel.shape) - 1, left, in_place=True)
                elif weight != left:
                    raise ModelError(
                        "`share` and `local` separate a weight under spectral normalisation from its singular vector"
                        f" ({layer.kernel.path!r}, {layer.vector_u.path!r}): let both take part, or none"
                    )

    def _spec(self, variable: Any, kind: TensorKind | None, *, normalizes: bool) -> TensorSpec:
        given = values_of(variable)
        values = _real(given)
        mask = kind is TensorKind.WEIGHT and not variable.trainable and bool(np.isinf(values).any())
        if kind is None or mask or values.dtype.kind in "iub":
            kind = TensorKind.STATE
        shape, is_complex = tuple(values.shape), given.dtype.kind == "c"
        kept = normalizes and self._selection.keeps(kind)
        return TensorSpec(variable.path, shape, values.dtype.name, kind, complex=is_complex, kept=kept)

    def read(self, into: ModelState) -> None:
        """Copy the variables' values."""
        attach_state(self._model)
        for variable, _, array in self._pairs(into):
            np.copyto(array, _real(values_of(variable)), casting="no")

    def borrow(self, schema: Schema) -> list[NDArray[np.generic]]:
        """Views of the variables' values where the backend has them, else copies."""
        attach_state(self._model)
        arrays = [np.asarray(_real(view_of(variable)), order="C") for variable in self._unchanged(schema)]
        for spec, array in zip(schema.tensors, arrays, strict=True):
            if array.dtype.name != spec.dtype:
                raise changed(f"{spec.name!r} is {array.dtype.name}, and was {spec.dtype}")
        return arrays

    def write(self, state: ModelState) -> None:
        """Assign a copy of the values to the variables."""
        attach_state(self._model)
        for variable, spec, array in self._pairs(state):
            _assign(variable, spec, array.copy())

    def update(self, state: ModelState) -> None:
        """As ``write``, except variables of which the site keeps its own values."""
        attach_state(self._model)
        for variable, spec, array in self._pairs(state):
            if not spec.kept:
                _assign(variable, spec, array.copy())

    def add(self, step: ModelState) -> None:
        """Assign the sums to the variables."""
        attach_state(self._model)
        for variable, spec, array in self._pairs(step):
            if spec.kept:
                continue
            if spec.kind is TensorKind.WEIGHT:
                values = _real(values_of(variable))
                _assign(variable, spec, np.add(values, array).astype(values.dtype, copy=False))
            else:
                _assign(variable, spec, array.copy())

    def _pairs(self, state: ModelState) -> Iterator[tuple[Any, TensorSpec, NDArray[np.generic]]]:
        """Each variable with its spec and values in ``state``."""
        for variable, (spec, array) in zip(self._unchanged(state.schema), state.arrays(), strict=True):
            yield variable, spec, array

    def _unchanged(self, schema: Schema) -> list[Any]:
        """The variables that take part.

        Raises:
            ModelError: the model has other variables than when training began.
        """
        variables = list(self._variables())
        shapes = [spec.shape[:-1] if spec.complex else spec.shape for spec in schema.tensors]
        if [tuple(variable.shape) for variable in variables] != shapes:
            difference = self.schema().difference(schema)
            raise changed(difference or "its variables are others")
        return variables

    def variables(self) -> list[Any]:
        """The variables that take part, in the order of the schema."""
        return list(self._variables())

    def _variables(self) -> Iterator[Any]:
        return (variable for variable in self._shareable() if self._selection.takes(variable.path))

    def _shareable(self) -> Iterator[Any]:
        own = {
            id(variable)
            for layer in layers_of(self._model)
            if isinstance(layer, keras.layers.Normalization)
            for variable in layer.weights
        }
        return (variable for variable in self._model.weights if id(variable) not in own)


def layers_of(model: Any) -> Iterator[Any]:
    """The model itself and every layer in it, at any depth."""
    yield from model._flatten_layers()  # noqa: SLF001 - the public .layers stops at composite layers


def _kinds(model: Any) -> dict[int, TensorKind]:
    """The kind of each variable according to its layer, by id."""
    kinds: dict[int, TensorKind] = {}
    for layer in layers_of(model):
        # the list in which a variable was created; freezing the layer or the variable does not remove it
        kinds.update((id(variable), TensorKind.WEIGHT) for variable in layer._trainable_variables)  # noqa: SLF001
        if isinstance(layer, keras.layers.BatchNormalization) and layer.built:
            kinds[id(layer.moving_mean)] = TensorKind.MEAN
            kinds[id(layer.moving_variance)] = TensorKind.VARIANCE
    return kinds


def _normalizing(model: Any) -> set[int]:
    """The variables of layers that normalise by statistics of the data, by id."""
    found = (layer for layer in layers_of(model) if isinstance(layer, keras.layers.BatchNormalization))
    return {id(variable) for layer in found for variable in layer.weights}


def _real(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Complex values with a last dimension of the real and the imaginary part; other values unchanged."""
    if values.dtype.kind != "c":
        return values
    return values[..., np.newaxis].copy().view(values.real.dtype)


def _assign(variable: Any, spec: TensorSpec, values: NDArray[np.generic]) -> None:
    """Assign contiguous values, whose memory the variable may keep."""
    if spec.complex:
        values = values.view(np.result_type(values.dtype, np.complex64))[..., 0]
    variable.assign(values)
