"""Copies from a GPU into ordinary memory, through small pinned buffers.

Memory that is not pinned makes each copy wait for the GPU, and the driver copies it twice. Here the GPU fills one
pinned buffer while the processor empties another one, on a stream of its own. Source: "Use pinned memory buffers", in
"CUDA semantics" of the documentation of PyTorch.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import torch

BUFFERS = 3
BUFFER_BYTES = 2**24
"""Of each: enough for the full rate of the bus, and little beside any model."""


class _Part(NamedTuple):
    """Bytes on their way."""

    buffer: torch.Tensor
    target: torch.Tensor
    there: torch.cuda.Event
    """Recorded once they are in the buffer."""
    source: torch.Tensor
    """Kept until then: a tensor that was made contiguous has no other owner."""


class Staging:
    """Copies tensors of one GPU to the CPU; its buffers are kept for the next time.

    Only one thread uses it. What was computed on the current stream before ``begin`` is in what is copied.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._free = [torch.empty(BUFFER_BYTES, dtype=torch.uint8, pin_memory=True) for _ in range(BUFFERS)]
        self._parts: deque[_Part] = deque()

    def begin(self) -> None:
        """The next copies see what the current stream has computed until now."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Begin to copy ``source`` into ``target``, a contiguous CPU tensor of its shape and dtype."""
        into = target.reshape(-1).view(torch.uint8)
        with torch.cuda.stream(self._stream):
            values = source.contiguous().reshape(-1).view(torch.uint8)
            for start in range(0, values.numel(), BUFFER_BYTES):
                part = values[start : start + BUFFER_BYTES]
                if not self._free:
                    self._finish()
                buffer = self._free.pop()
                buffer[: part.numel()].copy_(part, non_blocking=True)
                there = torch.cuda.Event()  # type: ignore[no-untyped-call]
                there.record(self._stream)
                self._parts.append(_Part(buffer, into[start : start + part.numel()], there, values))

    def end(self) -> None:
        """Wait until all that was begun is in its target."""
        while self._parts:
            self._finish()

    def _finish(self) -> None:
        part = self._parts.popleft()
        part.there.synchronize()
        part.target.copy_(part.buffer[: part.target.numel()])
        self._free.append(part.buffer)
