"""Handwritten digits from different scanners: a convolutional network whose BatchNorm statistics stay at each site.

One site:    DATA_DIR=data MODEL_DIR=model swarm run --name here --peer other.site:7700 -- python torch_cnn.py
No swarm:    DATA_DIR=data MODEL_DIR=model SWARM_LOOPBACK=true python torch_cnn.py
"""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from site_files import RANK, Curve, in_turn, load, model_dir, parser, report
from torch import nn

from swarm import SwarmCallback


def network() -> nn.Module:
    """Two convolutions, each with a BatchNorm, and a classifier."""
    blocks = []
    for inputs, outputs in ((1, 8), (8, 16)):
        blocks += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(16 * 7 * 7, 10))


def accuracy(model: nn.Module, images: torch.Tensor, digits: torch.Tensor) -> float:
    """Fraction of the images that the model classifies correctly."""
    model.eval()
    with torch.inference_mode():
        right = (model(images).argmax(dim=1) == digits).double().mean().item()
    model.train()
    return right


def main() -> None:
    """Train on the images of this site's scanner."""
    options = parser(__doc__, epochs=2, steps=100, sync_interval=10).parse_args()
    images, digits = (torch.from_numpy(array) for array in load("train"))
    test_images, test_digits = (torch.from_numpy(array) for array in load("test"))
    seed = 1000 * options.seed + RANK
    torch.manual_seed(seed)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    cross_entropy = nn.CrossEntropyLoss()
    curve = Curve(options.steps, lambda: accuracy(model, test_images, test_digits))

    # After each merge the statistics are estimated again on val_data, images of this scanner.
    swarm = SwarmCallback(
        sync_interval=options.sync_interval,
        normalization="silobn",
        val_data=(images[:256], digits[:256]),
        loss_function=cross_entropy,
        ml_platform="PYTORCH",
        model=model,
    )
    swarm.on_train_begin()
    for epoch in range(options.epochs):
        order = torch.from_numpy(in_turn(len(digits), options.steps * options.batch_size, seed + epoch))
        for batch in order.split(options.batch_size):
            loss = cross_entropy(model(images[batch]), digits[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            swarm.on_batch_end()
            curve.step()
        swarm.on_epoch_end(epoch)
    swarm.on_train_end()

    save_file(model.state_dict(), model_dir() / "model.safetensors")
    report(curve, (tensor.detach().numpy() for tensor in model.parameters()), swarm.metrics)


if __name__ == "__main__":
    main()
