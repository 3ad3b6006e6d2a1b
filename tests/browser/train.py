"""A small training that goes on until it is told to stop: a file called ``finish`` in the working directory."""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path

import torch

from swarm import SwarmCallback

NAME = os.environ["SWARM_NAME"]
torch.manual_seed(zlib.crc32(NAME.encode()))
torch.set_num_threads(1)
TRUE = torch.tensor([[1.5, -2.0, 0.5, 3.0]])


def data(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(count, 4)
    return inputs, inputs @ TRUE.T + 0.3 * torch.randn(count, 1)


inputs, targets = data(400)
model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
callback = SwarmCallback(
    sync_interval=10,
    model=model,
    model_name="heart",
    val_data=data(200),
    loss_function=torch.nn.functional.mse_loss,
)
callback.on_train_begin()
epoch = 0
while not Path("finish").exists() and epoch < 500:
    for start in range(0, 400, 20):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs[start : start + 20]), targets[start : start + 20])
        loss.backward()
        optimizer.step()
        callback.on_batch_end(loss=float(loss))
        time.sleep(0.05)
    callback.on_epoch_end(epoch)
    epoch += 1
callback.on_train_end()
