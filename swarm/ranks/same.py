"""Checks that the processes of a site train the same model under the same settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarm.errors import ConfigurationError, ModelError
from swarm.ranks.shard_port import ShardPort
from swarm.ranks.together import all_say

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.ranks.base import Parts
    from swarm.ranks.group import ProcessGroup
    from swarm.tensors.state import Schema

SAME = (
    *("model_name", "rank", "loopback", "overlap", "share", "local", "normalization", "optimizer_state", "proximal"),
    *("scaffold", "train_until", "sync_interval", "exchange_shards"),
)
"""Settings that each process of a site acts on."""


def require_same(group: ProcessGroup, parts: Parts, settings: Settings, *, sharded: bool) -> Schema:
    """The tensors that take part, where all processes of the site have the same ones. Each process calls this.

    Args:
        group: of the site.
        parts: the model of this process.
        settings: of this process.
        sharded: whether each process has only a part of the model.

    Raises:
        ModelError: a model cannot be merged, or two of them differ.
        ConfigurationError: a setting or an argument differs.
        RanksError: a process is gone.
    """
    schemas: list[Schema] = []

    def say() -> dict[str, Any]:
        told = {name: str(getattr(settings, name)) for name in SAME}
        if isinstance(parts.port, ShardPort):
            told |= dict(settings.agreed())  # each process merges
            told["model_dir"] = "a directory" if settings.model_dir else "none"  # and has files of its own
        schema = parts.port.whole() if isinstance(parts.port, ShardPort) else parts.port.schema()
        schemas.append(schema)
        return {"settings": told, "evaluates": parts.evaluate is not None, "schema": schema.fingerprint}

    everywhere = all_say(group, say)
    for rank, each in enumerate(everywhere):
        _require_alike(rank, each, everywhere[0], sharded=sharded)
    return schemas[0]


def _require_alike(rank: int, theirs: dict[str, Any], first: dict[str, Any], *, sharded: bool) -> None:
    for name, value in theirs["settings"].items():
        if value != first["settings"][name]:
            raise ConfigurationError(
                f"rank {rank} of this site has {name}={value}, and rank 0 has {name}={first['settings'][name]}: the "
                "processes of one torch.distributed group are one site, give them the same settings; peers of their "
                "own must not be in one group (docs/ranks.md)"
            )
    if theirs["schema"] != first["schema"]:
        raise ModelError(f"the model of rank {rank} of this site has other tensors than that of rank 0")
    if sharded and theirs["evaluates"] != first["evaluates"]:
        raise ConfigurationError(
            f"val_data is given in some processes of this site only (ranks 0 and {rank} differ): a sharded model can "
            "only be evaluated by all of them, give it in each or in none"
        )
