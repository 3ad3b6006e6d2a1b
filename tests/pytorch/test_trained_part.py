"""``trainable_only``: what is trained is merged, and the frozen rest must be the same everywhere."""

from __future__ import annotations

import logging
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing._internal.two_tensor import TwoTensor

from swarm.config import resolve
from swarm.errors import ConfigurationError, IncompatiblePeerError, ModelError
from swarm.pytorch import TorchCallback, TorchPort, shared_part
from swarm.pytorch.trained_part import frozen_digest
from swarm.tensors.selection import Selection
from swarm.testing.swarm import together
from swarm_keras import SwarmCallback as KerasCallback


def frozen_backbone(seed: int = 0) -> nn.Module:
    """A frozen part with a buffer that changes, and a trained part with statistics."""
    torch.manual_seed(seed)
    model = nn.ModuleDict(
        {
            "backbone": nn.Sequential(nn.Linear(2, 300), nn.BatchNorm1d(300)),
            "head": nn.Sequential(nn.BatchNorm1d(300), nn.Linear(300, 1)),
        }
    )
    model["backbone"].requires_grad_(requires_grad=False)
    model["head"][1].register_buffer("seen", torch.zeros(1))
    return model


def shared_by(model: nn.Module, **settings: object):
    settings = resolve({"name": "a", **settings}, environment={}).settings
    selection = Selection(settings.share, settings.local)
    return shared_part(model, settings, selection, logging.getLogger("swarm"))


def test_what_is_trained_takes_part_with_the_buffers_of_its_layers():
    port = TorchPort(frozen_backbone(), trainable_only=True)
    expected = ["0.weight", "0.bias", "0.running_mean", "0.running_var", "0.num_batches_tracked"]
    expected += ["1.weight", "1.bias", "1.seen"]
    assert [spec.name for spec in port.schema().tensors] == [f"head.{name}" for name in expected]


def test_it_is_decided_when_training_begins():
    model = frozen_backbone()
    port = TorchPort(model, trainable_only=True)
    before = port.schema()
    model["head"].requires_grad_(requires_grad=False)
    model["backbone"].requires_grad_(requires_grad=True)
    assert [spec.name for spec in port.schema().tensors] == [spec.name for spec in before.tensors]


def test_patterns_select_among_what_is_trained():
    names = list(shared_by(frozen_backbone(), trainable_only=True, local=["*.bias"]).port.parameters())
    assert names == ["head.0.weight", "head.1.weight"]
    with pytest.raises(ModelError, match="matches no tensor"):
        shared_by(frozen_backbone(), trainable_only=True, share=["backbone.*"]).port.schema()


def test_a_model_that_trains_nothing_is_refused():
    with pytest.raises(ModelError, match="trainable_only=True leaves nothing to merge: no parameter of Linear"):
        TorchPort(nn.Linear(1, 1).requires_grad_(requires_grad=False), trainable_only=True)


def test_frozen_tensors_that_cannot_be_merged_do_not_disturb():
    model = frozen_backbone()
    model.register_parameter("codes", nn.Parameter(torch.zeros(2, dtype=torch.float8_e4m3fn), requires_grad=False))
    model.register_parameter("sparse", nn.Parameter(torch.zeros(2, 2).to_sparse(), requires_grad=False))
    model.register_parameter("scalar", nn.Parameter(torch.tensor(1.0), requires_grad=False))
    shared = shared_by(model, trainable_only=True)
    assert len(shared.port.schema().tensors) == 8
    assert len(shared.facts["frozen_weights"]) == 32


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model["backbone"][0].weight.data.add_(1),
        lambda model: model["backbone"].bfloat16(),
        lambda model: model.register_parameter("more", nn.Parameter(torch.ones(1), requires_grad=False)),
        lambda model: model["head"].requires_grad_(requires_grad=False),
    ],
)
def test_the_digest_is_that_of_the_frozen_parameters(change):
    one, other = frozen_backbone(), frozen_backbone()
    nn.init.normal_(other["head"][1].weight)
    other["backbone"][1].running_mean += 1
    assert frozen_digest(one) == frozen_digest(other)
    change(other)
    assert frozen_digest(one) != frozen_digest(other)


def test_the_digest_of_a_wrapper_of_tensors_is_that_of_their_values():
    digests = []
    for value in (0.0, 0.0, 1.0):
        model = frozen_backbone()
        wrapper = TwoTensor(torch.ones(2, 2), torch.full((2, 2), value))
        model["backbone"].register_parameter("wrapper", nn.Parameter(wrapper, requires_grad=False))
        digests.append(shared_by(model, trainable_only=True).facts["frozen_weights"])
    assert digests[0] == digests[1] != digests[2]


def test_local_parameters_are_not_compared():
    one, other = frozen_backbone(0), frozen_backbone(1)
    assert frozen_digest(one) != frozen_digest(other)
    assert frozen_digest(one, ("backbone.0.*",)) == frozen_digest(other, ("backbone.0.*",))


def test_without_the_setting_all_takes_part_and_nothing_is_compared():
    for settings in ({}, {"trainable_only": False}):
        shared = shared_by(frozen_backbone(), **settings)
        assert len(shared.port.schema().tensors) == 15
        assert shared.facts == {}


def train(model: nn.Module, batches: int, **settings: object) -> TorchCallback:
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    callback = TorchCallback(model=model, optimizer=optimizer, **settings)
    with callback:
        callback.on_train_begin()
        for _ in range(batches):
            optimizer.zero_grad()
            model["head"](model["backbone"](torch.randn(4, 2))).square().sum().backward()
            optimizer.step()
            callback.on_batch_end()
        callback.on_train_end()
    return callback


def test_two_sites_merge_their_heads(tmp_path):
    models = [frozen_backbone(), frozen_backbone()]
    torch.nn.init.normal_(models[1]["head"][1].weight)
    settings = {"rendezvous": tmp_path, "world_size": 2, "sync_interval": 2, "trainable_only": True}
    settings |= {"normalization": "pooled", "optimizer_state": "merge"}
    together(*(partial(train, model, 4 + n, name=f"site-{n}", **settings) for n, model in enumerate(models)))
    first, second = (model.state_dict() for model in models)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]) or "backbone.1" in name, name
    assert not torch.equal(first["backbone.1.running_mean"], second["backbone.1.running_mean"])


def test_sites_with_other_backbones_are_refused_unless_they_give_them_a_name(tmp_path):
    def refused(number: int) -> None:
        with pytest.raises(IncompatiblePeerError, match=r"agree\['frozen_weights'\] is '\w{32}' at site-\d and"):
            train(models[number], 1, name=f"site-{number}", **settings)

    models = [frozen_backbone(0), frozen_backbone(1)]
    settings = {"rendezvous": tmp_path, "world_size": 2, "trainable_only": True, "start_timeout": 30.0}
    together(partial(refused, 0), partial(refused, 1))
    settings |= {"agree": {"frozen_weights": "random"}}
    together(*(partial(train, model, 1, name=f"site-{n}", **settings) for n, model in enumerate(models)))
    assert torch.equal(models[0]["head"][1].weight, models[1]["head"][1].weight)


def test_keras_refuses_it_by_name():
    with pytest.raises(ConfigurationError, match="trainable_only=True is not possible with ml_platform='KERAS'.*share"):
        KerasCallback(trainable_only=True)
    assert KerasCallback(trainable_only=False).arguments.settings.trainable_only is False
