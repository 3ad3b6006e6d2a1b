"""One attempt that this peer leads: prepare, form, exchange, accept, decide."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from dataclasses import replace

from swarm.codec.exact import ExactCodec
from swarm.consensus.forming import Table, complete, form, losses, may_fork, quorum, worth_merging
from swarm.consensus.norms import contradicted, unmeasured
from swarm.consensus.paxos import majority, new_lineage
from swarm.consensus.state import RoundState
from swarm.messages import Abort, Accept, Accepted, Decide, Failed, Prepare, Promise, Proposal, Propose, Ready
from swarm.records import MAX_TOTAL_WEIGHT, Attempt, Commit, PeerId

NAMES_STEPS = 2
"""The first version of the protocol in which a proposal names the steps of its members."""
LONGEST_EXCLUSION = 2.0
"""Seconds for which a peer is left out after an attempt was aborted because of it, at most."""


class Stage(enum.Enum):
    """How far an attempt is."""

    PREPARING = "asking what was accepted before"
    FORMING = "waiting for offers"
    EXCHANGING = "exchanging weights"
    ACCEPTING = "asking for accepts"
    DECIDED = "decided"
    ABORTED = "aborted"


class LedAttempt:
    """One attempt, from its leader's side."""

    def __init__(self, state: RoundState, attempt: Attempt, lineage_numbers: Iterator[int], *, prepared: bool) -> None:
        """Lead ``attempt``.

        Args:
            state: the shared facts.
            attempt: its number, and this peer.
            lineage_numbers: numbers the lineages that this process proposes.
            prepared: no promises are needed, as nothing can be accepted yet.
        """
        self._state = state
        self._lineage_numbers = lineage_numbers
        self.attempt = attempt
        self.stage = Stage.FORMING if prepared else Stage.PREPARING
        self.proposal: Proposal | None = None
        self.decision: Commit | None = None
        """Set once decided."""
        self._digest = ""
        self._promises: dict[PeerId, Promise] = {}
        self._ready: dict[PeerId, Ready] = {}
        self._accepted: set[PeerId] = set()
        self._asked_at = state.timer.now
        self._quorum_since: float | None = None
        self._minority_since: float | None = None
        if not prepared:
            state.acceptor.promise(attempt)
            self.resend()

    @classmethod
    def founding(cls, state: RoundState, proposal: Proposal, lineage_numbers: Iterator[int]) -> LedAttempt:
        """Lead the founding round, which has no round before it to ask about."""
        led = cls(state, proposal.attempt, lineage_numbers, prepared=True)
        led._propose(proposal)
        return led

    def owns(self, message: Promise | Ready | Failed | Accepted) -> bool:
        """Whether an answer is to this attempt, and not to one of another round or lineage with the same number."""
        position = self._state.position
        key = self.proposal.key if self.proposal else (position.lineage, position.round, self.attempt)
        return (message.lineage, message.round, message.attempt) == key

    def resend(self) -> None:
        """Retransmit to those who have not answered: messages may be lost."""
        state, commit = self._state, self._state.position.commit
        here = state.presence.here
        if self.stage is Stage.PREPARING and commit and state.acceptor.votes:
            message = Prepare(commit.lineage, state.position.round, self.attempt)
            state.effects.tell({*commit.members} & here - self._promises.keys(), message)
        elif self.stage is Stage.EXCHANGING and self.proposal:
            state.effects.tell(self.proposal.group, Propose(self.proposal))
        elif self.stage is Stage.ACCEPTING and self.proposal:
            state.effects.tell({*self.proposal.voters} & here - self._accepted, Accept(self.proposal, self._digest))

    def step(self) -> None:
        """Do what time or a new offer allows."""
        state, commit = self._state, self._state.position.commit
        if self.stage is Stage.ACCEPTING and self.proposal and self.proposal.lineage != state.position.lineage:
            # Only this peer can decide the start of a lineage, so it may abort it even now.
            if state.timer.past(self._asked_at + state.rules.failure_timeout):
                silent = {*self.proposal.voters} - self._accepted
                self._abort(self.proposal, silent, f"{', '.join(sorted(silent))} did not accept it")
        elif self.stage is Stage.ACCEPTING and commit:
            # Without a majority in reach the attempt cannot be decided: a higher one finishes it, or forks.
            if self._minority_timed_out(minority=not majority(commit.members, state.offers.reachable)):
                self.stage = Stage.ABORTED
        elif self.stage in {Stage.PREPARING, Stage.FORMING} and commit:
            self._try_to_form(commit)

    def _try_to_form(self, commit: Commit) -> None:
        """Close the group if those who have offered are enough and nobody else is waited for."""
        state, rules = self._state, self._state.rules
        table = state.offers.table(commit)
        if self.stage is Stage.FORMING and quorum(table, rules) and worth_merging(table):
            if self._quorum_since is None:
                self._quorum_since = state.timer.now
            if complete(table) or state.timer.past(self._quorum_since + state.pace.straggler_timeout):
                self._close_group(table, lineage=commit.lineage, voters=commit.members)
            return
        minority = not majority(commit.members, state.offers.reachable) and may_fork(table, rules)
        if self._minority_timed_out(minority=minority):
            position = state.position
            number = next(self._lineage_numbers)
            lineage = new_lineage(position.lineage, position.round, state.me, state.incarnation, number)
            self._announce_lineage(table, commit.members, lineage)
            self._close_group(table, lineage=lineage, voters=tuple(sorted(table.offers)))

    def _minority_timed_out(self, *, minority: bool) -> bool:
        """Whether there has been no majority for ``failure_timeout``."""
        timer = self._state.timer
        if not minority:
            self._minority_since = None
            return False
        if self._minority_since is None:
            self._minority_since = timer.now
        return timer.past(self._minority_since + self._state.rules.failure_timeout)

    def _announce_lineage(self, table: Table, members: tuple[PeerId, ...], lineage: str) -> None:
        if majority(members, table.offers):
            without = ", ".join(sorted(set(table.offers) - table.voters))
            text = (
                f"{without} restarted and cannot vote; {len(table.offers)} peers go on from round {table.commit.round}"
                f" as lineage {lineage}"
            )
        else:
            text = (
                f"FORK: {len(table.offers)} of {len(members)} members are left and no majority can be reached;"
                f" going on as lineage {lineage} because min_peers={self._state.rules.min_peers} allows it"
            )
        self._state.effects.notice(text, loud=True)

    def _close_group(self, table: Table, *, lineage: str, voters: tuple[PeerId, ...]) -> None:
        state, rules, commit = self._state, self._state.rules, table.commit
        group = form(table, rules)
        for peer, reason in group.refused:
            text = f"round {state.position.round}: contribution of {peer} left out: {reason}"
            state.effects.notice(text, loud=True)
        members = group.members if lineage == commit.lineage else voters
        protocol = state.protocol({*voters, *members})
        named = protocol >= NAMES_STEPS
        self._propose(
            Proposal(
                lineage=lineage,
                round=state.position.round,
                attempt=self.attempt,
                parent=state.position.parent,
                voters=voters,
                members=members,
                entries=group.entries if named else tuple(replace(entry, steps=0) for entry in group.entries),
                sync=rules.policy.next(commit.sync, losses(table, rules)),
                closing=group.closing,
                weight=min(commit.weight + group.weight, MAX_TOTAL_WEIGHT),
                # Under a lossy codec even a model that no peer changes could come out changed.
                codec=rules.codec() if group.weight else ExactCodec.name,
                protocol=protocol,
                done=group.done,
            )
        )

    def _propose(self, proposal: Proposal) -> None:
        self.proposal, self.stage = proposal, Stage.EXCHANGING
        self._state.effects.tell(proposal.group, Propose(proposal))

    def on_promise(self, sender: PeerId, message: Promise) -> None:
        """Collect promises; with a majority, finish what was accepted, or form a group."""
        commit = self._state.position.commit
        if self.stage is not Stage.PREPARING or commit is None:
            return
        self._promises[sender] = message
        if not majority(commit.members, self._promises):
            return
        accepted = [(each.accepted, each.digest) for each in self._promises.values() if each.accepted]
        if not accepted:
            self.stage = Stage.FORMING
            return
        proposal, digest = max(accepted, key=lambda pair: pair[0].attempt)
        round_ = self._state.position.round
        self._state.effects.notice(f"round {round_}: finishing an attempt whose leader failed")
        self._ask_accepts(replace(proposal, attempt=self.attempt), digest)

    def on_ready(self, sender: PeerId, message: Ready) -> None:
        """Collect digests; when the whole group has the same model, made of what was offered, ask for accepts."""
        if self.stage is not Stage.EXCHANGING or self.proposal is None:
            return
        self._ready[sender] = message
        if set(self.proposal.group) <= self._ready.keys():
            self._check(self.proposal)

    def _check(self, proposal: Proposal) -> None:
        """Ask for accepts, or abort because of the peers whose results are wrong."""
        state, ready = self._state, {peer: self._ready[peer] for peer in proposal.group}
        digests = sorted(each.digest for each in ready.values())
        common = max(digests, key=digests.count)
        odd = {peer for peer, each in ready.items() if each.digest != common}
        silent = unmeasured(proposal, ready)
        if odd:
            self._abort(proposal, odd, f"{', '.join(sorted(odd))} assembled other bytes than the rest")
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
        else:
            self._ask_accepts(proposal, common)

    def _ask_accepts(self, proposal: Proposal, digest: str) -> None:
        self.proposal, self._digest, self.stage = proposal, digest, Stage.ACCEPTING
        self._asked_at = self._state.timer.now
        self.resend()

    def on_accepted(self, sender: PeerId) -> None:
        """Collect accepts; a majority of the voters decides."""
        if self.stage is not Stage.ACCEPTING or self.proposal is None:
            return
        self._accepted.add(sender)
        if majority(self.proposal.voters, self._accepted):
            state = self._state
            self.stage = Stage.DECIDED
            self.decision = self.proposal.commit(self._digest)
            state.effects.tell({*self.proposal.group, *state.presence.live} - {state.me}, Decide(self.decision))

    def on_failed(self, sender: PeerId, message: Failed) -> None:
        """A member cannot finish: abort, and leave the peer out that it blames."""
        if self.stage is Stage.EXCHANGING and self.proposal and sender in self.proposal.group:
            blamed = message.blamed if message.blamed in self.proposal.group else sender
            self._abort(self.proposal, {blamed}, message.reason)

    def lost(self, peer: PeerId) -> None:
        """A peer cannot be reached any more: an exchange that needs it cannot finish."""
        exchanging = self.proposal if self.stage is Stage.EXCHANGING else None
        if exchanging and peer in exchanging.group and peer not in self._ready:
            self._abort(exchanging, {peer}, f"{peer} is gone")

    def _abort(self, proposal: Proposal, blamed: Collection[PeerId], reason: str) -> None:
        """Abort the attempt; ``blamed`` are left out of the next one."""
        state = self._state
        self.stage = Stage.ABORTED
        state.presence.exclude(blamed, state.timer.now + min(LONGEST_EXCLUSION, state.rules.failure_timeout))
        text = f"round {proposal.round}: attempt {self.attempt.counter} aborted: {reason}"
        state.effects.notice(text, failed=True)
        state.effects.tell(set(proposal.group), Abort(proposal.lineage, proposal.round, self.attempt, reason))
