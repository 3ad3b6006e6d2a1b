"""How sessions end: check-in modes, unequal lengths, short runs, and what is left on disk."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from swarm.errors import ConfigurationError
from swarm.messages import Farewell
from swarm.records import Outcome
from swarm.tensors.state import TensorKind
from swarm.testing.nodes import eventually
from swarm.testing.swarm import DEADLINE, MemorySwarm, SwarmPeer, together
from tests.session.ctrl_c import CtrlC

MODES = ("inactive", "snapshot", "active")
MIXED = [*itertools.combinations_with_replacement(MODES, 3)]
RUNS = {"equal": (9, 9, 9), "unequal": (2, 9, 33), "multiple": (4, 8, 16), "short": (1, 2, 3), "none": (0, 0, 0)}


def count(peer: SwarmPeer) -> None:
    """A step that differs between peers and can be told apart in the sum."""
    peer.arrays["w"] += {"ada": 1.0, "bob": 100.0, "cyd": 3000.0}[peer.name]


def closing_line(peer: SwarmPeer) -> str:
    (line,) = [line for line in peer.lines if "closing model" in line]
    return line


@pytest.mark.parametrize("lengths", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("modes", MIXED, ids="-".join)
def test_all_peers_end_with_the_same_closing_model(modes: tuple[str, ...], lengths: tuple[int, ...]) -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=3, straggler_timeout=5.0)
    peers = [
        swarm.peer(name, {"w": np.zeros(3)}, checkin_model_on_train_end=mode)
        for name, mode in zip(("ada", "bob", "cyd"), modes, strict=True)
    ]
    together(*(partial(peer.train, batches, count) for peer, batches in zip(peers, lengths, strict=True)))
    assert len({peer.digest() for peer in peers}) == 1
    assert len({closing_line(peer) for peer in peers}) == 1
    assert not swarm.addresses  # all have left
    assert "of 3 peers" in closing_line(peers[0])
    assert not [line for peer in peers for line in peer.lines if not line.startswith(("INFO", "DEBUG"))]


@pytest.mark.parametrize("mode", MODES)
def test_what_a_finished_peer_contributes(mode: str) -> None:
    """Ada stops after 4 batches, bob goes on for 4 more: two rounds and a closing one."""
    swarm = MemorySwarm(sync_interval=4, world_size=2)
    ada, bob = (
        swarm.peer(name, {"w": np.zeros(1)}, checkin_model_on_train_end=mode_)
        for name, mode_ in (("ada", mode), ("bob", "inactive"))
    )
    together(partial(ada.train, 4, count), partial(bob.train, 8, count))
    first = (4 + 400) / 2
    second = {"inactive": first + 400, "snapshot": (first + first + 400) / 2, "active": (first + first + 400) / 2}[mode]
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist() == [second]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batches", [4, 6], ids=["on a sync point", "between two"])
def test_the_last_merged_model_is_the_closing_one_if_no_peer_has_trained_since(mode: str, batches: int) -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2, checkin_model_on_train_end=mode)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}), swarm.peer("bob", {"w": np.zeros(1)})
    together(partial(ada.train, 2, count), partial(bob.train, batches, count))
    # ada stopped with 2; round 1 gives 201
    second = {"inactive": 401.0, "snapshot": (2 + 401) / 2, "active": (201 + 401) / 2}[mode]
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist() == [201.0 if batches == 4 else second]


def test_if_all_are_inactive_the_last_committed_model_is_the_closing_one() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2, checkin_model_on_train_end="inactive")
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}), swarm.peer("bob", {"w": np.zeros(1)})
    together(partial(ada.train, 6, count), partial(bob.train, 6, count))
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist() == [303.0]


@pytest.mark.parametrize("files", ["none", "written", "failed"])
def test_steps_that_are_not_in_the_closing_model_are_counted_and_logged(tmp_path: Path, files: str) -> None:
    """Ada alone has a weight and stops after one round; Bob's rounds merge nothing from then on."""
    settings: dict[str, object] = {} if files == "none" else {"model_dir": tmp_path}

    def train(peer: SwarmPeer) -> None:
        if files == "failed":  # once results of an earlier run are out of the way
            (tmp_path / "local.safetensors").mkdir(exist_ok=True)
        count(peer)

    swarm = MemorySwarm(sync_interval=4, world_size=2, checkin_model_on_train_end="inactive")
    ada = swarm.peer("ada", {"w": np.zeros(1)})
    bob = swarm.peer("bob", {"w": np.zeros(1)}, node_weightage=0, **settings)
    together(partial(ada.train, 4, count), partial(bob.train, 10, train))
    assert ada.digest() == bob.digest()
    (line,) = [line for line in bob.lines if "in no merge" in line]
    said, _, kept = line.partition("; the model with them is ")
    assert said == "WARNING batches of this peer that are in no merge and not in that model: 6"
    if files == "written":
        assert Path(kept).name == "local.safetensors"
        assert Path(kept).is_file()
    else:
        assert kept == ""
    assert any("no new contributions: the last merged model is the closing one" in line for line in ada.lines)
    assert not [line for line in ada.lines if "in no merge" in line]
    assert len([line for line in bob.lines if line.startswith("WARNING round")]) == 1
    assert any(line.startswith("INFO round") and line.endswith("skipped, as before") for line in bob.lines)


