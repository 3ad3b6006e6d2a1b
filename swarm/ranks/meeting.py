"""The processes of a site that exchanges shards meet: they compare what each has, and rank 0 connects to the others."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from swarm.addresses import Address, is_wildcard, join, parse_advertised
from swarm.config.rates import LEAST, Rate
from swarm.errors import ConfigurationError
from swarm.ranks.directed import DirectedRanks
from swarm.ranks.layout import Layout
from swarm.ranks.link import KEY_BYTES, Link, LinkListener, connect
from swarm.ranks.shard_peer import ShardPeer
from swarm.ranks.together import all_say

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from swarm.config import Settings
    from swarm.executor import Executor
    from swarm.plugins import PluginRegistry
    from swarm.ranks.group import ProcessGroup
    from swarm.ranks.shard_port import ShardPort
    from swarm.ranks.shard_store import ShardStore
    from swarm.transport.base import Transport


def meet_layout(group: ProcessGroup, port: ShardPort) -> Layout:
    """Which process has which rows of each tensor. Each process calls this.

    Raises:
        ConfigurationError: shards cannot be exchanged with this model.
        ModelError: the parts of a tensor are not the tensor.
        RanksError: a process is gone.
    """
    return Layout(port.whole(), all_say(group, lambda: list(port.rows())))


def direct(group: ProcessGroup) -> DirectedRanks:
    """Rank 0: connect to the other processes, which call ``be_directed``.

    Raises:
        SwarmError: what one of them raised.
        RanksError: a process is gone.
    """
    key = np.frombuffer(os.urandom(KEY_BYTES), np.uint8).copy()
    group.share(key)
    told = all_say(group, dict)[1:]
    links = [partial(connect, each["host"], each["port"], key.tobytes()) for each in told]
    return DirectedRanks([each["address"] for each in told], links)


def be_directed(
    group: ProcessGroup,
    settings: Settings,
    plugins: PluginRegistry,
    layout: Layout,
    store: ShardStore,
    transport: Callable[[Settings, PluginRegistry], Transport],
    executor: Executor,
    logger: logging.Logger,
) -> ShardPeer:
    """Another rank: listen for other sites, and for rank 0, which calls ``direct``.

    Args:
        group: of the site.
        settings: of the site.
        plugins: of this process.
        layout: of the model.
        store: of this process.
        transport: makes the transport of this process.
        executor: runs the work of this process.
        logger: where to report.

    Raises:
        SwarmError: the address cannot be listened on, or ``max_mbit`` is too low; rank 0 raises it too.
        RanksError: a process is gone.
    """
    key = np.zeros(KEY_BYTES, np.uint8)
    group.share(key)
    peers: list[ShardPeer] = []

    def listen() -> dict[str, Any]:
        schema, own = layout.shard(group.rank), of_rank(settings, group.rank, layout.ranks)
        peer = ShardPeer(group.rank, transport(own, plugins), own, plugins, schema, store, executor, logger)
        peers.append(peer)
        host = Address.parse(own.listen).host
        listener = LinkListener(host, key.tobytes(), group.time_out)
        peer.link = Link(listener.accept, peer.hear, lambda _: None)  # the process group tells of a rank 0 that is gone
        reached = Address.parse(peer.address).host if is_wildcard(host) else host
        return {"address": peer.address, "host": reached, "port": listener.port}

    try:
        all_say(group, listen)
    except BaseException:
        for peer in peers:
            peer.close()
        raise
    return peers[0]


def of_rank(settings: Settings, rank: int, ranks: int) -> Settings:
    """The settings with which one of the ``ranks`` shards of a site is exchanged.

    Ports that are given are those of rank 0, and the next ones of the others. Each has its part of ``max_mbit``.

    Raises:
        ConfigurationError: the part is less than other sites take.
    """
    listen = Address.parse(settings.listen)
    own: dict[str, Any] = {"max_mbit": _parts(settings.max_mbit, ranks)}
    if listen.port:
        own["listen"] = str(replace(listen, port=listen.port + rank))
    if settings.data_port:
        own["data_port"] = settings.data_port + rank
    if settings.advertise:
        host, port = parse_advertised(settings.advertise)
        own["advertise"] = join(host, None if port is None else port + rank)
    return replace(settings, **own)


def _parts(limits: tuple[str, ...], ranks: int) -> tuple[str, ...]:
    try:
        return tuple(str(Rate.parse(limit).part(ranks)) for limit in limits)
    except ValueError:
        raise ConfigurationError(
            f"max_mbit={','.join(limits)} is too low: {ranks} shards share it, and each needs {LEAST:g} Mbit/s, or "
            f"others give it up: allowed is {LEAST * ranks:g} or more with exchange_shards"
        ) from None
