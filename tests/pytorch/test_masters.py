"""``master_weights``: a model in half precision whose optimizer trains copies in float32."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from swarm.errors import ConfigurationError, ModelError
from swarm.pytorch import TorchCallback, TorchPort
from swarm.tensors.state import ModelState
from swarm.testing.swarm import together
from swarm_keras import SwarmCallback as KerasCallback
from swarm_lightning import SwarmLightningCallback


def half() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, affine=False), nn.Linear(3, 1)).bfloat16()


def masters_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().float() for name, parameter in model.named_parameters()}


def test_they_take_part_in_place_of_the_parameters():
    model = half()
    masters = masters_of(model)
    port = TorchPort(model, masters=masters)
    dtypes = {spec.name: spec.dtype for spec in port.schema().tensors}
    assert {dtypes.pop(name) for name in masters} == {"float32"}
    assert dtypes == {"1.running_mean": "bfloat16", "1.running_var": "bfloat16", "1.num_batches_tracked": "int64"}
    assert [tensor.data_ptr() for tensor in port.parameters().values()] == [
        each.data_ptr() for each in masters.values()
    ]


@pytest.mark.parametrize("load", ["write", "update", "add"])
def test_what_is_loaded_is_in_both(load: str):
    model = half()
    masters = masters_of(model)
    port = TorchPort(model, masters=masters)
    state = ModelState.empty(port.schema())
    port.read(state)
    fine = 1 + 2**-12  # between two numbers of bfloat16
    for _, array in state.arrays():
        array[...] = fine
    before = {name: master.clone() for name, master in masters.items()}
    getattr(port, load)(state)
    for name, parameter in model.named_parameters():
        expected = before[name] + fine if load == "add" else torch.full_like(before[name], fine)
        assert torch.equal(masters[name], expected), name
        assert torch.equal(parameter.data, expected.bfloat16()), name


def test_some_are_enough():
    model = half()
    port = TorchPort(model, masters={"2.weight": model[2].weight.detach().float()})
    dtypes = {spec.name: spec.dtype for spec in port.schema().tensors}
    assert (dtypes["2.weight"], dtypes["0.weight"]) == ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("name", "master", "message"),
    [
        ("3.weight", torch.zeros(1), "'3.weight', and the model has no such parameter"),
        ("1.running_mean", torch.zeros(3), "'1.running_mean', and the model has no such parameter"),
        ("2.weight", torch.zeros(3), r"'2.weight' has the shape \(3,\), and the parameter \(1, 3\)"),
        ("2.weight", torch.zeros(1, 3).half(), "is torch.float16 .* it has to be a dense tensor of float32"),
        ("2.weight", torch.zeros(1, 3, device="meta"), r"meta\): it has to be a dense tensor of float32"),
        ("2.weight", [0.0], "is a list, and not a tensor of this process"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name: str, master: object, message: str):
    with pytest.raises(ModelError, match=message):
        TorchPort(half(), masters={name: master})


def test_a_parameter_in_full_precision_has_none():
    model = nn.Linear(1, 1)
    with pytest.raises(ModelError, match="'weight' is one of a tensor that is sharded, or not in half precision"):
        TorchPort(model, masters={"weight": model.weight.detach().clone()})


def train(model: nn.Module, data: torch.Tensor, **settings: object) -> dict[str, torch.Tensor]:
    """The loop of a user; returns the master weights."""
    masters = masters_of(model)
    optimizer = torch.optim.Adam(masters.values(), lr=0.01)
    callback = TorchCallback(model=model, optimizer=optimizer, master_weights=masters, **settings)
    with callback:
        callback.on_train_begin()
        for _ in range(4):
            model.zero_grad()
            model(data.bfloat16()).square().sum().backward()
            for name, parameter in model.named_parameters():
                masters[name].grad = parameter.grad.float()
            optimizer.step()
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(masters[name])
            callback.on_batch_end()
        callback.on_train_end()
    return masters


def test_two_sites_merge_them_and_the_state_of_their_optimizers(tmp_path):
    models, data = [half(), half()], torch.randn(2, 8, 2)
    settings = {"rendezvous": tmp_path, "world_size": 2, "sync_interval": 2, "optimizer_state": "merge"}
    sites = [partial(train, models[n], data[n], name=f"site-{n}", **settings) for n in range(2)]
    first, second = together(*sites)
    for name, master in first.items():
        assert torch.equal(master, second[name]), name
        assert not torch.equal(master, master.bfloat16().float()) or master.numel() == 1, name
        assert all(torch.equal(dict(model.named_parameters())[name], master.bfloat16()) for model in models), name


def test_other_callbacks_refuse_them():
    for kind in (KerasCallback, SwarmLightningCallback):
        with pytest.raises(ConfigurationError, match="master_weights is for a loop in raw PyTorch: leave it out"):
            kind(master_weights={})
    with pytest.raises(ConfigurationError, match="master_weights is a list, allowed: tensors by the name"):
        TorchCallback(model=half(), master_weights=[])
