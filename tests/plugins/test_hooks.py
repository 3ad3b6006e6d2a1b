"""Every hook is documented with its exact arguments, has a method that calls it, and is exercised."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from swarm import hookimpl
from swarm.plugins import PluginRegistry, hookspecs
from swarm.plugins.hookspecs import Register
from swarm.records import (
    Attempt,
    ContributionStats,
    Outcome,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    RoundFailed,
    RoundFinished,
    RoundReport,
    RoundStarted,
    SessionClosed,
    SessionStarted,
)

DOCS = Path(__file__).parents[2] / "docs" / "hooks.md"
SPECS = {
    name: tuple(inspect.signature(spec).parameters)
    for name, spec in vars(hookspecs).items()
    if hasattr(spec, "swarm_spec")
}
PEER = PeerInfo(name="berlin", incarnation="1", address="127.0.0.1:1", session="s")
CALLS = {
    "swarm_accept_peer": PEER,
    "swarm_accept_contribution": ContributionStats(peer="berlin", round=1, weight=1),
    "swarm_session_started": SessionStarted(session="s", peer="berlin"),
    "swarm_peer_joined": PeerJoined(peer=PEER),
    "swarm_peer_left": PeerLeft(session="ward", peer="berlin", reason="done", polite=True),
    "swarm_round_started": RoundStarted(session="s", round=1, attempt=Attempt(1, "berlin"), group=("berlin",)),
    "swarm_round_finished": RoundFinished(session="s", report=RoundReport(outcome=Outcome.MERGED, round=1)),
    "swarm_round_failed": RoundFailed(session="s", round=1, reason="nobody came"),
    "swarm_session_closed": SessionClosed(session="s", rounds=1, digest="d", closing=True),
}


def recorder(hook: str, heard: list[dict[str, object]]) -> SimpleNamespace:
    """A plugin that implements one hook with the arguments of its spec."""
    names = SPECS[hook]
    source = f"def {hook}({', '.join(names)}): heard.append({{{', '.join(f'{name!r}: {name}' for name in names)}}})"
    scope: dict[str, object] = {"heard": heard}
    exec(source, scope)
    return SimpleNamespace(**{hook: hookimpl(scope[hook])})


def test_every_hook_is_exercised_here() -> None:
    assert set(SPECS) == {"swarm_register", *CALLS}


def test_register_is_called_on_loading() -> None:
    heard: list[dict[str, object]] = []
    registry = PluginRegistry(extra={"recorder": recorder("swarm_register", heard)})
    assert registry.problems == []
    (arguments,) = heard
    assert isinstance(arguments["register"], Register)


@pytest.mark.parametrize("hook", sorted(CALLS))
def test_a_hook_reaches_the_plugin_with_its_argument(hook: str) -> None:
    heard: list[dict[str, object]] = []
    registry = PluginRegistry(extra={"recorder": recorder(hook, heard)})
    assert getattr(registry, hook.removeprefix("swarm_"))(CALLS[hook]) is None
    assert heard == [{SPECS[hook][0]: CALLS[hook]}]


@pytest.mark.parametrize("hook", sorted(SPECS))
def test_a_hook_describes_itself_and_its_arguments(hook: str) -> None:
    described = getattr(hookspecs, hook).__doc__
    assert described
    assert [name for name in SPECS[hook] if f"{name}: " not in described] == []


def test_the_documentation_has_every_hook_with_its_exact_arguments() -> None:
    headings = re.findall(r"^### `(swarm_\w+)\((.*)\)`$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    documented = [(name, tuple(arguments.split(", "))) for name, arguments in headings]
    assert sorted(documented) == sorted(SPECS.items())
