"""Runs the exchanges of a session, one at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from swarm.consensus.member import Key
from swarm.consensus.waiting import LINE_EVERY
from swarm.errors import ContributionError, ExchangeError
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.exchange import Exchange
from swarm.exchange.feedback import ErrorFeedback
from swarm.exchange.reduce_buffer import bytes_ahead
from swarm.executor import Executor
from swarm.merge.moments import ABSURD
from swarm.messages import PartialNorm, Proposal, StreamHeader
from swarm.peer.roster import Reachable
from swarm.peer.streams import ExchangeStreams, fault
from swarm.records import PeerId, PeerInfo
from swarm.tensors.buffers import BufferPool
from swarm.tensors.state import ModelState, Schema
from swarm.text import MAX_SHOWN, printable

if TYPE_CHECKING:
    from swarm.merge.base import MergeRule
    from swarm.merge.screen import Distance
    from swarm.outer import OuterStep
    from swarm.tensors.capture import Capture
    from swarm.transport.base import Sink, Transport

Post = Callable[[Callable[[], None]], None]
"""Hands work to the worker's thread."""


class _Coded(NamedTuple):
    """How a model came here."""

    coder: ChunkCoder
    codec: str
    group: tuple[PeerId, ...]
    seconds: float
    """Until it was assembled."""


