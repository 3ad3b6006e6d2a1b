"""Fetches a model from several live peers at once, one share from each."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from swarm.errors import ExchangeError, SwarmError
from swarm.exchange.whole import Assembly
from swarm.executor import Executor
from swarm.messages import FetchRequest
from swarm.peer.roster import Roster
from swarm.records import PeerId, PeerInfo
from swarm.tensors.state import ModelState, Schema
from swarm.text import MAX_SHOWN, printable
from swarm.transport.base import Transport

MOST_SOURCES = 8
"""Peers asked at once."""


class Fetcher:
    """Fetches models on its own threads."""

    def __init__(
        self,
        *,
        me: PeerInfo,
        schema: Schema,
        transport: Transport,
        roster: Roster,
        timeout: float,
        logger: logging.Logger,
        executor: Executor,
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        """``post`` hands work to the worker's thread."""
        self._me = me
        self._schema = schema
        self._transport = transport
        self._roster = roster
        self._timeout = timeout
        self._log = logger
        self._executor = executor
        self._post = post

    def fetch(self, digest: str, sources: Sequence[PeerId], done: Callable[[ModelState | None], None]) -> None:
        """Fetch the model with ``digest``; ``done`` gets it, or None, on the worker's thread."""
        infos = {peer: self._roster.info(peer) for peer in sources}
        addresses = {peer: info.address for peer, info in infos.items() if info}
        request = FetchRequest(self._me.session, self._me.name, digest)

        def run() -> None:
            model = None
            try:
                model = fetch_model(self._transport, addresses, request, self._schema, self._timeout, self._executor)
            except SwarmError as error:
                self._log.info("could not fetch a model: %s", printable(str(error), MAX_SHOWN))
            finally:
                self._post(lambda: done(model))

        self._executor.start("swarm-fetch", run)


def fetch_model(
    transport: Transport,
    sources: Mapping[PeerId, str],
    request: FetchRequest,
    schema: Schema,
    timeout: float,
    executor: Executor,
) -> ModelState:
    """The model that ``request`` names by digest.

    Each source gives one share. If a source fails, the others give its share.

    Args:
        transport: to reach the sources.
        sources: address of each peer that should hold the model.
        request: whom it is for, and the digest.
        schema: of the model.
        timeout: seconds without data after which a source counts as failed.
        executor: asks the sources at the same time.

    Raises:
        ExchangeError: the sources could not give the whole model, or what they gave has another digest.
    """
    asked = dict(sorted(sources.items())[:MOST_SOURCES])
    assembly = Assembly(schema, len(asked))
    shares: queue.SimpleQueue[int] = queue.SimpleQueue()
    for part in range(len(asked)):
        shares.put(part)

    def draw(peer: PeerId) -> str | None:
        """Fetch shares from ``peer`` until none is left; returns the reason if it fails."""
        while True:
            try:
                part = shares.get_nowait()
            except queue.Empty:
                return None
            wanted = replace(request, part=part, parts=len(asked))
            try:
                assembly.take(part, transport.fetch(asked[peer], wanted, timeout))
            except SwarmError as error:
                shares.put(part)
                error.__traceback__ = None  # its frames refer to the model, and some of them to the error
                return f"{peer}: {error}"

    reasons: list[str] = []
    able = list(asked)
    while assembly.missing and able:
        outcomes = executor.map("swarm-fetch", draw, able)
        reasons += [reason for reason in outcomes.values() if reason]
        able = [peer for peer in able if outcomes[peer] is None]
    if assembly.missing:
        raise ExchangeError("; ".join(reasons) or "there are no sources")
    model = assembly.model()
    digest = model.digest()
    if digest != request.digest:
        raise ExchangeError(f"{', '.join(asked)} gave a model with digest {digest}, not {request.digest}")
    return model
