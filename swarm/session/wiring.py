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
    """The transport that ``settings`` name, and the places where they say that peers are to be found.

    Raises:
        ConfigurationError: no plugin has such a transport or membership backend, or it lacks a setting that it needs.
    """
    memberships = [plugins.membership(name)(settings) for name in _memberships(settings)]
    return Network(plugins.transport(settings.transport)(settings), memberships)


def _memberships(settings: Settings) -> tuple[str, ...]:
    if settings.membership is not None:
        return (settings.membership,)
    given = {"directory": settings.rendezvous, "seeds": settings.peers}
    return tuple(name for name, place in given.items() if place)


def build_engine(
    settings: Settings,
    plugins: PluginRegistry,
    schema: Schema,
    logger: logging.Logger,
    network: Network,
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
