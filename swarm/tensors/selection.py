"""Selection of the tensors that are merged; the others stay local to each peer."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from swarm.errors import ModelError
from swarm.tensors.state import TensorKind


class Normalization(enum.StrEnum):
    """What sites share of layers that normalise by statistics of their data (BatchNorm, InstanceNorm)."""

    POOLED = "pooled"
    """All of it: every site gets the statistics of all data together."""
    SILOBN = "silobn"
    """Scale and shift; each site keeps its own statistics. Source: Andreux et al. 2020, arXiv 2008.07424."""
    FEDBN = "fedbn"
    """Nothing: each site keeps the whole layers. Source: Li et al. 2021, arXiv 2102.07623."""


class Candidate(NamedTuple):
    """A tensor of the model that can be selected."""

    names: tuple[str, ...]
    """All of its names; tied weights have more than one."""
    kind: TensorKind


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tensors take part, and of which the site keeps its own values.

    ``share`` and ``local`` are case-sensitive glob patterns (``fnmatch``) for names of tensors. A tensor takes part if
    ``share`` is empty or one of its patterns matches, and no pattern of ``local`` matches.
    """

    share: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    normalization: Normalization = Normalization.POOLED

    def keeps(self, kind: TensorKind) -> bool:
        """Whether the site keeps its own values of a tensor of a layer that normalises by statistics."""
        if self.normalization is Normalization.SILOBN:
            return kind is not TensorKind.WEIGHT
        return self.normalization is Normalization.FEDBN

    def takes(self, *names: str) -> bool:
        """Whether the tensor with these names takes part; for tied weights, one shared name is enough.

        Raises:
            ModelError: one name is shared and another is local.
        """
        if not self.share and not self.local:
            return True
        local = [name for name in names if _matches(self.local, name)]
        shared = [name for name in names if name not in local and (not self.share or _matches(self.share, name))]
        if shared and local:
            raise ModelError(
                f"{shared[0]!r} and {local[0]!r} are one tensor, tied: the first is shared and the second is local;"
                " let `local` match both or neither"
            )
        return bool(shared)

    def check(self, candidates: Sequence[Candidate]) -> None:
        """Check the patterns against the tensors of a model, which are given in its order.

        Raises:
            ModelError: a pattern matches nothing, tied weights or the statistics of one layer are separated, or no
                weight is left to merge.
        """
        if not self.share and not self.local:
            return
        names = [name for candidate in candidates for name in candidate.names]
        for setting, patterns in (("share", self.share), ("local", self.local)):
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise ModelError(
                        f"{setting} has {pattern!r}, which matches no tensor of the model; nearest are"
                        f" {_nearest(pattern, names)}"
                    )
        taken = [self.takes(*candidate.names) for candidate in candidates]
        _require_whole_statistics(candidates, taken)
        weights = (candidate.kind is TensorKind.WEIGHT for candidate in candidates)
        if not any(takes and is_weight for takes, is_weight in zip(taken, weights, strict=True)):
            raise ModelError(
                f"share={list(self.share)} and local={list(self.local)} leave no weight of the model to merge: "
                "share at least one"
            )


def _matches(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _nearest(pattern: str, names: Sequence[str]) -> str:
    """The three names most like a pattern without its wildcards."""
    literal = pattern.strip("*")
    return ", ".join(map(repr, difflib.get_close_matches(literal, names, n=3, cutoff=0.0)))


def _require_whole_statistics(candidates: Sequence[Candidate], taken: Sequence[bool]) -> None:
    """Check that a variance takes part together with the mean of its layer, the nearest mean before it."""
    mean: tuple[str, bool] | None = None
    for candidate, takes in zip(candidates, taken, strict=True):
        name = candidate.names[0]
        if candidate.kind is TensorKind.MEAN:
            mean = name, takes
        elif candidate.kind is TensorKind.VARIANCE and mean is not None and mean[1] is not takes:
            shared, local = (name, mean[0]) if takes else (mean[0], name)
            raise ModelError(
                f"{shared!r} is shared and {local!r} is not: the statistics of a layer are merged together or not at"
                " all"
            )
