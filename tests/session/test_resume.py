"""A restarted peer continues from its last commit, or catches up if the others are ahead."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm.certification.chain import Verifier
from swarm.certification.keys import ProcessKey
from swarm.errors import ConfigurationError
from swarm.storage.ledger.audit import Audit
from swarm.storage.ledger.files import DATABASE
from swarm.storage.ledger.sources import DatabaseSource
from swarm.tensors.state import WEIGHT_DTYPES, numpy_dtype
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together


def place(model_dirs: dict[str, Path], name: str) -> Path:
    return model_dirs[name] / "swarm-state" / "swarm_model" / name


def count(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1.0


def begin_and_train(peer: SwarmPeer, batches: int) -> None:
    peer.session.begin()
    peer.go_on(batches, count)


def pair(places: dict[str, Path], **settings: object) -> tuple[SwarmPeer, SwarmPeer]:
    settings = {"failure_timeout": 1.0, **settings}
    swarm = MemorySwarm(sync_interval=2, world_size=2, checkpoint_seconds=0, **settings)
    first, second = (
        swarm.peer(name, {"w": np.zeros(3, np.float32)}, model_dir=place) for name, place in places.items()
    )
    return first, second


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    return {"ada": tmp_path / "ada", "bob": tmp_path / "bob"}


@pytest.fixture
def stopped(places: dict[str, Path]) -> dict[str, Path]:
    """Model directories of two peers that were stopped after four batches, two rounds."""
    peers = pair(places)
    together(*(partial(begin_and_train, peer, 4) for peer in peers))
    for peer in peers:
        peer.session.abort("power cut")
    return places


def test_a_whole_swarm_that_stopped_continues_from_its_checkpoints(stopped: dict[str, Path]) -> None:
    ada, bob = pair(stopped, resume=True)
    together(partial(ada.train, 4, count), partial(bob.train, 4, count))
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist() == [8.0] * 3
    assert (
        "INFO resuming from round 2, the newest checkpoint; they are 0 s apart or more (checkpoint_seconds), so what "
        "was trained after it is trained again"
    ) in ada.lines


def test_a_peer_resumes_alone_from_its_own_disk(stopped: dict[str, Path]) -> None:
    ada, _ = pair(stopped, resume=True)
    begin_and_train(ada, 1)
    assert ada.arrays["w"].tolist() == [5.0] * 3
    assert any("resumed round 2 alone" in line for line in ada.lines)
    ada.session.abort("done")


def test_a_peer_that_is_behind_catches_up_with_the_swarm(stopped: dict[str, Path], tmp_path: Path) -> None:
    behind = {"ada": tmp_path / "earlier", "bob": stopped["bob"]}
    shutil.copytree(stopped["ada"], behind["ada"])
    further = pair(stopped, resume=True)
    together(*(partial(begin_and_train, peer, 4) for peer in further))
    for peer in further:
        peer.session.abort("power cut")
    # Long enough for a second try: ada may ask bob for his model before he has met her.
    ada, bob = pair(behind, resume=True, failure_timeout=1.0)
    started = []

    def catch_up() -> None:
        ada.session.begin()
        started.append(ada.arrays["w"].tolist())
        ada.go_on(2, count)

    together(catch_up, bob.session.begin)
    assert started == [[8.0] * 3]
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist() == [10.0] * 3, "bob brings nothing new, and waits"
    for peer in (ada, bob):
        peer.session.abort("done")
    ledgers = [audit(place(behind, name)) for name in behind]
    assert [each.findings for each in ledgers] == [[], []]
    assert ledgers[0].count == ledgers[1].count, "ada has fetched the records that she lacked"


def test_an_earlier_run_is_not_resumed_without_the_setting(stopped: dict[str, Path]) -> None:
    ada, bob = pair(stopped)
    together(partial(ada.train, 4, count), partial(bob.train, 4, count))
    assert ada.arrays["w"].tolist() == [4.0] * 3


def test_a_closed_run_is_the_start_of_a_new_one(places: dict[str, Path]) -> None:
    together(*(partial(peer.train, 4, count) for peer in pair(places)))
    ada, bob = pair(places, resume=True)
    together(partial(ada.train, 4, count), partial(bob.train, 4, count))
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist() == [8.0] * 3
    assert any("which closed its run" in line for line in ada.lines)


def test_the_checkpoints_of_another_model_are_refused_by_file(stopped: dict[str, Path]) -> None:
    swarm = MemorySwarm(world_size=2, resume=True)
    other = swarm.peer("ada", {"w": np.zeros(5, np.float32)}, model_dir=stopped["ada"])
    with pytest.raises(
        ConfigurationError, match=r"safetensors contains another model.*'w' is float32\[3\] in the file, and"
    ):
        other.session.begin()


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_a_run_of_any_dtype_is_resumed(places: dict[str, Path], dtype: str) -> None:
    def peers(**settings: object) -> list[SwarmPeer]:
        swarm = MemorySwarm(sync_interval=2, world_size=2, failure_timeout=1.0, checkpoint_seconds=0, **settings)
        zeros = np.zeros(3, numpy_dtype(dtype))
        return [swarm.peer(name, {"w": zeros}, model_dir=place) for name, place in places.items()]

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 1

    def stop(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(4, step)

    first = peers()
    together(*(partial(stop, peer) for peer in first))
    for peer in first:
        peer.session.abort("power cut")
    second = peers(resume=True)
    together(*(partial(peer.train, 4, step) for peer in second))
    assert [peer.arrays["w"].tolist() for peer in second] == [[8.0] * 3] * 2


def audit(directory: Path) -> Audit:
    verifier = Verifier(session="swarm_model", signer=ProcessKey())
    return Audit(DatabaseSource(directory / DATABASE), verifier, None)


def warnings(peer: SwarmPeer) -> list[str]:
    return [line for line in peer.lines if line.startswith("WARNING resume")]


def test_a_checkpoint_whose_record_is_not_in_the_ledger_is_skipped(stopped: dict[str, Path]) -> None:
    directory = place(stopped, "ada")
    (directory / DATABASE).unlink()
    ada, bob = pair(stopped, resume=True)
    together(partial(ada.train, 4, count), partial(bob.train, 4, count))
    first, second, last = warnings(ada)
    assert "its record, or one that it comes from, is not in the ledger" in first
    assert "load that file in your script instead" in second
    assert last.endswith("can be used; the run starts anew")
    assert not any("resuming from" in line for line in ada.lines)
    assert any("resuming from round 2" in line for line in bob.lines)
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist()
    assert any("ledger-kept-1.head" in line for line in ada.lines if line.startswith("WARNING ledger"))


def test_a_checkpoint_is_skipped_where_a_record_that_it_comes_from_was_changed(stopped: dict[str, Path]) -> None:
    directory = place(stopped, "ada")
    with closing(sqlite3.connect(directory / DATABASE)) as database, database:
        database.execute('UPDATE records SET content = replace(content, \'"rule":"mean"\', \'"rule":"meen"\')')
        database.execute("UPDATE records SET content = CAST(content AS BLOB)")
    ada, bob = pair(stopped, resume=True)
    together(ada.session.begin, bob.session.begin)
    assert "it is not certified by its ledger: the record of round 0 has a signature of" in warnings(ada)[0]
    for peer in (ada, bob):
        peer.session.abort("done")


def test_the_last_checkpoint_that_the_ledger_has_is_taken(stopped: dict[str, Path]) -> None:
    with closing(sqlite3.connect(place(stopped, "ada") / DATABASE)) as database, database:
        database.execute("DELETE FROM records WHERE number = (SELECT max(number) FROM records)")
    ada, _ = pair(stopped, resume=True)
    begin_and_train(ada, 1)
    resumed = [line for line in ada.lines if "resuming from round" in line]
    assert resumed
    assert "round 2" not in resumed[0]
    ada.session.abort("done")
    findings = audit(place(stopped, "ada")).findings
    assert any("was missing" in each or "missing at the end" in each for each in findings), "the cut stays known"


def test_skipped_checkpoints_are_not_removed(stopped: dict[str, Path]) -> None:
    directory = place(stopped, "ada")
    before = {path.name for path in directory.glob("*-0000*")}
    (directory / DATABASE).unlink()
    ada, bob = pair(stopped, resume=True)
    together(partial(ada.train, 8, count), partial(bob.train, 8, count))
    assert before <= {path.name for path in directory.iterdir()}


def test_a_checkpoint_of_an_earlier_build_is_named_with_what_to_do(stopped: dict[str, Path]) -> None:
    for record in place(stopped, "ada").glob("*.json"):
        fields = json.loads(record.read_bytes())
        kept = ("lineage", "round", "digest", "members", "group", "contributors", "sync", "closing")
        record.write_text(json.dumps({name: fields[name] for name in kept} | {"weight": 8}, indent=1))
    ada, bob = pair(stopped, resume=True)
    together(ada.session.begin, bob.session.begin)
    assert "it is of an earlier build of Swarm, whose records had no certificates; to train on" in warnings(ada)[0]
    assert ".safetensors)" in warnings(ada)[0]
    for peer in (ada, bob):
        peer.session.abort("done")
