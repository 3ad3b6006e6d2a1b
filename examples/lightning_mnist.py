"""Handwritten digits with Lightning: one callback connects a Trainer to a swarm.

One site:    DATA_DIR=data MODEL_DIR=model swarm run --name here --peer other.site:7700 -- python lightning_mnist.py
No swarm:    DATA_DIR=data MODEL_DIR=model SWARM_LOOPBACK=true python lightning_mnist.py
"""

from __future__ import annotations

import lightning
import torch
from lightning.pytorch.callbacks import LambdaCallback
from safetensors.torch import save_file
from site_files import RANK, Curve, in_turn, load, model_dir, parser, report
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from swarm_lightning import SwarmLightningCallback


class Digits(lightning.LightningModule):
    """A small classifier."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(pixels, 128), nn.ReLU(), nn.Linear(128, 10))
        self.cross_entropy = nn.CrossEntropyLoss()

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        """Loss of a batch."""
        images, digits = batch
        return self.cross_entropy(self.net(images), digits)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Stochastic gradient descent with momentum."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def accuracy(self, images: torch.Tensor, digits: torch.Tensor) -> float:
        """Fraction of the images that the model classifies correctly."""
        with torch.inference_mode():
            return (self.net(images).argmax(dim=1) == digits).double().mean().item()


def main() -> None:
    """Train on this site's images."""
    options = parser(__doc__, epochs=4, steps=200, sync_interval=8).parse_args()
    images, digits = (torch.from_numpy(array) for array in load("train"))
    test_images, test_digits = (torch.from_numpy(array) for array in load("test"))
    seed = lightning.seed_everything(1000 * options.seed + RANK, verbose=False)
    model = Digits(images.shape[1])
    order = in_turn(len(digits), options.steps * options.batch_size, seed)
    loader = DataLoader(TensorDataset(images[order], digits[order]), options.batch_size, shuffle=True)
    curve = Curve(options.sync_interval, lambda: model.accuracy(test_images, test_digits))

    swarm = SwarmLightningCallback(sync_interval=options.sync_interval)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=options.epochs,
        callbacks=[swarm, LambdaCallback(on_train_batch_end=curve.step)],
        default_root_dir=model_dir(),
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
    )
    trainer.fit(model, loader)

    save_file(model.state_dict(), model_dir() / "model.safetensors")
    report(curve, (tensor.numpy() for tensor in model.state_dict().values()), swarm.metrics)


if __name__ == "__main__":
    main()
