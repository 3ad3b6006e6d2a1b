"""Which Trainers are supported, the call in which one trains, and what its other callbacks read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler

from swarm.callback import Loop
from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from types import FrameType

    from transformers import TrainerControl, TrainerState, TrainingArguments

    from swarm.callback import CallbackArguments

_OF_MERGED = "swarm_val_"
"""How the names of the metrics of the merged model begin."""


def require_supported(args: TrainingArguments, model: Any, arguments: CallbackArguments) -> None:
    """Refuse a Trainer that shards its model, trains another one, or follows a metric that nothing computes.

    Raises:
        ConfigurationError: the Trainer shards the model, ``model`` is not the one that it trains, or there are no
            validation data for the metric of the merged model that it follows.
    """
    if (followed := _followed(args)) and arguments.val_data is None and not arguments.settings.loopback:
        raise ConfigurationError(
            f"metric_for_best_model={followed!r} in TrainingArguments follows the merged model, which is not validated "
            "without val_data: give it to the SwarmTrainerCallback"
        )
    if args.deepspeed or args.fsdp:
        engine = "deepspeed" if args.deepspeed else "fsdp"
        raise ConfigurationError(
            f"{engine}={getattr(args, engine)!r} in TrainingArguments shards the model, so that no process holds it "
            "whole: leave it out; a site may train over several processes that hold the whole model each (DDP)"
        )
    if arguments.model is not None and arguments.model is not model:
        raise ConfigurationError(
            f"model is a {type(arguments.model).__name__} other than the {type(model).__name__} that the Trainer "
            "trains: omit model=, the Trainer passes its own"
        )


def _followed(args: TrainingArguments) -> str:
    """The metric of the merged model that the Trainer follows; empty where it follows another one."""
    name = str(getattr(args, "metric_for_best_model", None) or "").removeprefix("eval_")
    return name if name.startswith(_OF_MERGED) else ""


def calling_loop() -> Loop | None:
    """The call of the Trainer that is calling a hook ``on_train_begin`` right now; None if another code calls it.

    The Trainer calls no hook when its training raises.
    """
    frame = _calling()
    return None if frame is None or frame.f_back is None else Loop.at(frame.f_back)


class _SwarmMetrics(TrainerCallback):
    """Adds the metrics of our callback to what the Trainer logs, before any other callback reads it."""

    def __init__(self, ours: Any) -> None:
        self.ours = ours

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        logs: dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        if logs is None:
            return
        found, followed = self.ours.metrics, _followed(args)
        if followed and any(name.startswith("eval_") for name in logs):
            # The Trainer looks for it under this name. Where nothing is merged, its own model stands in.
            own = logs.get(f"eval_{followed.removeprefix(_OF_MERGED)}")
            if (value := found.get(followed, own)) is not None:
                logs[f"eval_{followed}"] = value
        if self.ours.joined:
            logs.update(found)


def give_metrics_to_all(ours: Any) -> None:
    """Let callbacks before ours see ``swarm_*`` in the logs too, as those of ``report_to`` for TensorBoard and W&B.

    The Trainer that is calling ``on_train_begin`` goes on with the callbacks that it had.
    """
    frame = _calling()
    if frame is None:
        return
    handler: CallbackHandler = frame.f_locals["self"]
    if not any(isinstance(each, _SwarmMetrics) and each.ours is ours for each in handler.callbacks):
        handler.callbacks = [_SwarmMetrics(ours), *handler.callbacks]


def _calling() -> FrameType | None:
    """Where a Trainer calls its hooks ``on_train_begin`` right now."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - there is no public way
    while frame is not None and frame.f_code is not CallbackHandler.on_train_begin.__code__:
        frame = frame.f_back
    return frame
