"""The dashboard asks for what the plugin exposes, in queries that Prometheus can parse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources

import promql_parser
import pytest
from prometheus_client import CollectorRegistry

from swarm.records import Outcome, RoundFailed, RoundFinished, RoundReport
from swarm_prometheus.exporter import Exporter

DASHBOARD = json.loads((resources.files("swarm_prometheus") / "grafana.json").read_text(encoding="utf-8"))
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
BUILT_IN = {"__rate_interval": "1m"}
ADDED = {"instance", "job"}
"""Labels that Prometheus gives to everything that it scrapes."""


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """By name of a series, its labels, after a session that had one of everything."""
    registry = CollectorRegistry()
    exporter = Exporter(registry)
    report = RoundReport(outcome=Outcome.MERGED, round=1, group=("a", "b"), seconds=0.1, loss=0.5)
    exporter.round_finished(RoundFinished(session="heart", report=report))
    exporter.round_failed(RoundFailed(session="heart", round=2, reason="late"))
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {sample.name: {*sample.labels} | ADDED for sample in samples if not sample.name.endswith("_created")}


def filled(query: str) -> str:
    """With values for the variables of the dashboard, as Grafana would send it."""
    values = {**dict.fromkeys(VARIABLES, ".*"), **BUILT_IN}
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], query)


def parts(query: str) -> Iterator[object]:
    found: list[object] = []
    promql_parser.walk(promql_parser.parse(filled(query)), found.append)
    return iter(found)


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_a_query_asks_for_metrics_and_labels_that_exist(exposed, title, query):
    selectors = [part for part in parts(query) if isinstance(part, promql_parser.VectorSelector)]
    assert selectors
    for selector in selectors:
        assert selector.name in exposed, f"{title} asks for {selector.name}"
        assert {matcher.name for matcher in selector.matchers.matchers} == {"session", "instance"}


def test_a_metric_that_does_not_exist_is_noticed(exposed):
    (selector,) = (part for part in parts("rate(swarm_gone_total[1m])") if hasattr(part, "matchers"))
    assert selector.name not in exposed
    with pytest.raises(ValueError, match="unclosed"):
        list(parts("rate(swarm_rounds_total[1m]"))


def test_every_metric_is_in_a_panel(exposed):
    shown = {
        part.name for _, query in QUERIES for part in parts(query) if isinstance(part, promql_parser.VectorSelector)
    }
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in exposed}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in shown} == families


def test_variables_are_read_from_labels_that_exist(exposed):
    asked = [each["query"]["query"] for each in VARIABLES.values() if each["type"] == "query"]
    assert len(asked) == 2
    for query in asked:
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
        (found,) = parts(selector)
        assert label in exposed[found.name]


def test_legends_name_labels_that_the_result_has():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            kept = re.search(r"sum by \(([\w, ]+)\)", target["expr"])
            labels = set(kept[1].split(", ")) if kept else {"session", "instance"}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_panels_have_a_place_of_their_own():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24, "Grafana has 24 columns"
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_it_asks_for_its_source_of_data_when_it_is_imported():
    assert VARIABLES["datasource"]["type"] == "datasource"
    sources = [panel["datasource"] for panel in DASHBOARD["panels"]]
    sources += [target["datasource"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
