"""Which Trainers are supported, and the call in which one trains."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from transformers.trainer_callback import CallbackHandler

from swarm.callback import Loop
from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from types import FrameType

    from transformers import TrainingArguments

    from swarm.callback import CallbackArguments


def require_supported(args: TrainingArguments, model: Any, arguments: CallbackArguments) -> None:
    """Refuse a Trainer that shards its model, or trains another one.

    Raises:
        ConfigurationError: the Trainer shards the model, or ``model`` is not the one that it trains.
    """
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


def calling_loop() -> Loop | None:
    """The call of the Trainer that is calling a hook ``on_train_begin`` right now; None if another code calls it.

    The Trainer calls no hook when its training raises.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - there is no public way
    while frame is not None:
        if frame.f_code is CallbackHandler.on_train_begin.__code__:
            return None if frame.f_back is None else Loop.at(frame.f_back)
        frame = frame.f_back
    return None
