"""Handwritten digits with raw PyTorch: four calls connect a training loop to a swarm.

One site:    DATA_DIR=data MODEL_DIR=model swarm run --name here --peer other.site:7700 -- python torch_mnist.py
No swarm:    DATA_DIR=data MODEL_DIR=model SWARM_LOOPBACK=true python torch_mnist.py
"""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from site_files import RANK, Curve, in_turn, load, model_dir, parser, report
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from swarm import SwarmCallback


def accuracy(model: nn.Module, images: torch.Tensor, digits: torch.Tensor) -> float:
    """Fraction of the images that the model classifies correctly."""
    with torch.inference_mode():
        return (model(images).argmax(dim=1) == digits).double().mean().item()


def main() -> None:
    """Train on this site's images."""
    options = parser(__doc__, epochs=4, steps=200, sync_interval=8).parse_args()
    images, digits = (torch.from_numpy(array) for array in load("train"))
    test_images, test_digits = (torch.from_numpy(array) for array in load("test"))
    seed = 1000 * options.seed + RANK
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(images.shape[1], 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    cross_entropy = nn.CrossEntropyLoss()
    curve = Curve(options.sync_interval, lambda: accuracy(model, test_images, test_digits))

    swarm = SwarmCallback(sync_interval=options.sync_interval, ml_platform="PYTORCH", model=model)
    swarm.on_train_begin()
    for epoch in range(options.epochs):
        if swarm.swarm_over:
            break
        order = in_turn(len(digits), options.steps * options.batch_size, seed + epoch)
        for batch, labels in DataLoader(TensorDataset(images[order], digits[order]), options.batch_size):
            loss = cross_entropy(model(batch), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            swarm.on_batch_end()
            curve.step()
        swarm.on_epoch_end(epoch)
    swarm.on_train_end()

    save_file(model.state_dict(), model_dir() / "model.safetensors")
    report(curve, (tensor.numpy() for tensor in model.state_dict().values()), swarm.metrics)


if __name__ == "__main__":
    main()
