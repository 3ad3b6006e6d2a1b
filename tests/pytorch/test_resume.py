"""A resumed run of a loop ends as if nothing had stopped it: model, optimizer and schedule."""

from __future__ import annotations

import logging
from functools import partial
from itertools import islice

import pytest
import torch
from torch import optim
from torch.optim import lr_scheduler

from swarm.errors import ConfigurationError, ModelError
from swarm.pytorch import TorchCallback
from swarm.pytorch.training_state import TorchTrainingState
from swarm.records import Resumed
from swarm.storage.training import Training, read_training, write_training
from swarm.testing.swarm import together

BATCHES, EPOCHS = 5, 4


def batches():
    generator = torch.Generator().manual_seed(5)
    return [(torch.randn(8, 3, generator=generator), torch.randn(8, 1, generator=generator)) for _ in range(BATCHES)]


OPTIMIZERS = {
    "adam": (
        partial(optim.Adam, lr=0.01),
        partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=BATCHES * EPOCHS),
    ),
    "sgd": (
        partial(optim.SGD, lr=0.1, momentum=0.9),
        partial(lr_scheduler.MultiStepLR, milestones=[3, 9, 9, 17], gamma=0.5),
    ),
    "rprop": (partial(optim.Rprop, lr=0.01), partial(lr_scheduler.LambdaLR, lr_lambda=lambda step: 1 / (1 + step))),
    "asgd": (partial(optim.ASGD, lr=0.01), partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=3)),
}


class Script:
    """A training script with a loop of its own."""

    def __init__(self, kind: str, **arguments: object) -> None:
        make_optimizer, make_schedule = OPTIMIZERS[kind]
        torch.manual_seed(3)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
        self.optimizer = make_optimizer(self.model.parameters())
        self.schedule = make_schedule(self.optimizer)
        self.callback = TorchCallback(
            model=self.model, optimizer=self.optimizer, stateful=self.schedule, sync_interval=2, **arguments
        )
        self.trained: list[tuple[int, int]] = []

    def run(self, *, stop_after: int | None = None) -> None:
        swarm = self.callback
        swarm.on_train_begin()
        skip = swarm.resumed.epoch_batches
        for epoch in swarm.epochs(EPOCHS):
            for number, (x, y) in islice(enumerate(batches()), skip, None):
                self.optimizer.zero_grad()
                torch.nn.functional.mse_loss(self.model(x), y).backward()
                self.optimizer.step()
                self.schedule.step()
                self.trained.append((epoch, number))
                swarm.on_batch_end()
                if len(self.trained) == stop_after:
                    swarm.abort("power cut")
                    return
            skip = 0
        swarm.on_train_end()

    def weights(self) -> list[torch.Tensor]:
        return [each.detach().clone() for each in self.model.parameters()]


@pytest.fixture
def site(tmp_path):
    return {
        "rendezvous": tmp_path / "rendezvous", "min_peers": 1, "world_size": 1, "name": "ada", "model_dir": tmp_path,
        "checkpoint_seconds": 0, "failure_timeout": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_resumed_run_ends_as_if_nothing_had_stopped_it(site, tmp_path, kind):
    whole = Script(kind, **site | {"model_dir": None})
    whole.run()
    first = Script(kind, **site)
    first.run(stop_after=13)  # the sixth round is after 12 batches, in the third epoch
    second = Script(kind, **site, resume=True)
    assert second.callback.resumed == Resumed(round=6, epochs=2, batches=12, epoch_batches=2)
    second.run()
    assert second.trained == whole.trained[12:]
    assert second.schedule.get_last_lr() == whole.schedule.get_last_lr()
    for one, other in zip(second.weights(), whole.weights(), strict=True):
        assert torch.equal(one, other)


def test_a_loop_with_epochs_of_its_own_counts_them_from_0_or_1(site):
    for first in (0, 1):
        for resume in (False, True, True):
            script = Script("sgd", **site, resume=resume, model_name=f"from{first}")
            swarm = script.callback
            swarm.on_train_begin()
            done = swarm.resumed.epochs
            for epoch in range(done + first, done + first + 2):
                for _ in range(BATCHES):
                    swarm.on_batch_end()
                swarm.on_epoch_end(epoch)
            swarm.on_batch_end()
            swarm.on_batch_end()
            swarm.abort("power cut")
        assert Script("sgd", **site, resume=True, model_name=f"from{first}").callback.resumed.epochs == 6


def test_epochs_that_the_loop_numbers_by_no_argument_go_on(site):
    for resume in (False, True):
        swarm = Script("sgd", **site, resume=resume).callback
        swarm.on_train_begin()
        for _ in range(2):
            swarm.on_batch_end()
            swarm.on_epoch_end()
        swarm.on_batch_end()
        swarm.on_batch_end()
        swarm.abort("power cut")
    assert Script("sgd", **site, resume=True).callback.resumed.epochs == 4


def test_a_schedule_that_is_no_longer_given_is_told_of(site, caplog):
    Script("sgd", **site).run(stop_after=13)
    again = Script("sgd", **site)
    swarm = TorchCallback(model=again.model, optimizer=again.optimizer, **site, resume=True)
    swarm.on_train_begin()
    assert "`stateful` was MultiStepLR when the checkpoint was written, and is nothing now" in caplog.text
    swarm.abort()


def there_and_back(place, state):
    write_training(place / "training.safetensors", Training(Resumed(round=1), state))
    return read_training(place / "training.safetensors").state


def stepped(make, **arguments):
    parameter = torch.nn.Parameter(torch.ones(3, dtype=arguments.pop("dtype", torch.float32)))
    optimizer = make([parameter], **arguments)
    parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_the_state_of_an_optimizer_of_any_dtype_comes_back(tmp_path, dtype):
    before, after = stepped(optim.Adam, dtype=dtype), stepped(optim.Adam, dtype=dtype)
    after.state.clear()
    state = TorchTrainingState([before], [], logging.getLogger()).read()
    TorchTrainingState([after], [], logging.getLogger()).write(there_and_back(tmp_path, state))
    (one,), (other,) = (list(each.state.values()) for each in (before, after))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one)


