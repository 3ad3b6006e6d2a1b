"""Output of the log: library code only logs, and a launcher sets ``SWARM_LOG`` to show the log."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from swarm.errors import ConfigurationError
from swarm.text import printable

VARIABLE = "SWARM_LOG"
LEVELS = ("debug", "info", "warning", "error", "critical")

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_from_environment(environment: Mapping[str, str] | None = None) -> None:
    """Show the log of Swarm on standard error if ``SWARM_LOG`` names a level, as under ``swarm up``.

    A script that configures logging itself keeps its handlers: our handler is added only if neither the logger
    ``swarm`` nor the root logger has one, and its output stops once the root logger has one. The level is set only if
    the script has not set it. Repeated calls have no effect.

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
    handler.setFormatter(_Formatter(_FORMAT, datefmt="%H:%M:%S"))
    handler.addFilter(_root_is_silent)
    logger.addHandler(handler)


class _Formatter(logging.Formatter):
    """Escapes what a terminal would obey, so that a message is one line; a traceback follows as it is."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is that of logging
        return printable(super().formatMessage(record))


def _root_is_silent(_record: logging.LogRecord) -> bool:
    return not logging.root.handlers
