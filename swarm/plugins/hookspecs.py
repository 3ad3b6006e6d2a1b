"""The hooks of Swarm: what a plugin can add, decide and observe.

A plugin is a module (or any object) with functions marked by ``swarm.hookimpl``, installed with an entry point of the
group ``swarm``, whose name is the plugin's name::

    import swarm

    @swarm.hookimpl
    def swarm_round_finished(event):
        print(event.report.round, event.report.group)

Its module is imported once per process. It is registered for each ``SwarmCallback`` that is made and again for each
session, before training starts: ``swarm_register`` is called each time. A function declares those arguments of its hook
that it needs. Swarm calls the implementations of a hook one by one, on the session's threads, never per batch, so they
should return soon. What they raise is logged once and ends neither the round nor the training. Wrappers
(``wrapper=True``) could not be isolated like that, so they are refused. A plugin that cannot be imported, or that
implements a hook which does not exist, is left out, with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from swarm.former import accepts_former_names
from swarm.plugins.exports import Exporter

if TYPE_CHECKING:
    from swarm.codec import Codec
    from swarm.config import Settings
    from swarm.config.arguments import CallbackArguments
    from swarm.discovery.base import Discovery
    from swarm.merge import MergeRule
    from swarm.records import (
        ContributionStats,
        PeerInfo,
        PeerJoined,
        PeerLeft,
        RoundFailed,
        RoundFinished,
        RoundStarted,
        SessionClosed,
        SessionStarted,
    )
    from swarm.sync import SyncPolicy
    from swarm.transport.base import Transport

PROJECT = "swarm"
_Entry = TypeVar("_Entry")

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's function as the implementation of the hook of its name."""

