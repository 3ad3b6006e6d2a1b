"""Models that are written in the background at the end of a run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from swarm.storage.files import read_model_file
from swarm.storage.writer import Writer
from swarm.tensors.state import Array, ModelState, Schema, TensorSpec
from swarm.testing.swarm import _logger

SCHEMA = Schema((TensorSpec("w", (3,), "float32"),))


class Slow(ModelState):
    """Gives its arrays when the test lets it."""

    __slots__ = ("gate",)

    def __init__(self, gate: threading.Event) -> None:
        super().__init__(SCHEMA, {"float32": np.ones(3, np.float32)}, [])
        self.gate = gate

    def arrays(self) -> Iterator[tuple[TensorSpec, Array]]:
        assert self.gate.wait(30.0)
        return super().arrays()


class Broken(ModelState):
    """Cannot be written, and not because of the disk."""

    def arrays(self) -> Iterator[tuple[TensorSpec, Array]]:
        raise ZeroDivisionError("a bug")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def ones() -> ModelState:
    return ModelState(SCHEMA, {"float32": np.ones(3, np.float32)}, [])


def test_what_was_written_is_named_and_there(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "not" / "made", _logger("disk", []))
    assert not writer.busy
    for name in ("one", "two"):
        writer.write(name, ones(), {})
    assert writer.wait(30.0) == {"one", "two"}
    assert not writer.busy
    assert read_model_file(tmp_path / "not" / "made" / "two", SCHEMA).digest() == ones().digest()


def test_what_the_disk_refuses_is_logged_and_not_named(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    lines: list[str] = []
    writer = Writer(tmp_path, _logger("disk", lines))
    for name in ("one", "two"):
        writer.write(name, ones(), {})
    assert writer.wait(30.0) == {"two"}
    (line,) = lines
    assert line.startswith(f"ERROR one was not written to {tmp_path}: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]  # and no draft


def test_a_bug_is_raised_where_the_files_are_waited_for(tmp_path: Path) -> None:
    writer = Writer(tmp_path, _logger("disk", []))
    writer.write("one", Broken(SCHEMA, {}, []), {})
    with pytest.raises(ZeroDivisionError, match="a bug"):
        writer.wait(30.0)


def test_what_takes_too_long_is_logged_and_goes_on(tmp_path: Path, gate: threading.Event) -> None:
    lines: list[str] = []
    writer = Writer(tmp_path, _logger("disk", lines))
    writer.write("one", Slow(gate), {})
    writer.write("two", ones(), {})
    assert writer.busy
    assert "one" not in writer.wait(0.0)
    assert f"ERROR one was not written to {tmp_path} within 0 s: does the disk hang?" in lines
    gate.set()
    assert writer.wait(30.0) == {"one", "two"}
    assert not writer.busy
