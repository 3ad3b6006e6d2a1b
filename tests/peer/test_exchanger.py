"""Who is blamed for an exchange that cannot begin, and what a long one says."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from swarm.clock import ManualClock
from swarm.codec.choice import FixedCodec
from swarm.consensus.waiting import LINE_EVERY
from swarm.exchange.feedback import ErrorFeedback
from swarm.executor import ThreadExecutor
from swarm.merge.mean import WeightedMean
from swarm.messages import Entry, Proposal
from swarm.peer.exchanger import Exchanger
from swarm.peer.roster import Roster
from swarm.plugins import PluginRegistry
from swarm.records import Attempt, PeerInfo, PeerStatus, SyncState
from swarm.tensors.state import ModelState, Schema, TensorSpec
from swarm.transport.memory import MemoryNetwork, MemoryTransport

SCHEMA = Schema((TensorSpec("w", (100_000,), "float32"),))
ME = PeerInfo(name="ann", incarnation="i", address="memory:1", session="s")
PROPOSAL = Proposal(
    lineage="l",
    round=7,
    attempt=Attempt(0, "bob"),
    parent="",
    voters=("ann", "bob"),
    members=("ann", "bob"),
    entries=tuple(Entry(name, 1, PeerStatus.TRAINING) for name in ("ann", "bob")),
    sync=SyncState(1),
    closing=False,
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def exchanger(clock: ManualClock) -> Exchanger:
    return Exchanger(
        me=ME,
        schema=SCHEMA,
        rule=WeightedMean(),
        outer=None,
        normalize_steps=False,
        feedback=ErrorFeedback(SCHEMA, PluginRegistry().codec, FixedCodec("exact")),
        transport=MemoryTransport(MemoryNetwork()),
        roster=Roster(ME, SCHEMA),
        executor=ThreadExecutor(clock),
        timeout=100.0,
        logger=logging.getLogger("swarm"),
    )


def begin(exchanger: Exchanger, proposal: Proposal) -> list[tuple[str, str]]:
    """Whom it blames, and why."""
    failed: list[tuple[str, str]] = []
    exchanger.start(
        proposal,
        ModelState(SCHEMA, {"float32": np.ones(100_000, np.float32)}, []),
        None,
        lambda work: work(),
        done=lambda *_: None,
        failed=lambda peer, why: failed.append((peer, why)),
    )
    return failed


def test_a_leader_that_proposes_an_unknown_codec_is_blamed(exchanger: Exchanger) -> None:
    """Not this peer: it would give up after some attempts that it made fail itself."""
    ((peer, why),) = begin(exchanger, replace(PROPOSAL, codec="none"))
    assert peer == "bob"
    assert why.startswith("bob proposes a codec that is not here: codec='none' is not allowed")


@pytest.mark.parametrize("refusal", ["", "the certificate of ann was revoked"])
def test_a_peer_that_the_others_admit_no_more_blames_itself(
    exchanger: Exchanger, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    monkeypatch.setattr(MemoryTransport, "identity", SimpleNamespace(refusal=refusal))
    ((peer, why),) = begin(exchanger, replace(PROPOSAL, codec="none"))
    assert (peer, why == refusal) == (("ann", True) if refusal else ("bob", False))


def test_a_long_exchange_says_now_and_then_whom_it_waits_for(
    exchanger: Exchanger, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert begin(exchanger, PROPOSAL) == []
    for _ in range(5):
        clock.advance(LINE_EVERY / 2)
        exchanger.check(clock.now())
    assert caplog.messages == ["round 7: the exchange waits for bob (200.0 kB of its contribution)"] * 2
    exchanger.stop()
