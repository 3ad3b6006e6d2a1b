"""The lines about peers that failed."""

from __future__ import annotations

from swarm.cli.ends import PeerEnd, at_once, failures


def end(rank: int, code: int = 1, **fields) -> PeerEnd:
    return PeerEnd(name=f"peer-{rank}", code=code, **fields)


def test_peers_that_failed_alike_have_one_line():
    ends = [end(rank, cause="No module named 'nopackage' (train.py:4)", joined=False) for rank in range(3)]
    assert failures(ends, 3) == ["ALL 3 FAILED ALIKE: No module named 'nopackage' (train.py:4)"]


def test_one_peer_of_several_is_named_with_its_epoch_and_the_others_are_counted():
    ends = [end(0, 0), end(1, cause="ValueError: label 7 (train.py:22)", epoch=3), end(2, 0)]
    assert failures(ends, 3) == ["FAILED peer-1 in epoch 3: ValueError: label 7 (train.py:22); 2 of 3 finished"]


def test_a_lone_peer_that_failed_is_named():
    assert failures([end(0, cause="why", joined=False)], 1) == ["FAILED peer-0 before joining: why; 0 of 1 finished"]


def test_each_way_to_fail_has_a_line_and_the_peers_are_in_the_order_of_their_ranks():
    ends = [end(10, cause="a", epoch=2), end(2, cause="a", epoch=1), end(1, -9), end(0, 0), end(3, 5)]
    assert failures(ends, 5) == [
        "FAILED peer-2, peer-10: a",
        "FAILED peer-1: ended by SIGKILL",
        "FAILED peer-3: exit code 5; 1 of 5 finished",
    ]


def test_a_peer_that_was_stopped_has_not_failed():
    assert failures([end(0, -15, stopped=True), end(1, 0)], 2) == []


def test_a_failure_is_said_while_the_others_go_on():
    assert at_once(end(1, cause="why", epoch=3), 2, 3, 2) == "FAILED peer-1 in epoch 3: why; 2 of 3 go on"


def test_a_peer_that_never_joined_is_said_with_how_many_start():
    gone = end(2, cause="train.npz missing (train.py:10)", joined=False)
    assert at_once(gone, 2, 3, 2) == "peer-2 ended before joining: train.npz missing (train.py:10); starting with 2"
    assert at_once(gone, 2, 5, 3).endswith("; 2 left, and min_peers is 3 unless the script sets it")