def test_a_swarm_in_which_nobody_can_contribute_is_refused() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2, node_weightage=0)
    peers = [swarm.peer(name, {"w": np.ones(1)}) for name in ("ada", "bob")]

    def refused(peer: SwarmPeer) -> None:
        with pytest.raises(ConfigurationError, match="node_weightage is 0 at ada, bob: .*nothing would be merged"):
            peer.session.begin()

    together(*(partial(refused, peer) for peer in peers), deadline=10.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settings", [{}, {"overlap": True}, {"codec": "int8"}, {"codec": "bf16"}], ids=str)
def test_without_contributors_no_step_is_lost(mode: str, settings: dict[str, object]) -> None:
    """Ada alone has a weight, and stops after one round."""
    swarm = MemorySwarm(sync_interval=4, world_size=2, checkin_model_on_train_end=mode, **settings)
    ada = swarm.peer("ada", {"w": np.zeros(300), "n": np.array(0)}, kinds={"n": TensorKind.STATE})
    bob = swarm.peer("bob", {"w": np.zeros(300), "n": np.array(0)}, kinds={"n": TensorKind.STATE}, node_weightage=0)
    seen = []

    def watched(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 1
        peer.arrays["n"] += 1
        seen.append((peer.arrays["w"].copy(), int(peer.arrays["n"])))

    def train_bob() -> None:
        bob.session.begin()
        bob.go_on(4, count)
        ada_done.wait(20)
        bob.go_on(12, watched)
        bob.session.end()

    ada_done = threading.Event()

    def train_ada() -> None:
        ada.session.begin()
        ada.go_on(4, count)
        ada_done.set()
        ada.session.end()

    together(train_ada, train_bob)
    steps = [after[0] - before[0] for before, after in itertools.pairwise(seen)]
    late = steps[4:] if settings.get("overlap") else steps  # the first round may land among them
    assert all(np.allclose(step, 1) for step in late)
    assert [n for _, n in seen[-4:]] == [*range(seen[-1][1] - 3, seen[-1][1] + 1)]
    first, *others = [line for line in bob.lines if " skipped" in line]
    assert first.startswith("WARNING round 2 skipped: no peer that trains contributes to it")
    assert len(others) == 3  # two more sync points, and one when training ends
    assert all(line.startswith("INFO round ") and line.endswith(" skipped, as before") for line in others)
    assert [report.outcome for report in bob.reports[-2:]] == [Outcome.SKIPPED] * 2
    assert bob.session.metrics()["swarm_rounds"] == 2  # the first one, and the closing one
    assert ada.digest() == bob.digest()


@pytest.mark.parametrize("codec", ["exact", "int8"])
def test_finished_peers_that_echo_the_model_undo_no_steps(codec: str) -> None:
    swarm = MemorySwarm(
        sync_interval=4, world_size=3, checkin_model_on_train_end="active", codec=codec, straggler_timeout=5.0
    )
    ada = swarm.peer("ada", {"w": np.zeros(300)}, node_weightage=0)
    rest = [swarm.peer(name, {"w": np.zeros(300)}) for name in ("bob", "cyd")]

    def tick(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 1

    together(partial(ada.train, 16, tick), *(partial(peer.train, 4, tick) for peer in rest))
    assert [report.outcome for report in ada.reports] == [Outcome.MERGED] + [Outcome.SKIPPED] * 3
    assert len({report.digest for report in ada.reports}) == 1
    assert {peer.digest() for peer in (ada, *rest)} == {ada.reports[0].digest}


def test_a_start_without_contributors_fails_at_every_peer() -> None:
    for _ in range(10):
        swarm = MemorySwarm(world_size=4, node_weightage=0)
        peers = [swarm.peer(f"peer-{number}", {"w": np.ones(1)}) for number in range(4)]

        def refused(peer: SwarmPeer) -> None:
            with pytest.raises(ConfigurationError, match="node_weightage is 0 at peer-0, peer-1, peer-2, peer-3"):
                peer.session.begin()

        together(*(partial(refused, peer) for peer in peers), deadline=10.0)


def test_a_weight_of_zero_receives_and_contributes_nothing() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada = swarm.peer("ada", {"w": np.zeros(1)}, node_weightage=0)
    bob = swarm.peer("bob", {"w": np.zeros(1)}, node_weightage=100)
    together(partial(ada.train, 4, count), partial(bob.train, 4, count))
    assert ada.arrays["w"].tolist() == [400.0]
    assert [report.contributors for report in ada.reports] == [("bob",), ("bob",)]
    assert [report.group for report in ada.reports] == [("ada", "bob"), ("ada", "bob")]


def test_the_files_of_a_run(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2)
    places = {"ada": tmp_path / "ada" / "new", "bob": tmp_path / "bob"}
    ada, bob = (
        swarm.peer(name, {"w": np.zeros((2, 1), np.float32)}, model_dir=place) for name, place in places.items()
    )
    together(partial(ada.train, 6, count), partial(bob.train, 6, count))
    local, final = (load_file(places["ada"] / name) for name in ("local.safetensors", "swarm-final.safetensors"))
    assert local["w"].tolist() == [[204.0], [204.0]]
    assert final["w"].tolist() == ada.arrays["w"].tolist() == [[303.0], [303.0]]
    with safe_open(places["ada"] / "swarm-final.safetensors", "numpy") as file:
        about = file.metadata()
    assert about["session"] == "swarm_model"
    assert about["closing"] == "true"
    assert about["digest"] == ada.digest()
    assert about["round"] == "3"
    names = sorted(path.name for path in places["ada"].iterdir())
    reports = ["swarm-report.html", "swarm-report.json"]
    assert names == ["local.safetensors", "swarm-final.safetensors", *reports, "swarm-state"]


def test_a_run_continues_without_files_if_its_directory_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    swarm = MemorySwarm(sync_interval=4, world_size=2)
    ada = swarm.peer("ada", {"w": np.zeros(1)}, model_dir=tmp_path / "file" / "below")
    bob = swarm.peer("bob", {"w": np.zeros(1)})
    together(partial(ada.train, 6, count), partial(bob.train, 6, count))
    assert ada.digest() == bob.digest()
    assert [line for line in ada.lines if line.startswith("ERROR swarm-final.safetensors was not written to")]


def test_metrics_and_reports() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1000)}), swarm.peer("bob", {"w": np.zeros(1000)})
    assert ada.session.metrics() == {"swarm_rounds": 0.0, "swarm_bytes_sent": 0.0}
    together(partial(ada.train, 8, count), partial(bob.train, 8, count))
    metrics = ada.session.metrics()
    assert metrics["swarm_rounds"] == 3  # two and the closing one
    assert metrics["swarm_peers"] == 2
    assert metrics["swarm_sync_interval"] == 4
    # In two rounds half a model as contribution and half as result; at the start at most that; at the end nothing new.
    half = 8 * 500
    assert 2 * 2 * half <= metrics["swarm_bytes_sent"] <= 3 * 2 * half + 500
    assert metrics["swarm_round_seconds"] > 0
    assert [report.outcome for report in ada.reports] == [Outcome.MERGED, Outcome.MERGED]
    assert [report.round for report in ada.reports] == [1, 2]
    assert all(report.bytes_sent > 0 and report.bytes_received > 0 for report in ada.reports)


