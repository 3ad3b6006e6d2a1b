"""Whether a proposal is what its offers make of the round: every member computes it itself, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from swarm.certification.chain import origins_with
from swarm.codec.exact import ExactCodec
from swarm.consensus.forming import (
    Table,
    best,
    form,
    leaves_out_too_much,
    may_fork,
    quorum,
    signals,
    stops,
    with_refusals,
)
from swarm.consensus.state import RoundState
from swarm.messages import Offer, Proposal
from swarm.quorums import is_quorum
from swarm.records import Commit, Origin, PeerId, PeerStatus, RecordKind


def objection(state: RoundState, proposal: Proposal, *, ready: bool = False) -> str:
    """Why this peer does not take part in an attempt with this proposal; empty if it does.

    The attempt itself is checked elsewhere: who leads it, and what was promised to it. If its group has signed that it
    is ``ready``, it may have to be decided: what peers have declared on joining is no objection then. They may have
    declared something else to others, or have been started again since.
    """
    commit = state.position.commit
    differs = _offers_differ(state, proposal) or _keys_differ(state, proposal) or _protocol_differs(state, proposal)
    if differs or commit is None:
        return differs or _founding_differs(state, proposal)
    reason = _round_differs(state, proposal, commit, state.presence.joined)
    return _round_differs(state, proposal, commit, {}) if reason and ready else reason


def overclaims(state: RoundState, proposal: Proposal) -> tuple[PeerId, str] | None:
    """Who alone makes this peer object, as it has declared less weight here than it claims, and why; None if nobody.

    It may have declared more to the leader, which then is not at fault, and to the others, if it leads itself.
    """
    commit, joined = state.position.commit, state.presence.joined
    offers = {offer.stats.peer: offer for offer in proposal.offers}
    claims = {
        peer: offer.stats.weight
        for peer, offer in offers.items()
        if offer.key == state.key_of(peer) and offer.stats.weight > joined.get(peer, offer.stats.weight)
    }
    if not claims or commit is None or _offers_differ(state, proposal) or _keys_differ(state, proposal):
        return None
    others = {peer: weight for peer, weight in joined.items() if peer not in claims}
    if _round_differs(state, proposal, commit, others):
        return None
    peer, weight = next(iter(claims.items()))
    return peer, f"{peer} claims weight {weight} and has joined with {joined[peer]} here"


def _offers_differ(state: RoundState, proposal: Proposal) -> str:
    position = state.position
    if proposal.previous != position.previous:
        return "it builds on another record"
    if tuple(offer.stats.peer for offer in proposal.offers) != proposal.group:
        return "it has not one offer of each member"
    if len({*proposal.group}) != len(proposal.group) or tuple(sorted(proposal.group)) != proposal.group:
        return "its group is not in the order of the names"
    known = {credential.peer: credential.key for credential in proposal.credentials}
    for offer in proposal.offers:
        peer = offer.stats.peer
        old = position.commit.key_of(peer) if position.commit else ""
        if not position.fits(offer):
            return f"the offer of {peer} is to another round"
        # What a peer has sent itself came over a connection that proves who it is.
        direct = state.offers.of(peer) == offer
        if offer.key not in {state.key_of(peer), known.get(peer), old} or not (direct or state.is_signed(offer)):
            return f"the offer of {peer} is not signed by it"
    return ""


def _keys_differ(state: RoundState, proposal: Proposal) -> str:
    commit = state.position.commit
    offered = {offer.stats.peer: offer.key for offer in proposal.offers}
    expected = {peer: offered.get(peer) or (commit.key_of(peer) if commit else "") for peer in proposal.members}
    if tuple(expected.values()) != proposal.keys or not all(expected.values()):
        return "it gives members other keys than they sign with"
    new = {peer: key for peer, key in expected.items() if commit is None or key != commit.key_of(peer)}
    if {each.peer: each.key for each in proposal.credentials} != new:
        return "it has not the credentials of the new keys"
    for credential in proposal.credentials:
        if credential != state.presence.credentials.get(credential.peer) and state.rules.vouch(credential, True):
            return f"the key of {credential.peer} is not its own"
    return ""


def _protocol_differs(state: RoundState, proposal: Proposal) -> str:
    """Whether the protocol is not the newest that all speak: where all are in the group, its leader has met them.

    This peer must have met the processes that have signed the offers, too. What a voter speaks that is away, a leader
    may not know.
    """
    keys = {offer.stats.peer: offer.key for offer in proposal.offers}
    peers = {*proposal.voters, *proposal.members}
    met = all(state.key_of(peer) == key for peer, key in keys.items())
    spoken = state.protocol(peers)
    if not met or not peers <= keys.keys() or proposal.protocol == spoken:
        return ""
    return f"its protocol is {proposal.protocol}, and the newest that all of its peers speak is {spoken}"


def _founding_differs(state: RoundState, proposal: Proposal) -> str:
    rules, leader = state.rules, proposal.attempt.leader
    offers = {offer.stats.peer: offer.stats for offer in proposal.offers}
    expected = {
        "kind": RecordKind.FOUNDING,
        "round": 0,
        "parent": "",
        "voters": proposal.group,
        "members": proposal.group,
        "sync": rules.first_sync,
        "closing": False,
        "done": False,
        "codec": ExactCodec.name,
        "rule": rules.merge_rule,
        "settings": rules.settings,
        "refused": (),
        "proofs": (),
        "origins": (Origin(proposal.lineage, 0, majority=True),),
        "best": None,
        "stop": None,
    }
    if len(proposal.group) < rules.min_peers:
        return f"its group has fewer than min_peers={rules.min_peers} peers"
    if proposal.senders != (leader,) or not offers[leader].finite:
        return "its initial weights are not finite ones of its leader"
    return _differing(proposal, expected)


def _round_differs(state: RoundState, proposal: Proposal, commit: Commit, joined: Mapping[PeerId, int]) -> str:
    rules = state.rules
    offers = {offer.stats.peer: offer for offer in proposal.offers}
    removed = frozenset(proof.peer for proof in proposal.proofs)
    for proof in proposal.proofs:
        if commit.key_of(proof.peer) != proof.key or not state.verifier.proven(proof):
            return f"it removes {proof.peer} without proof"
    if removed & offers.keys():
        return "its group has a peer that has signed two results"
    table = Table(commit=commit, offers=offers, live=frozenset(offers), joined=joined, removed=removed)
    table, reason = _with_refusals(state, proposal, table)
    if reason:
        return reason
    if proposal.lineage == commit.lineage and not quorum(table, rules):
        return "its group is no quorum"
    group = form(table, rules)
    whole = is_quorum(commit.members, offers, rules.tolerated_liars)
    expected = {
        "round": state.position.round,
        "parent": state.position.parent,
        "entries": group.entries,
        "refused": group.refused,
        "sync": rules.policy.next(commit.sync, signals(table, rules)),
        "best": best(table, rules),
        "stop": stops(table, rules),
        "rule": rules.merge_rule,
        "settings": rules.settings,
    }
    if proposal.lineage == commit.lineage:
        expected |= {
            "kind": RecordKind.ROUND,
            "voters": tuple(sorted({*commit.members} - removed)),
            "members": group.members,
            "origins": commit.origins,
        }
    else:
        if not may_fork(table, rules):
            return f"{len(offers)} of {len(commit.members)} members may not begin a lineage"
        expected |= {
            "kind": RecordKind.RESTART if whole else RecordKind.FORK,
            "voters": proposal.group,
            "members": proposal.group,
            "origins": origins_with(commit.origins, Origin(proposal.lineage, proposal.round, whole)),
        }
    if proposal.closing and not table.all_finished:
        return "it closes the session, which has peers that are not there or still train"
    if proposal.done and not table.done:
        return "it ends the training of peers that have not trained their own epochs"
    # Under a lossy codec even a model that no peer changes could come out changed.
    codecs = rules.codecs if group.weight else {ExactCodec.name}
    if codecs is not None and proposal.codec not in codecs:
        return f"its codec is {proposal.codec or 'none'}, which the peers have not agreed on"
    return _differing(proposal, expected)


def _with_refusals(state: RoundState, proposal: Proposal, table: Table) -> tuple[Table, str]:
    """The table with what the leader left out by its own judgement, and why that is not acceptable."""
    if not proposal.refused:
        return table, ""
    computed = form(table, state.rules)
    weights = {entry.peer: entry.weight for entry in computed.entries}
    known = {refusal.peer for refusal in computed.refused}
    # A leader's own check comes before those by the offers, so that it may give another reason.
    told = [each for each in proposal.refused if each.peer in weights and each not in computed.refused]
    judged = {each.peer: each.reason for each in told}
    if not judged:
        return table, ""
    agreed = with_refusals(table, state.rules).left_out.keys() | state.presence.distrusted.keys()
    contributors = {peer for peer, weight in weights.items() if weight}
    # A leader may leave itself out.
    doubted = judged.keys() - known - agreed - {proposal.attempt.leader}
    if leaves_out_too_much(judged.keys(), doubted, contributors):
        names = ", ".join(sorted(judged))
        return table, f"it leaves out {names}, which is half of the contributions or more"
    for each in told:
        # Who else is too far from the median may follow from that: it is another one, which the reason names.
        rest = {peer: reason for peer, reason in judged.items() if peer != each.peer}
        if each in form(replace(table, left_out=rest), state.rules).refused:
            judged = rest
    return replace(table, left_out=judged), ""


def _differing(proposal: Proposal, expected: dict[str, object]) -> str:
    """The first field of a proposal that is not what was computed here; empty if there is none."""
    for name, value in expected.items():
        if getattr(proposal, name) != value:
            return f"its {name} is not what the offers give"
    return ""


def as_offered(proposal: Proposal, peer: PeerId, mine: Offer) -> bool:
    """Whether the contribution of ``peer`` is what ``mine`` says, where it contributes what it has offered."""
    entry = next(entry for entry in proposal.entries if entry.peer == peer)
    if not proposal.parent or not entry.weight or entry.status is PeerStatus.ACTIVE:
        return True
    offered = next((offer for offer in proposal.offers if offer.stats.peer == peer), None)
    return offered is None or offered.stats == mine.stats
