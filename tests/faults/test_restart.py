"""A whole site goes down and comes up again."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

NAMES = ("ada", "bob", "cyd")
RUN = (sys.executable, "-m", "swarm.cli", "run", "--")
RESUME = (*RUN[:-1], "--resume", "--")
"""Both with an identity from the authority of this machine's user: records of a peer without one are not taken."""
AN_HOUR = 3600 * 10**9
"""Nanoseconds."""


def test_all_are_killed_and_go_on_from_their_last_checkpoint(training, tmp_path) -> None:
    _train_until_round(8, training, tmp_path, prefix=RUN)
    kept = {name: _kept(tmp_path / name) for name in NAMES}
    peers = _started(training, tmp_path, prefix=RESUME)
    for name, peer in peers.items():
        peer.said(f"resuming from round {kept[name]}, the newest")
        peer.said("^FROM .* ada bob cyd$", after=peer.said("^BEGUN"))
        first = int(re.findall(r"^ROUND (\d+)", peer.text, re.MULTILINE)[0])
        assert first > max(kept.values()) > 0
    training.finish()
    merged = training.one_model(*peers.values())
    for name, peer in peers.items():
        # A round holds four batches of each, by a third; those of the rounds before the end of the site are in it.
        assert merged[name] >= (4 * kept[name] + training.steps(peer)) / 3 - 1e-3


def test_a_clock_that_was_set_back_does_not_hide_the_newest_checkpoint(training, tmp_path) -> None:
    _train_until_round(4, training, tmp_path, prefix=RUN)
    for record in tmp_path.rglob("swarm-state/**/*.json"):
        later = record.stat().st_mtime_ns + AN_HOUR
        os.utime(record, ns=(later, later))
    before = max(_kept(tmp_path / name) for name in NAMES)
    _train_until_round(before + 6, training, tmp_path, prefix=RESUME)
    for peer in _started(training, tmp_path, prefix=RESUME).values():
        peer.said(r"resuming from round \d+, the newest")
        assert int(re.findall(r"resuming from round (\d+), the newest", peer.text, re.MULTILINE)[0]) > before


def test_a_fresh_run_takes_nothing_of_the_finished_one_before_it(training, tmp_path) -> None:
    peers = _started(training, tmp_path)
    for peer in peers.values():
        peer.said("^ROUND 20 merged")
    training.finish()
    yesterday = training.one_model(*peers.values())
    training.again()
    fresh = _started(training, tmp_path)
    for peer in fresh.values():
        peer.said("3 peers start from the same weights")
        peer.said("^ROUND 2 merged")
    training.finish()
    merged = training.one_model(*fresh.values())
    for name, peer in fresh.items():
        assert "resuming" not in peer.text
        assert merged[name] <= training.steps(peer) < yesterday[name]


def _started(training, place: Path, **settings: object):
    common = {"checkpoint_seconds": 0, "checkin_model_on_train_end": "inactive", "world_size": 3, **settings}
    return {name: training.peer(name, model_dir=place / name, **common) for name in NAMES}


def _train_until_round(number: int, training, place: Path, **settings: object) -> None:
    """Then all are killed at once."""
    peers = _started(training, place, **settings).values()
    for peer in peers:
        peer.said(f"^ROUND {number} merged ada bob cyd$")
    for peer in peers:
        peer.signal(signal.SIGKILL)
    assert [peer.wait() for peer in peers] == [-signal.SIGKILL] * 3


def _kept(model_dir: Path) -> int:
    """The round of the newest checkpoint, by its name: rounds of one lineage count up."""
    return max(int(record.stem.rpartition("-")[2]) for record in model_dir.rglob("swarm-state/**/*.json"))
