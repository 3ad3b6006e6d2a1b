"""Puts an engine together from settings and plugins."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.config import Settings
from swarm.plugins import PluginRegistry
from swarm.records import PeerInfo
from swarm.rounds.rules import RoundRules
from swarm.session.engine import Engine

if TYPE_CHECKING:
    from swarm.membership.base import Membership
    from swarm.state import Schema
    from swarm.transport.base import Transport


@dataclass(frozen=True, slots=True)
class Network:
    """What a session reaches its peers through; tests put an in-memory one in its place."""

    transport: Transport
    memberships: Sequence[Membership]


def network_of(settings: Settings, plugins: PluginRegistry) -> Network:
    """gRPC, and the places where ``settings`` say that peers are to be found."""
    memberships = []
    if settings.rendezvous is not None:
        memberships.append(plugins.membership("directory")(settings))
    if settings.peers:
        memberships.append(plugins.membership("seeds")(settings))
    return Network(plugins.transport("grpc")(settings), memberships)


def build_engine(
    settings: Settings, plugins: PluginRegistry, schema: Schema, logger: logging.Logger, network: Network
) -> Engine:
    """A worker that has not started, listening under ``settings``.

    Raises:
        ConfigurationError: the merge rule or the sync policy is not known.
        AddressError: the address cannot be listened on.
    """
    rule = plugins.merge_rule(settings.merge_method)
    policy = plugins.sync_policy("validation" if settings.use_adaptive_sync else "fixed")(settings.sync_interval)
    me = PeerInfo(
        name=settings.name,
        incarnation=secrets.token_hex(8),
        address="",
        session=settings.model_name,
        fingerprint=schema.fingerprint,
        settings=settings.agreed(),
        weightage=settings.node_weightage,
        expects=settings.expected_peers,
    )
    rules = RoundRules(
        session=settings.model_name,
        min_peers=settings.min_peers,
        policy=policy,
        first_sync=policy.start(),
        expected=settings.expected_peers,
        averaging=settings.merge_method == "mean",
        wait_below_quorum=settings.below_quorum == "wait",
        failure_timeout=settings.failure_timeout,
        grace=settings.grace,
        start_timeout=settings.start_timeout,
        screen=plugins.accept_contribution,
    )
    return Engine(
        me=me,
        rules=rules,
        rule=rule,
        transport=network.transport,
        memberships=network.memberships,
        plugins=plugins,
        schema=schema,
        logger=logger,
    )
