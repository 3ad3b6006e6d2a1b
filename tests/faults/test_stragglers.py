"""One peer is ten times as slow as the rest."""

from __future__ import annotations

import itertools
import re

NAMES = ("ada", "bob", "cyd", "dan")
TIMEOUT = 0.3
BATCHES_OF_A_ROUND = 4
QUICK, SLOW = 0.03, 0.3


def test_the_others_are_held_for_no_more_than_the_straggler_timeout_and_its_steps_are_merged(training) -> None:
    settings = {"world_size": 4, "straggler_timeout": TIMEOUT, "checkin_model_on_train_end": "inactive"}
    quick = [training.peer(name, "--pause", QUICK, **settings) for name in NAMES[:3]]
    dan = training.peer("dan", "--pause", SLOW, **settings)
    began = max(peer.said("^ROUND 1 merged") for peer in quick)
    after = began
    for _ in range(3):
        after = quick[0].said(r"^FROM \d+ ada bob cyd dan$", after=after) + 1e-6
    for peer in quick:
        rounds = [at for at, line in peer.lines if began <= at <= after and line.startswith("ROUND")]
        periods = [later - earlier for earlier, later in itertools.pairwise(rounds)]
        assert max(periods) < BATCHES_OF_A_ROUND * QUICK + TIMEOUT + 0.5
        without = [line for _, line in peer.lines if re.search(r"^ROUND \d+ merged ada bob cyd$", line)]
        assert len(without) >= 3
        peer.said("went ahead with fewer peers; missing: dan")
    training.finish()
    merged = training.one_model(*quick, dan)
    assert training.steps(dan) / 4 - 1e-3 <= merged["dan"] <= training.steps(dan)
