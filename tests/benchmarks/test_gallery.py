"""The gallery of examples: the tables that are kept are those of the results, and a run measures what it says."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gallery import data, tables, training
from benchmarks.gallery.entries import BY_NAME, ENTRIES
from swarm.demo.sites import Samples

SHARED = "site_files.py"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_table_is_what_the_results_give(entry):
    results = tables.read(entry.name)
    written = (tables.TABLES / f"{entry.name}.md").read_text(encoding="utf-8")
    assert written == tables.page(entry, results), f"run: make gallery ONLY={entry.name}"
    assert (tables.TABLES / f"{entry.name}.json").read_text(encoding="utf-8") == tables.text(results)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_results_are_those_of_the_entry(entry):
    results = tables.read(entry.name)
    assert results["command"] == entry.command
    assert results["score"] == entry.score
    assert [run["seed"] for run in results["runs"]] == [*range(len(results["runs"]))]
    for run in results["runs"]:
        divided = entry.load(run["seed"])
        assert run["samples"] == [len(samples) for samples in divided.train]
        assert run["names"] == list(divided.names)


def test_the_summary_is_in_the_readme():
    readme = tables.README.read_text(encoding="utf-8")
    assert readme == tables.placed(readme, tables.summary()), "run: make gallery"
    assert all(f"tables/{entry.name}.md" in readme for entry in ENTRIES)
    assert "Not measured yet" not in readme


def test_an_example_without_results_is_named(tmp_path):
    first, *others = ENTRIES
    tables.write(first, tables.read(first.name), tmp_path)
    found = tables.summary(tmp_path)
    assert f"tables/{first.name}.md" in found
    named = found.partition("Not measured yet: ")[2]
    assert [name.strip(" .`\n") for name in named.split(",")] == [each.name for each in others]


def test_each_example_that_trains_is_in_the_gallery():
    scripts = {path.name for path in training.EXAMPLES.glob("*.py")} - {SHARED}
    assert scripts == {entry.script for entry in ENTRIES}
    names = {path.stem for path in tables.TABLES.iterdir()}
    assert names == {entry.name for entry in ENTRIES}


def test_rows_of_a_table_are_divided_and_none_is_tested_on():
    divided = data.tumours(seed=1)
    rows = [tuple(row) for samples in (*divided.train, divided.test[0]) for row in samples.x.tolist()]
    assert len(rows) == len(set(rows)) == 569


def test_clinics_have_patients_of_different_ages():
    ages = [samples.x[:, 0] for samples in data.clinics(seed=0).train]
    assert all(younger.max() < older.min() for younger, older in pairwise(ages))


def test_pooled_data_are_tested_on_what_all_sites_are_tested_on(tmp_path):
    one, two = (Samples(np.full((3, 2), value, np.float32), np.arange(3)) for value in (1.0, 2.0))
    names = ("a", "b")
    assert len(data.Divided(names=names, train=(one, two), test=(one, one)).pooled_test) == 3
    divided = data.Divided(names=names, train=(one, two), test=(one, two))
    divided.write(tmp_path)
    with np.load(tmp_path / "pooled" / "test.npz") as test, np.load(tmp_path / "peer-1" / "test.npz") as second:
        assert test["x"][:, 0].tolist() == [1, 1, 1, 2, 2, 2]
        assert second["x"][:, 0].tolist() == [2, 2, 2]


def ended(digests, rounds=4):
    """In place of ``run_all``: each process has left its result; the pooled training with large batches is best."""

    def run_all(jobs, *, finished, **_):
        for job in jobs:
            if job.name == "swarm":
                made = {f"peer-{rank}": (0.9, digest, rounds) for rank, digest in enumerate(digests)}
            else:
                score = {"pooled-32": 0.91, "pooled-128": 0.95}.get(job.name, 0.5)
                made = {"": (score, job.name, 0)}
            for directory, (score, digest, merged) in made.items():
                path = job.directory / directory
                path.mkdir(parents=True)
                metrics = {"swarm_rounds": merged, "swarm_bytes_sent": 7}
                (path / "result.json").write_text(json.dumps({"accuracy": score, "digest": digest, "metrics": metrics}))
            finished(job, 1.0)

    return run_all


def test_a_run_has_what_each_training_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "run_all", ended("dddd"))
    run = training.train(BY_NAME["heart"], 0, tmp_path, lambda _: None)
    assert (run["alone"], run["swarm"], run["pooled"]) == ([0.5] * 4, [0.9] * 4, 0.95)
    assert (run["rounds"], run["bytes_sent"]) == (4, [7] * 4)
    assert training.means(run) == (0.5, 0.9, 0.95)


@pytest.mark.parametrize(("digests", "rounds"), [("dddx", 4), ("dddd", 0)])
def test_a_swarm_without_a_common_model_is_no_measurement(monkeypatch, tmp_path, digests, rounds):
    monkeypatch.setattr(training, "run_all", ended(digests, rounds))
    with pytest.raises(RuntimeError, match="heart, seed 0: no round, or models that differ"):
        training.train(BY_NAME["heart"], 0, tmp_path, lambda _: None)


@pytest.mark.timeout(300)
def test_an_example_trains_in_all_three_ways(tmp_path: Path) -> None:
    pytest.importorskip("swarm_sklearn")
    lines: list[str] = []
    options = ("--epochs", "1", "--steps", "16")
    run = training.train(BY_NAME["sklearn_linear"], 3, tmp_path, lines.append, options)
    assert run["names"] == list(data.patients(3).names)
    assert run["rounds"] == 5, "16 batches at the interval of 4, and the closing round"
    assert len(set(run["swarm"])) == 1
    assert min(run["bytes_sent"]) > 0
    assert len(lines) == 4 + 2 + 1
