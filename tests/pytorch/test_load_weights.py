"""The result of a run can be loaded into a new model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swarm.errors import ModelError
from swarm.pytorch import TorchPort, load_weights
from swarm.storage.files import write_model
from swarm.tensors.selection import Selection
from swarm.tensors.state import ModelState

RESULT = "swarm-final.safetensors"


class Net(nn.Module):
    def __init__(self, dtype=torch.float32, width=3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, 2, dtype=dtype))
        self.turned = nn.Parameter(self.weight.data.t())  # tied
        self.norm = nn.BatchNorm1d(2)
        self.head = nn.Linear(2, 1)


def write(model, path, selection=Selection()):  # noqa: B008
    port = TorchPort(model, selection)
    state = ModelState.empty(port.schema())
    port.read(state)
    write_model(path, state, {})
    return path


def same(one, other):
    return {name: torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64, torch.complex128], ids=str)
@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel], ids=["plain", "wrapped"])
def test_every_tensor_is_loaded(tmp_path, dtype, wrap):
    trained, other = Net(dtype), Net(dtype)
    load_weights(wrap(other), str(write(trained, tmp_path / RESULT)))
    assert all(same(trained, other).values())
    assert other.turned.data_ptr() == other.weight.data_ptr()


def test_local_tensors_stay_as_they_are(tmp_path):
    trained, other = Net(), Net()
    load_weights(other, write(trained, tmp_path / RESULT, Selection(local=("head.*",))))
    assert {name for name, equal in same(trained, other).items() if not equal} == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Net(width=4), r"of another model: 'weight' is float32\[3, 2\] in the file, and float32\[4, 2\] in the model"),
        (nn.Linear(2, 3), "'head.bias' is in the file, and not in the model"),
    ],
)
def test_another_model_is_refused_and_stays_as_it_is(tmp_path, other, message):
    path, before = write(Net(), tmp_path / RESULT), {name: each.clone() for name, each in other.state_dict().items()}
    with pytest.raises(ModelError, match=message):
        load_weights(other, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / RESULT).write_bytes(b"damaged")
    for name in (RESULT, "missing.safetensors"):
        with pytest.raises(ModelError, match=f"{name} cannot be read"):
            load_weights(Net(), tmp_path / name)
