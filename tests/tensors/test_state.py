"""Schemas and model states."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from swarm.errors import ExchangeError, ModelError
from swarm.tensors.state import (
    ModelState,
    Schema,
    SpectralNorm,
    TensorKind,
    TensorSpec,
    as_bytes,
    has_nan,
    is_finite,
    is_float,
    numpy_dtype,
    side_is_finite,
)

SCHEMA = Schema(
    (
        TensorSpec("conv", (2, 3), "float32"),
        TensorSpec("scale", (), "bfloat16"),
        TensorSpec("mean", (3,), "float32", TensorKind.MEAN),
        TensorSpec("empty", (0, 4), "float32"),
        TensorSpec("count", (), "int64", TensorKind.COUNTER),
        TensorSpec("head", (4,), "float32"),
        TensorSpec("mask", (2, 2), "bool", TensorKind.STATE),
        TensorSpec("none", (0,), "float16", TensorKind.STATE),
    )
)


def filled(schema: Schema = SCHEMA, seed: int = 0) -> ModelState:
    rng = np.random.default_rng(seed)
    state = ModelState.empty(schema)
    for _, array in state.arrays():
        array[...] = rng.integers(-9, 9, array.shape).astype(array.dtype)
    return state


def only(*tensors: TensorSpec) -> str:
    return Schema(tensors).fingerprint


def test_weights_lie_end_to_end_by_dtype_and_the_rest_in_the_side_block() -> None:
    assert SCHEMA.segments == {"float32": 10, "bfloat16": 1}
    assert [spec.name for spec in SCHEMA.side] == ["mean", "count", "mask", "none"]
    assert SCHEMA.side_nbytes == 12 + 8 + 4
    assert SCHEMA.nbytes == 10 * 4 + 2 + SCHEMA.side_nbytes


def test_names_do_not_enter_the_fingerprint() -> None:
    assert only(TensorSpec("dense_1", (2,), "float32")) == only(TensorSpec("dense_7", (2,), "float32"))


@pytest.mark.parametrize(
    "other",
    [
        (TensorSpec("a", (3,), "float32"), TensorSpec("b", (1,), "float32")),
        (TensorSpec("a", (2,), "float64"), TensorSpec("b", (1,), "float32")),
        (TensorSpec("a", (2,), "float32", TensorKind.STATE), TensorSpec("b", (1,), "float32")),
        (TensorSpec("b", (1,), "float32"), TensorSpec("a", (2,), "float32")),
        (TensorSpec("a", (2,), "float32"),),
    ],
    ids=["shape", "dtype", "kind", "order", "count"],
)
def test_everything_else_enters_the_fingerprint(other: tuple[TensorSpec, ...]) -> None:
    schema = Schema((TensorSpec("a", (2,), "float32"), TensorSpec("b", (1,), "float32")))
    assert schema.fingerprint != Schema(other).fingerprint
    assert schema.difference(Schema(other)) is not None


def test_difference_names_the_first_tensor_that_differs() -> None:
    ours = Schema((TensorSpec("a", (2,), "float32"), TensorSpec("b", (1,), "float32")))
    theirs = Schema((TensorSpec("x", (2,), "float32"), TensorSpec("y", (5,), "float16")))
    assert ours.difference(theirs) == "tensor 1 is b float32[1] (weight) here and y float16[5] (weight) there"


def test_difference_names_the_extra_tensor_and_its_side() -> None:
    short = Schema((TensorSpec("a", (2,), "float32"),))
    long = Schema((*short.tensors, TensorSpec("b", (1,), "float32")))
    assert short.difference(long) == "1 tensors here, 2 there; only there: b float32[1] (weight)"
    assert long.difference(short) == "2 tensors here, 1 there; only here: b float32[1] (weight)"
    assert long.difference(long) is None


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("int64", TensorKind.WEIGHT),
        ("float8_e4m3fn", TensorKind.WEIGHT),
        ("complex64", TensorKind.MEAN),
        ("int32", TensorKind.MEAN),
        ("bool", TensorKind.VARIANCE),
        ("float32", TensorKind.COUNTER),
        ("bool", TensorKind.COUNTER),
    ],
)
def test_kind_that_its_dtype_cannot_take_is_refused_by_name(dtype: str, kind: TensorKind) -> None:
    with pytest.raises(ModelError, match=f"{kind} 'layer.x' has dtype {dtype}, allowed: "):
        Schema((TensorSpec("layer.x", (1,), dtype, kind),))


@pytest.mark.parametrize(
    "name", ["float7", "f4", "a5", "V2000000000", "f4,(", ",", "(2,)f4", "float32\n", "\ud800", ""]
)
def test_what_is_no_name_of_a_dtype_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=re.escape(repr(name))):
        numpy_dtype(name)


def test_arrays_are_views_in_schema_order_and_shape() -> None:
    state = ModelState.empty(SCHEMA)
    for value, (_, array) in enumerate(state.arrays()):
        array[...] = value
    assert [spec.name for spec, _ in state.arrays()] == [spec.name for spec in SCHEMA.tensors]
    assert [array.shape for _, array in state.arrays()] == [spec.shape for spec in SCHEMA.tensors]
    assert state.segments["float32"].tolist() == [0] * 6 + [5] * 4
    assert state.segments["bfloat16"].tolist() == [1]
    assert state.side[1] == 4


def test_copy_has_its_own_memory() -> None:
    state = filled()
    copy = state.copy()
    assert copy.digest() == state.digest()
    for (_, ours), (_, theirs) in zip(state.arrays(), copy.arrays(), strict=True):
        assert not np.shares_memory(ours, theirs)


@pytest.mark.parametrize("name", ["conv", "scale", "mean", "count", "head", "mask"])
def test_digest_covers_every_shared_tensor(name: str) -> None:
    state = filled()
    before = state.digest()
    array = next(array for spec, array in state.arrays() if spec.name == name)
    array[...] = ~array if array.dtype == bool else array + 1
    assert state.digest() != before


def test_digest_tells_signed_zeros_apart() -> None:
    state = filled()
    state.segments["float32"][0] = 0.0
    before = state.digest()
    state.segments["float32"][0] = -0.0
    assert state.digest() != before


def test_integers_are_always_finite() -> None:
    assert is_finite(np.array([np.iinfo(np.int64).max]))


def test_side_block_survives_packing() -> None:
    ours, theirs = filled(seed=0), filled(seed=1)
    packed = ours.pack_side()
    assert len(packed) == SCHEMA.side_nbytes
    theirs.unpack_side(memoryview(packed))
    for mine, got in zip(ours.side, theirs.side, strict=True):
        assert got.dtype == mine.dtype
        assert got.shape == mine.shape
        assert got.tobytes() == mine.tobytes()


@pytest.mark.parametrize("change", [-1, 1])
def test_side_block_of_another_length_is_refused_untouched(change: int) -> None:
    state = filled()
    before = state.pack_side()
    with pytest.raises(ExchangeError, match=f"{SCHEMA.side_nbytes + change} bytes, {SCHEMA.side_nbytes} expected"):
        state.unpack_side(bytes(SCHEMA.side_nbytes + change))
    assert state.pack_side() == before


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_bytes_share_the_memory_of_the_array(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, numpy_dtype(dtype))
    view = as_bytes(array)
    assert view.nbytes == array.nbytes
    array[...] = 1
    assert bytes(view) == array.tobytes()


def test_infinite_module_state_does_not_make_a_model_unfit():
    schema = Schema(
        (TensorSpec("w", (2,), "float32"), TensorSpec("mask", (2,), "float32", TensorKind.STATE)),
    )
    assert side_is_finite(schema, [np.array([0, -np.inf], np.float32)])


def test_a_statistic_that_is_not_finite_makes_a_model_unfit():
    schema = Schema((TensorSpec("mean", (2,), "float32", TensorKind.MEAN),))
    assert not side_is_finite(schema, [np.array([0, np.nan], np.float32)])


def test_module_state_may_be_infinite_and_nan_where_it_was_so_before():
    schema = Schema((TensorSpec("seen", (3,), "float32", TensorKind.STATE),))
    before = [np.array([np.nan, -np.inf, 1], np.float32)]
    assert side_is_finite(schema, [np.array([np.nan, np.inf, -np.inf], np.float32)], before)
    assert side_is_finite(schema, [np.array([0, 0, 2], np.float32)], before)
    assert not side_is_finite(schema, [np.array([np.nan, -np.inf, np.nan], np.float32)], before)
    assert side_is_finite(schema, before)


def test_spectral_normalisation_enters_the_fingerprint():
    tensors = (TensorSpec("w", (2, 2), "float32"), TensorSpec("u", (2,), "float32", TensorKind.STATE))
    assert Schema(tensors).fingerprint != Schema(tensors, (SpectralNorm(0, 0, 1),)).fingerprint


def test_a_fingerprint_means_the_same_in_every_version():
    schema = Schema((TensorSpec("w", (2, 3), "float32"), TensorSpec("n", (), "int64", TensorKind.COUNTER)))
    assert schema.fingerprint == "b237bdcd3d624e5a0ff140a7e4972402"


def test_a_tensor_is_a_value():
    spec = TensorSpec("w", (2, 3), "float32")
    assert {spec: 1}[TensorSpec("w", (2, 3), "float32")] == 1
    with pytest.raises(FrozenInstanceError):
        spec.name = "v"
    assert (spec.size, spec.nbytes, spec.in_side_block) == (6, 24, False)


@pytest.mark.parametrize(
    ("values", "found"),
    [([], False), ([[1.0, 2.0]], False), ([[np.inf]], False), ([[1.0], [np.inf, np.nan]], True), ([[np.nan]], True)],
    ids=str,
)
def test_has_nan_passes_over_infinities(values, found):
    assert has_nan([np.array(each) for each in values]) is found


def test_sizes_and_names_of_a_schema():
    assert SCHEMA.nbytes == sum(spec.nbytes for spec in SCHEMA.tensors)
    assert SCHEMA.names(TensorKind.WEIGHT) == tuple(s.name for s in SCHEMA.tensors if s.kind is TensorKind.WEIGHT)
    assert SCHEMA.names() == ()


@pytest.mark.parametrize(
    ("dtype", "floating"),
    [("float64", True), ("bfloat16", True), ("complex64", True), ("int8", False), ("bool", False)],
)
def test_only_floating_dtypes_hold_nan(dtype, floating):
    assert is_float(dtype) is floating
