"""The best merged model: the same at every peer, whoever was away, and the end of a training that gets no better."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from swarm.errors import ConfigurationError
from swarm.messages import Envelope, Offer, Propose
from swarm.report import read_report
from swarm.tensors.model import Evaluation
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

BEST = "swarm-best.safetensors"
ZEROS = {"w": np.zeros(3)}


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


def site(swarm: MemorySwarm, name: str, goal: float, *, place: Path | None = None, **more: object) -> SwarmPeer:
    """A site whose loss is how far its model is from ``goal``; each round adds 1 to the model."""
    peer: SwarmPeer

    def evaluate() -> Evaluation:
        loss = abs(goal - float(peer.arrays["w"][0]))
        return Evaluation(loss=loss, metrics={"closeness": -loss})

    peer = swarm.peer(name, ZEROS, evaluate=evaluate, model_dir=place, **more)  # type: ignore[arg-type]
    return peer


def weights(place: Path) -> list[float]:
    return load_file(place / BEST)["w"].tolist()


def about(place: Path) -> dict[str, str]:
    with safe_open(place / BEST, "numpy") as file:
        return dict(file.metadata())


@pytest.mark.parametrize("monitor", ["loss", "max:closeness"])
def test_every_peer_has_the_same_file_of_the_best_model(tmp_path: Path, monitor: str) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, keep_best=True, monitor=monitor)
    goals = {"ada": 2.0, "bob": 4.0}
    peers = [site(swarm, name, goal, place=tmp_path / name) for name, goal in goals.items()]
    together(*(partial(peer.train, 6, step) for peer in peers))
    ada, bob = ((tmp_path / name / BEST).read_bytes() for name in goals)
    assert ada == bob
    # every model from 2 to 4 has the same mean loss; the first of them is the best one
    assert weights(tmp_path / "ada") == [2.0] * 3
    found = about(tmp_path / "ada")
    assert (found["round"], found["monitor"]) == ("2", monitor)
    assert float(found["score"]) == (1.0 if monitor == "loss" else -1.0)
    report = read_report(tmp_path / "ada" / "swarm-report.json")
    assert report.best is not None
    assert (report.best.round, report.best.score, report.best.file) == (2, float(found["score"]), BEST)
    assert report.best.digest == found["digest"] == peers[0].reports[1].digest
    assert any(f"the best model is that of round 2, {monitor}" in line for line in peers[0].lines)


def test_the_last_model_can_be_the_best_one(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, keep_best=True)
    peers = [site(swarm, name, 100.0, place=tmp_path / name) for name in ("ada", "bob")]
    together(*(partial(peer.train, 3, step) for peer in peers))
    assert weights(tmp_path / "bob") == [3.0] * 3
    assert load_file(tmp_path / "bob" / "swarm-final.safetensors")["w"].tolist() == [3.0] * 3


def test_sites_without_validation_data_have_the_file_too(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, keep_best=True)
    ada = site(swarm, "ada", 2.0, place=tmp_path / "ada")
    bob = swarm.peer("bob", ZEROS, model_dir=tmp_path / "bob")
    together(*(partial(peer.train, 5, step) for peer in (ada, bob)))
    assert (tmp_path / "ada" / BEST).read_bytes() == (tmp_path / "bob" / BEST).read_bytes()
    assert weights(tmp_path / "bob") == [2.0] * 3


def test_where_nobody_validates_the_log_says_why_there_is_no_file(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, keep_best=True)
    ada, bob = (swarm.peer(name, ZEROS, model_dir=tmp_path / name) for name in ("ada", "bob"))
    together(*(partial(peer.train, 2, step) for peer in (ada, bob)))
    assert not (tmp_path / "ada" / BEST).exists()
    assert any("keep_best: no site that has a weight has told a finite loss" in line for line in ada.lines)


def test_a_metric_that_the_validation_does_not_give_is_refused_at_the_start() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, keep_best=True, monitor="max:dice", failure_timeout=1.0)
    peers = [site(swarm, name, 2.0) for name in ("ada", "bob")]

    def begin(peer: SwarmPeer) -> None:
        with pytest.raises(ConfigurationError, match=r"monitor names 'dice', .* it gives loss, closeness"):
            peer.session.begin()

    together(*(partial(begin, peer) for peer in peers))


def test_a_peer_that_comes_late_fetches_the_best_model(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=1, min_peers=2, keep_best=True, straggler_timeout=0.1)
    ada, bob, cyd = (site(swarm, name, 2.0, place=tmp_path / name) for name in ("ada", "bob", "cyd"))
    past, joined = threading.Barrier(3), threading.Barrier(3)

    def early(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(5, step)
        past.wait(20)
        joined.wait(20)
        peer.go_on(2, step)
        peer.session.end()

    def late() -> None:
        past.wait(20)
        cyd.session.begin()
        joined.wait(20)
        cyd.go_on(2, step)
        cyd.session.end()

    together(partial(early, ada), partial(early, bob), late)
    assert weights(tmp_path / "cyd") == [2.0] * 3
    assert (tmp_path / "ada" / BEST).read_bytes() == (tmp_path / "cyd" / BEST).read_bytes()


def test_a_swarm_that_resumes_still_has_the_best_model_of_before(tmp_path: Path) -> None:
    settings = {"sync_interval": 1, "world_size": 2, "keep_best": True, "checkpoint_seconds": 0, "failure_timeout": 1.0}
    swarm = MemorySwarm(**settings)
    peers = [site(swarm, name, 2.0, place=tmp_path / name) for name in ("ada", "bob")]

    def break_off(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(5, step)
        peer.session.abort("it was broken off")

    together(*(partial(break_off, peer) for peer in peers))
    (stored,) = (tmp_path / "ada" / "swarm-state" / "swarm_model" / "ada").glob("best-*.safetensors")
    assert load_file(stored)["w"].tolist() == [2.0] * 3
    swarm = MemorySwarm(**settings, resume=True)
    peers = [site(swarm, name, 2.0, place=tmp_path / name) for name in ("ada", "bob")]
    together(*(partial(peer.train, 2, step) for peer in peers))
    assert weights(tmp_path / "ada") == weights(tmp_path / "bob") == [2.0] * 3
    assert (tmp_path / "ada" / BEST).read_bytes() == (tmp_path / "bob" / BEST).read_bytes()


def test_a_site_that_resumes_without_its_copy_fetches_it(tmp_path: Path) -> None:
    settings = {"sync_interval": 1, "min_peers": 2, "keep_best": True, "checkpoint_seconds": 0, "failure_timeout": 1.0}
    swarm = MemorySwarm(**settings)
    ada, bob, cyd = (site(swarm, name, 2.0, place=tmp_path / name) for name in ("ada", "bob", "cyd"))
    away, back = threading.Event(), threading.Event()

    def stay(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(4, step)
        assert away.wait(100)
        assert back.wait(100)
        peer.go_on(3, step)
        peer.session.end()

    def leave() -> None:
        cyd.session.begin()
        cyd.go_on(4, step)
        cyd.session.abort("a restart")
        for path in (tmp_path / "cyd" / "swarm-state").rglob("best-*"):
            path.unlink()
        away.set()
        again = site(swarm, "cyd", 2.0, place=tmp_path / "cyd", resume=True)
        again.session.begin()
        back.set()
        again.go_on(3, step)
        again.session.end()

    together(partial(stay, ada), partial(stay, bob), leave)
    assert (tmp_path / "ada" / BEST).read_bytes() == (tmp_path / "cyd" / BEST).read_bytes()


def train_until_told(peer: SwarmPeer, most: int = 50) -> int:
    """Train until the swarm says to stop; returns how many batches."""
    peer.session.begin()
    batches = 0
    while not peer.session.should_stop and batches < most:
        peer.go_on(1, step)
        batches += 1
    peer.session.end()
    return batches


@pytest.mark.parametrize("overlap", [False, True])
def test_all_peers_stop_together_when_the_models_get_no_better(overlap: bool) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=3, patience=3, overlap=overlap)
    peers = [site(swarm, name, 4.0) for name in ("ada", "bob", "cyd")]
    counts = together(*(partial(train_until_told, peer) for peer in peers))
    # the model of round 4 is the best; those of 5, 6 and 7 are worse, which round 8 knows
    if not overlap:
        assert counts == [8, 8, 8]
    assert len({peer.digest() for peer in peers}) == 1
    for peer in peers:
        (line,) = [line for line in peer.lines if "the training ends at all peers" in line]
        assert "no model was better than that of round 4 (loss 0) for 3 rounds" in line


def test_a_peer_that_comes_after_the_agreement_stops_at_once() -> None:
    swarm = MemorySwarm(sync_interval=1, min_peers=2, patience=2, straggler_timeout=0.1)
    ada, bob, cyd = (site(swarm, name, 3.0) for name in ("ada", "bob", "cyd"))
    agreed, left = threading.Barrier(3), threading.Event()

    def early(peer: SwarmPeer) -> None:
        peer.session.begin()
        while not peer.session.should_stop:
            peer.go_on(1, step)
        agreed.wait(20)
        assert left.wait(20)
        peer.session.end()

    def late() -> bool:
        agreed.wait(20)
        cyd.session.begin()
        told = cyd.session.should_stop
        left.set()
        cyd.session.end()
        return told

    assert together(partial(early, ada), partial(early, bob), late)[2]


def test_without_patience_nobody_stops() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, keep_best=True)
    peers = [site(swarm, name, 2.0) for name in ("ada", "bob")]
    assert together(*(partial(train_until_told, peer, 12) for peer in peers)) == [12, 12]


def test_peers_that_train_on_for_others_stop_too() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, patience=2, train_until="all")
    ada, bob = (site(swarm, name, 3.0) for name in ("ada", "bob"))

    def short() -> int:
        ada.session.begin()
        ada.go_on(2, step)
        batches = 2
        while ada.session.extend():
            ada.go_on(1, step)
            batches += 1
        ada.session.end()
        return batches

    trained, other = together(short, partial(train_until_told, bob))
    assert trained < 20
    assert abs(trained - other) <= 1


def liar(swarm: MemorySwarm, name: str, told: Callable[[Offer], Offer]) -> None:
    """Change what ``name`` offers on its way; its signature is of what it has offered."""

    def passes(_address: str, envelope: Envelope) -> bool:
        if envelope.sender == name and isinstance(envelope.message, Offer):
            object.__setattr__(envelope, "message", told(envelope.message))
        return True

    swarm.network.passes = passes


def test_a_score_that_was_changed_on_its_way_counts_for_nothing() -> None:
    """The offer that has it is not signed by its peer, so that the offer itself does not count."""
    swarm = MemorySwarm(
        sync_interval=1, world_size=3, min_peers=2, keep_best=True, straggler_timeout=0.1, failure_timeout=1.0
    )
    peers = [site(swarm, name, 2.0) for name in ("ada", "bob", "cyd")]
    liar(swarm, "cyd", lambda offer: replace(offer, stats=replace(offer.stats, score=-1e6)))

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(3, step)
        commit = peer.session.commit
        assert commit is not None
        assert commit.best is None or commit.best.score >= 0
        peer.session.abort("the test is over")

    together(*(partial(train, peer) for peer in peers))
    ignored = "cyd sent an offer that is not signed with the key that it gave on joining"
    assert any(ignored in line for peer in peers for line in peer.lines)


@pytest.mark.parametrize("field", ["score", "digest", "stop"])
def test_a_leader_that_names_another_best_model_is_replaced(field: str) -> None:
    # more patience than rounds: none stops by itself
    swarm = MemorySwarm(sync_interval=1, world_size=3, patience=500, failure_timeout=1.0)
    peers = [site(swarm, name, 2.0) for name in ("ada", "bob", "cyd")]
    false = {"score": -1.0, "digest": "f" * 64, "stop": True}[field]

    def passes(_address: str, envelope: Envelope) -> bool:
        message = envelope.message
        if envelope.sender == "ada" and isinstance(message, Propose) and message.proposal.best:
            proposal = replace(message.proposal, best=replace(message.proposal.best, **{field: false}))
            object.__setattr__(envelope, "message", Propose(proposal))
        return True

    swarm.network.passes = passes

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(6, step)
        commit = peer.session.commit
        assert commit is not None
        assert commit.best is not None
        assert getattr(commit.best, field) != false
        peer.session.end()

    together(*(partial(train, peer) for peer in peers))
    honest = [line for peer in peers[1:] for line in peer.lines if "its best is not what the offers give" in line]
    assert honest


def test_sites_that_share_their_metrics_see_those_of_each_other(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=3, keep_best=True)
    goals = {"ada": 2.0, "bob": 4.0, "cyd": 3.0}
    peers = [
        site(swarm, name, goal, place=tmp_path / name, share_metrics=name != "cyd") for name, goal in goals.items()
    ]
    together(*(partial(peer.train, 6, step) for peer in peers))
    ada, bob, cyd = (read_report(tmp_path / name / "swarm-report.json") for name in goals)
    assert ada.across == bob.across
    # the last model is 6; so is each site's own one before the last merge. The best one is 3
    assert {name: (row.own, row.closing, row.best) for name, row in ada.across.items()} == {
        "ada": (4.0, 4.0, 1.0),
        "bob": (2.0, 2.0, 1.0),
    }
    assert cyd.across == {}


def test_without_share_metrics_an_offer_tells_no_figure_of_the_own_model() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, keep_best=True)
    seen: list[Offer] = []

    def passes(_address: str, envelope: Envelope) -> bool:
        if isinstance(envelope.message, Offer):
            seen.append(envelope.message)
        return True

    swarm.network.passes = passes
    peers = [site(swarm, name, 2.0) for name in ("ada", "bob")]
    together(*(partial(peer.train, 3, step) for peer in peers))
    assert any(offer.stats.score is not None for offer in seen)
    assert {(offer.stats.own_score, offer.stats.best_score) for offer in seen} == {(None, None)}


def test_without_these_settings_nothing_is_told() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2)
    seen: list[Offer] = []

    def passes(_address: str, envelope: Envelope) -> bool:
        if isinstance(envelope.message, Offer):
            seen.append(envelope.message)
        return True

    swarm.network.passes = passes
    peers = [site(swarm, name, 2.0) for name in ("ada", "bob")]
    together(*(partial(peer.train, 3, step) for peer in peers))
    assert seen
    assert {offer.stats.score for offer in seen} == {None}
    for peer in peers:
        assert peer.session.commit is None or peer.session.commit.best is None
