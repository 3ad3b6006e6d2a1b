"""The other peer of a live session: a process of its own, which loads no framework."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from benchmarks.harness.workers import Workers, connect
from swarm.config import resolve
from swarm.session import Session
from swarm.tensors.state import Schema, TensorKind, numpy_dtype

SYNC_INTERVAL = 1_000_000_000
"""More batches than are ever measured, so that all of them are between two merges."""


class Companion:
    """Starts the other peer, which does not train. It leaves when the measured peer does.

    The two connect over gRPC on this machine, as two peers of ``swarm up`` do.
    """

    def __init__(self, schema: Schema) -> None:
        self._process = Workers("benchmarks.hotpath.companion", environment=os.environ)
        tensors = [(spec.name, spec.shape, spec.dtype, spec.kind) for spec in schema.tensors]
        self._process.send([{"settings": self.arguments("companion"), "tensors": tensors}])

    def finish(self) -> None:
        """Let the companion end its session, because the measured peer ends its own next."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"the log of the companion:\n{self._process.log(0)}", file=sys.stderr)
        self._process.__exit__(kind, error, trace)

    def arguments(self, name: str = "measured") -> dict[str, Any]:
        """The callback's arguments for the measured peer, or the settings of the companion."""
        directory = str(self._process.directory)
        common = {"sync_interval": SYNC_INTERVAL, "min_peers": 2, "start_timeout": 60.0}
        return {"name": name, "rendezvous": directory, **common}


def require_untouched(metrics: Mapping[str, float], *, over: bool) -> None:
    """Check that all measured batches were between two merges of a live session.

    Raises:
        RuntimeError: there was a merge, or the session was over.
    """
    if over or metrics["swarm_rounds"] != 0:
        raise RuntimeError(f"the session did not stay between merges: over={over}, {dict(metrics)}")


def require_company(metrics: Mapping[str, float]) -> None:
    """Check that the other peer was there until the last merge.

    Raises:
        RuntimeError: the last merge was not one of two peers.
    """
    if not metrics["swarm_rounds"] or metrics["swarm_peers"] != 2:
        raise RuntimeError(f"the companion did not stay to the end: {dict(metrics)}")


def main() -> None:
    """Join the session that the only order describes, and end it when standard input is closed."""
    import numpy as np

    from swarm.testing.swarm import ArrayModel

    orders, _ = connect()
    order = next(orders)
    zeros = {name: np.zeros(shape, numpy_dtype(dtype)) for name, shape, dtype, _ in order["tensors"]}
    model = ArrayModel(zeros, {name: TensorKind(kind) for name, _, _, kind in order["tensors"]})
    session = Session(resolve(order["settings"], environment={}).settings, model)
    session.begin()
    for _ in orders:
        pass
    session.end()


if __name__ == "__main__":
    main()
