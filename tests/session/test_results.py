"""The file with the result of a run; files of other runs are not mistaken for it."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from swarm.config import Settings
from swarm.errors import StartTimeoutError
from swarm.storage.results import Results
from swarm.tensors.state import ModelState
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

RESULT = "swarm-final.safetensors"


def count(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1.0


def swarm_of_two() -> MemorySwarm:
    return MemorySwarm(sync_interval=4, world_size=2, straggler_timeout=0.1, failure_timeout=0.3)


def pair(place: Path, *, resume: bool = False) -> tuple[SwarmPeer, SwarmPeer]:
    """Ada, who writes to ``place``, and bob, who writes nothing."""
    swarm = swarm_of_two()
    ada = swarm.peer("ada", {"w": np.zeros(1)}, model_dir=place, resume=resume)
    return ada, swarm.peer("bob", {"w": np.zeros(1)})


def run(*peers: SwarmPeer, batches: int = 4) -> None:
    together(*(partial(peer.train, batches, count) for peer in peers))


def break_off(ada: SwarmPeer, bob: SwarmPeer) -> None:
    """Both leave without a closing round."""
    together(ada.session.begin, bob.session.begin)
    for peer in (ada, bob):
        peer.session.abort("it was broken off")


def end_alone(ada: SwarmPeer, bob: SwarmPeer) -> None:
    """Bob leaves; ada ends, below quorum."""
    together(ada.session.begin, bob.session.begin)
    bob.session.abort("it had enough")
    ada.go_on(4, count)
    ada.session.end()


def files(place: Path) -> set[str]:
    """Those with models."""
    return {path.name for path in place.iterdir() if path.is_file() and "swarm-report" not in path.name}


def lines(peer: SwarmPeer, word: str) -> list[str]:
    return [line for line in peer.lines if word in line]


def test_the_closing_model_is_the_result_and_the_log_names_its_file(tmp_path: Path) -> None:
    ada, bob = pair(tmp_path)
    run(ada, bob)
    assert files(tmp_path) == {RESULT, "local.safetensors"}
    assert lines(ada, "result") == [f"INFO the result is {tmp_path / RESULT}: every peer has the same one"]
    assert ada.session.result == tmp_path / RESULT
    assert bob.session.result is None
    assert not lines(bob, "result is")
    assert lines(bob, "model_dir") == ["INFO no file of the model was written: --model-dir (model_dir) makes one"]
    assert not lines(ada, "no file")


def test_without_a_closing_round_the_peers_own_model_has_another_name(tmp_path: Path) -> None:
    ada, bob = pair(tmp_path)
    end_alone(ada, bob)
    assert files(tmp_path) == {"own-final.safetensors", "local.safetensors"}
    assert load_file(tmp_path / "own-final.safetensors")["w"].tolist() == [4.0]
    (line,) = lines(ada, "own-final")
    assert line == (
        f"WARNING there is no result of the swarm; this peer's own model is {tmp_path / 'own-final.safetensors'}"
    )
    assert ada.session.result == tmp_path / "own-final.safetensors"


def test_a_peer_that_trains_alone_on_purpose_has_a_result(tmp_path: Path) -> None:
    ada = MemorySwarm(loopback=True, model_dir=tmp_path).peer("ada", {"w": np.zeros(1)})
    ada.train(4, count)
    assert files(tmp_path) == {RESULT, "local.safetensors"}
    with safe_open(tmp_path / RESULT, "numpy") as file:
        assert file.metadata()["closing"] == "true"
    assert lines(ada, "result") == [f"INFO the result is {tmp_path / RESULT}: this peer trained alone"]


@pytest.mark.parametrize("badly", [break_off, end_alone])
@pytest.mark.parametrize("resume", [False, True])
def test_the_result_of_an_earlier_run_is_renamed(tmp_path: Path, badly, resume: bool) -> None:
    run(*pair(tmp_path), batches=5)
    earlier = (tmp_path / RESULT).read_bytes()
    (tmp_path / "swarm-final.ckpt").write_bytes(b"of Lightning")
    ada, bob = pair(tmp_path, resume=resume)
    badly(ada, bob)
    assert not {RESULT, "swarm-final.ckpt"} & files(tmp_path)
    assert (tmp_path / f"previous-{RESULT}").read_bytes() == earlier
    assert (tmp_path / "previous-swarm-final.ckpt").read_bytes() == b"of Lightning"
    (line,) = lines(ada, "earlier run")
    assert line.startswith(f"INFO results of an earlier run in {tmp_path} are renamed: {RESULT} to previous-{RESULT}, ")


def test_a_run_that_is_resumed_after_a_failed_one_has_a_result_of_its_own(tmp_path: Path) -> None:
    run(*pair(tmp_path))
    first = (tmp_path / RESULT).read_bytes()
    end_alone(*pair(tmp_path))
    run(*pair(tmp_path, resume=True))
    assert (tmp_path / RESULT).read_bytes() != first
    assert (tmp_path / f"previous-{RESULT}").read_bytes() == first
    assert "own-final.safetensors" not in files(tmp_path)


def test_a_start_that_fails_twice_keeps_the_earlier_result(tmp_path: Path) -> None:
    run(*pair(tmp_path))
    first = (tmp_path / RESULT).read_bytes()
    for _ in range(2):
        break_off(*pair(tmp_path))
    assert (tmp_path / f"previous-{RESULT}").read_bytes() == first


def test_two_live_sites_that_share_a_directory_write_different_files(tmp_path: Path) -> None:
    swarm = swarm_of_two()
    ada = swarm.peer("ada", {"w": np.zeros(1)}, model_dir=tmp_path)
    bob = swarm.peer("bob", {"w": np.ones(1)}, model_dir=tmp_path, node_weightage=3)
    together(ada.session.begin, bob.session.begin)
    for peer in (ada, bob):
        peer.go_on(2, count)
    together(ada.session.end, bob.session.end)
    written = {peer.name: peer.session.result.parent for peer in (ada, bob)}
    (second,) = [peer for peer in (ada, bob) if written[peer.name] != tmp_path]
    first = ada if second is bob else bob
    assert written == {first.name: tmp_path, second.name: tmp_path / f"swarm_model@{second.name}"}
    for place in written.values():
        assert files(place) == {RESULT, "local.safetensors"}
    assert (tmp_path / RESULT).read_bytes() == (written[second.name] / RESULT).read_bytes()
    (warning,) = lines(second, "WARNING")
    assert str(tmp_path) in warning
    assert str(written[second.name]) in warning
    assert "local.safetensors" in warning
    assert not lines(first, "WARNING")


def test_two_sessions_of_one_process_write_different_files(tmp_path: Path) -> None:
    generator, critic, third = (
        MemorySwarm(model_name=name, loopback=True, model_dir=tmp_path).peer("ada", {"w": np.full(1, start)})
        for name, start in (("generator", 0.0), ("critic", 10.0), ("critic", 20.0))
    )
    for peer in (generator, critic, third):
        peer.session.begin()
    for peer in (generator, critic, third):
        count(peer)
        peer.session.end()
    results = [tmp_path / RESULT, tmp_path / "critic@ada" / RESULT, tmp_path / "critic@ada-2" / RESULT]
    assert [peer.session.result for peer in (generator, critic, third)] == results
    assert [load_file(path)["w"].tolist() for path in results] == [[1.0], [11.0], [21.0]]


def test_runs_one_after_the_other_use_the_plain_names_whatever_they_are_called(tmp_path: Path) -> None:
    for number, model_name in enumerate(("fold-1", "fold-2", "fold-2")):
        ada = MemorySwarm(model_name=model_name, loopback=True, model_dir=tmp_path).peer("ada", {"w": np.zeros(1)})
        ada.train(number, count)
        assert load_file(tmp_path / RESULT)["w"].tolist() == [number]
        assert not lines(ada, "WARNING")
    assert load_file(tmp_path / f"previous-{RESULT}")["w"].tolist() == [1]
    assert list(tmp_path.rglob("*.lock")) == []


def test_an_aborted_run_releases_its_directory(tmp_path: Path) -> None:
    break_off(*pair(tmp_path))
    alone = MemorySwarm(loopback=True, model_dir=tmp_path).peer("ada", {"w": np.zeros(1)})
    alone.session.begin()
    alone.session.abort("no batch came")
    ada, bob = pair(tmp_path)
    run(ada, bob)
    assert ada.session.result == tmp_path / RESULT


def test_leaving_twice_at_once_keeps_the_directory_until_the_result_is_written(tmp_path: Path) -> None:
    """As when the process is told to end while training ends."""
    swarm = swarm_of_two()
    ada = swarm.peer("ada", {"w": np.zeros(1)}, model_dir=tmp_path)
    bob = swarm.peer("bob", {"w": np.zeros(1)})
    read, held = ada.model.read, []

    def reading(into: ModelState) -> None:
        if ada.session.over and not held:
            ada.session.abort("it was terminated")
            other = Results(Settings(model_name="other", model_dir=tmp_path), logging.getLogger("swarm.test"))
            other.open("cyd")
            held.append(other.directory != tmp_path)
            other.close()
        read(into)

    ada.model.read = reading
    run(ada, bob)
    assert held == [True]
    assert ada.session.result == tmp_path / "swarm-final.safetensors"
    after = Results(Settings(model_name="other", model_dir=tmp_path), logging.getLogger("swarm.test"))
    after.open("cyd")
    assert after.directory == tmp_path
    after.close()


def test_a_file_system_without_locks_only_causes_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    ada, bob = pair(tmp_path)
    run(ada, bob)
    assert RESULT in files(tmp_path)
    (warning,) = lines(ada, "WARNING")
    assert f"model_dir {tmp_path} cannot be locked" in warning
    assert "No locks available" in warning


def test_a_peer_that_got_a_number_writes_under_the_name_with_it(tmp_path: Path) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    others = [MemorySwarm(loopback=True, model_dir=root).peer("ada", {"w": np.zeros(1)}) for root in roots]
    for other in others:
        other.session.begin()
    swarm = MemorySwarm(sync_interval=4, world_size=2)
    peers = [swarm.peer("vm", {"w": np.zeros(1)}, named=False, model_dir=root) for root in roots]
    run(*peers)
    for other in others:
        other.session.abort("the test is over")
    places = {peer.session.result.parent.name for peer in peers}
    assert places == {"swarm_model@vm", "swarm_model@vm-2"}


def test_a_start_that_is_refused_renames_no_result(tmp_path: Path) -> None:
    run(*pair(tmp_path))
    late = MemorySwarm(world_size=2, start_timeout=0.2).peer("ada", {"w": np.zeros(1)}, model_dir=tmp_path)
    with pytest.raises(StartTimeoutError):
        late.session.begin()
    assert RESULT in files(tmp_path)


def test_a_forked_child_does_not_keep_the_directory_of_a_process_that_died(tmp_path: Path) -> None:
    settings, logger = Settings(name="ada", model_dir=tmp_path), logging.getLogger("swarm.test")
    killed, again = Results(settings, logger), Results(settings, logger)
    killed.open("ada")
    ready, say_ready = os.pipe()
    end, say_end = os.pipe()
    child = os.fork()
    if child == 0:  # as a DataLoader's worker
        os.write(say_ready, b".")
        os.close(say_end)
        os.read(end, 1)
        os._exit(0)
    try:
        os.read(ready, 1)
        killed._lock.forget()  # as the system does when a process dies
        again.open("ada")
        assert again.directory == tmp_path
    finally:
        again.close()
        os.close(say_end)
        os.waitpid(child, 0)
        for descriptor in (ready, say_ready, end):
            os.close(descriptor)
