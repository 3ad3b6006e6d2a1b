"""Buffers and other module state of a torch model, trained by two real peers in one process."""

from __future__ import annotations

import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from swarm.errors import ConfigurationError, ModelError
from swarm.pytorch import TorchCallback, TorchPort
from swarm.tensors.selection import Selection
from swarm.tensors.state import TensorKind
from swarm.testing.nodes import eventually
from swarm.testing.swarm import together


@pytest.fixture
def train_two(tmp_path):
    """Trains a model at each of two peers, at interval 2; gives the models, and the log of each peer."""

    def train_two(make, batches, step, **arguments):
        def train(rank):
            model = make(rank)
            callback = TorchCallback(
                model=model, name=f"peer-{rank}", rendezvous=tmp_path, world_size=2, sync_interval=2, **arguments
            )
            callback.on_train_begin()
            for batch in range(batches[rank]):
                with torch.no_grad():
                    step(model, rank, batch)
                callback.on_batch_end()
            callback.on_train_end()
            return model

        return together(partial(train, 0), partial(train, 1))

    return train_two


def kinds(model):
    return {spec.name: spec.kind for spec in TorchPort(model).schema().tensors}


class Queue(nn.Module):
    """A parameter, and state of every dtype that is consistent only together."""

    def __init__(self, rank):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.codes = nn.Parameter(torch.arange(4, dtype=torch.int8), requires_grad=False)
        self.mask = nn.Parameter(torch.tensor([0.0, -torch.inf]), requires_grad=False)
        self.register_buffer("keys", nn.functional.normalize(torch.randn(5, 4), dim=1))
        self.register_buffer("place", torch.tensor(0))
        self.register_buffer("ready", torch.tensor(False))
        self.register_buffer("lowest", torch.tensor(torch.inf))
        self.register_buffer("site", torch.tensor(rank))


def test_everything_beside_parameters_and_batchnorm_is_module_state():
    assert {name for name, kind in kinds(Queue(0)).items() if kind is TensorKind.WEIGHT} == {"weight"}
    assert set(kinds(nn.BatchNorm1d(2)).values()) == {
        TensorKind.WEIGHT,
        TensorKind.MEAN,
        TensorKind.VARIANCE,
        TensorKind.COUNTER,
    }


@pytest.mark.parametrize("merge_method", ["mean", "coordmedian"])
def test_state_that_belongs_together_stays_together(train_two, merge_method):
    def step(model, rank, batch):
        model.weight += 1 + rank
        model.keys[batch % 5] = nn.functional.normalize(torch.randn(4), dim=0)
        model.place += 1
        model.ready.fill_(True)
        model.lowest.fill_(batch)

    first, second = train_two(Queue, (6, 6), step, merge_method=merge_method)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    torch.testing.assert_close(first.keys.norm(dim=1), torch.ones(5))
    assert int(first.place) == 6
    assert first.mask.tolist() == [0.0, -torch.inf]


def test_a_peer_without_a_batch_ends_with_the_flags_of_those_who_trained(train_two):
    def step(model, rank, batch):
        model.weight += 1
        model.ready.fill_(True)

    models = train_two(Queue, (0, 4), step)
    assert [bool(model.ready) for model in models] == [True, True]
    assert torch.equal(models[0].codes, models[1].codes)


def test_the_number_of_the_site_is_named_at_the_start_and_stays_where_it_is_local(train_two, caplog):
    def step(model, rank, batch):
        model.weight += 1

    models = train_two(Queue, (2, 2), step)
    assert int(models[0].site) == int(models[1].site)
    named = [record for record in caplog.records if "name in `local`" in record.message]
    assert [record.levelname for record in named] == ["WARNING"]
    assert "site" in named[0].message
    models = train_two(Queue, (2, 2), step, local=["site"])
    assert [int(model.site) for model in models] == [0, 1]


def normalised(rank):
    torch.manual_seed(rank)
    old = torch.nn.utils.spectral_norm
    return nn.ModuleDict(
        {
            "new": parametrizations.spectral_norm(nn.Linear(6, 4)),
            "conv": parametrizations.spectral_norm(nn.ConvTranspose2d(3, 5, 2), dim=1),
            "old": old(nn.Linear(4, 7)),
            "brain": parametrizations.spectral_norm(nn.Linear(4, 4)).bfloat16(),
        }
    )


