"""The contract reports which property a broken codec violates, for which input, and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.codec import Codec, ExactCodec, Int8Codec
from swarm.testing.codecs import DIFFERENCES, CodecContract


class Short(ExactCodec):
    def encode(self, values, reference, out, residual=None):
        return max(super().encode(values, reference, out, residual) - 1, 0)


class Coarse(Int8Codec):
    def unpack(self, data, out):
        super().unpack(data, out)
        out *= 0.5


class Chatty(ExactCodec):
    def encode(self, values, reference, out, residual=None):
        return super().encode(values, None, out, residual)


class Deaf(ExactCodec):
    def encode(self, values, reference, out, residual=None):
        return super().encode(values, reference, out) if values[0] != reference[0] else 0


class Rolling(ExactCodec):
    calls = 0

    def encode(self, values, reference, out, residual=None):
        size = super().encode(values, reference, out, residual)
        type(self).calls += 1
        out[0] = self.calls % 256
        return size


class Spilling(ExactCodec):
    def encode(self, values, reference, out, residual=None):
        size = super().encode(values, reference, out, residual)
        out[size] = 0
        return size


class Trusting(ExactCodec):
    def decode(self, data, reference, out):
        values = np.resize(np.frombuffer(bytes(data) or bytes(out.nbytes), out.dtype, count=1), out.shape)
        if len(data) == out.nbytes:
            values = np.frombuffer(data, out.dtype)
        out[...] = values


class Vague(Int8Codec):
    def _require_reference(self, reference):
        return np.zeros(10, np.float32) if reference is None else reference


class Losing(Int8Codec):
    def update_residual(self, values, reference, residual):
        residual[...] = 1


class Halving(ExactCodec):
    def encode(self, values, reference, out, residual=None):
        return super().encode((values / 2).astype(values.dtype), None, out)

    def verbatim(self, dtype):
        return True


class Lifting(ExactCodec):
    def decode(self, data, reference, out):
        super().decode(data, reference, out)
        out += 1


CASES: list[tuple[type[Codec], str, tuple[Any, ...], str]] = [
    (Short, "what_arrives_is_as_near_as_promised", (3, "float32"), "as many bytes as encoded_nbytes()"),
    (Coarse, "what_arrives_is_as_near_as_promised", (511, "float32"), "within relative_error"),
    (
        Coarse,
        "what_arrives_has_moved_as_far_as_what_was_sent",
        (DIFFERENCES["alike"], 1.0, 0.0, "float32"),
        "within norm_tolerance",
    ),
    (Chatty, "an_unchanged_chunk_travels_as_nothing_and_arrives_to_the_bit", (3, "float32"), "takes no bytes"),
    (Deaf, "one_value_that_changed_is_sent", (1024, "float32"), "A single value that has changed"),
    (Rolling, "is_deterministic_and_leaves_its_inputs_alone", ("float32",), "coded as the same bytes"),
    (Spilling, "writes_nothing_outside_its_buffers", (3, "float32"), "encode() writes nothing outside"),
    (Trusting, "another_length_is_refused", (1025, "float32"), "another length than the schema"),
    (Trusting, "garbage_is_refused_or_finite", ("float32",), "refused or give finite values"),
    (Trusting, "values_that_are_not_finite_are_refused", (np.nan, "float32"), "not finite are refused"),
    (Halving, "the_largest_differences_are_refused_or_arrive", ("float64",), "arrive or are refused"),
    (Lifting, "tiny_differences_do_no_harm", (1e-30, "float32"), "nothing larger comes of them"),
    (Vague, "a_chunk_without_reference_needs_an_exact_codec", ("float32",), "refuses to encode without"),
    (Losing, "the_error_is_kept_in_the_residual", (3000, "float32"), "together are the values"),
    (Coarse, "error_feedback_drives_the_mean_error_to_zero", ("float64",), "sent with later ones"),
    (Halving, "what_is_said_to_be_verbatim_is", ("float32",), "are those of its values"),
]


@pytest.mark.parametrize(("codec", "test", "arguments", "property_"), CASES)
def test_a_broken_codec_hears_what_it_must_keep(
    codec: type[Codec], test: str, arguments: tuple[Any, ...], property_: str
) -> None:
    contract = type("Contract", (CodecContract,), {"codec": codec(), "relative_error": 0.004})()
    with pytest.raises(AssertionError) as caught:
        getattr(contract, f"test_{test}")(*arguments)
    message = str(caught.value)
    assert property_ in message
    assert message.startswith(codec.__name__)
    assert all(part in message for part in ("given: ", "got: ", "to do: "))


def test_every_property_has_a_codec_that_breaks_it_here() -> None:
    properties = {name.removeprefix("test_") for name in vars(CodecContract) if name.startswith("test_")}
    assert {test for _, test, _, _ in CASES} == properties


def test_what_is_no_codec_is_said_at_once() -> None:
    contract = type("Contract", (CodecContract,), {"codec": ExactCodec})()
    with pytest.raises(AssertionError, match=r"(?s)instance of swarm.codec.base.Codec.*the class ExactCodec"):
        CodecContract._usable.__wrapped__(contract)
