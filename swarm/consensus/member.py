"""The member's role: join an attempt, exchange, and vote as an acceptor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from swarm.certification.statements import (
    accept_statement,
    prepare_statement,
    promise_statement,
    ready_statement,
    record_hash,
)
from swarm.consensus.checking import as_offered, objection, overclaims
from swarm.consensus.effects import Fetch, StartExchange, StopExchange
from swarm.consensus.leader import Leadership
from swarm.consensus.promises import as_made_ready, is_free, is_ready, promised_before, signed_promise
from swarm.consensus.state import RoundState
from swarm.messages import (
    Abort,
    Accept,
    Accepted,
    Decide,
    Failed,
    Nack,
    PartialNorm,
    Prepare,
    Promise,
    Proposal,
    Ready,
)
from swarm.records import Attempt, Commit, PeerId

Key = tuple[str, int, Attempt]
"""Lineage, round and attempt of a proposal."""


MOST_SIGNED = 256
"""Attempts of which it is remembered what was accepted; attempts of earlier rounds are refused anyway."""


class Member:
    """This peer as a member of groups, in one attempt at a time. It owns the merged models that are undecided."""

    def __init__(self, state: RoundState, leadership: Leadership) -> None:
        self._state = state
        self._leadership = leadership
        self._failure: Failed | None = None
        self._norms: tuple[PartialNorm, ...] = ()
        """What this peer has measured in the attempt that it is ready for."""
        self._slices: tuple[str, ...] = ()
        """Digests of the slices of all members in that attempt."""
        self._held: dict[str, Proposal] = {}
        """Merged models of this round that are here and not yet decided, by digest."""
        self._exposed: dict[Key, bool] = {}
        """Attempts that have all of this peer's contribution and may still be decided; whether that has steps."""
        self._elsewhere: set[Key] = set()
        """Those of lineages that this peer has left, which have steps that are still unmerged here."""
        self._kept: set[str] = set()
        """Digests accepted for starts of lineages: their leaders may decide them at any time."""
        self._left: set[Key] = set()
        """Attempts that this peer has left; their streams are closed, so it cannot join them again."""
        self._asked: dict[str, Proposal] = {}
        """Proposals that a leader asked to accept and whose models are not here, by digest."""
        self._fetching: set[str] = set()
        self.attempt: Proposal | None = None
        """The attempt that this peer is exchanging or ready for."""
        self.judged: Proposal | None = None
        """The last proposal that this peer has joined or rejected: who fails in it is judged."""
        self._signed: dict[Key, str] = {}
        """Hash of the record that this peer has accepted in each of the last attempts: never another one."""
        self._rejected = False
        """Whether this peer has rejected ``judged``."""
        self._checked: Proposal | None = None
        """The last proposal that is what its offers give, without its attempt and promises."""
        self._protocol = state.rules.versions.newest
        """The version of the protocol of the last attempt that this peer has joined; at first its own."""

    @property
    def digests(self) -> frozenset[str]:
        """Digests of the models that are here and undecided."""
        return frozenset(self._held)

    @property
    def assembling(self) -> bool:
        """Whether weights of the attempt are still on their way here."""
        running = self.attempt
        return (
            running is not None
            and self._failure is None
            and not any(held.key == running.key for held in self._held.values())
        )

    @property
    def exposed(self) -> bool:
        """Whether an attempt that has this peer's contribution may still be decided."""
        return bool(self._exposed)

    def exposed_to(self, commit: Commit) -> bool:
        """Whether ``commit``, or one before it that this peer has not seen, may contain this peer's contribution."""
        return self._in(commit, self._exposed)

    def was_exposed_to(self, commit: Commit) -> bool:
        """The same for steps that this peer contributed before it went over to another lineage, and still has."""
        return self._in(commit, {key for key in self._elsewhere if key[0] == commit.lineage})

    def _in(self, commit: Commit, keys: Iterable[Key]) -> bool:
        contributed = self._state.me in commit.contributors
        return any(
            round_ < commit.round or (contributed and (lineage, round_) == (commit.lineage, commit.round))
            for lineage, round_, _ in keys
        )

    def held(self, digest: str) -> Proposal | None:
        """The proposal of an undecided model that is here; None where it is not."""
        return self._held.get(digest)

    def on_propose(self, sender: PeerId, proposal: Proposal, *, healing: bool) -> None:
        """Join the attempt, or say why not; if joined already, repeat the last answer."""
        state, acceptor = self._state, self._state.acceptor
        if sender != proposal.attempt.leader or state.me not in proposal.group:
            return
        if self.attempt and self.attempt.key == proposal.key:
            self._leadership.heard_from(sender)
            self._repeat_answer(proposal)
            return
        if self._is_current(proposal) and proposal.attempt < acceptor.promised:
            state.effects.send(sender, self._nack(proposal.key))
            return
        refusal = self._refusal(proposal, healing=healing)
        if refusal:
            state.effects.send(sender, Failed(*proposal.key, state.me, refusal))
            return
        objection = self._objection(proposal) or self._unpromised(proposal)
        claimed = overclaims(state, proposal) if objection else None
        if claimed:
            claimant, reason = claimed
            state.effects.notice(f"round {proposal.round}: {reason}", loud=True, sender=claimant)
            self.judged, self._rejected = proposal, False
            state.effects.tell(proposal.group, Failed(*proposal.key, claimant, reason))
            self._leadership.heard_from(sender)
            return
        if objection:
            reason = f"{state.me} does not accept the proposal of {sender}: {objection}"
            state.effects.notice(f"round {proposal.round}: {reason}", loud=True, sender=sender)
            state.effects.tell(proposal.group, Failed(*proposal.key, sender, reason, rejects=True))
            self.judged, self._rejected = proposal, True
            self._leadership.give_up(proposal.attempt)
            return
        if self.begins_lineage(proposal):
            running = self.attempt.attempt if self.attempt else None
            nack = running if running and running > proposal.attempt else None
        else:
            nack = None if acceptor.promise(proposal.attempt) else acceptor.promised
        if nack:
            state.effects.send(sender, Nack(*proposal.key, nack))
            return
        # The result of a lower attempt may still be decided: a later leader may find that it was accepted.
        self.drop()
        self.attempt, self.judged, self._rejected, self._failure = proposal, proposal, False, None
        self._note_protocol(proposal)
        self._leadership.follow(proposal.attempt)
        state.effects.add(StartExchange(proposal))

    def _note_protocol(self, proposal: Proposal) -> None:
        if proposal.protocol != self._protocol:
            self._protocol = proposal.protocol
            common = f"protocol {proposal.protocol}, the newest that all of its peers speak"
            self._state.effects.notice(f"from round {proposal.round} on the session uses {common}")

    def _repeat_answer(self, proposal: Proposal) -> None:
        effects, leader = self._state.effects, proposal.attempt.leader
        if self._failure:
            effects.send(leader, self._failure)
        for digest, held in self._held.items():
            if held.key == proposal.key:
                effects.send(leader, self._ready(held, digest))

    def on_failed(self, sender: PeerId, message: Failed) -> None:
        """A member cannot finish an attempt that this peer knows: it and the one that it blames are judged."""
        proposal = self.judged
        known = proposal and proposal.key == (message.lineage, message.round, message.attempt)
        if proposal and known and sender in proposal.group:
            strikes = self._state.presence.strikes
            if sender not in (self._state.me, message.blamed):
                # Nobody can tell who of the two is at fault: the log names both.
                blame = f"{sender} gives up an attempt and blames {message.blamed}: {message.reason}"
                self._state.effects.notice(f"round {proposal.round}: {blame}", loud=True, sender=sender)
            if message.rejects:
                strikes.strike(message.attempt, message.attempt.leader if self._rejected else sender)
            elif message.blamed not in {*proposal.group} - self._state.presence.here:  # one that is gone is out anyway
                blamed = message.blamed if message.blamed in proposal.group else sender
                strikes.accuse(message.attempt, sender, blamed)

    def _ready(self, proposal: Proposal, digest: str) -> Ready:
        rules, record = self._state.rules, record_hash(proposal.commit(digest))
        signature = rules.signer.sign(ready_statement(rules.session, *proposal.key, record))
        return Ready(*proposal.key, digest, self._norms, self._slices, signature)

    def _objection(self, proposal: Proposal, *, ready: bool = False) -> str:
        """Why the content of a proposal is not acceptable; checked once, as its leader sends it more than once."""
        content = replace(proposal, attempt=self._state.first_attempt, promises=())
        if content == self._checked:
            return ""
        reason = objection(self._state, proposal, ready=ready)
        if not reason and not ready:
            self._checked = content
        return reason

    def _refusal(self, proposal: Proposal, *, healing: bool) -> str | None:
        """Why this peer cannot join the attempt; None where it can."""
        me, position, offers = self._state.me, self._state.position, self._state.offers
        if proposal.key in self._left:
            return f"{me} has left this attempt"
        versions = self._state.rules.versions
        if not versions.oldest <= proposal.protocol <= versions.newest:
            return f"{me} speaks the protocols {versions.oldest} to {versions.newest}, not {proposal.protocol}"
        if (proposal.round, proposal.parent) != (position.round, position.parent):
            return f"{me} is at round {position.round} of lineage {position.lineage or '(none)'}"
        if offers.mine is None or healing:
            return f"{me} has nothing on offer"
        if not proposal.senders:
            return "nobody is to send a model"
        if not as_offered(proposal, me, offers.mine):
            return f"{me} has offered other weights since"
        if position.commit and self.begins_lineage(proposal):
            reaches = self._state.quorum(position.commit.members, self._state.reachable)
            return f"{me} still reaches a majority" if reaches else None
        return None

    def _unpromised(self, proposal: Proposal) -> str:
        """Why an attempt may not have a new group; empty if it may."""
        if self.begins_lineage(proposal):
            return ""
        free = promised_before(self._state, proposal, proposal.attempt, proposal.promises) == (None, "")
        return "" if free else "its attempt has not the promises of a quorum that is free"

    def exchanged(self, key: Key, digest: str, norms: tuple[PartialNorm, ...], slices: tuple[str, ...]) -> None:
        """The merged model of this attempt is assembled here."""
        if self.attempt and self.attempt.key == key:
            self._norms, self._slices = norms, slices
            self._held[digest] = self.attempt
            if self._state.me in self.attempt.contributors:
                mine = self._state.offers.mine
                self._exposed[key] = mine is None or mine.stats.steps > 0
            self._state.effects.send(self.attempt.attempt.leader, self._ready(self.attempt, digest))
            self._leadership.heard_from(self.attempt.attempt.leader)

    def exchange_failed(self, key: Key, blamed: PeerId, reason: str) -> bool:
        """The exchange of this attempt cannot finish here; whether this peer itself is to blame."""
        if self.attempt is None or self.attempt.key != key:
            return False
        self._failure = Failed(*key, blamed, reason)
        self._state.effects.tell({*self.attempt.group}, self._failure)
        self._leadership.heard_from(self.attempt.attempt.leader)
        return blamed == self._state.me

    def on_prepare(self, sender: PeerId, message: Prepare) -> bool:
        """Promise a leader to answer no lower attempt than its own; whether this peer did.

        The leader that was followed until now passes on what has ended its attempt.
        """
        effects, acceptor, position = self._state.effects, self._state.acceptor, self._state.position
        key = message.lineage, message.round, message.attempt
        if (message.lineage, message.round) != (position.lineage, position.round):
            if position.commit and message.lineage == position.lineage and message.round <= position.commit.round:
                effects.send(sender, Decide(position.commit))
            return False
        if not self._may_promise(sender, message):
            return False
        leader, strikes = message.attempt.leader, self._state.presence.strikes
        if message.attempt > acceptor.promised:
            if sender == leader and strikes.has_led(leader) and self._leadership.follows_another(leader):
                return False  # it could take this peer away from each attempt of the other leader
            strikes.leads(message.attempt)
        if not acceptor.promise(message.attempt, message.signature):
            if message.attempt > acceptor.promised:
                text = f"{sender} asks for promises to attempt {message.attempt.counter}, far too high; it is ignored"
                effects.notice(text, loud=True, sender=sender)
            effects.send(leader, self._nack(key))
            return False
        self._leadership.follow(message.attempt)
        if self.attempt and self.attempt.attempt < message.attempt:
            self.drop(forget=False)
        rules, promise = self._state.rules, Promise(*key, acceptor.accepted, acceptor.digest, acceptor.ready)
        signed = signed_promise(self._state.me, promise)
        statement = promise_statement(rules.session, *key, signed.accepted, signed.record)
        effects.send(leader, replace(promise, signature=rules.signer.sign(statement)))
        return True

    def _may_promise(self, sender: PeerId, message: Prepare) -> bool:
        """Whether the leader of an attempt may ask this peer for a promise, and has done so by its signature."""
        state, leader, commit = self._state, message.attempt.leader, self._state.position.commit
        if commit is None or not state.votes or leader not in commit.members or leader not in state.presence.here:
            return False
        statement = prepare_statement(state.rules.session, message.lineage, message.round, message.attempt)
        if not state.rules.signer.verify(commit.key_of(leader), statement, message.signature):
            text = f"{sender} asks for promises to attempt {message.attempt.counter}, which {leader} did not sign"
            state.effects.notice(f"{text}; it is ignored", loud=True, sender=sender)
            return False
        if sender == leader:
            self._leadership.asks(message.attempt)
        if leader not in state.leading:
            return False  # a duel of leaders would never end
        return sender in (leader, self._leadership.awaited.leader)

    def on_abort(self, sender: PeerId, message: Abort) -> bool:
        """The leader has aborted an attempt; the capture is kept for the next one. Returns: whether it was this one."""
        key = message.lineage, message.round, message.attempt
        if sender != message.attempt.leader:
            text = f"{sender} aborts an attempt that {message.attempt.leader} leads; it is ignored"
            self._state.effects.notice(text, loud=True, sender=sender)
            return False
        if key in self._signed and key[0] == self._state.position.lineage:
            # Others may have accepted it too, and any later leader may have it decided. Only the start of a lineage is
            # decided by its leader alone, which can take it back.
            text = f"{sender} aborts an attempt that it has asked to accept; that is ignored"
            self._state.effects.notice(text, loud=True, sender=sender)
            return False
        if not self._state.rules.tolerated_liars:  # a leader that lies may ask others to accept it
            self._exposed.pop(key, None)
        self._held = {digest: held for digest, held in self._held.items() if held.key != key}
        if self.attempt is None or self.attempt.key != key:
            return False
        self.drop()
        self._leadership.heard_from(sender)
        if sender != self._state.me:
            text = f"round {message.round}: attempt aborted: {message.reason}"
            self._state.effects.notice(text, failed=True, sender=sender)
        return True

    def on_accept(self, sender: PeerId, message: Accept) -> None:
        """Accept a model that is here, unless a higher attempt was promised."""
        effects, acceptor, proposal = self._state.effects, self._state.acceptor, message.proposal
        if sender != proposal.attempt.leader or not self._may_accept(message):
            return
        self._leadership.heard_from(sender)
        if message.digest not in self._held:
            self._lacks(proposal, message.digest)
            return
        if self.begins_lineage(proposal):
            if self.attempt and self.attempt.key == proposal.key:
                self._kept.add(message.digest)
                effects.send(sender, self._accepted(message))
        elif acceptor.accept(proposal, message.digest, message.ready):
            effects.send(sender, self._accepted(message))
        else:
            effects.send(sender, self._nack(proposal.key))

    def _nack(self, key: Key) -> Nack:
        acceptor = self._state.acceptor
        return Nack(*key, acceptor.promised, acceptor.asked)

    def _accepted(self, message: Accept) -> Accepted:
        rules, key = self._state.rules, message.proposal.key
        record = record_hash(message.proposal.commit(message.digest))
        self._signed[key] = record
        while len(self._signed) > MOST_SIGNED:
            del self._signed[next(iter(self._signed))]
        return Accepted(*key, rules.signer.sign(accept_statement(rules.session, *key, record)))

    def _may_accept(self, message: Accept) -> bool:
        """Whether a leader may ask for this.

        The record is what the offers give, its group is ready with it, and what was accepted before is the same.
        """
        state, proposal = self._state, message.proposal
        if not self.begins_lineage(proposal) and not (state.votes and self._is_current(proposal)):
            return False
        record = record_hash(proposal.commit(message.digest))
        reason = self._objection(as_made_ready(proposal, message.ready), ready=True)
        if not reason and self._signed.get(proposal.key, record) != record:
            reason = "this peer has accepted another record in this attempt"
        if not reason and not is_ready(state, proposal, record, message.ready):
            reason = "its group has not signed that it is ready"
        free = self.begins_lineage(proposal) or is_free(state, proposal, record, message.ready)
        if not reason and not free:
            reason = "the promises to its attempt do not allow it"
        if reason:
            leader = proposal.attempt.leader
            text = f"round {proposal.round}: {state.me} does not accept what {leader} proposes: {reason}"
            state.effects.notice(text, loud=True, sender=leader)
        return not reason

    def _lacks(self, proposal: Proposal, digest: str) -> None:
        """Asked to accept a model that is not here. Asked twice, the other voters are too few: fetch it from one."""
        state = self._state
        if self.begins_lineage(proposal):
            return
        sources = tuple(peer for peer in proposal.group if peer in state.presence.live)
        if digest in self._asked and digest not in self._fetching and sources:
            self._fetching.add(digest)
            state.effects.add(Fetch(digest, sources))
        self._asked[digest] = proposal

    def fetched(self, digest: str, *, success: bool) -> None:
        """The model that a leader asked to accept was fetched, or could not be."""
        self._fetching.discard(digest)
        proposal = self._asked.get(digest)
        if success and proposal and self._is_current(proposal):
            self._held[digest] = proposal

    def drop(self, *, forget: bool = True) -> None:
        """Leave the attempt. What was assembled is forgotten only where no leader can ask for it any more."""
        if self.attempt is None:
            return
        state, key = self._state, self.attempt.key
        self.attempt = None
        self._left.add(key)
        state.effects.add(StopExchange(key))
        if forget:
            kept = self._kept | {state.acceptor.digest}
            self._held = {digest: held for digest, held in self._held.items() if held.key != key or digest in kept}
            self._kept &= self._held.keys()

    def new_round(self, commit: Commit, *, settled: bool) -> None:
        """A round begins after ``commit``: the models of the last one are decided, in its lineage.

        ``settled`` tells whether the steps offered until now are unmerged no more: ``commit`` has them, or they are
        given up. Those that come later are in no attempt.
        """
        exposed = {key for key, steps in self._exposed.items() if steps}
        left = set() if settled else self._elsewhere | exposed
        self._elsewhere = {key for key in left if key[0] != commit.lineage}
        self._left = {key for key in self._left if key[1] > commit.round}
        self._exposed.clear()
        self._held.clear()
        self._asked.clear()
        self._checked = None

    def begins_lineage(self, proposal: Proposal) -> bool:
        """Whether it would begin a lineage; such an attempt is the only one of its decree."""
        return proposal.lineage != self._state.position.lineage

    def _is_current(self, proposal: Proposal) -> bool:
        position = self._state.position
        return (proposal.lineage, proposal.round) == (position.lineage, position.round)
