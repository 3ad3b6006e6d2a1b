"""Heart disease in four hospitals: logistic regression, each hospital weighted by its number of patients.

Four hospitals here:   swarm up -n 4 --data-dir data --model-dir model -- python heart.py
One hospital, alone:   DATA_DIR=data MODEL_DIR=model SWARM_LOOPBACK=true python heart.py
"""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from site_files import RANK, Curve, in_turn, load, model_dir, parser, report
from torch import nn

from swarm import SwarmCallback


def accuracy(model: nn.Module, patients: torch.Tensor, ill: torch.Tensor) -> float:
    """Fraction of the patients that the model classifies correctly."""
    with torch.inference_mode():
        return ((model(patients).squeeze(1) > 0) == (ill > 0)).double().mean().item()


def main() -> None:
    """Train on this hospital's patients."""
    arguments = parser(__doc__, epochs=5, steps=200, sync_interval=10)
    arguments.add_argument("--merge-method", default="mean", help="how the swarm merges (default %(default)s)")
    options = arguments.parse_args()
    patients, ill = (torch.from_numpy(array).float() for array in load("train"))
    test_patients, test_ill = (torch.from_numpy(array).float() for array in load("test"))
    seed = 1000 * options.seed + RANK
    torch.manual_seed(seed)
    model = nn.Linear(patients.shape[1], 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    logistic = nn.BCEWithLogitsLoss()
    curve = Curve(options.sync_interval, lambda: accuracy(model, test_patients, test_ill))

    swarm = SwarmCallback(
        sync_interval=options.sync_interval,
        node_weightage=min(100, 1 + len(patients) // 5),
        merge_method=options.merge_method,
        ml_platform="PYTORCH",
        model=model,
    )
    swarm.on_train_begin()
    for epoch in range(options.epochs):
        order = torch.from_numpy(in_turn(len(ill), options.steps * options.batch_size, seed + epoch))
        for batch in order.split(options.batch_size):
            loss = logistic(model(patients[batch]).squeeze(1), ill[batch])
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
