"""Answers from an address, which need not be a peer, as ``swarm status`` and ``swarm up`` show them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from swarm.cli.answers import PeerView, parse, plain, sessions
from swarm.cli.app import app
from swarm.cli.display.base import PeerRow, progress
from swarm.cli.statuses import StatusBoard
from swarm.errors import TransportError, UnreachablePeerError

HOSTILE = "\x1b]0;owned\x07\x1b[2J[bold red]x[/]\r\nforged"
MORE = ("a\u202eb", "a\u200bb", "\udcff", "[link=file:///etc/passwd]a[/link]", "[/]", "x" * 10**6)


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


ODD = [
    ({"round": "many"}, "round is 'many', not a count"),
    ({"round": -1}, "round is -1, not a count"),
    ({"round": 1.5}, "round is 1.5, not a count"),
    ({"round": True}, "round is True, not a count"),
    ({"round": 10**4000}, "round is a number that is too large, not a count"),
    ({"round": [1]}, "round is a list of 1, not a count"),
    ({"bytes_sent": "\x1b[31m"}, r"bytes_sent is .*, not a count"),
    ({"loss": "low"}, "loss is 'low', not a number"),
    ({"loss": {}}, "loss is a dict of 0, not a number"),
    ({"loss": 10**400}, "loss is a number that is too large"),
    ({"seconds_left": -5}, "seconds_left is -5.0, not a number of seconds"),
    ({"seconds_left": float("inf")}, "seconds_left is inf"),
    ({"seconds_left": float("nan")}, "seconds_left is nan"),
    ({"total_epochs": "3"}, "total_epochs is '3', not a count"),
    ({"name": 3}, "name is 3, not a text"),
    ({"protocol": "1"}, "protocol is '1', not a count"),
    ({"session_protocol": -1}, "session_protocol is -1, not a count"),
    ({"release": 1}, "release is 1, not a text"),
    ({"session": ["a"]}, "session is a list of 1, not a text"),
    ({"status": {"a": 1}}, "status is a dict of 1, not a text"),
    ({"peers": 7}, "peers is 7, not a list"),
    ({"peers": "abc"}, "peers is 'abc', not a list"),
    ({"peers": {"a": 1}}, "peers is a dict of 1, not a list"),
    ({"peers": [None]}, "peers is a list of 1, not a list of at most 1024 peers"),
    ({"peers": [{"name": 3}]}, "name is 3, not a text"),
    ({"peers": [{}] * 1025}, "peers is a list of 1025"),
]


@pytest.mark.parametrize("odd", [7, "abc", {"a": 1}, [None], [{}] * 1025])
def test_odd_sessions_are_refused(odd) -> None:
    with pytest.raises(TransportError, match="did not answer with a status: sessions is .*, not a list of at most"):
        sessions({"sessions": odd})


@pytest.mark.parametrize(("answer", "message"), ODD)
def test_an_odd_answer_names_the_field(answer, message) -> None:
    with pytest.raises(TransportError, match=message) as raised:
        parse({"name": "a", **answer})
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "answer",
    [*(answer for answer, _ in ODD), {"last": nested(60)}, {"x": nested(400)}, {"last": [0] * 1025}],
)
def test_status_says_in_one_line_that_an_answer_is_odd(answer, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["status", "--peer", "h:1"], obj=lambda address, timeout: {"name": "a", **answer})
    assert shown.exit_code == 1
    assert shown.exception is None or isinstance(shown.exception, SystemExit)
    first, last = shown.stderr.splitlines()
    assert first.startswith("swarm: h:1 does not answer as a peer does: it")
    assert last.startswith("swarm: no peer answered")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_nothing_that_a_terminal_obeys_is_shown(options, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    peer = {"name": HOSTILE, "address": HOSTILE, "state": HOSTILE}
    answer = {"name": HOSTILE, "address": HOSTILE, "session": HOSTILE, "status": HOSTILE, "peers": [peer, {}]}
    answer |= {"last": {HOSTILE: [HOSTILE, float("nan")]}, "loss": float("nan")}
    shown = CliRunner().invoke(app, ["status", "--peer", "h:1", *options], obj=lambda address, timeout: answer)
    assert shown.exit_code == 0
    assert all(line.isprintable() for line in shown.stdout.splitlines())
    if options:
        (document,) = json.loads(shown.stdout, parse_constant=pytest.fail)["peers"]
        assert document["loss"] is None
    else:
        assert r"\x1b]0;owned\x07\x1b[2J[bold red]x[/]\r\nforged" in shown.stdout


@pytest.mark.parametrize("text", MORE, ids=["bidi", "zero width", "surrogate", "link", "closing tag", "a megabyte"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_text_of_a_peer_is_shown_as_text_and_cut(options, text, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    peer = {"name": text, "address": text, "state": text}
    answer = {"name": text, "address": text, "session": text, "status": text, "peers": [peer], "last": {text: [text]}}
    shown = CliRunner().invoke(app, ["status", "--peer", "h:1", *options], obj=lambda address, timeout: answer)
    assert shown.exit_code == 0
    assert all(line.isprintable() for line in shown.stdout.splitlines())
    assert len(shown.stdout) < 12_000
    if text.startswith("["):
        assert text in shown.stdout, "markup is shown and not obeyed"


@pytest.mark.parametrize("text", [HOSTILE, *MORE])
def test_the_reason_of_a_peer_that_does_not_answer_is_one_line(text, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)

    def fetch(address, timeout):
        raise UnreachablePeerError(f"refused: {text}")

    shown = CliRunner().invoke(app, ["status", "--peer", "h:1"], obj=fetch)
    assert len(shown.stderr.splitlines()) == 2
    assert all(line.isprintable() and len(line) < 1200 for line in shown.stderr.splitlines())


def test_the_table_of_swarm_up_passes_an_odd_answer_over(tmp_path) -> None:
    (tmp_path / "a.json").write_text('{"name": "peer-0", "address": "h:1"}')
    answers = [{"name": "peer-0", "round": 3}, {"name": "peer-0", "round": "x"}, {"name": "peer-0", "bytes_sent": []}]
    board = StatusBoard(tmp_path, lambda address, timeout: answers.pop(0))
    for _ in range(3):
        board.refresh()
    assert board.view("peer-0") == PeerView(name="peer-0", round=3)


def test_the_largest_numbers_can_be_shown() -> None:
    view = parse({"name": "a", "round": 2**63 - 1, "bytes_sent": 2**63 - 1, "seconds_left": 2.0**62, "loss": 1e308})
    assert "ETA" in progress([PeerRow(name="a", rank=0, view=view)])


def test_what_an_answer_leaves_out_has_its_default() -> None:
    assert parse({"name": "a"}) == PeerView(name="a")
    assert parse({}) == PeerView(name="?")


def test_an_ordinary_answer_is_passed_on_as_it_is() -> None:
    answer = {"name": "a", "round": None, "loss": 0.5, "last": {"group": ["a", "b"], "late": False}}
    assert plain(answer) == answer
