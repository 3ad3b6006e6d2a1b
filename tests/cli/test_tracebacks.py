"""What the launcher reads from the traceback of a peer: real ones, as this Python writes them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from swarm.cli.tracebacks import TracebackReader


def read(tmp_path, monkeypatch, script: str) -> tuple[TracebackReader, list[str]]:
    """What a script writes to standard error, read; and the lines that belong to no traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(script)
    ended = subprocess.run([sys.executable, "train.py"], capture_output=True, text=True, check=False, timeout=60)
    reader = TracebackReader()
    return reader, [line for line in ended.stderr.splitlines() if not reader.feed(line)]


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("import nopackage", "No module named 'nopackage' (train.py:1)"),
        ("\nraise ValueError('label 7')", "ValueError: label 7 (train.py:2)"),
        ("open('train.npz')", "train.npz missing (train.py:1)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (train.py:1)"),
        ("x = = 1", "SyntaxError: invalid syntax (train.py:1)"),
        ("import json\njson.loads('?')", "JSONDecodeError: Expecting value: line 1 column 1 (char 0) (train.py:2)"),
        (
            "from swarm.errors import ModelError\n\ndef f():\n    raise ModelError('no tensor')\nf()",
            "no tensor (train.py:4)",
        ),
        (
            "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError('later') from error",
            "ValueError: later (train.py:4)",
        ),
        ("raise ExceptionGroup('both', [ValueError('a')])", "ExceptionGroup: both (1 sub-exception) (train.py:1)"),
    ],
)
def test_the_cause_is_the_error_and_the_last_own_line(tmp_path, monkeypatch, script, cause):
    reader, rest = read(tmp_path, monkeypatch, script)
    assert str(reader.cause) == cause
    assert rest == []


def test_other_output_is_no_traceback(tmp_path, monkeypatch):
    script = (
        "import sys, traceback\nprint('before', file=sys.stderr)\n"
        "try:\n    raise ValueError('caught')\nexcept ValueError:\n    traceback.print_exc()\n"
        "print('  indented', file=sys.stderr)\nprint('after', file=sys.stderr)\n"
        "raise KeyError('last')"
    )
    reader, rest = read(tmp_path, monkeypatch, script)
    assert rest == ["before", "after"]
    assert str(reader.cause) == "KeyError: 'last' (train.py:9)"
    assert "caught" not in "".join(reader.lines)


def test_a_line_that_is_no_error_of_python_is_taken_as_it_is():
    reader = TracebackReader()
    for line in ("Traceback (most recent call last):", '  File "a.py", line 3, in <module>', "what?"):
        assert reader.feed(line)
    assert str(reader.cause) == "what? (a.py:3)"


def test_a_traceback_without_an_own_line_names_the_last_one(tmp_path):
    reader = TracebackReader()
    for line in ("Traceback (most recent call last):", '  File "<frozen runpy>", line 88, in _run', "ValueError"):
        reader.feed(line)
    assert str(reader.cause) == "ValueError (<frozen runpy>:88)"
