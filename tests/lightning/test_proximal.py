"""FedProx under Lightning, whose optimizers compute the gradients within their step."""

from __future__ import annotations

import pytest
import torch

from swarm.pytorch.proximal import ProximalTerm
from swarm.testing.swarm import together
from swarm_lightning import SwarmLightningCallback


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_term_is_added_to_the_gradients_of_each_batch(
    module, make_trainer, tmp_path, monkeypatch, precision
) -> None:
    modules, steps = [module, type(module)()], dict.fromkeys(range(2), 0)
    add = ProximalTerm._add

    def watched(term: ProximalTerm, optimizer: torch.optim.Optimizer) -> None:
        first = optimizer.param_groups[0]["params"][0]
        rank = next(rank for rank, each in enumerate(modules) if first is each.layer.weight)
        own = modules[rank].layer.weight
        before = own.grad.clone()
        assert before.any(), "the gradients of this batch are here"
        add(term, optimizer)
        (anchor,) = (each for key, each in term._anchors.items() if key == id(own))
        torch.testing.assert_close(own.grad - before, 0.5 * (own.data - anchor))
        steps[rank] += 1

    monkeypatch.setattr(ProximalTerm, "_add", watched)

    def fit(rank: int) -> None:
        callback = SwarmLightningCallback(
            rendezvous=tmp_path, world_size=2, sync_interval=4, name=f"peer-{rank}", proximal=0.5
        )
        make_trainer([callback], precision=precision).fit(modules[rank])

    together(lambda: fit(0), lambda: fit(1), deadline=60)
    assert steps == {0: 8, 1: 8}
    assert not any(each._optimizer_step_pre_hooks for each in modules[0].trainer.optimizers)