def test_counting_waits_for_a_boundary_and_starts_anew_at_the_merge() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=1, min_peers=1)
    ada = swarm.peer("ada", {"w": np.zeros(1)})
    session = ada.session
    session.begin()
    left = []
    for at_boundary in (True, True, True, False, False, True, True, True, True, True):
        session.advance(at_boundary=at_boundary)
        left.append(session.batches_left)
    assert left == [3, 2, 1, 0, -1, 4, 3, 2, 1, 4]
    session.end()


def test_a_peer_alone_in_its_swarm_of_one() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=1, min_peers=1)
    ada = swarm.peer("ada", {"w": np.zeros(1)})
    together(partial(ada.train, 6, count))
    assert ada.arrays["w"].tolist() == [6.0]
    assert "of 1 peer" in closing_line(ada)


def test_loopback_beside_other_peers_is_a_warning() -> None:
    peer = MemorySwarm(loopback=True, world_size=2, sync_interval=4).peer("ada", {"w": np.zeros(1)})
    peer.train(4, count)
    assert (
        "WARNING loopback: ada trains alone, although it was started with other peers: leave loopback out" in peer.lines
    )


def test_loopback_trains_alone(tmp_path: Path) -> None:
    swarm = MemorySwarm(loopback=True, model_dir=tmp_path, sync_interval=4)
    ada = swarm.peer("ada", {"w": np.zeros(1)})
    ada.train(6, count)
    assert ada.arrays["w"].tolist() == [6.0]
    assert ada.reports == []
    assert ada.session.over
    assert ada.session.metrics() == {"swarm_rounds": 0.0, "swarm_bytes_sent": 0.0}
    assert load_file(tmp_path / "swarm-final.safetensors")["w"].tolist() == [6.0]


