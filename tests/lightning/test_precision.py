"""Precision plugins, several optimizers and Fabric: sites end with the same bytes."""

from __future__ import annotations

import copy
import importlib
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from swarm import SwarmCallback
from swarm.testing.swarm import together
from swarm_lightning import SwarmLightningCallback

DTYPES = {
    "32-true": torch.float32,
    "64-true": torch.float64,
    "bf16-true": torch.bfloat16,
    "16-true": torch.float16,
    "bf16-mixed": torch.float32,
}


@pytest.fixture
def two_sites(make_trainer, tmp_path):
    """Fits two modules as two sites, and gives their Trainers and sessions."""

    def two_sites(modules, **options):
        def fit(name, module):
            callback = SwarmLightningCallback(name=name, rendezvous=tmp_path, world_size=2, sync_interval=3)
            trainer = make_trainer([callback], max_epochs=2, **options)
            trainer.fit(module)
            return trainer, callback.session

        return together(*(partial(fit, *each) for each in zip(("ada", "bob"), modules, strict=True)), deadline=60.0)

    return two_sites


def require_same(modules, ended):
    (_, one), (_, other) = ended
    assert one.commit == other.commit
    assert one.commit.closing
    assert one.commit.round >= 5
    first, second = (module.state_dict() for module in modules)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("precision", DTYPES)
def test_sites_train_in_any_precision(make_trainer, module, tmp_path, precision):
    """The other site has a loop of its own: plugins for half precision set the default dtype of the whole process."""
    arguments = {"rendezvous": tmp_path, "world_size": 2, "sync_interval": 3}
    other = copy.deepcopy(module.layer).to(DTYPES[precision])
    torch.nn.init.constant_(other.weight, 3.0)
    before = module.layer.weight.detach().clone()
    callback = SwarmLightningCallback(name="ada", **arguments)
    trainer = make_trainer([callback], max_epochs=2, precision=precision)

    def loop():
        swarm = SwarmCallback(model=other, name="bob", **arguments)
        swarm.on_train_begin()
        for _ in range(2 * 8):
            with torch.no_grad():
                other.weight.mul_(0.5)
            swarm.on_batch_end()
        swarm.on_train_end()
        return trainer, swarm.session

    (_, second), _ = together(loop, partial(trainer.fit, module), deadline=60.0)
    require_same((module.layer, other), ((trainer, callback.session), (trainer, second)))
    assert module.layer.weight.dtype is DTYPES[precision]
    assert not torch.equal(module.layer.weight.float(), before.float())


class Gan:
    """Two networks, each with an optimizer of its own, which the training step calls."""

    every = 1
    """The discriminator's optimizer makes a step in each that many batches."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)

    def training_step(self, batch, batch_idx):
        first, second = self.optimizers()
        loss = -self.discriminator(self.generator(torch.ones(4, 2))).mean()
        self.toggle_optimizer(first)
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        self.untoggle_optimizer(first)
        if batch_idx % self.every == 0:
            self.toggle_optimizer(second)
            second.zero_grad()
            self.manual_backward((self.discriminator(batch[0]) - 1).square().mean())
            second.step()
            self.untoggle_optimizer(second)

    def configure_optimizers(self):
        return [
            torch.optim.Adam(self.generator.parameters(), 0.01),
            torch.optim.SGD(self.discriminator.parameters(), 0.1, momentum=0.9),
        ]


@pytest.mark.parametrize("every", [1, 4])
def test_a_gan_with_two_optimizers_merges_after_a_batch_in_which_any_made_a_step(two_sites, module, flavour, every):
    gan = type("Module", (Gan, flavour.LightningModule), {"every": every, "train_dataloader": lambda self: loader})
    loader = DataLoader(module.data, batch_size=4)
    modules = [gan() for _ in range(2)]
    ended = two_sites(modules)
    require_same(modules, ended)
    assert [trainer.global_step for trainer, _ in ended] == [16 + 16 // every] * 2


@pytest.mark.parametrize("package", ["lightning.fabric", "lightning_fabric"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_a_loop_of_fabric_trains_through_the_hooks(package, precision, tmp_path):
    """The other site trains without Fabric, which knows one loop in each process."""
    fabric = importlib.import_module(package).Fabric(accelerator="cpu", devices=1, precision=precision)

    def net(seed):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))

    def train(name, model, optimizer, backward):
        swarm = SwarmCallback(
            model=model, optimizer=optimizer, optimizer_state="merge", name=name, world_size=2, normalization="pooled",
            rendezvous=tmp_path / "rendezvous", model_dir=tmp_path / name, sync_interval=2,
        )  # fmt: skip
        swarm.on_train_begin()
        for _ in swarm.epochs(2):
            for _ in range(4):
                optimizer.zero_grad()
                backward(model(inputs.to(next(model.parameters()).dtype)).float().square().mean())
                optimizer.step()
                swarm.on_batch_end()
        swarm.on_train_end()
        return swarm.session

    inputs, first = torch.randn(8, 3), net(0)
    model, optimizer = fabric.setup(first, torch.optim.Adam(first.parameters(), lr=0.01))
    second = net(1).to(DTYPES[precision])
    plain = torch.optim.Adam(second.parameters(), lr=0.01)
    ended = together(
        partial(train, "fabric", model, optimizer, fabric.backward),
        partial(train, "plain", second, plain, torch.Tensor.backward),
        deadline=60.0,
    )
    assert {session.commit.digest for session in ended} == {ended[0].commit.digest}
    assert ended[0].commit.closing
    assert ended[0].commit.round >= 4
    state, other = first.state_dict(), second.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)
    file = load_file(tmp_path / "fabric" / "swarm-final.safetensors")
    assert set(file) == set(state), "the names are those of the user's own module"
