"""One peer as a user's script, which runs under the earlier and the present release: ``python peer.py STOP [ONLY]``.

It trains until the file STOP exists. ONLY is the one version of the protocol that it claims to speak, which only the
present release can do.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

import swarm
from swarm import SwarmCallback

PAUSE = 0.02
"""Seconds of a batch."""
LONGEST = 300.0
"""Seconds of training, should whoever started it be gone."""


def main(stop: Path, *only: int) -> None:
    """Train a small model, and say so at the start and at the end."""
    if only:
        _speak(*only)
    print("USES", swarm.__file__, flush=True)
    torch.set_num_threads(1)
    model = torch.nn.Linear(200, 50)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    callback = SwarmCallback(model=model, sync_interval=4)
    callback.on_train_begin()
    print("BEGUN", flush=True)
    until = time.monotonic() + LONGEST
    while not stop.exists() and time.monotonic() < until:
        optimizer.zero_grad()
        model(torch.randn(16, 200)).square().mean().backward()
        optimizer.step()
        time.sleep(PAUSE)
        callback.on_batch_end()
    callback.on_train_end()
    print("DONE", flush=True)


def _speak(only: int) -> None:
    from swarm import versions

    versions.NEWEST, versions.PROTOCOLS[only] = only, versions.Protocol(only, "a later release", "")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