def test_a_second_session_after_the_first() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2)
    for run in range(2):
        ada, bob = swarm.peer("ada", {"w": np.zeros(1)}), swarm.peer("bob", {"w": np.zeros(1)})
        together(partial(ada.train, 6, count), partial(bob.train, 6, count))
        assert ada.digest() == bob.digest(), run
        assert not [line for line in (*ada.lines, *bob.lines) if line.startswith("WARNING")]


def test_abort_leaves_at_once_and_can_be_repeated() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2, straggler_timeout=0.1)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}), swarm.peer("bob", {"w": np.zeros(1)})
    together(ada.session.begin, bob.session.begin)
    ada.session.abort("it had enough")
    ada.session.abort("it had enough")
    assert ada.session.over
    ada.go_on(8, count)
    assert ada.reports == []
    bob.go_on(4, count)
    bob.session.end()
    assert "INFO ada left (it had enough); peers that remain: 1" in bob.lines
    assert bob.reports[0].outcome is Outcome.SKIPPED
    assert bob.arrays["w"].tolist() == [400.0]


def test_a_peer_interrupted_in_its_last_wait_tells_the_others() -> None:
    swarm, ctrl_c = MemorySwarm(sync_interval=4, world_size=2, straggler_timeout=0.1), CtrlC()
    ada = swarm.peer("ada", {"w": np.zeros(1)}, platform=ctrl_c.platform)
    bob = swarm.peer("bob", {"w": np.zeros(1)})

    def stop_early() -> None:
        ada.session.begin()
        ctrl_c.press()
        with pytest.raises(KeyboardInterrupt):
            ada.session.end()

    together(stop_early, bob.session.begin)
    bob.session.end()
    assert "INFO ada left (it was interrupted before the closing round); peers that remain: 1" in bob.lines
    assert any("no closing round (below quorum" in line for line in bob.lines)


def closed_without(cyd_ends: Callable[[SwarmPeer], object], **settings: object) -> SwarmPeer:
    """Cyd cannot reach ada and bob before these two have closed the session; then it calls ``cyd_ends``.

    As they never learn that both have the closing model, they stay for a while.
    """
    swarm = MemorySwarm(
        sync_interval=4, min_peers=2, world_size=3, straggler_timeout=0.1, failure_timeout=1.0, **settings
    )
    swarm.network.passes = lambda _, envelope: not isinstance(envelope.message, Farewell)
    ada, bob, cyd = (swarm.peer(name, {"w": np.zeros(1)}) for name in ("ada", "bob", "cyd"))
    began = threading.Barrier(3)

    def close(peer: SwarmPeer) -> None:
        peer.session.begin()
        began.wait(DEADLINE)
        eventually(lambda: "cyd" not in peer.live, "cyd is lost")
        peer.session.end()

    def come_late() -> None:
        cyd.session.begin()
        began.wait(DEADLINE)
        places = [swarm.addresses[f"swarm_model/{peer.name}"] for peer in (ada, bob)]
        own = swarm.addresses["swarm_model/cyd"]
        for place in places:
            swarm.network.cut(own, place)
        eventually(lambda: ada.session.commit.closing and bob.session.commit.closing, "ada and bob have closed")
        for place in places:
            swarm.network.restore(own, place)
        eventually(lambda: cyd.live == {"ada", "bob"}, "cyd meets them again")
        cyd_ends(cyd)

    together(partial(close, ada), partial(close, bob), come_late)
    assert not swarm.addresses
    return cyd


def test_a_session_that_is_over_still_leaves() -> None:
    """A loop that stops at ``swarm_over`` and never calls ``end`` must not leave its worker behind."""

    def stop(peer: SwarmPeer) -> None:
        peer.go_on(4, count)
        assert peer.session.over
        peer.session.abort("the loop ended")

    (report,) = closed_without(stop).reports
    assert report.outcome is Outcome.CLOSED


def test_a_peer_whose_last_batches_come_after_the_closing_round_ends_with_its_model(tmp_path: Path) -> None:
    def stop(peer: SwarmPeer) -> None:
        peer.go_on(3, count)
        peer.session.end()

    cyd = closed_without(stop, model_dir=tmp_path)
    assert cyd.arrays["w"].tolist() == [0.0]
    assert cyd.session.result.name == "swarm-final.safetensors"
    assert any("closing model of 2 peers loaded" in line for line in cyd.lines)
