"""The state of the Trainer's optimizers in a swarm."""

from __future__ import annotations

import pytest
import torch

from swarm.errors import ConfigurationError
from swarm.tensors.state import ModelState, TensorKind
from swarm.testing.swarm import together
from swarm_lightning import SwarmLightningCallback


@pytest.fixture
def adam(module, monkeypatch):
    """A module that is trained by Adam."""
    monkeypatch.setattr(type(module), "configure_optimizers", lambda self: torch.optim.Adam(self.parameters(), lr=0.01))
    return module


def test_two_trainers_merge_the_state_of_their_optimizers(adam, flavour, make_trainer, tmp_path) -> None:
    modules = [adam, type(adam)()]
    states: list[dict[str, torch.Tensor]] = [{}, {}]

    class Look(flavour.Callback):
        """Reads the state after the last merge before the end."""

        def __init__(self, rank: int) -> None:
            super().__init__()
            self.rank = rank

        def on_train_end(self, trainer, pl_module) -> None:
            states[self.rank] = dict(trainer.optimizers[0].state[pl_module.layer.weight])

    def fit(rank: int) -> None:
        callback = SwarmLightningCallback(
            rendezvous=tmp_path, world_size=2, sync_interval=4, name=f"peer-{rank}", optimizer_state="merge"
        )
        make_trainer([callback, Look(rank)]).fit(modules[rank])

    together(lambda: fit(0), lambda: fit(1), deadline=60)
    one, two = states
    assert one["step"] == two["step"] == 8
    torch.testing.assert_close(one["exp_avg"], two["exp_avg"], rtol=0, atol=0)
    torch.testing.assert_close(one["exp_avg_sq"], two["exp_avg_sq"], rtol=0, atol=0)
    assert one["exp_avg_sq"].all()


def test_several_optimizers(make_callback, make_trainer, module, monkeypatch, recording_session) -> None:
    def configure(self):
        return torch.optim.Adam([self.layer.weight]), torch.optim.SGD([self.layer.bias], lr=0.1, momentum=0.9)

    def step(self, batch, batch_idx):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self(x), y)
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()

    monkeypatch.setattr(type(module), "configure_optimizers", configure)
    monkeypatch.setattr(type(module), "training_step", step)
    module.automatic_optimization = False
    make_trainer([make_callback(optimizer_state="merge")]).fit(module)
    (session,) = recording_session.opened
    state = ModelState.empty(session.port.schema())
    session.port.read(state)
    steps = {spec.name: array.tolist() for spec, array in state.arrays() if spec.kind is TensorKind.STEPS}
    assert steps == {"optimizer.step": [8], "optimizer2.step": [1]}


def test_an_unknown_optimizer_stops_the_start(make_trainer, module, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(type(module), "configure_optimizers", lambda self: torch.optim.LBFGS(self.parameters()))
    callback = SwarmLightningCallback(rendezvous=tmp_path, world_size=1, min_peers=1, optimizer_state="reset")
    with pytest.raises(ConfigurationError, match="cannot be used with the optimizer LBFGS"):
        make_trainer([callback]).fit(module)
