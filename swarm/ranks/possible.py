"""With which settings each process of a site can exchange its own shard."""

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
        ConfigurationError: it is set, and there are no shards, or another setting contradicts it.
    """
    if not settings.exchange_shards:
        return
    why = ""
    if not sharded:
        why = "the model here is not sharded over several processes (torch.distributed.fsdp.fully_shard)"
    elif settings.screen == "distances":
        why = "screen='distances' compares whole contributions"
    if why:
        raise ConfigurationError(f"exchange_shards=True is not possible: {why}; leave it out at every peer")
