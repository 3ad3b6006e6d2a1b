"""The ledgers that the peers of a swarm keep: whole, the same records in each, and no cost where a disk fails."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from swarm.certification.chain import Verifier
from swarm.certification.keys import ProcessKey
from swarm.certification.statements import record_hash
from swarm.records import Commit, RecordKind
from swarm.storage.files import FINAL, read_about
from swarm.storage.ledger import Head
from swarm.storage.ledger.audit import Audit, disagreements
from swarm.storage.ledger.files import DATABASE
from swarm.storage.ledger.sources import DatabaseSource
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1.0


def directory(root: Path, name: str) -> Path:
    return root / name / "swarm-state" / "swarm_model" / name


def audit(root: Path, name: str) -> Audit:
    source = DatabaseSource(directory(root, name) / DATABASE)
    return Audit(source, Verifier(session="swarm_model", signer=ProcessKey()), None)


def records(root: Path, name: str) -> list[Commit]:
    return [record for _, record in audit(root, name).records()]


def peers(swarm: MemorySwarm, root: Path, *names: str) -> list[SwarmPeer]:
    return [swarm.peer(name, {"w": np.zeros(2)}, model_dir=root / name) for name in names]


def test_each_peer_of_a_run_has_all_records_also_one_that_came_late(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, min_peers=2, checkpoint_seconds=0)
    ada, bob, cyd = peers(swarm, tmp_path, "ada", "bob", "cyd")
    together(ada.session.begin, bob.session.begin)
    together(*(partial(peer.go_on, 6, step) for peer in (ada, bob)))

    def join() -> None:
        cyd.session.begin()
        cyd.go_on(4, step)
        cyd.session.end()

    def serve(peer: SwarmPeer) -> None:
        eventually(lambda: "cyd" in peer.live, "cyd is met")
        peer.go_on(4, step)
        peer.session.end()

    together(join, partial(serve, ada), partial(serve, bob))
    audits = {name: audit(tmp_path, name) for name in ("ada", "bob", "cyd")}
    assert [each.findings for each in audits.values()] == [[], [], []]
    for one, other in combinations(audits.values(), 2):
        assert list(disagreements(one, other)) == list(disagreements(other, one)) == []
    assert records(tmp_path, "ada") == records(tmp_path, "bob") == records(tmp_path, "cyd")
    assert records(tmp_path, "cyd")[0].kind is RecordKind.FOUNDING
    assert "cyd" not in records(tmp_path, "cyd")[0].members
    closing = records(tmp_path, "ada")[-1]
    assert closing.closing
    assert {read_about(tmp_path / name / FINAL)["record"] for name in audits} == {record_hash(closing)}


def test_a_checkpoint_says_how_far_the_ledger_went(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, checkpoint_seconds=0)
    together(*(partial(peer.train, 6, step) for peer in peers(swarm, tmp_path, "ada", "bob")))
    newest = max(directory(tmp_path, "ada").glob("*-0*.safetensors"))
    head = Head.of_metadata(read_about(newest))
    found = audit(tmp_path, "ada")
    assert head
    assert found.source.head
    assert head == found.source.head.head
    assert head.count == found.count


def test_without_a_model_directory_there_are_no_files_and_others_can_still_catch_up(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, min_peers=1, world_size=2)
    # A peer that expects one alone begins at once; bob must not, or it may begin a run of its own.
    ada = swarm.peer("ada", {"w": np.zeros(2)}, world_size=1)
    (bob,) = peers(swarm, tmp_path, "bob")
    ada.session.begin()
    ada.go_on(4, step)
    together(bob.session.begin, partial(eventually, lambda: "bob" in ada.live, "bob is met"))
    together(*(partial(peer.go_on, 2, step) for peer in (ada, bob)))
    together(ada.session.end, bob.session.end)
    assert [*tmp_path.iterdir()] == [tmp_path / "bob"]
    assert audit(tmp_path, "bob").findings == []
    assert [record.round for record in records(tmp_path, "bob")] == [*range(audit(tmp_path, "bob").count)]


def test_a_directory_that_cannot_be_written_costs_one_line(tmp_path: Path) -> None:
    (tmp_path / "ada").write_text("in the way")
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = peers(swarm, tmp_path, "ada", "bob")
    together(*(partial(peer.train, 8, step) for peer in (ada, bob)))
    assert ada.digest() == bob.digest()
    assert len([line for line in ada.lines if line.startswith("ERROR") and "written to ledger" in line]) == 1


def test_a_ledger_has_the_settings_under_which_its_records_were_made(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=4, tolerated_liars=1)
    four = peers(swarm, tmp_path, "ada", "bob", "cyd", "dan")
    together(*(partial(peer.train, 2, step) for peer in four))
    found = audit(tmp_path, "ada")
    assert (found.findings, found.notes) == ([], [])
    (text,) = found.source.head.settings
    assert dict(json.loads(text))["tolerated_liars"] == "1"
    assert {each.settings for each in records(tmp_path, "ada")} == {hashlib.sha256(text.encode()).hexdigest()}
