"""Clusters: counts of samples and sums of their positions, added up, so that centres are means over all sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import _safe_indexing  # documented for developers of estimators

from swarm.tensors import TensorKind
from swarm_sklearn.family import Family, Named, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from swarm.tensors import Array


class Clusters(Family):
    """``MiniBatchKMeans``: a centre is the mean of the samples that were assigned to it.

    So the merged centre is the mean of the sites' centres, weighted by the samples that each has assigned since the
    last merge, and of the centre before with all samples until then. All sites start from the centres of the founder;
    therefore cluster k is the same one at every site. Sums are of differences from these initial centres.
    """

    state = "_counts"
    additive = True
    own = ("n_steps_",)

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        self._origin: NDArray[np.float64] | None = None

    def check(self) -> None:
        estimator = self.estimator
        if isinstance(estimator.init, str) or callable(estimator.init):
            raise refuse(
                estimator,
                "init",
                "it makes samples of this site the first centres, which every site would receive; give an array of "
                "shape [n_clusters, features], for example drawn around the mean of swarm.pool",
            )
        if estimator.reassignment_ratio:
            raise refuse(
                estimator,
                "reassignment_ratio",
                "it replaces a centre by a sample of one site, which every site would receive; set it to 0",
            )

    def _probe(self, x: Any, y: Any, classes: Sequence[Any] | None) -> Any:
        size = x.shape[0] if hasattr(x, "shape") else len(x)
        rows = np.arange(self.estimator.n_clusters) % size  # as many as clusters, or it refuses them
        return self.copy().partial_fit(_safe_indexing(x, rows))

    def reset(self) -> None:
        estimator = self.estimator
        estimator.cluster_centers_[...] = estimator.init
        estimator._counts[...] = 0  # noqa: SLF001 - the samples of each cluster are in no public attribute
        estimator._n_since_last_reassign = estimator.n_steps_ = 0  # noqa: SLF001
        for name in ("labels_", "inertia_"):
            if hasattr(estimator, name):
                delattr(estimator, name)

    def tensors(self) -> list[Named]:
        estimator = self.estimator
        centres = estimator.cluster_centers_.astype(np.float64)
        if self._origin is None:
            self._origin = centres
        count = estimator._counts.astype(np.float64)  # noqa: SLF001
        return [
            Named("counts", count),
            Named("sums", count[:, np.newaxis] * (centres - self._origin)),
            Named("origin", self._origin, TensorKind.STATE),
        ]

    def assign(self, values: Mapping[str, Array]) -> None:
        count, sums, origin = (np.array(values[name], np.float64) for name in ("counts", "sums", "origin"))
        self._origin = origin
        known = count[:, np.newaxis] > 0
        away = np.divide(sums, count[:, np.newaxis], out=np.zeros_like(sums), where=known)
        self.estimator.cluster_centers_[...] = origin + away
        self.estimator._counts[...] = count  # noqa: SLF001
