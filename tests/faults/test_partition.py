"""Peers in network namespaces, cut off from one another for many rounds, and joined again."""

from __future__ import annotations

import re

import pytest

ROUNDS_APART = 5


@pytest.mark.parametrize("networks", [(("ada", "bob"), ("cyd",))], indirect=True)
def test_the_majority_goes_on_and_the_minority_trains_alone_until_it_is_over(training, networks) -> None:
    peers = {
        name: training.peer(name, world_size=3, checkin_model_on_train_end="inactive", **networks.settings(name))
        for name in ("ada", "bob", "cyd")
    }
    ada, bob, cyd = peers.values()
    cut = _cut_after_three_rounds(networks, peers)
    for peer in (ada, bob):
        assert peer.said("WARNING .*cyd is gone", after=cut) - cut < 5
        _merges(peer, "ada bob", after=cut)
    _said_often(cyd, r"^SKIPPED \d+ below quorum: 1 of the 2 peers needed are here", after=cut, times=2)
    assert re.search(r"WARNING .*missing: ada \(gone\), bob \(gone\)", cyd.text)
    assert not re.search(r"^ROUND \d+ merged cyd$", cyd.text, re.MULTILINE)
    assert "FORK" not in cyd.text
    joined = _join(networks, ada)
    cyd.said(r"caught up with round \d+ from", after=joined)
    for peer in peers.values():
        peer.said(r"^FROM \d+ ada bob cyd$", after=peer.said(r"^ROUND \d+ merged ada bob cyd$", after=joined))
    training.finish()
    merged = training.one_model(*peers.values())
    assert training.steps(cyd) / 3 - 1e-3 <= merged["cyd"] <= training.steps(cyd)


@pytest.mark.parametrize("networks", [(("ada", "bob"), ("cyd", "dan"))], indirect=True)
def test_halves_that_may_fork_go_on_apart_and_end_as_one(training, networks) -> None:
    peers = {
        name: training.peer(name, world_size=4, min_peers=2, **networks.settings(name))
        for name in ("ada", "bob", "cyd", "dan")
    }
    cut = _cut_after_three_rounds(networks, peers)
    for names in ("ada bob", "cyd dan"):
        for name in names.split():
            _merges(peers[name], names, after=cut)
        assert any("FORK: 2 of 4 members are left" in peers[name].text for name in names.split())
    joined = _join(networks, peers["ada"])
    for peer in peers.values():
        peer.said(r"^ROUND \d+ merged ada bob cyd dan$", after=joined)
    given_up = {
        name for name, peer in peers.items() if re.search(r"lineage \w+ up to round \d+ is given up", peer.text)
    }
    assert given_up in ({"ada", "bob"}, {"cyd", "dan"})
    training.finish()
    training.one_model(*peers.values())


@pytest.mark.parametrize("networks", [(("ada", "bob"), ("cyd", "dan"))], indirect=True)
def test_halves_that_may_not_fork_wait_for_each_other(training, networks) -> None:
    peers = {
        name: training.peer(name, world_size=4, **networks.settings(name)) for name in ("ada", "bob", "cyd", "dan")
    }
    cut = _cut_after_three_rounds(networks, peers)
    for peer in peers.values():
        _said_often(peer, r"^SKIPPED \d+ below quorum: 2 of the 3 peers needed are here", after=cut, times=2)
    joined = _join(networks, peers["ada"])
    for peer in peers.values():
        peer.said(r"^ROUND \d+ merged ada bob cyd dan$", after=joined)
        assert "FORK" not in peer.text
        assert not re.search(r"^ROUND \d+ merged( \w+){2}$", peer.text, re.MULTILINE)
    training.finish()
    training.one_model(*peers.values())


def _cut_after_three_rounds(networks, peers) -> float:
    """When the last round before it was."""
    before = max(peer.said("^ROUND 3 merged") for peer in peers.values())
    networks.cut()
    return before


def _join(networks, witness) -> float:
    """When the last thing before it was said."""
    networks.restore()
    return witness.lines[-1][0]


def _merges(peer, group: str, *, after: float) -> None:
    _said_often(peer, rf"^ROUND \d+ merged {group}$", after=after, times=ROUNDS_APART)


def _said_often(peer, pattern: str, *, after: float, times: int) -> None:
    for _ in range(times):
        after = peer.said(pattern, after=after) + 1e-6
