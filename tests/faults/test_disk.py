"""A disk that is full, and one that is slow."""

from __future__ import annotations

import itertools
import re

NAMES = ("ada", "bob")
WRITE = 1.0
"""Seconds."""


def test_a_full_disk_holds_nobody_up_and_is_said_once(training, tiny_disk) -> None:
    settings = {"world_size": 3, "checkpoint_seconds": 0}
    others = [training.peer(name, **settings) for name in NAMES]
    cyd = training.peer("cyd", model_dir=tiny_disk, **settings)
    for peer in (*others, cyd):
        peer.said(r"^ROUND ([89]|\d\d+) merged ada bob cyd$")
    training.finish()
    training.one_model(*others, cyd)
    assert _errors(cyd, "round .* was not written to .*No space left") == 1
    for name in ("local", "swarm-final"):
        assert _errors(cyd, rf"{name}\.safetensors was not written to .*No space left") == 1
    assert _errors(cyd, "records were not written to ledger .*") == 1
    assert _errors(cyd, "there is no checkpoint of round .*No space left") == 1
    assert _errors(cyd, "records of ledger .* are lost, ") == 1
    # The report is small: it may fit or not.
    assert cyd.text.count("ERROR") - _errors(cyd, "the report was not written to ") == 6
    for peer in others:
        assert "ERROR" not in peer.text
    small = {"ledger", "training", "swarm-report"}
    # Small files fit, as the first records of the ledger; of models there are not even parts.
    assert {path.name.partition(".")[0] for path in tiny_disk.rglob("*") if path.is_file()} <= small


def test_a_slow_disk_holds_no_round_up(training, tmp_path) -> None:
    settings = {"world_size": 3, "checkpoint_seconds": 0}
    others = [training.peer(name, **settings) for name in NAMES]
    cyd = training.peer("cyd", "--slow-disk", WRITE, model_dir=tmp_path / "cyd", **settings)
    peers = (*others, cyd)
    state = tmp_path / "cyd" / "swarm-state"
    # Long enough for a whole checkpoint to be written beside the rounds.
    after = max(peer.said(r"^ROUND \d+ merged ada bob cyd$") for peer in peers)
    last = after
    while not any(state.rglob("*.json")):
        last = cyd.said("^ROUND", after=last + 1e-6)
    for peer in peers:
        rounds = [at for at, line in peer.lines if after <= at <= last and line.startswith("ROUND")]
        assert len(rounds) >= 5
        assert max(later - earlier for earlier, later in itertools.pairwise(rounds)) < WRITE
        assert "missing" not in peer.text
    training.finish()
    training.one_model(*peers)
    assert (tmp_path / "cyd" / "swarm-final.safetensors").is_file()


def _errors(peer, pattern: str) -> int:
    return len(re.findall(rf"^.*ERROR .*{pattern}", peer.text, re.MULTILINE))
