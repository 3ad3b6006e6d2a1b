"""False records of rounds, which nobody else has signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.hostile.attack import SIZES, Attacks, Repeated, repeats
from benchmarks.hostile.liar import LIAR, Liar
from swarm.certification.keys import ProcessKey
from swarm.certification.statements import record_hash
from swarm.exchange.whole import model_frames
from swarm.messages import Decide, Evidence
from swarm.records import Attempt, Origin, Proof, QuorumCertificate, RecordKind, Signature, SyncState
from swarm.tensors.state import ModelState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swarm.messages import FetchRequest
    from swarm.records import Commit
    from swarm.transport.base import Frame, Handler

ATTACKS = Attacks()
INTERVAL = 2**20
LINEAGE = "f" * 16
UNKNOWN = "e" * 64
"""The hash of no record."""


class Forger(Repeated):
    """Tells of a record again and again, and serves the model that it names."""

    def __init__(self, liar: Liar, forge: Callable[[Liar], Commit]) -> None:
        super().__init__(liar, lambda liar: liar.tell(liar.others, Decide(forge(liar))))

    def model(self) -> ModelState:
        """That of the record."""
        return self.liar.reference

    def serves(self, request: FetchRequest, engine: Handler) -> Iterable[Frame]:
        model = self.model()
        if request.records or request.digest != model.digest():
            return engine.serve(request)
        return [(head, bytes(payload)) for head, payload in model_frames(model, request.part, request.parts)]


class Poisoner(Forger):
    """Tells of a record with a model of its own."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar, lambda liar: liar.certified(liar.next_record(digest=self.model().digest())))
        self._model: ModelState | None = None

    def model(self) -> ModelState:
        if self._model is None:
            self._model = ModelState.empty(self.liar.reference.schema)
            for _, values in self._model.arrays():
                values[...] = np.float32(1000)
        return self._model


def _forged(certify: Callable[[Liar, Commit], Commit] = Liar.certified, **fields: Any) -> Callable[[Liar], Forger]:
    return lambda liar: Forger(liar, lambda liar: certify(liar, liar.next_record(**fields)))


def _record(
    name: str, does: str, *checks: str, **more: Any
) -> Callable[[Callable[[Liar], Forger]], Callable[[Liar], Forger]]:
    return ATTACKS.add(f"record: {name}", f"tells of a round {does}", *(checks or ("certificates",)), **more)


_record("closing", "that closes the session, which only it has signed")(_forged(closing=True))
_record("done", "after which nobody trains on, which only it has signed")(_forged(done=True))
_record("interval", f"after which the interval is {INTERVAL} batches")(_forged(sync=SyncState(INTERVAL)))
_record("rule", "under another merge rule")(_forged(rule="coordmedian"))
_record("own model", "with a model of its own, which it serves")(Poisoner)
_record("no certificate", "without any signature, with a long interval")(
    _forged(lambda _, record: record, sync=SyncState(INTERVAL))
)


@_record("weights", "in which only it has weight")
def _weights(liar: Liar) -> Forger:
    def forge(liar: Liar) -> Commit:
        weights = tuple(int(peer == LIAR) for peer in liar.commit.group)
        return liar.certified(liar.next_record(weights=weights, contributors=(LIAR,), sync=SyncState(INTERVAL)))

    return Forger(liar, forge)


@_record("members", "after which it is the only member")
def _members(liar: Liar) -> Forger:
    own = {"members": (LIAR,), "group": (LIAR,), "contributors": (LIAR,), "weights": (1,)}
    return Forger(liar, lambda liar: liar.certified(liar.next_record(**own, keys=(liar.signer.key,))))


@_record("keys", "after which every member has a key that it has made")
def _keys(liar: Liar) -> Forger:
    keys = tuple(ProcessKey().key for _ in range(max(SIZES)))
    return Forger(liar, lambda liar: liar.certified(liar.next_record(keys=keys[: len(liar.commit.members)])))


@_record("votes copied", "with its own signature under each name")
def _copied(liar: Liar) -> Forger:
    def forge(liar: Liar) -> Commit:
        record, attempt = liar.next_record(sync=SyncState(INTERVAL)), Attempt(0, LIAR)
        value = liar.vote(record, attempt).value
        signatures = tuple(Signature(peer, value) for peer in record.members)
        return replace(record, certificate=QuorumCertificate(attempt, signatures))

    return Forger(liar, forge)


@_record("vote repeated", "with its own signature, listed often enough for a quorum")
def _repeated(liar: Liar) -> Forger:
    def forge(liar: Liar) -> Commit:
        record = liar.next_record(sync=SyncState(INTERVAL))
        return liar.certified(record, [liar.vote(record, Attempt(0, LIAR)) for _ in record.members])

    return Forger(liar, forge)


@_record("votes of another round", "with the certificate of the round before it")
def _of_another_round(liar: Liar) -> Forger:
    return Forger(
        liar, lambda liar: replace(liar.next_record(sync=SyncState(INTERVAL)), certificate=liar.commit.certificate)
    )


@_record("vote of another session", "with its vote in another session")
def _of_another_session(liar: Liar) -> Forger:
    def forge(liar: Liar) -> Commit:
        record, attempt = liar.next_record(sync=SyncState(INTERVAL)), Attempt(0, LIAR)
        return replace(record, certificate=QuorumCertificate(attempt, (liar.vote(record, attempt, "another"),)))

    return Forger(liar, forge)


@_record("changed", "that was decided, with another interval and the true signatures")
def _changed(liar: Liar) -> Forger:
    return Forger(liar, lambda liar: replace(liar.commit, sync=SyncState(INTERVAL)))


@_record("fork", "with which it alone begins a lineage, as it says with a majority", "places", "restarts")
def _fork(liar: Liar) -> Forger:
    own = {"members": (LIAR,), "group": (LIAR,), "contributors": (LIAR,), "weights": (1,)}

    def forge(liar: Liar) -> Commit:
        origins = (*liar.commit.origins, Origin(LINEAGE, liar.commit.round + 1, majority=True))
        fields = {"lineage": LINEAGE, "kind": RecordKind.RESTART, "origins": origins, "keys": (liar.signer.key,)}
        return liar.certified(liar.next_record(**own, **fields))

    return Forger(liar, forge)


@_record("replayed", "that is long over", "progress", breaks=False)
def _replayed(liar: Liar) -> Forger:
    first: list[Commit] = []

    def forge(liar: Liar) -> Commit:
        first.append(liar.commit)
        return first[0]

    return Forger(liar, forge)


@_record("far ahead", "that follows others that nobody knows", "beliefs")
def _ahead(liar: Liar) -> Forger:
    return Forger(liar, lambda liar: liar.certified(liar.next_record(round=liar.commit.round + 1000, previous=UNKNOWN)))


@ATTACKS.add("evidence: forged", "accuses an honest peer of two votes that it has signed itself", "proofs")
@repeats
def _evidence(liar: Liar) -> None:
    commit, attempt = liar.commit, Attempt(0, LIAR)
    one, other = liar.next_record(), liar.next_record(closing=True)
    proof = Proof(
        peer=liar.victim,
        key=commit.key_of(liar.victim),
        lineage=commit.lineage,
        round=commit.round + 1,
        attempt=attempt,
        record=record_hash(one),
        signature=liar.vote(one, attempt).value,
        other_attempt=attempt,
        other_record=record_hash(other),
        other_accepted=None,
        other_signature=liar.vote(other, attempt).value,
    )
    liar.tell(liar.others, Evidence(proof))
