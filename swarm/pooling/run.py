"""``swarm.pool``: one short session of its own, before training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from swarm.config import SETTINGS, Settings, resolve
from swarm.config.arguments import OBJECTS, Arguments
from swarm.errors import ConfigurationError, StartTimeoutError, UnknownArgumentError
from swarm.pooling.local import LocalStatistics, measure
from swarm.pooling.port import STAGES, StatisticsPort
from swarm.pooling.record import Pooled, record_of
from swarm.records import Outcome
from swarm.storage.session_records import STATISTICS
from swarm.tensors.state import ModelState
from swarm.text import MAX_NAME, is_name

if TYPE_CHECKING:
    from swarm.session import Session
    from swarm.tensors.model import ModelPort

LEAST_COUNT = 10
_LEAST = SETTINGS["min_peers"].check
_OF_A_TRAINING = (
    "samples",
    "largest_share",
    "sync_seconds",
    "use_adaptive_sync",
    "keep_best",
    "patience",
    "monitor",
    "share_metrics",
    "merge_method",
    "screen",
    "normalize_steps",
    "proximal",
    "scaffold",
    "optimizer_state",
    "outer",
    "outer_learning_rate",
    "outer_momentum",
    "outer_beta2",
    "outer_epsilon",
    "codec",
    "share",
    "local",
    "exchange_shards",
    "overlap",
    "below_quorum",
    "train_until",
    "total_epochs",
    "model_dir",
    "resume",
)
"""Settings that say how a model is trained: statistics are pooled under their defaults."""


def _session(settings: Settings, port: ModelPort, logger: logging.Logger) -> Session:
    from swarm.session import Session  # which loads the network

    return Session(settings, port, logger=logger)


def pool(
    features: Any,
    labels: Any = None,
    *,
    columns: Sequence[str] | None = None,
    classes: Sequence[Any] | None = None,
    extremes: bool = False,
    least_count: int = LEAST_COUNT,
    **arguments: Unpack[Arguments],
) -> Pooled:
    """Count, mean and standard deviation of each feature, and class counts, over the data of all sites.

    All sites call it, before they train. It waits for all of them, at most ``start_timeout``. Their number is
    ``world_size`` or that of ``members``, else ``min_peers``. Every site gets the same bytes::

        stats = swarm.pool(x, y, classes=[0, 1])
        x = stats.standardise(x)
        weights = stats.class_weights()

    The sites exchange numbers, no samples: each receives counts, sums and sums of squares of each other one. A site
    takes part only if ``share_statistics`` allows it, or without data of its own if its ``node_weightage`` is 0.

    Args:
        features: array of shape ``[samples, features]``, or ``[samples, ...]`` for statistics of each place. NaN is a
            missing value and does not count.
        labels: the class of each sample; needs ``classes``.
        columns: the names of the features, compared between sites.
        classes: all classes, compared between sites: text, numbers, or true and false.
        extremes: whether minimum and maximum are exchanged too. They are values of single samples.
        least_count: what this site has fewer samples of, a class or values of a feature, is told as none; a site with
            fewer samples does not take part.
        arguments: those of ``swarm.SwarmCallback`` about the network and the session, such as ``model_name``. Settings
            about training are not used.

    Raises:
        ConfigurationError: an argument or the data is not allowed, or the site may not share statistics.
        StartTimeoutError: not all sites came, or one left before the end.
        IncompatiblePeerError: sites have other columns, classes, or numbers of features.
    """
    settings, logger = _settings(arguments)
    least = _LEAST.accept(least_count)
    contributes = settings.node_weightage != 0
    local = measure(features, labels, columns=columns, classes=classes, least=least)
    if contributes:
        _require_permission(settings, local, least)
    for note in local.notes:
        logger.warning("statistics of %s, %s", settings.name, note)
    sites = 1 if settings.loopback else settings.expected_peers or settings.min_peers
    port = StatisticsPort(local, sites, contributes=contributes, extremes=extremes)
    facts = {"columns": columns, "classes": classes, "extremes": extremes or None}
    if settings.loopback:
        members: tuple[str, ...] = (settings.name,)
        _alone(port)
    else:
        members = _together(_session(_of_session(settings, sites, facts), port, logger), port, settings, sites)
    state = ModelState.empty(port.schema())
    port.read(state)
    pooled = record_of(port.values, members, local.shape, columns=columns, classes=classes, digest=state.digest())
    logger.info("statistics of %d samples of %s, digest %s", pooled.samples, ", ".join(pooled.sites), pooled.digest)
    return pooled


def _settings(arguments: Mapping[str, Any]) -> tuple[Settings, logging.Logger]:
    given = dict(arguments)
    logger = given.pop("logger", None) or logging.getLogger("swarm")
    for name in given:
        if name in OBJECTS or (name in SETTINGS and SETTINGS[name].no_argument):
            raise UnknownArgumentError(f"{name} is no argument of swarm.pool: allowed are settings of the network")
    return resolve(given).settings, logger


def _require_permission(settings: Settings, local: LocalStatistics, least: int) -> None:
    if local.samples < least:
        raise ConfigurationError(
            f"{settings.name} has {local.samples} samples, and least_count is {least}: statistics of so few samples "
            "are not shared; take part with node_weightage=0, without this data, or lower least_count"
        )
    if not (settings.share_statistics or settings.loopback):
        raise ConfigurationError(
            f"share_statistics is off at {settings.name}: swarm.pool tells the other sites counts, sums and sums of "
            "squares of this site's data. If the site may share them, set share_statistics=True (or "
            "SWARM_SHARE_STATISTICS=true, or in swarm.toml)"
        )


def _of_session(settings: Settings, sites: int, facts: Mapping[str, Any]) -> Settings:
    """Settings of the session: all sites in each round, with one weight, nothing on disk, and nothing of the training.

    Raises:
        ConfigurationError: a fact contradicts ``agree``, or is of a type that cannot be compared.
    """
    own = dict(SETTINGS["agree"].check.accept({key: _listed(each) for key, each in facts.items() if each is not None}))
    for key, value in settings.agree:
        if own.setdefault(key, value) != value:
            raise ConfigurationError(f"{key} contradicts agree[{key!r}]: give it once, or the same in both")
    name = settings.model_name + STATISTICS
    if not is_name(name):
        raise ConfigurationError(
            f"model_name={settings.model_name!r} is too long: allowed are {MAX_NAME - len(STATISTICS)} characters"
        )
    defaults: dict[str, Any] = {name: SETTINGS[name].default for name in _OF_A_TRAINING}
    return replace(
        settings,
        **defaults,
        model_name=name,
        agree=tuple(sorted(own.items())),
        world_size=sites,
        min_peers=sites,
        node_weightage=min(1, settings.node_weightage) if isinstance(settings.node_weightage, int) else 1,
        sync_interval=1,
        sync_policy="fixed",
        normalization="pooled",
        checkin_model_on_train_end="inactive",
    )


def _listed(value: Any) -> Any:
    return value if isinstance(value, bool | str) else list(value)


def _alone(port: StatisticsPort) -> None:
    """The rounds of one site."""
    for _ in range(STAGES + 1):
        state = ModelState.empty(port.schema())
        port.read(state)
        port.write(state)


def _together(session: Session, port: StatisticsPort, settings: Settings, sites: int) -> tuple[str, ...]:
    """Run the session; returns the names of all that take part."""
    try:
        session.begin()
        members = session.commit.members if session.commit else ()
        own = session.status().get("name", settings.name)
        if len(members) != sites or own not in members:
            raise ConfigurationError(
                f"{sites} sites were expected (world_size, members, else min_peers), and these take part: "
                f"{', '.join(members)}; set world_size to their number"
            )
        port.place = members.index(own)
        while port.stage < STAGES:
            report = session.advance()
            if port.stage < STAGES and (report is None or report.outcome is not Outcome.MERGED):
                reason = report.reason if report else "the session is over"
                raise StartTimeoutError(f"the statistics of all sites did not come together: {reason}")
        session.end()
    except BaseException as error:
        # Also the session's own errors: a start that failed has left already, and leaving twice does nothing.
        session.abort(f"swarm.pool stopped: {type(error).__name__}")
        raise
    return members
