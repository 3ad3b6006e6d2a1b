"""Peers whose weight is the number of their samples."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from swarm.errors import ConfigurationError, SwarmError
from swarm.testing.swarm import MemorySwarm, together

SITES = {"berlin": 4500, "paris": 1000, "rome": 500}
LINE = "INFO weights by samples: berlin 4500 (75 %), paris 1000 (17 %), rome 500 (8 %)"


def step(peer):
    peer.arrays["w"] += {"berlin": 0.0, "paris": 6.0, "rome": 12.0}[peer.name]


def trained(**settings):
    swarm = MemorySwarm(world_size=3, min_peers=3, sync_interval=1, node_weightage="samples", **settings)
    peers = [swarm.peer(name, {"w": np.zeros(4)}, samples=samples) for name, samples in SITES.items()]
    together(*(partial(peer.train, 1, step) for peer in peers))
    return peers


def test_samples_are_the_weights_of_the_mean():
    peers = trained()
    for peer in peers:
        np.testing.assert_allclose(peer.arrays["w"], (0 * 4500 + 6 * 1000 + 12 * 500) / 6000)
        assert LINE in peer.lines
        assert peer.lines.count(LINE) == 1


def test_no_peer_has_more_than_the_largest_share():
    peers = trained(largest_share=0.5)
    for peer in peers:
        np.testing.assert_allclose(peer.arrays["w"], (6 * 1000 + 12 * 500) / 3000)
        assert (
            "INFO weights by samples: berlin 4500 (75 %, capped to 50 %), paris 1000 (17 %), rome 500 (8 %)"
            in peer.lines
        )


@pytest.mark.parametrize("rule", ["coordmedian", "geomedian"])
def test_a_peer_with_most_samples_is_the_median(rule):
    for peer in trained(merge_method=rule):
        np.testing.assert_array_equal(peer.arrays["w"], 0)


def errors(*settings, **common):
    swarm = MemorySwarm(world_size=len(settings), **common)
    peers = [swarm.peer(name, {"w": np.zeros(1)}, **each) for name, each in zip(SITES, settings, strict=False)]

    def begin(peer):
        try:
            peer.session.begin()
        except SwarmError as error:
            return error
        peer.session.abort("the test is over")
        return None

    return together(*(partial(begin, peer) for peer in peers))


def test_peers_with_and_without_samples_refuse_each_other():
    for error in errors({"node_weightage": "samples", "samples": 3}, {}):
        assert "node_weightage is " in str(error)
        assert "samples at berlin" in str(error)
        assert "0 to 100 at paris" in str(error)


def test_a_largest_share_that_only_one_peer_has_is_named():
    for error in errors({"largest_share": 0.5}, {}):
        assert "0.5 at berlin" in str(error)
        assert "1.0 at paris" in str(error)


def test_an_unknown_number_ends_the_start():
    (error,) = errors({"node_weightage": "samples"})
    assert isinstance(error, ConfigurationError)
    assert "give samples=N" in str(error)


def test_a_swarm_without_a_sample_does_not_start():
    for error in errors({}, {}, node_weightage="samples", samples=0):
        assert "samples is 0 at berlin, paris: nobody would contribute" in str(error)


def test_a_fact_that_differs_is_told_with_the_entry():
    one, other = ({"agree": {"classes": ["ill", last], "v": "v3"}} for last in ("well", "fine"))
    for error in errors(one, other):
        assert "agree['classes'] is " in str(error)
        assert "['ill', 'well'] at berlin" in str(error)
        assert "the 2nd entry is " in str(error)
        assert "'fine' at paris" in str(error)


def test_a_fact_that_only_one_peer_gives_is_a_difference():
    for error in errors({"agree": {"preprocessing": "v3"}}, {}):
        assert "agree['preprocessing'] is " in str(error)
        assert "not given at paris" in str(error)


def test_peers_with_the_same_facts_meet():
    assert errors({"agree": {"a": 1, "b": [2]}}, {"agree": {"b": (2.0,), "a": np.int32(1)}}) == [None, None]
