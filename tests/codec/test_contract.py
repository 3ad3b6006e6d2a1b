"""The built-in codecs pass the contract for plugins."""

from __future__ import annotations

from swarm.codec import BUILTIN_CODECS, Bf16Codec, ExactCodec, Int8Codec
from swarm.testing.codecs import CodecContract


class TestExactContract(CodecContract):
    codec = ExactCodec()


class TestBf16Contract(CodecContract):
    codec = Bf16Codec()
    relative_error = 2.0**-8


class TestInt8Contract(CodecContract):
    codec = Int8Codec()
    relative_error = 0.5001 / 127


def test_built_in_codecs_go_by_their_names_and_sizes() -> None:
    sizes = {name: (codec.name, codec.encoded_nbytes(1 << 18, "float32")) for name, codec in BUILTIN_CODECS.items()}
    assert sizes == {"exact": ("exact", 1 << 20), "bf16": ("bf16", 1 << 19), "int8": ("int8", (1 << 18) + 1024)}
