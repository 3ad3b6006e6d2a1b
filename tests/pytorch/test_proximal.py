"""FedProx: what is added to the gradients of torch's optimizers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swarm import SwarmCallback
from swarm.errors import ConfigurationError
from swarm.pytorch import TorchPort
from swarm.pytorch.proximal import ProximalTerm
from swarm.tensors.state import ModelState
from swarm.testing.swarm import together

STRENGTH = 0.5


def committed(port: TorchPort, value: float) -> ModelState:
    """A committed model of which every value is the same."""
    state = ModelState.empty(port.schema())
    for _, array in state.arrays():
        array[...] = value
    return state


def linear(dtype: torch.dtype = torch.float32) -> nn.Linear:
    model = nn.Linear(3, 2, dtype=dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2)
    return model


def followed(model: nn.Module, optimizer: torch.optim.Optimizer, value: float = 1) -> ProximalTerm:
    port = TorchPort(model)
    term = ProximalTerm(STRENGTH, [optimizer], port.parameters)
    term.follow(committed(port, value), unmerged=0)
    return term


def gradients(model: nn.Module, value: complex = 3) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, value)


def test_each_step_draws_the_weights_to_the_committed_model() -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    followed(model, optimizer)
    gradients(model)
    optimizer.step()
    expected = 2 - 0.1 * (3 + STRENGTH * (2 - 1))
    assert model.weight.flatten().tolist() == pytest.approx([expected] * 6)
    gradients(model)
    optimizer.step()
    expected -= 0.1 * (3 + STRENGTH * (expected - 1))
    assert model.bias.tolist() == pytest.approx([expected] * 2)


def test_it_follows_the_model_that_is_committed_next() -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    term = followed(model, optimizer)
    term.follow(committed(TorchPort(model), 5), unmerged=0)
    gradients(model, 0)
    optimizer.step()
    assert model.bias.tolist() == [2 - STRENGTH * (2 - 5)] * 2


def test_where_the_optimizer_computes_the_gradients_itself_the_term_is_in_each_of_them() -> None:
    """As under Lightning, and with LBFGS, which does so several times in a step."""
    for give in (lambda closure: (closure,), None):
        model = linear()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        followed(model, optimizer)

        def closure(model: nn.Module = model) -> float:
            assert torch.is_grad_enabled()
            gradients(model)
            return 7.0

        loss = optimizer.step(*give(closure)) if give else optimizer.step(closure=closure)
        assert loss == 7.0
        assert model.bias.tolist() == [2 - (3 + STRENGTH)] * 2
    model = linear()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=50, tolerance_grad=1e-9)
    followed(model, optimizer)

    def quadratic() -> torch.Tensor:
        optimizer.zero_grad()
        loss = sum(((parameter - 4) ** 2).sum() for parameter in model.parameters()) / 2
        loss.backward()
        return loss

    optimizer.step(quadratic)
    assert model.bias.tolist() == pytest.approx([(4 + STRENGTH) / (1 + STRENGTH)] * 2, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.complex64])
def test_weights_of_other_dtypes_are_drawn_too(dtype: torch.dtype) -> None:
    model = linear(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    followed(model, optimizer, 0)
    gradients(model, 0)
    optimizer.step()
    assert model.bias.tolist() == [2 - STRENGTH * 2] * 2


def test_what_does_not_take_part_or_has_no_gradient_is_left_alone() -> None:
    model, other = linear(), linear()
    optimizer = torch.optim.SGD([*model.parameters(), *other.parameters()], lr=1.0)
    followed(model, optimizer)
    gradients(other)
    optimizer.step()
    assert model.bias.tolist() == [2, 2]
    assert other.bias.tolist() == [-1, -1]


def test_an_optimizer_that_removes_the_scale_itself_gets_the_term_at_that_scale() -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    term = followed(model, optimizer)
    gradients(model)
    optimizer.grad_scale = torch.tensor(8.0)
    term.hooks.add(optimizer)
    assert model.bias.grad.tolist() == [3 + 8 * STRENGTH] * 2


def test_after_the_session_gradients_stay_as_they_are() -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    term = followed(model, optimizer)
    term.stop()
    term.stop()
    gradients(model, 0)
    optimizer.step()
    assert model.bias.tolist() == [2, 2]


def test_sparse_gradients_are_refused() -> None:
    model = nn.Embedding(4, 2, sparse=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    followed(model, optimizer)
    model(torch.tensor([1])).sum().backward()
    with pytest.raises(ConfigurationError, match="sparse gradients"):
        optimizer.step()


def test_it_needs_the_optimizer() -> None:
    with pytest.raises(ConfigurationError, match="proximal=0.5 needs the optimizer: give optimizer="):
        SwarmCallback(model=linear(), proximal=STRENGTH, loopback=True)


def test_an_optimizer_of_another_model_is_refused() -> None:
    optimizer = torch.optim.SGD(linear().parameters(), lr=1.0)
    callback = SwarmCallback(model=linear(), optimizer=optimizer, proximal=STRENGTH, loopback=True)
    with pytest.raises(ConfigurationError, match="proximal=0.5 needs the optimizer of the model"):
        callback.on_train_begin()


@pytest.mark.parametrize("overlap", [False, True], ids=["blocking", "overlap"])
def test_whole_trainings_are_drawn_to_what_each_round_has_merged(tmp_path, *, overlap: bool) -> None:
    """Gradients are 1 and 3, the rate is .1, and every second batch ends an interval."""
    models = [linear(), linear()]

    def train(rank: int) -> None:
        optimizer = torch.optim.SGD(models[rank].parameters(), lr=0.1)
        callback = SwarmCallback(
            model=models[rank],
            optimizer=optimizer,
            proximal=STRENGTH,
            overlap=overlap,
            rendezvous=tmp_path,
            world_size=2,
            sync_interval=2,
            name=f"peer-{rank}",
        )
        callback.on_train_begin()
        for _ in range(2 if overlap else 6):  # with overlap, what is merged when depends on time
            gradients(models[rank], 1 + 2 * rank)
            optimizer.step()
            callback.on_batch_end()
        callback.on_train_end()
        before = models[rank].bias.tolist()
        gradients(models[rank], 0)
        optimizer.step()
        assert models[rank].bias.tolist() == before, "the term ends with the session"

    together(lambda: train(0), lambda: train(1), deadline=60)
    at = 2.0
    for _ in range(1 if overlap else 3):
        ends = []
        for gradient in (1, 3):
            own = at - 0.1 * gradient
            ends.append(own - 0.1 * (gradient + STRENGTH * (own - at)))
        at = sum(ends) / 2
    for model in models:
        assert model.bias.tolist() == pytest.approx([at] * 2)
