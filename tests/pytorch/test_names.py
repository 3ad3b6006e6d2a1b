"""Names of tensors are the keys of the user's ``state_dict``, so that patterns match and files can be loaded."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrizations

from swarm.pytorch import TorchPort
from swarm.storage.files import read_model_file, write_model
from swarm.tensors.selection import Selection
from swarm.tensors.state import ModelState


class Net(nn.Module):
    """A model that keeps its network in an attribute called ``module``."""

    def __init__(self):
        super().__init__()
        self.module = nn.ModuleDict({"body": nn.Linear(4, 4), "head": nn.Linear(4, 3)})
        self.scale = nn.Parameter(torch.ones(1))


class Twin(nn.Module):
    """``module.weight`` beside ``weight``."""

    def __init__(self):
        super().__init__()
        self.module = nn.Linear(4, 4, bias=False)
        self.weight = nn.Parameter(torch.ones(4))


class OrigMod(nn.Module):
    """The attribute in which ``torch.compile`` keeps a module, but in the user's own."""

    def __init__(self):
        super().__init__()
        self._orig_mod = nn.Linear(2, 2)
        self.weight = nn.Parameter(torch.ones(1))


def tied():
    model = nn.ModuleDict({"embed": nn.Embedding(3, 2), "head": nn.Linear(2, 3, bias=False)})
    model["head"].weight = model["embed"].weight
    return model


def tied_transposed():
    model = nn.ModuleDict({"encoder": nn.Linear(3, 2, bias=False), "decoder": nn.Linear(2, 3, bias=False)})
    model["decoder"].weight = nn.Parameter(model["encoder"].weight.data.t())
    return model


def tied_the_other_way():
    model = tied_transposed()
    return nn.ModuleDict({"first": model["decoder"], "second": model["encoder"]})


def tied_and_reshaped():
    model = nn.Module()
    model.flat = nn.Parameter(torch.arange(6.0))
    model.square = nn.Parameter(model.flat.data.view(1, 2, 3))
    return model


def one_layer_twice():
    layer = nn.Linear(2, 2)
    return nn.Sequential(layer, nn.Tanh(), layer)


def renaming_hook():
    def rename(module, state, prefix, metadata):
        state[prefix + "kernel"] = state.pop(prefix + "weight")

    def back(module, state, prefix, *rest):
        state[prefix + "weight"] = state.pop(prefix + "kernel")

    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0]._register_state_dict_hook(rename)
    model[0].register_load_state_dict_pre_hook(back)
    return model


class Overriding(nn.Linear):
    """Its ``state_dict`` takes no arguments, and gives its keys a prefix."""

    def state_dict(self):
        return {f"net.{key}": value for key, value in super().state_dict().items()}

    def load_state_dict(self, state):
        return super().load_state_dict({key.removeprefix("net."): value for key, value in state.items()})


MODELS = {
    "module": Net,
    "module-and-its-leaf": Twin,
    "orig-mod": OrigMod,
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(nn.Linear(4, 3)),
    "averaged-module": lambda: torch.optim.swa_utils.AveragedModel(Net()),
    "tied": tied,
    "tied-transposed": tied_transposed,
    "tied-the-other-way": tied_the_other_way,
    "tied-and-reshaped": tied_and_reshaped,
    "one-layer-twice": one_layer_twice,
    "channels-last": lambda: nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last),
    "parametrized": lambda: parametrizations.weight_norm(nn.Linear(3, 2)),
    "spectral-norm": lambda: nn.utils.spectral_norm(nn.Linear(3, 2)),
    "hook": renaming_hook,
    "override": lambda: Overriding(2, 2),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_written_model_loads_into_the_users(tmp_path, make):
    model = make()
    with torch.no_grad():
        for number, tensor in enumerate(model.state_dict().values()):
            tensor.copy_(torch.arange(tensor.numel()).view(tensor.shape) + 10 * number)
    port, path = TorchPort(model), tmp_path / "model.safetensors"
    state = ModelState.empty(port.schema())
    port.read(state)
    write_model(path, state, {})
    loaded, before = load_file(path), copy.deepcopy(model.state_dict())
    assert set(loaded) == set(before)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    model.load_state_dict(loaded)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert read_model_file(path, state.schema).digest() == state.digest()


@pytest.mark.parametrize(
    ("make", "local"),
    [(Net, "module.head.*"), (Twin, "module.*"), (OrigMod, "_orig_mod.*"), (renaming_hook, "*.kernel")],
)
def test_patterns_are_over_the_keys_of_the_users_state_dict(make, local):
    model = make()
    names = [spec.name for spec in TorchPort(model, Selection(local=(local,))).schema().tensors]
    left = {name for name in model.state_dict() if not name.startswith(local.rstrip("*")) and "kernel" not in name}
    assert set(names) == left


@pytest.fixture
def process_group():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_distributed_data_parallel_adds_no_prefix_wherever_it_is():
    wrapped = nn.parallel.DistributedDataParallel(Net())
    keys = set(Net().state_dict())
    assert {spec.name for spec in TorchPort(wrapped).schema().tensors} == keys
    within = nn.ModuleDict({"net": wrapped})
    assert {spec.name for spec in TorchPort(within).schema().tensors} == {f"net.{key}" for key in keys}


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, lambda model: nn.DataParallel(torch.compile(model))])
@pytest.mark.parametrize("make", [Net, Twin, OrigMod, renaming_hook], ids=lambda make: make.__name__)
def test_a_wrapper_adds_no_prefix_to_any_model(make, wrap):
    model = make()
    keys = set(model.state_dict())
    assert {spec.name for spec in TorchPort(wrap(model)).schema().tensors} == keys
    within = nn.ModuleDict({"module": wrap(model)})
    assert {spec.name for spec in TorchPort(within).schema().tensors} == {f"module.{key}" for key in keys}


def test_two_tensors_of_one_name_keep_their_paths():
    model = nn.ModuleDict({"net": torch.compile(nn.Linear(2, 2))})
    model["net"]._parameters["bias"] = nn.Parameter(torch.ones(1))
    names = [spec.name for spec in TorchPort(model).schema().tensors]
    assert names == ["net.bias", "net.weight", "net._orig_mod.bias"]