def test_what_is_read_does_not_change_with_the_optimizer(tmp_path):
    optimizer = stepped(optim.Adam)
    state = TorchTrainingState([optimizer], [], logging.getLogger()).read()
    optimizer.step()
    again = stepped(optim.Adam)
    TorchTrainingState([again], [], logging.getLogger()).write(there_and_back(tmp_path, state))
    assert next(iter(again.state.values()))["step"] == 1


def test_a_schedule_without_stateful_keeps_the_rates_of_the_script_and_is_warned_of(caplog):
    before = stepped(optim.SGD, lr=0.1, momentum=0.9)
    before.param_groups[0]["lr"] = 0.001
    state = TorchTrainingState([before], [], logging.getLogger()).read()
    plain = stepped(optim.SGD, lr=0.1, momentum=0.9)
    TorchTrainingState([plain], [], logging.getLogger()).write(state)
    assert plain.param_groups[0]["lr"] == 0.001
    assert caplog.text == ""
    scheduled = stepped(optim.SGD, lr=0.1, momentum=0.9)
    lr_scheduler.StepLR(scheduled, 5)
    TorchTrainingState([scheduled], [], logging.getLogger()).write(state)
    assert scheduled.param_groups[0]["lr"] == 0.1
    assert "the schedule of the learning rate begins anew" in caplog.text


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ([stepped(optim.SGD)], "`optimizer` was Adam when the checkpoint was written, and is SGD now"),
        ([], "`optimizer` was Adam when the checkpoint was written, and is nothing now"),
        (
            [optim.Adam([{"params": [torch.ones(2)]}, {"params": [torch.ones(1)]}])],
            "Adam does not take it: loaded state",
        ),
    ],
    ids=["another", "none", "other groups"],
)
def test_the_state_of_another_optimizer_is_refused(here, said):
    state = TorchTrainingState([stepped(optim.Adam)], [], logging.getLogger()).read()
    with pytest.raises(ModelError, match=said):
        TorchTrainingState(here, [], logging.getLogger()).write(state)


def test_what_is_no_state_of_a_training_is_refused():
    with pytest.raises(ModelError, match="not that of a PyTorch training"):
        TorchTrainingState([], [], logging.getLogger()).write(["keras"])


def test_several_objects_may_have_a_state_and_others_are_refused(make_peer):
    optimizer = optim.SGD([torch.ones(1)], lr=1.0)
    scaler, schedule = torch.amp.GradScaler("cpu"), lr_scheduler.StepLR(optimizer, 1)
    make_peer(optimizer=optimizer, stateful=[scaler, schedule])
    for wrong, name in ((3, "int"), ([schedule, print], "builtin_function_or_method")):
        with pytest.raises(ConfigurationError, match=f"stateful holds a {name}"):
            make_peer(optimizer=optimizer, stateful=wrong)


def test_a_late_peer_takes_its_place_in_the_schedule_of_the_others(tmp_path):
    """The recipe of docs/resume.md."""
    arguments = {"rendezvous": tmp_path, "min_peers": 2, "failure_timeout": 1.0}
    first, second = (Script("adam", **arguments, name=name) for name in ("ada", "bob"))
    together(partial(train, first, 7), partial(train, second, 7))
    late = Script("adam", **arguments, name="cyd")
    late.callback.on_train_begin()
    for _ in range(late.callback.swarm_batches):
        late.schedule.step()
    assert late.callback.swarm_batches == 6
    for _ in range(7 - 6):
        late.schedule.step()
    assert late.schedule.get_last_lr() == first.schedule.get_last_lr()
    for each in (first, second, late):
        each.callback.abort()


def train(script, count):
    script.callback.on_train_begin()
    for x, y in islice(batches() * 2, count):
        script.optimizer.zero_grad()
        torch.nn.functional.mse_loss(script.model(x), y).backward()
        script.optimizer.step()
        script.schedule.step()
        script.callback.on_batch_end()
