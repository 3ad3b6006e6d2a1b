"""A fit that is resumed from a checkpoint of Lightning, in a swarm that is running and in one that was stopped."""

from __future__ import annotations

import copy
import threading
from functools import partial

import pytest
import torch

from swarm.errors import ConfigurationError
from swarm.testing.nodes import eventually
from swarm.testing.swarm import together
from swarm_lightning import SwarmLightningCallback


class PowerCutError(Exception):
    pass


def stopping(flavour, after):
    """A callback that ends the fit after so many batches."""

    class Stopping(flavour.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == after:
                raise PowerCutError

    return Stopping()


@pytest.fixture
def scheduled(module):
    """A module with a schedule of the learning rate that ends with its fourth epoch of eight batches."""

    class Scheduled(type(module)):
        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=32)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    module.__class__ = Scheduled
    return module


@pytest.fixture
def site(flavour, make_trainer, tmp_path):
    """Fits a module as one site, as the recipe of docs/resume.md does."""

    def site(name, module, *callbacks, **arguments):
        place = tmp_path / name
        swarm = SwarmLightningCallback(
            **{
                "name": name, "rendezvous": tmp_path / "rendezvous", "world_size": 2, "sync_interval": 3,
                "model_dir": place, "checkpoint_seconds": 0, "failure_timeout": 1.0, "resume": True,
            } | arguments
        )  # fmt: skip
        saving = flavour.callbacks.ModelCheckpoint(place / "checkpoints", save_last=True, enable_version_counter=False)
        trainer = make_trainer([*callbacks, swarm, saving], max_epochs=4, enable_checkpointing=True)
        trainer.fit(module, ckpt_path="last", weights_only=False)
        return trainer, swarm

    return site


@pytest.mark.filterwarnings("ignore")  # Lightning's, that there is no checkpoint yet
def test_a_swarm_that_was_stopped_goes_on_with_its_epochs_and_its_schedule(site, scheduled, flavour):
    modules = [copy.deepcopy(scheduled) for _ in range(2)]

    def stopped(name, module):
        with pytest.raises(PowerCutError):
            site(name, module, stopping(flavour, 20))

    together(*(partial(stopped, name, each) for name, each in zip(("ada", "bob"), modules, strict=True)), deadline=60.0)
    modules = [copy.deepcopy(scheduled) for _ in range(2)]
    ended = together(
        *(partial(site, name, each) for name, each in zip(("ada", "bob"), modules, strict=True)), deadline=60.0
    )
    for trainer, swarm in ended:
        assert trainer.global_step == 32, "two epochs were done, and the third is trained again"
        assert swarm.session.resumed.epochs == 2
        (schedule,) = trainer.lr_scheduler_configs
        assert schedule.scheduler.last_epoch == 32
    assert torch.equal(modules[0].layer.weight, modules[1].layer.weight)


@pytest.mark.filterwarnings("ignore")
def test_a_site_resumes_from_its_own_checkpoint_in_a_swarm_that_runs_on(site, scheduled, flavour, make_trainer):
    first, second = copy.deepcopy(scheduled), copy.deepcopy(scheduled)
    gone, back = threading.Event(), threading.Event()

    class Waits(flavour.Callback):
        """Trains on for an epoch while the other site is away, and then waits until it is back."""

        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                assert gone.wait(30.0)
            if trainer.current_epoch == 2:
                assert back.wait(30.0)

    class Looks(flavour.Callback):
        def on_train_start(self, trainer, pl_module):
            seen.append((trainer.current_epoch, trainer.global_step, pl_module.layer.weight.detach().clone()))
            seen.append(swarm_of(trainer).session.reference)
            back.set()

    def swarm_of(trainer):
        return next(each for each in trainer.callbacks if isinstance(each, SwarmLightningCallback))

    def returning():
        with pytest.raises(PowerCutError):
            site("bob", second, stopping(flavour, 12), min_peers=1)
        gone.set()
        return site("bob", copy.deepcopy(scheduled), Looking(), min_peers=1)

    class Looking(Looks):
        """Listed before the swarm's callback, it looks at the first batch, when that has joined."""

        def on_train_start(self, trainer, pl_module):
            return

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if not seen:
                Looks.on_train_start(self, trainer, pl_module)

    seen = []
    (trainer, ada), (other, bob) = together(
        partial(site, "ada", first, Waits(), min_peers=1, straggler_timeout=0.5), returning, deadline=90.0
    )
    epoch, steps, weight = seen[0]
    assert (epoch, steps) == (1, 8), "the loop goes on from Lightning's checkpoint"
    assert torch.equal(weight.reshape(-1), torch.from_numpy(seen[1].segments["float32"][:3])), (
        "the model is the swarm's"
    )
    assert trainer.global_step == other.global_step == 32
    assert ada.session.commit == bob.session.commit
    assert ada.session.commit.closing


def test_stateful_is_refused():
    with pytest.raises(ConfigurationError, match="stateful is for a loop in raw PyTorch: .* ckpt_path"):
        SwarmLightningCallback(stateful=torch.optim.SGD([torch.ones(1)], lr=0.1))


def test_a_late_site_takes_its_place_in_the_schedule(scheduled, flavour, make_trainer, tmp_path):
    """The recipe of docs/resume.md."""
    arguments = {"rendezvous": tmp_path / "rendezvous", "min_peers": 1, "sync_interval": 3, "failure_timeout": 1.0}
    rates = {}

    class CatchUp(flavour.Callback):
        def on_train_start(self, trainer, pl_module):
            for config in trainer.lr_scheduler_configs:
                for _ in range(swarms["late"].swarm_batches):
                    config.scheduler.step()
            rates["late"] = trainer.optimizers[0].param_groups[0]["lr"]

    class Holds(flavour.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 6:
                rates["early"] = trainer.optimizers[0].param_groups[0]["lr"]
                reached.set()
                assert joined.wait(30.0)

    class Joined(flavour.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            joined.set()

    reached, joined = threading.Event(), threading.Event()
    swarms = {name: SwarmLightningCallback(**arguments, name=name) for name in ("early", "late")}

    def late():
        assert reached.wait(30.0)
        make_trainer([swarms["late"], CatchUp(), Joined()], max_epochs=2).fit(copy.deepcopy(scheduled))

    together(
        partial(make_trainer([swarms["early"], Holds()], max_epochs=2).fit, copy.deepcopy(scheduled)),
        late,
        deadline=60.0,
    )
    assert swarms["late"].swarm_batches == 6
    assert rates["late"] == rates["early"]
    eventually(lambda: swarms["early"].swarm_over, "both have ended")
