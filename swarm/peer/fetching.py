"""Fetches a model from several live peers at once, one share from each."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from swarm.certification.chain import Verifier
from swarm.certification.statements import record_hash
from swarm.clock import Clock
from swarm.errors import ExchangeError, FalseModelError, SwarmError, UnreachablePeerError
from swarm.exchange.owed import Owed
from swarm.exchange.whole import Assembly, share_nbytes
from swarm.executor import Executor
from swarm.messages import FetchRequest
from swarm.peer.deadlines import TIMEOUTS, USEFUL, Deadlines
from swarm.peer.record_frames import read_records
from swarm.peer.roster import Roster
from swarm.records import Commit, PeerId, PeerInfo
from swarm.tensors.state import MOMENTS, ModelState, Schema, is_finite
from swarm.text import MAX_SHOWN, printable, short_digest
from swarm.transport.base import Transport

if TYPE_CHECKING:
    from swarm.storage.ledger import Ledger

RECORD_TIMEOUTS = 12
"""Time-outs within which one source gives its records."""
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
        ledger: Ledger,
        verifier: Verifier,
        timeout: float,
        logger: logging.Logger,
        executor: Executor,
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        """``post`` hands work to the worker's thread; ``verifier`` tells true records, which ``ledger`` gets."""
        self._ledger = ledger
        self._verifier = verifier
        self._me = me
        self._schema = schema
        self._transport = transport
        self._roster = roster
        self._timeout = timeout
        self._log = logger
        self._executor = executor
        self._post = post
        self._false: set[PeerId] = set()
        """Peers that gave a false model."""

    def catch_up(
        self,
        commit: Commit,
        sources: Sequence[PeerId],
        after: str,
        done: Callable[[tuple[list[Commit], ModelState] | None, Collection[PeerId]], None],
    ) -> None:
        """Fetch the records up to ``commit`` and its model.

        ``done`` gets the records that were not in the ledger and are now, and the model, or None; and the sources that
        gave no true records. It is called on the worker's thread.

        Args:
            commit: as the sources tell of it.
            sources: who should have it.
            after: hash of the last record of this peer; empty if it has none.
            done: takes the outcome.
        """
        infos = self._infos(sources)
        addresses = _addresses(infos)
        request = FetchRequest(self._me.session, self._me.name, commit.digest)

        def run() -> None:
            found = None
            untrue: set[PeerId] = set()
            try:
                records = self._records(commit, addresses, after, untrue)
                model = self._model(request, infos)
                self._ledger.append(records)
                found = records, model
            except SwarmError as error:
                self._log.info("could not catch up: %s", printable(str(error), MAX_SHOWN))
            finally:
                self._post(lambda: done(found, untrue))

        self._executor.start("swarm-fetch", run)

    def _records(self, commit: Commit, sources: Mapping[PeerId, str], after: str, untrue: set[PeerId]) -> list[Commit]:
        """The records up to ``commit`` from the first source whose records are true; the others go to ``untrue``.

        Raises:
            ExchangeError: no source has them.
        """
        before = self._ledger.get(commit.previous) if commit.previous else None
        if before and not self._verifier.doubt(commit, before):
            return [commit]
        wanted = record_hash(commit)
        request = FetchRequest(self._me.session, self._me.name, wanted, records=True, after=after)
        reasons = []
        for peer, address in sorted(sources.items()):
            try:
                records = self._true_records(self._transport.fetch(address, request, self._timeout))
            except SwarmError as error:
                reasons.append(f"{peer}: {error}")
                if not isinstance(error, UnreachablePeerError):
                    untrue.add(peer)
                continue
            if records and record_hash(records[-1]) == wanted:
                return records
            reasons.append(f"{peer}: it gave other records")
            untrue.add(peer)
        raise ExchangeError("; ".join(reasons) or "there are no sources")

    def _true_records(self, frames: Iterator[memoryview]) -> list[Commit]:
        """The records in ``frames``, each of which is checked as it comes: only true ones take memory.

        Raises:
            ExchangeError: one is not true, or they take too long.
        """
        until = self._executor.now() + RECORD_TIMEOUTS * self._timeout
        records: list[Commit] = []
        for record in read_records(frames):
            before = records[-1] if records else self._ledger.get(record.previous) if record.previous else None
            doubt = self._verifier.doubt(record, before)
            if doubt or self._executor.now() > until:
                raise ExchangeError(doubt or f"{len(records)} records took too long")
            records.append(record)
        return records

    def _infos(self, sources: Sequence[PeerId]) -> dict[PeerId, PeerInfo]:
        infos = {peer: self._roster.info(peer) for peer in sources}
        return {peer: info for peer, info in infos.items() if info}

    def _model(self, request: FetchRequest, sources: Mapping[PeerId, PeerInfo]) -> ModelState:
        """The model that ``request`` names by digest.

        What several sources give together does not tell which of them is false, so each is asked alone then. One that
        alone gives a false model is named in the log, and asked again only where all sources have given one.

        Raises:
            ExchangeError: no source gives the model.
        """
        trusted = {peer: info for peer, info in sources.items() if peer not in self._false} or sources
        try:
            return self._fetched(request, trusted)
        except FalseModelError as error:
            self._tell_false(error, trusted)
            reasons = [str(error)]
            if len(trusted) == 1:
                raise
        for peer in sorted(trusted)[:MOST_SOURCES]:
            alone = {peer: trusted[peer]}
            try:
                return self._fetched(request, alone)
            except ExchangeError as error:
                self._tell_false(error, alone)
                reasons.append(str(error))
        raise ExchangeError("; ".join(reasons))

    def _tell_false(self, error: ExchangeError, sources: Collection[PeerId]) -> None:
        if isinstance(error, FalseModelError) and len(sources) == 1:
            self._false.update(sources)
            self._log.warning(
                "%s: it is not asked again where another peer has the model", printable(str(error), MAX_SHOWN)
            )

    def _fetched(self, request: FetchRequest, sources: Mapping[PeerId, PeerInfo]) -> ModelState:
        """What the sources give together.

        Raises:
            FalseModelError: it is not what ``request`` names.
            ExchangeError: they do not give a whole model.
        """
        model = self._given(request, sources)
        require_true(model, model.digest(), request.digest, sources)
        return model

    def _given(self, request: FetchRequest, sources: Mapping[PeerId, PeerInfo]) -> ModelState:
        """What the sources give under the digest in ``request``, which is not compared."""
        return fetch_given(
            self._transport, _addresses(sources), request, self._schema, self._timeout, self._executor, self._log
        )

    def fetch(self, digest: str, sources: Sequence[PeerId], done: Callable[[ModelState | None], None]) -> None:
        """Fetch the model with ``digest``; ``done`` gets it, or None, on the worker's thread."""
        infos = self._infos(sources)
        request = FetchRequest(self._me.session, self._me.name, digest)

        def run() -> None:
            model = None
            try:
                model = self._model(request, infos)
            except SwarmError as error:
                self._log.info("could not fetch a model: %s", printable(str(error), MAX_SHOWN))
            finally:
                self._post(lambda: done(model))

        self._executor.start("swarm-fetch", run)


