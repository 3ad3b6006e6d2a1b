"""How long a demo will still take, from what its trainings have taken until now."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.clock import ManualClock
from swarm.demo.processes import Job
from swarm.demo.progress import Forecast, Part, round_of


def part(directory: Path, name: str, work: float, rounds: int = 0) -> Part:
    job = Job(name=name, command=[], environment={}, directory=directory / name)
    job.directory.mkdir()
    return Part(job=job, work=work, rounds=rounds)


def test_what_is_left_follows_from_what_was_measured(tmp_path: Path) -> None:
    clock = ManualClock()
    forecast = Forecast([part(tmp_path, "a", 1.0), part(tmp_path, "b", 1.0), part(tmp_path, "c", 2.0)], clock)
    clock.advance(2.0)
    first = forecast.standing({"a": 2.0})
    assert (first.share, first.doing, first.seconds_left) == (0.0, "a", None), "nothing is known yet"
    clock.advance(8.0)
    forecast.finished("a", 10.0)
    assert (forecast.standing({}).share, forecast.standing({}).seconds_left) == (0.25, pytest.approx(30.0))
    clock.advance(5.0)
    half = forecast.standing({"b": 5.0})
    assert (half.share, half.seconds_left) == (pytest.approx(0.375), pytest.approx(25.0))
    clock.advance(995.0)
    assert forecast.standing({"b": 1000.0}).share < 0.5, "it is not over"


def test_a_swarm_is_as_far_as_the_round_in_its_log(tmp_path: Path) -> None:
    clock = ManualClock()
    swarm = part(tmp_path, "swarm", 3.0, rounds=100)
    forecast = Forecast([part(tmp_path, "a", 1.0), swarm], clock)
    clock.advance(10.0)
    forecast.finished("a", 10.0)
    assert forecast.standing({"swarm": 0.0}).doing == "swarm"
    swarm.job.log.write_text("peer-0 | round 9: 2 peers\nswarm  | round 50, 2 of 2 peers\npeer-1 | round 49: x\n")
    assert round_of(swarm.job) == 50
    clock.advance(15.0)
    standing = forecast.standing({"swarm": 15.0})
    assert standing.doing == "swarm, round 50 of 100"
    assert (standing.share, standing.seconds_left) == (pytest.approx(2.5 / 4), pytest.approx(15.0))
    swarm.job.log.write_text("round 101 (closing)\n")
    assert forecast.standing({"swarm": 15.0}).share < 1.0
