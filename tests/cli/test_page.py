"""Where the live page listens, what opens it, and that it ends with what it shows."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner

from swarm.cli import page
from swarm.cli.app import app
from swarm.cli.written import Written
from swarm.errors import AddressError, ConfigurationError
from swarm.report.content import REPORT, Report, Round, Totals, to_json


@pytest.fixture
def no_plugin(monkeypatch):
    monkeypatch.setattr(page, "entry_points", lambda group: ())


def test_without_the_plugin_the_commands_say_what_to_install(no_plugin, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for command in (["dashboard"], ["up", "--dashboard", "--", "python", "x.py"]):
        ended = CliRunner().invoke(app, command)
        assert ended.exit_code == 2
        assert "pip install swarm-dashboard" in ended.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--report", "none.json"], "--report none.json: there is no such file"),
        (["--report", "."], "--report . is a directory: name the file swarm-report.json in it"),
        (
            ["--report", "train.py"],
            "--report train.py is neither a swarm-report.json nor a run that the page has saved",
        ),
        (["--report", "other.json"], "--report other.json is neither a swarm-report.json nor a run that"),
        (["--peer", "127.0.0.1"], "'127.0.0.1' is no address: expected host:port"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_the_page_opens(monkeypatch, tmp_path, options, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import torch\n")
    (tmp_path / "other.json").write_text('{"loss": 1}')
    monkeypatch.setattr(page, "entry_points", lambda group: (EntryPoint("dashboard", "json:dumps", group),))
    ended = CliRunner().invoke(app, ["dashboard", *options])
    assert (ended.exit_code, sentence in ended.output) == (2, True), ended.output
    assert "the page is at" not in ended.output


def test_the_page_has_a_token_and_listens_on_this_machine_only():
    one, other = page.place(None, None), page.place(None, None)
    with one.listening, other.listening:
        assert one.listening.getsockname()[0] == "127.0.0.1"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", one.url)
        assert one.token != other.token
        assert one.url not in repr(one)
        assert one.token not in repr(one)


def test_a_taken_default_port_gives_way_and_a_chosen_one_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"127.0.0.1:{port}.*--listen"):
            page.place(f"127.0.0.1:{port}", None)
    with page.place(None, None).listening as first, page.place(None, None).listening as second:
        assert first.getsockname()[1] != second.getsockname()[1]


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "10.0.0.5:8700", "hospital.example:8700"])
def test_other_machines_reach_no_page_that_is_not_encrypted(listen):
    with pytest.raises(ConfigurationError, match="identity"):
        page.place(listen, None)


def test_certificates_need_an_identity():
    with pytest.raises(ConfigurationError, match="--certificates"):
        page.place(None, None, certificates=True)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6 here")
def test_the_page_is_reached_over_ipv4_and_ipv6_and_under_a_name_that_has_ipv6_only(tmp_path, monkeypatch):
    with page.place("[::]:0", tmp_path).listening as listening:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, listening.getsockname()[1]), timeout=30).close()
    known = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *others, **options: known("::1", *others, **options))
    with (at := page.place("page.example:0", tmp_path)).listening:
        assert at.url.startswith("https://[::1]:")


def test_with_an_identity_the_page_is_encrypted_where_others_reach_it(tmp_path):
    with (at := page.place("0.0.0.0:0", tmp_path)).listening:
        assert at.url.startswith("https://")
        assert at.token
    with (at := page.place(None, tmp_path)).listening:
        assert at.url.startswith("http://")
    with (at := page.place(None, tmp_path, certificates=True)).listening:
        assert at.url.startswith("https://")
        assert "token" not in at.url


def test_who_serves_the_page_notices_the_end_of_its_parent():
    pipe = io.BytesIO(b"secret\n")
    assert page.Parent(os.getppid(), pipe).token == "secret"
    assert page.Parent(os.getppid(), io.BytesIO(b"t\n")).ended() is None
    assert page.Parent(1 << 30, io.BytesIO(b"t\n")).ended() == {}


def test_who_serves_the_page_is_told_how_the_run_ended():
    parent = page.Parent(os.getppid(), io.BytesIO(b't\n{"exit_code": 3}\n'))
    while parent.ended() is None:
        pass
    assert parent.ended() == {"exit_code": 3}


def test_up_tells_where_the_page_is_and_ends_it(swarm, python):
    ended = swarm("up", "-n", "2", "--dashboard", "--", python, "-c", "import time; time.sleep(1)")
    assert ended.returncode == 0, ended.stderr
    (url,) = re.findall(r"the page is at (\S+)", ended.stderr)
    assert "token=" in url
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


def test_up_says_how_the_page_is_seen_again(swarm, python):
    write = "import os, time; open(os.environ['MODEL_DIR'] + '/swarm-report.json', 'w').close(); time.sleep(1)"
    ended = swarm("up", "-n", "2", "--dashboard", "--model-dir", "out", "--", python, "-c", write)
    assert ended.returncode == 0, ended.stderr
    assert "`swarm dashboard --report out/peer-0/swarm-report.json` shows the run again" in ended.stderr


def test_a_page_beside_a_training_answers_and_ends(tmp_path):
    environment = {**os.environ, "SWARM_RENDEZVOUS": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    beside = page.start(environment, directory=tmp_path)
    try:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(beside.url, timeout=60) as answer:
            assert b"<title>Swarm</title>" in answer.read()
        with opener.open(re.sub(r"\?.*", "run.json", beside.url), timeout=60) as answer:
            assert json.load(answer)["end"] is None
    finally:
        beside.tell({"exit_code": 0, "peers": []})
        beside.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(beside.url, timeout=5)


@pytest.fixture
def written():
    """Writes a report of a session of its own, as a peer does at its end."""

    def write(place, session="heart"):
        place.mkdir(parents=True, exist_ok=True)
        report = Report(
            site="paris", session=session, sentence="", began=1.0, ended=2.0, closing=True, totals=Totals(), round=7,
            rounds=(Round(at=2.0, round=7, outcome="closed"),),
        )  # fmt: skip
        (place / REPORT).write_bytes(to_json(report))

    return write


def test_a_report_is_handed_out_once_when_it_is_written(written, tmp_path):
    written(tmp_path / "old", "earlier")
    reports = Written([tmp_path / "old", tmp_path / "new"])
    assert reports.new() == []
    written(tmp_path / "new")
    written(tmp_path / "new" / "brain@paris", "brain")
    assert [each["session"] for each in reports.new()] == ["heart", "brain"]
    assert reports.new() == []
    (tmp_path / "old" / REPORT).rename(tmp_path / "old" / f"previous-{REPORT}")
    written(tmp_path / "old", "again")
    assert [(each["session"], each["rounds"][0]["round"]) for each in reports.new()] == [("again", 7)]


def test_a_file_that_is_no_report_is_left_out(tmp_path, written):
    reports = Written([tmp_path])
    (tmp_path / REPORT).write_text("[]")
    assert reports.new() == []


def news(url):
    """What a browser that follows is told, up to the end."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.open(url, timeout=60).close()
    with opener.open(re.sub(r"\?.*", "events", url), timeout=60) as stream:
        yield from (json.loads(line[6:]) for line in stream if line.startswith(b"data: {"))


