"""Real messages, as the peers of a small swarm send them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from swarm.certification.chain import conflict
from swarm.certification.keys import Signer
from swarm.certification.statements import record_hash
from swarm.messages import (
    Abort,
    Accept,
    Ask,
    DataChannelOffer,
    DataChannelRequest,
    Decide,
    DialBackRequest,
    Entry,
    Envelope,
    Evidence,
    Failed,
    Farewell,
    FetchRequest,
    Hello,
    Leave,
    Message,
    Nack,
    Offer,
    PartialNorm,
    Proposal,
    Propose,
    ReachAnswer,
    ReachDataRequest,
    ReachRequest,
    Refuse,
    StreamHeader,
    Withdraw,
)
from swarm.peer.roster import schema_lines
from swarm.records import (
    Attempt,
    Commit,
    ContributionStats,
    Credential,
    Origin,
    PeerId,
    PeerInfo,
    PeerStatus,
    Refusal,
    SyncState,
)
from swarm.tensors.state import Schema, TensorKind, TensorSpec
from swarm.versions import NEWEST, PROTOCOLS, Versions
from tests.signing import accepted, certified, prepare, promise, readiness, ready, signed_offer, signed_promise
from tests.simulator.signer import CheapSigner

Signers = Mapping[PeerId, Signer]

SESSION = "hospitals"
INCARNATION = "0194f2a1b7c8a1b2c3d4"
ADDRESS = "127.0.0.1:7000"
LINEAGE = "0194f2a1b7c8-berlin"
DIGEST = "00112233445566778899aabbccddeeff" * 2
ATTEMPT = Attempt(1, "berlin")
SIGNERS: Signers = {name: CheapSigner(name) for name in ("berlin", "oslo", "rome")}
"""Their signatures are always the same."""
SCHEMA = Schema(
    (
        TensorSpec("conv.weight", (4, 3), "float32"),
        TensorSpec("bn.running_mean", (4,), "float32", TensorKind.MEAN),
        TensorSpec("bn.running_var", (4,), "float32", TensorKind.VARIANCE),
        TensorSpec("bn.num_batches_tracked", (), "int64", TensorKind.COUNTER),
        TensorSpec("head.weight", (2, 4), "bfloat16"),
        TensorSpec("queue", (3,), "int32", TensorKind.STATE),
    )
)


def info(name: str = "berlin", address: str = ADDRESS) -> PeerInfo:
    """What a peer declares."""
    return PeerInfo(
        name=name,
        incarnation=INCARNATION,
        address=address,
        session=SESSION,
        fingerprint=SCHEMA.fingerprint,
        settings=(("merge", "mean"), ("min_peers", "2"), ("sync_interval", "8")),
        weight=3,
        expects=3,
        versions=Versions(NEWEST, PROTOCOLS[NEWEST].understands, "0.1.0"),
    )


def commit(signers: Signers = SIGNERS, lineage: str = LINEAGE) -> Commit:
    """The record of a round."""
    names = ("berlin", "oslo", "rome")
    record = Commit(
        lineage=lineage,
        round=4,
        digest=DIGEST,
        members=names,
        group=names[:2],
        contributors=names[:2],
        sync=SyncState(8, 0.25),
        previous=DIGEST,
        keys=tuple(signers[name].key for name in names),
        weights=(3, 1),
        rule="mean",
        codec="exact",
        settings=DIGEST,
        refused=(Refusal("oslo", "its tensors hold NaN or infinity"),),
        credentials=(credential("rome", signers),),
        origins=(Origin(LINEAGE, 0, majority=True), Origin(lineage, 2, majority=False)),
    )
    attempt = Attempt(1, "berlin")
    told = promise(SESSION, signers["oslo"], lineage, 4, attempt)
    return certified(SESSION, signers, record, attempt=attempt, promises=(signed_promise("oslo", told),))


def credential(name: str, signers: Signers = SIGNERS) -> Credential:
    """That of the key of a peer; its certificate is none."""
    return Credential(name, signers[name].key, "bm8gY2VydGlmaWNhdGU=", "bm8gc2lnbmF0dXJl")


def proposal(signers: Signers = SIGNERS, lineage: str = LINEAGE, attempt: Attempt = ATTEMPT) -> Proposal:
    """A group for the next round."""
    before = commit(signers, lineage)
    offers = (offer("berlin", before, signers), offer("oslo", before, signers, status=PeerStatus.ACTIVE, weight=1))
    told = (promise(SESSION, signers[name], lineage, 5, attempt) for name in before.members)
    return Proposal(
        lineage=lineage,
        round=5,
        attempt=attempt,
        parent=DIGEST,
        voters=before.members,
        members=before.group,
        entries=(
            Entry("berlin", 3, PeerStatus.TRAINING, 0.5, 0.01),
            Entry("oslo", 1, PeerStatus.ACTIVE, 0.25),
        ),
        sync=SyncState(8),
        closing=False,
        codec="int8",
        protocol=3,
        previous=record_hash(before),
        keys=before.keys[:2],
        rule="mean",
        settings=DIGEST,
        origins=before.origins,
        offers=offers,
        promises=tuple(signed_promise(name, each) for name, each in zip(before.members, told, strict=True)),
    )


def offer(name: str, before: Commit, signers: Signers = SIGNERS, **changes: Any) -> Offer:
    """What a peer offers to the round after ``before``."""
    stats = ContributionStats(
        peer=name, round=5, weight=3, steps=8, delta_norm=0.5, residual=0.01, signal=0.25, root=DIGEST
    )
    told = Offer(before.lineage, DIGEST, True, replace(stats, **changes), record_hash(before), ("rome",))
    return signed_offer(SESSION, signers[name], told)


def messages(signers: Signers = SIGNERS, lineage: str = LINEAGE, attempt: Attempt = ATTEMPT) -> dict[str, Message]:
    """One message of each class or more, by a name for its file."""
    before, made = commit(signers, lineage), proposal(signers, lineage, attempt)
    norms = (PartialNorm("berlin", 0.25), PartialNorm("oslo", 0.0625))
    asked = Accept(made, DIGEST, readiness(SESSION, signers, made, DIGEST))
    other = certified(SESSION, signers, replace(before, digest=""), attempt=Attempt(1, "berlin"))
    asked_first = prepare(SESSION, signers["oslo"], lineage, 5, attempt)
    accused = replace(before, members=before.members[:2], keys=before.keys[:2])
    found: list[Message] = [
        Hello(
            info(),
            schema_lines(SCHEMA),
            (info("oslo", "10.0.0.2:7000"),),
            before,
            wants_reply=True,
            credential=credential("berlin", signers),
        ),
        Refuse("the name 'berlin' is in use", final=False, about_name=True),
        Leave("training failed", unintended=True),
        Farewell(lineage, 5),
        offer("berlin", before, signers),
        Withdraw(lineage, 5),
        Propose(made),
        asked_first,
        promise(SESSION, signers["berlin"], lineage, 5, attempt, asked),
        ready(SESSION, signers["berlin"], made, DIGEST, norms, (DIGEST, DIGEST)),
        Failed(lineage, 5, attempt, "oslo", "oslo sent no frame for 10 s"),
        Abort(lineage, 5, attempt, "oslo is lost"),
        asked,
        accepted(SESSION, signers["berlin"], made, DIGEST),
        Nack(lineage, 5, attempt, Attempt(2, "oslo"), asked_first.signature),
        Decide(before),
        Ask(lineage, 5),
        Evidence(conflict(before, other, replace(accused, round=3))[0]),
    ]
    named = {type(message).__name__.lower(): message for message in found}
    named["hello-short"] = Hello(info(), (), (), None, wants_reply=False)
    later = tuple(replace(entry, status=PeerStatus.EXTENDED, steps=40) for entry in made.entries)
    named["propose-extended"] = Propose(replace(made, entries=later, done=True))
    named["promise-empty"] = promise(SESSION, signers["berlin"], lineage, 5, attempt)
    named["failed-rejects"] = Failed(
        lineage, 5, attempt, "berlin", "its sync is not what the offers give", rejects=True
    )
    return named


def envelope(message: Message, sender: str = "berlin") -> Envelope:
    """``message`` as it is sent."""
    return Envelope(SESSION, sender, INCARNATION, ADDRESS, message)


HEADER = StreamHeader(SESSION, "berlin", INCARNATION, LINEAGE, 5, ATTEMPT)
FETCH = FetchRequest(SESSION, "berlin", DIGEST, 1, 3)
CHANNEL_REQUEST = DataChannelRequest(SESSION, "berlin", INCARNATION)
CHANNEL_OFFER = DataChannelOffer(7001, bytes(range(32)))
DIAL_BACK = DialBackRequest(CHANNEL_REQUEST, CHANNEL_OFFER)
REACH_REQUEST = ReachRequest("berlin@10.0.0.3:7700", bytes(range(16)))
REACH_DATA_REQUEST = ReachDataRequest("berlin@10.0.0.3:7700", CHANNEL_OFFER)
REACH_ANSWER = ReachAnswer("paris", "10.0.0.3:7700 cannot be reached")
