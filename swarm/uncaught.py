"""Shows an error of Swarm that ends a script as one sentence, where the launcher of the script asks for that.

Such an error says what to do; the traceback above it would only hide that. All other errors are shown as ever.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping
from types import TracebackType

from swarm.callers import is_library, place
from swarm.errors import ConfigurationError, SwarmError
from swarm.logs import configure_from_environment

VARIABLE = "SWARM_TRACEBACK"
CHOICES = ("short", "full")


def choice(environment: Mapping[str, str], otherwise: str) -> str:
    """What ``SWARM_TRACEBACK`` says: ``short`` for one sentence, ``full`` for what Python shows.

    Raises:
        ConfigurationError: it says something else.
    """
    chosen = environment.get(VARIABLE, "").strip().lower() or otherwise
    if chosen not in CHOICES:
        raise ConfigurationError(f"{VARIABLE}={chosen!r} is not known: use one of {', '.join(CHOICES)}")
    return chosen


def install(environment: Mapping[str, str]) -> None:
    """Show errors of Swarm that nothing catches as one sentence from now on, if ``SWARM_TRACEBACK`` is ``short``."""
    if environment.get(VARIABLE, "").strip().lower() != CHOICES[0]:
        return
    before = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not isinstance(error, SwarmError):
            before(kind, error, traceback)
        elif not error.told:
            with contextlib.suppress(ConfigurationError):
                configure_from_environment()
            logging.getLogger("swarm").error("%s%s", error, _where(traceback))

    sys.excepthook = excepthook


def _where(traceback: TracebackType | None) -> str:
    """The innermost line of the user's own code, in brackets; empty if there is none."""
    found = ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not is_library(file):
            found = f" ({place(file, traceback.tb_lineno)})"
        traceback = traceback.tb_next
    return found
