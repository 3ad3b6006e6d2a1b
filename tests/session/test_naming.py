"""Default names of peers."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.config import Settings, resolve
from swarm.records import new_incarnation
from swarm.session.naming import Naming, resumed_name


def test_the_first_free_number_is_taken() -> None:
    naming = Naming(Settings(name="vm", named=False))
    assert naming.after("vm", ()) == "vm-2"
    assert naming.after("vm-2", {"vm", "vm-3", "ada"}) == "vm-4"


def test_a_name_with_a_number_is_not_too_long_to_be_one() -> None:
    naming = Naming(Settings(name="h" * 128, named=False))
    assert naming.after("h" * 128, ()) == "h" * 126 + "-2"


def test_only_a_default_name_that_was_not_tried_yet_is_asked_for_again() -> None:
    assert Naming(Settings(name="vm")).patience is None
    naming = Naming(Settings(name="vm", named=False))
    assert naming.patience
    naming.after("vm", ())
    assert naming.patience == 0


@pytest.mark.parametrize(
    ("checkpoints", "name"),
    [
        ([], "vm"),
        (["vm-2"], "vm-2"),
        (["vm", "vm-2"], "vm"),
        (["vm-2", "vm-3"], "vm"),
        (["ada"], "vm"),
        (["vm-old"], "vm"),
    ],
)
def test_a_resumed_peer_has_the_name_of_its_checkpoints(tmp_path: Path, checkpoints: list[str], name: str) -> None:
    for each in checkpoints:
        (tmp_path / "swarm-state" / "heart" / each).mkdir(parents=True)
    settings = Settings(name="vm", named=False, model_dir=tmp_path, resume=True, model_name="heart")
    assert resumed_name(settings) == name


def test_a_given_name_stays_when_a_run_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "swarm-state" / "heart" / "vm-2").mkdir(parents=True)
    settings = Settings(name="vm", model_dir=tmp_path, resume=True, model_name="heart")
    assert resumed_name(settings) == "vm"


@pytest.mark.parametrize(
    ("environment", "named"), [({}, False), ({"SWARM_NAME": "a"}, True), ({"SWARM_RANK": "3"}, True)]
)
def test_a_name_or_a_rank_is_given(tmp_path: Path, environment: dict[str, str], named: bool) -> None:
    assert resolve(environment=environment, directory=tmp_path).settings.named is named


def test_incarnations_are_ordered_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = iter([10**9, 10**18, 2 * 10**18])
    monkeypatch.setattr("time.time_ns", lambda: next(starts))
    made = [new_incarnation() for _ in range(3)]
    assert made == sorted(made)
