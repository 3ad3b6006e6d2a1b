"""What plugins override in the shipped rules, codecs and policies decides what a swarm ends with."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from swarm import hookimpl
from swarm.codec import BUILTIN_CODECS, ExactCodec
from swarm.merge import BUILTIN_RULES, CoordinateMedian, GeometricMedian, MergeRule, WeightedMean
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

NAMES = ("ada", "bob", "cyd")


def ends(**settings: object) -> list[list[float]]:
    """The models of three peers that add 1, 2 and 6 in each of two rounds, from zeros."""
    swarm = MemorySwarm(sync_interval=1, world_size=3, **settings)

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += np.float32({"ada": 1, "bob": 2, "cyd": 6}[peer.name])

    peers = [swarm.peer(name, {"w": np.zeros(5, np.float32)}, plugins={"clinic": settings_plugin}) for name in NAMES]
    together(*(partial(peer.train, 2, step) for peer in peers))
    return [peer.arrays["w"].tolist() for peer in peers]


class LargestMean(WeightedMean):
    def merge(self, columns, weights):
        return np.maximum.reduce(columns)


class LargestMedian(CoordinateMedian):
    def merge(self, columns, weights):
        return np.maximum.reduce(columns)


class LastPoint(GeometricMedian):
    def coefficients(self, gram, weights):
        return np.eye(len(weights))[-1]


RULES: dict[str, MergeRule] = {"mean-most": LargestMean(), "median-most": LargestMedian(), "last": LastPoint()}


class Halved(ExactCodec):
    """Sends half of every value, and doubles what arrives: whoever passes one of the two over is found out."""

    def encode(self, values, reference, out, residual=None):
        return super().encode(values / 2, None, out, residual)

    def decode(self, data, reference, out):
        super().decode(data, reference, out)
        out *= 2


@hookimpl
def swarm_register(register) -> None:
    for name, rule in RULES.items():
        register.merge_rule(name, rule)
    register.codec("halved", Halved())


settings_plugin = SimpleNamespace(swarm_register=swarm_register)


@pytest.mark.parametrize("codec", BUILTIN_CODECS)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_derived_from_a_shipped_one_merges_as_it_says(rule: str, codec: str) -> None:
    """In the first round after the founding one and in those that build on it, where other shortcuts are taken."""
    assert ends(merge_method=rule, codec=codec) == [[12.0] * 5] * 3


@pytest.mark.parametrize("rule", [name for name, rule in BUILTIN_RULES.items() if rule.fewest <= len(NAMES)])
def test_a_codec_derived_from_a_shipped_one_codes_as_it_says(rule: str) -> None:
    assert ends(merge_method=rule, codec="halved") == ends(merge_method=rule)
