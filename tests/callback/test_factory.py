from __future__ import annotations

import dataclasses
import inspect
import sys
from types import ModuleType

import pytest

import swarm
from swarm.callback import CallbackArguments, factory
from swarm.errors import ConfigurationError, MissingExtraError, UnknownArgumentError
from swarm.plugins.hookspecs import Integration


class Base:
    """The model of a framework."""


class Special(Base):
    """The model of a framework that builds on the other one."""


class BaseCallback:
    def __init__(self, arguments: CallbackArguments) -> None:
        self.arguments = arguments


class SpecialCallback(BaseCallback):
    pass


def _absent(_arguments: CallbackArguments) -> object:
    raise ModuleNotFoundError("No module named 'absent'", name="absent.core")


def _integration(platforms: tuple[str, ...], model: type, create) -> Integration:
    return Integration(
        platforms=platforms,
        extra=platforms[0].lower(),
        serves=lambda candidate: isinstance(candidate, model),
        create=create,
    )


BASE = _integration(("BASE",), Base, BaseCallback)
SPECIAL = _integration(("KERAS", "TF"), Special, SpecialCallback)
ABSENT = _integration(("ABSENT",), int, _absent)


@pytest.fixture(autouse=True)
def _frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two frameworks and one that is not installed, in the place of the real ones."""

    class Registry:
        integrations = {"BASE": BASE, "KERAS": SPECIAL, "TF": SPECIAL, "ABSENT": ABSENT}  # noqa: RUF012

        def __init__(self, disabled: tuple[str, ...]) -> None:
            pass

        def merge_rule(self, name: str) -> None:
            if name != "mean":
                raise ConfigurationError(name)

        def sync_policy(self, name: str) -> None:
            if name != "fixed":
                raise ConfigurationError(name)

        def require_codec(self, name: str) -> None:
            if name != "exact":
                raise ConfigurationError(name)

    monkeypatch.setattr(factory, "PluginRegistry", Registry)
    monkeypatch.delitem(sys.modules, "keras", raising=False)


def test_the_frameworks_callback_is_a_swarm_callback() -> None:
    callback = swarm.SwarmCallback(model=Base(), sync_interval=7)
    assert type(callback) is BaseCallback
    assert isinstance(callback, swarm.SwarmCallback)
    assert callback.arguments.settings.sync_interval == 7


@pytest.mark.parametrize(
    ("arguments", "expected", "platform"),
    [
        ({"model": Base()}, BaseCallback, "BASE"),
        ({"model": Special()}, SpecialCallback, "KERAS"),
        ({"model": Special(), "ml_platform": "tf"}, SpecialCallback, "TF"),
        ({"model": Special(), "ml_platform": "base"}, BaseCallback, "BASE"),
        ({"ml_platform": "KERAS"}, SpecialCallback, "KERAS"),
    ],
)
def test_the_platform_is_given_or_inferred_from_the_model(arguments, expected: type, platform: str) -> None:
    callback = swarm.SwarmCallback(**arguments)
    assert type(callback) is expected
    assert callback.arguments.settings.ml_platform == platform


def test_without_model_and_platform_keras_is_meant_if_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="cannot be inferred: give model="):
        swarm.SwarmCallback()
    monkeypatch.setitem(sys.modules, "keras", ModuleType("keras"))
    assert type(swarm.SwarmCallback()) is SpecialCallback


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"ml_platform": "JAX"},
            r"ml_platform='JAX' is served by no plugin: .*'TF' \(pip install 'swarm-learning\[keras\]'\)",
        ),
        ({"ml_platform": "KERAS", "model": Base()}, "ml_platform='KERAS' does not serve model=Base"),
        ({"model": "resnet"}, "model=str is of no known framework"),
        ({"model": Base(), "merge_method": "median"}, "median"),
        ({"model": Base(), "sync_policy": "slow"}, "slow"),
        ({"model": Base(), "codec": "zip"}, "zip"),
    ],
)
def test_what_no_plugin_serves_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        swarm.SwarmCallback(**arguments)


def test_a_framework_that_is_not_installed_names_its_extra() -> None:
    with pytest.raises(
        MissingExtraError, match=r"'ABSENT' needs 'absent.core'.*pip install 'swarm-learning\[absent\]'"
    ):
        swarm.SwarmCallback(ml_platform="ABSENT")


def test_an_integration_of_a_plugin_names_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = dataclasses.replace(ABSENT, extra="", distribution="swarm-absent")
    monkeypatch.setitem(factory.PluginRegistry.integrations, "ABSENT", plugin)
    with pytest.raises(MissingExtraError, match="'ABSENT' needs 'absent.core'.*pip install 'swarm-absent'"):
        swarm.SwarmCallback(ml_platform="ABSENT")
    with pytest.raises(ConfigurationError, match="'ABSENT' \\(pip install 'swarm-absent'\\)"):
        swarm.SwarmCallback(ml_platform="UNKNOWN")


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(UnknownArgumentError, match="by name only, not 128"):
        swarm.SwarmCallback(128, 2)


def test_an_hpe_spelling_is_warned_of_here() -> None:
    with pytest.warns(DeprecationWarning, match="sync_interval") as caught:
        swarm.SwarmCallback(syncFrequency=3, model=Base())
    assert caught[0].filename == __file__


def test_a_subclass_is_refused() -> None:
    with pytest.raises(TypeError, match="derive from that one"):

        class Mine(swarm.SwarmCallback):
            pass


def test_the_signature_shows_every_default() -> None:
    parameters = inspect.signature(swarm.SwarmCallback).parameters
    assert parameters["sync_interval"].default == 128
    assert parameters["val_data"].default is None
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
