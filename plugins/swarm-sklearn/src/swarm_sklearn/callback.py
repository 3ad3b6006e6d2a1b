"""The callback for a loop that calls ``partial_fit``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.callback import OwnLoopCallback
from swarm.config import SETTINGS
from swarm.errors import ConfigurationError
from swarm_sklearn._plugin import serves
from swarm_sklearn.estimators import family_of
from swarm_sklearn.evaluation import SklearnEvaluator
from swarm_sklearn.port import SklearnPort
from swarm_sklearn.rule import NAME as SUM
from swarm_sklearn.training_state import SklearnTrainingState

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm_sklearn.family import Family

_ADDED = {
    "node_weightage": (0, 1),
    "largest_share": (1.0,),
    "outer": ("none",),
    "normalize_steps": (False,),
    "share": ((),),
    "local": ((),),
}
"""The values that settings may have for an estimator whose counts and sums are added up."""


class SklearnCallback(OwnLoopCallback):
    """Connects a loop that calls ``partial_fit`` to the swarm.

    ::

        initialise(estimator, x, classes=[0, 1])
        callback = SwarmCallback(model=estimator, sync_interval=8)
        callback.on_train_begin()
        for epoch in range(epochs):
            for rows in batches:
                estimator.partial_fit(x[rows], y[rows])
                callback.on_batch_end()
            callback.on_epoch_end(epoch)
        callback.on_train_end()

    ``on_batch_end`` follows each call of ``partial_fit``. ``SwarmTrainer`` does all of this.
    """

    platforms = ("SKLEARN",)

    family: Family
    """How the estimator is merged."""
    samples: int | None = None
    """Of the training set, where they are known; for ``node_weightage="samples"``."""

    def prepare(self) -> None:
        """Check the estimator, and the settings that it allows.

        Raises:
            ConfigurationError: one of them is not possible.
        """
        arguments, settings = self.arguments, self.arguments.settings
        self.model = arguments.model
        if not serves(self.model):
            given = "missing" if self.model is None else f"a {type(self.model).__name__}"
            raise ConfigurationError(f"model is {given}: ml_platform 'SKLEARN' needs model=, a scikit-learn estimator")
        self.family = family_of(self.model)
        name = type(self.model).__name__
        if settings.optimizer_state != "keep":
            raise ConfigurationError(
                f"optimizer_state={settings.optimizer_state!r} is not possible with {name}: each site keeps its own "
                'optimizer; set optimizer_state="keep" at every peer'
            )
        if asked := settings.corrects:
            raise ConfigurationError(
                f"{asked} is not possible with {name}, which shows its gradients to no callback: leave it out at every "
                "peer"
            )
        if arguments.loss_function is not None or arguments.metric_function is not None:
            self.logger.warning("loss_function and metric_function are for PyTorch: %s has its own", name)
        if self.family.additive:
            self.arguments = replace(arguments, settings=_added(settings, name, once=self.family.once))
        elif settings.merge_method == SUM:
            raise ConfigurationError(
                f"merge_method={SUM!r} is for counts and sums, not for the coefficients of {name}: leave it out"
            )
        val_data = arguments.val_data
        self._evaluate = None if val_data is None else SklearnEvaluator(self.model, val_data)
        self._facts = self.arguments.settings.agree

    def on_train_begin(self) -> None:
        """Join the swarm and load its initial state, or that of a swarm that is already training.

        Raises:
            ConfigurationError: no swarm is configured, the estimator has no state yet, or ``agree`` contradicts it.
            StartTimeoutError: too few peers joined.
            IncompatiblePeerError: a peer trains another estimator, with other classes or features, or has other
                settings.
        """
        if not self.family.ready:
            raise ConfigurationError(
                f"{type(self.model).__name__} has no state yet: call swarm_sklearn.initialise(estimator, x, "
                "classes=...) before on_train_begin, or use swarm_sklearn.SwarmTrainer"
            )
        self.family = family_of(self.model)
        settings = replace(self.arguments.settings, agree=self._agreed())
        self.arguments = replace(self.arguments, settings=settings)
        self.open_run(
            SklearnPort(self.family, self.selection),
            self._evaluate,
            samples=self.samples,
            training=SklearnTrainingState(self.family),
        )
        self.join()

    def on_batch_end(self, batch: object = None, loss: object = None, *, stepped: bool = True) -> None:
        """Count a call of ``partial_fit``, and merge if a merge is due.

        ``loss``, a number, is the training loss of this batch. It is read only if a merge is due.
        """
        self.family.batch_trained()
        super().on_batch_end(batch, loss, stepped=stepped)

    def on_train_end(self) -> None:
        """Wait until every peer has finished; then load the swarm's closing model."""
        self.require_run("on_train_end")
        self.family.training_ends()
        super().on_train_end()

    def _agreed(self) -> tuple[tuple[str, str], ...]:
        """The facts that the user gave, and those of the estimator.

        Raises:
            ConfigurationError: they contradict each other, or cannot be compared.
        """
        facts = dict(SETTINGS["agree"].check.accept(self.family.facts()))
        for key, value in self._facts:
            if facts.setdefault(key, value) != value:
                raise ConfigurationError(
                    f"agree[{key!r}] is {json.loads(value)}, but that of the estimator is {json.loads(facts[key])}"
                )
        return tuple(sorted(facts.items()))


def _added(settings: Settings, name: str, *, once: bool) -> Settings:
    """The settings for an estimator whose counts and sums are added up.

    Raises:
        ConfigurationError: one of them has no meaning there.
    """
    if settings.merge_method not in ("mean", SUM):
        raise ConfigurationError(
            f"merge_method={settings.merge_method!r} is not possible with {name}, whose counts and sums are added up: "
            "leave it out at every peer"
        )
    wrong = [key for key, allowed in _ADDED.items() if getattr(settings, key) not in allowed]
    if settings.codec != "exact":
        wrong.append("codec")
    if once and settings.resume:
        wrong.append("resume")
    if once and settings.train_until == "all":
        wrong.append("train_until")
    if wrong:
        raise ConfigurationError(
            f"{wrong[0]}={getattr(settings, wrong[0])!r} is not possible with {name}, in which every sample of every "
            "site counts once: leave it out"
        )
    # a finished site contributes nothing more: what it has added is in the model
    return replace(settings, merge_method=SUM, checkin_model_on_train_end="inactive")
