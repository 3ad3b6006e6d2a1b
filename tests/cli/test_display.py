from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from swarm.cli.answers import PeerView
from swarm.cli.display import choose
from swarm.cli.display.base import PeerRow, progress
from swarm.cli.display.live import LiveDisplay
from swarm.cli.display.logfile import LogFile
from swarm.cli.display.peers import LossHistory, sparkline
from swarm.cli.display.plain import PlainDisplay
from swarm.cli.output import Kind, Line
from swarm.cli.table import epochs
from swarm.logs import LogLine, read_line
from swarm.text import size


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


def own(text, *, is_error=True, name="peer-0", rank=0):
    return Line(name=name, rank=rank, text=text, is_error=is_error)


def logged(text, level="info", *, name="peer-0"):
    line = f"12:00:00 {level.upper()} swarm: {text}"
    return Line(name=name, rank=0, text=line, is_error=True, kind=Kind.LOG, log=LogLine(level, text))


@pytest.fixture
def live(tmp_path):
    """A calm view with its screen, 100 columns wide unless said otherwise."""

    def make(*, width=100, height=40, verbose=False, **options):
        screen = io.StringIO()
        settings = {"force_terminal": True, "color_system": None, "_environ": {}} | options
        console = Console(file=screen, width=width, height=height, **settings)
        return LiveDisplay(6, console, LogFile(tmp_path / "swarm-up.log"), verbose=verbose), screen

    return make


def test_a_terminal_gets_a_table_under_the_outputs(live):
    display, screen = live()

    with display:
        view = {"status": "training", "round": 7, "loss": 0.125, "interval": 16, "batches_left": 4, "bytes_sent": 2000}
        display.update([row(0, **view, epoch=3, total_epochs=10, seconds_left=79.2)])
        display.line(own("[bold] \x1b[31mred\x1b[0m"))

    shown = screen.getvalue()
    assert "peer-0 | [bold] red" in shown
    assert shown.index("peer-0 | ") < shown.rindex("training")
    table = shown[shown.rindex("sent") :].split()
    assert table[1:11] == ["peer-0", "training", "━━━━━━━━━", "12/16", "7", "3/10", "1:20", "0.125", "2.0", "kB"]


def test_a_table_is_drawn_when_the_peers_have_changed(live):
    display, screen = live()

    with display:
        display.update([row(0, status="training", round=7)])
        drawn = screen.getvalue()
        display.update([row(0, status="training", round=7)])
        assert screen.getvalue() == drawn
        display.update([row(0, status="merging", round=7)])
        assert "merging" in screen.getvalue()

    assert "training" in drawn


def test_the_lines_of_rounds_go_to_the_file_and_the_last_one_is_under_the_table(live, tmp_path):
    display, screen = live()

    with display:
        display.line(logged("round 1: 2 peers"))
        display.line(logged("round 2: 2 peers"))
        display.update([row(0, round=2)])
        assert "peer-0: round 2: 2 peers" in screen.getvalue()

    assert "round 1" not in screen.getvalue()
    assert "| 12:00:00" not in screen.getvalue()
    kept = (tmp_path / "swarm-up.log").read_text().splitlines()
    assert kept == [f"peer-0 | 12:00:00 INFO swarm: round {number}: 2 peers" for number in (1, 2)]


def test_a_verbose_terminal_gets_the_lines_of_rounds_and_tracebacks(live):
    display, screen = live(verbose=True)

    with display:
        display.line(logged("round 1: 2 peers"))
        display.line(Line(name="peer-0", rank=0, text="ValueError: why", is_error=True, kind=Kind.TRACEBACK))
        display.trace("peer-0", 0, ["ValueError: why"])

    assert "peer-0 | 12:00:00 INFO swarm: round 1: 2 peers" in screen.getvalue()
    assert screen.getvalue().count("ValueError: why") == 1


def test_a_warning_of_several_peers_is_shown_once(live, tmp_path):
    display, screen = live()

    with display:
        for name in ("peer-0", "peer-1"):
            display.line(logged("bob is gone", "warning", name=name))

    assert screen.getvalue().count("warning: bob is gone") == 1
    assert (tmp_path / "swarm-up.log").read_text().count("bob is gone") == 2


def test_a_traceback_is_shown_when_its_peer_has_failed(live):
    display, screen = live()

    with display:
        display.line(Line(name="peer-0", rank=0, text="ValueError: why", is_error=True, kind=Kind.TRACEBACK))
        assert "why" not in screen.getvalue()
        display.trace("peer-0", 0, ["ValueError: why"])

    assert "peer-0 | ValueError: why" in screen.getvalue()


def test_a_terminal_gets_the_sentences_of_the_launcher(live):
    display, screen = live(width=20)

    display.note("all [2] peers ended")

    assert screen.getvalue() == "swarm  | all [2] peers ended\n"


def test_only_the_prefix_has_the_colour_of_the_peer(live):
    display, screen = live(color_system="standard", no_color=False)

    with display:
        display.line(own("text"))

    assert "\x1b[36mpeer-0 | \x1b[0mtext\n" in screen.getvalue()


