"""A swarm of Trainers in one process: real sessions in threads, a network in memory, tiny models built here."""

from __future__ import annotations

import logging
import os
from itertools import count

os.environ["HF_HUB_OFFLINE"] = "1"  # read when Transformers is imported

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from swarm.session import Session
from swarm.session.wiring import Network
from swarm.testing.swarm import Board, together
from swarm.transport.memory import MemoryNetwork, MemoryTransport
from swarm_transformers import SwarmTrainerCallback

FIRST = {"listen": "127.0.0.1:0", "sync_interval": 2}
WORDS, LENGTH = 20, 6


class Lines(logging.Logger):
    """A logger that keeps its lines."""

    def __init__(self, name):
        super().__init__(name, logging.DEBUG)
        self.lines = []

    def handle(self, record):
        self.lines.append(f"{record.levelname} {record.getMessage()}")


class Hospitals:
    """Makes callbacks whose sessions meet in memory, and Trainers, and trains several together."""

    def __init__(self, directory):
        self.network, self.addresses, self.directory = MemoryNetwork(), {}, directory
        self.numbers = count()

    def callback(self, name, **settings):
        callback = SwarmTrainerCallback(name=name, logger=Lines(name), **(FIRST | settings))
        callback.session_factory = self.session
        return callback

    def session(self, settings, port, *, evaluate, learning_rate, correction, training, logger):
        return Session(
            settings,
            port,
            evaluate=evaluate,
            learning_rate=learning_rate,
            correction=correction,
            training=training,
            logger=logger,
            network=lambda _settings, _plugins: Network(
                MemoryTransport(self.network), [Board(self.addresses, settings.model_name)]
            ),
        )

    def trainer(self, model, callbacks, data, *, kind=Trainer, **options):
        """A Trainer; ``options`` are those of ``TrainingArguments``, and what evaluates."""
        directory = self.directory / f"trainer-{next(self.numbers)}"
        more = {key: options.pop(key) for key in ("eval_dataset", "compute_metrics") if key in options}
        given = {"max_steps": 4, "per_device_train_batch_size": 4, "save_strategy": "no", "logging_strategy": "no"}
        fixed = {"output_dir": str(directory), "use_cpu": True, "disable_tqdm": True, "report_to": []}
        return kind(
            model, TrainingArguments(**given | fixed | options), train_dataset=data, callbacks=callbacks, **more
        )

    def fit(self, models, parts, *, arguments=None, **settings):
        """Train one model per part of the data, each as a site; returns their callbacks."""
        settings = {"world_size": len(models), **settings}
        callbacks = [self.callback(f"site-{number}", **settings) for number in range(len(models))]
        trainers = [
            self.trainer(model, [callback], part, **(arguments or {}))
            for model, callback, part in zip(models, callbacks, parts, strict=True)
        ]
        together(*(trainer.train for trainer in trainers), deadline=100.0)
        return callbacks


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SWARM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def hospitals(tmp_path):
    return Hospitals(tmp_path / "trainers")


@pytest.fixture
def bert():
    """Makes a tiny classifier of texts; without ``seed`` with other weights each time."""

    def make(seed=None, labels=2):
        if seed is not None:
            torch.manual_seed(seed)
        return BertForSequenceClassification(
            BertConfig(
                vocab_size=WORDS,
                hidden_size=8,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                max_position_embeddings=LENGTH,
                num_labels=labels,
            )
        )

    return make


@pytest.fixture(scope="session")
def texts():
    """Makes samples of random words; the label says whether the first word is in the upper half."""
    return _texts


def _texts(number, seed):
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(0, WORDS, (number, LENGTH), generator=generator)
    return [{"input_ids": each, "labels": int(each[0] >= WORDS // 2)} for each in words]


@pytest.fixture
def two_parts():
    """Texts of two sites of different sizes."""
    return [_texts(16, seed=1), _texts(24, seed=2)]
