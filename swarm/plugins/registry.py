"""Loads the plugins of one session and calls their hooks: one typed method per hook."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from swarm.codec.choice import AUTO
from swarm.errors import ConfigurationError
from swarm.plugins import hookspecs
from swarm.plugins.hookspecs import PROJECT, DiscoveryFactory, Integration, PolicyFactory, Register, TransportFactory

if TYPE_CHECKING:
    from swarm.codec import Codec
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

BUILTIN = EntryPoint("swarm", "swarm._plugin", PROJECT)
"""The plugin that every session has, also where the distribution is not installed."""

_logger = logging.getLogger("swarm.plugins")
_Entry = TypeVar("_Entry")


class PluginRegistry:
    """The plugins of one session, what they added, and a method for each hook.

    Plugins are registered in a fixed order: Swarm's own, those of ``extra``, then the installed ones by name. A hook
    asks the last registered first, unless an implementation says ``tryfirst`` or ``trylast``.
    """

    def __init__(self, disabled: Collection[str] = (), extra: Mapping[str, object] | None = None) -> None:
        """Load all plugins; those that cannot be used are reported in the log and in ``problems``.

        Args:
            disabled: names of plugins to leave out.
            extra: more plugins, by name.
        """
        self.problems: list[str] = []
        """Why plugins were left out, one sentence each."""
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._added: list[tuple[str, Register]] = []
        self._silenced: set[tuple[str, str]] = set()
        self._load(BUILTIN)
        for name, plugin in (extra or {}).items():
            if name not in disabled:
                self._register(name, plugin)
        for entry_point in _installed():
            if entry_point.name not in disabled:
                self._load(entry_point)

    def add(self, name: str, plugin: object) -> None:
        """Register one more plugin, the last one; what it cannot be used for is reported in the same way."""
        self._register(name, plugin)

    @property
    def names(self) -> tuple[str, ...]:
        """The plugins in use, in the order of their registration."""
        return tuple(name for name, _ in self._added)

    @property
    def integrations(self) -> Mapping[str, Integration]:
        """The integrations by platform, in the order of their registration."""
        return self._all(lambda added: added.integrations)

    def merge_rule(self, name: str) -> MergeRule:
        """The merge rule of this name.

        Raises:
            ConfigurationError: no plugin has it.
        """
        return self._find("merge_method", name, lambda added: added.merge_rules)

    def codec(self, name: str) -> Codec:
        """The codec of this name.

        Raises:
            ConfigurationError: no plugin has it.
        """
        return self._find("codec", name, lambda added: added.codecs)

    def require_codec(self, name: str) -> None:
        """Check what the setting ``codec`` names: a codec, or the choice by measurement.

        Raises:
            ConfigurationError: neither.
        """
        self._find("codec", name, lambda added: {**added.codecs, AUTO: None})

    def sync_policy(self, name: str) -> PolicyFactory:
        """The sync policy of this name.

        Raises:
            ConfigurationError: no plugin has it.
        """
        return self._find("sync_policy", name, lambda added: added.sync_policies)

    def transport(self, name: str) -> TransportFactory:
        """The transport of this name.

        Raises:
            ConfigurationError: no plugin has it.
        """
        return self._find("transport", name, lambda added: added.transports)

    def discovery(self, name: str) -> DiscoveryFactory:
        """The discovery of this name.

        Raises:
            ConfigurationError: no plugin has it.
        """
        return self._find("discovery", name, lambda added: added.discoveries)

    def accept_peer(self, peer: PeerInfo) -> str | None:
        """The reason to refuse a peer, ``None`` if there is none; see ``swarm_accept_peer``."""
        return self._decide("swarm_accept_peer", peer=peer)

    def accept_contribution(self, contribution: ContributionStats) -> str | None:
        """The reason to refuse a contribution, ``None`` if there is none; see ``swarm_accept_contribution``."""
        return self._decide("swarm_accept_contribution", contribution=contribution)

    def session_started(self, event: SessionStarted) -> None:
        """Tell all plugins; see ``swarm_session_started``."""
        self._tell("swarm_session_started", event)

    def peer_joined(self, event: PeerJoined) -> None:
        """Tell all plugins; see ``swarm_peer_joined``."""
        self._tell("swarm_peer_joined", event)

    def peer_left(self, event: PeerLeft) -> None:
        """Tell all plugins; see ``swarm_peer_left``."""
        self._tell("swarm_peer_left", event)

    def round_started(self, event: RoundStarted) -> None:
        """Tell all plugins; see ``swarm_round_started``."""
        self._tell("swarm_round_started", event)

    def round_finished(self, event: RoundFinished) -> None:
        """Tell all plugins; see ``swarm_round_finished``."""
        self._tell("swarm_round_finished", event)

    def round_failed(self, event: RoundFailed) -> None:
        """Tell all plugins; see ``swarm_round_failed``."""
        self._tell("swarm_round_failed", event)

    def session_closed(self, event: SessionClosed) -> None:
        """Tell all plugins; see ``swarm_session_closed``."""
        self._tell("swarm_session_closed", event)

    def _load(self, entry_point: EntryPoint) -> None:
        try:
            plugin = entry_point.load()
        except Exception as error:  # noqa: BLE001 - a foreign module may raise anything on import
            self._report(entry_point.name, f"its module {entry_point.value} cannot be imported: {_shown(error)}")
        else:
            self._register(entry_point.name, plugin)

    def _register(self, name: str, plugin: object) -> None:
        if self._manager.has_plugin(name):
            self._report(name, f"another plugin of this name is in use: {self._manager.get_plugin(name)!r}")
            return
        added = Register()
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
            for implementation in self._implementations("swarm_register"):
                if implementation.plugin is plugin:
                    _call(implementation, {"register": added})
            self._refuse_wrappers(plugin)
            self._refuse_taken_names(added)
        except Exception as error:  # noqa: BLE001 - a foreign plugin may raise anything
            if self._manager.get_plugin(name) is plugin:
                self._manager.unregister(plugin)
            self._report(name, _shown(error))
        else:
            self._added.append((name, added))

    def _refuse_wrappers(self, plugin: object) -> None:
        for caller in self._manager.get_hookcallers(plugin) or ():
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin and (implementation.wrapper or implementation.hookwrapper):
                    raise ValueError(f"its {caller.name} is a wrapper: Swarm calls implementations one by one")

    def _refuse_taken_names(self, added: Register) -> None:
        for owner, other in self._added:
            for kind in vars(added):
                taken = sorted(getattr(added, kind).keys() & getattr(other, kind).keys())
                if taken:
                    raise ValueError(
                        f"the plugin {owner!r} has already registered {taken[0]!r} among its {kind.replace('_', ' ')}"
                    )

    def _report(self, name: str, problem: str) -> None:
        sentence = f"the plugin {name!r} is left out: {problem}"
        self.problems.append(sentence)
        _logger.warning("%s", sentence)

    def _all(self, table: Callable[[Register], dict[str, _Entry]]) -> dict[str, _Entry]:
        return {name: entry for _, added in self._added for name, entry in table(added).items()}

    def _find(self, what: str, name: str, table: Callable[[Register], dict[str, _Entry]]) -> _Entry:
        entries = self._all(table)
        if name not in entries:
            close = difflib.get_close_matches(name, entries, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigurationError(
                f"{what}={name!r} is not allowed: allowed is {' or '.join(map(repr, sorted(entries)))}{hint}"
            )
        return entries[name]

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return caller.get_hookimpls()[::-1]

    def _decide(self, hook: str, **arguments: object) -> str | None:
        for implementation in self._implementations(hook):
            answer = self._guarded(hook, implementation, arguments)
            if isinstance(answer, str) and answer:
                return answer
            if answer is not None:
                self._mistake(hook, implementation, f"returned {answer!r}, neither a reason nor None")
        return None

    def _tell(self, hook: str, event: object) -> None:
        for implementation in self._implementations(hook):
            self._guarded(hook, implementation, {"event": event})

    def _guarded(self, hook: str, implementation: pluggy.HookImpl, arguments: Mapping[str, object]) -> object:
        try:
            return _call(implementation, arguments)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, training goes on
            self._mistake(hook, implementation, f"raised {_shown(error)}", error)
            return None

    def _mistake(self, hook: str, implementation: pluggy.HookImpl, what: str, error: Exception | None = None) -> None:
        if (implementation.plugin_name, hook) in self._silenced:
            return
        self._silenced.add((implementation.plugin_name, hook))
        _logger.error(
            "%s of the plugin %r %s; it is passed over, and not reported again",
            hook,
            implementation.plugin_name,
            what,
            exc_info=error,
        )


def _installed() -> list[EntryPoint]:
    """The entry points of the group, by name; one that two installations of a distribution share is listed once."""
    found = {(entry.name, entry.value): entry for entry in entry_points(group=PROJECT)}
    found.pop((BUILTIN.name, BUILTIN.value), None)
    return [found[key] for key in sorted(found)]


def _call(implementation: pluggy.HookImpl, arguments: Mapping[str, object]) -> Any:
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
