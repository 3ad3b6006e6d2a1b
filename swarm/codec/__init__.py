"""Codecs: how weights are encoded as bytes, exactly or as differences from the last committed model.

A codec is pure. To add one, subclass ``DeltaCodec`` (or ``Codec``), register it through the ``swarm_register`` hook,
and run the contract test ``swarm.testing.CodecContract`` on it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from swarm.codec.base import Codec
from swarm.codec.bf16 import Bf16Codec
from swarm.codec.delta import DeltaCodec
from swarm.codec.exact import ExactCodec
from swarm.codec.int8 import Int8Codec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILTIN_CODECS", "Bf16Codec", "Codec", "DeltaCodec", "ExactCodec", "Int8Codec"]

BUILTIN_CODECS: Mapping[str, Codec] = MappingProxyType(
    {codec.name: codec for codec in (ExactCodec(), Bf16Codec(), Int8Codec())}
)
"""The codecs that need no plugin, by name."""
