"""Takes events, and sends alerts on a thread of its own: hooks only put something into its queue."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from swarm.clock import Clock, MonotonicClock

if TYPE_CHECKING:
    from swarm_alerts.watcher import Alert, Watcher

Work = Callable[["Watcher", float], "Sequence[Alert] | None"]
"""Tells the watcher of an event, with its time."""

MOST_WAITING = 1000
"""Events that wait; more are dropped."""
TRIES = (1.0, 5.0, 15.0)
"""Seconds after which a failed alert is sent again."""
LAST_WAIT = 15.0
"""Seconds that the end of the process waits for the last alerts."""

_log = logging.getLogger("swarm.alerts")


class Desk:
    """Alerts of all sessions of this process."""

    def __init__(
        self,
        watcher: Watcher,
        senders: Sequence[Callable[[Alert], None]],
        *,
        tries: Sequence[float] = TRIES,
        clock: Clock | None = None,
    ) -> None:
        """The thread starts at once.

        Args:
            watcher: decides what is worth an alert.
            senders: send one, and raise ``ConnectionError``.
            tries: seconds after which a failed one is sent again.
            clock: tells how long a site is gone.
        """
        self._watcher = watcher
        self._senders = senders
        self._tries = tries
        self._clock = clock or MonotonicClock()
        self._queue: queue.Queue[tuple[Work, float] | None] = queue.Queue(MOST_WAITING)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swarm-alerts", daemon=True)
        self._thread.start()

    def put(self, work: Work) -> None:
        """Handle an event soon; never waits, never raises."""
        try:
            self._queue.put_nowait((work, self._clock.now()))
        except queue.Full:
            _log.warning("an event was dropped: more than %d wait for alerts to be sent", MOST_WAITING)

    def close(self, patience: float = LAST_WAIT) -> None:
        """Send what waits, for at most ``patience`` seconds."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=patience)
        self._thread.join(patience)
        self._stopped.set()

    def _run(self) -> None:
        while True:
            due = self._watcher.next_due
            try:
                event = self._queue.get(timeout=None if due is None else max(due - self._clock.now(), 0.01))
            except queue.Empty:
                event = _look, self._clock.now()
            if event is None:
                return
            for alert in self._alerts(*event):
                for send in self._senders:
                    self._send(send, alert)

    def _alerts(self, work: Work, at: float) -> Sequence[Alert]:
        try:
            return [*(work(self._watcher, at) or ()), *self._watcher.due(self._clock.now())]
        except Exception:  # noqa: BLE001 - the thread goes on: later events make alerts
            _log.exception("an event was not understood, and makes no alert")
            return ()

    def _send(self, send: Callable[[Alert], None], alert: Alert) -> None:
        for pause in (*self._tries, None):
            try:
                send(alert)
            except ConnectionError as error:
                if pause is None or self._stopped.wait(pause):
                    _log.warning("an alert was not sent: %s (%s)", error, alert.text)
                    return
            except Exception as error:  # noqa: BLE001 - the thread goes on: others are sent, and this one fails again
                # Its kind only: its text may hold a secret.
                _log.warning("an alert was not sent: %s (%s)", type(error).__name__, alert.text)
                return
            else:
                return


def _look(_watcher: Watcher, _now: float) -> None:
    """Nothing has happened; somebody may be gone for long enough."""
