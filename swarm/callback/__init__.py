"""``SwarmCallback``, which training scripts call, and ``BaseCallback``, which integrations of frameworks subclass."""

from __future__ import annotations

from swarm.callback.base import NEVER, BaseCallback
from swarm.callback.factory import SwarmCallback
from swarm.callback.foreign import KERAS_2, foreign, hook_of_another, is_keras_2
from swarm.callback.loop import Loop
from swarm.callback.own_loop import OwnLoopCallback
from swarm.config.arguments import Arguments, CallbackArguments, parse_arguments
from swarm.config.samples import samples_of

__all__ = [
    "KERAS_2",
    "NEVER",
    "Arguments",
    "BaseCallback",
    "CallbackArguments",
    "Loop",
    "OwnLoopCallback",
    "SwarmCallback",
    "foreign",
    "hook_of_another",
    "is_keras_2",
    "parse_arguments",
    "samples_of",
]

SwarmCallback.register(BaseCallback)
