"""The runs of this process: they leave when their loop has failed, and two of one peer are not alive at once."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from swarm.callback.uncaught import in_training, listen
from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from swarm.callback.run import Departure, Run

LOOK_EVERY = 0.2
"""Seconds between two looks at loops that must not end without ``on_train_end``."""


class LiveRuns:
    """Knows the runs that have neither finished nor left; keeps none of them alive.

    Any thread may use it, the one that collects garbage too.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        """Know none. In a forked child, whose parent has the runs and perhaps the lock."""
        self._lock = threading.RLock()
        self._runs: dict[Departure, weakref.ref[Run]] = {}
        """With its run, or None where that is collected. A run that is not live any more is leaving right now."""
        self._stop_listening: Callable[[], None] | None = None
        self._watcher: threading.Thread | None = None

    def enter(self, run: Run) -> None:
        """A run is about to begin. An earlier one of the same peer leaves first if its loop is no longer running.

        Raises:
            ConfigurationError: that loop is still running.
        """
        with self._lock:
            peer = run.departure.peer
            earlier = [] if peer is None else [entry for entry in self._entries() if entry[0].peer == peer]
            for _, other in earlier:
                if other is None or not other.live:
                    continue
                # A run that trained, and another one that begins at the same place: the code was run again.
                again = other.loop.code is not None and other.loop == run.loop and other.trained
                if other.loop.running and not again:
                    raise ConfigurationError(
                        f"a SwarmCallback of this process is already training in session {run.model_name!r} as "
                        f"{run.name!r}: give each model that trains at the same time a model_name of its own, or end "
                        "the first run by on_train_end() or abort()"
                    )
            self._runs[run.departure] = weakref.ref(run)
            if self._stop_listening is None:
                self._stop_listening = listen(self._failed)
            watcher = None
            if run.watched and self._watcher is None:
                watcher = self._watcher = threading.Thread(target=self._watch, name="swarm-loops", daemon=True)
        if watcher is not None:
            watcher.start()
        for departure, other in earlier:
            if other is not None:
                other.abort(
                    f"a new run of session {run.model_name!r} took its place; "
                    "models that train at the same time each need a model_name of their own",
                    warn=True,
                )
            departure.wait()

    def settle(self, departure: Departure) -> None:
        """A run is gone: if it was the last one, errors are no longer listened for."""
        with self._lock:
            self._runs.pop(departure, None)
            if self._stop_listening is not None and not self._runs:
                self._stop_listening()
                self._stop_listening = None

    def wait_for_leaving(self) -> None:
        """Wait for the runs that other threads are having leave; those threads end with the process."""
        for departure, run in self._entries():
            if run is None or not run.live:
                departure.wait()

    def _entries(self) -> list[tuple[Departure, Run | None]]:
        with self._lock:
            # A copy first: where garbage is collected meanwhile, even this thread may remove an entry.
            return [(departure, run()) for departure, run in list(self._runs.items())]

    def _live(self) -> list[Run]:
        return [run for _, run in self._entries() if run is not None and run.live]

    def _failed(self, error: BaseException, where: str, *, lasting: bool) -> None:
        """An error that nothing caught has ended the loops of the current thread, or some other code on it."""
        if not lasting and not in_training(error):
            return
        for run in self._live():
            if run.loop.thread == threading.get_ident():
                run.abort(f"training stopped {where}: {type(error).__name__}", warn=True)

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(LOOK_EVERY)
            with self._lock:
                watched = [run for run in self._live() if run.watched]
                if not watched:
                    self._watcher = None
                    return
            for run in watched:
                if not run.loop.running:
                    run.forgotten()
            del watched, run


LIVE = LiveRuns()
os.register_at_fork(after_in_child=LIVE._reset)  # noqa: SLF001 - of this module
atexit.register(LIVE.wait_for_leaving)
