"""What the launcher makes of the lines of a peer."""

from __future__ import annotations

from swarm.cli.output import Kind, PeerOutput


def kinds(output: PeerOutput, *lines: str, is_error: bool = True) -> list[Kind]:
    return [output.read(line, is_error=is_error).kind for line in lines]


def test_lines_are_told_apart():
    output = PeerOutput("peer-1", 1)
    assert kinds(
        output,
        "12:00:00 INFO swarm: round 1",
        "Epoch 1: 100%",
        "Traceback (most recent call last):",
        '  File "train.py", line 3, in <module>',
        "ValueError: label 7",
        "12:00:01 WARNING swarm.transport: slow",
    ) == [Kind.LOG, Kind.OWN, Kind.TRACEBACK, Kind.TRACEBACK, Kind.TRACEBACK, Kind.LOG]
    assert str(output.cause) == "ValueError: label 7 (train.py:3)"
    assert output.traceback[-1] == "ValueError: label 7"


def test_what_a_script_prints_is_its_own_whatever_it_looks_like():
    output = PeerOutput("peer-1", 1)
    assert kinds(output, "12:00:00 ERROR swarm: no", "Traceback (most recent call last):", is_error=False) == [
        Kind.OWN,
        Kind.OWN,
    ]
    assert output.cause is None


def test_the_last_error_of_the_log_is_the_cause_where_there_is_no_traceback():
    output = PeerOutput("peer-1", 1)
    kinds(
        output, "12:00:00 ERROR swarm: first", "12:00:01 ERROR swarm: no model (train.py:4)", "12:00:02 INFO swarm: x"
    )
    assert str(output.cause) == "no model (train.py:4)"
    line = output.read("12:00:03 WARNING swarm: gone", is_error=True)
    assert (line.name, line.rank, line.log and line.log.text) == ("peer-1", 1, "gone")
