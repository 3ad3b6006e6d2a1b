"""Every sample counts once, whoever is late, behind or finished."""

from __future__ import annotations

import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from swarm.testing.swarm import MemorySwarm, together
from swarm_sklearn import _plugin

NAMES = ("ada", "bob", "cyd")


class Counters:
    """Peers whose model is one count."""

    def __init__(self, **settings):
        settings = {"sync_interval": 1, "merge_method": "sum", "checkin_model_on_train_end": "inactive"} | settings
        self.swarm = MemorySwarm(**settings)

    def peer(self, name):
        # under another name, so that it makes no difference whether the plugin is installed
        plugins = {"counts": SimpleNamespace(swarm_register=_plugin.swarm_register)}
        return self.swarm.peer(name, {"count": np.zeros(3)}, plugins=plugins, disabled_plugins=["sklearn"])


def one(peer):
    peer.arrays["count"] += 1.0


def counts(peers):
    return [peer.arrays["count"].tolist() for peer in peers]


@pytest.mark.parametrize("overlap", [False, True], ids=["blocking", "overlap"])
def test_sites_of_any_size(overlap):
    counters = Counters(world_size=3, overlap=overlap)
    peers = [counters.peer(name) for name in NAMES]
    together(*(partial(peer.train, batches, one) for peer, batches in zip(peers, (2, 5, 11), strict=True)))
    assert counts(peers) == [[18.0] * 3] * 3


def test_a_newcomer_adds_to_what_was_counted_before():
    counters = Counters(min_peers=2, straggler_timeout=20.0)
    peers = ada, bob, cyd = [counters.peer(name) for name in NAMES]
    two, came = threading.Event(), threading.Event()

    def founder(peer):
        peer.session.begin()
        peer.go_on(1, one)
        two.set()
        assert came.wait(20)
        peer.go_on(1, one)
        peer.session.end()

    def newcomer():
        assert two.wait(20)
        cyd.session.begin()
        came.set()
        cyd.go_on(1, one)
        cyd.session.end()

    together(partial(founder, ada), partial(founder, bob), newcomer)
    assert counts(peers) == [[5.0] * 3] * 3


def test_a_site_that_misses_a_round_adds_its_samples_in_the_next():
    counters = Counters(world_size=3, straggler_timeout=0.05)
    peers = ada, bob, cyd = [counters.peer(name) for name in NAMES]
    merged = threading.Barrier(3)

    def punctual(peer):
        peer.session.begin()
        peer.go_on(1, one)
        merged.wait(20)
        peer.go_on(1, one)
        peer.session.end()

    def late():
        cyd.session.begin()
        one(cyd)
        merged.wait(20)
        cyd.advance()
        cyd.go_on(1, one)
        cyd.session.end()

    together(partial(punctual, ada), partial(punctual, bob), late)
    assert counts(peers) == [[6.0] * 3] * 3
    assert ada.reports[0].group == ("ada", "bob")
