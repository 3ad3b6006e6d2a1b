"""The result of a raw PyTorch loop as a ``state_dict``, beside the file of tensors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swarm.peer.futures import Answer, AnswerKind
from swarm.pytorch.callback import TorchCallback
from swarm.session.merging import Merging


class Net(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2, dtype=dtype))
        self.turned = nn.Parameter(self.weight.data.t())  # tied
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("empty", torch.zeros(0, 2))


def train(model, place, **arguments):
    callback = TorchCallback(**{"model": model, "loopback": True, "sync_interval": 1, "model_dir": place} | arguments)
    callback.on_train_begin()
    callback.on_batch_end()
    callback.on_train_end()
    return callback


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64, torch.complex128], ids=str)
@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel], ids=["plain", "wrapped"])
def test_it_is_loaded_without_anything_of_ours(tmp_path, dtype, wrap) -> None:
    model, other = Net(dtype), Net(dtype)
    train(wrap(model), tmp_path)
    other.load_state_dict(torch.load(tmp_path / "swarm-final.pt", weights_only=True))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_it_is_left_out_on_request(tmp_path) -> None:
    train(nn.Linear(2, 1), tmp_path, framework_result=False)
    assert (tmp_path / "swarm-final.safetensors").is_file()
    assert not [*tmp_path.glob("*.pt")]


def test_it_has_the_name_of_the_result_and_that_of_an_earlier_run_is_kept(tmp_path, monkeypatch) -> None:
    train(nn.Linear(2, 1), tmp_path)
    monkeypatch.setattr(Merging, "serve", lambda *_: Answer(kind=AnswerKind.ENDED, reason="nobody is left"))
    swarm = {"loopback": False, "rendezvous": tmp_path / "rendezvous", "world_size": 1, "min_peers": 1, "name": "ada"}
    callback = train(nn.Linear(2, 1), tmp_path, **swarm)
    assert callback.session.result == tmp_path / "own-final.safetensors"
    assert {path.name for path in tmp_path.glob("*.pt")} == {"own-final.pt", "previous-swarm-final.pt"}


def test_one_that_cannot_be_written_fails_no_finished_run(tmp_path, monkeypatch, caplog) -> None:
    def full(tensors, path):
        path.write_bytes(b"ha")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    callback = train(nn.Linear(2, 1), tmp_path)
    assert callback.session.result == tmp_path / "swarm-final.safetensors"
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert error.startswith(f"the model was not written to {tmp_path / 'swarm-final.pt'} (OSError")
    assert "framework_result=False leaves it out" in error
    assert not [path for path in tmp_path.iterdir() if "pt" in path.name.split(".")]
