"""A method that a subclass of a codec overrides is always used, also if its base class has faster methods."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.codec import Bf16Codec, Codec, ExactCodec, Int8Codec
from swarm.testing.codecs import CodecContract, decoded, encoded, models


class Inverted(ExactCodec):
    """Inverts every bit."""

    name = "inverted"

    def encode(self, values, reference, out, residual=None):
        size = super().encode(values, reference, out, residual)
        np.frombuffer(out, np.uint8)[:size] ^= 0xFF
        return size

    def decode(self, data, reference, out):
        super().decode(memoryview(bytes(np.frombuffer(data, np.uint8) ^ 0xFF)), reference, out)


class TestInvertedContract(CodecContract):
    codec = Inverted()


class NarrowGroups(Int8Codec):
    name = "int8-256"
    group = 256


class TestNarrowGroupsContract(CodecContract):
    codec = NarrowGroups()
    relative_error = 0.5001 / 127


def test_a_codec_that_overrides_encode_sends_nothing_as_it_is() -> None:
    assert ExactCodec().verbatim("float32")
    assert type("Renamed", (ExactCodec,), {"name": "renamed"})().verbatim("float32")
    assert not Inverted().verbatim("float32")
    assert not type("Below", (Inverted,), {})().verbatim("float32")


class Nothing:
    """A mixin that encodes every difference as zeros."""

    def pack(self, differences, out):
        out[...] = 0


@pytest.mark.parametrize("base", [Bf16Codec, Int8Codec])
def test_a_compiled_kernel_is_not_used_for_another_way_to_pack(base: type[Codec]) -> None:
    values, reference = models(3000, "float32")
    for codec in (type("Derived", (base,), dict(vars(Nothing))), type("Mixed", (Nothing, base), {})):
        data = encoded(codec(), values, reference)
        assert not any(data)
        np.testing.assert_array_equal(decoded(codec(), data, reference, values), reference)


def test_groups_of_another_size_have_scales_of_their_own() -> None:
    values, reference = models(1024, "float32")
    assert len(encoded(NarrowGroups(), values, reference)) == 1024 + 4 * 4
