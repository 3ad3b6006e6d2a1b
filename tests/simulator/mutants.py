"""Deliberate mistakes in the protocol. A simulation that does not notice one of them proves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from swarm.certification.chain import Verifier
from swarm.consensus import attempt, checking, forming, member, promises
from swarm.consensus.attempt import LedAttempt, Stage
from swarm.consensus.catchup import CatchUp
from swarm.consensus.effects import Effect
from swarm.consensus.forming import Group, Table
from swarm.consensus.machine import RoundMachine
from swarm.consensus.member import Member
from swarm.consensus.paxos import Acceptor
from swarm.consensus.rules import RoundRules
from swarm.consensus.state import RoundState
from swarm.exchange.exchange import Exchange
from swarm.exchange.feedback import ErrorFeedback
from swarm.messages import (
    Accept,
    Envelope,
    Hello,
    Message,
    Offer,
    PartialNorm,
    Promise,
    Proposal,
    Propose,
    Readiness,
    Ready,
)
from swarm.peer.futures import Answer, AnswerKind
from swarm.peer.models import Models
from swarm.peer.peers import Peers
from swarm.peer.rounds import Rounds
from swarm.quorums import is_quorum
from swarm.records import Attempt, Commit, PeerId, PeerStatus, Signature, SignedPromise
from swarm.session.arithmetic import difference
from swarm.session.merging import Merging
from swarm.session.pending import PendingAnswer
from swarm.tensors.state import ModelState
from tests.simulator.registered import Mutants
from tests.simulator.signer import CheapSigner

MUTANTS = Mutants()
mutated = MUTANTS.mutated
_mutant = MUTANTS.register


def _decide(self: LedAttempt) -> None:
    assert self.proposal is not None
    self.stage = Stage.DECIDED
    self.decision = self.proposal.commit(self._digest)


# Votes ---------------------------------------------------------------------------------------------------------------

_ask_accepts, _on_accept, _drop = LedAttempt._ask_accepts, Member.on_accept, Member.drop
_signer = CheapSigner.__init__


@_mutant(LedAttempt, "_ask_accepts")
def leader_applies_before_accepts(self: LedAttempt, proposal: Any, digest: str, readiness: Any) -> None:
    """It takes "all are ready" for a decision."""
    _ask_accepts(self, proposal, digest, readiness)
    _decide(self)


@_mutant(Verifier, "_uncertified", of="leader_applies_before_accepts")
@_mutant(Verifier, "_uncertified", of="a_minority_decides")
@_mutant(Verifier, "_uncertified", of="duplicates_count_as_votes")
def _certificates_are_not_checked(self: Verifier, record: Commit, before: Commit | None) -> str:
    return ""


@_mutant(LedAttempt, "on_accepted")
def a_minority_decides(self: LedAttempt, sender: PeerId, message: Any) -> None:
    """The first accept is enough."""
    if self.stage is Stage.ACCEPTING:
        _decide(self)


@_mutant(LedAttempt, "on_accepted")
def duplicates_count_as_votes(self: LedAttempt, sender: PeerId, message: Any) -> None:
    """Two accepts of one peer are two votes."""
    if self.stage is not Stage.ACCEPTING or self.proposal is None:
        return
    self._accepted[f"{sender}/{len(self._accepted)}"] = message.signature
    if 2 * len(self._accepted) > len(self.proposal.voters):
        _decide(self)


@_mutant(Acceptor, "accept")
def recovery_ignores_accepts(self: Acceptor, proposal: Proposal, digest: str, ready: Readiness | None) -> bool:
    """A voter does not tell a new leader what it has accepted, which forms a new group then."""
    return self.promise(proposal.attempt)


@_mutant(LedAttempt, "on_promise")
def recovery_asks_nobody(self: LedAttempt, sender: PeerId, message: Promise) -> None:
    """The first promise is enough for a new leader."""
    if self.stage is Stage.PREPARING and self._promises.add(sender, message):
        if message.accepted and message.ready:
            self._ask_accepts(replace(message.accepted, attempt=self.attempt), message.digest, message.ready)
        else:
            self.stage = Stage.FORMING
            self.step()


@_mutant(member, "promised_before", of="recovery_asks_nobody")
@_mutant(promises, "promised_before", of="recovery_asks_nobody")
def _promises_are_not_counted(
    state: RoundState, proposal: Proposal, attempt: Attempt, given: Iterable[SignedPromise]
) -> tuple[Attempt | None, str]:
    told = {each.accepted: each.record for each in given if each.accepted}
    highest = max(told, default=None)
    return highest, told[highest] if highest else ""


@_mutant(Acceptor, "promise")
def promises_are_not_kept(self: Acceptor, attempt: Any, asked: str = "") -> bool:
    """A stale attempt is answered like the newest."""
    self.promised = max(self.promised, attempt)
    return True


@_mutant(Member, "on_accept")
def accepts_without_the_bytes(self: Member, sender: PeerId, message: Accept) -> None:
    """A member accepts what it does not hold."""
    if not self.begins_lineage(message.proposal):
        self._held.setdefault(message.digest, message.proposal)
    _on_accept(self, sender, message)


@_mutant(Member, "drop")
def forgets_what_it_accepted(self: Member, *, forget: bool = True) -> None:
    """The bytes go with the attempt, though they were accepted."""
    if self.attempt:
        _drop(self)
        self._held.clear()


@_mutant(LedAttempt, "on_ready")
def asks_before_all_are_ready(self: LedAttempt, sender: PeerId, message: Ready) -> None:
    """Most are ready, so the leader asks for accepts."""
    if self.stage is Stage.EXCHANGING and self.proposal is not None and message.attempt == self.attempt:
        self._ready[sender] = message
        if is_quorum(self.proposal.voters, self._ready):
            signatures = tuple(Signature(peer, each.signature) for peer, each in self._ready.items())
            self._ask_accepts(self.proposal, message.digest, Readiness(self.attempt, signatures))


@_mutant(member, "is_ready", of="asks_before_all_are_ready")
def _readiness_is_not_checked(state: RoundState, proposal: Proposal, record: str, ready: Readiness | None) -> bool:
    return True


@_mutant(CheapSigner, "__init__")
def the_forgetful_vote(self: CheapSigner, process: str) -> None:
    """A process that took the place of a dead one has its key, and so votes at once."""
    _signer(self, process.partition("/")[0])


# Groups --------------------------------------------------------------------------------------------------------------

_form, _weight_of, _signals = forming.form, forming._weight, forming.signals
_exchanged = Member.exchanged


@_mutant(attempt, "form")
def a_finished_peer_is_forgotten(table: Table, rules: RoundRules) -> Group:
    """Only those who train are put into the group, as long as there are any."""
    training = {peer: offer for peer, offer in table.offers.items() if not offer.stats.status.finished}
    return _form(replace(table, offers=training) if training else table, rules)


@_mutant(forming, "_weight")
def a_claimed_weight_is_trusted(offer: Offer, table: Table, rules: RoundRules) -> tuple[int, str]:
    """Whatever weight a peer claims."""
    return _weight_of(offer, replace(table, joined={}), rules)


@_mutant(forming, "capped")
def a_share_has_no_limit(weights: Mapping[PeerId, int], share: object) -> Mapping[PeerId, int]:
    """Whatever share of a round a peer has."""
    return weights


@_mutant(attempt, "signals")
@_mutant(checking, "signals", of="a_claimed_weight_steers_the_interval")
def a_claimed_weight_steers_the_interval(table: Table, rules: RoundRules) -> list[tuple[int, float]]:
    """A signal counts with whatever weight a peer claims."""
    return _signals(replace(table, joined={}), rules)


@_mutant(forming, "_weight")
def nan_is_merged(offer: Offer, table: Table, rules: RoundRules) -> tuple[int, str]:
    """Weights that are not finite count like all others."""
    return _weight_of(replace(offer, stats=replace(offer.stats, finite=True)), table, rules)


@_mutant(forming, "absurd")
def an_absurd_norm_is_merged(contributions: Any, factors: Any = None) -> dict[PeerId, str]:
    """Nobody minds how large a contribution says that it is."""
    return {}


@_mutant(attempt, "contradicted")
def a_claimed_norm_is_trusted(proposal: Proposal, told: Any, codec: Any) -> dict[PeerId, str]:
    """What the owners of the slices have measured is not compared."""
    return {}


@_mutant(Member, "exchanged")
def owners_measure_nothing(
    self: Member, key: Any, digest: str, norms: tuple[PartialNorm, ...], slices: tuple[str, ...]
) -> None:
    """A member tells that no contribution has moved within its slice."""
    _exchanged(self, key, digest, tuple(replace(part, squared=0.0) for part in norms), slices)


@_mutant(Table, "all_finished", as_property=True)
def closes_while_somebody_trains(self: Table) -> bool:
    """Those who are not at a sync point are not asked."""
    return all(offer.stats.status.finished for offer in self.offers.values())


@_mutant(PeerStatus, "finished", as_property=True)
def who_trains_on_counts_as_finished(self: PeerStatus) -> bool:
    """Whoever has trained its own epochs has finished, though it trains on for the others."""
    return self is not PeerStatus.TRAINING


@_mutant(Table, "done", as_property=True)
def stops_while_somebody_trains_its_own(self: Table) -> bool:
    """Those who are not at a sync point are not asked."""
    return not any(offer.stats.status is PeerStatus.TRAINING for offer in self.offers.values())


@_mutant(Merging, "_note_done")
def trains_on_though_all_have_trained(self: Merging, answer: Answer) -> None:
    """A peer that trains on for others does not look whether they need it."""


@_mutant(RoundState, "reachable", as_property=True)
def forks_with_a_majority_present(self: RoundState) -> frozenset[PeerId]:
    """A leader counts nobody but itself."""
    return frozenset({self.me})


# Catching up ---------------------------------------------------------------------------------------------------------

_see, _dispatch, _new_round_of_member = CatchUp.see, RoundMachine._dispatch, Member.new_round


@_mutant(CatchUp, "see")
def heals_from_any_other_lineage(self: CatchUp, sender: PeerId, commit: Commit) -> bool:
    """Any other lineage is better than one's own."""
    ours = self._state.position.commit
    if ours and commit.lineage != ours.lineage:
        self._note(sender, commit)
        return False
    return _see(self, sender, commit)


