from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from swarm_opentelemetry.meters import Meters

from .happened import aborted, closed, finished, skipped

SITE = {"swarm.session": "heart", "swarm.peer": "berlin"}


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def meters(reader):
    return Meters(MeterProvider([reader]).get_meter("swarm"))


def measured(reader):
    """By name: the unit and the data points."""
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: (metric.unit, list(metric.data.data_points)) for metric in scope.metrics}


def value(reader, name, **more):
    _, points = measured(reader)[name]
    (point,) = (point for point in points if point.attributes == {**SITE, **more})
    return point.value


def test_rounds_add_up(reader, meters):
    meters.finished(finished(bytes_sent=100, bytes_received=40, refused={"oslo": "too far"}), SITE)
    meters.finished(finished(bytes_sent=10, bytes_received=4), SITE)
    assert value(reader, "swarm.rounds") == 2
    assert value(reader, "swarm.contributions.refused") == 1
    assert value(reader, "swarm.round.io", **{"network.io.direction": "transmit"}) == 110
    assert value(reader, "swarm.round.io", **{"network.io.direction": "receive"}) == 44


def test_durations_are_histograms_in_seconds(reader, meters):
    meters.finished(finished(seconds=0.2, stall=0.05), SITE)
    meters.finished(finished(seconds=20.0, stall=4.0), SITE)
    found = measured(reader)
    unit, (point,) = found["swarm.round.duration"]
    assert (unit, point.count, point.sum) == ("s", 2, 20.2)
    buckets = dict(zip(point.explicit_bounds, point.bucket_counts, strict=False))
    assert (buckets[0.3], buckets[30.0]) == (1, 1)
    assert found["swarm.round.stall"][1][0].sum == 4.05


def test_losses_are_those_of_the_last_round(reader, meters):
    meters.finished(finished(), SITE)
    assert "swarm.loss" not in measured(reader)
    meters.finished(finished(loss=0.75, own_loss=0.5), SITE)
    meters.finished(finished(loss=0.25), SITE)
    assert value(reader, "swarm.loss", **{"swarm.model": "merged"}) == 0.25
    assert value(reader, "swarm.loss", **{"swarm.model": "own"}) == 0.5


def test_sites_of_the_last_round_are_none_after_the_end(reader, meters):
    meters.finished(finished(), SITE)
    assert value(reader, "swarm.peers") == 2
    meters.closed(closed(), SITE)
    assert value(reader, "swarm.peers") == 0


def test_failures_say_whether_the_round_is_tried_again(reader, meters):
    for event in (aborted(), aborted(), skipped()):
        meters.failed(event, SITE)
    assert value(reader, "swarm.round.failures", **{"swarm.failed": "attempt"}) == 2
    assert value(reader, "swarm.round.failures", **{"swarm.failed": "sync_point"}) == 1
