"""What rank 0 tells the other processes of its site to do."""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from swarm.ranks.group import ProcessGroup

FRAME = 4096
"""Bytes of a broadcast; the rest of a longer instruction follows in a second one."""
_HEAD = struct.Struct("<II")


class Kind(enum.IntEnum):
    """What to do."""

    WAIT = 1
    """Nothing yet: rank 0 waits for the swarm, and says so before a time-out."""
    READ = 2
    """Take part in reading the model, of which each process has a shard."""
    WRITE = 3
    """Set the model from the arrays that follow."""
    UPDATE = 4
    """The same, except tensors of which the site keeps its own values."""
    ADD = 5
    """Add the arrays that follow to the model."""
    FOLLOW = 6
    """The committed model, for what changes the gradients."""
    EVALUATE = 7
    """Evaluate the model, and tell the result."""
    TRAINING = 8
    """Set the state of optimizers and schedules, whose arrays follow."""
    DONE = 9
    """The call is over: return. The content has what the processes agree on until the next one."""
    FAILED = 10
    """The call is over: raise the error in the content."""
    GATHER = 11
    """With ``exchange_shards``: take part in gathering a whole model for a file. In READ, WRITE, UPDATE and ADD each
    process then has its shard, which the content names by number, and only what all have follows."""
    KEEP_TRAINING = 12
    """With ``exchange_shards``: keep the state of the own optimizers and schedules for a checkpoint, under a number. In
    TRAINING each process then sets its own, which the content names by number, and no arrays follow."""


class Instruction(NamedTuple):
    """One instruction; the content is JSON."""

    kind: Kind
    content: Mapping[str, Any]


def tell(group: ProcessGroup, kind: Kind, content: Mapping[str, Any] | None = None) -> None:
    """Rank 0: send an instruction.

    Raises:
        RanksError: a process is gone.
    """
    data = json.dumps(content or {}).encode()
    frame = np.zeros(FRAME, np.uint8)
    frame[: _HEAD.size] = np.frombuffer(_HEAD.pack(kind, len(data)), np.uint8)
    first = data[: FRAME - _HEAD.size]
    frame[_HEAD.size : _HEAD.size + len(first)] = np.frombuffer(first, np.uint8)
    group.share(frame)
    if len(first) < len(data):
        group.share(np.frombuffer(data[len(first) :], np.uint8).copy())


def hear(group: ProcessGroup) -> Instruction:
    """Other ranks: wait for the next instruction.

    Raises:
        RanksError: rank 0 is gone.
    """
    frame = np.zeros(FRAME, np.uint8)
    group.share(frame)
    kind, length = _HEAD.unpack(frame[: _HEAD.size].tobytes())
    data = frame[_HEAD.size : _HEAD.size + length].tobytes()
    if len(data) < length:
        rest = np.zeros(length - len(data), np.uint8)
        group.share(rest)
        data += rest.tobytes()
    return Instruction(Kind(kind), json.loads(data))
