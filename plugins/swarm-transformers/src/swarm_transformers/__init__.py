"""Swarm learning for the ``Trainer`` of Hugging Face Transformers.

::

    from swarm_transformers import SwarmTrainerCallback

    trainer = Trainer(model, args, train_dataset=data, callbacks=[SwarmTrainerCallback(sync_interval=64)])
    trainer.train()

A model with adapters of PEFT shares these alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm_transformers.callback import SwarmTrainerCallback

__all__ = ["SwarmTrainerCallback"]


def __getattr__(name: str) -> object:
    """Import the callback, and Transformers, on first use: the entry point is in this package."""
    if name != "SwarmTrainerCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from swarm_transformers.callback import SwarmTrainerCallback

    return SwarmTrainerCallback
