"""The model port for torch: reads and writes the tensors of a model."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from swarm.errors import ModelError
from swarm.pytorch.arrays import array_of, memory, shared_tensor
from swarm.pytorch.entry import Entry
from swarm.pytorch.flattened import (
    acts_together,
    is_flat,
    is_partitioned,
    unsupported,
    unsupported_parameter,
    whole_parameters,
)
from swarm.pytorch.masters import check_masters
from swarm.pytorch.names import changed_keys, join, places
from swarm.pytorch.shards import is_sharded, keep_shards_only
from swarm.pytorch.spectral import normalised_weights
from swarm.pytorch.staging import Staging
from swarm.tensors.model import ModelPort, changed
from swarm.tensors.selection import Candidate, Selection
from swarm.tensors.state import Schema, SpectralNorm, TensorKind, TensorSpec, Tied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from swarm.tensors.state import Array, ModelState

_WEIGHT_DTYPES = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}
_INTEGER_DTYPES = {
    getattr(torch, name): name
    for name in ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
}
_DTYPES = _WEIGHT_DTYPES | _INTEGER_DTYPES

_NORM_KINDS = {
    "running_mean": TensorKind.MEAN,
    "running_var": TensorKind.VARIANCE,
    "num_batches_tracked": TensorKind.COUNTER,
}


_EVERYTHING = Selection()


class _Found(NamedTuple):
    names: list[str]
    kind: TensorKind
    tensor: torch.Tensor
    refusal: str | None
    is_complex: bool
    tied: list[Tied]
    normalizes: bool
    """Whether it belongs to a layer that normalises by statistics of the data."""
    trained: bool
    """Whether it is a parameter with ``requires_grad``, or a buffer of a module that has one."""


class TorchPort(ModelPort):
    """Parameters and persistent buffers of an ``nn.Module``, in the order of its ``state_dict``.

    Frozen parameters are included, buffers registered with ``persistent=False`` are not. Tensors that share memory are
    included once, under the first name. The running statistics of BatchNorm layers are recognised by the type of the
    layer (``nn.modules.batchnorm`` and its subclasses, including SyncBatchNorm and InstanceNorm), never by name. Other
    buffers, integer parameters, and frozen parameters that contain infinities, as masks do, are module state.

    A complex tensor is represented by its real view in the same memory; the last dimension is the real and the
    imaginary part.

    ``selection`` selects the tensors that take part, by the keys of the model's ``state_dict``. The others are neither
    read nor written, and may be tensors that cannot be merged. With ``trainable_only`` only those take part that are
    trained when the port is created: parameters with ``requires_grad``, and the buffers of their modules.

    A wrapper (``torch.compile``, ``DistributedDataParallel``, ``DataParallel``, ``Fabric.setup``) anywhere in the model
    changes neither order nor names. A model on a GPU is copied through the CPU.

    ``masters`` has the master weights of parameters in half precision, by the name of the parameter: what an optimizer
    trains in float32 and rounds into the model. They take part in place of these parameters, which are set from them.

    Of a model that is sharded over several processes (DTensor), each sets its own shard from the whole tensors that it
    is given. All of them take part where it is read: one calls ``read``, the others ``give``. The whole of one tensor
    is in memory at a time, besides what ``read`` fills. Parameters that an optimizer of DeepSpeed (ZeRO-1 or 2) trains
    take part in float32, as it has them, and are set the same way. Of a model under FSDP1 all processes take part in
    every call, and the whole of it is in memory meanwhile.
    """

    def __init__(
        self,
        model: nn.Module,
        selection: Selection = _EVERYTHING,
        *,
        trainable_only: bool = False,
        masters: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Read which tensors there are; values are not read.

        Raises:
            ModelError: with ``trainable_only``, no parameter is trained; or ``masters`` do not fit the model.
        """
        self._model = model
        self._selection = selection
        self._masters = masters or {}
        self._staging: dict[torch.device, Staging] = {}
        self._masks: frozenset[str] = frozenset()
        """Names of frozen parameters that contained infinities when the schema was created."""
        self._names: Mapping[str, str] = {}
        self._trained: frozenset[str] | None = None
        """Names of the tensors that are trained; None where the others take part too."""
        if self._masters:
            if acts_together(model):
                raise ModelError(
                    "master_weights is given, and the model is under FullyShardedDataParallel or DeepSpeed, whose "
                    "float32 weights are found without it: leave it out"
                )
            weights = [each for each in _found(model, _names(model)) if each.kind is TensorKind.WEIGHT]
            check_masters(self._masters, {name: each.tensor for each in weights for name in each.names})
        if trainable_only:
            with whole_parameters(model, everywhere=True):
                found = _found(model, _names(model))
            self._trained = frozenset(each.names[0] for each in found if each.trained)
            if not self._trained:
                raise ModelError(
                    f"trainable_only=True leaves nothing to merge: no parameter of {type(model).__name__} has "
                    "requires_grad"
                )

    def schema(self) -> Schema:
        """The tensors that currently take part.

        Raises:
            ModelError: a tensor cannot be merged (quantized, sparse, sharded), or has no values yet; or the
                selection does not match the model.
        """
        with whole_parameters(self._model, everywhere=True):
            self._names = _names(self._model)
            found = _found(self._model, self._names)
            if self._trained is not None:
                found = [each for each in found if each.names[0] in self._trained]
            self._selection.check([Candidate(tuple(each.names), each.kind) for each in found])
            self._masks = frozenset(each.names[0] for each in found if _is_mask(each))
            entries = list(self.entries())
            schema = Schema(tuple(entry.spec for entry in entries), tuple(self._spectral(entries)))
        if not schema.tensors:
            raise ModelError(f"the model {type(self._model).__name__} has no parameters: there is nothing to merge")
        return schema

    def read(self, into: ModelState) -> None:
        """Copy every tensor's values into ``into``, bit for bit."""
        begun: set[torch.device] = set()
        with whole_parameters(self._model):
            for entry, (_, array) in zip(self._unchanged(into.schema), into.arrays(), strict=True):
                values, target = entry.values, shared_tensor(array)
                if values.is_cuda:
                    self._staged(values.device, begun).copy(target, values)
                else:
                    target.copy_(values)
            for device in begun:
                self._staging[device].end()

    def _staged(self, device: torch.device, begun: set[torch.device]) -> Staging:
        """What copies from a GPU, which has begun."""
        if device not in self._staging:
            self._staging[device] = Staging(device)
        if device not in begun:
            begun.add(device)
            self._staging[device].begin()
        return self._staging[device]

    def give(self) -> None:
        """Take part while another process reads a sharded model."""
        with whole_parameters(self._model):
            if any(map(is_flat, self._model.modules())):
                return  # only the other process has whole parameters, and has all that it needs
            for entry in self.entries():
                _ = entry.values

    def borrow(self, schema: Schema) -> list[Array] | None:
        """Views of the tensors of a model on the CPU; None for a model on another device, or for a sharded one."""
        if acts_together(self._model):
            return None
        entries = self._unchanged(schema)
        if any(entry.tensor.device.type != "cpu" or is_sharded(entry.tensor) for entry in entries):
            return None
        # torch cannot resize a tensor that NumPy has a view of, as observers do with their buffers: buffers are copied
        return [
            array_of(entry.tensor.clone() if entry.spec.in_side_block else entry.tensor.contiguous())
            for entry in entries
        ]

    def write(self, state: ModelState) -> None:
        """Set every tensor from ``state``, in place.

        The parameter objects, their gradients and the references of the optimizer do not change. Autograd does not
        record the write, as with an optimizer step.
        """
        with self._changing(state) as pairs:
            for entry, array in pairs:
                entry.set(array)

    def update(self, state: ModelState) -> None:
        """As ``write``, except tensors of which the site keeps its own values."""
        with self._changing(state) as pairs:
            for entry, array in pairs:
                if not entry.spec.kept:
                    entry.set(array)

    def add(self, step: ModelState) -> None:
        """Add ``step`` in place. Autograd does not record it."""
        with self._changing(step) as pairs:
            for entry, array in pairs:
                if entry.spec.kept:
                    continue
                if entry.spec.kind is TensorKind.WEIGHT:
                    entry.add(array)
                else:
                    entry.set(array)

    def parameters(self) -> dict[str, torch.Tensor]:
        """The weights that take part, by name; a complex one as its real view. Under FSDP1 they have no values."""
        with whole_parameters(self._model, everywhere=True):
            return {entry.spec.name: entry.tensor for entry in self.entries() if entry.spec.kind is TensorKind.WEIGHT}

    @contextmanager
    def _changing(self, state: ModelState) -> Iterator[Iterable[tuple[Entry, Array]]]:
        """The tensors that take part, with the arrays of ``state``, to be set in the block."""
        arrays: Iterable[Array] = (array for _, array in state.arrays())
        if acts_together(self._model):
            arrays = list(arrays)  # they may come from another process, which then takes part in what follows
        with whole_parameters(self._model, changed=True):
            yield zip(self._unchanged(state.schema), arrays, strict=True)

    def _unchanged(self, schema: Schema) -> list[Entry]:
        """The tensors that take part; raises an error if they are not those of ``schema``."""
        entries = list(self.entries())
        difference = Schema(tuple(entry.spec for entry in entries)).difference(schema)
        if difference is not None:
            raise changed(difference)
        return entries

    def entries(self) -> Iterator[Entry]:
        """Spec and values of each tensor that takes part, detached from autograd."""
        keep_shards_only(self._model)
        if not self._names:
            self._names = _names(self._model)
        for found in _found(self._model, self._names):
            if self._takes(found.names):
                name, tensor = found.names[0], found.tensor
                if found.refusal is not None:
                    raise ModelError(f"{name!r} {found.refusal}")
                master = next((self._masters[each] for each in found.names if each in self._masters), None)
                rounded = None if master is None else tensor.data
                tensor = tensor if master is None else master
                partitioned = tensor if is_partitioned(tensor) else None
                spec = TensorSpec(
                    name,
                    tuple(tensor.shape),
                    _DTYPES[torch.float32 if is_partitioned(tensor) else tensor.dtype],
                    TensorKind.STATE if name in self._masks else found.kind,
                    tied=tuple(found.tied),
                    complex=found.is_complex,
                    kept=found.normalizes and self._selection.keeps(found.kind),
                )
                # .data, not .detach(): the latter shares the version counter, so a write would break the backward pass
                # of an existing graph.
                yield Entry(spec, tensor.data, rounded, partitioned)

    def _takes(self, names: list[str]) -> bool:
        return (self._trained is None or names[0] in self._trained) and self._selection.takes(*names)

    def _name_of(self, tensor: torch.Tensor) -> str:
        found = _found(self._model, self._names)
        return next(each.names[0] for each in found if memory(each.tensor) == memory(tensor))

    def _spectral(self, entries: list[Entry]) -> Iterator[SpectralNorm]:
        """The weights under spectral normalisation that take part together with their vectors."""
        parameters = [entry.tensor if entry.rounded is None else entry.rounded for entry in entries]
        places = {memory(tensor): index for index, tensor in enumerate(parameters)}
        for norm in normalised_weights(self._model):
            weight, left, right = (places.get(memory(tensor)) for tensor in (norm.weight, norm.left, norm.right))
            if weight is not None and left is not None and right is not None:
                yield SpectralNorm(weight, norm.axis, left, right)
            elif not weight == left == right:
                raise ModelError(
                    "`share` and `local` separate a weight under spectral normalisation from its singular vectors"
                    f" ({self._name_of(norm.weight)!r}, {self._name_of(norm.left)!r}, {self._name_of(norm.right)!r}):"
                    " let all of them take part, or none"
                )


