"""One line in the output of a notebook's cell that follows a run, as a progress bar does."""

from __future__ import annotations

import importlib
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from swarm.callback.uncaught import running_shell
from swarm.clock import duration
from swarm.peer.states import AT_A_SYNC_POINT, LIVE
from swarm.text import MAX_SHOWN, listed, printable

if TYPE_CHECKING:
    from swarm.ranks import SiteSession

EVERY = 0.5
"""Seconds between two looks."""
_BAR = 10
"""Characters of the bar."""
_LEAST_WAIT = 0.05
"""Seconds of a wait that are shown: less would be shown as 0."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


class Pause(Protocol):
    """Waits for so many seconds, or less; whether to stop."""

    def __call__(self, timeout: float) -> bool:
        """``timeout`` is in seconds."""
        ...


def show_in_notebook(session: SiteSession, title: str) -> Callable[[], None]:
    """Show the progress of a run in the current cell; nothing happens outside notebooks, or where a peer trains alone.

    Args:
        session: of the run.
        title: names it.

    Returns:
        A function that shows the last state, and ends this.
    """
    if getattr(running_shell(), "kernel", None) is None:
        return lambda: None
    stopped = threading.Event()
    follow = threading.Thread(target=_follow, args=(session.status, title, stopped.wait), name="swarm-notebook")
    follow.daemon = True
    follow.start()

    def stop() -> None:
        stopped.set()
        if threading.current_thread() is not follow:
            follow.join(2 * EVERY)

    return stop


def _follow(status: Callable[[], Mapping[str, Any]], title: str, pause: Pause) -> None:
    """Show what ``status`` tells, again and again. Where the notebook cannot show it, say so in the log, once."""
    shown, place = "", uuid.uuid4().hex
    try:
        ipython = importlib.import_module("IPython.display")
        over = False
        while not over:
            over = pause(EVERY)
            text = line(title, status())
            if text and text != shown:
                ipython.display({"text/plain": text}, raw=True, display_id=place, update=bool(shown))
                shown = text
    except Exception as error:  # noqa: BLE001 - of the notebook; training goes on without the line
        logging.getLogger("swarm").debug("no progress in this notebook: %s: %s", type(error).__name__, error)


def line(title: str, status: Mapping[str, Any]) -> str:
    """The line for a status of a peer; empty where there is none."""
    if not status or "round" not in status:
        return ""
    parts = []
    left, interval = status.get("batches_left"), status.get("interval") or 0
    if left is not None and interval:
        done = interval if status["status"] in AT_A_SYNC_POINT else interval - left
        parts.append(f"{100 * done // interval:3d}%|{_bar(done / interval)}| {done}/{interval} batches to the merge")
    else:
        parts.append(str(status["status"]))
    if status["round"] is not None:
        parts.append(f"round {status['round']}")
    live = [peer for peer in status["peers"] if peer["state"] == LIVE]
    parts.append(f"{len(live) + 1} peers" if live else "no other peer")
    if status["epoch"] or status["total_epochs"]:
        total = f"/{status['total_epochs']}" if status["total_epochs"] else ""
        parts.append(f"epoch {status['epoch']}{total}")
    if status["seconds_left"] is not None:
        parts.append(f"ETA {duration(status['seconds_left'])}")
    if status["loss"] is not None:
        parts.append(f"loss {status['loss']:.4g}")
    parts += _wait(status.get("last") or {})
    return printable(f"{title}: {', '.join(parts)}", MAX_SHOWN)


def _wait(last: Mapping[str, Any]) -> list[str]:
    """How long the last merge took, and for whom it waited."""
    if not last.get("seconds"):
        return []
    waited = last.get("waited_for") and last["waited"] >= _LEAST_WAIT
    whom = f", {last['waited']:.1f} of them for {listed(last['waited_for'])}" if waited else ""
    return [f"{last['seconds']:.1f} s/merge{whom}"]


def _bar(share: float) -> str:
    full, rest = divmod(round(8 * _BAR * min(max(share, 0.0), 1.0)), 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(_BAR)
