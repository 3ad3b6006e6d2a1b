"""Writes what a release sends: every message as bytes, with the values in it, and the schema that reads it.

``python record.py > protocol_N.json`` in a checkout of a release whose newest version of the protocol is N.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import json
import sys
import types
import typing
from typing import Any

from swarm.messages import DataChannelOffer, DataChannelRequest, Envelope, FetchRequest, Message, StreamHeader
from swarm.transport.grpc import swarm_pb2, wire

ALONE = (StreamHeader, FetchRequest, DataChannelRequest, DataChannelOffer)
LEAVES = {
    str: lambda number: f"text-{number}",
    int: lambda number: number,
    float: lambda number: number + 0.5,
    bool: lambda _: True,
    bytes: lambda number: bytes([number]),
}


FORMS = {
    **dict.fromkeys(("key", "keys"), "{:064x}"),
    **dict.fromkeys(("signature", "other_signature", "value"), "{:0128x}"),
    **dict.fromkeys(("certificate", "proof"), "text{}"),
}
"""Of texts that have a form of their own, by field."""


def sample(kind: Any, numbers: typing.Iterator[int], name: str = "") -> Any:
    """A value of this type in which no field has its default, and no two fields have the same value."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is str and name in FORMS:
        return FORMS[name].format(next(numbers))
    if kind in LEAVES:
        return LEAVES[kind](next(numbers))
    if origin in (types.UnionType, typing.Union):
        return sample(arguments[0], numbers, name)
    if origin is tuple:
        each = (arguments[0],) * 2 if arguments[1:] == (...,) else arguments
        return tuple(sample(item, numbers, name) for item in each)
    if issubclass(kind, enum.Enum):
        return list(kind)[-1]
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: sample(hints[field.name], numbers, field.name) for field in dataclasses.fields(kind)})


def samples() -> dict[str, Any]:
    """One of every message: in its envelope, or alone if it travels so."""
    inside = {kind.__name__: sample(kind, itertools.count(1)) for kind in typing.get_args(Message)}
    enveloped = {name: Envelope("session", "sender", "incarnation", "address", one) for name, one in inside.items()}
    return enveloped | {kind.__name__: sample(kind, itertools.count(1)) for kind in ALONE}


def values(value: Any) -> Any:
    """The values of a record, by name, in types of JSON."""
    if dataclasses.is_dataclass(value):
        return {field.name: values(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [values(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


if __name__ == "__main__":
    recorded = {
        "schema": swarm_pb2.DESCRIPTOR.serialized_pb.hex(),
        "messages": {
            name: {"bytes": wire.encode(value).hex(), "values": values(value)} for name, value in samples().items()
        },
    }
    json.dump(recorded, sys.stdout, indent=1)
    sys.stdout.write("\n")
