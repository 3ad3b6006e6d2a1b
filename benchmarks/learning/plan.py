"""What is measured: the options of one run, equal for all arms and all seeds."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swarm.config.arguments import Arguments
from swarm.config.settings import SETTINGS

STEPS: Mapping[str, int] = {"digits": 1600, "mnist": 800, "heart": 1000, "breast_cancer": 400}
"""Batches of each site, unless ``--steps`` or ``--epochs`` is given."""
TASKS = tuple(STEPS)
AS_BEFORE: Mapping[str, object] = {
    "optimizer_state": "keep",
    "normalization": "pooled",
    "train_until": "own",
    "outer": "none",
}
"""How a Swarm that has no such argument behaves: then it is not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every field is an option. None, for a setting of Swarm: it is not given, so Swarm's default applies."""

    task: str = "digits"
    model: str = "mlp"
    partition: str = "dir0.5"
    skew: str = "iid"
    """Label skew of the partition ``feature``."""
    sizes: tuple[float, ...] = ()
    peers: int = 8
    interval: int = 8
    batch: int = 32
    steps: int | None = None
    epochs: int | None = None
    """Instead of steps: so many passes of each site over its own data."""
    paces: tuple[int, ...] = ()
    """How fast each site trains, in proportion. The fastest make ``steps``, and ``interval`` between two merges."""
    optimizer: str = "sgd"
    rate: float | None = None
    schedule: str = "constant"
    """Of the learning rate, by name in ``models.SCHEDULES``."""
    optimizer_state: str | None = None
    normalization: str | None = None
    rule: str = "mean"
    outer: str | None = None
    outer_rate: float | None = None
    outer_momentum: float | None = None
    normalize_steps: bool = False
    proximal: float | None = None
    scaffold: bool = False
    policy: str | None = None
    policy_seconds: float | None = None
    """From merge to merge, under the policy ``seconds``."""
    codec: str = "exact"
    overlap: bool = False
    delay: float = 0.25
    """With ``overlap``: the share of the interval after which a round's result is loaded."""
    train_until: str | None = None
    finished: str | None = None
    weights: str = "equal"
    local: str | None = None

    @property
    def equal_steps(self) -> int | None:
        """Batches of each site; None where epochs decide, or sites differ."""
        return None if self.epochs or self.paces else self.steps or STEPS[self.task]

    def steps_of(self, rank: int) -> int | None:
        """Batches of a site, or with a rank after the last site, of pooled data; None where epochs decide."""
        return None if self.epochs else self._at_pace(rank, self.steps or STEPS[self.task])

    def interval_of(self, rank: int) -> int:
        """Batches of a site between two merges, where the interval is fixed."""
        return self._at_pace(rank, self.interval)

    def _at_pace(self, rank: int, fastest: int) -> int:
        return fastest * self.paces[rank] // max(self.paces) if rank < len(self.paces) else fastest

    def effective(self, name: str) -> object:
        """The value of a setting that changes what is trained, by its name in Swarm."""
        given = self._given[name]
        row = SETTINGS.get(name)
        return given if given is not None else row.default if row else AS_BEFORE.get(name)

    @property
    def comparable(self) -> bool:
        """Whether the swarm must have the weights of the reference FedAvg."""
        plain = self.rule == "mean" and self.codec == "exact" and not self.overlap and self.local is None
        fixed = self.effective("sync_policy") in (None, "fixed") and self.outer in (None, "none")
        kept = self.optimizer == "plain_sgd" or self.effective("optimizer_state") == "keep"
        pooled = self.model != "cnn_bn" or self.effective("normalization") == "pooled"
        unchanged = plain and fixed and kept and pooled and not (self.proximal or self.scaffold)
        return unchanged and self.equal_steps is not None

    @property
    def _given(self) -> dict[str, object]:
        return {
            "optimizer_state": self.optimizer_state,
            "normalization": self.normalization,
            "train_until": self.train_until,
            "checkin_model_on_train_end": self.finished,
            "node_weightage": "samples" if self.weights == "samples" else None,
            "outer": self.outer,
            "outer_learning_rate": self.outer_rate,
            "outer_momentum": self.outer_momentum,
            "normalize_steps": self.normalize_steps or None,
            "proximal": self.proximal,
            "scaffold": self.scaffold or None,
            "sync_policy": self.policy,
            "sync_seconds": self.policy_seconds,
            "local": self.local,
        }

    def settings(self, samples: int) -> dict[str, Any]:
        """Arguments of the callback of a site with so many training samples.

        One that asks for the behaviour of a Swarm without that argument is left out if this Swarm has no such argument.
        """
        given: dict[str, Any] = {
            "sync_interval": min(self.interval_of(rank) for rank in range(self.peers)),
            "merge_method": self.rule,
            "codec": self.codec,
            "overlap": self.overlap,
        }
        given |= {
            name: value
            for name, value in self._given.items()
            if value is not None and (name in Arguments.__annotations__ or value != AS_BEFORE.get(name))
        }
        if self.weights == "samples":
            given["samples"] = samples
        return given

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "steps_planned": self.equal_steps}

    @classmethod
    def of(cls, options: argparse.Namespace) -> Plan:
        """The plan that the options of the command give."""
        names = [each.name for each in dataclasses.fields(cls)]
        given = {name: getattr(options, name) for name in names}
        if options.peers is None:
            given["peers"] = 4 if options.partition == "natural" else 8
        plan = cls(**given)
        plan._check_paces()
        return plan

    def _check_paces(self) -> None:
        shown = f"--paces {','.join(map(str, self.paces))}"
        if self.paces and len(self.paces) != self.peers:
            raise RuntimeError(f"{shown}: give one for each of the {self.peers} peers")
        if any(self.interval * pace % max(self.paces) for pace in self.paces):
            raise RuntimeError(f"{shown}: with --interval {self.interval} a site would make a part of a batch")
        if self.paces and (self.epochs or self.overlap or self.policy not in (None, "fixed")):
            raise RuntimeError(f"{shown}: only with --steps, a fixed interval and without --overlap")

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Plan:
        """The plan of ``dataclasses.asdict``, after JSON."""
        return cls(**{**record, "sizes": tuple(record["sizes"]), "paces": tuple(record["paces"])})
