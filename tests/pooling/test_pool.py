"""Statistics of the data of several sites, over real sessions in one process."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import swarm
from swarm.config import SETTINGS, Settings
from swarm.errors import ConfigurationError, IncompatiblePeerError, StartTimeoutError, UnknownArgumentError
from swarm.pooling import run
from swarm.session import Session
from swarm.session.wiring import Network
from swarm.testing.swarm import Board, together
from swarm.transport.memory import MemoryNetwork, MemoryTransport

SITES = ("berlin", "paris", "rome")
CLASSES = ["ill", "well"]


@pytest.fixture(autouse=True)
def sessions(monkeypatch, tmp_path):
    """The sessions that were made; they meet in memory."""
    monkeypatch.chdir(tmp_path)
    network, addresses, made = MemoryNetwork(), {}, []

    def session(settings, port, logger):
        board = Board(addresses, settings.model_name)
        connect = lambda _settings, _plugins: Network(MemoryTransport(network), [board])  # noqa: E731
        made.append(Session(settings, port, logger=logger, network=connect))
        return made[-1]

    monkeypatch.setattr(run, "_session", session)
    return made


def pool(name, *data, **arguments):
    settings = {"listen": "127.0.0.1:0", "world_size": 3, "share_statistics": True, "name": name}
    return swarm.pool(*data, **(settings | arguments))


def outcome(name, *data, **arguments):
    try:
        return pool(name, *data, **arguments)
    except swarm.SwarmError as error:
        return error


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    features = [rng.normal(1e7, 10.0 ** (1 - index), size=(40 + 30 * index, 3)) for index in range(3)]
    features[0][3, 1] = np.nan
    labels = [rng.permutation(np.arange(len(each)) % 2) for each in features]
    return features, labels


def test_it_is_as_if_the_data_were_together(data):
    features, labels = data
    given = zip(SITES, features, labels, strict=True)
    stats = together(*(partial(pool, *each, classes=[0, 1], extremes=True) for each in given))
    everything = np.concatenate(features)
    for each in stats:
        assert each.samples == len(everything)
        assert each.sites == SITES
        np.testing.assert_array_equal(each.count, (~np.isnan(everything)).sum(axis=0))
        np.testing.assert_allclose(each.mean, np.nanmean(everything, axis=0), rtol=1e-14)
        np.testing.assert_allclose(each.std, np.nanstd(everything, axis=0), rtol=1e-7)
        np.testing.assert_array_equal(each.min, np.nanmin(everything, axis=0))
        np.testing.assert_array_equal(each.max, np.nanmax(everything, axis=0))
        assert each.classes == dict(enumerate(np.bincount(np.concatenate(labels)).tolist()))
        assert each.mean.tobytes() == stats[0].mean.tobytes()
        assert each.std.tobytes() == stats[0].std.tobytes()
        assert not each.mean.flags.writeable
    assert len({each.digest for each in stats}) == 1


def test_what_a_site_has_too_few_of_is_withheld():
    labels = [["ill"] * 20 + ["well"] * 30, ["ill"] * 15 + ["well"] * 15, ["ill"] * 2 + ["well"] * 40]
    sites = zip(SITES, labels, strict=True)
    for each in together(*(partial(pool, name, np.zeros(len(y)), y, classes=CLASSES) for name, y in sites)):
        assert each.samples == 122
        assert each.classes == {"ill": 35, "well": 45}
        assert each.withheld == {"ill": 1, "well": 1}
        assert each.min is each.max is None
        assert each.class_weights() == {"ill": 80 / 70, "well": 80 / 90}


def test_a_site_without_data_receives_the_statistics():
    x = np.arange(20.0)
    stats = together(
        partial(pool, "berlin", x),
        partial(pool, "paris", x + 20),
        partial(pool, "rome", np.zeros((0, 1)), node_weightage=0, share_statistics=False),
    )
    for each in stats:
        assert each.sites == ("berlin", "paris")
        assert (each.samples, each.mean.item()) == (40, 19.5)


def test_other_columns_are_refused_with_the_difference():
    x = np.zeros((20, 2))
    given = zip(SITES, (["age", "sex"], ["age", "sex"], ["sex", "age"]), strict=True)
    errors = together(*(partial(outcome, name, x, columns=columns, start_timeout=2.0) for name, columns in given))
    assert all(isinstance(error, IncompatiblePeerError | StartTimeoutError) for error in errors)
    assert any("agree['columns'] is " in str(error) and "the 1st entry is " in str(error) for error in errors)


def test_settings_of_the_training_change_nothing_and_need_not_be_the_same(caplog):
    """Those that all peers of a session must share, without what the session of the statistics takes over."""
    training = {
        "sync_interval": 7, "sync_policy": "seconds", "sync_seconds": 9.0, "keep_best": True, "patience": 2,
        "monitor": "max:accuracy", "train_until": "all", "largest_share": 0.5, "merge_method": "coordmedian",
        "screen": "distances", "outer": "fedadam", "outer_learning_rate": 0.5, "outer_momentum": 0.5,
        "outer_beta2": 0.5, "outer_epsilon": 0.5, "normalize_steps": True, "codec": "int8", "share": ("a",),
        "local": ("b",), "exchange_shards": 2, "optimizer_state": "merge", "proximal": 0.5, "scaffold": True,
    }  # fmt: skip
    agreed = {name for name, row in SETTINGS.items() if row.agree == "yes"}
    assert training.keys() == agreed - {"min_peers", "tolerated_liars"}
    usual = Settings()
    assert run._of_session(replace(usual, **training), 3, {}).agreed() == run._of_session(usual, 3, {}).agreed()
    assert not run._of_session(replace(usual, share_metrics=True), 3, {}).share_metrics
    x, judged = np.arange(20.0), {"keep_best": True, "patience": 1, "share_metrics": True}
    stats = together(partial(pool, "berlin", x, **judged), partial(pool, "paris", x), partial(pool, "rome", x))
    assert [each.samples for each in stats] == [60] * 3
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_site_that_does_not_come_ends_it_for_all():
    x = np.zeros(20)
    missing = {"members": SITES, "world_size": None, "start_timeout": 1.0}
    for error in together(*(partial(outcome, name, x, **missing) for name in SITES[:2])):
        assert isinstance(error, StartTimeoutError)
        assert "of the 3 peers needed" in str(error)
        assert "missing: rome" in str(error)


def test_a_site_that_leaves_between_the_rounds_ends_it_for_all(monkeypatch):
    real, x = Session.advance, np.zeros(20)

    def advance(session, *given, **more):
        if session.status()["name"] == "rome" and session.commit.round == 1:
            raise KeyboardInterrupt
        return real(session, *given, **more)

    monkeypatch.setattr(Session, "advance", advance)

    def interrupted():
        with pytest.raises(KeyboardInterrupt):
            pool("rome", x, failure_timeout=0.5)

    rest = (partial(outcome, name, x, failure_timeout=0.5) for name in SITES[:2])
    for error in together(*rest, interrupted)[:2]:
        assert isinstance(error, StartTimeoutError)
        assert "did not come together: below quorum" in str(error)
        assert "rome" in str(error)


def test_alone_it_is_the_statistics_of_this_site(sessions):
    x = np.arange(24.0).reshape(12, 2)
    stats = pool("berlin", x, loopback=True, share_statistics=False, extremes=True)
    np.testing.assert_array_equal(stats.mean, x.mean(axis=0))
    np.testing.assert_array_equal(stats.std, x.std(axis=0))
    np.testing.assert_array_equal(stats.max, [22, 23])
    assert stats.sites == ("berlin",)
    assert sessions == []


def test_samples_may_have_any_shape():
    x = np.random.default_rng(0).normal(size=(30, 2, 4))
    stats = pool("berlin", x, loopback=True)
    np.testing.assert_allclose(stats.mean, x.mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(stats.standardise(x).std(axis=0), 1)


def test_standardising_keeps_missing_values_and_features_without_spread():
    x = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, np.nan]] * 10)
    stats = pool("berlin", x, loopback=True)
    np.testing.assert_allclose(stats.standardise(x[:2]), [[-1, 0, np.nan], [1, 0, np.nan]])
    assert stats.standardise(x.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(stats.standardise([[2.0, 5.0, 7.0]]), [[0, 0, 7]], atol=1e-12)


def test_a_feature_that_is_the_same_everywhere_has_no_spread():
    given = zip(SITES, (30, 41, 53), strict=True)
    for stats in together(*(partial(pool, name, np.full((size, 2), [0.1, 1e9])) for name, size in given)):
        np.testing.assert_allclose(stats.mean, [0.1, 1e9])
        np.testing.assert_array_equal(stats.std, 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"share_statistics": False}, r"share_statistics is off at berlin: .*set share_statistics=True"),
        ({"least_count": 21}, "berlin has 20 samples, and least_count is 21"),
        ({"columns": ["a"], "agree": {"columns": ["b"]}}, r"columns contradicts agree\['columns'\]"),
        ({"model_name": "m" * 128}, "model_name=.* is too long: allowed are 123 char"),
    ],
)
def test_what_a_site_may_not_do_is_refused_before_anything_is_sent(sessions, arguments, told):
    with pytest.raises(ConfigurationError, match=told):
        pool("berlin", np.zeros(20), **arguments)
    assert sessions == []


@pytest.mark.parametrize("name", ["model", "val_data", "data_dir", "sync_intervall"])
def test_an_argument_that_it_does_not_take_is_refused(name):
    with pytest.raises(UnknownArgumentError, match=name):
        pool("berlin", np.zeros(20), **{name: "x"})


def test_settings_of_the_training_do_not_matter():
    training = {"merge_method": "coordmedian", "codec": "int8", "sync_interval": 64, "overlap": True, "share": "head.*"}
    later = {"train_until": "all", "normalization": "fedbn", "node_weightage": "samples", "largest_share": 0.5}
    training["exchange_shards"] = 2
    sites = (("berlin", training), ("paris", later))
    stats = together(*(partial(pool, name, np.zeros(20), world_size=2, **given) for name, given in sites))
    assert [each.samples for each in stats] == [40, 40]
