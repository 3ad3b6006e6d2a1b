"""The records of a session for the launcher that started its process."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm.errors import ModelError, StartTimeoutError
from swarm.storage.files import FINAL
from swarm.storage.session_records import DIRECTORY, read_records
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together


@pytest.fixture
def rendezvous(tmp_path: Path) -> Path:
    (tmp_path / DIRECTORY).mkdir()
    return tmp_path


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


def pair(rendezvous: Path, **settings: object) -> list[SwarmPeer]:
    swarm = MemorySwarm(world_size=2, sync_interval=2, rendezvous=rendezvous, **settings)
    return [swarm.peer(f"peer-{rank}", {"w": np.zeros(4)}, rank=rank) for rank in range(2)]


def test_a_closed_session_writes_its_last_round_its_digest_and_its_file(rendezvous: Path) -> None:
    peers = pair(rendezvous, model_dir=rendezvous / "models")
    together(*(partial(peer.train, 4, step) for peer in peers))
    records = read_records(rendezvous)
    assert [(record.rank, record.ended, record.closing) for record in records] == [(0, True, True), (1, True, True)]
    assert {record.round for record in records} == {peers[0].session.commit.round}
    assert {record.digest for record in records} == {peers[0].digest()}
    # the two share a directory, so the second writes to one of its own
    assert {record.file for record in records} == {str(peer.session.result) for peer in peers}
    assert str(rendezvous / "models" / FINAL) in {record.file for record in records}
    assert records[0].bytes_sent == records[1].bytes_received > 0


def test_the_record_of_a_session_that_was_left_has_the_reason(rendezvous: Path) -> None:
    peers = pair(rendezvous)
    together(*(peer.session.begin for peer in peers))
    together(*(partial(peer.go_on, 2, step) for peer in peers))
    for peer in peers:
        peer.session.abort("training ended without on_train_end")
    for record in read_records(rendezvous):
        assert (record.ended, record.closing, record.round) == (True, False, 1)
        assert record.reason == "training ended without on_train_end"


def test_a_session_that_was_not_left_has_an_open_record(rendezvous: Path) -> None:
    peers = pair(rendezvous)
    together(*(peer.session.begin for peer in peers))
    assert [(record.ended, record.closing) for record in read_records(rendezvous)] == [(False, False)] * 2
    for peer in peers:
        peer.session.abort("the test is over")


def test_a_start_that_failed_has_no_closing_model(rendezvous: Path) -> None:
    peer, _ = pair(rendezvous, start_timeout=0.2)
    with pytest.raises(StartTimeoutError):
        peer.session.begin()
    (record,) = read_records(rendezvous)
    assert (record.ended, record.closing, record.reason) == (True, False, "the start failed")


def test_a_start_that_failed_before_the_peer_listened_has_a_record(rendezvous: Path) -> None:
    swarm = MemorySwarm(world_size=2, rendezvous=rendezvous)
    peer = swarm.peer("peer-0", {"w": np.zeros(4, "i4")}, rank=0)
    with pytest.raises(ModelError):
        peer.session.begin()
    (record,) = read_records(rendezvous)
    assert (record.ended, record.closing, record.reason) == (True, False, "the start failed")
    assert (record.bytes_sent, record.bytes_received) == (0, 0)


def test_a_peer_that_trains_alone_writes_nothing(rendezvous: Path) -> None:
    peer = MemorySwarm(loopback=True, rendezvous=rendezvous, rank=0).peer("a", {"w": np.zeros(1)})
    peer.train(2, step)
    assert read_records(rendezvous) == []


def test_the_record_of_a_later_run_replaces_the_earlier_one(rendezvous: Path) -> None:
    failed, _ = pair(rendezvous, start_timeout=0.2)
    with pytest.raises(StartTimeoutError):
        failed.session.begin()
    first, second = pair(rendezvous), pair(rendezvous)
    together(*(partial(peer.train, 4, step) for peer in first))
    sent = [record.bytes_sent for record in read_records(rendezvous)]
    together(*(partial(peer.train, 6, step) for peer in second))
    records = read_records(rendezvous)
    assert [(record.rank, record.run, record.closing) for record in records] == [(0, 3, True), (1, 2, True)]
    assert {record.digest for record in records} == {second[0].digest()}
    assert [record.bytes_sent > before for record, before in zip(records, sent, strict=True)] == [True, True]


def test_the_record_says_whether_the_peer_has_joined_and_in_which_epoch_its_run_ended(rendezvous: Path) -> None:
    peers = pair(rendezvous, total_epochs=3)
    together(*(peer.session.begin for peer in peers))
    assert [record.joined for record in read_records(rendezvous)] == [True, True]
    for peer in peers:
        peer.session.epoch_end(0)
        peer.session.epoch_end(1)
        peer.session.abort("seen")
    assert [(record.epoch, record.total_epochs) for record in read_records(rendezvous)] == [(2, 3)] * 2


def test_the_record_of_a_peer_that_never_joined_says_so(rendezvous: Path) -> None:
    lone = pair(rendezvous, start_timeout=0.2)[0]
    with pytest.raises(StartTimeoutError):
        lone.session.begin()
    assert [(record.joined, record.ended) for record in read_records(rendezvous)] == [(False, True)]