@_mutant(CatchUp, "see")
def goes_back_to_a_stale_round(self: CatchUp, sender: PeerId, commit: Commit) -> bool:
    """Any other round of the lineage is news."""
    ours = self._state.position.commit
    if ours and commit.lineage == ours.lineage and commit.round < ours.round:
        self._note(sender, commit)
        return False
    return _see(self, sender, commit)


@_mutant(RoundMachine, "_dispatch")
def takes_bytes_for_a_record(self: RoundMachine, sender: PeerId, message: Message) -> None:
    """Who holds the bytes that others build on commits them under the record of whichever attempt gave them."""
    basis = message.proposal if isinstance(message, Propose) else message
    if isinstance(basis, Offer | Proposal):
        held = self._member.held(basis.parent)
        if held and held.lineage == basis.lineage:
            self._commit(held.commit(basis.parent))
    _dispatch(self, sender, message)


@_mutant(RoundMachine, "may_contain")
def heals_as_if_never_merged(self: RoundMachine, commit: Commit) -> bool:
    """Who was ready and missed the decision keeps its steps on top of a model that has them."""
    return False


@_mutant(RoundMachine, "may_contain_lost")
def returns_as_if_never_merged(self: RoundMachine, commit: Commit) -> bool:
    """Who returns to a lineage keeps the steps that it had sent to a round there on top of a model that has them."""
    return False


