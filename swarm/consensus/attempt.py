"""One attempt that this peer leads: prepare, form, exchange, accept, decide."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from swarm.certification.chain import decided, origins_with
from swarm.certification.statements import accept_statement, prepare_statement, ready_statement, record_hash
from swarm.codec.exact import ExactCodec
from swarm.consensus.forming import (
    Table,
    best,
    complete,
    disputed,
    form,
    may_fork,
    quorum,
    signals,
    stops,
    with_refusals,
    worth_merging,
)
from swarm.consensus.norms import contradicted, unmeasured
from swarm.consensus.paxos import new_lineage
from swarm.consensus.promises import Promises, carry, enough_ready
from swarm.consensus.state import RoundState
from swarm.messages import (
    MOST_CARRIED,
    Abort,
    Accept,
    Accepted,
    Decide,
    Failed,
    Nack,
    Prepare,
    Promise,
    Proposal,
    Propose,
    Readiness,
    Ready,
)
from swarm.quorums import is_quorum
from swarm.records import Attempt, Commit, Origin, PeerId, QuorumCertificate, RecordKind, Signature

MOST_RAISED = 8
"""How far above its attempt a leader goes on at most, whatever others say that they have promised."""


class Stage(enum.Enum):
    """How far an attempt is."""

    PREPARING = "asking what was accepted before"
    FORMING = "waiting for offers"
    EXCHANGING = "exchanging weights"
    ACCEPTING = "asking for accepts"
    DECIDED = "decided"
    STUCK = "bound to a result that no attempt can decide"
    ABORTED = "aborted"


class LedAttempt:
    """One attempt, from its leader's side."""

    def __init__(
        self,
        state: RoundState,
        attempt: Attempt,
        lineage_numbers: Iterator[int],
        holds: Callable[[str], bool],
        *,
        prepared: bool,
    ) -> None:
        """Lead ``attempt``.

        Args:
            state: the shared facts.
            attempt: its number, and this peer.
            lineage_numbers: numbers the lineages that this process proposes.
            holds: whether the merged model of a digest is here.
            prepared: no promises are needed, as nothing can be accepted yet.
        """
        self._state = state
        self._lineage_numbers = lineage_numbers
        self._holds = holds
        self.attempt = attempt
        self.stage = Stage.FORMING if prepared else Stage.PREPARING
        self.proposal: Proposal | None = None
        self.decision: Commit | None = None
        """Set once decided."""
        self._digest = ""
        self._record = ""
        """Hash of the record that is to be accepted."""
        self._promises = Promises(state, attempt)
        self._ready: dict[PeerId, Ready] = {}
        self._signed_ready: set[PeerId] = set()
        """Those whose signature was checked: enough of them are."""
        self._unsigned: set[PeerId] = set()
        """Those that did not sign."""
        self._readiness: Readiness | None = None
        self.above = attempt
        """The highest attempt that others say they have promised: the next one of this leader is above it."""
        self._nacked: set[PeerId] = set()
        """Peers that have promised a higher attempt."""
        self._accepted: dict[PeerId, str] = {}
        """Signatures of the voters that have accepted."""
        self._asked_at = state.timer.now
        """When the stage began in which others are asked."""
        self._ready_at: float | None = None
        """When it was known how long the exchange takes."""
        self._quorum_since: float | None = None
        self._minority_since: float | None = None
        self._asked = ""
        """The signature with which this leader asks for promises."""
        # One that does not vote asks for no promises: it only waits for the time to begin a lineage of its own.
        if not prepared and state.votes:
            rules, position = state.rules, state.position
            statement = prepare_statement(rules.session, position.lineage, position.round, attempt)
            self._asked = rules.signer.sign(statement)
            state.acceptor.promise(attempt, self._asked)
            self.resend()

    @classmethod
    def founding(
        cls, state: RoundState, proposal: Proposal, lineage_numbers: Iterator[int], holds: Callable[[str], bool]
    ) -> LedAttempt:
        """Lead the founding round, which has no round before it to ask about."""
        led = cls(state, proposal.attempt, lineage_numbers, holds, prepared=True)
        led._propose(proposal)
        return led

    def owns(self, message: Promise | Ready | Failed | Accepted | Nack) -> bool:
        """Whether an answer is to this attempt, and not to one of another round or lineage with the same number."""
        position = self._state.position
        key = self.proposal.key if self.proposal else (position.lineage, position.round, self.attempt)
        return (message.lineage, message.round, message.attempt) == key

    def resend(self) -> None:
        """Retransmit to those who have not answered: messages may be lost."""
        state, commit = self._state, self._state.position.commit
        here = state.presence.here
        if self.stage is Stage.PREPARING and commit and state.votes:
            message = Prepare(commit.lineage, state.position.round, self.attempt, self._asked)
            state.effects.tell({*commit.members} & here - self._promises.given, message)
        elif self.stage is Stage.EXCHANGING and self.proposal:
            state.effects.tell(self.proposal.group, Propose(self.proposal))
        elif self.stage is Stage.ACCEPTING and self.proposal:
            asked = Accept(self.proposal, self._digest, self._readiness)
            state.effects.tell({*self.proposal.voters} & here - self._accepted.keys(), asked)

    def step(self) -> None:
        """Do what time or a new offer allows."""
        state, commit = self._state, self._state.position.commit
        if self.stage is Stage.PREPARING and commit:
            self._use_promises(commit)  # fewer are needed once a member is removed
        if self.stage is Stage.ACCEPTING and self.proposal and self.proposal.lineage != state.position.lineage:
            # Only this peer can decide the start of a lineage, so it may abort it even now.
            if state.timer.past(self._asked_at + state.rules.failure_timeout):
                silent = {*self.proposal.voters} - self._accepted.keys()
                self._abort(self.proposal, silent, f"{', '.join(sorted(silent))} did not accept it")
        elif self.stage is Stage.EXCHANGING and self.proposal:
            self._step_exchange(self.proposal)
        elif self.stage is Stage.ACCEPTING and commit:
            # Without a majority in reach the attempt cannot be decided: a higher one finishes it, or forks.
            if self._minority_timed_out(minority=not state.quorum(commit.members, state.reachable)):
                self.stage = Stage.ABORTED
            elif self.proposal and state.timer.past(self._asked_at + state.rules.failure_timeout):
                # Only a higher attempt may find out whether this one was accepted.
                silent = ({*self.proposal.group} & {*self.proposal.voters}) - self._accepted.keys()
                self._strike(silent, "did not accept")
                self.stage = Stage.ABORTED
        elif self.stage in {Stage.PREPARING, Stage.FORMING} and commit and not self._unanswered(commit):
            self._try_to_form(commit)

    def _unanswered(self, commit: Commit) -> bool:
        """Abort where members that have offered to this round, and so know of it, have not promised in time."""
        state = self._state
        late = state.timer.past(self._asked_at + state.rules.failure_timeout)
        if self.stage is not Stage.PREPARING or not late:
            return False
        asked = {*commit.members} & state.reachable & state.offers.current
        silent = asked - self._promises.given - self._nacked - {state.me}
        if not silent:
            return False
        self._strike(silent, "did not promise")
        self.stage = Stage.ABORTED
        return True

    def _step_exchange(self, proposal: Proposal) -> None:
        """Abort where members do not become ready long after this leader was."""
        state = self._state
        if self._ready_at is None:
            return
        took = self._ready_at - self._asked_at
        if state.timer.past(self._ready_at + 2 * took + state.rules.failure_timeout):
            silent = {*proposal.group} - self._ready.keys() | self._unsigned
            # To all: if each leader found out for itself, each of them would lose this time again and again.
            for peer in sorted(silent):
                failed = Failed(*proposal.key, peer, "it did not become ready")
                state.effects.tell({*proposal.group}, failed)
            self._abort(proposal, silent, f"{', '.join(sorted(silent))} did not become ready")

    def _strike(self, peers: Collection[PeerId], what: str) -> None:
        if peers:
            text = f"round {self._state.position.round}: {', '.join(sorted(peers))} {what} in time"
            self._state.effects.notice(text, loud=True)
        for peer in peers:
            self._state.presence.strikes.strike(self.attempt, peer)

    def _try_to_form(self, commit: Commit) -> None:
        """Close the group if those who have offered are enough and nobody else is waited for."""
        state, rules = self._state, self._state.rules
        self._exclude_disputed(commit)
        table = state.table(commit)
        if self.stage is Stage.FORMING and quorum(table, rules) and worth_merging(table):
            if self._quorum_since is None:
                self._quorum_since = state.timer.now
            if complete(table) or state.timer.past(self._quorum_since + state.pace.straggler_timeout):
                self._close_group(table, lineage=commit.lineage)
            return
        minority = not state.quorum(commit.members, state.reachable) and may_fork(table, rules)
        # Peers that come later, from the lineage that has not branched off, would have the others give up the new one.
        wait = 0.0 if complete(table) else state.pace.straggler_timeout
        if self._minority_timed_out(minority=minority, wait=wait):
            position = state.position
            number = next(self._lineage_numbers)
            lineage = new_lineage(position.lineage, position.round, state.me, state.incarnation, number)
            self._close_group(table, lineage=lineage)

    def _exclude_disputed(self, commit: Commit) -> None:
        """Exclude peers, for a while, whose contributions can neither be merged nor left out; a line says so."""
        state = self._state
        peers = disputed(state.table(commit), state.rules, state.me) - {state.me}
        if new := peers - state.presence.disputed:
            names = ", ".join(sorted(new))
            text = f"round {state.position.round}: {names} cannot take part: that is half of the contributions or more"
            state.effects.notice(text, failed=True)
            state.presence.disputed |= new
        for peer in peers:
            state.presence.strikes.strike(self.attempt, peer)
            del state.presence.distrusted[peer]  # judged anew in the next attempt with it

    def _minority_timed_out(self, *, minority: bool, wait: float = 0.0) -> bool:
        """Whether there has been no majority for ``failure_timeout``, and ``wait`` seconds more."""
        timer = self._state.timer
        if not minority:
            self._minority_since = None
            return False
        if self._minority_since is None:
            self._minority_since = timer.now
        return timer.past(self._minority_since + self._state.rules.failure_timeout + wait)

    def _close_group(self, table: Table, *, lineage: str) -> None:
        state, rules, commit = self._state, self._state.rules, table.commit
        table = self._signed(table)
        if not quorum(table, rules) and lineage == commit.lineage:
            return
        table = with_refusals(table, rules)
        group = form(table, rules)
        for refusal in group.refused:
            text = f"round {state.position.round}: contribution of {refusal.peer} left out: {refusal.reason}"
            state.effects.notice(text, loud=True)
        whole = is_quorum(commit.members, table.offers, rules.tolerated_liars)
        kind, members, origins = RecordKind.ROUND, group.members, commit.origins
        voters = tuple(sorted({*commit.members} - table.removed))
        if lineage != commit.lineage:
            kind = RecordKind.RESTART if whole else RecordKind.FORK
            members = voters = tuple(sorted(table.offers))
            origins = origins_with(commit.origins, Origin(lineage, state.position.round, whole))
        keys = {peer: table.offers[peer].key if peer in table.offers else commit.key_of(peer) for peer in members}
        new = {peer: key for peer, key in keys.items() if key != commit.key_of(peer)}
        self._propose(
            Proposal(
                lineage=lineage,
                round=state.position.round,
                attempt=self.attempt,
                parent=state.position.parent,
                voters=voters,
                members=members,
                entries=group.entries,
                sync=rules.policy.next(commit.sync, signals(table, rules)),
                closing=table.all_finished,
                # Under a lossy codec even a model that no peer changes could come out changed.
                codec=rules.codec() if group.weight else ExactCodec.name,
                protocol=state.protocol({*voters, *members}),
                done=table.done,
                kind=kind,
                previous=state.position.previous,
                keys=tuple(keys.values()),
                rule=rules.merge_rule,
                settings=rules.settings,
                refused=group.refused,
                credentials=state.credentials_of(new),
                proofs=tuple(proof for peer, proof in sorted(state.presence.proven.items()) if peer in commit.members),
                origins=origins,
                best=best(table, rules),
                stop=stops(table, rules),
                offers=tuple(table.offers[entry.peer] for entry in group.entries),
                promises=self._promises.signed if kind is RecordKind.ROUND else (),
            )
        )

    def _signed(self, table: Table) -> Table:
        """The table without offers that others could not check: who sent those is heard again once it signs."""
        unsigned = [peer for peer, offer in table.offers.items() if not self._state.is_signed(offer)]
        for peer in unsigned:
            text = f"{peer} sent an offer that is not signed with the key that it gave on joining; it is ignored"
            self._state.effects.notice(text, loud=True, sender=peer)
            self._state.offers.discard(peer)
        return replace(table, offers={peer: table.offers[peer] for peer in table.offers if peer not in unsigned})

    def _propose(self, proposal: Proposal) -> None:
        self.proposal, self.stage, self._asked_at = proposal, Stage.EXCHANGING, self._state.timer.now
        self._state.effects.tell(proposal.group, Propose(proposal))

    def on_promise(self, sender: PeerId, message: Promise) -> None:
        """Collect promises; with a quorum, finish what was accepted, or form a group."""
        commit = self._state.position.commit
        if self.stage is Stage.PREPARING and commit and self._promises.add(sender, message):
            self._use_promises(commit)

    def _use_promises(self, commit: Commit) -> None:
        if not self._state.quorum(commit.members, self._promises.given - self._state.given_up):
            return
        highest = self._promises.highest
        if highest is None or highest.accepted is None or highest.ready is None:
            self.stage = Stage.FORMING
            return
        if not self._holds(highest.digest):
            # A liar may say that it has accepted what nobody else has. Of the promises, any quorum is enough.
            if self._state.quorum(commit.members, self._promises.free - self._state.given_up):
                self._promises.keep_free()
                self.stage = Stage.FORMING
                return
            late = self._state.timer.past(self._asked_at + self._state.rules.failure_timeout)
            if not late and {*commit.members} & self._state.reachable - self._promises.given - self._nacked:
                return
        round_ = self._state.position.round
        readiness = carry(highest.accepted, highest.ready)
        if readiness is None:
            text = (
                f"round {round_}: its result was accepted in {MOST_CARRIED + 1} attempts and decided in none;"
                " no attempt can decide it any more: start the peers again with --resume"
            )
            self._state.effects.notice(text, loud=True)
            self.stage = Stage.STUCK  # another attempt would find the same at once, and so without end
            return
        self._state.effects.notice(f"round {round_}: finishing an attempt whose leader failed")
        proposal = replace(highest.accepted, attempt=self.attempt, promises=self._promises.signed)
        self._ask_accepts(proposal, highest.digest, readiness)

    def on_ready(self, sender: PeerId, message: Ready) -> None:
        """Collect digests; when the whole group has the same model, made of what was offered, ask for accepts.

        Who does not sign its digest is named, and at fault only where too few sign. What it has signed before stands.
        """
        proposal = self.proposal
        if self.stage is not Stage.EXCHANGING or proposal is None or sender not in proposal.group:
            return
        state = self._state
        signed_before = sender in self._signed_ready
        if signed_before or not enough_ready(state, proposal, self._signed_ready):
            record = record_hash(proposal.commit(message.digest))
            statement = ready_statement(state.rules.session, *proposal.key, record)
            offered = proposal.offers[proposal.group.index(sender)]
            if state.rules.signer.verify(offered.key, statement, message.signature):
                self._signed_ready.add(sender)
                self._unsigned.discard(sender)
            else:  # the group does not wait for it: those who sign can be enough
                state.effects.notice(f"{sender} did not sign that it is ready", loud=True, sender=sender)
                if signed_before:
                    return
                self._unsigned.add(sender)
        self._ready[sender] = message
        if self._ready_at is None and self._pace_is_known(proposal):
            self._ready_at = state.timer.now
        if set(proposal.group) <= self._ready.keys():
            self._check(proposal)

    def _pace_is_known(self, proposal: Proposal) -> bool:
        """Whether an exchange was really possible in this time: what one other member says may be a lie.

        A leader that is no member of the group goes by a quorum of it, of which not all lie.
        """
        me = self._state.me
        return me in self._ready if me in proposal.group else enough_ready(self._state, proposal, self._signed_ready)

    def _check(self, proposal: Proposal) -> None:
        """Ask for accepts, or abort because of the peers whose results are wrong."""
        state, ready = self._state, {peer: self._ready[peer] for peer in proposal.group}
        common = self._common(ready)
        odd = {peer for peer, each in ready.items() if each.digest != common}
        silent = unmeasured(proposal, ready)
        if odd:
            self._judge_slices(proposal, odd, common)
            self._abort(proposal, (), f"{', '.join(sorted(odd))} assembled other bytes than the rest")
        elif not proposal.contributors and common != proposal.parent:
            self._abort(
                proposal,
                proposal.senders,
                f"{', '.join(proposal.senders)} sent another model than the last one",
            )
        elif silent:
            self._abort(proposal, silent, f"{', '.join(sorted(silent))} did not measure what was merged")
        elif wrong := contradicted(proposal, ready, state.rules.find_codec(proposal.codec)):
            # They stay in the group and receive, as they may be needed for a quorum, or to close the session; except
            # one that was to send the committed model to all and sent another.
            again = wrong.keys() & state.presence.distrusted.keys()
            state.presence.distrust(wrong)
            self._abort(proposal, again, "; ".join(wrong.values()))
        elif not enough_ready(state, proposal, self._signed_ready):
            unsigned = {*proposal.group} - self._signed_ready
            self._abort(proposal, unsigned, f"{', '.join(sorted(unsigned))} did not sign to be ready")
        else:
            signed = ((peer, ready[peer].signature) for peer in sorted(self._signed_ready))
            signatures = tuple(Signature(peer, value) for peer, value in signed)
            self._ask_accepts(proposal, common, Readiness(self.attempt, signatures))

    def _common(self, ready: Mapping[PeerId, Ready]) -> str:
        """The digest that more than half hold; else this leader's own, as a liar may choose its own to be the first."""
        digests = sorted(each.digest for each in ready.values())
        common = max(digests, key=digests.count)
        mine = ready.get(self._state.me)
        return mine.digest if mine and 2 * digests.count(common) <= len(digests) else common

    def _judge_slices(self, proposal: Proposal, odd: Collection[PeerId], common: str) -> None:
        """Blame the owners of the slices that members hold in another form than the rest, or those members."""
        strikes, mine = self._state.presence.strikes, self._ready.get(self._state.me)
        alike = [each.slices for each in self._ready.values() if each.digest == common]
        # Of those with the common digest, a liar may tell others of its slices.
        told = mine.slices if mine and mine.digest == common else alike[0]
        for peer in sorted(odd):
            theirs = self._ready[peer].slices
            owners = [
                owner
                for owner, one, other in zip(proposal.group, told, theirs, strict=False)
                if one != other and owner != peer
            ]
            if len(owners) == 1 and len(theirs) == len(told):
                strikes.accuse(self.attempt, peer, owners[0])
            else:
                strikes.strike(self.attempt, peer)

    def _ask_accepts(self, proposal: Proposal, digest: str, readiness: Readiness) -> None:
        self.proposal, self._digest, self.stage = proposal, digest, Stage.ACCEPTING
        self._record, self._readiness = record_hash(proposal.commit(digest)), readiness
        self._asked_at = self._state.timer.now
        self.resend()

    def on_accepted(self, sender: PeerId, message: Accepted) -> None:
        """Collect accepts; a quorum of the voters decides."""
        state, proposal = self._state, self.proposal
        if self.stage is not Stage.ACCEPTING or proposal is None or sender in self._accepted:
            return
        keys = state.voter_keys(proposal)
        statement = accept_statement(state.rules.session, *proposal.key, self._record)
        if sender not in keys or not state.rules.signer.verify(keys[sender], statement, message.signature):
            state.effects.notice(f"{sender} did not sign its accept; it is ignored", loud=True, sender=sender)
            return
        self._accepted[sender] = message.signature
        if self._decided(proposal):
            self.stage = Stage.DECIDED
            signatures = tuple(Signature(peer, value) for peer, value in sorted(self._accepted.items()))
            certificate = QuorumCertificate(self.attempt, signatures, proposal.promises)
            self.decision = replace(proposal.commit(self._digest), certificate=certificate)
            state.effects.tell({*proposal.group, *state.presence.live} - {state.me}, Decide(self.decision))

    def _decided(self, proposal: Proposal) -> bool:
        # Who was removed since is still a voter of this record.
        parents = self._state.position.members
        return decided(proposal.kind, proposal.voters, self._accepted, parents, self._state.rules.tolerated_liars)

    def on_nack(self, sender: PeerId, message: Nack, *, asked: bool) -> bool:
        """A peer answers this attempt no more; whether another leader should be followed: too few answer this one.

        One peer alone ends no leader's term. If it is a member of the group, this leader goes on above what it has
        promised, and the second time in a round without who is at fault: the peer or, if it was ``asked`` for this
        promise, who asked.
        """
        self._nacked.add(sender)
        # Peers that come later follow no attempt that is far above their own: no nack raises this one by much.
        highest = Attempt(self.attempt.counter + MOST_RAISED, message.promised.leader)
        self.above = max(self.above, min(message.promised, highest))
        state, proposal = self._state, self.proposal
        if self.stage in {Stage.DECIDED, Stage.ABORTED}:
            return False
        commit = state.position.commit
        if proposal and proposal.kind is not RecordKind.ROUND:
            # Two peers may begin a lineage at once: then one of them follows the other.
            if sender not in proposal.group or not state.presence.strikes.nacks(sender):
                return sender in proposal.group
            self._abort(proposal, {sender}, f"{sender} follows a higher attempt")
            return False
        if commit is None:
            return True
        if proposal and self.stage is Stage.EXCHANGING and sender in proposal.group:
            at_fault = message.promised.leader if asked else sender
            blamed = {at_fault} if state.presence.strikes.nacks(at_fault) else ()
            self._abort(proposal, blamed, f"{sender} follows a higher attempt")
            return False
        return not state.quorum(commit.members, {*commit.members} - self._nacked)

    def on_failed(self, sender: PeerId, message: Failed) -> None:
        """A member cannot finish: abort; whom that leaves out is decided where every member decides it."""
        if self.stage is Stage.EXCHANGING and self.proposal and sender in self.proposal.group:
            self._abort(self.proposal, (), message.reason)

    def lost(self, peer: PeerId) -> None:
        """A peer cannot be reached any more: an exchange that needs it cannot finish."""
        exchanging = self.proposal if self.stage is Stage.EXCHANGING else None
        if exchanging and peer in exchanging.group and peer not in self._ready:
            self._abort(exchanging, {peer}, f"{peer} is gone")

    def _abort(self, proposal: Proposal, blamed: Collection[PeerId], reason: str) -> None:
        """Abort the attempt; ``blamed`` are left out of the next one."""
        state = self._state
        self.stage = Stage.ABORTED
        for peer in blamed:
            state.presence.strikes.strike(self.attempt, peer)
        text = f"round {proposal.round}: attempt {self.attempt.counter} aborted: {reason}"
        state.effects.notice(text, failed=True)
        state.effects.tell(set(proposal.group), Abort(proposal.lineage, proposal.round, self.attempt, reason))
