"""The runs of this process: they leave when their loop has failed, and two of one peer are not alive at once."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

from swarm.callback.run import Run
from swarm.callback.uncaught import in_training, listen
from swarm.errors import ConfigurationError

LOOK_EVERY = 0.2
"""Seconds between two looks at loops that must not end without ``on_train_end``."""


class LiveRuns:
    """Knows the runs that have not ended or left, those that are leaving included.

    Any thread may use it, the one that collects garbage too.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        """Know none. In a forked child, whose parent has the runs and perhaps the lock."""
        self._lock = threading.RLock()
        self._runs: list[Run] = []
        self._stop_listening: Callable[[], None] | None = None
        self._watcher: threading.Thread | None = None

    def enter(self, run: Run) -> None:
        """Add a run that is about to begin. An earlier one of the same peer leaves first if its loop has ended.

        Raises:
            ConfigurationError: that loop is still running.
        """
        with self._lock:
            earlier = [other for other in self._runs if other.peer == run.peer and run.peer is not None]
            for other in earlier:
                # A run that trained, and another one that begins at the same place: the code was run again.
                again = other.loop.code is not None and other.loop == run.loop and other.trained
                if other.live and other.loop.running and not again:
                    raise ConfigurationError(
                        f"a SwarmCallback of this process is already training in session {run.model_name!r} as "
                        f"{run.name!r}: give each model that trains at the same time a model_name of its own, or end "
                        "the first run by on_train_end() or abort()"
                    )
            self._runs.append(run)
            if self._stop_listening is None:
                self._stop_listening = listen(self._failed)
            watcher = None
            if run.watched and self._watcher is None:
                watcher = self._watcher = threading.Thread(target=self._watch, name="swarm-loops", daemon=True)
        if watcher is not None:
            watcher.start()
        for other in earlier:
            other.abort(
                f"a new run of session {run.model_name!r} took its place; "
                "models that train at the same time each need a model_name of their own",
                warn=True,
            )
            other.wait()

    def remove(self, run: Run) -> None:
        """Forget a run that has ended: after the last one, errors are no longer listened for."""
        with self._lock:
            if run in self._runs:
                self._runs.remove(run)
            if self._stop_listening is not None and not self._runs:
                self._stop_listening()
                self._stop_listening = None

    def wait_for_leaving(self) -> None:
        """Wait for runs that are leaving on other threads, which end with the process."""
        with self._lock:
            leaving = [run for run in self._runs if not run.live]
        for run in leaving:
            run.wait()

    def _live(self) -> list[Run]:
        with self._lock:
            runs = [*self._runs]  # a copy: while garbage is collected, even this thread may remove one
        return [run for run in runs if run.live]

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


LIVE = LiveRuns()
os.register_at_fork(after_in_child=LIVE._reset)  # noqa: SLF001 - of this module
atexit.register(LIVE.wait_for_leaving)
