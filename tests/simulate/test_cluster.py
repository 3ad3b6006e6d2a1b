"""Runs on Ray: with a stand-in that has no processes, and with Ray itself where it is installed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from swarm.simulate import cluster, local
from swarm.simulate.outcome import Run
from swarm.simulate.plan import PeerEnd, Plan


def plan(tmp_path, interval: int) -> Plan:
    return Plan(
        program="digits",
        is_task=True,
        peers=2,
        choice={"sync_interval": interval},
        directory=str(tmp_path / str(interval)),
        steps=8,
    )


class ActorError(Exception):
    """What a lost actor raises."""


class StandIn:
    """As much of Ray as is used. Calls run at once; what is waited for last is done first."""

    exceptions = SimpleNamespace(RayError=ActorError)

    def __init__(self) -> None:
        self.open = False

    def init(self, **_: object) -> None:
        self.open = True

    def shutdown(self) -> None:
        self.open = False

    def remote(self, **resources: object):
        assert resources == {"num_cpus": 1}

        def decorate(kind):
            def make(*arguments):
                actor = kind(*arguments)
                return SimpleNamespace(run=SimpleNamespace(remote=lambda text: _Call(actor, text)))

            return SimpleNamespace(remote=make)

        return decorate

    def wait(self, calls: list[_Call], num_returns: int):
        return calls[-num_returns:], calls[:-num_returns]

    def get(self, call: _Call):
        return call.actor.run(call.text)


class _Call:
    def __init__(self, actor, text: str) -> None:
        self.actor = actor
        self.text = text


@pytest.fixture
def ray(monkeypatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(cluster, "find_spec", lambda _name: object())
    monkeypatch.setattr(cluster, "import_module", lambda _name: stand_in)
    monkeypatch.setenv("RAY_ADDRESS", "head:1")
    return stand_in


def test_each_swarm_is_one_actor_and_its_run_comes_back_as_it_was(ray, tmp_path, monkeypatch):
    def run(given: Plan, *, timeout: float, metric: str | None, environment: dict[str, str]) -> Run:
        assert (timeout, metric) == (5.0, "auc")
        assert "RAY_ADDRESS" not in environment
        assert "PATH" in environment
        if given.choice["sync_interval"] == 13:
            raise ActorError("the node was lost\nits actor died")
        ends = [PeerEnd(rank=0, metrics={"swarm_rounds": float(given.choice["sync_interval"])}, failure="no")]
        return Run(ends=ends, qualities={0: ("auc", 0.5)}, seconds=1.0, mebibytes=None)

    monkeypatch.setattr(local, "run", run)
    found = cluster.run_all([plan(tmp_path, 8), plan(tmp_path, 13), plan(tmp_path, 32)], timeout=5.0, metric="auc")
    numbers, runs = zip(*found, strict=True)
    assert numbers == (2, 1, 0)
    assert runs[0].mean("swarm_rounds") == 32
    assert runs[0].failures == ["peer-0: no"]
    assert runs[0].qualities == {0: ("auc", 0.5)}
    assert runs[1].failures == ["its actor failed: its actor died"]
    assert not ray.open


def test_the_cluster_is_left_when_the_command_is_interrupted(ray, tmp_path, monkeypatch):
    left = tmp_path / "8" / "rendezvous"

    def run(*_: object, **__: object) -> Run:
        left.mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "run", run)
    with pytest.raises(KeyboardInterrupt):
        list(cluster.run_all([plan(tmp_path, 8)], timeout=5.0, metric=None))
    assert not ray.open
    assert not left.exists()


@pytest.mark.timeout(300)
def test_ray_itself_gives_the_result_of_this_machine(tmp_path):
    pytest.importorskip("ray")
    pytest.importorskip("sklearn")
    plans = [plan(tmp_path, 2), plan(tmp_path, 4)]
    found = dict(cluster.run_all(plans, timeout=100.0, metric=None))
    for number, given in enumerate(plans):
        assert found[number].failures == []
        assert found[number].qualities == local.run(given, timeout=100.0).qualities
