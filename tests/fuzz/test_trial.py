"""What is looked for is found, and the same seed makes the same inputs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from random import Random

import pytest

from tests.fuzz import examples
from tests.fuzz.inputs import entries
from tests.fuzz.mutation import BINARY, PROTOBUF, TEXT, Form, in_parts, joined, mutated, split
from tests.fuzz.mutation.fields import Field, pack, parse
from tests.fuzz.target import Target, by_name
from tests.fuzz.targets import TARGETS
from tests.fuzz.trial import LARGE, SLOW, Kind, Trial


def target(run: Callable[[bytes], object], *refusals: type[Exception]) -> Target:
    return Target(name="t", run=run, refusals=refusals, values=dict, form=BINARY)


def found(run: Callable[[bytes], object], *corpus: bytes) -> list[tuple[Kind, bytes]]:
    trial = Trial(target(run, ValueError), corpus, seed=0)
    trial.replay()
    return [(finding.kind, finding.data) for finding in trial.findings]


def test_an_error_that_is_not_documented_is_a_crash() -> None:
    def run(data: bytes) -> None:
        if data == b"a":
            raise ValueError
        if data in (b"b", b"c"):
            raise KeyError

    assert found(run, b"a", b"b", b"c") == [(Kind.CRASH, b"b")], "once for each place"


def test_more_than_a_second_is_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def run(data: bytes) -> None:
        nonlocal now
        now += 2 * SLOW if data == b"slow" else SLOW / 2

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    assert found(run, b"slow", b"quick") == [(Kind.HANG, b"slow")]


def test_what_was_slow_once_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = 0.0, 0

    def run(data: bytes) -> None:
        nonlocal now, calls
        calls += 1
        now += 2 * SLOW if calls == 1 else 0.0

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    assert found(run, b"x") == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the most memory that was used")
def test_much_memory_for_one_input_is_oversized() -> None:
    # far more than the limit: the system may take other memory of this process back meanwhile
    kinds = found(lambda data: bytearray(8 * LARGE if data else 1000) and None, b"", b"x")
    assert (Kind.OVERSIZED, b"x") in kinds
    assert {data for _, data in kinds} == {b"x"}, "on a busy machine it is slow as well"


def test_inputs_that_reach_something_new_are_changed_further() -> None:
    def run(data: bytes) -> int:
        if len(data) >= 3 and data[0] == data[1] == data[2] == 0:
            raise KeyError
        return next((place for place, byte in enumerate(data) if byte), len(data))

    trial = Trial(target(run), [b"abc"], seed=0)
    trial.run(20)
    assert [finding.kind for finding in trial.findings] == [Kind.CRASH]


def test_what_no_input_has_reached_is_told_by_the_lines_of_swarm() -> None:
    corpus = list(entries("stream-status").values())
    trial = Trial(TARGETS["stream-status"], corpus[:1], seed=0)
    trial.replay()
    before = len(trial.reached)
    trial.run(5)
    assert 0 < before < len(trial.reached)


@pytest.mark.parametrize("form", [BINARY, PROTOBUF, TEXT, in_parts(TEXT)])
def test_the_same_seed_makes_the_same_inputs(form: Form) -> None:
    known = [*entries("envelope").values(), *entries("checkpoint").values()]

    def inputs(seed: int) -> list[bytes]:
        random = Random(seed)
        return [mutated(random, random.choice(known), known, form) for _ in range(300)]

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)
    assert len(set(inputs(1))) > 250


def test_a_message_is_taken_apart_and_put_together() -> None:
    for data in entries("envelope").values():
        fields = parse(data)
        assert fields
        assert pack(fields) == data
    assert parse(b"\xff") is None
    assert pack([Field(1, 0, 300), Field(2, 2, b"ab")]) == b"\x08\xac\x02\x12\x02ab"


def test_most_changed_messages_are_messages() -> None:
    random, known = Random(0), list(entries("envelope").values())
    changed = [PROTOBUF(random, random.choice(known), known) for _ in range(500)]
    assert sum(parse(data) is not None for data in changed) > 450


def test_parts_come_back() -> None:
    assert split(joined(b"", b"ab", bytes(300))) == [b"", b"ab", bytes(300)]
    assert split(b"\x05\x00\x00ab") == [b"ab"]


def test_two_targets_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="two targets are called t"):
        by_name([target(len)], [target(len)])


def test_an_example_of_every_message_is_there() -> None:
    assert {type(message).__name__.lower() for message in examples.messages().values()} <= examples.messages().keys()
