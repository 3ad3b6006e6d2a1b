"""Every target, with its corpus and with changes of it that are always the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.fuzz.inputs import CORPUS, FOUND, entries
from tests.fuzz.targets import TARGETS
from tests.fuzz.trial import Trial, quiet

BATCHES = 10


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    quiet()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_makes_a_decoder_fail(name: str) -> None:
    trial = Trial(TARGETS[name], list(entries(name).values()), seed=1)
    trial.replay()
    trial.run(BATCHES)
    assert [f"{finding.kind} {finding.data!r}: {finding.what}" for finding in trial.findings] == []


@pytest.mark.parametrize("name", TARGETS)
def test_real_inputs_are_in_the_corpus_and_accepted(name: str) -> None:
    target = TARGETS[name]
    values = target.values()
    kept = {entry for entry in entries(name) if not entry.startswith(FOUND)}
    assert kept == values.keys(), "run `python -m tests.fuzz.inputs`"
    for data in values.values():
        target.run(data)


def test_every_folder_of_the_corpus_has_a_target() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == TARGETS.keys()
