"""Peers that stop early, all at once, or die during the closing round."""

from __future__ import annotations

import re
import signal

import pytest

NAMES = ("ada", "bob", "cyd")


@pytest.mark.parametrize(
    ("mode", "contributors"), [("snapshot", "ada bob cyd"), ("active", "ada bob cyd"), ("inactive", "ada bob")]
)
def test_one_that_stops_early_serves_until_the_others_are_done(training, mode: str, contributors: str) -> None:
    ada, bob, cyd = training.peers(NAMES, checkin_model_on_train_end=mode).values()
    ada.said("^ROUND 2 merged")
    training.finish("cyd")
    after = ada.lines[-1][0]
    finished = cyd.said(f"cyd has finished, serving as {mode} until all are done")
    for peer in (ada, bob, cyd):
        after = finished
        for _ in range(4):
            after = peer.said(rf"^FROM \d+ {contributors}$", after=after) + 1e-6
    assert not re.search("^DIGEST", cyd.text, re.MULTILINE)
    training.finish()
    merged = training.one_model(ada, bob, cyd)
    if mode == "inactive":
        # Only their steps before the end are in it: each once, by a third.
        assert merged["cyd"] == pytest.approx(training.steps(cyd) / 3, abs=1e-3)


def test_all_finish_at_once(training) -> None:
    peers = training.peers(("ada", "bob", "cyd", "dan")).values()
    for peer in peers:
        peer.said("^ROUND 2 merged")
    training.finish()
    training.one_model(*peers)
    for peer in peers:
        peer.said("closing model of 4 peers loaded")


@pytest.mark.parametrize("moment", ["closing-proposed", "closing-asked", "closing-decided", "closing-decided-once"])
def test_the_leader_is_killed_during_the_closing_round(training, tmp_path, moment: str) -> None:
    peers = training.peers(NAMES, "--die", moment, "--token", tmp_path / "token")
    for peer in peers.values():
        peer.said("^ROUND 2 merged")
    training.finish()
    dead = [peer for peer in peers.values() if peer.wait() == -signal.SIGKILL]
    assert len(dead) == 1
    left = [peer for peer in peers.values() if peer not in dead]
    training.one_model(*left)
    for peer in left:
        peer.said(r"closing model of \d peers loaded")


def test_a_member_is_killed_while_it_waits_for_the_closing_round(training) -> None:
    ada, bob, cyd = training.peers(NAMES).values()
    ada.said("^ROUND 2 merged")
    training.finish("cyd")
    cyd.said("^ENDING")
    cyd.said("cyd has finished")
    cyd.signal(signal.SIGKILL)
    training.finish()
    training.one_model(ada, bob)
    ada.said("closing model of 2 peers loaded")
