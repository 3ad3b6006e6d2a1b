"""Too few peers for a round."""

from __future__ import annotations

import re
import signal

NAMES = ("ada", "bob", "cyd")
ALONE = r"below quorum: 1 of the 2 peers needed are here; missing: bob \(gone\), cyd \(gone\)"


def test_one_that_is_left_alone_trains_on_and_says_so(training) -> None:
    ada, bob, cyd = training.peers(NAMES).values()
    ada.said(r"^ROUND \d+ merged ada bob cyd$")
    killed = [peer.signal(signal.SIGKILL) for peer in (bob, cyd)][-1]
    skipped = ada.said(f"^SKIPPED .*{ALONE}", after=killed)
    ada.said(f"WARNING swarm: round .* skipped: {ALONE}", after=killed)
    assert skipped - killed < 2  # one straggler timeout, not one time-out after the other
    ada.said(f"^SKIPPED .*{ALONE}", after=skipped + 1e-6)
    training.finish()
    ada.said(r"WARNING .*no closing round \(.*below quorum.*; the model is this peer's own")
    assert ada.wait() == 0
    assert ada.digest


def test_one_that_is_left_alone_waits_says_for_whom_and_goes_on(training) -> None:
    ada, bob, cyd = training.peers(NAMES, "--line-every", 0.5, below_quorum="wait").values()
    ada.said(r"^ROUND \d+ merged ada bob cyd$")
    frozen = [peer.signal(signal.SIGSTOP) for peer in (bob, cyd)][-1]
    waiting = r"WARNING .*round \d+: waiting for bob \(gone\), cyd \(gone\)"
    said = ada.said(waiting, after=frozen)
    said = ada.said(waiting, after=said + 1e-6)
    assert not re.search("^SKIPPED", ada.text, re.MULTILINE)
    woken = cyd.signal(signal.SIGCONT)
    ada.said(r"^ROUND \d+ merged ada cyd$", after=woken)
    assert not [line for at, line in ada.lines if said < at < woken and line.startswith("ROUND")]
    bob.signal(signal.SIGCONT)
    ada.said(r"^ROUND \d+ merged ada bob cyd$", after=woken)
    training.finish()
    training.one_model(ada, bob, cyd)


def test_one_that_waits_goes_on_with_a_killed_one_that_is_started_again(training) -> None:
    ada, bob, cyd = training.peers(NAMES, below_quorum="wait").values()
    ada.said(r"^ROUND \d+ merged ada bob cyd$")
    killed = [peer.signal(signal.SIGKILL) for peer in (bob, cyd)][-1]
    ada.said("WARNING .*bob is gone", after=killed)
    ada.said("WARNING .*cyd is gone", after=killed)
    bob = training.peer("bob", world_size=3, below_quorum="wait")
    ada.said(r"^ROUND \d+ merged ada bob$", after=killed)
    training.finish()
    training.one_model(ada, bob)
