"""The tensors of a model: one flat segment per dtype, and an exact side block.

Weights are concatenated in one flat array per dtype, so that a round can divide them into equal slices for any layers.
Tensors that must not be averaged like weights are in the *side block*. Every member receives the BatchNorm statistics
and counters of every contributor and merges them with ``swarm.merge.side``. It receives the module state as a whole
from one contributor.
"""

from __future__ import annotations

import enum
import hashlib
import math
import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from swarm.errors import ExchangeError, ModelError
from swarm.tensors import kernels
from swarm.tensors.digest import BlockDigest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from swarm.tensors.shards import OtherShards

Array = NDArray[np.generic]
"""An array of any dtype."""

_DTYPE_NAME = re.compile(r"[a-z]{3,}[a-z0-9_]{0,20}")
WEIGHT_DTYPES = ("float64", "float32", "float16", "bfloat16")
"""Dtypes of weights and statistics. Other dtypes are possible only for counters and module state."""


class TensorKind(enum.StrEnum):
    """How a tensor takes part in a merge."""

    WEIGHT = "weight"
    """Trainable or frozen parameter: merged by the session's rule."""
    MEAN = "mean"
    """BatchNorm running mean: combined as if over all data."""
    VARIANCE = "variance"
    """BatchNorm running variance: combined with the nearest MEAN before it of the same shape."""
    COUNTER = "counter"
    """Integer counter (``num_batches_tracked``): the maximum."""
    STATE = "state"
    """All other tensors, of any dtype: the whole tensor of one contributor, the same one for all tensors of a round.
    So tensors that depend on each other stay consistent (a queue and its pointer, a code book and its counters)."""
    MOMENT = "moment"
    """Optimizer state of a weight, as bfloat16: merged among the training peers that have such state."""
    ROOT_MOMENT = "root_moment"
    """The same for a mean of squares, of which it is the square root: never negative, and small ones do not vanish."""
    STEPS = "steps"
    """An optimizer's integer step counters: the maximum of the peers whose moments are merged; 0 without state."""
    OUTER = "outer"
    """State of the outer optimizer: of a weight, in float32, or float64 for float64 weights. Committed models have it,
    contributions do not."""

    @property
    def is_moment(self) -> bool:
        """Whether it is optimizer state in the segment of moments."""
        return self in (TensorKind.MOMENT, TensorKind.ROOT_MOMENT)

    @property
    def of_optimizer(self) -> bool:
        """Whether the tensor belongs to the optimizer, not to the model."""
        return self.is_moment or self is TensorKind.STEPS


_AVERAGED = (TensorKind.WEIGHT, TensorKind.MEAN, TensorKind.VARIANCE)
MOMENTS = "moments"
"""The segment of all moments, the last one of a contribution. Segments of weights have the name of their dtype."""
OUTER = "outer."
"""The names of the segments of outer state, the last ones of a committed model, begin with this; a dtype follows."""


def segment_dtype(segment: str) -> str:
    """The dtype of the values of a segment, by its name."""
    return "bfloat16" if segment == MOMENTS else segment.removeprefix(OUTER)


@dataclass(frozen=True, slots=True)
class SpectralNorm:
    """A weight that its layer divides by an estimate of its largest singular value, computed with a stored vector.

    The matrix of the weight has dimension ``axis`` as its rows, and the other dimensions, in their order, as columns.
    Source: Miyato et al. 2018, arXiv 1802.05957. Tensors are given by their index in the schema.
    """

    weight: int
    axis: int
    left: int
    """Module state: the left singular vector, one value per row."""
    right: int | None = None
    """Module state: the right singular vector, one value per column; None if the layer does not store it."""
    in_place: bool = False
    """Whether the layer stores the divided weight, so that the weight itself has the largest singular value 1."""


@lru_cache(maxsize=64)
def dtype_name(dtype: np.dtype[np.generic]) -> str:
    """``dtype.name``, which NumPy works out anew each time."""
    return dtype.name


@lru_cache(maxsize=64)
def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """The NumPy dtype called ``name``, ``bfloat16`` included.

    ``name`` may be another peer's. NumPy also reads short codes and whole expressions, which are not names.

    Raises:
        ModelError: NumPy has no such dtype.
    """
    if not _DTYPE_NAME.fullmatch(name):
        raise ModelError(f"tensors of dtype {name!r} cannot be merged")
    try:
        return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
    except TypeError as error:
        raise ModelError(f"tensors of dtype {name!r} cannot be merged") from error


