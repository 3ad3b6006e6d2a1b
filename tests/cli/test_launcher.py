from __future__ import annotations

import os
import signal
import subprocess

import pytest

from swarm.cli.display import Display
from swarm.cli.ends import failures
from swarm.cli.launcher import Launcher
from swarm.cli.process import PeerSpec
from swarm.cli.statuses import StatusBoard
from swarm.discovery.directory import ended

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)


class Recorder(Display):
    """Keeps what it is shown, and does something at a line that says so."""

    def __init__(self, at_ready=lambda: None):
        self.lines = []
        self.notes = []
        self.at_ready = at_ready

    def line(self, line):
        self.lines.append((line.name, line.text))
        if line.text == "ready":
            self.at_ready()

    def note(self, text):
        self.notes.append(text)

    def update(self, rows):
        self.rows = rows


@pytest.fixture
def launch(tmp_path, user_environment):
    rendezvous = tmp_path / "rendezvous"
    rendezvous.mkdir()

    def run(display, *commands, kill_after=10.0):
        specs = [
            PeerSpec(name=f"peer-{rank}", rank=rank, command=command, environment=user_environment)
            for rank, command in enumerate(commands)
        ]
        launcher = Launcher(specs, StatusBoard(rendezvous), display, kill_after)
        return launcher, launcher.run(rendezvous)

    return run


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_peer_that_does_not_leave_is_killed_after_the_kill_after(launch, python):
    display = Recorder(interrupt)

    launcher, code = launch(display, [python, "-c", STUBBORN], kill_after=0.2)

    assert code == 130
    assert display.notes == ["peer-0 did not end when asked, and was killed"]
    assert [(end.code, end.failed) for end in launcher.ends] == [(-signal.SIGKILL, False)]
    assert display.rows[0].state == "stopped"


def test_a_second_signal_waits_for_nobody(launch, python):
    def twice():
        interrupt()
        interrupt()

    _, code = launch(Recorder(twice), [python, "-c", STUBBORN], kill_after=3600)

    assert code == 130


def test_what_a_peer_leaves_running_ends_with_it(launch, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)

    _, code = launch(Recorder(), ["/bin/sh", "-c", f"exec 9>{fifo}; echo started >&9; sleep 60 & exit 0"])

    with os.fdopen(reader) as leftover:
        assert leftover.read() == "started\n"
    assert code == 0


def test_a_peer_that_fails_does_not_stop_the_others_but_is_told_and_its_code_counts(launch, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    class Releasing(Recorder):
        def note(self, text):
            super().note(text)
            fifo.write_text("go on\n")

    display = Releasing()

    _, code = launch(display, ["/bin/sh", "-c", f"cat {fifo}; exit 4"], ["/bin/sh", "-c", "exit 7"])

    assert display.notes == ["peer-1 ended before joining: exit code 7; starting with 1"]
    assert display.lines == [("peer-0", "go on")]
    assert code == 7


def test_a_last_line_without_an_end_is_shown(launch):
    display = Recorder()

    launch(display, ["/bin/sh", "-c", "printf 'one\\ntwo'"])

    assert display.lines == [("peer-0", "one"), ("peer-0", "two")]


def test_peers_end_politely_when_nobody_reads_their_output_any_more(launch):
    class Closed(Recorder):
        def line(self, line):
            super().line(line)
            raise BrokenPipeError

    display = Closed()

    _, code = launch(display, ["/bin/sh", "-c", "trap 'echo bye; exit 0' TERM; echo hello; sleep 60 & wait"])

    assert code == 128 + signal.SIGPIPE
    assert display.lines == [("peer-0", "hello"), ("peer-0", "bye")]


def test_a_system_that_refuses_signals_to_a_group_that_has_ended_holds_up_nobody(launch, monkeypatch):
    """As macOS does."""
    send = os.killpg

    def refuse(group, number):
        try:
            send(group, number)
        except ProcessLookupError:
            raise PermissionError from None

    monkeypatch.setattr(os, "killpg", refuse)

    _, code = launch(Recorder(), ["/bin/sh", "-c", "exit 3"])

    assert code == 3


def test_the_rendezvous_directory_is_gone_afterwards(launch, tmp_path):
    launch(Recorder(), ["/bin/sh", "-c", "exit 0"])

    assert not (tmp_path / "rendezvous").exists()


def test_peers_read_nothing_from_the_terminal(launch):
    display = Recorder()

    launch(display, ["/bin/sh", "-c", "cat; echo end"])

    assert display.lines == [("peer-0", "end")]


def test_signals_reach_their_former_handlers_again_afterwards(launch):
    before = signal.getsignal(signal.SIGINT)

    launch(Recorder(), ["/bin/sh", "-c", "exit 0"])

    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_the_display_leaves_no_peer_behind(launch, tmp_path):
    class Broken(Recorder):
        def update(self, rows):
            raise RuntimeError("broken")

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["/bin/cat", fifo], stdout=subprocess.PIPE) as reader:
        with pytest.raises(RuntimeError, match="broken"):
            launch(Broken(), ["/bin/sh", "-c", f"exec 9>{fifo}; trap '' TERM; sleep 60"])
        assert reader.communicate(timeout=30)[0] == b""


def test_peers_that_fail_alike_are_not_named_one_by_one(launch):
    display = Recorder()

    launcher, code = launch(display, *[["/bin/sh", "-c", "exit 7"]] * 3)

    assert (display.notes, code) == ([], 7)
    assert failures(launcher.ends, 3) == ["ALL 3 FAILED ALIKE: exit code 7"]


def test_the_end_of_a_peer_has_its_error_and_the_traceback_is_at_hand(launch, python, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("\nraise ValueError('label 7')")

    launcher, _ = launch(Recorder(), [python, str(script)])

    assert [end.why for end in launcher.ends] == ["ValueError: label 7 (train.py:2)"]
    (name, rank, traceback), *others = launcher.traces()
    assert (name, rank, traceback[0], traceback[-1]) == (
        "peer-0",
        0,
        "Traceback (most recent call last):",
        "ValueError: label 7",
    )
    assert others == []


def test_the_others_are_told_of_each_end(launch, tmp_path):
    seen = []

    class Looking(Recorder):
        def note(self, text):
            seen.append(ended(tmp_path / "rendezvous"))
            fifo.write_text("go on\n")

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    launch(Looking(), ["/bin/sh", "-c", f"cat {fifo}"], ["/bin/sh", "-c", "exit 7"])

    assert seen == [{"peer-1"}]