def _found(model: nn.Module, names: Mapping[str, str]) -> list[_Found]:
    """Each parameter and persistent buffer once, with all of its names; ``names`` gives them by path."""
    found: dict[object, _Found] = {}
    for path, module, leaf, tensor in _tensors(model):
        name = names.get(path, path)
        refusal = _refusal(tensor)
        # of two shards without an element, nothing tells whether they are of one tensor
        key = memory(tensor) if refusal is None and not is_sharded(tensor) else id(tensor)
        is_complex = refusal is None and tensor.is_complex()
        values = torch.view_as_real(tensor.data) if is_complex else tensor
        first = found.get(key)
        if first is None:
            is_buffer = leaf in module._buffers  # noqa: SLF001
            kind = _kind(module, leaf, values, is_buffer=is_buffer)
            trained = tensor.requires_grad or (is_buffer and _trains(module))
            found[key] = _Found([name], kind, values, refusal, is_complex, [], isinstance(module, _NormBase), trained)
        else:
            first.names.append(name)
            first.tied.append(_tied(name, first.tensor, values))
    return list(found.values())


def _tensors(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, torch.Tensor]]:
    """Each place of a parameter or persistent buffer: its path, the module it belongs to, and its name there."""
    for path, _, module in places(model):
        if reason := unsupported(module, path):
            raise ModelError(f"{path or 'the model'} {reason}")
        for leaf, tensor in (*module._parameters.items(), *module._buffers.items()):  # noqa: SLF001
            # there is no public attribute for persistent buffers
            if tensor is not None and leaf not in module._non_persistent_buffers_set:  # noqa: SLF001
                yield join(path, leaf), module, leaf, tensor


