"""The parts that connect this peer with others, built in or of plugins: whether they can do so under the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from swarm.cli.check.finding import Finding, failure, ok
from swarm.cli.check.here import HERE
from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from swarm.config import Settings

MORE_SECONDS = 5.0
"""Beside ``failure_timeout``, which is what a part may wait for somebody else."""


def within(seconds: float, what: str, job: Callable[[], object], late: Callable[[], object]) -> None:
    """Do something that waits for others, as a plugin may for longer than anybody would.

    Args:
        seconds: that it may take.
        what: is not done then, in words.
        job: is done in a thread of its own.
        late: is done there after it, once nobody waits any more.

    Raises:
        ConfigurationError: it took longer.
        Exception: what it raised.
    """
    lock, done = threading.Lock(), threading.Event()
    raised: list[BaseException] = []
    left = False

    def run() -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            raised.append(error)
        with lock:
            done.set()
        if left:
            late()

    threading.Thread(target=run, name="swarm-check", daemon=True).start()
    done.wait(seconds)
    with lock:
        left = not done.is_set()
    if left:
        raise ConfigurationError(f"{what} within {seconds:g} s")
    if raised:
        raise raised[0]


def of_discovery(name: str, settings: Settings) -> Finding:
    """Whether this peer could be announced, without doing so."""
    from swarm.plugins import PluginRegistry

    try:
        discovery = PluginRegistry(settings.disabled_plugins).discovery(name)(settings)

        def ask() -> None:
            try:
                discovery.check()
            finally:
                discovery.withdraw()

        seconds = settings.failure_timeout + MORE_SECONDS
        within(seconds, f"the discovery {name!r} has not said whether it can be used", ask, lambda: None)
    except ConfigurationError as error:
        return failure(HERE, "discovery", str(error), "correct the settings of the discovery")
    return ok(HERE, "discovery", name)
