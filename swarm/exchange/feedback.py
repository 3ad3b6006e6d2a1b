"""Error feedback: the residual of a session's codecs, kept from round to round."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from swarm.codec.base import Codec
from swarm.codec.choice import CodecChoice
from swarm.errors import ConfigurationError, ContributionError
from swarm.exchange.coding import ChunkCoder, Residual
from swarm.merge.distance import squared_distance
from swarm.messages import Proposal
from swarm.records import PeerId
from swarm.tensors.buffers import BufferPool
from swarm.tensors.state import ModelState, Schema, numpy_dtype


class ErrorFeedback:
    """Makes the coder of each attempt; used on the worker's thread only.

    The residual belongs to one group: with other members each has other chunks to send and to merge.
    """

    def __init__(self, schema: Schema, find: Callable[[str], Codec], choice: CodecChoice) -> None:
        self._schema = schema
        self._find = find
        self._choice = choice
        self._group: tuple[PeerId, ...] = ()
        self._residual: Residual | None = None
        self.norm = 0.0
        """Euclidean norm of the residual, which the next round may send as well."""

    def coder(self, proposal: Proposal, reference: ModelState | None, memory: BufferPool) -> ChunkCoder:
        """How the chunks of an attempt travel; payloads lie in ``memory``.

        Raises:
            ContributionError: this peer does not have the codec. All peers of a session have the same ones, so it is
                the fault of the leader.
        """
        leader = proposal.attempt.leader
        try:
            codec = self._find(proposal.codec)
        except ConfigurationError as error:
            raise ContributionError(leader, f"{leader} proposes a codec that is not here: {error}") from error
        return ChunkCoder(codec, reference, self._residual_of(proposal.group) if codec.feedback else None, memory)

    def update(self, coder: ChunkCoder, group: tuple[PeerId, ...]) -> None:
        """An attempt of ``group`` has committed: replace the residual by its coding errors."""
        coder.update_residual()
        if coder.residual is not None:
            self._group, self._residual = group, coder.residual
        self.norm = math.sqrt(sum(squared_distance(left) for left in (self._residual or {}).values()))

    def measured(self, codec: str, seconds: float) -> None:
        """An exchange under ``codec`` took so long."""
        self._choice.measured(codec, seconds)

    def reset(self) -> None:
        """This peer took a model over: coding errors of its own earlier updates mean nothing any more."""
        self._residual, self.norm = None, 0.0

    def _residual_of(self, group: tuple[PeerId, ...]) -> Residual:
        """That of ``group``, or a new one, which counts only if an attempt of the group commits."""
        if self._residual is not None and group == self._group:
            return self._residual
        return {dtype: np.zeros(size, numpy_dtype(dtype)) for dtype, size in self._schema.of_model.segments.items()}
