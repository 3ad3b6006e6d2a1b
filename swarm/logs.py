"""Where a peer's log lines go: library code only logs, a launcher asks to see it with ``SWARM_LOG``."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from swarm.errors import ConfigurationError

VARIABLE = "SWARM_LOG"
LEVELS = ("debug", "info", "warning", "error", "critical")

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_from_environment(environment: Mapping[str, str] | None = None) -> None:
    """Show the log of Swarm on standard error where ``SWARM_LOG`` names a level, as under ``swarm up``.

    A script that configured logging itself keeps its own handlers: ours is attached only where neither the logger
    ``swarm`` nor the root has one, and it falls silent once the root gets one. The level is set only where the
    script left it alone. Calling it again changes nothing.

    Raises:
        ConfigurationError: ``SWARM_LOG`` is not the name of a level.
    """
    level = (os.environ if environment is None else environment).get(VARIABLE, "").strip().lower()
    if not level:
        return
    if level not in LEVELS:
        raise ConfigurationError(f"{VARIABLE}={level!r} is not a log level: use one of {', '.join(LEVELS)}")
    logger = logging.getLogger("swarm")
    if logger.level == logging.NOTSET:
        logger.setLevel(level.upper())
    if logger.handlers or logging.root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT, datefmt="%H:%M:%S"))
    handler.addFilter(_root_is_silent)
    logger.addHandler(handler)


def _root_is_silent(_record: logging.LogRecord) -> bool:
    return not logging.root.handlers
