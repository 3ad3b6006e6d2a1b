from __future__ import annotations

import json
import re

import pytest
from starlette.testclient import TestClient

from swarm_dashboard.application import PAGE, application
from swarm_dashboard.feed import Feed
from swarm_dashboard.history import FORMAT, History

from .told import round_, status, turn


@pytest.fixture
def feed():
    feed = Feed(History(), turn, lambda: None, list)
    feed.history.take(turn(status("paris", rounds=[round_(1), round_(2)])))
    feed.over = True  # so that streams end
    return feed


@pytest.fixture
def client(feed):
    return TestClient(application(feed))


def news(answer):
    """The messages of a stream: number and content."""
    return re.findall(r"id: (\S+)\ndata: (.*)\n\n", answer.text)


def test_a_browser_gets_all_that_is_known(client, feed):
    answer = client.get("/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    ((number, text),) = news(answer)
    document = json.loads(text)
    assert number == f"{feed.history.id}-{feed.history.version}"
    assert (document["format"], document["complete"]) == (FORMAT, True)
    assert [each["round"] for each in document["sessions"][0]["rounds"]] == [1, 2]


def test_a_browser_that_comes_back_gets_what_it_missed(client, feed):
    ((last, _),) = news(client.get("/events"))
    feed.history.take(turn(status("paris", rounds=[round_(3)])))
    ((_, text),) = news(client.get("/events", headers={"last-event-id": last}))
    document = json.loads(text)
    assert document["complete"] is False
    assert [each["round"] for each in document["sessions"][0]["rounds"]] == [3]


@pytest.mark.parametrize("last", ["", "7", "other-5", "-", "x-y", f"{'9' * 40}"])
def test_a_browser_of_another_page_gets_everything(client, feed, last):
    ((_, text),) = news(client.get("/events", headers={"last-event-id": last}))
    assert json.loads(text)["complete"] is True


def test_the_run_can_be_saved(client):
    answer = client.get("/run.json")
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.json()["sessions"][0]["name"] == "heart"


def test_saved_runs_are_handed_out_as_they_are(feed, tmp_path):
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        file.write_text(json.dumps({"swarm_report": 1, "site": file.stem}))
    assert TestClient(application(feed, files)).get("/saved.json").json() == [
        {"swarm_report": 1, "site": "a"},
        {"swarm_report": 1, "site": "b"},
    ]
    assert TestClient(application(feed)).get("/saved.json").json() == []


def test_the_page_needs_nothing_from_elsewhere(client):
    """No file of the page names another host, and every file that it names is there."""
    asked = {"/"}
    seen = set()
    while asked:
        path = asked.pop()
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        if "uPlot" in path or not re.search(r"(/|\.js|\.css)$", path):
            continue
        assert not re.search(r"https?://(?!www\.w3\.org/)", answer.text), path
        found = re.findall(r'(?:href|src)="(page/[^"]+)"', answer.text) if path == "/" else []
        found += [f"page/{name}" for name in re.findall(r'from "\./([^"]+)"', answer.text)]
        asked |= {f"/{each}" for each in found} - seen
    assert {f"/page/{file.relative_to(PAGE)}" for file in PAGE.rglob("*.js")} <= seen


def test_what_peers_tell_never_becomes_markup():
    for file in PAGE.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", file.read_text()), file


def test_the_chart_library_has_its_licence_beside_it():
    assert "MIT" in (PAGE / "uplot" / "LICENSE").read_text()
