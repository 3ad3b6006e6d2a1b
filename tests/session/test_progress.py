"""Epochs, and the estimated time that is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swarm.clock import ManualClock, duration
from swarm.config import resolve
from swarm.executor import ThreadExecutor
from swarm.peer.progress import Progress
from swarm.plugins import PluginRegistry
from swarm.session import Session
from swarm.session.platform import Platform
from swarm.session.wiring import Network
from swarm.testing.swarm import ArrayModel, Board, MemorySwarm, together
from swarm.transport.memory import MemoryNetwork, MemoryTransport


def test_the_time_left_is_the_mean_epoch_times_the_epochs_left() -> None:
    clock = ManualClock(100.0)
    progress = Progress(10, clock)
    clock.advance(500.0)  # waiting for the others is no training
    progress.begin()
    assert progress.seconds_left() is None
    told = []
    for epoch, seconds in enumerate([10.0, 20.0, 30.0]):
        clock.advance(seconds)
        progress.epoch_ended(epoch)
        told.append(progress.seconds_left())
    assert told == [9 * 10.0, 8 * 15.0, 7 * 20.0]
    assert str(progress) == "3/10"


def test_the_time_left_falls_while_an_epoch_runs_and_stays_constant_in_a_slow_one() -> None:
    clock = ManualClock()
    progress = Progress(3, clock)
    clock.advance(10.0)
    progress.epoch_ended(0)
    told = []
    for seconds in (0.0, 4.0, 6.0, 50.0):
        clock.advance(seconds)
        told.append(progress.seconds_left())
    assert told == [20.0, 16.0, 10.0, 10.0]


def test_without_a_total_epochs_are_only_counted() -> None:
    progress = Progress(None, ManualClock())
    progress.epoch_ended(0)
    assert progress.seconds_left() is None
    assert str(progress) == "1"


@pytest.mark.parametrize(
    ("told", "done"),
    [
        ([0, 1, 2], 3),
        ([5, 6], 7),  # it goes on from a checkpoint
        ([0, 1, 0, 1], 4),  # two loops, one run
        ([0, 0, 0], 3),
        ([4, 0], 6),
    ],
)
def test_every_end_of_an_epoch_counts(told: list[int], done: int) -> None:
    progress = Progress(100, ManualClock())
    for epoch in told:
        progress.epoch_ended(epoch)
    assert progress.epochs == done


def test_a_resumed_training_is_timed_by_its_own_epochs() -> None:
    clock = ManualClock()
    progress = Progress(10, clock)
    clock.advance(7.0)
    progress.epoch_ended(5)
    assert progress.seconds_left() == 4 * 7.0


def test_more_epochs_than_announced_leave_nothing_to_do() -> None:
    progress = Progress(1, ManualClock())
    for epoch in range(2):
        progress.epoch_ended(epoch)
    assert progress.seconds_left() == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00"), (0.1, "0:01"), (79.2, "1:20"), (3599.0, "59:59"), (7205.0, "2:00:05")]
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_status_of_a_session_has_its_progress(caplog: pytest.LogCaptureFixture) -> None:
    given = {"name": "ada", "listen": "127.0.0.1:0", "world_size": 1, "total_epochs": 3, "sync_interval": 100}
    settings = resolve(given, environment={}, directory=Path("no swarm.toml here")).settings
    clock, net, addresses = ManualClock(), MemoryNetwork(), {}
    session = Session(
        settings,
        ArrayModel({"w": np.zeros(3, np.float32)}),
        plugins=PluginRegistry(),
        network=lambda _settings, _plugins: Network(MemoryTransport(net), [Board(addresses, "swarm_model")]),
        platform=Platform(executor=ThreadExecutor(clock)),
    )
    clock.advance(40.0)
    session.begin()
    asked = session.status
    shown = [_progress(asked())]
    with caplog.at_level("DEBUG", logger="swarm"):
        for epoch in range(2):
            clock.advance(80.0)
            session.epoch_end(epoch)
            shown.append(_progress(asked()))
    session.end()  # earlier than announced
    shown.append(_progress(asked()))
    assert shown == [(0, 3, None), (1, 3, 160.0), (2, 3, 80.0), (2, 3, None)]
    told = [record for record in caplog.records if record.getMessage().startswith("epoch")]
    assert [(record.levelname, record.getMessage()) for record in told] == [
        ("DEBUG", "epoch 1/3 done, ETA 2:40"),
        ("DEBUG", "epoch 2/3 done, ETA 1:20"),
    ]


def _progress(status: dict[str, object]) -> tuple[object, ...]:
    return status["epoch"], status["total_epochs"], status["seconds_left"]


def test_the_status_tells_how_many_batches_the_next_merge_is_away() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2)
    peers = [swarm.peer(name, {"w": np.zeros(1)}) for name in ("ada", "bob")]
    assert "batches_left" not in peers[0].session.status()
    together(*(peer.session.begin for peer in peers))
    status = peers[0].session.status
    assert status()["batches_left"] == 4
    peers[0].session.advance(1)
    assert status()["batches_left"] == 3
    peers[0].session.uncounted = lambda: 2
    assert status()["batches_left"] == 1
    peers[0].session.uncounted = lambda: 9
    assert status()["batches_left"] == 0, "the callback tells of them in a moment"
    together(*(peer.session.end for peer in peers))
    assert status()["batches_left"] is None
