"""Records what the sessions of a peer report."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from swarm import hookimpl
from swarm.plugins import PluginRegistry
from swarm.session import Session
from swarm.session.wiring import network_of

if TYPE_CHECKING:
    from swarm.callback.sessions import SessionFactory
    from swarm.config import Settings
    from swarm.records import RoundFinished
    from swarm.session.session import NetworkFactory
    from swarm.tensors.model import ModelPort

PLUGIN = "simulate"


class Recorder:
    """A plugin, and what makes the sessions that have it."""

    def __init__(self, finished: Callable[[int], None]) -> None:
        """``finished`` is called with the number of each round whose model was loaded."""
        self._finished = finished
        self._last: Session | None = None

    @hookimpl
    def swarm_round_finished(self, event: RoundFinished) -> None:
        """Tell its number."""
        self._finished(event.report.round)

    def metrics(self) -> dict[str, float]:
        """Those of the last session; empty if there was none."""
        return {} if self._last is None else dict(self._last.metrics())

    def factory(self, network: NetworkFactory = network_of) -> SessionFactory:
        """Makes sessions that have this plugin, over this network."""
        return partial(self._session, network)

    def _session(
        self,
        network: NetworkFactory,
        settings: Settings,
        port: ModelPort,
        **options: Any,
    ) -> Session:
        plugins = PluginRegistry(settings.disabled_plugins, extra={PLUGIN: self})
        self._last = Session(settings, port, **options, plugins=plugins, network=network)
        return self._last