class Exchanger:
    """The worker calls it on its own thread; the transport calls only ``open_sink``."""

    def __init__(
        self,
        *,
        me: PeerInfo,
        schema: Schema,
        rule: MergeRule,
        outer: OuterStep | None,
        normalize_steps: bool,
        feedback: ErrorFeedback,
        transport: Transport,
        roster: Reachable,
        executor: Executor,
        timeout: float,
        logger: logging.Logger,
    ) -> None:
        self._traffic = 0, 0
        self._me = me
        self._rule = rule
        self._outer = outer
        self._normalize_steps = normalize_steps
        self._feedback = feedback
        self._transport = transport
        self._roster = roster
        self._executor = executor
        self._timeout = timeout
        self._log = logger
        self._changed = executor.condition()
        # What an exchange has used and the next one will: a merged model, what comes in and waits, and encoded results.
        self._memory = BufferPool(schema.nbytes + 3 * bytes_ahead(schema))
        self._streams: ExchangeStreams | None = None
        self._closed = False
        self._coded: dict[str, _Coded] = {}
        self._told_absurd: frozenset[PeerId] = frozenset()
        self._told_few = False
        self._line_at = executor.now()

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes of weights sent and received in finished exchanges."""
        return self._traffic

    @property
    def traffic_of_ranks(self) -> tuple[tuple[int, int], ...]:
        """The same of each process of the site, where each exchanges its own shard; else empty."""
        return ()

    @property
    def residual(self) -> float:
        """Euclidean norm of the coding errors of earlier rounds, which may be sent in the next one."""
        return self._feedback.norm

    def start(
        self,
        proposal: Proposal,
        own: Capture,
        reference: ModelState | None,
        post: Post,
        done: Callable[[str, ModelState, tuple[PartialNorm, ...], tuple[str, ...]], None],
        failed: Callable[[PeerId, str], None],
    ) -> None:
        """Begin the exchange of an attempt.

        ``own`` must not change until it is stopped and, if it commits, the residual is updated.
        ``reference`` is the model that the attempt builds on, or None for the first one.
        ``done`` gets the digest of the merged model, the model and what was measured in this peer's slice, ``failed``
        whom to blame and why; both are called through ``post``. ``failed`` may follow ``done``, where another member
        does not take what this peer sends it.
        """

        def broke(peer: PeerId, reason: str) -> None:
            post(lambda: failed(*self.blame(peer, reason)))

        try:
            coder = self._feedback.coder(proposal, reference, self._memory)
            exchange = Exchange(
                self._me.name,
                proposal,
                self._rule,
                own,
                coder,
                self._memory,
                reference,
                outer=self._outer,
                normalize_steps=self._normalize_steps,
            )
        except ContributionError as error:
            broke(error.peer, str(error))
            return
        except Exception as error:  # noqa: BLE001  (a merge rule is a plugin's, and merges what this peer has alone)
            broke(self._me.name, fault(error))
            return

        started = self._line_at = self._executor.now()

        def assembled(model: ModelState) -> None:
            digest, norms, seconds = exchange.digest(), exchange.partial_norms(), self._executor.now() - started
            slices = exchange.slice_digests()
            absurd, far = exchange.absurd_moments(), exchange.far()

            def report() -> None:
                self._tell_absurd(absurd)
                self._tell_few(proposal)
                self._tell_far(proposal, far)
                if proposal.contributors:
                    self._coded[digest] = _Coded(coder, proposal.codec, proposal.group, seconds)
                done(digest, model, norms, slices)

            post(report)

        streams = ExchangeStreams(self._me.name, proposal, exchange, self._executor, assembled, broke)
        with self._changed:
            self._streams = streams
            self._changed.notify_all()
        for peer in proposal.group:
            self._open(streams, peer)
        streams.settle()

    def blame(self, peer: PeerId, reason: str) -> tuple[PeerId, str]:
        """Whom the group is told to blame for an exchange that failed because of ``peer``, and why.

        A peer that the others admit no more blames itself: one of them ends its streams before the rest know why.
        """
        refusal = self._transport.identity.refusal if self._transport.identity else ""
        return (self._me.name, refusal) if refusal else (peer, reason)

    def met(self, peer: PeerId) -> None:
        """A peer can be reached: the exchange that runs may be waiting for that, and so may its stream to here."""
        if self._streams and peer in self._streams.proposal.group:
            self._open(self._streams, peer)
        with self._changed:
            self._changed.notify_all()

    def _open(self, streams: ExchangeStreams, peer: PeerId) -> None:
        """Send to the member ``peer`` if it was met; the leader may have met members that this peer has yet to meet."""
        info = self._roster.info(peer)
        if info:
            header = StreamHeader(self._me.session, self._me.name, self._me.incarnation, *streams.proposal.key)
            streams.send(self._transport, peer, info.address, header)

    def stop(self, key: Key | None = None) -> None:
        """End the exchange of this attempt, or whichever runs."""
        streams = self._streams
        if streams is None or (key is not None and streams.proposal.key != key):
            return
        with self._changed:
            self._streams = None
        sent, received = self._traffic
        self._traffic = sent + streams.bytes_sent, received + streams.bytes_received
        streams.stop()

    @property
    def running(self) -> bool:
        """Whether an attempt was joined and not stopped, so that its contribution may still be read or merged."""
        return self._streams is not None

    @property
    def owes(self) -> frozenset[PeerId] | None:
        """Whom the running exchange waits for; None where none runs. Any thread may ask."""
        streams = self._streams
        return streams.owes if streams else None

    def close(self) -> None:
        """End what runs, and refuse further streams."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.stop()
        self._memory = BufferPool(0)
        self._feedback.reset()
        self.keep(())

    def check(self, now: float) -> None:
        """Give up on a peer that is late; say now and then whom a long exchange waits for."""
        streams = self._streams
        if streams is None:
            return
        streams.check(now, self._timeout)
        if now >= self._line_at + LINE_EVERY and (missing := streams.waits_for):
            self._line_at = now
            self._log.info("round %d: the exchange waits for %s", streams.proposal.round, printable(missing, MAX_SHOWN))

    def _tell_far(self, proposal: Proposal, far: Mapping[PeerId, Distance]) -> None:
        """Warn of each contribution that is left out because it is far from the others."""
        for peer, distance in sorted(far.items()):
            text = (
                "round %d: contribution of %s left out: its median distance from the others is %g, that of all who"
                " train is %g (screen=distances)"
            )
            self._log.warning(text, proposal.round, peer, distance.own, distance.usual)

    def _tell_few(self, proposal: Proposal) -> None:
        """Warn of the first of the rounds in a row in which the rule does not limit a bad contribution."""
        if not (proposal.parent and proposal.contributors):
            return
        count, few = len(proposal.senders), len(proposal.senders) < self._rule.fewest
        if few and not self._told_few:
            text = "round %d: with %d contributions merge_method=%r does not limit a bad one: it needs %d or more"
            self._log.warning(text, proposal.round, count, self._rule.name, self._rule.fewest)
        self._told_few = few

    def _tell_absurd(self, absurd: frozenset[PeerId]) -> None:
        """Warn of peers whose moments were left out here, once in a row of rounds."""
        for peer in sorted(absurd - self._told_absurd):
            self._log.warning(
                "the optimizer state of %s is more than %.0f times as large as that of the others in some tensors, and"
                " is left out there: did its loss explode?",
                peer,
                ABSURD,
            )
        self._told_absurd = absurd

    def update_residual(self, digest: str, *, stands: bool) -> None:
        """Take the coding errors of a committed model into the residual, and note how long its exchange took.

        ``stands`` tells whether the capture still does, or training may have changed it: then the residual is zero.
        """
        coded = self._coded.get(digest)
        if coded is None:
            return
        started = self._executor.now()
        try:
            if not stands:
                self._feedback.reset()
                return
            self._feedback.update(coded.coder, coded.group)
        except Exception:  # noqa: BLE001  (a codec may be a plugin's, and the round has committed)
            self._log.exception("the residual of codec %s could not be updated; it starts at zero again", coded.codec)
            self._feedback.reset()
        self._feedback.measured(coded.codec, coded.seconds + self._executor.now() - started)

    def healed(self) -> None:
        """This peer goes on from a model that it had no part in."""
        self._feedback.reset()

    def keep(self, digests: Collection[str]) -> None:
        """Forget how models that are not in ``digests`` came here."""
        if self._coded:
            self._coded = {digest: coded for digest, coded in self._coded.items() if digest in digests}

    def open_sink(self, header: StreamHeader) -> Sink:
        """Where an incoming stream goes; it may be here before the proposal or the greeting, so wait a little for both.

        Raises:
            ExchangeError: this peer is in no such exchange.
        """

        def met() -> bool:
            return self._roster.is_live(header.sender, header.incarnation)

        if header.session != self._me.session:
            raise ExchangeError(f"{self._me.name} is in session {self._me.session}, not in {header.session}")
        key = header.lineage, header.round, header.attempt
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (met() and self._runs(key)), timeout=self._timeout)
            streams = self._streams
        if not met():
            raise ExchangeError(f"{header.sender} is not in session {self._me.session} with {self._me.name}")
        if streams is None or streams.proposal.key != key or header.sender not in streams.proposal.group:
            raise ExchangeError(f"{self._me.name} is in no exchange of round {header.round}, {header.attempt}")
        return streams.open_sink(header.sender)

    def _runs(self, key: Key) -> bool:
        return self._streams is not None and self._streams.proposal.key == key
