"""Checks whether a Trainer is supported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from swarm.callback import CallbackArguments

_SHARDING = ("FSDPStrategy", "DeepSpeedStrategy", "XLAFSDPStrategy")
_OF_SEVERAL = ("DDPStrategy", "ModelParallelStrategy")
"""Strategies that train over processes of ``torch.distributed``."""
_FLAVOURS = ("lightning", "pytorch_lightning")
_RESTORING = ("StochasticWeightAveraging", "WeightAveraging")


def require_supported(
    trainer: Trainer, module: LightningModule, callback: object, arguments: CallbackArguments
) -> None:
    """Reject configurations that a merge would break, or that would replace the merged model.

    Raises:
        ConfigurationError: the strategy is not supported, a later callback puts other weights in place when training
            ends, ``model`` is another module than the Trainer's, or a limit of time contradicts ``train_until="all"``.
    """
    strategy = type(trainer.strategy).__name__
    if _is_a(trainer.strategy, _SHARDING):
        raise ConfigurationError(
            f"strategy {strategy} shards the model in a way that a swarm cannot read or write: use strategy='ddp', or "
            "ModelParallelStrategy with torch.distributed.fsdp.fully_shard (FSDP2)"
        )
    if trainer.world_size > 1 and not _is_a(trainer.strategy, _OF_SEVERAL):
        raise ConfigurationError(
            f"strategy {strategy} trains over {trainer.world_size} processes in a way that a swarm does not support: "
            "use strategy='ddp', or devices=1 and num_nodes=1"
        )
    callbacks: list[object] = list(getattr(trainer, "callbacks", []))
    for later in callbacks[callbacks.index(callback) + 1 :]:
        if _is_a(later, _RESTORING):
            raise ConfigurationError(
                f"{type(later).__name__} loads averaged weights when training ends, and is listed after "
                "SwarmLightningCallback, so that it would replace the swarm's closing model: list it before"
            )
    if arguments.settings.train_until == "all" and any(_limits_time(each) for each in callbacks):
        raise ConfigurationError(
            "train_until='all' trains on until all peers have trained their own epochs, and the Trainer's max_time (or "
            "a Timer) would end that before: limit the training by max_epochs or max_steps instead"
        )
    if arguments.model is not None and arguments.model is not module:
        raise ConfigurationError(
            f"model is a {type(arguments.model).__name__} other than the {type(module).__name__} that the Trainer "
            "fits: omit model=, Lightning passes its module"
        )


def last_checkpoints(trainer: Trainer) -> list[tuple[Path, bool]]:
    """What ``ModelCheckpoint(save_last=True)`` has written last, and whether with the weights only.

    Each is a file, or the directory of a distributed checkpoint. When training ends, Lightning itself leaves that of
    the last epoch there.
    """
    callbacks: list[Any] = [*trainer.checkpoint_callbacks]
    return [
        (Path(each.last_model_path), bool(each.save_weights_only))
        for each in callbacks
        if _is_a(each, ("ModelCheckpoint",))
        and each.save_last
        and each.last_model_path
        and Path(each.last_model_path).exists()
    ]


def _limits_time(callback: object) -> bool:
    """Whether this is Lightning's ``Timer`` with a limit; ``max_time`` adds one."""
    timers = (base for base in type(callback).__mro__ if base.__name__ == "Timer")
    if not any(base.__module__.partition(".")[0] in _FLAVOURS for base in timers):
        return False
    return getattr(callback, "_duration", None) is not None


def _is_a(instance: object, names: tuple[str, ...]) -> bool:
    """Whether the instance derives from a class with one of these names, for both import names of Lightning."""
    return any(base.__name__ in names for base in type(instance).__mro__)