def fetch_given(
    transport: Transport,
    sources: Mapping[PeerId, str],
    request: FetchRequest,
    schema: Schema,
    timeout: float,
    executor: Executor,
    log: logging.Logger,
) -> ModelState:
    """What the sources give as the model that ``request`` names by digest, which is not compared.

    Each source gives one share. If a source fails, or is far slower than the others, these give its share.

    Args:
        transport: to reach the sources.
        sources: address of each peer that should hold the model.
        request: whom it is for, and the digest.
        schema: of the model.
        timeout: seconds without data after which a source counts as failed.
        executor: asks the sources at the same time.
        log: where sources are named that failed.

    Raises:
        ExchangeError: the sources could not give the whole model.
    """
    asked = dict(sorted(sources.items())[:MOST_SOURCES])
    assembly = Assembly(schema, len(asked))
    reasons: list[str] = []
    able = list(asked)
    until = executor.now() + TIMEOUTS * timeout + 2 * schema.nbytes / USEFUL
    while assembly.missing and able:
        attempt = _Attempt(assembly.missing, able, schema, len(asked), timeout, until, executor)

        def draw(peer: PeerId, attempt: _Attempt = attempt) -> str | None:
            """Fetch shares from ``peer`` until none is left; returns the reason if it fails."""
            for part in attempt.shares(peer):
                wanted = replace(request, part=part, parts=len(asked))
                try:
                    frames = transport.fetch(asked[peer], wanted, timeout)
                    assembly.take(part, attempt.watched(peer, frames))
                except SwarmError as error:
                    error.__traceback__ = None  # its frames refer to the model, and some of them to the error
                    return f"{peer}: {error}"
            return None

        outcomes = executor.map("swarm-fetch", draw, able)
        reasons += [reason for reason in outcomes.values() if reason]
        able = [peer for peer in able if outcomes[peer] is None]
    if assembly.missing:
        raise ExchangeError("; ".join(reasons) or "there are no sources")
    if reasons:
        log.info("others gave parts of a model in place of %s", printable("; ".join(reasons), MAX_SHOWN))
    return assembly.model()


