"""Processes that stand still for a while, and clocks that cannot be trusted."""

from __future__ import annotations

import signal
import time

NAMES = ("ada", "bob", "cyd")
LONGER = 5.0
"""Seconds, more than twice ``failure_timeout``."""


def test_one_that_freezes_and_wakes_up_rounds_later(training) -> None:
    peers = training.peers(NAMES, checkin_model_on_train_end="inactive")
    ada, bob, cyd = peers.values()
    for peer in peers.values():
        peer.said("^ROUND 3 merged")
    frozen = bob.signal(signal.SIGSTOP)
    for peer in (ada, cyd):
        assert peer.said("WARNING .*bob is gone", after=frozen) - frozen < 4
        peer.said(r"^ROUND \d+ merged ada cyd$", after=frozen)
    last = peer.said(r"^ROUND \d+ merged ada cyd$", after=frozen)
    for _ in range(4):
        last = cyd.said(r"^ROUND \d+ merged ada cyd$", after=last + 1e-6)
    woken = bob.signal(signal.SIGCONT)
    bob.said(r"caught up with round \d+ from", after=woken)
    for peer in peers.values():
        back = peer.said(r"^ROUND \d+ merged ada bob cyd$", after=woken)
        peer.said(r"^FROM \d+ ada bob cyd$", after=back)
    training.finish()
    merged = training.one_model(*peers.values())
    for name, peer in peers.items():
        # Each merge of n adds a n-th of a peer's steps; those that it trained are in it, and none is twice.
        assert training.steps(peer) / 3 - 1e-3 <= merged[name] <= training.steps(peer)


def test_all_freeze_and_wake_up_together(training) -> None:
    peers = training.peers(NAMES)
    for peer in peers.values():
        peer.said("^ROUND 3 merged")
    for peer in peers.values():
        peer.signal(signal.SIGSTOP)
    time.sleep(LONGER)  # what is tested is that time passes
    for peer in peers.values():
        woken = peer.signal(signal.SIGCONT)
    for peer in peers.values():
        peer.said(r"^ROUND \d+ merged ada bob cyd$", after=woken + 1)
    training.finish()
    training.one_model(*peers.values())


def test_a_clock_that_jumps_to_and_fro(training, tmp_path) -> None:
    settings = {"world_size": 3, "checkpoint_seconds": 0}
    peers = [training.peer(name, **settings) for name in NAMES[:2]]
    peers.append(training.peer("cyd", "--jumping-clock", model_dir=tmp_path / "cyd", **settings))
    for peer in peers:
        peer.said(r"^ROUND ([89]|\d\d+) merged ada bob cyd$")
        assert "missing" not in peer.text
    training.finish()
    training.one_model(*peers)
