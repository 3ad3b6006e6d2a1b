"""Output of the log: library code only logs, and a launcher sets ``SWARM_LOG`` to show the log.

A line is a sentence, or with ``SWARM_LOG_FORMAT=json`` a JSON object. Code that reports an event passes ``event(...)``
as ``extra``, so that the object has its fields too.
"""

from __future__ import annotations

import enum
import json
import logging
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from swarm.errors import ConfigurationError
from swarm.text import printable

VARIABLE = "SWARM_LOG"
LEVELS = ("debug", "info", "warning", "error", "critical")
FORMAT_VARIABLE = "SWARM_LOG_FORMAT"
FORMATS = ("text", "json")
_NAME_VARIABLE = "SWARM_NAME"
"""Of the peer, where a launcher has given it a name; a JSON line has it."""

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_LINE = re.compile(r"\d\d:\d\d:\d\d (?P<level>[A-Z]+) (?P<logger>swarm(?:\.[\w.]+)?): (?P<text>.*)")
_EVENT = "swarm_event"
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


def configure_from_environment(environment: Mapping[str, str] | None = None) -> None:
    """Show the log of Swarm on standard error if ``SWARM_LOG`` names a level, as under ``swarm up``.

    A script that configures logging itself keeps its handlers: our handler is added only if neither the logger
    ``swarm`` nor the root logger has one, and its output stops once the root logger has one. The level is set only if
    the script has not set it. Repeated calls have no effect.

    Raises:
        ConfigurationError: ``SWARM_LOG`` is not the name of a level, or ``SWARM_LOG_FORMAT`` not that of a format.
    """
    given = os.environ if environment is None else environment
    level, shape = given.get(VARIABLE, "").strip().lower(), log_format(given)
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
    name = given.get(_NAME_VARIABLE, "").strip()
    handler.setFormatter(_JsonFormatter(name) if shape == "json" else _Formatter(_FORMAT, datefmt="%H:%M:%S"))
    handler.addFilter(_root_is_silent)
    logger.addHandler(handler)


def log_format(environment: Mapping[str, str]) -> str:
    """The format that ``SWARM_LOG_FORMAT`` names; ``text`` without it.

    Raises:
        ConfigurationError: there is no such format.
    """
    chosen = environment.get(FORMAT_VARIABLE, "").strip().lower() or FORMATS[0]
    if chosen not in FORMATS:
        raise ConfigurationError(f"{FORMAT_VARIABLE}={chosen!r} is not a log format: use one of {', '.join(FORMATS)}")
    return chosen


def event(record: object) -> dict[str, object]:
    """The ``extra`` of a log call that reports an event: a frozen record, such as those of ``swarm.records``."""
    return {_EVENT: record}


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of this log, read again."""

    level: str
    """In lower case."""
    text: str

    @property
    def is_problem(self) -> bool:
        """Whether it is a warning, or worse."""
        return self.level in LEVELS[2:]


def read_line(line: str) -> LogLine | None:
    """Read a line of this log, in either format; None if it is none."""
    if found := _LINE.fullmatch(line):
        return LogLine(found["level"].lower(), found["text"])
    fields_ = read_json(line)
    if fields_ is None or not str(fields_.get("logger", "")).startswith("swarm"):
        return None
    return LogLine(str(fields_.get("level", "")), printable(str(fields_.get("message", ""))))


def read_json(line: str) -> dict[str, Any] | None:
    """The JSON object that a line consists of; None if it is something else."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def json_line(level: str, logger: str, message: str, **more: Any) -> str:
    """A line of the log as JSON; ``more`` are further fields, of which the empty ones are left out."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    filled = {name: value for name, value in more.items() if value not in ("", None)}
    return json.dumps({"time": now, "level": level, "logger": logger, "message": message, **filled})


class _Formatter(logging.Formatter):
    """Escapes what a terminal would obey, so that a message is one line; a traceback follows as it is."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is that of logging
        return printable(super().formatMessage(record))


class _JsonFormatter(logging.Formatter):
    """One JSON object on one line, a traceback included."""

    def __init__(self, peer: str) -> None:
        super().__init__()
        self._peer = peer

    def format(self, record: logging.LogRecord) -> str:
        told = getattr(record, _EVENT, None)
        error = self.formatException(record.exc_info) if record.exc_info else None
        return json_line(
            record.levelname.lower(),
            record.name,
            record.getMessage(),
            peer=self._peer,
            event=_WORD.sub("_", type(told).__name__).lower() if told is not None else None,
            fields=_plain(told),
            traceback=error,
        )


def _plain(value: Any) -> Any:
    """A value of an event in JSON types: NaN and infinity become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def _root_is_silent(_record: logging.LogRecord) -> bool:
    return not logging.root.handlers
