"""The networks of all sites, trained at once: what each would learn by itself, in a fifth of the time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.nn.utils.rnn import pad_sequence

from benchmarks.learning import models
from benchmarks.learning.plan import Plan
from benchmarks.learning.training import Batches
from swarm.demo.sites import Samples

_LAYERS = (nn.Flatten, nn.Linear, nn.ReLU)


class Networks:
    """A network for each site, with its own batches and its own state of the optimizer.

    The weights of all are one tensor, [sites, values], and one step of it is a step of each site. The optimizers of
    ``models`` treat each value alone, so that this differs from one ``Trainee`` after the other by rounding only.
    """

    def __init__(self, plan: Plan, sites: Mapping[int, Samples], classes: int, seed: int) -> None:
        """All begin with the weights of the seed.

        Args:
            plan: what is trained.
            sites: by rank, what each has.
            classes: of the task.
            seed: of the weights and, with the rank, of the batches.

        Raises:
            RuntimeError: the model has other layers than linear ones.
        """
        self._model = models.build(plan.model, next(iter(sites.values())).x.shape[1:], classes, seed)
        self._layers = list(self._model.children())
        if not all(isinstance(layer, _LAYERS) for layer in self._layers):
            raise RuntimeError(f"--model {plan.model} cannot be trained at all sites at once: choose mlp or linear")
        self.first: NDArray[np.float32] = parameters_to_vector(self._model.parameters()).detach().numpy()
        """The initial weights, [values]."""
        self._weights = nn.Parameter(torch.from_numpy(self.first).repeat(len(sites), 1))
        self._optimizer = models.optimizer(plan.optimizer, nn.ParameterList([self._weights]), plan.rate)
        batches = {rank: Batches(samples, plan.batch, (seed, rank)) for rank, samples in sites.items()}
        self._rows = [each.rows(plan.equal_steps or 0) for each in batches.values()]
        self._x, self._y = (
            pad_sequence([torch.from_numpy(values) for values in all_values], batch_first=True)
            for all_values in zip(*((samples.x, samples.y) for samples in sites.values()), strict=True)
        )
        # The loss of a site is the mean over its samples; what fills up a small batch counts nothing.
        self._sizes = [min(len(samples), plan.batch) for samples in sites.values()]
        self._shares = torch.zeros(len(sites), max(self._sizes))
        for share, size in zip(self._shares, self._sizes, strict=True):
            share[:size] = 1 / size

    def train(self, reference: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Train all sites for so many batches, from common weights, [values]; returns theirs, [sites, values]."""
        self._weights.data[:] = torch.from_numpy(reference)
        rows = torch.zeros(count, *self._shares.shape, dtype=torch.int64)
        for site, (size, stream) in enumerate(zip(self._sizes, self._rows, strict=True)):
            rows[:, site, :size] = torch.from_numpy(np.stack(list(itertools.islice(stream, count))))
        places = torch.arange(len(self._sizes))[:, None]
        for images, labels in zip(self._x[places, rows], self._y[places, rows], strict=True):
            self._optimizer.zero_grad()
            outputs = self._outputs(images).flatten(0, 1)
            losses = nn.functional.cross_entropy(outputs, labels.flatten(), reduction="none")
            (losses @ self._shares.flatten()).backward()
            self._optimizer.step()
        trained: NDArray[np.float32] = self._weights.detach().numpy().copy()
        return trained

    def model(self, weights: NDArray[np.float32]) -> nn.Module:
        """One with these weights, [values]."""
        vector_to_parameters(torch.from_numpy(weights.copy()), self._model.parameters())
        return self._model

    def _outputs(self, x: torch.Tensor) -> torch.Tensor:
        """[sites, batch, classes], of samples [sites, batch, ...]."""
        left = self._weights
        for layer in self._layers:
            if isinstance(layer, nn.Linear):
                shape = layer.weight.shape
                weight, bias, left = left.split([shape.numel(), shape[0], left.shape[1] - shape.numel() - shape[0]], 1)
                x = torch.baddbmm(bias[:, None], x, weight.view(-1, *shape).mT)
            else:
                x = x.flatten(2) if isinstance(layer, nn.Flatten) else layer(x)
        return x
