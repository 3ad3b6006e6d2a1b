"""Which tensors of a model are shared, as patterns of names select them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from swarm.errors import ModelError
from swarm.pytorch import TorchPort
from swarm.tensors.selection import Normalization, Selection
from swarm.tensors.state import ModelState


def backbone_and_head() -> nn.Module:
    return nn.ModuleDict({"backbone": nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), "head": nn.Linear(3, 1)})


def test_only_what_is_selected_is_in_the_schema():
    model = backbone_and_head()
    whole = [spec.name for spec in TorchPort(model).schema().tensors]
    shared = TorchPort(model, Selection(local=("head.*", "*.running_*"))).schema()
    assert [spec.name for spec in shared.tensors] == [
        name for name in whole if not name.startswith("head.") and "running" not in name
    ]
    assert shared.fingerprint != TorchPort(model).schema().fingerprint


def test_writing_leaves_alone_what_is_local():
    model = backbone_and_head()
    for parameter in model["backbone"].parameters():
        parameter.requires_grad_(requires_grad=False)
    before = copy.deepcopy(model).state_dict()
    port = TorchPort(model, Selection(share=("head.*",)))
    state = ModelState.empty(port.schema())
    port.read(state)
    np.testing.assert_array_equal(state.segments["float32"][:3], before["head.weight"][0])
    state.segments["float32"][:] = 7
    port.write(state)
    for name, tensor in model.state_dict().items():
        expected = torch.full_like(tensor, 7) if name.startswith("head.") else before[name]
        assert torch.equal(tensor, expected), name


def test_wrappers_do_not_change_what_a_pattern_means():
    selection = Selection(share=("head.*",))
    for wrap in (torch.compile, nn.DataParallel, lambda model: model):
        port = TorchPort(wrap(backbone_and_head()), selection)
        assert [spec.name for spec in port.schema().tensors] == ["head.weight", "head.bias"]


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(share=("head.weight",)), ["embed.weight"]),
        (Selection(share=("embed.*",)), ["embed.weight"]),
        (Selection(share=("conv.*",)), ["conv.weight", "conv.bias"]),
    ],
)
def test_tied_weights_are_selected_by_any_of_their_names(every_kind, selection, names):
    assert [spec.name for spec in TorchPort(every_kind, selection).schema().tensors] == names


def test_a_layer_in_two_places_has_two_names():
    layer = nn.Linear(2, 2)
    model = nn.ModuleDict({"first": layer, "second": layer, "third": nn.Linear(2, 2)})
    names = [spec.name for spec in TorchPort(model, Selection(share=("second.*",))).schema().tensors]
    assert names == ["first.weight", "first.bias"]
    with pytest.raises(ModelError, match="'first.weight' and 'second.weight' are one tensor"):
        TorchPort(model, Selection(local=("second.*",))).schema()


def test_tied_weights_that_are_shared_and_local_are_named(every_kind):
    with pytest.raises(ModelError, match="'embed.weight' and 'head.weight' are one tensor"):
        TorchPort(every_kind, Selection(local=("head.*",))).schema()


@pytest.mark.parametrize(
    "frozen",
    [
        torch.zeros(2, dtype=torch.complex64).conj(),
        torch.zeros(2, 2).to_sparse(),
        torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8),
        torch.zeros(2, dtype=torch.float8_e4m3fn),
        torch.zeros(1).expand(3),
        torch.zeros(2, device="meta"),
    ],
    ids=["conjugate", "sparse", "quantized", "float8", "expanded", "meta"],
)
def test_what_cannot_be_merged_may_stay_local(frozen):
    model = nn.Linear(1, 1)
    model.register_buffer("odd", frozen)
    port = TorchPort(model, Selection(local=("odd",)))
    assert [spec.name for spec in port.schema().tensors] == ["weight", "bias"]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(local=("haed.*",)), "'haed.*', which matches no tensor.*'head.weight'"),
        (Selection(share=("*.num_batches_tracked",)), "leave no weight"),
        (Selection(local=("*.running_var",)), "'backbone.1.running_mean' is shared and .*running_var' is not"),
    ],
)
def test_a_selection_that_does_not_fit_the_model_is_refused(selection, message):
    with pytest.raises(ModelError, match=message):
        TorchPort(backbone_and_head(), selection).schema()


@pytest.mark.parametrize(
    ("normalization", "kept"),
    [
        (Normalization.POOLED, set()),
        (Normalization.SILOBN, {"1.running_mean", "1.running_var", "1.num_batches_tracked"}),
        (
            Normalization.FEDBN,
            {"1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"},
        ),
    ],
)
def test_what_a_site_keeps_of_batchnorm_is_neither_updated_nor_added_to(normalization: Normalization, kept: set[str]):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.LayerNorm(3))
    port = TorchPort(model, Selection(normalization=normalization))
    schema = port.schema()
    assert {spec.name for spec in schema.tensors if spec.kept} == kept
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = ModelState.empty(schema)
    for _, array in state.arrays():
        array[...] = 7
    for change in (port.update, port.add):
        change(state)
        now = model.state_dict()
        assert {name for name in now if torch.equal(now[name], before[name])} == kept
    port.write(state)
    assert all(bool((tensor == 7).all()) for tensor in model.state_dict().values())
