"""Progression of diabetes, a regression: each clinic has the patients of one range of ages.

Four clinics here:   swarm up -n 4 --data-dir data --model-dir model -- python progression.py
One clinic, alone:   DATA_DIR=data MODEL_DIR=model SWARM_LOOPBACK=true python progression.py

The score is R², the share of the variance in the test patients that the model explains.
"""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import save_file
from site_files import RANK, Curve, in_turn, load, model_dir, parser, report
from torch import nn

import swarm


def table(part: str) -> np.ndarray:
    """Measurements of this clinic's patients, and their progression as the last column."""
    return np.column_stack(load(part))


def explained(model: nn.Module, patients: torch.Tensor, progression: torch.Tensor) -> float:
    """R² of the model, at most 1; 0 is that of the mean."""
    with torch.inference_mode():
        error = (model(patients).squeeze(1) - progression).square().mean()
    return 1 - (error / progression.var(correction=0)).item()


def main() -> None:
    """Standardise with the statistics of all clinics, then train on this clinic's patients."""
    options = parser(__doc__, epochs=2, steps=150, sync_interval=5).parse_args()
    stats = swarm.pool(table("train"), share_statistics=True)
    train, test = (torch.from_numpy(stats.standardise(table(part))).float() for part in ("train", "test"))
    patients, progression = train[:, :-1], train[:, -1]

    seed = 1000 * options.seed + RANK
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(patients.shape[1], 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.01)
    squared = nn.MSELoss()
    curve = Curve(options.steps, lambda: explained(model, test[:, :-1], test[:, -1]))

    callback = swarm.SwarmCallback(
        sync_interval=options.sync_interval, agree={"statistics": stats.digest}, ml_platform="PYTORCH", model=model
    )
    callback.on_train_begin()
    for epoch in range(options.epochs):
        order = torch.from_numpy(in_turn(len(progression), options.steps * options.batch_size, seed + epoch))
        for batch in order.split(options.batch_size):
            loss = squared(model(patients[batch]).squeeze(1), progression[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            callback.on_batch_end()
            curve.step()
        callback.on_epoch_end(epoch)
    callback.on_train_end()

    save_file(model.state_dict(), model_dir() / "model.safetensors")
    report(curve, (tensor.numpy() for tensor in model.state_dict().values()), callback.metrics, score="R²")


if __name__ == "__main__":
    main()
