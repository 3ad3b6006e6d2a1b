"""``SwarmCallback``: asks the plugins which framework serves the arguments, and makes that one's callback."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import sys
from abc import ABC
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

from swarm.callback.foreign import KERAS_2, mismatch, platform_advice, unknown
from swarm.callers import is_ours
from swarm.config.arguments import Arguments, CallbackArguments, describe_arguments, parse_arguments
from swarm.config.settings import SETTINGS
from swarm.errors import ConfigurationError, MissingExtraError, UnknownArgumentError
from swarm.plugins import Integration, PluginRegistry

if TYPE_CHECKING:
    from types import TracebackType

    from swarm.records import Resumed


class SwarmCallback(ABC):
    """Trains the model of this script together with the other peers of its swarm.

    Calling it returns the callback of the framework: for Keras a ``keras.callbacks.Callback`` for
    ``model.fit(callbacks=[...])``; for raw PyTorch an object whose hooks the loop calls itself::

        callback = SwarmCallback(model=model, sync_interval=128)
        callback.on_train_begin()
        for epoch in range(epochs):
            for batch in loader:
                ...
                callback.on_batch_end()
            callback.on_epoch_end(epoch)
        callback.on_train_end()

    ``with SwarmCallback(...) as callback:`` around that makes this peer leave at once if the loop raises.

    Arguments beat the variables ``SWARM_<NAME>``, which beat the table ``[swarm]`` of ``swarm.toml``, which beats the
    defaults; ``None`` means not given. Environment and file are read when the callback is made. That a swarm is
    configured is checked by ``on_train_begin``. HPE's spellings (``syncFrequency``, ``minPeers``, ...) are accepted
    with a ``DeprecationWarning``.

    ``help(swarm.SwarmCallback)`` describes each argument, as does ``docs/parameters.md``.

    Raises:
        UnknownArgumentError: an argument is positional, unknown (the nearest known one is named), or given twice.
        MissingExtraError: the framework is not installed.
        ConfigurationError: a value is not allowed, two contradict each other, or the framework cannot be inferred.
    """

    def __new__(cls, *positional: object, **arguments: Unpack[Arguments]) -> Self:
        """Make the callback of the framework that the arguments mean."""
        if positional:
            raise UnknownArgumentError(
                f"SwarmCallback takes arguments by name only, not {positional[0]!r}: write for example "
                "SwarmCallback(sync_interval=128, min_peers=2)"
            )
        parsed = parse_arguments(arguments)
        registry = PluginRegistry(parsed.settings.disabled_plugins)
        registry.merge_rule(parsed.settings.merge_method)
        registry.sync_policy(parsed.settings.policy)
        registry.require_codec(parsed.settings.codec)
        platform = _platform(parsed, registry.integrations)
        settings = dataclasses.replace(parsed.settings, ml_platform=platform)
        callback: Self = _create(
            registry.integrations[platform], platform, dataclasses.replace(parsed, settings=settings)
        )
        cls.register(type(callback))
        return callback

    def __init_subclass__(cls) -> None:
        """Refuse subclasses, whose methods no call would ever reach."""
        raise TypeError(
            f"{cls.__name__} cannot derive from swarm.SwarmCallback, which makes the callback of a framework: "
            "derive from that one, such as swarm_keras.SwarmCallback"
        )

    logger: logging.Logger
    """Where the callback logs."""

    # What callbacks have. Not abstract: calling the class is how a callback is made, also for a type checker.

    def __enter__(self) -> Self:
        """Open nothing: ``on_train_begin`` joins."""
        raise NotImplementedError

    def __exit__(  # noqa: B027
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the swarm if training has not ended: at once after an error, with a warning otherwise."""

    @property
    def metrics(self) -> dict[str, float]:
        """What is known of the swarm so far, such as ``swarm_rounds`` and ``swarm_val_loss``."""
        raise NotImplementedError

    @property
    def swarm_over(self) -> bool:
        """Whether the session has closed, or this peer was removed from it."""
        raise NotImplementedError

    @property
    def all_done(self) -> bool:
        """With ``train_until="all"``: whether this peer has trained its own epochs, and all others have too."""
        raise NotImplementedError

    @property
    def resumed(self) -> Resumed:
        """How much of its training this peer has done, where a run is resumed; False, with zeros, where none is."""
        raise NotImplementedError

    @property
    def swarm_batches(self) -> int:
        """Batches that a peer had trained when this one began, if it was there from the start."""
        raise NotImplementedError

    def epochs(self, count: int, *, start: int | None = None) -> Iterator[int]:
        """The numbers of the epochs to train, and more where ``train_until="all"``; only with raw PyTorch."""
        raise NotImplementedError

    def on_train_begin(self) -> None:  # noqa: B027
        """Join the swarm; the model then holds the weights that all peers start from.

        Raises:
            ConfigurationError: no swarm is configured.
            StartTimeoutError: too few peers came.
            IncompatiblePeerError: a peer trains another model, or under other settings.
        """

    def on_batch_end(self, batch: Any = None, loss: Any = None, *, stepped: bool = True) -> None:  # noqa: B027
        """Count a batch, and merge when it is due; ``stepped``: whether the optimizer has made its step."""

    def on_epoch_end(self, epoch: int | None = None) -> None:  # noqa: B027
        """Note the end of an epoch."""

    def on_train_end(self) -> None:  # noqa: B027
        """Take part until every peer is done; the model then holds the swarm's closing weights."""

    def abort(self, reason: str = "training was aborted") -> None:  # noqa: B027
        """Leave the swarm at once, for a loop that goes on after an error."""