class Tied(NamedTuple):
    """Another name of a tensor, at another place in the model that uses the same memory."""

    name: str
    order: tuple[int, ...] | None = None
    """The axes of the tensor in memory order, outermost first; None if this is the same view of it."""
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    """The other view of that memory, in elements."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name (for messages and files), shape, dtype and kind of one tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: TensorKind = TensorKind.WEIGHT
    tied: tuple[Tied, ...] = field(default=(), compare=False)
    """Its other names, for files."""
    complex: bool = field(default=False, compare=False)
    """Whether it is complex in the model: its last dimension is the real and the imaginary part."""
    kept: bool = field(default=False, compare=False)
    """Whether this site keeps its own values: they are sent and merged, but the merged ones are not loaded."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return self.size * numpy_dtype(self.dtype).itemsize

    @property
    def in_side_block(self) -> bool:
        """Whether it is in the side block, not in a segment."""
        return self.kind not in (TensorKind.WEIGHT, TensorKind.OUTER) and not self.kind.is_moment

    @property
    def segment(self) -> str:
        """The name of its segment, if it is not in the side block."""
        if self.kind is TensorKind.OUTER:
            return OUTER + self.dtype
        return MOMENTS if self.kind.is_moment else self.dtype

    @property
    def role(self) -> str:
        """Which state of the optimizer it is, as ``optimizer.exp_avg``; empty for a tensor of the model.

        The name of such a tensor is its role, and of which tensor of the model it is the state.
        """
        return self.name.partition(" ")[0] if self.kind.of_optimizer else ""

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}{list(self.shape)} ({self.kind})"


