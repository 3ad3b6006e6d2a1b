"""SCAFFOLD with PyTorch: control variates, which take out of the gradients what is a site's own.

Source: Karimireddy et al. 2020, arXiv 1910.06378, with the second way to compute control variates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import optim

from swarm.errors import ConfigurationError
from swarm.pytorch.arrays import memory, shared_tensor
from swarm.pytorch.gradients import GradientHooks, Parameters, real
from swarm.tensors.model import Correction
from swarm.tensors.optimizer import OptimizerState, moment, steps
from swarm.tensors.state import Schema, TensorKind, TensorSpec

if TYPE_CHECKING:
    from swarm.tensors.optimizer import StateArrays
    from swarm.tensors.state import ModelState

ROLE = "scaffold.control"
COUNTER = "scaffold"


class _Controlled(NamedTuple):
    """A parameter that the optimizers train and that takes part, as it was when training began."""

    parameter: torch.Tensor
    group: Mapping[str, Any]
    spec: TensorSpec


class Scaffold(OptimizerState, Correction):
    """The control variate c of the swarm and that of this site, for each weight that the optimizers train.

    Each step adds c - own to the gradients. At the end of an interval the own one becomes own - c + (x - y) / r, where
    x are the weights at the begin of the interval, y those at its end, and r the sum of the effective learning rates of
    its steps: the rate, divided by 1 - momentum. So it is about the mean gradient of the interval. c of the next
    interval is the weighted mean of these over the peers that train. They travel like the moments of an optimizer, in
    bfloat16, and a site goes on with the rounded value, which is the one in the mean.

    An interval that begins with local steps which are in no committed model leaves the own one as it was. Weights of
    which the site keeps its own values begin the interval at those, and nothing is added to their gradients.
    """

    def __init__(self, optimizers: Sequence[optim.Optimizer], parameters: Parameters) -> None:
        """Nothing changes before ``follow``.

        Args:
            optimizers: those of the model.
            parameters: gives the parameters of the model that take part, by name.

        Raises:
            ConfigurationError: one is not plain SGD, with or without momentum.
        """
        super().__init__("merge")
        for each in optimizers:
            _require_sgd(each)
        self._optimizers = tuple(optimizers)
        self._parameters = parameters
        self._controlled: tuple[_Controlled, ...] = ()
        self._start: list[torch.Tensor] = []
        """This site's weights at the begin of the interval; empty where it does not count."""
        self._common: list[torch.Tensor] = []
        """c, in the order of the parameters."""
        self._own: list[torch.Tensor] = []
        self._next: list[torch.Tensor] = []
        """What the own ones are after this interval, if it ended with the last capture."""
        self._terms: dict[int, torch.Tensor] = {}
        """c - own, or 0 for weights that the site keeps, by the identity of the parameter."""
        self._rates: dict[int, float] = {}
        """r so far, by the identity of the parameter."""
        self._steps = 0
        """Of this site, so that it is known whether it has a control variate."""
        self.hooks = GradientHooks("scaffold", optimizers, self._term)

    def tensors(self, model: Schema) -> tuple[TensorSpec, ...]:
        specs = {spec.name: spec for spec in model.tensors if spec.kind is TensorKind.WEIGHT}
        names = {memory(tensor): name for name, tensor in self._parameters().items() if name in specs}
        found = [
            _Controlled(parameter, group, specs[name])
            for each in self._optimizers
            for group in each.param_groups
            for parameter in group["params"]
            if (name := names.get(memory(real(parameter.data)))) is not None
        ]
        order = {name: place for place, name in enumerate(specs)}
        self._controlled = tuple(sorted(found, key=lambda each: order[each.spec.name]))
        if not found:
            raise ConfigurationError(
                "scaffold=True needs the optimizer of the model: the one given trains no parameter that is merged"
            )
        return (*(moment(ROLE, each.spec, TensorKind.MOMENT) for each in self._controlled), steps(COUNTER, (1,)))

    @torch.no_grad()
    def read(self, into: StateArrays) -> None:
        found = self._after_interval()
        self._next = found if self._own else []  # a peer offers its model before it follows one
        values = iter(found)
        for spec, array in into:
            if spec.kind is TensorKind.STEPS:
                array[...] = self._steps
            else:
                shared_tensor(array).copy_(next(values))

    def write(self, state: StateArrays, *, keep: bool = False) -> None:
        """Nothing: ``follow`` takes what is committed; a model that is only looked at changes no control variate."""

    def reset(self) -> None:
        """Nothing: control variates begin with the session."""

    @torch.no_grad()
    def follow(self, committed: ModelState, *, unmerged: int) -> None:
        arrays = {spec.name: array for spec, array in committed.arrays()}
        devices = [each.parameter.device for each in self._controlled]

        def of(names: Sequence[str]) -> list[torch.Tensor]:
            return [shared_tensor(arrays[name]).to(device) for name, device in zip(names, devices, strict=True)]

        self._common = of([f"{ROLE} of {each.spec.name}" for each in self._controlled])
        # A peer that has just joined has none, and takes nothing out at first.
        self._own = self._next or self._own or self._common
        self._next = []
        self._start = [] if unmerged else of([each.spec.name for each in self._controlled])
        for place, each in enumerate(self._controlled if self._start else ()):
            if each.spec.kept:
                self._start[place] = real(each.parameter.data).clone()
        self._rates = dict.fromkeys(map(_identity, self._controlled), 0.0)
        self._terms = {
            id(each.parameter): (common.float() - own.float()).to(_dtype(each.parameter))
            if not each.spec.kept
            else torch.zeros_like(own, dtype=_dtype(each.parameter))
            for each, common, own in zip(self._controlled, self._common, self._own, strict=True)
        }
        self.hooks.begin()

    def stop(self) -> None:
        self.hooks.end()
        self._terms, self._start, self._next = {}, [], []

    def _term(self, parameter: torch.Tensor, group: Mapping[str, Any]) -> torch.Tensor | None:
        """The term of a parameter that is about to make a step."""
        term = self._terms.get(id(parameter))
        if term is None:
            return None
        self._rates[id(parameter)] += float(group["lr"]) / (1 - float(group["momentum"]))
        self._steps = 1
        return term

    def _after_interval(self) -> list[torch.Tensor]:
        """The own control variates if the interval ended now, in bfloat16."""
        if not self._own:
            return [torch.zeros(each.spec.shape, dtype=torch.bfloat16) for each in self._controlled]
        if not self._start:
            return self._own
        found = []
        for place, each in enumerate(self._controlled):
            own, rate = self._own[place], self._rates[id(each.parameter)]
            if rate > 0:
                moved = self._start[place].float() - real(each.parameter.data).float()
                own = (moved / rate - self._terms[id(each.parameter)].float()).bfloat16()
            found.append(own)
        return found


def _identity(each: _Controlled) -> int:
    return id(each.parameter)


def _dtype(parameter: torch.Tensor) -> torch.dtype:
    return real(parameter.data).dtype


def _require_sgd(optimizer: optim.Optimizer) -> None:
    """Refuse an optimizer whose steps are not the gradient times a rate, over many steps.

    Raises:
        ConfigurationError: it is such a one.
    """
    name, reason = type(optimizer).__name__, ""
    if not isinstance(optimizer, optim.SGD):
        reason = f"not {name}"
    elif any(group["dampening"] or group["maximize"] for group in optimizer.param_groups):
        reason = "without dampening and maximize"
    if reason:
        raise ConfigurationError(
            f"scaffold=True needs torch.optim.SGD, {reason}, because it computes gradients from how far weights have "
            "moved: use that, or leave scaffold out at every peer"
        )
