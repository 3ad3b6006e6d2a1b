"""Codecs of plugins that were written for earlier versions."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.codec import Codec, ExactCodec, Int8Codec
from swarm.testing.chunks import models


@pytest.mark.parametrize("base", [ExactCodec, Int8Codec])
def test_a_codec_that_defines_carry_is_warned_and_works(base: type[Codec]) -> None:
    """``update_residual`` was called so in earlier versions."""
    called = []

    def carry(self, values, reference, residual):
        called.append(self)
        super(codec, self).carry(values, reference, residual)

    with pytest.warns(DeprecationWarning, match=r"Old.carry is a former name.*write update_residual"):
        codec = type("Old", (base,), {"carry": carry, "name": "old"})
    values, reference = models(100, "float32")
    residual, expected = np.zeros_like(values), np.zeros_like(values)
    with pytest.warns(DeprecationWarning, match=r"Codec.carry is a former name"):  # by super()
        codec().update_residual(values, reference, residual)
    base().update_residual(values, reference, expected)
    assert residual.tobytes() == expected.tobytes()
    assert len(called) == 1
