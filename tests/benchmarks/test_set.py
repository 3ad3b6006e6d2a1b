from __future__ import annotations

import pytest

from benchmarks import __main__ as bench
from benchmarks.__main__ import Part, Row

RECORDS = {
    "hotpath": {"frameworks": {"pytorch": {"swarm": {"median": 392.0}, "empty": {"median": 191.0}}}},
    "merge": {
        "peers": 4,
        "mib": 20.0,
        "codec": "exact",
        "seconds": {"median": 0.3},
        "gloo_seconds": {"median": 0.1},
        "ratio": {"median": 3.0},
        "bytes_over_bound": 1.004,
        "private_loopback": False,
        "peak_extra_rss_over_model": 4.2,
    },
    "learning": {
        "task": "digits",
        "peers": 4,
        "partition": "dir0.5",
        "interval": 8,
        "pooled": 0.97,
        "alone": 0.7,
        "reference": 0.96,
        "swarm": 0.96,
        "ratio": 0.99,
        "reference_difference": 2e-7,
    },
    "scale": {
        "growth": {"control_messages": 1.0, "control_bytes": 1.6},
        "goal": {
            "control_messages_at_most_linear": True,
            "control_bytes_at_most_linear": False,
            "data_flat": True,
        },
        "sizes": [{"data_over_bound": 1.0}, {"data_over_bound": 1.001}],
    },
}


def test_every_part_has_its_lines_in_the_table(monkeypatch, capsys):
    monkeypatch.setattr(bench, "_result", lambda command: RECORDS[command.split()[0]])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert not ended.value.code
    shown = capsys.readouterr().out
    for expected in (
        "392 ns a batch",
        "gloo: 100 ms, ratio 3.00",
        "the loopback was shared",
        "ratio to pooled 0.990",
        "goal n^1: missed",
    ):
        assert expected in shown


def test_a_part_that_fails_is_shown_and_the_others_still_run(monkeypatch, capsys):
    parts = (
        Part("fleet.no_such_module", lambda _: iter(())),
        Part("x", lambda _: iter([Row("fine", "1", "2")])),
    )
    result = bench._result
    monkeypatch.setattr(bench, "PARTS", parts)
    monkeypatch.setattr(bench, "_result", lambda command: {} if command == "x" else result(command))
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code
    shown = capsys.readouterr().out
    assert "failed" in shown
    assert "fine" in shown
