"""Loads what a training with torch needs, in a process that forks others before they train."""

from __future__ import annotations

import torch

from swarm.pytorch import callback  # noqa: F401 - loaded for the peers


def preload() -> None:
    """Load torch, Swarm's callback for it, and what torch loads at the first optimizer: 110 MiB that peers then share.

    No thread is started.
    """
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
