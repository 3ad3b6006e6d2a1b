"""The engine: one worker thread that owns the state machine of rounds and carries out its effects.

Threads of the transport and the training thread only put work into its queue, so that no locks are needed here.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from swarm.consensus.machine import RoundMachine
from swarm.consensus.norms import FrozenNorms
from swarm.errors import ExchangeError
from swarm.exchange.whole import model_frames
from swarm.executor import Executor, Future
from swarm.messages import Envelope, FetchRequest, Leave, StreamHeader
from swarm.peer.exchanger import Exchanger
from swarm.peer.fetching import Fetcher
from swarm.peer.futures import Answer, AnswerKind
from swarm.peer.grants import stats_within_grant
from swarm.peer.greeter import Greeter
from swarm.peer.inbox import Inbox
from swarm.peer.limited_log import LimitedLog
from swarm.peer.peers import Peers, Sender
from swarm.peer.recent import Recent
from swarm.peer.record_frames import record_frames
from swarm.peer.rounds import Rounds
from swarm.peer.serving import Downloads
from swarm.peer.shard_exchanger import ShardExchanger
from swarm.peer.shard_fetcher import ShardFetcher
from swarm.peer.states import STARTING
from swarm.peer.status import Standing, TrainingStatus, protection
from swarm.peer.worker import Worker
from swarm.records import Commit, ContributionStats, Credential, PeerId, PeerInfo
from swarm.tensors.state import ModelState, Schema
from swarm.transport.base import Handler

if TYPE_CHECKING:
    from swarm.consensus.rules import RoundRules
    from swarm.discovery.base import Discovery
    from swarm.exchange.feedback import ErrorFeedback
    from swarm.merge.base import MergeRule
    from swarm.outer import OuterStep
    from swarm.peer.other_ranks import OtherRanks
    from swarm.plugins import PluginRegistry
    from swarm.storage.checkpoints import Checkpoints
    from swarm.storage.ledger import Ledger
    from swarm.tensors.capture import Capture
    from swarm.transport.base import Frame, Sink, Transport


class Engine(Handler):
    """One peer's worker in one session.

    ``stopping`` tells whether it was told to stop.
    """

    def __init__(
        self,
        *,
        me: PeerInfo,
        rules: RoundRules,
        rule: MergeRule,
        outer: OuterStep | None,
        feedback: ErrorFeedback,
        transport: Transport,
        discoveries: Sequence[Discovery],
        plugins: PluginRegistry,
        schema: Schema,
        logger: logging.Logger,
        executor: Executor,
        training: TrainingStatus,
        checkpoints: Checkpoints | None,
        ledger: Ledger,
        members: Collection[PeerId],
        name_patience: float | None,
        origins: Mapping[str, str],
        random_port: bool = False,
        keeps_best: bool = False,
        greeted: Schema | None = None,
        ranks: OtherRanks | None = None,
    ) -> None:
        """Listen; nothing is answered before ``start``.

        Args:
            me: what this peer declares; its address is that of ``transport``.
            rules: how rounds are agreed on.
            rule: how weights are merged.
            outer: makes the committed model of the merged one; None where that is the same.
            feedback: how weights travel.
            transport: reaches the other peers.
            discoveries: where addresses of peers come from.
            plugins: those of the session.
            schema: of the model.
            logger: where it reports.
            executor: runs it.
            training: what the training thread reports to ``swarm status``.
            checkpoints: store committed models.
            ledger: keeps the records of committed rounds.
            members: names of the peers that are expected, as far as the settings give them.
            name_patience: seconds for which it asks for its name while others know a live peer of that name; None:
                long enough for an earlier process to count as lost.
            origins: where the settings come from that must agree, in a word, by name.
            random_port: as for ``Greeter``.
            keeps_best: whether the best model is kept.
            greeted: the schema that peers compare, where ``schema`` is that of a shard.
            ranks: the other processes of this site, where each exchanges its own shard.

        Raises:
            AddressError: the address cannot be listened on.
        """
        self.stopping = self._ready = False
        self.largest_share = rules.largest_share
        """The largest share of the weight of a round that a peer may have."""
        self._executor = executor
        self._transport = transport
        limited = self._limited = LimitedLog(logger, self._executor)
        self._identity = transport.identity
        self._timeout = rules.failure_timeout
        self._downloads = Downloads(executor)
        self._inbox = Inbox(identified=self._identity is not None)
        self._worker = Worker(f"swarm-{me.name}", executor=self._executor, log=limited)
        self._me = replace(me, address=transport.start(self))
        leaves_range = outer is not None or rules.normalize_steps
        frozen = FrozenNorms(averaging=rules.averaging, leaves_range=leaves_range)
        committed = outer.schema if outer else schema
        strict = replace(rules, refusal=lambda stats: frozen.refusal(stats) or rules.refusal(stats))
        self._machine = RoundMachine(me.name, me.incarnation, strict, self._executor.now())
        sender = Sender(self._me, transport)
        self._greeter = Greeter(
            me=self._me,
            schema=greeted or schema,
            discoveries=discoveries,
            plugins=plugins,
            logger=logger,
            limited=limited,
            send=sender.send,
            members=members,
            credential=rules.credential or Credential(me.name, rules.signer.key),
            vouch=rules.vouch,
            random_port=random_port,
        )
        self._roster = self._greeter.roster
        exchanging: dict[str, Any] = {
            "me": self._me,
            "schema": committed,
            "rule": rule,
            "outer": outer,
            "normalize_steps": rules.normalize_steps,
            "feedback": feedback,
            "transport": transport,
            "roster": self._roster,
            "executor": self._executor,
            "timeout": rules.failure_timeout,
            "logger": logger,
        }
        self._exchanger = ShardExchanger(ranks, **exchanging) if ranks else Exchanger(**exchanging)
        recent = Recent()
        self._standing = Standing(
            self._machine,
            self._roster,
            self._exchanger,
            training,
            rules.first_sync,
            protection(transport.identity),
            recent=recent,
            origins=origins,
            way=transport.way,
        )
        self._peers = Peers(
            me=self._me,
            machine=self._machine,
            greeter=self._greeter,
            exchanger=self._exchanger,
            sender=sender,
            plugins=plugins,
            clock=self._executor,
            timeout=rules.failure_timeout,
            limited=limited,
            name_patience=2 * rules.failure_timeout if name_patience is None else name_patience,
            identity=transport.identity,
        )
        fetching: dict[str, Any] = {
            "me": self._me,
            "schema": committed,
            "transport": transport,
            "roster": self._roster,
            "ledger": ledger,
            "verifier": rules.verifier,
            "timeout": rules.failure_timeout,
            "logger": logger,
            "executor": self._executor,
            "post": self._worker.post,
        }
        fetcher = ShardFetcher(ranks, **fetching) if ranks else Fetcher(**fetching)
        if ranks:
            ranks.join(self._me)
        self._ledger = ledger
        self._rounds = Rounds(
            me=self._me,
            machine=self._machine,
            peers=self._peers,
            greeter=self._greeter,
            exchanger=self._exchanger,
            fetcher=fetcher,
            plugins=plugins,
            checkpoints=checkpoints,
            ledger=ledger,
            frozen=frozen,
            executor=self._executor,
            post=self._worker.post,
            logger=logger,
            limited=limited,
            recent=recent,
            keeps_best=keeps_best,
        )
        self._ready = True

    # For the training thread -----------------------------------------------------------------------------------------

    def start(self, resumed: tuple[Commit, ModelState] | None = None, best: ModelState | None = None) -> None:
        """Start to look for peers and to answer them.

        Args:
            resumed: the commit to continue from, with its model.
            best: the best model before that commit, if it is known.
        """
        if resumed:
            self._rounds.resume(*resumed, best)
        self._worker.start(
            due=self._machine.deadline, tick=self._tick, housekeeping=self._housekeeping, failed=self._rounds.contain
        )

    @property
    def address(self) -> str:
        """Where others reach this peer."""
        return self._me.address

    @property
    def commit(self) -> Commit | None:
        """The last committed round applied here."""
        return self._machine.commit

    @property
    def reference(self) -> ModelState | None:
        """The model of that round, without outer state; replaced, never changed."""
        return self._rounds.models.reference

    @property
    def pending(self) -> bool:
        """Whether the last capture may still be merged, or was merged after its sync point: it must be kept."""
        return self._rounds.pending

    @property
    def met(self) -> frozenset[PeerId]:
        """Peers of the session that can be reached."""
        return self._machine.live

    def weights(self, peers: Iterable[PeerId]) -> dict[PeerId, int]:
        """The weights that ``peers`` declared on joining, as far as they were met."""
        declared = {peer: self._me if peer == self._me.name else self._roster.info(peer) for peer in peers}
        return {peer: info.weight for peer, info in declared.items() if info is not None}

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes of weights sent and received in finished exchanges."""
        return self._exchanger.traffic

    @property
    def name_taken(self) -> bool:
        """Whether an earlier peer has the name of this one."""
        return bool(self._greeter.name_taken)

    @property
    def names(self) -> frozenset[PeerId]:
        """Names of the session's peers, as far as they are known here."""
        return self._greeter.names

    @property
    def refusal(self) -> str:
        """Why a peer refused this one; empty if none did."""
        return self._greeter.refusal

    def offer(self, capture: Capture, stats: ContributionStats) -> Answer:
        """Offer a capture to the next round, and wait for the answer.

        ``capture`` must not change before the answer; if ``pending`` is true then, not before the next offer.
        """
        future: Future[Answer] = Future(self._executor)

        def place() -> None:
            self._standing.checked_in = stats.status
            within = stats_within_grant(stats, self._me.name, self._identity, by_samples=self._me.by_samples)
            self._rounds.offer(capture, within, future)

        self._worker.post(place)
        try:
            return self._wait(future)
        except BaseException:
            # Interrupted, as by Ctrl-C in a notebook: the next sync point gets the answer.
            self._worker.post(lambda: self._rounds.abandon(future))
            raise

    def best(self) -> ModelState | None:
        """The best model before the last commit, without outer state; None where none is kept, or it is not here.

        One that is being fetched is waited for, for at most ``failure_timeout``.
        """
        future: Future[ModelState | None] = Future(self._executor)
        self._worker.post(lambda: self._rounds.tell_best(future))
        return future.wait(timeout=self._timeout)

    def close(self, reason: str, *, linger: float, unintended: bool = False) -> None:
        """Tell the others and stop; idempotent. After the closing round, first answer those that still need it.

        Args:
            reason: for the others' logs.
            linger: seconds to wait at most for the others to have the closing round.
            unintended: whether the others should warn of it.
        """
        if self.stopping:
            return
        self.stopping = True
        deadline = self._executor.now() + linger

        def leave() -> None:
            if self._machine.closed and not self._machine.farewelled and self._executor.now() < deadline:
                self._worker.post_later(0.02, leave)
                return
            self._peers.tell(self._machine.live, Leave(reason, unintended))
            self._worker.stop()

        self._worker.post(leave)
        self._worker.join(linger + 5.0)
        self._exchanger.close()
        self._greeter.withdraw()
        self._transport.close()
        self._rounds.models.clear()

    def _wait(self, future: Future[Answer]) -> Answer:
        """Wait for the answer. The state machine limits the wait; only a worker that died is noticed here."""
        while True:
            answer = future.wait(timeout=1.0)
            if answer:
                return answer
            if not self._worker.alive:
                return Answer(kind=AnswerKind.ENDED, reason="the worker has stopped")

    # The worker's thread ---------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._rounds.do(self._machine.tick(self._executor.now()))

    def _receive(self, envelope: Envelope) -> None:
        dropped = self._inbox.leave(envelope)
        if dropped:
            text = f"{dropped} messages of {envelope.sender} were dropped: they come faster than this peer handles them"
            self._limited.log(logging.WARNING, envelope.sender, "dropped", text)
        self._rounds.do(self._peers.receive(envelope))

    def _housekeeping(self) -> None:
        now = self._executor.now()
        self._greeter.dial(now, self._machine.commit)
        if self._machine.commit is None:
            for peer in self._greeter.ended():
                self._rounds.do(self._machine.peer_ended(peer, now))
        self._exchanger.check(now)
        self._downloads.check(now, self._timeout)

    # For the transport, on its threads -------------------------------------------------------------------------------

    def on_envelope(self, envelope: Envelope) -> None:
        if self._inbox.enter(envelope):
            self._worker.post(lambda: self._receive(envelope))

    def on_lost(self, address: str, reason: str) -> None:
        self._worker.post(lambda: self._rounds.do(self._peers.lost(address, reason)))

    def open_sink(self, header: StreamHeader) -> Sink:
        self._require_ready()
        return self._exchanger.open_sink(header)

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        self._require_ready()
        if request.session != self._me.session or self._roster.info(request.sender) is None:
            raise ExchangeError(f"{request.sender} is not in session {self._me.session} with {self._me.name}")
        if request.records:
            return record_frames(self._ledger.chain(request.digest, request.after))
        frames = model_frames(self._rounds.models.get(request.digest), request.part, request.parts)
        return self._downloads.begin(request, frames)

    def status(self) -> dict[str, Any]:
        return self._standing.describe() if self._ready else {"status": STARTING}

    def _require_ready(self) -> None:
        """The transport calls from its ``start`` on, which is early in the making of this object."""
        if not self._ready:
            raise ExchangeError("this peer is still starting")
