"""Messages of the gRPC transport, and what a peer reads in a greeting."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from swarm.addresses import Address
from swarm.errors import AddressError, ExchangeError
from swarm.messages import Envelope, Hello
from swarm.peer.roster import Roster, schema_lines
from swarm.tensors.state import Schema, TensorSpec
from swarm.transport.grpc.security import target
from swarm.transport.grpc.wire import Alone, decode, encode
from tests.fuzz import examples
from tests.fuzz.mutation import PROTOBUF, TEXT
from tests.fuzz.target import Target

Sent = Envelope | Alone
_OTHER = Schema((TensorSpec("w", (2,), "float32"),))


def _record(kind: type[Sent], data: bytes) -> str:
    """Whatever is accepted can be sent."""
    value = decode(kind, data)
    encode(value)
    return type(value.message).__name__ if isinstance(value, Envelope) else ""


def _greeting(data: bytes) -> bool:
    """A greeting of a peer that trains another model, and so is told the first difference."""
    message = decode(Envelope, data).message
    if not isinstance(message, Hello):
        return False
    roster = Roster(examples.info("rome"), _OTHER)
    refusal = roster.clash(message)
    assert refusal is None or refusal.reason.isprintable()
    return refusal is None


def _address(data: bytes) -> bool:
    address = Address.parse(data.decode(errors="replace"))
    assert Address.parse(str(address)) == address
    assert target(address).startswith(("dns:", "ipv"))
    return address.is_loopback


def _envelopes() -> Mapping[str, bytes]:
    return {name: encode(examples.envelope(message)) for name, message in examples.messages().items()}


def _greetings() -> Mapping[str, bytes]:
    lines = schema_lines(examples.SCHEMA)
    hello = Hello(examples.info(), lines, (), None, wants_reply=True)
    return {"hello": encode(examples.envelope(hello))}


def _addresses() -> Mapping[str, bytes]:
    found = ("127.0.0.1:7000", "[::1]:7000", "peer-1.hospital.example:65535", "localhost:0", "[fe80::1:2]:1")
    return {f"address-{number}": text.encode() for number, text in enumerate(found)}


def _one(value: Sent) -> Mapping[str, bytes]:
    return {"whole": encode(value)}


GROUP = [
    Target(
        name="envelope",
        run=partial(_record, Envelope),
        refusals=(ExchangeError,),
        values=_envelopes,
        form=PROTOBUF,
    ),
    *(
        Target(
            name=name,
            run=partial(_record, type(value)),
            refusals=(ExchangeError,),
            values=partial(_one, value),
            form=PROTOBUF,
        )
        for name, value in (
            ("stream-header", examples.HEADER),
            ("fetch-request", examples.FETCH),
            ("data-channel-request", examples.CHANNEL_REQUEST),
            ("data-channel-offer", examples.CHANNEL_OFFER),
            ("dial-back-request", examples.DIAL_BACK),
            ("reach-request", examples.REACH_REQUEST),
            ("reach-data-request", examples.REACH_DATA_REQUEST),
            ("reach-answer", examples.REACH_ANSWER),
        )
    ),
    Target(name="greeting", run=_greeting, refusals=(ExchangeError,), values=_greetings, form=PROTOBUF),
    Target(name="address", run=_address, refusals=(AddressError,), values=_addresses, form=TEXT),
]
