"""Complex tensors, as in Fourier layers, are merged as their real views."""

from __future__ import annotations

import copy
import json
from functools import partial

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from swarm.pytorch import TorchCallback, TorchPort
from swarm.storage.files import read_model_file, write_model
from swarm.tensors.selection import Selection
from swarm.tensors.state import ModelState
from swarm.testing.swarm import together

DTYPES = {torch.complex64: "float32", torch.complex128: "float64"}


class Fourier(nn.Module):
    """A layer in the frequency domain, with every shape and layout that a complex tensor may have."""

    def __init__(self, dtype=torch.complex64):
        super().__init__()
        self.filter = nn.Parameter(torch.randn(3, 2, dtype=dtype))
        self.turned = nn.Parameter(torch.randn(2, 3, dtype=dtype).t())
        self.single = nn.Parameter(torch.randn((), dtype=dtype))
        self.none = nn.Parameter(torch.empty(0, 3, dtype=dtype))
        self.tied = self.filter
        self.turned_back = nn.Parameter(self.turned.data.t())
        self.register_buffer("rotation", torch.randn(2, dtype=dtype))
        self.real = nn.Linear(2, 1)

    def forward(self, x):
        spectrum = torch.fft.fft(x.to(self.filter.dtype)) @ self.turned.t() @ self.filter * self.single
        return torch.fft.ifft(spectrum).real.sum()


@pytest.fixture(params=DTYPES, ids=str)
def fourier(request):
    torch.manual_seed(1)
    return Fourier(request.param)


def state_of(model):
    port = TorchPort(model)
    state = ModelState.empty(port.schema())
    port.read(state)
    return state


def test_a_complex_tensor_is_a_real_one_with_one_more_dimension(fourier):
    specs = {spec.name: spec for spec in TorchPort(fourier).schema().tensors}
    names = ["filter", "turned", "single", "none", "real.weight", "real.bias", "rotation"]
    assert sorted(specs) == sorted(names)
    assert specs["filter"].shape == (3, 2, 2)
    assert specs["single"].shape == (2,)
    assert {specs[name].dtype for name in ("filter", "turned", "single", "none", "rotation")} == {
        DTYPES[fourier.filter.dtype]
    }
    assert specs["filter"].kind is specs["real.weight"].kind


def test_every_value_survives_in_another_model_and_in_the_same_memory(fourier):
    other = Fourier(fourier.filter.dtype)
    filter_, address = other.filter, other.filter.data_ptr()
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    TorchPort(other).write(state_of(fourier))
    for name, tensor in fourier.state_dict().items():
        copied = other.state_dict()[name]
        assert (copied.dtype, copied.stride()) == (tensor.dtype, tensor.stride()), name
        assert torch.equal(copied, tensor), name
    assert other.filter is filter_
    assert filter_.data_ptr() == address


def test_borrowing_shows_the_memory_of_complex_tensors(fourier):
    state = state_of(fourier)
    borrowed = TorchPort(fourier).borrow(state.schema)
    for (spec, copied), array in zip(state.arrays(), borrowed, strict=True):
        assert (array.dtype, array.shape) == (copied.dtype, copied.shape), spec.name
        assert array.tobytes() == copied.tobytes(), spec.name
    with torch.no_grad():
        fourier.filter.zero_()
    assert not np.any(borrowed[[spec.name for spec in state.schema.tensors].index("filter")])


def test_adding_takes_steps_of_both_parts_and_breaks_no_backward_pass(fourier):
    before, loss = copy.deepcopy(fourier.state_dict()), fourier(torch.ones(2))
    step = state_of(fourier)
    for segment in step.segments.values():
        segment[:] = 1
    TorchPort(fourier).add(step)
    loss.backward()
    assert torch.equal(fourier.filter.data, before["filter"] + (1 + 1j))
    assert torch.equal(fourier.turned_back.data, before["turned_back"] + (1 + 1j))
    assert torch.equal(fourier.rotation, before["rotation"])


def test_patterns_choose_complex_tensors_by_their_names(fourier):
    selection = Selection(local=("filter", "tied", "rotation"))
    names = [spec.name for spec in TorchPort(fourier, selection).schema().tensors]
    assert "filter" not in names
    assert "turned" in names


def test_a_written_model_of_64_bits_loads(tmp_path):
    model, path = Fourier(), tmp_path / "model.safetensors"
    write_model(path, state_of(model), {})
    before = copy.deepcopy(model.state_dict())
    loaded = load_file(path)
    assert {name: tensor.dtype for name, tensor in loaded.items()} == {n: t.dtype for n, t in before.items()}
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    model.load_state_dict(loaded)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_written_model_of_128_bits_loads_by_what_its_metadata_list(tmp_path):
    model, path = Fourier(torch.complex128), tmp_path / "model.safetensors"
    write_model(path, state_of(model), {})
    loaded = load_file(path)
    with safe_open(path, "pt") as file:
        pairs = json.loads(file.metadata()["view_as_real"])
    assert set(pairs) == {name for name, tensor in model.state_dict().items() if tensor.is_complex()}
    loaded |= {name: torch.view_as_complex(loaded[name]) for name in pairs}
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    model.load_state_dict(loaded)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_written_model_is_read_again(tmp_path, fourier):
    state, path = state_of(fourier), tmp_path / "model.safetensors"
    write_model(path, state, {})
    assert read_model_file(path, state.schema).digest() == state.digest()


@pytest.mark.parametrize("overlap", [False, True])
def test_two_peers_merge_complex_weights(tmp_path, overlap):
    def train(rank):
        torch.manual_seed(rank)
        model = Fourier()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        callback = TorchCallback(
            model=model,
            name=f"peer-{rank}",
            rendezvous=tmp_path,
            world_size=2,
            sync_interval=2,
            overlap=overlap,
            model_dir=tmp_path / str(rank),
        )
        callback.on_train_begin()
        for _ in range(5):
            optimizer.zero_grad()
            (model(torch.ones(2)) - rank).square().backward()
            optimizer.step()
            callback.on_batch_end()
        callback.on_train_end()
        file = load_file(tmp_path / str(rank) / "swarm-final.safetensors")
        assert all(torch.equal(file[name], tensor) for name, tensor in model.state_dict().items())
        return model.state_dict()

    first, second = together(partial(train, 0), partial(train, 1))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert first["filter"].imag.any()
