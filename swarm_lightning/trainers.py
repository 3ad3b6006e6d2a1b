"""Checks whether a Trainer is supported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from swarm.callback import CallbackArguments

_SHARDING = ("FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy", "XLAFSDPStrategy")
_RESTORING = ("StochasticWeightAveraging", "WeightAveraging")


def require_supported(
    trainer: Trainer, module: LightningModule, callback: object, arguments: CallbackArguments
) -> None:
    """Reject configurations that a merge would break, or that would replace the merged model.

    Raises:
        ConfigurationError: the strategy shards the model or spreads it over processes, a later callback puts other
            weights in place when training ends, or ``model`` is another module than the Trainer's.
    """
    strategy = type(trainer.strategy).__name__
    if _is_a(trainer.strategy, _SHARDING):
        raise ConfigurationError(
            f"strategy {strategy} shards the model, so that no process holds it whole: "
            "a swarm needs strategy='auto' with devices=1"
        )
    if trainer.world_size > 1:
        raise ConfigurationError(
            f"strategy {strategy} trains over {trainer.world_size} processes: a peer is one process, "
            "use devices=1 and num_nodes=1 and start one peer per device"
        )
    callbacks: list[object] = list(getattr(trainer, "callbacks", []))
    for later in callbacks[callbacks.index(callback) + 1 :]:
        if _is_a(later, _RESTORING):
            raise ConfigurationError(
                f"{type(later).__name__} loads averaged weights when training ends, and is listed after "
                "SwarmLightningCallback, so that it would replace the swarm's closing model: list it before"
            )
    if arguments.model is not None and arguments.model is not module:
        raise ConfigurationError(
            f"model is a {type(arguments.model).__name__} other than the {type(module).__name__} that the Trainer "
            "fits: omit model=, Lightning passes its module"
        )


def _is_a(instance: object, names: tuple[str, ...]) -> bool:
    """Whether the instance derives from a class with one of these names, for both import names of Lightning."""
    return any(base.__name__ in names for base in type(instance).__mro__)
