"""The example for Slurm, on a real one: four tasks train one model, also where one of them is killed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "clusters" / "slurm.sbatch"
SCRIPT = """\
import os
import signal
import torch
from swarm import SwarmCallback

torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
swarm = SwarmCallback(model=model, sync_interval=4)
swarm.on_train_begin()
print("rank", os.environ["SWARM_RANK"], "of", os.environ["SWARM_WORLD_SIZE"], flush=True)
for epoch in range(2):
    for batch in range(8):
        if (epoch, batch, os.environ["SWARM_RANK"]) == (1, 0, "KILLED"):
            os.kill(os.getpid(), signal.SIGKILL)
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        swarm.on_batch_end()
    swarm.on_epoch_end(epoch)
swarm.on_train_end()
"""


def submit(slurm: dict[str, str], directory: Path, killed: str) -> str:
    """Run the example to its end; its output."""
    shutil.copy(EXAMPLE, directory)
    (directory / "train.py").write_text(SCRIPT.replace("KILLED", killed), encoding="utf-8")
    command = ["sbatch", "--wait", "--output=job.out", EXAMPLE.name]
    subprocess.run(command, cwd=directory, env=slurm, check=False, timeout=110, capture_output=True)
    return (directory / "job.out").read_text(encoding="utf-8")


@pytest.mark.parametrize("killed", ["nobody", "2"])
def test_four_tasks_train_one_model(slurm: dict[str, str], tmp_path: Path, killed: str) -> None:
    output = submit(slurm, tmp_path, killed)
    alive = [rank for rank in range(4) if str(rank) != killed]
    assert {f"{rank}: rank {rank} of 4" for rank in range(4)} <= set(output.splitlines())
    (out,) = tmp_path.glob("out-*")
    results = [(out / f"peer-{rank}" / "swarm-final.safetensors").read_bytes() for rank in alive]
    assert len({hashlib.sha256(result).hexdigest() for result in results}) == 1
    assert f"closing model of {len(alive)} peers loaded" in output
    assert not [*tmp_path.glob("identities-*")], "private keys do not stay"
