"""``for epoch in callback.epochs(n)``: the peer's own epochs, and more for the others with ``train_until="all"``."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from swarm.errors import SwarmError
from swarm.pytorch import TorchCallback
from swarm.testing.swarm import together

WARNING = "train_until='all' had no effect"


def numbers_of(callback, count: int, *, tells: bool = False, **more) -> list[int]:
    """The epochs of a run; with ``tells``, the loop calls ``on_epoch_end`` itself."""
    numbers = []
    callback.on_train_begin()
    for epoch in callback.epochs(count, **more):
        numbers.append(epoch)
        callback.on_batch_end()
        if tells:
            callback.on_epoch_end(epoch)
    callback.on_train_end()
    return numbers


def kinds(callback, *names: str) -> list[tuple]:
    return [call for call in callback.session.calls if call[0] in names]


@pytest.mark.parametrize("tells", [False, True])
def test_each_epoch_is_told_once_whether_the_loop_tells_it_or_not(make_peer, tells: bool) -> None:
    callback = make_peer()
    assert numbers_of(callback, 3, tells=tells) == [0, 1, 2]
    assert [call[1] for call in kinds(callback, "epoch")] == [0, 1, 2]
    assert numbers_of(callback, 1, tells=tells) == [0]
    assert [call[1] for call in kinds(callback, "epoch")] == [0]


def test_a_training_that_continues_starts_with_a_later_number(make_peer) -> None:
    assert numbers_of(make_peer(), 5, start=3) == [3, 4]
    assert numbers_of(make_peer(), 5, start=5) == []


def test_further_epochs_follow_while_other_peers_need_them(make_peer, caplog) -> None:
    callback = make_peer(train_until="all")
    callback.on_train_begin()
    callback.session.extensions = 2
    numbers = []
    for epoch in callback.epochs(2):
        callback.on_batch_end()
        numbers.append(epoch)
    callback.on_train_end()
    assert numbers == [0, 1, 2, 3]
    asked = [call[0] for call in kinds(callback, "epoch", "extend", "end")]
    assert asked == ["epoch", "epoch", "extend", "epoch", "extend", "epoch", "extend", "end"]
    assert WARNING not in caplog.text


def test_an_epoch_that_the_loop_leaves_is_the_last(make_peer) -> None:
    callback = make_peer(train_until="all")
    callback.on_train_begin()
    for _ in callback.epochs(5):
        callback.on_batch_end()
        break
    callback.on_train_end()
    assert kinds(callback, "epoch", "extend") == []


@pytest.mark.parametrize(("settings", "warns"), [({"train_until": "all"}, True), ({}, False)], ids=str)
def test_a_loop_without_epochs_is_told_that_it_trains_its_own_only(make_peer, caplog, settings, warns: bool) -> None:
    callback = make_peer(**settings)
    callback.on_train_begin()
    callback.on_batch_end()
    callback.on_train_end()
    assert (WARNING in caplog.text) is warns


def test_alone_on_purpose_there_is_nothing_to_tell(make_peer, caplog) -> None:
    callback = make_peer(train_until="all", loopback=True)
    callback.on_train_begin()
    callback.on_train_end()
    assert caplog.text == ""


def test_a_second_loop_in_one_run_is_an_error_only_where_the_first_one_lasts_until_all_are_done(make_peer) -> None:
    callback = make_peer()
    callback.on_train_begin()
    assert [*callback.epochs(2), *callback.epochs(1)] == [0, 1, 0]
    callback = make_peer(train_until="all")
    for _ in range(2):
        callback.on_train_begin()
        assert [*callback.epochs(2)] == [0, 1]
        with pytest.raises(SwarmError, match="epochs was called twice in one run"):
            callback.epochs(1)


def test_epochs_outside_a_run_are_an_error(make_peer) -> None:
    callback = make_peer()
    with pytest.raises(SwarmError, match="epochs was called before on_train_begin"):
        callback.epochs(3)
    callback.on_train_begin()
    callback.on_train_end()
    with pytest.raises(SwarmError, match="epochs was called after the run had ended"):
        callback.epochs(3)
    assert not callback.all_done


def test_real_peers_of_unequal_epochs_make_about_the_same_number_of_steps(tmp_path) -> None:
    def train(name: str, epochs: int) -> tuple[int, torch.Tensor]:
        model = nn.Linear(2, 1)
        callback = TorchCallback(
            model=model, name=name, rendezvous=tmp_path, world_size=2, sync_interval=4, train_until="all"
        )
        callback.on_train_begin()
        batches = 0
        for _ in callback.epochs(epochs):
            for _ in range(6):
                with torch.no_grad():
                    model.bias += 0.1
                callback.on_batch_end()
                batches += 1
                if callback.all_done:
                    break
        callback.on_train_end()
        return batches, model.bias.detach().clone()

    (one, first), (other, second) = together(partial(train, "ada", 1), partial(train, "bob", 4), deadline=60.0)
    assert other == 24
    assert 24 - 4 <= one <= 24 + 4
    assert torch.equal(first, second)


def test_the_epochs_end_when_the_swarm_ends_the_training(make_peer) -> None:
    callback = make_peer()
    assert not callback.should_stop
    callback.on_train_begin()
    callback.session.stops_after = 2
    numbers = []
    for epoch in callback.epochs(9):
        numbers.append(epoch)
        for _ in range(callback.session.interval):
            callback.on_batch_end()
    callback.on_train_end()
    assert numbers == [0, 1]
    assert callback.should_stop
    assert [call[0] for call in callback.session.calls if call[0] in {"epoch", "end"}] == ["epoch", "epoch", "end"]