@_mutant(Member, "new_round")
def a_return_gives_up_later_steps(self: Member, commit: Commit, *, settled: bool) -> None:
    """Who returns to a lineage gives up also steps that it has made since the ones that it had sent there."""
    _new_round_of_member(self, commit, settled=False)


# The peer and the session --------------------------------------------------------------------------------------------

_receive, _replaces = Peers.receive, vars(PendingAnswer)["replaces"].fget


@_mutant(Peers, "receive")
def a_stray_is_let_in(self: Peers, envelope: Envelope) -> list[Effect]:
    """What another session says is taken for one's own."""
    message, session = envelope.message, self._me.session
    if isinstance(message, Hello):
        message = replace(message, peer=replace(message.peer, session=session))
    return _receive(self, replace(envelope, session=session, message=message))


@_mutant(Rounds, "_may_commit")
def a_capture_is_overwritten(self: Rounds) -> bool:
    """A new capture is taken though the old one may still be in an exchange."""
    return False


@_mutant(PendingAnswer, "merged", as_property=True)
def late_steps_count_twice(self: PendingAnswer) -> bool:
    """Steps of a late commit stay on top of the model that has them."""
    known = self._known
    return not known.idle and (known.kind is AnswerKind.MERGED or known.before is self.capture)


@_mutant(Answer, "idle", as_property=True)
def a_round_without_contributors_resets_the_weights(self: Answer) -> bool:
    """What nobody has contributed to is applied like a merged model."""
    return False


