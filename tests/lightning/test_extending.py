"""``train_until="all"``: the Trainer's limit moves until all peers have trained their own epochs."""

from __future__ import annotations

import copy
from datetime import timedelta
from functools import partial

import pytest
from torch.utils.data import DataLoader, IterableDataset

from swarm.errors import ConfigurationError
from swarm.testing.swarm import together
from swarm_lightning import SwarmLightningCallback


def calls_of(session, *kinds):
    return [call[0] for call in session.calls if call[0] in kinds]


def calling(flavour, then, *, at_epoch):
    """A callback that calls ``then`` in the first batch of an epoch."""

    class Calling(flavour.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if (trainer.current_epoch, batch_idx) == (at_epoch, 0):
                then()

    return Calling()


@pytest.fixture
def extended(recording_session, monkeypatch):
    """The sessions ask for so many epochs more than the first limit."""

    def extended(count):
        begin = recording_session.begin

        def begins(session):
            session.extensions = count
            begin(session)

        monkeypatch.setattr(recording_session, "begin", begins)

    return extended


def test_further_epochs_follow_while_other_peers_need_them(
    make_callback, make_trainer, module, recording_session, extended, flavour
):
    extended(1)
    trainer = make_trainer([make_callback(train_until="all")], max_epochs=2)

    def all_are_done():
        recording_session.opened[0].all_done = True

    trainer.callbacks.append(calling(flavour, all_are_done, at_epoch=3))
    trainer.fit(module)
    (session,) = recording_session.opened
    assert calls_of(session, "epoch") == ["epoch"] * 4
    assert trainer.global_step == 3 * 8 + 1  # it stops within the epoch in which all are done
    assert calls_of(session, "end") == ["end"]
    assert (trainer.max_epochs, trainer.max_steps) == (2, -1)  # as before


def test_without_a_need_the_limit_stays(make_callback, make_trainer, module, recording_session):
    trainer = make_trainer([make_callback(train_until="all")], max_epochs=2)
    trainer.fit(module)
    (session,) = recording_session.opened
    assert trainer.current_epoch == 2
    assert calls_of(session, "extend") == ["extend"]


def test_without_batches_in_an_epoch_it_asks_again(
    make_callback, make_trainer, module, recording_session, extended, flavour
):
    """Only at a sync point can a peer learn that all are done."""
    extended(3)

    class Empty(type(module)):
        def train_dataloader(self):
            return DataLoader(Nothing(self.trainer), batch_size=4)

    class Nothing(IterableDataset):
        def __init__(self, trainer):
            self.trainer = trainer

        def __iter__(self):
            return iter(module.data if self.trainer.current_epoch == 0 else [])

    trainer = make_trainer([make_callback(train_until="all")], max_epochs=1, reload_dataloaders_every_n_epochs=1)
    trainer.fit(Empty())
    assert calls_of(recording_session.opened[0], "extend", "end") == ["extend"] * 4 + ["end"]


def test_by_default_the_limit_stays(make_callback, make_trainer, module, recording_session, extended):
    extended(9)
    trainer = make_trainer([make_callback()], max_epochs=2)
    trainer.fit(module)
    assert trainer.current_epoch == 2
    assert calls_of(recording_session.opened[0], "extend") == []


def test_a_limit_of_time_contradicts_it(make_callback, make_trainer, module, recording_session):
    trainer = make_trainer([make_callback(train_until="all")], max_epochs=-1, max_time=timedelta(seconds=1))
    with pytest.raises(ConfigurationError, match="max_time .* would end that before: limit .* by max_epochs or max_st"):
        trainer.fit(module)
    assert recording_session.opened == []


@pytest.mark.parametrize("limit", [{"max_epochs": 1}, {"max_steps": 8, "max_epochs": -1}], ids=str)
def test_real_peers_of_unequal_length_make_about_the_same_number_of_steps(make_trainer, module, tmp_path, limit):
    """Eight batches an epoch: one peer is to make 8 steps, the other 20."""

    def train(name, module, limit):
        callback = SwarmLightningCallback(
            name=name, rendezvous=tmp_path, world_size=2, sync_interval=3, train_until="all"
        )
        trainer = make_trainer([callback], **limit)
        trainer.fit(module)
        return trainer.global_step, callback.session

    modules = copy.deepcopy(module), copy.deepcopy(module)
    (one, first), (other, second) = together(
        partial(train, "ada", modules[0], limit),
        partial(train, "bob", modules[1], {"max_steps": 20, "max_epochs": -1}),
        deadline=60.0,
    )
    assert other in {20, 21, 22, 23}
    assert abs(one - other) <= 3
    assert first.commit == second.commit
    assert first.commit.closing