def _names(model: nn.Module) -> dict[str, str]:
    """The name of each tensor by its path: its key in ``state_dict``, without the prefixes of wrappers."""
    prefixes = {place.path: place.name for place in places(model)}
    tensors = {path: tensor for path, _, _, tensor in _tensors(model)}
    # FSDP1 would have all processes put the whole model together for its state_dict
    changed = {} if any(map(is_flat, model.modules())) else changed_keys(model, tensors, _memory_or_object)
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in tensors:
        prefix, _, leaf = path.rpartition(".")
        name = changed.get(path) or join(prefixes[prefix], leaf)
        names[path] = path if name in taken else name
        taken.add(names[path])
    return names


def _memory_or_object(value: object) -> object:
    """A key that is equal for tensors in the same memory; for other objects, the identity."""
    return memory(value) if isinstance(value, torch.Tensor) and _refusal(value) is None else id(value)


def _tied(name: str, first: torch.Tensor, other: torch.Tensor) -> Tied:
    """Another view of a tensor's memory: its name, and how to create it from the tensor's values."""
    if first is other or (first.shape, first.stride()) == (other.shape, other.stride()):
        return Tied(name)
    strides = first.stride()
    order = sorted(range(first.ndim), key=lambda axis: -strides[axis])
    return Tied(name, tuple(order), tuple(other.shape), other.stride())