def test_weights_under_spectral_norm_are_found_with_their_vectors():
    schema = TorchPort(normalised(0)).schema()
    names = [spec.name for spec in schema.tensors]
    named = [(names[norm.weight], norm.axis, names[norm.left], names[norm.right]) for norm in schema.spectral]
    assert ("old.weight_orig", 0, "old.weight_u", "old.weight_v") in named
    original = "conv.parametrizations.weight.original"
    assert (original, 1, "conv.parametrizations.weight.0._u", "conv.parametrizations.weight.0._v") in named
    assert len(named) == 4


@pytest.mark.parametrize("local", ["new.parametrizations.weight.original", "*._u", "*._v"])
def test_a_selection_that_separates_a_weight_from_its_vectors_is_refused(local):
    with pytest.raises(ModelError, match="separate a weight under spectral normalisation from its singular vectors"):
        TorchPort(normalised(0), Selection(local=(local,))).schema()
    whole = TorchPort(normalised(0), Selection(local=("new.parametrizations.weight.*",))).schema()
    assert len(whole.spectral) == 3


@pytest.mark.parametrize("settings", [{}, {"codec": "int8"}, {"merge_method": "geomedian"}, {"overlap": True}], ids=str)
def test_the_largest_singular_value_is_one_after_a_merge_of_unlike_weights(train_two, settings):
    def step(model, rank, batch):
        generator = torch.Generator().manual_seed(100 * rank + batch)
        for name, parameter in model.named_parameters():
            if "bias" not in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype))

    for model in train_two(normalised, (4, 4), step, **settings):
        model.eval()
        for layer, rows in (("new", 0), ("conv", 1), ("brain", 0)):
            matrix = model[layer].weight.detach().float().movedim(rows, 0).flatten(1)
            tolerance = 0.02 if layer == "brain" else 0.01
            assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=tolerance), layer
        old = model["old"]
        estimate = old.weight_u @ old.weight_orig @ old.weight_v
        assert (torch.linalg.matrix_norm(old.weight_orig.detach(), 2) / estimate).item() == pytest.approx(1, abs=0.01)


def broken(rank, where):
    torch.manual_seed(rank)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    if rank in where:
        model[0].weight.data[0, 0] = torch.nan
        model[1].running_var[1] = torch.inf
    return model


@pytest.mark.parametrize("where", [0, 1])
def test_a_peer_that_starts_with_nan_takes_the_weights_of_the_other(train_two, where, caplog):
    models = train_two(lambda rank: broken(rank, {where}), (2, 2), lambda model, rank, batch: model[0].weight.add_(1))
    assert all(tensor.isfinite().all() for model in models for tensor in model.state_dict().values())
    assert "NaN or infinity here in 0.weight, 1.running_var" in caplog.text


@pytest.mark.parametrize("where", [0, 1])
def test_nan_in_the_module_state_of_one_peer_is_not_what_all_start_from(train_two, where):
    def made(rank):
        model = Queue(rank)
        if rank == where:
            model.lowest.fill_(torch.nan)
        return model

    models = train_two(made, (2, 2), lambda model, rank, batch: model.weight.add_(1))
    assert not any(model.lowest.isnan().any() for model in models)


def test_where_all_start_with_nan_the_start_fails_at_each_and_names_the_tensor(train_two, caplog):
    with pytest.raises(ModelError, match="peer-0, peer-1 hold NaN or infinity"):
        train_two(lambda rank: broken(rank, {0, 1}), (2, 2), lambda model, rank, batch: None)
    eventually(
        lambda: {"peer-0", "peer-1"} == {*re.findall(r"\(at (.*): 0.weight, 1.running_var\)", caplog.text)}, "said"
    )


def test_a_minimum_that_is_set_back_to_infinity_costs_no_step(train_two):
    def step(model, rank, batch):
        model.weight += 1
        model.lowest.fill_(torch.inf if batch % 2 else 3.0)

    first, second = train_two(Queue, (6, 6), step)
    assert first.weight.tolist() == second.weight.tolist() == [6.0] * 3
    assert first.lowest.item() == torch.inf


def test_a_buffer_that_becomes_nan_is_named(train_two, caplog):
    def step(model, rank, batch):
        model.weight += 1
        if rank:
            model.lowest.fill_(torch.nan)

    train_two(Queue, (6, 6), step)
    named = [record for record in caplog.records if "NaN or infinity here in lowest" in record.message]
    assert [record.levelname for record in named] == ["WARNING"]


def test_where_nobody_has_a_weight_the_start_fails(train_two):
    with pytest.raises(ConfigurationError, match="node_weightage is 0 at peer-0, peer-1"):
        train_two(Queue, (2, 2), lambda model, rank, batch: None, node_weightage=0)
