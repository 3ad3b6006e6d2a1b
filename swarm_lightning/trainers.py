"""Which Trainers a peer can be trained by."""

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
    """Refuse what a merge would break, or what would break the merged model.

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
                f"{type(later).__name__} puts averaged weights in place when training ends, and is listed after "
                "SwarmLightningCallback, so that the swarm's closing model would be lost: list it before"
            )
    if arguments.model is not None and arguments.model is not module:
        raise ConfigurationError(
            f"model is a {type(arguments.model).__name__} other than the {type(module).__name__} that the Trainer "
            "fits: leave model= out, Lightning hands its module over"
        )


def _is_a(instance: object, names: tuple[str, ...]) -> bool:
    """Whether a class of one of these names is among the instance's, under either name of Lightning."""
    return any(base.__name__ in names for base in type(instance).__mro__)
