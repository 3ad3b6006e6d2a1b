"""What the update of a running swarm is judged by. ``make upgrade`` runs it with real peers of an earlier commit."""

from __future__ import annotations

import pytest

from benchmarks.upgrade.__main__ import Said, figures
from benchmarks.upgrade.processes import build, rounds

SENTENCES = ("... update Swarm at b with `pip install --upgrade swarm-learning`",) * 2
UPDATES = [{"peer": "a", "return_seconds": 1.0, "rounds_without_it": 2}]


def log(*numbers: int, digest: str = "d1") -> str:
    lines = [f"10:00:00 INFO swarm: round {number}: 3 peers, 3 contributed, 0.01 s" for number in numbers]
    lines.append(f"10:00:01 INFO swarm: closing model of 3 peers loaded, digest {digest}")
    return "\n".join(["USES /somewhere/swarm", *lines, ""])


def gates(logs: dict[str, str], *, codes: tuple[int, ...] = (0, 0), sentences: tuple[str, ...] = SENTENCES) -> set[str]:
    """The gates that are missed."""
    said = [Said(sentence, ("a", "b")) for sentence in sentences]
    found = figures("1234567", UPDATES, [logs], dict(zip("ab", codes, strict=True)), said)
    return {name for name, met in found["gates"].items() if not met}


def test_rounds_are_read_from_a_log() -> None:
    text = log(1, 2) + "10:00:02 INFO swarm: round 3 (closing): 2 peers, no new contributions: ..."
    assert rounds(text) == [(1, 3), (2, 3), (3, 2)]


def test_the_processes_of_a_peer_may_miss_the_rounds_between_them() -> None:
    assert gates({"a": log(1, 2, 3) + log(7, 8), "b": log(1, 2, 3, 4, 5, 6, 7, 8)}) == set()


def test_a_missed_round_is_found() -> None:
    assert gates({"a": log(1, 2), "b": log(1, 3)}) == {"missed_rounds"}


def test_two_models_are_found() -> None:
    assert gates({"a": log(1), "b": log(1, digest="d2")}) == {"one_model"}


def test_two_swarms_have_a_model_each() -> None:
    codes, said = {"a": 0}, [Said(SENTENCES[0], ("b",))]
    two = [{"a": log(1)}, {"a": log(1, digest="d2")}]
    assert all(figures("1234567", (), two, codes, said)["gates"].values())
    two[1]["b"] = log(1, digest="d3")
    assert not figures("1234567", (), two, codes, said)["gates"]["one_model"]


def test_a_sentence_that_names_another_peer_is_found() -> None:
    logs = {"a": log(1), "b": log(1)}
    assert gates(logs, sentences=("... update Swarm at c with `pip install --upgrade swarm-learning`",)) == {"refused"}


def test_a_process_that_failed_is_found() -> None:
    assert gates({"a": log(1), "b": log(1)}, codes=(0, 1)) == {"ended"}


def test_a_refusal_without_a_remedy_is_found() -> None:
    assert gates({"a": log(1), "b": log(1)}, sentences=(SENTENCES[0], "no")) == {"refused"}


def test_a_commit_that_is_not_here_is_an_error(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="git archive no-such-commit: fatal"):
        build("no-such-commit", tmp_path)
