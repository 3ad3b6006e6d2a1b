"""``swarm export``: what a run has written, in the formats of torch."""

from __future__ import annotations

import re

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from swarm.cli.app import app
from swarm.pytorch import TorchCallback

SCRIPT = """
import torch
from torch import nn

def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))

def other():
    return nn.Linear(2, 2)

def nothing():
    return {"weight": 1}

def broken():
    raise RuntimeError("no data here")

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.inner = nn.Embedding(9, 4), make_model()

    def forward(self, words, picture):
        return self.embed(words).sum() + self.inner(picture)

words = Words()

class Strict(nn.Linear):
    def forward(self, x):
        torch._check(x.sum().item() != 0)
        return super().forward(x)

def strict():
    return Strict(3, 2)
"""


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A finished run in ``out``, its model, and a script with functions that make one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train_it.py").write_text(SCRIPT)

    def train(model):
        callback = TorchCallback(model=model, loopback=True, model_dir="out", normalization="pooled")
        callback.on_train_begin()
        callback.on_train_end()
        return model

    return train


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def test_a_state_dict_needs_no_model_and_runs_no_code(trained):
    model = trained(network())
    result = run("out", "model.pt")
    assert result.exit_code == 0, result.output
    assert "model.pt is written, with the weights of out/swarm-final.safetensors" in result.output
    state = torch.load("model.pt", weights_only=True)
    assert set(state) == set(model.state_dict())
    again = network()
    again.load_state_dict(state)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_complex_tensors_are_complex_again(trained):
    model = nn.Module()
    model.wide = nn.Parameter(torch.randn(3, dtype=torch.complex128))
    model.narrow = nn.Parameter(torch.randn(3, dtype=torch.complex64))
    trained(model)
    assert run("out/swarm-final.safetensors", "model.pt").exit_code == 0
    state = torch.load("model.pt", weights_only=True)
    assert torch.equal(state["wide"], model.wide)
    assert torch.equal(state["narrow"], model.narrow)


def test_with_a_model_the_state_dict_has_all_of_it(trained, monkeypatch):
    monkeypatch.setenv("SWARM_LOCAL", "3.*")
    model = trained(network())
    assert "3.weight" not in load_file("out/swarm-final.safetensors")
    result = run("out", "model.pt", "--model", "train_it.py:make_model")
    assert result.exit_code == 0, result.output
    state = torch.load("model.pt", weights_only=True)
    assert set(state) == set(model.state_dict())
    assert torch.equal(state["1.weight"], model[1].weight)


@pytest.mark.timeout(300)
def test_an_onnx_model_computes_the_same_for_any_batch(trained):
    model = trained(network()).eval()
    result = run("out", "model.onnx", "--model", "train_it.py:make_model", "--input", "2,3,4")
    assert result.exit_code == 0, result.output
    session = onnxruntime.InferenceSession("model.onnx")
    (name,) = [each.name for each in session.get_inputs()]
    for batch in (1, 7):
        x = torch.randn(batch, 3, 4)
        (found,) = session.run(None, {name: x.numpy()})
        np.testing.assert_allclose(found, model(x).detach().numpy(), atol=1e-6)


@pytest.mark.timeout(300)
def test_several_inputs_and_a_model_that_is_no_function(trained):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.inner = nn.Embedding(9, 4), network()

        def forward(self, words, picture):
            return self.embed(words).sum() + self.inner(picture)

    model = trained(Words()).eval()
    options = ["--model", "train_it.py:words", "--input", "2,6:int64", "--input", "2,3,4"]
    result = run("out", "model.onnx", *options)
    assert result.exit_code == 0, result.output
    session = onnxruntime.InferenceSession("model.onnx")
    words, picture = torch.randint(0, 9, (2, 6)), torch.randn(2, 3, 4)
    names = [each.name for each in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, (words.numpy(), picture.numpy()), strict=True)))
    np.testing.assert_allclose(found, model(words, picture).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "model.pt"], "there is no file nowhere"),
        (["out", "train_it.py"], "train_it.py is there already"),
        (["out", "model.h5"], ".h5 is no format that this can be written as: allowed is .pt or .onnx"),
        (["out", "model.onnx"], "ONNX needs the model.*give --model FILE:FUNCTION"),
        (["out", "model.onnx", "--model", "train_it.py:make_model"], "give --input SHAPE for each"),
        (["out", "model.onnx", "--input", "0,3"], "--input 0,3 is not allowed"),
        (["out", "model.onnx", "--input", "wide"], "--input wide is not allowed"),
        (
            ["out", "model.onnx", "--model", "train_it.py:make_model", "--input", "1,12:float7"],
            "dtype 'float7', which torch does not have",
        ),
        (
            ["out", "model.onnx", "--model", "train_it.py:make_model", "--input", "2,5"],
            r"^swarm: Sequential does not take inputs of the sizes \[2, 5\] \(RuntimeError: mat1 and mat2 .*--input\n$",
        ),
        (["out", "model.pt", "--model", "train_it.py"], "--model train_it.py is not allowed"),
        (["out", "model.pt", "--model", "absent.py:make"], "there is no file absent.py"),
        (["out", "model.pt", "--model", "absent_module:make"], "ModuleNotFoundError: No module named 'absent_module'"),
        (["out", "model.pt", "--model", "train_it.py:absent"], "there is no absent in train_it.py"),
        (["out", "model.pt", "--model", "train_it.py:broken"], "raised RuntimeError: no data here"),
        (["out", "model.pt", "--model", "train_it.py:nothing"], "model=dict is of no known framework"),
        (["out", "model.pt", "--model", "train_it.py:other"], "is of another model"),
        (["out", "model.keras", "--model", "train_it.py:make_model"], ".keras is no format.*allowed is .*.pt or .onnx"),
        (["broken.safetensors", "model.pt"], "broken.safetensors cannot be read"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(trained, tmp_path, arguments, message):
    trained(network())
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    before = sorted(path.name for path in tmp_path.iterdir())
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert re.search(message, result.output), result.output
    left = [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"]
    assert sorted(left) == before


@pytest.mark.timeout(300)
def test_a_model_that_does_not_take_zeros_is_exported(trained):
    trained(nn.Linear(3, 2))
    result = run("out", "model.onnx", "--model", "train_it.py:strict", "--input", "2,3")
    assert result.exit_code == 0, result.output


def test_a_file_is_replaced_on_request_alone(trained, tmp_path):
    trained(network())
    (tmp_path / "model.pt").write_bytes(b"precious")
    assert run("out", "model.pt").exit_code == 2
    assert (tmp_path / "model.pt").read_bytes() == b"precious"
    assert run("out", "model.pt", "--overwrite").exit_code == 0
    assert torch.load("model.pt", weights_only=True)
