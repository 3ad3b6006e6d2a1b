from __future__ import annotations

import io
import json
import os
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from swarm.cli.answers import parse
from swarm.cli.app import app
from swarm.cli.status import chosen, find
from swarm.cli.table import peer_table
from swarm.cli.watching import await_first, follow
from swarm.clock import ManualClock
from swarm.config import SETTINGS
from swarm.errors import ConfigurationError, IdentityError, UnreachablePeerError
from swarm.versions import UPDATE

ANSWERS = {
    "127.0.0.1:7000": {
        "name": "north", "address": "127.0.0.1:7000", "session": "heart", "status": "training", "round": 12,
        "epoch": 3, "total_epochs": 10, "seconds_left": 79.2,
        "interval": 10, "loss": 0.4321, "bytes_sent": 4200, "bytes_received": 4100,
        "peers": [
            {"name": "south", "address": "127.0.0.1:7001", "state": "live", "weight": 1},
            {"name": "north", "address": "127.0.0.1:7000", "state": "live", "weight": 1},
        ],
    },
}  # fmt: skip
BRAIN = ANSWERS["127.0.0.1:7000"] | {"address": "127.0.0.1:7004", "session": "brain", "round": 3}
ANSWERS["127.0.0.1:7004"] = {"sessions": [ANSWERS["127.0.0.1:7000"] | {"address": "127.0.0.1:7004"}, BRAIN]}
ANSWERS["127.0.0.1:7002"] = ANSWERS["127.0.0.1:7000"] | {"address": "127.0.0.1:7002"}


def fetch(address, timeout):
    if address not in ANSWERS:
        raise UnreachablePeerError(f"nobody listens on {address}")
    return ANSWERS[address]