def _platform(arguments: CallbackArguments, integrations: Mapping[str, Integration]) -> str:
    """The platform that the arguments name or mean."""
    model, wanted = arguments.model, arguments.settings.ml_platform
    known = ", ".join(
        f"{platform!r} (pip install '{integration.requirement}')" for platform, integration in integrations.items()
    )
    supported = ", ".join(map(repr, integrations))
    # the last registered is the most special: a Keras model on the torch backend is a torch module as well
    serve = [each for each in reversed(list(integrations.values())) if model is not None and each.serves(model)]
    serving = next((each.platforms[0] for each in serve if each.inferred), None)
    if wanted is not None:
        if wanted not in integrations:
            advice = platform_advice(wanted)
            raise ConfigurationError(
                f"ml_platform={wanted!r} is served by no plugin: known are {known}{advice and f'; {advice}'}"
            )
        if model is not None and integrations[wanted] not in serve:
            raise ConfigurationError(mismatch(model, wanted, serving, supported))
        return wanted
    if model is not None:
        if serving is None:
            raise ConfigurationError(unknown(model, supported))
        return serving
    if "keras" in sys.modules and "KERAS" in integrations:
        return "KERAS"
    if "tf_keras" in sys.modules:
        raise ConfigurationError(f"the framework cannot be inferred, and tf_keras is imported: {KERAS_2}")
    raise ConfigurationError(
        "the framework cannot be inferred: give model= (PyTorch), import keras first (Keras), use "
        f"swarm_lightning.SwarmLightningCallback (Lightning), or give ml_platform=, known are {known}"
    )


def _create(integration: Integration, platform: str, arguments: CallbackArguments) -> Any:
    try:
        return integration.create(arguments)
    except ModuleNotFoundError as error:
        if error.name is None or is_ours(error.name):
            raise
        raise MissingExtraError(
            f"ml_platform={platform!r} needs {error.name!r}, which is not installed: "
            f"pip install '{integration.requirement}'"
        ) from error


def _signature() -> inspect.Signature:
    """The keyword arguments with their defaults, for ``help`` and completion."""
    defaults = {name: row.default for name, row in SETTINGS.items()}
    return inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name))
            for name in Arguments.__annotations__
        ]
    )


SwarmCallback.__signature__ = _signature()  # type: ignore[attr-defined]
SwarmCallback.__doc__ = f"{inspect.cleandoc(SwarmCallback.__doc__ or '')}\n\n{describe_arguments()}"
