"""A site whose processes train one model with ``torch.distributed``."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from swarm.errors import ConfigurationError, RanksError
from swarm.pytorch.flattened import acts_together
from swarm.pytorch.shard_port import TorchShardPort, sharded_by_rows
from swarm.pytorch.shards import is_sharded
from swarm.ranks import ONE_PROCESS, ProcessGroup, Ranks, SeveralProcesses, ShardExchange, require_shards

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.pytorch.port import TorchPort
    from swarm.tensors.state import Array

PART = 64 << 20
"""Bytes in one collective operation, so that each is short beside its time-out."""
_SOURCE = re.compile(r"^\[[^\]]*\.(cc|cpp|h):\d+\] ?")
"""A line of gloo's own code, which its messages begin with."""
USUAL_TIME_OUT = 1800.0
"""Seconds; that of torch where the time-out of a group is not known."""


def ranks_of(model: nn.Module, port: TorchPort, settings: Settings) -> Ranks:
    """The processes of this site: those of the process group of ``model``, or else the default group.

    Nothing is connected yet.

    Args:
        model: the model of this process, or the wrapper of it.
        port: of that model.
        settings: of the peer.

    Raises:
        ConfigurationError: a site of several processes cannot follow a setting.
    """
    group = _group_of(model)
    flattened, sharded = acts_together(model), any(map(is_sharded, model.parameters()))
    if flattened:
        _require_possible_flattened(settings)
    if group is None or distributed.get_world_size(group) == 1:
        return ONE_PROCESS
    _require_possible(settings, sharded=sharded)
    require_shards(settings, sharded=sharded)
    size = distributed.get_world_size(group)
    exchange = _exchange(port, settings, size, sharded=sharded) if settings.exchange_shards else None
    give = port.give if sharded or flattened else None
    return SeveralProcesses(partial(TorchProcessGroup, group), give, exchange)


def writes_files(model: nn.Module) -> bool:
    """Whether this process writes the files of its site: rank 0 of the processes that train ``model``."""
    group = _group_of(model)
    return group is None or distributed.get_rank(group) == 0


def _exchange(port: TorchPort, settings: Settings, size: int, *, sharded: bool) -> ShardExchange:
    """Each process exchanges its shard where it has one of as many as were asked for; else rank 0 exchanges all."""
    asked = settings.exchange_shards
    each = asked is True or (sharded and asked == size and sharded_by_rows(port, size))
    return ShardExchange(partial(TorchShardPort, port) if each else None)


def _group_of(model: nn.Module) -> distributed.ProcessGroup | None:
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    return model.process_group if isinstance(model, DistributedDataParallel) else distributed.group.WORLD


def _require_possible(settings: Settings, *, sharded: bool) -> None:
    """Refuse settings that a site of several processes cannot follow.

    Raises:
        ConfigurationError: there is one.
    """
    refused = ""
    if settings.scaffold:
        refused = "scaffold=True"
    elif sharded and settings.proximal:
        refused = f"proximal={settings.proximal}"
    elif sharded and settings.optimizer_state == "merge":
        refused = "optimizer_state='merge'"
    if refused:
        what = "a model that is sharded over several processes" if sharded else "a site of several processes"
        raise ConfigurationError(f"{refused} cannot be used with {what}: leave it out at every peer")


def _require_possible_flattened(settings: Settings) -> None:
    """Refuse settings for which the optimizer would have to train the weights that are merged.

    Raises:
        ConfigurationError: there is one.
    """
    asked = settings.corrects
    if not asked and settings.optimizer_state != "keep":
        asked = f"optimizer_state={settings.optimizer_state!r}"
    if asked:
        raise ConfigurationError(
            f"{asked} cannot be used with a model under FullyShardedDataParallel or DeepSpeed, whose optimizers train "
            "other tensors than those of the model: leave it out at every peer, or use DistributedDataParallel"
        )


class TorchProcessGroup(ProcessGroup):
    """The processes of a group of ``torch.distributed``, in a gloo group of their own with the same time-out.

    What rank 0 tells is on the CPU, whatever the backend of the training, and never comes between two operations of it.
    """

    def __init__(self, group: distributed.ProcessGroup) -> None:
        """Connect the processes; each calls this.

        Raises:
            RanksError: a process has not called it within the time-out of ``group``.
        """
        self.rank, self.size = distributed.get_rank(group), distributed.get_world_size(group)
        self.time_out = _time_out(group)
        ranks = distributed.get_process_group_ranks(group)
        self._first = ranks[0]
        try:
            self._group = distributed.new_group(
                ranks, timedelta(seconds=self.time_out), backend="gloo", use_local_synchronization=True
            )
            self.gather(b"")
        except RuntimeError as error:
            raise self._lost(error) from error

    def share(self, array: Array) -> None:
        values = _bytes_of(array)
        try:
            for start in range(0, values.numel(), PART):
                distributed.broadcast(values[start : start + PART], self._first, group=self._group)
        except RuntimeError as error:
            raise self._lost(error) from error

    def gather(self, data: bytes) -> list[bytes]:
        own = torch.tensor([len(data)])
        lengths = [torch.zeros_like(own) for _ in range(self.size)]
        try:
            distributed.all_gather(lengths, own, group=self._group)
            longest = max(1, *map(int, lengths))
            padded = torch.zeros(longest, dtype=torch.uint8)
            padded[: len(data)] = _bytes_of(np.frombuffer(data, np.uint8).copy())
            parts = [torch.zeros_like(padded) for _ in range(self.size)]
            distributed.all_gather(parts, padded, group=self._group)
        except RuntimeError as error:
            raise self._lost(error) from error
        return [part[: int(length)].numpy().tobytes() for part, length in zip(parts, lengths, strict=True)]

    def close(self) -> None:
        with suppress(Exception):  # the training may have destroyed all groups
            distributed.destroy_process_group(self._group)
        with suppress(AttributeError):  # closed before
            del self._group  # ends its threads: one that frees a tensor while Python ends would abort the process

    def _lost(self, error: RuntimeError) -> RanksError:
        reason = _SOURCE.sub("", str(error)).partition(". ")[0].strip() or type(error).__name__
        return RanksError(
            f"the {self.size} processes of this site no longer act together (rank {self.rank}: {reason}): one has "
            f"ended, or has not come to the same hook of its callback within {self.time_out:.0f} s. Each process makes "
            "the callback and calls its hooks after the same batches"
        )


def _bytes_of(array: Array) -> torch.Tensor:
    values = array if array.flags.writeable else array.copy()
    return torch.from_numpy(values.reshape(-1).view(np.uint8))


def _time_out(group: distributed.ProcessGroup) -> float:
    """Seconds that operations of a group wait; torch does not tell them publicly."""
    for device in ("cpu", "cuda"):
        try:
            options = group._get_backend(torch.device(device)).options  # noqa: SLF001
            return float(options._timeout.total_seconds())  # noqa: SLF001
        except (AttributeError, RuntimeError):
            continue
    return USUAL_TIME_OUT
