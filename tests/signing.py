"""Signatures in the names of peers, for tests that play peers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from swarm.certification.keys import Signer
from swarm.certification.statements import (
    accept_statement,
    offer_statement,
    prepare_statement,
    promise_statement,
    ready_statement,
    record_hash,
)
from swarm.consensus.promises import signed_promise
from swarm.messages import Accept, Accepted, Offer, PartialNorm, Prepare, Promise, Proposal, Readiness, Ready
from swarm.records import Attempt, Commit, PeerId, QuorumCertificate, Signature, SignedPromise

__all__ = ["accepted", "certified", "prepare", "promise", "readiness", "ready", "signed_offer", "signed_promise"]


def signed_offer(session: str, signer: Signer, offer: Offer) -> Offer:
    """The offer with the key of its peer and its signature."""
    statement = offer_statement(session, offer.lineage, offer.previous, offer.stats, offer.gone, signer.key)
    return replace(offer, key=signer.key, signature=signer.sign(statement))


def ready(
    session: str,
    signer: Signer,
    proposal: Proposal,
    digest: str,
    norms: tuple[PartialNorm, ...] = (),
    slices: tuple[str, ...] = (),
) -> Ready:
    """A member of the group has the model with this digest."""
    statement = ready_statement(session, *proposal.key, record_hash(proposal.commit(digest)))
    return Ready(*proposal.key, digest, norms, slices, signer.sign(statement))


def readiness(session: str, signers: Mapping[PeerId, Signer], proposal: Proposal, digest: str) -> Readiness:
    """The whole group has the model with this digest."""
    told = {peer: ready(session, signers[peer], proposal, digest) for peer in proposal.group}
    return Readiness(proposal.attempt, tuple(Signature(peer, each.signature) for peer, each in told.items()))


def accepted(session: str, signer: Signer, proposal: Proposal, digest: str) -> Accepted:
    """A voter accepts the model with this digest."""
    statement = accept_statement(session, *proposal.key, record_hash(proposal.commit(digest)))
    return Accepted(*proposal.key, signer.sign(statement))


def prepare(session: str, signer: Signer, lineage: str, round_: int, attempt: Attempt) -> Prepare:
    """A leader asks for promises to its attempt."""
    signature = signer.sign(prepare_statement(session, lineage, round_, attempt))
    return Prepare(lineage, round_, attempt, signature)


def promise(
    session: str, signer: Signer, lineage: str, round_: int, attempt: Attempt, before: Accept | None = None
) -> Promise:
    """A voter promises to answer no attempt below ``attempt``; ``before`` is what it has accepted until now."""
    then, record = (
        (before.proposal.attempt, record_hash(before.proposal.commit(before.digest))) if before else (None, "")
    )
    value = signer.sign(promise_statement(session, lineage, round_, attempt, then, record))
    if before is None:
        return Promise(lineage, round_, attempt, None, "", None, value)
    return Promise(lineage, round_, attempt, before.proposal, before.digest, before.ready, value)


def certified(
    session: str,
    signers: Mapping[PeerId, Signer],
    record: Commit,
    *,
    by: Iterable[PeerId] | None = None,
    attempt: Attempt | None = None,
    promises: tuple[SignedPromise, ...] = (),
) -> Commit:
    """The record with the signatures of all of its group, or of those who are named."""
    there = attempt or Attempt(0, record.group[0])
    statement = accept_statement(session, record.lineage, record.round, there, record_hash(record))
    voters = record.group if by is None else tuple(by)
    signatures = tuple(Signature(peer, signers[peer].sign(statement)) for peer in voters)
    return replace(record, certificate=QuorumCertificate(there, signatures, promises))
