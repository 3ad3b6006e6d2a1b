"""The contract of a codec, as a pytest class.

Subclass it in a test module, name your codec and how far off it may be::

    class TestMyCodec(CodecContract):
        codec = MyCodec()
        relative_error = 2.0**-4
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from swarm.codec.base import Codec
from swarm.errors import ExchangeError
from swarm.merge.distance import squared_distance
from swarm.rounds.norms import SLACK
from swarm.state import WEIGHT_DTYPES, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from swarm.state import Array

SIZES = (1, 2, 3, 511, 1000, 1025, 70_001)
ULP = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
LARGEST = {"float64": 1e308, "float32": 3e38, "float16": 65_504.0, "bfloat16": 3e38}
DIFFERENCES: dict[str, Callable[[int], NDArray[np.float64]]] = {
    "alike": lambda size: np.random.default_rng(1).standard_normal(size),
    "far apart": lambda size: np.exp(3 * np.random.default_rng(2).standard_normal(size)) / 100,
    "one dwarfs the rest": lambda size: np.where(np.arange(size) % 1024 == 0, 127.0, 0.49),
    "none": np.zeros,
}
"""How a peer's differences may be spread, by what one would say of it."""
GUARD = 64
"""Bytes on both sides of a buffer that must stay as they are."""


def models(size: int, dtype: str, *, seed: int = 0, step: float = 1e-2) -> tuple[Array, Array]:
    """A reference, and the values of a peer that has trained on from it."""
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal(size)
    values = reference + step * rng.standard_normal(size)
    return values.astype(numpy_dtype(dtype)), reference.astype(numpy_dtype(dtype))


def encoded(codec: Codec, values: Array, reference: Array | None, residual: Array | None = None) -> bytes:
    """What travels."""
    out = memoryview(bytearray(codec.encoded_nbytes(values.size, values.dtype.name)))
    return out[: codec.encode(values, reference, out, residual)].tobytes()


def decoded(codec: Codec, data: bytes, reference: Array | None, like: Array) -> Array:
    """What arrives."""
    out = np.empty_like(like)
    codec.decode(memoryview(data), reference, out)
    return out