@_mutant(PendingAnswer, "replaces", as_property=True)
def overlapping_steps_are_dropped(self: PendingAnswer) -> bool:
    """The merged model takes the place of weights that have been trained since."""
    return _replaces(self) or self._known.kind is AnswerKind.MERGED


@_mutant(PendingAnswer, "step", as_property=True)
def what_a_lost_round_may_hold_is_used_up(self: PendingAnswer) -> ModelState:
    """The memory of a capture is written to though the capture may still be merged."""
    before, model, own = self._before, self._known.model, self.capture
    assert before is not None
    assert model is not None
    self.spent = isinstance(own, ModelState)
    return difference(model, before, into=own if isinstance(own, ModelState) else None)


_commit_model = Models.commit


@_mutant(Models, "commit")
def the_model_before_stays(self: Models, digest: str, model: ModelState, best: str = "") -> None:
    """A peer that has a model keeps it when the next one is committed."""
    before = self._committed
    _commit_model(self, digest, model, best)
    self._committed = before or self._committed


# Weights on their way ------------------------------------------------------------------------------------------------

_exchange = Exchange.__init__


@_mutant(Exchange, "__init__")
def contributions_count_equally(
    self: Exchange, me: PeerId, proposal: Proposal, *arguments: Any, **options: Any
) -> None:
    """Each contribution has the weight 1."""
    entries = tuple(replace(entry, weight=min(entry.weight, 1)) for entry in proposal.entries)
    _exchange(self, me, replace(proposal, entries=entries), *arguments, **options)


@_mutant(Proposal, "moments", as_property=True)
def finished_peers_give_their_moments(self: Proposal) -> tuple[PeerId, ...]:
    """The optimizer state of all that send weights is merged, also where the training is over, or never began."""
    return self.senders


@_mutant(ErrorFeedback, "update")
def residuals_are_forgotten(self: ErrorFeedback, coder: Any, group: Any) -> None:
    """What a codec has left out is never sent."""


@_mutant(ErrorFeedback, "_residual_of")
def residuals_go_to_another_group(self: ErrorFeedback, group: Any) -> Any:
    """A residual is sent to whatever group comes next."""
    segments = self._schema.of_model.segments.items()
    return self._residual or {dtype: np.zeros(size, dtype) for dtype, size in segments}
