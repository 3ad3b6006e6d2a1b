"""Rounds and models of a Swarm session in MLflow.

Installing the package and setting `MLFLOW_TRACKING_URI` is enough: `swarm` finds `_plugin` by its entry point. `book`
turns events into runs, `models` writes what MLflow calls a model, `stores` opens the store, `settings` reads the
variables, and `desk` does all that on a thread of its own, for which no round ever waits. A script may call
`signature`, so that models have one.
"""

from swarm_mlflow.models import signature

__all__ = ["signature"]