def require_true(model: ModelState, digest: str, wanted: str, sources: Iterable[PeerId]) -> None:
    """Refuse a model that was fetched and is not the one that was asked for.

    Args:
        model: what the sources gave; of a sharded one, the shard of this process.
        digest: of the whole model.
        wanted: the digest that was asked for.
        sources: who gave it.

    Raises:
        FalseModelError: the digests differ, or the model has NaN or infinity.
    """
    gave = f"{', '.join(sorted(sources)[:MOST_SOURCES])} gave a model with"
    if digest != wanted:
        raise FalseModelError(f"{gave} digest {short_digest(digest)}, not {short_digest(wanted)}")
    if not is_sound(model):
        raise FalseModelError(f"{gave} NaN or infinity")


def is_sound(model: ModelState) -> bool:
    """Whether its weights are finite."""
    return all(is_finite(values) for name, values in model.segments.items() if name != MOMENTS)


def _addresses(infos: Mapping[PeerId, PeerInfo]) -> dict[PeerId, str]:
    return {peer: info.address for peer, info in infos.items()}


class _Attempt:
    """Sources that give shares of a model at the same time, each on its own thread, and how fast they are."""

    def __init__(
        self,
        parts: Collection[int],
        sources: Collection[PeerId],
        schema: Schema,
        count: int,
        timeout: float,
        until: float,
        clock: Clock,
    ) -> None:
        self._schema = schema
        self._count = count
        self._timeout = timeout
        self._until = until
        self._clock = clock
        self._lock = Lock()
        self._parts = deque(parts)
        self._left = dict.fromkeys(sources, 0)
        """Bytes that the sources at work have still to send of their shares."""
        # Nobody can take the place of one source alone: it is bounded by ``until`` only.
        self._deadlines = Deadlines(sources, max(1, len(sources) // 2), 0, clock.now())

    def shares(self, peer: PeerId) -> Iterator[int]:
        """The shares for ``peer`` to fetch, one after the other; once it fails, it asks for no more."""
        while True:
            with self._lock:
                if not self._parts:
                    del self._left[peer]
                    return
                part = self._parts.popleft()
                self._left[peer] = share_nbytes(self._schema, part, self._count)
            yield part

    def watched(self, peer: PeerId, frames: Iterator[memoryview]) -> Iterator[memoryview]:
        """The frames of a share that ``peer`` sends, as long as it is fast enough.

        Raises:
            ExchangeError: the others are done, and it is too slow; or the whole download takes too long.
        """
        for data in frames:
            now = self._clock.now()
            with self._lock:
                self._left[peer] = max(self._left[peer] - len(data), 0)
                self._deadlines.moved(peer, len(data), now)
                owed = Owed("its share", 1, self._left)
                behind = self._deadlines.behind(peer, now, self._timeout, owed)
            if behind or now > self._until:
                raise ExchangeError(behind or f"too slow: {owed.of(peer)} are missing, and the download takes too long")
            yield data
