"""The other peer of a live session: a process of its own, which loads no framework."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from swarm.config import resolve
from swarm.session import Session
from swarm.tensors.model import ModelPort
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec

SYNC_INTERVAL = 1_000_000_000
"""More batches than are ever measured, so that all of them lie between two merges."""
LEAVING = 60.0
"""Seconds for the companion to leave."""


class ZeroModel(ModelPort):
    """A model that is all zeros until it is written."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._state = ModelState.empty(schema)

    def schema(self) -> Schema:
        return self._schema

    def read(self, into: ModelState) -> None:
        _copy(self._state, into)

    def write(self, state: ModelState) -> None:
        _copy(state, self._state)


class Companion:
    """Trains nothing, but is there: started with the measured peer, and done when that one is.

    The two meet over gRPC on this machine, as two peers of ``swarm up`` do.
    """

    def __init__(self, schema: Schema) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="swarm-hotpath-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.hotpath.companion"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        tensors = [(spec.name, spec.shape, spec.dtype, spec.kind) for spec in schema.tensors]
        self._say(json.dumps({"settings": self._settings("companion"), "tensors": tensors}) + "\n")

    def arguments(self) -> dict[str, Any]:
        """The callback's arguments for the measured peer."""
        return self._settings("measured")

    def finish(self) -> None:
        """Tell it that the measured peer ends next."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
        try:
            if error is not None:
                self._process.kill()
            self._process.wait(LEAVING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._directory.cleanup()

    def _settings(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "rendezvous": self._directory.name,
            "sync_interval": SYNC_INTERVAL,
            "min_peers": 2,
            "start_timeout": 60.0,
        }

    def _say(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(line)
            self._process.stdin.flush()


def require_untouched(metrics: Mapping[str, float], *, over: bool) -> None:
    """Refuse a measurement of anything but batches between two merges of a live session.

    Raises:
        RuntimeError: something merged, or the session was over.
    """
    if over or metrics["swarm_rounds"] != 0:
        raise RuntimeError(f"the session did not stay between merges: over={over}, {dict(metrics)}")


def require_company(metrics: Mapping[str, float]) -> None:
    """Refuse a measurement whose other peer was gone before the last merge.

    Raises:
        RuntimeError: the last merge was not one of two peers.
    """
    if not metrics["swarm_rounds"] or metrics["swarm_peers"] != 2:
        raise RuntimeError(f"the companion did not stay to the end: {dict(metrics)}")


def _copy(source: ModelState, target: ModelState) -> None:
    for (_, theirs), (_, ours) in zip(source.arrays(), target.arrays(), strict=True):
        ours[...] = theirs


def main() -> None:
    """Read the settings and the schema from the first line of standard input; be there until its end."""
    told = json.loads(sys.stdin.readline())
    schema = Schema(
        tuple(TensorSpec(name, tuple(shape), dtype, TensorKind(kind)) for name, shape, dtype, kind in told["tensors"])
    )
    session = Session(resolve(told["settings"], environment={}).settings, ZeroModel(schema))
    session.begin()
    sys.stdin.read()
    session.end()


if __name__ == "__main__":
    main()
