"""Singular vectors of merged weights under spectral normalisation, against those of a decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.merge.spectral import refresh
from swarm.tensors.state import ModelState, Schema, SpectralNorm, TensorKind, TensorSpec, numpy_dtype


def model(
    weight: np.ndarray, left: np.ndarray | None = None, *, axis: int = 0, right: bool = True, in_place: bool = False
) -> ModelState:
    """A weight with its vectors; without ``left``, the one that a contributor kept is zero."""
    rows, dtype = weight.shape[axis], weight.dtype.name
    specs = [TensorSpec("weight", weight.shape, dtype), TensorSpec("u", (rows,), dtype, TensorKind.STATE)]
    if right:
        specs.append(TensorSpec("v", (weight.size // max(rows, 1),), dtype, TensorKind.STATE))
    norm = SpectralNorm(0, axis, 1, 2 if right else None, in_place)
    state = ModelState.empty(Schema(tuple(specs), (norm,)))
    values = [weight, np.zeros(rows) if left is None else left, np.zeros(weight.size)]
    for (_, array), value in zip(state.arrays(), values, strict=False):
        array[...] = value.reshape(-1)[: array.size].reshape(array.shape)
    return state


def arrays(state: ModelState) -> list[np.ndarray]:
    return [array for _, array in state.arrays()]


def random(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def separated(rows: int, columns: int, *values: float, seed: int = 0) -> np.ndarray:
    """A matrix with these singular values."""
    u, _, v = np.linalg.svd(random(rows, columns, dtype="float64", seed=seed), full_matrices=False)
    return (u[:, : len(values)] * values) @ v[: len(values)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 3), (4, 9), (60, 7), (7, 60), (120, 150)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_singular_value_is_found(shape: tuple[int, int], dtype: str) -> None:
    weight = random(*shape, dtype=dtype)
    state = model(weight, random(shape[0], seed=1))
    refresh(state)
    same, u, v = arrays(state)
    assert same.tobytes() == weight.tobytes()
    assert np.linalg.norm(u) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(v) == pytest.approx(1, abs=1e-5)
    assert u @ weight @ v == pytest.approx(np.linalg.norm(weight, 2), rel=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
@pytest.mark.parametrize("seed", range(4))
def test_the_vectors_are_those_of_a_decomposition_whatever_the_scale(scale: float, seed: int) -> None:
    weight = scale * separated(20, 30, 5.0, 3.0, 1.0, 0.1, seed=seed)
    state = model(weight, random(20, dtype="float64", seed=seed + 10))
    refresh(state)
    _, u, v = arrays(state)
    left, _, right = np.linalg.svd(weight)
    sign = np.sign(u @ left[:, 0])
    np.testing.assert_allclose(sign * u, left[:, 0], atol=1e-6)
    np.testing.assert_allclose(sign * v, right[0], atol=1e-6)


@pytest.mark.parametrize("start", [0.0, np.nan, np.inf], ids=str)
def test_a_contributors_vector_may_be_useless(start: float) -> None:
    weight = separated(20, 30, 5.0, 3.0, 1.0)
    state = model(weight, np.full(20, start))
    refresh(state)
    _, u, v = arrays(state)
    assert u @ weight @ v == pytest.approx(5.0, rel=1e-3)


def test_a_contributors_vector_may_be_orthogonal_to_the_new_one() -> None:
    weight = np.diag([1.0, 9.0, 2.0, 0.5])
    state = model(weight, np.array([1.0, 0, 0, 0]))
    refresh(state)
    _, u, v = arrays(state)
    np.testing.assert_allclose(np.abs(u), [0, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(u * v, [0, 1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("size", [60, 200])
def test_many_values_of_one_size_do_not_hide_the_largest(size: int) -> None:
    weight = np.diag(np.linspace(0.9, 1.0, size))
    state = model(weight, random(size, dtype="float64"))
    refresh(state)
    _, u, v = arrays(state)
    assert u @ weight @ v == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_axis_gives_the_rows(axis: int) -> None:
    weight = random(3, 4, 5)
    state = model(weight, axis=axis)
    refresh(state)
    _, u, v = arrays(state)
    matrix = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    assert u @ matrix @ v == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_weight_that_its_layer_divides_in_place_has_the_singular_value_one(dtype: str) -> None:
    weight = (7 * separated(12, 8, 3.0, 2.0, 1.0)).astype(numpy_dtype(dtype))
    state = model(weight, in_place=True)
    refresh(state)
    assert np.linalg.norm(arrays(state)[0].astype(np.float64), 2) == pytest.approx(1.0, rel=1e-2)


def test_a_layer_may_keep_the_left_vector_alone() -> None:
    weight = separated(12, 8, 3.0, 1.0)
    state = model(weight, right=False)
    refresh(state)
    _, u = arrays(state)
    assert np.linalg.norm(weight.T @ u) == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_weight_without_singular_values_leaves_its_vectors_as_they_are(value: float) -> None:
    weight, left = np.full((3, 2), value), random(3, dtype="float64")
    state = model(weight, left, in_place=True)
    refresh(state)
    assert arrays(state)[0].tobytes() == weight.tobytes()
    assert arrays(state)[1].tobytes() == left.tobytes()


@pytest.mark.parametrize("shape", [(0, 3), (1, 3)], ids=["empty", "zero"])
def test_every_weight_is_refreshed_also_after_one_without_singular_values(shape: tuple[int, int]) -> None:
    specs = (
        TensorSpec("none", shape, "float64"),
        TensorSpec("weight", (2, 2), "float64"),
        TensorSpec("u", (2,), "float64", TensorKind.STATE),
        TensorSpec("of none", shape[:1], "float64", TensorKind.STATE),
    )
    state = ModelState.empty(Schema(specs, (SpectralNorm(0, 0, 3), SpectralNorm(1, 0, 2))))
    for (_, array), value in zip(state.arrays(), (0, np.diag([1.0, 4.0]), [1.0, 0.0], 0), strict=True):
        array[...] = value
    refresh(state)
    np.testing.assert_allclose(np.abs(arrays(state)[2]), [0, 1], atol=1e-6)
