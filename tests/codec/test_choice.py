"""Selection of the codec: the fastest, and never one that was measured to be slower than ``exact``."""

from __future__ import annotations

import pytest

from swarm.clock import ManualClock
from swarm.codec import BUILTIN_CODECS, ExactCodec
from swarm.codec.choice import ENOUGH, REFRESH, SAMPLE, FixedCodec, QuickestCodec, coding_seconds
from swarm.tensors.state import Array, Schema, TensorSpec

SCHEMA = Schema((TensorSpec("w", (1_000_000,), "float32"),))
SHARES = {"exact": 1.0, "bf16": 0.5, "int8": 0.25}


class Rounds:
    """Rounds over a link, with an estimated and a real cost of encoding."""

    def __init__(self, link: float, announced: dict[str, float], real: dict[str, float] | None = None) -> None:
        self.link, self.real = link, real or announced
        self.said: list[str] = []
        self.choice = QuickestCodec(
            BUILTIN_CODECS, SCHEMA, self.said.append, cost=lambda codec, _: announced.get(codec.name, 0.0)
        )

    def run(self, count: int) -> list[str]:
        taken = []
        for _ in range(count):
            codec = self.choice.choose()
            taken.append(codec)
            self.choice.measured(codec, self.link * SHARES[codec] + self.real.get(codec, 0.0))
        return taken


def test_it_begins_with_exact_rounds() -> None:
    assert Rounds(10.0, {}).run(ENOUGH) == ["exact"] * ENOUGH


@pytest.mark.parametrize(
    ("link", "expected"), [(10.0, "int8"), (0.3, "bf16"), (0.01, "exact")], ids=["slow", "medium", "fast"]
)
def test_the_link_decides(link: float, expected: str) -> None:
    rounds = Rounds(link, {"bf16": 0.05, "int8": 0.2})
    assert rounds.run(20)[-1] == expected
    assert len(rounds.said) == (expected != "exact")


def test_a_codec_that_promised_too_much_is_left_again() -> None:
    rounds = Rounds(1.0, {"bf16": 0.0, "int8": 0.0}, real={"bf16": 5.0, "int8": 5.0})
    taken = rounds.run(20)
    assert taken.count("int8") <= 1
    assert taken.count("bf16") <= 1
    assert taken[-1] == "exact"
    assert "codec exact from now on" in rounds.said[-1]


def test_a_link_that_becomes_fast_is_noticed() -> None:
    rounds = Rounds(10.0, {"bf16": 0.05, "int8": 0.2})
    assert rounds.run(20)[-1] == "int8"
    rounds.link = 0.01
    assert rounds.run(2 * REFRESH)[-1] == "exact"


def test_one_that_was_asked_for_is_taken_whatever_it_costs() -> None:
    choice = FixedCodec("int8")
    choice.measured("int8", 1e9)
    assert choice.choose() == "int8"


class Timed(ExactCodec):
    """Takes as many seconds for a model as it is told, by the clock; the first time is always slow."""

    def __init__(self, clock: ManualClock, *, encode: float, decode: float, exact: tuple[str, ...] = ()) -> None:
        self._clock, self._encode, self._decode, self._exact = clock, encode, decode, exact
        self._slow = 100.0

    def verbatim(self, dtype: str) -> bool:
        return dtype in self._exact

    def encode(self, values: Array, reference: Array | None, out: memoryview, residual: Array | None = None) -> int:
        assert values.any()
        assert (values[0], values[-1]) == (-1, 1)
        assert reference is not None
        assert not reference.any()
        self._clock.advance(self._encode * values.size + self._slow)
        self._slow = 0.0
        return super().encode(values, reference, out, residual)

    def decode(self, data: memoryview, reference: Array | None, out: Array) -> None:
        super().decode(data, reference, out)
        self._clock.advance(self._decode * out.size)


@pytest.mark.parametrize("size", [2, SAMPLE - 1, SAMPLE, 10 * SAMPLE])
@pytest.mark.parametrize(("encode", "decode"), [(1.0, 0.0), (0.0, 1.0), (3.0, 5.0)])
def test_a_codec_costs_one_encoding_and_two_decodings_of_the_model(size: int, encode: float, decode: float) -> None:
    """Whatever the size of the sample; the quickest of several tries counts."""
    clock = ManualClock()
    schema = Schema((TensorSpec("w", (size,), "float32"), TensorSpec("none", (0,), "float64")))
    cost = coding_seconds(Timed(clock, encode=encode, decode=decode), schema, clock)
    assert cost == pytest.approx(size * (encode + 2 * decode))


def test_what_is_sent_as_it_is_costs_nothing_and_the_rest_adds_up() -> None:
    clock = ManualClock()
    schema = Schema(tuple(TensorSpec(dtype, (10,), dtype) for dtype in ("float32", "float16", "float64")))
    timed = Timed(clock, encode=1.0, decode=0.0, exact=("float16",))
    assert coding_seconds(timed, schema, clock) == pytest.approx(20.0)
    assert coding_seconds(BUILTIN_CODECS["exact"], SCHEMA) == 0.0


def test_the_cost_of_coding_is_part_of_the_choice() -> None:
    """The same link, with and without it."""
    assert Rounds(1.0, {"bf16": 9.0, "int8": 9.0}).run(20) == ["exact"] * 20
    assert Rounds(1.0, {"bf16": 0.0, "int8": 9.0}).run(20)[-1] == "bf16"
    assert Rounds(1.0, {"bf16": 0.0, "int8": 0.0}).run(20)[-1] == "int8"


@pytest.mark.parametrize(("gain", "expected"), [(0.39, "int8"), (0.41, "exact")])
def test_a_codec_is_tried_only_where_it_promises_a_tenth(gain: float, expected: str) -> None:
    """Of a second, int8 takes a quarter on the link."""
    rounds = Rounds(1.0, {"bf16": 9.0, "int8": 0.25 + gain})
    assert rounds.run(ENOUGH + 1)[-1] == expected


def test_all_is_measured_anew_after_so_many_rounds() -> None:
    rounds = Rounds(10.0, {"bf16": 0.05, "int8": 0.2})
    taken = rounds.run(2 * REFRESH)
    assert [number for number, codec in enumerate(taken) if codec == "exact"] == [0, 1, REFRESH, REFRESH + 1]


def test_a_choice_says_what_it_expects() -> None:
    rounds = Rounds(10.0, {"bf16": 1.0, "int8": 2.0})
    rounds.run(5)
    assert rounds.said == ["codec int8 from now on; expected seconds per exchange: exact 10 s, bf16 6 s, int8 4.51 s"]


def test_a_codec_that_is_not_known_here_counts_as_a_round_and_no_more() -> None:
    rounds = Rounds(10.0, {})
    rounds.choice.measured("foreign", 1.0)
    assert rounds.run(ENOUGH) == ["exact"] * ENOUGH


@pytest.mark.parametrize(
    ("name", "feedback", "tolerance"), [("exact", False, 0.001), ("bf16", False, 1 / 64), ("int8", True, 0.4)]
)
def test_what_peers_must_know_of_a_codec(name: str, feedback: bool, tolerance: float) -> None:
    codec = BUILTIN_CODECS[name]
    assert (codec.feedback, codec.norm_tolerance) == (feedback, tolerance)


def test_one_slow_round_decides_nothing() -> None:
    rounds = Rounds(10.0, {"bf16": 0.05, "int8": 0.2})
    rounds.run(10)
    rounds.choice.measured("int8", 1e6)
    assert {*rounds.run(10)} == {"int8"}