@pytest.mark.parametrize("by", ["MODEL_DIR", "SWARM_MODEL_DIR", "swarm.toml", "--model-dir"])
def test_a_page_beside_a_training_shows_what_the_report_of_the_peer_adds(by, written, user_environment, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (tmp_path / "swarm.toml").write_text(f"[swarm]\nmodel_dir = '{model}'\n" if by == "swarm.toml" else "")
    environment = {**user_environment, "PYTHONPATH": os.pathsep.join(sys.path), "SWARM_RENDEZVOUS": str(tmp_path)}
    environment |= {by: str(model)} if by.isupper() else {}
    options = [f"{by}={model}"] if by.startswith("--") else []
    beside = page.start(environment, *options, directory=tmp_path)
    try:
        told = news(beside.url)
        assert next(told)["sessions"] == []
        written(model)
        session = next(each for each in told if each["sessions"])["sessions"][0]
        assert [(each["peer"], each["round"], each["outcome"]) for each in session["rounds"]] == [
            ("paris", 7, "closed")
        ]
    finally:
        beside.close()


TRAINING = """
import torch
from swarm import SwarmCallback

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
callback = SwarmCallback(sync_interval=4, model=model, model_name="heart")
callback.on_train_begin()
for _ in range(8):
    optimizer.zero_grad()
    model(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    callback.on_batch_end()
callback.on_train_end()
"""


def test_the_page_of_up_shows_the_closing_round_of_each_peer(tmp_path, user_environment):
    (tmp_path / "train.py").write_text(TRAINING)
    command = [sys.executable, "-m", "swarm.cli", "up", "-n", "2", "--dashboard", "--model-dir", "out"]
    with subprocess.Popen(
        [*command, "--", sys.executable, "train.py"],
        cwd=tmp_path, env=user_environment, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        lines = iter(process.stderr.readline, "")
        url = next(found[1] for line in lines if (found := re.search(r"the page is at (\S+)", line)))
        told = [each for one in news(url) for each in one["sessions"]]
        rest = "".join(lines)
    assert process.returncode == 0, rest
    closed = {each["peer"]: each["round"] for one in told for each in one["rounds"] if each["outcome"] == "closed"}
    assert closed == dict.fromkeys(("peer-0", "peer-1"), max(closed.values()))
    assert [each["round"] for one in told for each in one["records"] if each["closing"]] == [closed["peer-0"]]


def test_the_plugin_is_found_by_its_entry_point(monkeypatch):
    entry = EntryPoint("dashboard", "json:dumps", page.GROUP)
    monkeypatch.setattr(page, "entry_points", lambda group: (entry,))
    assert page.plugin() is json.dumps