@pytest.fixture
def command(tmp_path, user_environment, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - user_environment.keys():
        monkeypatch.delenv(name)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return lambda *arguments, **options: CliRunner().invoke(app, arguments, obj=fetch, **options)


def test_status_shows_the_peer_and_whom_it_knows(command):
    shown = command("status", "--peer", "127.0.0.1:7000")

    lines = shown.stdout.splitlines()
    assert lines[0] == "heart"
    assert lines[2].split() == [
        "north", "127.0.0.1:7000", "training", "12", "3/10", "1:20", "0.4321", "10", "4.2", "kB", "4.1", "kB",
    ]  # fmt: skip
    assert lines[3:] == ["also in the swarm: south at 127.0.0.1:7001 (live)"]


def test_a_narrow_terminal_gets_fewer_columns_and_no_name_twice():
    view = parse(ANSWERS["127.0.0.1:7000"] | {"address": "north@127.0.0.1:57000", "bytes_sent": 10**9})
    screen = io.StringIO()
    Console(file=screen, width=80).print(peer_table([("north", 0, "training", view)], 80))
    header, row = screen.getvalue().splitlines()
    assert header.split() == ["peer", "address", "status", "round", "epoch", "ETA", "loss", "sent"]
    assert row.split() == ["north", "127.0.0.1:57000", "training", "12", "3/10", "1:20", "0.4321", "1.0", "GB"]


def test_status_names_the_version_of_the_session_and_who_holds_it_back(command, monkeypatch):
    newer = ANSWERS["127.0.0.1:7000"] | {"protocol": 2, "session_protocol": 1, "release": "0.3.0"}
    others = [
        {"name": "east", "address": "127.0.0.1:7001", "state": "live", "protocol": 1, "release": "0.2.0"},
        {"name": "west", "address": "127.0.0.1:7003", "state": "lost", "protocol": 0, "release": ""},
        {"name": "gone", "address": "127.0.0.1:7005", "state": "left", "protocol": 0, "release": ""},
    ]
    monkeypatch.setitem(ANSWERS, "127.0.0.1:7000", newer | {"peers": others})
    shown = command("status", "--peer", "127.0.0.1:7000")

    assert shown.stdout.splitlines()[3:6] == [
        "the session uses protocol 1",
        "update Swarm at east with `pip install --upgrade swarm-learning`: it speaks protocol 1 at most (Swarm 0.2.0)",
        f"update Swarm at west with `{UPDATE}`: it speaks protocol 0 at most (an unnamed release of Swarm)",
    ]


def test_a_peer_that_does_not_tell_its_version_is_told_to_update_beside_one_that_does(command, monkeypatch):
    newer = {"name": "south", "address": "127.0.0.1:7006", "protocol": 1, "session_protocol": 0, "peers": []}
    monkeypatch.setitem(ANSWERS, "127.0.0.1:7006", ANSWERS["127.0.0.1:7000"] | newer)
    shown = command("status", "--peer", "127.0.0.1:7006", "--peer", "127.0.0.1:7000")

    assert "the session uses protocol 0" in shown.stdout
    assert "update Swarm at north with" in shown.stdout
    assert "update Swarm at south" not in shown.stdout


def test_status_says_which_way_peers_are_reached_that_cannot_be_connected_to(command, monkeypatch):
    ways = {"east": "direct", "west": "relay", "south": "reverse", "gone": None, "odd": "by pigeon"}
    others = [
        {"name": name, "address": f"127.0.0.1:{number}", "state": "live", "way": way}
        for number, (name, way) in enumerate(ways.items(), 7010)
    ]
    monkeypatch.setitem(ANSWERS, "127.0.0.1:7000", ANSWERS["127.0.0.1:7000"] | {"peers": others})
    shown = command("status", "--peer", "127.0.0.1:7000")

    line = "north reaches west over a relay, south over the connections that south opens"
    assert shown.stdout.splitlines()[3] == line
    document = json.loads(command("status", "--peer", "127.0.0.1:7000", "--json").stdout)
    assert [peer["way"] for peer in document["peers"][0]["peers"]] == list(ways.values())


def test_peers_of_one_name_in_two_swarms_are_both_shown(command):
    shown = command("status", "--peer", "127.0.0.1:7000", "--peer", "127.0.0.1:7002")

    assert [line.split()[1] for line in shown.stdout.splitlines()[2:4]] == ["127.0.0.1:7000", "127.0.0.1:7002"]


def test_all_sessions_of_an_address_are_shown(command):
    shown = command("status", "--peer", "127.0.0.1:7004")
    lines = shown.stdout.splitlines()
    assert (lines[0], lines[5]) == ("brain", "heart")
    assert [(line.split()[1], line.split()[3]) for line in (lines[2], lines[7])] == [
        ("127.0.0.1:7004", "3"),
        ("127.0.0.1:7004", "12"),
    ]
    document = json.loads(command("status", "--peer", "127.0.0.1:7004", "--json").stdout)
    assert [peer["session"] for peer in document["peers"]] == ["heart", "brain"]


def test_status_for_machines_says_who_was_silent(command):
    shown = command("status", "--peer", "127.0.0.1:7000", "--peer", "127.0.0.1:9", "--json")

    document = json.loads(shown.stdout)
    assert document["peers"] == [ANSWERS["127.0.0.1:7000"]]
    assert document["unreachable"] == [{"address": "127.0.0.1:9", "reason": "nobody listens on 127.0.0.1:9"}]
    assert shown.exit_code == 0


def test_status_of_nobody_is_an_error(command):
    shown = command("status", "--peer", "127.0.0.1:9")

    assert shown.exit_code == 1
    assert shown.stderr.splitlines() == [
        "swarm: 127.0.0.1:9 does not answer: nobody listens on 127.0.0.1:9",
        "swarm: no peer answered: check that one is running, and give its address with --peer",
    ]


def watched(command, monkeypatch, *looks):
    """Runs with ``--watch``: each look finds one of ``looks``, then comes Ctrl-C."""
    left = iter(looks)

    def answer(address, timeout):
        try:
            return fetch(next(left), timeout)
        except StopIteration:
            raise KeyboardInterrupt from None

    return lambda *arguments: CliRunner().invoke(
        app, ["status", "--peer", "127.0.0.1:7000", "--watch", "--every", "0.1", *arguments], obj=answer
    )


def test_status_can_be_watched_and_outlives_a_look_without_an_answer(command, monkeypatch):
    shown = watched(command, monkeypatch, "127.0.0.1:7000", "127.0.0.1:9", "127.0.0.1:7002")()

    assert shown.exit_code == 0
    rows = [line.split()[1] for line in shown.stdout.splitlines() if line.startswith("north")]
    assert rows == ["127.0.0.1:7000", "127.0.0.1:7002"]
    assert "no peer answers at the moment" in shown.stdout


def test_a_watched_status_for_machines_is_one_line_for_each_look(command, monkeypatch):
    shown = watched(command, monkeypatch, "127.0.0.1:7000", "127.0.0.1:7002")("--json")

    documents = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [each["peers"][0]["address"] for each in documents] == ["127.0.0.1:7000", "127.0.0.1:7002"]


def test_a_watched_status_waits_for_the_first_peer(command, monkeypatch):
    shown = watched(command, monkeypatch, "127.0.0.1:9", "127.0.0.1:9", "127.0.0.1:7002")()

    assert shown.exit_code == 0
    assert re.fullmatch(
        r"swarm: waiting until \d\d:\d\d:\d\d for a peer to answer: no peer answered \(127\.0\.0\.1:7000 does not "
        r"answer: nobody listens on 127\.0\.0\.1:9\): check that one is running, and give its address with --peer\n",
        shown.stderr,
    )
    assert [line.split()[1] for line in shown.stdout.splitlines() if line.startswith("north")] == ["127.0.0.1:7002"]


def test_a_watched_status_ends_quietly_where_nobody_has_come(command, monkeypatch):
    shown = watched(command, monkeypatch, "127.0.0.1:9")()

    assert (shown.exit_code, shown.stdout) == (0, "")
    assert shown.stderr.startswith("swarm: waiting until")


def test_a_watched_status_waits_no_longer_than_is_given(command, monkeypatch):
    shown = watched(command, monkeypatch, "127.0.0.1:9")("--wait", "0")

    assert shown.exit_code == 1
    assert shown.stderr.startswith("swarm: no peer answered (127.0.0.1:7000 does not answer")


def test_a_name_that_was_not_started_here_yet_is_waited_for(command, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shown = command("status", "--peer", "peer-0", "--watch", "--wait", "0.01", "--every", "0.1")

    waiting, ended = shown.stderr.splitlines()
    assert re.match(r"swarm: waiting until .*: no peer 'peer-0' was started here \(there is none\)", waiting)
    assert ended.startswith("swarm: no peer 'peer-0' was started here")


def test_the_wait_for_the_first_peer_is_one_line_and_ends_at_its_deadline():
    clock, told, pauses = ManualClock(), [], []

    def pause(seconds):
        pauses.append(seconds)
        clock.advance(seconds)

    def look():
        raise ConfigurationError("there is no peer to ask")

    with pytest.raises(ConfigurationError, match="there is no peer to ask"):
        await_first(look, 5.0, 2.0, tell=told.append, clock=clock, pause=pause)

    assert pauses == [2.0, 2.0, 1.0]
    assert [re.sub(r"\d", "0", line) for line in told] == [
        "waiting until 00:00:00 for a peer to answer: there is no peer to ask"
    ]


def test_an_identity_that_cannot_be_read_is_not_waited_for():
    def look():
        raise IdentityError("identity.pem is missing")

    with pytest.raises(IdentityError):
        await_first(look, 5.0, 2.0, tell=pytest.fail, clock=ManualClock(), pause=pytest.fail)


def test_on_a_terminal_a_watched_table_changes_in_place_until_nobody_is_there():
    screen, looks = io.StringIO(), iter(["two"])

    def look():
        try:
            return next(looks)
        except StopIteration:
            raise ConfigurationError("there is no peer to ask") from None

    console = Console(file=screen, force_terminal=True, width=100, color_system=None, _environ={})
    follow("one", look, 2.0, shown=Text, out=console, pause=lambda seconds: None)

    shown = screen.getvalue()
    assert "\x1b[1A" in shown or "\x1b[2K" in shown
    assert shown.index("one") < shown.index("two") < shown.index("that was the last answer: there is no peer to ask")


def test_status_of_one_peer_that_was_started_here_is_of_that_one(tmp_path, user_environment):
    started = tmp_path / "swarm-up-x"
    identity = started / "identities" / "launcher"
    identity.mkdir(parents=True)
    for rank in range(2):
        address = f"peer-{rank}@127.0.0.1:700{rank}"
        (started / f"peer-{rank}.json").write_text(json.dumps({"name": f"peer-{rank}", "address": address}))

    def of(*peers):
        return chosen(peers, Path("mine"), user_environment, tmp_path)

    for given in ("peer-1", "127.0.0.1:7001", "peer-1@127.0.0.1:7001"):
        assert of(given) == {"peer-1@127.0.0.1:7001": identity}
    assert of("far.example:7000", "peer-0") == {"far.example:7000": Path("mine"), "peer-0@127.0.0.1:7000": identity}
    with pytest.raises(ConfigurationError, match=r"no peer 'peer-9' was started here \(those are peer-0, peer-1\)"):
        of("peer-9")


def test_status_asks_the_peers_of_the_settings(command):
    Path("swarm.toml").write_text('[swarm]\npeers = ["127.0.0.1:7000"]\n')

    assert "north" in command("status").stdout


def test_status_finds_the_peers_that_were_started_here(tmp_path, user_environment, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = tmp_path / "swarm-up-x"
    started.mkdir()
    (started / "peer-0.json").write_text('{"name": "peer-0", "address": "127.0.0.1:7000"}')
    rendezvous = tmp_path / "mine"
    rendezvous.mkdir()
    (rendezvous / "peer-0.json").write_text('{"name": "peer-0", "address": "127.0.0.1:7001"}')

    assert find(user_environment, tmp_path) == {"127.0.0.1:7000": None}
    assert find(user_environment | {"SWARM_RENDEZVOUS": str(rendezvous)}, tmp_path) == {"127.0.0.1:7001": None}
    with pytest.raises(ConfigurationError, match="give an address with --peer"):
        find(user_environment, rendezvous)


def test_config_names_value_and_origin(command):
    Path("swarm.toml").write_text('[swarm]\nmin_peers = 3\nmembers = ["a", "b", "c"]\n')

    shown = command("config", env={"SWARM_INSECURE": "yes"}).stdout.splitlines()

    rows = {line.split()[0]: line.split()[1:] for line in shown[1:]}
    assert shown[0].split() == ["setting", "value", "from"]
    assert tuple(rows) == tuple(SETTINGS)
    assert rows["min_peers"] == ["3", "swarm.toml"]
    assert rows["members"] == ["a,", "b,", "c", "swarm.toml"]
    assert rows["insecure"] == ["true", "SWARM_INSECURE"]
    assert rows["sync_interval"] == ["128", "default"]
    assert rows["data_dir"] == ["-", "default"]


def test_config_sets_what_was_given_apart_from_the_defaults(command):
    shown = command("config", env={"FORCE_COLOR": "1", "TERM": "xterm", "SWARM_INSECURE": "yes"}).stdout

    assert set(re.findall(r"^\x1b\[2m(\w+)", shown, re.MULTILINE)) == set(SETTINGS) - {"insecure"}


def test_config_for_machines(command, tmp_path):
    document = json.loads(command("config", "--json", env={"SWARM_DATA_DIR": str(tmp_path)}).stdout)

    assert tuple(document) == tuple(SETTINGS)
    assert document["data_dir"] == {"value": str(tmp_path), "origin": "SWARM_DATA_DIR"}
    assert document["peers"] == {"value": [], "origin": "default"}


def test_a_bad_variable_is_one_sentence(command):
    shown = command("config", env={"SWARM_SYNC_INTERVAL": "often"})

    assert shown.exit_code == 2
    assert shown.stderr.startswith("swarm: sync_interval='often' (from SWARM_SYNC_INTERVAL) is not allowed")
    assert len(shown.stderr.splitlines()) == 1


def test_version(command):
    assert command("--version").stdout == f"swarm {version('swarm-learning')}\n"


def test_help_lists_every_command(command):
    words = re.sub(r"\x1b\[[0-9;]*m", "", command("--help").stdout).split()

    identities = {"init", "invite", "join", "sign", "members", "renew", "revoke"}
    assert {"up", "run", "status", "config", "demo", *identities} <= set(words)


def test_stop_writes_the_request_into_the_directories_of_the_peers(tmp_path) -> None:
    (tmp_path / "peer-0" / "swarm-state").mkdir(parents=True)
    result = CliRunner().invoke(app, ["stop", str(tmp_path)])
    assert result.exit_code == 0
    assert "once more than half of them have asked" in result.output
    assert (tmp_path / "swarm-stop").is_file()
    assert (tmp_path / "peer-0" / "swarm-stop").is_file()


def test_stop_names_a_directory_that_is_not_there(tmp_path) -> None:
    result = CliRunner().invoke(app, ["stop", str(tmp_path / "nothing")])
    assert result.exit_code == 1
    assert "No such file or directory" in result.output


def test_stop_without_a_directory_takes_that_of_the_settings(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SWARM_MODEL_DIR", str(tmp_path))
    assert CliRunner().invoke(app, ["stop"]).exit_code == 0
    assert (tmp_path / "swarm-stop").is_file()


def test_stop_with_nobody_to_ask_says_what_to_give(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    result = CliRunner().invoke(app, ["stop"])
    assert result.exit_code == 2
    assert "swarm stop DIR" in result.output


def test_stop_asks_the_peers_that_were_started_here_once_one_is_in_a_session(command, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rendezvous = tmp_path / "swarm-up-x"
    rendezvous.mkdir()

    early = command("stop")
    assert early.exit_code == 2
    assert early.stderr.startswith("swarm: no peer of `swarm up` is in a session: none has begun one yet")
    assert not [*rendezvous.iterdir()]

    (rendezvous / "peer-0.json").write_text('{"name": "peer-0", "address": "127.0.0.1:7000"}')
    assert command("stop").stdout.startswith(f"asked the peers of {rendezvous}: the training ends at all sites once")
    assert (rendezvous / "swarm-stop").exists()


def test_stop_of_nobody_says_what_to_do(command, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert "give the model directory of the peer: swarm stop DIR" in command("stop").stderr
