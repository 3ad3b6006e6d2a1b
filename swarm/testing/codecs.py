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
from swarm.consensus.norms import SLACK
from swarm.errors import ExchangeError
from swarm.merge.distance import squared_distance
from swarm.tensors.state import WEIGHT_DTYPES, as_bytes, numpy_dtype
from swarm.testing.chunks import decoded, encoded, models
from swarm.testing.wording import broken, differing, farthest, instance_of, raises, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

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


class CodecContract:
    """What every codec must hold. Set ``codec`` to an instance, and ``relative_error`` if it is not exact."""

    codec: ClassVar[Codec]
    relative_error: ClassVar[float] = 0.0
    """How far a decoded difference may be off, as a share of the chunk's largest difference."""

    @pytest.fixture(autouse=True)
    def _usable(self) -> None:
        """Say what is missing before the tests of a property fail for another reason."""
        codec = instance_of(Codec, getattr(type(self), "codec", None), "codec")
        name = getattr(codec, "name", None)
        assert isinstance(name, str), broken(
            "A codec has a name, which settings call it by.",
            given=f"{type(codec).__name__}.name",
            got=repr(name),
            do="set name in the class, to a str",
        )

    def _broken(self, required: str, given: str, got: str, do: str) -> str:
        return broken(f"{type(self.codec).__name__}: {required}", given=given, got=got, do=do)

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("size", SIZES)
    def test_what_arrives_is_as_near_as_promised(self, size: int, dtype: str) -> None:
        """Beside the codec's error there is one rounding to the dtype, and one of the difference."""
        values, reference = models(size, dtype)
        data = encoded(self.codec, values, reference)
        given = f"{size} values of {dtype}"
        promised = self.codec.encoded_nbytes(size, dtype)
        assert len(data) == promised, self._broken(
            "A chunk that has changed takes as many bytes as encoded_nbytes() says.",
            given,
            f"{len(data)} bytes instead of {promised}",
            "return the number of written bytes from encode(), and the same number from encoded_nbytes()",
        )
        arrived = decoded(self.codec, data, reference, values)
        if self.codec.exact(dtype):
            assert arrived.tobytes() == values.tobytes(), self._broken(
                "Values of a dtype for which exact() is True arrive to the bit.",
                given,
                differing(arrived, values),
                "make decode() undo encode(), or return False from exact() for this dtype",
            )
            return
        wide = values.astype(np.float64)
        largest = np.abs(wide - reference.astype(np.float64)).max()
        slack = self.relative_error * largest + 2 * ULP[dtype] * np.abs(wide)
        assert (np.abs(arrived.astype(np.float64) - wide) <= slack).all(), self._broken(
            "A difference arrives within relative_error of the largest difference in its chunk.",
            f"{given}, the largest difference {largest:g}, relative_error={self.relative_error:g}",
            farthest(arrived, wide),
            "code differences more finely, or state the error that the codec has: relative_error in the test class",
        )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("before", [0.0, 1e-2, 10.0])
    @pytest.mark.parametrize("weights", [0.0, 1.0, 300.0])
    @pytest.mark.parametrize("differences", DIFFERENCES.values(), ids=DIFFERENCES)
    def test_what_arrives_has_moved_as_far_as_what_was_sent(
        self, differences: Callable[[int], NDArray[np.float64]], weights: float, before: float, dtype: str
    ) -> None:
        """Within ``norm_tolerance`` plus the residual of a round ``before``, even if that is much larger."""
        size = 5000
        rng = np.random.default_rng(5)
        reference = (weights * rng.standard_normal(size)).astype(numpy_dtype(dtype))
        residual = np.zeros_like(reference)
        if self.codec.feedback:
            earlier = (reference.astype(np.float64) + before * differences(size)).astype(reference.dtype)
            self.codec.update_residual(earlier, reference, residual)
        values = (reference.astype(np.float64) + 1e-2 * differences(size)).astype(reference.dtype)
        data = encoded(self.codec, values, reference, residual)
        arrived = decoded(self.codec, data, reference, values)
        offered, residual = (squared_distance(*pair) ** 0.5 for pair in ((values, reference), (residual,)))
        cuts = (slice(None, 1717), slice(1717, None))  # slices add up otherwise than the whole
        norm = sum(squared_distance(arrived[cut], reference[cut]) for cut in cuts) ** 0.5
        allowed = self.codec.norm_tolerance * (offered + residual) + residual + SLACK
        assert abs(norm - offered) <= allowed, self._broken(
            "What arrives is as far from the reference as what was sent, within norm_tolerance: a peer whose weights "
            "seem to have moved otherwise than it offered is left out of rounds.",
            f"{size} values of {dtype}, norm_tolerance={self.codec.norm_tolerance:g}",
            f"the norm {norm:g} instead of {offered:g}, residual {residual:g}; the allowed error is {allowed:g}",
            "set norm_tolerance in the codec to what holds for any values",
        )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("size", [0, *SIZES])
    def test_an_unchanged_chunk_travels_as_nothing_and_arrives_to_the_bit(self, size: int, dtype: str) -> None:
        """Negative zeros included; an empty chunk is unchanged."""
        _, reference = models(size, dtype)
        reference[:1] = -0.0
        residual = np.zeros_like(reference)
        data = encoded(self.codec, reference.copy(), reference, residual)
        given = f"{size} values of {dtype} that equal the reference, and a residual of zeros"
        assert data == b"", self._broken(
            "An unchanged chunk takes no bytes.",
            given,
            f"{len(data)} bytes",
            "return 0 from encode() where swarm.codec.base.unchanged(values, reference, residual) is true",
        )
        arrived = decoded(self.codec, b"", reference, reference)
        assert arrived.tobytes() == reference.tobytes(), self._broken(
            "No bytes stand for an unchanged chunk, which arrives to the bit: -0.0 stays -0.0.",
            given,
            differing(arrived, reference),
            "call swarm.codec.base.take_reference(reference, out) in decode() where there is no data",
        )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("place", [0, 1024, 70_000])
    def test_one_value_that_changed_is_sent(self, place: int, dtype: str) -> None:
        """Wherever it is, and the values around it stay what they were."""
        _, reference = models(70_001, dtype)
        values = reference.copy()
        values[place] = 3
        arrived = decoded(self.codec, encoded(self.codec, values, reference), reference, values)
        given = f"70001 values of {dtype}, of which value {place} alone has changed, to 3"
        assert arrived[place] == pytest.approx(3, rel=self.relative_error + 2 * ULP[dtype]), self._broken(
            "A single value that has changed is sent, wherever it is.",
            given,
            f"it arrived as {arrived[place]}",
            "look at every value for a change, and code the last group as well, which may be shorter",
        )
        around, before = np.delete(arrived, place), np.delete(reference, place)
        assert np.array_equal(around, before), self._broken(
            "Values that have not changed arrive as they were.",
            given,
            differing(around, before),
            "code a difference of zero as zero",
        )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_is_deterministic_and_leaves_its_inputs_alone(self, dtype: str) -> None:
        """Read-only inputs do; the same ones give the same bytes, whatever was coded in between."""
        values, reference = models(3000, dtype)
        residual = (reference.astype(np.float64) / 1000).astype(reference.dtype)
        for array in (values, reference, residual):
            array.flags.writeable = False
        data = encoded(self.codec, values, reference, residual)
        encoded(self.codec, *models(3000, dtype, seed=1))
        given = f"3000 values of {dtype}, read-only, coded twice with other values in between"
        assert encoded(self.codec, values, reference, residual) == data, self._broken(
            "The same values are coded as the same bytes, whatever was coded in between.",
            given,
            "other bytes",
            "keep no state between calls, and draw no random numbers",
        )
        first, again = (decoded(self.codec, data, reference, values) for _ in range(2))
        assert again.tobytes() == first.tobytes(), self._broken(
            "The same bytes are decoded to the same values.",
            given,
            differing(again, first),
            "keep no state between calls, and write every value of out",
        )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("size", SIZES)
    def test_writes_nothing_outside_its_buffers(self, size: int, dtype: str) -> None:
        """Neither before nor after; buffers may lie at any address."""
        values, reference = models(size, dtype)
        nbytes = self.codec.encoded_nbytes(size, dtype)
        buffer = bytearray(b"\xa5" * (nbytes + 2 * GUARD + 1))
        out = memoryview(buffer)[GUARD + 1 :]
        given = f"{size} values of {dtype}, and a buffer at an odd address that is longer than {nbytes} bytes"
        written = self.codec.encode(values, reference, out)
        assert written == nbytes, self._broken(
            "encode() returns the number of bytes that encoded_nbytes() says.",
            given,
            shown(written),
            "return encoded_nbytes(), also where out is longer",
        )
        assert set(buffer[: GUARD + 1]) | set(buffer[GUARD + 1 + nbytes :]) == {0xA5}, self._broken(
            "encode() writes nothing outside its bytes.",
            given,
            "bytes before or after them are changed",
            "write to out[:encoded_nbytes] alone",
        )
        around = np.full(size + 2 * GUARD, 7, values.dtype)
        self.codec.decode(out[:nbytes], reference, around[GUARD:-GUARD])
        assert (around[:GUARD] == 7).all() and (around[-GUARD:] == 7).all(), self._broken(  # noqa: PT018
            "decode() writes nothing outside out.",
            given,
            "values before or after it are changed",
            "write to out alone",
        )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("size", [1, 1025])
    def test_another_length_is_refused(self, size: int, dtype: str) -> None:
        """One byte more or less, or twice the length."""
        values, reference = models(size, dtype)
        data = encoded(self.codec, values, reference)
        for wrong in (data[:-1], data + b"\0", data * 2):
            if wrong:
                with raises(
                    ExchangeError,
                    f"{type(self.codec).__name__}: Bytes of another length than the schema asks for are refused, with "
                    "both lengths.",
                    given=f"{len(wrong)} bytes for {size} values of {dtype}, which take {len(data)}",
                    do="call swarm.codec.base.require_length in decode()",
                    saying=(f"{len(data)} bytes", f"{len(wrong)}"),
                ):
                    decoded(self.codec, wrong, reference, values)

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_garbage_is_refused_or_finite(self, dtype: str) -> None:
        """Whatever a peer sends, no NaN and no infinity gets in."""
        values, reference = models(100, dtype)
        nbytes, rng = self.codec.encoded_nbytes(values.size, dtype), np.random.default_rng(2)
        for data in (b"\xff" * nbytes, b"\x7f" * nbytes, *(rng.bytes(nbytes) for _ in range(200))):
            try:
                arrived = decoded(self.codec, data, reference, values)
            except ExchangeError:
                continue
            assert np.isfinite(arrived.astype(np.float64)).all(), self._broken(
                "Whatever bytes a peer sends, they are refused or give finite values.",
                f"{nbytes} bytes for {values.size} values of {dtype}: {shown(data)}",
                "NaN or infinity",
                "raise ExchangeError in decode() where a value, a scale or a sum is not finite",
            )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite_are_refused(self, bad: float, dtype: str) -> None:
        """By the sender, or at the latest by the receiver."""
        values, reference = models(2000, dtype)
        values[1500] = bad
        with raises(
            ExchangeError,
            f"{type(self.codec).__name__}: Values that are not finite are refused, by encode() or by decode().",
            given=f"2000 values of {dtype}, one of them {bad}",
            do="raise ExchangeError in encode()",
        ):
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
        with np.errstate(invalid="ignore", over="ignore"):
            near = np.allclose(arrived.astype(np.float64), values.astype(np.float64), rtol=rtol, atol=0)
        assert near, self._broken(
            "The largest differences of a dtype arrive or are refused.",
            f"differences from {-LARGEST[dtype]:g} to {LARGEST[dtype]:g} in {dtype}",
            farthest(arrived, values),
            "compute in a wider dtype, and raise ExchangeError on overflow",
        )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("scale", [1e-45, 1e-40, 1e-30])
    def test_tiny_differences_do_no_harm(self, scale: float, dtype: str) -> None:
        """Subnormal ones may be rounded to zero, but must not become larger."""
        rng = np.random.default_rng(3)
        values = (scale * rng.standard_normal(1000)).astype(numpy_dtype(dtype))
        reference = np.zeros_like(values)
        arrived = decoded(self.codec, encoded(self.codec, values, reference), reference, values)
        off = np.abs(arrived.astype(np.float64) - values.astype(np.float64)).max()
        assert off <= max(1e-35, scale / 50), self._broken(
            "Differences too small for the codec may become zero, but nothing larger comes of them.",
            f"1000 differences of about {scale:g} in {dtype}",
            farthest(arrived, values),
            "code differences below the smallest scale as zeros",
        )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_a_chunk_without_reference_needs_an_exact_codec(self, dtype: str) -> None:
        """Exact values arrive without it; differences and unchanged chunks mean nothing."""
        values, _ = models(10, dtype)
        if self.codec.exact(dtype):
            arrived = decoded(self.codec, encoded(self.codec, values, None), None, values)
            assert arrived.tobytes() == values.tobytes(), self._broken(
                "Values of a dtype for which exact() is True arrive to the bit without a reference, too.",
                f"10 values of {dtype}, and None as the reference",
                differing(arrived, values),
                "use no reference for dtypes that are exact",
            )
        else:
            with raises(
                ExchangeError,
                f"{type(self.codec).__name__}: A codec of differences refuses to encode without a reference.",
                given=f"10 values of {dtype}, and None as the reference",
                do="raise ExchangeError, saying that there is no reference model",
                saying=("no reference",),
            ):
                encoded(self.codec, values, None)
        with raises(
            ExchangeError,
            f"{type(self.codec).__name__}: An unchanged chunk is refused where there is no reference.",
            given=f"no bytes for 10 values of {dtype}, and None as the reference",
            do="call swarm.codec.base.take_reference, which raises ExchangeError",
            saying=("no reference",),
        ):
            decoded(self.codec, b"", None, values)

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("size", [3000, 40_001])
    def test_the_error_is_kept_in_the_residual(self, size: int, dtype: str) -> None:
        """What arrived and the residual together are the values, and a residual alone is reason to send."""
        values, reference = models(size, dtype)
        residual = np.zeros_like(values)
        arrived = decoded(self.codec, encoded(self.codec, values, reference, residual), reference, values)
        self.codec.update_residual(values, reference, residual)
        wide = values.astype(np.float64)
        off = np.abs(arrived.astype(np.float64) + residual.astype(np.float64) - wide)
        given = f"{size} values of {dtype}, and a residual of zeros"
        assert (off <= 4 * ULP[dtype] * np.abs(wide) + ULP[dtype] * 1e-2).all(), self._broken(
            "What arrived and the residual after update_residual() together are the values.",
            given,
            farthest(arrived.astype(np.float64) + residual.astype(np.float64), wide),
            "set residual in update_residual() to the difference that was to be coded minus the one that was decoded",
        )
        sent = bool(encoded(self.codec, reference, reference, residual))
        assert bool(residual.any()) == sent, self._broken(
            "A residual is a reason to send a chunk that equals its reference, and its absence is none.",
            f"{given}; then values that equal the reference, with the residual after update_residual()",
            f"a residual {'with' if residual.any() else 'without'} values, and {'bytes' if sent else 'no bytes'}",
            "hand the residual to swarm.codec.base.unchanged(values, reference, residual)",
        )

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_error_feedback_drives_the_mean_error_to_zero(self, dtype: str) -> None:
        """The same difference again and again: the mean of what arrives comes nearer with every round."""
        differences, _ = models(2000, dtype, step=1)
        reference, residual = np.zeros_like(differences), np.zeros_like(differences)
        largest, rounds, total = float(np.abs(differences).max()), 50, np.zeros(differences.size)
        for _ in range(rounds):
            data = encoded(self.codec, differences, reference, residual)
            self.codec.update_residual(differences, reference, residual)
            total += decoded(self.codec, data, reference, differences).astype(np.float64)
        error = np.abs(total / rounds - differences.astype(np.float64)).max()
        allowed = 2 * self.relative_error * largest / rounds + rounds * ULP[dtype] * largest
        assert error <= allowed, self._broken(
            "The coding error of a round is sent with later ones, so that the mean error goes to zero.",
            f"the same 2000 differences of {dtype} in {rounds} rounds",
            f"a mean that is off by {error:g}; allowed is {allowed:g}",
            "add the residual to the difference in encode(), and replace it in update_residual()",
        )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_what_is_said_to_be_verbatim_is(self, dtype: str) -> None:
        """Such values are sent and received past ``encode`` and ``decode``."""
        values, reference = models(1025, dtype)
        if not self.codec.verbatim(dtype):
            return
        data = encoded(self.codec, values, reference)
        assert data == as_bytes(values) and self.codec.exact(dtype), self._broken(  # noqa: PT018
            "Where verbatim() is True the bytes of a chunk are those of its values, and exact() is True.",
            f"1025 values of {dtype}",
            f"other bytes, or exact({dtype!r}) is {self.codec.exact(dtype)}",
            "leave verbatim() out",
        )
