"""``SwarmCallback``, the one name a training script needs, and the arguments that all callbacks share."""

from __future__ import annotations

from swarm.callback.arguments import Arguments, CallbackArguments, parse_arguments
from swarm.callback.factory import SwarmCallback

__all__ = ["Arguments", "CallbackArguments", "SwarmCallback", "parse_arguments"]
