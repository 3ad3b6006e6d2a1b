"""What a session keeps for its codecs from round to round: the choice, and what coding has lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from swarm.codec.base import Codec
from swarm.records import PeerId
from swarm.rounds.coding import PieceCoder, Residual
from swarm.state import ModelState, Schema, numpy_dtype

if TYPE_CHECKING:
    from swarm.codec.choice import CodecChoice
    from swarm.messages import Proposal


class Codings:
    """Makes the coder of each attempt; used on the worker's thread only.

    The residual belongs to one group: with other members each has other pieces to send and to merge.
    """

    def __init__(self, schema: Schema, find: Callable[[str], Codec], choice: CodecChoice) -> None:
        self._schema = schema
        self._find = find
        self._choice = choice
        self._group: tuple[PeerId, ...] = ()
        self._residual: Residual | None = None

    def coder(self, proposal: Proposal, reference: ModelState | None) -> PieceCoder:
        """How the pieces of an attempt travel.

        Raises:
            ConfigurationError: this peer does not have the codec.
        """
        codec = self._find(proposal.codec)
        return PieceCoder(codec, reference, self._account(proposal.group) if codec.feedback else None)

    def measured(self, codec: str, seconds: float) -> None:
        """An exchange under ``codec`` took so long."""
        self._choice.measured(codec, seconds)

    def reset(self) -> None:
        """This peer took a model over: what it has not sent yet is of no more meaning."""
        self._residual = None

    def _account(self, group: tuple[PeerId, ...]) -> Residual:
        if self._residual is None or group != self._group:
            segments = self._schema.segments.items()
            self._residual = {dtype: np.zeros(size, numpy_dtype(dtype)) for dtype, size in segments}
            self._group = group
        return self._residual
