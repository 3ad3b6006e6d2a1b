"""Catching up: fetch a committed model from a live peer."""

from __future__ import annotations

from swarm.errors import ExchangeError
from swarm.messages import FetchRequest
from swarm.rounds.exchange import read_model
from swarm.state import ModelState, Schema
from swarm.transport.base import Transport


def fetch_model(
    transport: Transport, address: str, request: FetchRequest, schema: Schema, timeout: float
) -> ModelState:
    """The model that ``request`` names by digest, from the peer at ``address``.

    Raises:
        UnreachablePeerError: the peer is gone, or silent for ``timeout`` seconds.
        ExchangeError: it does not hold the model, or sends other bytes.
    """
    model = read_model(schema, transport.fetch(address, request, timeout))
    digest = model.digest()
    if digest != request.digest:
        raise ExchangeError(f"the peer at {address} sent a model with digest {digest}, not {request.digest}")
    return model
