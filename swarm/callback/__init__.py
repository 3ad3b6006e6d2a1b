"""``SwarmCallback``, the one name a training script needs, and what the callbacks of all frameworks share."""

from __future__ import annotations

from swarm.callback.factory import SwarmCallback
from swarm.callback.loop import Loop
from swarm.callback.run import NEVER
from swarm.callback.running import RunningCallback, logger_of
from swarm.config.arguments import Arguments, CallbackArguments, parse_arguments

__all__ = [
    "NEVER",
    "Arguments",
    "CallbackArguments",
    "Loop",
    "RunningCallback",
    "SwarmCallback",
    "logger_of",
    "parse_arguments",
]
