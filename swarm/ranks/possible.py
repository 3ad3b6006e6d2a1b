"""With which settings the shards of a model can be exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from swarm.config import Settings


def require_shards(settings: Settings, *, sharded: bool) -> None:
    """Refuse ``exchange_shards`` where it cannot be.

    Args:
        settings: of the peer.
        sharded: whether the model is sharded over several processes.

    Raises:
        ConfigurationError: it is set, and there are no shards and no number of them, or another setting contradicts it.
    """
    asked = settings.exchange_shards
    if not asked:
        return
    if asked is True and not sharded:
        raise ConfigurationError(
            "exchange_shards=True is not possible: the model here is not sharded over several processes "
            "(torch.distributed.fsdp.fully_shard); set it to the number of shards at the other sites, as in "
            "exchange_shards=2, or leave it out at every peer"
        )
    contradicting = {
        "screen='distances' compares whole contributions": settings.screen == "distances",
        "scaffold=True needs whole weights": settings.scaffold,
        f"proximal={settings.proximal} needs whole weights": settings.proximal > 0,
        "optimizer_state='merge' needs whole weights": settings.optimizer_state == "merge",
    }
    if why := next((why for why, contradicts in contradicting.items() if contradicts), ""):
        raise ConfigurationError(f"exchange_shards={asked} is not possible: {why}; leave one of them out at every peer")
