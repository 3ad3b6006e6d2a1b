"""``SwarmCallback``: asks the plugins which framework serves the arguments, and makes that one's callback."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import sys
from abc import ABC
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

from swarm.callback.foreign import KERAS_2, mismatch, platform_advice, unknown
from swarm.config.arguments import Arguments, CallbackArguments, parse_arguments
from swarm.config.packages import is_ours
from swarm.config.settings import DEFAULTS
from swarm.errors import ConfigurationError, MissingExtraError, UnknownArgumentError
from swarm.plugins import PluginRegistry
from swarm.plugins.hookspecs import Integration

if TYPE_CHECKING:
    from types import TracebackType


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

    Args:
        sync_interval: local batches between merges, default 128. The merge happens at the first hook at or after
            that many batches at which no gradient is pending. Must be the same on every peer.
        min_peers: least number of peers, this one included, that a round needs; default a majority of the expected
            peers where they are known (``world_size``, ``members``), else 2; always 1 with ``loopback``. Must be the
            same on every peer.
        use_adaptive_sync: let the interval follow the validation loss of the merged model; needs ``val_data``.
            Default False. Must be the same on every peer.
        sync_policy: what sets the interval: 'fixed', 'validation', or what plugins add, in any case. Default
            'validation' with ``use_adaptive_sync``, else 'fixed'. Must be the same on every peer.
        val_data: data on which the merged model is evaluated after each merge: ``(x, y)``, ``(x, y, sample_weight)``,
            a generator, a Keras dataset, a torch ``Dataset`` or ``DataLoader``. A generator is read once.
        val_batch_size: samples per batch for ``val_data`` given as arrays or a ``Dataset``, default 32.
        val_steps: batches read at most from ``val_data`` given as a generator, default 100.
        checkin_model_on_train_end: what this peer contributes once it has finished, until all are done. 'inactive':
            nothing; 'snapshot' (default): the weights it stopped with; 'active': each merged model again. In all
            three the model ends with the swarm's closing weights.
        node_weightage: relative importance of this peer in the merge, 0 to 100, default 1.
        ml_platform: 'TF', 'KERAS', 'PYTORCH' or what plugins add, in any case. By default inferred from ``model``;
            without one, 'KERAS' if ``keras`` is already imported.
        model_name: tag of the session, default 'swarm_model': peers with another tag never meet in a round.
        model: the model to train; required for PyTorch, handed over by Keras and Lightning.
        merge_method: 'mean' (default), 'coordmedian', 'geomedian' or what plugins add, in any case. Must be the same
            on every peer.
        codec: how weights travel: 'exact' (default), 'bf16' (half the bytes), 'int8' (a quarter), what plugins add, or
            'auto', the quickest by measurement. Must be the same on every peer.
        share: glob patterns of the names of the tensors that are merged, such as ['*lora*']; one pattern may be given
            as a string. Default all. Upper and lower case differ. Must be the same on every peer.
        local: patterns of the tensors that stay with each peer, such as ['head.*'], whatever ``share`` says. They are
            never sent or written. Must be the same on every peer.
        optimizer: for raw PyTorch, lets ``metrics`` tell the learning rate, as ``swarm_learning_rate``.
        below_quorum: without enough peers, 'train' on locally (default) or 'wait'.
        overlap: train on while a round runs in the background, default False; when it has committed, what the merge
            changed is added to the weights. Each peer may choose for itself.
        start_timeout: seconds for which ``on_train_begin`` waits for enough peers, default 600.
        total_epochs: epochs of the local training, for progress and the estimated time left only.
        loss_function: for PyTorch, the loss of the validation: a callable ``(outputs, targets)``, or a class of
            ``torch.nn`` or its name.
        loss_function_args: keyword arguments for a loss given as a class or a name.
        metric_function: for PyTorch, the metric of the validation: a callable ``(outputs, targets)``, or a class of
            ``torchmetrics`` or its name.
        metric_function_args: keyword arguments for a metric given as a class or a name.
        logger: where this callback logs, default a logger under ``swarm``.
        name: this peer's name, unique in the session; default ``peer-<rank>`` under a launcher, else the host's name.
        listen: ``host:port`` to listen on, default 127.0.0.1:0; port 0 takes a free one.
        advertise: ``host`` or ``host:port`` at which others reach this peer; by default ``listen``, or, where that is
            a wildcard such as 0.0.0.0, the address of this machine from which ``peers`` are reached.
        peers: ``host:port`` of peers to join through; one is enough.
        rendezvous: directory in which local peers publish their addresses; ``swarm up`` sets it.
        discovery: how peers find one another: 'directory', through ``rendezvous``; 'seeds', through ``peers``; or what
            plugins add, in any case. By default each of the two whose setting is given.
        transport: how messages and weights travel: 'grpc' (default), or what plugins add, in any case.
        data_channel: let weights travel over TCP connections of their own where they can, default True; elsewhere they
            travel as messages do.
        data_port: port for those connections, on the host of ``listen``; 0 (default) takes a free one.
        world_size: number of peers that a launcher started.
        rank: this peer's number under a launcher, from 0.
        members: names of the peers that belong to the swarm.
        failure_timeout: seconds without an answer after which a peer counts as lost, default 10.
        straggler_timeout: seconds a round waits for stragglers once it has enough peers; by default learned from
            their pace.
        loopback: train alone on purpose, default False.
        insecure: allow weights to travel unencrypted between machines, default False.
        data_dir: directory with the training data.
        model_dir: directory for the trained model, and for checkpoints of the committed ones.
        checkpoint_seconds: least seconds between two checkpoints in ``model_dir``, default 30.
        resume: go on from the newest checkpoint in ``model_dir``, default False.
        disabled_plugins: names of installed plugins to leave out.

    Raises:
        UnknownArgumentError: an argument is positional, unknown (the nearest known one is named), or given twice.
        MissingExtraError: the framework is not installed.
        ConfigurationError: a value is not allowed, two contradict each other, or the framework cannot be inferred.
    """

    def __new__(cls, *positional: object, **arguments: Unpack[Arguments]) -> Any:
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
        callback = _create(registry.integrations[platform], platform, dataclasses.replace(parsed, settings=settings))
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

    # What every callback has. Not abstract: calling the class is how a callback is made, also for a type checker.

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

    def on_train_begin(self) -> None:  # noqa: B027
        """Join the swarm and take on its initial weights.

        Raises:
            ConfigurationError: no swarm is configured.
            StartTimeoutError: too few peers came.
            IncompatiblePeerError: a peer trains another model, or under other settings.
        """

    def on_batch_end(self, batch: Any = None, loss: Any = None) -> None:  # noqa: B027
        """Count a batch, and merge when it is due."""

    def on_epoch_end(self, epoch: int | None = None) -> None:  # noqa: B027
        """Note the end of an epoch."""

    def on_train_end(self) -> None:  # noqa: B027
        """Take part until every peer is done; the model then holds the swarm's closing weights."""

    def abort(self, reason: str = "training was broken off") -> None:  # noqa: B027
        """Leave the swarm at once, for a loop that goes on after an error."""


def _platform(arguments: CallbackArguments, integrations: Mapping[str, Integration]) -> str:
    """The platform that the arguments name or mean."""
    model, wanted = arguments.model, arguments.settings.ml_platform
    known = ", ".join(
        f"{platform!r} (pip install 'swarm-learning[{integration.extra}]')"
        for platform, integration in integrations.items()
    )
    supported = ", ".join(map(repr, integrations))
    # the last registered is the most special: a Keras model on the torch backend is a torch module as well
    serve = [each for each in reversed(list(integrations.values())) if model is not None and each.serves(model)]
    serving = serve[0].platforms[0] if serve else None
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
            f"pip install 'swarm-learning[{integration.extra}]'"
        ) from error


def _signature() -> inspect.Signature:
    """The keyword arguments with their defaults, for ``help`` and completion."""
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS.get(name))
        for name in Arguments.__annotations__
    ]
    return inspect.Signature(parameters)


SwarmCallback.__signature__ = _signature()  # type: ignore[attr-defined]
