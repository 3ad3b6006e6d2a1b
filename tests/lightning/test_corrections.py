"""FedProx and SCAFFOLD under Lightning, whose optimizers compute the gradients within their step."""

from __future__ import annotations

import pytest
import torch

from swarm.pytorch.gradients import GradientHooks
from swarm.testing.swarm import together
from swarm_lightning import SwarmLightningCallback


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_term_is_added_to_the_gradients_of_each_batch(
    module, make_trainer, tmp_path, monkeypatch, precision
) -> None:
    modules, steps = [module, type(module)()], dict.fromkeys(range(2), 0)
    add = GradientHooks.add

    def watched(hooks: GradientHooks, optimizer: torch.optim.Optimizer) -> None:
        first = optimizer.param_groups[0]["params"][0]
        rank = next(rank for rank, each in enumerate(modules) if first is each.layer.weight)
        own = modules[rank].layer.weight
        before = own.grad.clone()
        assert before.any(), "the gradients of this batch are here"
        add(hooks, optimizer)
        torch.testing.assert_close(own.grad - before, hooks._term(own, {}))
        steps[rank] += 1

    monkeypatch.setattr(GradientHooks, "add", watched)

    def fit(rank: int) -> None:
        callback = SwarmLightningCallback(
            rendezvous=tmp_path, world_size=2, sync_interval=4, name=f"peer-{rank}", proximal=0.5
        )
        make_trainer([callback], precision=precision).fit(modules[rank])

    together(lambda: fit(0), lambda: fit(1), deadline=60)
    assert steps == {0: 8, 1: 8}
    assert not any(each._optimizer_step_pre_hooks for each in modules[0].trainer.optimizers)


def test_control_variates_are_computed_and_merged(module, make_trainer, tmp_path, monkeypatch) -> None:
    modules, terms = [module, type(module)()], {0: [], 1: []}
    monkeypatch.setattr(
        type(module), "configure_optimizers", lambda self: torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.5)
    )
    add = GradientHooks.add

    def watched(hooks: GradientHooks, optimizer: torch.optim.Optimizer) -> None:
        own = optimizer.param_groups[0]["params"][0]
        rank = next(rank for rank, each in enumerate(modules) if own is each.layer.weight)
        terms[rank].append(hooks._term(own, optimizer.param_groups[0]).clone())
        add(hooks, optimizer)

    monkeypatch.setattr(GradientHooks, "add", watched)

    def fit(rank: int) -> None:
        callback = SwarmLightningCallback(
            rendezvous=tmp_path, world_size=2, sync_interval=4, name=f"peer-{rank}", scaffold=True
        )
        make_trainer([callback]).fit(modules[rank])

    together(lambda: fit(0), lambda: fit(1), deadline=60)
    torch.testing.assert_close(modules[0].layer.weight, modules[1].layer.weight, rtol=0, atol=0)
    for first, *others in terms.values():
        assert not first.any()
        assert others[-1].any()
    last = [each[-1] for each in terms.values()]
    torch.testing.assert_close(last[0], -last[1], rtol=0.02, atol=0.02)  # they cancel out, but for rounding
