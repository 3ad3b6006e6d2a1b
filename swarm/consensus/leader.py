"""The leading role: prepare, form, exchange, accept, decide. One instance leads one attempt."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import replace

from swarm.codec.exact import ExactCodec
from swarm.consensus.forming import Table, complete, form, losses, may_fork, quorum, worth_merging
from swarm.consensus.norms import contradicted, unmeasured
from swarm.consensus.order import majority, new_lineage
from swarm.consensus.view import RoundView
from swarm.messages import Abort, Accept, Accepted, Decide, Failed, Prepare, Promise, Proposal, Propose, Ready
from swarm.records import Attempt, Commit, PeerId


class Stage(enum.Enum):
    """How far an attempt is."""

    PREPARING = "asking what was accepted before"
    FORMING = "waiting for offers"
    EXCHANGING = "exchanging weights"
    ACCEPTING = "asking for accepts"
    DECIDED = "decided"
    ABORTED = "given up"


class Leader:
    """This peer as leader of one attempt."""

    def __init__(self, view: RoundView, attempt: Attempt, *, prepared: bool) -> None:
        self._view = view
        self.attempt = attempt
        self.stage = Stage.FORMING if prepared else Stage.PREPARING
        self.proposal: Proposal | None = None
        self.decision: Commit | None = None
        """Set once decided; the machine applies it and tells everybody."""
        self._digest = ""
        self._promises: dict[PeerId, Promise] = {}
        self._ready: dict[PeerId, Ready] = {}
        self._accepted: set[PeerId] = set()
        self._asked_at = view.now
        self._quorum_since: float | None = None
        self._minority_since: float | None = None
        if not prepared:
            view.acceptor.promise(attempt)
            self.resend()

    @classmethod
    def founding(cls, view: RoundView, proposal: Proposal) -> Leader:
        """Lead the birth of a lineage, which has no round before it to ask about."""
        leader = cls(view, proposal.attempt, prepared=True)
        leader._propose(proposal)
        return leader

    def leads(self, message: Promise | Ready | Failed | Accepted) -> bool:
        """Whether an answer is to this attempt, and not to one of another round or lineage with the same number."""
        view = self._view
        key = self.proposal.key if self.proposal else (view.lineage, view.round, self.attempt)
        return (message.lineage, message.round, message.attempt) == key

    def resend(self) -> None:
        """Retransmit what some have not answered: messages may be lost."""
        view = self._view
        if self.stage is Stage.PREPARING and view.commit and view.votes:
            asked = {*view.commit.members} & (view.live | {view.me})
            view.tell(asked - self._promises.keys(), Prepare(view.lineage, view.round, self.attempt))
        elif self.stage is Stage.EXCHANGING and self.proposal:
            view.tell(self.proposal.group, Propose(self.proposal))
        elif self.stage is Stage.ACCEPTING and self.proposal:
            asked = {*self.proposal.voters} & (view.live | {view.me})
            view.tell(asked - self._accepted, Accept(self.proposal, self._digest))

    def step(self) -> None:
        """Do what time or a new offer allows."""
        view = self._view
        if self.stage is Stage.ACCEPTING and self.proposal and self.proposal.lineage != view.lineage:
            # Only this peer can decide the birth of a lineage, so it may give it up even now.
            if view.past(self._asked_at + view.rules.failure_timeout):
                silent = {*self.proposal.voters} - self._accepted
                self.abort(silent, f"{', '.join(sorted(silent))} did not accept it")
            return
        if self.stage is Stage.ACCEPTING and view.commit:
            self._mind_the_voters(view.commit)
        if self.stage not in {Stage.PREPARING, Stage.FORMING} or view.commit is None:
            return
        table = view.table()
        if self.stage is Stage.FORMING and quorum(table, view.rules) and worth_merging(table):
            if self._quorum_since is None:
                self._quorum_since = view.now
            if complete(table) or view.past(self._quorum_since + view.pace.straggler_timeout):
                self._close_group(table, lineage=view.lineage, voters=view.commit.members)
        elif not majority(view.commit.members, view.reachable) and may_fork(table, view.rules):
            if self._minority_since is None:
                self._minority_since = view.now
            if view.past(self._minority_since + view.rules.failure_timeout):
                view.births += 1
                lineage = new_lineage(view.lineage, view.round, view.me, view.incarnation, view.births)
                self._announce(table, view.commit.members, lineage)
                self._close_group(table, lineage=lineage, voters=tuple(sorted(table.offers)))
        else:
            self._minority_since = None

    def _announce(self, table: Table, members: tuple[PeerId, ...], lineage: str) -> None:
        view = self._view
        if majority(members, table.offers):
            mute = ", ".join(sorted(set(table.offers) - table.voters))
            text = (
                f"{mute} restarted and cannot vote; {len(table.offers)} peers go on from round {table.commit.round}"
                f" as lineage {lineage}"
            )
        else:
            text = (
                f"FORK: {len(table.offers)} of {len(members)} members are left and no majority can be reached;"
                f" going on as lineage {lineage} because min_peers={view.rules.min_peers} allows it"
            )
        view.notice(text, loud=True)

    def _mind_the_voters(self, commit: Commit) -> None:
        """Without a majority in reach the attempt leads nowhere: a higher one of this peer finishes it, or forks."""
        view = self._view
        if majority(commit.members, view.reachable):
            self._minority_since = None
            return
        if self._minority_since is None:
            self._minority_since = view.now
        if view.past(self._minority_since + view.rules.failure_timeout):
            self.stage = Stage.ABORTED

    def _close_group(self, table: Table, *, lineage: str, voters: tuple[PeerId, ...]) -> None:
        view = self._view
        commit = view.committed
        group = form(table, view.rules)
        for peer, reason in group.refused:
            view.notice(f"round {view.round}: contribution of {peer} left out: {reason}", loud=True)
        self._propose(
            Proposal(
                lineage=lineage,
                round=view.round,
                attempt=self.attempt,
                parent=view.parent,
                voters=voters,
                members=group.members if lineage == view.lineage else voters,
                entries=group.entries,
                sync=view.rules.policy.next(commit.sync, losses(table)),
                closing=group.closing,
                weight=commit.weight + group.weight,
                # Under a lossy codec even a model that nobody changes could come out changed.
                codec=view.rules.codec() if group.weight else ExactCodec.name,
            )
        )

    def _propose(self, proposal: Proposal) -> None:
        self.proposal, self.stage = proposal, Stage.EXCHANGING
        self._view.tell(proposal.group, Propose(proposal))

    def on_promise(self, sender: PeerId, message: Promise) -> None:
        """Collect promises; with a majority, finish what was accepted or form anew."""
        view = self._view
        if self.stage is not Stage.PREPARING or view.commit is None:
            return
        self._promises[sender] = message
        if not majority(view.commit.members, self._promises):
            return
        accepted = [promise for promise in self._promises.values() if promise.accepted is not None]
        if not accepted:
            self.stage = Stage.FORMING
            self.step()
            return
        highest = max(accepted, key=lambda promise: promise.accepted.attempt if promise.accepted else self.attempt)
        if highest.accepted is not None:
            view.notice(f"round {view.round}: finishing the attempt of a leader that vanished")
            self._ask_accepts(replace(highest.accepted, attempt=self.attempt), highest.digest)

    def on_ready(self, sender: PeerId, message: Ready) -> None:
        """Collect digests; when all of the group hold the same bytes, of what was offered, ask for accepts."""
        if self.stage is not Stage.EXCHANGING or self.proposal is None:
            return
        self._ready[sender] = message
        if set(self.proposal.group) <= self._ready.keys():
            self._judge(self.proposal)

    def _judge(self, proposal: Proposal) -> None:
        view, ready = self._view, {peer: self._ready[peer] for peer in proposal.group}
        digests = sorted(each.digest for each in ready.values())
        common = max(digests, key=digests.count)
        odd = {peer for peer, each in ready.items() if each.digest != common}
        silent = unmeasured(proposal, ready)
        if odd:
            self.abort(odd, f"{', '.join(sorted(odd))} assembled other bytes than the rest")
        elif proposal.parent and not proposal.counted and common != proposal.parent:
            self.abort(
                proposal.contributors, f"{', '.join(proposal.contributors)} sent another model than the last one"
            )
        elif silent:
            self.abort(silent, f"{', '.join(sorted(silent))} did not measure what was merged")
        elif wrong := contradicted(proposal, ready, view.rules.find_codec(proposal.codec)):
            # They stay in the group and receive, as they may be needed for a quorum, or to close the session; except
            # one that was to send the committed model to all and sent another.
            again = wrong.keys() & view.distrusted.keys()
            view.distrusted.update(wrong)
            self.abort(again, "; ".join(wrong.values()))
        else:
            self._ask_accepts(proposal, common)

    def _ask_accepts(self, proposal: Proposal, digest: str) -> None:
        self.proposal, self._digest, self.stage = proposal, digest, Stage.ACCEPTING
        self._asked_at = self._view.now
        self.resend()

    def on_accepted(self, sender: PeerId, message: Accepted) -> None:
        """Collect accepts; a majority of the voters decides."""
        if self.stage is not Stage.ACCEPTING or self.proposal is None:
            return
        self._accepted.add(sender)
        if majority(self.proposal.voters, self._accepted):
            self.stage = Stage.DECIDED
            self.decision = self.proposal.commit(self._digest)
            view = self._view
            view.tell({*self.proposal.group, *view.live} - {view.me}, Decide(self.decision))

    def on_failed(self, sender: PeerId, message: Failed) -> None:
        """A member cannot finish because of the one it blames: aborted, and leave that one out."""
        if self.stage is Stage.EXCHANGING and self.proposal and sender in self.proposal.group:
            self.abort({message.blamed if message.blamed in self.proposal.group else sender}, message.reason)

    def lost(self, peer: PeerId) -> None:
        """A peer is gone: an exchange with it cannot finish."""
        exchanging = self.stage is Stage.EXCHANGING and self.proposal is not None
        if exchanging and self.proposal and peer in self.proposal.group and peer not in self._ready:
            self.abort({peer}, f"{peer} is gone")

    def abort(self, blamed: Collection[PeerId], reason: str) -> None:
        """Give the attempt up; ``blamed`` sit out the next one."""
        view = self._view
        if self.proposal is None:
            return
        self.stage = Stage.ABORTED
        until = view.now + min(2.0, view.rules.failure_timeout)
        view.excluded.update(dict.fromkeys(blamed, until))
        view.notice(f"round {self.proposal.round}: attempt {self.attempt.counter} aborted: {reason}", failed=True)
        abort = Abort(self.proposal.lineage, self.proposal.round, self.attempt, reason)
        view.tell(set(self.proposal.group), abort)