def test_many_lines_are_printed_together_and_in_order(live):
    display, screen = live()

    with display:
        for number in range(1200):
            display.line(own(f"line {number}"))
        drawn = screen.getvalue().count("status")
        display.note("enough")

    shown = re.findall(r"line (\d+)\n|(enough)\n", screen.getvalue())
    assert shown == [(str(number), "") for number in range(1200)] + [("", "enough")]
    assert drawn < 5


def test_no_color_is_respected(live):
    display, screen = live(color_system="standard", _environ={"NO_COLOR": "1"})

    with display:
        display.update([row(0, status="training", round=7, interval=4, batches_left=1)])
        display.line(own("text"))

    assert not re.search(r"\x1b\[[\d;]*3\dm", screen.getvalue())


@pytest.mark.parametrize("width", [40, 56, 64, 72, 80, 100, 200])
def test_a_table_fits_the_terminal(live, width):
    display, screen = live(width=width)
    view = {"status": "training", "round": 99, "loss": 0.12345, "interval": 128, "batches_left": 4, "bytes_sent": 10**6}

    with display:
        for round_ in range(90, 100):
            display.update([row(0, **(view | {"round": round_, "loss": 1 / round_}), epoch=3, total_epochs=10)])

    rows = [line for line in screen.getvalue().splitlines() if "peer-0" in line]
    assert max(map(len, (re.sub(r"\x1b\[[\d;?]*\w", "", line).strip() for line in rows))) <= width


def test_of_many_peers_those_with_problems_are_shown(live):
    display, screen = live(height=16)

    with display:
        peers = [row(rank, status="training", round=1) for rank in range(64)]
        peers[60] = PeerRow(name="peer-60", rank=60, ended=True, problem="137")
        display.update(peers)

    last = screen.getvalue()[screen.getvalue().rindex("status") :]
    assert re.search(r"peer-60 +failed \(137\)", last)
    assert "54 more" in last
    assert last.count("training") == 9


def test_a_log_that_cannot_be_written_is_said_once_and_ends_nothing(live, tmp_path):
    (tmp_path / "swarm-up.log").mkdir()
    display, screen = live()

    with display:
        display.line(own("one"))
        display.line(own("two"))

    assert screen.getvalue().count("there is no log file") == 1
    assert display.log is None
    assert "peer-0 | two" in screen.getvalue()


def test_a_log_is_replaced_unless_the_run_goes_on(tmp_path):
    for append in (False, False, True):
        log = LogFile(tmp_path / "x" / "log", append=append)
        log.write("line\udcff")
        log.close()
    assert (tmp_path / "x" / "log").read_text() == 2 * "line\\udcff\n"


@pytest.mark.parametrize(("values", "shown"), [([1.0, 2.0, 3.0], "▁▅█"), ([2.0, 2.0], "▁▁"), ([3.0, -1.0], "█▁")])
def test_a_sparkline_goes_from_the_lowest_value_to_the_highest(values, shown):
    assert sparkline(values) == shown


def test_a_history_has_a_loss_for_each_round():
    history = LossHistory()
    for round_, loss in ((1, 3.0), (1, 9.0), (2, float("nan")), (3, 1.0), (4, 2.0)):
        history.note([row(0, round=round_, loss=loss)])
    assert history.sparkline("peer-0") == "█▁▅"
    assert history.sparkline("peer-1") == ""


def test_a_live_table_is_for_terminals_only(capsys):
    chosen = choose(["peer-0"], table=True, verbose=False, json_lines=False, json_output=False, log=None)
    assert isinstance(chosen, PlainDisplay)


def test_in_json_each_line_is_an_object(capsys):
    display = choose(["peer-0"], table=True, verbose=False, json_lines=True, json_output=False, log=None)

    display.line(own("hello\x1b[2J", is_error=False))
    display.line(own("complaint"))
    event = '{"level": "info", "logger": "swarm", "message": "round 1", "event": "round_finished"}'
    display.line(Line(name="peer-0", rank=0, text=event, is_error=True, kind=Kind.LOG, log=read_line(event)))
    display.note("all ended")
    display.update([row(0, round=1, bytes_sent=1)])

    out, err = capsys.readouterr()
    (printed,) = map(json.loads, out.splitlines())
    complaint, round_, note, status = map(json.loads, err.splitlines())
    assert (printed["peer"], printed["logger"], printed["message"]) == ("peer-0", "stdout", "hello\x1b[2J")
    assert (complaint["logger"], complaint["message"]) == ("stderr", "complaint")
    assert round_ == {**json.loads(event), "peer": "peer-0"}
    assert (note["logger"], note["message"]) == ("swarm.up", "all ended")
    assert status["message"] == "round 1, 1 of 1 peers running, 1 B sent"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_345_678, "2.3 MB"), (5 * 10**12, "5.0 TB")]
)
def test_sizes_are_readable(count, text):
    assert size(count) == text
