from __future__ import annotations

import io

import pytest
from rich.console import Console

from swarm.cli.answers import PeerView
from swarm.cli.display import LiveDisplay, PeerRow, PlainDisplay, choose, progress
from swarm.cli.table import epochs, size


def row(rank, **view):
    return PeerRow(name=f"peer-{rank}", rank=rank, view=PeerView(name=f"peer-{rank}", **view) if view else None)


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({}, "running"),
        ({"view": PeerView(name="a", status="snapshot")}, "snapshot"),
        ({"ended": True}, "done"),
        ({"ended": True, "problem": "137"}, "failed (137)"),
        ({"ended": True, "problem": "stopped"}, "stopped"),
        ({"view": PeerView(name="a", status="merging"), "silent_for": 4}, "merging"),
        ({"view": PeerView(name="a", status="merging"), "silent_for": 5}, "silent for 5 s"),
        ({"ended": True, "silent_for": 60}, "done"),
        ({"ended": True, "problem": "137", "silent_for": 60}, "failed (137)"),
    ],
)
def test_the_state_of_a_peer_is_a_word_or_two(given, state):
    assert PeerRow(name="a", rank=0, **given).state == state


def test_progress_is_one_line():
    rows = [
        row(0, round=4, loss=0.5, interval=8, bytes_sent=1_500_000),
        row(1, round=5, loss=0.25, interval=8, bytes_sent=500_000),
        row(2),
    ]

    assert progress(rows) == "round 5, 3 of 3 peers running, loss 0.25 to 0.5, interval 8, 2.0 MB sent"


def test_progress_tells_how_far_the_slowest_is():
    rows = [
        row(0, round=4, epoch=3, total_epochs=5, seconds_left=20.0),
        row(1, round=4, epoch=2, total_epochs=5, seconds_left=3600.5),
        row(2, round=4, epoch=1, total_epochs=5),
    ]

    assert progress(rows) == "round 4, 3 of 3 peers running, epoch 2/5, ETA 1:00:01, 0 B sent"


def test_progress_tells_no_end_that_was_passed():
    assert "ETA" not in progress([row(0, epoch=6, total_epochs=5, seconds_left=0.0)])


def test_progress_tells_the_losses_of_those_that_still_run():
    rows = [row(0, round=5, loss=0.25), PeerRow(name="dead", rank=1, ended=True, view=PeerView(name="dead", loss=9.0))]

    assert progress(rows) == "round 5, 1 of 2 peers running, loss 0.25, 0 B sent"


@pytest.mark.parametrize(
    ("view", "text"),
    [
        ({}, ""),
        ({"epoch": 2}, "2"),
        ({"total_epochs": 9}, "0/9"),
        ({"epoch": 9, "total_epochs": 9}, "9/9"),
        ({"epoch": 10, "total_epochs": 9}, "10"),
    ],
)
def test_epochs_are_shown_as_far_as_they_are_known(view, text):
    assert epochs(PeerView(name="a", **view)) == text


def test_a_file_gets_a_line_when_a_round_is_over(capsys):
    display = PlainDisplay(6)

    for reached in (0, 1, 1):
        display.update([row(0, round=reached, bytes_sent=1)])

    assert capsys.readouterr().err == "swarm  | round 1, 1 of 1 peers running, 1 B sent\n"


def test_a_terminal_gets_a_table_under_the_outputs():
    screen = io.StringIO()
    display = LiveDisplay(6, Console(file=screen, force_terminal=True, width=100, color_system=None))

    with display:
        view = {"status": "training", "round": 7, "loss": 0.125, "interval": 16, "bytes_sent": 2000}
        display.update([row(0, **view, epoch=3, total_epochs=10, seconds_left=79.2)])
        display.line("peer-0", 0, "[bold] \x1b[31mred\x1b[0m", is_error=True)

    shown = screen.getvalue()
    assert "peer-0 | [bold] red" in shown
    assert shown.index("peer-0 | ") < shown.rindex("training")
    table = shown[shown.rindex("received") :].split()
    assert table[1:11] == ["peer-0", "training", "7", "3/10", "1:20", "0.125", "16", "2.0", "kB", "0"]


def test_a_table_is_drawn_when_the_peers_have_changed():
    screen = io.StringIO()
    display = LiveDisplay(6, Console(file=screen, force_terminal=True, width=100, color_system=None))

    with display:
        display.update([row(0, status="training", round=7)])
        drawn = screen.getvalue()
        display.update([row(0, status="training", round=7)])
        assert screen.getvalue() == drawn
        display.update([row(0, status="merging", round=7)])
        assert "merging" in screen.getvalue()

    assert "training" in drawn


def test_a_terminal_gets_the_sentences_of_the_launcher():
    screen = io.StringIO()

    LiveDisplay(6, Console(file=screen, force_terminal=True, width=20, color_system=None)).note("all [2] peers ended")

    assert screen.getvalue() == "swarm  | all [2] peers ended\n"


def test_only_the_prefix_has_the_colour_of_the_peer():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system="standard", no_color=False)

    LiveDisplay(6, console).line("peer-0", 0, "text", is_error=True)

    assert screen.getvalue() == "\x1b[36mpeer-0 | \x1b[0mtext\n"


def test_a_live_table_is_for_terminals_only(capsys):
    assert isinstance(choose(["peer-0"], table=True, json_output=False), PlainDisplay)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_345_678, "2.3 MB"), (5 * 10**12, "5.0 TB")]
)
def test_sizes_are_readable(count, text):
    assert size(count) == text