@dataclass(frozen=True)
class Schema:
    """The ordered tensors of a model. Two peers can merge if their fingerprints are equal.

    Tensors of the optimizer, if it is merged too, come after all tensors of the model, and outer state after these.
    """

    tensors: tuple[TensorSpec, ...]
    spectral: tuple[SpectralNorm, ...] = ()
    """Weights under spectral normalisation."""

    def __post_init__(self) -> None:
        for spec in self.tensors:
            if spec.kind in _AVERAGED and spec.dtype not in WEIGHT_DTYPES:
                allowed = ", ".join(WEIGHT_DTYPES)
                raise ModelError(f"{spec.kind} {spec.name!r} has dtype {spec.dtype}, allowed: {allowed}")
            if spec.kind.is_moment and spec.dtype != segment_dtype(MOMENTS):
                raise ModelError(f"{spec.kind} {spec.name!r} has dtype {spec.dtype}, allowed: {segment_dtype(MOMENTS)}")
            if spec.kind in (TensorKind.COUNTER, TensorKind.STEPS) and numpy_dtype(spec.dtype).kind not in "iu":
                raise ModelError(f"counter {spec.name!r} has dtype {spec.dtype}, allowed: integers")
        ends = [(spec.kind is TensorKind.OUTER, spec.kind.of_optimizer) for spec in self.tensors]
        if ends != sorted(ends):
            raise ModelError("the tensors of the optimizer must come after those of the model, and outer state last")

    @cached_property
    def fingerprint(self) -> str:
        """Hash over order, shape, dtype, kind and role. Frameworks number names per process: they are excluded."""
        lines = [f"{spec.shape} {spec.dtype} {spec.kind}{spec.role and f' {spec.role}'}" for spec in self.tensors]
        text = "\n".join(lines + [repr(norm) for norm in self.spectral])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @cached_property
    def segments(self) -> dict[str, int]:
        """Elements of each flat segment, by name, in the order of first appearance."""
        sizes: dict[str, int] = {}
        for spec in self.tensors:
            if not spec.in_side_block:
                sizes[spec.segment] = sizes.get(spec.segment, 0) + spec.size
        return sizes

    @cached_property
    def moments(self) -> int | None:
        """The index of the segment of moments; None without one."""
        return tuple(self.segments).index(MOMENTS) if MOMENTS in self.segments else None

    @cached_property
    def of_model(self) -> Schema:
        """The tensors of the model alone, without those of the optimizer and outer state."""
        model = (spec for spec in self.tensors if not spec.kind.of_optimizer and spec.kind is not TensorKind.OUTER)
        return Schema(tuple(model), self.spectral)

    @cached_property
    def contributed(self) -> Schema:
        """The tensors that peers contribute: all but outer state."""
        if not any(segment.startswith(OUTER) for segment in self.segments):
            return self
        return Schema(tuple(spec for spec in self.tensors if spec.kind is not TensorKind.OUTER), self.spectral)

    @cached_property
    def bounds(self) -> dict[str, tuple[int, ...]]:
        """Start offsets of the tensors of each segment, and the end of the last, in elements, by the segment's name."""
        sizes: dict[str, list[int]] = {segment: [] for segment in self.segments}
        for spec in self.tensors:
            if not spec.in_side_block:
                sizes[spec.segment].append(spec.size)
        return {segment: tuple(accumulate(each, initial=0)) for segment, each in sizes.items()}

    @cached_property
    def side(self) -> tuple[TensorSpec, ...]:
        """The tensors of the side block, in order."""
        return tuple(spec for spec in self.tensors if spec.in_side_block)

    @cached_property
    def statistics(self) -> Schema:
        """The statistics and counters of the side block, as a schema of their own."""
        return Schema(tuple(spec for spec in self.side if spec.kind is not TensorKind.STATE))

    @cached_property
    def module_state(self) -> Schema:
        """The module state, as a schema of its own."""
        return Schema(tuple(spec for spec in self.side if spec.kind is TensorKind.STATE))

    @cached_property
    def side_nbytes(self) -> int:
        """Bytes of the side block."""
        return sum(spec.nbytes for spec in self.side)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole model."""
        return sum(spec.nbytes for spec in self.tensors)

    def difference(self, other: Schema) -> str | None:
        """One sentence about the first tensor that differs from ``other``, or None if the two can merge."""
        for index, (ours, theirs) in enumerate(zip(self.tensors, other.tensors, strict=False)):
            if (ours.shape, ours.dtype, ours.kind, ours.role) != (theirs.shape, theirs.dtype, theirs.kind, theirs.role):
                return f"tensor {index} is {ours} here and {theirs} there"
        if len(self.tensors) != len(other.tensors):
            longer = self.tensors if len(self.tensors) > len(other.tensors) else other.tensors
            extra = longer[min(len(self.tensors), len(other.tensors))]
            where = "here" if longer is self.tensors else "there"
            return f"{len(self.tensors)} tensors here, {len(other.tensors)} there; only {where}: {extra}"
        return None

    @cached_property
    def kept(self) -> Schema:
        """The tensors of the model of which this site keeps its own values."""
        return Schema(tuple(spec for spec in self.of_model.tensors if spec.kept))

    def names(self, *kinds: TensorKind) -> tuple[str, ...]:
        """Names of the tensors of some kinds."""
        return tuple(spec.name for spec in self.tensors if spec.kind in kinds)


class ModelState:
    """The values of one model under a schema: flat segments, and the arrays of the side block.

    The arrays belong to the creator of the state. A round only reads the states that it is given.
    """

    __slots__ = ("others", "schema", "segments", "side")

    def __init__(
        self, schema: Schema, segments: dict[str, Array], side: list[Array], others: OtherShards | None = None
    ) -> None:
        self.schema = schema
        self.segments = segments
        self.side = side
        self.others = others
        """Where this is one shard of a model: those of the other processes of the site, in rank 0."""

    @classmethod
    def empty(cls, schema: Schema) -> ModelState:
        """Uninitialised buffers for ``schema``."""
        sizes = schema.segments.items()
        segments = {segment: np.empty(size, numpy_dtype(segment_dtype(segment))) for segment, size in sizes}
        return cls(schema, segments, [np.empty(spec.shape, numpy_dtype(spec.dtype)) for spec in schema.side])

    def copy(self) -> ModelState:
        """A copy in new memory."""
        segments = {name: segment.copy() for name, segment in self.segments.items()}
        return ModelState(self.schema, segments, [array.copy() for array in self.side])

    def of_model(self) -> ModelState:
        """The tensors of the model alone, in the same memory."""
        schema = self.schema.of_model
        return ModelState(
            schema, {name: self.segments[name] for name in schema.segments}, self.side[: len(schema.side)], self.others
        )

    def contributed(self) -> ModelState:
        """The tensors that peers contribute, in the same memory: all but outer state."""
        schema = self.schema.contributed
        if schema is self.schema:
            return self
        return ModelState(schema, {name: self.segments[name] for name in schema.segments}, self.side, self.others)

    def arrays(self) -> Iterator[tuple[TensorSpec, Array]]:
        """Each tensor's spec with a view of its values in its shape, in schema order. Writes to it change the state."""
        offsets = dict.fromkeys(self.segments, 0)
        side = iter(self.side)
        for spec in self.schema.tensors:
            if spec.in_side_block:
                yield spec, next(side)
            else:
                start, segment = offsets[spec.segment], self.segments[spec.segment]
                offsets[spec.segment] = start + spec.size
                yield spec, segment[start : start + spec.size].reshape(spec.shape)

    def part(self, segment: int, start: int, stop: int) -> Array:
        """A view of values ``start`` to ``stop`` of a segment, counted in the schema's order."""
        return tuple(self.segments.values())[segment][start:stop]

    def runs(self) -> Iterator[tuple[int, int, Array]]:
        """All values, segment by segment: the segment, 0, and the values."""
        return ((index, 0, segment) for index, segment in enumerate(self.segments.values()))

    def hold(self) -> None:
        """Do nothing: a state does not share the model's memory."""

    def digest(self) -> str:
        """The hash (BLAKE3) of all values that peers share, as 64 hexadecimal digits."""
        return self.block_digest().hexdigest()

    def block_digest(self) -> BlockDigest:
        """The incremental form of ``digest``, for code that fills this state."""
        segments = [as_bytes(segment) for segment in self.segments.values()]
        return BlockDigest(segments, [as_bytes(array) for array in self.side])

    def pack_side(self) -> bytes:
        """The side block as bytes, tensor after tensor in native byte order."""
        return pack(self.side)

    def unpack_side(self, data: bytes | memoryview) -> None:
        """Fill the side block from the result of ``pack_side`` on another peer.

        Raises:
            ExchangeError: the length is not that of this schema's side block.
        """
        if len(data) != self.schema.side_nbytes:
            raise ExchangeError(f"side block of {len(data)} bytes, {self.schema.side_nbytes} expected")
        for array, values in zip(self.side, unpack(self.schema.side, data), strict=True):
            array[...] = values


