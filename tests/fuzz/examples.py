"""Real messages, as the peers of a small swarm send them."""

from __future__ import annotations

from dataclasses import replace

from swarm.messages import (
    Abort,
    Accept,
    Accepted,
    DataChannelOffer,
    DataChannelRequest,
    Decide,
    Entry,
    Envelope,
    Failed,
    Farewell,
    FetchRequest,
    Hello,
    Leave,
    Message,
    Nack,
    Offer,
    PartialNorm,
    Prepare,
    Promise,
    Proposal,
    Propose,
    Ready,
    Refuse,
    StreamHeader,
    Withdraw,
)
from swarm.peer.roster import schema_lines
from swarm.records import Attempt, Commit, ContributionStats, PeerInfo, PeerStatus, SyncState
from swarm.tensors.state import Schema, TensorKind, TensorSpec

SESSION = "hospitals"
INCARNATION = "0194f2a1b7c8a1b2c3d4"
ADDRESS = "127.0.0.1:7000"
LINEAGE = "0194f2a1b7c8-berlin"
DIGEST = "00112233445566778899aabbccddeeff"
ATTEMPT = Attempt(1, "berlin")
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
    )


def commit() -> Commit:
    """The record of a round."""
    return Commit(
        lineage=LINEAGE,
        round=4,
        digest=DIGEST,
        members=("berlin", "oslo", "rome"),
        group=("berlin", "oslo"),
        contributors=("berlin", "oslo"),
        sync=SyncState(8, 0.25),
        weight=24,
    )


def proposal() -> Proposal:
    """A group for the next round."""
    return Proposal(
        lineage=LINEAGE,
        round=5,
        attempt=ATTEMPT,
        parent=DIGEST,
        voters=("berlin", "oslo", "rome"),
        members=("berlin", "oslo"),
        entries=(
            Entry("berlin", 3, PeerStatus.TRAINING, 0.5, 0.01),
            Entry("oslo", 1, PeerStatus.ACTIVE, 0.25),
        ),
        sync=SyncState(8),
        closing=False,
        weight=28,
        codec="int8",
    )


def messages() -> dict[str, Message]:
    """One message of each class or more, by a name for its file."""
    stats = ContributionStats(peer="berlin", round=5, weight=3, steps=8, delta_norm=0.5, residual=0.01, loss=0.25)
    found: list[Message] = [
        Hello(info(), schema_lines(SCHEMA), (info("oslo", "10.0.0.2:7000"),), commit(), wants_reply=True),
        Refuse("the name 'berlin' is in use", final=False, about_name=True),
        Leave("training failed", unintended=True),
        Farewell(LINEAGE, 5),
        Offer(LINEAGE, DIGEST, votes=True, stats=stats),
        Withdraw(LINEAGE, 5),
        Propose(proposal()),
        Prepare(LINEAGE, 5, ATTEMPT),
        Promise(LINEAGE, 5, ATTEMPT, proposal(), DIGEST),
        Ready(LINEAGE, 5, ATTEMPT, DIGEST, (PartialNorm("berlin", 0.25), PartialNorm("oslo", 0.0625))),
        Failed(LINEAGE, 5, ATTEMPT, "oslo", "oslo sent no frame for 10 s"),
        Abort(LINEAGE, 5, ATTEMPT, "oslo is lost"),
        Accept(proposal(), DIGEST),
        Accepted(LINEAGE, 5, ATTEMPT),
        Nack(LINEAGE, 5, ATTEMPT, Attempt(2, "oslo")),
        Decide(commit()),
    ]
    named = {type(message).__name__.lower(): message for message in found}
    named["hello-short"] = Hello(info(), (), (), None, wants_reply=False)
    later = tuple(replace(entry, status=PeerStatus.EXTENDED, steps=40) for entry in proposal().entries)
    named["propose-extended"] = Propose(replace(proposal(), entries=later, protocol=2, done=True))
    named["promise-empty"] = Promise(LINEAGE, 5, ATTEMPT, None, "")
    return named


def envelope(message: Message, sender: str = "berlin") -> Envelope:
    """``message`` as it is sent."""
    return Envelope(SESSION, sender, INCARNATION, ADDRESS, message)


HEADER = StreamHeader(SESSION, "berlin", INCARNATION, LINEAGE, 5, ATTEMPT)
FETCH = FetchRequest(SESSION, "berlin", DIGEST, 1, 3)
CHANNEL_REQUEST = DataChannelRequest(SESSION, "berlin", INCARNATION)
CHANNEL_OFFER = DataChannelOffer(7001, bytes(range(32)))
