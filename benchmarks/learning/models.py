"""Models and optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

HIDDEN = 64
"""Units of the hidden layer of ``mlp``."""
CHANNELS = (8, 16)
"""Of the two convolutions."""
GROUPS = 4
"""Of GroupNorm."""

Norm = Callable[[int], nn.Module]


def _linear(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), classes))


def _mlp(shape: tuple[int, ...], classes: int) -> nn.Module:
    inputs = torch.Size(shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))


def _cnn(norm: Norm | None) -> Callable[[tuple[int, ...], int], nn.Module]:
    def build(shape: tuple[int, ...], classes: int) -> nn.Module:
        layers: list[nn.Module] = []
        channels, (_, height, width) = 1, shape
        for number, more in enumerate(CHANNELS):
            layers.append(nn.Conv2d(channels, more, 3, padding=1))
            layers += [norm(more)] if norm else []
            layers.append(nn.ReLU())
            if height >= 16 or number == 1:  # images of 8 x 8 pixels are halved once
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            channels = more
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, classes))

    return build


MODELS: Mapping[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "linear": _linear,
    "mlp": _mlp,
    "cnn": _cnn(None),
    "cnn_bn": _cnn(nn.BatchNorm2d),
    "cnn_gn": _cnn(lambda channels: nn.GroupNorm(GROUPS, channels)),
}
"""By name: makes the model for the shape of a sample and a number of classes."""

OPTIMIZERS: Mapping[str, Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]] = {
    "sgd": lambda parameters, rate: torch.optim.SGD(parameters, lr=rate, momentum=0.9),
    "plain_sgd": lambda parameters, rate: torch.optim.SGD(parameters, lr=rate),
    "adam": lambda parameters, rate: torch.optim.Adam(parameters, lr=rate),
    "adamw": lambda parameters, rate: torch.optim.AdamW(parameters, lr=rate),
    "rmsprop": lambda parameters, rate: torch.optim.RMSprop(parameters, lr=rate),
    "adagrad": lambda parameters, rate: torch.optim.Adagrad(parameters, lr=rate),
}
"""By name, for a learning rate; ``sgd`` has momentum 0.9."""
RATES: Mapping[str, float] = {
    "sgd": 0.05, "plain_sgd": 0.2, "adam": 0.003, "adamw": 0.003, "rmsprop": 0.003, "adagrad": 0.03
}  # fmt: skip
"""Default learning rates, chosen on the validation samples of pooled digits and MNIST with ``mlp``."""

SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda _done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}
"""By name: which part of the learning rate is used once a part of the training is done, both 0 to 1."""


def build(name: str, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """A model with the initial weights of this seed.

    Raises:
        RuntimeError: the model needs images.
    """
    if name.startswith("cnn") and len(shape) != 3:
        raise RuntimeError(f"--model {name} needs images, and this task has tables: choose mlp or linear")
    torch.manual_seed(seed)
    return MODELS[name](shape, classes)


def optimizer(name: str, model: nn.Module, rate: float | None) -> torch.optim.Optimizer:
    """The optimizer for all parameters of the model; without ``rate``, with its default one."""
    return OPTIMIZERS[name](model.parameters(), RATES[name] if rate is None else rate)


def scheduler(name: str, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler | None:
    """What changes the learning rate after each of so many steps; None where it is constant."""
    if name == "constant":
        return None
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: SCHEDULES[name](step / steps))
