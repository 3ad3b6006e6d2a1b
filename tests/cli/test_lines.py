from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.cli.lines import LineBuffer


def read(*chunks: bytes) -> list[str]:
    buffer = LineBuffer()
    return [line for chunk in chunks for line in buffer.feed(chunk)] + buffer.rest()


@given(st.lists(st.text(st.characters(blacklist_characters="\r\n", codec="utf-8"), min_size=1), min_size=1), st.data())
def test_lines_do_not_depend_on_how_they_arrive(lines, data):
    stream = "\n".join(lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    edges = [0, *cuts, len(stream)]

    assert read(*(stream[start:end] for start, end in pairwise(edges))) == lines


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (b"", []),
        (b"a\n\nb\n", ["a", "", "b"]),
        (b"windows\r\n", ["windows"]),
        (b"10%\r50%\r100%\n", ["100%"]),
        (b"10%\r50%\r", ["50%"]),
        (b"\xff\n", ["\ufffd"]),
    ],
)
def test_a_line_is_what_a_terminal_would_show(stream, lines):
    assert read(stream) == lines


def test_a_progress_bar_without_end_is_not_kept_in_memory():
    buffer = LineBuffer()

    for step in range(50_000):
        assert buffer.feed(b"\r%d" % step) == []

    assert buffer.rest() == ["49999"]


def test_a_line_without_end_is_cut():
    assert [len(line) for line in read(b"x" * 100_000, b"y")] == [100_000, 1]
