"""Swarm for Lightning: one callback for either Trainer, ``lightning``'s or ``pytorch_lightning``'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarm_lightning.callback import SwarmLightningCallback

__all__ = ["SwarmLightningCallback"]


def __getattr__(name: str) -> Any:
    # The entry point is in this package, and importing it must not load Lightning.
    if name != "SwarmLightningCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from swarm_lightning.callback import SwarmLightningCallback

    return SwarmLightningCallback


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