class CodecContract:
    """What every codec must hold. Set ``codec`` to an instance, and ``relative_error`` if it is not exact."""

    codec: ClassVar[Codec]
    relative_error: ClassVar[float] = 0.0
    """How far a decoded difference may be off, as a share of the piece's largest difference."""

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("size", SIZES)
    def test_what_arrives_is_as_near_as_promised(self, size: int, dtype: str) -> None:
        """Beside the codec's error there is one rounding to the dtype, and one of the difference."""
        values, reference = models(size, dtype)
        data = encoded(self.codec, values, reference)
        assert len(data) == self.codec.encoded_nbytes(size, dtype)
        arrived = decoded(self.codec, data, reference, values)
        if self.codec.exact(dtype):
            assert arrived.tobytes() == values.tobytes()
            return
        wide = values.astype(np.float64)
        largest = np.abs(wide - reference.astype(np.float64)).max()
        slack = self.relative_error * largest + 2 * ULP[dtype] * np.abs(wide)
        assert (np.abs(arrived.astype(np.float64) - wide) <= slack).all()

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("before", [0.0, 1e-2, 10.0])
    @pytest.mark.parametrize("weights", [0.0, 1.0, 300.0])
    @pytest.mark.parametrize("differences", DIFFERENCES.values(), ids=DIFFERENCES)
    def test_what_arrives_has_moved_as_far_as_what_was_sent(
        self, differences: Callable[[int], NDArray[np.float64]], weights: float, before: float, dtype: str
    ) -> None:
        """Within ``norm_tolerance``, and what is carried over from a round ``before``, be it much larger."""
        size = 5000
        rng = np.random.default_rng(5)
        reference = (weights * rng.standard_normal(size)).astype(numpy_dtype(dtype))
        residual = np.zeros_like(reference)
        if self.codec.feedback:
            earlier = (reference.astype(np.float64) + before * differences(size)).astype(reference.dtype)
            self.codec.carry(earlier, reference, residual)
        values = (reference.astype(np.float64) + 1e-2 * differences(size)).astype(reference.dtype)
        data = encoded(self.codec, values, reference, residual)
        arrived = decoded(self.codec, data, reference, values)
        offered, carried = (squared_distance(*pair) ** 0.5 for pair in ((values, reference), (residual,)))
        cuts = (slice(None, 1717), slice(1717, None))  # slices add up otherwise than the whole
        norm = sum(squared_distance(arrived[cut], reference[cut]) for cut in cuts) ** 0.5
        assert abs(norm - offered) <= self.codec.norm_tolerance * (offered + carried) + carried + SLACK

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("size", [0, *SIZES])
    def test_an_unchanged_piece_travels_as_nothing_and_arrives_to_the_bit(self, size: int, dtype: str) -> None:
        """Negative zeros included; an empty piece is unchanged."""
        _, reference = models(size, dtype)
        reference[:1] = -0.0
        residual = np.zeros_like(reference)
        assert encoded(self.codec, reference.copy(), reference, residual) == b""
        assert decoded(self.codec, b"", reference, reference).tobytes() == reference.tobytes()

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("place", [0, 1024, 70_000])
    def test_one_value_that_changed_is_sent(self, place: int, dtype: str) -> None:
        """Wherever it is, and the values around it stay what they were."""
        _, reference = models(70_001, dtype)
        values = reference.copy()
        values[place] = 3
        arrived = decoded(self.codec, encoded(self.codec, values, reference), reference, values)
        assert arrived[place] == pytest.approx(3, rel=self.relative_error + 2 * ULP[dtype])
        np.testing.assert_array_equal(np.delete(arrived, place), np.delete(reference, place))

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_is_deterministic_and_leaves_its_inputs_alone(self, dtype: str) -> None:
        """Read-only inputs do; the same ones give the same bytes, whatever was coded in between."""
        values, reference = models(3000, dtype)
        residual = (reference.astype(np.float64) / 1000).astype(reference.dtype)
        for array in (values, reference, residual):
            array.flags.writeable = False
        data = encoded(self.codec, values, reference, residual)
        encoded(self.codec, *models(3000, dtype, seed=1))
        assert encoded(self.codec, values, reference, residual) == data
        first = decoded(self.codec, data, reference, values)
        assert decoded(self.codec, data, reference, values).tobytes() == first.tobytes()

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("size", SIZES)
    def test_writes_nothing_outside_its_buffers(self, size: int, dtype: str) -> None:
        """Neither before nor after; buffers may lie at any address."""
        values, reference = models(size, dtype)
        nbytes = self.codec.encoded_nbytes(size, dtype)
        buffer = bytearray(b"\xa5" * (nbytes + 2 * GUARD + 1))
        out = memoryview(buffer)[GUARD + 1 :]
        assert self.codec.encode(values, reference, out) == nbytes
        assert set(buffer[: GUARD + 1]) | set(buffer[GUARD + 1 + nbytes :]) == {0xA5}
        around = np.full(size + 2 * GUARD, 7, values.dtype)
        self.codec.decode(out[:nbytes], reference, around[GUARD:-GUARD])
        assert (around[:GUARD] == 7).all()
        assert (around[-GUARD:] == 7).all()

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("size", [1, 1025])
    def test_another_length_is_refused(self, size: int, dtype: str) -> None:
        """One byte more or less, or twice the length."""
        values, reference = models(size, dtype)
        data = encoded(self.codec, values, reference)
        for wrong in (data[:-1], data + b"\0", data * 2):
            if wrong:
                with pytest.raises(ExchangeError, match=f"{len(data)} bytes.*{len(wrong)}"):
                    decoded(self.codec, wrong, reference, values)

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_garbage_is_refused_or_finite(self, dtype: str) -> None:
        """Whatever a peer sends, no NaN and no infinity gets in."""
        values, reference = models(100, dtype)
        nbytes = self.codec.encoded_nbytes(values.size, dtype)
        rng = np.random.default_rng(2)
        for data in (b"\xff" * nbytes, b"\x7f" * nbytes, *(rng.bytes(nbytes) for _ in range(200))):
            try:
                arrived = decoded(self.codec, data, reference, values)
            except ExchangeError:
                continue
            assert np.isfinite(arrived.astype(np.float64)).all()

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite_are_refused(self, bad: float, dtype: str) -> None:
        """By the sender, or at the latest by the receiver."""
        values, reference = models(2000, dtype)
        values[1500] = bad
        with pytest.raises(ExchangeError):
            decoded(self.codec, encoded(self.codec, values, reference), reference, values)

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_the_largest_differences_are_refused_or_arrive(self, dtype: str) -> None:
        """No overflow on the way goes unnoticed."""
        reference = np.full(10, -LARGEST[dtype]).astype(numpy_dtype(dtype))
        values = -reference
        try:
            arrived = decoded(self.codec, encoded(self.codec, values, reference), reference, values)
        except ExchangeError:
            return
        rtol = 2 * self.relative_error + 2 * ULP[dtype]
        np.testing.assert_allclose(arrived.astype(np.float64), values.astype(np.float64), rtol=rtol)

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("scale", [1e-45, 1e-40, 1e-30])
    def test_tiny_differences_do_no_harm(self, scale: float, dtype: str) -> None:
        """Subnormal ones may be lost, but nothing larger comes of them."""
        rng = np.random.default_rng(3)
        values = (scale * rng.standard_normal(1000)).astype(numpy_dtype(dtype))
        reference = np.zeros_like(values)
        arrived = decoded(self.codec, encoded(self.codec, values, reference), reference, values)
        assert np.abs(arrived.astype(np.float64) - values.astype(np.float64)).max() <= max(1e-35, scale / 50)

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_a_piece_without_reference_needs_an_exact_codec(self, dtype: str) -> None:
        """Exact values arrive without it; differences and unchanged pieces mean nothing."""
        values, _ = models(10, dtype)
        if self.codec.exact(dtype):
            assert decoded(self.codec, encoded(self.codec, values, None), None, values).tobytes() == values.tobytes()
        else:
            with pytest.raises(ExchangeError, match="no reference"):
                encoded(self.codec, values, None)
        with pytest.raises(ExchangeError, match="no reference"):
            decoded(self.codec, b"", None, values)

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_what_is_lost_is_carried(self, dtype: str) -> None:
        """What arrived and the residual together are the values, and a residual alone is reason to send."""
        values, reference = models(3000, dtype)
        residual = np.zeros_like(values)
        arrived = decoded(self.codec, encoded(self.codec, values, reference, residual), reference, values)
        self.codec.carry(values, reference, residual)
        wide = values.astype(np.float64)
        off = np.abs(arrived.astype(np.float64) + residual.astype(np.float64) - wide)
        assert (off <= 4 * ULP[dtype] * np.abs(wide) + ULP[dtype] * 1e-2).all()
        assert bool(residual.any()) == bool(encoded(self.codec, reference, reference, residual))

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_error_feedback_drives_the_mean_error_to_zero(self, dtype: str) -> None:
        """The same difference again and again: the mean of what arrives comes nearer with every round."""
        differences, _ = models(2000, dtype, step=1)
        reference, residual = np.zeros_like(differences), np.zeros_like(differences)
        largest, rounds, total = float(np.abs(differences).max()), 50, np.zeros(differences.size)
        for _ in range(rounds):
            data = encoded(self.codec, differences, reference, residual)
            self.codec.carry(differences, reference, residual)
            total += decoded(self.codec, data, reference, differences).astype(np.float64)
        error = np.abs(total / rounds - differences.astype(np.float64)).max()
        assert error <= 2 * self.relative_error * largest / rounds + rounds * ULP[dtype] * largest
