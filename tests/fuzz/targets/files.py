"""Files that another process or another run has written: checkpoints, models, session records, announcements."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache

import numpy as np

from swarm.certification.encoding import encode_record
from swarm.discovery.directory import DirectoryDiscovery, announcements
from swarm.errors import ConfigurationError, ModelError, UnreadableFileError
from swarm.messages import Decide, Envelope
from swarm.records import Resumed
from swarm.storage.checkpoints import CheckpointFiles
from swarm.storage.files import load_tensors, read_model_file, write_model
from swarm.storage.session_records import DIRECTORY, SessionRecord, read_records
from swarm.storage.training import Training, read_training, write_training
from swarm.tensors.state import ModelState
from swarm.transport.grpc.wire import decode, encode
from tests.exchange.groups import SCHEMA, states
from tests.fuzz import examples
from tests.fuzz.mutation import BINARY, TEXT, in_parts, joined, split
from tests.fuzz.target import Target
from tests.fuzz.workspace import folder

_log = logging.getLogger("tests.fuzz")


@cache
def _model() -> ModelState:
    return states(SCHEMA, 1)["ann"]


def _resumed(data: bytes) -> bool:
    """The record and the model of a checkpoint. What is resumed from it can be told to other peers."""
    record, model, *_ = [*split(data), b"", b""]
    place = folder("checkpoint")
    (place / "line-1.json").write_bytes(record)
    (place / "line-1.safetensors").write_bytes(model)
    found = CheckpointFiles(place).newest(SCHEMA, _log)
    if found is None:
        return False
    sent = examples.envelope(Decide(found[0]))
    assert decode(Envelope, encode(sent)).message == sent.message
    return True


def _loaded(data: bytes) -> int:
    """A file with a model."""
    path = folder("model") / "model.safetensors"
    path.write_bytes(data)
    count = len(load_tensors(path))
    read_model_file(path, SCHEMA)
    return count


def _training(data: bytes) -> int:
    """The state of a site's training."""
    path = folder("training") / "training.safetensors"
    path.write_bytes(data)
    return read_training(path).progress.batches


def _recorded(data: bytes) -> bool:
    """The record of a session, as ``swarm up`` reads and shows it."""
    place = folder(DIRECTORY)
    (place / "record.json").write_bytes(data)
    records = read_records(place.parent)
    for record in records:
        json.dumps(asdict(record))
        assert all(text.isprintable() for text in (record.session, record.reason, record.digest, record.file))
    return bool(records)


def _announced(data: bytes) -> bool:
    """A file where a peer announces its address, and a peer of the same name that comes later."""
    place = folder("rendezvous")
    for path in place.glob("*"):
        path.unlink()
    (place / "hospitals@berlin.json").write_bytes(data)
    found = announcements(place)
    assert all(each.name.isprintable() and each.address.isprintable() for each in found)
    discovery = DirectoryDiscovery(place, "hospitals")
    discovery.announce("berlin", "127.0.0.1:7000", examples.INCARNATION)
    discovery.discover()
    discovery.withdraw()
    return bool(found)


def _checkpoints() -> Mapping[str, bytes]:
    commit = replace(examples.commit(), digest=_model().digest())
    without = replace(commit, sync=replace(commit.sync, reference=None), closing=True)
    return {
        name: joined(encode_record(each), _written(_model()))
        for name, each in (("whole", commit), ("closing", without))
    }


def _models() -> Mapping[str, bytes]:
    other = ModelState(SCHEMA, {key: np.zeros_like(array) for key, array in _model().segments.items()}, _model().side)
    return {"whole": _written(_model()), "zeros": _written(other)}


def _trainings() -> Mapping[str, bytes]:
    path, done = folder("trained") / "training.safetensors", Resumed(round=3, epochs=1, batches=9, epoch_batches=2)
    adam = {"state": {0: {"step": np.ones(()), "exp_avg": np.ones(3)}}, "param_groups": [{"betas": (0.9, 0.99)}]}
    values = {}
    for name, state in (("adam", adam), ("none", None), ("steps", Counter({3: 1}))):
        write_training(path, Training(done, state))
        values[name] = path.read_bytes()
    return values


def _written(model: ModelState) -> bytes:
    path = folder("written") / "model.safetensors"
    write_model(path, model, {"digest": model.digest()})
    return path.read_bytes()


def _records() -> Mapping[str, bytes]:
    record = SessionRecord(
        rank=1, session="hospitals", ended=True, closing=True, round=5, digest=examples.DIGEST, bytes_sent=12345
    )
    other = replace(record, closing=False, reason="too few peers", round=None, file="model/swarm-final.safetensors")
    return {"closing": _as_json(asdict(record)), "without": _as_json(asdict(other))}


def _announcements() -> Mapping[str, bytes]:
    record = {"name": "berlin", "address": "127.0.0.1:7000", "incarnation": examples.INCARNATION, "pid": 1}
    return {"here": _as_json(record), "elsewhere": _as_json({**record, "host": "another-machine"})}


def _as_json(value: object) -> bytes:
    return json.dumps(value).encode()


GROUP = [
    Target(
        name="checkpoint",
        run=_resumed,
        refusals=(ConfigurationError,),
        values=_checkpoints,
        form=in_parts(TEXT),
    ),
    Target(
        name="model-file",
        run=_loaded,
        refusals=(UnreadableFileError, ModelError),
        values=_models,
        form=BINARY,
    ),
    Target(name="training-file", run=_training, refusals=(UnreadableFileError,), values=_trainings, form=BINARY),
    Target(name="session-record", run=_recorded, refusals=(), values=_records, form=TEXT),
    Target(name="announcement", run=_announced, refusals=(), values=_announcements, form=TEXT),
]
