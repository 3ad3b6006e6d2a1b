"""The entry point of the scikit-learn integration; loads no scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.plugins import Integration, Register, hookimpl

if TYPE_CHECKING:
    from swarm.callback import CallbackArguments


_NAMED_BY_SWARM = {"catboost", "lightgbm", "xgboost"}
"""Libraries whose models are estimators too; Swarm says itself what to do with them."""


def serves(model: object) -> bool:
    """Whether ``model`` is an estimator, judged by the classes it derives from; not all of them can be merged."""
    bases = {(base.__module__.split(".")[0], base.__name__) for base in type(model).__mro__}
    return ("sklearn", "BaseEstimator") in bases and _NAMED_BY_SWARM.isdisjoint(package for package, _ in bases)


def create(arguments: CallbackArguments) -> object:
    """The scikit-learn callback for ``arguments``."""
    from swarm_sklearn import SklearnCallback

    return SklearnCallback.from_arguments(arguments)


@hookimpl
def swarm_register(register: Register) -> None:
    """Offer the callback for the platform SKLEARN, and the merge rule of counts and sums."""
    from swarm_sklearn.rule import NAME, SumOfUpdates

    register.integration(
        Integration(platforms=("SKLEARN",), extra="", serves=serves, create=create, distribution="swarm-sklearn")
    )
    register.merge_rule(NAME, SumOfUpdates())