def _kind(module: nn.Module, leaf: str, tensor: torch.Tensor, *, is_buffer: bool) -> TensorKind:
    if is_buffer and isinstance(module, _NormBase) and leaf in _NORM_KINDS:
        return _NORM_KINDS[leaf]
    return TensorKind.STATE if is_buffer or tensor.dtype not in _WEIGHT_DTYPES else TensorKind.WEIGHT


def _trains(module: nn.Module) -> bool:
    """Whether a parameter of a module itself is trained."""
    return any(parameter.requires_grad for parameter in module.parameters(recurse=False))


def _is_mask(found: _Found) -> bool:
    """Whether a tensor is a frozen parameter with infinities, which can be copied but not averaged."""
    tensor = found.tensor
    plain = found.kind is TensorKind.WEIGHT and found.refusal is None and not found.is_complex
    return plain and not tensor.requires_grad and bool(tensor.isinf().any())


def _refusal(tensor: torch.Tensor) -> str | None:
    """Why ``tensor`` cannot be merged, as the end of a sentence; None if it can."""
    if reason := unsupported_parameter(tensor):
        return reason
    if is_lazy(tensor):
        return "has no shape yet: pass one batch through the model before training begins"
    foreign = any(base.__module__.startswith("torch.distributed") for base in type(tensor).__mro__)
    if foreign and not is_sharded(tensor):
        return f"is a {type(tensor).__name__}, of which this process holds only a shard"
    if is_sharded(tensor) and tensor.is_complex():  # its real view would be a copy of the whole, which nobody trains
        return "is complex, and sharded over several processes: use DistributedDataParallel instead"
    if tensor.is_meta:
        return "is on the meta device and has no values: move the model with to_empty() and load it"
    if tensor.layout is not torch.strided or tensor.is_nested:
        return f"has the layout {tensor.layout}: only dense tensors can be merged, use to_dense()"
    if tensor.is_conj() or tensor.is_neg():
        return "is a conjugate that is not computed yet: store its .resolve_conj().resolve_neg()"
    if tensor.is_quantized or (tensor.dtype not in _DTYPES and not tensor.is_complex()):
        return (
            f"is {tensor.dtype}, which cannot be averaged: "
            f"train in one of {', '.join(_WEIGHT_DTYPES.values())} and quantize after training"
        )
    if any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        return "is an expanded view whose elements share memory: store a .clone() of it"
    return None
