"""Swarm's own plugin: what it offers without any other installed. Loads no framework and no gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarm.errors import ConfigurationError
from swarm.plugins import Integration, Register, hookimpl
from swarm.records import MAX_SAMPLES, MAX_WEIGHT

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.config.arguments import CallbackArguments
    from swarm.discovery.base import Discovery
    from swarm.plugins import Export
    from swarm.records import PeerInfo
    from swarm.transport.base import Transport


@hookimpl
def swarm_register(register: Register) -> None:
    """Add the built-in rules, codecs, policies, transports and discovery, and raw PyTorch."""
    from swarm.codec import BUILTIN_CODECS
    from swarm.merge import BUILTIN_RULES
    from swarm.sync import BUILTIN_POLICIES

    for name, rule in BUILTIN_RULES.items():
        register.merge_rule(name, rule)
    for name, codec in BUILTIN_CODECS.items():
        register.codec(name, codec)
    for name, policy in BUILTIN_POLICIES.items():
        register.sync_policy(name, policy)
    register.transport("grpc", _grpc)
    register.discovery("seeds", _seeds)
    register.discovery("directory", _directory)
    register.discovery("consortium", _consortium)
    register.integration(
        Integration(
            platforms=("PYTORCH",),
            extra="torch",
            serves=_is_module,
            create=_torch_callback,
            exporters={".pt": _state_dict, ".onnx": _onnx},
        )
    )


@hookimpl(trylast=True)
def swarm_accept_peer(peer: PeerInfo) -> str | None:
    """Refuse a weight that no setting allows."""
    setting, highest = ("samples", MAX_SAMPLES) if peer.by_samples else ("node_weightage", MAX_WEIGHT)
    if 0 <= peer.weight <= highest:
        return None
    return f"it declares {setting}={peer.weight}: allowed is 0 to {highest}"


def _grpc(settings: Settings) -> Transport:
    from swarm.transport.grpc import of_settings

    return of_settings(settings)


def _seeds(settings: Settings) -> Discovery:
    from swarm.discovery.seeds import SeedDiscovery

    if not settings.peers:
        raise ConfigurationError(
            "the discovery 'seeds' needs peers, one address of a running peer at least; "
            "the first peer of a swarm leaves discovery out and sets listen"
        )
    return SeedDiscovery(settings.peers)


def _directory(settings: Settings) -> Discovery:
    from swarm.discovery.directory import DirectoryDiscovery

    if settings.rendezvous is None:
        raise ConfigurationError("the discovery 'directory' needs rendezvous, the directory to meet in")
    return DirectoryDiscovery(settings.rendezvous, settings.model_name)


def _consortium(settings: Settings) -> Discovery:
    from swarm.discovery.consortium import ConsortiumDiscovery
    from swarm.identity import identity_at

    if settings.identity is None:
        raise ConfigurationError("the discovery 'consortium' needs identity, the directory that `swarm join` makes")
    return ConsortiumDiscovery(identity_at(settings.identity))


def _is_module(model: object) -> bool:
    return any(
        base.__name__ == "Module" and base.__module__ == "torch.nn.modules.module" for base in type(model).__mro__
    )


def _torch_callback(arguments: CallbackArguments) -> Any:
    from swarm.pytorch import TorchCallback

    return TorchCallback.from_arguments(arguments)


def _state_dict(export: Export) -> None:
    from swarm.pytorch.exporting import write_state_dict

    write_state_dict(export)


def _onnx(export: Export) -> None:
    from swarm.pytorch.exporting import write_onnx

    write_onnx(export)
