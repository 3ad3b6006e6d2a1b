"""The process group of a site: what it carries, and what it says when a process is gone."""

from __future__ import annotations

import logging
from datetime import timedelta

import ml_dtypes
import numpy as np
import pytest
from torch import distributed, nn

from swarm.config import Settings
from swarm.errors import RanksError
from swarm.pytorch import TorchPort, ranks_of
from swarm.pytorch.ranks import TorchProcessGroup
from swarm.ranks import Parts, SeveralProcesses

GONE = "[/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.7]:1627. This is typically caused by"


@pytest.fixture
def default_group():
    distributed.init_process_group(
        "gloo", store=distributed.HashStore(), rank=0, world_size=1, timeout=timedelta(seconds=77)
    )
    yield distributed.group.WORLD
    distributed.destroy_process_group()


@pytest.fixture
def group(default_group):
    made = TorchProcessGroup(default_group)
    yield made
    made.close()


def test_it_has_the_time_out_of_the_training(group):
    assert (group.rank, group.size, group.time_out) == (0, 1, 77.0)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5, dtype=np.float32),
        np.array(7),
        np.zeros((0, 3), np.float32),
        np.ones((2, 3), ml_dtypes.bfloat16),
        np.frombuffer(b"read only", np.uint8),
    ],
)
def test_it_carries_arrays_of_any_kind(group, array):
    before = array.tobytes()
    group.share(array)
    assert array.tobytes() == before


@pytest.mark.parametrize("data", [b"", b"x", b"more" * 1000])
def test_it_gathers_what_each_process_gives(group, data):
    assert group.gather(data) == [data]


def test_large_arrays_are_sent_in_parts(group, monkeypatch):
    sent = []
    monkeypatch.setattr("swarm.pytorch.ranks.PART", 100)
    monkeypatch.setattr(distributed, "broadcast", lambda tensor, *_, **__: sent.append(tensor.numel()))
    group.share(np.zeros(60, np.float32))
    assert sent == [100, 100, 40]


@pytest.mark.parametrize("operation", ["broadcast", "all_gather"])
def test_a_process_that_is_gone_is_told_without_the_lines_of_gloo(group, monkeypatch, operation):
    def fail(*_, **__):
        raise RuntimeError(GONE)

    monkeypatch.setattr(distributed, operation, fail)
    with pytest.raises(RanksError, match=r"rank 0: Connection closed by peer \[10.0.0.7\]:1627\): one .* within 77 s"):
        group.share(np.zeros(3)) if operation == "broadcast" else group.gather(b"x")


def test_closing_twice_or_after_the_training_has_closed_all_is_no_error(default_group):
    group = TorchProcessGroup(default_group)
    group.close()
    group.close()


def test_a_site_connects_when_its_session_is_made(default_group, monkeypatch):
    """A group of one process, which ``ranks_of`` would not use."""
    monkeypatch.setattr("swarm.pytorch.ranks.distributed.get_world_size", lambda group=None: 2)
    model = nn.Linear(2, 1)
    port = TorchPort(model)
    ranks = ranks_of(model, port, Settings())
    monkeypatch.undo()
    made = []
    session = ranks.session(made.append, Parts(port), Settings(), logging.getLogger("swarm"))
    assert isinstance(ranks, SeveralProcesses)
    assert len(made) == 1
    assert session.batches_left == 0