PolicyFactory = Callable[[int], "SyncPolicy"]
"""Makes the policy of one session from its ``sync_interval``."""
TransportFactory = Callable[["Settings"], "Transport"]
"""Makes the transport of one session; imports what it needs only when called."""
DiscoveryFactory = Callable[["Settings"], "Discovery"]
"""Makes the discovery of one session; imports what it needs only when called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """How Swarm trains with one framework. Making one must not import the framework."""

    platforms: tuple[str, ...]
    """The upper-case names that ``ml_platform`` takes for it."""
    extra: str
    """The extra of the distribution that installs the framework, as in ``pip install 'swarm-learning[keras]'``."""
    serves: Callable[[object], bool]
    """Whether it can train this model; asks for the names of its classes, so that no framework is imported."""
    create: Callable[[CallbackArguments], Any]
    """Makes the callback. Imports the framework; opens no socket and starts no thread."""
    exporters: Mapping[str, Exporter] = field(default_factory=dict, compare=False)
    """What `swarm export` can write a model as, by the suffix of the file; none for a directory."""
    inferred: bool = True
    """Whether ``model=`` alone chooses it; otherwise only ``ml_platform`` does, or the class of its callback."""
    distribution: str = "swarm-learning"
    """The distribution that contains the integration. ``extra`` is empty where it installs the framework itself."""

    @property
    def requirement(self) -> str:
        """What to give to ``pip install``."""
        return f"{self.distribution}[{self.extra}]" if self.extra else self.distribution


@accepts_former_names
class Register:
    """Takes what one plugin adds. Names are lower-case; each may be given once, over all plugins."""

    def __init__(self) -> None:
        self.merge_rules: dict[str, MergeRule] = {}
        self.codecs: dict[str, Codec] = {}
        self.sync_policies: dict[str, PolicyFactory] = {}
        self.transports: dict[str, TransportFactory] = {}
        self.discoveries: dict[str, DiscoveryFactory] = {}
        self.integrations: dict[str, Integration] = {}
        """By each of their platforms."""

    def merge_rule(self, name: str, rule: MergeRule) -> None:
        """Add a merge rule, which ``merge_method=name`` then chooses."""
        _add(self.merge_rules, "merge rule", name, rule)

    def codec(self, name: str, codec: Codec) -> None:
        """Add a codec: how weights are written as bytes."""
        _add(self.codecs, "codec", name, codec)

    def sync_policy(self, name: str, factory: PolicyFactory) -> None:
        """Add a sync policy, which ``sync_policy=name`` then chooses."""
        _add(self.sync_policies, "sync policy", name, factory)

    def transport(self, name: str, factory: TransportFactory) -> None:
        """Add a transport, which ``transport=name`` then chooses."""
        _add(self.transports, "transport", name, factory)

    def discovery(self, name: str, factory: DiscoveryFactory) -> None:
        """Add a discovery, which ``discovery=name`` then chooses."""
        _add(self.discoveries, "discovery", name, factory)

    def integration(self, integration: Integration) -> None:
        """Add a framework."""
        for platform in integration.platforms:
            if platform != platform.upper():
                raise ValueError(f"the platform {platform!r} is not in upper case")
            if platform in self.integrations:
                raise ValueError(f"the platform {platform!r} is registered twice")
            self.integrations[platform] = integration


@hookspec
def swarm_register(register: Register) -> None:
    """Add merge rules, codecs, sync policies, transports, discovery and integrations.

    The first hook: called for each ``SwarmCallback`` and again for each session, so it only registers.
    A plugin that raises here, or takes a name which another plugin has taken, is reported and left out as a whole.

    Args:
        register: takes what the plugin adds.
    """


@hookspec
def swarm_accept_peer(peer: PeerInfo) -> str | None:
    """Decide whether a peer may join the session.

    Plugins are asked one after the other, the last registered first; after the first reason no other is asked. Swarm's
    own implementation comes last and refuses a weight outside 0 to 100, or a
    number of samples above 10^9.

    Args:
        peer: what it declares of itself.

    Returns:
        The reason to refuse it, told to the peer and logged; ``None`` for no objection.
    """


@hookspec
def swarm_accept_contribution(contribution: ContributionStats) -> str | None:
    """Decide whether the weights that a peer offers may enter a round, on their statistics.

    Plugins are asked in the order of ``swarm_accept_peer``. Weights that are not finite are left out without asking.

    Args:
        contribution: what the peer says of its weights; the weights themselves are not there.

    Returns:
        The reason to leave this contribution out of the round, logged; ``None`` for no objection.
    """


@hookspec
def swarm_session_started(event: SessionStarted) -> None:
    """This peer has joined its session, or trains alone, and the model that it starts from is loaded and validated.

    Args:
        event: the session, the name of this peer, the model that it starts from.
    """


@hookspec
def swarm_peer_joined(event: PeerJoined) -> None:
    """A peer of this session was met for the first time, or came back.

    Args:
        event: who.
    """


@hookspec
def swarm_peer_left(event: PeerLeft) -> None:
    """A peer of this session left or was lost.

    Args:
        event: who, why, and whether it announced that.
    """


@hookspec
def swarm_round_started(event: RoundStarted) -> None:
    """This peer joined the exchange of a round; the round may still be aborted.

    Args:
        event: the round, its attempt and its group.
    """


@hookspec
def swarm_round_finished(event: RoundFinished) -> None:
    """A round committed and the merged model is in place.

    Args:
        event: the report of the round: who took part, how long it took, what travelled.
    """


@hookspec
def swarm_round_failed(event: RoundFailed) -> None:
    """An attempt was aborted, or a sync point passed without a merge; training goes on.

    Args:
        event: the round and the reason.
    """


@hookspec
def swarm_session_closed(event: SessionClosed) -> None:
    """The session is over for this peer; the last hook of a session.

    Args:
        event: how many rounds there were, and which model it ended with.
    """


def _add(entries: dict[str, _Entry], kind: str, name: str, entry: _Entry) -> None:
    if not name or name != name.lower():
        raise ValueError(f"the {kind} {name!r} is not named in lower case")
    if name in entries:
        raise ValueError(f"the {kind} {name!r} is registered twice")
    entries[name] = entry
