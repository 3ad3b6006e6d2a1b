"""What only a GPU shows: ``pytest -m gpu``."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from swarm.pytorch import TorchCallback, TorchPort
from swarm.pytorch.staging import BUFFER_BYTES, BUFFERS, Staging
from swarm.tensors.state import ModelState
from swarm.testing.swarm import together

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("nbytes", [0, 8, BUFFER_BYTES - 8, BUFFER_BYTES + 8, (BUFFERS + 2) * BUFFER_BYTES])
def test_every_byte_comes_over(dtype: torch.dtype, nbytes: int):
    source = torch.randint(0, 2, (nbytes // dtype.itemsize,), device="cuda").to(dtype)
    target = torch.empty(source.shape, dtype=dtype)
    staging = Staging(source.device)
    for _ in range(2):  # its buffers are used again
        target.zero_()
        staging.begin()
        staging.copy(target, source)
        staging.end()
        assert torch.equal(target, source.cpu())


def test_what_the_current_stream_still_computes_is_waited_for():
    source = torch.zeros(4096, 4096, device="cuda")
    staging = Staging(source.device)
    for number in range(1, 4):
        for _ in range(50):
            source = source @ source  # keeps the GPU busy
        source = torch.full_like(source, float(number))
        target = torch.empty(source.shape)
        staging.begin()
        staging.copy(target, source)
        source.add_(1)  # the next step of an optimizer, behind the copy on the host
        staging.end()
        assert target.min() >= number


def test_a_tensor_that_is_not_contiguous():
    source = torch.arange(12.0, device="cuda").reshape(3, 4).T
    target = torch.empty(4, 3)
    staging = Staging(source.device)
    staging.begin()
    staging.copy(target, source)
    staging.end()
    assert torch.equal(target, source.cpu())


def test_a_model_is_read_and_written_bit_for_bit():
    model = nn.Sequential(nn.Linear(300, 300), nn.BatchNorm1d(300), nn.Linear(300, 3).bfloat16()).cuda()
    port = TorchPort(model)
    state = ModelState.empty(port.schema())
    port.read(state)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    port.write(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("overlap", [False, True])
def test_two_sites_on_a_gpu_end_with_one_model(tmp_path, overlap: bool):
    def train(number: int) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.Linear(64, 1)).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        callback = TorchCallback(
            model=model,
            optimizer=optimizer,
            name=f"site-{number}",
            rendezvous=tmp_path,
            world_size=2,
            sync_interval=2,
            overlap=overlap,
            normalization="pooled",
        )
        with callback:
            callback.on_train_begin()
            for _ in range(8):
                optimizer.zero_grad()
                model(torch.randn(16, 4, device="cuda")).square().sum().backward()
                optimizer.step()
                callback.on_batch_end()
            callback.on_train_end()
        return model

    first, second = together(partial(train, 0), partial(train, 1))
    other = second.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())
