"""Heart disease in four hospitals: common statistics before training, weights by samples, facts that must agree.

Four hospitals here:   swarm up -n 4 --data-dir data --model-dir model -- python before_training.py
One hospital, alone:   DATA_DIR=data MODEL_DIR=model SWARM_LOOPBACK=true python before_training.py
"""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from site_files import RANK, Curve, in_turn, load, model_dir, parser, report
from torch import nn

import swarm

CLASSES = [0, 1]


def accuracy(model: nn.Module, patients: torch.Tensor, ill: torch.Tensor) -> float:
    """Fraction of the patients that the model classifies correctly."""
    with torch.inference_mode():
        return (model(patients).argmax(1) == ill).double().mean().item()


def main() -> None:
    """Standardise with the statistics of all hospitals, then train on this hospital's patients."""
    options = parser(__doc__, epochs=5, steps=200, sync_interval=10).parse_args()
    x, y = load("train")
    columns = [f"feature {index}" for index in range(x.shape[1])]

    # Every hospital gets the same numbers; a hospital that may not share its own leaves share_statistics off.
    stats = swarm.pool(x, y, columns=columns, classes=CLASSES, share_statistics=True)
    patients, ill = torch.from_numpy(stats.standardise(x)).float(), torch.from_numpy(y).long()
    test_x, test_y = load("test")
    test_patients, test_ill = torch.from_numpy(stats.standardise(test_x)).float(), torch.from_numpy(test_y).long()
    weights = stats.class_weights()

    seed = 1000 * options.seed + RANK
    torch.manual_seed(seed)
    model = nn.Linear(patients.shape[1], len(CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    loss_function = nn.CrossEntropyLoss(weight=torch.tensor([weights[each] for each in CLASSES]).float())
    curve = Curve(options.sync_interval, lambda: accuracy(model, test_patients, test_ill))

    callback = swarm.SwarmCallback(
        sync_interval=options.sync_interval,
        node_weightage="samples",
        samples=x,
        largest_share=0.5,
        agree={"columns": columns, "classes": CLASSES, "statistics": stats.digest},
        ml_platform="PYTORCH",
        model=model,
    )
    callback.on_train_begin()
    for epoch in range(options.epochs):
        order = torch.from_numpy(in_turn(len(ill), options.steps * options.batch_size, seed + epoch))
        for batch in order.split(options.batch_size):
            loss = loss_function(model(patients[batch]), ill[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            callback.on_batch_end()
            curve.step()
        callback.on_epoch_end(epoch)
    callback.on_train_end()

    save_file(model.state_dict(), model_dir() / "model.safetensors")
    report(curve, (tensor.numpy() for tensor in model.state_dict().values()), callback.metrics)


if __name__ == "__main__":
    main()
