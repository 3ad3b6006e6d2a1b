from __future__ import annotations

import argparse
import json
import os

import pytest

from benchmarks.harness.command import Benchmark, add_repetitions, integer, positive
from benchmarks.harness.figures import aligned, in_turn, listed, shown, spread, verdict
from benchmarks.harness.workers import ROOT, Workers, user_environment

ECHO = """
import os
from benchmarks.harness.workers import connect
orders, answer = connect()
for order in orders:
    if order.get("print"):
        print("not an answer", flush=True)
        os.system("echo neither")
    if "exit" in order:
        raise SystemExit(order["exit"])
    if order.get("hang"):
        import time
        time.sleep(600)
    answer({**order, "pid": os.getpid(), "word": os.environ.get("WORD")})
"""


@pytest.fixture
def echo(tmp_path):
    """Start processes that answer every order by the order itself."""
    (tmp_path / "echo_worker.py").write_text(ECHO)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "WORD": "given"}

    def start(count: int = 1, **arguments: object) -> Workers:
        return Workers("echo_worker", count, environment=environment, **arguments)

    return start


def benchmark(measure) -> Benchmark:
    def options(parser: argparse.ArgumentParser) -> None:
        add_repetitions(parser, rounds=5, warmup=1, invocations=3)

    return Benchmark(name="some", description="Text.", add_options=options, measure=measure, table=listed)


def test_the_result_is_one_line_of_json_or_a_table(capsys):
    some = benchmark(lambda options: vars(options) | {"figure": 1.5})
    some.main(["--json", "--rounds", "7"])
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1]) == {
        "benchmark": "some", "json": True, "rounds": 7, "warmup": 1, "invocations": 3, "figure": 1.5
    }  # fmt: skip
    some.main([])
    assert "figure       1.5" in capsys.readouterr().out.splitlines()


def test_what_could_not_be_measured_has_no_result_and_an_exit_code(capsys):
    def measure(_options):
        raise RuntimeError("a peer failed")

    with pytest.raises(SystemExit, match="^not measured: a peer failed$"):
        benchmark(measure).main(["--json"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--rounds", "1"], "1 is not allowed: allowed is an integer of at least 2"),
        (["--warmup", "-1"], "-1 is not allowed: allowed is an integer of at least 0"),
        (["--invocations", "0"], "0 is not allowed: allowed is an integer of at least 1"),
        (["--rounds", "two"], "--rounds: invalid integer value: 'two'"),
    ],
)
def test_a_refused_option_is_named_with_what_is_allowed(capsys, words, allowed):
    with pytest.raises(SystemExit) as ended:
        benchmark(vars).main(words)
    assert ended.value.code == 2
    assert allowed in capsys.readouterr().err


def test_invocations_are_an_option_only_where_there_are_any():
    parser = argparse.ArgumentParser()
    add_repetitions(parser, rounds=5, warmup=2, least=(1, 1))
    assert vars(parser.parse_args(["--rounds", "1"])) == {"rounds": 1, "warmup": 2}


def test_numbers_have_limits():
    assert (integer(2, 4)("2"), integer(2, 4)("4")) == (2, 4)
    for text in ("1", "5"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"{text} is not allowed: .*an integer from 2 to 4"):
            integer(2, 4)(text)
    assert positive("0.5") == 0.5
    for text in ("0", "-1", "nan", "inf"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"{text} is not allowed: allowed is a number above 0"):
            positive(text)


def test_every_second_repetition_runs_backwards_and_the_warm_up_does_not_count():
    assert list(in_turn("abc", repeats=2, warmup=1)) == [
        *((arm, False) for arm in "abc"),
        *((arm, True) for arm in "cba"),
        *((arm, True) for arm in "abc"),
    ]


def test_a_spread_is_the_median_with_the_quartiles():
    assert spread([1.0, 2.0, 3.0, 4.0, 10.00004]) == {"median": 3.0, "q1": 2.0, "q3": 4.0}
    assert spread([0.123456, 0.123456], 2) == {"median": 0.12, "q1": 0.12, "q3": 0.12}
    assert spread([0.123456, 0.123456])["median"] == 0.1235
    assert shown({"median": 2.0, "q1": 1.0, "q3": 3.25}) == "2.000 (1.000 to 3.250)"
    assert shown({"median": 2.0, "q1": 1.0, "q3": 3.25}, 1) == "2.0 (1.0 to 3.2)"
    assert (verdict(True), verdict(False)) == ("met", "missed")


def test_columns_are_aligned():
    rows = [("a", "bb", "c"), ("aa", "b", "")]
    assert aligned(rows) == ["a   bb  c", "aa   b"]
    assert aligned(rows, right=False) == ["a   bb  c", "aa  b"]
    assert listed({"a": None, "bcd": [1]}) == "a    null\nbcd  [1]"


def test_each_process_answers_its_own_order(echo):
    with echo(2) as workers:
        first = workers.each([{"number": 1}, {"number": 2}])
        assert [answer["number"] for answer in first] == [1, 2]
        assert [answer["pid"] for answer in first] == [workers.pid(0), workers.pid(1)]
        again = workers.all("something", turn=3)
        assert [(answer["do"], answer["turn"], answer["pid"]) for answer in again] == [
            ("something", 3, workers.pid(rank)) for rank in range(2)
        ]
        assert first[0]["word"] == "given"


def test_what_else_a_process_prints_goes_to_its_log(echo):
    with echo() as workers:
        (answer,) = workers.each([{"print": True}])
        assert answer["print"] is True
        assert "not an answer" in workers.log(0)
        assert "neither" in workers.log(0)


def test_processes_end_and_their_directory_is_removed(echo):
    with echo(2) as workers:
        workers.all("begin")
        pids = [workers.pid(0), workers.pid(1)]
        assert workers.directory.is_dir()
    assert not workers.directory.exists()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_error_ends_the_processes_at_once(echo):
    def fail() -> None:
        with echo() as workers:
            workers.send([{"hang": True}])
            pids.append(workers.pid(0))
            raise KeyError("of the benchmark")

    pids: list[int] = []
    with pytest.raises(KeyError, match="of the benchmark"):
        fail()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_process_that_ends_is_named_with_its_exit_code_and_its_log(echo):
    with echo(2) as workers:
        with pytest.raises(RuntimeError, match="(?s)process 1 of echo_worker ended with exit code 7:.*not an answer"):
            workers.each([{}, {"print": True, "exit": 7}])
        with pytest.raises(RuntimeError, match="process 1 of echo_worker ended with exit code 7"):
            workers.all("more")


def test_a_process_that_does_not_answer_in_time_is_killed(echo):
    with echo(deadline=1.0) as workers, pytest.raises(RuntimeError, match="did not answer within 1 s"):
        workers.each([{"hang": True}])


def test_a_process_starts_behind_the_words_of_its_prefix(echo):
    with echo(2, prefix=lambda rank: ("env", f"WORD=of-{rank}")) as workers:
        assert [answer["word"] for answer in workers.all("say")] == ["of-0", "of-1"]


def test_a_command_that_does_not_exist_leaves_nothing_behind(echo, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "directories"))
    (tmp_path / "directories").mkdir()
    with pytest.raises(FileNotFoundError):
        echo(2, prefix=lambda rank: ("no-such-command",) if rank else ())
    assert list((tmp_path / "directories").iterdir()) == []


def test_settings_of_swarm_are_not_in_the_environment(monkeypatch):
    monkeypatch.setenv("SWARM_NAME", "ada")
    monkeypatch.setenv("OTHER", "kept")
    assert "SWARM_NAME" not in user_environment()
    assert user_environment()["OTHER"] == "kept"
