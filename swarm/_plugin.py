"""Swarm's own plugin: what it offers without any other installed. Loads no framework and no gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarm.errors import ConfigurationError
from swarm.hookspecs import Integration, Register, hookimpl

if TYPE_CHECKING:
    from swarm.callback import CallbackArguments
    from swarm.config import Settings
    from swarm.membership.base import Membership
    from swarm.records import PeerInfo
    from swarm.transport.base import Transport

HIGHEST_WEIGHTAGE = 100


@hookimpl
def swarm_register(register: Register) -> None:
    """Add the built-in rules, codecs, policies, transports and membership backends, and raw PyTorch."""
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
    register.transport("memory", _memory)
    register.membership("seeds", _seeds)
    register.membership("directory", _directory)
    register.integration(Integration(platforms=("PYTORCH",), extra="torch", serves=_is_module, create=_torch_callback))


@hookimpl(trylast=True)
def swarm_accept_peer(peer: PeerInfo) -> str | None:
    """Refuse a weightage that no setting allows."""
    if 0 <= peer.weightage <= HIGHEST_WEIGHTAGE:
        return None
    return f"it declares node_weightage={peer.weightage}: allowed is 0 to {HIGHEST_WEIGHTAGE}"


def _grpc(settings: Settings) -> Transport:
    from swarm.transport.grpc import GrpcTransport

    return GrpcTransport(
        settings.listen,
        advertise=settings.advertise,
        peers=settings.peers,
        failure_timeout=settings.failure_timeout,
    )


def _memory(_settings: Settings) -> Transport:
    """A network of its own: for a peer that trains alone."""
    from swarm.transport.memory import MemoryNetwork, MemoryTransport

    return MemoryTransport(MemoryNetwork())


def _seeds(settings: Settings) -> Membership:
    from swarm.membership.seeds import SeedMembership

    if not settings.peers:
        raise ConfigurationError(
            "the membership backend 'seeds' needs peers, one address of a running peer at least; "
            "the first peer of a swarm leaves membership out and sets listen"
        )
    return SeedMembership(settings.peers)


def _directory(settings: Settings) -> Membership:
    from swarm.membership.directory import DirectoryMembership

    if settings.rendezvous is None:
        raise ConfigurationError("the membership backend 'directory' needs rendezvous, the directory to meet in")
    return DirectoryMembership(settings.rendezvous, settings.model_name)


def _is_module(model: object) -> bool:
    return any(
        base.__name__ == "Module" and base.__module__ == "torch.nn.modules.module" for base in type(model).__mro__
    )


def _torch_callback(arguments: CallbackArguments) -> Any:
    from swarm.pytorch import TorchCallback

    return TorchCallback.from_arguments(arguments)
