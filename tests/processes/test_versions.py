"""Peers of different versions of the protocol, as real processes: an update of a running swarm, and a refusal."""

from __future__ import annotations

import re
import signal

from swarm.versions import NEWEST

NAMES = ("ada", "bob", "cyd")
NEWER = (NEWEST + 1, NEWEST)
"""The versions that a release after this one could name."""


def test_a_running_swarm_is_updated_one_peer_after_the_other(start) -> None:
    peers = {name: start(name, 3000, 0.02, world_size=3, straggler_timeout=0.5) for name in NAMES}
    for peer in peers.values():
        peer.said("^ROUND 2 merged")
    for name in NAMES:
        stopped = peers[name].signal(signal.SIGTERM)
        others = [peers[other] for other in NAMES if other != name]
        for other in others:
            other.said(f"{name} left", after=stopped)
            other.said(r"^ROUND \d+ merged( \w+){2}$", after=stopped)
        assert peers[name].wait() == -signal.SIGTERM
        peers[name] = start(name, 3000, 0.02, *NEWER, world_size=3, straggler_timeout=0.5)
        back = peers[name].said("^BEGUN")
        for peer in peers.values():
            peer.said(r"^ROUND \d+ merged ada bob cyd$", after=back)
        if name != NAMES[-1]:
            peers[name].said(f"the session uses protocol {NEWEST}, the newest that all of its peers speak")
    for name in NAMES[:2]:
        peers[name].said(f"the session uses protocol {NEWER[0]}, the newest that all of its peers speak")
    for peer in peers.values():
        rounds = [int(number) for number in re.findall(r"^ROUND (\d+) merged", peer.text, re.MULTILINE)]
        assert rounds == list(range(rounds[0], rounds[-1] + 1)), peer.text
        assert not re.search("^ROUND .* skipped| ERROR ", peer.text, re.MULTILINE), peer.text


def test_peers_without_a_common_version_end_with_one_sentence(start) -> None:
    ada = start("ada", 4, 0.0, NEWEST + 2, NEWEST + 1)
    bob = start("bob", 4, 0.0)
    assert (ada.wait(), bob.wait()) == (1, 1)
    for peer in (ada, bob):
        last = peer.text.splitlines()[-1]
        assert "have no version of the protocol in common: update Swarm at bob with `pip install --upgrade" in last
        assert f"ada (protocols {NEWEST + 1} to {NEWEST + 2}, Swarm another release) and bob (" in last
