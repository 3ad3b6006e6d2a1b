"""A torch program as in the manual: a DataLoader with two workers, forked anew in every epoch."""

from __future__ import annotations

import hashlib
import sys
import time

import torch
from torch.utils.data import DataLoader, TensorDataset

from swarm import SwarmCallback


def main(epochs: int, pause: float) -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(160, 8, generator=generator)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8, shuffle=True, num_workers=2)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    callback = SwarmCallback(model=model, sync_interval=4)
    callback.on_train_begin()
    for epoch in range(epochs):
        for inputs, targets in loader:
            loss = torch.nn.functional.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            time.sleep(pause)
            callback.on_batch_end()
        callback.on_epoch_end(epoch)
        print("EPOCH", epoch, flush=True)
    callback.on_train_end()
    weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    print("DIGEST", hashlib.sha256(weights).hexdigest(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