def pack(arrays: Iterable[Array]) -> bytes:
    """Arrays as bytes, one after the other in native byte order."""
    return b"".join(as_bytes(array).tobytes() for array in arrays)


def unpack(specs: Iterable[TensorSpec], data: bytes | bytearray | memoryview) -> list[Array]:
    """The arrays that ``pack`` joined, as views of ``data``."""
    view, start = memoryview(data), 0
    arrays = []
    for spec in specs:
        values = np.frombuffer(view[start : start + spec.nbytes], numpy_dtype(spec.dtype))
        arrays.append(values.reshape(spec.shape))
        start += spec.nbytes
    return arrays


def side_is_finite(schema: Schema, side: Sequence[Array], parent: Sequence[Array] | None = None) -> bool:
    """Whether a side block may be merged: all statistics are finite, and no module state has new NaN.

    Args:
        schema: of the model.
        side: the arrays of the side block.
        parent: the side block of the last merged model. Module state may be NaN where it is bit-identical to it, as in
            values that were never seen. Without ``parent`` module state is not checked.

    Infinities in module state are allowed: masks contain them, and so do running minima before the first batch.
    """
    for index, spec in enumerate(schema.side):
        if spec.kind is not TensorKind.STATE:
            finite = is_finite(side[index])
        else:
            finite = parent is None or not _has_become_nan(side[index], parent[index])
        if not finite:
            return False
    return True


def has_nan(side: Sequence[Array]) -> bool:
    """Whether any array of a side block contains NaN."""
    return any(not is_finite(array) and bool(np.isnan(array).any()) for array in side)


def _has_become_nan(array: Array, before: Array) -> bool:
    if is_finite(array):
        return False
    odd = np.isnan(array.reshape(-1))
    return array.reshape(-1)[odd].tobytes() != before.reshape(-1)[odd].tobytes()


def as_bytes(array: Array) -> memoryview:
    """The memory of a contiguous array as bytes, without a copy."""
    return array.reshape(-1).view(np.uint8).data


def is_float(dtype: str) -> bool:
    """Whether values of a dtype can be NaN."""
    return numpy_dtype(dtype).kind in "fcV"  # V: the dtypes of ml_dtypes


def is_finite(array: Array) -> bool:
    """Whether an array contains no NaN and no infinity; always true for integers."""
    if array.dtype.kind in "iub":
        return True
    if kernels.native and (readable := kernels.readable(array)):
        finite: bool = kernels.native.all_finite(*readable)
        return finite
    return bool(np.isfinite(array).all())
