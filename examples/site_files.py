"""Code shared by the examples: options, a site's data under DATA_DIR, its results under MODEL_DIR."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

RANK = int(os.environ.get("SWARM_RANK") or 0)


def parser(description: str | None, *, epochs: int, steps: int, sync_interval: int) -> argparse.ArgumentParser:
    """The common options, with the defaults of one example."""
    options = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    options.add_argument("--epochs", type=int, default=epochs, help="how often to report (default %(default)s)")
    options.add_argument("--steps", type=int, default=steps, help="batches of an epoch (default %(default)s)")
    options.add_argument("--batch-size", type=int, default=32, help="samples of a batch (default %(default)s)")
    options.add_argument("--sync-interval", type=int, default=sync_interval, help="batches between merges")
    options.add_argument("--seed", type=int, default=0, help="seed of weights and sample order; the rank is added")
    return options


def load(part: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Features and labels of this site: DATA_DIR/train.npz and test.npz, or those in DATA_DIR/peer-<rank>."""
    if not (directory := os.environ.get("DATA_DIR")):
        raise SystemExit("DATA_DIR is not set: give the directory that holds train.npz and test.npz")
    own = Path(directory, f"peer-{RANK}", f"{part}.npz")
    file = own if own.exists() else Path(directory, f"{part}.npz")
    with np.load(file, allow_pickle=False) as arrays:  # noqa: TID251 - allow_pickle=False
        return arrays["x"], arrays["y"]


def model_dir() -> Path:
    """The directory for this site's model: MODEL_DIR, or the working directory."""
    directory = Path(os.environ.get("MODEL_DIR") or ".")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def in_turn(samples: int, needed: int, seed: int) -> np.ndarray[Any, Any]:
    """Row numbers, each about equally often, so that a small site takes as many steps as a large one."""
    random = np.random.default_rng(seed)
    rounds = -(-needed // samples)
    return np.concatenate([random.permutation(samples) for _ in range(rounds)])[:needed]


class Curve:
    """The score on the test set, as a rule the accuracy, after every ``every`` batches."""

    def __init__(self, every: int, measure: Callable[[], float]) -> None:
        self.every = every
        self.measure = measure
        self.steps = 0
        self.points: list[tuple[int, float]] = []

    def step(self, *_: object, **__: object) -> None:
        """Count a batch. Call it after the callback of the swarm."""
        self.steps += 1
        if self.steps % self.every == 0:
            self.points.append((self.steps, self.measure()))


def report(
    curve: Curve, weights: Iterable[np.ndarray[Any, Any]], metrics: Mapping[str, float], score: str = "accuracy"
) -> None:
    """Print the score of the final model and write it to MODEL_DIR/result.json, with a digest of its weights."""
    digest = hashlib.sha256()
    for tensor in weights:
        digest.update(tensor.tobytes())
    reached = curve.measure()
    result = {score: reached, "digest": digest.hexdigest(), "metrics": dict(metrics), "curve": curve.points}
    (model_dir() / "result.json").write_text(json.dumps(result), encoding="utf-8")
    print(f"test {score} {reached:.3f} after {curve.steps} batches and {metrics['swarm_rounds']:.0f} rounds")
