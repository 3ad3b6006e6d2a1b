"""Selection of the codec: the fastest, and never one that was measured to be slower than ``exact``."""

from __future__ import annotations

import pytest

from swarm.codec import BUILTIN_CODECS
from swarm.codec.choice import ENOUGH, REFRESH, FixedCodec, QuickestCodec, coding_seconds
from swarm.tensors.state import Schema, TensorSpec

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


def test_coding_costs_something_unless_the_codec_is_exact() -> None:
    assert coding_seconds(BUILTIN_CODECS["exact"], SCHEMA) == 0
    assert coding_seconds(BUILTIN_CODECS["int8"], SCHEMA) > 0
