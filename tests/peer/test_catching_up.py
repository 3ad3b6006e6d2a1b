"""Which sources cannot show that what they told is true."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from swarm.certification.chain import Verifier
from swarm.certification.encoding import encode_record
from swarm.certification.keys import ProcessKey
from swarm.errors import ExchangeError, SwarmError, UnreachablePeerError
from swarm.exchange.whole import model_frames
from swarm.executor import ThreadExecutor
from swarm.messages import FetchRequest
from swarm.peer.fetching import Fetcher
from swarm.peer.record_frames import record_frames
from swarm.peer.roster import Roster
from swarm.records import Commit, Credential, Origin, PeerInfo, RecordKind, SyncState
from swarm.storage.ledger.memory import MemoryLedger
from swarm.tensors.state import ModelState, Schema, TensorSpec
from swarm.transport.memory import MemoryNetwork, MemoryTransport
from tests.signing import certified

SCHEMA = Schema((TensorSpec("w", (8,), "float32"),))
MODEL = ModelState(SCHEMA, {"float32": np.arange(8, dtype=np.float32)}, [])
NAMES = ("ann", "bob", "cyd")
KEYS = {name: ProcessKey() for name in NAMES}


def info(name: str) -> PeerInfo:
    return PeerInfo(name=name, incarnation="1", address=name, session="s")


def founding(digest: str) -> Commit:
    keys = tuple(KEYS[name].key for name in NAMES)
    record = Commit(
        lineage="line",
        round=0,
        digest=digest,
        members=NAMES,
        group=NAMES,
        contributors=NAMES[:1],
        sync=SyncState(8),
        kind=RecordKind.FOUNDING,
        keys=keys,
        weights=(1, 0, 0),
        credentials=tuple(Credential(*each) for each in zip(NAMES, keys, strict=True)),
        origins=(Origin("line", 0, majority=True),),
    )
    return certified("s", KEYS, record)


TRUE = founding(MODEL.digest())


class Sources(MemoryTransport):
    """Each gives these records, or raises an error; all have the model."""

    def __init__(self, given: Mapping[str, Sequence[Commit] | SwarmError]) -> None:
        super().__init__(MemoryNetwork())
        self._given = given

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        given = self._given[address]
        if not request.records:
            for head, payload in model_frames(MODEL, request.part, request.parts):
                yield memoryview(head + bytes(payload))
        elif isinstance(given, SwarmError):
            raise given
        else:
            yield from (memoryview(data) for (data,) in record_frames(map(encode_record, given)))


def caught_up(told: Commit, **given: Sequence[Commit] | SwarmError) -> tuple[list[Commit] | None, set[str]]:
    """The records that were fetched, and who gave no true ones."""
    roster, posted = Roster(info("me"), SCHEMA), queue.SimpleQueue()
    for name in given:
        roster.meet(info(name))
    fetcher = Fetcher(
        me=info("me"),
        schema=SCHEMA,
        transport=Sources(given),
        roster=roster,
        ledger=MemoryLedger(),
        verifier=Verifier(session="s", signer=ProcessKey()),
        timeout=1.0,
        logger=logging.getLogger("swarm"),
        executor=ThreadExecutor(),
        post=posted.put,
    )
    outcomes = []
    fetcher.catch_up(told, tuple(given), "", lambda found, untrue: outcomes.append((found and found[0], {*untrue})))
    posted.get(timeout=10)()
    return outcomes[0]


def test_who_gives_true_records_is_believed() -> None:
    assert caught_up(TRUE, ann=[TRUE], bob=[TRUE]) == ([TRUE], set())


@pytest.mark.parametrize(
    "wrong",
    [[founding("another")], [replace(TRUE, certificate=None)], ExchangeError("these records are not here")],
    ids=["others", "uncertified ones", "none"],
)
def test_who_gives_no_true_records_is_named_and_another_source_is_asked(wrong) -> None:
    assert caught_up(TRUE, ann=wrong, bob=[TRUE]) == ([TRUE], {"ann"})
    assert caught_up(TRUE, ann=wrong) == (None, {"ann"})


def test_who_cannot_be_reached_may_have_told_the_truth() -> None:
    assert caught_up(TRUE, ann=UnreachablePeerError("ann is gone")) == (None, set())


def test_the_record_is_taken_as_its_source_proves_it_and_not_as_it_was_told() -> None:
    records, _ = caught_up(replace(TRUE, certificate=None), ann=[TRUE])
    assert records is not None
    assert records[-1].certificate == TRUE.certificate
