"""The report that each site writes at the end of a run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm.report import Report, read_report
from swarm.report.content import Figures
from swarm.storage.ledger.database import open_database
from swarm.storage.ledger.files import DATABASE
from swarm.tensors.model import Evaluation
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

ZEROS = {"w": np.zeros(3)}
STEP = {"ada": 1.0, "bob": 3.0}


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += STEP[peer.name]


def site(swarm: MemorySwarm, name: str, place: Path, **more: object) -> SwarmPeer:
    """A site whose loss is how far its model is from 10."""
    peer: SwarmPeer

    def evaluate() -> Evaluation:
        return Evaluation(loss=abs(10 - float(peer.arrays["w"][0])), metrics={"w": float(peer.arrays["w"][0])})

    peer = swarm.peer(name, ZEROS, evaluate=evaluate, model_dir=place / name, **more)  # type: ignore[arg-type]
    return peer


def report_of(place: Path, name: str) -> Report:
    return read_report(place / name / "swarm-report.json")


def test_each_site_reports_its_own_model_before_each_merge_and_the_merged_one(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = (site(swarm, name, tmp_path) for name in STEP)
    together(*(partial(peer.train, 4, step) for peer in (ada, bob)))
    report = report_of(tmp_path, "ada")
    assert (report.site, report.session, report.closing) == ("ada", "swarm_model", True)
    assert (report.digest, report.file) == (ada.reports[-1].digest, "swarm-final.safetensors")
    merged = [each for each in report.rounds if each.outcome == "merged"]
    # both start from 0; ada adds 2, bob 6, so that 4 is merged, and so on
    assert [each.own for each in merged] == [Figures(loss=8, metrics={"w": 2}), Figures(loss=4, metrics={"w": 6})]
    assert [each.merged for each in merged] == [Figures(loss=6, metrics={"w": 4}), Figures(loss=2, metrics={"w": 8})]
    assert [(each.weights, each.steps) for each in merged] == 2 * [({"ada": 1, "bob": 1}, {"ada": 2, "bob": 2})]
    assert (report.start, report.own, report.final) == (
        Figures(loss=10, metrics={"w": 0}),
        Figures(loss=4, metrics={"w": 6}),
        Figures(loss=2, metrics={"w": 8}),
    )
    assert report.sentence.startswith("On this site's validation data the swarm's closing model has loss 2, w 8,")
    assert [each.own for each in report_of(tmp_path, "bob").rounds][:2] == [
        Figures(loss=4, metrics={"w": 6}),
        Figures(loss=0, metrics={"w": 10}),
    ]
    assert report_of(tmp_path, "bob").totals.worse == 2
    assert any(report.sentence in line for line in ada.lines)


def test_the_report_names_the_head_of_the_ledger(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = (site(swarm, name, tmp_path) for name in STEP)
    together(*(partial(peer.train, 2, step) for peer in (ada, bob)))
    report = report_of(tmp_path, "ada")
    with open_database(tmp_path / "ada" / "swarm-state" / "swarm_model" / "ada" / DATABASE) as database:
        end = database.end()
    assert (report.records, report.link) == (end.count, end.link)
    assert report.sites["bob"].rounds == report.all_rounds == 2


def test_the_report_tells_the_epochs_and_the_training_loss(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    peers = [site(swarm, name, tmp_path) for name in STEP]

    def trained(peer: SwarmPeer, epochs: int) -> None:
        peer.session.begin()
        for epoch in range(epochs):
            for _ in range(2):
                step(peer)
                peer.advance(loss=1.0 / (epoch + 1))
            peer.session.epoch_end(epoch)
        peer.session.end()

    together(*(partial(trained, peer, 3) for peer in peers))
    for report in (report_of(tmp_path, name) for name in STEP):
        assert report.epochs == 3
        assert [each.batch_loss for each in report.rounds][:2] == [1.0, 0.5]


def test_validate_own_off_saves_the_second_validation(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, validate_own=False)
    ada, bob = (site(swarm, name, tmp_path) for name in STEP)
    together(*(partial(peer.train, 4, step) for peer in (ada, bob)))
    report = report_of(tmp_path, "ada")
    assert [each.own for each in report.rounds] == [None] * len(report.rounds)
    assert report.final == Figures(loss=2, metrics={"w": 8})
    assert report.sentence.startswith("What this site gained is not known: ")


def test_a_validation_of_the_own_model_that_raises_stops_nothing(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    calls = iter(range(10))

    def evaluate() -> Evaluation:
        if next(calls) == 1:
            raise ValueError("the labels are gone")
        return Evaluation(loss=1.0)

    ada = swarm.peer("ada", ZEROS, evaluate=evaluate, model_dir=tmp_path)
    bob = swarm.peer("bob", ZEROS)
    together(*(partial(peer.train, 4, step) for peer in (ada, bob)))
    assert [line for line in ada.lines if line.startswith("WARNING")] == [
        "WARNING validation of this site's own model failed, training goes on: ValueError: the labels are gone"
    ]
    report = read_report(tmp_path / "swarm-report.json")
    assert [each.own for each in report.rounds if each.outcome == "merged"] == [None, Figures(loss=1.0)]


def test_a_run_that_is_broken_off_is_reported(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = (site(swarm, name, tmp_path) for name in STEP)
    together(ada.session.begin, bob.session.begin)
    together(*(partial(peer.go_on, 2, step) for peer in (ada, bob)))
    for peer in (ada, bob):
        peer.session.abort("it was broken off")
    report = report_of(tmp_path, "ada")
    assert (report.closing, report.reason, report.round) == (False, "it was broken off", 1)
    assert report.totals.merged == 1


@pytest.mark.parametrize("off", [{"disabled_plugins": ("report",)}, {"loopback": True}])
def test_a_report_can_be_left_out(tmp_path: Path, off: dict[str, object]) -> None:
    swarm = MemorySwarm(sync_interval=2, min_peers=1, world_size=1, **off)
    ada = site(swarm, "ada", tmp_path)
    ada.train(2, step)
    assert not [*(tmp_path / "ada").glob("swarm-report*")]


def test_the_report_of_an_earlier_run_is_renamed(tmp_path: Path) -> None:
    for batches in (2, 4):
        swarm = MemorySwarm(sync_interval=2, min_peers=1, world_size=1)
        site(swarm, "ada", tmp_path).train(batches, step)
    assert read_report(tmp_path / "ada" / "previous-swarm-report.json").round < report_of(tmp_path, "ada").round
