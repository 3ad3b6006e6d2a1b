"""Whether the merged model is much worse on this site's own batches than the model before the merge."""

from __future__ import annotations

import logging
from collections import deque
from math import isfinite
from statistics import fmean

TIMES = 5.0
"""The loss right after merges over the loss right before them, from which on this site is warned ..."""
PART = 0.025
"""... or their difference, as a part of the loss of the first batch ..."""
MORE = 1.1
"""... if the one is also this many times the other: a run that goes on from a trained model begins with a small loss.

Measured in 38 runs on digits, heart, breast cancer and MNIST, with 4 to 8 sites and intervals of 8 to 128, on the last
two thirds of the merges: 62 of the 65 sites that ended more than .02 below training alone, on their own kind of data,
are warned, and 93 of 183 others. Where the three are, .02 is one sample of the test.
"""
WINDOW = 16
"""The last merges that are compared, or the last two thirds of all: at the beginning losses fall fast everywhere."""
LEAST = 2
"""Merges without which nothing can be said."""


class LossChange:
    """Compares the training loss of the batch before each merge with that of the batch after it.

    Both are losses before the optimizer's step, of the local model and of the merged one. If the sites have other
    labels, or train long between two merges, the local model fits this site's data much better than the merged one.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._log = logger
        self._first: float | None = None
        self._last: float | None = None
        self._pairs: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._merges = 0
        self._warned = False
        self.wanted = False
        """Whether the loss of the next batch is that of the merged model."""

    def trained(self, loss: float | None) -> None:
        """A batch was trained; ``loss`` is None if it is not known."""
        if self.wanted and loss is not None and self._last is not None:
            self._pairs.append((self._last, loss))
            self._merges += 1
        self.wanted, self._last = False, loss
        if self._first is None:
            self._first = loss

    def merged(self) -> None:
        """A merged model was loaded after that batch."""
        self.wanted = self._last is not None
        if 2 * self._merges >= 3 * WINDOW:
            self.judge()

    def judge(self) -> None:
        """Warn, once, if the merged model is much worse here."""
        recent = list(self._pairs)[-min(WINDOW, 2 * self._merges // 3) :] if self._merges > 1 else []
        if self._warned or len(recent) < LEAST or self._first is None:
            return
        before, after = (fmean(losses) for losses in zip(*recent, strict=True))
        many_times = 0 < TIMES * before <= after
        much = 0 < PART * self._first <= after - before and after >= MORE * before
        if not (isfinite(before) and isfinite(after) and (many_times or much)):
            return
        self._warned = True
        self._log.warning(
            "the training loss of this site is %.3g right before a merge and %.3g right after it (mean of %d merges):"
            " on this site's own kind of data a model trained alone may be better than the merged one, because the"
            " sites have other labels or train long between merges. Remedies: `local` keeps layers of the model"
            ' personal, a shorter sync_interval, with Adam optimizer_state="merge". See docs/choosing.md',
            before,
            after,
            len(recent),
        )
