"""Says in one line why a peer failed, and where."""

from __future__ import annotations

import signal
import traceback
from pathlib import Path

from swarm.errors import SwarmError
from swarm.text import printable

LONGEST = 500
"""Characters of a reason: a line of a host must be written at once."""


def of_error(error: BaseException, script: Path | None = None) -> str:
    """What was raised, with the last line of the script that led to it, else the last line of all.

    A line of Swarm says nothing about an error that Swarm raises on purpose, so none is named for it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if script is not None and Path(frame.filename) == script]
    others = [] if isinstance(error, SwarmError) else [each for each in frames if not each.filename.startswith("<")]
    known = own or others
    # A SyntaxError names the place itself: it is not where Python was called.
    where = known[-1] if known and not isinstance(error, SyntaxError) else None
    what = _exit(error.code) if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
    place = f" ({Path(where.filename).name}, line {where.lineno})" if where else ""
    return printable(what, LONGEST) + place


def _exit(code: object) -> str:
    return f"it ended with the message {code!r}" if isinstance(code, str) else f"exit code {code}"


def of_status(status: int) -> str:
    """Why a process ended that told nothing, from what ``os.waitstatus_to_exitcode`` says of it."""
    if status >= 0:
        return f"it ended with exit code {status} and told no result"
    try:
        return f"it was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was ended by signal {-status}"
