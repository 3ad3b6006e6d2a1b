from __future__ import annotations

import contextlib
import json
import logging
from datetime import datetime

import pytest

from swarm.errors import ConfigurationError
from swarm.logs import LogLine, configure_from_environment, event, read_line
from swarm.records import Outcome, RoundFinished, RoundReport


@contextlib.contextmanager
def unconfigured():
    """The logger of Swarm as in a process that has not configured logging.

    Not a fixture: pytest attaches its handlers to the root between a test's fixtures and the test.
    """
    ours, root = logging.getLogger("swarm"), logging.root
    before = (ours.handlers, ours.level, root.handlers)
    ours.handlers, root.handlers = [], []
    ours.setLevel(logging.NOTSET)
    try:
        yield ours
    finally:
        ours.handlers, level, root.handlers = before
        ours.setLevel(level)


def test_without_the_variable_nothing_is_touched():
    with unconfigured() as logger:
        configure_from_environment({})

        assert (logger.handlers, logger.level) == ([], logging.NOTSET)


def test_lines_of_the_asked_level_appear_on_standard_error_once(capsys):
    with unconfigured() as logger:
        configure_from_environment({"SWARM_LOG": "info"})
        configure_from_environment({"SWARM_LOG": "info"})

        logging.getLogger("swarm.session").info("round 1 merged")
        logger.debug("detail")

    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("INFO swarm.session: round 1 merged")


def test_a_message_is_one_line_that_no_terminal_obeys_and_its_traceback_follows(capsys):
    with unconfigured() as logger:
        configure_from_environment({"SWARM_LOG": "info"})
        try:
            raise ValueError("why")
        except ValueError:
            logger.exception("%s", "\x1b[2Ja\r\nforged line\u202e\u200b\udcff")

    first, *traceback = capsys.readouterr().err.splitlines()
    assert first.endswith(r"ERROR swarm: \x1b[2Ja\r\nforged line\u202e\u200b\udcff")
    assert traceback[-1] == "ValueError: why"


def test_a_script_that_configured_logging_keeps_its_own():
    with unconfigured() as logger:
        logging.root.addHandler(logging.NullHandler())

        configure_from_environment({"SWARM_LOG": "INFO"})

        assert logger.handlers == []
        assert logger.isEnabledFor(logging.INFO)


def test_a_script_that_configures_logging_later_gets_no_line_twice(capsys):
    with unconfigured() as logger:
        configure_from_environment({"SWARM_LOG": "info"})
        logging.basicConfig(format="own: %(message)s")

        logger.info("round 1 merged")

    assert capsys.readouterr().err == "own: round 1 merged\n"


def test_a_level_of_the_script_stays():
    with unconfigured() as logger:
        logger.setLevel(logging.ERROR)

        configure_from_environment({"SWARM_LOG": "debug"})

        assert logger.level == logging.ERROR


def test_an_unknown_level_is_an_error():
    with pytest.raises(ConfigurationError, match=r"SWARM_LOG='loud'.* debug, info, warning"):
        configure_from_environment({"SWARM_LOG": "loud"})


def test_an_unknown_format_is_refused_by_name(capsys):
    with unconfigured(), pytest.raises(ConfigurationError, match=r"SWARM_LOG_FORMAT='xml'.* text, json"):
        configure_from_environment({"SWARM_LOG": "info", "SWARM_LOG_FORMAT": "xml"})


def test_in_json_each_event_is_one_line_with_its_fields(capsys):
    report = RoundReport(outcome=Outcome.MERGED, round=7, group=("ada", "bob"), loss=float("nan"))
    with unconfigured() as logger:
        configure_from_environment({"SWARM_LOG": "info", "SWARM_LOG_FORMAT": "json", "SWARM_NAME": "ada"})
        logger.info("round %d", 7, extra=event(RoundFinished(session="heart", report=report)))
        try:
            raise ValueError("why")
        except ValueError:
            logger.exception("a\nb\x1b[2J")

    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    fields = first.pop("fields")
    assert first == {"level": "info", "logger": "swarm", "peer": "ada", "message": "round 7", "event": "round_finished"}
    assert (fields["session"], fields["report"]["group"]) == ("heart", ["ada", "bob"])
    assert (fields["report"]["outcome"], fields["report"]["loss"]) == ("merged", None)
    assert (second["message"], second["level"]) == ("a\nb\x1b[2J", "error")
    assert second["traceback"].endswith("ValueError: why")


@pytest.mark.parametrize("shape", ["text", "json"])
def test_a_line_of_the_log_can_be_read_again(capsys, shape):
    with unconfigured():
        configure_from_environment({"SWARM_LOG": "info", "SWARM_LOG_FORMAT": shape})
        logging.getLogger("swarm.transport").warning("no: answer\x1b[2J")

    (line,) = capsys.readouterr().err.splitlines()
    found = read_line(line)
    assert found == LogLine("warning", r"no: answer\x1b[2J")
    assert found.is_problem


@pytest.mark.parametrize("line", ["", "hello", "12:00:00 INFO other: text", "{", '{"logger": "root"}', "[" * 99999])
def test_other_lines_are_none_of_the_log(line):
    assert read_line(line) is None
