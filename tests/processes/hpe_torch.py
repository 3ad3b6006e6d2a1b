"""A PyTorch script as users of HPE Swarm Learning 2.x have it, but for the end: it tells what it saved."""

import hashlib
import logging
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from swarm import SwarmCallback

model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2))
x = torch.randn(64, 10)
data = TensorDataset(x, (x.sum(1) > 0).long())
optimizer = torch.optim.Adam(model.parameters())

swarmCallback = SwarmCallback(  # noqa: N816 - as HPE's examples spell it
    syncFrequency=4,
    minPeers=int(os.getenv("MIN_PEERS", "2")),
    useAdaptiveSync=False,
    adsValData=data,
    adsValBatchSize=8,
    checkinModelOnTrainEnd="active",
    nodeWeightage=50,
    mlPlatform="PYTORCH",
    mergeMethod="geomedian",
    lossFunction="CrossEntropyLoss",
    lossFunctionArgs={"reduction": "sum"},
    totalEpochs=2,
    model=model,
)
swarmCallback.logger.setLevel(logging.DEBUG)
swarmCallback.on_train_begin()
for epoch in range(2):
    for batch, (inputs, targets) in enumerate(DataLoader(data, 8)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        if swarmCallback is not None:
            swarmCallback.on_batch_end(batch)
    swarmCallback.on_epoch_end(epoch)
swarmCallback.on_train_end()

path = os.getenv("SCRATCH_DIR", os.environ["MODEL_DIR"]) + "/saved_model.pt"
torch.save(model, path)
saved = torch.load(path, weights_only=False)
print("DIGEST", hashlib.sha256(b"".join(value.numpy().tobytes() for value in saved.state_dict().values())).hexdigest())
