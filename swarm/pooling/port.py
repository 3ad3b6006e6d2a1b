"""The statistics as the tensors of a model, which the rounds of a session add up.

All sites weigh the same, so the merged value of a tensor is its sum over the sites divided by their number. Two rounds
are needed. In the first one the sites tell counts and sums, which give the common mean. In the second one they tell the
squared differences from it: no large squares are subtracted from one another, so the variance keeps its digits. The
tensors are statistics of the side block: every site receives those of each other one, and merges them in float64.
"""

from __future__ import annotations

import numpy as np

from swarm.pooling.local import NOTHING, Floats, LocalStatistics
from swarm.tensors.model import ModelPort
from swarm.tensors.state import Array, ModelState, Schema, TensorKind, TensorSpec

STAGES = 2
"""Rounds until everything is known."""


class StatisticsPort(ModelPort):
    """What this site tells in the next round, given the merged values of the round before.

    The stage is a counter among the tensors. So a site that has missed a decision and loads the result later tells what
    belongs to the round that comes then.
    """

    def __init__(self, local: LocalStatistics, sites: int, *, contributes: bool, extremes: bool) -> None:
        """Nothing is told before a common start was written.

        Args:
            local: of this site.
            sites: how many take part.
            contributes: whether this site tells anything.
            extremes: whether minima and maxima are told.
        """
        features, classes = local.count.size, local.classes.size
        shapes = {
            "sites": (sites,),
            "samples": (1,),
            "count": (features,),
            "sum": (features,),
            "classes": (classes,),
            "withheld": (classes,),
            "squares": (features,),
            "sites_of_squares": (sites,),
        }
        specs = [TensorSpec("unused", (1,), "float64")]
        specs += [TensorSpec(name, shape, "float64", TensorKind.MEAN) for name, shape in shapes.items()]
        counters = {"stage": 1} | ({"lowest": features, "highest": features} if extremes else {})
        specs += [TensorSpec(name, (size,), "int64", TensorKind.COUNTER) for name, size in counters.items()]
        self._schema = Schema(tuple(specs))
        self._local = local
        self._contributes = contributes
        self.place = 0
        """Of this site among all, by name."""
        self.values: dict[str, Array] = {}
        """The merged values; empty before the start."""

    @property
    def stage(self) -> int:
        """How many rounds are merged; -1 before the start."""
        return int(self.values["stage"][0]) if self.values else -1

    def schema(self) -> Schema:
        return self._schema

    def write(self, state: ModelState) -> None:
        self.values = {spec.name: array.copy() for spec, array in state.arrays()}

    def read(self, into: ModelState) -> None:
        mine = self._told()
        for spec, array in into.arrays():
            empty = NOTHING if spec.name in {"lowest", "highest"} else 0
            array[...] = mine.get(spec.name, self.values.get(spec.name, empty))

    def _told(self) -> dict[str, Array]:
        """The tensors that this site has something of its own for, in this stage."""
        local, stage = self._local, self.stage
        if stage < 0 or stage >= STAGES:
            return {}
        next_stage = np.array([stage + 1])
        if not self._contributes:
            return {"stage": next_stage}
        me: Floats = np.zeros(self.values["sites"].size)
        me[self.place] = 1.0
        if stage == 0:
            return {
                "stage": next_stage,
                "sites": me,
                "samples": np.array([float(local.samples)]),
                "count": local.count,
                "sum": local.mean * local.count,
                "classes": local.classes,
                "withheld": (local.classes == 0).astype(np.float64),
                "lowest": local.lowest,
                "highest": local.highest,
            }
        count, total = self.values["count"], self.values["sum"]
        centre = total / np.maximum(count.astype(np.float64), 1 / self.values["sites"].size)
        squares = local.squares + local.count * np.square(local.mean - centre)
        return {"stage": next_stage, "sites_of_squares": me, "squares": squares}
