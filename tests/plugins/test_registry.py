from __future__ import annotations

import importlib
import logging
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from swarm import hookimpl
from swarm.codec import BUILTIN_CODECS
from swarm.config import Settings
from swarm.errors import ConfigurationError
from swarm.merge import BUILTIN_RULES
from swarm.plugins import PluginRegistry
from swarm.plugins import registry as plugins
from swarm.plugins.hookspecs import Integration
from swarm.records import ContributionStats, PeerInfo, RoundFailed
from swarm.transport.base import Transport

PEER = PeerInfo(name="berlin", incarnation="1", address="127.0.0.1:1", session="s")
OFFER = ContributionStats(peer="berlin", round=1, weight=1)
FAILED = RoundFailed(session="s", round=1, reason="nobody came")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Entry points that a test fills; none at first."""
    installed: list[EntryPoint] = []
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry for entry in installed if entry.group == group])
    return installed


def plugin(**functions) -> SimpleNamespace:
    return SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})


def adding(kind: str, *arguments: object) -> SimpleNamespace:
    return plugin(swarm_register=lambda register: getattr(register, kind)(*arguments))


def test_the_builtin_plugin_is_there_without_an_installed_distribution() -> None:
    registry = PluginRegistry()
    assert registry.names == ("swarm",)
    assert registry.problems == []
    for name, rule in BUILTIN_RULES.items():
        assert registry.merge_rule(name) is rule
    for name, codec in BUILTIN_CODECS.items():
        assert registry.codec(name) is codec
    assert registry.sync_policy("fixed")(7).start().interval == 7
    assert registry.integrations["PYTORCH"].extra == "torch"


def test_the_builtin_factories_make_what_the_settings_say(tmp_path: Path) -> None:
    registry = PluginRegistry()
    settings = Settings(peers=("127.0.0.1:7000",), rendezvous=tmp_path)
    assert isinstance(registry.transport("grpc")(settings), Transport)
    assert registry.discovery("seeds")(settings).discover() == ("127.0.0.1:7000",)
    registry.discovery("directory")(settings).announce("berlin", "127.0.0.1:7001", "1")
    assert registry.discovery("directory")(settings).discover() == ("127.0.0.1:7001",)
    for name, missing in {"directory": "rendezvous", "seeds": "peers"}.items():
        with pytest.raises(ConfigurationError, match=f"'{name}' needs {missing}"):
            registry.discovery(name)(Settings())


@pytest.mark.parametrize("find", ["merge_rule", "codec", "require_codec", "sync_policy", "transport", "discovery"])
def test_an_unknown_name_is_an_error_that_lists_the_known(find: str) -> None:
    with pytest.raises(ConfigurationError, match="'carrier-pigeon' is not allowed: allowed is '"):
        getattr(PluginRegistry(), find)("carrier-pigeon")


def test_the_choice_of_a_codec_may_be_left_to_swarm() -> None:
    PluginRegistry().require_codec("auto")


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="transport='grcp' is not allowed: .*; did you mean 'grpc'?"):
        PluginRegistry().transport("grcp")


def test_a_plugin_adds_to_every_table() -> None:
    integration = Integration(platforms=("X", "Y"), extra="x", serves=lambda _: False, create=lambda _: None)
    rule, codec, factory = object(), object(), lambda _: None
    extra = {
        "a": adding("merge_rule", "mine", rule),
        "b": adding("sync_policy", "mine", factory),
        "c": adding("transport", "mine", factory),
        "d": adding("discovery", "mine", factory),
        "e": adding("integration", integration),
        "f": adding("codec", "mine", codec),
    }
    registry = PluginRegistry(extra=extra)
    assert registry.problems == []
    assert registry.merge_rule("mine") is rule
    assert registry.codec("mine") is codec
    assert registry.sync_policy("mine") is registry.transport("mine") is registry.discovery("mine") is factory
    assert registry.integrations["Y"] is integration
    assert list(registry.integrations) == ["PYTORCH", "X", "Y"]


def test_installed_plugins_are_loaded_by_name_unless_disabled(
    nothing_installed: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("zeta", "alpha", "off"):
        module = ModuleType(f"fake_{name}")
        monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
        nothing_installed.append(EntryPoint(name, module.__name__, "swarm"))
    nothing_installed.append(EntryPoint("swarm", "swarm._plugin", "swarm"))
    nothing_installed.append(nothing_installed[0])
    registry = PluginRegistry(disabled=("off",))
    assert registry.names == ("swarm", "alpha", "zeta")
    assert registry.problems == []


def test_a_plugin_that_cannot_be_imported_is_reported_and_left_out(
    nothing_installed: list[EntryPoint], caplog: pytest.LogCaptureFixture
) -> None:
    nothing_installed.append(EntryPoint("ledger", "no_such_module", "swarm"))
    registry = PluginRegistry()
    assert registry.names == ("swarm",)
    assert "the plugin 'ledger' is left out: its module no_such_module cannot be imported" in registry.problems[0]
    assert caplog.messages == registry.problems


def failing(hook: str) -> SimpleNamespace:
    def fail() -> None:
        raise RuntimeError("boom")

    return plugin(**{hook: fail})


def hearing(heard: list[object]) -> SimpleNamespace:
    def swarm_round_failed(event: RoundFailed) -> None:
        heard.append(event)

    return plugin(swarm_round_failed=swarm_round_failed)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (failing("swarm_register"), "RuntimeError: boom"),
        (plugin(swarm_round_finnished=lambda event: None), "swarm_round_finnished"),
        (plugin(swarm_round_finished=lambda event, model: None), "model"),
        (adding("merge_rule", "mean", object()), "'swarm' has already registered 'mean' among its merge rules"),
        (adding("merge_rule", "Mine", object()), "not named in lower case"),
        (adding("merge_rule", "", object()), "not named in lower case"),
        (
            adding("integration", Integration(platforms=("a",), extra="", serves=bool, create=bool)),
            "not in upper case",
        ),
        (
            adding("integration", Integration(platforms=("PYTORCH",), extra="", serves=bool, create=bool)),
            "'swarm' has already registered 'PYTORCH' among its integrations",
        ),
        (
            SimpleNamespace(swarm_peer_joined=hookimpl(wrapper=True)(lambda event: (yield))),
            "swarm_peer_joined is a wrapper",
        ),
    ],
)
def test_a_broken_plugin_is_reported_and_left_out_as_a_whole(
    broken: SimpleNamespace, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[object] = []
    broken.swarm_round_failed = hearing(heard).swarm_round_failed
    registry = PluginRegistry(extra={"broken": broken, "sound": adding("transport", "mine", bool)})
    assert registry.names == ("swarm", "sound")
    assert [problem in sentence and "'broken'" in sentence for sentence in registry.problems] == [True]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    registry.round_failed(FAILED)
    assert heard == []


def test_a_name_registered_twice_by_one_plugin_is_its_mistake() -> None:
    def swarm_register(register) -> None:
        register.transport("mine", bool)
        register.transport("mine", bool)

    registry = PluginRegistry(extra={"a": plugin(swarm_register=swarm_register)})
    assert "'mine' is registered twice" in registry.problems[0]


def test_two_plugins_of_one_name_are_reported(nothing_installed: list[EntryPoint]) -> None:
    nothing_installed.append(EntryPoint("mine", "json", "swarm"))
    registry = PluginRegistry(extra={"mine": plugin()})
    assert registry.names == ("swarm", "mine")
    assert "another plugin of this name is in use" in registry.problems[0]


def test_observers_are_isolated_and_their_mistakes_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[object] = []
    extra = {
        "first": hearing(heard),
        "broken": failing("swarm_round_failed"),
        "last": plugin(swarm_round_failed=lambda: heard.append("no argument asked for")),
    }
    registry = PluginRegistry(extra=extra)
    registry.round_failed(FAILED)
    registry.round_failed(FAILED)
    assert heard == ["no argument asked for", FAILED] * 2
    assert len(caplog.records) == 1
    assert "swarm_round_failed of the plugin 'broken' raised RuntimeError: boom" in caplog.text


def test_the_last_registered_plugin_decides_first_and_the_first_reason_counts() -> None:
    asked: list[str] = []

    def deciding(name: str, reason: str | None):
        def swarm_accept_peer(peer: PeerInfo) -> str | None:
            asked.append(f"{name} {peer.name}")
            return reason

        return plugin(swarm_accept_peer=swarm_accept_peer)

    registry = PluginRegistry(extra={"a": deciding("a", "no a"), "b": deciding("b", "no b"), "c": deciding("c", None)})
    assert registry.accept_peer(PEER) == "no b"
    assert asked == ["c berlin", "b berlin"]


@pytest.mark.parametrize(
    "broken",
    [
        failing("swarm_accept_peer"),
        plugin(swarm_accept_peer=lambda peer: True),
        plugin(swarm_accept_peer=lambda peer: ""),
    ],
)
def test_a_decision_that_fails_is_no_opinion(broken: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    registry = PluginRegistry(extra={"broken": broken})
    assert registry.accept_peer(PEER) is None
    assert registry.accept_peer(PEER) is None
    assert len(caplog.records) == 1


def test_swarms_own_decisions_come_last() -> None:
    registry = PluginRegistry()
    assert registry.accept_peer(PEER) is None
    assert registry.accept_contribution(OFFER) is None
    greedy = PeerInfo(name="a", incarnation="1", address="", session="s", weight=101)
    assert "node_weightage=101" in str(registry.accept_peer(greedy))
    by_samples = replace(greedy, settings=(("node_weightage", "samples"),))
    assert registry.accept_peer(by_samples) is None
    assert "samples=1000000001" in str(registry.accept_peer(replace(by_samples, weight=10**9 + 1)))
    strict = PluginRegistry(extra={"strict": plugin(swarm_accept_peer=lambda peer: "closed")})
    assert strict.accept_peer(greedy) == "closed"


def test_a_module_is_imported_once_and_registers_for_each_registry(
    nothing_installed: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "swarm_counting.py").write_text(
        "from swarm import hookimpl\ncalls = []\n@hookimpl\ndef swarm_register():\n    calls.append(1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    nothing_installed.append(EntryPoint("counting", "swarm_counting", "swarm"))
    for expected in ([1], [1, 1]):
        assert PluginRegistry().names == ("swarm", "counting")
        assert importlib.import_module("swarm_counting").calls == expected
