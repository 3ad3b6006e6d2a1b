"""Weights: frames of an exchange under every rule and codec, shares of a model, and the codecs alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from itertools import permutations

import numpy as np

from swarm.codec import BUILTIN_CODECS
from swarm.errors import ExchangeError
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.exchange import Exchange
from swarm.exchange.whole import Assembly, model_frames
from swarm.merge import BUILTIN_RULES
from swarm.records import PeerId
from swarm.session.arithmetic import measure
from swarm.tensors.state import ModelState, is_finite, numpy_dtype
from tests.exchange.groups import SCHEMA, frames, proposal, states
from tests.fuzz.mutation import BINARY, in_parts, joined, split
from tests.fuzz.target import Target

MEMBERS = {"ann": 1, "bob": 2, "cid": 1}
PARTS = 2
DTYPES = ("float32", "float64", "float16", "bfloat16")
_CODECS, _RULES = tuple(BUILTIN_CODECS.values()), tuple(BUILTIN_RULES.values())
Member = tuple[int, int, PeerId]
"""The rule and the codec of an exchange, as numbers, and its leader."""


@cache
def _held() -> dict[PeerId, ModelState]:
    return states(SCHEMA, len(MEMBERS))


@cache
def _parent() -> ModelState:
    return states(SCHEMA, 1, seed=9)["ann"]


def _exchange(me: PeerId, setup: Member) -> Exchange:
    rule, codec, leader = setup
    coder = ChunkCoder(_CODECS[codec % len(_CODECS)], _parent())
    under = proposal(MEMBERS, leader)
    return Exchange(me, under, _RULES[rule % len(_RULES)], _held()[me], coder, parent=_parent())


def _taken(data: bytes) -> tuple[bool, bool]:
    """Frames of two members, after a part that says under which rule, codec and leader they are merged."""
    first, *arrivals = split(data) or [b""]
    rule, codec, leader = first[:3].ljust(3, b"\0")
    exchange = _exchange("ann", (rule, codec, ("ann", "bob")[leader % 2]))
    for arrival in arrivals:
        sender = ("bob", "cid")[arrival[0] % 2] if arrival else "bob"
        exchange.receive(sender, memoryview(bytearray(arrival[1:])))
        while exchange.next_frame("bob") or exchange.next_frame("cid"):
            pass
    if exchange.done:
        assert measure(exchange.result()).finite
        exchange.digest()
    exchange.partial_norms()
    return exchange.done, exchange.owed() is not None


def _assembled(data: bytes) -> int:
    """The shares of a model, as peers serve them; the first byte of each part is the share."""
    assembly = Assembly(SCHEMA, PARTS)
    arrivals = split(data)
    for share in range(PARTS):
        assembly.take(share, iter([memoryview(part)[1:] for part in arrivals if part and part[0] % PARTS == share]))
    assembly.model()
    return len(assembly.missing)


def _decoded(name: str, data: bytes) -> tuple[int, bool]:
    """A chunk, after two bytes for its dtype and whether there is a reference, and two for the number of values."""
    choice, size = data[:1].ljust(1, b"\0")[0], int.from_bytes(data[1:3], "little") % 4096
    dtype = numpy_dtype(DTYPES[choice % len(DTYPES)])
    reference = np.linspace(-3, 3, size).astype(dtype) if choice & 4 else None
    out = np.zeros(size, dtype)
    BUILTIN_CODECS[name].decode(memoryview(data)[3:], reference, out)
    assert is_finite(out)
    return choice % 8, bool(data[3:])


def _arrivals(setup: Member) -> bytes:
    """The frames that ann takes in a round of three."""
    members = {name: _exchange(name, setup) for name in MEMBERS}
    arrivals = []
    moved = True
    while moved:
        moved = False
        for source, to in permutations(MEMBERS, 2):
            for out in frames(members[source], to):
                frame = out[0] + bytes(out[1])
                moved = True
                members[to].receive(source, memoryview(bytearray(frame)))
                if to == "ann":
                    arrivals.append(bytes([source == "cid"]) + frame)
    assert members["ann"].done
    rule, codec, leader = setup
    return joined(bytes([rule, codec, leader == "bob"]), *arrivals)


def _rounds() -> Mapping[str, bytes]:
    return {
        f"{rule.name}-{codec.name}": _arrivals((place, number, ("ann", "bob")[number % 2]))
        for place, rule in enumerate(_RULES)
        for number, codec in enumerate(_CODECS)
    }


def _shares() -> Mapping[str, bytes]:
    model = _held()["bob"]
    arrivals = [
        bytes([share]) + head + bytes(payload)
        for share in range(PARTS)
        for head, payload in model_frames(model, share, PARTS)
    ]
    return {"whole": joined(*arrivals)}


def _chunks(name: str) -> Mapping[str, bytes]:
    codec, found = BUILTIN_CODECS[name], {}
    for number, dtype in enumerate(DTYPES):
        for size in (5, 1030):
            reference = np.linspace(-3, 3, size).astype(numpy_dtype(dtype))
            values = (reference + np.linspace(0, 1, size)).astype(reference.dtype)
            out = memoryview(bytearray(codec.encoded_nbytes(size, dtype)))
            length = codec.encode(values, reference, out)
            found[f"{dtype}-{size}"] = bytes([number | 4]) + size.to_bytes(2, "little") + bytes(out[:length])
    return found


GROUP = [
    Target(name="exchange", run=_taken, refusals=(ExchangeError,), values=_rounds, form=in_parts(BINARY)),
    Target(name="assembly", run=_assembled, refusals=(ExchangeError,), values=_shares, form=in_parts(BINARY)),
    *(
        Target(
            name=f"codec-{name}",
            run=partial(_decoded, name),
            refusals=(ExchangeError,),
            values=partial(_chunks, name),
            form=BINARY,
        )
        for name in BUILTIN_CODECS
    ),
]
